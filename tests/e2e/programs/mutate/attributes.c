/* The calls that change a file's size or attributes. */
#include "mutate.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

/* Younger than the C library's headers; the same number on every architecture. */
enum { NR_FCHMODAT2 = 452, NR_SETXATTRAT = 463, NR_REMOVEXATTRAT = 466, NR_FILE_SETATTR = 469 };

static const struct timespec stamps[2] = {{1000, 1}, {2000, 2}};

static long truncate_call(const char *p)
{
	return truncate(p, 1);
}

static long ftruncate_fd(int fd)
{
	return ftruncate(fd, 1);
}

static long ftruncate_call(const char *p)
{
	return with_fd(p, O_WRONLY, ftruncate_fd);
}

static long fallocate_fd(int fd)
{
	return fallocate(fd, 0, 0, 65536);
}

static long fallocate_call(const char *p)
{
	return with_fd(p, O_RDWR, fallocate_fd);
}

static long chmod_call(const char *p)
{
	return chmod(p, 0777);
}

static long fchmod_fd(int fd)
{
	return fchmod(fd, 0777);
}

static long fchmod_call(const char *p)
{
	return with_fd(p, O_RDONLY, fchmod_fd);
}

static long fchmodat_at(int dirfd, const char *name)
{
	return fchmodat(dirfd, name, 0777, 0);
}

static long fchmodat_call(const char *p)
{
	return with_parent(p, fchmodat_at);
}

static long fchmodat2_fd(int fd)
{
	return syscall(NR_FCHMODAT2, fd, "", 0777, AT_EMPTY_PATH);
}

static long fchmodat2_call(const char *p)
{
	return with_fd(p, O_PATH, fchmodat2_fd);
}

static long chown_call(const char *p)
{
	return chown(p, 12, 34);
}

static long lchown_call(const char *p)
{
	return lchown(p, 12, 34);
}

static long fchown_fd(int fd)
{
	return fchown(fd, 12, 34);
}

static long fchown_call(const char *p)
{
	return with_fd(p, O_RDONLY, fchown_fd);
}

static long fchownat_fd(int fd)
{
	return fchownat(fd, "", 12, 34, AT_EMPTY_PATH);
}

static long fchownat_call(const char *p)
{
	return with_fd(p, O_PATH, fchownat_fd);
}

static long utime_call(const char *p)
{
	struct utimbuf times = {1000, 2000};

	return utime(p, &times);
}

static long utimes_call(const char *p)
{
	struct timeval times[2] = {{1000, 1}, {2000, 2}};

	return utimes(p, times);
}

static long futimesat_at(int dirfd, const char *name)
{
	return futimesat(dirfd, name, NULL);
}

static long futimesat_call(const char *p)
{
	return with_parent(p, futimesat_at);
}

static long utimensat_call(const char *p)
{
	return utimensat(AT_FDCWD, p, stamps, AT_SYMLINK_NOFOLLOW);
}

static long futimens_fd(int fd)
{
	return futimens(fd, stamps);
}

static long futimens_call(const char *p)
{
	return with_fd(p, O_RDONLY, futimens_fd);
}

static long setxattr_call(const char *p)
{
	return setxattr(p, "user.changed", "x", 1, 0);
}

static long lsetxattr_call(const char *p)
{
	return lsetxattr(p, "user.changed", "x", 1, 0);
}

static long fsetxattr_fd(int fd)
{
	return fsetxattr(fd, "user.changed", "x", 1, 0);
}

static long fsetxattr_call(const char *p)
{
	return with_fd(p, O_RDONLY, fsetxattr_fd);
}

static long setxattrat_call(const char *p)
{
	struct {
		__u64 value;
		__u32 size, flags;
	} args = {(__u64)(unsigned long)"x", 1, 0};

	return syscall(NR_SETXATTRAT, AT_FDCWD, p, 0, "user.changed", &args, sizeof(args));
}

static long removexattr_call(const char *p)
{
	return removexattr(p, "user.kept");
}

static long lremovexattr_call(const char *p)
{
	return lremovexattr(p, "user.kept");
}

static long fremovexattr_fd(int fd)
{
	return fremovexattr(fd, "user.kept");
}

static long fremovexattr_call(const char *p)
{
	return with_fd(p, O_RDONLY, fremovexattr_fd);
}

static long removexattrat_call(const char *p)
{
	return syscall(NR_REMOVEXATTRAT, AT_FDCWD, p, 0, "user.kept");
}

static long file_setattr_call(const char *p)
{
	struct {
		__u64 xflags;
		__u32 extsize, nextents, projid, cowextsize;
	} attr = {FS_XFLAG_NOATIME, 0, 0, 0, 0};

	return syscall(NR_FILE_SETATTR, AT_FDCWD, p, &attr, sizeof(attr), 0);
}

static long setflags_fd(int fd)
{
	int flags;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0)
		flags = 0;
	flags |= FS_NOATIME_FL;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

static long setflags_call(const char *p)
{
	return with_fd(p, O_RDONLY, setflags_fd);
}

const struct mutation mutations_of_attributes[] = {
	{"truncate", truncate_call},
	{"ftruncate", ftruncate_call},
	{"fallocate", fallocate_call},
	{"chmod", chmod_call},
	{"fchmod", fchmod_call},
	{"fchmodat", fchmodat_call},
	{"fchmodat2", fchmodat2_call},
	{"chown", chown_call},
	{"lchown", lchown_call},
	{"fchown", fchown_call},
	{"fchownat", fchownat_call},
	{"utime", utime_call},
	{"utimes", utimes_call},
	{"futimesat", futimesat_call},
	{"utimensat", utimensat_call},
	{"futimens", futimens_call},
	{"setxattr", setxattr_call},
	{"lsetxattr", lsetxattr_call},
	{"fsetxattr", fsetxattr_call},
	{"setxattrat", setxattrat_call},
	{"removexattr", removexattr_call},
	{"lremovexattr", lremovexattr_call},
	{"fremovexattr", fremovexattr_call},
	{"removexattrat", removexattrat_call},
	{"file-setattr", file_setattr_call},
	{"setflags", setflags_call},
	{NULL, NULL},
};
