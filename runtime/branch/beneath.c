#include "beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/fd.h"

static int open_once(int dirfd, const char *path, size_t length, int flags, bool one_mount)
{
	struct open_how how = {
		.flags = (unsigned)flags | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	char part[PATH_MAX];
	int fd;

	if (one_mount)
		how.resolve |= RESOLVE_NO_XDEV;
	memcpy(part, length > 0 ? path : ".", length > 0 ? length : 1);
	part[length > 0 ? length : 1] = '\0';
	/* EAGAIN: something was renamed under way, so that the kernel could not be sure that nothing leads out. */
	do
		fd = (int)syscall(SYS_openat2, dirfd, part, &how, sizeof(how));
	while (fd < 0 && (errno == EAGAIN || errno == EINTR));
	return fd;
}

/* How much of a path goes into one call: it ends before a slash. */
static size_t portion(const char *path)
{
	size_t length = strlen(path);

	if (length < PATH_MAX)
		return length;
	for (length = PATH_MAX - 1; length > 0 && path[length] != '/';)
		length--;
	return length;
}

int cow_beneath_open(int root, const char *path, int flags, bool one_mount)
{
	cleanup_close int fd = -1;
	int at = root;

	for (;;) {
		size_t length = portion(path);
		int next;

		if (length == 0 && *path != '\0') {
			errno = ENAMETOOLONG;
			return -1;
		}
		if (path[length] == '\0')
			return open_once(at, path, length, flags, one_mount);
		next = open_once(at, path, length, O_PATH | O_DIRECTORY, one_mount);
		if (next < 0)
			return -1;
		cow_close_fd(&fd);
		fd = at = next;
		path += length + 1;
	}
}

int cow_beneath_parent(int root, const char *path, bool one_mount, const char **name)
{
	const char *slash = strrchr(path, '/');
	cleanup_free char *parent = strndup(path, slash != NULL ? (size_t)(slash - path) : 0);

	if (parent == NULL)
		return -1;
	*name = slash != NULL ? slash + 1 : path;
	return cow_beneath_open(root, parent, O_PATH | O_DIRECTORY, one_mount);
}

int cow_beneath_reopen(int fd)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}
