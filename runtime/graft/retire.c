/*
 * Grafts that were taken away. An idle one is unmounted; one in use (an open descriptor, a running program, a mapping)
 * is moved to the same path below the shadow, where its descriptors have a right path and Landlock finds the
 * container's root above them.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/log.h"

static int open_plain(int dirfd, const char *name)
{
	/* NO_XDEV: a retired graft that is mounted there is lower ground; nothing may be made in it. */
	struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS};

	return (int)syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
}

/* A fresh mount point at `path` below the shadow; -1 if something is in the way. */
static int make_point(struct cow_tree *t, const char *path, bool directory)
{
	cleanup_close int at = fcntl(t->shadow, F_DUPFD_CLOEXEC, 3);
	cleanup_free char *copy = strdup(path);
	char *rest = copy;
	char *name;

	while (at >= 0 && (name = strsep(&rest, "/")) != NULL) {
		bool last = rest == NULL;
		int made = last && !directory ? mknodat(at, name, S_IFREG | 0600, 0) : mkdirat(at, name, 0755);
		int next;

		if (made != 0 && (errno != EEXIST || last))
			return -1;
		next = open_plain(at, name);
		close(at);
		at = next;
	}
	return cow_steal_fd(&at);
}

static int shadow_point(struct cow_tree *t, struct cow_graft *g, char **where)
{
	int fd = -1;

	if (g->place != NULL && *g->place != '\0') {
		fd = make_point(t, g->place, g->directory);
		*where = strdup(g->place);
	}
	if (fd < 0) {
		free(*where);
		*where = NULL;
		if (asprintf(where, ".retired-%llu", (unsigned long long)g->mount) < 0)
			abort();
		fd = make_point(t, *where, g->directory);
	}
	return fd;
}

static void move_to_shadow(struct cow_tree *t, struct cow_graft *g)
{
	char *where = NULL;
	cleanup_close int point = shadow_point(t, g, &where);
	cleanup_close int root = openat(t->stage, g->where, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int moved = -1;

	if (point >= 0 && root >= 0 && cow_tree_enter(t) == 0) {
		moved = cow_mount_attach(root, point, "");
		cow_tree_leave(t);
	}
	if (moved != 0) {
		/* It stays on the placeholder in the stage: readable through what is open, and still read-only. */
		cow_log_warning("cannot move a graft to the shadow: %s", strerror(errno));
		free(where);
		return;
	}
	unlinkat(t->stage, g->where, g->directory ? AT_REMOVEDIR : 0);
	pthread_mutex_lock(&t->table_lock);
	free(g->where);
	g->where = where;
	g->state = COW_GRAFT_SHADOWED;
	pthread_mutex_unlock(&t->table_lock);
	t->stats.shadowed++;
}

static bool unmount(struct cow_tree *t, const struct cow_graft *g)
{
	int gone;

	if (cow_tree_enter(t) != 0)
		return false;
	gone = cow_mount_detach(t->stage, g->where);
	cow_tree_leave(t);
	return gone == 0;
}

void cow_tree_reap(struct cow_tree *t)
{
	struct cow_graft *g;

	if (__atomic_load_n(&t->retired, __ATOMIC_RELAXED) == NULL)
		return;
	pthread_mutex_lock(&t->structure);
	g = cow_table_take_retired(t);
	while (g != NULL) {
		struct cow_graft *next = g->next_retired;

		if (unmount(t, g)) {
			unlinkat(t->stage, g->where, g->directory ? AT_REMOVEDIR : 0);
			cow_table_remove(t, g);
			t->stats.freed++;
		} else {
			move_to_shadow(t, g);
		}
		g = next;
	}
	pthread_mutex_unlock(&t->structure);
}
