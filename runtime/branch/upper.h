/*
 * An upper in memory: every entry with what tells how it came to be. The container that filled it is hostile: trees may
 * be deep, names odd, types any. Nothing is opened but directories.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "journal.h"
#include "store.h"

struct cow_node {
	struct cow_node *parent, *child, *next; /* children are sorted bytewise by name */
	char *name;                             /* "" for the root */
	char *mark;                             /* placeholder: path of the lower entry; else NULL */
	struct cow_ident ident;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	uint32_t nlink;
	uint64_t size;
	dev_t rdev;
	struct timespec mtime, ctime;

	/* The rest is found by cow_origins_find (origin.h). */
	char *origin; /* lower path of what this is, "" for the root; NULL: made in the branch */
	const struct cow_journal_split *split; /* of a directory: which entries it began with; may be NULL */
	const struct cow_journal_copy *copy;   /* of a copy-up, if it is one */
	const struct cow_journal_entry *base;  /* what was at this name when the parent was split */
	bool moved;                            /* has an origin, and is not where that was */
	bool twin; /* placeholder of a file that is elsewhere in the branch, too: a further name of it (graft/twin.c) */
	bool modified;   /* has an origin, and differs from it: set by cow_diff_make (diff.h) */
	bool mountpoint; /* something else was mounted here: no part of the branch */
	bool scaffold;   /* made only to hold mount points */
	bool touched;    /* the rest is a commit's: entries of this directory come or go */
	bool renewed;    /* it is made anew, though it has an origin */
	bool visited;
};

/* Reads the tree below directory descriptor `upper`. NULL with *err. */
struct cow_node *cow_upper_read(const struct cow_branch *b, int upper, struct cow_error **err);
void cow_node_free(struct cow_node *root);
/* The next one in preorder; NULL at the end. `inside`: go into n's own children. */
struct cow_node *cow_node_next(const struct cow_node *n, bool inside);
char *cow_node_path(const struct cow_node *n); /* "" for the root; caller frees */
