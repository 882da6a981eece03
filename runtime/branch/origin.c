#include "origin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../lib/fd.h"

/* Mount points and the directories above them, by path: what the value points to tells which. */
struct mounts {
	struct cow_dict paths;
};
static char is_mount, is_above;

static void find_mounts(struct mounts *m, char *const *list)
{
	for (; list != NULL && *list != NULL; list++) {
		cleanup_free char *path = strdup(*list);
		char *slash;

		if (path == NULL)
			abort();
		cow_dict_put(&m->paths, path, &is_mount);
		while ((slash = strrchr(path, '/')) != NULL) {
			*slash = '\0';
			if (cow_dict_get(&m->paths, path) == NULL)
				cow_dict_put(&m->paths, path, &is_above);
		}
	}
}

/* The path in the lower that an entry has if nothing moved; NULL below a directory that the branch made. */
static char *place_in_lower(const struct cow_node *n)
{
	if (n->parent == NULL || n->parent->origin == NULL)
		return NULL;
	return cow_name_join(n->parent->origin, n->name);
}

static void set_origin(struct cow_origins *o, struct cow_node *n, const char *path)
{
	n->origin = strdup(path);
	if (n->origin == NULL)
		abort();
	cow_dict_put(&o->present, path, n);
}

/* --- first pass: what the entries say themselves ------------------------------------------------------------------ */

/*
 * A file may have several names, as its original may have had: each takes one of those for the time being. The one that
 * is where an original was has the right to that (settle_copy).
 */
static void take_copy(struct cow_origins *o, struct cow_node *n)
{
	const struct cow_journal_copy *c = cow_journal_find_copy(o->journal, &n->ident);

	n->copy = c;
	while (c != NULL && cow_dict_get(&o->present, c->lower) != NULL)
		c = c->other;
	if (c == NULL)
		return;
	n->copy = c;
	cow_dict_put(&o->present, c->lower, n);
}

static void read_records(struct cow_origins *o, struct cow_node *n)
{
	if (n->mark != NULL) {
		if (cow_dict_get(&o->present, n->mark) == NULL)
			set_origin(o, n, n->mark);
	} else if (S_ISDIR(n->mode)) {
		n->split = cow_journal_find_split(o->journal, &n->ident);
		if (n->parent == NULL)
			set_origin(o, n, "");
		else if (n->split != NULL && cow_dict_get(&o->present, n->split->lower) == NULL)
			set_origin(o, n, n->split->lower);
		else
			n->split = NULL;
	}
}

static void first_pass(struct cow_origins *o, struct cow_node *root, const struct mounts *mounts)
{
	for (struct cow_node *n = root; n != NULL; n = cow_node_next(n, !n->mountpoint)) {
		if (mounts->paths.count > 0 && n->parent != NULL) {
			cleanup_free char *path = cow_node_path(n);
			const char *what = cow_dict_get(&mounts->paths, path);

			n->mountpoint = what == &is_mount;
			n->scaffold = what == &is_above && S_ISDIR(n->mode);
		}
		if (!n->mountpoint)
			read_records(o, n);
	}
	/* After the placeholders: a copy-up that was killed may have left one that its copy was to replace. */
	for (struct cow_node *n = root; n != NULL; n = cow_node_next(n, !n->mountpoint))
		if (!n->mountpoint && n->mark == NULL && !S_ISDIR(n->mode))
			take_copy(o, n);
}

/* --- second pass, from the top down: where they are, and directories that were made again --------------------------
 */

/* `place` is where one of the originals was: who has that takes this one's in exchange. */
static void settle_copy(struct cow_origins *o, struct cow_node *n, const char *place)
{
	const struct cow_journal_copy *c = cow_journal_find_copy(o->journal, &n->ident);
	struct cow_node *owner;

	while (c != NULL && strcmp(c->lower, place) != 0)
		c = c->other;
	if (c == NULL)
		return;
	owner = cow_dict_get(&o->present, place);
	if (owner == n)
		return;
	if (owner != NULL && owner->copy != c)
		owner = NULL;
	if (owner != NULL && cow_dict_get(&o->present, n->copy->lower) == n)
		owner->copy = n->copy;
	if (cow_dict_get(&o->present, n->copy->lower) == n)
		cow_dict_put(&o->present, n->copy->lower, owner);
	n->copy = c;
	cow_dict_put(&o->present, place, n);
}

static void lose_origin(struct cow_node *n)
{
	free(cow_steal_ptr(&n->origin));
	n->moved = false;
}

/* The placeholder that stands where the lower has the file has the right to be it. */
static void settle_mark(struct cow_origins *o, struct cow_node *n, const char *place)
{
	struct cow_node *owner = cow_dict_get(&o->present, n->mark);

	if (strcmp(n->mark, place) != 0 || owner == n || owner == NULL || owner->mark == NULL)
		return;
	lose_origin(owner);
	set_origin(o, n, place);
}

static void settle(struct cow_origins *o, struct cow_node *n, const struct mounts *mounts)
{
	cleanup_free char *place = place_in_lower(n);

	if (n->parent == NULL)
		return;
	if (n->parent->split != NULL)
		n->base = cow_journal_entry_named(n->parent->split, n->name);
	if (place == NULL) {
		n->moved = n->origin != NULL;
		return;
	}
	/* The parent may have been renamed with the mount point in it. */
	if (n->mountpoint || cow_dict_get(&mounts->paths, place) == &is_mount) {
		n->mountpoint = true;
		free(n->origin);
		set_origin(o, n, place);
		return;
	}
	if (n->copy != NULL)
		settle_copy(o, n, place);
	if (n->mark != NULL)
		settle_mark(o, n, place);
	if (n->origin != NULL) {
		n->moved = strcmp(n->origin, place) != 0;
	} else if (S_ISDIR(n->mode) && n->mark == NULL && n->base != NULL && S_ISDIR(n->base->stamp.mode) &&
		   cow_dict_get(&o->present, place) == NULL) {
		set_origin(o, n, place);
		n->split = cow_dict_get(&o->splits, place);
	}
}

static void second_pass(struct cow_origins *o, struct cow_node *root, const struct mounts *mounts)
{
	for (struct cow_node *n = root; n != NULL; n = cow_node_next(n, !n->mountpoint))
		settle(o, n, mounts);
}

/* The nearest directory above a lower path that is unchanged as a whole, and what follows of the path; or NULL. */
static const struct cow_node *whole_above(const struct cow_origins *o, const char *path, const char **rest)
{
	cleanup_free char *dir = strdup(path);
	size_t length;

	if (dir == NULL)
		abort();
	while ((length = cow_name_parent(dir)) > 0) {
		const struct cow_node *n;

		dir[length] = '\0';
		n = cow_dict_get(&o->present, dir);
		if (n == NULL)
			continue;
		*rest = path + length + 1;
		return n->mark != NULL ? n : NULL;
	}
	return NULL;
}

/* --- third pass: files, now that it is known where the copies are --------------------------------------------------
 */

/* What came to stand where the lower had a file is taken for a new form of that, unless it is elsewhere now. */
static void take_place(struct cow_origins *o, struct cow_node *n, const char *place)
{
	if (place != NULL && n->base != NULL && !S_ISDIR(n->base->stamp.mode) &&
	    cow_dict_get(&o->present, place) == NULL)
		set_origin(o, n, place);
}

static void settle_file(struct cow_origins *o, struct cow_node *n)
{
	cleanup_free char *place = place_in_lower(n);

	if (n->copy != NULL && cow_dict_get(&o->present, n->copy->lower) == n) {
		set_origin(o, n, n->copy->lower);
		n->moved = place == NULL || strcmp(place, n->origin) != 0;
		return;
	}
	n->copy = NULL;
	take_place(o, n, place);
}

static void settle_placeholder(struct cow_origins *o, struct cow_node *n)
{
	cleanup_free char *place = place_in_lower(n);
	const char *rest;

	if (n->origin != NULL && n->moved && whole_above(o, n->mark, &rest) != NULL) {
		cow_dict_put(&o->present, n->mark, NULL);
		lose_origin(n);
	}
	n->twin = n->origin == NULL;
	if (n->twin)
		take_place(o, n, place);
}

static void third_pass(struct cow_origins *o, struct cow_node *root)
{
	for (struct cow_node *n = root; n != NULL; n = cow_node_next(n, !n->mountpoint)) {
		if (n->mountpoint)
			continue;
		if (!S_ISDIR(n->mode) && n->mark == NULL)
			settle_file(o, n);
		else if (!S_ISDIR(n->mode))
			settle_placeholder(o, n);
		if (n->scaffold && n->origin != NULL)
			n->scaffold = false;
	}
	/* What holds anything but mount points was made, or kept, for that. */
	for (struct cow_node *n = root; n != NULL; n = cow_node_next(n, !n->mountpoint))
		if (!n->mountpoint && !n->scaffold)
			for (struct cow_node *p = n->parent; p != NULL && p->scaffold; p = p->parent)
				p->scaffold = false;
}

/* -------------------------------------------------------------------------------------------------------------------
 */

static struct cow_journal *load(const struct cow_branch *b, size_t tree, struct cow_error **err)
{
	cleanup_close int dir = -1;
	char name[32];

	snprintf(name, sizeof(name), "trees/%zu", tree);
	dir = openat(b->dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0) {
		cow_error_set(err, errno, "branch %s: %s", b->name, name);
		return NULL;
	}
	return cow_journal_load(dir, err);
}

int cow_origins_find(struct cow_origins *o, struct cow_node *root, const struct cow_branch *b, size_t tree,
		     struct cow_error **err)
{
	struct mounts mounts = {0};
	const struct cow_journal_split *split;
	const struct cow_journal_copy *copy;

	memset(o, 0, sizeof(*o));
	/* After the upper was read: what is in it was recorded before it was revealed. */
	o->journal = load(b, tree, err);
	if (o->journal == NULL)
		return -1;
	for (size_t i = 0; (split = cow_journal_split_at(o->journal, i)) != NULL; i++)
		cow_dict_put(&o->splits, split->lower, (void *)split);
	for (size_t i = 0; (copy = cow_journal_copy_at(o->journal, i)) != NULL; i++)
		cow_dict_put(&o->copies, copy->lower, (void *)copy);
	find_mounts(&mounts, b->trees[tree].mountpoints);
	first_pass(o, root, &mounts);
	second_pass(o, root, &mounts);
	third_pass(o, root);
	cow_dict_clear(&mounts.paths);
	return 0;
}

void cow_origins_clear(struct cow_origins *o)
{
	cow_journal_free(o->journal);
	cow_dict_clear(&o->present);
	cow_dict_clear(&o->splits);
	cow_dict_clear(&o->copies);
	memset(o, 0, sizeof(*o));
}

char *cow_origins_place(const struct cow_origins *o, const char *path)
{
	const struct cow_node *n = cow_dict_get(&o->present, path);
	const char *rest = NULL;
	cleanup_free char *dir = NULL;

	if (n != NULL)
		return cow_node_path(n);
	n = whole_above(o, path, &rest);
	dir = n == NULL ? NULL : cow_node_path(n);
	return dir == NULL ? NULL : cow_name_join(dir, rest);
}

const struct cow_lower_stamp *cow_origins_stamp(const struct cow_origins *o, const char *path)
{
	size_t length = cow_name_parent(path);
	cleanup_free char *parent = strndup(path, length);
	const struct cow_journal_split *split = parent != NULL ? cow_dict_get(&o->splits, parent) : NULL;
	const struct cow_journal_entry *entry;

	if (*path == '\0') {
		split = cow_dict_get(&o->splits, path);
		return split != NULL ? &split->stamp : NULL;
	}
	if (split == NULL)
		return NULL;
	entry = cow_journal_entry_named(split, path + (length > 0 ? length + 1 : 0));
	return entry != NULL ? &entry->stamp : NULL;
}
