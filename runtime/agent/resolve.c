/*
 * Path resolution as the target's kernel would do it (path_resolution(7)): its root, its working directory, its
 * descriptors, its /proc/self. The result is a hint for CONTINUE verdicts (the kernel resolves again and may find
 * something else: then it meets a read-only mount), and the very object for what the agent does itself.
 *
 * Nothing here opens more than O_PATH: no device, FIFO or network file system is touched beyond its name.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/fd.h"

enum { LINKS_MAX = 40 };

struct walk {
	const struct cow_target *target;
	int root, at;
	struct stat root_stat;
	char rest[PATH_MAX * 2];
	char *p; /* what is left, in rest */
	int links;
	bool magic;
	int handle;
	bool in_root; /* what it starts at is its root: RESOLVE_IN_ROOT of openat2(2) */
	bool halts;   /* RESOLVE_NO_XDEV */
	const struct cow_creds *as;
};

struct cow_tree *cow_agent_place(const struct cow_agent *a, int fd, enum cow_place_kind *kind)
{
	*kind = COW_PLACE_OUTSIDE;
	if (fd < 0)
		return NULL;
	for (size_t i = 0; i < a->ntrees; i++) {
		*kind = cow_tree_place(a->trees[i], fd);
		if (*kind != COW_PLACE_OUTSIDE)
			return a->trees[i];
	}
	return NULL;
}

bool cow_agent_is_bare(const struct cow_agent *a, int fd, enum cow_place_kind kind)
{
	if (fd < 0 || kind != COW_PLACE_OUTSIDE || a->ruleset >= 0)
		return false;
	for (size_t i = 0; i < a->ntrees; i++)
		if (cow_tree_is_bare(a->trees[i], fd))
			return true;
	return false;
}

void cow_location_close(struct cow_location *l)
{
	cow_close_fd(&l->parent);
	cow_close_fd(&l->object);
}

int cow_location_now(const struct cow_location *l)
{
	cleanup_close int now = -1;

	if (l->object_place != COW_PLACE_STALE)
		return -1;
	now = cow_tree_counterpart(l->object_tree, l->object);
	if (now < 0)
		now = cow_tree_known_orphan(l->object_tree, l->object);
	return now >= 0 && !cow_needs_work(cow_tree_place(l->object_tree, now)) ? cow_steal_fd(&now) : -1;
}

static int openat2_path(int dirfd, const char *name, uint64_t flags, uint64_t resolve)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC | flags, .resolve = resolve};

	return (int)syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
}

/* All components but the last at once, when there is neither a symbolic link nor ".." among them: nearly always. */
static void walk_fast(struct walk *w)
{
	char *slash = strrchr(w->p, '/');
	const char *path = w->p;
	int fd;

	if (slash == NULL || slash[1] == '\0' || strstr(w->p, "..") != NULL)
		return;
	while (*path == '/')
		path++;
	if (slash < path)
		return;
	*slash = '\0';
	fd = openat2_path(w->at, path, O_DIRECTORY, RESOLVE_NO_SYMLINKS);
	*slash = '/';
	if (fd < 0)
		return;
	close(w->at);
	w->at = fd;
	w->p = slash + 1;
}

/*
 * Opens one component without following it. Nobody is refused the links of his own process, whatever credentials this
 * thread of it has; others with these would be.
 */
static int open_component(const struct walk *w, const char *name)
{
	return cow_target_is_at(w->target, w->at, name) ? fcntl(w->target->dir, F_DUPFD_CLOEXEC, 3)
							: openat(w->at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

/* Opened when it is first needed, for that takes longer than most walks. */
static int know_root(struct walk *w)
{
	if (w->root >= 0)
		return 0;
	w->root = cow_target_link(w->target, "root");
	return w->root >= 0 && fstat(w->root, &w->root_stat) == 0 ? 0 : ESRCH;
}

/* Even to stay where it is a path needs the right to search the directory. */
static int step_dots(struct walk *w, bool up)
{
	struct stat st;
	int next;

	if (know_root(w) != 0)
		return ESRCH;
	if (fstat(w->at, &st) != 0)
		return errno;
	up = up && (st.st_ino != w->root_stat.st_ino || st.st_dev != w->root_stat.st_dev);
	if (!up && w->as == NULL)
		return S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
	next = openat(w->at, up ? ".." : ".", O_PATH | O_CLOEXEC);
	if (next < 0)
		return errno;
	close(w->at);
	w->at = next;
	return 0;
}

/* Puts a symbolic link's text before the rest of the path. */
static int step_link(struct walk *w, int link, const char *rest, bool slash)
{
	char text[PATH_MAX];
	char joined[PATH_MAX * 2];
	ssize_t n = readlinkat(link, "", text, sizeof(text) - 1);

	if (n <= 0)
		return n == 0 ? ENOENT : errno;
	text[n] = '\0';
	if ((size_t)n + strlen(rest) + 2 > sizeof(joined))
		return ENAMETOOLONG;
	stpcpy(stpcpy(stpcpy(joined, text), slash ? "/" : ""), rest);
	strcpy(w->rest, joined);
	w->p = w->rest;
	if (*w->p == '/') {
		int root = know_root(w) == 0 ? fcntl(w->root, F_DUPFD_CLOEXEC, 3) : -1;

		if (root < 0)
			return errno;
		close(w->at);
		w->at = root;
	}
	return 0;
}

/* fs.protected_symlinks (proc_sys_fs(5)), which the kernel asks of the last link of a path that is followed. */
static int may_follow(const struct walk *w, const struct stat *link)
{
	cleanup_close int sysctl = -1;
	struct stat dir;
	char on = '0';

	if (w->as == NULL || link->st_uid == w->as->fsuid || fstat(w->at, &dir) != 0 ||
	    (dir.st_mode & (S_ISVTX | S_IWOTH)) != (S_ISVTX | S_IWOTH) || dir.st_uid == link->st_uid)
		return 0;
	sysctl = openat(w->target->agent->proc, "sys/fs/protected_symlinks", O_RDONLY | O_CLOEXEC);
	return sysctl >= 0 && read(sysctl, &on, 1) == 1 && on != '0' ? EACCES : 0;
}

/* A procfs link that is no text but a reference (fd/N, cwd, exe): followed by the kernel. 1 if it was one. */
static int step_magic(struct walk *w, int link, const char *name, int *object)
{
	int fd;

	if (!cow_on_procfs(link))
		return 0;
	fd = openat2_path(w->at, name, 0, RESOLVE_NO_MAGICLINKS);
	if (fd >= 0 || errno != ELOOP) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	*object = openat(w->at, name, O_PATH | O_CLOEXEC);
	return *object >= 0 ? 1 : -errno;
}

/* Is the magic link at hand a descriptor of the target's own table? */
static void note_handle(struct walk *w, const char *name)
{
	struct stat mine;
	struct stat st;
	char *end;
	long n = strtol(name, &end, 10);

	if (*name < '0' || *name > '9' || *end != '\0' || n > INT_MAX || fstat(w->at, &st) != 0)
		return;
	if ((fstatat(w->target->dir, "fd", &mine, 0) == 0 && mine.st_ino == st.st_ino && mine.st_dev == st.st_dev))
		w->handle = (int)n;
}

/* A stale directory makes way for what it has become. */
static void replace_stale(const struct walk *w, int *fd)
{
	enum cow_place_kind place;
	struct cow_tree *tree = cow_agent_place(w->target->agent, *fd, &place);
	struct stat st;
	int now;

	if (place != COW_PLACE_STALE || fstat(*fd, &st) != 0 || !S_ISDIR(st.st_mode))
		return;
	now = cow_tree_counterpart(tree, *fd);
	if (now < 0)
		return;
	close(*fd);
	*fd = now;
}

/*
 * The call's own handle is freshened before the call goes on (l->handle), so what follows the link is looked up in what
 * the handle's directory has become.
 */
static void freshen_way(const struct walk *w, int *object)
{
	if (w->handle >= 0 && !w->magic)
		replace_stale(w, object);
}

static void note_way(struct cow_ways *ways, int fd)
{
	for (size_t i = 0; i < ways->count; i++)
		if (ways->fds[i] == fd)
			return;
	if (ways->count < sizeof(ways->fds) / sizeof(ways->fds[0]))
		ways->fds[ways->count++] = fd;
}

static void finish(const struct walk *w, struct cow_location *l)
{
	l->parent_tree = cow_agent_place(w->target->agent, l->parent, &l->parent_place);
	l->object_tree = cow_agent_place(w->target->agent, l->object, &l->object_place);
	l->magic = w->magic;
	l->handle = w->handle;
	if (w->target->ways == NULL)
		return;
	if (cow_agent_is_bare(w->target->agent, l->parent, l->parent_place) ||
	    cow_agent_is_bare(w->target->agent, l->object, l->object_place))
		w->target->ways->bare = true;
}

/* The path ends at what `at` is: ".", "..", "/", or a magic link. */
static int end_here(struct walk *w, struct cow_location *l)
{
	l->object = cow_steal_fd(&w->at);
	if (fstat(l->object, &l->st) != 0)
		return errno;
	return -1;
}

/* -1: *l is complete. */
static int end_at(struct walk *w, struct cow_location *l, const char *name, int object, const struct stat *st)
{
	strcpy(l->name, name);
	l->parent = cow_steal_fd(&w->at);
	l->object = object;
	if (st != NULL)
		l->st = *st;
	return -1;
}

/* Is the directory the branch's own, or none of its business? */
static bool is_real(const struct walk *w)
{
	enum cow_place_kind place;

	(void)cow_agent_place(w->target->agent, w->at, &place);
	return !cow_needs_work(place);
}

/* One component. 0: go on, -1: *l is complete, else an errno. */
static int step(struct walk *w, enum cow_follow follow, struct cow_location *l)
{
	char name[NAME_MAX + 1];
	cleanup_close int fd = -1;
	struct stat st;
	char *end = strchrnul(w->p, '/');
	char *rest = end;
	bool last;
	int result;

	if (end - w->p > NAME_MAX)
		return ENAMETOOLONG;
	memcpy(name, w->p, (size_t)(end - w->p));
	name[end - w->p] = '\0';
	while (*rest == '/')
		rest++;
	last = *rest == '\0';
	l->slash = last && *end == '/';
	l->dots = last && (strcmp(name, ".") == 0 || strcmp(name, "..") == 0);
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		w->p = rest;
		return step_dots(w, name[1] == '.');
	}
	fd = open_component(w, name);
	if (fd < 0) {
		if (last && errno == ENOENT)
			return end_at(w, l, name, -1, NULL);
		return errno;
	}
	if (fstat(fd, &st) != 0)
		return errno;
	if (S_ISLNK(st.st_mode) && (!last || follow == COW_FOLLOW || (l->slash && follow != COW_NAME))) {
		int object = -1;

		if (++w->links > LINKS_MAX)
			return ELOOP;
		if (last && (result = may_follow(w, &st)) != 0)
			return result;
		result = step_magic(w, fd, name, &object);
		if (result < 0)
			return -result;
		if (result == 0 && w->halts && !is_real(w)) {
			l->halt = true;
			return end_at(w, l, name, cow_steal_fd(&fd), &st);
		}
		if (result == 0)
			return step_link(w, fd, rest, *end == '/');
		cow_close_fd(&fd);
		fd = object;
		w->magic = last;
		note_handle(w, name);
		freshen_way(w, &fd);
	} else if (last) {
		return end_at(w, l, name, cow_steal_fd(&fd), &st);
	}
	close(w->at);
	w->at = cow_steal_fd(&fd);
	w->p = rest;
	return 0;
}

static int start(struct walk *w, int dirfd, const char *path)
{
	bool at_root = *path == '/' && !w->in_root;

	/* With other credentials it could not be opened later. */
	if ((at_root || w->as != NULL) && know_root(w) != 0)
		return ESRCH;
	if (at_root)
		w->at = fcntl(w->root, F_DUPFD_CLOEXEC, 3);
	else
		w->at = dirfd == AT_FDCWD ? cow_target_link(w->target, "cwd") : cow_target_fd(w->target, dirfd);
	if (w->at < 0)
		return EBADF;
	/* By the call's own splits, perhaps; the handle is freshened before the call goes on. */
	if (!at_root && dirfd != AT_FDCWD)
		replace_stale(w, &w->at);
	if (w->in_root) {
		cow_close_fd(&w->root);
		w->root = fcntl(w->at, F_DUPFD_CLOEXEC, 3);
		return w->root >= 0 && fstat(w->root, &w->root_stat) == 0 ? 0 : ESRCH;
	}
	return 0;
}

static int walk(struct walk *w, enum cow_follow follow, struct cow_location *l)
{
	int result = 0;

	walk_fast(w);
	while (result == 0) {
		while (*w->p == '/')
			w->p++;
		if (*w->p == '\0')
			return end_here(w, l);
		result = step(w, follow, l);
	}
	return result;
}

struct errand {
	struct walk *walk;
	enum cow_follow follow;
	struct cow_location *location;
	int result;
};

static int walk_errand(void *data)
{
	struct errand *e = data;

	e->result = walk(e->walk, e->follow, e->location);
	return 0;
}

static int walk_as(struct walk *w, const struct cow_creds *as, enum cow_follow follow, struct cow_location *l)
{
	struct errand e = {.walk = w, .follow = follow, .location = l};
	int error;

	if (as == NULL)
		return walk(w, follow, l);
	error = cow_creds_run(as, walk_errand, &e);
	return error != 0 ? error : e.result;
}

static int resolve(struct walk *w, int dirfd, const char *path, enum cow_follow follow, struct cow_location *l)
{
	enum cow_phase phase;
	int result;

	memset(l, 0, sizeof(*l));
	l->parent = l->object = l->handle = -1;
	if (*path == '\0')
		return ENOENT;
	if (strlen(path) >= PATH_MAX)
		return ENAMETOOLONG;
	strcpy(w->rest, path);
	w->p = w->rest;
	phase = cow_stats_phase(COW_PHASE_RESOLVE);
	result = start(w, dirfd, path);
	if (result == 0)
		result = walk_as(w, w->as, follow, l);
	cow_close_fd(&w->root);
	cow_close_fd(&w->at);
	/* Also of a path that leads nowhere: the kernel is to find the same. */
	if (w->handle >= 0 && w->target->ways != NULL)
		note_way(w->target->ways, w->handle);
	if (result > 0)
		cow_location_close(l);
	else
		finish(w, l);
	cow_stats_phase(phase);
	return result > 0 ? result : 0;
}

int cow_resolve_as(const struct cow_target *t, const struct cow_creds *as, int dirfd, const char *path,
		   enum cow_follow follow, struct cow_location *l)
{
	struct walk w = {.target = t, .root = -1, .at = -1, .handle = -1, .as = as};

	return resolve(&w, dirfd, path, follow, l);
}

int cow_resolve_within(const struct cow_target *t, int dirfd, const char *path, uint64_t flags, enum cow_follow follow,
		       struct cow_location *l)
{
	struct walk w = {.target = t,
			 .root = -1,
			 .at = -1,
			 .handle = -1,
			 .in_root = (flags & RESOLVE_IN_ROOT) != 0,
			 .halts = (flags & RESOLVE_NO_XDEV) != 0};

	return resolve(&w, dirfd, path, follow, l);
}

int cow_check_way(const struct cow_target *t, const struct cow_creds *creds, int dirfd, const char *path, int parent)
{
	cleanup_location struct cow_location l = COW_LOCATION_NONE;
	cleanup_close int now = -1;
	int error = cow_resolve_as(t, creds, dirfd, path, COW_NAME, &l);

	if (error != 0)
		return error;
	/* By a stale handle it leads to what the directory was. */
	if (l.parent_place == COW_PLACE_STALE)
		now = cow_tree_counterpart(l.parent_tree, l.parent);
	return cow_same_object(now >= 0 ? now : l.parent, parent) ? 0 : ESTALE;
}

int cow_check_object(const struct cow_target *t, const struct cow_creds *creds, int dirfd, const char *path,
		     enum cow_follow follow, int object)
{
	cleanup_location struct cow_location own = COW_LOCATION_NONE;
	int error = cow_resolve_as(t, creds, dirfd, path, follow, &own);

	if (error != 0)
		return error;
	return own.object >= 0 && cow_same_object(own.object, object) ? 0 : ESTALE;
}

int cow_check_magic(const struct cow_target *t, int dirfd, const char *path, const struct cow_location *l)
{
	cleanup_creds struct cow_creds creds = COW_CREDS_NONE;
	int error;

	if (!l->magic || l->handle >= 0)
		return 0;
	error = cow_creds_read(t, &creds);
	return error != 0 ? error : cow_check_object(t, &creds, dirfd, path, COW_FOLLOW, l->object);
}
