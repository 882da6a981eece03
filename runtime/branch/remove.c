/*
 * Removing a branch.
 *
 * First the directory is renamed to ".gone.NAME", so that nobody takes it for a branch any more, not even after a kill;
 * what that leaves is swept by the next removal. Then the files. The upper was the container's to fill: its trees may
 * be deeper than any stack or path. So nothing recurses: a directory that is not empty is first moved to the top, where
 * its turn comes; each is moved at most once, and each level is then one directory deep.
 */
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/place.h"
#include "beneath.h"
#include "remove.h"

static const char gone_prefix[] = ".gone.";

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Never into something that is mounted there: it would be emptied. */
static DIR *open_dir(int parent, const char *name)
{
	int fd = cow_beneath_open(parent, name, O_RDONLY | O_DIRECTORY | O_NONBLOCK, true);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (dir == NULL && fd >= 0)
		close(fd);
	return dir;
}

/* Takes the flags away that forbid to remove an inode, or what is in it (chattr(1), +i and +a). */
static void lift_flags(int fd)
{
	int flags;

	if (fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags & (FS_IMMUTABLE_FL | FS_APPEND_FL)) != 0) {
		flags &= ~(FS_IMMUTABLE_FL | FS_APPEND_FL);
		(void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
	}
}

/* unlinkat(2), also of what a container with CAP_LINUX_IMMUTABLE did not want to be removed. */
static int take(int dir, const char *name, int how)
{
	cleanup_close int fd = -1;
	struct stat st;

	if (unlinkat(dir, name, how) == 0)
		return 0;
	if (errno != EPERM || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return -1;
	lift_flags(dir);
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		fd = cow_beneath_open(dir, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, true);
	lift_flags(fd);
	return unlinkat(dir, name, how);
}

/* Puts parent/name under a free name in `top`. */
static int move_to_top(int top, int parent, const char *name, unsigned long *count)
{
	char aside[40];

	do
		snprintf(aside, sizeof(aside), ".aside.%lu", (*count)++);
	while (renameat2(parent, name, top, aside, RENAME_NOREPLACE) != 0 && errno == EEXIST);
	return faccessat(top, aside, F_OK, AT_SYMLINK_NOFOLLOW);
}

/* Leaves `dir`, a child of top, empty. */
static int empty_child(int top, DIR *dir, unsigned long *count)
{
	struct dirent *de;

	while ((errno = 0, de = readdir(dir)) != NULL) {
		if (is_dots(de->d_name) || take(dirfd(dir), de->d_name, 0) == 0 || errno == ENOENT)
			continue;
		if (errno != EISDIR)
			return -1;
		if (take(dirfd(dir), de->d_name, AT_REMOVEDIR) == 0)
			continue;
		if (errno != ENOTEMPTY && errno != EEXIST)
			return -1;
		if (move_to_top(top, dirfd(dir), de->d_name, count) != 0)
			return -1;
	}
	return errno == 0 ? 0 : -1;
}

/* 1: something was removed, 0: there was nothing. */
static int sweep_top(int top, unsigned long *count)
{
	cleanup_dir DIR *dir = open_dir(top, ".");
	struct dirent *de;
	int progress = 0;

	if (dir == NULL)
		return -1;
	while ((errno = 0, de = readdir(dir)) != NULL) {
		cleanup_dir DIR *child = NULL;

		if (is_dots(de->d_name))
			continue;
		progress = 1;
		if (take(top, de->d_name, 0) == 0 || errno == ENOENT)
			continue;
		if (errno != EISDIR || (child = open_dir(top, de->d_name)) == NULL)
			return -1;
		if (empty_child(top, child, count) != 0 || take(top, de->d_name, AT_REMOVEDIR) != 0)
			return -1;
	}
	return errno == 0 ? progress : -1;
}

int cow_remove_tree(int parent, const char *name)
{
	cleanup_close int top = cow_beneath_open(parent, name, O_RDONLY | O_DIRECTORY | O_NONBLOCK, true);
	unsigned long count = 0;
	int progress;

	if (top < 0)
		return errno == ENOENT ? 0 : -1;
	while ((progress = sweep_top(top, &count)) > 0)
		;
	if (progress < 0)
		return -1;
	return take(parent, name, AT_REMOVEDIR);
}

int cow_branch_remove(struct cow_branch *b, struct cow_error **err)
{
	cleanup_close int branches = openat(b->dirfd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_free char *gone = NULL;
	struct stat named, opened;

	if (b->lockfd < 0)
		return cow_error_set(err, 0, "branch %s is not locked", b->name);
	if (branches < 0 || fstatat(branches, b->name, &named, AT_SYMLINK_NOFOLLOW) != 0 ||
	    fstat(b->dirfd, &opened) != 0)
		return cow_error_set(err, errno, "branch %s", b->name);
	if (named.st_ino != opened.st_ino)
		return cow_error_set(err, 0, "branch %s was replaced by another", b->name);
	if (asprintf(&gone, "%s%s.%llu", gone_prefix, b->name, (unsigned long long)opened.st_ino) < 0)
		abort();
	if (renameat2(branches, b->name, branches, gone, RENAME_NOREPLACE) != 0)
		return cow_error_set(err, errno, "cannot remove branch %s", b->name);
	if (unlinkat(b->dirfd, "branch.json", 0) != 0 && errno != ENOENT)
		return cow_error_set(err, errno, "branch %s: branch.json", b->name);
	fsync(branches);
	if (cow_remove_tree(branches, gone) != 0)
		return cow_error_set(err, errno, "branch %s is removed, but some of its files are still in %s", b->name,
				     gone);
	return 0;
}

/* No lock is needed: these names are nobody's, and a removal that meets another one finds nothing left to do. */
int cow_branch_sweep(const char *store, struct cow_error **err)
{
	cleanup_free char *path = NULL;
	cleanup_dir DIR *dir = NULL;
	struct dirent *de;

	if (asprintf(&path, "%s/branches", store) < 0)
		abort();
	dir = opendir(path);
	if (dir == NULL)
		return errno == ENOENT ? 0 : cow_error_set(err, errno, "cannot open the store %s", path);
	while ((errno = 0, de = readdir(dir)) != NULL)
		if (strncmp(de->d_name, gone_prefix, strlen(gone_prefix)) == 0 &&
		    cow_remove_tree(dirfd(dir), de->d_name) != 0 && errno != ENOENT)
			return cow_error_set(err, errno, "cannot remove %s/%s", path, de->d_name);
	return errno == 0 ? 0 : cow_error_set(err, errno, "cannot read the store %s", path);
}
