/*
 * Files that are known by a descriptor only, opened when the file was still the lower's. What is it in the branch now?
 * Its name says where to look, and either the very same lower file is still there, under its graft, or the file there
 * is the copy that was made of it. Anything else is another file that took the name: that one is never given back for
 * it; then the tables know where it went.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/fd.h"

static int by_name(struct cow_tree *t, int fd, const struct stat *st)
{
	cleanup_free char *path = cow_tree_relative(t, fd);
	cleanup_close int now = path == NULL ? -1 : cow_open_beneath(t->upper, path, O_PATH, 0);

	return now >= 0 && cow_is_counterpart(t, st, now) ? cow_steal_fd(&now) : -1;
}

/* `path` without the path of `root` before it, or NULL. */
static const char *below(int root, const char *path)
{
	cleanup_free char *start = cow_fd_path(root);
	size_t len = start == NULL ? 0 : strlen(start);

	return start != NULL && strncmp(path, start, len) == 0 && path[len] == '/' ? path + len + 1 : NULL;
}

/* Where in the lower a file of a retired directory graft is, or was when it was grafted. Caller frees. */
static char *lower_path(struct cow_tree *t, int fd)
{
	cleanup_free char *path = cow_fd_path(fd);
	cleanup_close int root = -1;
	const struct cow_graft *g;
	const char *inner = NULL;
	char *result = NULL;

	pthread_mutex_lock(&t->structure);
	g = cow_table_by_mount(t, cow_mount_id(fd));
	if (g != NULL && g->where != NULL && path != NULL) {
		if (g->state != COW_GRAFT_SHADOWED)
			root = openat(t->stage, g->where, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		inner = below(g->state == COW_GRAFT_SHADOWED ? t->shadow : root, path);
		if (g->state == COW_GRAFT_SHADOWED && inner != NULL)
			inner = strncmp(inner, g->where, strlen(g->where)) == 0 && inner[strlen(g->where)] == '/'
					? inner + strlen(g->where) + 1
					: NULL;
		if (inner != NULL && asprintf(&result, "%s/%s", g->path, inner) < 0)
			abort();
	}
	pthread_mutex_unlock(&t->structure);
	return result;
}

/* A file in a graft in a directory that was split and renamed: the lower directory it is in leads there. */
static int by_directory(struct cow_tree *t, int fd, const struct stat *st)
{
	cleanup_free char *path = lower_path(t, fd);
	char *slash = path == NULL ? NULL : strrchr(path, '/');
	cleanup_close int lower = -1;
	cleanup_close int parent = -1;
	cleanup_close int now = -1;

	if (slash == NULL)
		return -1;
	*slash = '\0';
	lower = cow_open_beneath(t->lower, path, O_PATH | O_DIRECTORY, 0);
	parent = lower < 0 ? -1 : cow_tree_counterpart(t, lower);
	now = parent < 0 ? -1 : openat(parent, slash + 1, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return now >= 0 && cow_is_counterpart(t, st, now) ? cow_steal_fd(&now) : -1;
}

int cow_file_counterpart(struct cow_tree *t, int fd, const struct stat *st)
{
	int now = by_name(t, fd, st);

	if (now < 0)
		now = cow_real_open(t, st, cow_mount_id(fd));
	if (now < 0)
		now = cow_graft_open(t, st);
	if (now < 0)
		now = by_directory(t, fd, st);
	if (now < 0)
		errno = ENOENT;
	return now;
}

/* The directory that holds `fd`, made real, and the name in it. */
static int real_parent(struct cow_tree *t, int fd, char **name)
{
	cleanup_free char *path = cow_tree_relative(t, fd);
	cleanup_close int parent = -1;
	char *slash;

	if (path == NULL || *path == '\0') {
		errno = ENOENT;
		return -1;
	}
	slash = strrchr(path, '/');
	*name = strdup(slash != NULL ? slash + 1 : path);
	if (slash == NULL)
		return fcntl(t->upper, F_DUPFD_CLOEXEC, 3);
	*slash = '\0';
	parent = cow_open_beneath(t->upper, path, O_PATH | O_DIRECTORY, 0);
	return parent < 0 ? -1 : cow_tree_real_directory(t, parent);
}

/* One attempt; ESTALE or ENOENT: perhaps something moved meanwhile. */
static int real_file(struct cow_tree *t, int fd, const struct stat *st, cow_copy_check check, void *data)
{
	cleanup_close int now = -1;
	cleanup_close int parent = -1;
	cleanup_free char *name = NULL;
	int error;

	now = cow_tree_place(t, fd) == COW_PLACE_STALE ? cow_file_counterpart(t, fd, st)
						       : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (now < 0 || cow_mount_id(now) == t->upper_mount)
		return cow_steal_fd(&now);
	parent = real_parent(t, now, &name);
	if (parent < 0)
		return -1;
	close(now);
	now = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (now < 0)
		return -1;
	if (!cow_is_counterpart(t, st, now)) {
		errno = ENOENT;
		return -1;
	}
	cow_close_fd(&now);
	error = cow_tree_copy_up(t, parent, name, false, check, data);
	if (error != 0) {
		errno = error;
		return -1;
	}
	now = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (now >= 0 && cow_real_is(t, st, now))
		return cow_steal_fd(&now);
	errno = ESTALE;
	return -1;
}

/*
 * A symbolic link was copied when its directory was split, and no table knows it. The one of its name is it if it says
 * the same.
 */
static int real_link(struct cow_tree *t, int fd)
{
	char mine[PATH_MAX];
	char theirs[PATH_MAX];
	cleanup_close int parent = -1;
	cleanup_close int now = -1;
	cleanup_free char *name = NULL;
	ssize_t n = readlinkat(fd, "", mine, sizeof(mine));

	parent = n < 0 ? -1 : real_parent(t, fd, &name);
	now = parent < 0 ? -1 : openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (now < 0)
		return -1;
	if (readlinkat(now, "", theirs, sizeof(theirs)) == n && memcmp(mine, theirs, (size_t)n) == 0)
		return cow_steal_fd(&now);
	errno = ENOENT;
	return -1;
}

int cow_tree_real_file(struct cow_tree *t, int fd, cow_copy_check check, void *data)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -1;
	for (int tries = 0;; tries++) {
		int real = S_ISLNK(st.st_mode) ? real_link(t, fd) : real_file(t, fd, &st, check, data);

		if (real >= 0 || (errno != ESTALE && errno != ENOENT) || tries == COW_TRIES)
			return real;
		cow_tree_settle(t);
	}
}
