#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../lib/fd.h"

/* One copy-up on its way. */
struct copying {
	struct cow_tree *t;
	int parent;
	const char *name;
	uint64_t mount;
	char *path;   /* of the lower file */
	char *staged; /* name in the stage */
	int lower;    /* readable, if it is a regular file */
	int upper;    /* the copy */
	struct stat st;
};

static void copying_cleanup(struct copying *c)
{
	free(c->path);
	free(c->staged);
	cow_close_fd(&c->lower);
	cow_close_fd(&c->upper);
}

static int record(const struct copying *c)
{
	struct cow_journal_copy rec = {.lower = c->path};
	int error;

	if (cow_ident_of(c->upper, &rec.upper) != 0)
		return errno;
	cow_lower_stamp_of(&rec.stamp, &c->st);
	pthread_mutex_lock(&c->t->journal_lock);
	error = cow_journal_add_copy(c->t->journal, &rec) == 0 ? 0 : errno;
	pthread_mutex_unlock(&c->t->journal_lock);
	return error;
}

/* Writing takes set-id bits and file capabilities away. */
static bool loses_by_writing(const struct copying *c)
{
	return (c->st.st_mode & (S_ISUID | S_ISGID)) != 0 || fgetxattr(c->lower, "security.capability", NULL, 0) >= 0;
}

/* Attributes first: whether the caller may write is the kernel's verdict on the copy, before a byte is moved. */
static int fill(const struct copying *c, bool truncate, cow_copy_check check, void *data)
{
	bool content = S_ISREG(c->st.st_mode) && c->st.st_size > 0 && !truncate;
	uint64_t copied = 0;
	int error;

	if (cow_copy_attributes(c->lower, c->upper, &c->st) != 0)
		return errno;
	error = check != NULL ? check(c->upper, data) : 0;
	if (error != 0)
		return error;
	if (content && cow_copy_content(c->lower, c->upper, c->st.st_size, &copied) != 0)
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
			c->upper = openat(c->t->stage, c->staged, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
					  0600);
	} else {
		c->lower = fcntl(root, F_DUPFD_CLOEXEC, 3);
		if (c->lower >= 0 &&
		    mknodat(c->t->stage, c->staged, (c->st.st_mode & S_IFMT) | 0600, c->st.st_rdev) == 0)
			c->upper = openat(c->t->stage, c->staged, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	}
	return c->upper < 0 ? errno : 0;
}

static int reveal(struct copying *c)
{
	struct cow_tree *t = c->t;
	cleanup_free char *place = NULL;
	cleanup_close int root = -1;
	struct cow_graft *g = NULL;
	int error;

	pthread_mutex_lock(&t->structure);
	error = cow_graft_at(t, c->parent, c->name, &root);
	if (error == 0 && cow_mount_id(root) != c->mount)
		error = ESTALE;
	if (error == 0) {
		g = cow_table_by_mount(t, c->mount);
		place = cow_tree_relative(t, root);
		error = cow_reveal(t, c->staged, c->parent, c->name);
	}
	if (error == 0) {
		cow_real_add(t, &c->st, c->mount, c->upper);
		cow_table_retire(t, g, cow_steal_ptr(&c->staged), cow_steal_ptr(&place));
		t->stats.copy_ups++;
	}
	pthread_mutex_unlock(&t->structure);
	return error;
}

/* Under a claim. */
static int copy_up(struct copying *c, int root, bool truncate, cow_copy_check check, void *data)
{
	int error = prepare(c, root);

	if (error == 0)
		error = fill(c, truncate, check, data);
	if (error == 0)
		error = record(c);
	if (error == 0)
		error = reveal(c);
	if (error != 0 && c->staged != NULL)
		unlinkat(c->t->stage, c->staged, 0);
	return error;
}

int cow_tree_copy_up(struct cow_tree *t, int parent, const char *name, bool truncate, cow_copy_check check, void *data)
{
	__attribute__((cleanup(copying_cleanup))) struct copying c = {
		.t = t, .parent = parent, .name = name, .lower = -1, .upper = -1};
	struct cow_claim claim = {0};

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
		if (cow_claim(t, &claim)) {
			error = copy_up(&c, root, truncate, check, data);
			cow_claim_end(t, &claim);
			return error;
		}
		free(cow_steal_ptr(&c.path)); /* somebody else copied it meanwhile, or tried */
	}
}
