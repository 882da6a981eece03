/* Deleting and renaming entries that are under a graft: what the container's own kernel calls refuse (EBUSY). */
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/fd.h"

int cow_graft_at(struct cow_tree *t, int parent, const char *name, int *root)
{
	cleanup_close int fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? ESTALE : errno;
	if (cow_table_state(t, cow_mount_id(fd)) != COW_GRAFT_ATTACHED || !cow_mount_root(fd))
		return ESTALE;
	*root = cow_steal_fd(&fd);
	return 0;
}

bool cow_tree_is_grafted(struct cow_tree *t, int parent, const char *name, int *root)
{
	cleanup_close int fd = -1;

	if (cow_graft_at(t, parent, name, &fd) != 0)
		return false;
	if (root != NULL)
		*root = cow_steal_fd(&fd);
	return true;
}

static int check_empty(int root)
{
	int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = NULL;
	struct dirent *de;

	if (fd < 0)
		return errno;
	dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return ENOMEM;
	}
	while ((errno = 0, de = readdir(dir)) != NULL)
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			return ENOTEMPTY;
	return errno;
}

int cow_tree_drop(struct cow_tree *t, int parent, const char *name)
{
	cleanup_close int root = -1;
	cleanup_free char *staged = cow_stage_name(t, 'd');
	cleanup_free char *place = NULL;
	struct cow_graft *g;
	int error;

	pthread_mutex_lock(&t->structure);
	error = cow_graft_at(t, parent, name, &root);
	if (error == 0) {
		g = cow_table_by_mount(t, cow_mount_id(root));
		error = g->directory ? check_empty(root) : 0;
		place = cow_tree_relative(t, root);
		/* Not deleted where it is: the kernel would take the graft away, from under those who use it. */
		if (error == 0 && syscall(SYS_renameat2, parent, name, t->stage, staged, RENAME_NOREPLACE) != 0)
			error = errno;
		if (error == 0)
			cow_table_retire(t, g, cow_steal_ptr(&staged), cow_steal_ptr(&place));
	}
	pthread_mutex_unlock(&t->structure);
	return error;
}

/* --- rename ------------------------------------------------------------------------------------------------------- */

/* A placeholder and a graft like those at parent/name, in the stage. Its mount id, or 0 with errno. */
static uint64_t make_twin(struct cow_tree *t, int parent, const char *name, const struct cow_graft *g,
			  const char *staged)
{
	struct cow_entry entry = {.name = (char *)staged, .path = g->path};
	cleanup_close int root = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	cleanup_close int mount = -1;
	uint64_t id = 0;

	if (root < 0 || fstat(root, &entry.st) != 0 || cow_placeholder_make(t, t->stage, &entry) <= 0)
		return 0;
	if (cow_tree_enter(t) == 0) {
		mount = cow_mount_clone(root, "", g->directory);
		if (mount >= 0 && cow_mount_attach(mount, t->stage, staged) == 0)
			id = cow_mount_id(mount);
		cow_tree_leave(t);
	}
	if (id != 0)
		cow_table_add(t, id, &entry.st, g->path, entry.handle);
	else
		free(entry.handle);
	return id;
}

static bool in_use(struct cow_tree *t, int parent, const char *name)
{
	bool busy;

	if (cow_tree_enter(t) != 0)
		return false;
	busy = cow_mount_expire(parent, name) == EBUSY;
	cow_tree_leave(t);
	return busy;
}

/*
 * A rename over a placeholder makes the kernel take its graft away, and who has it open loses the path. A graft in use
 * is therefore changed for a fresh one on a fresh placeholder, that nobody can have open yet, and is retired as in a
 * copy-up. Where that fails the rename goes on all the same. Returns the mount that the rename will take away.
 */
static uint64_t spare(struct cow_tree *t, int parent, const char *name, struct cow_graft *g, char *place)
{
	cleanup_free char *staged = NULL;
	uint64_t old = g->mount;
	uint64_t twin;

	if (!in_use(t, parent, name)) {
		free(place);
		return old;
	}
	staged = cow_stage_name(t, 't');
	twin = make_twin(t, parent, name, g, staged);
	if (twin != 0 && cow_reveal(t, staged, parent, name) == 0) {
		cow_table_retire(t, g, cow_steal_ptr(&staged), place);
		return twin;
	}
	if (twin != 0)
		cow_table_remove(t, cow_table_by_mount(t, twin));
	unlinkat(t->stage, staged, g->directory ? AT_REMOVEDIR : 0);
	free(place);
	return old;
}

struct renaming {
	struct cow_tree *t;
	int from, to;
	const char *old, *new;
	uint64_t replaced; /* mount of the graft that goes with the target's placeholder, or 0 */
};

/* Gets a grafted target ready to be renamed over. -1: two names of one lower file, nothing is to be done. 0 or errno.
 */
static int ready_target(struct renaming *r)
{
	cleanup_close int root = -1;
	struct cow_graft *g;
	struct stat from;
	struct stat to;
	char *place;
	int error;

	error = cow_graft_at(r->t, r->to, r->new, &root);
	if (error != 0)
		return error == ESTALE ? 0 : error;
	if (fstat(root, &to) != 0 || fstatat(r->from, r->old, &from, AT_SYMLINK_NOFOLLOW) != 0)
		return 0;
	if (from.st_ino == to.st_ino && from.st_dev == to.st_dev)
		return -1;
	if (S_ISDIR(from.st_mode) != S_ISDIR(to.st_mode))
		return 0; /* the kernel refuses */
	if (S_ISDIR(to.st_mode))
		error = check_empty(root);
	if (error != 0)
		return error;
	g = cow_table_by_mount(r->t, cow_mount_id(root));
	place = cow_tree_relative(r->t, root);
	cow_close_fd(&root);
	r->replaced = spare(r->t, r->to, r->new, g, place);
	return 0;
}

/* Both directories must be writable before it matters whether the target is empty. */
static int check_parents(const struct renaming *r)
{
	if (syscall(SYS_faccessat2, r->from, "", W_OK | X_OK, AT_EMPTY_PATH | AT_EACCESS) != 0 ||
	    syscall(SYS_faccessat2, r->to, "", W_OK | X_OK, AT_EMPTY_PATH | AT_EACCESS) != 0)
		return errno;
	return 0;
}

int cow_tree_rename(struct cow_tree *t, int from, const char *old, int to, const char *new, unsigned flags)
{
	struct renaming r = {.t = t, .from = from, .to = to, .old = old, .new = new};
	struct cow_privileges privileges;
	int error = 0;
	int denied;

	pthread_mutex_lock(&t->structure);
	if ((flags & (RENAME_EXCHANGE | RENAME_NOREPLACE)) == 0) {
		cow_privileges_raise(&privileges);
		error = ready_target(&r);
		cow_privileges_restore(&privileges);
	}
	if (error > 0 && (denied = check_parents(&r)) != 0)
		error = denied;
	if (error == 0 && syscall(SYS_renameat2, from, old, to, new, flags) != 0)
		error = errno;
	if (error == 0 && r.replaced != 0)
		cow_table_remove(t, cow_table_by_mount(t, r.replaced));
	pthread_mutex_unlock(&t->structure);
	return error < 0 ? 0 : error;
}
