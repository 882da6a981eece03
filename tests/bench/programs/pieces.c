/*
 * pieces: what the system calls that the agent is made of take, in nanoseconds, on a process that sleeps. For deciding
 * which of them to do without; contrib/doc/performance.md has a table. Run as root, outside containers.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { ROUNDS = 500, BATCH = 10 };

/* What the pieces work on. */
static struct {
	pid_t pid;
	int proc, dir, root, file, ns, mem;
	char name[16], link_root[32], link_fd[32], self[40];
} on;

static char data[16384];

static int close_it(int fd)
{
	return fd < 0 ? -1 : close(fd);
}

static int any_call(void)
{
	return syscall(SYS_getppid) < 0 ? -1 : 0;
}

static int open_process(void)
{
	return close_it(openat(on.proc, on.name, O_PATH | O_DIRECTORY | O_CLOEXEC));
}

static int open_root(void)
{
	return close_it(openat(on.proc, on.link_root, O_PATH | O_CLOEXEC));
}

static int open_descriptor(void)
{
	return close_it(openat(on.proc, on.link_fd, O_PATH | O_CLOEXEC));
}

static int read_status(void)
{
	int fd = openat(on.dir, "status", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, data, sizeof(data)) <= 0 || read(fd, data, sizeof(data)) != 0)
		return -1;
	return close(fd);
}

static int stat_user_namespace(void)
{
	struct stat st;

	return fstatat(on.dir, "ns/user", &st, 0);
}

static int get_capabilities(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, on.pid};
	struct __user_cap_data_struct caps[2];

	return (int)syscall(SYS_capget, &header, caps);
}

static int set_capabilities(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct caps[2];

	return syscall(SYS_capget, &header, caps) != 0 ? -1 : (int)syscall(SYS_capset, &header, caps);
}

static int set_ids(void)
{
	setfsuid(0);
	setfsgid(0);
	return (int)syscall(SYS_setgroups, 0, NULL);
}

static int read_process(void)
{
	struct iovec to = {data, 256}, from = {data, 256};

	return process_vm_readv(on.pid, &to, 1, &from, 1, 0) == 256 ? 0 : -1;
}

static int read_mem(void)
{
	return pread(on.mem, data, 256, (off_t)(uintptr_t)data) == 256 ? 0 : -1;
}

static int mount_of(void)
{
	struct statx sx;

	return statx(on.file, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &sx);
}

static int open_path(void)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};

	return close_it((int)syscall(SYS_openat2, on.root, "usr/bin/env", &how, sizeof(how)));
}

static int path_of(void)
{
	return readlink(on.self, data, sizeof(data)) > 0 ? 0 : -1;
}

static int duplicate(void)
{
	return close_it(fcntl(on.file, F_DUPFD_CLOEXEC, 3));
}

static int switch_namespaces(void)
{
	return setns(on.ns, CLONE_NEWNS) != 0 ? -1 : setns(on.ns, CLONE_NEWNS);
}

static const struct piece {
	const char *what;
	int (*run)(void);
} pieces[] = {
	{"any system call", any_call},
	{"statx of an O_PATH descriptor", mount_of},
	{"dup, close", duplicate},
	{"openat2 of three components, close", open_path},
	{"readlink of /proc/self/fd/N", path_of},
	{"open /proc/TID, close", open_process},
	{"open /proc/TID/root, close", open_root},
	{"open /proc/TID/fd/N, close", open_descriptor},
	{"open, read, close /proc/TID/status", read_status},
	{"stat of /proc/TID/ns/user", stat_user_namespace},
	{"process_vm_readv of 256 bytes", read_process},
	{"pread of an open /proc/TID/mem", read_mem},
	{"capget of another process", get_capabilities},
	{"capget and capset", set_capabilities},
	{"setfsuid, setfsgid, setgroups", set_ids},
	{"setns of the mount namespace, twice", switch_namespaces},
};

static void set_up(void)
{
	char mem[32];

	on.pid = fork();
	if (on.pid < 0)
		bench_fail("fork");
	if (on.pid == 0) {
		pause();
		_exit(0);
	}
	snprintf(on.name, sizeof(on.name), "%d", (int)on.pid);
	snprintf(on.link_root, sizeof(on.link_root), "%d/root", (int)on.pid);
	snprintf(on.link_fd, sizeof(on.link_fd), "%d/fd/0", (int)on.pid);
	snprintf(mem, sizeof(mem), "/proc/%d/mem", (int)on.pid);
	on.proc = open("/proc", O_PATH | O_CLOEXEC);
	on.dir = openat(on.proc, on.name, O_PATH | O_CLOEXEC);
	on.root = open("/", O_PATH | O_CLOEXEC);
	on.file = open("/usr/bin/env", O_PATH | O_CLOEXEC);
	on.ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	on.mem = open(mem, O_RDONLY | O_CLOEXEC);
	snprintf(on.self, sizeof(on.self), "/proc/self/fd/%d", on.file);
	if (on.dir < 0 || on.file < 0 || on.ns < 0 || on.mem < 0 || unshare(CLONE_FS) != 0)
		bench_fail("/proc");
}

int main(void)
{
	set_up();
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct samples s = {0};

		for (int r = 0; r < ROUNDS; r++) {
			uint64_t begun = bench_now();

			for (int k = 0; k < BATCH; k++)
				if (pieces[i].run() != 0)
					bench_fail(pieces[i].what);
			bench_add(&s, (double)(bench_now() - begun) / BATCH);
		}
		printf("%-40s ", pieces[i].what);
		(void)bench_print(&s);
	}
	kill(on.pid, SIGKILL);
	waitpid(on.pid, NULL, 0);
	return 0;
}
