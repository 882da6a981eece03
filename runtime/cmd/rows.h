/* The changes of a whole branch as its user sees them: all trees together, with paths that tell the trees apart. */
#pragma once

#include "../branch/diff.h"
#include "../branch/store.h"
#include "../lib/json.h"

struct cow_row {
	const struct cow_diff *diff;
	const struct cow_change *change;
	char *old;  /* of D and R */
	char *path; /* of A, M and R */
};

struct cow_rows {
	struct cow_diff diffs[COW_BRANCH_TREES];
	size_t ndiffs;
	struct cow_row *list; /* sorted bytewise: D and R by `old`, A and M by `path` */
	size_t count;
};

/* 0 or -1 with *err; to be cleared in any case. */
int cow_rows_make(struct cow_rows *r, const struct cow_branch *b, struct cow_error **err);
void cow_rows_clear(struct cow_rows *r);
#define cleanup_rows __attribute__((cleanup(cow_rows_clear)))

/* A path of one tree as it is shown: of several, the workdir goes before it. Caller frees. */
char *cow_shown_path(const struct cow_branch *b, size_t tree, const char *path);
/*
 * For people and for programs that read lines: as git writes it under core.quotePath, in double quotes with escapes
 * where it holds anything but printable ASCII, a quote or a backslash; and where it holds " -> " or a blank at an end.
 */
char *cow_quote_path(const char *path);
/* Sets `key`, and KEYBase64 beside it where the path is not UTF-8 (then `key` has U+FFFD for what is not). */
void cow_json_set_path(struct cow_json *o, const char *key, const char *path);
/* Length of the UTF-8 character (RFC 3629) that `text` begins with, or 0 if it does not. */
size_t cow_utf8_length(const char *text, size_t left);
struct cow_json *cow_row_json(const struct cow_row *row);
/* One line of --name-status, with its end. */
void cow_row_print(const struct cow_row *row);
const char *cow_type_name(mode_t mode);
