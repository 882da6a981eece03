#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../lib/fd.h"

void cow_entries_free(struct cow_entries *e)
{
	for (size_t i = 0; i < e->count; i++) {
		free(e->list[i].name);
		free(e->list[i].path);
	}
	free(e->list);
	memset(e, 0, sizeof(*e));
}

static struct cow_entry *add_entry(struct cow_entries *e, const char *dir, const char *name, const struct stat *st)
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
	entry->directory = S_ISDIR(st->st_mode);
	entry->st = *st;
	e->count++;
	return entry;
}

/* Symbolic links cannot carry a mount: they are copied. */
/* 0, or -1 with errno. */
static int copy_link(int lower, int upper, const struct cow_entry *entry)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(lower, entry->name, target, sizeof(target) - 1);
	struct timespec times[2] = {entry->st.st_atim, entry->st.st_mtim};

	if (n < 0)
		return errno == ENOENT || errno == EINVAL ? 0 : -1;
	target[n] = '\0';
	if (symlinkat(target, upper, entry->name) != 0)
		return errno == EEXIST ? 0 : -1;
	if (fchownat(upper, entry->name, entry->st.st_uid, entry->st.st_gid, AT_SYMLINK_NOFOLLOW) != 0)
		return -1;
	return utimensat(upper, entry->name, times, AT_SYMLINK_NOFOLLOW);
}

/*
 * Owner and mode as the lower's: the host's kernel judges renames and deletions by them. 1 if it was made, 0 if the
 * delegate made a mount point of that name before (never touched: a volume may be mounted there), -1 with errno.
 */
static int make_placeholder(struct cow_tree *t, int upper, const struct cow_entry *entry)
{
	cleanup_close int fd = -1;

	if (entry->directory) {
		if (mkdirat(upper, entry->name, 0700) != 0)
			return errno == EEXIST ? 0 : -1;
		fd = openat(upper, entry->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	} else {
		fd = openat(upper, entry->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0 && errno == EEXIST)
			return 0;
	}
	if (fd < 0 || cow_mark_set(t->branch, fd, entry->path) != 0)
		return -1;
	if ((entry->st.st_uid != 0 || entry->st.st_gid != 0) && fchown(fd, entry->st.st_uid, entry->st.st_gid) != 0)
		return -1;
	return fchmod(fd, entry->st.st_mode & 07777) == 0 ? 1 : -1;
}

int cow_placeholders_make(struct cow_tree *t, int lower, const char *path, int upper, struct cow_entries *out)
{
	int copy = fcntl(lower, F_DUPFD_CLOEXEC, 3);
	cleanup_dir DIR *dir = NULL;
	struct dirent *de;

	if (copy < 0)
		return errno;
	dir = fdopendir(copy);
	if (dir == NULL) {
		close(copy);
		return errno;
	}
	rewinddir(dir);
	while ((errno = 0, de = readdir(dir)) != NULL) {
		struct cow_entry *entry;
		struct stat st;
		int made;

		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		if (fstatat(lower, de->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue; /* the host deleted it meanwhile */
		entry = add_entry(out, path, de->d_name, &st);
		if (entry == NULL)
			return ENOMEM;
		made = S_ISLNK(st.st_mode) ? copy_link(lower, upper, entry) : make_placeholder(t, upper, entry);
		if (made < 0)
			return errno;
		entry->grafted = made > 0;
	}
	return errno;
}

int cow_placeholders_graft(struct cow_tree *t, int lower, int upper, struct cow_entries *e)
{
	for (size_t i = 0; i < e->count; i++) {
		struct cow_entry *entry = &e->list[i];
		cleanup_close int mount = -1;
		struct stat st;

		if (!entry->grafted)
			continue;
		mount = cow_mount_clone(lower, entry->name, entry->directory);
		if (mount < 0 && errno == ENOENT) {
			entry->grafted = false; /* deleted by the host since */
			continue;
		}
		if (mount < 0 || fstat(mount, &st) != 0)
			return errno;
		if (cow_mount_attach(mount, upper, entry->name) != 0)
			return errno;
		cow_table_add(t, cow_mount_id(mount), &st, entry->path);
	}
	return 0;
}

int cow_split_record(struct cow_tree *t, int upper, const char *path, const struct stat *lower,
		     const struct cow_entries *e)
{
	struct cow_journal_split rec = {.lower = path, .when_sec = time(NULL), .nentries = e->count};
	cleanup_free struct cow_journal_entry *entries = calloc(e->count + 1, sizeof(*entries));

	if (entries == NULL)
		return ENOMEM;
	if (cow_ident_of(upper, &rec.upper) != 0)
		return errno;
	cow_lower_stamp_of(&rec.stamp, lower);
	for (size_t i = 0; i < e->count; i++) {
		entries[i].name = e->list[i].name;
		cow_lower_stamp_of(&entries[i].stamp, &e->list[i].st);
	}
	rec.entries = entries;
	return cow_journal_add_split(t->journal, &rec) == 0 ? 0 : errno;
}

char *cow_stage_name(struct cow_tree *t, char kind)
{
	char *name = NULL;

	if (asprintf(&name, "%c%llu", kind,
		     (unsigned long long)__atomic_add_fetch(&t->stage_count, 1, __ATOMIC_RELAXED)) < 0)
		abort();
	return name;
}

int cow_reveal(struct cow_tree *t, const char *staged, int parent, const char *name)
{
	struct stat before;

	if (fstat(parent, &before) != 0)
		return errno;
	if (syscall(SYS_renameat2, t->stage, staged, parent, name, 2 /* RENAME_EXCHANGE */) != 0)
		return errno;
	/* The exchange is not the container's doing: its directory was not modified. */
	cow_copy_times(parent, &before);
	return 0;
}

/* Everything of a split that happens out of sight. */
static int stage_split(struct cow_tree *t, const struct cow_graft *g, int root, const char *staged, int *upper)
{
	struct cow_entries entries = {0};
	cleanup_close int lower = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	int error;

	if (lower < 0 || fstat(lower, &st) != 0)
		return errno;
	if (mkdirat(t->stage, staged, 0700) != 0)
		return errno;
	*upper = openat(t->stage, staged, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*upper < 0)
		return errno;
	error = cow_placeholders_make(t, lower, g->path, *upper, &entries);
	if (error == 0 && cow_copy_attributes(lower, *upper, &st) != 0)
		error = errno;
	if (error == 0 && cow_copy_times(*upper, &st) != 0)
		error = errno;
	if (error == 0)
		error = cow_split_record(t, *upper, g->path, &st, &entries);
	if (error == 0 && cow_tree_enter(t) != 0)
		error = errno;
	else if (error == 0) {
		error = cow_placeholders_graft(t, lower, *upper, &entries);
		cow_tree_leave(t);
	}
	if (error == 0) {
		t->stats.splits++;
		t->stats.split_entries += entries.count;
		cow_table_add_split(t, &st, g->path, *upper);
	}
	cow_entries_free(&entries);
	return error;
}

int cow_split_directory(struct cow_tree *t, int parent, const char *name)
{
	cleanup_close int root = -1;
	cleanup_close int upper = -1;
	cleanup_free char *staged = cow_stage_name(t, 's');
	struct cow_graft *g;
	int error;

	pthread_mutex_lock(&t->structure);
	root = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (root < 0) {
		error = errno;
		goto out;
	}
	if (cow_mount_id(root) == t->upper_mount) {
		upper = cow_steal_fd(&root); /* somebody else split it first */
		error = 0;
		goto out;
	}
	g = cow_table_by_mount(t, cow_mount_id(root));
	if (g == NULL || g->state != COW_GRAFT_ATTACHED) {
		error = ESTALE;
		goto out;
	}
	error = stage_split(t, g, root, staged, &upper);
	if (error == 0) {
		char *place = cow_tree_relative(t, root);

		error = cow_reveal(t, staged, parent, name);
		if (error == 0)
			cow_table_retire(t, g, cow_steal_ptr(&staged), place);
		else
			free(place);
	}
out:
	pthread_mutex_unlock(&t->structure);
	if (error != 0) {
		errno = error;
		return -1;
	}
	return cow_steal_fd(&upper);
}
