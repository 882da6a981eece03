#include "pairs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/fd.h"

extern char **environ;

enum {
	FEW = 10, /* the first of the numbers of two digits, and of three */
	MANY = 100,
	DIGIT = 10,
	FREE = 16, /* descriptors that the work on one file may take */
	NAME = 32,
};

void cow_pairs_init(struct cow_pairs *p)
{
	struct rlimit limit;
	rlim_t most;

	memset(p, 0, sizeof(*p));
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		limit.rlim_cur = FEW * DIGIT;
	p->first = limit.rlim_cur >= 2 * MANY ? MANY : FEW;
	most = (rlim_t)p->first * DIGIT;
	p->limit = (int)(limit.rlim_cur < most ? limit.rlim_cur : most) - FREE;
}

void cow_pairs_note(struct cow_pairs *p, int fd)
{
	if (fd >= p->limit)
		p->full = true;
}

ssize_t cow_pairs_add(struct cow_pairs *p, int *old, int new, const char *path)
{
	size_t index = p->count;
	int number = fcntl(*old, F_DUPFD_CLOEXEC, index > 0 ? p->old[index - 1] + 1 : p->first);

	if (number < 0)
		return -1;
	close(*old);
	*old = p->old[index] = number;
	if (number >= p->first * DIGIT) {
		errno = EMFILE;
		return -1;
	}
	p->new[index] = new;
	p->paths[index] = path;
	p->count++;
	/* The next one gets a higher number than this. */
	if (p->count == COW_PAIRS_MAX || number + 1 >= p->limit)
		p->full = true;
	cow_pairs_note(p, new);
	return (ssize_t)index;
}

/* --- the processes -------------------------------------------------------------------------------------------------
 */

/* Closes all but the versions and `last`, which is above them. */
static int close_others(const struct cow_pairs *p, int last)
{
	unsigned from = 0;

	for (size_t i = 0; i <= p->count; i++) {
		unsigned kept = (unsigned)(i < p->count ? p->old[i] : last);

		if (kept > from && close_range(from, kept - 1, 0) != 0)
			return -1;
		from = kept + 1;
	}
	return close_range(from, ~0U, 0);
}

/* What a holder does: makes /proc/PID/fd what it is to be, says its name, and stays. */
static void hold(const struct cow_pairs *p, const int *versions, int ready, pid_t parent)
{
	int last = fcntl(ready, F_DUPFD_CLOEXEC, p->old[p->count - 1] + 1);
	char name[NAME];
	ssize_t n;

	if (last < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(1);
	for (size_t i = 0; i < p->count; i++)
		if (dup2(versions[i], p->old[i]) < 0)
			_exit(1);
	/* Of the process namespace that /proc is of, which need not be ours. */
	n = readlink("/proc/self", name, sizeof(name));
	if (n < 0 || close_others(p, last) != 0 || cow_write_all(last, name, (size_t)n) != 0)
		_exit(1);
	/* When the other end sees this, nothing else is open. */
	close(last);
	for (;;)
		pause();
}

/* Returns when the holder has nothing else open any more. `dir`: the directory of its descriptors. 0 or an errno. */
static int start_holder(const struct cow_pairs *p, const int *versions, pid_t *pid, char dir[2 * NAME])
{
	cleanup_close int ready = -1;
	cleanup_free char *name = NULL;
	pid_t parent = getpid();
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return errno;
	ready = ends[0];
	*pid = fork();
	if (*pid == 0)
		hold(p, versions, ends[1], parent);
	close(ends[1]);
	if (*pid < 0)
		return errno;
	name = cow_read_to_end(ready, NAME, NULL);
	if (name == NULL)
		return errno;
	snprintf(dir, (size_t)2 * NAME, "/proc/%s/fd", name);
	return *name != '\0' ? 0 : ESRCH;
}

/* 0 or an errno. */
static int start_diff(char *old, char *new, int out, pid_t *pid)
{
	/* No shell, and no name that a container chose. */
	char *const argv[] = {(char *)"diff", (char *)"-ru", (char *)"--text", (char *)"--", old, new, NULL};
	posix_spawn_file_actions_t actions;
	int error;

	/* What it says is the same everywhere, as is what is said without it; and it need not look for a time zone. */
	if (setenv("LC_ALL", "C", 1) != 0 || setenv("TZ", "UTC0", 1) != 0)
		return errno;
	error = posix_spawn_file_actions_init(&actions);
	if (error != 0)
		return error;
	error = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	if (error == 0)
		error = posix_spawnp(pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

int cow_pairs_start(struct cow_pairs *p, struct cow_error **err)
{
	char old[2 * NAME], new[2 * NAME];
	int ends[2];
	int error;

	p->silent = p->count;
	if (p->count == 0)
		return 0;
	error = start_holder(p, p->old, &p->holders[0], old);
	if (error == 0)
		error = start_holder(p, p->new, &p->holders[1], new);
	if (error != 0)
		return cow_error_set(err, error, "cannot prepare a comparison");
	if (pipe2(ends, O_CLOEXEC) != 0)
		return cow_error_set(err, errno, "pipe");
	error = start_diff(old, new, ends[1], &p->diff);
	close(ends[1]);
	if (error == 0 && (p->out = fdopen(ends[0], "r")) == NULL)
		error = errno;
	if (error != 0) {
		close(ends[0]);
		return cow_error_set(err, error, "cannot run diff");
	}
	return 0;
}

static void end_holder(pid_t *pid)
{
	if (*pid > 0) {
		kill(*pid, SIGKILL);
		while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	*pid = 0;
}

static int wait_diff(const struct cow_pairs *p, struct cow_error **err)
{
	int status;

	while (waitpid(p->diff, &status, 0) < 0)
		if (errno != EINTR)
			return cow_error_set(err, errno, "diff");
	if (WIFEXITED(status) && WEXITSTATUS(status) <= 1)
		return 0;
	/* It has said what is wrong, but names a descriptor. */
	if (p->silent < p->count)
		return cow_error_set(err, 0, "diff(1) failed, first perhaps at %s", p->paths[p->silent]);
	return cow_error_set(err, 0, "diff(1) failed");
}

int cow_pairs_finish(struct cow_pairs *p, struct cow_error **err)
{
	int error = 0;
	bool strange;

	if (p->out != NULL && ferror(p->out))
		error = cow_error_set(err, errno, "cannot read what diff says");
	/* What was not asked for by now is no pair's. */
	strange = p->strange || p->announced || (p->out != NULL && error == 0 && getc(p->out) != EOF);
	/* If it still writes, that ends it. */
	cow_close_file(&p->out);
	if (p->diff > 0 && wait_diff(p, error == 0 ? err : NULL) != 0)
		error = -1;
	if (error == 0 && strange)
		error = cow_error_set(err, 0, "diff(1) says what it was not asked");
	end_holder(&p->holders[0]);
	end_holder(&p->holders[1]);
	free(p->line);
	cow_pairs_init(p);
	return error;
}

/* --- what diff says ------------------------------------------------------------------------------------------------
 */

/* The number that "diff … /proc/PID/fd/OLD /proc/PID/fd/NEW" ends with, which is that of both. */
static int number_of(const char *header)
{
	const char *slash = strrchr(header, '/');

	return slash != NULL ? (int)strtol(slash + 1, NULL, 10) : 0;
}

/* By the first character of a line. */
static bool is_of_hunk(char c)
{
	return c == ' ' || c == '+' || c == '-' || c == '@' || c == '\\';
}

const char *cow_pairs_line(struct cow_pairs *p, size_t index, size_t *length)
{
	ssize_t n;

	for (;;) {
		if (p->announced && p->at != p->old[index])
			break;
		p->announced = false;
		n = getline(&p->line, &p->room, p->out);
		if (n <= 0)
			break;
		if (p->names > 0) {
			p->names--;
		} else if (strncmp(p->line, "diff ", 5) == 0) {
			/* No line of a hunk begins so. */
			p->at = number_of(p->line);
			p->announced = true;
			p->names = 2;
		} else if (p->at == p->old[index] && is_of_hunk(*p->line)) {
			*length = (size_t)n;
			p->told = true;
			return p->line;
		} else {
			p->strange = true;
		}
	}
	if (!p->told && p->silent == p->count)
		p->silent = index;
	p->told = false;
	return NULL;
}
