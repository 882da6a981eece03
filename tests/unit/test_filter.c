/* The table of system calls (runtime/filter/calls.c) and the program made from it (program.c). */
#include "../../runtime/filter/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/net.h>
#include <seccomp.h>
#include <signal.h>
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
	uint32_t value[256];
	size_t n;
};

static void collect(struct values *v, const struct cow_filter_call *call, unsigned arg)
{
	uint32_t mask = 0, equal = 0;
	bool whole = false;

	for (int list = 0; list < 2; list++) {
		const struct cow_filter_clause *clauses = list == 0 ? call->notify : call->pass;

		for (size_t i = 0; i < (list == 0 ? call->nnotify : call->npass); i++) {
			for (size_t c = 0; c < clauses[i].nconds; c++) {
				const struct cow_filter_cond *cond = &clauses[i].conds[c];

				if (cond->arg != arg)
					continue;
				if (cond->mask == UINT32_MAX) {
					whole = true;
					equal = cond->value;
				} else {
					mask |= cond->mask;
				}
			}
		}
	}
	v->n = 0;
	if (whole) {
		v->value[v->n++] = equal;
		for (unsigned b = 0; b < 32; b++)
			v->value[v->n++] = equal ^ (1u << b);
		return;
	}
	for (uint32_t sub = mask;; sub = (sub - 1) & mask) { /* all subsets of the mask, the empty one last */
		v->value[v->n++] = sub;
		if (sub == 0 || v->n == 256)
			return;
	}
}

/* Exactly one clause of notify and pass together matches, whatever the arguments; returns the number of arguments
 * tried. */
static size_t prove_row(const struct cow_filter_call *call, size_t *wrong)
{
	struct values values[6];
	size_t total = 1;

	for (unsigned a = 0; a < 6; a++) {
		collect(&values[a], call, a);
		total *= values[a].n;
	}
	for (size_t n = 0; n < total; n++) {
		uint64_t args[6];
		size_t rest = n;

		for (unsigned a = 0; a < 6; a++) {
			args[a] = values[a].value[rest % values[a].n] | (n % 2 == 0 ? 0 : 0xffffffff00000000u);
			rest /= values[a].n;
		}
		*wrong += sim_matches(call->notify, call->nnotify, args) + sim_matches(call->pass, call->npass, args) !=
			  1;
	}
	return total;
}

static void test_complements(void)
{
	size_t count, tried = 0, rows = 0, wrong = 0, repeated = 0, silent = 0, bare = 0;
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
		rows++;
		tried += prove_row(&calls[i], &wrong);
		for (size_t c = 0; c < calls[i].nnotify; c++)
			wrong += calls[i].notify[c].nconds == 2 &&
				 calls[i].notify[c].conds[0].arg == calls[i].notify[c].conds[1].arg;
	}
	ok(wrong == 0, "notify and pass are disjoint and exact complements (%zu conditional rows, %zu vectors)", rows,
	   tried);
	ok(repeated == 0, "no name twice");
	ok(silent == 0, "every trapped call has a family, no refused one has");
	ok(bare == 0, "every row says why");
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
	if (strcmp(name, "mount") == 0)
		return (a[3] & MS_REMOUNT) != 0;
	return 1;
}

static void test_rules(void)
{
	size_t count, wrong = 0;
	const struct cow_filter_call *calls = cow_filter_calls(&count);

	for (size_t i = 0; i < count; i++) {
		for (unsigned v = 0; v < SIM_VECTORS; v++) {
			uint64_t args[6];

			sim_vector(v, args);
			bool trapped = sim_table(&calls[i], args) != SECCOMP_RET_ALLOW;

			if (trapped != plain_rule(calls[i].name, args) && wrong++ == 0)
				printf("# %s, vector %u\n", calls[i].name, v);
		}
	}
	ok(wrong == 0, "each row says what the design says");
}

static void test_numbers(void)
{
	size_t count, unlike = 0, outside = 0;
	const struct cow_filter_call *calls = cow_filter_calls(&count);

	for (size_t i = 0; i < count; i++) {
		for (const uint32_t *arch = cow_filter_arches(); *arch != 0; arch++) {
			int nr = cow_filter_number(&calls[i], *arch);

			unlike += calls[i].number >= 0 && nr != calls[i].number;
			outside += calls[i].verdict == COW_FILTER_NOTIFY && nr >= 0 &&
				   cow_filter_lookup(*arch, nr) != calls[i].call;
		}
	}
	ok(unlike == 0, "libseccomp agrees with the numbers written down");
	ok(outside == 0, "lookup by number gives the row's family");
	ok(cow_filter_lookup(cow_filter_arches()[0], SYS_read) == COW_CALL_NONE, "read has no family");
	ok(cow_filter_lookup(cow_filter_arches()[0], -1) == COW_CALL_NONE &&
		   cow_filter_lookup(cow_filter_arches()[0], 1 << 20) == COW_CALL_NONE &&
		   cow_filter_lookup(AUDIT_ARCH_S390X, 5) == COW_CALL_NONE,
	   "numbers and architectures out of range have none");
	ok(cow_filter_number(cow_filter_named("openat"), cow_filter_arches()[0]) == SYS_openat, "openat by name");
	ok(cow_filter_named("read") == NULL, "read is not in the table");
#ifdef __x86_64__
	cleanup_free char *name_of_361 = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86, 361);

	ok(cow_filter_number(cow_filter_named("bind"), AUDIT_ARCH_I386) == 361 && name_of_361 != NULL &&
		   strcmp(name_of_361, "bind") == 0,
	   "i386's own bind is seen");
	ok(cow_filter_number(cow_filter_named("socketcall"), AUDIT_ARCH_I386) == 102, "i386 has socketcall");
	ok(cow_filter_number(cow_filter_named("socketcall"), AUDIT_ARCH_X86_64) == -1, "x86_64 has not");
	ok(cow_filter_lookup(AUDIT_ARCH_X86_64, 0x40000000 | SYS_mkdir) == COW_CALL_NONE, "x32 calls have no family");
	ok(cow_filter_lookup(AUDIT_ARCH_I386, 39) == COW_CALL_MKDIR, "mkdir of i386");
#endif
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

			sim_vector(v * (call == NULL ? 251 : 1), args);
			memcpy(data.args, args, sizeof(args));
			got = sim_run(code, len, &data);
			want = sim_table(call, args);
			if (nr < 0 && arch == AUDIT_ARCH_X86_64)
				want = SECCOMP_RET_ERRNO | ENOSYS; /* bit 30 is set in it */
			if (got != want && wrong++ < 3)
				printf("# arch %x nr %d vector %u: got %x, want %x\n", arch, nr, v, got, want);
		}
	}
	return wrong;
}

static void test_program(void)
{
	size_t len = 0;
	cleanup_free struct sock_filter *code = cow_filter_program(&len, NULL);
	struct seccomp_data data = {.nr = SYS_read, .arch = AUDIT_ARCH_S390X};
	size_t wrong = 0;

	ok(code != NULL && len > 100 && len <= BPF_MAXINSNS, "a program of %zu instructions", len);
	if (code == NULL)
		return;
	for (const uint32_t *arch = cow_filter_arches(); *arch != 0; arch++)
		ok(compare_arch(code, len, *arch) == 0, "program and table agree on architecture %x", *arch);
	ok(sim_run(code, len, &data) == (SECCOMP_RET_ERRNO | ENOSYS), "an unknown architecture is refused");
#ifdef __x86_64__
	for (int nr = 0; nr < 1024; nr++) {
		data = (struct seccomp_data){.nr = nr | 0x40000000, .arch = AUDIT_ARCH_X86_64};
		wrong += sim_run(code, len, &data) != (SECCOMP_RET_ERRNO | ENOSYS);
	}
	ok(wrong == 0, "every x32 call is refused");
#endif
	for (size_t i = 0; i < len; i++) {
		unsigned class = BPF_CLASS(code[i].code);

		if (class == BPF_JMP)
			wrong += i + 1 +
					 (BPF_OP(code[i].code) == BPF_JA
						  ? code[i].k
						  : (code[i].jt > code[i].jf ? code[i].jt : code[i].jf)) >=
				 len;
	}
	ok(wrong == 0 && BPF_CLASS(code[len - 1].code) == BPF_RET, "no jump leaves the program");
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
	EXPECT(EPERM, mount("none", "/tmp", NULL, MS_REMOUNT | MS_BIND, NULL));
	EXPECT(EFAULT, mount((char *)1, "/tmp", NULL, 0, NULL));
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
	cleanup_free struct sock_filter *code = cow_filter_program(&len, NULL);
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
	cleanup_free struct sock_filter *code = cow_filter_program(&len, NULL);
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
	test_program();
	test_kernel();
	test_listener();
	return done_testing();
}
