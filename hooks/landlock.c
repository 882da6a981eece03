#include "hook.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../runtime/lib/fd.h"

/*
 * A rule names an inode, and the kernel looks for one on the way from a file up to the root, through mount points. So
 * the rule for the container's root covers everything that is mounted in it, and the rules for upper and shadow say
 * what must hold even if they were reached otherwise. A directory of the host that leaked in as a descriptor has none
 * of these above it.
 */

/* Rights that Debian 12's <linux/landlock.h> (6.1) does not know. */
#define ACCESS_TRUNCATE  (1ULL << 14)
#define ACCESS_IOCTL_DEV (1ULL << 15)

static const uint64_t file_rights = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
				    LANDLOCK_ACCESS_FS_READ_FILE | ACCESS_TRUNCATE | ACCESS_IOCTL_DEV;

/* Every right on files that an ABI has (landlock(7)): all bits below the last one it brought. */
static uint64_t rights_of(long abi)
{
	static const unsigned bits[] = {0, 13, 14, 15, 15, 16};
	size_t known = sizeof(bits) / sizeof(bits[0]);

	return (1ULL << bits[(size_t)abi < known ? (size_t)abi : known - 1]) - 1;
}

static int add_rule(int ruleset, int fd, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};

	return (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

/* Open flags of a descriptor of another process, from its fdinfo. -1 if that cannot be had. */
static int flags_of(pid_t pid, int fd)
{
	char path[64], line[128];
	unsigned flags;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)pid, fd);
	cleanup_file FILE *f = fopen(path, "re");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "flags: %o", &flags) == 1)
			return (int)flags;
	return -1;
}

/*
 * stdio that is a file or device of the host (pipes and sockets need no rule): without one, opening /dev/stdin or
 * /dev/stderr anew would fail in a container that was given a file. Nothing that the process could not do through the
 * descriptor itself.
 */
static void allow_stdio(int ruleset, pid_t pid, uint64_t handled)
{
	for (int n = 0; n <= STDERR_FILENO; n++) {
		char path[64];
		uint64_t rights = ACCESS_IOCTL_DEV;
		struct stat st;
		int flags = flags_of(pid, n);

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, n);
		cleanup_close int fd = open(path, O_PATH | O_CLOEXEC);

		if (fd < 0 || flags < 0 || fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISCHR(st.st_mode)))
			continue;
		if ((flags & O_ACCMODE) != O_WRONLY)
			rights |= LANDLOCK_ACCESS_FS_READ_FILE;
		if ((flags & O_ACCMODE) != O_RDONLY)
			rights |= LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_TRUNCATE;
		add_rule(ruleset, fd,
			 rights & handled & file_rights); /* an inode without a place in a tree is refused: fine */
	}
}

int cow_hook_ruleset(pid_t pid, const int *dirs, size_t ndirs, struct cow_error **err)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset_attr attr = {0};

	if (abi < 1)
		return cow_error_set(
			err, abi < 0 ? errno : 0,
			"the kernel has no Landlock (the annotation run.cowrun.landlock=off goes without it)");
	attr.handled_access_fs = rights_of(abi);
	cleanup_close int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr.handled_access_fs), 0);

	if (ruleset < 0)
		return cow_error_set(err, errno, "landlock_create_ruleset");
	for (size_t i = 0; i < ndirs; i++)
		if (add_rule(ruleset, dirs[i], attr.handled_access_fs) < 0)
			return cow_error_set(err, errno, "landlock_add_rule");
	allow_stdio(ruleset, pid, attr.handled_access_fs);
	return cow_steal_fd(&ruleset);
}
