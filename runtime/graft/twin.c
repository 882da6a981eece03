/*
 * Further names of untouched files. link(2) changes nothing in a file but its link count, so there is no need to copy
 * it up: the new name is a *twin*, one more placeholder with the mark of the same lower file and a graft of it on top.
 * Both names are one file then, as the names are that a lower file has from the start, and links.c sees to it that they
 * stay one when it is copied up. The lower itself gets its link when the branch is committed.
 *
 * A twin may have been made of a name in a directory that is a graft as a whole; it is all there is in the table then.
 * So grafts are flagged that have the lower path of another name, and the journal says so for later containers.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/fd.h"

/* With more it gets a copy: links on a real file cost nothing, and a copy-up takes all names at once. */
enum { TWINS_MAX = 1000 };

struct twinning {
	struct cow_tree *t;
	int object, parent;
	const char *name;
	uint64_t mount;         /* of the graft that the object is, or is in */
	struct cow_entry entry; /* the new placeholder, in the stage */
	const struct cow_caller *caller;
};

static int attach_graft(struct cow_tree *t, int object, struct cow_entry *entry)
{
	cleanup_close int mount = -1;
	int error = 0;

	if (cow_tree_enter(t) != 0)
		return errno;
	mount = cow_mount_clone(object, "", false);
	if (mount < 0 || cow_mount_attach(mount, t->stage, entry->name) != 0)
		error = errno;
	else
		entry->mount = cow_mount_id(mount);
	cow_tree_leave(t);
	return error;
}

/*
 * Made with the file system ids of a target (rename.c) a placeholder of root's file is the target's. A chown takes
 * set-id bits away.
 */
static int make_roots(struct cow_tree *t, const struct cow_entry *entry)
{
	/* These change nothing, and say what the ids are. */
	bool mine = setfsuid((uid_t)-1) == 0 && setfsgid((gid_t)-1) == 0;

	if (mine || entry->st.st_uid != 0 || entry->st.st_gid != 0)
		return 0;
	return cow_copy_owner(t->stage, entry->name, &entry->st) == 0 &&
			       fchmodat(t->stage, entry->name, entry->st.st_mode & 07777, 0) == 0
		       ? 0
		       : errno;
}

int cow_twin_stage(struct cow_tree *t, int object, struct cow_entry *entry)
{
	int made = cow_placeholder_make(t, t->stage, entry);
	int error;

	if (made <= 0)
		return made < 0 ? errno : EEXIST;
	error = make_roots(t, entry);
	if (error == 0)
		error = attach_graft(t, object, entry);
	if (error != 0) {
		free(cow_steal_ptr(&entry->handle));
		unlinkat(t->stage, entry->name, 0);
	}
	return error;
}

/* Where in directory graft `top` the object is, `top` and a slash before it. Caller frees; NULL: not to be told. */
static char *path_inside(struct cow_tree *t, int object, uint64_t mount, const char *top)
{
	cleanup_free struct file_handle *handle = cow_table_handle(t, mount);
	cleanup_free char *where = cow_graft_where(t, mount, handle);
	cleanup_free char *place = cow_tree_relative(t, object);
	size_t len = where == NULL ? 0 : strlen(where);
	char *path = NULL;

	if (where == NULL || place == NULL || strncmp(place, where, len) != 0 || place[len] != '/')
		return NULL;
	if (asprintf(&path, "%s%s", top, place + len) < 0)
		abort();
	return path;
}

/*
 * What the host renamed has no path any more that would lead to it. And to link across file systems is EXDEV in the
 * lower, and nothing that a commit could do.
 */
static bool leads_there(struct cow_tree *t, const char *path, const struct stat *st)
{
	cleanup_close int now = cow_open_beneath(t->lower, path, O_PATH, 0);
	struct stat there;

	return now >= 0 && cow_mount_id(now) == t->lower_mount && fstat(now, &there) == 0 &&
	       there.st_ino == st->st_ino && there.st_dev == st->st_dev;
}

/* Fills in what the object is. 0 or an errno. */
static int look(struct twinning *w)
{
	struct cow_tree *t = w->t;
	cleanup_free char *top = cow_table_path(t, w->mount);
	struct stat *st = &w->entry.st;

	if (top == NULL) /* on another file system that is mounted in the lower; or it was taken away */
		return cow_table_state(t, w->mount) == COW_GRAFT_ATTACHED ? EOPNOTSUPP : ESTALE;
	if (fstat(w->object, st) != 0)
		return errno;
	if (!S_ISREG(st->st_mode) || st->st_nlink == 0 || cow_table_count(t, st) >= TWINS_MAX)
		return EOPNOTSUPP;
	w->entry.path = cow_mount_root(w->object) ? cow_steal_ptr(&top) : path_inside(t, w->object, w->mount, top);
	return w->entry.path != NULL && leads_there(t, w->entry.path, st) ? 0 : EOPNOTSUPP;
}

static int stage(struct twinning *w)
{
	struct cow_tree *t = w->t;
	int error;

	if (!cow_budget_reserve_twin(t, &w->entry))
		return EOPNOTSUPP;
	w->entry.name = cow_stage_name(t, 't');
	error = cow_twin_stage(t, w->object, &w->entry);
	/* fs.mount-max, perhaps; if there is no room on the disk, the copy says so. */
	return error == ENOSPC ? EOPNOTSUPP : error;
}

static int record(struct twinning *w)
{
	int error;

	pthread_mutex_lock(&w->t->journal_lock);
	error = cow_journal_add_twin(w->t->journal, w->entry.path) == 0 ? 0 : errno;
	pthread_mutex_unlock(&w->t->journal_lock);
	return error;
}

/* The new name, as the caller: the kernel judges whether he may make it, and that there is none. */
static int give_name(void *data)
{
	const struct twinning *w = data;

	return syscall(SYS_renameat2, w->t->stage, w->entry.name, w->parent, w->name, RENAME_NOREPLACE) == 0 ? 0
													     : errno;
}

static int reveal(struct twinning *w)
{
	struct cow_tree *t = w->t;
	struct cow_graft *g;
	int error;

	pthread_mutex_lock(&t->structure);
	if (cow_table_state(t, w->mount) != COW_GRAFT_ATTACHED) {
		error = ESTALE;
	} else {
		/* Before it can be seen: whoever finds it must find it known. */
		g = cow_table_add(t, w->entry.mount, &w->entry.st, w->entry.path, cow_steal_ptr(&w->entry.handle));
		g->twin = true;
		error = w->caller->as_caller(w->caller, give_name, w);
		if (error == 0)
			t->stats.twins++;
		else
			cow_table_remove(t, g);
	}
	pthread_mutex_unlock(&t->structure);
	return error;
}

static int twin(struct twinning *w)
{
	int error = look(w);

	if (error == 0)
		error = stage(w);
	if (error != 0)
		return error;
	error = record(w);
	if (error == 0)
		error = reveal(w);
	if (error != 0)
		unlinkat(w->t->stage, w->entry.name, 0); /* and the kernel takes the graft away */
	return error;
}

int cow_tree_twin(struct cow_tree *t, int object, int parent, const char *name, const struct cow_caller *caller)
{
	struct twinning w = {.t = t, .object = object, .parent = parent, .name = name, .caller = caller};
	struct cow_claim claim = {0};
	bool inside = !cow_mount_root(object);
	int error;

	w.mount = claim.mount = cow_mount_id(object);
	/* The names of a copy are found by where their grafts are. */
	if (!cow_where_tells(t))
		return EOPNOTSUPP;
	/* A split of the directory that it is in would not know of the twin, and could make the other name a copy. */
	if (inside && !cow_claim(t, &claim))
		return ESTALE;
	error = twin(&w);
	if (inside)
		cow_claim_end(t, &claim);
	cow_budget_release(t, &w.entry);
	free(w.entry.name);
	free(w.entry.path);
	free(w.entry.handle);
	return error;
}
