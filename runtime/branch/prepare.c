#include "commit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/log.h"
#include "beneath.h"
#include "stage.h"

struct preparation {
	struct cow_plan *plan;
	struct cow_diff *diff;
	struct cow_stage stage;
	struct stat root; /* the lower's, before the stage was made in it */
	bool force;
	struct cow_error **err;
};

static int failed(const struct preparation *p, const char *path)
{
	const char *lower = p->diff->branch->trees[p->diff->tree].lower;

	if (errno == EXDEV)
		return cow_error_set(p->err, 0, "%s/%s is on another file system, mounted in %s: cannot commit there",
				     lower, path, lower);
	return cow_error_set(p->err, errno, "%s/%s", lower, path);
}

/* What is at a path of the lower now: 1 and its stamp, 0 if nothing is, -1 with *err. */
static int look(const struct preparation *p, const char *path, struct cow_lower_stamp *stamp)
{
	const char *name;
	cleanup_close int dir = -1;
	struct stat st;

	memset(stamp, 0, sizeof(*stamp));
	if (*path == '\0') {
		cow_lower_stamp_of(stamp, &p->root);
		return 1;
	}
	dir = cow_beneath_parent(p->diff->lower, path, true, &name);
	if (dir < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return 0;
	if (dir < 0)
		return failed(p, path);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0)
		return errno == ENOENT ? 0 : failed(p, path);
	cow_lower_stamp_of(stamp, &st);
	return 1;
}

static void set_staged(struct preparation *p, struct cow_step *s, char kind)
{
	snprintf(s->staged, sizeof(s->staged), "%c%" PRIu64, kind, ++p->plan->numbers);
}

static struct cow_step *add_step(struct preparation *p, enum cow_step_kind kind, const char *path)
{
	return cow_plan_add(p->plan, kind, p->diff->tree, path, "");
}

/* The directory of a lower path gets other entries: if it is still in the branch, its times are to be set. */
static void touch_parent_of(struct preparation *p, const char *old)
{
	cleanup_free char *parent = strndup(old, cow_name_parent(old));
	struct cow_node *n = parent != NULL ? cow_dict_get(&p->diff->origins.present, parent) : NULL;

	if (n != NULL)
		n->touched = true;
}

/* 1, 0 if the lower does not have it, -1 with *err. staged: where it goes. */
static int detach(struct preparation *p, const char *old, char *staged, size_t room)
{
	struct cow_lower_stamp now;
	int there = look(p, old, &now);
	struct cow_step *s;

	if (there != 1)
		return there;
	s = add_step(p, COW_STEP_DETACH, old);
	s->expect = now;
	set_staged(p, s, 'o');
	snprintf(staged, room, "%s", s->staged);
	touch_parent_of(p, old);
	return 1;
}

/* A directory that is deleted or moved must not be, or hold as far as it is deleted, where something else is mounted.
 */
static int refuse_mount(const struct preparation *p, const struct cow_change *c)
{
	cleanup_close int fd = S_ISDIR(c->old_mode) ? cow_beneath_open(p->diff->lower, c->old, O_PATH, true) : -1;

	return S_ISDIR(c->old_mode) && fd < 0 && errno == EXDEV ? failed(p, c->old) : 0;
}

/* What is at the place of a change now and will not be taken away before: only that may be there when its turn comes.
 */
static int expect_at(const struct preparation *p, const struct cow_change *c, struct cow_lower_stamp *stamp)
{
	const struct cow_node *parent = c->node->parent;
	cleanup_free char *place = NULL;

	memset(stamp, 0, sizeof(*stamp));
	if (c->op == 'M')
		return look(p, c->old, stamp);
	if (parent->origin == NULL || (c->node->base != NULL && c->over == NULL))
		return 0;
	place = cow_name_join(parent->origin, c->node->name);
	return look(p, place, stamp);
}

static int attach(struct preparation *p, const struct cow_change *c, const char *staged, const char *link)
{
	struct cow_lower_stamp expect;
	struct cow_step *s;

	if (expect_at(p, c, &expect) < 0)
		return -1;
	s = cow_plan_add(p->plan, link != NULL ? COW_STEP_LINK : COW_STEP_ATTACH, p->diff->tree, c->path,
			 link != NULL ? link : "");
	s->expect = expect;
	snprintf(s->staged, sizeof(s->staged), "%s", staged);
	c->node->parent->touched = true;
	return 0;
}

/* A directory that is made anew: its own mode and times when all is in it. */
static int add_directory(struct preparation *p, struct cow_node *n, const char *path)
{
	if ((n->mode & 0700) != 0700)
		add_step(p, COW_STEP_ATTRIBUTES, path);
	n->touched = true;
	n->renewed = true;
	return 0;
}

/*
 * What is not kept takes the place of the lower's file all the same. A socket of the lower that was changed is there
 * still; and what was renamed as well is taken away by that step.
 */
static int leave_out(struct preparation *p, const struct cow_change *c)
{
	cleanup_free char *place = NULL;
	char staged[24];

	if (c->op == 'M' && !S_ISSOCK(c->old_mode) && !c->node->moved)
		place = strdup(c->old);
	else if (c->over != NULL)
		place = cow_name_join(c->node->parent->origin, c->node->name);
	return place == NULL || detach(p, place, staged, sizeof(staged)) >= 0 ? 0 : -1;
}

/* 1: the lower still has the file that this is a further name of. */
static int look_for_twin(struct preparation *p, const struct cow_node *n)
{
	struct cow_lower_stamp now;
	int there = look(p, n->mark, &now);

	/* Only with force. */
	if (there == 0)
		cow_log_warning("%s is gone from the host: its further names are left out", n->mark);
	return there;
}

static int make(struct preparation *p, const struct cow_change *c)
{
	struct cow_node *n = (struct cow_node *)c->node;
	cleanup_free char *link = cow_stage_linked(&p->stage, n);
	int there = n->twin ? look_for_twin(p, n) : 1;
	char staged[24];
	int result;

	if (there != 1)
		return there;
	/* Not before the lower changes anyway: a further link shows in the change time of the file. */
	if (link != NULL) {
		snprintf(staged, sizeof(staged), "l%" PRIu64, ++p->plan->numbers);
		return attach(p, c, staged, link);
	}
	snprintf(staged, sizeof(staged), "n%" PRIu64, ++p->plan->numbers);
	result = cow_stage_make(&p->stage, n, staged, p->err);
	if (result > 0) {
		cow_log_warning("%s is a socket: left out", c->path);
		return leave_out(p, c);
	}
	if (result < 0)
		return -1;
	if (attach(p, c, staged, NULL) != 0)
		return -1;
	return S_ISDIR(n->mode) ? add_directory(p, n, c->path) : 0;
}

static int rename_old(struct preparation *p, const struct cow_change *c)
{
	char staged[24];
	int there = detach(p, c->old, staged, sizeof(staged));

	if (there == 1)
		return attach(p, c, staged, NULL);
	if (there < 0)
		return -1;
	/* Only with force: the host deleted it. What the branch has of it is made anew. */
	if (c->node->mark == NULL)
		return make(p, c);
	cow_log_warning("%s is gone from the host: cannot be renamed to %s", c->old, c->path);
	return 0;
}

/* With force: the host deleted a directory that the branch has changes in. From the top down. */
static int make_parents(struct preparation *p, const struct cow_change *c)
{
	struct cow_node *path[1024];
	size_t count = 0;

	for (struct cow_node *n = c->node->parent; n != NULL && !n->visited && count < 1024; n = n->parent)
		path[count++] = n;
	while (count > 0) {
		struct cow_node *n = path[--count];
		cleanup_free char *place = cow_node_path(n);
		struct cow_change again = {.op = 'A', .path = place, .node = n};
		struct cow_lower_stamp now;
		int there;

		n->visited = true;
		if (n->origin == NULL || n->moved || n->mark != NULL)
			continue;
		there = look(p, n->origin, &now);
		if (there < 0 || ((there == 0 || !S_ISDIR(now.mode)) && make(p, &again) != 0))
			return -1;
	}
	return 0;
}

static int plan_change(struct preparation *p, const struct cow_change *c)
{
	char staged[24];

	if (p->force && c->node != NULL && make_parents(p, c) != 0)
		return -1;
	if ((c->op == 'D' || c->op == 'R') && refuse_mount(p, c) != 0)
		return -1;
	switch (c->op) {
	case 'D':
		return c->inside || detach(p, c->old, staged, sizeof(staged)) >= 0 ? 0 : -1;
	case 'R':
		return rename_old(p, c);
	case 'M':
		if (S_ISDIR(c->node->mode)) {
			add_step(p, COW_STEP_ATTRIBUTES, c->path);
			return 0;
		}
		return make(p, c);
	default:
		return make(p, c);
	}
}

/* Whatever was there for a moment only, or was put back, shows in the time of its directory, as it does elsewhere. */
static bool has_other_time(const struct cow_node *n)
{
	if (n->origin == NULL || n->mark != NULL || n->mountpoint || !S_ISDIR(n->mode))
		return false;
	/* Without a split it is a new one, in the place of the lower's. */
	return n->split == NULL || (n->mtime.tv_sec != n->split->stamp.mtime_sec ||
				    (uint32_t)n->mtime.tv_nsec != n->split->stamp.mtime_nsec);
}

/*
 * As the container saw it, where nobody else changed the directory; where the host did, too, the later of both times.
 */
static int plan_times(struct preparation *p)
{
	for (const struct cow_node *n = p->diff->root; n != NULL; n = cow_node_next(n, !n->mountpoint)) {
		cleanup_free char *path = NULL;
		struct cow_lower_stamp now;
		struct cow_step *s;
		int there;

		if (!n->touched && !has_other_time(n))
			continue;
		there = n->origin == NULL || n->renewed ? 0 : look(p, n->origin, &now);
		if (there < 0)
			return -1;
		path = cow_node_path(n);
		s = add_step(p, COW_STEP_TIMES, path);
		s->mtime = n->mtime;
		if (there == 1 && n->split != NULL &&
		    (now.mtime_sec != n->split->stamp.mtime_sec || now.mtime_nsec != n->split->stamp.mtime_nsec) &&
		    (now.mtime_sec > n->mtime.tv_sec ||
		     (now.mtime_sec == n->mtime.tv_sec && now.mtime_nsec > (uint32_t)n->mtime.tv_nsec)))
			s->mtime = (struct timespec){now.mtime_sec, now.mtime_nsec};
	}
	return 0;
}

/* --- the order -----------------------------------------------------------------------------------------------------
 */

static size_t depth(const char *path)
{
	size_t count = 0;

	for (; *path != '\0'; path++)
		count += *path == '/' ? 1 : 0;
	return count;
}

static int compare_steps(const void *a, const void *b)
{
	const struct cow_step *x = a;
	const struct cow_step *y = b;
	size_t depth_x, depth_y;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	depth_x = depth(x->path);
	depth_y = depth(y->path);
	if (depth_x != depth_y)
		return (depth_x < depth_y) == (x->kind == COW_STEP_ATTACH) ? -1 : 1;
	/* What is moved to a place comes before its new content. */
	if (x->staged[0] != y->staged[0])
		return x->staged[0] == 'o' ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order ? 1 : 0;
}

static int prepare_tree(struct preparation *p)
{
	const struct cow_diff *d = p->diff;

	if (fstat(d->lower, &p->root) != 0)
		return failed(p, "");
	if (cow_stage_open(&p->stage, d, p->err) != 0)
		return -1;
	for (size_t i = 0; i < d->count; i++)
		if (plan_change(p, &d->list[i]) != 0)
			return -1;
	d->root->touched = true; /* by the stage */
	if (plan_times(p) != 0)
		return -1;
	/* All new content is on disk before anything changes. */
	if (syncfs(p->stage.fd) != 0)
		return cow_error_set(p->err, errno, "cannot write to %s", d->branch->trees[d->tree].lower);
	return 0;
}

/* The lower as it was, but for the change time of its root. */
static void undo(const struct cow_branch *b, const struct preparation *p)
{
	struct timespec times[2] = {p->root.st_atim, p->root.st_mtim};
	int root = openat(p->diff->lower, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cow_stage_remove(b, p->diff->tree, p->diff->lower, NULL);
	if (root >= 0) {
		(void)futimens(root, times);
		close(root);
	}
}

int cow_commit_prepare(const struct cow_branch *b, struct cow_diff *diffs, bool force, struct cow_plan *plan,
		       struct cow_error **err)
{
	struct preparation p[COW_BRANCH_TREES];
	size_t done = 0;
	int error = 0;

	memset(plan, 0, sizeof(*plan));
	for (size_t i = 0; i < b->ntrees && error == 0; i++) {
		p[i] = (struct preparation){.plan = plan, .diff = &diffs[i], .force = force, .err = err};
		p[i].stage.fd = -1;
		done = i + 1;
		if (diffs[i].count > 0)
			error = prepare_tree(&p[i]);
		cow_stage_close(&p[i].stage);
	}
	for (size_t i = 0; i < plan->count; i++)
		plan->steps[i].order = i;
	if (error == 0 && plan->count > 0) {
		qsort(plan->steps, plan->count, sizeof(*plan->steps), compare_steps);
		error = cow_plan_save(plan, b, err);
	}
	for (size_t i = 0; error != 0 && i < done; i++)
		if (p[i].root.st_ino != 0)
			undo(b, &p[i]);
	return error;
}
