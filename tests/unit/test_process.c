/* Other programs: executed, asked, waited for with their signals, and the agent's start. */
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../runtime/lib/fd.h"
#include "../../runtime/wrapper/agent.h"
#include "../../runtime/wrapper/grace.h"
#include "../../runtime/wrapper/process.h"

static char dir[] = "/tmp/cowrun-process.XXXXXX";

static void test_ask(void)
{
	cleanup_free char *out = NULL;
	cleanup_free char *said = NULL;
	cleanup_error struct cow_error *slow = NULL;

	ok(cow_process_ask("/bin/sh", (char *[]){"sh", "-c", "echo out; echo err >&2; exit 3", NULL}, false, 10, &out,
			   NULL) == 3,
	   "its status");
	is_str(out, "out\n", "its output");
	cow_process_ask("/bin/sh", (char *[]){"sh", "-c", "echo out; echo err >&2", NULL}, true, 10, &said, NULL);
	is_str(said, "err\n", "or what it says on stderr");
	ok(cow_process_ask("/bin/sh", (char *[]){"sh", "-c", "kill -TERM $$", NULL}, false, 10, NULL, NULL) ==
		   COW_PROCESS_SIGNALLED + SIGTERM,
	   "killed by a signal");
	ok(cow_process_ask("/none/such", (char *[]){"x", NULL}, false, 10, NULL, NULL) == 127, "not there");
	ok(cow_process_ask("/bin/sleep", (char *[]){"sleep", "60", NULL}, false, 1, NULL, &slow) == -1, "not in time");
	ok(strstr(slow->message, "/bin/sleep") != NULL, "the error names it");
	ok(cow_process_ask("/bin/sh", (char *[]){"sh", "-c", "head -c 3000000 /dev/zero", NULL}, false, 10, NULL,
			   NULL) == 0,
	   "output beyond the limit is dropped, not blocked on");
}

static void test_start(void)
{
	cleanup_signals struct cow_signals s = {.active = false};
	cleanup_error struct cow_error *missing = NULL;
	cleanup_close int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	char *const argv[] = {"sh", "-c", "[ /proc/self/fd/9 -ef /etc/passwd ] && exit 7", NULL};
	bool signalled;
	pid_t pid;

	cow_signals_hold(&s);
	ok(cow_process_start(&(struct cow_process){.path = "/none/such", .argv = argv, .fd = -1}, &s, &missing) == -1,
	   "a program that is not there");
	ok(strstr(missing->message, "/none/such") != NULL && missing->errnum == ENOENT, "the error says so");
	pid = cow_process_start(&(struct cow_process){.path = "/bin/sh", .argv = argv, .fd = fd, .fd_number = 9}, &s,
				NULL);
	ok(pid > 0 && cow_process_wait(pid, &s, &signalled) == 7 && !signalled, "a descriptor under its number");
	pid = cow_process_start(&(struct cow_process){.path = "/bin/sh",
						      .argv = (char *[]){"sh", "-c",
									 "trap 'exit 5' TERM; kill -TERM $PPID; "
									 "while :; do sleep 0.05; done",
									 NULL},
						      .fd = -1},
				&s, NULL);
	ok(cow_process_wait(pid, &s, &signalled) == 5 && !signalled, "a signal to us is passed on");
	pid = cow_process_start(&(struct cow_process){.path = "/bin/sh",
						      .argv = (char *[]){"sh", "-c", "kill -KILL $$", NULL},
						      .fd = -1},
				&s, NULL);
	ok(cow_process_wait(pid, &s, &signalled) == COW_PROCESS_SIGNALLED + SIGKILL && signalled, "killed");
	ok(cow_signals_pending(&s) == 0, "nothing has come");
	kill(getpid(), SIGHUP);
	ok(cow_signals_pending(&s) == SIGHUP, "something has come");
	ok(cow_signals_pending(&s) == 0, "and was taken");
}

/* A program in the agent's place. */
static int start_agent(const char *script, struct cow_error **err)
{
	cleanup_signals struct cow_signals s = {.active = false};
	cleanup_free char *path = NULL;
	cleanup_close int fd = -1;
	struct cow_agent_start start;

	if (asprintf(&path, "%s/agent", dir) < 0)
		abort();
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	if (fd < 0 || cow_write_all(fd, script, strlen(script)) != 0)
		abort();
	cow_close_fd(&fd);
	cow_signals_hold(&s);
	return cow_agent_start(&start, path, dir, &s, err) == 0 ? cow_agent_await(&start, err) : -1;
}

static void test_agent(void)
{
	static const struct {
		const char *script, *said, *what;
	} failing[] = {
		{"not a program", "cannot execute", "no program"},
		{"#!/bin/sh\nexit 3\n", "status 3", "an agent that ends"},
		{"#!/bin/sh\nkill -SEGV $$\n", "signal 11", "an agent that crashes"},
		{"#!/bin/sh\necho 'no, because' >&3\n", "no, because", "an agent that says why"},
		{"#!/bin/sh\n[ -e /proc/self/fd/5 ] && echo ok >&3 || echo none >&3\n", "none",
		 "other descriptors are closed"},
		{"#!/bin/sh\n[ /dev/null -ef /proc/self/fd/2 ] && echo null >&3\n", "null", "it has no stderr of ours"},
	};

	ok(start_agent("#!/bin/sh\n(sleep 1; exit) 3>&- & echo ok >&3\n", NULL) == 0, "an agent that is ready");
	for (size_t i = 0; i < sizeof(failing) / sizeof(*failing); i++) {
		cleanup_error struct cow_error *err = NULL;

		ok(start_agent(failing[i].script, &err) == -1 && strstr(err->message, failing[i].said) != NULL, "%s",
		   failing[i].what);
		if (err != NULL && strstr(err->message, failing[i].said) == NULL)
			printf("# %s\n", err->message);
	}
	ok(cow_agent_status(dir, NULL) == NULL, "no socket, no status");
	ok(cow_agent_stop(dir, NULL) == 0, "and nothing to stop");
}

static char *cgroups(void)
{
	cleanup_close int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? NULL : cow_read_to_end(fd, 1 << 20, NULL);
}

static void test_grace(void)
{
	cleanup_free char *before = cgroups();
	cleanup_free char *after = NULL;

	cow_grace_begin();
	usleep(200000);
	after = cgroups();
	is_str(after, before, "a head start for the delegate moves nobody to another cgroup");
}

int main(void)
{
	cleanup_free char *command = NULL;

	if (mkdtemp(dir) == NULL)
		abort();
	test_ask();
	test_start();
	test_agent();
	test_grace();
	if (asprintf(&command, "rm -rf %s", dir) < 0 || system(command) != 0)
		return 1;
	return done_testing();
}
