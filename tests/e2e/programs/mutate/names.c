/* The calls that make, move and remove names. */
#include "mutate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static const char *with_suffix(const char *path, const char *suffix)
{
	static char text[4096];

	snprintf(text, sizeof(text), "%s%s", path, suffix);
	return text;
}

static long mkdir_call(const char *p)
{
	return mkdir(beside(p, "made"), 0777);
}

static long mkdirat_at(int dirfd, const char *name)
{
	return mkdirat(dirfd, with_suffix(name, ".made"), 0777);
}

static long mkdirat_call(const char *p)
{
	return with_parent(p, mkdirat_at);
}

static long mknod_call(const char *p)
{
	return mknod(beside(p, "node"), S_IFREG | 0666, 0);
}

static long mkfifo_call(const char *p)
{
	return mkfifo(beside(p, "pipe"), 0666);
}

static long unlink_call(const char *p)
{
	return unlink(p);
}

static long unlinkat_at(int dirfd, const char *name)
{
	return unlinkat(dirfd, name, 0);
}

static long unlinkat_call(const char *p)
{
	return with_parent(p, unlinkat_at);
}

static long unlink_inner(const char *p)
{
	return unlink(beside(p, "inner"));
}

static long rmdir_call(const char *p)
{
	return rmdir(p);
}

static long unlinkat_dir_at(int dirfd, const char *name)
{
	return unlinkat(dirfd, name, AT_REMOVEDIR);
}

static long unlinkat_dir(const char *p)
{
	return with_parent(p, unlinkat_dir_at);
}

static long rename_call(const char *p)
{
	return rename(p, with_suffix(p, ".moved"));
}

static long renameat_at(int dirfd, const char *name)
{
	return syscall(SYS_renameat, dirfd, name, dirfd, with_suffix(name, ".moved"));
}

static long renameat_call(const char *p)
{
	return with_parent(p, renameat_at);
}

static long rename_noreplace(const char *p)
{
	return renameat2(AT_FDCWD, p, AT_FDCWD, with_suffix(p, ".moved"), RENAME_NOREPLACE);
}

static long rename_whiteout(const char *p)
{
	return renameat2(AT_FDCWD, p, AT_FDCWD, with_suffix(p, ".moved"), RENAME_WHITEOUT);
}

static long rename_exchange_at(int dirfd, const char *name)
{
	const char *other = with_suffix(name, ".other");

	close(openat(dirfd, other, O_WRONLY | O_CREAT, 0666));
	return renameat2(dirfd, name, dirfd, other, RENAME_EXCHANGE);
}

static long rename_exchange(const char *p)
{
	return with_parent(p, rename_exchange_at);
}

/* A file of the container's own put in the entry's place. */
static long rename_over(const char *p)
{
	const char *from = with_suffix(p, ".from");

	close(open(from, O_WRONLY | O_CREAT, 0666));
	return rename(from, p);
}

static long link_call(const char *p)
{
	return link(p, with_suffix(p, ".linked"));
}

static long link_fd(int fd)
{
	char from[64];

	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, from, AT_FDCWD, "linked-by-descriptor", AT_SYMLINK_FOLLOW);
}

static long linkat_descriptor(const char *p)
{
	return with_fd(p, O_PATH, link_fd);
}

static long symlink_call(const char *p)
{
	return symlink("target", beside(p, "symlink"));
}

static long bind_call(const char *p)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", beside(p, "sock"));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	long rc = bind(fd, (struct sockaddr *)&address, sizeof(address));
	int errnum = errno;

	close(fd);
	errno = errnum;
	return rc;
}

const struct mutation mutations_of_names[] = {
	{"mkdir", mkdir_call},
	{"mkdirat", mkdirat_call},
	{"mknod", mknod_call},
	{"mkfifo", mkfifo_call},
	{"unlink", unlink_call},
	{"unlinkat", unlinkat_call},
	{"unlink-inner", unlink_inner},
	{"rmdir", rmdir_call},
	{"unlinkat-dir", unlinkat_dir},
	{"rename", rename_call},
	{"renameat", renameat_call},
	{"rename-noreplace", rename_noreplace},
	{"rename-whiteout", rename_whiteout},
	{"rename-exchange", rename_exchange},
	{"rename-over", rename_over},
	{"link", link_call},
	{"linkat-descriptor", linkat_descriptor},
	{"symlink", symlink_call},
	{"bind", bind_call},
	{NULL, NULL},
};
