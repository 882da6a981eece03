#include "hunk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "rows.h"

enum { BINARY_WITHIN = 8000 }; /* as git and diff take it */

static const char red[] = "\033[31m", green[] = "\033[32m", cyan[] = "\033[36m", bold[] = "\033[1m", off[] = "\033[0m";

/* As git has it: what is larger is not looked into. */
#define LARGE ((off_t)512 << 20)

/* What becomes of the lines: they are counted, or else printed. */
struct sink {
	const struct cow_style *style;
	const char *old, *new; /* what stands behind --- and +++ */
	struct cow_lines *lines;
};

/* --- printing ------------------------------------------------------------------------------------------------------
 */

/* May a terminal have it? U+0080 to U+009F are control characters, too. */
static bool is_printable(const char *c, size_t size)
{
	unsigned char first = (unsigned char)c[0];

	if (size == 1)
		return first == '\t' || (first >= ' ' && first != 0x7f);
	return size > 2 || (size == 2 && (first > 0xc2 || (unsigned char)c[1] >= 0xa0));
}

/* Text as it is, or for a terminal: ^[ for an escape, <9b> for a byte that is no text. */
static void put_text(const char *text, size_t length, bool guard)
{
	if (!guard) {
		fwrite(text, 1, length, stdout);
		return;
	}
	for (size_t i = 0; i < length;) {
		size_t size = cow_utf8_length(text + i, length - i);

		if (is_printable(text + i, size))
			fwrite(text + i, 1, size, stdout);
		else if (size == 1)
			printf("^%c", text[i] ^ 0x40);
		else
			printf("<%02x>", (unsigned char)text[i + (size == 2 ? 1 : 0)]);
		i += size > 0 ? size : 1;
	}
}

/* A line of a hunk, with or without its end. */
static void put_line(const char *line, size_t length, const struct cow_style *style)
{
	const char *on = *line == '+' ? green : *line == '-' ? red : *line == '@' ? cyan : "";
	bool ends = length > 0 && line[length - 1] == '\n';

	if (style->color)
		fputs(on, stdout);
	put_text(line, length - (ends ? 1 : 0), style->guard);
	if (style->color && *on != '\0')
		fputs(off, stdout);
	putchar('\n');
}

static void put_names(const struct sink *sink)
{
	const char *on = sink->style->color ? bold : "";
	const char *end = sink->style->color ? off : "";

	printf("%s--- %s%s\n%s+++ %s%s\n", on, sink->old, end, on, sink->new, end);
}

/* --- new or gone ---------------------------------------------------------------------------------------------------
 */

/* A NUL near the beginning, or too large: 1, 0 or -1 with errno. */
static int is_binary(int fd)
{
	char buf[BINARY_WITHIN];
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) != 0)
		return -1;
	if (st.st_size > LARGE)
		return 1;
	do
		n = pread(fd, buf, sizeof(buf), 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -1 : memchr(buf, '\0', (size_t)n) != NULL;
}

/* From the beginning. The position is shared with `fd`, which nobody else reads on. */
static FILE *open_stream(int fd)
{
	cleanup_close int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	FILE *in;

	if (copy < 0 || lseek(copy, 0, SEEK_SET) < 0 || (in = fdopen(copy, "r")) == NULL)
		return NULL;
	(void)cow_steal_fd(&copy);
	return in;
}

/* The number of lines, or -1. */
static ssize_t count_lines(int fd)
{
	cleanup_file FILE *in = open_stream(fd);
	cleanup_free char *line = NULL;
	size_t room = 0;
	ssize_t lines = 0;

	while (in != NULL && getline(&line, &room, in) > 0)
		lines++;
	return in == NULL || ferror(in) ? -1 : lines;
}

/* Every line of the file behind a sign. */
static int print_lines(int fd, char sign, const struct cow_style *style)
{
	cleanup_file FILE *in = open_stream(fd);
	cleanup_free char *line = NULL;
	size_t room = 0;
	bool ends = true;
	ssize_t n;

	while (in != NULL && (n = getline(&line, &room, in)) > 0) {
		ends = line[n - 1] == '\n';
		if (style->color)
			fputs(sign == '+' ? green : red, stdout);
		putchar(sign);
		put_text(line, (size_t)n - (ends ? 1 : 0), style->guard);
		puts(style->color ? off : "");
	}
	if (!ends)
		puts("\\ No newline at end of file");
	return in == NULL || ferror(in) ? -1 : 0;
}

static int take_whole(const struct cow_text *t, const struct sink *sink)
{
	bool old = t->old >= 0;
	int only = old ? t->old : t->new;
	ssize_t lines = count_lines(only);
	char range[32];

	if (lines < 0)
		return -1;
	if (sink->lines != NULL) {
		*(old ? &sink->lines->removed : &sink->lines->added) = (size_t)lines;
		return 0;
	}
	if (lines == 0)
		return 0;
	put_names(sink);
	snprintf(range, sizeof(range), lines == 1 ? "1" : "1,%zd", lines);
	printf("%s@@ -%s +%s @@%s\n", sink->style->color ? cyan : "", old ? range : "0,0", old ? "0,0" : range,
	       sink->style->color ? off : "");
	return print_lines(only, old ? '-' : '+', sink->style);
}

/* --- changed -------------------------------------------------------------------------------------------------------
 */

static void take_lines(struct cow_pairs *pairs, const struct cow_text *t, const struct sink *sink)
{
	const char *line;
	size_t length;

	for (bool first = true; (line = cow_pairs_line(pairs, t->pair, &length)) != NULL; first = false) {
		if (sink->lines == NULL) {
			if (first)
				put_names(sink);
			put_line(line, length, sink->style);
		} else {
			sink->lines->added += *line == '+' ? 1 : 0;
			sink->lines->removed += *line == '-' ? 1 : 0;
		}
	}
}

/* -------------------------------------------------------------------------------------------------------------------
 */

int cow_text_add(struct cow_pairs *pairs, struct cow_text *t, const char *path, struct cow_error **err)
{
	int binary = t->old >= 0 ? is_binary(t->old) : 0;
	ssize_t index;

	if (binary == 0 && t->new >= 0)
		binary = is_binary(t->new);
	if (binary < 0)
		return cow_error_set(err, errno, "cannot read %s", path);
	if (binary > 0) {
		cow_text_clear(t);
		t->kind = COW_TEXT_BINARY;
	} else if (t->old >= 0 && t->new >= 0) {
		t->kind = COW_TEXT_PAIR;
		index = cow_pairs_add(pairs, &t->old, t->new, path);
		if (index < 0)
			return cow_error_set(err, errno, "cannot compare %s", path);
		t->pair = (size_t)index;
	} else {
		t->kind = COW_TEXT_WHOLE;
		cow_pairs_note(pairs, t->old >= 0 ? t->old : t->new);
	}
	return 0;
}

static int take(struct cow_pairs *pairs, const struct cow_text *t, const struct sink *sink)
{
	if (t->kind == COW_TEXT_WHOLE)
		return take_whole(t, sink);
	if (t->kind == COW_TEXT_PAIR)
		take_lines(pairs, t, sink);
	else if (sink->lines != NULL)
		sink->lines->binary = true;
	else
		printf("Binary files %s and %s differ\n", sink->old, sink->new);
	return 0;
}

int cow_text_print(struct cow_pairs *pairs, const struct cow_text *t, const char *old, const char *new,
		   const struct cow_style *style, struct cow_error **err)
{
	const struct sink sink = {style, old, new, NULL};

	return take(pairs, t, &sink) == 0 ? 0 : cow_error_set(err, errno, "cannot read %s", t->old >= 0 ? old : new);
}

int cow_text_count(struct cow_pairs *pairs, const struct cow_text *t, const char *path, struct cow_lines *lines,
		   struct cow_error **err)
{
	const struct sink sink = {.lines = lines};

	memset(lines, 0, sizeof(*lines));
	return take(pairs, t, &sink) == 0 ? 0 : cow_error_set(err, errno, "cannot read %s", path);
}

void cow_text_clear(struct cow_text *t)
{
	cow_close_fd(&t->old);
	cow_close_fd(&t->new);
}
