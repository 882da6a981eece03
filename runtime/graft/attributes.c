#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../lib/fd.h"

static void proc_path(char *out, size_t room, int fd)
{
	snprintf(out, room, "/proc/self/fd/%d", fd);
}

/* What a file system without xattrs, or a user namespace without the right, cannot carry is no reason to fail the copy.
 */
static bool tolerable(int errnum)
{
	return errnum == ENOTSUP || errnum == EPERM || errnum == EINVAL;
}

static int copy_one(const char *from, const char *to, const char *name)
{
	cleanup_free char *value = NULL;
	ssize_t size = getxattr(from, name, NULL, 0);

	if (size < 0)
		return errno == ENODATA || tolerable(errno) ? 0 : -1;
	value = malloc((size_t)size + 1);
	if (value == NULL)
		return -1;
	size = getxattr(from, name, value, (size_t)size);
	if (size < 0)
		return errno == ENODATA || errno == ERANGE ? 0 : -1;
	if (setxattr(to, name, value, (size_t)size, 0) != 0 && !tolerable(errno))
		return -1;
	return 0;
}

static int copy_xattrs(const char *from, const char *to)
{
	cleanup_free char *names = NULL;
	ssize_t size = listxattr(from, NULL, 0);

	if (size <= 0)
		return size == 0 || tolerable(errno) ? 0 : -1;
	names = malloc((size_t)size);
	if (names == NULL)
		return -1;
	size = listxattr(from, names, (size_t)size);
	if (size < 0)
		return -1;
	for (const char *name = names; name < names + size; name += strlen(name) + 1)
		if (copy_one(from, to, name) != 0)
			return -1;
	return 0;
}

int cow_copy_times(int to, const struct stat *st)
{
	char path[40];
	struct timespec times[2] = {st->st_atim, st->st_mtim};

	proc_path(path, sizeof(path), to);
	return utimensat(AT_FDCWD, path, times, 0);
}

int cow_copy_attributes(int from, int to, const struct stat *st)
{
	char source[40];
	char target[40];

	proc_path(source, sizeof(source), from);
	proc_path(target, sizeof(target), to);
	/* The owner first: chown clears set-id bits and capabilities. */
	if (chown(target, st->st_uid, st->st_gid) != 0)
		return -1;
	if (chmod(target, st->st_mode & 07777) != 0)
		return -1;
	return copy_xattrs(source, target);
}
