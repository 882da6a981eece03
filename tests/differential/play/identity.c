/*
 * Which object is this? Its file handle holds the inode's number and generation, so that an inode that is used again is
 * told from the one before. The handle is asked for by a path below /proc/self: a call by descriptor would reach the
 * agent and change what is to be observed.
 */
#include "play.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *at_path(char *room, size_t size, int dirfd, const char *path)
{
	if (dirfd == AT_FDCWD || (path != NULL && *path == '/'))
		return path;
	snprintf(room, size, "/proc/self/fd/%d%s%s", dirfd, path != NULL && *path != '\0' ? "/" : "",
		 path != NULL ? path : "");
	return room;
}

void say_identity(struct result *r, int dirfd, const char *path, bool follow)
{
	_Alignas(struct file_handle) unsigned char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ] = {0};
	struct file_handle *handle = (struct file_handle *)bytes;
	char room[4200];
	int mount;
	const char *name;
	int flags;
	bool self = dirfd != AT_FDCWD && (path == NULL || *path == '\0');

	handle->handle_bytes = MAX_HANDLE_SZ;
	flags = follow || self ? AT_SYMLINK_FOLLOW : 0;
	name = at_path(room, sizeof(room), dirfd, path);
	if (syscall(SYS_name_to_handle_at, AT_FDCWD, name, handle, &mount, flags) != 0 &&
	    (name != room ||
	     syscall(SYS_name_to_handle_at, PROC_FD, name + strlen("/proc/"), handle, &mount, flags) != 0)) {
		say(r, " id=?");
		return;
	}
	say(r, " id=");
	for (unsigned i = 0; i < handle->handle_bytes; i++)
		say(r, "%02x", bytes[sizeof(*handle) + i]);
}

void say_attributes(struct result *r, const struct statx *st)
{
	say(r, "ok mode=%06o nlink=%u owner=%u:%u", st->stx_mode, st->stx_nlink, st->stx_uid, st->stx_gid);
	/* A directory's size is the file system's business. */
	if (!S_ISDIR(st->stx_mode))
		say(r, " size=%llu", (unsigned long long)st->stx_size);
	if (S_ISCHR(st->stx_mode) || S_ISBLK(st->stx_mode))
		say(r, " rdev=%u:%u", st->stx_rdev_major, st->stx_rdev_minor);
	if (S_ISSOCK(st->stx_mode) && st->stx_dev_major == 0)
		return;
	say(r, " mtime=");
	say_time(r, st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec);
	say(r, " atime=");
	say_time(r, st->stx_atime.tv_sec, st->stx_atime.tv_nsec);
	say(r, " dev=%u:%u", st->stx_dev_major, st->stx_dev_minor);
}
