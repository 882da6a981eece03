#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/copy.h"
#include "../lib/fd.h"
#include "beneath.h"
#include "check.h"
#include "remove.h"
#include "xattrs.h"

/* A name of an inode that has several: in the stage, or where the lower's own file is that the branch left as it was.
 */
struct link_source {
	char *staged;
	const struct cow_node *lower;
};

static void link_key(char *out, size_t room, const struct cow_node *n)
{
	snprintf(out, room, "%" PRIu64, n->ident.ino);
}

static void remember_link(struct cow_stage *s, const struct cow_node *n, const char *staged,
			  const struct cow_node *lower)
{
	struct link_source *source;
	char key[24];

	link_key(key, sizeof(key), n);
	if (cow_dict_get(&s->links, key) != NULL)
		return;
	source = calloc(1, sizeof(*source));
	if (source == NULL || (staged != NULL && (source->staged = strdup(staged)) == NULL))
		abort();
	source->lower = lower;
	cow_dict_put(&s->links, key, source);
}

/*
 * May a further name of this be a link to the lower's own file or symbolic link? The branch must have left it as it
 * was, and so must the host: otherwise the link would show other content.
 */
static bool still_the_same(const struct cow_diff *d, const struct cow_node *n)
{
	const struct cow_lower_stamp *stamp;
	cleanup_close int fd = -1;
	struct stat st;

	if (n->origin == NULL || n->mark != NULL || n->modified || S_ISDIR(n->mode))
		return false;
	stamp = n->copy != NULL ? &n->copy->stamp : cow_origins_stamp(&d->origins, n->origin);
	fd = cow_beneath_open(d->lower, n->origin, O_PATH, true);
	return stamp != NULL && fd >= 0 && fstat(fd, &st) == 0 && cow_stamp_matches(stamp, &st);
}

/* --- the stage itself ----------------------------------------------------------------------------------------------
 */

int cow_stage_remove(const struct cow_branch *b, size_t tree, int lower, struct cow_error **err)
{
	char name[64];

	cow_plan_stage_name(name, sizeof(name), b, tree);
	if (cow_remove_tree(lower, name) != 0)
		return cow_error_set(err, errno, "cannot remove %s/%s", b->trees[tree].lower, name);
	return 0;
}

int cow_stage_open(struct cow_stage *s, const struct cow_diff *d, struct cow_error **err)
{
	char name[64];

	memset(s, 0, sizeof(*s));
	s->diff = d;
	s->fd = -1;
	cow_plan_stage_name(name, sizeof(name), d->branch, d->tree);
	/* What is there was left by a commit that was killed before it had changed anything. */
	if (cow_stage_remove(d->branch, d->tree, d->lower, err) != 0)
		return -1;
	if (mkdirat(d->lower, name, 0700) != 0 ||
	    (s->fd = openat(d->lower, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		return cow_error_set(err, errno, "cannot make %s/%s", d->branch->trees[d->tree].lower, name);
	for (const struct cow_node *n = d->root; n != NULL; n = cow_node_next(n, !n->mountpoint))
		if (n->nlink > 1 && still_the_same(d, n))
			remember_link(s, n, NULL, n);
	return 0;
}

void cow_stage_close(struct cow_stage *s)
{
	for (size_t i = 0; i < s->links.room; i++) {
		struct link_source *source = s->links.slots[i].value;

		if (source != NULL)
			free(source->staged);
		free(source);
	}
	cow_dict_clear(&s->links);
	cow_close_fd(&s->fd);
}

/* --- content -------------------------------------------------------------------------------------------------------
 */

static void proc_path(char *out, size_t room, int fd)
{
	snprintf(out, room, "/proc/self/fd/%d", fd);
}

static int copy_attributes(int from, int to, const struct stat *st, mode_t more)
{
	char path[40];

	proc_path(path, sizeof(path), to);
	/* The owner first: chown clears set-id bits and capabilities. */
	if (chown(path, st->st_uid, st->st_gid) != 0 || chmod(path, (st->st_mode & 07777) | more) != 0)
		return -1;
	return cow_xattrs_make_equal(from, to);
}

int cow_stage_copy_attributes(int from, int to)
{
	struct stat st;

	return fstat(from, &st) != 0 ? -1 : copy_attributes(from, to, &st, 0);
}

static int make_link(int stage, int up, const struct stat *st, const char *name)
{
	struct timespec times[2] = {st->st_atim, st->st_mtim};
	char target[PATH_MAX + 1];
	ssize_t n = readlinkat(up, "", target, PATH_MAX);

	if (n < 0)
		return -1;
	target[n] = '\0';
	if (symlinkat(target, stage, name) != 0 ||
	    fchownat(stage, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) != 0)
		return -1;
	return utimensat(stage, name, times, AT_SYMLINK_NOFOLLOW);
}

static int make_file(int stage, int up, const struct stat *st, const char *name)
{
	cleanup_close int from = cow_beneath_reopen(up);
	cleanup_close int to = -1;
	uint64_t copied = 0;

	if (from < 0)
		return -1;
	to = openat(stage, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0 || cow_copy_content(from, to, st->st_size, &copied) != 0)
		return -1;
	return copy_attributes(up, to, st, 0) != 0 ? -1 : cow_copy_times(to, st);
}

static int make_other(int stage, int up, const struct stat *st, const char *name)
{
	cleanup_close int fd = -1;
	int error = S_ISDIR(st->st_mode) ? mkdirat(stage, name, 0700)
					 : mknodat(stage, name, (st->st_mode & S_IFMT) | 0600, st->st_rdev);

	if (error != 0)
		return -1;
	fd = openat(stage, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	/* A directory that its owner may not write to is still to be filled; its own mode comes last. */
	if (fd < 0 || copy_attributes(up, fd, st, S_ISDIR(st->st_mode) ? 0700 : 0) != 0)
		return -1;
	return cow_copy_times(fd, st);
}

static const struct link_source *find_link(const struct cow_stage *s, const struct cow_node *n)
{
	char key[24];

	link_key(key, sizeof(key), n);
	return n->nlink > 1 && !S_ISDIR(n->mode) ? cow_dict_get(&s->links, key) : NULL;
}

char *cow_stage_linked(const struct cow_stage *s, const struct cow_node *n)
{
	const struct link_source *source = find_link(s, n);

	if (n->twin)
		return cow_origins_place(&s->diff->origins, n->mark);
	return source != NULL && source->lower != NULL && source->lower != n ? cow_node_path(source->lower) : NULL;
}

int cow_stage_copy(int stage, int from, const char *name)
{
	struct stat st;

	if (fstat(from, &st) != 0)
		return -1;
	if (S_ISLNK(st.st_mode))
		return make_link(stage, from, &st, name);
	return S_ISREG(st.st_mode) ? make_file(stage, from, &st, name) : make_other(stage, from, &st, name);
}

int cow_stage_make(struct cow_stage *s, const struct cow_node *n, const char *name, struct cow_error **err)
{
	cleanup_free char *path = cow_node_path(n);
	cleanup_close int up = cow_beneath_open(s->diff->upper, path, O_PATH, true);
	const struct link_source *source = find_link(s, n);
	struct cow_ident ident;
	struct stat st;

	if (S_ISSOCK(n->mode))
		return 1;
	if (up < 0 || fstat(up, &st) != 0 || cow_ident_of(up, &ident) != 0)
		return cow_error_set(err, errno, "branch %s: %s", s->diff->branch->name, path);
	if (!cow_ident_equal(&ident, &n->ident) || ((st.st_mode ^ n->mode) & S_IFMT) != 0)
		return cow_error_set(err, 0, "branch %s: %s changed while it was read", s->diff->branch->name, path);
	if (source != NULL && source->staged != NULL && linkat(s->fd, source->staged, s->fd, name, 0) == 0)
		return 0;
	if (cow_stage_copy(s->fd, up, name) != 0)
		return cow_error_set(err, errno, "cannot copy %s to %s", path,
				     s->diff->branch->trees[s->diff->tree].lower);
	if (n->nlink > 1 && !S_ISDIR(n->mode))
		remember_link(s, n, name, NULL);
	return 0;
}
