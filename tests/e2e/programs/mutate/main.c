/*
 * mutate --names: the names of all the ways that this program knows to change something, one a line.
 * mutate DIR: tries each on every entry of DIR/NAME/ (each has its own copies). Prints "NAME ENTRY ok" or "NAME ENTRY
 * ERRNO". What may succeed is for the caller to say.
 */
#include "mutate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

const char *beside(const char *path, const char *suffix)
{
	static char text[4096];
	struct stat st;
	bool in = lstat(path, &st) == 0 && S_ISDIR(st.st_mode);

	snprintf(text, sizeof(text), "%s%s%s", path, in ? "/" : ".", suffix);
	return text;
}

static void close_keeping_errno(int fd)
{
	int errnum = errno;

	close(fd);
	errno = errnum;
}

long opened(long fd)
{
	if (fd >= 0)
		close((int)fd);
	return fd;
}

long with_fd(const char *path, int flags, long (*act)(int fd))
{
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -1;
	long rc = act(fd);

	close_keeping_errno(fd);
	return rc;
}

long with_parent(const char *path, long (*act)(int dirfd, const char *name))
{
	char parent[4096];
	const char *slash = strrchr(path, '/');

	snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
	int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	long rc = act(fd, slash + 1);

	close_keeping_errno(fd);
	return rc;
}

long write_one(int fd)
{
	return write(fd, "changed", 7);
}

/* In a child, since some of them change the process itself. */
static void attempt(const struct mutation *m, const char *path)
{
	fflush(stdout);
	pid_t pid = fork();

	if (pid == 0) {
		alarm(5); /* creat waits for the other end of a FIFO, for one */
		long rc = m->make(path);
		int errnum = errno;

		printf("%s %s %s\n", m->name, path, rc >= 0 ? "ok" : strerrorname_np(errnum));
		fflush(stdout);
		_exit(0);
	}
	int status = 0;

	waitpid(pid, &status, 0);
	if (!WIFEXITED(status))
		printf("%s %s signal-%d\n", m->name, path, WTERMSIG(status));
}

static void attempt_on_all(const struct mutation *m, const char *top)
{
	char dir[2048], path[4096];
	struct dirent **entries;

	snprintf(dir, sizeof(dir), "%s/%s", top, m->name);
	int count = scandir(dir, &entries, NULL, alphasort);
	if (count < 0) {
		printf("%s %s unreadable\n", m->name, dir);
		return;
	}
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.')
			attempt(m, path);
		free(entries[i]);
	}
	free(entries);
}

int main(int argc, char **argv)
{
	const struct mutation *const all[] = {mutations_of_content, mutations_of_names, mutations_of_attributes,
					      mutations_of_escape};

	if (argc != 2)
		return 2;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		for (const struct mutation *m = all[i]; m->name != NULL; m++) {
			if (strcmp(argv[1], "--names") == 0)
				puts(m->name);
			else
				attempt_on_all(m, argv[1]);
		}
	}
	return 0;
}
