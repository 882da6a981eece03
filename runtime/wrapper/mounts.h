/* The mounts of a bundle, in the runtime-spec's terms ("Mounts"): what the list of options means to runc and crun. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "../lib/error.h"
#include "../lib/json.h"

struct cow_mount {
	const char *type, *source; /* "" if it has none; the source as given, before cowrun's edit */
	char *destination;         /* clean: cow_path_clean */
	bool bind;                 /* a part of the host's tree */
	bool recursive;            /* with what is mounted in it */
	bool readonly;             /* the mount itself */
	bool readonly_below;       /* and all that is mounted in it ("rro") */
	bool idmapped;
	bool closed; /* a mode by which not everybody can look into it */
	bool edited; /* its source is the upper of a branch; the member "cowrunLower" has what was there before */
	bool init;   /* cowrun-init's */
};

struct cow_mounts {
	size_t count;
	struct cow_mount *list; /* list[i] is config.json's mounts[i] */
};

/* Pointers into `spec` live as long as its mounts are not changed. -1 with *err: they have not the spec's form. */
int cow_mounts_read(const struct cow_json *spec, struct cow_mounts *mounts, struct cow_error **err);
void cow_mounts_free(struct cow_mounts *mounts);
#define cleanup_mounts __attribute__((cleanup(cow_mounts_free)))

/*
 * Where cowrun-init goes: a name directly in a tmpfs of the container, so that nothing stays behind in the image and
 * the name, a mount point in the root of a mount, can neither be renamed nor removed. Never in a workdir. NULL with
 * *err if there is no such tmpfs. Caller frees.
 */
char *cow_mounts_init_place(const struct cow_mounts *mounts, char *const *workdirs, size_t nworkdirs,
			    struct cow_error **err);
/* Is this the place of cowrun-init in some bundle? */
bool cow_mounts_is_init_place(const char *path);
