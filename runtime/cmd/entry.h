/* One change of a file as git writes it. */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "hunk.h"

/* One version of a file. */
struct cow_side {
	bool exists;
	int fd; /* its content; -1: none, or none that is text */
	struct stat st;
	char *path; /* as it is shown, also of what does not exist */
};

/* Where the type changes git wants two of them. */
struct cow_entry {
	struct cow_side old, new;
	bool known; /* to git */
	bool same;  /* the content */
	struct cow_text text;
};

/*
 * The sides are filled in: what is to be printed of them when it is the entry's turn, after the pairs were started?
 * 0 or -1 with *err; to be cleared in any case, after the pairs.
 */
int cow_entry_prepare(struct cow_entry *e, struct cow_pairs *pairs, struct cow_error **err);
int cow_entry_print(const struct cow_entry *e, struct cow_pairs *pairs, const struct cow_style *style,
		    struct cow_error **err);
void cow_entry_clear(struct cow_entry *e);
void cow_side_clear(struct cow_side *s);
#define cleanup_side __attribute__((cleanup(cow_side_clear)))
