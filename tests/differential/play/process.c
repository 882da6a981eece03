/* Actors, who they are, and what they execute. */
#include "play.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* spawn ACTOR: a child, with the descriptors, the directories and the credentials of its parent. */
static void op_spawn(struct call *c)
{
	int error = actor_fork((int)number(c, 0) % ACTORS);

	if (error != 0)
		say_error(c->result, error);
	else
		say(c->result, "ok");
}

static void op_thread(struct call *c)
{
	int error = actor_thread((int)number(c, 0) % ACTORS);

	if (error != 0)
		say_error(c->result, error);
	else
		say(c->result, "ok");
}

/* become UID GID GROUP,GROUP...: this thread only. */
static void op_become(struct call *c)
{
	gid_t groups[16];
	size_t count = 0;
	char *rest = NULL;
	char *list = c->argument[2] != NULL ? c->argument[2] : "";
	char copy[256];
	long uid = number(c, 0);
	long gid = number(c, 1);

	snprintf(copy, sizeof(copy), "%s", list);
	for (char *word = strtok_r(copy, ",", &rest); word != NULL && count < 16; word = strtok_r(NULL, ",", &rest))
		groups[count++] = (gid_t)strtoul(word, NULL, 10);
	if (syscall(SYS_setgroups, count, groups) != 0 || syscall(SYS_setresgid, gid, gid, gid) != 0)
		say_error(c->result, errno);
	else
		say_done(c->result, syscall(SYS_setresuid, uid, uid, uid));
	/* /proc/self must stay ours. */
	prctl(PR_SET_DUMPABLE, 1);
}

/* uncap CAPABILITY: takes it from this thread's effective and permitted ones. */
static void op_uncap(struct call *c)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	long cap = number(c, 0);
	uint32_t bit = 1u << (cap % 32);

	if (syscall(SYS_capget, &header, data) != 0) {
		say_error(c->result, errno);
		return;
	}
	data[cap / 32].effective &= ~bit;
	data[cap / 32].permitted &= ~bit;
	data[cap / 32].inheritable &= ~bit;
	say_done(c->result, syscall(SYS_capset, &header, data));
	prctl(PR_SET_DUMPABLE, 1);
}

static void say_output(struct call *c, int from, pid_t pid)
{
	char output[2048];
	size_t length = 0;
	int status = 0;
	ssize_t n;

	while (length < sizeof(output) && (n = read(from, output + length, sizeof(output) - length)) > 0)
		length += (size_t)n;
	if (waitpid(pid, &status, 0) != pid)
		say(c->result, "lost ");
	say(c->result, WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "ok " : "status=%x ", (unsigned)status);
	say_bytes(c->result, output, length);
}

/* exec DIR PATH FLAGS: in a child. Its output, or why there was none. */
static void op_exec(struct call *c)
{
	char *const argv[] = {c->argument[1], "--hello", NULL};
	char *const envp[] = {"PATH=/usr/bin:/bin", NULL};
	int dir = dir_fd(c, 0);
	int out[2];
	int failed[2];
	int error = 0;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) != 0 || pipe2(failed, O_CLOEXEC) != 0)
		abort();
	pid = (pid_t)syscall(SYS_fork);
	if (pid == 0) {
		dup2(out[1], 1);
		dup2(out[1], 2);
		syscall(SYS_execveat, dir, c->argument[1], argv, envp, number(c, 2));
		error = errno;
		(void)!write(failed[1], &error, sizeof(error));
		_exit(1);
	}
	close(out[1]);
	close(failed[1]);
	if (read(failed[0], &error, sizeof(error)) == sizeof(error)) {
		say_error(c->result, error);
		waitpid(pid, NULL, 0);
	} else {
		say_output(c, out[0], pid);
	}
	close(out[0]);
	close(failed[0]);
}

const struct named_operation process_operations[] = {
	{"spawn", op_spawn}, {"thread", op_thread}, {"become", op_become},
	{"uncap", op_uncap}, {"exec", op_exec},     {NULL, NULL},
};
