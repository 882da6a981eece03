/*
 * The system calls that cowrun cares for, and the seccomp programs made from them.
 *
 * One table (calls.c) says for each call what the filter does with it and why; from it come the program that
 * cowrun-init installs (cow_filter_program), the rules merged into a bundle's own profile (wrapper/profile.c) and the
 * agent's dispatch by number.
 */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/error.h"

/* What a trapped call is to the agent. A family has one handler (agent/dispatch.c). */
enum cow_call {
	COW_CALL_NONE = 0,
	COW_CALL_OPEN,   /* open */
	COW_CALL_OPENAT, /* openat */
	COW_CALL_OPENAT2,
	COW_CALL_CREAT,
	COW_CALL_MKDIR,
	COW_CALL_MKDIRAT,
	COW_CALL_MKNOD,
	COW_CALL_MKNODAT,
	COW_CALL_UNLINK,
	COW_CALL_UNLINKAT,
	COW_CALL_RMDIR,
	COW_CALL_RENAME,
	COW_CALL_RENAMEAT,
	COW_CALL_RENAMEAT2,
	COW_CALL_LINK,
	COW_CALL_LINKAT,
	COW_CALL_SYMLINK,
	COW_CALL_SYMLINKAT,
	COW_CALL_TRUNCATE, /* also truncate64 */
	COW_CALL_CHMOD,
	COW_CALL_FCHMOD,
	COW_CALL_FCHMODAT,
	COW_CALL_FCHMODAT2,
	COW_CALL_CHOWN,
	COW_CALL_LCHOWN,
	COW_CALL_FCHOWN,
	COW_CALL_FCHOWNAT, /* also the 32-bit-uid names of i386 */
	COW_CALL_UTIME,
	COW_CALL_UTIMES,
	COW_CALL_FUTIMESAT,
	COW_CALL_UTIMENSAT,
	COW_CALL_UTIMENSAT_TIME64,
	COW_CALL_SETXATTR,
	COW_CALL_LSETXATTR,
	COW_CALL_FSETXATTR,
	COW_CALL_SETXATTRAT,
	COW_CALL_REMOVEXATTR,
	COW_CALL_LREMOVEXATTR,
	COW_CALL_FREMOVEXATTR,
	COW_CALL_REMOVEXATTRAT,
	COW_CALL_FILE_SETATTR,
	COW_CALL_IOCTL,
	COW_CALL_ACCESS,
	COW_CALL_FACCESSAT,
	COW_CALL_FACCESSAT2,
	COW_CALL_CHDIR,
	COW_CALL_FCHDIR,
	COW_CALL_CHROOT,
	COW_CALL_STATAT, /* newfstatat, fstatat64, statx: read through a directory handle (arg 0) */
	COW_CALL_READAT, /* readlinkat, name_to_handle_at, execveat and other reads through a handle (arg 0) */
	COW_CALL_BIND,
	COW_CALL_SOCKETCALL,
	COW_CALL_INOTIFY_ADD_WATCH,
	COW_CALL_FANOTIFY_MARK,
	COW_CALL_FCNTL, /* also fcntl64: F_NOTIFY */
	COW_CALL_LANDLOCK_CREATE_RULESET,
	COW_CALL_LANDLOCK_ADD_RULE,
	COW_CALL_LANDLOCK_RESTRICT_SELF,
	COW_CALL_MOUNT,
	COW_CALL_MOVE_MOUNT,
	COW_CALL_OPEN_TREE,
	COW_CALL_UMOUNT, /* also umount2 */
	COW_CALL_PIVOT_ROOT,
	COW_CALL_COUNT
};

enum cow_filter_verdict {
	COW_FILTER_NOTIFY, /* to the agent when `notify` matches, else as if untouched */
	COW_FILTER_REFUSE, /* fails with `errnum` when `notify` matches (always, if there is none) */
};

/*
 * (args[arg] & mask) == value, or != where `differs` is set, in the 64-bit registers as seccomp_data has them; masks
 * here only ever have low 32 bits. `differs` comes only with a mask of all 32 bits: that complement has no other short
 * form.
 */
struct cow_filter_cond {
	uint8_t arg;
	bool differs;
	uint32_t mask;
	uint32_t value;
};

/* A conjunction of conditions, no two on the same argument (libseccomp takes one per argument); a list is a
 * disjunction. */
struct cow_filter_clause {
	uint8_t nconds;
	struct cow_filter_cond conds[2];
};

struct cow_filter_call {
	const char *name; /* as libseccomp and OCI profiles write it */
	enum cow_call call;
	enum cow_filter_verdict verdict;
	int errnum;
	/* When the verdict applies, and its exact complement (a unit test proves it). nnotify == 0: always. No two
	   clauses of one call match the same arguments: libseccomp keeps no order between overlapping rules.
	   npass == 0 with conditions: all of them are on one argument, and cow_filter_pass works the complement out. */
	size_t nnotify, npass;
	const struct cow_filter_clause *notify, *pass;
	const char *why;
};

/* Calls that may pass unseen, by name (NULL-terminated), and why. */
struct cow_filter_group {
	const char *why;
	const char *const *names;
};

/* table.c: the rows, `*count` long, and the groups. */
const struct cow_filter_call *cow_filter_calls(size_t *count);
const struct cow_filter_group *cow_filter_groups(size_t *count);
/* The row of that name, NULL if there is none; the reason why a call is harmless, NULL if it is in no group. */
const struct cow_filter_call *cow_filter_named(const char *name);
const char *cow_filter_harmless(const char *name);

/*
 * rest.c. Of a row without `pass`, whose conditions are all on one argument: does the verdict apply to the values whose
 * bits in `mask` are `value`? If that depends on further bits, *bit is the one to look at next.
 */
enum cow_filter_part { COW_FILTER_NOWHERE, COW_FILTER_EVERYWHERE, COW_FILTER_SOMEWHERE };
enum cow_filter_part cow_filter_part(const struct cow_filter_call *call, uint32_t mask, uint32_t value, uint32_t *bit);

/* The clauses for which a row's verdict does not apply. *n of them; caller frees. NULL: it always applies. */
struct cow_filter_clause *cow_filter_pass(const struct cow_filter_call *call, size_t *n);

/*
 * calls.c. Architectures are the kernel's AUDIT_ARCH_*: x86_64 with i386, aarch64 with arm. x32 is not one: see
 * cow_filter_program. All of it works for each of them on any machine.
 */
uint32_t cow_filter_native(void); /* of the program that asks */
/* What a kernel of that machine runs, native first, 0-terminated; NULL if we do not know it. */
const uint32_t *cow_filter_arches(uint32_t native);
/* A call's number on an architecture, or -1 if it has no such call; and back, NULL for none (caller frees). */
int cow_filter_number(const char *name, uint32_t arch);
char *cow_filter_name(uint32_t arch, int nr);
/*
 * The family of a trapped call, COW_CALL_NONE if it has none. O(1), thread-safe.
 * x32 calls (bit 30 of `nr` on x86_64) are never in it: a notification of one is to be answered with ENOSYS.
 */
enum cow_call cow_filter_lookup(uint32_t arch, int nr);
/* Do its programs have registers and structures of 32 bits? */
bool cow_filter_is_32bit(uint32_t arch);

/*
 * The whole program as cowrun-init installs it on that machine: ALLOW by default, x32 calls and unknown architectures
 * refused with ENOSYS. *len instructions; caller frees.
 */
struct sock_filter *cow_filter_program(uint32_t native, size_t *len, struct cow_error **err);
