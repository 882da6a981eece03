#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fd.h"

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
	struct timespec times[2] = {st->st_atim, st->st_mtim};

	return utimensat(to, "", times, AT_EMPTY_PATH); /* Linux 5.8 */
}

int cow_copy_owner(int dirfd, const char *name, const struct stat *st)
{
	if (fchownat(dirfd, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW | (*name == '\0' ? AT_EMPTY_PATH : 0)) ==
	    0)
		return 0;
	return errno == EINVAL ? 0 : -1;
}

int cow_copy_attributes(int from, int to, const struct stat *st)
{
	char source[40];
	char target[40];

	proc_path(source, sizeof(source), from);
	proc_path(target, sizeof(target), to);
	/* The owner first: chown clears set-id bits and capabilities. */
	if (cow_copy_owner(to, "", st) != 0)
		return -1;
	/* By /proc only what is an O_PATH one: it takes three times as long. */
	if (fchmod(to, st->st_mode & 07777) != 0 && (errno != EBADF || chmod(target, st->st_mode & 07777) != 0))
		return -1;
	return flistxattr(from, NULL, 0) == 0 ? 0 : copy_xattrs(source, target);
}

/* read(2) and write(2), where neither file system helps. */
static int copy_plain(int from, int to, off_t at, off_t end, uint64_t *copied)
{
	cleanup_free char *buf = malloc(1 << 17);

	if (buf == NULL)
		return -1;
	while (at < end) {
		size_t want = end - at < 1 << 17 ? (size_t)(end - at) : 1 << 17;
		ssize_t n = pread(from, buf, want, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			return 0; /* the host made it shorter meanwhile */
		for (ssize_t done = 0; done < n;) {
			ssize_t w = pwrite(to, buf + done, (size_t)(n - done), at + done);

			if (w < 0 && errno == EINTR)
				continue;
			if (w < 0)
				return -1;
			done += w;
		}
		at += n;
		*copied += (uint64_t)n;
	}
	return 0;
}

static int copy_range(int from, int to, off_t at, off_t end, uint64_t *copied)
{
	while (at < end) {
		off_t in = at;
		off_t out = at;
		ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(end - at), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 &&
		    (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP || errno == EBADF))
			return copy_plain(from, to, at, end, copied);
		if (n < 0)
			return -1;
		if (n == 0) /* end of file, or a file system (procfs) that does not do this */
			return copy_plain(from, to, at, end, copied);
		at += n;
		*copied += (uint64_t)n;
	}
	return 0;
}

int cow_copy_content(int from, int to, off_t size, uint64_t *copied)
{
	off_t at = 0;

	if (size == 0)
		return 0;
	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	while (at < size) {
		off_t data = lseek(from, at, SEEK_DATA);
		off_t hole;

		if (data < 0 && errno == ENXIO)
			break; /* a hole to the end */
		if (data < 0)
			data = at; /* no SEEK_DATA here */
		hole = lseek(from, data, SEEK_HOLE);
		if (hole < 0 || hole > size)
			hole = size;
		if (copy_range(from, to, data, hole, copied) != 0)
			return -1;
		at = hole;
	}
	return ftruncate(to, size);
}
