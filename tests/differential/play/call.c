/*
 * The calls that need no code of their own: a name, a number, and what its arguments are. Letters:
 *   d directory (slot or "-")    p path or text    f slot    i number    v value and its length    0 zero
 *   t two timespecs    T two timevals    U a utimbuf; each written as A,B or "@"
 */
#include "play.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
#include <utime.h>

struct plain_call {
	const char *name;
	long number;
	const char *shape;
	bool valued; /* what it returns is said, too */
};

/* clang-format off */
static const struct plain_call plain_calls[] = {
#ifdef SYS_open /* the calls without "at", which newer architectures lack */
	{"mkdir", SYS_mkdir, "pi", false},
	{"mknod", SYS_mknod, "pii", false},
	{"rmdir", SYS_rmdir, "p", false},
	{"unlink", SYS_unlink, "p", false},
	{"rename", SYS_rename, "pp", false},
	{"link", SYS_link, "pp", false},
	{"symlink", SYS_symlink, "pp", false},
	{"chmod", SYS_chmod, "pi", false},
	{"chown", SYS_chown, "pii", false},
	{"lchown", SYS_lchown, "pii", false},
	{"access", SYS_access, "pi", false},
	{"utime", SYS_utime, "pU", false},
	{"utimes", SYS_utimes, "pT", false},
	{"futimesat", SYS_futimesat, "dpT", false},
	{"renameat", SYS_renameat, "dpdp", false},
#endif
	{"mkdirat", SYS_mkdirat, "dpi", false},
	{"mknodat", SYS_mknodat, "dpii", false},
	{"unlinkat", SYS_unlinkat, "dpi", false},
	{"renameat2", SYS_renameat2, "dpdpi", false},
	{"linkat", SYS_linkat, "dpdpi", false},
	{"symlinkat", SYS_symlinkat, "pdp", false},
	{"truncate", SYS_truncate, "pi", false},
	{"ftruncate", SYS_ftruncate, "fi", false},
	{"fallocate", SYS_fallocate, "fiii", false},
	{"fchmod", SYS_fchmod, "fi", false},
	{"fchmodat", SYS_fchmodat, "dpi", false},
	{"fchmodat2", 452, "dpii", false},
	{"fchown", SYS_fchown, "fii", false},
	{"fchownat", SYS_fchownat, "dpiii", false},
	{"utimensat", SYS_utimensat, "dpti", false},
	{"setxattr", SYS_setxattr, "ppvi", false},
	{"lsetxattr", SYS_lsetxattr, "ppvi", false},
	{"fsetxattr", SYS_fsetxattr, "fpvi", false},
	{"removexattr", SYS_removexattr, "pp", false},
	{"lremovexattr", SYS_lremovexattr, "pp", false},
	{"fremovexattr", SYS_fremovexattr, "fp", false},
	{"setxattrat", 463, "dpipx", false}, /* since Linux 6.13 */
	{"removexattrat", 466, "dpip", false},
	{"faccessat", SYS_faccessat, "dpi", false},
	{"faccessat2", 439, "dpii", false},
	{"chdir", SYS_chdir, "p", false},
	{"fchdir", SYS_fchdir, "f", false},
	{"chroot", SYS_chroot, "p", false},
	{"umask", SYS_umask, "i", true},
	{"fsync", SYS_fsync, "f", false},
	{"lseek", SYS_lseek, "fii", true},
	{"close", SYS_close, "f", false},
};
/* clang-format on */

long number(const struct call *c, int n)
{
	return n < c->count && c->argument[n] != NULL ? strtol(c->argument[n], NULL, 0) : 0;
}

int slot_fd(const struct call *c, int n)
{
	return FIRST_FD + (int)number(c, n);
}

int dir_fd(const struct call *c, int n)
{
	return c->argument[n] == NULL || strcmp(c->argument[n], "-") == 0 ? AT_FDCWD : slot_fd(c, n);
}

void say_opened(struct call *c, int n, long fd, bool cloexec)
{
	int slot = slot_fd(c, n);

	if (fd < 0) {
		say_error(c->result, errno);
		return;
	}
	if (dup3((int)fd, slot, cloexec ? O_CLOEXEC : 0) < 0)
		abort();
	close((int)fd);
	say(c->result, "ok");
	say_identity(c->result, slot, NULL, true);
}

/* Two times A,B: "now", "omit" or SECONDS.NANOSECONDS. */
static void read_times(const char *text, struct timespec times[2])
{
	for (int i = 0; i < 2; i++) {
		long long seconds = 0;
		long nanoseconds = 0;

		if (strncmp(text, "now", 3) == 0)
			nanoseconds = UTIME_NOW;
		else if (strncmp(text, "omit", 4) == 0)
			nanoseconds = UTIME_OMIT;
		else
			(void)sscanf(text, "%lld.%ld", &seconds, &nanoseconds);
		times[i].tv_sec = seconds;
		times[i].tv_nsec = nanoseconds;
		text = strchr(text, ',') != NULL ? strchr(text, ',') + 1 : text;
	}
}

union times {
	struct timespec spec[2];
	struct timeval val[2];
	struct utimbuf buf;
};

static long times_argument(const char *text, char shape, union times *t)
{
	struct timespec read[2];

	if (text == NULL)
		return 0;
	read_times(text, read);
	for (int i = 0; i < 2; i++) {
		if (shape == 't')
			t->spec[i] = read[i];
		else if (shape == 'T')
			t->val[i] = (struct timeval){read[i].tv_sec, read[i].tv_nsec / 1000};
	}
	if (shape == 'U')
		t->buf = (struct utimbuf){read[0].tv_sec, read[1].tv_sec};
	return (long)t;
}

/* struct xattr_args of linux/xattr.h */
struct xattr_args {
	uint64_t value;
	uint32_t size, flags;
};

static void run_plain(const struct plain_call *p, struct call *c)
{
	long a[8] = {0};
	struct xattr_args xattr;
	union times times;
	int count = 0;
	int n = 0;
	long value;

	for (const char *s = p->shape; *s != '\0'; s++, n++) {
		switch (*s) {
		case 'd':
			a[count++] = dir_fd(c, n);
			break;
		case 'f':
			a[count++] = slot_fd(c, n);
			break;
		case 'i':
			a[count++] = number(c, n);
			break;
		case 'v':
			a[count++] = (long)c->argument[n];
			a[count++] = (long)c->length[n];
			break;
		case 'x': /* a value and flags */
			xattr = (struct xattr_args){(uint64_t)(uintptr_t)c->argument[n], (uint32_t)c->length[n],
						    (uint32_t)number(c, n + 1)};
			a[count++] = (long)&xattr;
			a[count++] = sizeof(xattr);
			n++;
			break;
		case 't':
		case 'T':
		case 'U':
			a[count++] = times_argument(c->argument[n], *s, &times);
			break;
		default:
			a[count++] = (long)c->argument[n];
		}
	}
	value = syscall(p->number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (p->valued)
		say_value(c->result, value);
	else
		say_done(c->result, value);
}

/* Descriptors that only name refuse nearly everything; that it was such a one is said with the refusal. */
static void note_path_only(struct call *c)
{
	static const char *const second[] = {"mmap", "dup", "openat", "openat2", "symlinkat"};
	int slot = 0;
	int flags;

	for (size_t i = 0; i < sizeof(second) / sizeof(*second); i++)
		slot |= strcmp(c->name, second[i]) == 0;
	if (c->argument[slot] == NULL || *c->argument[slot] == '-')
		return;
	flags = strncmp(c->result->text, "EBADF", 5) == 0 ? fcntl(slot_fd(c, slot), F_GETFL) : -1;
	if (flags >= 0 && (flags & O_PATH) != 0)
		say(c->result, " path-only");
}

static void find_and_run(struct call *c)
{
	static const struct named_operation *const families[] = {open_operations, read_operations, memory_operations,
								 message_operations, process_operations};

	for (size_t i = 0; i < sizeof(plain_calls) / sizeof(*plain_calls); i++)
		if (strcmp(plain_calls[i].name, c->name) == 0) {
			run_plain(&plain_calls[i], c);
			return;
		}
	for (size_t f = 0; f < sizeof(families) / sizeof(*families); f++)
		for (const struct named_operation *o = families[f]; o->name != NULL; o++)
			if (strcmp(o->name, c->name) == 0) {
				o->run(c);
				return;
			}
	say(c->result, "no such call");
}

void run_call(struct call *c)
{
	find_and_run(c);
	note_path_only(c);
}
