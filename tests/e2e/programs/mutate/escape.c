/* The ways round: other roots, other mounts, other name spaces, file handles. Most ask for capabilities. */
#include "mutate.h"

#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static long chroot_write(const char *p)
{
	if (chroot(p) != 0)
		return -1;
	return opened(open("/new", O_WRONLY | O_CREAT, 0666));
}

static long chdir_write(const char *p)
{
	if (chdir(p) != 0)
		return -1;
	return opened(open("new", O_WRONLY | O_CREAT, 0666));
}

static long remount_write(const char *p)
{
	if (mount(NULL, p, NULL, MS_REMOUNT | MS_BIND, NULL) != 0)
		return -1;
	return with_fd(p, O_WRONLY, write_one);
}

static long user_namespace_write(const char *p)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
		return -1;
	return remount_write(p);
}

static long umount_call(const char *p)
{
	return umount2(p, MNT_DETACH);
}

static long bind_mount_write(const char *p)
{
	if (mount(p, p, NULL, MS_BIND, NULL) != 0)
		return -1;
	return remount_write(p);
}

/* With CAP_DAC_READ_SEARCH: the entry's handle, decoded on the writable mount that the branch's own files are on. */
static long by_handle(const char *p, int flags)
{
	struct {
		struct file_handle head;
		unsigned char room[MAX_HANDLE_SZ];
	} handle = {.head.handle_bytes = MAX_HANDLE_SZ};
	int mount_id;
	int top = open("/work", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (name_to_handle_at(AT_FDCWD, p, &handle.head, &mount_id, 0) != 0)
		return -1;
	return open_by_handle_at(top, &handle.head, flags | O_NONBLOCK | O_CLOEXEC);
}

static long handle_write(const char *p)
{
	int fd = (int)by_handle(p, O_WRONLY);

	return fd < 0 ? -1 : write_one(fd);
}

/* An attribute needs no descriptor that is open for writing. */
static long handle_chmod(const char *p)
{
	int fd = (int)by_handle(p, O_RDONLY);

	return fd < 0 ? -1 : fchmod(fd, 0777);
}

static long handle_unlink(const char *p)
{
	int fd = (int)by_handle(p, O_RDONLY | O_DIRECTORY);

	return fd < 0 ? -1 : unlinkat(fd, "inner", 0);
}

const struct mutation mutations_of_escape[] = {
	{"chroot", chroot_write},         {"chdir", chdir_write},
	{"remount", remount_write},       {"user-namespace", user_namespace_write},
	{"umount", umount_call},          {"bind-mount", bind_mount_write},
	{"handle-write", handle_write},   {"handle-chmod", handle_chmod},
	{"handle-unlink", handle_unlink}, {NULL, NULL},
};
