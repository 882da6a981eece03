/* open, openat, openat2, creat with a write mode, O_CREAT, O_TRUNC or O_TMPFILE. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../lib/fd.h"

/* Descriptors that a process must have to spare before content is dropped for an O_TRUNC that could then fail. */
enum { SPARE_FDS = 64 };
/* Of a path's "..", or symbolic links, so many are looked at for RESOLVE_NO_XDEV: each costs a walk. */
enum { WAYS_UP_MAX = 40 };

static bool writes(uint64_t flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
}

static bool is_tmpfile(uint64_t flags)
{
	return (flags & O_TMPFILE) == O_TMPFILE;
}

struct wish {
	const struct cow_creds *creds;
	int mask;
};

static int may_open(int staged, void *data)
{
	const struct wish *w = data;

	return cow_creds_permit(w->creds, staged, w->mask);
}

static int wish_mask(uint64_t flags)
{
	switch (flags & O_ACCMODE) {
	case O_RDONLY:
		return R_OK | ((flags & O_TRUNC) != 0 ? W_OK : 0);
	case O_WRONLY:
		return W_OK;
	default:
		return R_OK | W_OK;
	}
}

/* Can the target surely get a descriptor? Else the content is copied, and the kernel truncates it. */
static bool has_fds_to_spare(const struct cow_target *t)
{
	struct stat st;
	rlim_t limit;

	/* The size of /proc/PID/fd is the count of descriptors (Linux 6.2; 0 before). */
	if (cow_target_limit(t, RLIMIT_NOFILE, &limit) != 0 || fstatat(t->dir, "fd", &st, 0) != 0 || st.st_size == 0)
		return false;
	return (rlim_t)st.st_size + SPARE_FDS < limit;
}

struct reopening {
	char path[40];
	int flags, fd;
};

static int reopen(void *data)
{
	struct reopening *r = data;

	r->fd = open(r->path, r->flags);
	return r->fd >= 0 ? 0 : errno;
}

/* Through /proc/self/fd/N the kernel would find the old file again: the new one is opened in the target's stead. */
static int open_instead(struct cow_target *t, const struct cow_creds *creds, int object, uint64_t flags)
{
	struct reopening r = {.fd = -1};
	cleanup_close int fd = -1;
	int error;

	snprintf(r.path, sizeof(r.path), "/proc/self/fd/%d", object);
	r.flags = (int)(flags & ~(uint64_t)(O_CREAT | O_EXCL | O_NOFOLLOW)) | O_CLOEXEC | O_NOCTTY;
	error = cow_creds_run(creds, reopen, &r);
	fd = r.fd;
	if (error != 0)
		return -error;
	return cow_target_send_fd(t, fd, (flags & O_CLOEXEC) != 0);
}

/*
 * May the copy be made without content? Only if nothing can be wrong with the call any more: the process finds its way
 * to the file, and there is no flag that could be refused (O_NOATIME, O_DIRECT; O_CREAT by fs.protected_regular).
 */
static bool surely_truncates(const struct cow_target *t, const struct cow_creds *creds, const struct cow_location *l,
			     int dirfd, const char *path, const struct cow_opening *o)
{
	const uint64_t harmless = O_ACCMODE | O_TRUNC | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_APPEND |
				  O_NOFOLLOW | O_SYNC | 0100000 /* O_LARGEFILE */;
	cleanup_location struct cow_location way = COW_LOCATION_NONE;
	struct stat dir;

	if ((o->flags & O_TRUNC) == 0 || (o->flags & ~harmless) != 0 || !o->plain || l->magic || l->parent < 0)
		return false;
	if ((o->flags & O_CREAT) != 0 && (fstat(l->parent, &dir) != 0 || (dir.st_mode & S_ISVTX) != 0))
		return false;
	return has_fds_to_spare(t) && cow_resolve_as(t, creds, dirfd, path, (o->flags & O_NOFOLLOW) == 0, &way) == 0;
}

/* With RESOLVE_NO_XDEV the directories of symbolic links on the way are made real, so that the kernel gets there. */
static int resolve(struct cow_target *t, int dirfd, const char *path, const struct cow_opening *o,
		   enum cow_follow follow, struct cow_location *l)
{
	for (int links = 0; links < WAYS_UP_MAX; links++) {
		int error = cow_resolve_within(t, dirfd, path, o->resolve, follow, l);
		int verdict;

		if (error != 0 || !l->halt)
			return error;
		verdict = cow_prepare_parent(t, l, NULL);
		cow_location_close(l);
		if (verdict != 0 && verdict != -ESTALE)
			return -verdict;
	}
	return ELOOP;
}

static int open_existing(struct cow_target *t, const struct cow_location *l, int dirfd, const char *path,
			 const struct cow_opening *o)
{
	cleanup_creds struct cow_creds creds = COW_CREDS_NONE;
	cleanup_close int changed = -1;
	cleanup_close int now = -1;
	struct wish wish = {&creds, wish_mask(o->flags)};
	bool truncate;
	int verdict;

	/* All of RESOLVE_* forbid such a link, and what is opened in the target's stead is not the kernel's to refuse.
	 */
	if (l->magic && o->resolve != 0)
		return 0;
	if ((o->resolve & RESOLVE_NO_XDEV) != 0)
		return cow_prepare_object(t, l, false, NULL, NULL, NULL);
	if (S_ISDIR(l->st.st_mode))
		return is_tmpfile(o->flags) ? cow_prepare_object(t, l, false, NULL, NULL, NULL) : 0;
	/* A FIFO or a device is opened for writing through a read-only mount too. */
	if (!S_ISREG(l->st.st_mode) || l->slash || !writes(o->flags) ||
	    (o->flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL) || (o->flags & O_DIRECTORY) != 0)
		return 0;
	verdict = cow_check_magic(t, dirfd, path, l);
	if (verdict != 0)
		return cow_verdict_of(verdict);
	if (cow_creds_read(t, &creds) != 0)
		return -EACCES;
	changed = cow_location_now(l);
	verdict = cow_creds_permit_lower(&creds, changed >= 0 ? changed : l->object, wish.mask);
	/* RESOLVE_* may forbid the way, and the kernel says so first. For O_TRUNC it asks for a writable mount before
	 * all. */
	if (verdict == EACCES && o->resolve != 0)
		return (o->flags & O_TRUNC) == 0 ? 0 : cow_prepare_object(t, l, false, NULL, NULL, NULL);
	if (verdict != 0)
		return cow_verdict_of(verdict);
	truncate = surely_truncates(t, &creds, l, dirfd, path, o);
	verdict = cow_prepare_object(t, l, truncate, may_open, &wish, &now);
	if (verdict == -EACCES && o->resolve != 0)
		return 0;
	if (verdict != 0 || !l->magic)
		return verdict;
	if (cow_sandboxed(t))
		return l->handle >= 0 ? cow_swap_fd(t, l->handle, now) : -EACCES;
	return open_instead(t, &creds, now, o->flags);
}

/*
 * The same of the directories that the way goes up from: the root of a graft is left by "..", too. What cannot be made
 * real is the kernel's to refuse (EXDEV).
 */
static int prepare_ways_up(struct cow_target *t, int dirfd, const char *path, const struct cow_opening *o)
{
	int count = 0;

	for (const char *at = path; (at = strstr(at, "..")) != NULL && count < WAYS_UP_MAX; at += 2) {
		cleanup_location struct cow_location l = COW_LOCATION_NONE;
		char way[PATH_MAX];

		if ((at != path && at[-1] != '/') || (at[2] != '/' && at[2] != '\0'))
			continue;
		count++;
		snprintf(way, sizeof(way), "%.*s.", (int)(at - path), path);
		if (resolve(t, dirfd, way, o, COW_FOLLOW, &l) != 0 || l.object < 0 || !S_ISDIR(l.st.st_mode))
			return 0;
		if (cow_prepare_directory(t, l.object_tree, l.object_place, l.object, NULL) == -ESTALE)
			return -ESTALE;
	}
	return 0;
}

/* Makes real what is at the end of `way`. False: there is nothing. The verdict of a way that was prepared is 0. */
static bool prepare_end(struct cow_target *t, int dirfd, const char *way, const struct cow_opening *o,
			enum cow_follow follow, int *verdict)
{
	cleanup_location struct cow_location l = COW_LOCATION_NONE;

	if (resolve(t, dirfd, way, o, follow, &l) != 0 || l.object < 0)
		return false;
	*verdict = cow_needs_work(l.object_place) ? cow_prepare_object(t, &l, false, NULL, NULL, NULL) : 0;
	return true;
}

/*
 * A graft is a mount, and RESOLVE_NO_XDEV crosses none: what is asked for is made real, even if it is only read. If the
 * path leads nowhere, that is done as far as it leads, so that the kernel comes to where it fails.
 */
static int open_without_crossing(struct cow_target *t, int dirfd, const char *path, const struct cow_opening *o)
{
	enum cow_follow follow = (o->flags & O_NOFOLLOW) == 0 ? COW_FOLLOW : COW_NO_FOLLOW;
	char way[PATH_MAX];
	int verdict = 0;
	char *slash;

	snprintf(way, sizeof(way), "%s", path);
	while (!prepare_end(t, dirfd, way, o, follow, &verdict) && (slash = strrchr(way, '/')) != NULL && slash > way) {
		*slash = '\0';
		follow = COW_FOLLOW;
	}
	return verdict == 0 ? COW_VERDICT_CONTINUE : verdict;
}

/* ".." is no symbolic link: O_NOFOLLOW is for the other steps of who goes down and up with one set of flags. */
bool cow_is_way_up(const struct cow_opening *o, const char *path)
{
	return strcmp(path, "..") == 0 && o->plain &&
	       (o->flags & (O_NOFOLLOW | O_DIRECTORY)) == (O_NOFOLLOW | O_DIRECTORY) &&
	       (o->flags & (O_ACCMODE | O_CREAT | O_TRUNC | O_PATH)) == 0;
}

struct way_up {
	int from;
	int flags;
};

static int try_way_up(void *data)
{
	const struct way_up *w = data;
	cleanup_close int fd = openat(w->from, "..", w->flags);

	return fd >= 0 ? 0 : errno;
}

/* Then ".." is the directory itself. */
static bool is_root(const struct cow_target *t, int fd)
{
	cleanup_close int root = cow_target_link(t, "root");
	struct stat a;
	struct stat b;

	return root < 0 || fstat(root, &a) != 0 || fstat(fd, &b) != 0 || (a.st_ino == b.st_ino && a.st_dev == b.st_dev);
}

/*
 * A walker came down through a directory that was split since. It is given the lower's again, so that it finds the
 * device and inode that it remembers; as soon as it uses it, that is a stale descriptor like any other.
 */
static int open_way_up(struct cow_target *t, int dirfd, const struct cow_opening *o)
{
	cleanup_creds struct cow_creds creds = COW_CREDS_NONE;
	cleanup_close int object = cow_target_fd(t, dirfd);
	struct way_up way = {.from = object, .flags = (int)o->flags | O_CLOEXEC};
	cleanup_close int up = object < 0 ? -1 : openat(object, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	enum cow_place_kind place;
	struct cow_tree *tree = cow_agent_place(t->agent, up, &place);
	cleanup_close int lower = place == COW_PLACE_UPPER ? cow_tree_known(tree, up, cow_target_who(t)) : -1;
	cleanup_close int fd = -1;

	if (lower < 0 || is_root(t, object) || cow_sandboxed(t))
		return COW_VERDICT_CONTINUE;
	/* Could it open the one that is there? */
	if (cow_creds_read(t, &creds) != 0 || cow_creds_run(&creds, try_way_up, &way) != 0)
		return COW_VERDICT_CONTINUE;
	fd = openat(lower, ".", way.flags);
	return fd < 0 ? COW_VERDICT_CONTINUE : cow_target_send_fd(t, fd, (o->flags & O_CLOEXEC) != 0);
}

int cow_do_open(struct cow_target *t, int dirfd, const char *path, const struct cow_opening *o)
{
	cleanup_location struct cow_location l = COW_LOCATION_NONE;
	bool follow = (o->flags & O_NOFOLLOW) == 0 && (o->flags & (O_CREAT | O_EXCL)) != (uint64_t)(O_CREAT | O_EXCL);
	int verdict;

	if (dirfd >= 0 && cow_is_way_up(o, path))
		return open_way_up(t, dirfd, o);
	if ((o->resolve & RESOLVE_NO_XDEV) != 0 && (verdict = prepare_ways_up(t, dirfd, path, o)) != 0)
		return verdict;
	if ((o->flags & O_PATH) != 0 || !(writes(o->flags) || (o->flags & O_CREAT) != 0))
		return (o->resolve & RESOLVE_NO_XDEV) != 0 ? open_without_crossing(t, dirfd, path, o)
							   : COW_VERDICT_CONTINUE;
	if (resolve(t, dirfd, path, o, follow, &l) != 0)
		return (o->resolve & RESOLVE_NO_XDEV) != 0 ? open_without_crossing(t, dirfd, path, o)
							   : COW_VERDICT_CONTINUE;
	if (l.object < 0 && (o->resolve & RESOLVE_NO_XDEV) != 0 && ((o->flags & O_CREAT) == 0 || l.slash))
		return open_without_crossing(t, dirfd, path, o);
	if (l.object >= 0)
		verdict = cow_needs_work(l.object_place) ? open_existing(t, &l, dirfd, path, o) : 0;
	else if ((o->flags & O_CREAT) != 0 && !l.slash)
		verdict = cow_prepare_parent(t, &l, NULL);
	else
		verdict = 0;
	return verdict == 0 ? COW_VERDICT_CONTINUE : verdict;
}
