/*
 * without CALL[,CALL...] COMMAND...: runs the command where these system calls fail with ENOSYS, as on a kernel that
 * does not have them. (Run on the host; for those that the tests take away see the table.)
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NR_OPEN_TREE = 428, NR_MOVE_MOUNT = 429, NR_MOUNT_SETATTR = 442, NR_LANDLOCK_CREATE_RULESET = 444 };

static const struct {
	const char *name;
	unsigned number;
} calls[] = {
	{"seccomp", SYS_seccomp},
	{"open_tree", NR_OPEN_TREE},
	{"move_mount", NR_MOVE_MOUNT},
	{"mount_setattr", NR_MOUNT_SETATTR},
	{"landlock_create_ruleset", NR_LANDLOCK_CREATE_RULESET},
};

static int take_away(const char *name)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (strcmp(calls[i].name, name) != 0)
			continue;
		struct sock_filter program[] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, 0, 1),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		};
		struct sock_fprog prog = {sizeof(program) / sizeof(program[0]), program};

		/* Not by seccomp(2): that may be what an earlier turn took away. */
		return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
	}
	errno = EINVAL;
	return -1;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	for (char *name = strtok(argv[1], ","); name != NULL; name = strtok(NULL, ",")) {
		if (take_away(name) != 0) {
			perror(name);
			return 2;
		}
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
