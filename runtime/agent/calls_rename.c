/* rename, renameat, renameat2. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/xattr.h>

#include "../lib/fd.h"

enum { DEPTH_MAX = 4096 };

struct renaming {
	struct cow_target *t;
	int olddir, newdir;
	const char *old, *new;
	unsigned flags;
	struct cow_location from, to;
	int from_parent, to_parent; /* real */
};

static void renaming_cleanup(struct renaming *r)
{
	cow_location_close(&r->from);
	cow_location_close(&r->to);
	cow_close_fd(&r->from_parent);
	cow_close_fd(&r->to_parent);
}

/* Would the process itself find its way to both directories? */
static int check_ways(struct renaming *r, const struct cow_creds *creds)
{
	int error = cow_check_way(r->t, creds, r->olddir, r->old, r->from_parent);

	return error != 0 ? error : cow_check_way(r->t, creds, r->newdir, r->new, r->to_parent);
}

/* Two names of one lower file: rename(2) does nothing then, and exchanging them would change nothing. */
static bool same_file(const struct renaming *r)
{
	return r->to.object >= 0 && r->from.st.st_ino == r->to.st.st_ino && r->from.st.st_dev == r->to.st.st_dev;
}

/* Will the kernel refuse it for the names alone, before it asks for permission or whether they are mount points? */
static bool names_refused(const struct renaming *r)
{
	bool exchange = (r->flags & RENAME_EXCHANGE) != 0;

	if (r->from.object < 0)
		return true;
	if (r->to.object >= 0 ? (r->flags & RENAME_NOREPLACE) != 0 : exchange)
		return true;
	if (exchange && r->to.slash && !S_ISDIR(r->to.st.st_mode))
		return true;
	return !S_ISDIR(r->from.st.st_mode) && (r->from.slash || (r->to.slash && !exchange));
}

/* Is entry `name` of directory `parent` the directory `below`, or above it? */
static bool is_above(int parent, const char *name, int below)
{
	cleanup_close int at = fcntl(below, F_DUPFD_CLOEXEC, 3);
	struct stat entry;
	struct stat st;

	if (fstatat(parent, name, &entry, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(entry.st_mode))
		return false;
	for (int depth = 0; depth < DEPTH_MAX && at >= 0 && fstat(at, &st) == 0; depth++) {
		ino_t here = st.st_ino;
		int up;

		if (here == entry.st_ino && st.st_dev == entry.st_dev)
			return true;
		up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		cow_close_fd(&at);
		at = up;
		if (at >= 0 && fstat(at, &st) == 0 && st.st_ino == here)
			return false;
	}
	return false;
}

/* A directory into itself, or over one that holds it: that, too, the kernel says first. */
static bool is_loop(const struct renaming *r)
{
	return is_above(r->from_parent, r->from.name, r->to_parent) ||
	       (r->to.object >= 0 && is_above(r->to_parent, r->to.name, r->from_parent));
}

static int perform(void *data)
{
	struct renaming *r = data;

	return cow_tree_rename(r->from.parent_tree, r->from_parent, r->from.name, r->to_parent, r->to.name, r->flags);
}

static bool stays(const struct renaming *r)
{
	return cow_same_object(r->from_parent, r->to_parent);
}

/* A directory that gets another parent is written to (".."): its own permission counts, access list and all. */
static int may_leave(const struct renaming *r, const struct cow_creds *creds, const struct cow_location *l)
{
	if (!S_ISDIR(l->st.st_mode) || stays(r))
		return 0;
	return cow_creds_permit_lower(creds, l->object, W_OK);
}

/*
 * Its placeholder has the mode, but no access list, by which the host's kernel would judge it: one that has a list is
 * made real. 0, -ESTALE: it was, so look again; or another -errno.
 */
static int prepare_list(const struct renaming *r, const struct cow_location *l)
{
	char path[40];
	int verdict;

	if (l->object < 0 || !S_ISDIR(l->st.st_mode) || !cow_needs_work(l->object_place) || stays(r))
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", l->object);
	if (getxattr(path, "system.posix_acl_access", NULL, 0) < 0)
		return 0;
	verdict = cow_prepare_object(r->t, l, false, NULL, NULL, NULL);
	return verdict == 0 ? -ESTALE : verdict;
}

/* All that vfs_rename() asks of the process. 0 or an errno. */
static int permit(const struct renaming *r, const struct cow_creds *creds)
{
	bool exchange = (r->flags & RENAME_EXCHANGE) != 0;
	int error;

	error = cow_creds_permit_delete(creds, r->from_parent, &r->from.st);
	if (error == 0 && r->to.object >= 0)
		error = cow_creds_permit_delete(creds, r->to_parent, &r->to.st);
	else if (error == 0)
		error = cow_creds_permit(creds, r->to_parent, W_OK | X_OK);
	if (error == 0 && !exchange && r->to.object >= 0 && S_ISDIR(r->from.st.st_mode) != S_ISDIR(r->to.st.st_mode))
		error = S_ISDIR(r->to.st.st_mode) ? EISDIR : ENOTDIR;
	if (error == 0)
		error = may_leave(r, creds, &r->from);
	return error == 0 && exchange ? may_leave(r, creds, &r->to) : error;
}

static int rename_instead(struct renaming *r)
{
	cleanup_creds struct cow_creds creds = COW_CREDS_NONE;
	int error = cow_creds_read(r->t, &creds);

	cow_freshen_way(r->t, &r->from);
	cow_freshen_way(r->t, &r->to);
	if (error == 0)
		error = check_ways(r, &creds);
	if (error != 0)
		return cow_verdict_of(error);
	if (same_file(r) && (r->flags & RENAME_NOREPLACE) == 0)
		return 0;
	error = permit(r, &creds);
	if (error != 0)
		return cow_verdict_of(error);
	error = prepare_list(r, &r->from);
	if (error == 0 && (r->flags & RENAME_EXCHANGE) != 0)
		error = prepare_list(r, &r->to);
	if (error != 0)
		return error;
	cow_stop_leading(r->t);
	/* The engine's own descriptors in the grafts must be the only ones. */
	cow_close_fd(&r->from.object);
	cow_close_fd(&r->to.object);
	/* In a foreign user namespace the engine could not do its own part: what was asked above has to be enough. */
	error = creds.userns < 0 ? cow_creds_run(&creds, perform, r) : perform(r);
	return cow_verdict_of(error);
}

static int prepare(struct renaming *r)
{
	int verdict = cow_prepare_parent(r->t, &r->from, &r->from_parent);

	/* Making the one real may have split what the other was found in. */
	if (verdict == 0)
		r->to.parent_tree = cow_agent_place(r->t->agent, r->to.parent, &r->to.parent_place);
	return verdict == 0 ? cow_prepare_parent(r->t, &r->to, &r->to_parent) : verdict;
}

static bool ends_in_dots(const struct cow_location *l)
{
	return l->parent < 0 || l->dots;
}

/* "." and ".." are nobody's to rename. To the kernel their directories are on two mounts, perhaps: EXDEV. */
static int refuse_dots(struct renaming *r)
{
	cleanup_creds struct cow_creds creds = {0};
	cleanup_location struct cow_location from = COW_LOCATION_NONE;
	cleanup_location struct cow_location to = COW_LOCATION_NONE;
	int error = cow_creds_read(r->t, &creds);

	if (error == 0)
		error = cow_resolve_as(r->t, &creds, r->olddir, r->old, COW_NAME, &from);
	if (error == 0)
		error = cow_resolve_as(r->t, &creds, r->newdir, r->new, COW_NAME, &to);
	if (error == 0)
		error = !ends_in_dots(&r->from) && (r->flags & RENAME_NOREPLACE) != 0 ? EEXIST : EBUSY;
	return cow_verdict_of(error);
}

/* For the kernel to do: neither end may be a mount point. */
static int prepare_ends(struct renaming *r)
{
	int verdict =
		cow_needs_work(r->from.object_place) ? cow_prepare_object(r->t, &r->from, false, NULL, NULL, NULL) : 0;

	if (verdict == 0 && r->to.object >= 0 && cow_needs_work(r->to.object_place))
		verdict = cow_prepare_object(r->t, &r->to, false, NULL, NULL, NULL);
	return verdict;
}

static bool grafted(struct renaming *r)
{
	return cow_tree_is_grafted(r->from.parent_tree, r->from_parent, r->from.name, NULL) ||
	       cow_tree_is_grafted(r->to.parent_tree, r->to_parent, r->to.name, NULL);
}

static int within(struct renaming *r)
{
	int verdict;

	if (ends_in_dots(&r->from) || ends_in_dots(&r->to))
		return refuse_dots(r);
	verdict = prepare(r);
	if (verdict != 0)
		return verdict;
	/* On real directories the kernel gives the error that it is. */
	if (names_refused(r) || is_loop(r))
		verdict = 0;
	else if (cow_sandboxed(r->t) || (r->flags & RENAME_WHITEOUT) != 0)
		verdict = prepare_ends(r);
	else if (grafted(r))
		return rename_instead(r);
	return verdict == 0 ? COW_VERDICT_CONTINUE : verdict;
}

/* Does this end of it belong to the tree? A path that ends in dots has no parent, but is somewhere. */
static struct cow_tree *tree_of(const struct cow_location *l)
{
	return l->parent >= 0 ? l->parent_tree : l->object_tree;
}

int cow_do_rename(struct cow_target *t, int olddir, const char *old, int newdir, const char *new, unsigned flags)
{
	__attribute__((cleanup(renaming_cleanup))) struct renaming r = {.t = t,
									.olddir = olddir,
									.newdir = newdir,
									.old = old,
									.new = new,
									.flags = flags,
									.from = {.parent = -1, .object = -1},
									.to = {.parent = -1, .object = -1},
									.from_parent = -1,
									.to_parent = -1};

	if (cow_resolve(t, olddir, old, COW_NAME, &r.from) != 0 || cow_resolve(t, newdir, new, COW_NAME, &r.to) != 0)
		return COW_VERDICT_CONTINUE;
	/* Between a tree and elsewhere it is EXDEV, and the kernel says so. */
	if (tree_of(&r.from) == NULL || tree_of(&r.from) != tree_of(&r.to))
		return COW_VERDICT_CONTINUE;
	if ((flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) != 0 ||
	    ((flags & RENAME_EXCHANGE) != 0 && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)) != 0))
		return COW_VERDICT_CONTINUE; /* EINVAL */
	return within(&r);
}
