/* Mappings and locks: what holds on to a file while its name goes on. */
#include "play.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAPS = 16, MAP_LENGTH = 4096 };

static struct {
	char *at;
	bool writable;
	int fd; /* a descriptor of our own, for the file's size: beyond it there is SIGBUS */
} maps[MAPS];

/* mmap MAP SLOT WRITABLE */
static void op_mmap(struct call *c)
{
	int n = (int)number(c, 0) % MAPS;
	bool writable = number(c, 2) != 0;
	long at;

	if (maps[n].at != NULL) {
		munmap(maps[n].at, MAP_LENGTH);
		close(maps[n].fd);
		maps[n].at = NULL;
	}
	at = syscall(SYS_mmap, 0L, (long)MAP_LENGTH, (long)(PROT_READ | (writable ? PROT_WRITE : 0)), (long)MAP_SHARED,
		     slot_fd(c, 1), 0L);
	if (at == -1) {
		say_error(c->result, errno);
		return;
	}
	maps[n].at = (char *)at;
	maps[n].writable = writable;
	maps[n].fd = fcntl(slot_fd(c, 1), F_DUPFD_CLOEXEC, FIRST_FD + 2 * SLOTS);
	say(c->result, "ok");
}

static size_t mapped(int n)
{
	struct stat st;

	if (maps[n].at == NULL || fstat(maps[n].fd, &st) != 0 || !S_ISREG(st.st_mode))
		return 0;
	return st.st_size < MAP_LENGTH ? (size_t)st.st_size : MAP_LENGTH;
}

/* mread MAP */
static void op_mread(struct call *c)
{
	int n = (int)number(c, 0) % MAPS;
	size_t size = mapped(n);

	say(c->result, "ok ");
	say_content(c->result, maps[n].at, size);
	if (maps[n].at != NULL)
		say_identity(c->result, maps[n].fd, NULL, true);
}

/* mwrite MAP TEXT */
static void op_mwrite(struct call *c)
{
	int n = (int)number(c, 0) % MAPS;
	size_t size = mapped(n);

	if (size > c->length[1])
		size = c->length[1];
	if (!maps[n].writable)
		size = 0;
	if (size > 0)
		memcpy(maps[n].at, c->argument[1], size);
	say(c->result, "ok %zu", size);
}

/* setlk SLOT TYPE START LENGTH: a lock of the process's; setofd: of the open file's. Never waits. */
static void lock(struct call *c, int command)
{
	struct flock l = {
		.l_type = (short)number(c, 1), .l_whence = SEEK_SET, .l_start = number(c, 2), .l_len = number(c, 3)};

	say_done(c->result, syscall(SYS_fcntl, slot_fd(c, 0), command, &l));
	say_identity(c->result, slot_fd(c, 0), NULL, true);
}

/* flock SLOT OPERATION */
static void op_flock(struct call *c)
{
	say_done(c->result, syscall(SYS_flock, slot_fd(c, 0), number(c, 1)));
	say_identity(c->result, slot_fd(c, 0), NULL, true);
}

static void op_setlk(struct call *c)
{
	lock(c, F_SETLK);
}

static void op_setofd(struct call *c)
{
	lock(c, F_OFD_SETLK);
}

/* getfl SLOT. That a link would not have been followed stays in the flags for ever, and means nothing any more. */
static void op_getfl(struct call *c)
{
	long flags = syscall(SYS_fcntl, slot_fd(c, 0), F_GETFL);

	say_value(c->result, flags < 0 ? flags : flags & ~(long)O_NOFOLLOW);
}

static void op_getfd(struct call *c)
{
	say_value(c->result, syscall(SYS_fcntl, slot_fd(c, 0), F_GETFD));
}

/* setflags SLOT FLAGS, of those of chattr that mean nothing to anybody here. */
static void op_setflags(struct call *c)
{
	const int ours = FS_NODUMP_FL | FS_NOATIME_FL;
	int flags = 0;

	if (ioctl(slot_fd(c, 0), FS_IOC_GETFLAGS, &flags) != 0) {
		say_error(c->result, errno);
		return;
	}
	flags = (flags & ~ours) | ((int)number(c, 1) & ours);
	say_done(c->result, ioctl(slot_fd(c, 0), FS_IOC_SETFLAGS, &flags));
}

const struct named_operation memory_operations[] = {
	{"mmap", op_mmap},         {"mread", op_mread},   {"mwrite", op_mwrite}, {"setlk", op_setlk},
	{"flock", op_flock},       {"setofd", op_setofd}, {"getfl", op_getfl},   {"getfd", op_getfd},
	{"setflags", op_setflags}, {NULL, NULL},
};
