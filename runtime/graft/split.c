#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/fd.h"

char *cow_stage_name(struct cow_tree *t, char kind)
{
	char *name = NULL;

	if (asprintf(&name, "%c%llu", kind,
		     (unsigned long long)__atomic_add_fetch(&t->stage_count, 1, __ATOMIC_RELAXED)) < 0)
		abort();
	return name;
}

int cow_reveal(struct cow_tree *t, const char *staged, int parent, const char *name)
{
	struct stat before;

	if (fstat(parent, &before) != 0)
		return errno;
	/* In this direction a watch on the directory is told that the name went and then that it came: as when a file
	 * is replaced. */
	if (syscall(SYS_renameat2, parent, name, t->stage, staged, RENAME_EXCHANGE) != 0)
		return errno;
	/* The exchange is not the container's doing: its directory was not modified. */
	cow_copy_times(parent, &before);
	return 0;
}

/* One split on its way. */
struct splitting {
	struct cow_tree *t;
	int parent;
	const char *name;
	uint64_t mount;
	char *path;   /* of the lower directory */
	char *staged; /* name in the stage */
	int upper;    /* the new directory */
	struct stat st;
	struct cow_entries entries;
};

static void splitting_cleanup(struct splitting *s)
{
	free(s->path);
	free(s->staged);
	cow_close_fd(&s->upper);
	cow_entries_free(&s->entries);
}

static int fill(struct splitting *s, int lower)
{
	struct cow_tree *t = s->t;
	int error = cow_placeholders_make(t, lower, s->path, s->upper, &s->entries);

	if (error == 0 && cow_tree_enter(t) != 0)
		error = errno;
	else if (error == 0) {
		error = cow_placeholders_graft(t, lower, s->upper, &s->entries);
		cow_tree_leave(t);
	}
	if (error == 0 && (cow_copy_attributes(lower, s->upper, &s->st) != 0 || cow_copy_times(s->upper, &s->st) != 0))
		error = errno;
	return error == 0 ? cow_split_record(t, s->upper, s->path, &s->st, &s->entries) : error;
}

static void discard(struct splitting *s)
{
	cow_placeholders_undo(s->t, s->upper, &s->entries);
	unlinkat(s->t->stage, s->staged, AT_REMOVEDIR);
}

/* Everything of a split that happens out of sight. 0 or an errno; then nothing is left of it. */
static int stage(struct splitting *s, int root)
{
	cleanup_close int lower = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int error;

	if (lower < 0 || fstat(lower, &s->st) != 0)
		return errno;
	s->staged = cow_stage_name(s->t, 's');
	if (mkdirat(s->t->stage, s->staged, 0700) != 0)
		return errno;
	s->upper = openat(s->t->stage, s->staged, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	error = s->upper < 0 ? errno : fill(s, lower);
	if (error != 0)
		discard(s);
	return error;
}

static int reveal(struct splitting *s)
{
	struct cow_tree *t = s->t;
	cleanup_free char *place = NULL;
	cleanup_close int root = -1;
	struct cow_graft *g = NULL;
	uint64_t mount;
	int error;

	pthread_mutex_lock(&t->structure);
	error = cow_graft_mount_at(t, s->parent, s->name, &root, &mount);
	if (error == 0 && mount != s->mount)
		error = ESTALE;
	if (error == 0) {
		g = cow_table_by_mount(t, s->mount);
		place = cow_tree_relative(t, root);
		cow_entries_settle(t, &s->entries);
		error = cow_reveal(t, s->staged, s->parent, s->name);
	}
	if (error == 0) {
		cow_real_add(t, &s->st, s->path, s->mount, s->upper);
		cow_table_retire(t, g, cow_steal_ptr(&s->staged), cow_steal_ptr(&place));
		t->stats.splits++;
		t->stats.split_entries += s->entries.count;
	} else {
		discard(s);
	}
	pthread_mutex_unlock(&t->structure);
	return error;
}

/* Under a claim. */
static int split(struct splitting *s, int *root)
{
	int error = stage(s, *root);

	if (error == ENOSPC && cow_retire_hurry(s->t)) {
		/* It was perhaps fs.mount-max: what waits to be unmounted makes room. */
		free(cow_steal_ptr(&s->staged));
		cow_close_fd(&s->upper);
		cow_entries_free(&s->entries);
		error = stage(s, *root);
	}
	cow_close_fd(root);
	return error == 0 ? reveal(s) : error;
}

int cow_split_directory(struct cow_tree *t, int parent, const char *name)
{
	__attribute__((cleanup(splitting_cleanup))) struct splitting s = {
		.t = t, .parent = parent, .name = name, .upper = -1};
	struct cow_claim claim = {.split = true};
	int error;

	for (;;) {
		cleanup_close int root = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (root < 0)
			return -1;
		s.mount = claim.mount = cow_mount_id(root);
		if (s.mount == t->upper_mount)
			return cow_steal_fd(&root);
		s.path = cow_table_path(t, s.mount);
		if (s.path == NULL || !cow_mount_root(root)) {
			errno = ESTALE;
			return -1;
		}
		if (cow_claim(t, &claim)) {
			error = split(&s, &root);
			cow_claim_end(t, &claim);
			break;
		}
		free(cow_steal_ptr(&s.path)); /* somebody else split it meanwhile, or tried */
	}
	if (error != 0) {
		errno = error;
		return -1;
	}
	return cow_steal_fd(&s.upper);
}
