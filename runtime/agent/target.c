#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/process.h"

bool cow_target_valid(const struct cow_target *t)
{
	uint64_t id = t->id;

	return ioctl(t->listener->fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

int cow_target_open(struct cow_target *t)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", t->tid);
	t->dir = openat(t->agent->proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (t->dir < 0)
		return errno;
	/* Between the notification and the open the thread may have died and its number gone to another. */
	return cow_target_valid(t) ? 0 : ESRCH;
}

void cow_target_close(struct cow_target *t)
{
	cow_close_fd(&t->dir);
}

int cow_target_memory(const struct cow_target *t, uint64_t address, void *out, size_t size)
{
	struct iovec local = {out, size};
	struct iovec remote = {(void *)(uintptr_t)address, size};

	return process_vm_readv(t->tid, &local, 1, &remote, 1, 0) == (ssize_t)size ? 0 : EFAULT;
}

/* Never across a page that the string may not reach: the next one need not be mapped. */
int cow_target_string(const struct cow_target *t, uint64_t address, char *out, size_t room)
{
	size_t got = 0;

	while (got < room) {
		size_t want = 4096 - ((address + got) & 4095);
		struct iovec local = {out + got, want < room - got ? want : room - got};
		struct iovec remote = {(void *)(uintptr_t)(address + got), local.iov_len};
		ssize_t n;

		if (got == 0 && local.iov_len > 256)
			local.iov_len = remote.iov_len = 256;
		n = process_vm_readv(t->tid, &local, 1, &remote, 1, 0);
		if (n <= 0)
			return EFAULT;
		if (memchr(out + got, '\0', (size_t)n) != NULL)
			return 0;
		got += (size_t)n;
	}
	return ENAMETOOLONG;
}

int cow_target_link(const struct cow_target *t, const char *name)
{
	return openat(t->dir, name, O_PATH | O_CLOEXEC);
}

/* When a process or thread began, or 0. */
static uint64_t began(int dirfd, const char *stat)
{
	struct cow_process p;

	return cow_process_read(dirfd, stat, &p) == 0 ? p.began : 0;
}

/* Its number, which is given again, and the time of its start. */
uint64_t cow_target_who(struct cow_target *t)
{
	uint64_t at = t->who != 0 ? 0 : began(t->dir, "stat");

	if (at != 0)
		t->who = at << 22 | (uint64_t)t->tid; /* PID_MAX_LIMIT is 1 << 22 */
	return t->who;
}

/* The last number of a line of its status file: of its own pid namespace. 0: none. */
static int last_number(const char *status, const char *name)
{
	const char *p = strstr(status, name);
	int number = 0;
	int used;

	for (p = p != NULL ? p + strlen(name) : ""; *p != '\n' && sscanf(p, "%d%n", &number, &used) == 1; p += used)
		;
	return number;
}

/* Is `number` of that procfs the target's process, as its own getpid(2) has it? */
static bool is_own_number(const struct cow_target *t, int procfs, const char *number)
{
	cleanup_close int fd = openat(t->dir, "status", O_RDONLY | O_CLOEXEC);
	char text[4096], own[16], path[32];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	uint64_t at;

	text[n < 0 ? 0 : n] = '\0';
	snprintf(own, sizeof(own), "%d", last_number(text, "\nNStgid:"));
	if (strcmp(number, own) != 0)
		return false;
	/* In the procfs of another pid namespace it may be somebody else's. */
	snprintf(path, sizeof(path), "%d/stat", last_number(text, "\nTgid:"));
	at = began(t->agent->proc, path);
	snprintf(path, sizeof(path), "%s/stat", own);
	return at != 0 && at == began(procfs, path);
}

bool cow_on_procfs(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

bool cow_target_is_at(const struct cow_target *t, int dir, const char *name)
{
	struct stat st;

	if (strcmp(name, "self") == 0 || strcmp(name, "thread-self") == 0)
		return cow_on_procfs(dir) && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
	return *name >= '1' && *name <= '9' && cow_on_procfs(dir) && is_own_number(t, dir, name);
}

bool cow_target_alone(const struct cow_target *t)
{
	struct stat st;

	/* A directory has two links, and this one another for each thread. */
	return fstatat(t->dir, "task", &st, 0) == 0 && st.st_nlink == 3;
}

bool cow_target_same_file(const struct cow_target *t, int a, int b)
{
	return syscall(SYS_kcmp, t->tid, t->tid, KCMP_FILE, a, b) == 0 && cow_target_valid(t);
}

int cow_target_fd(const struct cow_target *t, int fd)
{
	char name[24];

	snprintf(name, sizeof(name), "fd/%d", fd);
	return openat(t->dir, name, O_PATH | O_CLOEXEC);
}

int cow_target_fd_flags(const struct cow_target *t, int fd, int *flags, long long *position)
{
	char text[1024];
	char name[32];
	cleanup_close int info = -1;
	const char *p;
	ssize_t n;

	snprintf(name, sizeof(name), "fdinfo/%d", fd);
	info = openat(t->dir, name, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return errno;
	n = read(info, text, sizeof(text) - 1);
	if (n <= 0)
		return EIO;
	text[n] = '\0';
	p = strstr(text, "pos:");
	*position = p != NULL ? atoll(p + 4) : 0;
	p = strstr(text, "flags:");
	if (p == NULL)
		return EIO;
	*flags = (int)strtol(p + 6, NULL, 8);
	return 0;
}

int cow_target_replace_fd(const struct cow_target *t, int srcfd, int at, bool cloexec)
{
	struct seccomp_notif_addfd add = {
		.id = t->id,
		.flags = SECCOMP_ADDFD_FLAG_SETFD,
		.srcfd = (uint32_t)srcfd,
		.newfd = (uint32_t)at,
		.newfd_flags = cloexec ? O_CLOEXEC : 0,
	};

	if (ioctl(t->listener->fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add) < 0)
		return -errno;
	atomic_fetch_add_explicit(&t->agent->stats.swaps, 1, memory_order_relaxed);
	return 0;
}

int cow_target_send_fd(const struct cow_target *t, int srcfd, bool cloexec)
{
	struct seccomp_notif_addfd add = {
		.id = t->id,
		.flags = SECCOMP_ADDFD_FLAG_SEND,
		.srcfd = (uint32_t)srcfd,
		.newfd_flags = cloexec ? O_CLOEXEC : 0,
	};

	return ioctl(t->listener->fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add) < 0 ? -errno : COW_VERDICT_SENT;
}

int cow_target_limit(const struct cow_target *t, int resource, rlim_t *limit)
{
	const char *title = resource == RLIMIT_FSIZE ? "\nMax file size" : "\nMax open files";
	cleanup_close int fd = -1;
	unsigned long long number;
	struct rlimit told;
	char text[4096];
	const char *line;
	ssize_t n;

	if (prlimit(t->tid, resource, NULL, &told) == 0) {
		*limit = told.rlim_cur;
		return 0;
	}
	/* Another user's, without CAP_SYS_RESOURCE: all may read the file. */
	fd = openat(t->dir, "limits", O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return errno;
	text[n] = '\0';
	line = strstr(text, title);
	if (line == NULL)
		return EIO;
	*limit = sscanf(line + strlen(title), "%llu", &number) == 1 ? (rlim_t)number : RLIM_INFINITY;
	return 0;
}
