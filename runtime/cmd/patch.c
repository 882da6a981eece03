/*
 * git knows files, symbolic links and one execute bit, and no renames of directories. So a renamed directory becomes
 * the renames of all files in it, and what git cannot say (owners, other modes, empty directories, devices) stands in
 * lines that begin with "# " between the files, which both programs pass over.
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
#include "hunk.h"

struct printer {
	const struct cow_style *style;
	struct cow_error **err;
};

/* One version of a file. */
struct side {
	bool exists;
	int fd; /* its content; -1: none, or none that is text */
	struct stat st;
	const char *path; /* as it is shown; not owned */
};

static void side_cleanup(struct side *s)
{
	cow_close_fd(&s->fd);
}
#define cleanup_side __attribute__((cleanup(side_cleanup)))

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
static int read_side(struct side *s, int root, const char *path, bool one_mount)
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

static int compare_content(const struct side *a, const struct side *b)
{
	enum { ROOM = 1 << 16 };
	cleanup_free char *buf = NULL;

	/* What was only renamed need not be read. */
	if (a->st.st_ino == b->st.st_ino && a->st.st_dev == b->st.st_dev)
		return 1;
	buf = malloc(2 * (size_t)ROOM);
	for (off_t at = 0; buf != NULL;) {
		ssize_t n = pread(a->fd, buf, ROOM, at);
		ssize_t m = n < 0 ? -1 : pread(b->fd, buf + ROOM, ROOM, at);

		if (m < 0)
			return -1;
		if (n != m || memcmp(buf, buf + ROOM, (size_t)n) != 0)
			return 0;
		if (n == 0)
			return 1;
		at += n;
	}
	return -1;
}

/* --- one file ------------------------------------------------------------------------------------------------------
 */

/* "a/PATH" as git writes it; caller frees. */
static char *lettered(char letter, const char *path)
{
	cleanup_free char *full = NULL;

	if (asprintf(&full, "%c/%s", letter, path) < 0)
		abort();
	return cow_quote_path(full);
}

/* What stands behind --- and +++: a tab ends a name with blanks, as git and patch have it. */
static char *label_of(char letter, const struct side *s)
{
	cleanup_free char *name = s->exists ? lettered(letter, s->path) : strdup("/dev/null");
	char *label = NULL;

	if (name == NULL || asprintf(&label, "%s%s", name, strchr(name, ' ') != NULL ? "\t" : "") < 0)
		abort();
	return label;
}

static bool git_knows(const struct side *s)
{
	return s->exists && (S_ISREG(s->st.st_mode) || S_ISLNK(s->st.st_mode));
}

static unsigned git_mode(const struct side *s)
{
	if (S_ISLNK(s->st.st_mode))
		return 0120000;
	return (s->st.st_mode & 0100) != 0 ? 0100755 : 0100644;
}

/* What no line of a patch tells of two versions. `alone`: nothing else will be said of them. */
static void print_attributes(const struct side *old, const struct side *new, bool alone)
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

static void print_header(const struct printer *p, const struct side *old, const struct side *new)
{
	const char *on = p->style->color ? "\033[1m" : "";
	const char *off = p->style->color ? "\033[0m" : "";
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

/* Regular files and links, of one type if there are two. */
static int print_known(const struct printer *p, const struct side *old, const struct side *new)
{
	cleanup_free char *old_label = label_of('a', old);
	cleanup_free char *new_label = label_of('b', new);
	const struct cow_version a = {old->fd, old_label};
	const struct cow_version b = {new->fd, new_label};
	int same = 0;

	if (old->exists && new->exists) {
		bool alone;

		same = compare_content(old, new);
		if (same < 0)
			return cow_error_set(p->err, errno, "cannot read %s", new->path);
		/* A header with nothing in it and nothing below it is an error for git apply. */
		alone = same && git_mode(old) == git_mode(new) && strcmp(old->path, new->path) == 0;
		print_attributes(old, new, alone);
		if (alone)
			return 0;
	}
	print_header(p, old, new);
	return same ? 0 : cow_hunks_print(&a, &b, p->style, p->err);
}

static void print_unknown(const struct side *old, const struct side *new)
{
	const struct side *one = new->exists ? new : old;
	cleanup_free char *from = cow_quote_path(old->path);
	cleanup_free char *path = cow_quote_path(one->path);

	if (old->exists && new->exists && strcmp(old->path, new->path) != 0)
		printf("# rename %s: %s -> %s\n", cow_type_name(one->st.st_mode), from, path);
	else if (!old->exists || !new->exists)
		printf("# %s %s: %s\n", new->exists ? "new" : "deleted", cow_type_name(one->st.st_mode), path);
	if (old->exists && new->exists)
		print_attributes(old, new, strcmp(old->path, new->path) == 0);
}

static int print_one(const struct printer *p, const struct side *old, const struct side *new)
{
	const struct side gone = {.fd = -1, .path = old->path};
	const struct side none = {.fd = -1, .path = new->path};

	/* Where the type changes git wants two patches. */
	if (old->exists && new->exists && (old->st.st_mode & S_IFMT) != (new->st.st_mode &S_IFMT)) {
		int error = print_one(p, old, &gone);

		return error != 0 ? error : print_one(p, &none, new);
	}
	if (git_knows(old) || git_knows(new))
		return print_known(p, old, new);
	if (old->exists || new->exists)
		print_unknown(old, new);
	return 0;
}

/* `old` of the lower, `path` of the upper, NULL for none; is: the new content is that of this lower path; or NULL. */
static int print_change(const struct printer *p, const struct cow_diff *d, const char *old, const char *path,
			const char *is)
{
	cleanup_free char *shown_old = old != NULL ? cow_shown_path(d->branch, d->tree, old) : NULL;
	cleanup_free char *shown = path != NULL ? cow_shown_path(d->branch, d->tree, path) : NULL;
	cleanup_side struct side a = {.fd = -1, .path = shown_old != NULL ? shown_old : shown};
	cleanup_side struct side b = {.fd = -1, .path = shown != NULL ? shown : shown_old};
	int error = 0;

	if (old != NULL)
		error = read_side(&a, d->lower, old, false);
	if (error == 0 && path != NULL)
		error = is != NULL ? read_side(&b, d->lower, is, false) : read_side(&b, d->upper, path, true);
	if (error != 0)
		return cow_error_set(p->err, errno, "cannot read %s", b.path);
	return print_one(p, &a, &b);
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
static int print_moved_lower(const struct printer *p, const struct cow_diff *d, const char *old, const char *path)
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
static int print_moved(const struct printer *p, const struct cow_diff *d, const struct cow_node *top)
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

static int print_row(const struct printer *p, const struct cow_row *row)
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
	const struct printer p = {style, err};

	for (size_t i = 0; i < rows->count; i++)
		if (print_row(&p, &rows->list[i]) != 0)
			return -1;
	return cow_command_flush(err);
}
