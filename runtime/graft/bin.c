/*
 * Unmounting many grafts. Each umount2 waits for an RCU grace period of the whole machine, which takes 50 us at best
 * and a millisecond when it is busy. So the idle ones are moved (which waits for nothing) onto one other mount of the
 * stage, the bin, and go with it in one lazy unmount.
 *
 * The bin is mounted in the shadow, where nobody sees it. It is a clone of the upper's mount with the stage as its
 * root: the same placeholders, with nothing on them there.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/fd.h"

#define BIN ".retired-bin"

/* One that is asked for the first time answers EAGAIN or EBUSY and stays; a look at it makes it so. */
static int ask(const struct cow_tree *t, const char *name)
{
	int fd = openat(t->stage, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno;
	close(fd);
	return cow_mount_expire(t->stage, name);
}

/* In one call; it follows no link. */
static int throw(const struct cow_tree *t, int bin, const char *name)
{
	return syscall(SYS_move_mount, t->stage, name, bin, name, 0) == 0 ? 0 : errno;
}

/* Inside the container's namespace. 0, or an errno: there is no bin to be had. */
static int fill_and_empty(const struct cow_tree *t, int point, struct cow_graft **list, int *said, size_t count)
{
	cleanup_close int bin = cow_mount_clone(t->stage, "", false);

	if (bin < 0 || cow_mount_attach(bin, point, "") != 0)
		return errno;
	for (size_t i = 0; i < count; i++) {
		said[i] = ask(t, list[i]->where);
		if (said[i] == EAGAIN)
			said[i] = throw(t, bin, list[i]->where);
	}
	cow_close_fd(&bin);
	if (fchdir(t->shadow) != 0 || umount2(BIN, MNT_DETACH | UMOUNT_NOFOLLOW) != 0)
		return errno;
	return 0;
}

static void one_by_one(const struct cow_tree *t, struct cow_graft **list, int *said, size_t count)
{
	for (size_t i = 0; i < count; i++)
		said[i] = cow_mount_expire(t->stage, list[i]->where);
}

void cow_bin_empty(struct cow_tree *t, struct cow_graft **list, int *said, size_t count)
{
	cleanup_close int point = -1;
	int error;

	pthread_mutex_lock(&t->bin_lock);
	point = count > 1 ? cow_shadow_directory(t, BIN) : -1;
	error = cow_tree_enter(t) == 0 ? 0 : errno;
	for (size_t i = 0; i < count; i++)
		said[i] = error;
	if (error == 0) {
		if (point < 0 || fill_and_empty(t, point, list, said, count) != 0)
			one_by_one(t, list, said, count);
		cow_tree_leave(t);
	}
	if (point >= 0)
		unlinkat(t->host_shadow, BIN, AT_REMOVEDIR);
	pthread_mutex_unlock(&t->bin_lock);
}
