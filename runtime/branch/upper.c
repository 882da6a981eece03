#include "upper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "beneath.h"

/* --- nodes ---------------------------------------------------------------------------------------------------------
 */

static void free_one(struct cow_node *n)
{
	free(n->name);
	free(n->mark);
	free(n->origin);
	free(n);
}

/* Without recursion: the depth is the container's choice. */
void cow_node_free(struct cow_node *root)
{
	struct cow_node *n = root;

	while (n != NULL) {
		struct cow_node *next = n->child;

		if (next == NULL) {
			next = n == root || n->next == NULL ? n->parent : n->next;
			if (n->parent != NULL)
				n->parent->child = n->next;
			if (n == root)
				next = NULL;
			free_one(n);
		}
		n = next;
	}
}

struct cow_node *cow_node_next(const struct cow_node *n, bool inside)
{
	if (inside && n->child != NULL)
		return n->child;
	while (n != NULL && n->next == NULL)
		n = n->parent;
	return n != NULL ? n->next : NULL;
}

static size_t path_length(const struct cow_node *n)
{
	size_t length = 0;

	for (; n->parent != NULL; n = n->parent)
		length += strlen(n->name) + (n->parent->parent != NULL ? 1 : 0);
	return length;
}

char *cow_node_path(const struct cow_node *n)
{
	size_t at = path_length(n);
	char *path = malloc(at + 1);

	if (path == NULL)
		abort();
	path[at] = '\0';
	for (; n->parent != NULL; n = n->parent) {
		size_t length = strlen(n->name);

		at -= length;
		memcpy(path + at, n->name, length);
		if (at > 0)
			path[--at] = '/';
	}
	return path;
}

/* --- reading -------------------------------------------------------------------------------------------------------
 */

struct reader {
	const struct cow_branch *branch;
	int upper;
	int fd; /* the directory that was read last: its children are opened by name alone */
	const struct cow_node *at;
	struct cow_error **err;
};

static struct cow_node *new_node(struct cow_node *parent, const char *name)
{
	struct cow_node *n = calloc(1, sizeof(*n));

	if (n == NULL || (n->name = strdup(name)) == NULL)
		abort();
	n->parent = parent;
	return n;
}

/* 0 or -1 with errno. */
static int look(struct reader *r, struct cow_node *n, int fd)
{
	struct statx sx;

	if (statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &sx) != 0)
		return -1;
	n->ident.ino = sx.stx_ino;
	if ((sx.stx_mask & STATX_BTIME) != 0) {
		n->ident.born_sec = sx.stx_btime.tv_sec;
		n->ident.born_nsec = sx.stx_btime.tv_nsec;
	}
	n->mode = sx.stx_mode;
	n->uid = sx.stx_uid;
	n->gid = sx.stx_gid;
	n->nlink = sx.stx_nlink;
	n->size = sx.stx_size;
	n->rdev = makedev(sx.stx_rdev_major, sx.stx_rdev_minor);
	n->mtime.tv_sec = sx.stx_mtime.tv_sec;
	n->mtime.tv_nsec = sx.stx_mtime.tv_nsec;
	n->ctime.tv_sec = sx.stx_ctime.tv_sec;
	n->ctime.tv_nsec = sx.stx_ctime.tv_nsec;
	if (n->parent != NULL && !S_ISLNK(n->mode) && (!S_ISREG(n->mode) || n->size == 0))
		return cow_mark_get(r->branch, fd, &n->mark) < 0 ? -1 : 0;
	return 0;
}

static bool went_away(int errnum)
{
	return errnum == ENOENT || errnum == ENOTDIR || errnum == ELOOP;
}

static int compare_nodes(const void *a, const void *b)
{
	return strcmp((*(struct cow_node *const *)a)->name, (*(struct cow_node *const *)b)->name);
}

static void link_children(struct cow_node *dir, struct cow_node **list, size_t count)
{
	if (count > 0)
		qsort(list, count, sizeof(*list), compare_nodes);
	for (size_t i = count; i > 0; i--) {
		list[i - 1]->next = dir->child;
		dir->child = list[i - 1];
	}
}

static int read_entry(struct reader *r, struct cow_node *dir, const char *name, struct cow_node **out)
{
	cleanup_close int fd = openat(r->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct cow_node *n;

	*out = NULL;
	if (fd < 0)
		return errno == ENOENT ? 0 : -1; /* a running container deletes */
	n = new_node(dir, name);
	if (look(r, n, fd) != 0) {
		free_one(n);
		return -1;
	}
	*out = n;
	return 0;
}

static int open_directory(struct reader *r, const struct cow_node *n)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NONBLOCK;
	int fd;

	if (n->parent != NULL && n->parent == r->at) {
		fd = cow_beneath_open(r->fd, n->name, flags, true);
	} else {
		cleanup_free char *path = cow_node_path(n);

		fd = cow_beneath_open(r->upper, path, flags, true);
	}
	cow_close_fd(&r->fd);
	r->fd = fd;
	r->at = n;
	return fd >= 0 ? 0 : -1;
}

static int read_names(struct reader *r, DIR *stream, struct cow_node *dir)
{
	struct cow_node **list = NULL;
	size_t count = 0, room = 0;
	struct dirent *de;
	int error = 0;

	while (error == 0 && (errno = 0, de = readdir(stream)) != NULL) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		if (count == room) {
			room = room == 0 ? 32 : room * 2;
			list = realloc(list, room * sizeof(*list));
			if (list == NULL)
				abort();
		}
		if (read_entry(r, dir, de->d_name, &list[count]) != 0)
			error = errno;
		else if (list[count] != NULL)
			count++;
	}
	if (error == 0)
		error = errno;
	link_children(dir, list, count);
	free(list);
	errno = error;
	return error == 0 ? 0 : -1;
}

static int read_directory(struct reader *r, struct cow_node *dir)
{
	cleanup_dir DIR *stream = NULL;
	int copy;

	if (path_length(dir) > COW_BENEATH_MAX)
		return cow_error_set(r->err, ENAMETOOLONG, "branch %s is deeper than %d bytes of a path",
				     r->branch->name, COW_BENEATH_MAX);
	if (open_directory(r, dir) != 0 && went_away(errno))
		return 0;
	copy = r->fd < 0 ? -1 : fcntl(r->fd, F_DUPFD_CLOEXEC, 3);
	stream = copy < 0 ? NULL : fdopendir(copy);
	if (stream == NULL && copy >= 0)
		close(copy);
	if (stream == NULL || read_names(r, stream, dir) != 0) {
		cleanup_free char *path = cow_node_path(dir);

		return cow_error_set(r->err, errno, "branch %s: cannot read /%s", r->branch->name, path);
	}
	return 0;
}

struct cow_node *cow_upper_read(const struct cow_branch *b, int upper, struct cow_error **err)
{
	struct reader r = {b, upper, -1, NULL, err};
	struct cow_node *root = new_node(NULL, "");
	int error = 0;

	if (look(&r, root, upper) != 0)
		error = cow_error_set(err, errno, "branch %s: upper", b->name);
	for (struct cow_node *n = root; n != NULL && error == 0; n = cow_node_next(n, true))
		if (S_ISDIR(n->mode) && n->mark == NULL)
			error = read_directory(&r, n);
	cow_close_fd(&r.fd);
	if (error == 0)
		return root;
	cow_node_free(root);
	return NULL;
}
