#include "grace.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/fd.h"

enum { STACK = 64 << 10, FILE_MAX = 1 << 20 };

static char *read_file(const char *path)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? NULL : cow_read_to_end(fd, FILE_MAX, NULL);
}

/* Is this very process in the cgroup of that file? Anything else must not be written to. */
static bool is_member(const char *procs)
{
	cleanup_free char *list = read_file(procs);
	const long self = getpid();
	char *rest = list;
	char *line;

	while (list != NULL && (line = strsep(&rest, "\n")) != NULL)
		if (atol(line) == self)
			return true;
	return false;
}

/* "12:cpu,cpuacct:/path" of cgroups(7), or "0::/path". Caller frees. */
static char *procs_of(char *line)
{
	char *controllers = strchr(line, ':');
	char *path = controllers == NULL ? NULL : strchr(++controllers, ':');
	char *procs = NULL;

	if (path == NULL)
		return NULL;
	*path++ = '\0';
	if (strncmp(controllers, "name=", 5) == 0)
		controllers += 5;
	if (asprintf(&procs, "/sys/fs/cgroup/%s%s/cgroup.procs", controllers, path) < 0)
		abort();
	return procs;
}

/* A process that is put where it is stays there. But the lock is taken. */
static void *begin(void *nothing)
{
	cleanup_free char *cgroups = read_file("/proc/self/cgroup");
	char *rest = cgroups;
	char *line;

	while (cgroups != NULL && (line = strsep(&rest, "\n")) != NULL) {
		cleanup_free char *procs = procs_of(line);
		cleanup_close int fd = procs == NULL || !is_member(procs) ? -1 : open(procs, O_WRONLY | O_CLOEXEC);

		if (fd >= 0 && write(fd, "0", 1) == 1)
			break;
	}
	return nothing;
}

void cow_grace_begin(void)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	(void)pthread_create(&thread, &attributes, begin, NULL);
	pthread_attr_destroy(&attributes);
}
