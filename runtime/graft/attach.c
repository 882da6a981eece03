/*
 * The grafts of a container that is about to start: nothing runs in it yet, so nothing has to be revealed at once.
 * A new branch: the root is split. A branch that existed: its placeholders are covered again.
 */
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/log.h"

static int split_in_place(struct cow_tree *t, int upper, int lower, const char *path);

/* A directory that the delegate made on the way to a nested mount point: lower and mount point have to show side by
 * side. */
static int split_beside_mount(struct cow_tree *t, int upper, int lower, const struct cow_entry *entry)
{
	cleanup_close int up = openat(upper, entry->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_close int low = openat(lower, entry->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (up < 0 || low < 0)
		return errno == ENOTDIR ? 0 : errno;
	if (cow_mount_id(up) != t->upper_mount)
		return 0; /* the mount itself */
	return split_in_place(t, up, low, entry->path);
}

static int split_in_place(struct cow_tree *t, int upper, int lower, const char *path)
{
	struct cow_entries entries = {0};
	struct stat st;
	int error = fstat(lower, &st) == 0 ? 0 : errno;

	if (error == 0)
		error = cow_placeholders_make(t, lower, path, upper, &entries);
	if (error == 0 && cow_tree_enter(t) != 0)
		error = errno;
	else if (error == 0) {
		error = cow_placeholders_graft(t, lower, upper, &entries);
		cow_tree_leave(t);
	}
	for (size_t i = 0; error == 0 && i < entries.count; i++)
		if (!entries.list[i].made && entries.list[i].directory)
			error = split_beside_mount(t, upper, lower, &entries.list[i]);
	if (error == 0 && (cow_copy_attributes(lower, upper, &st) != 0 || cow_copy_times(upper, &st) != 0))
		error = errno;
	/* Last: an attach that was killed is begun again (and finds its placeholders by their marks). */
	if (error == 0)
		error = cow_split_record(t, upper, path, &st, &entries);
	if (error == 0) {
		cow_entries_settle(t, &entries);
		cow_real_add(t, &st, NULL, 0, upper);
	}
	cow_entries_free(&entries);
	return error;
}

static bool is_empty(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *de;

	if (dir == NULL) {
		cow_close_fd(&copy);
		return true;
	}
	while ((de = readdir(dir)) != NULL)
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			return false;
	return true;
}

/* A placeholder in which the delegate has made mount points since: it is split now. */
static int split_placeholder(struct cow_tree *t, int lower, int upper, const char *name, const char *path)
{
	cleanup_close int up = openat(upper, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_close int low = cow_open_beneath(lower, path, O_RDONLY | O_DIRECTORY, 0);
	int error;

	if (up < 0)
		return errno;
	error = low < 0 ? 0 : split_in_place(t, up, low, path);
	if (error == 0 && cow_mark_clear(up) != 0)
		error = errno;
	return error;
}

static int cover(struct cow_tree *t, int at, int upper, const char *name, int placeholder,
		 const struct cow_entry *entry)
{
	cleanup_close int mount = -1;
	int error = 0;

	if (cow_tree_enter(t) != 0)
		return errno;
	mount = cow_mount_clone(at, "", S_ISDIR(entry->st.st_mode));
	if (mount < 0 || cow_mount_attach(mount, upper, name) != 0)
		error = errno;
	else {
		cow_table_add(t, cow_mount_id(mount), &entry->st, entry->path,
			      t->handles ? cow_handle_of(placeholder) : NULL)
			->twin = cow_relink_has_twins(t, entry->path);
		cow_nested_note(t, cow_mount_id(mount), mount, entry->path);
	}
	cow_tree_leave(t);
	return error;
}

/* There are fewer mounts to be had than in the earlier run. */
static int hydrate_placeholder(struct cow_tree *t, int lower, int upper, const char *name, struct cow_entry *entry)
{
	cleanup_close int from = cow_open_beneath(lower, entry->path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	cleanup_free char *staged = cow_stage_name(t, 'h');

	if (from < 0 || cow_hydrate(t, from, t->stage, staged, entry) != 0)
		return errno;
	free(cow_steal_ptr(&entry->handle));
	return renameat(t->stage, staged, upper, name) == 0 ? 0 : errno;
}

/* Covers one placeholder of an earlier run again. What the host deleted since is not the branch's to keep. */
static int regraft(struct cow_tree *t, int lower, int upper, const char *name, int placeholder, const char *path)
{
	cleanup_close int at = cow_open_beneath(lower, path, O_PATH, 0);
	struct cow_entry entry;
	struct stat up;
	struct stat st;
	int error;

	if (fstat(placeholder, &up) != 0)
		return errno;
	if (S_ISDIR(up.st_mode) && !is_empty(placeholder))
		return split_placeholder(t, lower, upper, name, path);
	if (at < 0 || fstat(at, &st) != 0 || S_ISDIR(st.st_mode) != S_ISDIR(up.st_mode) || S_ISLNK(st.st_mode)) {
		cow_log_warning("%s is no longer in %s", path, t->branch->trees[t->index].lower);
		return unlinkat(upper, name, S_ISDIR(up.st_mode) ? AT_REMOVEDIR : 0) == 0 ? 0 : errno;
	}
	entry = (struct cow_entry){.path = (char *)path, .st = st};
	switch (cow_budget_choose(t, &entry)) {
	case COW_CHOICE_NONE:
		return ENOSPC;
	case COW_CHOICE_COPY:
		error = hydrate_placeholder(t, lower, upper, name, &entry);
		if (!cow_hydrate_refused(error) || !cow_budget_reserve(t, &entry))
			return error;
		/* fallthrough */
	default:
		error = cover(t, at, upper, name, placeholder, &entry);
		cow_budget_release(t, &entry);
		return error;
	}
}

static int resume_directory(struct cow_tree *t, int lower, int upper);

static int resume_entry(struct cow_tree *t, int lower, int upper, const char *name)
{
	cleanup_close int fd = openat(upper, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	cleanup_free char *path = NULL;
	struct stat st;
	int marked;
	int dir;

	if (fd < 0 || fstat(fd, &st) != 0)
		return errno;
	if (cow_mount_id(fd) != t->upper_mount || S_ISLNK(st.st_mode))
		return 0;
	marked = cow_mark_get(t->branch, fd, &path);
	if (marked < 0)
		return errno;
	if (marked > 0)
		return cow_relink_defer(t, fd, path) ? 0 : regraft(t, lower, upper, name, fd, path);
	if (S_ISREG(st.st_mode))
		cow_relink_note(t, fd);
	cow_close_fd(&fd); /* as few as possible stay open on the way down */
	if (!S_ISDIR(st.st_mode))
		return 0;
	dir = openat(upper, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return dir < 0 ? errno : resume_directory(t, lower, dir);
}

/* Takes `upper` over. */
static int resume_directory(struct cow_tree *t, int lower, int upper)
{
	cleanup_dir DIR *dir = fdopendir(upper);
	struct dirent *de;
	struct stat before;
	struct stat after;
	int error = 0;

	if (dir == NULL || fstat(upper, &before) != 0) {
		error = errno;
		if (dir == NULL)
			close(upper);
		return error;
	}
	while (error == 0 && (errno = 0, de = readdir(dir)) != NULL)
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			error = resume_entry(t, lower, upper, de->d_name);
	if (error == 0)
		error = errno;
	if (error == 0 && fstat(upper, &after) == 0 &&
	    (after.st_mtim.tv_sec != before.st_mtim.tv_sec || after.st_mtim.tv_nsec != before.st_mtim.tv_nsec))
		cow_copy_times(upper, &before);
	return error;
}

static int resume(struct cow_tree *t, int lower, int upper, const struct cow_journal *journal)
{
	int dir = openat(upper, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	int error;
	int last;

	if (dir < 0 || fstat(lower, &st) != 0)
		return errno;
	cow_real_add(t, &st, NULL, 0, upper);
	cow_relink_begin(t, journal);
	error = resume_directory(t, lower, dir);
	last = cow_relink_end(t, lower, regraft);
	return error != 0 ? error : last;
}

static struct cow_journal *load_journal(struct cow_tree *t, struct cow_error **err)
{
	cleanup_close int dir = -1;
	char name[16];

	snprintf(name, sizeof(name), "trees/%zu", t->index);
	dir = openat(t->branch->dirfd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		cow_error_set(err, errno, "branch %s: %s", t->branch->name, name);
		return NULL;
	}
	return cow_journal_load(dir, err);
}

int cow_tree_attach(struct cow_tree *t, struct cow_error **err)
{
	cleanup_close int upper = openat(t->upper, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int lower = openat(t->lower, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct cow_journal *journal;
	struct cow_ident ident;
	int error;

	if (upper < 0 || lower < 0 || cow_ident_of(upper, &ident) != 0)
		return cow_error_set(err, errno, "cannot open the workdir %s", t->workdir);
	error = cow_nested_find(t);
	if (error != 0)
		return cow_error_set(err, error, "cannot read the container's mounts");
	journal = load_journal(t, err);
	if (journal == NULL)
		return -1;
	/* Was the root split in an earlier run? */
	error = cow_journal_find_split(journal, &ident) != NULL ? resume(t, lower, upper, journal)
								: split_in_place(t, upper, lower, "");
	cow_journal_free(journal);
	t->attached = true;
	if (error == ENOSPC)
		return cow_error_set(err, error, "cannot graft %s (no room for mounts: fs.mount-max, or on the disk)",
				     t->branch->trees[t->index].lower);
	return error == 0 ? 0 : cow_error_set(err, error, "cannot graft %s", t->branch->trees[t->index].lower);
}
