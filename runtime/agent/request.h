/* A call as its arguments say it: which descriptors and paths it names, and what sort of call it is. */
#pragma once

#include <limits.h>

#include "agent.h"

struct cow_request {
	enum cow_call call;
	int dir, dir2; /* AT_FDCWD where it names none */
	int flags;     /* AT_*, or of open(2) */
	int mode;      /* of access(2) */
	struct cow_opening opening;
	bool has_path, has_path2; /* by the kind of call */
	bool no_path;             /* NULL where that means the descriptor itself */
	char path[PATH_MAX], path2[PATH_MAX];
};

/* Fills in all but `call`. 0, or an errno: the kernel will find the same. */
int cow_call_read(const struct cow_target *t, struct cow_request *r);

bool cow_request_opens_to_read(const struct cow_request *r); /* of opens */
bool cow_request_looks_only(const struct cow_request *r);    /* looks something up, and no more */
/* Is here for its handles only; and so are the opens that do not write, but for a way up. */
bool cow_request_only_reads(const struct cow_request *r);
/* Does it change what its path leads to, or make or take a name? */
bool cow_request_changes(const struct cow_request *r);
/* Is the last component of the first path followed, if it is a symbolic link? Of no call is it of the second. */
bool cow_request_follows(const struct cow_request *r);
/* Is it about what the first descriptor is on, and about no name in it? */
bool cow_request_is_about_descriptor(const struct cow_target *t, const struct cow_request *r);
/* These take the branch's own mounts into account, which need no work. */
bool cow_request_is_about_mounts(const struct cow_request *r);
/* The descriptor whose object the call changes, or -1. */
int cow_request_changed_fd(const struct cow_target *t, const struct cow_request *r);
/* These may give a program another root directory, now or when it comes to a mount namespace. */
bool cow_request_moves_roots(enum cow_call call);
