/* The credentials of a target: read from /proc, and asked what they allow. Acting with them is in wear.c. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/log.h"
#include "../lib/userns.h"

enum { MAP_MAX = 1 << 16, STATUS_MAX = 1 << 20 };

/* --- reading them ------------------------------------------------------------------------------------------------- */

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

/* A line of uid_map or gid_map as this process sees it: the second number is an id of its own namespace. */
static void parse_map(struct cow_id_map *m, const char *text)
{
	unsigned inside, outside, count;
	int used;

	for (; sscanf(text, "%u %u %u%n", &inside, &outside, &count, &used) == 3; text += used) {
		struct cow_id_range *grown = reallocarray(m->ranges, m->count + 1, sizeof(*grown));

		if (grown == NULL)
			abort();
		m->ranges = grown;
		grown[m->count++] = (struct cow_id_range){.inside = inside, .outside = outside, .count = count};
	}
}

static int read_map(int process, const char *name, struct cow_id_map *m)
{
	cleanup_close int fd = openat(process, name, O_RDONLY | O_CLOEXEC);
	cleanup_free char *text = fd < 0 ? NULL : cow_read_to_end(fd, MAP_MAX, NULL);

	if (text == NULL)
		return errno;
	parse_map(m, text);
	return 0;
}

/* Is its user namespace the agent's, which stays in its own? The links' texts have the number of the namespace. */
static bool in_own_namespace(int process, int proc)
{
	static _Thread_local char own[64];
	char theirs[sizeof(own)] = "";

	if (own[0] == '\0' && readlinkat(proc, "self/ns/user", own, sizeof(own) - 1) <= 0)
		return false;
	return readlinkat(process, "ns/user", theirs, sizeof(theirs) - 1) > 0 && strcmp(theirs, own) == 0;
}

/* Its user namespace, if it is another than the agent's: the descriptor, and what is mapped. 0 or an errno. */
static int read_namespace(int process, int proc, struct cow_creds *c)
{
	cleanup_close int ns = -1;
	int error;

	if (in_own_namespace(process, proc))
		return 0;
	ns = openat(process, "ns/user", O_RDONLY | O_CLOEXEC);
	if (ns < 0)
		return errno;
	error = read_map(process, "uid_map", &c->uids);
	if (error == 0)
		error = read_map(process, "gid_map", &c->gids);
	if (error == 0)
		c->userns = cow_steal_fd(&ns);
	return error;
}

static const struct cow_id_range *range_of(const struct cow_id_map *m, unsigned id)
{
	for (size_t i = 0; i < m->count; i++)
		if (id >= m->ranges[i].outside && id - m->ranges[i].outside < m->ranges[i].count)
			return &m->ranges[i];
	return NULL;
}

/* capable_wrt_inode_uidgid() in the kernel. */
static bool is_capable(const struct cow_creds *c, int capability, const struct stat *st)
{
	if ((c->caps & (1ULL << capability)) == 0)
		return false;
	return c->userns < 0 || (range_of(&c->uids, st->st_uid) != NULL && range_of(&c->gids, st->st_gid) != NULL);
}

static bool is_root(const struct cow_creds *c)
{
	const struct cow_id_range *range = c->userns < 0 ? NULL : range_of(&c->uids, c->uid);

	return c->userns < 0 ? c->uid == 0 : range != NULL && range->inside == 0 && c->uid == range->outside;
}

void cow_creds_use_real(struct cow_creds *c)
{
	c->fsuid = c->uid;
	c->fsgid = c->gid;
	c->caps = is_root(c) ? c->permitted : 0;
}

static int parse_status(struct cow_creds *c, const char *status)
{
	const char *uid = field(status, "\nUid:");
	const char *gid = field(status, "\nGid:");
	const char *groups = field(status, "\nGroups:");
	const char *effective = field(status, "\nCapEff:");
	const char *permitted = field(status, "\nCapPrm:");
	unsigned long long caps[2];
	unsigned ids[4];

	if (uid == NULL || gid == NULL || groups == NULL || effective == NULL || permitted == NULL)
		return EIO;
	if (sscanf(uid, "%u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]) != 4)
		return EIO;
	c->uid = ids[0];
	c->fsuid = ids[3];
	if (sscanf(gid, "%u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]) != 4)
		return EIO;
	c->gid = ids[0];
	c->fsgid = ids[3];
	if (sscanf(effective, "%llx", &caps[0]) != 1 || sscanf(permitted, "%llx", &caps[1]) != 1)
		return EIO;
	c->caps = caps[0];
	c->permitted = caps[1];
	return parse_groups(c, groups);
}

/* From the text of its status file, which is made anew by each reading from the start. 0 or an errno. */
static int read_status(int fd, struct cow_creds *c)
{
	cleanup_free char *all = NULL;
	char text[4096];
	ssize_t n = pread(fd, text, sizeof(text), 0);

	*c = COW_CREDS_NONE;
	if (n <= 0)
		return n == 0 ? EIO : errno;
	if (n < (ssize_t)sizeof(text)) {
		text[n] = '\0';
		return parse_status(c, text);
	}
	/* Very many groups. */
	if (lseek(fd, 0, SEEK_SET) != 0 || (all = cow_read_to_end(fd, STATUS_MAX, NULL)) == NULL)
		return errno != 0 ? errno : EIO;
	return parse_status(c, all);
}

int cow_creds_of(int process, int proc, struct cow_creds *c)
{
	cleanup_close int fd = openat(process, "status", O_RDONLY | O_CLOEXEC);
	int error = fd < 0 ? errno : read_status(fd, c);

	return error == 0 ? read_namespace(process, proc, c) : error;
}

/*
 * The status file of the thread that this worker asked about last. One that is alive has its number alone, and the file
 * of one that is not says ESRCH; so it is never another's.
 */
static _Thread_local struct {
	pid_t tid;
	int fd;
} last = {.fd = -1};

void cow_creds_forget(void)
{
	cow_close_fd(&last.fd);
	last.tid = 0;
}

static int read_of_target(const struct cow_target *t, struct cow_creds *c)
{
	int error = last.tid == t->tid ? read_status(last.fd, c) : ESRCH;

	if (error == ESRCH) {
		cow_creds_forget();
		last.fd = openat(t->dir, "status", O_RDONLY | O_CLOEXEC);
		error = last.fd < 0 ? errno : read_status(last.fd, c);
		last.tid = error == 0 ? t->tid : 0;
	}
	return error == 0 ? read_namespace(t->dir, t->agent->proc, c) : error;
}

int cow_creds_read(const struct cow_target *t, struct cow_creds *c)
{
	enum cow_phase phase = cow_stats_phase(COW_PHASE_READ);
	int error = read_of_target(t, c);

	cow_stats_phase(phase);
	return error == 0 && !cow_target_valid(t) ? ESRCH : error;
}

void cow_creds_free(struct cow_creds *c)
{
	cow_close_fd(&c->userns);
	free(c->uids.ranges);
	free(c->gids.ranges);
	free(c->groups);
	*c = COW_CREDS_NONE;
}

bool cow_creds_all_have_ids(void)
{
	static atomic_int known; /* 1: yes, 2: no */

	if (atomic_load(&known) == 0)
		atomic_store(&known, cow_userns_initial() ? 1 : 2);
	return atomic_load(&known) == 1;
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

struct question {
	int fd, mask;
};

static int ask(void *data)
{
	const struct question *q = data;

	return syscall(SYS_faccessat2, q->fd, "", q->mask, AT_EMPTY_PATH | AT_EACCESS) == 0 ? 0 : errno;
}

int cow_creds_permit(const struct cow_creds *c, int fd, int mask)
{
	return cow_creds_run(c, ask, &(struct question){fd, mask});
}

int cow_creds_permit_lower(const struct cow_creds *c, int fd, int mask)
{
	int error = cow_creds_permit(c, fd, mask);

	return error == EROFS ? 0 : error;
}

bool cow_creds_owns(const struct cow_creds *c, const struct stat *st)
{
	/* An owner who has no id in the agent's namespace looks like this one, and is nobody. */
	if (st->st_uid == COW_OVERFLOW_ID && !cow_creds_all_have_ids())
		return false;
	return c->fsuid == st->st_uid || is_capable(c, CAP_FOWNER, st);
}

int cow_creds_permit_delete(const struct cow_creds *c, int dir, const struct stat *entry)
{
	int error = cow_creds_permit(c, dir, W_OK | X_OK);
	struct stat st;

	if (error != 0)
		return error;
	if (fstat(dir, &st) != 0)
		return errno;
	if ((st.st_mode & S_ISVTX) != 0 && c->fsuid != entry->st_uid && c->fsuid != st.st_uid &&
	    !is_capable(c, CAP_FOWNER, entry))
		return EPERM;
	return 0;
}
