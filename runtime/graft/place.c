#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/fd.h"

enum { COW_DEPTH = 2048, COUNTERPART_TRIES = 3 };

enum cow_place_kind cow_tree_place_of(struct cow_tree *t, uint64_t mount)
{
	int state;

	if (mount == t->upper_mount)
		return COW_PLACE_UPPER;
	if (mount == t->shadow_mount || cow_in_lower(t, mount))
		return COW_PLACE_STALE;
	state = cow_table_state(t, mount);
	if (state < 0)
		return COW_PLACE_OUTSIDE;
	return state == COW_GRAFT_ATTACHED ? COW_PLACE_GRAFT : COW_PLACE_STALE;
}

/*
 * A directory of the shadow, which stands for the one at that path: it is reached by "..", by the path through a stale
 * handle, in a call that nobody traps. What else is on that mount has no name there (copyup.c, orphans).
 */
static bool is_of_shadow(const struct cow_tree *t, int fd)
{
	struct stat st;

	return cow_mount_id(fd) == t->shadow_mount && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && st.st_nlink > 0;
}

enum cow_place_kind cow_tree_place(struct cow_tree *t, int fd)
{
	uint64_t mount = cow_mount_id(fd);

	if (mount == t->shadow_mount && !is_of_shadow(t, fd))
		return COW_PLACE_OUTSIDE;
	return cow_tree_place_of(t, mount);
}

bool cow_tree_is_orphan(const struct cow_tree *t, int fd)
{
	struct stat st;

	return cow_mount_id(fd) == t->shadow_mount && fstat(fd, &st) == 0 && st.st_nlink == 0;
}

dev_t cow_tree_device(const struct cow_tree *t)
{
	return t->upper_dev;
}

bool cow_tree_is_bare(const struct cow_tree *t, int fd)
{
	cleanup_free char *lower = NULL;
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_dev == t->upper_dev && cow_mark_get(t->branch, fd, &lower) == 1;
}

bool cow_tree_has_stale(const struct cow_tree *t)
{
	return __atomic_load_n(&t->stale, __ATOMIC_SEQ_CST) != 0;
}

void cow_tree_settle(struct cow_tree *t)
{
	pthread_mutex_lock(&t->structure);
	pthread_mutex_unlock(&t->structure);
}

bool cow_is_counterpart(struct cow_tree *t, const struct stat *lower, int fd)
{
	struct stat st;

	if (cow_mount_id(fd) == t->upper_mount)
		return cow_real_is(t, lower, fd);
	return fstat(fd, &st) == 0 && st.st_ino == lower->st_ino && st.st_dev == lower->st_dev;
}

int cow_graft_open(struct cow_tree *t, const struct stat *lower)
{
	for (int tries = 0; tries < COW_TRIES; tries++) {
		uint64_t mount;
		cleanup_free struct file_handle *handle = NULL;
		bool known = cow_table_attached(t, lower, &mount, &handle);
		cleanup_free char *path = known ? cow_graft_where(t, mount, handle) : NULL;
		cleanup_close int fd = path == NULL ? -1 : cow_open_beneath(t->upper, path, O_PATH, 0);

		if (!known)
			break;
		if (fd >= 0 && cow_mount_id(fd) == mount)
			return cow_steal_fd(&fd);
		cow_tree_settle(t); /* on its way elsewhere */
	}
	errno = ENOENT;
	return -1;
}

/* The names between a descriptor and something the tables know, innermost first. */
struct trail {
	char *names[COW_DEPTH];
	size_t count;
};

static void trail_cleanup(struct trail *trail)
{
	for (size_t i = 0; i < trail->count; i++)
		free(trail->names[i]);
}

static int step_up(int *fd, struct trail *trail)
{
	int up;

	if (trail->count == COW_DEPTH) {
		errno = ELOOP;
		return -1;
	}
	trail->names[trail->count] = cow_fd_name(*fd);
	if (trail->names[trail->count] == NULL)
		return -1;
	trail->count++;
	up = openat(*fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (up < 0)
		return -1;
	close(*fd);
	*fd = up;
	return 0;
}

/* Goes down again from real directory *fd, splitting what is grafted. */
static int descend_split(struct cow_tree *t, int *fd, struct trail *trail)
{
	while (trail->count > 0) {
		char *name = trail->names[--trail->count];
		int next = cow_split_directory(t, *fd, name);

		free(name);
		if (next < 0)
			return -1;
		close(*fd);
		*fd = next;
	}
	return 0;
}

static int descend(int *fd, struct trail *trail)
{
	while (trail->count > 0) {
		char *name = trail->names[--trail->count];
		int next = openat(*fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		free(name);
		if (next < 0)
			return -1;
		close(*fd);
		*fd = next;
	}
	return 0;
}

/* The root of a graft, or of the lower: above it there is nothing of the lower. Not that of a mount in it. */
static bool top_of_graft(struct cow_tree *t, int fd)
{
	uint64_t mount = cow_mount_id(fd);

	return cow_mount_root(fd) && (mount == t->lower_mount || cow_table_by_mount(t, mount) != NULL);
}

/* The nearest directory above (or the one itself) that the tables know, then down by name. */
static int directory_counterpart(struct cow_tree *t, int fd, const struct stat *lower)
{
	struct trail trail __attribute__((cleanup(trail_cleanup))) = {.count = 0};
	cleanup_close int at = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	cleanup_close int now = -1;
	struct stat st;

	for (;;) {
		if (at < 0 || fstat(at, &st) != 0)
			return -1;
		if (cow_mount_id(at) == t->shadow_mount && cow_mount_root(at)) {
			now = fcntl(t->upper, F_DUPFD_CLOEXEC, 3);
			break;
		}
		/* ".." of what is at the top of the lower itself leads to what covers that: the upper's root. */
		now = cow_mount_id(at) == t->upper_mount ? fcntl(at, F_DUPFD_CLOEXEC, 3) : cow_real_open(t, &st, 0);
		if (now < 0)
			now = cow_graft_open(t, &st);
		if (now >= 0)
			break;
		if (top_of_graft(t, at)) {
			errno = ENOENT;
			return -1;
		}
		if (step_up(&at, &trail) != 0)
			return -1;
	}
	if (descend(&now, &trail) != 0)
		return -1;
	/* Another directory may have taken the name since. */
	if (!is_of_shadow(t, fd) && !cow_is_counterpart(t, lower, now)) {
		errno = ENOENT;
		return -1;
	}
	return cow_steal_fd(&now);
}

int cow_tree_counterpart(struct cow_tree *t, int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -1;
	for (int tries = 0;; tries++) {
		int now = S_ISDIR(st.st_mode) ? directory_counterpart(t, fd, &st) : cow_file_counterpart(t, fd, &st);

		if (now >= 0 || tries == COUNTERPART_TRIES)
			return now;
		/* A graft that was just taken away has no path before it is in the shadow, and so no names in it. */
		cow_tree_reap(t);
	}
}

static int real_from_graft(struct cow_tree *t, int fd)
{
	struct trail trail __attribute__((cleanup(trail_cleanup))) = {.count = 0};
	cleanup_close int at = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (at < 0)
		return -1;
	/* ".." of a graft's root leads out of the mount, to the directory that holds its placeholder. */
	while (cow_mount_id(at) != t->upper_mount) {
		if (cow_tree_place(t, at) != COW_PLACE_GRAFT) {
			errno = ESTALE;
			return -1;
		}
		if (step_up(&at, &trail) != 0)
			return -1;
	}
	if (descend_split(t, &at, &trail) != 0)
		return -1;
	return cow_steal_fd(&at);
}

/* One attempt. */
static int real_directory(struct cow_tree *t, int fd)
{
	cleanup_close int now = -1;

	switch (cow_tree_place(t, fd)) {
	case COW_PLACE_UPPER:
		return fcntl(fd, F_DUPFD_CLOEXEC, 3);
	case COW_PLACE_GRAFT:
		return real_from_graft(t, fd);
	case COW_PLACE_STALE:
		now = cow_tree_counterpart(t, fd);
		if (now < 0)
			return -1;
		if (cow_mount_id(now) == t->upper_mount)
			return cow_steal_fd(&now);
		return real_from_graft(t, now);
	case COW_PLACE_OUTSIDE:
		break;
	}
	errno = EXDEV;
	return -1;
}

int cow_tree_real_directory(struct cow_tree *t, int fd)
{
	for (int tries = 0;; tries++) {
		int real = real_directory(t, fd);

		/* Names that do not lead back mean that somebody renamed or split on the way: look again. */
		if (real >= 0 || (errno != ESTALE && errno != ENOENT && errno != ENOTDIR) || tries == COW_TRIES)
			return real;
		cow_tree_settle(t);
	}
}
