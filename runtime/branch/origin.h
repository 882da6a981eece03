/*
 * Which entry of an upper is what of the lower: the first half of a diff.
 *
 * A placeholder says it by its mark; a directory that was split and a file that was copied up, by their records in the
 * journal. All of these travel with the inode, so a rename shows as an origin that is not the place. What has none and
 * stands where the lower had something of its kind is taken for a new form of that, unless the old one is elsewhere
 * now: a file that was deleted and written again is *changed*, and a directory that was made again holds what it holds
 * and lacks the rest.
 *
 * Several placeholders may have the mark of one file: names that it was given in the branch. The one that stands where
 * the lower has it is the file; or it is in a directory that is unchanged as a whole, or else the first of them is it,
 * renamed. The others are further names of it, made in the branch.
 */
#pragma once

#include "dict.h"
#include "journal.h"
#include "store.h"
#include "upper.h"

struct cow_origins {
	struct cow_journal *journal;
	struct cow_dict present; /* lower path: the node that it is now */
	struct cow_dict splits;  /* lower path: its last split record */
	struct cow_dict copies;  /* lower path: its last copy record */
};

/* Fills in the second half of every node. 0 or -1 with *err; `o` is to be cleared in any case. */
int cow_origins_find(struct cow_origins *o, struct cow_node *root, const struct cow_branch *b, size_t tree,
		     struct cow_error **err);
void cow_origins_clear(struct cow_origins *o);
/*
 * Where in the branch the file is that a lower path led to: changed or not, or in a directory that is unchanged as a
 * whole. Caller frees; NULL: it is not there any more.
 */
char *cow_origins_place(const struct cow_origins *o, const char *path);
/* What the journal says that a lower path looked like; NULL if it was never seen. */
const struct cow_lower_stamp *cow_origins_stamp(const struct cow_origins *o, const char *path);
