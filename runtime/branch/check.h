/* Did the host change what a branch is about to change? */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "diff.h"

struct cow_conflict {
	size_t tree;
	char *path; /* of the lower */
	const char *why;
};

struct cow_conflicts {
	struct cow_conflict *list; /* in the order of the changes */
	size_t count, room;
};

/*
 * Compares every place that the changes touch with how the branch found it. What the host did elsewhere is no conflict,
 * nor is that it deleted what the branch deletes. 0, however many there are, or -1 with *err.
 */
int cow_conflicts_find(struct cow_conflicts *c, const struct cow_diff *d, struct cow_error **err);
void cow_conflicts_clear(struct cow_conflicts *c);
#define cleanup_conflicts __attribute__((cleanup(cow_conflicts_clear)))

/* Is this still what the stamp was taken of? Directories: the same one; what is in it has stamps of its own. */
bool cow_stamp_matches(const struct cow_lower_stamp *stamp, const struct stat *st);
