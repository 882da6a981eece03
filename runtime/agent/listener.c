/*
 * Receiving notifications: leader and followers, for each listener. One worker, the leader, sleeps in NOTIF_RECV
 * itself, so that the kernel can wake it on the CPU of the thread that made the call; it serves what it receives
 * without handing it on, as nearly all take microseconds and waking another thread would cost more than the work. Only
 * before something slow (a split, a copy-up) does it let another one lead, so that no call waits for another's copy.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/log.h"

enum { WORKER_STACK = 1 << 20, LOOK_AGAIN_NS = 1000000 };

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, uint64_t)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

/* Before Linux 6.11 NOTIF_RECV goes on sleeping when the last process that has the filter is gone; poll(2) does not. */
static bool must_poll(void)
{
	struct utsname u;
	unsigned major;
	unsigned minor;

	return uname(&u) != 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2 || major < 6 ||
	       (major == 6 && minor < 11);
}

/* Newer kernels may have longer structures; ours must be a prefix of them (seccomp_unotify(2)). */
static bool sizes_fit(void)
{
	struct seccomp_notif_sizes sizes;

	return syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) == 0 &&
	       sizes.seccomp_notif <= sizeof(struct seccomp_notif) &&
	       sizes.seccomp_notif_resp <= sizeof(struct seccomp_notif_resp);
}

/*
 * Since Linux 6.6: who is woken, the agent by a call or a thread by its answer, comes to the waker's CPU, as that goes
 * to sleep now. That takes 6 us where waking an idle CPU takes 38. But while all CPUs are at work it makes two wait for
 * one, and then another idle: `make -j2` on two CPUs took 7% longer.
 */
static void wake_here(int fd, bool on)
{
	(void)ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, on ? SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP : 0);
}

/* How many threads of the machine run or want to: the fourth number of proc_loadavg(5). This one is among them. */
static unsigned count_running(const struct cow_agent *a)
{
	cleanup_close int fd = openat(a->proc, "loadavg", O_RDONLY | O_CLOEXEC);
	char text[64] = "";
	unsigned running;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return 0;
	return sscanf(text, "%*s %*s %*s %u", &running) == 1 ? running : 0;
}

/* By the leader, while who made the call sleeps. */
static void choose_wake(struct cow_listener *l)
{
	struct timespec now;
	int64_t at;
	bool busy;

	clock_gettime(CLOCK_MONOTONIC, &now);
	at = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	if (at - l->looked < LOOK_AGAIN_NS)
		return;
	l->looked = at;
	busy = count_running(l->agent) >= l->cpus;
	if (busy != l->busy)
		wake_here(l->fd, !busy);
	l->busy = busy;
}

static unsigned count_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static struct cow_listener *listener_new(struct cow_agent *a, int fd)
{
	struct cow_listener *l = calloc(1, sizeof(*l));

	if (l == NULL)
		abort();
	l->agent = a;
	l->fd = fd;
	l->must_poll = must_poll();
	l->cpus = count_cpus();
	pthread_mutex_init(&l->receive, NULL);
	return l;
}

static void listener_free(struct cow_listener *l)
{
	close(l->fd);
	pthread_mutex_destroy(&l->receive);
	free(l);
}

static void *work(void *listener);

/* Workers are made when they are first needed: most containers are short and have one call at a time. 0 or an errno. */
static int start_worker(struct cow_listener *l)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int error;

	atomic_fetch_add(&l->workers, 1);
	atomic_fetch_add(&l->waiting, 1);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, WORKER_STACK);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	error = pthread_create(&thread, &attributes, work, l);
	pthread_attr_destroy(&attributes);
	if (error != 0) {
		atomic_fetch_sub(&l->waiting, 1);
		atomic_fetch_sub(&l->workers, 1);
	}
	return error;
}

int cow_listener_add(struct cow_agent *a, int fd, struct cow_error **err)
{
	struct cow_listener *l;
	int error;

	if (!sizes_fit()) {
		close(fd);
		return cow_error_set(err, 0, "this kernel's seccomp notifications have an unknown form");
	}
	wake_here(fd, true);
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	l = listener_new(a, fd);
	error = start_worker(l);
	if (error != 0) {
		listener_free(l);
		return cow_error_set(err, error, "starting a worker");
	}
	return 0;
}

void cow_stop_leading(struct cow_target *t)
{
	struct cow_listener *l = t->listener;

	if (!t->leading)
		return;
	t->leading = false;
	/* If there can be none more, the others must do: each comes back from its call. */
	if (atomic_load(&l->waiting) == 0 && atomic_load(&l->workers) < COW_LISTENER_WORKERS)
		(void)start_worker(l);
	pthread_mutex_unlock(&l->receive);
}

static void answer(const struct cow_target *t, int verdict)
{
	struct seccomp_notif_resp resp = {.id = t->id};

	if (verdict == COW_VERDICT_SENT)
		return;
	if (verdict == COW_VERDICT_CONTINUE)
		resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	else if (verdict < 0)
		resp.error = verdict;
	else
		resp.val = verdict;
	/* ENOENT: the process was killed in the meantime. */
	if (ioctl(t->listener->fd, SECCOMP_IOCTL_NOTIF_SEND, &resp) != 0 && errno != ENOENT)
		cow_log_error("answering a notification: %s", strerror(errno));
}

/* True: this worker leads still. */
static bool serve(struct cow_listener *l, const struct seccomp_notif *n)
{
	struct cow_target t = {
		.agent = l->agent,
		.listener = l,
		.id = n->id,
		.tid = (pid_t)n->pid,
		.arch = n->data.arch,
		.nr = n->data.nr,
		.dir = -1,
		.leading = true,
	};
	int verdict;

	cow_stats_begin(&l->agent->stats);
	for (size_t i = 0; i < 6; i++)
		t.args[i] = n->data.args[i];
	verdict = cow_dispatch(&t);
	cow_stats_phase(COW_PHASE_ANSWER);
	answer(&t, verdict);
	cow_stats_end(&l->agent->stats, cow_filter_lookup(t.arch, t.nr), verdict);
	return t.leading;
}

/* Has no process the filter any more? */
static bool is_over(const struct cow_listener *l)
{
	struct pollfd p = {.fd = l->fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLIN) == 0 && (p.revents & POLLHUP) != 0;
}

/* Waits for one notification, as leader, and serves it. True: it leads still. */
static bool lead(struct cow_listener *l)
{
	struct pollfd p = {.fd = l->fd, .events = POLLIN};
	struct seccomp_notif n;
	bool leading;

	if (l->must_poll)
		(void)poll(&p, 1, -1);
	memset(&n, 0, sizeof(n));
	/* ENOENT: it was gone before we looked, or all are. */
	if (ioctl(l->fd, SECCOMP_IOCTL_NOTIF_RECV, &n) != 0) {
		l->over = is_over(l);
		return true;
	}
	choose_wake(l);
	atomic_fetch_sub(&l->waiting, 1);
	leading = serve(l, &n);
	atomic_fetch_add(&l->waiting, 1);
	return leading;
}

static void *work(void *listener)
{
	struct cow_listener *l = listener;
	bool leading = false;

	/* setns(2) of a mount namespace wants a thread whose directories are its own. */
	if (unshare(CLONE_FS) != 0) {
		cow_log_error("a worker cannot have a working directory of its own: %s", strerror(errno));
		abort();
	}
	/* A leader stays it until something slow comes: handing over would wake another thread for each call. */
	while (!atomic_load(&l->agent->stop)) {
		if (!leading)
			pthread_mutex_lock(&l->receive);
		leading = true;
		if (l->over)
			break;
		leading = lead(l);
	}
	if (leading)
		pthread_mutex_unlock(&l->receive);
	cow_creds_forget();
	atomic_fetch_sub(&l->waiting, 1);
	if (atomic_fetch_sub(&l->workers, 1) == 1)
		listener_free(l);
	return NULL;
}
