/*
 * agree PATH...: every way to ask the kernel what a file is must give one answer. For each PATH: stat, lstat through
 * its directory's handle, fstat, newfstatat and statx by path, by handle and with AT_EMPTY_PATH on O_RDONLY (where
 * permitted) and O_PATH descriptors. Prints what differs; exit status 1 if anything does or a call fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static bool differs;

static void stat_of_statx(struct stat *st, const struct statx *stx)
{
	*st = (struct stat){
		.st_dev = makedev(stx->stx_dev_major, stx->stx_dev_minor),
		.st_ino = stx->stx_ino,
		.st_mode = stx->stx_mode,
		.st_nlink = stx->stx_nlink,
		.st_uid = stx->stx_uid,
		.st_gid = stx->stx_gid,
		.st_size = (off_t)stx->stx_size,
		.st_mtim = {stx->stx_mtime.tv_sec, stx->stx_mtime.tv_nsec},
		.st_ctim = {stx->stx_ctime.tv_sec, stx->stx_ctime.tv_nsec},
	};
}

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_mode == b->st_mode &&
	       a->st_nlink == b->st_nlink && a->st_uid == b->st_uid && a->st_gid == b->st_gid &&
	       a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void compare(const char *path, const char *how, int rc, const struct stat *want, const struct stat *got)
{
	if (rc != 0) {
		printf("%s: %s fails: %s\n", path, how, strerrorname_np(errno));
		differs = true;
	} else if (!same(want, got)) {
		printf("%s: %s differs: inode %lu:%lu/%lu:%lu mode %o/%o size %ld/%ld\n", path, how, want->st_dev,
		       want->st_ino, got->st_dev, got->st_ino, want->st_mode, got->st_mode, (long)want->st_size,
		       (long)got->st_size);
		differs = true;
	}
}

static void compare_statx(const char *path, const char *how, int dirfd, const char *name, int flags,
			  const struct stat *want)
{
	struct statx stx;
	struct stat got = {0};
	int rc = statx(dirfd, name, flags, STATX_BASIC_STATS, &stx);

	if (rc == 0)
		stat_of_statx(&got, &stx);
	compare(path, how, rc, want, &got);
}

static void compare_descriptor(const char *path, const char *how, int fd, const struct stat *want)
{
	struct stat got;
	char what[64];

	snprintf(what, sizeof(what), "fstat %s", how);
	compare(path, what, fstat(fd, &got), want, &got);
	snprintf(what, sizeof(what), "newfstatat AT_EMPTY_PATH %s", how);
	compare(path, what, fstatat(fd, "", &got, AT_EMPTY_PATH), want, &got);
	snprintf(what, sizeof(what), "statx AT_EMPTY_PATH %s", how);
	compare_statx(path, what, fd, "", AT_EMPTY_PATH, want);
}

static void check(const char *path)
{
	char *dircopy = strdup(path), *namecopy = strdup(path);
	const char *dir = dirname(dircopy), *name = basename(namecopy);
	struct stat want, got;

	if (lstat(path, &want) != 0) {
		printf("%s: %s\n", path, strerrorname_np(errno));
		differs = true;
	} else {
		compare_statx(path, "statx", AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &want);
		int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		compare(path, "fstatat by handle", fstatat(dirfd, name, &got, AT_SYMLINK_NOFOLLOW), &want, &got);
		compare_statx(path, "statx by handle", dirfd, name, AT_SYMLINK_NOFOLLOW, &want);
		int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		compare_descriptor(path, "of O_PATH", fd, &want);
		close(fd);
		if (S_ISREG(want.st_mode) || S_ISDIR(want.st_mode)) {
			fd = open(path, O_RDONLY | O_CLOEXEC);
			compare_descriptor(path, "of O_RDONLY", fd, &want);
			close(fd);
		}
		close(dirfd);
	}
	free(dircopy);
	free(namecopy);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		check(argv[i]);
	return differs;
}
