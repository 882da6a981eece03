/*
 * The first process of a container that is measured: runs the commands that come on stdin, one a line, and answers each
 * with a line "STATUS NANOSECONDS OUTPUT". The time is from before the fork until the command is reaped; OUTPUT is the
 * first line that it printed. So the start of the container is in no figure, and every engine pays the same for
 * /bin/sh. Ends with its input.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Everything that comes until the end is read, so that nobody waits for us; what fits is kept. */
static void drain(int fd, char *out, size_t room)
{
	char rest[4096];
	size_t got = 0;
	ssize_t n;

	while ((n = read(fd, rest, sizeof(rest))) > 0 || (n < 0 && errno == EINTR)) {
		size_t keep = n < 0 ? 0 : (size_t)n;

		if (keep > room - 1 - got)
			keep = room - 1 - got;
		memcpy(out + got, rest, keep);
		got += keep;
	}
	out[got] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

static int start(char *command, int output, pid_t *pid)
{
	char *argv[] = {(char *)"/bin/sh", (char *)"-c", command, NULL};
	posix_spawn_file_actions_t actions;
	int error;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", 0, 0);
	posix_spawn_file_actions_adddup2(&actions, output, 1);
	error = posix_spawn(pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

static void run(char *command)
{
	char output[1024] = "";
	uint64_t begun, took;
	int status = 127;
	int ends[2];
	pid_t pid;
	int error;

	if (pipe2(ends, O_CLOEXEC) != 0)
		exit(1);
	begun = now();
	error = start(command, ends[1], &pid);
	close(ends[1]);
	drain(ends[0], output, sizeof(output));
	close(ends[0]);
	if (error == 0) {
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	took = now() - begun;
	printf("%d %llu %s\n", status, (unsigned long long)took, output);
	fflush(stdout);
}

int main(void)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	puts("ready");
	fflush(stdout);
	while ((n = getline(&line, &room, stdin)) > 0) {
		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		run(line);
	}
	free(line);
	return 0;
}
