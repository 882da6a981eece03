/*
 * What lower objects became: the directory that a lower directory was split to, the copy of a lower file. Processes
 * keep descriptors on the lower ones, and these must find the others, however they were renamed since.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../lib/fd.h"

enum { KNOWERS = 4 };

struct cow_real {
	struct cow_lower_id lower;
	char *path;     /* of a directory in the lower at the split, or NULL */
	uint64_t mount; /* of the graft that it took the place of: tells the names of a hard-linked lower file apart */
	struct cow_ident upper;
	struct file_handle *handle;
	int fd;                    /* where there are no handles: O_PATH, or -1 */
	uint64_t knowers[KNOWERS]; /* who knows it as it was in the lower (known.c); the last few */
	unsigned next_knower;
	struct cow_real *next, *next_by_upper;
};

static struct cow_real **bucket_by_upper(struct cow_tree *t, const struct cow_ident *upper)
{
	return &t->reals_by_upper[upper->ino * 2654435761u % COW_TREE_BUCKETS];
}

static struct cow_real **bucket(struct cow_tree *t, const struct stat *lower)
{
	return &t->reals[((uint64_t)lower->st_ino * 2654435761u + (uint64_t)lower->st_dev) % COW_TREE_BUCKETS];
}

/*
 * Without handles: an O_PATH descriptor, as long as there are many left; for directories a while longer than for files,
 * of which fewer are asked for. Then only its name is known.
 */
static int keep(const struct stat *lower, int upper)
{
	struct rlimit limit;
	cleanup_close int path = -1;
	char self[40];
	rlim_t most;
	int fd;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return -1;
	most = limit.rlim_cur / (S_ISDIR(lower->st_mode) ? 2 : 4);
	/* Not the same open file: a copy that is open for writing cannot be run. */
	snprintf(self, sizeof(self), "/proc/self/fd/%d", upper);
	path = open(self, O_PATH | O_CLOEXEC);
	fd = path < 0 ? -1 : fcntl(path, F_DUPFD_CLOEXEC, 64);
	if (fd >= 0 && limit.rlim_cur != RLIM_INFINITY && (rlim_t)fd > most)
		cow_close_fd(&fd);
	return fd;
}

static void add(struct cow_tree *t, const struct stat *lower, struct cow_real *r)
{
	r->lower.dev = lower->st_dev;
	r->lower.ino = lower->st_ino;
	pthread_mutex_lock(&t->table_lock);
	r->next = *bucket(t, lower);
	*bucket(t, lower) = r;
	r->next_by_upper = *bucket_by_upper(t, &r->upper);
	*bucket_by_upper(t, &r->upper) = r;
	pthread_mutex_unlock(&t->table_lock);
}

void cow_real_add_known(struct cow_tree *t, const struct stat *lower, const struct cow_ident *upper,
			struct file_handle *handle)
{
	struct cow_real *r = calloc(1, sizeof(*r));

	if (r == NULL)
		abort();
	r->upper = *upper;
	r->handle = handle;
	r->fd = -1;
	add(t, lower, r);
}

/* The next ones in turn that have a descriptor. Records stay as long as the tree. */
static size_t next_kept(struct cow_tree *t, struct cow_real **list, size_t room)
{
	size_t count = 0;

	pthread_mutex_lock(&t->table_lock);
	for (size_t i = 0; i < COW_TREE_BUCKETS && count < room; i++) {
		for (struct cow_real *r = t->reals[t->swept]; r != NULL && count < room; r = r->next)
			if (r->fd >= 0)
				list[count++] = r;
		t->swept = (t->swept + 1) % COW_TREE_BUCKETS;
	}
	pthread_mutex_unlock(&t->table_lock);
	return count;
}

/* A deleted file takes room as long as a descriptor is on it. Nobody else closes them, so they may be looked at without
 * the lock. */
void cow_real_sweep(struct cow_tree *t)
{
	enum { AT_ONCE = 512 };
	struct cow_real *list[AT_ONCE];
	size_t count = t->handles ? 0 : next_kept(t, list, AT_ONCE);

	for (size_t i = 0; i < count; i++) {
		cleanup_close int gone = -1;
		struct stat st;

		if (fstat(list[i]->fd, &st) != 0 || st.st_nlink != 0)
			continue;
		pthread_mutex_lock(&t->table_lock);
		gone = list[i]->fd;
		list[i]->fd = -1;
		pthread_mutex_unlock(&t->table_lock);
	}
}

void cow_real_add(struct cow_tree *t, const struct stat *lower, const char *path, uint64_t mount, int upper)
{
	struct cow_real *r = calloc(1, sizeof(*r));

	if (r == NULL || (path != NULL && (r->path = strdup(path)) == NULL))
		abort();
	r->mount = mount;
	(void)cow_ident_of(upper, &r->upper);
	r->handle = t->handles ? cow_handle_of(upper) : NULL;
	r->fd = r->handle == NULL ? keep(lower, upper) : -1;
	add(t, lower, r);
}

static bool matches(const struct cow_real *r, const struct stat *lower)
{
	return r->lower.ino == lower->st_ino && r->lower.dev == lower->st_dev;
}

/* The newest, unless one of them is exactly the graft's. */
static const struct cow_real *find(struct cow_tree *t, const struct stat *lower, uint64_t mount)
{
	const struct cow_real *best = NULL;

	for (const struct cow_real *r = *bucket(t, lower); r != NULL; r = r->next)
		if (matches(r, lower) && (best == NULL || r->mount == mount))
			best = r;
	return best;
}

int cow_real_open(struct cow_tree *t, const struct stat *lower, uint64_t mount)
{
	cleanup_free struct file_handle *handle = NULL;
	cleanup_close int fd = -1;
	const struct cow_real *r;
	struct stat st;

	pthread_mutex_lock(&t->table_lock);
	r = find(t, lower, mount);
	if (r != NULL && r->handle != NULL)
		handle = cow_handle_copy(r->handle);
	else if (r != NULL && r->fd >= 0)
		fd = fcntl(r->fd, F_DUPFD_CLOEXEC, 3);
	pthread_mutex_unlock(&t->table_lock);
	if (handle != NULL)
		fd = cow_handle_open(t->upper_by_handle, handle);
	else if (fd < 0)
		errno = ENOENT;
	if (fd < 0 || fstat(fd, &st) != 0)
		return -1;
	if (st.st_nlink == 0) {
		errno = ENOENT;
		return -1;
	}
	return cow_steal_fd(&fd);
}

/* Of a record: an O_PATH descriptor, or -1. */
static int open_kept(struct cow_tree *t, const struct file_handle *handle, int fd)
{
	return handle != NULL ? cow_handle_open(t->upper_by_handle, handle) : fd;
}

int cow_real_open_nameless(struct cow_tree *t, const struct stat *lower)
{
	struct file_handle *handles[16];
	int fds[16];
	size_t count = 0;
	int found = -1;

	pthread_mutex_lock(&t->table_lock);
	for (const struct cow_real *r = *bucket(t, lower); r != NULL && count < 16; r = r->next)
		if (matches(r, lower) && (r->handle != NULL || r->fd >= 0)) {
			handles[count] = r->handle != NULL ? cow_handle_copy(r->handle) : NULL;
			fds[count++] = r->handle == NULL ? fcntl(r->fd, F_DUPFD_CLOEXEC, 3) : -1;
		}
	pthread_mutex_unlock(&t->table_lock);
	for (size_t i = 0; i < count; i++) {
		cleanup_close int fd = open_kept(t, handles[i], fds[i]);
		struct stat st;

		if (found < 0 && fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink == 0)
			found = cow_steal_fd(&fd);
		free(handles[i]);
	}
	return found;
}

static bool same_handle(const struct file_handle *a, const struct file_handle *b)
{
	return a->handle_type == b->handle_type && a->handle_bytes == b->handle_bytes &&
	       memcmp(a->f_handle, b->f_handle, a->handle_bytes) == 0;
}

/* Number and birth of an inode may come again in the same tick of the clock; a handle has its generation as well. */
bool cow_real_is(struct cow_tree *t, const struct stat *lower, int upper)
{
	cleanup_free struct file_handle *handle = t->handles ? cow_handle_of(upper) : NULL;
	struct cow_ident ident;
	const struct cow_real *r;

	if (cow_ident_of(upper, &ident) != 0)
		return false;
	pthread_mutex_lock(&t->table_lock);
	for (r = *bucket(t, lower); r != NULL; r = r->next)
		if (matches(r, lower) && cow_ident_equal(&r->upper, &ident) &&
		    (r->handle == NULL || handle == NULL || same_handle(r->handle, handle)))
			break;
	pthread_mutex_unlock(&t->table_lock);
	return r != NULL;
}

static bool knows(const struct cow_real *r, uint64_t who)
{
	for (size_t i = 0; i < KNOWERS; i++)
		if (r->knowers[i] == who)
			return true;
	return false;
}

bool cow_real_know(struct cow_tree *t, const struct stat *lower, uint64_t who)
{
	struct cow_real *r;

	pthread_mutex_lock(&t->table_lock);
	for (r = *bucket(t, lower); r != NULL && !matches(r, lower);)
		r = r->next;
	if (r != NULL && !knows(r, who))
		r->knowers[r->next_knower++ % KNOWERS] = who;
	pthread_mutex_unlock(&t->table_lock);
	return r != NULL;
}

bool cow_tree_is_new(struct cow_tree *t, int fd)
{
	struct cow_ident ident;
	const struct cow_real *r;

	if (cow_ident_of(fd, &ident) != 0)
		return false;
	pthread_mutex_lock(&t->table_lock);
	for (r = *bucket_by_upper(t, &ident); r != NULL && !cow_ident_equal(&r->upper, &ident);)
		r = r->next_by_upper;
	pthread_mutex_unlock(&t->table_lock);
	return r == NULL;
}

char *cow_real_known(struct cow_tree *t, int upper, uint64_t who, struct cow_lower_id *lower)
{
	struct cow_ident ident;
	struct cow_real *r;
	char *path = NULL;

	if (cow_ident_of(upper, &ident) != 0)
		return NULL;
	pthread_mutex_lock(&t->table_lock);
	for (r = *bucket_by_upper(t, &ident); r != NULL && !cow_ident_equal(&r->upper, &ident);)
		r = r->next_by_upper;
	if (r != NULL && r->path != NULL && knows(r, who)) {
		path = strdup(r->path);
		*lower = r->lower;
	}
	pthread_mutex_unlock(&t->table_lock);
	return path;
}

void cow_real_free(struct cow_tree *t)
{
	for (size_t i = 0; i < COW_TREE_BUCKETS; i++)
		while (t->reals[i] != NULL) {
			struct cow_real *r = t->reals[i];

			t->reals[i] = r->next;
			cow_close_fd(&r->fd);
			free(r->handle);
			free(r->path);
			free(r);
		}
}
