/* Deleting and renaming entries that are under a graft: what the container's own kernel calls refuse (EBUSY). */
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/fd.h"

bool cow_tree_is_grafted(struct cow_tree *t, int parent, const char *name, int *root)
{
	cleanup_close int fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	const struct cow_graft *g;

	if (fd < 0)
		return false;
	g = cow_table_by_mount(t, cow_mount_id(fd));
	if (g == NULL || g->state != COW_GRAFT_ATTACHED || !cow_mount_root(fd))
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
	struct cow_graft *g;
	char *place = NULL;
	int error = 0;

	pthread_mutex_lock(&t->structure);
	if (!cow_tree_is_grafted(t, parent, name, &root)) {
		error = ESTALE;
		goto out;
	}
	g = cow_table_by_mount(t, cow_mount_id(root));
	if (g->directory)
		error = check_empty(root);
	if (error != 0)
		goto out;
	place = cow_tree_relative(t, root);
	if (syscall(SYS_renameat2, parent, name, t->stage, staged, 1 /* RENAME_NOREPLACE */) != 0) {
		error = errno;
		free(place);
		goto out;
	}
	cow_table_retire(t, g, cow_steal_ptr(&staged), place);
out:
	pthread_mutex_unlock(&t->structure);
	return error;
}

int cow_tree_rename(struct cow_tree *t, int from, const char *old, int to, const char *new, unsigned flags)
{
	cleanup_close int target = -1;
	struct cow_graft *replaced = NULL;
	int error = 0;

	pthread_mutex_lock(&t->structure);
	if ((flags & 2 /* RENAME_EXCHANGE */) == 0 && cow_tree_is_grafted(t, to, new, &target))
		replaced = cow_table_by_mount(t, cow_mount_id(target));
	if (replaced != NULL && replaced->directory)
		error = check_empty(target);
	cow_close_fd(&target);
	if (error == 0 && syscall(SYS_renameat2, from, old, to, new, flags) != 0)
		error = errno;
	/* The kernel took the graft away with the placeholder that was replaced. */
	if (error == 0 && replaced != NULL)
		cow_table_remove(t, replaced);
	pthread_mutex_unlock(&t->structure);
	return error;
}
