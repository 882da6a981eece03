/*
 * Lower files with several names. They are one file, and must stay one when it is copied up: whoever writes to it by
 * one name finds it changed by all others. So a copy-up takes all names that it has in the workdir at once: those that
 * are grafts of their own are in the table; for those that lie in directories which are grafts as a whole, the
 * directories are split.
 *
 * Which directories these are says an index of the lower's files with several names. It is made when it is first
 * needed, as far as it is needed: a walk over the lower, which ends as soon as all names of the file in question were
 * met and is taken up there the next time. A file that has names elsewhere has the walk go to its end, once. The index
 * holds lower paths, which the host may change: what is no longer there is not found, and what the host links later is
 * a file of its own to the branch.
 *
 * An untouched file may also have names that the branch gave it (twin.c). They are grafts of their own from the start,
 * with the lower path of the name that they were made of; that one may lie in a directory which is a graft as a whole.
 */
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../branch/dict.h"
#include "../lib/fd.h"
#include "../lib/log.h"

enum { BUCKETS = 4096 };

/* One name. */
struct indexed {
	struct cow_lower_id lower;
	const char *dir; /* lower path */
	struct indexed *next;
	char name[];
};

struct cow_link_index {
	char **dirs; /* met so far; NULL where no name of interest is */
	size_t count, room;
	size_t walked; /* how many of them were read */
	struct indexed *names[BUCKETS];
};

static struct indexed **bucket(struct cow_link_index *index, const struct cow_lower_id *id)
{
	return &index->names[((uint64_t)id->ino * 2654435761u + (uint64_t)id->dev) % BUCKETS];
}

static void add_directory(struct cow_link_index *index, char *path)
{
	if (index->count == index->room) {
		index->room = index->room == 0 ? 64 : index->room * 2;
		index->dirs = reallocarray(index->dirs, index->room, sizeof(*index->dirs));
		if (index->dirs == NULL)
			abort();
	}
	index->dirs[index->count++] = path;
}

static void add_name(struct cow_link_index *index, const struct cow_lower_id *id, const char *dir, const char *name)
{
	size_t size = strlen(name) + 1;
	struct indexed *n = malloc(sizeof(*n) + size);
	struct indexed **slot = bucket(index, id);

	if (n == NULL)
		abort();
	n->lower = *id;
	n->dir = dir;
	n->next = *slot;
	memcpy(n->name, name, size);
	*slot = n;
}

/* Notes one entry of `dir`; true if it is a file with several names. */
static bool note_entry(struct cow_link_index *index, int fd, const char *dir, const struct dirent *de)
{
	struct cow_lower_id id;
	struct stat st;
	char *path;

	if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0 || de->d_type == DT_LNK)
		return false;
	if (de->d_type != DT_DIR) {
		if (fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0 || S_ISLNK(st.st_mode))
			return false;
		if (!S_ISDIR(st.st_mode)) {
			id = (struct cow_lower_id){st.st_dev, st.st_ino};
			if (st.st_nlink > 1)
				add_name(index, &id, dir, de->d_name);
			return st.st_nlink > 1;
		}
	}
	if (asprintf(&path, "%s%s%s", dir, *dir ? "/" : "", de->d_name) < 0)
		abort();
	add_directory(index, path);
	return false;
}

/* Reads the next directory. What cannot be read holds nothing that could be found. */
static void walk_one(struct cow_tree *t, struct cow_link_index *index)
{
	size_t at = index->walked++;
	const char *path = index->dirs[at];
	int fd = cow_open_beneath(t->lower, path, O_RDONLY | O_DIRECTORY | O_NONBLOCK, 0);
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;
	bool any = false;

	if (dir == NULL && fd >= 0)
		close(fd);
	while (dir != NULL && (de = readdir(dir)) != NULL)
		any = note_entry(index, fd, path, de) || any;
	if (!any)
		free(cow_steal_ptr(&index->dirs[at]));
}

static size_t count_names(struct cow_link_index *index, const struct cow_lower_id *id)
{
	size_t count = 0;

	for (const struct indexed *n = *bucket(index, id); n != NULL; n = n->next)
		count += n->lower.ino == id->ino && n->lower.dev == id->dev ? 1 : 0;
	return count;
}

/* With links_lock held: walks until all names of the file are known, or there is no more. How many there are. */
static size_t walk_for(struct cow_tree *t, const struct stat *lower)
{
	const struct cow_lower_id id = {lower->st_dev, lower->st_ino};
	struct cow_link_index *index;
	size_t count;

	if (t->links == NULL) {
		t->links = calloc(1, sizeof(*t->links));
		if (t->links == NULL)
			abort();
		add_directory(t->links, strdup(""));
	}
	index = t->links;
	while ((count = count_names(index, &id)) < lower->st_nlink && index->walked < index->count)
		walk_one(t, index);
	return count;
}

bool cow_links_alone(struct cow_tree *t, const struct stat *lower)
{
	size_t count;

	pthread_mutex_lock(&t->links_lock);
	count = walk_for(t, lower);
	pthread_mutex_unlock(&t->links_lock);
	return count < 2;
}

/* The lower directories that hold the file. Caller frees each and the list; NULL at its end. */
static char **directories_of(struct cow_tree *t, const struct stat *lower)
{
	const struct cow_lower_id id = {lower->st_dev, lower->st_ino};
	char **dirs;
	size_t count;

	pthread_mutex_lock(&t->links_lock);
	count = walk_for(t, lower);
	dirs = calloc(count + 1, sizeof(*dirs));
	if (dirs == NULL)
		abort();
	count = 0;
	for (const struct indexed *n = *bucket(t->links, &id); n != NULL; n = n->next)
		if (n->lower.ino == id.ino && n->lower.dev == id.dev && (dirs[count++] = strdup(n->dir)) == NULL)
			abort();
	pthread_mutex_unlock(&t->links_lock);
	return dirs;
}

/* The directory is split, if it is still in the branch. 0 or an errno. */
static int split_directory(struct cow_tree *t, const char *path)
{
	cleanup_close int lower = cow_open_beneath(t->lower, path, O_PATH | O_DIRECTORY, 0);
	cleanup_close int real = lower < 0 ? -1 : cow_tree_real_directory(t, lower);

	if (real >= 0 || errno == ENOENT || errno == ESTALE || errno == ENOTDIR || errno == ELOOP || errno == EXDEV)
		return 0;
	return errno;
}

/* Further names have the lower path of another one: in whatever directory that is, it is to be a graft of its own. */
static int complete_twins(struct cow_tree *t, const struct cow_names *names)
{
	int error = 0;

	for (size_t i = 0; error == 0 && i < names->count; i++) {
		const char *path = names->list[i].path;
		cleanup_free char *dir = names->list[i].twin ? strndup(path, cow_name_parent(path)) : NULL;

		if (dir != NULL)
			error = split_directory(t, dir);
	}
	return error;
}

/* How many names of the lower they stand for. */
static size_t count_paths(const struct cow_names *names)
{
	size_t count = 0;

	for (size_t i = 0; i < names->count; i++) {
		size_t k = 0;

		while (strcmp(names->list[k].path, names->list[i].path) != 0)
			k++;
		count += k == i ? 1 : 0;
	}
	return count;
}

int cow_links_complete(struct cow_tree *t, const struct stat *lower)
{
	cleanup_names struct cow_names names = {0};
	char **dirs;
	int error;

	cow_table_names(t, lower, &names);
	error = complete_twins(t, &names);
	if (error != 0 || count_paths(&names) >= lower->st_nlink)
		return error;
	dirs = directories_of(t, lower);
	for (char **dir = dirs; *dir != NULL; dir++) {
		if (error == 0)
			error = split_directory(t, *dir);
		free(*dir);
	}
	free(dirs);
	return error;
}

void cow_links_free(struct cow_tree *t)
{
	struct cow_link_index *index = t->links;

	if (index == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (index->names[i] != NULL) {
			struct indexed *n = index->names[i];

			index->names[i] = n->next;
			free(n);
		}
	for (size_t i = 0; i < index->count; i++)
		free(index->dirs[i]);
	free(index->dirs);
	free(cow_steal_ptr(&t->links));
}

/* --- where the grafts are ----------------------------------------------------------------------------------------- */

void cow_names_clear(struct cow_names *names)
{
	for (size_t i = 0; i < names->count; i++) {
		struct cow_name *n = &names->list[i];

		free(n->path);
		free(n->handle);
		free(n->name);
		free(n->staged);
		free(n->place);
		cow_close_fd(&n->parent);
	}
	free(names->list);
	memset(names, 0, sizeof(*names));
}

struct cow_name *cow_names_add(struct cow_names *names)
{
	struct cow_name *n;

	names->list = reallocarray(names->list, names->count + 1, sizeof(*names->list));
	if (names->list == NULL)
		abort();
	n = &names->list[names->count++];
	memset(n, 0, sizeof(*n));
	n->parent = -1;
	return n;
}

/* Where it stands; if that cannot be told (no handles, before Linux 6.8), where the lower has it. Caller frees. */
static char *place_of(struct cow_tree *t, const struct cow_name *n, int *top)
{
	cleanup_free char *where = cow_graft_where(t, n->mount, n->handle);
	cleanup_free char *dir = NULL;
	cleanup_close int lower = -1;
	const char *slash = strrchr(n->path, '/');

	if (where != NULL) {
		*top = fcntl(t->upper, F_DUPFD_CLOEXEC, 3);
		return cow_steal_ptr(&where);
	}
	dir = strndup(n->path, slash != NULL ? (size_t)(slash - n->path) : 0);
	if (dir == NULL)
		abort();
	lower = cow_open_beneath(t->lower, dir, O_PATH | O_DIRECTORY, 0);
	*top = lower < 0 ? -1 : cow_tree_counterpart(t, lower);
	return strdup(slash != NULL ? slash + 1 : n->path);
}

static bool locate(struct cow_tree *t, struct cow_name *n)
{
	cleanup_close int top = -1;
	cleanup_free char *place = place_of(t, n, &top);
	cleanup_close int root = -1;
	char *slash = place == NULL ? NULL : strrchr(place, '/');

	if (place == NULL || *place == '\0' || top < 0)
		return false;
	if (slash != NULL)
		*slash = '\0';
	n->parent = slash != NULL ? cow_open_beneath(top, place, O_PATH | O_DIRECTORY, 0) : cow_steal_fd(&top);
	if (n->parent < 0 || cow_mount_id(n->parent) != t->upper_mount)
		return false;
	n->name = strdup(slash != NULL ? slash + 1 : place);
	root = openat(n->parent, n->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return root >= 0 && cow_mount_id(root) == n->mount;
}

void cow_names_find(struct cow_tree *t, const struct stat *lower, struct cow_names *names)
{
	for (int tries = 0;; tries++) {
		bool all = true;

		cow_names_clear(names);
		cow_table_names(t, lower, names);
		for (size_t i = 0; i < names->count; i++)
			if (!locate(t, &names->list[i])) {
				free(cow_steal_ptr(&names->list[i].name));
				all = false;
			}
		if (all)
			return;
		if (tries == COW_TRIES)
			break;
		/* On its way elsewhere, or in a directory that another worker is about to reveal. */
		cow_tree_settle(t);
		cow_claim_wait_splits(t);
	}
	cow_log_info("a name of a lower file with several names cannot be found: it becomes a file of its own");
}
