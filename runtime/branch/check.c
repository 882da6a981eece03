#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "beneath.h"

static const char changed[] = "changed on the host since", gone[] = "gone from the host",
		  made[] = "made on the host meanwhile", parent_gone[] = "its directory is gone from the host",
		  filled[] = "made on the host in a directory that the branch deletes";

bool cow_stamp_matches(const struct cow_lower_stamp *stamp, const struct stat *st)
{
	struct cow_lower_stamp now;

	if (S_ISDIR(stamp->mode))
		return S_ISDIR(st->st_mode) && st->st_ino == stamp->ino;
	cow_lower_stamp_of(&now, st);
	return cow_lower_stamp_equal(&now, stamp);
}

static void add(struct cow_conflicts *c, const struct cow_diff *d, const char *path, const char *why)
{
	struct cow_conflict *last;

	if (c->count == c->room) {
		c->room = c->room == 0 ? 16 : c->room * 2;
		c->list = reallocarray(c->list, c->room, sizeof(*c->list));
		if (c->list == NULL)
			abort();
	}
	last = &c->list[c->count++];
	*last = (struct cow_conflict){d->tree, strdup(path), why};
	if (last->path == NULL)
		abort();
}

/* 1: there, 0: not there, -1: no such directory to look in, -2: another error. */
static int look(const struct cow_diff *d, const char *path, struct stat *st)
{
	const char *name;
	cleanup_close int dir = -1;

	if (*path == '\0')
		return fstat(d->lower, st) == 0 ? 1 : -2;
	dir = cow_beneath_parent(d->lower, path, false, &name);
	if (dir < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? -1 : -2;
	if (fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) == 0)
		return 1;
	return errno == ENOENT ? 0 : -2;
}

/* A file may have been copied up after its directory was split: then that is how the branch last saw it. */
static bool matches(const struct cow_diff *d, const char *path, const struct cow_lower_stamp *stamp,
		    const struct stat *st)
{
	const struct cow_journal_copy *copy;

	if (cow_stamp_matches(stamp, st))
		return true;
	copy = cow_dict_get(&d->origins.copies, path);
	return copy != NULL && cow_stamp_matches(&copy->stamp, st);
}

/* Whatever is in a directory that goes away must be what the branch knew of. */
static int check_contents(struct cow_conflicts *c, const struct cow_diff *d, const char *path)
{
	const struct cow_journal_split *split = cow_dict_get(&d->origins.splits, path);
	int fd = cow_beneath_open(d->lower, path, O_RDONLY | O_DIRECTORY, false);
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (dir == NULL) {
		cow_close_fd(&fd);
		return -1;
	}
	while ((errno = 0, de = readdir(dir)) != NULL) {
		cleanup_free char *entry = NULL;

		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0 ||
		    (split != NULL && cow_journal_entry_named(split, de->d_name) != NULL))
			continue;
		entry = cow_name_join(path, de->d_name);
		add(c, d, entry, filled);
	}
	return errno == 0 ? 0 : -1;
}

/* What is at `old` of the lower. */
static int check_old(struct cow_conflicts *c, const struct cow_diff *d, const struct cow_change *change)
{
	struct stat st;
	int there = look(d, change->old, &st);

	if (there == -2)
		return -1;
	if (there < 1) {
		if (change->op != 'D')
			add(c, d, change->old, gone);
		return 0;
	}
	if (!matches(d, change->old, change->stamp, &st) ||
	    (change->op == 'M' && S_ISDIR(st.st_mode) && st.st_mode != change->stamp->mode)) {
		add(c, d, change->old, changed);
		return 0;
	}
	return change->op == 'D' && S_ISDIR(st.st_mode) ? check_contents(c, d, change->old) : 0;
}

/* What is where something new will stand. Below a new directory there can be nothing. */
static int check_place(struct cow_conflicts *c, const struct cow_diff *d, const struct cow_change *change)
{
	const struct cow_node *parent = change->node->parent;
	cleanup_free char *place = NULL;
	struct stat st;
	int there;

	if (parent == NULL || parent->origin == NULL)
		return 0;
	place = cow_name_join(parent->origin, change->node->name);
	there = look(d, place, &st);
	if (there == -2)
		return -1;
	if (there == -1)
		add(c, d, place, parent_gone);
	else if (there == 1 && change->over != NULL && !matches(d, place, change->over, &st))
		add(c, d, place, changed);
	/* What the branch knew of is deleted, moved or replaced, and is looked at as such. */
	else if (there == 1 && change->node->base == NULL)
		add(c, d, place, made);
	return 0;
}

/* What a further name leads to: it has to be there. Whatever it holds by now, it is that file. */
static int check_twin(struct cow_conflicts *c, const struct cow_diff *d, const struct cow_change *change)
{
	struct stat st;
	int there = look(d, change->node->mark, &st);

	if (there == -2)
		return -1;
	if (there < 1)
		add(c, d, change->node->mark, gone);
	return 0;
}

int cow_conflicts_find(struct cow_conflicts *c, const struct cow_diff *d, struct cow_error **err)
{
	const struct cow_lower_stamp *root = cow_origins_stamp(&d->origins, "");
	struct stat st;

	if (fstat(d->lower, &st) != 0)
		return cow_error_set(err, errno, "%s", d->branch->trees[d->tree].lower);
	if (d->count > 0 && root != NULL && root->ino != st.st_ino)
		add(c, d, "", "not the directory that the branch is of");
	for (size_t i = 0; i < d->count; i++) {
		const struct cow_change *change = &d->list[i];
		int error = 0;

		if (change->op != 'A')
			error = check_old(c, d, change);
		if (error == 0 && (change->op == 'A' || change->op == 'R'))
			error = check_place(c, d, change);
		if (error == 0 && change->node != NULL && change->node->twin)
			error = check_twin(c, d, change);
		if (error != 0)
			return cow_error_set(err, errno, "cannot look at %s/%s", d->branch->trees[d->tree].lower,
					     change->old != NULL ? change->old : change->path);
	}
	return 0;
}

void cow_conflicts_clear(struct cow_conflicts *c)
{
	for (size_t i = 0; i < c->count; i++)
		free(c->list[i].path);
	free(c->list);
	memset(c, 0, sizeof(*c));
}
