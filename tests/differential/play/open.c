/* Calls that give a descriptor, which is put in a slot. */
#include "play.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef SYS_open
/* open SLOT PATH FLAGS MODE */
static void op_open(struct call *c)
{
	long flags = number(c, 2);

	say_opened(c, 0, syscall(SYS_open, c->argument[1], flags, number(c, 3)), (flags & O_CLOEXEC) != 0);
}

/* creat SLOT PATH MODE */
static void op_creat(struct call *c)
{
	say_opened(c, 0, syscall(SYS_creat, c->argument[1], number(c, 2)), false);
}
#endif

/* openat SLOT DIR PATH FLAGS MODE */
static void op_openat(struct call *c)
{
	long flags = number(c, 3);

	say_opened(c, 0, syscall(SYS_openat, dir_fd(c, 1), c->argument[2], flags, number(c, 4)),
		   (flags & O_CLOEXEC) != 0);
}

enum { RETRIES = 1000 };

/* openat2 SLOT DIR PATH FLAGS MODE RESOLVE */
static void op_openat2(struct call *c)
{
	struct open_how how = {
		.flags = (uint64_t)number(c, 3), .mode = (uint64_t)number(c, 4), .resolve = (uint64_t)number(c, 5)};
	long fd = syscall(SYS_openat2, dir_fd(c, 1), c->argument[2], &how, sizeof(how));

	/* What the kernel has in its cache is nobody's promise. */
	if (fd < 0 && errno == EAGAIN && (how.resolve & RESOLVE_CACHED) != 0) {
		how.resolve &= ~(uint64_t)RESOLVE_CACHED;
		fd = syscall(SYS_openat2, dir_fd(c, 1), c->argument[2], &how, sizeof(how));
	}
	/* ".." while something is mounted or renamed, anywhere on the machine: once more, says openat2(2). */
	for (int tries = 0; fd < 0 && errno == EAGAIN && tries < RETRIES; tries++) {
		usleep(1000);
		fd = syscall(SYS_openat2, dir_fd(c, 1), c->argument[2], &how, sizeof(how));
	}
	say_opened(c, 0, fd, (how.flags & O_CLOEXEC) != 0);
}

/* dup SLOT OLD */
static void op_dup(struct call *c)
{
	say_opened(c, 0, syscall(SYS_dup, slot_fd(c, 1)), false);
}

const struct named_operation open_operations[] = {
#ifdef SYS_open
	{"open", op_open},     {"creat", op_creat},
#endif
	{"openat", op_openat}, {"openat2", op_openat2}, {"dup", op_dup}, {NULL, NULL},
};
