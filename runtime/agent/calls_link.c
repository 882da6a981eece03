/*
 * link, linkat.
 *
 * A file that is copied up gets another inode number, but the right count of links; one that is given a further name as
 * it is (graft/twin.c) keeps its inode number, but also its count. The first is how most links are made. But who links
 * whole trees (git clone, cp -al, rsync --link-dest) means to have nothing copied, and may compare the file before and
 * after (git does): such links, of a file under its own name into a directory that the branch made, are of the second
 * kind. The kernel then asks nothing of the file, so what it would ask is asked here.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../lib/fd.h"

/* fs.protected_hardlinks (proc_sys_fs(5)); if it cannot be told, then yes. */
static bool is_protected(const struct cow_target *t)
{
	cleanup_close int fd = openat(t->agent->proc, "sys/fs/protected_hardlinks", O_RDONLY | O_CLOEXEC);
	char on = '1';

	return fd < 0 || read(fd, &on, 1) != 1 || on != '0';
}

/* may_linkat() and safe_hardlink_source() in the kernel: 0 or EPERM. */
static int may_link(const struct cow_target *t, const struct cow_creds *creds, int object, const struct stat *st)
{
	const mode_t group_runs = S_ISGID | S_IXGRP;

	if (cow_creds_owns(creds, st) || !is_protected(t))
		return 0;
	if (!S_ISREG(st->st_mode) || (st->st_mode & S_ISUID) != 0 || (st->st_mode & group_runs) == group_runs)
		return EPERM;
	return cow_creds_permit(creds, object, R_OK | W_OK) == 0 ? 0 : EPERM;
}

struct linking {
	char object[40]; /* /proc/self/fd/N */
	int parent;
	const char *name;
};

static int link_errand(void *data)
{
	const struct linking *l = data;

	return linkat(AT_FDCWD, l->object, l->parent, l->name, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
}

/*
 * A new name for `object`, made in the target's stead: by a descriptor that was replaced the kernel would not do it,
 * which wants to have been opened by the very process (Linux 6.10), nor by one opened by O_PATH, which is on the old
 * file.
 */
static int link_instead(struct cow_target *t, int object, int newdir, const char *new)
{
	cleanup_creds struct cow_creds creds = COW_CREDS_NONE;
	cleanup_location struct cow_location to = COW_LOCATION_NONE;
	cleanup_close int parent = -1;
	struct linking linking;
	struct stat st;
	int error = cow_sandboxed(t) ? EACCES : cow_creds_read(t, &creds);
	int verdict;

	if (error == 0)
		error = cow_resolve_as(t, &creds, newdir, new, false, &to);
	if (error == 0 && (to.object >= 0 || to.parent < 0))
		error = EEXIST;
	if (error == 0 && to.slash)
		error = ENOENT;
	if (error != 0)
		return cow_verdict_of(error);
	verdict = cow_prepare_parent(t, &to, &parent);
	if (verdict != 0)
		return verdict;
	/* One that was deleted and stands in the shadow would be EXDEV, for the kernel looks at the mounts first. */
	if (fstat(object, &st) == 0 && st.st_nlink == 0) {
		error = may_link(t, &creds, object, &st);
		if (error == 0)
			error = cow_creds_permit(&creds, parent, W_OK | X_OK);
		return cow_verdict_of(error != 0 ? error : ENOENT);
	}
	snprintf(linking.object, sizeof(linking.object), "/proc/self/fd/%d", object);
	linking.parent = parent;
	linking.name = to.name;
	return cow_verdict_of(cow_creds_run(&creds, link_errand, &linking));
}

static bool is_orphan(const struct cow_target *t, int object)
{
	for (size_t i = 0; i < t->agent->ntrees; i++)
		if (cow_tree_is_orphan(t->agent->trees[i], object))
			return true;
	return false;
}

/* linkat(fd, "", …, AT_EMPTY_PATH) */
static int link_by_fd(struct cow_target *t, int fd, int newdir, const char *new)
{
	cleanup_close int object = fd == AT_FDCWD ? -1 : cow_target_fd(t, fd);
	cleanup_close int now = -1;
	enum cow_place_kind place;
	struct cow_tree *tree = cow_agent_place(t->agent, object, &place);
	long long position;
	struct stat st;
	int flags;
	int verdict;

	/* Whether it is his own descriptor the kernel asks before it looks at the new name. */
	if (object >= 0 && is_orphan(t, object) && link_instead(t, object, newdir, new) == -ENOENT)
		return -ENOENT;
	if (tree == NULL || fstat(object, &st) != 0 || S_ISDIR(st.st_mode))
		return cow_do_create(t, newdir, new, false);
	if (!cow_needs_work(place)) {
		/* Perhaps one that was replaced: then it is open for reading. */
		if (cow_sandboxed(t) || cow_target_fd_flags(t, fd, &flags, &position) != 0 ||
		    (flags & (O_ACCMODE | O_PATH)) != O_RDONLY)
			return cow_do_create(t, newdir, new, false);
		return link_instead(t, object, newdir, new);
	}
	verdict = cow_prepare_file(t, tree, object, NULL, NULL, &now);
	return verdict == 0 ? link_instead(t, now, newdir, new) : verdict;
}

/* --- a further name without a copy ---------------------------------------------------------------------------------
 */

enum { COPY_UP = 1 }; /* a verdict that is none: the file is to be copied up first. As an errno: EOPNOTSUPP */

struct naming {
	struct cow_target *t;
	int olddir, newdir;
	const char *old, *new;
	int flags;
	struct cow_location from, to;
	int parent; /* real, of the new name */
	struct cow_creds creds;
};

static void naming_cleanup(struct naming *n)
{
	cow_location_close(&n->from);
	cow_location_close(&n->to);
	cow_close_fd(&n->parent);
	cow_creds_free(&n->creds);
}

/* may_linkat() and vfs_link() in the kernel, in their order. 0 or an errno; EOPNOTSUPP: let it be asked of the copy. */
static int permit(const struct naming *n)
{
	struct statx sx;
	int error;

	if (!cow_creds_owns(&n->creds, &n->from.st) && is_protected(n->t))
		return EOPNOTSUPP;
	if (statx(n->from.object, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &sx) != 0)
		return errno;
	if ((sx.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)) == 0)
		return 0;
	error = cow_creds_permit(&n->creds, n->parent, W_OK | X_OK);
	return error != 0 ? error : EPERM;
}

/* Would the process itself find its way to both? */
static int check_ways(struct naming *n)
{
	int error = cow_check_object(n->t, &n->creds, n->olddir, n->old,
				     (n->flags & AT_SYMLINK_FOLLOW) != 0 ? COW_FOLLOW : COW_NO_FOLLOW, n->from.object);

	return error != 0 ? error : cow_check_way(n->t, &n->creds, n->newdir, n->new, n->parent);
}

struct linker {
	struct cow_caller caller;
	const struct cow_creds *creds;
};

static int as_linker(const struct cow_caller *caller, int (*what)(void *data), void *data)
{
	return cow_creds_run(((const struct linker *)caller)->creds, what, data);
}

/* A verdict, or COPY_UP. */
static int give_name(struct naming *n)
{
	const struct linker linker = {.caller = {as_linker}, .creds = &n->creds};
	int error = cow_creds_read(n->t, &n->creds);

	cow_freshen_way(n->t, &n->from);
	cow_freshen_way(n->t, &n->to);
	if (error == 0)
		error = check_ways(n);
	if (error == 0)
		error = permit(n);
	if (error == 0) {
		cow_stop_leading(n->t);
		error = cow_tree_twin(n->from.object_tree, n->from.object, n->parent, n->to.name, &linker.caller);
	}
	return error == EOPNOTSUPP ? COPY_UP : cow_verdict_of(error);
}

/* Will the kernel refuse a file for the names alone, before it looks at what it is? */
static bool names_refused(const struct naming *n)
{
	return n->from.slash || n->to.object >= 0 || n->to.parent < 0 || n->to.slash;
}

static bool is_plain(const struct naming *n)
{
	return n->from.object_place == COW_PLACE_GRAFT && S_ISREG(n->from.st.st_mode) && !n->from.magic &&
	       !cow_sandboxed(n->t);
}

/* Is it a tree that is being linked? */
static bool is_of_tree(const struct naming *n)
{
	return strcmp(n->from.name, n->to.name) == 0 && cow_tree_is_new(n->to.parent_tree, n->parent);
}

/* A verdict, or COPY_UP. */
static int try_twin(struct naming *n)
{
	enum cow_place_kind place;
	int verdict;

	if (!is_plain(n))
		return COPY_UP;
	if (cow_resolve(n->t, n->newdir, n->new, COW_NAME, &n->to) != 0 || names_refused(n))
		return COW_VERDICT_CONTINUE;
	verdict = cow_prepare_parent(n->t, &n->to, &n->parent);
	if (verdict != 0)
		return verdict;
	/* Between a tree and elsewhere it is EXDEV, and the kernel says so. */
	if (n->to.parent_tree != n->from.object_tree)
		return COW_VERDICT_CONTINUE;
	/* That may have split what the file was found in. */
	(void)cow_agent_place(n->t->agent, n->from.object, &place);
	if (place != COW_PLACE_GRAFT)
		return -ESTALE;
	return is_of_tree(n) ? give_name(n) : COPY_UP;
}

/* --- all of it -----------------------------------------------------------------------------------------------------
 */

/* By the kernel, of a copy. */
static int link_copy(struct naming *n)
{
	const struct cow_location *from = &n->from;
	cleanup_close int now = -1;
	int verdict;

	if (from->magic && is_orphan(n->t, from->object))
		return link_instead(n->t, from->object, n->newdir, n->new);
	if (cow_needs_work(from->object_place) &&
	    (verdict = cow_prepare_object(n->t, from, false, NULL, NULL, &now)) != 0)
		return verdict;
	if (now >= 0 && from->magic && !S_ISDIR(from->st.st_mode))
		return link_instead(n->t, now, n->newdir, n->new);
	return cow_do_create(n->t, n->newdir, n->new, false);
}

int cow_do_link(struct cow_target *t, int olddir, const char *old, int newdir, const char *new, int flags)
{
	__attribute__((cleanup(naming_cleanup))) struct naming n = {.t = t,
								    .olddir = olddir,
								    .newdir = newdir,
								    .old = old,
								    .new = new,
								    .flags = flags,
								    .from = COW_LOCATION_NONE,
								    .to = COW_LOCATION_NONE,
								    .parent = -1,
								    .creds = COW_CREDS_NONE};
	int verdict;

	if ((flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) != 0)
		return COW_VERDICT_CONTINUE; /* EINVAL */
	if (*old == '\0' && (flags & AT_EMPTY_PATH) != 0)
		return link_by_fd(t, olddir, newdir, new);
	if (cow_resolve(t, olddir, old, (flags & AT_SYMLINK_FOLLOW) != 0, &n.from) != 0 || n.from.object < 0)
		return cow_do_create(t, newdir, new, false);
	verdict = cow_check_magic(t, olddir, old, &n.from);
	if (verdict != 0)
		return cow_verdict_of(verdict);
	verdict = try_twin(&n);
	return verdict == COPY_UP ? link_copy(&n) : verdict;
}
