#include "filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/net.h>
#include <pthread.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The table.
 *
 * A call is in it for one of four reasons:
 *   - it may change a name, an inode or a file's content below a workdir (a mutation: split or copy-up comes first);
 *   - it looks something up through a directory handle, which may be stale, opened while the directory was inside a
 *     graft;
 *   - it moves a process's working or root directory, which must not stay inside a graft;
 *   - it could go round the read-only mounts or round the filter itself (refused).
 * What is not in it never reaches the agent: a call that is missed and writes ends as EROFS on the graft.
 *
 * An open for writing always has one of the bits M: O_TMPFILE demands a write mode, and the access mode 3 has both.
 * Directory handles are told from AT_FDCWD by bit 31: AT_FDCWD arrives as 0xffffff9c with or without sign extension.
 *
 * The clauses of one call never overlap, so an "or" of n bits is written as n clauses: bit 1; bit 2 and not bit 1; and
 * so on.
 */
/* clang-format off */
#define M_BITS      (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)
#define REAL_HANDLE 0x80000000u

/* Conditions: all of `bits` clear; of `bits` only `bit` set; the argument equal to a number, or not. */
#define CLEAR(n, bits)     {.arg = (n), .mask = (bits), .value = 0}
#define ONLY(n, bits, bit) {.arg = (n), .mask = (bits), .value = (bit)}
#define SET(n, bit)        ONLY(n, bit, bit)
#define EQUAL(n, number)   {.arg = (n), .mask = UINT32_MAX, .value = (number)}
#define DIFFER(n, number)  {.arg = (n), .differs = true, .mask = UINT32_MAX, .value = (number)}
#define HANDLE             CLEAR(0, REAL_HANDLE)
#define NO_HANDLE          SET(0, REAL_HANDLE)

#define WHEN1(a)       {.nconds = 1, .conds = {a}}
#define WHEN2(a, b)    {.nconds = 2, .conds = {a, b}}
#define ALWAYS         .nnotify = 0, .npass = 0
#define NOTIFY(n, ...) .nnotify = (n), .notify = {__VA_ARGS__}
#define PASS(n, ...)   .npass = (n), .pass = {__VA_ARGS__}

/* The opens' flag bits one after the other, each clause without the bits of those before. */
#define M_UP_TO_RDWR  (O_WRONLY | O_RDWR)
#define M_UP_TO_CREAT (O_WRONLY | O_RDWR | O_CREAT)

#define WRITES_AT(n) \
	WHEN1(SET(n, O_WRONLY)), WHEN1(ONLY(n, M_UP_TO_RDWR, O_RDWR)), \
	WHEN1(ONLY(n, M_UP_TO_CREAT, O_CREAT)), WHEN1(ONLY(n, M_BITS, O_TRUNC))
#define CWD_WRITES_AT(n) \
	WHEN2(NO_HANDLE, SET(n, O_WRONLY)), WHEN2(NO_HANDLE, ONLY(n, M_UP_TO_RDWR, O_RDWR)), \
	WHEN2(NO_HANDLE, ONLY(n, M_UP_TO_CREAT, O_CREAT)), WHEN2(NO_HANDLE, ONLY(n, M_BITS, O_TRUNC))

/* Rows by shape. `nr`: see filter.h. */
#define ROW(nm, nr, family) .name = (nm), .number = (nr), .call = (family), .verdict = COW_FILTER_NOTIFY
#define EVERY(nm, nr, family, reason) \
	{ROW(nm, nr, family), ALWAYS, .why = (reason)}
#define BY_HANDLE(nm, nr, family, reason) \
	{ROW(nm, nr, family), NOTIFY(1, WHEN1(HANDLE)), PASS(1, WHEN1(NO_HANDLE)), .why = (reason)}
/* AT_EMPTY_PATH asks about the descriptor itself, which needs no freshening. (With a name and the flag both, the name counts and a
   stale handle would answer for the lower: accepted, since the flag's users pass no name.) */
#define BY_HANDLE_NAMED(nm, nr, family, n, reason) \
	{ROW(nm, nr, family), NOTIFY(1, WHEN2(HANDLE, CLEAR(n, AT_EMPTY_PATH))), \
	 PASS(2, WHEN1(NO_HANDLE), WHEN2(HANDLE, SET(n, AT_EMPTY_PATH))), .why = (reason)}
#define BY_HANDLE_OR_W_OK(nm, nr, family, n, reason) \
	{ROW(nm, nr, family), NOTIFY(2, WHEN1(HANDLE), WHEN2(NO_HANDLE, SET(n, W_OK))), \
	 PASS(1, WHEN2(NO_HANDLE, CLEAR(n, W_OK))), .why = (reason)}
#define REFUSED(nm, nr, number_of_error, reason) \
	{.name = (nm), .number = (nr), .verdict = COW_FILTER_REFUSE, .errnum = (number_of_error), ALWAYS, .why = (reason)}

static const struct cow_filter_call table[] = {
	/* Opens. */
	{ROW("open", -1, COW_CALL_OPEN), NOTIFY(4, WRITES_AT(1)), PASS(1, WHEN1(CLEAR(1, M_BITS))),
	 .why = "an open that may write or create needs copy-up or split first"},
	{ROW("openat", -1, COW_CALL_OPENAT), NOTIFY(5, WHEN1(HANDLE), CWD_WRITES_AT(2)),
	 PASS(1, WHEN2(NO_HANDLE, CLEAR(2, M_BITS))), .why = "as open; a handle may be stale"},
	EVERY("openat2", 437, COW_CALL_OPENAT2, "its flags are in memory, out of the filter's sight"),
	EVERY("creat", -1, COW_CALL_CREAT, "creates or truncates"),

	/* Names. */
	EVERY("mkdir", -1, COW_CALL_MKDIR, "adds a name"),
	EVERY("mkdirat", -1, COW_CALL_MKDIRAT, "adds a name"),
	EVERY("mknod", -1, COW_CALL_MKNOD, "adds a name"),
	EVERY("mknodat", -1, COW_CALL_MKNODAT, "adds a name"),
	EVERY("unlink", -1, COW_CALL_UNLINK, "removes a name, which may be a mount point (a graft)"),
	EVERY("unlinkat", -1, COW_CALL_UNLINKAT, "removes a name, which may be a mount point"),
	EVERY("rmdir", -1, COW_CALL_RMDIR, "removes a name, which may be a mount point"),
	EVERY("rename", -1, COW_CALL_RENAME, "moves names, which may be mount points"),
	EVERY("renameat", -1, COW_CALL_RENAMEAT, "moves names, which may be mount points"),
	EVERY("renameat2", -1, COW_CALL_RENAMEAT2, "moves names, which may be mount points"),
	EVERY("link", -1, COW_CALL_LINK, "adds a name to an inode that must be the upper's"),
	EVERY("linkat", -1, COW_CALL_LINKAT, "adds a name to an inode that must be the upper's"),
	EVERY("symlink", -1, COW_CALL_SYMLINK, "adds a name"),
	EVERY("symlinkat", -1, COW_CALL_SYMLINKAT, "adds a name"),

	/* Content and attributes. ftruncate, write, fallocate need a descriptor open for writing: open was trapped. */
	EVERY("truncate", -1, COW_CALL_TRUNCATE, "changes content by path"),
	EVERY("truncate64", -1, COW_CALL_TRUNCATE, "truncate of 32-bit programs"),
	EVERY("chmod", -1, COW_CALL_CHMOD, "changes an inode"),
	EVERY("fchmod", -1, COW_CALL_FCHMOD, "works on a descriptor open for reading, so on a grafted file"),
	EVERY("fchmodat", -1, COW_CALL_FCHMODAT, "changes an inode"),
	EVERY("fchmodat2", 452, COW_CALL_FCHMODAT2, "changes an inode (Linux 6.6)"),
	EVERY("chown", -1, COW_CALL_CHOWN, "changes an inode"),
	EVERY("lchown", -1, COW_CALL_LCHOWN, "changes an inode"),
	EVERY("fchown", -1, COW_CALL_FCHOWN, "works on a descriptor open for reading"),
	EVERY("fchownat", -1, COW_CALL_FCHOWNAT, "changes an inode"),
	EVERY("chown32", -1, COW_CALL_CHOWN, "chown of 32-bit programs"),
	EVERY("lchown32", -1, COW_CALL_LCHOWN, "lchown of 32-bit programs"),
	EVERY("fchown32", -1, COW_CALL_FCHOWN, "fchown of 32-bit programs"),
	EVERY("utime", -1, COW_CALL_UTIME, "changes an inode"),
	EVERY("utimes", -1, COW_CALL_UTIME, "changes an inode"),
	EVERY("futimesat", -1, COW_CALL_FUTIMESAT, "changes an inode"),
	EVERY("utimensat", -1, COW_CALL_UTIMENSAT, "changes an inode; with no path, that of a descriptor open for reading"),
	EVERY("utimensat_time64", -1, COW_CALL_UTIMENSAT, "utimensat of 32-bit programs with 64-bit times"),
	EVERY("setxattr", -1, COW_CALL_SETXATTR, "changes an inode"),
	EVERY("lsetxattr", -1, COW_CALL_LSETXATTR, "changes an inode"),
	EVERY("fsetxattr", -1, COW_CALL_FSETXATTR, "works on a descriptor open for reading"),
	EVERY("setxattrat", 463, COW_CALL_SETXATTRAT, "changes an inode (Linux 6.13)"),
	EVERY("removexattr", -1, COW_CALL_REMOVEXATTR, "changes an inode"),
	EVERY("lremovexattr", -1, COW_CALL_LREMOVEXATTR, "changes an inode"),
	EVERY("fremovexattr", -1, COW_CALL_FREMOVEXATTR, "works on a descriptor open for reading"),
	EVERY("removexattrat", 466, COW_CALL_REMOVEXATTRAT, "changes an inode (Linux 6.13)"),
	EVERY("file_setattr", 469, COW_CALL_FILE_SETATTR, "changes an inode (Linux 6.17)"),

	/* Would it be writable? On a graft the kernel says EROFS, after copy-up it is. */
	{ROW("access", -1, COW_CALL_ACCESS), NOTIFY(1, WHEN1(SET(1, W_OK))), PASS(1, WHEN1(CLEAR(1, W_OK))),
	 .why = "a graft answers W_OK with EROFS"},
	BY_HANDLE_OR_W_OK("faccessat", -1, COW_CALL_FACCESSAT, 2, "as access; a handle may be stale"),
	BY_HANDLE_OR_W_OK("faccessat2", 439, COW_CALL_FACCESSAT2, 2, "as access; a handle may be stale"),

	/* Working and root directories. */
	EVERY("chdir", -1, COW_CALL_CHDIR, "the new working directory is split first, so that it is never inside a graft"),
	EVERY("fchdir", -1, COW_CALL_FCHDIR, "as chdir, and the handle may be stale"),
	EVERY("chroot", -1, COW_CALL_CHROOT, "as chdir, for the root directory"),

	/* Reads through a handle that may be stale. */
	BY_HANDLE_NAMED("newfstatat", -1, COW_CALL_STATAT, 3, "reads through a handle"),
	BY_HANDLE_NAMED("fstatat64", -1, COW_CALL_STATAT, 3, "newfstatat of 32-bit programs"),
	BY_HANDLE_NAMED("statx", -1, COW_CALL_STATAT, 2, "reads through a handle"),
	BY_HANDLE("readlinkat", -1, COW_CALL_READAT, "reads through a handle"),
	BY_HANDLE("name_to_handle_at", -1, COW_CALL_READAT, "reads through a handle"),
	BY_HANDLE_NAMED("execveat", -1, COW_CALL_READAT, 4, "executes through a handle"),
	BY_HANDLE("getxattrat", 464, COW_CALL_READAT, "reads through a handle (Linux 6.13)"),
	BY_HANDLE("listxattrat", 465, COW_CALL_READAT, "reads through a handle (Linux 6.13)"),
	BY_HANDLE("file_getattr", 468, COW_CALL_READAT, "reads through a handle (Linux 6.17)"),

	/* Others that meet the file system. */
	EVERY("bind", -1, COW_CALL_BIND, "a unix socket's bind makes a name"),
	{ROW("socketcall", -1, COW_CALL_SOCKETCALL), NOTIFY(1, WHEN1(EQUAL(0, SYS_BIND))),
	 PASS(1, WHEN1(DIFFER(0, SYS_BIND))), .why = "bind of old i386 programs; its arguments are in memory"},
	EVERY("inotify_add_watch", -1, COW_CALL_INOTIFY_ADD_WATCH,
	      "a watch on a graft would not see what happens in the upper: split first"),
	{ROW("landlock_create_ruleset", 444, COW_CALL_LANDLOCK_CREATE_RULESET), NOTIFY(1, WHEN1(EQUAL(0, 1))),
	 PASS(1, WHEN1(DIFFER(0, 1))), .why = "cowrun-init's way to ask for the container's ruleset (init/protocol.h)"},

	/* Refused. */
	REFUSED("io_uring_setup", 425, ENOSYS, "a ring opens, renames and writes without system calls, so round the filter"),
	REFUSED("open_by_handle_at", -1, EPERM, "reaches any inode of a file system through any mount of it, grafts or not"),
	REFUSED("mount_setattr", 442, EPERM, "could clear a graft's read-only flag"),
	REFUSED("open_tree_attr", 467, EPERM, "could clear the read-only flag, also on a clone of a graft (Linux 6.15)"),
	REFUSED("fspick", 433, EPERM, "first step of changing a file system that is mounted"),
	{.name = "mount", .number = -1, .verdict = COW_FILTER_REFUSE, .errnum = EPERM, NOTIFY(1, WHEN1(SET(3, MS_REMOUNT))),
	 PASS(1, WHEN1(CLEAR(3, MS_REMOUNT))), .why = "a bind remount could clear a graft's read-only flag"},
};
/* clang-format on */

enum { CALL_COUNT = sizeof(table) / sizeof(table[0]) };

_Static_assert(AT_FDCWD < 0, "bit 31 tells AT_FDCWD from a descriptor");
_Static_assert((O_TMPFILE & O_CREAT) == 0, "O_TMPFILE is caught by its write mode");
_Static_assert(O_RDONLY == 0 && (O_ACCMODE & ~M_BITS) == 0, "every access mode but O_RDONLY has a bit in M_BITS");

/* libseccomp names i386's direct bind by the number of its socketcall twin, so this one number is ours (Linux 4.3). */
enum { I386_BIND = 361 };

const struct cow_filter_call *cow_filter_calls(size_t *count)
{
	*count = CALL_COUNT;
	return table;
}

const struct cow_filter_call *cow_filter_named(const char *name)
{
	for (size_t i = 0; i < CALL_COUNT; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

const uint32_t *cow_filter_arches(void)
{
#if defined(__x86_64__)
	static const uint32_t arches[] = {AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, 0};
#elif defined(__aarch64__)
	static const uint32_t arches[] = {AUDIT_ARCH_AARCH64, AUDIT_ARCH_ARM, 0};
#else
#error "cowrun knows the system calls of x86_64 and aarch64 only"
#endif
	return arches;
}

int cow_filter_number(const struct cow_filter_call *call, uint32_t audit_arch)
{
	int nr;

	if (audit_arch == AUDIT_ARCH_I386 && call->call == COW_CALL_BIND)
		return I386_BIND;
	/* libseccomp's architecture tokens are the kernel's audit numbers for all that we know. */
	nr = seccomp_syscall_resolve_name_arch(audit_arch, call->name);
	if (nr == __NR_SCMP_ERROR)
		return call->number;
	return nr < 0 ? -1 : nr; /* negative: libseccomp's stand-in for a call that this architecture lacks */
}

/*
 * Families by number. One array for each architecture; 0 (COW_CALL_NONE) everywhere but for the trapped calls.
 */
enum { LOOKUP_ARCHES = 2, LOOKUP_SIZE = 512 };
static uint8_t lookup_family[LOOKUP_ARCHES][LOOKUP_SIZE];
static pthread_once_t lookup_once = PTHREAD_ONCE_INIT;

_Static_assert(COW_CALL_COUNT <= UINT8_MAX, "families fit lookup_family");

static void lookup_build(void)
{
	const uint32_t *arches = cow_filter_arches();

	for (size_t a = 0; a < LOOKUP_ARCHES && arches[a] != 0; a++) {
		for (size_t i = 0; i < CALL_COUNT; i++) {
			int nr = cow_filter_number(&table[i], arches[a]);

			if (table[i].verdict == COW_FILTER_NOTIFY && nr >= 0 && nr < LOOKUP_SIZE)
				lookup_family[a][nr] = (uint8_t)table[i].call;
		}
	}
}

enum cow_call cow_filter_lookup(uint32_t audit_arch, int nr)
{
	const uint32_t *arches = cow_filter_arches();

	pthread_once(&lookup_once, lookup_build);
	if (nr < 0 || nr >= LOOKUP_SIZE)
		return COW_CALL_NONE;
	for (size_t a = 0; a < LOOKUP_ARCHES && arches[a] != 0; a++)
		if (arches[a] == audit_arch)
			return (enum cow_call)lookup_family[a][nr];
	return COW_CALL_NONE;
}
