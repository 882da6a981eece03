/*
 * A copy-up of a file with several names takes them one by one. Killed in the middle it has left placeholders of some
 * names beside the copy that stands for others. The journal knows: it had all the names before the first was taken. So
 * the next container's attach completes it; else the names would have parted.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../branch/dict.h"
#include "../lib/fd.h"

/* A placeholder whose name may belong to a copy that was met already, or is met later. */
struct deferred {
	char *place, *lower;
	struct deferred *next;
};

struct cow_relink {
	const struct cow_journal *journal;
	struct cow_dict records; /* lower path: the record of its copy-up, of those with several names */
	struct cow_dict copies;  /* first lower path of such records: place of the copy; to be freed */
	struct cow_dict twins;   /* lower paths of what may have further names (twin.c) */
	struct deferred *deferred;
};

/* The same for all records of one copy: the one that was written first. */
static const char *key_of(const struct cow_journal_copy *c)
{
	while (c->other != NULL)
		c = c->other;
	return c->lower;
}

void cow_relink_begin(struct cow_tree *t, const struct cow_journal *journal)
{
	const struct cow_journal_copy *c;
	const char *twin;

	t->relink = calloc(1, sizeof(*t->relink));
	if (t->relink == NULL)
		abort();
	t->relink->journal = journal;
	for (size_t i = 0; (c = cow_journal_copy_at(journal, i)) != NULL; i++) {
		if (c->other == NULL)
			continue;
		for (; c != NULL; c = c->other)
			cow_dict_put(&t->relink->records, c->lower, (void *)c);
	}
	for (size_t i = 0; (twin = cow_journal_twin_at(journal, i)) != NULL; i++)
		cow_dict_put(&t->relink->twins, twin, t->relink);
}

bool cow_relink_has_twins(const struct cow_tree *t, const char *lower)
{
	return t->relink != NULL && cow_dict_get(&t->relink->twins, lower) != NULL;
}

/* A real file of the upper: is it such a copy? */
void cow_relink_note(struct cow_tree *t, int fd)
{
	const struct cow_journal_copy *c;
	struct cow_ident ident;
	const char *key;

	if (t->relink->records.count == 0 || cow_ident_of(fd, &ident) != 0)
		return;
	c = cow_journal_find_copy(t->relink->journal, &ident);
	if (c == NULL)
		return;
	key = key_of(c);
	if (cow_dict_get(&t->relink->records, key) != NULL && cow_dict_get(&t->relink->copies, key) == NULL)
		cow_dict_put(&t->relink->copies, key, cow_tree_relative(t, fd));
}

bool cow_relink_defer(struct cow_tree *t, int placeholder, const char *lower)
{
	struct deferred *d;

	if (cow_dict_get(&t->relink->records, lower) == NULL)
		return false;
	d = calloc(1, sizeof(*d));
	if (d == NULL || (d->lower = strdup(lower)) == NULL)
		abort();
	d->place = cow_tree_relative(t, placeholder);
	d->next = t->relink->deferred;
	t->relink->deferred = d;
	return true;
}

/* Makes parent/name, a placeholder without a graft yet, a name of the copy. */
static int link_copy(struct cow_tree *t, const char *copy, int parent, const char *name)
{
	cleanup_free char *staged = cow_stage_name(t, 'c');
	struct stat before;

	if (fstat(parent, &before) != 0 || linkat(t->upper, copy, t->stage, staged, 0) != 0)
		return errno;
	if (renameat(t->stage, staged, parent, name) != 0) {
		int saved = errno;

		unlinkat(t->stage, staged, 0);
		return saved;
	}
	return cow_copy_times(parent, &before) == 0 ? 0 : errno;
}

static int finish(struct cow_tree *t, int lower, struct deferred *d, cow_regraft regraft)
{
	const char *key = key_of(cow_dict_get(&t->relink->records, d->lower));
	const char *copy = cow_dict_get(&t->relink->copies, key);
	char *slash = d->place == NULL ? NULL : strrchr(d->place, '/');
	const char *name = slash != NULL ? slash + 1 : d->place;
	cleanup_close int parent = -1;
	cleanup_close int placeholder = -1;

	if (d->place == NULL)
		return ENAMETOOLONG;
	if (slash != NULL)
		*slash = '\0';
	parent = cow_open_beneath(t->upper, slash != NULL ? d->place : "", O_PATH | O_DIRECTORY, 0);
	if (parent < 0)
		return errno;
	if (copy != NULL)
		return link_copy(t, copy, parent, name);
	placeholder = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return placeholder < 0 ? errno : regraft(t, lower, parent, name, placeholder, d->lower);
}

int cow_relink_end(struct cow_tree *t, int lower, cow_regraft regraft)
{
	struct cow_relink *r = t->relink;
	int error = 0;

	while (r->deferred != NULL) {
		struct deferred *d = r->deferred;

		r->deferred = d->next;
		if (error == 0)
			error = finish(t, lower, d, regraft);
		free(d->place);
		free(d->lower);
		free(d);
	}
	for (size_t i = 0; i < r->copies.room; i++)
		free(r->copies.slots[i].value);
	cow_dict_clear(&r->copies);
	cow_dict_clear(&r->twins);
	cow_dict_clear(&r->records);
	free(cow_steal_ptr(&t->relink));
	return error;
}
