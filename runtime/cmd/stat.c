/* cowrun branch diff --stat */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "../branch/beneath.h"
#include "../lib/fd.h"
#include "command.h"
#include "hunk.h"
#include "patch.h"

enum { BAR = 40 };

/* A regular file to count in, or -1: nothing there, or nothing with lines. */
static int open_regular(int root, const char *path, bool one_mount)
{
	cleanup_close int fd = path != NULL ? cow_beneath_open(root, path, O_PATH, one_mount) : -1;
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? cow_beneath_reopen(fd) : -1;
}

static int count(const struct cow_row *row, struct cow_lines *lines, struct cow_error **err)
{
	const struct cow_change *c = row->change;
	const char *shown = row->path != NULL ? row->path : row->old;
	cleanup_close int a = c->op == 'R' ? -1 : open_regular(row->diff->lower, c->old, false);
	bool twin = c->node != NULL && c->node->twin; /* its content is the lower's */
	cleanup_close int b = c->op == 'R' ? -1
			      : twin       ? open_regular(row->diff->lower, c->node->mark, false)
					   : open_regular(row->diff->upper, c->path, true);
	const struct cow_version old = {a, shown};
	const struct cow_version new = {b, shown};

	memset(lines, 0, sizeof(*lines));
	return a < 0 && b < 0 ? 0 : cow_hunks_count(&old, &new, lines, err);
}

/* Signs in proportion, but at least one of each kind there is. */
static void print_bar(const struct cow_lines *lines)
{
	size_t all = lines->added + lines->removed;
	size_t plus = all <= BAR ? lines->added : lines->added * BAR / all;
	size_t minus = all <= BAR ? lines->removed : lines->removed * BAR / all;

	plus += plus == 0 && lines->added > 0 ? 1 : 0;
	minus += minus == 0 && lines->removed > 0 ? 1 : 0;
	while (plus-- > 0)
		putchar('+');
	while (minus-- > 0)
		putchar('-');
}

static void print_row(const struct cow_row *row, const struct cow_lines *lines)
{
	cleanup_free char *old = row->old != NULL ? cow_quote_path(row->old) : NULL;
	cleanup_free char *path = row->path != NULL ? cow_quote_path(row->path) : NULL;

	printf(" %c ", row->change->op);
	if (row->change->op == 'R')
		printf("%s -> %s", old, path);
	else
		fputs(path != NULL ? path : old, stdout);
	if (lines->binary)
		fputs(" | binary", stdout);
	else if (lines->added + lines->removed > 0) {
		printf(" | %zu ", lines->added + lines->removed);
		print_bar(lines);
	}
	putchar('\n');
}

int cow_patch_stat(const struct cow_rows *rows, struct cow_error **err)
{
	struct cow_lines sum = {0};

	for (size_t i = 0; i < rows->count; i++) {
		struct cow_lines lines;

		if (count(&rows->list[i], &lines, err) != 0)
			return -1;
		print_row(&rows->list[i], &lines);
		sum.added += lines.added;
		sum.removed += lines.removed;
	}
	printf(" %zu change%s, %zu line%s added, %zu line%s removed\n", rows->count, rows->count == 1 ? "" : "s",
	       sum.added, sum.added == 1 ? "" : "s", sum.removed, sum.removed == 1 ? "" : "s");
	return cow_command_flush(err);
}
