/*
 * What a branch changes of its lower, as a list.
 *
 * Two kinds of paths: `old` ones are of the lower, `path` ones of the branch, where directories may have been renamed.
 * A renamed directory is one change, whatever it holds; what is changed in it is listed beside it, with its place in
 * the branch. A new or deleted directory is listed with all that was made or deleted in it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "origin.h"
#include "store.h"
#include "upper.h"

struct cow_change {
	char op;                             /* 'A', 'M', 'D' or 'R' */
	char *old;                           /* of M, D and R; "" for the root */
	char *path;                          /* of A, M and R */
	const struct cow_node *node;         /* of A, M and R */
	mode_t old_mode;                     /* of M, D and R: what it was */
	const struct cow_lower_stamp *stamp; /* of M, D and R: how `old` looked when the branch took it; not NULL */
	const struct cow_lower_stamp
		*over; /* of A and R: of the lower file that stood at `path` and goes with it, or NULL */
	bool inside;   /* of D: below a directory that is deleted, too */
};

struct cow_diff {
	const struct cow_branch *branch;
	size_t tree;
	int upper, lower; /* the roots */
	struct cow_node *root;
	struct cow_origins origins;
	struct cow_change *list; /* sorted bytewise by `old` for D and R, by `path` for A and M */
	size_t count, room;
};

/* 0 or -1 with *err; to be cleared in any case. */
int cow_diff_make(struct cow_diff *d, const struct cow_branch *b, size_t tree, struct cow_error **err);
void cow_diff_clear(struct cow_diff *d);
#define cleanup_diff __attribute__((cleanup(cow_diff_clear)))
