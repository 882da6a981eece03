#include "hunk.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "rows.h"

extern char **environ;

enum { BINARY_WITHIN = 8000 }; /* as git and diff take it */

static const char red[] = "\033[31m", green[] = "\033[32m", cyan[] = "\033[36m", bold[] = "\033[1m", off[] = "\033[0m";

/* As git has it: what is larger is not looked into. */
#define LARGE ((off_t)512 << 20)

/* What becomes of the lines: they are counted, or else printed. */
struct sink {
	const struct cow_style *style;
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

static void put_names(const struct cow_version *old, const struct cow_version *new, const struct cow_style *style)
{
	const char *on = style->color ? bold : "";
	const char *end = style->color ? off : "";

	printf("%s--- %s%s\n%s+++ %s%s\n", on, old->label, end, on, new->label, end);
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

static int take_whole(const struct cow_version *old, const struct cow_version *new, const struct sink *sink)
{
	const struct cow_version *only = old->fd >= 0 ? old : new;
	ssize_t lines = count_lines(only->fd);
	char range[32];

	if (lines < 0)
		return -1;
	if (sink->lines != NULL) {
		*(only == old ? &sink->lines->removed : &sink->lines->added) = (size_t)lines;
		return 0;
	}
	if (lines == 0)
		return 0;
	put_names(old, new, sink->style);
	snprintf(range, sizeof(range), lines == 1 ? "1" : "1,%zd", lines);
	printf("%s@@ -%s +%s @@%s\n", sink->style->color ? cyan : "", only == old ? range : "0,0",
	       only == old ? "0,0" : range, sink->style->color ? off : "");
	return print_lines(only->fd, only == old ? '-' : '+', sink->style);
}

/* --- diff(1) -------------------------------------------------------------------------------------------------------
 */

/* Starts diff with the two files as descriptors 3 and 4. 0 or an errno. */
static int start_diff(const struct cow_version *old, const struct cow_version *new, int out, pid_t *pid)
{
	/* No shell, and no name that a container chose. */
	static char *const argv[] = {
		(char *)"diff",      (char *)"-u", (char *)"--text", (char *)"--", (char *)"/dev/fd/3",
		(char *)"/dev/fd/4", NULL};
	/* Above what they are to become, so that neither is overwritten before it is used. */
	cleanup_close int a = fcntl(old->fd, F_DUPFD_CLOEXEC, 10);
	cleanup_close int b = fcntl(new->fd, F_DUPFD_CLOEXEC, 10);
	posix_spawn_file_actions_t actions;
	int error;

	if (a < 0 || b < 0)
		return errno;
	error = posix_spawn_file_actions_init(&actions);
	if (error != 0)
		return error;
	error = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	if (error == 0)
		error = posix_spawn_file_actions_adddup2(&actions, a, 3);
	if (error == 0)
		error = posix_spawn_file_actions_adddup2(&actions, b, 4);
	if (error == 0)
		error = posix_spawnp(pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

static int wait_diff(pid_t pid, struct cow_error **err)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return cow_error_set(err, errno, "diff");
	if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
		return cow_error_set(err, 0, "diff(1) failed");
	return 0;
}

/* The first two lines name the files: ours stand for them. Takes the descriptor. */
static int take_output(int fd, const struct cow_version *old, const struct cow_version *new, const struct sink *sink)
{
	cleanup_file FILE *in = fdopen(fd, "r");
	cleanup_free char *line = NULL;
	size_t room = 0;
	ssize_t n;

	if (in == NULL) {
		close(fd);
		return -1;
	}
	for (size_t number = 0; (n = getline(&line, &room, in)) > 0; number++) {
		if (number == 0 && sink->lines == NULL)
			put_names(old, new, sink->style);
		if (number < 2)
			continue;
		if (sink->lines == NULL) {
			put_line(line, (size_t)n, sink->style);
		} else {
			sink->lines->added += *line == '+' ? 1 : 0;
			sink->lines->removed += *line == '-' ? 1 : 0;
		}
	}
	return ferror(in) ? -1 : 0;
}

static int run_diff(const struct cow_version *old, const struct cow_version *new, const struct sink *sink,
		    struct cow_error **err)
{
	int ends[2];
	pid_t pid;
	int error;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return cow_error_set(err, errno, "pipe");
	error = start_diff(old, new, ends[1], &pid);
	close(ends[1]);
	if (error != 0) {
		close(ends[0]);
		return cow_error_set(err, error, "cannot run diff");
	}
	if (take_output(ends[0], old, new, sink) != 0)
		error = errno;
	if (wait_diff(pid, err) != 0)
		return -1;
	return error == 0 ? 0 : cow_error_set(err, error, "cannot read what diff says");
}

/* -------------------------------------------------------------------------------------------------------------------
 */

static int take(const struct cow_version *old, const struct cow_version *new, const struct sink *sink,
		struct cow_error **err)
{
	int a = old->fd >= 0 ? is_binary(old->fd) : 0;
	int b = new->fd >= 0 ? is_binary(new->fd) : 0;

	if (a < 0 || b < 0)
		return cow_error_set(err, errno, "cannot read %s", a < 0 ? old->label : new->label);
	if (a > 0 || b > 0) {
		if (sink->lines != NULL)
			sink->lines->binary = true;
		else
			printf("Binary files %s and %s differ\n", old->label, new->label);
		return 0;
	}
	if (old->fd >= 0 && new->fd >= 0)
		return run_diff(old, new, sink, err);
	if (take_whole(old, new, sink) != 0)
		return cow_error_set(err, errno, "cannot read %s", old->fd >= 0 ? old->label : new->label);
	return 0;
}

int cow_hunks_print(const struct cow_version *old, const struct cow_version *new, const struct cow_style *style,
		    struct cow_error **err)
{
	const struct sink sink = {style, NULL};

	return take(old, new, &sink, err);
}

int cow_hunks_count(const struct cow_version *old, const struct cow_version *new, struct cow_lines *lines,
		    struct cow_error **err)
{
	const struct sink sink = {NULL, lines};

	memset(lines, 0, sizeof(*lines));
	return take(old, new, &sink, err);
}
