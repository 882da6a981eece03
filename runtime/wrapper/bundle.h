/* A bundle's config.json on disk: read once, replaced in one step, put back if the container comes to nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "../lib/error.h"
#include "../lib/json.h"

enum { COW_BUNDLE_CONFIG_MAX = 16 << 20 };

struct cow_bundle {
	char *path; /* absolute */
	char *name; /* the bundle's path as given and the file in it, for messages */
	char *file; /* config.json, or crun's --config */
	int dirfd;
	char *text; /* as it was */
	size_t size;
	struct stat st;      /* of the original */
	char staged[40];     /* name of a new file beside it, or "" */
	struct stat written; /* of that file, wherever it is */
	bool replaced;       /* it has the name */
};

#define COW_BUNDLE_NONE ((struct cow_bundle){.dirfd = -1})
int cow_bundle_read(struct cow_bundle *b, const char *path, const char *file, struct cow_error **err);
void cow_bundle_free(struct cow_bundle *b);
#define cleanup_bundle __attribute__((cleanup(cow_bundle_free)))

/*
 * Can the text have an annotation of cowrun's in it? If not, the bundle is none of cowrun's business, and need not be
 * parsed. -1 with *err if it is not even a whole JSON object.
 */
int cow_bundle_may_ask(const struct cow_bundle *b, struct cow_error **err);
struct cow_json *cow_bundle_parse(const struct cow_bundle *b, struct cow_error **err);

/*
 * Replaces it atomically; mode and owner stay. In two steps: the new file is written and synced, which takes a moment,
 * and then gets the name.
 */
int cow_bundle_stage(struct cow_bundle *b, const struct cow_json *spec, struct cow_error **err);
int cow_bundle_replace(struct cow_bundle *b, struct cow_error **err);
/* Puts the original bytes back if the file is still the one that cowrun wrote; removes what was only staged. */
int cow_bundle_restore(struct cow_bundle *b, struct cow_error **err);
