/*
 * roundtrip PATH: the least that a trapped call can take. access(PATH, W_OK) is trapped by a filter of its own and
 * answered CONTINUE by a supervisor that does nothing else. Prints the median in nanoseconds, as `calls access PATH`
 * does without.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, uint64_t)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

enum { ROUNDS = 1000, WARM_UP = 10 };

/* Nothing here calls access but what is timed. */
static int install(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_access, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			    SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
}

static void supervise(int listener)
{
	(void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	for (;;) {
		struct seccomp_notif n = {0};
		struct seccomp_notif_resp answer = {0};

		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &n) != 0) {
			if (errno == EINTR)
				continue;
			_exit(0);
		}
		answer.id = n.id;
		answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		(void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	}
}

static int measure(const char *path)
{
	struct samples s = {0};

	for (int i = 0; i < ROUNDS + WARM_UP; i++) {
		uint64_t begun = bench_now();

		if (syscall(SYS_access, path, W_OK) != 0)
			bench_fail(path);
		if (i >= WARM_UP)
			bench_add(&s, (double)(bench_now() - begun));
	}
	return bench_print(&s);
}

int main(int argc, char **argv)
{
	pid_t supervisor;
	int listener;
	int status;

	if (argc != 2)
		return 2;
	listener = install();
	if (listener < 0)
		bench_fail("seccomp");
	supervisor = fork();
	if (supervisor < 0)
		bench_fail("fork");
	if (supervisor == 0)
		supervise(listener);
	close(listener);
	status = measure(argv[1]);
	fflush(stdout);
	/* It waits in the kernel for calls that will not come. */
	kill(supervisor, SIGKILL);
	waitpid(supervisor, NULL, 0);
	return status;
}
