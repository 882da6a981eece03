/*
 * The changes of a branch, file by file. They wait in a queue until there are enough for one diff(1) to compare; then
 * each is printed in its turn.
 */
#include "patch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../branch/beneath.h"
#include "../lib/fd.h"
#include "command.h"
#include "entry.h"

struct printer {
	const struct cow_style *style;
	struct cow_error **err;
	struct cow_pairs pairs;
	size_t count;
	struct cow_entry queue[COW_PAIRS_MAX];
};

/* --- reading -------------------------------------------------------------------------------------------------------
 */

/* The target of a symbolic link as a file. */
static int open_target(int link)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(link, "", target, sizeof(target));
	cleanup_close int fd = n < 0 ? -1 : memfd_create("target", MFD_CLOEXEC);

	if (fd < 0 || cow_write_all(fd, target, (size_t)n) != 0)
		return -1;
	return cow_steal_fd(&fd);
}

/* Fills in exists, st and fd. What vanished meanwhile does not exist. */
static int read_side(struct cow_side *s, int root, const char *path, bool one_mount)
{
	cleanup_close int fd = cow_beneath_open(root, path, O_PATH, one_mount);

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -1;
	if (fstat(fd, &s->st) != 0)
		return -1;
	s->exists = true;
	if (S_ISREG(s->st.st_mode))
		s->fd = cow_beneath_reopen(fd);
	else if (S_ISLNK(s->st.st_mode))
		s->fd = open_target(fd);
	else
		return 0;
	return s->fd >= 0 ? 0 : -1;
}

/* --- the queue -----------------------------------------------------------------------------------------------------
 */

static int flush(struct printer *p, struct cow_error **err)
{
	int error = cow_pairs_start(&p->pairs, err);

	for (size_t i = 0; i < p->count && error == 0; i++)
		error = cow_entry_print(&p->queue[i], &p->pairs, p->style, err);
	if (cow_pairs_finish(&p->pairs, error == 0 ? err : NULL) != 0)
		error = -1;
	for (size_t i = 0; i < p->count; i++)
		cow_entry_clear(&p->queue[i]);
	p->count = 0;
	return error;
}

/* Takes what the sides own. */
static int put(struct printer *p, struct cow_side *old, struct cow_side *new)
{
	struct cow_entry *e = &p->queue[p->count];

	e->old = *old;
	e->new = *new;
	old->fd = new->fd = -1;
	old->path = new->path = NULL;
	if (cow_entry_prepare(e, &p->pairs, p->err) != 0) {
		cow_entry_clear(e);
		return -1;
	}
	p->count++;
	return p->count == COW_PAIRS_MAX || cow_pairs_full(&p->pairs) ? flush(p, p->err) : 0;
}

static char *copy_of(const char *path)
{
	char *copy = strdup(path);

	if (copy == NULL)
		abort();
	return copy;
}

static int put_both(struct printer *p, struct cow_side *old, struct cow_side *new)
{
	cleanup_side struct cow_side gone = {.fd = -1};
	cleanup_side struct cow_side none = {.fd = -1};

	if (!old->exists || !new->exists || (old->st.st_mode & S_IFMT) == (new->st.st_mode &S_IFMT))
		return put(p, old, new);
	/* Where the type changes git wants two patches. */
	gone.path = copy_of(old->path);
	none.path = copy_of(new->path);
	return put(p, old, &gone) != 0 || put(p, &none, new) != 0 ? -1 : 0;
}

/* `old` of the lower, `path` of the upper, NULL for none; is: the new content is that of this lower path; or NULL. */
static int print_change(struct printer *p, const struct cow_diff *d, const char *old, const char *path, const char *is)
{
	cleanup_side struct cow_side a = {.fd = -1};
	cleanup_side struct cow_side b = {.fd = -1};
	int error = 0;

	a.path = cow_shown_path(d->branch, d->tree, old != NULL ? old : path);
	b.path = cow_shown_path(d->branch, d->tree, path != NULL ? path : old);
	if (old != NULL)
		error = read_side(&a, d->lower, old, false);
	if (error == 0 && path != NULL)
		error = is != NULL ? read_side(&b, d->lower, is, false) : read_side(&b, d->upper, path, true);
	if (error != 0)
		return cow_error_set(p->err, errno, "cannot read %s", b.path);
	return put_both(p, &a, &b);
}

/* --- directories that were renamed ---------------------------------------------------------------------------------
 */

static int compare_names(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int not_dots(const struct dirent *de)
{
	return strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0;
}

/* All files below an untouched lower directory. */
static int print_moved_lower(struct printer *p, const struct cow_diff *d, const char *old, const char *path)
{
	cleanup_close int at = cow_beneath_open(d->lower, old, O_PATH, false);
	struct dirent **list;
	struct stat st;
	int count, error = 0;

	if (at < 0 || fstat(at, &st) != 0)
		return at < 0 && errno != ENOENT ? cow_error_set(p->err, errno, "cannot read %s", old) : 0;
	if (!S_ISDIR(st.st_mode))
		return print_change(p, d, old, path, old);
	count = scandirat(at, ".", &list, not_dots, compare_names);
	if (count < 0)
		return cow_error_set(p->err, errno, "cannot read %s", old);
	/* However deep it goes. */
	cow_close_fd(&at);
	for (int i = 0; i < count; i++) {
		cleanup_free char *from = cow_name_join(old, list[i]->d_name);
		cleanup_free char *to = cow_name_join(path, list[i]->d_name);

		if (error == 0)
			error = print_moved_lower(p, d, from, to);
		free(list[i]);
	}
	free(list);
	return error;
}

/* What went along with a renamed directory; what was changed in it, or moved by itself, has a row of its own. */
static int print_moved(struct printer *p, const struct cow_diff *d, const struct cow_node *top)
{
	const struct cow_node *end = cow_node_next(top, false);

	for (const struct cow_node *n = top; n != end;) {
		bool along = n == top || (n->origin != NULL && !n->moved && !n->mountpoint);
		bool inside = along && S_ISDIR(n->mode) && n->mark == NULL;
		cleanup_free char *path = NULL;

		if (along && !inside && !n->modified) {
			path = cow_node_path(n);
			if (n->mark != NULL && S_ISDIR(n->mode) ? print_moved_lower(p, d, n->origin, path)
								: print_change(p, d, n->origin, path, n->origin))
				return -1;
		}
		n = cow_node_next(n, inside);
	}
	return 0;
}

/* -------------------------------------------------------------------------------------------------------------------
 */

static int print_row(struct printer *p, const struct cow_row *row)
{
	const struct cow_change *c = row->change;

	if (c->op == 'R' && c->over != NULL) {
		cleanup_free char *place = cow_name_join(c->node->parent->origin, c->node->name);

		if (print_change(p, row->diff, place, NULL, NULL) != 0)
			return -1;
	}
	if (c->op == 'R')
		return print_moved(p, row->diff, c->node);
	return print_change(p, row->diff, c->old, c->path, c->node != NULL && c->node->twin ? c->node->mark : NULL);
}

int cow_patch_print(const struct cow_rows *rows, const struct cow_style *style, struct cow_error **err)
{
	cleanup_free struct printer *p = calloc(1, sizeof(*p));
	int error = 0;

	if (p == NULL)
		abort();
	p->style = style;
	p->err = err;
	cow_pairs_init(&p->pairs);
	for (size_t i = 0; i < rows->count && error == 0; i++)
		error = print_row(p, &rows->list[i]);
	/* What comes before the one that failed is good. */
	if (flush(p, error == 0 ? err : NULL) != 0)
		error = -1;
	return error == 0 ? cow_command_flush(err) : -1;
}
