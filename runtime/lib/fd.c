#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

void cow_close_fd(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

void cow_close_dir(DIR **dir)
{
	int saved = errno;

	if (*dir != NULL)
		closedir(*dir);
	*dir = NULL;
	errno = saved;
}

void cow_close_file(FILE **file)
{
	int saved = errno;

	if (*file != NULL)
		fclose(*file);
	*file = NULL;
	errno = saved;
}

void cow_free_pointer(void *pointer)
{
	void **p = pointer;

	free(*p);
	*p = NULL;
}

bool cow_same_object(int a, int b)
{
	struct stat x;
	struct stat y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

int cow_write_all(int fd, const void *data, size_t size)
{
	const char *p = data;

	while (size > 0) {
		ssize_t n = write(fd, p, size);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -1;
		}
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

int cow_read_all(int fd, void *data, size_t size)
{
	char *p = data;

	while (size > 0) {
		ssize_t n = read(fd, p, size);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -1;
		}
		if (n == 0) {
			errno = 0;
			return -1;
		}
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

int cow_same_content(int a, int b)
{
	enum { ROOM = 1 << 16 };
	cleanup_free char *buf = malloc(2 * (size_t)ROOM);

	if (buf == NULL)
		return -1;
	for (off_t at = 0;;) {
		ssize_t n = pread(a, buf, ROOM, at);
		ssize_t m = n < 0 ? -1 : pread(b, buf + ROOM, ROOM, at);

		if (n < 0 || m < 0)
			return -1;
		if (n != m || memcmp(buf, buf + ROOM, (size_t)n) != 0)
			return 0;
		if (n == 0)
			return 1;
		at += n;
	}
}

char *cow_read_to_end(int fd, size_t max, size_t *size)
{
	cleanup_free char *buf = NULL;
	size_t used = 0;
	size_t room = 0;

	for (;;) {
		ssize_t n;

		if (used + 1 >= room) {
			size_t want = room == 0 ? 16384 : room * 2;
			char *grown = realloc(buf, want);

			if (grown == NULL)
				return NULL;
			buf = grown;
			room = want;
		}
		n = read(fd, buf + used, room - used - 1);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return NULL;
		}
		if (n == 0)
			break;
		used += (size_t)n;
		if (used > max) {
			errno = EFBIG;
			return NULL;
		}
	}
	buf[used] = '\0';
	if (size != NULL)
		*size = used;
	return cow_steal_ptr(&buf);
}

void cow_spread_directories(int dir)
{
	cleanup_close int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int flags;

	if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0 || (flags & FS_TOPDIR_FL) != 0)
		return;
	flags |= FS_TOPDIR_FL;
	(void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
}
