/*
 * storm DIR COUNT restart|interrupt: under a timer signal every 150 us, COUNT each of unlink, rename, append-open and
 * exclusive create on the lower's files DIR/uN, rN, aN, and on new ones cN, then as many mkdir. Not one may fail.
 *
 * interrupt: the handler has no SA_RESTART. No local file system ever interrupts these calls, but the kernel does while
 * a notification waits to be received (seccomp_unotify(2)): EINTR is then allowed if nothing was done, which the same
 * call shows by doing all of it when it is made again.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

enum { EVERY_USEC = 150 };

static volatile sig_atomic_t signals;
static int failures, interrupted;
static int interruptible;

static void on_alarm(int sig)
{
	(void)sig;
	signals++;
}

static void set_timer(long usec)
{
	struct itimerval every = {{0, usec}, {0, usec}};

	setitimer(ITIMER_REAL, &every, NULL);
}

static void want_done(int rc, const char *what, const char *name)
{
	if (rc >= 0)
		return;
	int errnum = errno;

	if (failures++ < 5) {
		set_timer(0); /* so that the report is not torn */
		printf("%s %s: %s\n", what, name, strerrorname_np(errnum));
		fflush(stdout);
		set_timer(EVERY_USEC);
	}
}

/* Once more, as a program that knows EINTR would. */
static int again(int rc)
{
	if (rc >= 0 || errno != EINTR || !interruptible)
		return 0;
	interrupted++;
	return 1;
}

static void want_open(const char *what, const char *name, int flags)
{
	int fd;

	do
		fd = open(name, flags | O_CLOEXEC, 0600);
	while (again(fd));
	want_done(fd, what, name);
	if (fd >= 0)
		close(fd);
}

#define WANT(call, what, name)                                                                                         \
	do {                                                                                                           \
		int rc_;                                                                                               \
                                                                                                                       \
		do                                                                                                     \
			rc_ = (call);                                                                                  \
		while (again(rc_));                                                                                    \
		want_done(rc_, what, name);                                                                            \
	} while (0)

static void one_round(int i)
{
	char name[32], other[32];

	snprintf(name, sizeof(name), "u%d", i);
	WANT(unlink(name), "unlink", name);
	snprintf(name, sizeof(name), "r%d", i);
	snprintf(other, sizeof(other), "s%d", i);
	WANT(rename(name, other), "rename", name);
	snprintf(name, sizeof(name), "a%d", i);
	want_open("append", name, O_WRONLY | O_APPEND);
	snprintf(name, sizeof(name), "c%d", i);
	want_open("create", name, O_WRONLY | O_CREAT | O_EXCL);
	snprintf(name, sizeof(name), "d%d", i);
	WANT(mkdir(name, 0700), "mkdir", name);
}

int main(int argc, char **argv)
{
	if (argc != 4 || chdir(argv[1]) != 0)
		return 2;
	struct sigaction action = {.sa_handler = on_alarm};

	if (strcmp(argv[3], "restart") == 0)
		action.sa_flags = SA_RESTART;
	interruptible = action.sa_flags == 0;
	sigaction(SIGALRM, &action, NULL);
	set_timer(EVERY_USEC);
	for (int i = 0; i < atoi(argv[2]); i++)
		one_round(i);
	set_timer(0);
	printf("%d failures\n", failures);
	fprintf(stderr, "# %d signals, %d calls interrupted before they began\n", (int)signals, interrupted);
	return failures != 0 || signals == 0;
}
