/*
 * The entries of a directory that is split: a placeholder for each, and a graft on each. All of it out of sight, so the
 * order is free: what the host deletes or replaces meanwhile is seen when the graft is cut, and only what was really
 * grafted goes to the journal.
 */
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../lib/fd.h"

enum { HOST_IS_BUSY = 16 };

static void entry_clear(struct cow_entry *entry)
{
	free(entry->name);
	free(entry->path);
	free(entry->handle);
}

void cow_entries_free(struct cow_entries *e)
{
	for (size_t i = 0; i < e->count; i++)
		entry_clear(&e->list[i]);
	free(e->list);
	memset(e, 0, sizeof(*e));
}

static struct cow_entry *add_entry(struct cow_entries *e, const char *dir, const char *name)
{
	struct cow_entry *entry;

	if (e->count == e->room) {
		size_t room = e->room == 0 ? 64 : e->room * 2;
		struct cow_entry *grown = realloc(e->list, room * sizeof(*grown));

		if (grown == NULL)
			return NULL;
		e->list = grown;
		e->room = room;
	}
	entry = &e->list[e->count];
	memset(entry, 0, sizeof(*entry));
	entry->name = strdup(name);
	if (entry->name == NULL || asprintf(&entry->path, "%s%s%s", dir, *dir ? "/" : "", name) < 0) {
		free(entry->name);
		return NULL;
	}
	e->count++;
	return entry;
}

/* Symbolic links cannot carry a mount: they are copied. 0, or -1 with errno. */
static int copy_link(int lower, int upper, const struct cow_entry *entry)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(lower, entry->name, target, sizeof(target) - 1);
	struct timespec times[2] = {entry->st.st_atim, entry->st.st_mtim};

	if (n < 0)
		return -1;
	target[n] = '\0';
	if (symlinkat(target, upper, entry->name) != 0)
		return errno == EEXIST ? 0 : -1;
	if (cow_copy_owner(upper, entry->name, &entry->st) != 0)
		return -1;
	return utimensat(upper, entry->name, times, AT_SYMLINK_NOFOLLOW);
}

/*
 * Can it be made with its mode? Bits that a change of owner takes away are set after that; and in a directory that is
 * the upper's own already, a default access list has a say.
 */
static bool born_with_mode(const struct cow_tree *t, const struct cow_entry *entry)
{
	return t->exact_modes && t->attached && (entry->st.st_mode & 07000) == 0;
}

/* Owner and mode as the lower's: the host's kernel judges renames and deletions by them. */
static int dress(struct cow_tree *t, int fd, struct cow_entry *entry)
{
	if (cow_mark_set(t->branch, fd, entry->path) != 0)
		return -1;
	if ((entry->st.st_uid != 0 || entry->st.st_gid != 0) && cow_copy_owner(fd, "", &entry->st) != 0)
		return -1;
	if (!born_with_mode(t, entry) && fchmod(fd, entry->st.st_mode & 07777) != 0) {
		char self[40];

		snprintf(self, sizeof(self), "/proc/self/fd/%d", fd); /* of a FIFO or the like it is an O_PATH one */
		if (errno != EBADF || chmod(self, entry->st.st_mode & 07777) != 0)
			return -1;
	}
	if (t->handles)
		entry->handle = cow_handle_of(fd);
	return 0;
}

/* Its type, which readdir(3) tells: the lower's, if that can carry a mark. */
static mode_t type_of(const struct cow_entry *entry)
{
	mode_t type = entry->st.st_mode & S_IFMT;

	return type == S_IFDIR || cow_mark_on_special() ? type : S_IFREG;
}

/* A descriptor of the new placeholder, or -1. */
static int make_node(int upper, const char *name, mode_t type, mode_t mode)
{
	if (type == S_IFREG)
		return openat(upper, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (type == S_IFDIR)
		return mkdirat(upper, name, mode) != 0
			       ? -1
			       : openat(upper, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	/* Devices with the number of none. */
	return mknodat(upper, name, type | mode, 0) != 0 ? -1 : openat(upper, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

/*
 * The name is taken. By a mount point that the delegate made before: never touched, a volume may be mounted there. Or
 * by the placeholder that an attach made which was then killed: 1.
 */
static int taken(struct cow_tree *t, int upper, struct cow_entry *entry)
{
	cleanup_close int fd = openat(upper, entry->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	cleanup_free char *path = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		return -1;
	if (cow_mount_id(fd) != t->upper_mount || S_ISDIR(st.st_mode) != entry->directory || S_ISLNK(st.st_mode))
		return 0;
	if (cow_mark_get(t->branch, fd, &path) <= 0 || strcmp(path, entry->path) != 0)
		return 0;
	if (t->handles)
		entry->handle = cow_handle_of(fd);
	return 1;
}

int cow_placeholder_make(struct cow_tree *t, int upper, struct cow_entry *entry)
{
	cleanup_close int fd = -1;

	entry->directory = S_ISDIR(entry->st.st_mode);
	fd = make_node(upper, entry->name, type_of(entry), born_with_mode(t, entry) ? entry->st.st_mode & 0777 : 0700);
	if (fd < 0)
		return errno == EEXIST ? taken(t, upper, entry) : -1;
	if (dress(t, fd, entry) == 0)
		return 1;
	int saved = errno;

	unlinkat(upper, entry->name, entry->directory ? AT_REMOVEDIR : 0);
	errno = saved;
	return -1;
}

static int make_placeholder(struct cow_tree *t, int upper, struct cow_entry *entry)
{
	int made = cow_placeholder_make(t, upper, entry);

	entry->made = made > 0;
	if (!entry->made)
		cow_budget_release(t, entry);
	return made < 0 ? -1 : 0;
}

/*
 * A copy of a file. At an attach the directory is the upper's own already: there it must not be seen before it is
 * complete and in the journal; and what has the name is a mount point, or was made by an attach that was killed.
 */
static int make_copy(struct cow_tree *t, int lower, int upper, struct cow_entry *entry)
{
	cleanup_close int from = openat(lower, entry->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	cleanup_free char *staged = NULL;

	if (from < 0)
		return -1;
	if (t->attached)
		return cow_hydrate(t, from, upper, entry->name, entry);
	if (faccessat(upper, entry->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	staged = cow_stage_name(t, 'h');
	if (cow_hydrate(t, from, t->stage, staged, entry) != 0)
		return -1;
	return renameat(t->stage, staged, upper, entry->name);
}

/* Of another kind than it was a moment ago: ESTALE, EINVAL (no longer a link), ELOOP (now it is one). */
static int try_entry(struct cow_tree *t, int lower, int upper, struct cow_entry *entry)
{
	entry->made = false;
	if (fstatat(lower, entry->name, &entry->st, AT_SYMLINK_NOFOLLOW) != 0)
		return -1;
	if (S_ISLNK(entry->st.st_mode)) {
		entry->directory = false;
		return copy_link(lower, upper, entry);
	}
	switch (cow_budget_choose(t, entry)) {
	case COW_CHOICE_GRAFT:
		return make_placeholder(t, upper, entry);
	case COW_CHOICE_COPY:
		if (make_copy(t, lower, upper, entry) == 0)
			return 0;
		return cow_hydrate_refused(errno) && cow_budget_reserve(t, entry) ? make_placeholder(t, upper, entry)
										  : -1;
	default:
		errno = ENOSPC;
		return -1;
	}
}

/* Whatever stands for a lower entry in the upper. 0 or -1; what is gone by now is entry->gone. */
static int make_entry(struct cow_tree *t, int lower, int upper, struct cow_entry *entry)
{
	for (int tries = 0; tries < HOST_IS_BUSY; tries++) {
		if (try_entry(t, lower, upper, entry) == 0)
			return 0;
		if (errno != ESTALE && errno != EINVAL && errno != ELOOP)
			break;
	}
	entry->gone = errno == ENOENT || errno == ESTALE || errno == EINVAL || errno == ELOOP;
	return entry->gone ? 0 : -1;
}

int cow_placeholders_make(struct cow_tree *t, int lower, const char *path, int upper, struct cow_entries *out)
{
	int copy = openat(lower, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *de;

	if (dir == NULL) {
		int saved = errno;

		cow_close_fd(&copy);
		return saved;
	}
	while ((errno = 0, de = readdir(dir)) != NULL) {
		struct cow_entry *entry;

		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		entry = add_entry(out, path, de->d_name);
		if (entry == NULL)
			return ENOMEM;
		if (make_entry(t, lower, upper, entry) != 0)
			return errno;
	}
	return errno;
}

/* 1: done, 0: the host put something of another kind there, -1 with errno. */
static int graft_entry(struct cow_tree *t, int lower, int upper, struct cow_entry *entry)
{
	cleanup_close int mount = cow_mount_clone(lower, entry->name, entry->directory);
	struct stat st;
	uint64_t id;

	if (mount < 0 && errno != ENOENT && errno != ESTALE)
		return -1;
	if (mount < 0)
		return 0;
	id = cow_mount_stat(mount, &st);
	if (id == 0)
		return -1;
	if (S_ISLNK(st.st_mode) || S_ISDIR(st.st_mode) != entry->directory)
		return 0;
	if (cow_mount_attach(mount, upper, entry->name) != 0)
		return -1;
	/* Of the very object that is shown: the host may have replaced it since its name was read. */
	entry->st = st;
	entry->mount = id;
	cow_table_add(t, entry->mount, &st, entry->path, cow_steal_ptr(&entry->handle));
	cow_budget_release(t, entry);
	if (entry->directory)
		cow_nested_note(t, entry->mount, mount, entry->path);
	return 1;
}

int cow_placeholders_graft(struct cow_tree *t, int lower, int upper, struct cow_entries *e)
{
	for (size_t i = 0; i < e->count; i++) {
		struct cow_entry *entry = &e->list[i];

		for (int tries = 0; entry->made; tries++) {
			int done = graft_entry(t, lower, upper, entry);

			if (done > 0)
				break;
			if (done < 0 || tries == HOST_IS_BUSY)
				return done < 0 ? errno : EBUSY;
			if (unlinkat(upper, entry->name, entry->directory ? AT_REMOVEDIR : 0) != 0)
				return errno;
			free(cow_steal_ptr(&entry->handle));
			cow_budget_release(t, entry);
			if (make_entry(t, lower, upper, entry) != 0)
				return errno;
		}
	}
	return 0;
}

void cow_entries_settle(struct cow_tree *t, struct cow_entries *e)
{
	for (size_t i = 0; i < e->count; i++) {
		struct cow_entry *entry = &e->list[i];

		if (entry->hydrated)
			cow_real_add_known(t, &entry->st, &entry->ident, cow_steal_ptr(&entry->handle));
	}
}

void cow_placeholders_undo(struct cow_tree *t, int upper, struct cow_entries *e)
{
	for (size_t i = 0; i < e->count; i++) {
		struct cow_entry *entry = &e->list[i];

		cow_budget_release(t, entry);
		if (entry->mount != 0)
			cow_table_remove(t, cow_table_by_mount(t, entry->mount));
		/* The kernel takes the graft with it. */
		unlinkat(upper, entry->name, entry->directory ? AT_REMOVEDIR : 0);
	}
}

int cow_split_record(struct cow_tree *t, int upper, const char *path, const struct stat *lower,
		     const struct cow_entries *e)
{
	struct cow_journal_split rec = {.lower = path, .when_sec = time(NULL)};
	cleanup_free struct cow_journal_entry *entries = calloc(e->count + 1, sizeof(*entries));
	int error;

	if (entries == NULL)
		return ENOMEM;
	if (cow_ident_of(upper, &rec.upper) != 0)
		return errno;
	cow_lower_stamp_of(&rec.stamp, lower);
	for (size_t i = 0; i < e->count; i++) {
		if (e->list[i].gone)
			continue;
		entries[rec.nentries].name = e->list[i].name;
		cow_lower_stamp_of(&entries[rec.nentries++].stamp, &e->list[i].st);
	}
	rec.entries = entries;
	pthread_mutex_lock(&t->journal_lock);
	error = cow_journal_add_split(t->journal, &rec) == 0 ? 0 : errno;
	pthread_mutex_unlock(&t->journal_lock);
	return error;
}
