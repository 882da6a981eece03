/* The stage of a commit: where new content is made out of sight, on the lower's own file system. */
#pragma once

#include "diff.h"
#include "plan.h"

struct cow_stage {
	const struct cow_diff *diff;
	int fd;
	struct cow_dict
		links; /* inode of the upper with several names: the first of them that is in the stage or lower */
};

/* Makes it, empty. 0 or -1 with *err; to be closed in any case. */
int cow_stage_open(struct cow_stage *s, const struct cow_diff *d, struct cow_error **err);
void cow_stage_close(struct cow_stage *s);
/* Removes the stage of a tree, if there is one, with all that is in it. 0 or -1 with *err. */
int cow_stage_remove(const struct cow_branch *b, size_t tree, int lower, struct cow_error **err);

/*
 * Makes `name` in the stage what `n` of the upper is, with all its attributes; of a directory, itself alone. 0, 1 if it
 * is something that cannot be kept (a socket), or -1 with *err.
 */
int cow_stage_make(struct cow_stage *s, const struct cow_node *n, const char *name, struct cow_error **err);
/*
 * The lower's own file that an entry of the upper is a further name of, unchanged: where it will be. Caller frees;
 * NULL: none.
 */
char *cow_stage_linked(const struct cow_stage *s, const struct cow_node *n);
/* Copies what the O_PATH descriptor `from` is, but for directories. 0 or -1 with errno. */
int cow_stage_copy(int stage, int from, const char *name);
/* Makes directory `to` of the lower have the owner, mode and extended attributes of `from`. 0 or -1 with errno. */
int cow_stage_copy_attributes(int from, int to);
