#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/fd.h"

enum { COW_DEPTH = 2048 };

enum cow_place_kind cow_tree_place(struct cow_tree *t, int fd)
{
	uint64_t mount = cow_mount_id(fd);
	const struct cow_graft *g;

	if (mount == t->upper_mount)
		return COW_PLACE_UPPER;
	if (mount == t->lower_mount)
		return COW_PLACE_STALE;
	g = cow_table_by_mount(t, mount);
	if (g == NULL)
		return COW_PLACE_OUTSIDE;
	return g->state == COW_GRAFT_ATTACHED ? COW_PLACE_GRAFT : COW_PLACE_STALE;
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

/* A lower directory that is not shown where `fd` says: the nearest one above that the tables know, then down by name.
 */
int cow_tree_counterpart(struct cow_tree *t, int fd)
{
	struct trail trail __attribute__((cleanup(trail_cleanup))) = {.count = 0};
	cleanup_close int at = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	cleanup_close int now = -1;
	struct stat st;

	for (;;) {
		if (at < 0 || fstat(at, &st) != 0)
			return -1;
		now = cow_table_find_split(t, &st);
		if (now >= 0)
			break;
		if (!S_ISDIR(st.st_mode)) {
			errno = ENOENT;
			return -1;
		}
		if (cow_mount_root(at)) {
			errno = ENOENT;
			return -1;
		}
		if (step_up(&at, &trail) != 0)
			return -1;
	}
	while (trail.count > 0) {
		char *name = trail.names[--trail.count];
		int next = openat(now, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

		free(name);
		if (next < 0)
			return -1;
		close(now);
		now = next;
	}
	if (fstat(now, &st) != 0)
		return -1;
	if (st.st_nlink == 0) {
		errno = ENOENT;
		return -1;
	}
	return cow_steal_fd(&now);
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

int cow_tree_real_directory(struct cow_tree *t, int fd)
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
