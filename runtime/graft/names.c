/* Deleting entries that are under a graft: what the container's own kernel calls refuse (EBUSY). */
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

int cow_graft_mount_at(struct cow_tree *t, int parent, const char *name, int *root, uint64_t *mount)
{
	cleanup_close int fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? ESTALE : errno;
	*mount = cow_mount_of_root(fd);
	if (*mount == 0 || cow_table_state(t, *mount) != COW_GRAFT_ATTACHED)
		return ESTALE;
	*root = cow_steal_fd(&fd);
	return 0;
}

int cow_graft_at(struct cow_tree *t, int parent, const char *name, int *root)
{
	uint64_t mount;

	return cow_graft_mount_at(t, parent, name, root, &mount);
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

int cow_check_empty(int root)
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
	uint64_t mount;
	int error;

	pthread_mutex_lock(&t->structure);
	error = cow_graft_mount_at(t, parent, name, &root, &mount);
	if (error == 0) {
		g = cow_table_by_mount(t, mount);
		error = g->directory ? cow_check_empty(root) : 0;
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
