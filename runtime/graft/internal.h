/* What the files of the engine share and nobody else sees. Contracts are beside the definitions' one-line comments. */
#pragma once

#include "../lib/copy.h"
#include "tree.h"

struct cow_copying {
	uint64_t mount;
	struct cow_copying *next;
};

/* mounts.c: the mount API and the two namespaces. errno on failure. */
uint64_t cow_mount_id(int fd);                                    /* 0 if it cannot be told */
bool cow_mount_root(int fd);                                      /* is fd the root of its mount? */
int cow_tree_enter(struct cow_tree *t);                           /* this thread: container's mounts */
void cow_tree_leave(struct cow_tree *t);                          /* back to the host's; aborts if it cannot */
int cow_mount_clone(int dirfd, const char *name, bool recursive); /* detached; inside enter/leave */
int cow_mount_attach(int mount, int dirfd, const char *name);     /* "" for dirfd itself */
int cow_mount_detach(int dirfd, const char *name);                /* umount2 of dirfd/name: EBUSY if in use */
char *cow_fd_path(int fd);                                        /* d_path; caller frees */
char *cow_fd_name(int fd);                                        /* its last component, "(deleted)" cut off */
/* Path of an fd below the workdir ("" for its root), or NULL. Caller frees. */
char *cow_tree_relative(const struct cow_tree *t, int fd);

/* table.c */
struct cow_graft *cow_table_add(struct cow_tree *t, uint64_t mount, const struct stat *lower, const char *path);
struct cow_graft *cow_table_by_mount(struct cow_tree *t, uint64_t mount);
void cow_table_remove(struct cow_tree *t, struct cow_graft *g);
/* Attached graft of that lower object, or NULL. */
struct cow_graft *cow_table_by_lower(struct cow_tree *t, const struct stat *lower);
void cow_table_retire(struct cow_tree *t, struct cow_graft *g, char *stage_name, char *place); /* strings move */
struct cow_graft *cow_table_take_retired(struct cow_tree *t);
int cow_table_add_split(struct cow_tree *t, const struct stat *lower, const char *path, int upper);
int cow_table_find_split(struct cow_tree *t, const struct stat *lower); /* dup of the upper directory, or -1 */
void cow_table_free(struct cow_tree *t);

/* file.c: which upper file a lower one was copied to, since the container started. */
void cow_copies_add(struct cow_tree *t, const struct stat *lower, const struct cow_ident *upper);
void cow_copies_free(struct cow_tree *t);

/* split.c */
struct cow_entry {
	char *name;
	char *path; /* lower path */
	bool grafted;
	bool directory;
	struct stat st;
};
struct cow_entries {
	size_t count, room;
	struct cow_entry *list;
};
void cow_entries_free(struct cow_entries *e);
/* Makes the placeholders of lower directory `lower` (a readable descriptor) in the empty-or-not directory `upper`. 0 or
 * an errno. */
int cow_placeholders_make(struct cow_tree *t, int lower, const char *path, int upper, struct cow_entries *out);
/* Grafts them from `lower` onto `upper`; inside enter/leave. 0 or an errno. */
int cow_placeholders_graft(struct cow_tree *t, int lower, int upper, struct cow_entries *e);
int cow_split_record(struct cow_tree *t, int upper, const char *path, const struct stat *lower,
		     const struct cow_entries *e);
/* Splits the graft whose root is `root`, at `name` of real directory `parent`. New O_PATH descriptor or -1 with errno.
 */
int cow_split_directory(struct cow_tree *t, int parent, const char *name);
/* Puts `staged` in the place of placeholder parent/name, keeping the parent's times. 0 or an errno. */
int cow_reveal(struct cow_tree *t, const char *staged, int parent, const char *name);
char *cow_stage_name(struct cow_tree *t, char kind);
