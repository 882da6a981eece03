/* Calls that read: attributes, content, names. */
#include "play.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { BLOCK = 1 << 20 };

static void say_stat(struct call *c, long value, const struct stat *st)
{
	if (value != 0) {
		say_error(c->result, errno);
		return;
	}
	say(c->result, "ok mode=%06o nlink=%lu owner=%u:%u", st->st_mode, (unsigned long)st->st_nlink, st->st_uid,
	    st->st_gid);
	if (!S_ISDIR(st->st_mode))
		say(c->result, " size=%lld", (long long)st->st_size);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		say(c->result, " rdev=%llx", (unsigned long long)st->st_rdev);
	/* Those of an open socket are what the kernel's memory held before. */
	if (S_ISSOCK(st->st_mode) && major(st->st_dev) == 0)
		return;
	say(c->result, " mtime=");
	say_time(c->result, st->st_mtim.tv_sec, (unsigned)st->st_mtim.tv_nsec);
	say(c->result, " atime=");
	say_time(c->result, st->st_atim.tv_sec, (unsigned)st->st_atim.tv_nsec);
	say(c->result, " dev=%llx", (unsigned long long)st->st_dev);
}

#ifdef SYS_stat
static void op_stat(struct call *c)
{
	struct stat st;
	long value = syscall(SYS_stat, c->argument[0], &st);

	say_stat(c, value, &st);
	if (value == 0)
		say_identity(c->result, AT_FDCWD, c->argument[0], true);
}

static void op_lstat(struct call *c)
{
	struct stat st;
	long value = syscall(SYS_lstat, c->argument[0], &st);

	say_stat(c, value, &st);
	if (value == 0)
		say_identity(c->result, AT_FDCWD, c->argument[0], false);
}

static void op_readlink(struct call *c)
{
	char text[4096];
	long n = syscall(SYS_readlink, c->argument[0], text, sizeof(text));

	say_done(c->result, n);
	if (n >= 0) {
		say(c->result, " ");
		say_bytes(c->result, text, (size_t)n);
		/* Of a descriptor, so that one can tell an old path of the same object. */
		if (strncmp(c->argument[0], "/proc/", 6) == 0)
			say_identity(c->result, AT_FDCWD, c->argument[0], true);
	}
}
#endif

static void op_fstat(struct call *c)
{
	struct stat st;
	long value = syscall(SYS_fstat, slot_fd(c, 0), &st);

	say_stat(c, value, &st);
	if (value == 0)
		say_identity(c->result, slot_fd(c, 0), NULL, true);
}

/* fstatat DIR PATH FLAGS */
static void op_fstatat(struct call *c)
{
	struct stat st;
	int dir = dir_fd(c, 0);
	long value = syscall(SYS_newfstatat, dir, c->argument[1], &st, number(c, 2));

	say_stat(c, value, &st);
	if (value == 0)
		say_identity(c->result, dir, c->argument[1], (number(c, 2) & AT_SYMLINK_NOFOLLOW) == 0);
}

/* statx DIR PATH FLAGS */
static void op_statx(struct call *c)
{
	struct statx st;
	int dir = dir_fd(c, 0);
	long value = syscall(SYS_statx, dir, c->argument[1], number(c, 2), STATX_BASIC_STATS, &st);

	if (value != 0) {
		say_error(c->result, errno);
		return;
	}
	say_attributes(c->result, &st);
	say_identity(c->result, dir, c->argument[1], (number(c, 2) & AT_SYMLINK_NOFOLLOW) == 0);
}

/* readlinkat DIR PATH */
static void op_readlinkat(struct call *c)
{
	char text[4096];
	long n = syscall(SYS_readlinkat, dir_fd(c, 0), c->argument[1], text, sizeof(text));

	say_done(c->result, n);
	if (n >= 0) {
		say(c->result, " ");
		say_bytes(c->result, text, (size_t)n);
	}
}

/* getcwd */
static void op_getcwd(struct call *c)
{
	char text[4096];
	long n = syscall(SYS_getcwd, text, sizeof(text));

	say_done(c->result, n);
	if (n > 0) {
		say(c->result, " ");
		say_bytes(c->result, text, (size_t)n - 1);
	}
}

/* pread SLOT LENGTH OFFSET; read SLOT LENGTH goes by the descriptor's own position. */
static void read_some(struct call *c, bool positioned)
{
	static __thread char block[BLOCK];
	size_t length = (size_t)number(c, 1) % BLOCK;
	long n = positioned ? syscall(SYS_pread64, slot_fd(c, 0), block, length, number(c, 2))
			    : syscall(SYS_read, slot_fd(c, 0), block, length);

	say_done(c->result, n);
	if (n >= 0) {
		say(c->result, " ");
		say_content(c->result, block, (size_t)n);
		say_identity(c->result, slot_fd(c, 0), NULL, true);
	}
}

static void op_pread(struct call *c)
{
	read_some(c, true);
}

static void op_read(struct call *c)
{
	read_some(c, false);
}

/* pwrite SLOT TEXT OFFSET; write SLOT TEXT. */
static void op_pwrite(struct call *c)
{
	say_value(c->result, syscall(SYS_pwrite64, slot_fd(c, 0), c->argument[1], c->length[1], number(c, 2)));
}

static void op_write(struct call *c)
{
	say_value(c->result, syscall(SYS_write, slot_fd(c, 0), c->argument[1], c->length[1]));
}

/* copyrange FROM TO LENGTH */
static void op_copyrange(struct call *c)
{
	say_value(c->result, syscall(SYS_copy_file_range, slot_fd(c, 0), NULL, slot_fd(c, 1), NULL, number(c, 2), 0));
	say_identity(c->result, slot_fd(c, 0), NULL, true);
}

/* content PATH: opens, reads all of it, closes. */
static void op_content(struct call *c)
{
	static __thread char block[BLOCK];
	long fd = syscall(SYS_openat, AT_FDCWD, c->argument[0], O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
	uint64_t hash = HASH_START;
	size_t length = 0;
	long n;

	if (fd < 0) {
		say_error(c->result, errno);
		return;
	}
	while ((n = syscall(SYS_read, fd, block, sizeof(block))) > 0) {
		hash = hash_bytes(hash, block, (size_t)n);
		length += (size_t)n;
	}
	say_done(c->result, n);
	say(c->result, " %zu:%016llx", length, (unsigned long long)hash);
	say_identity(c->result, (int)fd, NULL, true);
	close((int)fd);
}

struct kernel_dirent {
	uint64_t ino;
	int64_t off;
	unsigned short reclen;
	unsigned char type;
	char name[];
};

/* readdir SLOT COUNT: the next COUNT names, in the directory's order, by a buffer that holds about one. */
static void op_readdir(struct call *c)
{
	_Alignas(8) char buffer[300];
	int fd = slot_fd(c, 0);

	for (long left = number(c, 1); left > 0;) {
		long n = syscall(SYS_getdents64, fd, buffer, sizeof(buffer));

		if (n < 0) {
			say_error(c->result, errno);
			return;
		}
		if (n == 0) {
			say(c->result, "end ");
			break;
		}
		for (long at = 0; at < n;) {
			const struct kernel_dirent *d = (const void *)(buffer + at);

			say_bytes(c->result, d->name, strlen(d->name));
			say(c->result, ":%d ", d->type);
			at += d->reclen;
			left--;
		}
	}
	say(c->result, "ok");
	say_identity(c->result, fd, NULL, true);
}

/* tell SLOT VARIABLE, seek SLOT VARIABLE: telldir and seekdir. */
static long places[16];

static void op_tell(struct call *c)
{
	long at = syscall(SYS_lseek, slot_fd(c, 0), 0L, SEEK_CUR);

	say_done(c->result, at);
	if (at >= 0)
		places[number(c, 1) % 16] = at;
}

static void op_seek(struct call *c)
{
	say_done(c->result, syscall(SYS_lseek, slot_fd(c, 0), places[number(c, 1) % 16], SEEK_SET));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names of a list of extended attributes, sorted. */
static void say_names(struct call *c, long n, char *list)
{
	const char *names[256];
	size_t count = 0;

	say_done(c->result, n);
	for (char *p = list; n > 0 && p < list + n && count < 256; p += strlen(p) + 1)
		names[count++] = p;
	qsort(names, count, sizeof(*names), by_name);
	for (size_t i = 0; i < count; i++)
		say(c->result, " %s", names[i]);
}

static void op_listxattr(struct call *c)
{
	char list[8192];

	say_names(c, syscall(SYS_listxattr, c->argument[0], list, sizeof(list)), list);
}

static void op_llistxattr(struct call *c)
{
	char list[8192];

	say_names(c, syscall(SYS_llistxattr, c->argument[0], list, sizeof(list)), list);
}

static void op_flistxattr(struct call *c)
{
	char list[8192];

	say_names(c, syscall(SYS_flistxattr, slot_fd(c, 0), list, sizeof(list)), list);
	say_identity(c->result, slot_fd(c, 0), NULL, true);
}

static void say_attribute(struct call *c, long n, const char *value)
{
	say_done(c->result, n);
	if (n >= 0) {
		say(c->result, " ");
		say_content(c->result, value, (size_t)n);
	}
}

static void op_getxattr(struct call *c)
{
	char value[8192];

	say_attribute(c, syscall(SYS_getxattr, c->argument[0], c->argument[1], value, sizeof(value)), value);
}

static void op_lgetxattr(struct call *c)
{
	char value[8192];

	say_attribute(c, syscall(SYS_lgetxattr, c->argument[0], c->argument[1], value, sizeof(value)), value);
}

static void op_fgetxattr(struct call *c)
{
	char value[8192];

	say_attribute(c, syscall(SYS_fgetxattr, slot_fd(c, 0), c->argument[1], value, sizeof(value)), value);
	say_identity(c->result, slot_fd(c, 0), NULL, true);
}

const struct named_operation read_operations[] = {
#ifdef SYS_stat
	{"stat", op_stat},
	{"lstat", op_lstat},
	{"readlink", op_readlink},
#endif
	{"fstat", op_fstat},
	{"fstatat", op_fstatat},
	{"statx", op_statx},
	{"readlinkat", op_readlinkat},
	{"getcwd", op_getcwd},
	{"pread", op_pread},
	{"read", op_read},
	{"pwrite", op_pwrite},
	{"write", op_write},
	{"copyrange", op_copyrange},
	{"content", op_content},
	{"readdir", op_readdir},
	{"tell", op_tell},
	{"seek", op_seek},
	{"listxattr", op_listxattr},
	{"llistxattr", op_llistxattr},
	{"flistxattr", op_flistxattr},
	{"getxattr", op_getxattr},
	{"lgetxattr", op_lgetxattr},
	{"fgetxattr", op_fgetxattr},
	{NULL, NULL},
};
