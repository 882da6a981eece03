/* The table of system calls (runtime/filter/calls.c) and the program made from it (program.c). */
#include "../../runtime/filter/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/landlock.h>
#include <linux/net.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../runtime/lib/fd.h"
#include "seccomp_sim.h"
#include "tap.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

/*
 * Values of one argument that tell a row's conditions apart: every combination of the bits that its masks name. Of a
 * mask of all bits: the number compared, and its neighbours by one bit.
 */
struct values {
	uint32_t *value;
	size_t n;
};

static void collect(struct values *v, const struct cow_filter_clause *clauses, size_t count, unsigned arg)
{
	uint32_t mask = 0, equal = 0;
	bool whole = false;

	for (size_t i = 0; i < count; i++) {
		for (size_t c = 0; c < clauses[i].nconds; c++) {
			const struct cow_filter_cond *cond = &clauses[i].conds[c];

			if (cond->arg == arg && cond->mask == UINT32_MAX) {
				whole = true;
				equal = cond->value;
			} else if (cond->arg == arg) {
				mask |= cond->mask;
			}
		}
	}
	v->value = calloc(whole ? 33 : (size_t)1 << __builtin_popcount(mask), sizeof(*v->value));
	v->n = 0;
	if (whole) {
		v->value[v->n++] = equal;
		for (unsigned b = 0; b < 32; b++)
			v->value[v->n++] = equal ^ (1u << b);
		return;
	}
	for (uint32_t sub = mask;; sub = (sub - 1) & mask) { /* all subsets of the mask, the empty one last */
		v->value[v->n++] = sub;
		if (sub == 0)
			return;
	}
}

/* Exactly one clause of notify and pass together matches, whatever the arguments; returns the number of arguments
 * tried. */
static size_t prove_row(const struct cow_filter_call *call, size_t *wrong)
{
	size_t npass;
	cleanup_free struct cow_filter_clause *pass = cow_filter_pass(call, &npass);
	struct values values[6];
	size_t total = 1;

	for (unsigned a = 0; a < 6; a++) {
		collect(&values[a], call->notify, call->nnotify, a);
		total *= values[a].n;
	}
	for (size_t n = 0; n < total; n++) {
		uint64_t args[6];
		size_t rest = n;

		for (unsigned a = 0; a < 6; a++) {
			args[a] = values[a].value[rest % values[a].n] | (n % 2 == 0 ? 0 : 0xffffffff00000000u);
			rest /= values[a].n;
		}
		*wrong += sim_matches(call->notify, call->nnotify, args) + sim_matches(pass, npass, args) != 1;
	}
	for (unsigned a = 0; a < 6; a++)
		free(values[a].value);
	return total;
}

static void test_complements(void)
{
	size_t count, tried = 0, conditional = 0, wrong = 0, repeated = 0, silent = 0, bare = 0;
	const struct cow_filter_call *calls = cow_filter_calls(&count);

	for (size_t i = 0; i < count; i++) {
		bare += calls[i].why == NULL || calls[i].why[0] == '\0';
		silent += (calls[i].verdict == COW_FILTER_NOTIFY) == (calls[i].call == COW_CALL_NONE);
		for (size_t j = i + 1; j < count; j++)
			repeated += strcmp(calls[i].name, calls[j].name) == 0;
		if (calls[i].nnotify == 0) {
			wrong += calls[i].npass != 0;
			continue;
		}
		conditional++;
		tried += prove_row(&calls[i], &wrong);
		for (size_t c = 0; c < calls[i].nnotify; c++)
			wrong += calls[i].notify[c].nconds == 2 &&
				 calls[i].notify[c].conds[0].arg == calls[i].notify[c].conds[1].arg;
	}
	ok(wrong == 0, "notify and pass are disjoint and exact complements (%zu conditional rows, %zu vectors)",
	   conditional, tried);
	ok(repeated == 0, "no name twice");
	ok(silent == 0, "every trapped call has a family, no refused one has");
	ok(bare == 0, "every row says why");
}

static int plain_ioctl(uint32_t command)
{
	unsigned dir = _IOC_DIR(command), type = _IOC_TYPE(command), nr = _IOC_NR(command);

	switch (type) {
	case 'v':
		return dir == _IOC_WRITE;
	case 'f':
		return dir == _IOC_WRITE || dir == _IOC_NONE || (dir == _IOC_READ && (nr & 0x10) != 0);
	case 'X':
		return (dir & _IOC_WRITE) != 0;
	case 0x94:
		return dir == (_IOC_READ | _IOC_WRITE) ||
		       (dir == _IOC_WRITE && nr != _IOC_NR(FICLONE) && nr != _IOC_NR(FICLONERANGE));
	default:
		return 0;
	}
}

/* The rules once more, in plain C: 1 to the agent, 0 not, for the rows that look at arguments. */
static int plain_rule(const char *name, const uint64_t a[6])
{
	const uint64_t m = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;
	bool handle = (int32_t)(uint32_t)a[0] >= 0;

	if (strcmp(name, "open") == 0)
		return (a[1] & m) != 0;
	if (strcmp(name, "openat") == 0)
		return handle || (a[2] & m) != 0;
	if (strcmp(name, "access") == 0)
		return (a[1] & W_OK) != 0;
	if (strcmp(name, "faccessat") == 0 || strcmp(name, "faccessat2") == 0)
		return handle || (a[2] & W_OK) != 0;
	if (strcmp(name, "newfstatat") == 0 || strcmp(name, "fstatat64") == 0)
		return handle && (a[3] & AT_EMPTY_PATH) == 0;
	if (strcmp(name, "statx") == 0)
		return handle && (a[2] & AT_EMPTY_PATH) == 0;
	if (strcmp(name, "execveat") == 0)
		return handle && (a[4] & AT_EMPTY_PATH) == 0;
	if (strcmp(name, "readlinkat") == 0 || strcmp(name, "name_to_handle_at") == 0 ||
	    strcmp(name, "getxattrat") == 0 || strcmp(name, "listxattrat") == 0 || strcmp(name, "file_getattr") == 0)
		return handle;
	if (strcmp(name, "socketcall") == 0)
		return (uint32_t)a[0] == SYS_BIND;
	if (strcmp(name, "landlock_create_ruleset") == 0)
		return (uint32_t)a[0] == 1;
	if (strcmp(name, "landlock_add_rule") == 0)
		return (a[1] & 3) == LANDLOCK_RULE_PATH_BENEATH;
	if (strcmp(name, "fcntl") == 0 || strcmp(name, "fcntl64") == 0)
		return (a[1] & 0x43f) == F_NOTIFY; /* of the commands that exist, that one */
	if (strcmp(name, "ioctl") == 0)
		return plain_ioctl((uint32_t)a[1]);
	return 1;
}

static void test_rules(void)
{
	size_t count, wrong = 0;
	const struct cow_filter_call *calls = cow_filter_calls(&count);

	for (size_t i = 0; i < count; i++) {
		for (unsigned v = 0; v < SIM_VECTORS; v++) {
			uint64_t args[6];

			sim_vector_for(&calls[i], v, args);
			bool trapped = sim_table(&calls[i], args) != SECCOMP_RET_ALLOW;

			if (trapped != plain_rule(calls[i].name, args) && wrong++ == 0)
				printf("# %s, vector %u\n", calls[i].name, v);
		}
	}
	ok(wrong == 0, "each row says what the design says");
}

static const uint32_t arches[] = {AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64, AUDIT_ARCH_ARM};
enum { ARCHES = sizeof(arches) / sizeof(arches[0]) };

static void test_numbers(void)
{
	/* From the kernel's tables, arch/x86/entry/syscalls, include/uapi/asm-generic/unistd.h and arch/arm/tools. */
	static const struct {
		const char *name;
		int number[ARCHES];
	} facts[] = {
		{"openat", {257, 295, 56, 322}},
		{"mkdir", {83, 39, -1, 39}},
		{"unlinkat", {263, 301, 35, 328}},
		{"renameat", {264, 302, 38, 329}},
		{"fchmod", {91, 94, 52, 94}},
		{"chown", {92, 182, -1, 182}},
		{"chown32", {-1, 212, -1, 212}},
		{"newfstatat", {262, -1, 79, -1}},
		{"fstatat64", {-1, 300, -1, 327}},
		{"utimensat", {280, 320, 88, 348}},
		{"utimensat_time64", {-1, 412, -1, 412}},
		{"truncate64", {-1, 193, -1, 193}},
		{"ioctl", {16, 54, 29, 54}},
		{"fanotify_mark", {301, 339, 263, 368}},
		{"bind", {49, 361, 200, 282}},
		{"socketcall", {-1, 102, -1, -1}},
		{"umount", {-1, 22, -1, -1}},
		{"umount2", {166, 52, 39, 52}},
		{"openat2", {437, 437, 437, 437}},
		{"setxattrat", {463, 463, 463, 463}},
		{"file_setattr", {469, 469, 469, 469}},
		{"uretprobe", {335, -1, -1, -1}},
		{"memfd_secret", {447, 447, 447, -1}},
	};
	size_t count, outside = 0, wrong = 0;
	const struct cow_filter_call *calls = cow_filter_calls(&count);

	for (size_t i = 0; i < count; i++) {
		for (size_t a = 0; a < ARCHES; a++) {
			int nr = cow_filter_number(calls[i].name, arches[a]);

			outside += calls[i].verdict == COW_FILTER_NOTIFY && nr >= 0 &&
				   cow_filter_lookup(arches[a], nr) != calls[i].call;
		}
	}
	ok(outside == 0, "lookup by number gives the row's family, on four architectures");
	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++)
		for (size_t a = 0; a < ARCHES; a++)
			if (cow_filter_number(facts[i].name, arches[a]) != facts[i].number[a] && wrong++ < 5)
				printf("# %s on %x: %d, want %d\n", facts[i].name, arches[a],
				       cow_filter_number(facts[i].name, arches[a]), facts[i].number[a]);
	ok(wrong == 0, "numbers of x86_64, i386, aarch64 and arm");
	ok(cow_filter_lookup(cow_filter_native(), SYS_read) == COW_CALL_NONE, "read has no family");
	ok(cow_filter_lookup(cow_filter_native(), -1) == COW_CALL_NONE &&
		   cow_filter_lookup(cow_filter_native(), 1 << 20) == COW_CALL_NONE &&
		   cow_filter_lookup(0, 5) == COW_CALL_NONE && cow_filter_lookup(AUDIT_ARCH_S390X, 5) == COW_CALL_NONE,
	   "numbers and architectures out of range have none");
	ok(cow_filter_number("openat", cow_filter_native()) == SYS_openat, "openat by name");
	ok(cow_filter_named("read") == NULL, "read has no row");
	ok(cow_filter_lookup(AUDIT_ARCH_X86_64, 0x40000000 | 83) == COW_CALL_NONE, "x32 calls have no family");
	ok(cow_filter_lookup(AUDIT_ARCH_I386, 39) == COW_CALL_MKDIR &&
		   cow_filter_lookup(AUDIT_ARCH_ARM, 39) == COW_CALL_MKDIR &&
		   cow_filter_lookup(AUDIT_ARCH_AARCH64, 34) == COW_CALL_MKDIRAT,
	   "mkdir of i386 and arm, mkdirat of aarch64");
	ok(cow_filter_is_32bit(AUDIT_ARCH_I386) && cow_filter_is_32bit(AUDIT_ARCH_ARM) &&
		   !cow_filter_is_32bit(AUDIT_ARCH_X86_64) && !cow_filter_is_32bit(AUDIT_ARCH_AARCH64),
	   "which have 32 bits");
}

/* Every number on an architecture, every vector of arguments: program and table agree. */
static size_t compare_arch(const struct sock_filter *code, size_t len, uint32_t arch)
{
	size_t wrong = 0;

	for (int nr = -2; nr < 700; nr++) {
		const struct cow_filter_call *call = nr < 0 ? NULL : sim_call_at(arch, nr);

		for (unsigned v = 0; v < (call == NULL ? 8 : SIM_VECTORS); v++) {
			struct seccomp_data data = {.nr = nr, .arch = arch, .instruction_pointer = 0x1234};
			uint64_t args[6];
			uint32_t got, want;

			sim_vector_for(call, v * (call == NULL ? 251 : 1), args);
			memcpy(data.args, args, sizeof(args));
			got = sim_run(code, len, &data);
			want = sim_table(call, args);
			/* Only of such calls the kernel remembers that they are allowed. */
			if (call == NULL && sim_looks > 0)
				got = SIM_BROKEN;
			if (nr < 0 && arch == AUDIT_ARCH_X86_64)
				want = SECCOMP_RET_ERRNO | ENOSYS; /* bit 30 is set in it */
			if (got != want && wrong++ < 3)
				printf("# arch %x nr %d vector %u: got %x, want %x\n", arch, nr, v, got, want);
		}
	}
	return wrong;
}

/* No jump leaves the program, and its end is a return. */
static bool well_formed(const struct sock_filter *code, size_t len)
{
	size_t wrong = 0;

	for (size_t i = 0; i < len; i++) {
		size_t far = code[i].jt > code[i].jf ? code[i].jt : code[i].jf;

		if (BPF_CLASS(code[i].code) == BPF_JMP)
			wrong += i + 1 + (BPF_OP(code[i].code) == BPF_JA ? code[i].k : far) >= len;
	}
	return wrong == 0 && BPF_CLASS(code[len - 1].code) == BPF_RET;
}

/* For a machine of either kind, whatever this one is. */
static void test_program(uint32_t native, const char *name)
{
	size_t len = 0;
	cleanup_free struct sock_filter *code = cow_filter_program(native, &len, NULL);
	size_t wrong = 0;

	ok(code != NULL && len > 100 && len <= BPF_MAXINSNS, "%s: a program of %zu instructions", name, len);
	if (code == NULL)
		return;
	for (const uint32_t *arch = cow_filter_arches(native); *arch != 0; arch++)
		ok(compare_arch(code, len, *arch) == 0, "%s: program and table agree on architecture %x", name, *arch);
	for (size_t a = 0; a < ARCHES + 1; a++) {
		struct seccomp_data data = {.nr = 0, .arch = a < ARCHES ? arches[a] : AUDIT_ARCH_S390X};
		bool own = a < ARCHES && (a < 2) == (native == AUDIT_ARCH_X86_64);

		wrong += (sim_run(code, len, &data) == (SECCOMP_RET_ERRNO | ENOSYS)) == own;
	}
	ok(wrong == 0, "%s: other architectures are refused", name);
	for (int nr = 0; nr < 1024; nr++) {
		struct seccomp_data data = {.nr = nr | 0x40000000, .arch = AUDIT_ARCH_X86_64};

		wrong += sim_run(code, len, &data) != (SECCOMP_RET_ERRNO | ENOSYS);
	}
	ok(wrong == 0, "%s: every x32 call is refused", name);
	ok(well_formed(code, len), "%s: no jump leaves the program", name);
}

/* The calls that programs make all the time and that the kernel cannot decide without the program: how long it is. */
static void test_length(void)
{
	static const struct {
		const char *name;
		uint64_t args[6];
	} calls[] = {
		{"newfstatat", {AT_FDCWD, 1, 1, 0}},
		{"newfstatat", {3, 1, 1, AT_EMPTY_PATH}},
		{"statx", {AT_FDCWD, 1, 0}},
		{"openat", {AT_FDCWD, 1, O_RDONLY | O_CLOEXEC}},
		{"open", {1, O_RDONLY | O_CLOEXEC}},
		{"access", {1, R_OK}},
		{"faccessat", {AT_FDCWD, 1, X_OK}},
		{"faccessat2", {AT_FDCWD, 1, X_OK}},
		{"readlinkat", {AT_FDCWD, 1}},
		{"ioctl", {1, TCGETS}},
		{"fcntl", {1, F_GETFL}},
	};
	size_t len = 0, most = 0;
	cleanup_free struct sock_filter *code = cow_filter_program(AUDIT_ARCH_X86_64, &len, NULL);

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct seccomp_data data = {.nr = cow_filter_number(calls[i].name, AUDIT_ARCH_X86_64),
					    .arch = AUDIT_ARCH_X86_64};

		memcpy(data.args, calls[i].args, sizeof(data.args));
		if (sim_run(code, len, &data) != SECCOMP_RET_ALLOW)
			most = SIZE_MAX;
		else if (most < sim_steps)
			most = sim_steps;
		printf("# %s: %u instructions\n", calls[i].name, sim_steps);
	}
	ok(most <= 20, "frequent calls are decided by 20 instructions at most: %zu", most);
}

static void test_no_program(void)
{
	cleanup_error struct cow_error *err = NULL;
	size_t len;

	ok(cow_filter_program(AUDIT_ARCH_S390X, &len, &err) == NULL && err != NULL,
	   "no program for an unknown machine");
}

/* -- In the kernel: notifications become errno EUCLEAN, which no call here gives by itself. */

static int load(struct sock_filter *code, size_t len, unsigned long flags)
{
	struct sock_fprog prog = {.len = (unsigned short)len, .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

static int errno_of(long result)
{
	return result < 0 ? errno : 0;
}

#ifdef __x86_64__
/* A system call of the i386 table, with the registers of int 0x80. -errno. */
static long int80(long nr, long a, long b, long c)
{
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(nr), "b"(a), "c"(b), "d"(c)
			 : "memory", "r8", "r9", "r10", "r11");
	return result;
}
#endif

/* 0, or the number of the first check that failed. */
static int real_calls(void)
{
	int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	int n = 0;

#define EXPECT(e, call)                                                                                                \
	do {                                                                                                           \
		n++;                                                                                                   \
		if (errno_of(call) != (e))                                                                             \
			return n;                                                                                      \
	} while (0)
	EXPECT(0, dir);
	EXPECT(EUCLEAN, open("/dev/null", O_WRONLY));
	EXPECT(EUCLEAN, openat(AT_FDCWD, "/dev/null", O_RDWR));
	EXPECT(EUCLEAN, open("/tmp", O_TMPFILE | O_WRONLY, 0600));
	EXPECT(EUCLEAN, openat(dir, "dev", O_RDONLY));
	EXPECT(0, stat("/dev/null", &st));
	EXPECT(EUCLEAN, fstatat(dir, "dev", &st, 0));
	EXPECT(0, fstatat(dir, "", &st, AT_EMPTY_PATH));
	EXPECT(0, access("/dev/null", R_OK));
	EXPECT(EUCLEAN, access("/dev/null", R_OK | W_OK));
	EXPECT(EUCLEAN, mkdir("/tmp/never", 0700));
	EXPECT(EUCLEAN, rename("/tmp/never", "/tmp/ever"));
	EXPECT(EUCLEAN, chdir("/"));
	EXPECT(EUCLEAN, fchmod(dir, 0755));
	EXPECT(EUCLEAN, syscall(452, AT_FDCWD, "/tmp/never", 0700, 0));
	EXPECT(EUCLEAN, syscall(444, 1, 0xc0, 0));
	EXPECT(EINVAL, syscall(444, NULL, 0, 1 << 30));
	EXPECT(ENOSYS, syscall(425, 1, NULL));
	EXPECT(EPERM, syscall(442, -1, "", 0, NULL, 0));
	EXPECT(EUCLEAN, mount("none", "/tmp", NULL, MS_REMOUNT | MS_BIND, NULL));
	EXPECT(EUCLEAN, ioctl(dir, FS_IOC_SETFLAGS, NULL));
	EXPECT(EUCLEAN, ioctl(dir, FS_IOC_FSSETXATTR, NULL));
	EXPECT(ENOTTY, ioctl(dir, TCGETS, NULL));
	EXPECT(EUCLEAN, fcntl(dir, F_NOTIFY, 0));
	EXPECT(0, fcntl(dir, F_SETFD, FD_CLOEXEC));
	EXPECT(EPERM, acct(NULL));
#ifdef __x86_64__
	EXPECT(ENOSYS, syscall(0x40000000 | SYS_getpid));
	n++;
	if (int80(20, 0, 0, 0) > 0) { /* getpid: the kernel has 32-bit emulation */
		static const char *volatile path = "/tmp/never";

		n++;
		if ((long)path >> 32 == 0 && int80(39, (long)path, 0700, 0) != -EUCLEAN)
			return n;
		n++;
		if (int80(39, 1, 0, 0) != -EUCLEAN || int80(361, 0, 0, 0) != -EUCLEAN ||
		    int80(102, 2, 0, 0) != -EUCLEAN || int80(102, 99, 0, 0) != -EINVAL ||
		    int80(5, 1, 0, 0) != -EFAULT || int80(5, 1, 1, 0) != -EUCLEAN)
			return n;
	}
#endif
	return 0;
}

static void test_kernel(void)
{
	size_t len = 0;
	cleanup_free struct sock_filter *code = cow_filter_program(cow_filter_native(), &len, NULL);
	int status = 0;
	pid_t pid;

	for (size_t i = 0; i < len; i++)
		if (code[i].code == (BPF_RET | BPF_K) && code[i].k == SECCOMP_RET_USER_NOTIF)
			code[i].k = SECCOMP_RET_ERRNO | EUCLEAN;
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(load(code, len, 0) < 0 ? 100 : real_calls());
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the kernel takes it and decides alike (status %x)", status);
}

/* The real thing: a listener, one notification, CONTINUE. */
static void test_listener(void)
{
	size_t len = 0;
	cleanup_free struct sock_filter *code = cow_filter_program(cow_filter_native(), &len, NULL);
	struct seccomp_notif request = {0};
	struct seccomp_notif_resp response = {.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
	int status = 0, listener;
	pid_t server, pid;

	fflush(stdout);
	server = fork();
	if (server == 0) {
		listener = load(code, len, SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
		if (listener < 0)
			_exit(100);
		pid = fork(); /* inherits the filter; its parent serves it with calls that are not trapped */
		if (pid == 0)
			_exit(mkdir("/nowhere/at/all", 0700) < 0 && errno == ENOENT ? 0 : 1);
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0)
			_exit(101);
		response.id = request.id;
		if (cow_filter_lookup(request.data.arch, request.data.nr) != COW_CALL_MKDIR &&
		    cow_filter_lookup(request.data.arch, request.data.nr) != COW_CALL_MKDIRAT)
			_exit(102);
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response) < 0)
			_exit(103);
		waitpid(pid, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 104);
	}
	waitpid(server, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a listener gets the call and lets it go on (status %x)",
	   status);
}

int main(void)
{
	test_complements();
	test_rules();
	test_numbers();
	test_program(AUDIT_ARCH_X86_64, "x86_64");
	test_program(AUDIT_ARCH_AARCH64, "aarch64");
	test_length();
	test_no_program();
	test_kernel();
	test_listener();
	return done_testing();
}
