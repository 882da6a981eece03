#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/ask.h"
#include "../lib/fd.h"
#include "../lib/log.h"

enum {
	READY_FD = 3,
	READY_MILLISECONDS = 10000,
	END_MILLISECONDS = 5000,
	LINE_MAX_SIZE = 4096,
};

/* --- its process -------------------------------------------------------------------------------------------------- */

static char *read_small(const char *directory, const char *name, size_t *size)
{
	cleanup_free char *path = NULL;
	cleanup_close int fd = -1;

	if (asprintf(&path, "%s/%s", directory, name) < 0)
		abort();
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? NULL : cow_read_to_end(fd, 1 << 16, size);
}

/* agent.pid may be older than the machine's uptime, and its number someone else's: the command line tells. */
static bool serves(pid_t pid, const char *key_dir)
{
	cleanup_free char *text = NULL;
	char directory[32];
	bool ours = false, agent = false;
	size_t size;

	snprintf(directory, sizeof(directory), "/proc/%d", (int)pid);
	text = read_small(directory, "cmdline", &size);
	if (text == NULL)
		return false;
	for (const char *word = text; word < text + size; word += strlen(word) + 1) {
		ours = ours || strcmp(word, key_dir) == 0;
		agent = agent || strcmp(word, "--ready-fd") == 0;
	}
	return ours && agent;
}

/* A pidfd of the agent, or -1: there is none (any more). */
static int open_agent(const char *key_dir)
{
	cleanup_free char *text = NULL;
	cleanup_close int fd = -1;
	size_t size;
	long pid;

	text = read_small(key_dir, "agent.pid", &size);
	pid = text != NULL ? strtol(text, NULL, 10) : 0;
	if (pid <= 1 || pid > INT32_MAX)
		return -1;
	fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	/* In this order: once the descriptor is there, the number cannot get another meaning. */
	return fd >= 0 && serves((pid_t)pid, key_dir) ? cow_steal_fd(&fd) : -1;
}

static bool ended(int pidfd, int milliseconds)
{
	struct pollfd poller = {.fd = pidfd, .events = POLLIN};
	int n;

	do
		n = poll(&poller, 1, milliseconds);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

/* --- start -------------------------------------------------------------------------------------------------------- */

/* One line, or what comes before the end or the time is over. 0, or -1 with errno (ETIMEDOUT). */
static int read_line(int fd, char line[LINE_MAX_SIZE])
{
	size_t n = 0;

	line[0] = '\0';
	while (n < LINE_MAX_SIZE - 1 && strchr(line, '\n') == NULL) {
		ssize_t got;

		if (!ended(fd, READY_MILLISECONDS)) { /* poll of any descriptor */
			errno = ETIMEDOUT;
			return -1;
		}
		got = read(fd, line + n, LINE_MAX_SIZE - 1 - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return (int)got;
		n += (size_t)got;
		line[n] = '\0';
	}
	return 0;
}

/* How a child ended that has closed its end of the pipe, in words. */
static void describe_end(pid_t pid, char text[64])
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		snprintf(text, 64, "it ended");
	else if (WIFSIGNALED(status))
		snprintf(text, 64, "it was killed by signal %d", WTERMSIG(status));
	else
		snprintf(text, 64, "it ended with status %d", WEXITSTATUS(status));
}

static void kill_by(int pidfd)
{
	if (pidfd < 0)
		return;
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	ended(pidfd, END_MILLISECONDS);
}

/* One that hangs has perhaps not come as far as writing agent.pid. */
static void kill_every_agent(const char *key_dir)
{
	cleanup_dir DIR *proc = opendir("/proc");

	for (const struct dirent *e; proc != NULL && (e = readdir(proc)) != NULL;) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
		cleanup_close int pidfd = pid > 1 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

		if (pidfd >= 0 && serves(pid, key_dir))
			kill_by(pidfd);
	}
}

static void abandon(struct cow_agent_start *s)
{
	if (s->pid > 0) {
		kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
	}
	kill_every_agent(s->key_dir);
	cow_close_fd(&s->ready);
}

int cow_agent_await(struct cow_agent_start *s, struct cow_error **err)
{
	char line[LINE_MAX_SIZE];
	char how[64];

	if (read_line(s->ready, line) != 0) {
		int errnum = errno;

		abandon(s);
		if (errnum == ETIMEDOUT)
			return cow_error_set(err, 0, "%s did not say in %d seconds that it is ready", s->program,
					     READY_MILLISECONDS / 1000);
		return cow_error_set(err, errnum, "reading from %s", s->program);
	}
	if (strcmp(line, "ok\n") == 0) {
		/* It is our child as long as we live; cow_process_wait() reaps it, or who inherits it from us. */
		cow_close_fd(&s->ready);
		return 0;
	}
	if (line[0] == '\0') {
		describe_end(s->pid, how);
		s->pid = 0;
		abandon(s);
		return cow_error_set(err, 0, "%s could not be started: %s", s->program, how);
	}
	line[strcspn(line, "\n")] = '\0';
	abandon(s);
	return cow_error_set(err, 0, "%s", line);
}

int cow_agent_start(struct cow_agent_start *s, const char *program, const char *key_dir,
		    const struct cow_signals *signals, struct cow_error **err)
{
	char number[16];
	char *const argv[] = {"cowrun-agent", "--state", (char *)key_dir, "--ready-fd", number, NULL};
	int ends[2];

	snprintf(number, sizeof(number), "%d", READY_FD);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return cow_error_set(err, errno, "pipe");
	*s = (struct cow_agent_start){.program = program, .key_dir = key_dir, .ready = ends[0]};
	s->pid = cow_process_start(
		&(struct cow_process){
			.path = program, .argv = argv, .fd = ends[1], .fd_number = READY_FD, .detached = true},
		signals, err);
	close(ends[1]);
	if (s->pid >= 0)
		return 0;
	cow_close_fd(&s->ready);
	return -1;
}

/* --- control.sock ------------------------------------------------------------------------------------------------- */

struct cow_json *cow_agent_status(const char *key_dir, struct cow_error **err)
{
	return cow_agent_ask(key_dir, "status", err);
}

int cow_agent_stop(const char *key_dir, struct cow_error **err)
{
	cleanup_error struct cow_error *refused = NULL;
	cleanup_close int pidfd = open_agent(key_dir);
	cleanup_json struct cow_json *answer = cow_agent_ask(key_dir, "delete", &refused);

	if (pidfd < 0)
		return 0;
	if (answer == NULL)
		cow_log_info("%s", refused->message);
	if (answer != NULL)
		return 0; /* it has let the branch go, and ends */
	kill_by(pidfd);
	return ended(pidfd, 0) ? 0 : cow_error_set(err, 0, "the agent of %s cannot be ended", key_dir);
}
