/*
 * Renaming where grafts are concerned. The host's kernel carries a graft along with its placeholder, so most of it is
 * renameat2(2) itself. But when a placeholder is renamed *over*, the kernel unmounts its graft at once: from under
 * those who have it open, and from under the path walks that are on their way to it, which then find an empty file. So
 * the target's placeholder is exchanged to the stage and retired, as in a copy-up:
 *
 *   - a file: the source gets a second name in the stage (a hard link; if it is grafted itself, a placeholder with a
 *     graft of the same lower file), that one is exchanged with the target, and the old name is taken away. In between
 *     both names lead to the source, which rename(2) allows for ("there will probably be a window").
 *   - a directory: it is empty, or there is no rename; so a bare empty directory may stand in for it and be renamed
 * over.
 *
 * The steps that take names from the container's directories are done with the caller's rights, so the kernel judges
 * them. What can be foreseen is asked before anything is done, and what fails nevertheless is undone.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/fd.h"

struct renaming {
	struct cow_tree *t;
	int from, to;
	const char *old, *new;
	unsigned flags;
	struct stat source, target;
	struct cow_graft *source_graft, *target_graft;
	char *source_place, *target_place;
	char *staged; /* what comes to the target, and then what was there */
	uint64_t twin;
};

static void renaming_cleanup(struct renaming *r)
{
	free(r->source_place);
	free(r->target_place);
	free(r->staged);
}

static int rename_errno(int from, const char *old, int to, const char *new, unsigned flags)
{
	return syscall(SYS_renameat2, from, old, to, new, flags) == 0 ? 0 : errno;
}

static int plain(const struct renaming *r)
{
	return rename_errno(r->from, r->old, r->to, r->new, 0);
}

/*
 * Changes what is staged for what is at the target, with the caller's rights. In this order a watch (inotify) is told
 * that the name goes and then that it comes, and not the other way round.
 */
static int exchange(struct renaming *r)
{
	return rename_errno(r->to, r->new, r->t->stage, r->staged, RENAME_EXCHANGE);
}

/* Here and in the like of it: what the engine does on its own account. */
static int with_privileges(struct renaming *r, int (*what)(struct renaming *r))
{
	struct cow_privileges privileges;
	int error;

	cow_privileges_raise(&privileges);
	error = what(r);
	cow_privileges_restore(&privileges);
	return error;
}

/* A placeholder and a graft like those of the source, in the stage. */
static int make_twin(struct renaming *r)
{
	struct cow_entry entry = {.name = r->staged, .path = r->source_graft->path, .st = r->source};
	cleanup_close int root = openat(r->from, r->old, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int error = root < 0 ? errno : cow_twin_stage(r->t, root, &entry);

	if (error != 0)
		return error;
	r->twin = entry.mount;
	cow_table_add(r->t, entry.mount, &entry.st, entry.path, entry.handle)->twin = r->source_graft->twin;
	return 0;
}

static int stage_source(struct renaming *r)
{
	r->staged = cow_stage_name(r->t, 'r');
	if (r->source_graft != NULL)
		return make_twin(r);
	return linkat(r->from, r->old, r->t->stage, r->staged, 0) == 0 ? 0 : errno;
}

static int unstage_source(struct renaming *r)
{
	if (r->twin != 0)
		cow_table_remove(r->t, cow_table_by_mount(r->t, r->twin));
	unlinkat(r->t->stage, r->staged, 0);
	return 0;
}

/* The old name, with the caller's rights. A graft goes to the stage with it. */
static int take_old_away(struct renaming *r)
{
	char *staged;
	int error;

	if (r->source_graft == NULL)
		return unlinkat(r->from, r->old, 0) == 0 ? 0 : errno;
	staged = cow_stage_name(r->t, 'r');
	error = rename_errno(r->from, r->old, r->t->stage, staged, RENAME_NOREPLACE);
	if (error == 0)
		cow_table_retire(r->t, r->source_graft, staged, cow_steal_ptr(&r->source_place));
	else
		free(staged);
	return error;
}

static int over_file(struct renaming *r)
{
	int error = cow_may_remove(r->from, &r->source);

	if (error == 0)
		error = with_privileges(r, stage_source);
	if (error == EMLINK || error == EPERM)
		return plain(r); /* no second name to be had; better than not at all */
	if (error != 0)
		return error;
	error = exchange(r);
	if (error == 0) {
		error = take_old_away(r);
		if (error != 0)
			(void)with_privileges(r, exchange);
	}
	if (error != 0)
		(void)with_privileges(r, unstage_source);
	else
		cow_table_retire(r->t, r->target_graft, cow_steal_ptr(&r->staged), cow_steal_ptr(&r->target_place));
	return error;
}

static int stage_stand_in(struct renaming *r)
{
	struct cow_tree *t = r->t;
	cleanup_close int dir = -1;

	r->staged = cow_stage_name(t, 'r');
	if (mkdirat(t->stage, r->staged, 0700) != 0)
		return errno;
	dir = openat(t->stage, r->staged, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir >= 0 && cow_copy_owner(dir, "", &r->target) == 0 &&
	    fchmodat(dir, ".", r->target.st_mode & 07777, 0) == 0)
		return cow_reveal(t, r->staged, r->to, r->new);
	return errno;
}

static int exchange_back(struct renaming *r)
{
	return cow_reveal(r->t, r->staged, r->to, r->new);
}

static int remove_stand_in(struct renaming *r)
{
	return unlinkat(r->t->stage, r->staged, AT_REMOVEDIR);
}

static int over_directory(struct renaming *r)
{
	int error = with_privileges(r, stage_stand_in);

	if (error == 0) {
		error = plain(r);
		if (error == 0) {
			cow_table_retire(r->t, r->target_graft, cow_steal_ptr(&r->staged),
					 cow_steal_ptr(&r->target_place));
			return 0;
		}
		(void)with_privileges(r, exchange_back);
	}
	(void)with_privileges(r, remove_stand_in);
	return error;
}

/*
 * A mount point that is not ours: a volume of the container. To its own kernel it would be EBUSY; to the host's it is
 * an entry like any other, and the volume would be carried along, or lost.
 */
static bool is_volume(const struct renaming *r, int dir, const char *name)
{
	cleanup_close int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	uint64_t mount = fd < 0 ? r->t->upper_mount : cow_mount_id(fd);

	return mount != r->t->upper_mount && cow_table_state(r->t, mount) != COW_GRAFT_ATTACHED;
}

/* 0, or EBUSY: the rename would be about a volume. What else would be wrong with it is said by the kernel first. */
static int check_volumes(struct renaming *r)
{
	bool other_kind;

	if (!is_volume(r, r->from, r->old) && !is_volume(r, r->to, r->new))
		return 0;
	if (fstatat(r->from, r->old, &r->source, AT_SYMLINK_NOFOLLOW) != 0)
		return 0;
	other_kind = (r->flags & RENAME_EXCHANGE) == 0 &&
		     fstatat(r->to, r->new, &r->target, AT_SYMLINK_NOFOLLOW) == 0 &&
		     S_ISDIR(r->source.st_mode) != S_ISDIR(r->target.st_mode);
	return other_kind ? 0 : EBUSY;
}

/* Who they are. -1: plain renameat2(2) does it right. 0 or an errno. */
static int look(struct renaming *r)
{
	struct cow_tree *t = r->t;
	cleanup_close int target = -1;
	cleanup_close int source = -1;
	int error = cow_graft_at(t, r->to, r->new, &target);

	if (error != 0)
		return error == ESTALE ? -1 : error;
	if (fstat(target, &r->target) != 0)
		return errno;
	if (fstatat(r->from, r->old, &r->source, AT_SYMLINK_NOFOLLOW) != 0)
		return -1;
	if (S_ISDIR(r->source.st_mode) != S_ISDIR(r->target.st_mode))
		return -1;
	r->target_graft = cow_table_by_mount(t, cow_mount_id(target));
	r->target_place = cow_tree_relative(t, target);
	if (cow_graft_at(t, r->from, r->old, &source) == 0) {
		r->source_graft = cow_table_by_mount(t, cow_mount_id(source));
		r->source_place = cow_tree_relative(t, source);
	}
	return S_ISDIR(r->target.st_mode) ? cow_check_empty(target) : 0;
}

static int over(struct renaming *r)
{
	int error = with_privileges(r, look);
	int denied;

	if (error < 0)
		return plain(r);
	/* Two names of one file, or the same name: rename(2) does nothing. */
	if ((error == 0 || error == ENOTEMPTY) && r->source.st_ino == r->target.st_ino &&
	    r->source.st_dev == r->target.st_dev)
		return 0;
	if (error == 0)
		return S_ISDIR(r->target.st_mode) ? over_directory(r) : over_file(r);
	/* It matters only to who may rename at all. */
	denied = cow_may_remove(r->from, &r->source);
	if (denied == 0)
		denied = cow_may_remove(r->to, &r->target);
	return denied != 0 ? denied : error;
}

int cow_tree_rename(struct cow_tree *t, int from, const char *old, int to, const char *new, unsigned flags)
{
	struct renaming r __attribute__((cleanup(renaming_cleanup))) = {
		.t = t, .from = from, .to = to, .old = old, .new = new, .flags = flags};
	int error;

	pthread_mutex_lock(&t->structure);
	error = with_privileges(&r, check_volumes);
	if (error == 0)
		error = flags == 0 ? over(&r) : rename_errno(from, old, to, new, flags);
	pthread_mutex_unlock(&t->structure);
	return error;
}
