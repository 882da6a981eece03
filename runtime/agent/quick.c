/*
 * The short way. Most of what is trapped needs nothing: the path leads to a real file of the upper, or out of the
 * workdirs altogether. That is told here, with as few system calls as it takes: one to open what the path starts from,
 * one for the path, one for the mount it ended on. Whatever is not plain (a symbolic link, "..", a handle that may be
 * stale, an error) is left to the handlers, which look at it properly.
 *
 * The notification need not be checked for: if its thread is gone and the number somebody else's, then nobody will see
 * the answer.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/fd.h"

bool cow_agent_has_stale(const struct cow_agent *a)
{
	for (size_t i = 0; i < a->ntrees; i++)
		if (cow_tree_has_stale(a->trees[i]))
			return true;
	return false;
}

static int open_start(const struct cow_target *t, int dirfd, bool absolute)
{
	char link[40];

	if (absolute)
		snprintf(link, sizeof(link), "%d/root", t->tid);
	else if (dirfd == AT_FDCWD)
		snprintf(link, sizeof(link), "%d/cwd", t->tid);
	else
		snprintf(link, sizeof(link), "%d/fd/%d", t->tid, dirfd);
	return openat(t->agent->proc, link, O_PATH | O_CLOEXEC);
}

static int open_straight(int start, const char *path)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};

	return (int)syscall(SYS_openat2, start, path, &how, sizeof(how));
}

static bool needs_nothing(const struct cow_target *t, int fd)
{
	enum cow_place_kind place;

	(void)cow_agent_place(t->agent, fd, &place);
	return !cow_needs_work(place);
}

/* The directory that would hold the name: there is none of that name now. */
static bool parent_needs_nothing(const struct cow_target *t, int start, const char *path)
{
	cleanup_close int parent = -1;
	const char *slash = strrchr(path, '/');
	char copy[PATH_MAX];

	if (slash == NULL)
		return needs_nothing(t, start);
	memcpy(copy, path, (size_t)(slash - path));
	copy[slash - path] = '\0';
	parent = open_straight(start, slash == path ? "." : copy);
	return parent >= 0 && needs_nothing(t, parent);
}

bool cow_quick_fd(const struct cow_target *t, int fd)
{
	cleanup_close int object = fd < 0 ? -1 : open_start(t, fd, false);

	return object >= 0 && needs_nothing(t, object);
}

bool cow_quick_path(const struct cow_target *t, int dirfd, const char *path)
{
	cleanup_close int start = -1;
	cleanup_close int object = -1;
	bool absolute = *path == '/';
	size_t len;

	while (*path == '/')
		path++;
	len = strlen(path);
	if (len == 0 || len >= PATH_MAX || path[len - 1] == '/' || strstr(path, "..") != NULL)
		return false;
	start = open_start(t, dirfd, absolute);
	if (start < 0)
		return false;
	object = open_straight(start, path);
	if (object >= 0)
		return needs_nothing(t, object);
	return errno == ENOENT && parent_needs_nothing(t, start, path);
}
