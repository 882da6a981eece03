/*
 * The text of one file's change: unified hunks. diff(1) compares; what is wholly new or wholly gone needs no
 * comparison.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "../lib/error.h"
#include "pairs.h"

/* The text of a change of a file: a descriptor of each version, open for reading and owned; -1 where there is none. */
struct cow_text {
	int old, new;
	enum { COW_TEXT_BINARY, COW_TEXT_WHOLE, COW_TEXT_PAIR } kind;
	size_t pair;
};

struct cow_lines {
	size_t added, removed;
	bool binary;
};

struct cow_style {
	bool color;
	bool guard; /* stdout is a terminal: control characters, which a container may have put there, are shown instead
		     */
};

/*
 * Looks at a text that is to be printed or counted when it is its turn, after the pairs were started, and adds it to
 * them if it must be compared. `path` is for errors. 0 or -1 with *err; to be cleared in any case, after the pairs.
 */
int cow_text_add(struct cow_pairs *pairs, struct cow_text *t, const char *path, struct cow_error **err);
/* Prints the hunks to stdout; old and new: what stands behind --- and +++. 0 or -1 with *err. */
int cow_text_print(struct cow_pairs *pairs, const struct cow_text *t, const char *old, const char *new,
		   const struct cow_style *style, struct cow_error **err);
/* Counts their lines instead. */
int cow_text_count(struct cow_pairs *pairs, const struct cow_text *t, const char *path, struct cow_lines *lines,
		   struct cow_error **err);
void cow_text_clear(struct cow_text *t);
