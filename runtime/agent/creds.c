#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/log.h"

static const char *field(const char *status, const char *name)
{
	const char *p = strstr(status, name);

	return p != NULL ? p + strlen(name) : NULL;
}

static int parse_groups(struct cow_creds *c, const char *p)
{
	size_t room = 0;

	while (*p != '\n' && *p != '\0') {
		char *end;
		unsigned long gid = strtoul(p, &end, 10);

		if (end == p) {
			p++;
			continue;
		}
		if (c->ngroups == room) {
			room = room == 0 ? 32 : room * 2;
			c->groups = realloc(c->groups, room * sizeof(*c->groups));
			if (c->groups == NULL)
				abort();
		}
		c->groups[c->ngroups++] = (gid_t)gid;
		p = end;
	}
	return 0;
}

static bool foreign_namespace(const struct cow_target *t)
{
	struct stat mine;
	struct stat theirs;

	return fstatat(t->agent->proc, "self/ns/user", &mine, 0) != 0 || fstatat(t->dir, "ns/user", &theirs, 0) != 0 ||
	       mine.st_ino != theirs.st_ino;
}

static int read_creds(const struct cow_target *t, struct cow_creds *c)
{
	cleanup_close int fd = openat(t->dir, "status", O_RDONLY | O_CLOEXEC);
	cleanup_free char *status = fd < 0 ? NULL : cow_read_to_end(fd, 1 << 20, NULL);
	const char *uid, *gid, *groups, *caps;
	unsigned ids[4];
	unsigned long long effective;

	memset(c, 0, sizeof(*c));
	if (status == NULL)
		return errno != 0 ? errno : EIO;
	uid = field(status, "\nUid:");
	gid = field(status, "\nGid:");
	groups = field(status, "\nGroups:");
	caps = field(status, "\nCapEff:");
	if (uid == NULL || gid == NULL || groups == NULL || caps == NULL)
		return EIO;
	if (sscanf(uid, "%u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]) != 4)
		return EIO;
	c->uid = ids[0];
	c->fsuid = ids[3];
	if (sscanf(gid, "%u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]) != 4)
		return EIO;
	c->gid = ids[0];
	c->fsgid = ids[3];
	if (sscanf(caps, "%llx", &effective) != 1)
		return EIO;
	c->foreign = foreign_namespace(t);
	/* Capabilities in another user namespace reach no further than its ids: without a proof for the inode they
	 * count for nothing. */
	c->caps = c->foreign ? 0 : effective;
	parse_groups(c, groups);
	return cow_target_valid(t) ? 0 : ESRCH;
}

int cow_creds_read(const struct cow_target *t, struct cow_creds *c)
{
	enum cow_phase phase = cow_stats_phase(COW_PHASE_READ);
	int error = read_creds(t, c);

	cow_stats_phase(phase);
	return error;
}

void cow_creds_free(struct cow_creds *c)
{
	free(c->groups);
	c->groups = NULL;
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

/* The raw calls: glibc's wrappers would change every thread. */
int cow_creds_assume(const struct cow_creds *c)
{
	if (syscall(SYS_setgroups, c->ngroups, c->groups) != 0)
		return errno;
	setfsgid(c->fsgid);
	setfsuid(c->fsuid);
	if (set_effective(c->caps) != 0) {
		int saved = errno;

		cow_creds_drop();
		return saved;
	}
	return 0;
}

void cow_creds_drop(void)
{
	int saved = errno;

	if (set_effective(~(uint64_t)0) != 0) {
		cow_log_error("cannot take the agent's capabilities back: %s", strerror(errno));
		abort();
	}
	setfsuid(geteuid());
	setfsgid(getegid());
	if (syscall(SYS_setgroups, 0, NULL) != 0)
		cow_log_warning("setgroups: %s", strerror(errno));
	errno = saved;
}

int cow_creds_permit(const struct cow_creds *c, int fd, int mask)
{
	int error = cow_creds_assume(c);

	if (error != 0)
		return error;
	if (syscall(SYS_faccessat2, fd, "", mask, AT_EMPTY_PATH | AT_EACCESS) != 0)
		error = errno;
	cow_creds_drop();
	return error;
}

int cow_creds_permit_delete(const struct cow_creds *c, int dir, uid_t owner)
{
	int error = cow_creds_permit(c, dir, W_OK | X_OK);
	struct stat st;

	if (error != 0)
		return error;
	if (fstat(dir, &st) != 0)
		return errno;
	if ((st.st_mode & S_ISVTX) != 0 && c->fsuid != owner && c->fsuid != st.st_uid &&
	    (c->caps & (1ULL << CAP_FOWNER)) == 0)
		return EPERM;
	return 0;
}
