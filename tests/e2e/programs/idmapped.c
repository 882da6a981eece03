/*
 * idmapped SOURCE TARGET "INSIDE OUTSIDE COUNT"...: mounts SOURCE at TARGET (which may be SOURCE itself) with its
 * owners mapped, users and groups alike: what belongs to INSIDE on disk shows as OUTSIDE's. mount_setattr(2),
 * MOUNT_ATTR_IDMAP.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void write_map(pid_t pid, const char *name, const char *map)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, map, strlen(map)) != (ssize_t)strlen(map))
		errx(1, "%s: %m: %s", path, map);
	close(fd);
}

/* A user namespace that lives as long as the descriptor. */
static int namespace_of(const char *map)
{
	char path[64], byte;
	int ready[2], fd;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC) != 0 || (pid = fork()) < 0)
		err(1, "fork");
	if (pid == 0) {
		if (unshare(CLONE_NEWUSER) != 0 || write(ready[1], "x", 1) != 1)
			err(1, "unshare");
		pause();
		_exit(1);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		errx(1, "no user namespace");
	write_map(pid, "uid_map", map);
	write_map(pid, "gid_map", map);
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		err(1, "%s", path);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return fd;
}

int main(int argc, char **argv)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP};
	char map[1024] = "";
	int tree;

	if (argc < 4)
		errx(2, "usage: idmapped SOURCE TARGET \"INSIDE OUTSIDE COUNT\"...");
	for (int i = 3; i < argc; i++) {
		size_t used = strlen(map);

		snprintf(map + used, sizeof(map) - used, "%s\n", argv[i]);
	}
	attr.userns_fd = (unsigned)namespace_of(map);
	tree = (int)syscall(SYS_open_tree, AT_FDCWD, argv[1], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0)
		err(1, "%s", argv[1]);
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) != 0)
		err(1, "mount_setattr on %s", argv[1]);
	if (syscall(SYS_move_mount, tree, "", AT_FDCWD, argv[2], MOVE_MOUNT_F_EMPTY_PATH) != 0)
		err(1, "mounting at %s", argv[2]);
	return 0;
}
