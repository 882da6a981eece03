/*
 * mount, move_mount, open_tree, umount, pivot_root: in a container that may mount (CAP_SYS_ADMIN, and no Landlock). Its
 * mounts must hang on the upper, or the next split would carry them out of sight; and the branch's own are not its to
 * take. What protects the lower is that its mounts are read-only and locked so (graft/lower.h), not what is said here.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sys/stat.h>

#include "../lib/fd.h"

/* sys/mount.h and linux/mount.h do not go together. */
#ifndef UMOUNT_NOFOLLOW
#define UMOUNT_NOFOLLOW 8
#endif

/* Who may not gets the kernel's EPERM. In another user namespace than ours it is the kernel's to say, too. */
static bool may_mount(const struct cow_target *t)
{
	cleanup_creds struct cow_creds creds = COW_CREDS_NONE;

	return cow_creds_read(t, &creds) != 0 || creds.userns >= 0 || (creds.caps & (1ULL << CAP_SYS_ADMIN)) != 0;
}

static bool is_mount_root(int fd)
{
	struct statx stx;

	return statx(fd, "", AT_EMPTY_PATH, 0, &stx) == 0 && (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

/* A mount of the branch: no mount at all to the container, but for the workdir itself, which is always in use. 0 or an
 * errno. */
static int check_taken(const struct cow_target *t, int object)
{
	enum cow_place_kind place;

	if (cow_agent_place(t->agent, object, &place) == NULL || !is_mount_root(object))
		return 0;
	return place == COW_PLACE_UPPER ? EBUSY : EINVAL;
}

/* Of a directory of the branch alone, without the grafts in it, a clone would show the bare placeholders. */
static int check_cloned(const struct cow_target *t, int object)
{
	enum cow_place_kind place;
	struct stat st;

	if (cow_agent_place(t->agent, object, &place) == NULL || fstat(object, &st) != 0 || !S_ISDIR(st.st_mode))
		return 0;
	return EPERM;
}

/* An object that a call names by a path, or by an empty one and its flag: O_PATH, or -1. */
static int object_of(const struct cow_target *t, int dirfd, const char *path, bool empty, bool follow)
{
	cleanup_location struct cow_location l = COW_LOCATION_NONE;

	if (*path == '\0')
		return !empty ? -1 : dirfd == AT_FDCWD ? cow_target_link(t, "cwd") : cow_target_fd(t, dirfd);
	return cow_resolve(t, dirfd, path, follow, &l) == 0 ? cow_steal_fd(&l.object) : -1;
}

static int prepare_target(struct cow_target *t, int dirfd, const char *path)
{
	cleanup_location struct cow_location l = COW_LOCATION_NONE;
	int verdict;

	if (cow_resolve(t, dirfd, path, true, &l) != 0 || l.object < 0 || !cow_needs_work(l.object_place))
		return COW_VERDICT_CONTINUE;
	verdict = S_ISDIR(l.st.st_mode) ? cow_prepare_object(t, &l, false, NULL, NULL, NULL)
		  : l.parent >= 0       ? cow_prepare_parent(t, &l, NULL)
					: 0;
	return verdict == 0 ? COW_VERDICT_CONTINUE : verdict;
}

int cow_do_mount(struct cow_target *t, const char *target)
{
	unsigned long flags = (unsigned long)t->args[3];
	char source[PATH_MAX];
	cleanup_close int object = -1;
	int error = 0;

	if ((flags & MS_REMOUNT) != 0)
		return -EPERM;
	if (!may_mount(t) || (flags & (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE)) != 0)
		return COW_VERDICT_CONTINUE;
	if ((flags & (MS_BIND | MS_MOVE)) != 0) {
		if (cow_target_string(t, t->args[0], source, sizeof(source)) != 0)
			return COW_VERDICT_CONTINUE;
		object = object_of(t, AT_FDCWD, source, false, true);
	}
	if (object >= 0 && (flags & MS_MOVE) != 0)
		error = check_taken(t, object);
	else if (object >= 0 && (flags & MS_REC) == 0)
		error = check_cloned(t, object);
	return error != 0 ? -error : prepare_target(t, AT_FDCWD, target);
}

int cow_do_move_mount(struct cow_target *t, int from, const char *source, int to, const char *target)
{
	unsigned flags = (unsigned)t->args[4];
	cleanup_close int object = -1;
	int error;

	if (!may_mount(t))
		return COW_VERDICT_CONTINUE;
	object = object_of(t, from, source, (flags & MOVE_MOUNT_F_EMPTY_PATH) != 0,
			   (flags & MOVE_MOUNT_F_SYMLINKS) != 0);
	error = object < 0 ? 0 : check_taken(t, object);
	if (error != 0)
		return -error;
	if (*target == '\0')
		return (flags & MOVE_MOUNT_T_EMPTY_PATH) != 0 && to >= 0 ? cow_do_fchdir(t, to) : COW_VERDICT_CONTINUE;
	return prepare_target(t, to, target);
}

int cow_do_open_tree(struct cow_target *t, int dirfd, const char *path)
{
	unsigned flags = (unsigned)t->args[2];
	cleanup_close int object = -1;
	int error;

	if ((flags & OPEN_TREE_CLONE) == 0 || (flags & AT_RECURSIVE) != 0 || !may_mount(t))
		return COW_VERDICT_CONTINUE;
	object = object_of(t, dirfd, path, (flags & AT_EMPTY_PATH) != 0, (flags & AT_SYMLINK_NOFOLLOW) == 0);
	error = object < 0 ? 0 : check_cloned(t, object);
	return error == 0 ? COW_VERDICT_CONTINUE : -error;
}

int cow_do_umount(struct cow_target *t, const char *path)
{
	/* umount(2) of old 32-bit programs has no flags. */
	bool flagged = t->nr == cow_filter_number("umount2", t->arch);
	cleanup_close int object = -1;
	int error;

	if (!may_mount(t))
		return COW_VERDICT_CONTINUE;
	object = object_of(t, AT_FDCWD, path, false, !flagged || (t->args[1] & UMOUNT_NOFOLLOW) == 0);
	error = object < 0 ? 0 : check_taken(t, object);
	return error == 0 ? COW_VERDICT_CONTINUE : -error;
}

int cow_do_pivot_root(struct cow_target *t, const char *put_old)
{
	return may_mount(t) ? prepare_target(t, AT_FDCWD, put_old) : COW_VERDICT_CONTINUE;
}
