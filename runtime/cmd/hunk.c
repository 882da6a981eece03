#include "hunk.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/fd.h"

extern char **environ;

enum { ROOM = 1 << 16, BINARY_WITHIN = 8000 };

static const char red[] = "\033[31m", green[] = "\033[32m", cyan[] = "\033[36m", bold[] = "\033[1m", off[] = "\033[0m";

/* --- new or gone ---------------------------------------------------------------------------------------------------
 */

struct text {
	size_t lines;
	bool binary, ends; /* the last line ends with a newline */
};

static ssize_t read_at(int fd, char *buf, off_t at)
{
	ssize_t n;

	do
		n = pread(fd, buf, ROOM, at);
	while (n < 0 && errno == EINTR);
	return n;
}

/* Binary, as git and diff take it: a NUL near the beginning. */
static int examine(int fd, struct text *text)
{
	cleanup_free char *buf = malloc(ROOM);
	ssize_t n;

	*text = (struct text){.ends = true};
	if (buf == NULL)
		return -1;
	for (off_t at = 0; (n = read_at(fd, buf, at)) > 0; at += n) {
		if (at == 0 && memchr(buf, '\0', (size_t)(n < BINARY_WITHIN ? n : BINARY_WITHIN)) != NULL) {
			text->binary = true;
			return 0;
		}
		for (char *p = buf; (p = memchr(p, '\n', (size_t)(buf + n - p))) != NULL; p++)
			text->lines++;
		text->ends = buf[n - 1] == '\n';
	}
	text->lines += text->ends ? 0 : 1;
	return n < 0 ? -1 : 0;
}

/* Every line of the file behind a sign. */
static int print_lines(int fd, char sign, bool color)
{
	cleanup_free char *buf = malloc(ROOM);
	bool begin = true;
	ssize_t n;

	if (buf == NULL)
		return -1;
	for (off_t at = 0; (n = read_at(fd, buf, at)) > 0; at += n)
		for (char *p = buf; p < buf + n;) {
			char *end = memchr(p, '\n', (size_t)(buf + n - p));
			size_t length = (size_t)((end != NULL ? end : buf + n) - p);

			if (begin)
				printf("%s%c", color ? (sign == '+' ? green : red) : "", sign);
			fwrite(p, 1, length, stdout);
			if (end != NULL)
				printf("%s\n", color ? off : "");
			begin = end != NULL;
			p += length + (end != NULL ? 1 : 0);
		}
	if (n == 0 && !begin)
		printf("%s\n\\ No newline at end of file\n", color ? off : "");
	return n < 0 ? -1 : 0;
}

static int print_whole(const struct cow_version *old, const struct cow_version *new, bool color)
{
	const struct cow_version *only = old->fd >= 0 ? old : new;
	struct text text;

	if (examine(only->fd, &text) != 0)
		return -1;
	if (text.binary) {
		printf("Binary files %s and %s differ\n", old->label, new->label);
		return 0;
	}
	if (text.lines == 0)
		return 0;
	printf("%s--- %s%s\n%s+++ %s%s\n%s", color ? bold : "", old->label, color ? off : "", color ? bold : "",
	       new->label, color ? off : "", color ? cyan : "");
	if (only == old)
		printf(text.lines == 1 ? "@@ -1 +0,0 @@" : "@@ -1,%zu +0,0 @@", text.lines);
	else
		printf(text.lines == 1 ? "@@ -0,0 +1 @@" : "@@ -0,0 +1,%zu @@", text.lines);
	printf("%s\n", color ? off : "");
	return print_lines(only->fd, only == old ? '-' : '+', color);
}

/* --- diff(1) -------------------------------------------------------------------------------------------------------
 */

/* diff's own verdict would come as exit status 2, which also means trouble. 1, 0 or -1 with errno. */
static int is_binary(int fd)
{
	cleanup_free char *buf = malloc(ROOM);
	ssize_t n = buf == NULL ? -1 : read_at(fd, buf, 0);

	return n < 0 ? -1 : memchr(buf, '\0', (size_t)(n < BINARY_WITHIN ? n : BINARY_WITHIN)) != NULL;
}

static int either_binary(const struct cow_version *old, const struct cow_version *new, struct cow_error **err)
{
	int a = is_binary(old->fd);
	int b = is_binary(new->fd);

	if (a < 0 || b < 0)
		return cow_error_set(err, errno, "cannot read %s", a < 0 ? old->label : new->label);
	return a > 0 || b > 0;
}

/* Starts diff with the two files as descriptors 3 and 4 and `out` as its output. 0 or an errno. */
static int start_diff(const struct cow_version *old, const struct cow_version *new, bool color, int out, pid_t *pid)
{
	/* No shell and no names of the branch but in the labels, which come behind their option. */
	char *const argv[] = {"diff",      "-u",
			      "--text",    color ? "--color=always" : "--color=never",
			      "--label",   (char *)old->label,
			      "--label",   (char *)new->label,
			      "--",        "/dev/fd/3",
			      "/dev/fd/4", NULL};
	/* Above what they are to become, so that neither is overwritten before it is used. */
	cleanup_close int a = fcntl(old->fd, F_DUPFD_CLOEXEC, 10);
	cleanup_close int b = fcntl(new->fd, F_DUPFD_CLOEXEC, 10);
	posix_spawn_file_actions_t actions;
	int error;

	if (a < 0 || b < 0 || lseek(a, 0, SEEK_SET) < 0 || lseek(b, 0, SEEK_SET) < 0)
		return errno;
	error = posix_spawn_file_actions_init(&actions);
	if (error != 0)
		return error;
	if (out != STDOUT_FILENO)
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

int cow_hunks_print(const struct cow_version *old, const struct cow_version *new, bool color, struct cow_error **err)
{
	pid_t pid;
	int binary, error;

	if (old->fd < 0 || new->fd < 0) {
		if (print_whole(old, new, color) != 0)
			return cow_error_set(err, errno, "cannot read %s", old->fd >= 0 ? old->label : new->label);
		return 0;
	}
	binary = either_binary(old, new, err);
	if (binary > 0)
		printf("Binary files %s and %s differ\n", old->label, new->label);
	if (binary != 0)
		return binary < 0 ? -1 : 0;
	fflush(stdout);
	error = start_diff(old, new, color, STDOUT_FILENO, &pid);
	if (error != 0)
		return cow_error_set(err, error, "cannot run diff");
	return wait_diff(pid, err);
}

/* Hunks are told from the two header lines by their place: a removed line may begin with "--". */
static int count_output(int fd, struct cow_lines *lines)
{
	cleanup_file FILE *in = fdopen(fd, "r");
	cleanup_free char *line = NULL;
	size_t room = 0;

	if (in == NULL) {
		close(fd);
		return -1;
	}
	for (size_t number = 0; getline(&line, &room, in) > 0; number++) {
		if (number < 2)
			continue;
		lines->added += *line == '+' ? 1 : 0;
		lines->removed += *line == '-' ? 1 : 0;
	}
	return ferror(in) ? -1 : 0;
}

int cow_hunks_count(const struct cow_version *old, const struct cow_version *new, struct cow_lines *lines,
		    struct cow_error **err)
{
	int ends[2];
	pid_t pid;
	int binary, error;

	memset(lines, 0, sizeof(*lines));
	if (old->fd < 0 || new->fd < 0) {
		struct text text;

		if (examine(old->fd >= 0 ? old->fd : new->fd, &text) != 0)
			return cow_error_set(err, errno, "cannot read %s", old->fd >= 0 ? old->label : new->label);
		lines->binary = text.binary;
		*(old->fd >= 0 ? &lines->removed : &lines->added) = text.lines;
		return 0;
	}
	binary = either_binary(old, new, err);
	lines->binary = binary > 0;
	if (binary != 0)
		return binary < 0 ? -1 : 0;
	if (pipe2(ends, O_CLOEXEC) != 0)
		return cow_error_set(err, errno, "pipe");
	error = start_diff(old, new, false, ends[1], &pid);
	close(ends[1]);
	if (error != 0) {
		close(ends[0]);
		return cow_error_set(err, error, "cannot run diff");
	}
	if (count_output(ends[0], lines) != 0)
		error = errno;
	if (wait_diff(pid, err) != 0)
		return -1;
	return error == 0 ? 0 : cow_error_set(err, error, "cannot read what diff says");
}
