/*
 * Files that are known by a descriptor only, opened when the file was still the lower's. What is it in the branch now?
 * Its name says where to look, and either the very same lower file is still there, under its graft, or the file there is the
 * copy that was made of it. Anything else is another file that took the name: that one is never given back for it.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/fd.h"

struct cow_copy {
	struct cow_lower_id lower;
	struct cow_ident upper;
	struct cow_copy *next;
};

static struct cow_copy **bucket(struct cow_tree *t, const struct stat *lower)
{
	return &t->copies[((uint64_t)lower->st_ino * 2654435761u + (uint64_t)lower->st_dev) % COW_TREE_BUCKETS];
}

void cow_copies_add(struct cow_tree *t, const struct stat *lower, const struct cow_ident *upper)
{
	struct cow_copy *c = calloc(1, sizeof(*c));

	if (c == NULL)
		abort();
	c->lower.dev = lower->st_dev;
	c->lower.ino = lower->st_ino;
	c->upper = *upper;
	pthread_mutex_lock(&t->table_lock);
	c->next = *bucket(t, lower);
	*bucket(t, lower) = c;
	pthread_mutex_unlock(&t->table_lock);
}

static bool is_copy(struct cow_tree *t, const struct stat *lower, int fd)
{
	struct cow_ident ident;
	const struct cow_copy *c;

	if (cow_ident_of(fd, &ident) != 0)
		return false;
	pthread_mutex_lock(&t->table_lock);
	for (c = *bucket(t, lower); c != NULL; c = c->next)
		if (c->lower.dev == lower->st_dev && c->lower.ino == lower->st_ino &&
		    cow_ident_equal(&c->upper, &ident))
			break;
	pthread_mutex_unlock(&t->table_lock);
	return c != NULL;
}

void cow_copies_free(struct cow_tree *t)
{
	for (size_t i = 0; i < COW_TREE_BUCKETS; i++)
		while (t->copies[i] != NULL) {
			struct cow_copy *c = t->copies[i];

			t->copies[i] = c->next;
			free(c);
		}
}

static int open_parent(struct cow_tree *t, char *path, const char **name)
{
	struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
	char *slash = strrchr(path, '/');

	*name = slash != NULL ? slash + 1 : path;
	if (slash == NULL)
		return fcntl(t->upper, F_DUPFD_CLOEXEC, 3);
	*slash = '\0';
	return (int)syscall(SYS_openat2, t->upper, path, &how, sizeof(how));
}

int cow_tree_real_file(struct cow_tree *t, int fd, cow_copy_check check, void *data)
{
	cleanup_free char *path = cow_tree_relative(t, fd);
	cleanup_close int parent = -1;
	cleanup_close int real = -1;
	cleanup_close int now = -1;
	const char *name;
	struct stat old;
	struct stat st;
	int error;

	if (path == NULL || *path == '\0' || fstat(fd, &old) != 0 || (parent = open_parent(t, path, &name)) < 0) {
		errno = ENOENT;
		return -1;
	}
	now = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (now < 0)
		return -1;
	if (is_copy(t, &old, now))
		return cow_steal_fd(&now);
	if (fstat(now, &st) != 0 || st.st_ino != old.st_ino || st.st_dev != old.st_dev) {
		errno = ENOENT;
		return -1;
	}
	cow_close_fd(&now);
	real = cow_tree_real_directory(t, parent);
	if (real < 0)
		return -1;
	error = cow_tree_copy_up(t, real, name, false, check, data);
	if (error != 0) {
		errno = error;
		return -1;
	}
	now = openat(real, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (now >= 0 && is_copy(t, &old, now))
		return cow_steal_fd(&now);
	errno = now < 0 ? errno : ESTALE;
	return -1;
}
