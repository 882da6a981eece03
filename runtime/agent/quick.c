/*
 * The short way. Most of what is trapped needs nothing: the path leads to a real file of the upper, or out of the
 * workdirs altogether. That is told here, with as few system calls as it takes. A name that a handle or the working
 * directory holds, or what a descriptor is on, is looked at through procfs (/proc/TID/fd/N/NAME), which is one call;
 * of other paths the directory is opened first. Whatever is not plain (a symbolic link on the way, "..", a stale
 * handle, an error) is left to the handlers, which look at it properly.
 *
 * The notification need not be checked for: if its thread is gone and the number somebody else's, then nobody will see
 * the answer.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../lib/fd.h"

enum { ROOT_MOVES = -2 };

bool cow_agent_has_stale(const struct cow_agent *a)
{
	for (size_t i = 0; i < a->ntrees; i++)
		if (cow_tree_has_stale(a->trees[i]))
			return true;
	return false;
}

/* --- the container's root ----------------------------------------------------------------------------------------- */

/*
 * Absolute paths start at the root of the thread. As long as no program of the container has called chroot(2) or
 * pivot_root(2), or attached a mount, every one has the root of the container's mount namespace; or, in a mount
 * namespace that it made, one where nothing is in a tree, and which needs nothing whatever the answer here is. All
 * these calls are trapped for good, so they are known before they are done.
 */
void cow_quick_root_moves(struct cow_agent *a)
{
	/* Another worker may be using the descriptor: it stays open. */
	atomic_store(&a->root, ROOT_MOVES);
}

/* Is it the root of the container's mount namespace? */
static bool is_top(const struct cow_target *t, int root)
{
	cleanup_close int up = openat(root, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int ns = -1;
	struct statx sx;
	char link[40];

	snprintf(link, sizeof(link), "%d/ns/mnt", t->tid);
	ns = openat(t->agent->proc, link, O_PATH | O_CLOEXEC);
	return cow_same_object(up, root) && cow_same_object(ns, t->agent->container_ns) &&
	       cow_mount_at(up, "", 0, &sx) == cow_mount_at(root, "", 0, &sx);
}

/* The first time: opened, and kept if it may be. What is not kept is *own, too. */
static int open_root(const struct cow_target *t, int *own)
{
	struct cow_agent *a = t->agent;
	char link[40];
	int none = -1;

	snprintf(link, sizeof(link), "%d/root", t->tid);
	*own = openat(a->proc, link, O_PATH | O_CLOEXEC);
	if (*own < 0 || atomic_load(&a->root) != none || a->ntrees == 0)
		return *own;
	/* Before it is kept it must be known to be the target's. */
	if (!is_top(t, *own))
		atomic_compare_exchange_strong(&a->root, &none, ROOT_MOVES);
	else if (cow_target_valid(t) && atomic_compare_exchange_strong(&a->root, &none, *own))
		return cow_steal_fd(own);
	return *own;
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

struct sight {
	enum cow_place_kind place;
	bool link;
};

static bool look(const struct cow_agent *a, int dirfd, const char *path, int flags, struct sight *s)
{
	struct statx sx;
	uint64_t mount = cow_mount_at(dirfd, path, flags, &sx);

	if (mount == 0)
		return false;
	s->place = COW_PLACE_OUTSIDE;
	for (size_t i = 0; i < a->ntrees && s->place == COW_PLACE_OUTSIDE; i++)
		s->place = cow_tree_place_of(a->trees[i], mount);
	s->link = S_ISLNK(sx.stx_mode);
	/* The upper, on a mount of a container's own making? See cow_agent_is_bare(). */
	for (size_t i = 0; i < a->ntrees && s->place == COW_PLACE_OUTSIDE && a->ruleset < 0; i++)
		if (cow_tree_device(a->trees[i]) == makedev(sx.stx_dev_major, sx.stx_dev_minor))
			return false;
	return true;
}

static int holder_of(const struct cow_target *t, int dirfd, char *out, size_t room)
{
	return dirfd == AT_FDCWD ? snprintf(out, room, "%d/cwd", t->tid)
				 : snprintf(out, room, "%d/fd/%d", t->tid, dirfd);
}

bool cow_quick_fd(const struct cow_target *t, int fd)
{
	char link[40];
	struct sight seen;

	if (fd < 0)
		return false;
	(void)holder_of(t, fd, link, sizeof(link));
	return look(t->agent, t->agent->proc, link, 0, &seen) && !cow_needs_work(seen.place);
}

bool cow_quick_handle(const struct cow_target *t, int fd)
{
	char link[40];
	struct sight seen;

	(void)holder_of(t, fd, link, sizeof(link));
	return look(t->agent, t->agent->proc, link, 0, &seen) && seen.place != COW_PLACE_STALE;
}

/* Where a name is looked for: at `dirfd` by `way`, in what `holder` is there. */
struct search {
	const struct cow_target *target;
	int dirfd;
	const char *way, *holder;
	bool follow; /* the name, if it is a link */
	int handle;  /* the descriptor it starts from, if that may be stale; or -1 */
};

/* What is reached in the upper was not reached from a stale handle: nothing of the upper is mounted in the lower. */
static bool is_fine(const struct search *s, const struct sight *seen)
{
	return seen->place == COW_PLACE_UPPER ||
	       (seen->place == COW_PLACE_OUTSIDE && (s->handle < 0 || cow_quick_handle(s->target, s->handle)));
}

static bool needs_nothing(const struct search *s)
{
	struct sight seen;

	if (look(s->target->agent, s->dirfd, s->way, AT_SYMLINK_NOFOLLOW, &seen))
		return is_fine(s, &seen) && !(seen.link && s->follow);
	/* There is none of that name now: what counts is the directory that would hold it. */
	return errno == ENOENT && look(s->target->agent, s->dirfd, s->holder, 0, &seen) && is_fine(s, &seen);
}

/* The directory of `path`, whose last name begins at `name`. */
static int open_directory(int start, const char *path, const char *name)
{
	struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
	char copy[PATH_MAX];

	memcpy(copy, path, (size_t)(name - path));
	strcpy(copy + (name - path), ".");
	return (int)syscall(SYS_openat2, start, copy, &how, sizeof(how));
}

/* The name alone, in what `holder` (below /proc) is. */
static bool quick_name(struct search *s, const char *holder, const char *name)
{
	char way[PATH_MAX];

	if (snprintf(way, sizeof(way), "%s/%s", holder, name) >= (int)sizeof(way))
		return false;
	s->dirfd = s->target->agent->proc;
	s->holder = holder;
	s->way = way;
	return needs_nothing(s);
}

bool cow_quick_path(const struct cow_target *t, int dirfd, const char *path, bool follow)
{
	struct search s = {.target = t, .follow = follow, .holder = "."};
	cleanup_close int own = -1;
	cleanup_close int directory = -1;
	bool absolute = *path == '/';
	const char *name;
	char holder[40];
	size_t len;
	int start;

	while (*path == '/')
		path++;
	len = strlen(path);
	if (len == 0 || len >= PATH_MAX || path[len - 1] == '/' || strstr(path, "..") != NULL)
		return false;
	name = strrchr(path, '/');
	name = name == NULL ? path : name + 1;
	s.handle = !absolute && dirfd >= 0 && cow_agent_has_stale(t->agent) ? dirfd : -1;
	if (absolute) {
		start = atomic_load(&t->agent->root);
		if (start < 0)
			start = open_root(t, &own);
	} else {
		(void)holder_of(t, dirfd, holder, sizeof(holder));
		if (name == path)
			return quick_name(&s, holder, name);
		start = own = openat(t->agent->proc, holder, O_PATH | O_CLOEXEC);
	}
	if (start < 0)
		return false;
	directory = name == path ? -1 : open_directory(start, path, name);
	if (name != path && directory < 0)
		return false;
	s.dirfd = name == path ? start : directory;
	s.way = name;
	return needs_nothing(&s);
}
