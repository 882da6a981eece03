#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/fd.h"

/* One worker copies a file; the others that want the same one wait for it, and everybody else goes on. */
static bool begin_copy(struct cow_tree *t, struct cow_copying *mine)
{
	bool first = true;

	pthread_mutex_lock(&t->table_lock);
	for (;;) {
		struct cow_copying *c = t->copying;

		while (c != NULL && c->mount != mine->mount)
			c = c->next;
		if (c == NULL)
			break;
		first = false;
		pthread_cond_wait(&t->copied, &t->table_lock);
	}
	if (first) {
		mine->next = t->copying;
		t->copying = mine;
	}
	pthread_mutex_unlock(&t->table_lock);
	return first;
}

static void end_copy(struct cow_tree *t, struct cow_copying *mine)
{
	pthread_mutex_lock(&t->table_lock);
	for (struct cow_copying **at = &t->copying; *at != NULL; at = &(*at)->next)
		if (*at == mine) {
			*at = mine->next;
			break;
		}
	pthread_cond_broadcast(&t->copied);
	pthread_mutex_unlock(&t->table_lock);
}

static int record(struct cow_tree *t, int staged, const char *path, const struct stat *st)
{
	struct cow_journal_copy rec = {.lower = path};
	int error = 0;

	if (cow_ident_of(staged, &rec.upper) != 0)
		return errno;
	cow_lower_stamp_of(&rec.stamp, st);
	pthread_mutex_lock(&t->structure);
	if (cow_journal_add_copy(t->journal, &rec) != 0)
		error = errno;
	pthread_mutex_unlock(&t->structure);
	if (error == 0)
		cow_copies_add(t, st, &rec.upper);
	return error;
}

/* Attributes first: whether the caller may write is the kernel's verdict on the copy, before a byte is moved. */
static int fill(struct cow_tree *t, int lower, int staged, const struct stat *st, bool truncate, cow_copy_check check,
		void *data)
{
	uint64_t copied = 0;
	int error;

	if (cow_copy_attributes(lower, staged, st) != 0)
		return errno;
	error = check != NULL ? check(staged, data) : 0;
	if (error != 0)
		return error;
	if (S_ISREG(st->st_mode) && !truncate && cow_copy_content(lower, staged, st->st_size, &copied) != 0)
		return errno;
	__atomic_add_fetch(&t->stats.copied_bytes, copied, __ATOMIC_RELAXED);
	/* Writing cleared the set-id bits of a file whose owner is not root. */
	if (copied > 0 && (st->st_mode & (S_ISUID | S_ISGID)) != 0 && cow_copy_attributes(lower, staged, st) != 0)
		return errno;
	return cow_copy_times(staged, st) == 0 ? 0 : errno;
}

static int stage_copy(struct cow_tree *t, int root, const char *staged, const struct stat *st, int *lower)
{
	char self[40];

	if (!S_ISREG(st->st_mode)) {
		*lower = fcntl(root, F_DUPFD_CLOEXEC, 3);
		if (*lower < 0 || mknodat(t->stage, staged, (st->st_mode & S_IFMT) | 0600, st->st_rdev) != 0)
			return -1;
		return openat(t->stage, staged, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	}
	snprintf(self, sizeof(self), "/proc/self/fd/%d", root);
	*lower = open(self, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (*lower < 0)
		return -1;
	return openat(t->stage, staged, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int reveal_copy(struct cow_tree *t, int parent, const char *name, struct cow_graft *g, char **staged)
{
	cleanup_close int root = -1;
	int error;

	pthread_mutex_lock(&t->structure);
	root = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (root < 0 || cow_mount_id(root) != g->mount || g->state != COW_GRAFT_ATTACHED) {
		error = ESTALE;
	} else {
		char *place = cow_tree_relative(t, root);

		error = cow_reveal(t, *staged, parent, name);
		if (error == 0) {
			cow_table_retire(t, g, cow_steal_ptr(staged), place);
			t->stats.copy_ups++;
		} else {
			free(place);
		}
	}
	pthread_mutex_unlock(&t->structure);
	return error;
}

int cow_tree_copy_up(struct cow_tree *t, int parent, const char *name, bool truncate, cow_copy_check check, void *data)
{
	cleanup_close int root = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	cleanup_close int lower = -1;
	cleanup_close int staged_fd = -1;
	cleanup_free char *staged = NULL;
	struct cow_copying mine = {0};
	struct cow_graft *g;
	struct stat st;
	int error;

	if (root < 0)
		return errno;
	mine.mount = cow_mount_id(root);
	if (mine.mount == t->upper_mount)
		return 0;
	g = cow_table_by_mount(t, mine.mount);
	if (g == NULL || g->state != COW_GRAFT_ATTACHED || !begin_copy(t, &mine))
		return ESTALE;
	staged = cow_stage_name(t, 'c');
	if (fstat(root, &st) != 0 || (staged_fd = stage_copy(t, root, staged, &st, &lower)) < 0)
		error = errno;
	else
		error = fill(t, lower, staged_fd, &st, truncate, check, data);
	if (error == 0)
		error = record(t, staged_fd, g->path, &st);
	if (error == 0)
		error = reveal_copy(t, parent, name, g, &staged);
	if (error != 0)
		unlinkat(t->stage, staged, 0);
	end_copy(t, &mine);
	return error;
}
