#include "inherited.h"

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

/* Runtimes close all but the first few themselves; DEPTH: no real path is as deep. */
enum { FDS = 1024, DEPTH = 4096 };

struct place {
	dev_t dev;
	ino_t ino;
	uint64_t mount;
};

static bool find_place(int fd, const char *path, struct place *p)
{
	struct statx sx;

	if (statx(fd, path, AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &sx) != 0 || (sx.stx_mask & STATX_MNT_ID) == 0)
		return false;
	p->dev = (dev_t)sx.stx_dev_major << 32 | sx.stx_dev_minor;
	p->ino = sx.stx_ino;
	p->mount = sx.stx_mnt_id;
	return true;
}

static bool same_place(const struct place *a, const struct place *b)
{
	return a->ino == b->ino && a->dev == b->dev && a->mount == b->mount;
}

/* Do its parents lead to our root? ".." stops there, and at the root of another mount namespace for a stranger. */
static bool below_root(int fd, const struct place *root)
{
	int at = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	bool found = false;

	for (int i = 0; i < DEPTH && at >= 0; i++) {
		struct place here, above;
		int up;

		if (!find_place(at, "", &here) || (found = same_place(&here, root)))
			break;
		up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(at);
		at = up;
		if (at < 0 || !find_place(at, "", &above) || same_place(&here, &above))
			break;
	}
	if (at >= 0)
		close(at);
	return found;
}

void cow_close_foreign_directories(void)
{
	static struct pollfd open_fds[FDS];
	struct place root;
	bool known = find_place(AT_FDCWD, "/", &root);

	for (int i = 0; i < FDS; i++)
		open_fds[i].fd = i;
	/* One call instead of a thousand: POLLNVAL tells which numbers are free. If the limit is lower, those are
	 * asked. */
	nfds_t count = FDS;

	while (count > 16 && poll(open_fds, count, 0) < 0)
		count /= 2;
	for (int i = 0; i < (int)count; i++) {
		struct stat st;

		if ((open_fds[i].revents & POLLNVAL) == 0 && fstat(i, &st) == 0 && S_ISDIR(st.st_mode) &&
		    !(known && below_root(i, &root)))
			close(i);
	}
}
