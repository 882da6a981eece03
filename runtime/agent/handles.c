/*
 * Stale descriptors. One that was opened in a graft keeps showing the lower after split or copy-up; before a call that
 * uses it goes on, it is replaced in the target's table by one on what the branch has there now
 * (SECCOMP_IOCTL_NOTIF_ADDFD with SETFD), and the kernel then does the call on the right object. The new one is a real
 * descriptor also where the old one was O_PATH: ADDFD takes no O_PATH source.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "../lib/fd.h"

struct opening {
	const char *path;
	int fd;
};

static int open_for_reading(void *data)
{
	struct opening *o = data;

	o->fd = open(o->path, O_RDONLY | O_CLOEXEC);
	return o->fd >= 0 ? 0 : errno;
}

/*
 * An O_PATH descriptor gives less than one for reading, so what takes its place must be one that the process itself
 * could have opened.
 */
static int open_for(const struct cow_target *t, int object, int flags)
{
	cleanup_creds struct cow_creds creds = COW_CREDS_NONE;
	char path[40];
	struct opening opening = {.path = path, .fd = -1};
	struct stat st;
	int error;

	/* Opening anything else could wait for ever, or do something. */
	if (fstat(object, &st) != 0 || !(S_ISDIR(st.st_mode) || S_ISREG(st.st_mode))) {
		errno = EROFS;
		return -1;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", object);
	if ((flags & O_PATH) == 0)
		return open(path, (flags & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECTORY)) | O_CLOEXEC);
	error = cow_creds_read(t, &creds);
	if (error == 0)
		error = cow_creds_run(&creds, open_for_reading, &opening);
	errno = error;
	return opening.fd;
}

/* Puts an equal descriptor on `object` (O_PATH) in the place of the target's `fd`. 0 or -errno. */
int cow_swap_fd(const struct cow_target *t, int fd, int object)
{
	cleanup_close int fresh = -1;
	long long position;
	int flags;

	if (cow_target_fd_flags(t, fd, &flags, &position) != 0)
		return -EBADF;
	fresh = open_for(t, object, flags);
	if (fresh < 0)
		return -errno;
	if ((flags & O_PATH) == 0 && position > 0)
		(void)lseek(fresh, position, SEEK_SET);
	return cow_target_replace_fd(t, fresh, fd, (flags & O_CLOEXEC) != 0);
}

/* What is neither is never opened twice; and of a file by O_PATH it is the call that says what is to become. */
static bool can_be_swapped(const struct cow_target *t, int fd, int object)
{
	long long position;
	struct stat st;
	int flags;

	if (fstat(object, &st) != 0 || S_ISDIR(st.st_mode))
		return true;
	return S_ISREG(st.st_mode) && cow_target_fd_flags(t, fd, &flags, &position) == 0 && (flags & O_PATH) == 0;
}

int cow_freshen(const struct cow_target *t, int fd)
{
	cleanup_close int old = -1;
	cleanup_close int now = -1;
	enum cow_place_kind kind;
	struct cow_tree *tree;

	if (fd < 0)
		return 0;
	old = cow_target_fd(t, fd);
	if (old < 0)
		return 0; /* EBADF is the kernel's to say */
	tree = cow_agent_place(t->agent, old, &kind);
	if (kind != COW_PLACE_STALE || !can_be_swapped(t, fd, old))
		return 0;
	now = cow_tree_counterpart(tree, old);
	if (now < 0)
		return -ENOENT;
	return cow_swap_fd(t, fd, now);
}
