/* cowrun branch diff --stat */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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

/* A row that waits until there are enough for one diff(1). */
struct counted {
	const struct cow_row *row;
	bool has_text;
	struct cow_text text;
};

struct counter {
	struct cow_error **err;
	struct cow_pairs pairs;
	struct cow_lines sum;
	size_t count;
	struct counted queue[COW_PAIRS_MAX];
};

static const char *shown_path(const struct cow_row *row)
{
	return row->path != NULL ? row->path : row->old;
}

static int prepare(struct counted *c, const struct cow_row *row, struct cow_pairs *pairs, struct cow_error **err)
{
	const struct cow_change *change = row->change;
	bool twin = change->node != NULL && change->node->twin; /* its content is the lower's */

	c->row = row;
	c->text = (struct cow_text){.old = -1, .new = -1};
	if (change->op != 'R') {
		c->text.old = open_regular(row->diff->lower, change->old, false);
		c->text.new = twin ? open_regular(row->diff->lower, change->node->mark, false)
				   : open_regular(row->diff->upper, change->path, true);
	}
	c->has_text = c->text.old >= 0 || c->text.new >= 0;
	return c->has_text ? cow_text_add(pairs, &c->text, shown_path(row), err) : 0;
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

static int flush(struct counter *c, struct cow_error **err)
{
	int error = cow_pairs_start(&c->pairs, err);

	for (size_t i = 0; i < c->count && error == 0; i++) {
		const struct counted *one = &c->queue[i];
		struct cow_lines lines = {0};

		if (one->has_text)
			error = cow_text_count(&c->pairs, &one->text, shown_path(one->row), &lines, err);
		if (error == 0)
			print_row(one->row, &lines);
		c->sum.added += lines.added;
		c->sum.removed += lines.removed;
	}
	if (cow_pairs_finish(&c->pairs, error == 0 ? err : NULL) != 0)
		error = -1;
	for (size_t i = 0; i < c->count; i++)
		cow_text_clear(&c->queue[i].text);
	c->count = 0;
	return error;
}

static int put(struct counter *c, const struct cow_row *row)
{
	struct counted *one = &c->queue[c->count];

	if (prepare(one, row, &c->pairs, c->err) != 0) {
		cow_text_clear(&one->text);
		return -1;
	}
	c->count++;
	return c->count == COW_PAIRS_MAX || cow_pairs_full(&c->pairs) ? flush(c, c->err) : 0;
}

int cow_patch_stat(const struct cow_rows *rows, struct cow_error **err)
{
	cleanup_free struct counter *c = calloc(1, sizeof(*c));
	int error = 0;

	if (c == NULL)
		abort();
	c->err = err;
	cow_pairs_init(&c->pairs);
	for (size_t i = 0; i < rows->count && error == 0; i++)
		error = put(c, &rows->list[i]);
	if (flush(c, error == 0 ? err : NULL) != 0)
		error = -1;
	if (error != 0)
		return -1;
	printf(" %zu change%s, %zu line%s added, %zu line%s removed\n", rows->count, rows->count == 1 ? "" : "s",
	       c->sum.added, c->sum.added == 1 ? "" : "s", c->sum.removed, c->sum.removed == 1 ? "" : "s");
	return cow_command_flush(err);
}
