/*
 * git knows files, symbolic links and one execute bit, and no renames of directories. So a renamed directory becomes
 * the renames of all files in it, and what git cannot say (owners, other modes, empty directories, devices) stands in
 * lines that begin with "# " between the files, which both programs pass over.
 */
#include "entry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "rows.h"

/* "a/PATH" as git writes it; caller frees. */
static char *lettered(char letter, const char *path)
{
	cleanup_free char *full = NULL;

	if (asprintf(&full, "%c/%s", letter, path) < 0)
		abort();
	return cow_quote_path(full);
}

/* What stands behind --- and +++: a tab ends a name with blanks, as git and patch have it. */
static char *label_of(char letter, const struct cow_side *s)
{
	cleanup_free char *name = s->exists ? lettered(letter, s->path) : strdup("/dev/null");
	char *label = NULL;

	if (name == NULL || asprintf(&label, "%s%s", name, strchr(name, ' ') != NULL ? "\t" : "") < 0)
		abort();
	return label;
}

static bool git_knows(const struct cow_side *s)
{
	return s->exists && (S_ISREG(s->st.st_mode) || S_ISLNK(s->st.st_mode));
}

static unsigned git_mode(const struct cow_side *s)
{
	if (S_ISLNK(s->st.st_mode))
		return 0120000;
	return (s->st.st_mode & 0100) != 0 ? 0100755 : 0100644;
}

/* 1, 0 or -1 with errno. What was only renamed need not be read. */
static int compare_content(const struct cow_side *a, const struct cow_side *b)
{
	return a->st.st_ino == b->st.st_ino && a->st.st_dev == b->st.st_dev ? 1 : cow_same_content(a->fd, b->fd);
}

/* Takes from the sides what the text needs. Regular files and links, of one type if there are two. */
static int prepare_known(struct cow_entry *e, struct cow_pairs *pairs, struct cow_error **err)
{
	if (e->old.exists && e->new.exists) {
		int same = compare_content(&e->old, &e->new);

		if (same < 0)
			return cow_error_set(err, errno, "cannot read %s", e->new.path);
		e->same = same > 0;
	}
	if (e->same)
		return 0;
	e->text.old = cow_steal_fd(&e->old.fd);
	e->text.new = cow_steal_fd(&e->new.fd);
	return cow_text_add(pairs, &e->text, e->new.path, err);
}

int cow_entry_prepare(struct cow_entry *e, struct cow_pairs *pairs, struct cow_error **err)
{
	int error = 0;

	e->same = false;
	e->text.old = e->text.new = -1;
	e->known = git_knows(&e->old) || git_knows(&e->new);
	if (e->known)
		error = prepare_known(e, pairs, err);
	/* Many entries wait for their turn. */
	cow_close_fd(&e->old.fd);
	cow_close_fd(&e->new.fd);
	return error;
}

/* What no line of a patch tells of two versions. `alone`: nothing else will be said of them. */
static void print_attributes(const struct cow_side *old, const struct cow_side *new, bool alone)
{
	cleanup_free char *path = cow_quote_path(new->path);
	unsigned was = old->st.st_mode & 07777;
	unsigned is = new->st.st_mode & 07777;

	if (was != is && (alone || ((was ^ is) & ~0111U) != 0)) {
		printf("# mode %04o -> %04o: %s\n", was, is, path);
		alone = false;
	}
	if (old->st.st_uid != new->st.st_uid || old->st.st_gid != new->st.st_gid) {
		printf("# owner %u:%u -> %u:%u: %s\n", old->st.st_uid, old->st.st_gid, new->st.st_uid, new->st.st_gid,
		       path);
		alone = false;
	}
	if (alone)
		printf("# times or extended attributes: %s\n", path);
}

static void print_header(const struct cow_style *style, const struct cow_side *old, const struct cow_side *new)
{
	const char *on = style->color ? "\033[1m" : "";
	const char *off = style->color ? "\033[0m" : "";
	cleanup_free char *a = lettered('a', old->path);
	cleanup_free char *b = lettered('b', new->path);

	printf("%sdiff --git %s %s%s\n", on, a, b, off);
	if (!old->exists)
		printf("%snew file mode %06o%s\n", on, git_mode(new), off);
	else if (!new->exists)
		printf("%sdeleted file mode %06o%s\n", on, git_mode(old), off);
	else if (git_mode(old) != git_mode(new))
		printf("%sold mode %06o%s\n%snew mode %06o%s\n", on, git_mode(old), off, on, git_mode(new), off);
	if (strcmp(old->path, new->path) != 0) {
		cleanup_free char *from = cow_quote_path(old->path);
		cleanup_free char *to = cow_quote_path(new->path);

		printf("%srename from %s%s\n%srename to %s%s\n", on, from, off, on, to, off);
	}
}

static int print_known(const struct cow_entry *e, struct cow_pairs *pairs, const struct cow_style *style,
		       struct cow_error **err)
{
	cleanup_free char *old_label = label_of('a', &e->old);
	cleanup_free char *new_label = label_of('b', &e->new);

	if (e->old.exists && e->new.exists) {
		/* A header with nothing in it and nothing below it is an error for git apply. */
		bool alone = e->same && git_mode(&e->old) == git_mode(&e->new) && strcmp(e->old.path, e->new.path) == 0;

		print_attributes(&e->old, &e->new, alone);
		if (alone)
			return 0;
	}
	print_header(style, &e->old, &e->new);
	return e->same ? 0 : cow_text_print(pairs, &e->text, old_label, new_label, style, err);
}

static void print_unknown(const struct cow_side *old, const struct cow_side *new)
{
	const struct cow_side *one = new->exists ? new : old;
	cleanup_free char *from = cow_quote_path(old->path);
	cleanup_free char *path = cow_quote_path(one->path);

	if (old->exists && new->exists && strcmp(old->path, new->path) != 0)
		printf("# rename %s: %s -> %s\n", cow_type_name(one->st.st_mode), from, path);
	else if (!old->exists || !new->exists)
		printf("# %s %s: %s\n", new->exists ? "new" : "deleted", cow_type_name(one->st.st_mode), path);
	if (old->exists && new->exists)
		print_attributes(old, new, strcmp(old->path, new->path) == 0);
}

int cow_entry_print(const struct cow_entry *e, struct cow_pairs *pairs, const struct cow_style *style,
		    struct cow_error **err)
{
	if (e->known)
		return print_known(e, pairs, style, err);
	if (e->old.exists || e->new.exists)
		print_unknown(&e->old, &e->new);
	return 0;
}

void cow_side_clear(struct cow_side *s)
{
	cow_close_fd(&s->fd);
	free(s->path);
	s->path = NULL;
}

void cow_entry_clear(struct cow_entry *e)
{
	cow_side_clear(&e->old);
	cow_side_clear(&e->new);
	cow_text_clear(&e->text);
}
