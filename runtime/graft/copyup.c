#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../lib/fd.h"

/* One copy-up on its way. */
struct copying {
	struct cow_tree *t;
	int dir; /* where the copy is made */
	int parent;
	const char *name;
	uint64_t mount;
	char *path;   /* of the lower file */
	char *staged; /* name in the stage */
	int lower;    /* readable, if it is a regular file */
	int upper;    /* the copy */
	struct stat st;
	struct cow_names names; /* what it is to be revealed at */
};

static void copying_cleanup(struct copying *c)
{
	free(c->path);
	free(c->staged);
	cow_close_fd(&c->lower);
	cow_close_fd(&c->upper);
	cow_names_clear(&c->names);
}

/* Before it is revealed: what stands for which lower path, by all its names. */
static int record(const struct copying *c)
{
	struct cow_journal_copy rec = {0};
	int error = 0;

	if (cow_ident_of(c->upper, &rec.upper) != 0)
		return errno;
	cow_lower_stamp_of(&rec.stamp, &c->st);
	pthread_mutex_lock(&c->t->journal_lock);
	for (size_t i = 0; i < c->names.count && error == 0; i++) {
		rec.lower = c->names.list[i].path;
		if (c->names.list[i].name != NULL)
			error = cow_journal_add_copy(c->t->journal, &rec) == 0 ? 0 : errno;
	}
	pthread_mutex_unlock(&c->t->journal_lock);
	return error;
}

/* Writing takes set-id bits and file capabilities away. */
static bool loses_by_writing(const struct copying *c)
{
	return (c->st.st_mode & (S_ISUID | S_ISGID)) != 0 || fgetxattr(c->lower, "security.capability", NULL, 0) >= 0;
}

/* Mostly it was made with all that it is to have. */
static int dress(const struct copying *c)
{
	struct stat st;

	if (fstat(c->upper, &st) == 0 && st.st_mode == c->st.st_mode && st.st_uid == c->st.st_uid &&
	    st.st_gid == c->st.st_gid && flistxattr(c->lower, NULL, 0) == 0)
		return 0;
	return cow_copy_attributes(c->lower, c->upper, &c->st);
}

/* Attributes first: whether the caller may write is the kernel's verdict on the copy, before a byte is moved. */
static int fill(const struct copying *c, bool truncate, cow_copy_check check, void *data)
{
	bool content = S_ISREG(c->st.st_mode) && c->st.st_size > 0 && !truncate;
	uint64_t copied = 0;
	int error;

	if (dress(c) != 0)
		return errno;
	error = check != NULL ? check(c->upper, data) : 0;
	if (error != 0)
		return error;
	if (content && cow_tree_copy_content(c->t, c->lower, c->upper, &c->st, &copied) != 0)
		return errno;
	__atomic_add_fetch(&c->t->stats.copied_bytes, copied, __ATOMIC_RELAXED);
	if (content && loses_by_writing(c) && cow_copy_attributes(c->lower, c->upper, &c->st) != 0)
		return errno;
	return cow_copy_times(c->upper, &c->st) == 0 ? 0 : errno;
}

/* The lower's descriptor and an empty copy. 0 or an errno. */
static int prepare(struct copying *c, int root)
{
	char self[40];

	if (fstat(root, &c->st) != 0)
		return errno;
	if (S_ISDIR(c->st.st_mode))
		return EISDIR;
	c->staged = cow_stage_name(c->t, 'c');
	if (S_ISREG(c->st.st_mode)) {
		snprintf(self, sizeof(self), "/proc/self/fd/%d", root);
		c->lower = open(self, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (c->lower >= 0)
			c->upper = openat(c->dir, c->staged, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
					  c->st.st_mode & 0777);
	} else {
		c->lower = fcntl(root, F_DUPFD_CLOEXEC, 3);
		if (c->lower >= 0 && mknodat(c->dir, c->staged, (c->st.st_mode & S_IFMT) | 0600, c->st.st_rdev) == 0)
			c->upper = openat(c->dir, c->staged, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	}
	return c->upper < 0 ? errno : 0;
}

/* --- its names ------------------------------------------------------------------------------------------------------
 */

/* Of most files it is the only one; and it is known where it is, whatever became of the way there. */
static void add_own_name(struct copying *c)
{
	struct cow_name *own = NULL;

	for (size_t i = 0; i < c->names.count; i++)
		if (c->names.list[i].mount == c->mount)
			own = &c->names.list[i];
	if (own == NULL) {
		own = cow_names_add(&c->names);
		own->mount = c->mount;
		own->path = strdup(c->path);
	}
	free(own->name);
	cow_close_fd(&own->parent);
	own->name = strdup(c->name);
	own->parent = fcntl(c->parent, F_DUPFD_CLOEXEC, 3);
	if (own->path == NULL || own->name == NULL)
		abort();
}

static void find_names(struct copying *c)
{
	cow_names_clear(&c->names);
	if (cow_table_several(c->t, &c->st))
		cow_names_find(c->t, &c->st, &c->names);
	add_own_name(c);
}

/* Under `structure`: are the names still those that were found, and where? What was not found does not count. */
static int check_names(struct copying *c)
{
	cleanup_names struct cow_names now = {0};

	for (size_t i = 0; i < c->names.count; i++) {
		struct cow_name *n = &c->names.list[i];
		cleanup_close int root = -1;
		uint64_t mount;
		int error;

		if (n->name == NULL)
			continue;
		error = cow_graft_mount_at(c->t, n->parent, n->name, &root, &mount);
		if (error != 0)
			return error;
		if (mount != n->mount)
			return ESTALE;
		n->place = cow_tree_relative(c->t, root);
	}
	if (!cow_table_several(c->t, &c->st))
		return 0;
	cow_table_names(c->t, &c->st, &now);
	for (size_t i = 0; i < now.count; i++) {
		size_t k = 0;

		while (k < c->names.count && c->names.list[k].mount != now.list[i].mount)
			k++;
		if (k == c->names.count)
			return EAGAIN;
	}
	return 0;
}

/* One name of the copy in the stage for each. */
static int stage_names(struct copying *c)
{
	for (size_t i = 0, first = 1; i < c->names.count; i++) {
		struct cow_name *n = &c->names.list[i];

		if (n->name == NULL)
			continue;
		if (first) {
			n->staged = strdup(c->staged);
			first = 0;
			continue;
		}
		n->staged = cow_stage_name(c->t, 'c');
		if (linkat(c->t->stage, c->staged, c->t->stage, n->staged, 0) != 0) {
			int saved = errno;

			free(cow_steal_ptr(&n->staged));
			return saved;
		}
	}
	return 0;
}

/* Takes the first `count` names back, and the further ones in the stage away. */
static void unreveal(struct copying *c, size_t count)
{
	for (size_t i = 0; i < c->names.count; i++) {
		struct cow_name *n = &c->names.list[i];

		if (n->staged == NULL)
			continue;
		if (i < count)
			(void)cow_reveal(c->t, n->staged, n->parent, n->name);
		if (strcmp(n->staged, c->staged) != 0)
			unlinkat(c->t->stage, n->staged, 0);
	}
}

static int exchange_names(struct copying *c)
{
	int error = stage_names(c);
	size_t i = 0;

	for (; error == 0 && i < c->names.count; i++)
		if (c->names.list[i].staged != NULL)
			error = cow_reveal(c->t, c->names.list[i].staged, c->names.list[i].parent,
					   c->names.list[i].name);
	if (error != 0)
		unreveal(c, i > 0 ? i - 1 : 0);
	return error;
}

static int reveal(struct copying *c)
{
	struct cow_tree *t = c->t;
	int error;

	pthread_mutex_lock(&t->structure);
	error = check_names(c);
	if (error == 0)
		error = exchange_names(c);
	for (size_t i = 0; error == 0 && i < c->names.count; i++) {
		struct cow_name *n = &c->names.list[i];

		if (n->staged == NULL)
			continue;
		cow_real_add(t, &c->st, NULL, n->mount, c->upper);
		cow_table_retire(t, cow_table_by_mount(t, n->mount), cow_steal_ptr(&n->staged),
				 cow_steal_ptr(&n->place));
	}
	if (error == 0)
		t->stats.copy_ups++;
	pthread_mutex_unlock(&t->structure);
	return error;
}

static int record_and_reveal(struct copying *c)
{
	for (int tries = 0;; tries++) {
		int error;

		find_names(c);
		error = record(c);
		if (error == 0)
			error = reveal(c);
		/* A further name came in sight meanwhile. */
		if (error != EAGAIN)
			return error;
		if (tries == COW_TRIES)
			return ESTALE;
	}
}

/* Under a claim. */
static int copy_up(struct copying *c, int root, bool truncate, cow_copy_check check, void *data)
{
	int error = prepare(c, root);

	if (error == 0)
		error = fill(c, truncate, check, data);
	if (error == 0 && cow_table_several(c->t, &c->st))
		error = cow_links_complete(c->t, &c->st);
	if (error == 0)
		error = record_and_reveal(c);
	if (error != 0 && c->staged != NULL)
		unlinkat(c->t->stage, c->staged, 0);
	return error;
}

/* Who has a file with several names has all of them. False: look again. */
static bool claim_all(struct cow_tree *t, int root, struct cow_claim *graft, struct cow_claim *file)
{
	struct stat st;

	if (!cow_claim(t, graft))
		return false;
	if (fstat(root, &st) != 0 || !cow_table_several(t, &st))
		return true;
	file->lower = (struct cow_lower_id){st.st_dev, st.st_ino};
	if (cow_claim(t, file))
		return true;
	cow_claim_end(t, graft);
	return false;
}

int cow_tree_copy_up(struct cow_tree *t, int parent, const char *name, bool truncate, cow_copy_check check, void *data)
{
	__attribute__((cleanup(copying_cleanup))) struct copying c = {
		.t = t, .dir = t->stage, .parent = parent, .name = name, .lower = -1, .upper = -1};
	struct cow_claim claim = {0};
	struct cow_claim file = {0};

	for (;;) {
		cleanup_close int root = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		int error;

		if (root < 0)
			return errno;
		c.mount = claim.mount = cow_mount_id(root);
		if (c.mount == t->upper_mount)
			return 0;
		c.path = cow_table_path(t, c.mount);
		if (c.path == NULL || !cow_mount_root(root))
			return ESTALE;
		if (claim_all(t, root, &claim, &file)) {
			error = copy_up(&c, root, truncate, check, data);
			cow_claim_end(t, &file);
			cow_claim_end(t, &claim);
			return error;
		}
		free(cow_steal_ptr(&c.path)); /* somebody else copied it meanwhile, or tried */
	}
}

/* --- files without a name ----------------------------------------------------------------------------------------- */

/* A lower file that has no name in the branch any more, and the copy that stands for it. Newest first. */
struct cow_orphan {
	struct cow_lower_id lower;
	int fd; /* O_PATH: keeps the copy alive */
	struct cow_orphan *next;
};

/*
 * The copy is made in the shadow and not in the stage: it never gets a name in the tree, and a file that had its last
 * one in the shadow lies below the workdir, for Landlock and for d_path.
 *
 * Each costs a descriptor and the copy's room on the disk until the container ends.
 */
enum { ORPHANS = 64 };

static int orphan_find(const struct cow_tree *t, const struct stat *lower)
{
	for (const struct cow_orphan *o = t->orphans; o != NULL; o = o->next)
		if (o->lower.ino == lower->st_ino && o->lower.dev == lower->st_dev)
			return fcntl(o->fd, F_DUPFD_CLOEXEC, 3);
	errno = ENOENT;
	return -1;
}

static void orphan_free_from(struct cow_orphan **o)
{
	while (*o != NULL) {
		struct cow_orphan *next = (*o)->next;

		cow_close_fd(&(*o)->fd);
		free(*o);
		*o = next;
	}
}

/* The oldest is forgotten, when there are many: who holds it keeps it, who comes later gets a copy of his own. */
static void orphan_add(struct cow_tree *t, const struct stat *lower, int fd)
{
	struct cow_orphan *o = calloc(1, sizeof(*o));
	size_t count = 0;

	if (o == NULL)
		abort();
	o->lower.dev = lower->st_dev;
	o->lower.ino = lower->st_ino;
	o->fd = fd;
	o->next = t->orphans;
	t->orphans = o;
	for (struct cow_orphan **at = &t->orphans; *at != NULL; at = &(*at)->next) {
		if (++count == ORPHANS) {
			orphan_free_from(&(*at)->next);
			return;
		}
	}
}

void cow_orphans_free(struct cow_tree *t)
{
	orphan_free_from(&t->orphans);
}

/*
 * A directory that was deleted was empty: there is nothing but its attributes. Where the lower's is not, the entries
 * were deleted before: now, as far as anybody can tell.
 */
static int orphan_directory(struct copying *c, int fd)
{
	bool emptied = cow_check_empty(fd) != 0;
	int made;

	c->staged = cow_stage_name(c->t, 'o');
	if (mkdirat(c->dir, c->staged, 0700) != 0)
		return errno;
	c->upper = openat(c->dir, c->staged, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	made = c->upper >= 0 && cow_copy_attributes(fd, c->upper, &c->st) == 0 &&
			       (emptied || cow_copy_times(c->upper, &c->st) == 0)
		       ? 0
		       : errno;
	(void)unlinkat(c->dir, c->staged, AT_REMOVEDIR);
	return made;
}

/* What is open for writing cannot be run. 0 or an errno. */
static int stop_writing(struct copying *c)
{
	char self[40];
	int path;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", c->upper);
	path = open(self, O_PATH | O_CLOEXEC);
	if (path < 0)
		return errno;
	close(c->upper);
	c->upper = path;
	return 0;
}

static int orphan_file(struct copying *c, int fd, cow_copy_check check, void *data)
{
	int error = prepare(c, fd);

	if (error == 0)
		error = fill(c, false, check, data);
	if (error == 0)
		error = stop_writing(c);
	if (c->upper >= 0)
		(void)unlinkat(c->dir, c->staged, 0);
	return error;
}

int cow_tree_known_orphan(struct cow_tree *t, int fd)
{
	struct stat st;
	int known;

	if (fstat(fd, &st) != 0)
		return -1;
	known = cow_real_open_nameless(t, &st);
	if (known >= 0)
		return known;
	pthread_mutex_lock(&t->orphan_lock);
	known = orphan_find(t, &st);
	pthread_mutex_unlock(&t->orphan_lock);
	return known;
}

int cow_tree_orphan(struct cow_tree *t, int fd, cow_copy_check check, void *data)
{
	__attribute__((cleanup(copying_cleanup))) struct copying c = {
		.t = t, .dir = t->shadow, .parent = -1, .lower = -1, .upper = -1};
	int known;
	int error;

	if (fstat(fd, &c.st) != 0)
		return -1;
	known = cow_real_open_nameless(t, &c.st);
	if (known >= 0)
		return known;
	pthread_mutex_lock(&t->orphan_lock);
	known = orphan_find(t, &c.st);
	if (known < 0) {
		error = S_ISDIR(c.st.st_mode) ? orphan_directory(&c, fd) : orphan_file(&c, fd, check, data);
		if (error == 0) {
			known = fcntl(c.upper, F_DUPFD_CLOEXEC, 3);
			orphan_add(t, &c.st, cow_steal_fd(&c.upper));
		} else {
			errno = error;
		}
	}
	pthread_mutex_unlock(&t->orphan_lock);
	return known;
}
