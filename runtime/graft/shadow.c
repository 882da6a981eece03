/*
 * The shadow: a directory of the branch that is mounted at the workdir, under the upper. A graft in use goes there, to
 * the path that it had in the workdir. One can come to lie below another (a directory that was split, then a program in
 * it that was copied): it is never mounted *in* that one, but on the shadow's own directory beneath it, for no mount
 * may hang on a lower dentry; a path shown by the kernel is the same, and Landlock goes the same way up. So mount
 * points are made through the host's mount of the shadow, where nothing covers anything, and reached by file handle.
 * Without handles a descriptor is kept of what a directory there covers. If neither leads there the graft gets a name
 * of its own at the shadow's root.
 *
 * The container can get at the shadow (".." of a descriptor in a graft there). What is found in it is not trusted.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/log.h"

static const char retired[] = ".retired-"; /* names of ours at the shadow's root */

static bool taken(const struct cow_tree *t, const char *where)
{
	for (const struct cow_graft *g = t->shadowed.first; g != NULL; g = g->next_retired)
		if (strcmp(g->where, where) == 0)
			return true;
	return false;
}

/* Where a walk to *path has to start to meet no graft: beneath the innermost one on the way. The rest goes to *path. */
static int covered(const struct cow_tree *t, const char **path)
{
	const char *whole = *path;
	int start = t->shadow;

	if (strncmp(whole, retired, sizeof(retired) - 1) == 0)
		return start; /* nothing is above those; and the bin's user does not hold `structure` */
	for (const struct cow_graft *g = t->shadowed.first; g != NULL; g = g->next_retired) {
		size_t len = strlen(g->where);

		if (g->point < 0 || strncmp(whole, g->where, len) != 0 || (whole[len] != '/' && whole[len] != '\0') ||
		    whole + len < *path)
			continue;
		start = g->point;
		*path = whole + len + (whole[len] == '/');
	}
	return start;
}

/* The same directory or file through the container's mount of the shadow, beneath what covers it. */
static int through_container(const struct cow_tree *t, int on_host, const char *path)
{
	cleanup_free struct file_handle *h = t->handles ? cow_handle_of(on_host) : NULL;

	int start;

	if (h != NULL)
		return cow_handle_open(t->shadow_by_handle, h);
	start = covered(t, &path);
	return cow_open_beneath(start, path, O_PATH, RESOLVE_NO_XDEV);
}

/* A mount point at `path` on the host's side; what an earlier run left there serves again. O_PATH descriptor or -1. */
static int make_point(const struct cow_tree *t, const char *path, bool directory)
{
	cleanup_close int at = fcntl(t->host_shadow, F_DUPFD_CLOEXEC, 3);
	cleanup_free char *copy = strdup(path);
	char *rest = copy;
	char *name;
	struct stat st;

	while (at >= 0 && (name = strsep(&rest, "/")) != NULL) {
		bool last = rest == NULL;
		int made = last && !directory ? mknodat(at, name, S_IFREG | 0600, 0) : mkdirat(at, name, 0755);
		int next;

		if (made != 0 && errno != EEXIST)
			return -1;
		next = cow_open_beneath(at, name, O_PATH | (last && !directory ? 0 : O_DIRECTORY), RESOLVE_NO_XDEV);
		close(at);
		at = next;
	}
	if (at >= 0 && !directory && (fstat(at, &st) != 0 || !S_ISREG(st.st_mode))) {
		errno = EEXIST;
		return -1;
	}
	return cow_steal_fd(&at);
}

static int point_at(const struct cow_tree *t, const char *path, bool directory)
{
	cleanup_close int on_host = taken(t, path) ? -1 : make_point(t, path, directory);

	return on_host < 0 ? -1 : through_container(t, on_host, path);
}

int cow_shadow_directory(const struct cow_tree *t, const char *name)
{
	cleanup_close int on_host = make_point(t, name, true);

	return on_host < 0 ? -1 : through_container(t, on_host, name);
}

/* Where it had its place, if that can be had, or else somewhere. */
static int point_for(const struct cow_tree *t, const struct cow_graft *g, char **where)
{
	int point = -1;

	if (g->place != NULL && *g->place != '\0') {
		*where = strdup(g->place);
		point = point_at(t, *where, g->directory);
	}
	if (point >= 0)
		return point;
	free(cow_steal_ptr(where));
	if (asprintf(where, "%s%llu", retired, (unsigned long long)g->mount) < 0)
		abort();
	return point_at(t, *where, g->directory);
}

/*
 * Puts a clone of the graft beneath it, so that its placeholder is never bare as long as a path walk may be on its way
 * to it. The clone's mount id, or 0 (before Linux 6.5, or with mounts in it).
 */
static uint64_t cover(const struct cow_tree *t, int root, const struct cow_graft *g)
{
	cleanup_close int clone = cow_mount_clone(root, "", false);

	if (clone < 0 || cow_mount_attach_beneath(clone, t->stage, g->where) != 0)
		return 0;
	return cow_mount_id(clone);
}

static bool move(struct cow_tree *t, const struct cow_graft *g, int point, uint64_t *covering, struct stat *st)
{
	cleanup_close int root = openat(t->stage, g->where, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	bool moved;

	if (root < 0 || fstat(root, st) != 0 || cow_tree_enter(t) != 0)
		return false;
	*covering = cover(t, root, g);
	moved = cow_mount_attach(root, point, "") == 0;
	cow_tree_leave(t);
	return moved;
}

bool cow_shadow_move(struct cow_tree *t, struct cow_graft *g)
{
	cleanup_free char *where = NULL;
	cleanup_close int point = point_for(t, g, &where);
	uint64_t covering = 0;
	struct stat st;

	if (point < 0 || !move(t, g, point, &covering, &st)) {
		cow_log_info("cannot move a graft to the shadow: %s", strerror(errno));
		return false;
	}
	if (covering != 0)
		cow_table_retire(t, cow_table_add(t, covering, &st, g->path, NULL), cow_steal_ptr(&g->where), NULL);
	else
		unlinkat(t->stage, g->where, g->directory ? AT_REMOVEDIR : 0);
	free(g->where);
	g->where = cow_steal_ptr(&where);
	if (!t->handles && g->directory)
		g->point = cow_steal_fd(&point);
	cow_table_set(t, g, COW_GRAFT_SHADOWED);
	cow_queue_add(&t->shadowed, g);
	return true;
}

/* Splits "a/b" into a descriptor of "a" on the host's side and "b". */
static int parent_on_host(const struct cow_tree *t, char *path, const char **name)
{
	char *slash = strrchr(path, '/');

	*name = slash != NULL ? slash + 1 : path;
	if (slash != NULL)
		*slash = '\0';
	return cow_open_beneath(t->host_shadow, slash != NULL ? path : "", O_PATH | O_DIRECTORY, RESOLVE_NO_XDEV);
}

/* Takes the mount point away, and the directories above that are not needed any more. */
static void remove_point(const struct cow_tree *t, const char *where, bool directory)
{
	cleanup_free char *path = strdup(where);

	while (path != NULL && !taken(t, path)) {
		const char *name;
		cleanup_close int parent = parent_on_host(t, path, &name);

		if (parent < 0 || unlinkat(parent, name, directory ? AT_REMOVEDIR : 0) != 0 || name == path)
			return;
		directory = true; /* `path` is the parent's now */
	}
}

bool cow_shadow_free(struct cow_tree *t, struct cow_graft *g)
{
	cleanup_free char *path = strdup(g->where);
	const char *name;
	cleanup_close int on_host = parent_on_host(t, path, &name);
	cleanup_close int parent = on_host < 0 ? -1 : through_container(t, on_host, name == path ? "" : path);
	int said;

	if (parent < 0 || cow_tree_enter(t) != 0)
		return false;
	said = cow_mount_detach(parent, name);
	cow_tree_leave(t);
	if (said != 0 && said != EINVAL && said != ENOENT)
		return false;
	cow_close_fd(&g->point);
	remove_point(t, g->where, g->directory);
	return true;
}
