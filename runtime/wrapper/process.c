#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../lib/fd.h"

extern char **environ;

enum { OUTPUT_MAX = 1 << 20, EXEC_FAILED = 127, STACK_SIZE = 1 << 16 };

static const int forwarded[] = {SIGHUP,  SIGINT,  SIGTERM,  SIGQUIT, SIGUSR1, SIGUSR2,
				SIGALRM, SIGCONT, SIGWINCH, SIGPIPE, SIGIO,   SIGURG};
enum { FORWARDED = sizeof(forwarded) / sizeof(*forwarded) };
static const int ending[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};

int cow_process_become(const char *path, char *const argv[], struct cow_error **err)
{
	execv(path, argv);
	return cow_error_set(err, errno, "cannot execute %s", path);
}

/* --- signals ------------------------------------------------------------------------------------------------------ */

void cow_signals_hold(struct cow_signals *s)
{
	struct sigaction chld = {.sa_handler = SIG_DFL};

	sigemptyset(&s->held);
	for (size_t i = 0; i < FORWARDED; i++)
		sigaddset(&s->held, forwarded[i]);
	sigaddset(&s->held, SIGCHLD);
	sigprocmask(SIG_BLOCK, &s->held, &s->before);
	sigaction(SIGCHLD, &chld, &s->chld); /* if it was ignored, nobody's status could be waited for */
	s->active = true;
}

void cow_signals_release(struct cow_signals *s)
{
	if (!s->active)
		return;
	sigaction(SIGCHLD, &s->chld, NULL);
	sigprocmask(SIG_SETMASK, &s->before, NULL);
	s->active = false;
}

int cow_signals_pending(const struct cow_signals *s)
{
	const struct timespec now = {0};
	sigset_t set;
	int signal;

	(void)s;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ending) / sizeof(*ending); i++)
		sigaddset(&set, ending[i]);
	signal = sigtimedwait(&set, NULL, &now);
	return signal > 0 ? signal : 0;
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

/* sd_listen_fds(3): the descriptors are meant for one process, by its number. They were for us, and we stand for it. */
static void pass_listen_pid(pid_t parent)
{
	const char *value = getenv("LISTEN_PID");
	char text[24];

	if (value == NULL || strtol(value, NULL, 10) != (long)parent)
		return;
	snprintf(text, sizeof(text), "%ld", (long)getpid());
	setenv("LISTEN_PID", text, 1);
}

static void without_stdio(int keep)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
	/* Every other one closes when the program is executed, but for what it is given. */
	syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
	if (keep >= 0)
		fcntl(keep, F_SETFD, 0);
}

/*
 * The child begins in our memory and we stand still until it has executed (CLONE_VM, CLONE_VFORK): a fork would copy
 * the page tables for nothing, and each page that is touched afterwards would fault once more in both. What it must not
 * do is return.
 */
struct start {
	const struct cow_process *process;
	const struct cow_signals *signals;
	pid_t parent;
	int errnum; /* why it could not be executed */
};

static int execute(void *start)
{
	struct start *of = start;
	const struct cow_process *p = of->process;
	const struct cow_signals *s = of->signals;

	if (p->fd >= 0 && p->fd == p->fd_number)
		fcntl(p->fd, F_SETFD, 0);
	else if (p->fd >= 0)
		dup2(p->fd, p->fd_number);
	if (p->detached)
		without_stdio(p->fd >= 0 ? p->fd_number : -1);
	else
		pass_listen_pid(of->parent);
	if (s != NULL && s->active) {
		sigaction(SIGCHLD, &s->chld, NULL);
		sigprocmask(SIG_SETMASK, &s->before, NULL);
	}
	execv(p->path, p->argv);
	of->errnum = errno;
	_exit(EXEC_FAILED);
}

pid_t cow_process_start(const struct cow_process *p, const struct cow_signals *s, struct cow_error **err)
{
	struct start start = {.process = p, .signals = s, .parent = getpid(), .errnum = 0};
	cleanup_free char *stack = malloc(STACK_SIZE);
	pid_t pid;

	if (stack == NULL)
		abort();
	pid = clone(execute, stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | SIGCHLD, &start);
	if (pid < 0)
		return cow_error_set(err, errno, "clone");
	if (start.errnum == 0)
		return pid;
	waitpid(pid, NULL, 0);
	return cow_error_set(err, start.errnum, "cannot execute %s", p->path);
}

static int status_of(int status, bool *signalled)
{
	*signalled = WIFSIGNALED(status);
	return WIFSIGNALED(status) ? COW_PROCESS_SIGNALLED + WTERMSIG(status) : WEXITSTATUS(status);
}

int cow_process_wait(pid_t pid, const struct cow_signals *s, bool *signalled)
{
	for (;;) {
		siginfo_t info;
		int status, signal;
		pid_t ended;

		while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
			if (ended == pid)
				return status_of(status, signalled);
		signal = sigwaitinfo(&s->held, &info);
		/* What the terminal sends goes to all of its foreground: the child has it already. */
		if (signal > 0 && signal != SIGCHLD && info.si_code != SI_KERNEL)
			kill(pid, signal);
	}
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

static long milliseconds_left(const struct timespec *end)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (end->tv_sec - now.tv_sec) * 1000 + (end->tv_nsec - now.tv_nsec) / 1000000;
}

/* Reads until the end or the time is over (-1 with errno). The program may leave children that hold the pipe. */
static int collect(int fd, char *out, size_t *size, int seconds)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += seconds;
	for (;;) {
		struct pollfd poller = {.fd = fd, .events = POLLIN};
		long left = milliseconds_left(&end);
		char rest[4096];
		bool full = *size == OUTPUT_MAX;
		ssize_t n;

		if (left <= 0 || poll(&poller, 1, (int)left) == 0) {
			errno = ETIMEDOUT;
			return -1;
		}
		n = full ? read(fd, rest, sizeof(rest)) : read(fd, out + *size, OUTPUT_MAX - *size);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0 && !full)
			*size += (size_t)n;
	}
}

int cow_process_ask(const char *path, char *const argv[], bool from_stderr, int seconds, char **out,
		    struct cow_error **err)
{
	cleanup_free char *text = malloc(OUTPUT_MAX + 1);
	int ends[2], status, result, errnum;
	size_t size = 0;
	bool signalled;
	pid_t pid;

	if (text == NULL)
		abort();
	if (pipe2(ends, O_CLOEXEC) < 0)
		return cow_error_set(err, errno, "pipe");
	pid = fork();
	if (pid == 0) {
		int wanted = from_stderr ? STDERR_FILENO : STDOUT_FILENO;
		sigset_t none;

		if (ends[1] <= STDERR_FILENO)
			ends[1] = fcntl(ends[1], F_DUPFD_CLOEXEC, 3);
		without_stdio(-1);
		dup2(ends[1], wanted);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execv(path, argv);
		_exit(EXEC_FAILED);
	}
	errnum = errno;
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return cow_error_set(err, errnum, "fork");
	}
	result = collect(ends[0], text, &size, seconds);
	errnum = errno;
	close(ends[0]);
	if (result != 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return cow_error_set(err, errno, "waiting for %s", path);
	if (result != 0)
		return cow_error_set(err, errnum, "%s did not end", path);
	text[size] = '\0';
	if (out != NULL)
		*out = cow_steal_ptr(&text);
	return status_of(status, &signalled);
}
