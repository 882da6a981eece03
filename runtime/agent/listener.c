/*
 * Receiving notifications: leader and followers. One worker, the leader, waits for all listeners; it receives a
 * notification and serves it without handing it on, as nearly all take microseconds and waking another thread would
 * cost more than the work. Only before something slow (a split, a copy-up) does it let another one lead, so that no
 * call waits for another's copy.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/log.h"

enum { WORKER_STACK = 1 << 20 };

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, uint64_t)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

int cow_listener_add(struct cow_agent *a, int fd, struct cow_error **err)
{
	struct cow_listener *l = calloc(1, sizeof(*l));
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = l};
	struct seccomp_notif_sizes sizes;

	if (l == NULL)
		abort();
	l->fd = fd;
	/* Newer kernels may have longer structures; ours must be a prefix of them (seccomp_unotify(2)). */
	if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0 ||
	    sizes.seccomp_notif > sizeof(struct seccomp_notif) ||
	    sizes.seccomp_notif_resp > sizeof(struct seccomp_notif_resp)) {
		free(l);
		close(fd);
		return cow_error_set(err, 0, "this kernel's seccomp notifications have an unknown form");
	}
	/* Since Linux 6.6: the waker stays on the sleeper's CPU. Without it, it only takes longer. */
	(void)ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	pthread_mutex_lock(&a->lock);
	l->next = a->listeners;
	a->listeners = l;
	pthread_mutex_unlock(&a->lock);
	if (epoll_ctl(a->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		return cow_error_set(err, errno, "waiting for a listener");
	return 0;
}

/* Workers are made when they are first needed: most containers are short and have one call at a time. */
int cow_worker_start(struct cow_agent *a)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int error;

	if (atomic_fetch_add(&a->workers, 1) >= COW_AGENT_WORKERS) {
		atomic_fetch_sub(&a->workers, 1);
		return EAGAIN;
	}
	atomic_fetch_add(&a->waiting, 1);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, WORKER_STACK);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	error = pthread_create(&thread, &attributes, cow_worker, a);
	pthread_attr_destroy(&attributes);
	if (error != 0) {
		atomic_fetch_sub(&a->waiting, 1);
		atomic_fetch_sub(&a->workers, 1);
	}
	return error;
}

/* No process uses the filter any more. Others may still serve its last notification, so its memory stays. */
static void retire(struct cow_agent *a, struct cow_listener *l)
{
	(void)epoll_ctl(a->epoll, EPOLL_CTL_DEL, l->fd, NULL);
}

void cow_stop_leading(struct cow_target *t)
{
	if (!t->leading)
		return;
	t->leading = false;
	/* If there can be none more, the others must do: each comes back from its call. */
	if (atomic_load(&t->agent->waiting) == 0)
		(void)cow_worker_start(t->agent);
	pthread_mutex_unlock(&t->agent->receive);
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

static void count(struct cow_agent *a, int verdict)
{
	atomic_fetch_add_explicit(&a->notifications, 1, memory_order_relaxed);
	if (verdict == COW_VERDICT_CONTINUE)
		atomic_fetch_add_explicit(&a->continued, 1, memory_order_relaxed);
	else if (verdict < 0)
		atomic_fetch_add_explicit(&a->refused, 1, memory_order_relaxed);
	else
		atomic_fetch_add_explicit(&a->performed, 1, memory_order_relaxed);
}

static void serve(struct cow_agent *a, struct cow_listener *l, const struct seccomp_notif *n)
{
	struct cow_target t = {
		.agent = a,
		.listener = l,
		.id = n->id,
		.tid = (pid_t)n->pid,
		.arch = n->data.arch,
		.nr = n->data.nr,
		.dir = -1,
		.leading = true,
	};
	int verdict;

	for (size_t i = 0; i < 6; i++)
		t.args[i] = n->data.args[i];
	verdict = cow_dispatch(&t);
	answer(&t, verdict);
	count(a, verdict);
	if (t.leading)
		pthread_mutex_unlock(&a->receive);
}

/* Waits for one notification, as leader, and serves it. */
static void lead(struct cow_agent *a)
{
	struct seccomp_notif n;
	struct epoll_event event;
	struct cow_listener *l;
	int ready = epoll_wait(a->epoll, &event, 1, -1);

	if (ready <= 0 || event.data.ptr == NULL) {
		pthread_mutex_unlock(&a->receive);
		return;
	}
	l = event.data.ptr;
	memset(&n, 0, sizeof(n));
	if ((event.events & EPOLLIN) == 0) {
		retire(a, l);
		pthread_mutex_unlock(&a->receive);
		return;
	}
	/* ENOENT: it was gone before we looked. */
	if (ioctl(l->fd, SECCOMP_IOCTL_NOTIF_RECV, &n) != 0) {
		pthread_mutex_unlock(&a->receive);
		return;
	}
	atomic_fetch_sub(&a->waiting, 1);
	serve(a, l, &n);
	atomic_fetch_add(&a->waiting, 1);
}

void *cow_worker(void *agent)
{
	struct cow_agent *a = agent;

	/* setns(2) of a mount namespace wants a thread whose directories are its own. */
	if (unshare(CLONE_FS) != 0) {
		cow_log_error("a worker cannot have a working directory of its own: %s", strerror(errno));
		abort();
	}
	while (!atomic_load(&a->stop)) {
		pthread_mutex_lock(&a->receive);
		lead(a);
	}
	return NULL;
}
