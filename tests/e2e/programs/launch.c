/*
 * launch HOW NAME [ARG...]: starts NAME (as given, no search) and ends with its exit status.
 * HOW: exec, vfork, spawn (posix_spawn), empty (execveat with AT_EMPTY_PATH on a readable descriptor), opath (the same
 * on an O_PATH one), at (execveat relative to a handle on the working directory). 127 and the errno's name when it
 * cannot be started.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int refused(const char *how, const char *name)
{
	printf("%s %s: %s\n", how, name, strerrorname_np(errno));
	return 127;
}

static int wait_for(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return 126;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The child borrows our memory until it has exec'd: only the exec and the errno it leaves may happen there. */
static int by_vfork(char **argv)
{
	volatile int failed = 0;
	pid_t pid = vfork();

	if (pid == 0) {
		execv(argv[0], argv);
		failed = errno;
		_exit(127);
	}
	if (pid < 0)
		return refused("vfork", argv[0]);
	int status = wait_for(pid);

	errno = failed;
	return failed != 0 ? refused("vfork", argv[0]) : status;
}

static int by_spawn(char **argv)
{
	pid_t pid;

	errno = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);
	return errno != 0 ? refused("spawn", argv[0]) : wait_for(pid);
}

static int by_handle(const char *how, char **argv, int flags)
{
	/* Not close-on-exec: a script could not be read by its interpreter then. */
	int fd = open(argv[0], flags);

	if (fd >= 0)
		syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
	return refused(how, argv[0]);
}

static int by_directory(char **argv)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY);

	if (fd >= 0)
		syscall(SYS_execveat, fd, argv[0], argv, environ, 0);
	return refused("at", argv[0]);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	const char *how = argv[1];

	if (strcmp(how, "vfork") == 0)
		return by_vfork(argv + 2);
	if (strcmp(how, "spawn") == 0)
		return by_spawn(argv + 2);
	if (strcmp(how, "empty") == 0)
		return by_handle(how, argv + 2, O_RDONLY);
	if (strcmp(how, "opath") == 0)
		return by_handle(how, argv + 2, O_PATH);
	if (strcmp(how, "at") == 0)
		return by_directory(argv + 2);
	if (strcmp(how, "exec") == 0) {
		execv(argv[2], argv + 2);
		return refused(how, argv[2]);
	}
	return 2;
}
