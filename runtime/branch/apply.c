#include "commit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/log.h"
#include "beneath.h"
#include "stage.h"

struct place {
	int lower, stage, upper;
};

struct run {
	const struct cow_branch *branch;
	struct place places[COW_BRANCH_TREES];
	bool force;
	struct cow_error **err;
};

static int conflict(const struct run *r, const struct cow_step *s, const char *why)
{
	return cow_error_set_status(r->err, COW_EXIT_CONFLICT, "%s/%s: %s", r->branch->trees[s->tree].lower, s->path,
				    why);
}

static int failed(const struct run *r, const struct cow_step *s, const char *what)
{
	return cow_error_set(r->err, errno, "cannot %s %s/%s", what, r->branch->trees[s->tree].lower, s->path);
}

/*
 * Is this what the step expects? Not by its change time, which renames and links of ours have changed, too; a directory
 * by its inode alone, since its entries come and go.
 */
static bool expected(const struct cow_step *s, const struct stat *st)
{
	struct cow_lower_stamp now;

	if (S_ISDIR(s->expect.mode))
		return S_ISDIR(st->st_mode) && st->st_ino == s->expect.ino;
	cow_lower_stamp_of(&now, st);
	now.ctime_sec = s->expect.ctime_sec;
	now.ctime_nsec = s->expect.ctime_nsec;
	return cow_lower_stamp_equal(&now, &s->expect);
}

static bool is_staged(const struct run *r, const struct cow_step *s)
{
	return faccessat(r->places[s->tree].stage, s->staged, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int open_parent(const struct run *r, const struct cow_step *s, const char **name)
{
	return cow_beneath_parent(r->places[s->tree].lower, s->path, true, name);
}

static bool is_missing(int errnum)
{
	return errnum == ENOENT || errnum == ENOTDIR || errnum == ELOOP;
}

/* --- the steps -----------------------------------------------------------------------------------------------------
 */

static int detach(const struct run *r, const struct cow_step *s)
{
	const char *name;
	cleanup_close int dir = -1;
	struct stat st;

	if (is_staged(r, s))
		return 0; /* by a run that was killed */
	dir = open_parent(r, s, &name);
	if (dir < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) {
		if (!is_missing(errno))
			return failed(r, s, "look at");
		if (!r->force)
			return conflict(r, s, "gone from the host");
		cow_log_warning("%s is gone from the host", s->path);
		return 0;
	}
	if (!r->force && !expected(s, &st))
		return conflict(r, s, "changed on the host since");
	if (renameat2(dir, name, r->places[s->tree].stage, s->staged, RENAME_NOREPLACE) != 0)
		return failed(r, s, "move");
	return 0;
}

/* With force, what is in the way goes into the stage, and with that in the end. */
static int clear_place(const struct run *r, const struct cow_step *s, int dir, const char *name)
{
	char aside[32];

	snprintf(aside, sizeof(aside), "x%s", s->staged);
	if (renameat2(dir, name, r->places[s->tree].stage, aside, RENAME_NOREPLACE) != 0 && errno != ENOENT)
		return failed(r, s, "move");
	return 0;
}

static int attach(const struct run *r, const struct cow_step *s)
{
	const char *name;
	cleanup_close int dir = -1;
	struct stat st, staged;
	unsigned flags = RENAME_NOREPLACE;
	bool there;

	if (!is_staged(r, s))
		return 0; /* by a run that was killed */
	dir = open_parent(r, s, &name);
	if (dir < 0)
		return is_missing(errno) ? conflict(r, s, "its directory is gone from the host") : failed(r, s, "make");
	if (fstatat(r->places[s->tree].stage, s->staged, &staged, AT_SYMLINK_NOFOLLOW) != 0)
		return failed(r, s, "make");
	there = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) == 0;
	if (there && !r->force && (s->expect.ino == 0 || !expected(s, &st)))
		return conflict(r, s, s->expect.ino == 0 ? "made on the host meanwhile" : "changed on the host since");
	if (there && !S_ISDIR(st.st_mode) && !S_ISDIR(staged.st_mode))
		flags = 0; /* one file for another, in one step */
	else if (there && r->force && clear_place(r, s, dir, name) != 0)
		return -1;
	if (renameat2(r->places[s->tree].stage, s->staged, dir, name, flags) != 0)
		return errno == EEXIST ? conflict(r, s, "made on the host meanwhile") : failed(r, s, "make");
	/* Two names of one inode: rename(2) does nothing then. */
	if (is_staged(r, s) && unlinkat(r->places[s->tree].stage, s->staged, 0) != 0)
		return failed(r, s, "make");
	return 0;
}

/* The stage may still have the name from a run that was killed; whether it was done is seen by the inode. */
static int make_link(const struct run *r, const struct cow_step *s)
{
	int stage = r->places[s->tree].stage;
	cleanup_close int from = cow_beneath_open(r->places[s->tree].lower, s->source, O_PATH, true);
	cleanup_close int to = cow_beneath_open(r->places[s->tree].lower, s->path, O_PATH, true);
	cleanup_close int dir = -1;
	const char *name;
	struct stat a, b;

	if (from < 0 || fstat(from, &a) != 0)
		return is_missing(errno) ? conflict(r, s, "what it is a link to is gone from the host")
					 : failed(r, s, "make");
	if (to >= 0 && fstat(to, &b) == 0 && a.st_ino == b.st_ino)
		return 0;
	if (unlinkat(stage, s->staged, 0) != 0 && errno != ENOENT)
		return failed(r, s, "make");
	dir = cow_beneath_parent(r->places[s->tree].lower, s->source, true, &name);
	if (dir < 0 || linkat(dir, name, stage, s->staged, 0) != 0) {
		/* Too many links, or a file that we may not link to: then a copy. */
		if (cow_stage_copy(stage, from, s->staged) != 0)
			return failed(r, s, "make");
	}
	return attach(r, s);
}

static int set_attributes(const struct run *r, const struct cow_step *s)
{
	cleanup_close int from = cow_beneath_open(r->places[s->tree].upper, s->path, O_RDONLY | O_DIRECTORY, true);
	cleanup_close int to = cow_beneath_open(r->places[s->tree].lower, s->path, O_RDONLY | O_DIRECTORY, true);

	if (to < 0 && is_missing(errno))
		return r->force ? 0 : conflict(r, s, "gone from the host");
	if (from < 0 || to < 0 || cow_stage_copy_attributes(from, to) != 0)
		return failed(r, s, "set the attributes of");
	return 0;
}

static int set_times(const struct run *r, const struct cow_step *s)
{
	cleanup_close int dir = cow_beneath_open(r->places[s->tree].lower, s->path, O_RDONLY | O_DIRECTORY, true);
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, s->mtime};

	if (dir < 0 && is_missing(errno))
		return 0;
	if (dir < 0 || futimens(dir, times) != 0)
		return failed(r, s, "set the times of");
	return 0;
}

static int do_step(const struct run *r, const struct cow_step *s)
{
	switch (s->kind) {
	case COW_STEP_DETACH:
		return detach(r, s);
	case COW_STEP_ATTACH:
		return attach(r, s);
	case COW_STEP_LINK:
		return make_link(r, s);
	case COW_STEP_ATTRIBUTES:
		return set_attributes(r, s);
	case COW_STEP_TIMES:
		return set_times(r, s);
	}
	return 0;
}

/* -------------------------------------------------------------------------------------------------------------------
 */

int cow_commit_open_lower(const struct cow_branch *b, size_t tree, struct cow_error **err)
{
	cleanup_close int fd = open(b->trees[tree].lower, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return cow_error_set(err, errno, "%s", b->trees[tree].lower);
	/* A file system without locks has none to respect. */
	if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
		return cow_error_set(err, 0, "another commit to %s is under way", b->trees[tree].lower);
	return cow_steal_fd(&fd);
}

static void close_places(struct run *r)
{
	for (size_t i = 0; i < COW_BRANCH_TREES; i++) {
		cow_close_fd(&r->places[i].lower);
		cow_close_fd(&r->places[i].stage);
		cow_close_fd(&r->places[i].upper);
	}
}

static int open_places(struct run *r, const struct cow_plan *plan)
{
	for (size_t i = 0; i < COW_BRANCH_TREES; i++)
		r->places[i] = (struct place){-1, -1, -1};
	for (size_t i = 0; i < plan->count; i++) {
		size_t tree = plan->steps[i].tree;
		struct place *p = &r->places[tree];
		char name[64];

		if (p->lower >= 0)
			continue;
		cow_plan_stage_name(name, sizeof(name), r->branch, tree);
		p->lower = open(r->branch->trees[tree].lower, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (p->lower < 0)
			return cow_error_set(r->err, errno, "%s", r->branch->trees[tree].lower);
		p->upper = cow_branch_open(r->branch, tree, "upper", r->err);
		if (p->upper < 0)
			return -1;
		p->stage = openat(p->lower, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (p->stage < 0)
			return cow_error_set(r->err, errno, "%s/%s, which the commit needs",
					     r->branch->trees[tree].lower, name);
	}
	return 0;
}

static int sync_lowers(const struct run *r)
{
	for (size_t i = 0; i < r->branch->ntrees; i++)
		if (r->places[i].lower >= 0 && syncfs(r->places[i].lower) != 0)
			return cow_error_set(r->err, errno, "cannot write to %s", r->branch->trees[i].lower);
	return 0;
}

/* The steps are in order of their kinds: see cow_commit_prepare. */
static int do_steps(const struct run *r, const struct cow_plan *plan)
{
	bool moved = cow_plan_has_mark(r->branch, COW_PLAN_MOVED);

	for (size_t i = 0; i < plan->count; i++) {
		const struct cow_step *s = &plan->steps[i];

		if (s->kind == COW_STEP_DETACH && moved)
			continue;
		if (s->kind != COW_STEP_DETACH && !moved) {
			if (sync_lowers(r) != 0 || cow_plan_set_mark(r->branch, COW_PLAN_MOVED, r->err) != 0)
				return -1;
			moved = true;
		}
		if (do_step(r, s) != 0)
			return -1;
	}
	return 0;
}

int cow_commit_run(const struct cow_branch *b, const struct cow_plan *plan, bool force, struct cow_error **err)
{
	struct run r = {.branch = b, .force = force, .err = err};
	int error = open_places(&r, plan);

	if (error == 0)
		error = do_steps(&r, plan);
	if (error == 0)
		error = sync_lowers(&r);
	close_places(&r);
	return error;
}

/* The last thing that changes the root is that the stage goes out of it. */
int cow_commit_finish(const struct cow_branch *b, const struct cow_plan *plan, struct cow_error **err)
{
	struct run r = {.branch = b, .err = err};
	bool seen[COW_BRANCH_TREES] = {false};

	if (plan->count > 0 && cow_plan_set_mark(b, COW_PLAN_DONE, err) != 0)
		return -1;
	for (size_t i = 0; i < plan->count; i++) {
		size_t tree = plan->steps[i].tree;
		cleanup_close int lower = -1;

		if (seen[tree])
			continue;
		seen[tree] = true;
		lower = open(b->trees[tree].lower, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (lower < 0)
			return cow_error_set(err, errno, "%s", b->trees[tree].lower);
		if (cow_stage_remove(b, tree, lower, err) != 0)
			return -1;
		for (size_t k = 0; k < plan->count; k++) {
			const struct cow_step *s = &plan->steps[k];

			r.places[tree].lower = lower;
			if (s->kind == COW_STEP_TIMES && s->tree == tree && *s->path == '\0' && set_times(&r, s) != 0)
				return -1;
		}
	}
	return 0;
}

int cow_commit_abandon(const struct cow_branch *b, struct cow_error **err)
{
	for (size_t i = 0; i < b->ntrees; i++) {
		cleanup_close int lower = open(b->trees[i].lower, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (lower < 0 && errno != ENOENT)
			return cow_error_set(err, errno, "%s", b->trees[i].lower);
		if (lower >= 0 && cow_stage_remove(b, i, lower, err) != 0)
			return -1;
	}
	return 0;
}
