#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/log.h"

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U /* Linux 6.8; before, the plain id comes back and is reused after an unmount */
#endif
#ifndef MOVE_MOUNT_BENEATH
#define MOVE_MOUNT_BENEATH 0x200 /* Linux 6.5 */
#endif

int cow_open_beneath(int dirfd, const char *path, int flags, uint64_t resolve)
{
	struct open_how how = {.flags = (unsigned)(flags | O_NOFOLLOW | O_CLOEXEC),
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | resolve};

	return (int)syscall(SYS_openat2, dirfd, *path != '\0' ? path : ".", &how, sizeof(how));
}

uint64_t cow_mount_at(int dirfd, const char *path, int flags, struct statx *sx)
{
	flags |= AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT | (*path == '\0' ? AT_EMPTY_PATH : 0);
	if (statx(dirfd, path, flags, STATX_TYPE | STATX_MNT_ID | STATX_MNT_ID_UNIQUE, sx) != 0)
		return 0;
	if ((sx->stx_mask & (STATX_MNT_ID | STATX_MNT_ID_UNIQUE)) != 0)
		return sx->stx_mnt_id;
	errno = ENOSYS;
	return 0;
}

uint64_t cow_mount_id(int fd)
{
	struct statx sx;

	return cow_mount_at(fd, "", 0, &sx);
}

uint64_t cow_mount_of_root(int fd)
{
	struct statx sx;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID | STATX_MNT_ID_UNIQUE, &sx) != 0)
		return 0;
	return (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0 ? sx.stx_mnt_id : 0;
}

uint64_t cow_mount_stat(int fd, struct stat *st)
{
	struct statx sx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID | STATX_MNT_ID_UNIQUE, &sx) != 0)
		return 0;
	*st = (struct stat){
		.st_dev = makedev(sx.stx_dev_major, sx.stx_dev_minor),
		.st_ino = sx.stx_ino,
		.st_mode = sx.stx_mode,
		.st_nlink = sx.stx_nlink,
		.st_uid = sx.stx_uid,
		.st_gid = sx.stx_gid,
		.st_rdev = makedev(sx.stx_rdev_major, sx.stx_rdev_minor),
		.st_size = (off_t)sx.stx_size,
		.st_blksize = (blksize_t)sx.stx_blksize,
		.st_blocks = (blkcnt_t)sx.stx_blocks,
		.st_atim = {.tv_sec = sx.stx_atime.tv_sec, .tv_nsec = sx.stx_atime.tv_nsec},
		.st_mtim = {.tv_sec = sx.stx_mtime.tv_sec, .tv_nsec = sx.stx_mtime.tv_nsec},
		.st_ctim = {.tv_sec = sx.stx_ctime.tv_sec, .tv_nsec = sx.stx_ctime.tv_nsec},
	};
	return sx.stx_mnt_id;
}

bool cow_mount_root(int fd)
{
	return cow_mount_of_root(fd) != 0;
}

int cow_tree_enter(struct cow_tree *t)
{
	if (setns(t->container_ns, CLONE_NEWNS) == 0)
		return 0;
	/* A thread that this one has made shares its working directory until it has one of its own: EINVAL. */
	if (errno != EINVAL || unshare(CLONE_FS) != 0)
		return -1;
	return setns(t->container_ns, CLONE_NEWNS);
}

void cow_tree_leave(struct cow_tree *t)
{
	int saved = errno;

	/* Nothing may go on with names in the wrong namespace: there the host's paths would be the container's. */
	if (setns(t->host_ns, CLONE_NEWNS) != 0) {
		cow_log_error("cannot return to the host's mount namespace: %s", strerror(errno));
		abort();
	}
	errno = saved;
}

int cow_mount_clone(int dirfd, const char *name, bool recursive)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW;

	if (*name == '\0')
		flags |= AT_EMPTY_PATH;
	if (recursive)
		flags |= AT_RECURSIVE;
	return (int)syscall(SYS_open_tree, dirfd, name, flags);
}

int cow_mount_attach(int mount, int dirfd, const char *name)
{
	unsigned flags = MOVE_MOUNT_F_EMPTY_PATH;

	if (*name == '\0')
		flags |= MOVE_MOUNT_T_EMPTY_PATH;
	return (int)syscall(SYS_move_mount, mount, "", dirfd, name, flags);
}

int cow_mount_attach_beneath(int mount, int dirfd, const char *name)
{
	return (int)syscall(SYS_move_mount, mount, "", dirfd, name, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_BENEATH);
}

/* umount2 takes no descriptor, and /proc/self/fd/N of an O_PATH one would count as a use. */
static int unmount(int dirfd, const char *name, int flags)
{
	if (fchdir(dirfd) != 0 || umount2(name, flags | UMOUNT_NOFOLLOW) != 0)
		return errno;
	return 0;
}

int cow_mount_expire(int dirfd, const char *name)
{
	return unmount(dirfd, name, MNT_EXPIRE);
}

int cow_mount_detach(int dirfd, const char *name)
{
	return unmount(dirfd, name, 0);
}

char *cow_fd_path(int fd)
{
	char link[40];
	char path[8192];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path));
	if (n < 0)
		return NULL;
	if ((size_t)n >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	return strndup(path, (size_t)n);
}

char *cow_fd_name(int fd)
{
	static const char deleted[] = " (deleted)";
	cleanup_free char *path = cow_fd_path(fd);
	struct stat st;
	char *slash;
	size_t len;

	if (path == NULL)
		return NULL;
	slash = strrchr(path, '/');
	if (slash == NULL || slash[1] == '\0') { /* "/": outside the root of its mount, as in the stage */
		errno = ENOENT;
		return NULL;
	}
	len = strlen(slash + 1);
	/* d_path adds it; a file may also be called so, but then it still has a link. */
	if (len > sizeof(deleted) - 1 && strcmp(slash + 1 + len - (sizeof(deleted) - 1), deleted) == 0 &&
	    fstat(fd, &st) == 0 && st.st_nlink == 0)
		slash[1 + len - (sizeof(deleted) - 1)] = '\0';
	return strdup(slash + 1);
}

/* `path` without `root` before it, or NULL. */
static const char *below(const char *path, const char *root)
{
	size_t len = strlen(root);

	if (strncmp(path, root, len) != 0 || (path[len] != '\0' && path[len] != '/'))
		return NULL;
	return path + len + (path[len] == '/');
}

/*
 * The workdir's own path is asked for: the container's root becomes the root only after the attach, and a container may
 * move mounts. Once it was what the container calls it, it stays so, or what is in it does not begin with that either.
 */
char *cow_tree_relative(struct cow_tree *t, int fd)
{
	cleanup_free char *path = cow_fd_path(fd);
	cleanup_free char *root = NULL;
	const char *inner = NULL;

	if (path == NULL)
		return NULL;
	if (__atomic_load_n(&t->in_place, __ATOMIC_RELAXED))
		inner = below(path, t->workdir);
	if (inner == NULL && (root = cow_fd_path(t->upper)) != NULL) {
		inner = below(path, root);
		if (strcmp(root, t->workdir) == 0)
			__atomic_store_n(&t->in_place, true, __ATOMIC_RELAXED);
	}
	return inner != NULL ? strdup(inner) : NULL;
}
