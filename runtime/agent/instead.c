/*
 * Changes of attributes that are made in the target's stead: where the kernel would find the old file by a magic link
 * that is not of the target's own descriptors, by an O_PATH descriptor (which cannot be replaced by an equal one), or
 * by a descriptor on a FIFO or a device (which is not opened twice).
 *
 * All that the call points to is read from the target's memory first, and once; sizes are the kernel's limits. Then the
 * same call is made with the target's credentials, in its user namespace, on the object, by a magic link of the agent's
 * own, so the verdict is the kernel's. What depends on more than credentials is looked at here: RLIMIT_FSIZE.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../lib/fd.h"

enum { NR_FILE_SETATTR = 469, PAGE = 4096 };

/* struct xattr_args of linux/xattr.h (Linux 6.13) */
struct xattr_args {
	uint64_t value;
	uint32_t size, flags;
};

/* What is to be done, with everything that the call pointed to. */
struct change {
	const struct cow_target *t;
	enum cow_call call;
	char path[40]; /* of the object */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	bool now; /* times: none were given */
	struct timespec times[2];
	off_t length;
	char name[XATTR_NAME_MAX + 1];
	void *data; /* of an xattr or a struct file_attr; owned */
	size_t size;
	int flags;
};

static void change_cleanup(struct change *c)
{
	free(c->data);
}

/* Is it the call of that name? 32-bit architectures have some twice. */
static bool is_named(const struct cow_target *t, const char *name)
{
	return t->nr == cow_filter_number(name, t->arch);
}

/* chown(2) and its kin of 32-bit programs had ids of 16 bits once, with -1 as 65535. */
static uint32_t id_of(const struct cow_target *t, uint64_t arg)
{
	bool small = cow_filter_is_32bit(t->arch) &&
		     (is_named(t, "chown") || is_named(t, "lchown") || is_named(t, "fchown"));

	if (!small)
		return (uint32_t)arg;
	return (arg & 0xffff) == 0xffff ? UINT32_MAX : (uint32_t)(arg & 0xffff);
}

static int read_owner(struct change *c, size_t at)
{
	c->uid = id_of(c->t, c->t->args[at]);
	c->gid = id_of(c->t, c->t->args[at + 1]);
	return 0;
}

/* --- times -------------------------------------------------------------------------------------------------------- */

/* `count` numbers as `long` or, if `wide`, 64 bits each. */
static int read_numbers(const struct cow_target *t, uint64_t address, bool wide, int64_t *out, size_t count)
{
	int32_t narrow[4];

	if (wide || !cow_filter_is_32bit(t->arch))
		return cow_target_memory(t, address, out, count * sizeof(*out));
	if (cow_target_memory(t, address, narrow, count * sizeof(*narrow)) != 0)
		return EFAULT;
	for (size_t i = 0; i < count; i++)
		out[i] = narrow[i];
	return 0;
}

static int read_utimbuf(struct change *c)
{
	int64_t seconds[2];

	if (read_numbers(c->t, c->t->args[1], false, seconds, 2) != 0)
		return EFAULT;
	for (size_t i = 0; i < 2; i++)
		c->times[i] = (struct timespec){.tv_sec = seconds[i]};
	return 0;
}

static int read_timevals(struct change *c, uint64_t address)
{
	int64_t n[4];

	if (read_numbers(c->t, address, false, n, 4) != 0)
		return EFAULT;
	for (size_t i = 0; i < 2; i++) {
		if (n[2 * i + 1] < 0 || n[2 * i + 1] >= 1000000)
			return EINVAL;
		c->times[i] = (struct timespec){.tv_sec = n[2 * i], .tv_nsec = n[2 * i + 1] * 1000};
	}
	return 0;
}

static int read_timespecs(struct change *c, uint64_t address, bool wide)
{
	int64_t n[4];

	if (read_numbers(c->t, address, wide, n, 4) != 0)
		return EFAULT;
	for (size_t i = 0; i < 2; i++) {
		/* A 32-bit program's 64-bit nanoseconds are half padding. */
		bool padded = wide && cow_filter_is_32bit(c->t->arch);

		c->times[i] = (struct timespec){.tv_sec = n[2 * i],
						.tv_nsec = padded ? (int64_t)(uint32_t)n[2 * i + 1] : n[2 * i + 1]};
	}
	return 0;
}

static int read_times(struct change *c)
{
	size_t at = c->call == COW_CALL_UTIME || c->call == COW_CALL_UTIMES ? 1 : 2;
	uint64_t address = c->t->args[at];

	c->now = address == 0;
	if (c->now)
		return 0;
	switch (c->call) {
	case COW_CALL_UTIME:
		return read_utimbuf(c);
	case COW_CALL_UTIMES:
	case COW_CALL_FUTIMESAT:
		return read_timevals(c, address);
	default:
		return read_timespecs(c, address, c->call == COW_CALL_UTIMENSAT_TIME64);
	}
}

/* --- sizes, extended attributes ----------------------------------------------------------------------------------- */

static int read_length(struct change *c)
{
	const uint64_t *arg = c->t->args;

	if (!cow_filter_is_32bit(c->t->arch)) {
		c->length = (off_t)arg[1];
	} else if (is_named(c->t, "truncate")) {
		c->length = (int32_t)arg[1];
	} else {
		/* In two registers; arm wants the first of a pair to be an even one. */
		size_t low = c->t->arch == AUDIT_ARCH_ARM ? 2 : 1;

		c->length = (off_t)((arg[low] & UINT32_MAX) | arg[low + 1] << 32);
	}
	return 0;
}

static int read_data(struct change *c, uint64_t address, size_t size)
{
	c->size = size;
	if (size == 0)
		return 0;
	c->data = malloc(size);
	if (c->data == NULL)
		abort();
	return cow_target_memory(c->t, address, c->data, size);
}

static int read_name(struct change *c, uint64_t address)
{
	int error = cow_target_string(c->t, address, c->name, sizeof(c->name));

	return error == ENAMETOOLONG ? ERANGE : error;
}

/* In the order in which the kernel looks. */
static int read_xattr(struct change *c, uint64_t name, uint64_t value, uint64_t size, uint64_t flags)
{
	int error;

	c->flags = (int)flags;
	if ((c->flags & ~(XATTR_CREATE | XATTR_REPLACE)) != 0)
		return EINVAL;
	error = read_name(c, name);
	if (error != 0)
		return error;
	return size > XATTR_SIZE_MAX ? E2BIG : read_data(c, value, size);
}

static int read_xattr_at(struct change *c)
{
	const uint64_t *arg = c->t->args;
	struct xattr_args args;

	if (arg[5] != sizeof(args))
		return arg[5] < sizeof(args) ? EINVAL : E2BIG; /* a later version of it: not known here */
	if (cow_target_memory(c->t, arg[4], &args, sizeof(args)) != 0)
		return EFAULT;
	return read_xattr(c, arg[3], args.value, args.size, args.flags);
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

/* 0 or an errno. */
static int read_change(struct change *c)
{
	const uint64_t *arg = c->t->args;

	switch (c->call) {
	case COW_CALL_CHMOD:
	case COW_CALL_FCHMOD:
		c->mode = (mode_t)arg[1] & 07777;
		return 0;
	case COW_CALL_FCHMODAT:
	case COW_CALL_FCHMODAT2:
		c->mode = (mode_t)arg[2] & 07777;
		return 0;
	case COW_CALL_CHOWN:
	case COW_CALL_LCHOWN:
	case COW_CALL_FCHOWN:
		return read_owner(c, 1);
	case COW_CALL_FCHOWNAT:
		return read_owner(c, 2);
	case COW_CALL_UTIME:
	case COW_CALL_UTIMES:
	case COW_CALL_FUTIMESAT:
	case COW_CALL_UTIMENSAT:
	case COW_CALL_UTIMENSAT_TIME64:
		return read_times(c);
	case COW_CALL_TRUNCATE:
		return read_length(c);
	case COW_CALL_SETXATTR:
	case COW_CALL_LSETXATTR:
	case COW_CALL_FSETXATTR:
		return read_xattr(c, arg[1], arg[2], arg[3], arg[4]);
	case COW_CALL_SETXATTRAT:
		return read_xattr_at(c);
	case COW_CALL_REMOVEXATTR:
	case COW_CALL_LREMOVEXATTR:
	case COW_CALL_FREMOVEXATTR:
		return read_name(c, arg[1]);
	case COW_CALL_REMOVEXATTRAT:
		return read_name(c, arg[3]);
	case COW_CALL_FILE_SETATTR:
		return arg[3] > PAGE ? E2BIG : read_data(c, arg[2], arg[3]);
	default:
		return EROFS;
	}
}

/* RLIMIT_FSIZE is the target's: as inode_newsize_ok() in the kernel. */
static int check_limit(const struct change *c, int object)
{
	struct stat st;
	rlim_t limit;
	int error;

	if (c->call != COW_CALL_TRUNCATE || fstat(object, &st) != 0 || c->length <= st.st_size)
		return 0;
	error = cow_target_limit(c->t, RLIMIT_FSIZE, &limit);
	if (error != 0 || limit == RLIM_INFINITY || (rlim_t)c->length <= limit)
		return error;
	if (cow_target_valid(c->t))
		(void)syscall(SYS_tkill, c->t->tid, SIGXFSZ);
	return EFBIG;
}

static long perform(const struct change *c)
{
	const char *path = c->path;

	switch (c->call) {
	case COW_CALL_CHMOD:
	case COW_CALL_FCHMOD:
	case COW_CALL_FCHMODAT:
	case COW_CALL_FCHMODAT2:
		return chmod(path, c->mode);
	case COW_CALL_CHOWN:
	case COW_CALL_LCHOWN:
	case COW_CALL_FCHOWN:
	case COW_CALL_FCHOWNAT:
		return chown(path, c->uid, c->gid);
	case COW_CALL_UTIME:
	case COW_CALL_UTIMES:
	case COW_CALL_FUTIMESAT:
	case COW_CALL_UTIMENSAT:
	case COW_CALL_UTIMENSAT_TIME64:
		return utimensat(AT_FDCWD, path, c->now ? NULL : c->times, 0);
	case COW_CALL_TRUNCATE:
		return truncate(path, c->length);
	case COW_CALL_SETXATTR:
	case COW_CALL_LSETXATTR:
	case COW_CALL_FSETXATTR:
	case COW_CALL_SETXATTRAT:
		return setxattr(path, c->name, c->data, c->size, c->flags);
	case COW_CALL_REMOVEXATTR:
	case COW_CALL_LREMOVEXATTR:
	case COW_CALL_FREMOVEXATTR:
	case COW_CALL_REMOVEXATTRAT:
		return removexattr(path, c->name);
	case COW_CALL_FILE_SETATTR:
		return syscall(NR_FILE_SETATTR, AT_FDCWD, path, c->data, c->size, 0);
	default:
		errno = EROFS;
		return -1;
	}
}

static int perform_errand(void *data)
{
	return perform(data) == 0 ? 0 : errno;
}

int cow_do_instead(const struct cow_target *t, enum cow_call call, int object)
{
	__attribute__((cleanup(change_cleanup))) struct change c = {.t = t, .call = call};
	cleanup_creds struct cow_creds creds = COW_CREDS_NONE;
	/* Of what is done here Landlock has rules for one thing only. */
	int error = call == COW_CALL_TRUNCATE && cow_sandboxed(t) ? EACCES : read_change(&c);

	if (error == 0)
		error = check_limit(&c, object);
	if (error == 0)
		error = cow_creds_read(t, &creds);
	snprintf(c.path, sizeof(c.path), "/proc/self/fd/%d", object);
	return -(error == 0 ? cow_creds_run(&creds, perform_errand, &c) : error);
}
