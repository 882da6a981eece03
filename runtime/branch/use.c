/*
 * Who has a branch: the lock, and the container behind it.
 *
 * The lock is flock(2)ed, so it goes with the process that has it. An agent that is killed therefore leaves a branch
 * that looks free while its container still runs and writes. That is why the container's first process is written down
 * too; with its start time, since numbers of processes come again.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/process.h"

/* In clock ticks since boot; 0: no such process, or it is a zombie. */
static uint64_t start_time(pid_t pid)
{
	struct cow_process p;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (cow_process_read(AT_FDCWD, path, &p) != 0)
		return 0;
	/* A zombie that nobody waits for has no mounts any more; a first thread that ended before the others has. */
	return (p.state == 'Z' && p.threads <= 1) || p.state == 'X' ? 0 : p.began;
}

/* The container's process if it lives, else 0. */
static pid_t live_container(const struct cow_branch *b)
{
	cleanup_close int fd = openat(b->dirfd, "container", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char text[64];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	uint64_t start;
	int pid;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	if (sscanf(text, "%d %" SCNu64, &pid, &start) != 2 || pid <= 0)
		return 0;
	return start != 0 && start_time(pid) == start ? pid : 0;
}

int cow_branch_set_container(struct cow_branch *b, pid_t pid, struct cow_error **err)
{
	cleanup_close int fd = -1;
	char text[64];
	uint64_t start;

	if (pid == 0) {
		if (unlinkat(b->dirfd, "container", 0) != 0 && errno != ENOENT)
			return cow_error_set(err, errno, "branch %s: container", b->name);
		return 0;
	}
	start = start_time(pid);
	if (start == 0)
		return cow_error_set(err, ESRCH, "branch %s: container process %d", b->name, (int)pid);
	snprintf(text, sizeof(text), "%d %" PRIu64 "\n", (int)pid, start);
	fd = openat(b->dirfd, "container.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || cow_write_all(fd, text, strlen(text)) != 0 ||
	    renameat(b->dirfd, "container.tmp", b->dirfd, "container") != 0)
		return cow_error_set(err, errno, "branch %s: container", b->name);
	return 0;
}

bool cow_branch_in_use(const struct cow_branch *b)
{
	cleanup_close int fd = openat(b->dirfd, "lock", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (live_container(b) != 0)
		return true;
	/* A shared lock for an instant: it fails where an exclusive one is held, and only there. */
	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

/* A holder that lets a shared lock in is only somebody who asks (cow_branch_in_use): he is gone in a moment. */
static int take_lock(int fd)
{
	for (int tries = 0; tries < 200; tries++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK || flock(fd, LOCK_SH | LOCK_NB) != 0)
			return -1;
		flock(fd, LOCK_UN);
		usleep(1000);
	}
	errno = EWOULDBLOCK;
	return -1;
}

/* Does the name still lead to the branch that was loaded? */
static bool is_in_place(const struct cow_branch *b)
{
	cleanup_close int branches = openat(b->dirfd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat named, opened;

	return branches >= 0 && fstatat(branches, b->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       fstat(b->dirfd, &opened) == 0 && named.st_ino == opened.st_ino && named.st_dev == opened.st_dev;
}

int cow_branch_lock(struct cow_branch *b, struct cow_error **err)
{
	cleanup_close int fd = openat(b->dirfd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct stat st;
	pid_t pid;

	if (fd < 0 && errno == ENOENT)
		return cow_error_set(err, 0, "branch %s was removed", b->name);
	if (fd < 0)
		return cow_error_set(err, errno, "branch %s: lock", b->name);
	if (take_lock(fd) != 0) {
		if (errno == EWOULDBLOCK)
			return cow_error_set(err, 0, "branch %s is in use", b->name);
		return cow_error_set(err, errno, "branch %s: lock", b->name);
	}
	/* Someone who had the lock before may have removed the branch while we stood at the door. */
	if (!is_in_place(b) || faccessat(b->dirfd, "branch.json", F_OK, 0) != 0 || fstat(fd, &st) != 0 ||
	    st.st_nlink == 0)
		return cow_error_set(err, 0, "branch %s was removed", b->name);
	pid = live_container(b);
	if (pid != 0)
		return cow_error_set(err, 0,
				     "branch %s is in use by container %s (process %d), which has lost its agent",
				     b->name, b->id, (int)pid);
	b->lockfd = cow_steal_fd(&fd);
	return 0;
}
