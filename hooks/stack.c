#include "hook.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../runtime/lib/fd.h"
#include "../runtime/lib/log.h"

/* The topmost directory at an absolute path of the container. The image is hostile: its links end inside `rootfs`. */
static int open_in_container(int rootfs, const char *path, struct cow_error **err)
{
	struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	int fd = (int)syscall(SYS_openat2, rootfs, path, &how, sizeof(how));

	return fd >= 0 ? fd : cow_error_set(err, errno, "%s in the container", path);
}

static bool mount_root(int fd)
{
	struct statx stx;

	return statx(fd, "", AT_EMPTY_PATH, 0, &stx) == 0 && (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

/* What the runtime gave the workdir's mount beyond read-write; lower and shadow get it too. */
static uint64_t restrictions(int fd)
{
	struct statvfs fs;
	uint64_t attr = 0;

	if (fstatvfs(fd, &fs) < 0)
		return MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
	if ((fs.f_flag & ST_NOSUID) != 0)
		attr |= MOUNT_ATTR_NOSUID;
	if ((fs.f_flag & ST_NODEV) != 0)
		attr |= MOUNT_ATTR_NODEV;
	if ((fs.f_flag & ST_NOEXEC) != 0)
		attr |= MOUNT_ATTR_NOEXEC;
	return attr;
}

/* A detached, private clone of the mounts at a path, with attributes added. */
static int clone_tree(int dir, const char *path, uint64_t attr, struct cow_error **err)
{
	cleanup_close int tree =
		open_tree(dir, path, AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	struct mount_attr change = {.attr_set = attr, .propagation = MS_PRIVATE};

	if (tree < 0)
		return cow_error_set(err, errno, "cloning the mount of %s", path[0] != '\0' ? path : "the upper");
	if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &change, sizeof(change)) < 0)
		return cow_error_set(err, errno, "mount_setattr on %s", path[0] != '\0' ? path : "the upper");
	return cow_steal_fd(&tree);
}

/*
 * A clone by a path of the host, which is what the descriptor opened before the namespace was entered says it is: the
 * path could have been given another meaning since, or have another in this namespace.
 */
static int clone_of(const char *path, int expected, uint64_t attr, struct cow_error **err)
{
	cleanup_close int tree = clone_tree(AT_FDCWD, path, attr, err);

	if (tree < 0)
		return -1;
	if (!cow_same_object(tree, expected))
		return cow_error_set(err, 0, "%s is another directory in the container's mount namespace", path);
	return cow_steal_fd(&tree);
}

/* The lower with everything mounted in it, read-only for good, as the agent made it. More flags may be set, none
 * cleared. */
static int take_lower(const struct cow_hook_tree *tree, const struct cow_hook_host *host, uint64_t attr,
		      bool own_filter, struct cow_error **err)
{
	struct mount_attr change = {.attr_set = attr};

	if (!cow_same_object(host->lower_tree, host->lower))
		return cow_error_set(err, 0, "%s is another directory than the agent found", tree->lower);
	/* Without the lock the filter must refuse every call that clears the flag, and the delegate's may not know them
	 * all. */
	if (!host->locked && !own_filter)
		return cow_error_set(
			err, 0, "no user namespaces (user.max_user_namespaces?) to lock the lower's mounts read-only");
	if (!host->locked)
		cow_log_info("no user namespaces: the lower's mounts are read-only, but not locked so");
	if (attr != 0 && mount_setattr(host->lower_tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &change, sizeof(change)) < 0)
		return cow_error_set(err, errno, "mount_setattr on %s", tree->lower);
	return fcntl(host->lower_tree, F_DUPFD_CLOEXEC, 3);
}

/* Takes away exactly the mount whose root is `fd`, and what is mounted in it. By way of the working directory: it needs
 * no path. */
static int unmount(int fd, struct cow_error **err)
{
	if (fchdir(fd) < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return cow_error_set(err, errno, "taking the runtime's mount away");
	return 0;
}

static int attach(int tree, int onto, const char *what, struct cow_error **err)
{
	if (move_mount(tree, "", onto, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return cow_error_set(err, errno, "mounting the %s", what);
	return 0;
}

int cow_hook_stack(struct cow_hook_layers *l, int rootfs, const struct cow_hook_tree *tree,
		   const struct cow_hook_host *host, bool own_filter, struct cow_error **err)
{
	cleanup_close int mounted = open_in_container(rootfs, tree->workdir, err), place = -1;
	uint64_t attr;

	if (mounted < 0)
		return -1;
	if (!cow_same_object(mounted, host->upper) || !mount_root(mounted))
		return cow_error_set(err, 0, "the runtime did not mount the branch there, or something over it");
	attr = restrictions(mounted);
	l->upper = clone_tree(mounted, "", 0, err);
	if (l->upper < 0 || unmount(mounted, err) < 0)
		return -1;
	place = open_in_container(rootfs, tree->workdir, err);
	if (place < 0)
		return -1;
	l->lower = take_lower(tree, host, attr, own_filter, err);
	if (l->lower < 0 || attach(l->lower, place, "lower", err) < 0)
		return -1;
	l->shadow = clone_of(host->shadow_path, host->shadow, attr, err);
	if (l->shadow < 0 || attach(l->shadow, l->lower, "shadow", err) < 0)
		return -1;
	/* While the upper is out of everybody's sight, so that the stage's name never shows. */
	l->stage = cow_hook_stage(l->upper, host, err);
	if (l->stage < 0)
		return -1;
	return attach(l->upper, l->shadow, "upper", err);
}

void cow_hook_layers_close(struct cow_hook_layers *l)
{
	cow_close_fd(&l->lower);
	cow_close_fd(&l->shadow);
	cow_close_fd(&l->upper);
	cow_close_fd(&l->stage);
}
