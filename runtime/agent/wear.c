/*
 * Acting as a target.
 *
 * Where the target is in the agent's user namespace, the worker takes its ids, groups and capabilities on for a while.
 * In another one a capability counts for an inode only if its owner and group are mapped there, ids in arguments mean
 * others, and only a process that is in it is judged so. A thread cannot go there (setns(2) takes no process with
 * threads); so such an errand is done by a child that shares the worker's memory and descriptors and lives as long as
 * the errand.
 */
#include "agent.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/log.h"

enum { ERRAND_STACK = 256 << 10 };

/*
 * In a user namespace that was made without help (unshare -r) nobody may change his groups. So they are the same for
 * all, the agent among them.
 */
static bool has_groups(const struct cow_creds *c)
{
	long count = syscall(SYS_getgroups, 0, NULL);
	cleanup_free gid_t *groups = count > 0 ? calloc((size_t)count, sizeof(*groups)) : NULL;

	if (count < 0 || (size_t)count != c->ngroups)
		return false;
	return count == 0 || (groups != NULL && syscall(SYS_getgroups, count, groups) == count &&
			      memcmp(groups, c->groups, (size_t)count * sizeof(*groups)) == 0);
}

static int set_groups(const struct cow_creds *c)
{
	cleanup_free gid_t *groups = calloc(c->ngroups + 1, sizeof(*groups));
	bool all = cow_creds_all_have_ids();
	size_t count = 0;

	if (groups == NULL)
		return ENOMEM;
	for (size_t i = 0; i < c->ngroups; i++)
		if (all || c->groups[i] != COW_OVERFLOW_ID)
			groups[count++] = c->groups[i];
	if (syscall(SYS_setgroups, count, groups) == 0)
		return 0;
	return errno == EPERM && has_groups(c) ? 0 : errno;
}

/* The raw calls: glibc's wrappers would change every thread. */
static int set_ids(const struct cow_creds *c)
{
	int error = set_groups(c);

	if (error != 0)
		return error;
	setfsgid(c->fsgid);
	setfsuid(c->fsuid);
	return 0;
}

/* What this worker is as itself; it always comes back to that. Nothing else in the agent changes it. */
static _Thread_local struct {
	bool known;
	bool no_groups;
	uid_t uid;
	gid_t gid;
	struct __user_cap_data_struct caps[2]; /* all that it may have, in effect */
} self;

/* What of it an errand has changed. */
struct worn {
	bool groups, gid, uid, caps;
};

static int put_caps(const struct __user_cap_data_struct caps[2])
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};

	return (int)syscall(SYS_capset, &header, caps);
}

static void no_groups(void)
{
	self.no_groups = syscall(SYS_setgroups, 0, NULL) == 0;
	if (!self.no_groups && errno != EPERM)
		cow_log_warning("setgroups: %s", strerror(errno));
}

static int know_self(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};

	if (self.known)
		return 0;
	if (syscall(SYS_capget, &header, self.caps) != 0)
		return errno;
	self.caps[0].effective = self.caps[0].permitted;
	self.caps[1].effective = self.caps[1].permitted;
	self.uid = geteuid();
	self.gid = getegid();
	no_groups();
	self.known = true;
	return 0;
}

static void drop(const struct worn *w)
{
	int saved = errno;

	if (w->caps && put_caps(self.caps) != 0) {
		cow_log_error("cannot take the agent's capabilities back: %s", strerror(errno));
		abort();
	}
	if (w->uid)
		setfsuid(self.uid);
	if (w->gid)
		setfsgid(self.gid);
	if (w->groups)
		no_groups();
	errno = saved;
}

/* Only what is different is changed. 0 or an errno; then nothing is. */
static int assume(const struct cow_creds *c, struct worn *w)
{
	struct __user_cap_data_struct caps[2];
	int error = know_self();

	memset(w, 0, sizeof(*w));
	if (error == 0 && (c->ngroups > 0 || !self.no_groups)) {
		error = set_groups(c);
		w->groups = error == 0;
	}
	if (error != 0)
		return error;
	w->gid = c->fsgid != self.gid;
	w->uid = c->fsuid != self.uid;
	if (w->gid)
		setfsgid(c->fsgid);
	if (w->uid)
		setfsuid(c->fsuid); /* with a part of the effective capabilities, which are set all the same */
	memcpy(caps, self.caps, sizeof(caps));
	caps[0].effective &= (uint32_t)c->caps;
	caps[1].effective &= (uint32_t)(c->caps >> 32);
	w->caps = w->uid || memcmp(caps, self.caps, sizeof(caps)) != 0;
	if (w->caps && put_caps(caps) != 0) {
		error = errno;
		drop(w);
	}
	return error;
}

static int set_effective(uint64_t caps)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) != 0)
		return -1;
	data[0].effective = data[0].permitted & (uint32_t)caps;
	data[1].effective = data[1].permitted & (uint32_t)(caps >> 32);
	return (int)syscall(SYS_capset, &header, data);
}

struct errand {
	const struct cow_creds *creds;
	int (*what)(void *data);
	void *data;
	int result;
};

/*
 * In the child. The ids first: as the agent's namespace numbers them, and because the target's may allow no
 * setgroups(). Coming to the namespace gives every capability there; those that the target has not got are put down.
 */
static int run_errand(void *data)
{
	struct errand *e = data;

	e->result = set_ids(e->creds);
	if (e->result == 0 && (setns(e->creds->userns, CLONE_NEWUSER) != 0 || set_effective(e->creds->caps) != 0))
		e->result = errno;
	if (e->result == 0)
		e->result = e->what(e->data);
	return 0;
}

static int run_in_namespace(const struct cow_creds *c, int (*what)(void *data), void *data)
{
	_Alignas(16) char stack[ERRAND_STACK];
	struct errand e = {.creds = c, .what = what, .data = data, .result = EIO};
	/* This thread waits (CLONE_VFORK), so the child may have its errno and its locks. */
	pid_t pid = clone(run_errand, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | CLONE_FILES, &e);

	if (pid < 0)
		return errno;
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	return e.result;
}

int cow_creds_run(const struct cow_creds *c, int (*what)(void *data), void *data)
{
	struct worn worn;
	int error;

	if (c->userns >= 0)
		return run_in_namespace(c, what, data);
	error = assume(c, &worn);
	if (error != 0)
		return error;
	error = what(data);
	drop(&worn);
	return error;
}
