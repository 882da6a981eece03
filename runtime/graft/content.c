#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../lib/fd.h"

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
