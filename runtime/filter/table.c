#include "filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/net.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/*
 * The table: every system call of Linux 6.18 on every architecture that we know is here, either in a row (trapped or
 * refused) or, by its name, in a group of harmless ones with the reason. tests/unit/test_calls.c holds the kernel's own
 * tables against it.
 *
 * A call has a row for one of four reasons:
 *   - it may change a name, an inode or a file's content below a workdir (a mutation: split or copy-up comes first);
 *   - it looks something up through a directory handle, which may be stale, opened while the directory was inside a
 *     graft;
 *   - it ties something to a directory or its place (a working directory, a watch, a mount, a Landlock rule), which
 * must then be the upper's and not a graft;
 *   - it could go round the read-only mounts or round the filter itself (refused).
 * What has no row never reaches the agent: a call that is missed and writes ends as EROFS on the graft.
 *
 * An open for writing always has one of the bits M: O_TMPFILE demands a write mode, and the access mode 3 has both.
 * Directory handles are told from AT_FDCWD by bit 31: AT_FDCWD arrives as 0xffffff9c with or without sign extension.
 * Flags that differ between architectures (O_DIRECTORY and the like) are not looked at.
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
#define NOTIFY(n, ...) .nnotify = (n), .notify = (const struct cow_filter_clause[]){__VA_ARGS__}
#define PASS(n, ...)   .npass = (n), .pass = (const struct cow_filter_clause[]){__VA_ARGS__}

/* The opens' flag bits one after the other, each clause without the bits of those before. */
#define M_UP_TO_RDWR  (O_WRONLY | O_RDWR)
#define M_UP_TO_CREAT (O_WRONLY | O_RDWR | O_CREAT)

#define WRITES_AT(n) \
	WHEN1(SET(n, O_WRONLY)), WHEN1(ONLY(n, M_UP_TO_RDWR, O_RDWR)), \
	WHEN1(ONLY(n, M_UP_TO_CREAT, O_CREAT)), WHEN1(ONLY(n, M_BITS, O_TRUNC))
#define CWD_WRITES_AT(n) \
	WHEN2(NO_HANDLE, SET(n, O_WRONLY)), WHEN2(NO_HANDLE, ONLY(n, M_UP_TO_RDWR, O_RDWR)), \
	WHEN2(NO_HANDLE, ONLY(n, M_UP_TO_CREAT, O_CREAT)), WHEN2(NO_HANDLE, ONLY(n, M_BITS, O_TRUNC))

/*
 * ioctl commands are direction, size, type and number (asm-generic/ioctl.h). Those that change an inode through a
 * descriptor open for reading are told exactly by the agent (agent/calls_ioctl.c); the filter knows them by direction,
 * type and where need be bits of the number, so that few conditions do and no frequent command is among them. Of type
 * 0x94 that is FICLONE (9) and FICLONERANGE (13), which cp tries on every file and which want a descriptor open for
 * writing: the clauses spell out "number & 0xfb is not 9", bit after bit.
 */
#define IOC_OF(dir, type)           ((uint32_t)(dir) << _IOC_DIRSHIFT | (uint32_t)(type) << _IOC_TYPESHIFT)
#define IOC_BITS                    IOC_OF(_IOC_DIRMASK, _IOC_TYPEMASK)
#define COMMANDS(dir, type)         WHEN1(ONLY(1, IOC_BITS, IOC_OF(dir, type)))
#define SOME(dir, type, mask, bits) WHEN1(ONLY(1, IOC_BITS | (mask), IOC_OF(dir, type) | (bits)))
/* 'f' and 'v' differ in this bit. */
#define F_OR_V                      WHEN1(ONLY(1, IOC_BITS & ~(0x10u << _IOC_TYPESHIFT), IOC_OF(_IOC_WRITE, 'f')))
#define IOCTLS \
	F_OR_V, COMMANDS(_IOC_WRITE, 'X'), COMMANDS(_IOC_READ | _IOC_WRITE, 'X'), COMMANDS(_IOC_READ | _IOC_WRITE, 0x94), \
	COMMANDS(_IOC_NONE, 'f'), SOME(_IOC_READ, 'f', 0x10, 0x10), \
	SOME(_IOC_WRITE, 0x94, 0x80, 0x80), SOME(_IOC_WRITE, 0x94, 0xc0, 0x40), SOME(_IOC_WRITE, 0x94, 0xe0, 0x20), \
	SOME(_IOC_WRITE, 0x94, 0xf0, 0x10), SOME(_IOC_WRITE, 0x94, 0xf8, 0x00), SOME(_IOC_WRITE, 0x94, 0xfa, 0x0a), \
	SOME(_IOC_WRITE, 0x94, 0xfb, 0x08)

/* Rows by shape. */
#define ROW(nm, family) .name = (nm), .call = (family), .verdict = COW_FILTER_NOTIFY
#define EVERY(nm, family, reason) \
	{ROW(nm, family), ALWAYS, .why = (reason)}
#define BY_HANDLE(nm, family, reason) \
	{ROW(nm, family), NOTIFY(1, WHEN1(HANDLE)), PASS(1, WHEN1(NO_HANDLE)), .why = (reason)}
/* AT_EMPTY_PATH asks about the descriptor itself, which needs no freshening. (With a name and the flag both, the name counts and a
   stale handle would answer for the lower: accepted, since the flag's users pass no name.) */
#define BY_HANDLE_NAMED(nm, family, n, reason) \
	{ROW(nm, family), NOTIFY(1, WHEN2(HANDLE, CLEAR(n, AT_EMPTY_PATH))), \
	 PASS(2, WHEN1(NO_HANDLE), WHEN2(HANDLE, SET(n, AT_EMPTY_PATH))), .why = (reason)}
#define BY_HANDLE_OR_W_OK(nm, family, n, reason) \
	{ROW(nm, family), NOTIFY(2, WHEN1(HANDLE), WHEN2(NO_HANDLE, SET(n, W_OK))), \
	 PASS(1, WHEN2(NO_HANDLE, CLEAR(n, W_OK))), .why = (reason)}
#define WHERE_EQUAL(nm, family, n, number, reason) \
	{ROW(nm, family), NOTIFY(1, WHEN1(EQUAL(n, number))), PASS(1, WHEN1(DIFFER(n, number))), .why = (reason)}
/* For numbers of 32 bits, of which libseccomp would compare 64: by the bits that tell them from others that exist. */
#define WHERE_BITS(nm, family, n, mask, bits, reason) \
	{ROW(nm, family), NOTIFY(1, WHEN1(ONLY(n, mask, bits))), .why = (reason)}
#define F_BITS 0x43fu
#define REFUSED(nm, number_of_error, reason) \
	{.name = (nm), .verdict = COW_FILTER_REFUSE, .errnum = (number_of_error), ALWAYS, .why = (reason)}

static const struct cow_filter_call rows[] = {
	/* Opens. */
	{ROW("open", COW_CALL_OPEN), NOTIFY(4, WRITES_AT(1)), PASS(1, WHEN1(CLEAR(1, M_BITS))),
	 .why = "an open that may write or create needs copy-up or split first"},
	{ROW("openat", COW_CALL_OPENAT), NOTIFY(5, WHEN1(HANDLE), CWD_WRITES_AT(2)),
	 PASS(1, WHEN2(NO_HANDLE, CLEAR(2, M_BITS))), .why = "as open; a handle may be stale"},
	EVERY("openat2", COW_CALL_OPENAT2, "its flags are in memory, out of the filter's sight"),
	EVERY("creat", COW_CALL_CREAT, "creates or truncates"),

	/* Names. */
	EVERY("mkdir", COW_CALL_MKDIR, "adds a name"),
	EVERY("mkdirat", COW_CALL_MKDIRAT, "adds a name"),
	EVERY("mknod", COW_CALL_MKNOD, "adds a name"),
	EVERY("mknodat", COW_CALL_MKNODAT, "adds a name"),
	EVERY("unlink", COW_CALL_UNLINK, "removes a name, which may be a mount point (a graft)"),
	EVERY("unlinkat", COW_CALL_UNLINKAT, "removes a name, which may be a mount point"),
	EVERY("rmdir", COW_CALL_RMDIR, "removes a name, which may be a mount point"),
	EVERY("rename", COW_CALL_RENAME, "moves names, which may be mount points"),
	EVERY("renameat", COW_CALL_RENAMEAT, "moves names, which may be mount points"),
	EVERY("renameat2", COW_CALL_RENAMEAT2, "moves names, which may be mount points"),
	EVERY("link", COW_CALL_LINK, "adds a name to an inode that must be the upper's"),
	EVERY("linkat", COW_CALL_LINKAT, "adds a name to an inode that must be the upper's"),
	EVERY("symlink", COW_CALL_SYMLINK, "adds a name"),
	EVERY("symlinkat", COW_CALL_SYMLINKAT, "adds a name"),

	/* Content and attributes. ftruncate, write, fallocate need a descriptor open for writing: open was trapped. */
	EVERY("truncate", COW_CALL_TRUNCATE, "changes content by path"),
	EVERY("truncate64", COW_CALL_TRUNCATE, "truncate of 32-bit programs"),
	EVERY("chmod", COW_CALL_CHMOD, "changes an inode"),
	EVERY("fchmod", COW_CALL_FCHMOD, "works on a descriptor open for reading, so on a grafted file"),
	EVERY("fchmodat", COW_CALL_FCHMODAT, "changes an inode"),
	EVERY("fchmodat2", COW_CALL_FCHMODAT2, "changes an inode (Linux 6.6)"),
	EVERY("chown", COW_CALL_CHOWN, "changes an inode"),
	EVERY("lchown", COW_CALL_LCHOWN, "changes an inode"),
	EVERY("fchown", COW_CALL_FCHOWN, "works on a descriptor open for reading"),
	EVERY("fchownat", COW_CALL_FCHOWNAT, "changes an inode"),
	EVERY("chown32", COW_CALL_CHOWN, "chown of 32-bit programs"),
	EVERY("lchown32", COW_CALL_LCHOWN, "lchown of 32-bit programs"),
	EVERY("fchown32", COW_CALL_FCHOWN, "fchown of 32-bit programs"),
	EVERY("utime", COW_CALL_UTIME, "changes an inode"),
	EVERY("utimes", COW_CALL_UTIMES, "changes an inode"),
	EVERY("futimesat", COW_CALL_FUTIMESAT, "changes an inode"),
	EVERY("utimensat", COW_CALL_UTIMENSAT, "changes an inode; with no path, that of a descriptor open for reading"),
	EVERY("utimensat_time64", COW_CALL_UTIMENSAT_TIME64, "utimensat of 32-bit programs with 64-bit times"),
	EVERY("setxattr", COW_CALL_SETXATTR, "changes an inode"),
	EVERY("lsetxattr", COW_CALL_LSETXATTR, "changes an inode"),
	EVERY("fsetxattr", COW_CALL_FSETXATTR, "works on a descriptor open for reading"),
	EVERY("setxattrat", COW_CALL_SETXATTRAT, "changes an inode (Linux 6.13)"),
	EVERY("removexattr", COW_CALL_REMOVEXATTR, "changes an inode"),
	EVERY("lremovexattr", COW_CALL_LREMOVEXATTR, "changes an inode"),
	EVERY("fremovexattr", COW_CALL_FREMOVEXATTR, "works on a descriptor open for reading"),
	EVERY("removexattrat", COW_CALL_REMOVEXATTRAT, "changes an inode (Linux 6.13)"),
	EVERY("file_setattr", COW_CALL_FILE_SETATTR, "changes an inode (Linux 6.17)"),
	{ROW("ioctl", COW_CALL_IOCTL), NOTIFY(13, IOCTLS),
	 .why = "chattr and its kin change an inode through a descriptor open for reading"},

	/* Would it be writable? On a graft the kernel says EROFS, after copy-up it is. */
	{ROW("access", COW_CALL_ACCESS), NOTIFY(1, WHEN1(SET(1, W_OK))), PASS(1, WHEN1(CLEAR(1, W_OK))),
	 .why = "a graft answers W_OK with EROFS"},
	BY_HANDLE_OR_W_OK("faccessat", COW_CALL_FACCESSAT, 2, "as access; a handle may be stale"),
	BY_HANDLE_OR_W_OK("faccessat2", COW_CALL_FACCESSAT2, 2, "as access; a handle may be stale"),

	/* Working and root directories. */
	EVERY("chdir", COW_CALL_CHDIR, "the new working directory is split first, so that it is never inside a graft"),
	EVERY("fchdir", COW_CALL_FCHDIR, "as chdir, and the handle may be stale"),
	EVERY("chroot", COW_CALL_CHROOT, "as chdir, for the root directory"),

	/* Reads through a handle that may be stale. */
	BY_HANDLE_NAMED("newfstatat", COW_CALL_STATAT, 3, "reads through a handle"),
	BY_HANDLE_NAMED("fstatat64", COW_CALL_STATAT, 3, "newfstatat of 32-bit programs"),
	BY_HANDLE_NAMED("statx", COW_CALL_STATAT, 2, "reads through a handle"),
	BY_HANDLE("readlinkat", COW_CALL_READAT, "reads through a handle"),
	BY_HANDLE("name_to_handle_at", COW_CALL_READAT, "reads through a handle"),
	BY_HANDLE_NAMED("execveat", COW_CALL_READAT, 4, "executes through a handle"),
	BY_HANDLE("getxattrat", COW_CALL_READAT, "reads through a handle (Linux 6.13)"),
	BY_HANDLE("listxattrat", COW_CALL_READAT, "reads through a handle (Linux 6.13)"),
	BY_HANDLE("file_getattr", COW_CALL_READAT, "reads through a handle (Linux 6.17)"),

	/* Others that meet the file system. */
	EVERY("bind", COW_CALL_BIND, "a unix socket's bind makes a name"),
	WHERE_EQUAL("socketcall", COW_CALL_SOCKETCALL, 0, SYS_BIND, "bind of old i386 programs; its arguments are in memory"),
	EVERY("inotify_add_watch", COW_CALL_INOTIFY_ADD_WATCH,
	      "a watch on a graft would not see what happens in the upper: split or copy up first"),
	EVERY("fanotify_mark", COW_CALL_FANOTIFY_MARK, "as inotify_add_watch; a handle may be stale"),
	WHERE_BITS("fcntl", COW_CALL_FCNTL, 1, F_BITS, F_NOTIFY, "F_NOTIFY: as inotify_add_watch"),
	WHERE_BITS("fcntl64", COW_CALL_FCNTL, 1, F_BITS, F_NOTIFY, "fcntl of 32-bit programs"),
	WHERE_EQUAL("landlock_create_ruleset", COW_CALL_LANDLOCK_CREATE_RULESET, 0, 1,
		    "cowrun-init's way to ask for the container's ruleset (init/protocol.h)"),
	WHERE_BITS("landlock_add_rule", COW_CALL_LANDLOCK_ADD_RULE, 1, 3, LANDLOCK_RULE_PATH_BENEATH,
		   "a rule for a graft would not hold for the directory that a split puts there: split first"),
	EVERY("landlock_restrict_self", COW_CALL_LANDLOCK_RESTRICT_SELF,
	      "from then on the agent must leave to the kernel what it does in a process's stead"),

	/* Mounts, for a container that may. A remount could clear a graft's read-only flag: the agent refuses it. */
	EVERY("mount", COW_CALL_MOUNT, "what is mounted on a graft would go with it at the next split: split first"),
	EVERY("move_mount", COW_CALL_MOVE_MOUNT, "as mount; and no graft may be moved away"),
	EVERY("open_tree", COW_CALL_OPEN_TREE, "a handle may be stale; and no clone may lay placeholders bare"),
	EVERY("umount", COW_CALL_UMOUNT, "no graft may be taken away"),
	EVERY("umount2", COW_CALL_UMOUNT, "no graft may be taken away"),
	EVERY("pivot_root", COW_CALL_PIVOT_ROOT, "as mount, for where the old root goes"),

	/* Refused. */
	REFUSED("io_uring_setup", ENOSYS, "a ring opens, renames and writes without system calls, so round the filter"),
	REFUSED("open_by_handle_at", EPERM, "reaches any inode of a file system through any mount of it, grafts or not"),
	REFUSED("mount_setattr", EPERM, "could clear a graft's read-only flag"),
	REFUSED("open_tree_attr", EPERM, "could clear the read-only flag, also on a clone of a graft (Linux 6.15)"),
	REFUSED("fspick", EPERM, "first step of changing a file system that is mounted"),
	REFUSED("acct", EPERM, "the kernel itself would write to the file from then on"),
	REFUSED("swapon", EPERM, "the kernel itself would write to the file from then on"),
	REFUSED("swapoff", EPERM, "opens the file for writing"),
};

/*
 * The harmless ones: what they could change they change on a descriptor that was judged when it was opened, or it is no
 * object of a file system at all.
 */
#define GROUP(reason, ...) {.why = (reason), .names = (const char *const[]){__VA_ARGS__, NULL}}

static const struct cow_filter_group groups[] = {
	GROUP("works on an open descriptor; opening it was judged",
	      "read", "readv", "pread64", "preadv", "preadv2", "write", "writev", "pwrite64", "pwritev", "pwritev2",
	      "lseek", "_llseek", "ftruncate", "ftruncate64", "fallocate", "fsync", "fdatasync", "sync_file_range",
	      "arm_sync_file_range", "syncfs", "sendfile", "sendfile64", "splice", "tee", "vmsplice", "copy_file_range",
	      "readahead", "fadvise64", "fadvise64_64", "arm_fadvise64_64", "flock", "close", "close_range", "dup",
	      "dup2", "dup3", "cachestat", "fstat", "fstat64", "oldfstat", "fgetxattr", "flistxattr", "fstatfs",
	      "fstatfs64", "getdents", "getdents64", "readdir", "io_setup", "io_destroy", "io_submit", "io_cancel",
	      "io_getevents", "io_pgetevents", "io_pgetevents_time64"),
	GROUP("looks up a path from the root or the working directory and changes nothing: the merged tree is real",
	      "stat", "lstat", "stat64", "lstat64", "oldstat", "oldlstat", "readlink", "getxattr", "lgetxattr",
	      "listxattr", "llistxattr", "statfs", "statfs64", "execve", "uselib", "getcwd"),
	GROUP("memory; a mapping is of a descriptor, which open judged",
	      "mmap", "mmap2", "munmap", "mremap", "mprotect", "msync", "madvise", "process_madvise", "mincore", "mlock",
	      "mlock2", "mlockall", "munlock", "munlockall", "brk", "remap_file_pages", "mbind", "get_mempolicy",
	      "set_mempolicy", "set_mempolicy_home_node", "migrate_pages", "move_pages", "pkey_alloc", "pkey_free",
	      "pkey_mprotect", "membarrier", "memfd_create", "memfd_secret", "userfaultfd", "map_shadow_stack", "mseal",
	      "process_mrelease"),
	GROUP("sockets; connecting to a name changes nothing and a read-only mount does not stand in its way",
	      "socket", "socketpair", "connect", "listen", "accept", "accept4", "send", "sendto", "sendmsg", "sendmmsg",
	      "recv", "recvfrom", "recvmsg", "recvmmsg", "recvmmsg_time64", "setsockopt", "getsockopt", "getsockname",
	      "getpeername", "shutdown"),
	GROUP("waits, or makes a descriptor of its own kind",
	      "poll", "ppoll", "ppoll_time64", "select", "_newselect", "pselect6", "pselect6_time64", "epoll_create",
	      "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_wait", "epoll_wait_old", "epoll_pwait",
	      "epoll_pwait2", "eventfd", "eventfd2", "signalfd", "signalfd4", "timerfd_create", "timerfd_settime",
	      "timerfd_settime64", "timerfd_gettime", "timerfd_gettime64", "pipe", "pipe2", "inotify_init",
	      "inotify_init1", "inotify_rm_watch", "fanotify_init", "perf_event_open"),
	GROUP("signals and time",
	      "kill", "tkill", "tgkill", "pause", "signal", "sigaction", "sigaltstack", "sigpending", "sigprocmask",
	      "sigreturn", "sigsuspend", "sgetmask", "ssetmask", "rt_sigaction", "rt_sigpending", "rt_sigprocmask",
	      "rt_sigqueueinfo", "rt_tgsigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
	      "rt_sigtimedwait_time64", "restart_syscall", "alarm", "getitimer", "setitimer", "nanosleep", "time",
	      "times", "stime", "gettimeofday", "settimeofday", "adjtimex", "clock_adjtime", "clock_adjtime64",
	      "clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_settime",
	      "clock_settime64", "clock_nanosleep", "clock_nanosleep_time64", "timer_create", "timer_delete",
	      "timer_getoverrun", "timer_gettime", "timer_gettime64", "timer_settime", "timer_settime64"),
	GROUP("processes, threads and what they are; children have the filter too",
	      "fork", "vfork", "clone", "clone3", "exit", "exit_group", "wait4", "waitid", "waitpid", "getpid", "getppid",
	      "gettid", "getpgid", "getpgrp", "setpgid", "getsid", "setsid", "set_tid_address", "set_robust_list",
	      "get_robust_list", "rseq", "futex", "futex_time64", "futex_waitv", "futex_wake", "futex_wait",
	      "futex_requeue", "prctl", "arch_prctl", "personality", "set_thread_area", "get_thread_area", "modify_ldt",
	      "set_tls", "get_tls", "cacheflush", "breakpoint", "usr26", "usr32", "vm86", "vm86old", "iopl", "ioperm",
	      "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_open", "pidfd_getfd", "pidfd_send_signal",
	      "getcpu", "getrandom", "nice", "getpriority", "setpriority", "ioprio_get", "ioprio_set", "getrlimit",
	      "ugetrlimit", "setrlimit", "prlimit64", "getrusage", "sched_get_priority_max", "sched_get_priority_min",
	      "sched_getaffinity", "sched_setaffinity", "sched_getattr", "sched_setattr", "sched_getparam",
	      "sched_setparam", "sched_getscheduler", "sched_setscheduler", "sched_rr_get_interval",
	      "sched_rr_get_interval_time64", "sched_yield", "uprobe", "uretprobe"),
	GROUP("users, groups, capabilities, and what a process takes from itself",
	      "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "setuid", "setgid", "setreuid",
	      "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "getgroups", "setgroups", "getuid32",
	      "geteuid32", "getgid32", "getegid32", "getresuid32", "getresgid32", "setuid32", "setgid32", "setreuid32",
	      "setregid32", "setresuid32", "setresgid32", "setfsuid32", "setfsgid32", "getgroups32", "setgroups32",
	      "capget", "capset", "umask", "seccomp", "lsm_get_self_attr", "lsm_set_self_attr",
	      "lsm_list_modules", "add_key", "request_key", "keyctl"),
	GROUP("objects with names of their own, not in a directory",
	      "mq_open", "mq_unlink", "mq_notify", "mq_getsetattr", "mq_timedreceive", "mq_timedreceive_time64",
	      "mq_timedsend", "mq_timedsend_time64", "ipc", "msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget",
	      "semop", "semtimedop", "semtimedop_time64", "shmat", "shmctl", "shmdt", "shmget", "bpf"),
	GROUP("namespaces and mounts that are not in the tree yet: in each the lower's mounts stay read-only, and locked so",
	      "unshare", "setns", "fsopen", "fsconfig", "fsmount", "statmount", "listmount", "listns"),
	GROUP("needs a ring, and io_uring_setup gives none",
	      "io_uring_enter", "io_uring_register"),
	GROUP("the machine or a whole file system, for who owns it anyway (SECURITY.md)",
	      "quotactl", "quotactl_fd", "sync", "reboot", "kexec_load", "kexec_file_load", "init_module", "finit_module",
	      "delete_module", "syslog", "sethostname", "setdomainname", "uname", "olduname", "oldolduname", "sysinfo",
	      "sysfs", "ustat", "vhangup", "lookup_dcookie", "pciconfig_iobase", "pciconfig_read", "pciconfig_write"),
	GROUP("not there: the kernel has no such call any more, or never had",
	      "_sysctl", "afs_syscall", "bdflush", "break", "create_module", "ftime", "get_kernel_syms", "getpmsg",
	      "gtty", "idle", "lock", "mpx", "nfsservctl", "prof", "profil", "putpmsg", "query_module", "security",
	      "stty", "tuxcall", "ulimit", "vserver"),
};
/* clang-format on */

enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]), GROUP_COUNT = sizeof(groups) / sizeof(groups[0]) };

_Static_assert(AT_FDCWD < 0, "bit 31 tells AT_FDCWD from a descriptor");
_Static_assert((O_TMPFILE & O_CREAT) == 0, "O_TMPFILE is caught by its write mode");
_Static_assert(O_RDONLY == 0 && (O_ACCMODE & ~M_BITS) == 0, "every access mode but O_RDONLY has a bit in M_BITS");

const struct cow_filter_call *cow_filter_calls(size_t *count)
{
	*count = ROW_COUNT;
	return rows;
}

const struct cow_filter_group *cow_filter_groups(size_t *count)
{
	*count = GROUP_COUNT;
	return groups;
}

const struct cow_filter_call *cow_filter_named(const char *name)
{
	for (size_t i = 0; i < ROW_COUNT; i++)
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}

const char *cow_filter_harmless(const char *name)
{
	for (size_t i = 0; i < GROUP_COUNT; i++)
		for (const char *const *n = groups[i].names; *n != NULL; n++)
			if (strcmp(*n, name) == 0)
				return groups[i].why;
	return NULL;
}
