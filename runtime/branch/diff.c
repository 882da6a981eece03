#include "diff.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/log.h"
#include "beneath.h"
#include "changed.h"

static struct cow_change *add(struct cow_diff *d, char op, const struct cow_node *n)
{
	struct cow_change *c;

	if (d->count == d->room) {
		d->room = d->room == 0 ? 64 : d->room * 2;
		d->list = reallocarray(d->list, d->room, sizeof(*d->list));
		if (d->list == NULL)
			abort();
	}
	c = &d->list[d->count++];
	memset(c, 0, sizeof(*c));
	c->op = op;
	c->node = n;
	if (n != NULL)
		c->path = cow_node_path(n);
	return c;
}

static void set_old(struct cow_change *c, const char *old, const struct cow_lower_stamp *stamp)
{
	c->old = strdup(old);
	if (c->old == NULL)
		abort();
	c->stamp = stamp;
	c->old_mode = stamp->mode;
}

/* --- what is there -------------------------------------------------------------------------------------------------
 */

/* How the origin of a node looked when the branch took it. */
static const struct cow_lower_stamp *stamp_of(const struct cow_diff *d, const struct cow_node *n)
{
	if (n->copy != NULL)
		return &n->copy->stamp;
	if (n->split != NULL && strcmp(n->split->lower, n->origin) == 0)
		return &n->split->stamp;
	return cow_origins_stamp(&d->origins, n->origin);
}

static int changed(const struct cow_diff *d, const struct cow_node *n, const struct cow_lower_stamp *stamp,
		   struct cow_error **err)
{
	int result;

	/* A copy that was made ahead and not touched since; nobody can set that time. */
	if (n->copy != NULL && n->copy->ctime_sec == n->ctime.tv_sec && n->copy->ctime_sec != 0 &&
	    n->copy->ctime_nsec == (uint32_t)n->ctime.tv_nsec)
		return 0;
	result = cow_node_changed(n, d->upper, d->lower, stamp);

	if (result < 0) {
		cleanup_free char *path = cow_node_path(n);

		return cow_error_set(err, errno, "cannot compare /%s with %s/%s", path, d->branch->trees[d->tree].lower,
				     n->origin);
	}
	return result;
}

/* A file of the lower that this one took the place of. */
static const struct cow_lower_stamp *overwritten(const struct cow_diff *d, const struct cow_node *n)
{
	cleanup_free char *place = NULL;

	if (n->base == NULL || S_ISDIR(n->mode) || S_ISDIR(n->base->stamp.mode))
		return NULL;
	place = cow_name_join(n->parent->origin, n->name);
	return cow_dict_get(&d->origins.present, place) == NULL ? &n->base->stamp : NULL;
}

/* The journal lost the record (the host lost power): like nothing that the lower has, so that a commit asks. */
static const struct cow_lower_stamp unknown;

/* A further name of an untouched file: new, or in the place of a file that is gone, unless they were one in the lower.
 */
static void list_twin(struct cow_diff *d, struct cow_node *n)
{
	const struct cow_lower_stamp *was = n->origin != NULL ? cow_origins_stamp(&d->origins, n->origin) : NULL;
	const struct cow_lower_stamp *is = cow_origins_stamp(&d->origins, n->mark);
	struct cow_change *c;

	if (n->origin == NULL) {
		c = add(d, 'A', n);
		c->over = overwritten(d, n);
	} else if (is == NULL || was == NULL || is->ino != was->ino) {
		n->modified = true;
		set_old(add(d, 'M', n), n->origin, was != NULL ? was : &unknown);
	}
}

static int list_node(struct cow_diff *d, struct cow_node *n, struct cow_error **err)
{
	const struct cow_lower_stamp *stamp = n->origin != NULL ? stamp_of(d, n) : NULL;
	struct cow_change *c;
	int different = 0;

	if (n->twin) {
		list_twin(d, n);
		return 0;
	}
	if (n->origin == NULL && n->mark != NULL) {
		cow_log_warning("branch %s: %s stands twice in it", d->branch->name, n->mark);
		return 0;
	}
	if (stamp == NULL && n->mark == NULL) {
		/* Of the root, that is: a branch no container started in. */
		if (n->parent != NULL) {
			c = add(d, 'A', n);
			c->over = overwritten(d, n);
		}
		return 0;
	}
	if (stamp == NULL)
		stamp = &unknown;
	if (n->mark == NULL)
		different = changed(d, n, stamp, err);
	if (different < 0)
		return -1;
	n->modified = different > 0;
	if (n->moved) {
		c = add(d, 'R', n);
		set_old(c, n->origin, stamp);
		if (stamp == &unknown)
			c->old_mode = n->mode;
		c->over = overwritten(d, n);
	}
	if (different > 0)
		set_old(add(d, 'M', n), n->origin, stamp);
	return 0;
}

/* --- what is not ---------------------------------------------------------------------------------------------------
 */

struct gone {
	char *path;
	const struct cow_lower_stamp *stamp;
	bool inside;
};

struct gone_list {
	struct gone *list;
	size_t count, room;
};

static void push_gone(struct gone_list *g, char *path, const struct cow_lower_stamp *stamp, bool inside)
{
	if (g->count == g->room) {
		g->room = g->room == 0 ? 16 : g->room * 2;
		g->list = reallocarray(g->list, g->room, sizeof(*g->list));
		if (g->list == NULL)
			abort();
	}
	g->list[g->count++] = (struct gone){path, stamp, inside};
}

/* What the host deleted as well is no change any more; the agent, too, drops a placeholder when its lower is gone. */
static bool still_there(const struct cow_diff *d, const char *path)
{
	const char *name;
	cleanup_close int dir = cow_beneath_parent(d->lower, path, false, &name);

	return dir < 0 ? errno != ENOENT && errno != ENOTDIR && errno != ELOOP
		       : faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A deleted entry, and what was deleted in it before; what was moved out of it is listed where it is now. */
static void list_gone(struct cow_diff *d, struct gone_list *g)
{
	while (g->count > 0) {
		struct gone at = g->list[--g->count];
		const struct cow_journal_split *split =
			S_ISDIR(at.stamp->mode) ? cow_dict_get(&d->origins.splits, at.path) : NULL;

		if (still_there(d, at.path)) {
			struct cow_change *c = add(d, 'D', NULL);

			set_old(c, at.path, at.stamp);
			c->inside = at.inside;
		}
		for (size_t i = 0; split != NULL && i < split->nentries; i++) {
			char *path = cow_name_join(at.path, split->entries[i].name);

			if (cow_dict_get(&d->origins.present, path) == NULL)
				push_gone(g, path, &split->entries[i].stamp, true);
			else
				free(path);
		}
		free(at.path);
	}
}

/* Both lists are sorted by name. */
static void list_missing(struct cow_diff *d, const struct cow_node *dir)
{
	const struct cow_node *child = dir->child;
	struct gone_list gone = {0};

	for (size_t i = 0; dir->split != NULL && i < dir->split->nentries; i++) {
		const struct cow_journal_entry *e = &dir->split->entries[i];
		char *path = cow_name_join(dir->origin, e->name);

		while (child != NULL && strcmp(child->name, e->name) < 0)
			child = child->next;
		if (cow_dict_get(&d->origins.present, path) != NULL ||
		    /* One file in the place of another is one change. */
		    (child != NULL && strcmp(child->name, e->name) == 0 && !S_ISDIR(child->mode) &&
		     !S_ISDIR(e->stamp.mode)))
			free(path);
		else
			push_gone(&gone, path, &e->stamp, false);
	}
	list_gone(d, &gone);
	free(gone.list);
}

/* -------------------------------------------------------------------------------------------------------------------
 */

static const char *sort_key(const struct cow_change *c)
{
	return c->op == 'D' || c->op == 'R' ? c->old : c->path;
}

static int compare_changes(const void *a, const void *b)
{
	const struct cow_change *x = a;
	const struct cow_change *y = b;
	static const char order[] = "DRAM";
	int by_key = strcmp(sort_key(x), sort_key(y));

	return by_key != 0 ? by_key : (int)(strchr(order, x->op) - strchr(order, y->op));
}

static int open_lower(const struct cow_branch *b, size_t tree, struct cow_error **err)
{
	int fd = open(b->trees[tree].lower, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 ? fd : cow_error_set(err, errno, "branch %s: %s", b->name, b->trees[tree].lower);
}

int cow_diff_make(struct cow_diff *d, const struct cow_branch *b, size_t tree, struct cow_error **err)
{
	memset(d, 0, sizeof(*d));
	d->branch = b;
	d->tree = tree;
	d->lower = -1;
	d->upper = cow_branch_open(b, tree, "upper", err);
	if (d->upper < 0 || (d->lower = open_lower(b, tree, err)) < 0)
		return -1;
	d->root = cow_upper_read(b, d->upper, err);
	if (d->root == NULL || cow_origins_find(&d->origins, d->root, b, tree, err) != 0)
		return -1;
	for (struct cow_node *n = d->root; n != NULL; n = cow_node_next(n, !n->mountpoint)) {
		if (n->mountpoint || n->scaffold)
			continue;
		if (list_node(d, n, err) != 0)
			return -1;
		if (S_ISDIR(n->mode) && n->origin != NULL)
			list_missing(d, n);
	}
	if (d->count > 0)
		qsort(d->list, d->count, sizeof(*d->list), compare_changes);
	return 0;
}

void cow_diff_clear(struct cow_diff *d)
{
	for (size_t i = 0; i < d->count; i++) {
		free(d->list[i].old);
		free(d->list[i].path);
	}
	free(d->list);
	cow_origins_clear(&d->origins);
	cow_node_free(d->root);
	cow_close_fd(&d->upper);
	cow_close_fd(&d->lower);
	memset(d, 0, sizeof(*d));
	d->upper = d->lower = -1;
}
