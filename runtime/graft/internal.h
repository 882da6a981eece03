/* What the files of the engine share and nobody else sees. Contracts are beside the definitions' one-line comments. */
#pragma once

#include "../lib/copy.h"
#include "tree.h"

/* mounts.c: the mount API and the two namespaces. errno on failure. */
uint64_t cow_mount_id(int fd);                                    /* 0 if it cannot be told */
bool cow_mount_root(int fd);                                      /* is fd the root of its mount? */
uint64_t cow_mount_stat(int fd, struct stat *st);                 /* fstat(2), and the mount; 0 with errno */
uint64_t cow_mount_of_root(int fd);                               /* the mount that fd is the root of, or 0 */
int cow_tree_enter(struct cow_tree *t);                           /* this thread: container's mounts */
void cow_tree_leave(struct cow_tree *t);                          /* back to the host's; aborts if it cannot */
int cow_mount_clone(int dirfd, const char *name, bool recursive); /* detached; inside enter/leave */
int cow_mount_attach(int mount, int dirfd, const char *name);     /* "" for dirfd itself */
/* The same beneath what is mounted there; EINVAL before Linux 6.5. */
int cow_mount_attach_beneath(int mount, int dirfd, const char *name);
/* Asks (and marks) first: 0 if it was marked before and is idle since, and now is unmounted; else EAGAIN idle, EBUSY in
 * use. Inside enter/leave; changes the working directory, which leaving resets. */
int cow_mount_expire(int dirfd, const char *name);
int cow_mount_detach(int dirfd, const char *name); /* umount2: 0, EBUSY if in use; likewise */
char *cow_fd_path(int fd);                         /* d_path; caller frees */
char *cow_fd_name(int fd);                         /* its last component, "(deleted)" cut off */
/* Path of an fd below the workdir ("" for its root), also of one in the shadow; or NULL. Caller frees. */
char *cow_tree_relative(struct cow_tree *t, int fd);
/* openat2 below dirfd ("" for itself), never through a symbolic link. */
int cow_open_beneath(int dirfd, const char *path, int flags, uint64_t resolve);

/* handle.c: inodes of the branch remembered without a descriptor. */
struct file_handle *cow_handle_of(int fd); /* NULL if the file system has none; caller frees */
struct file_handle *cow_handle_copy(const struct file_handle *h);
int cow_handle_open(int mount, const struct file_handle *h); /* O_PATH, seen through the mount of descriptor `mount` */
void cow_handles_probe(struct cow_tree *t);

/* table.c. `struct cow_graft` may be looked at while `structure` is held. */
struct cow_graft *cow_table_add(struct cow_tree *t, uint64_t mount, const struct stat *lower, const char *path,
				struct file_handle *placeholder); /* the handle moves */
struct cow_graft *cow_table_by_mount(struct cow_tree *t, uint64_t mount);
void cow_table_remove(struct cow_tree *t, struct cow_graft *g);                                /* frees it */
void cow_table_retire(struct cow_tree *t, struct cow_graft *g, char *stage_name, char *place); /* strings move */
void cow_table_set(struct cow_tree *t, struct cow_graft *g, enum cow_graft_state state);
void cow_table_free(struct cow_tree *t);
void cow_queue_add(struct cow_graft_queue *q, struct cow_graft *g);
struct cow_graft *cow_queue_take(struct cow_graft_queue *q);
/* Without `structure`: */
int cow_table_state(struct cow_tree *t, uint64_t mount);                  /* enum cow_graft_state, or -1 */
char *cow_table_path(struct cow_tree *t, uint64_t mount);                 /* of an attached graft; caller frees */
struct file_handle *cow_table_handle(struct cow_tree *t, uint64_t mount); /* its placeholder's, or NULL; caller frees */
/*
 * The attached graft of that lower object: its mount id, and its placeholder's handle (caller frees), or NULL without
 * handles. False if there is none.
 */
bool cow_table_attached(struct cow_tree *t, const struct stat *lower, uint64_t *mount,
			struct file_handle **placeholder);

size_t cow_table_count(struct cow_tree *t, const struct stat *lower); /* how many attached ones it has */
/* Has that lower file, or may it have, several names in the branch? */
bool cow_table_several(struct cow_tree *t, const struct stat *lower);
struct cow_names;
void cow_table_names(struct cow_tree *t, const struct stat *lower, struct cow_names *names);

/* where.c: the path below the workdir at which an attached graft is now, or NULL. Caller frees. */
char *cow_graft_where(struct cow_tree *t, uint64_t mount, const struct file_handle *placeholder);
bool cow_where_tells(struct cow_tree *t); /* can that be known at all? */

/* nested.c: mounts in the lower */
int cow_nested_find(struct cow_tree *t); /* at the attach; 0 or an errno */
/* Takes note of those in a new directory graft: its mount id, its root, the lower path. */
void cow_nested_note(struct cow_tree *t, uint64_t graft, int mount, const char *path);
uint64_t cow_nested_graft(const struct cow_tree *t, uint64_t mount); /* mount id of the graft, or 0; under table_lock */
bool cow_in_lower(const struct cow_tree *t, uint64_t mount);         /* the lower's own mount, or one in it: no graft */
void cow_nested_free(struct cow_tree *t);

/* claim.c: one worker stages, the others that want the same graft wait. False: somebody else had it, look again. */
struct cow_claim {
	uint64_t mount; /* of a graft; or 0, and */
	struct cow_lower_id
		lower; /* a lower file with all its names. Who has one of a graft may ask for this, not vice versa */
	bool split;    /* it is a split, which waits for no other claim */
	uint64_t serial;
	struct cow_claim *next;
};
bool cow_claim(struct cow_tree *t, struct cow_claim *mine);
void cow_claim_end(struct cow_tree *t, struct cow_claim *mine);
void cow_claim_wait_splits(struct cow_tree *t); /* until those that are under way now have ended */

/* links.c: the names of a lower file that has several. */
struct cow_name {
	uint64_t mount; /* of its graft */
	char *path;     /* lower path */
	bool twin;      /* another name may have that lower path, too */
	struct file_handle *handle;
	int parent; /* the real directory that it is in, and its name there; NULL: not found */
	char *name;
	char *staged, *place; /* the copy-up's own */
};
struct cow_names {
	size_t count;
	struct cow_name *list;
};
/* Sees to it that every name in the workdir is a graft of its own. 0 or an errno (of a split). */
int cow_links_complete(struct cow_tree *t, const struct stat *lower);
/* Has it one name in the workdir, whatever it has elsewhere? */
bool cow_links_alone(struct cow_tree *t, const struct stat *lower);
/* All attached grafts of that lower object, with their places. */
void cow_names_find(struct cow_tree *t, const struct stat *lower, struct cow_names *names);
struct cow_name *cow_names_add(struct cow_names *names);
void cow_names_clear(struct cow_names *names);
#define cleanup_names __attribute__((cleanup(cow_names_clear)))
void cow_links_free(struct cow_tree *t);

struct cow_entry;

/* relink.c: during the attach of a branch that existed, what a killed copy-up left. */
void cow_relink_begin(struct cow_tree *t, const struct cow_journal *journal);  /* which is kept until the end */
void cow_relink_note(struct cow_tree *t, int fd);                              /* a real file */
bool cow_relink_defer(struct cow_tree *t, int placeholder, const char *lower); /* true: it is dealt with at the end */
typedef int (*cow_regraft)(struct cow_tree *t, int lower, int upper, const char *name, int placeholder,
			   const char *path);
int cow_relink_end(struct cow_tree *t, int lower, cow_regraft regraft); /* 0 or an errno */
bool cow_relink_has_twins(const struct cow_tree *t, const char *lower); /* may that lower file have some? */

/*
 * twin.c: a placeholder entry->name in the stage, with a graft of `object` (entry->st, entry->path) on it. Fills in
 * entry->mount and entry->handle. 0 or an errno; then there is nothing.
 */
int cow_twin_stage(struct cow_tree *t, int object, struct cow_entry *entry);

/* real.c: what the lower objects became in the upper since the container started. */
/* `path`: of a directory in the lower, or NULL. */
void cow_real_add(struct cow_tree *t, const struct stat *lower, const char *path, uint64_t mount, int upper);
void cow_real_add_known(struct cow_tree *t, const struct stat *lower, const struct cow_ident *upper,
			struct file_handle *handle); /* which moves */
/* O_PATH, or -1 with errno (ENOENT: nothing known, or it was deleted since). `mount`: which graft of it, if known. */
int cow_real_open(struct cow_tree *t, const struct stat *lower, uint64_t mount);
/* The copy of a file that was copied up and then deleted: as long as somebody has it open. O_PATH, or -1. */
int cow_real_open_nameless(struct cow_tree *t, const struct stat *lower);
bool cow_real_is(struct cow_tree *t, const struct stat *lower, int upper); /* is `upper` what it became? */
/* Notes that `who` knows the lower directory that became a real one; false if it did not. */
bool cow_real_know(struct cow_tree *t, const struct stat *lower, uint64_t who);
/* What became real directory `upper`, if `who` knows it: its lower path (caller frees) and identity. Or NULL. */
char *cow_real_known(struct cow_tree *t, int upper, uint64_t who, struct cow_lower_id *lower);
void cow_real_sweep(struct cow_tree *t); /* lets go of what was deleted */
void cow_real_free(struct cow_tree *t);

void cow_orphans_free(struct cow_tree *t); /* copyup.c */

/* placeholder.c */
struct cow_entry {
	char *name;
	char *path; /* lower path */
	bool made;  /* there is a placeholder of ours */
	bool gone;  /* the host deleted it meanwhile */
	bool directory;
	bool hydrated; /* there is a copy; what it is: ident, handle */
	struct cow_ident ident;
	bool reserved;  /* counted as a graft to be */
	uint64_t mount; /* of its graft */
	struct file_handle *handle;
	struct stat st;
};
struct cow_entries {
	size_t count, room;
	struct cow_entry *list;
};
void cow_entries_free(struct cow_entries *e);
/* One placeholder. 1 if it is there, 0 if something that is not ours has the name, -1 with errno. */
int cow_placeholder_make(struct cow_tree *t, int upper, struct cow_entry *entry);
/* Placeholders for lower directory `lower` (a readable descriptor) in directory `upper`. 0 or an errno. */
int cow_placeholders_make(struct cow_tree *t, int lower, const char *path, int upper, struct cow_entries *out);
/* Grafts them from `lower` onto `upper`; inside enter/leave. 0 or an errno. */
int cow_placeholders_graft(struct cow_tree *t, int lower, int upper, struct cow_entries *e);
/* Makes the copies among them known, before they are revealed. */
void cow_entries_settle(struct cow_tree *t, struct cow_entries *e);
/* Takes away all that the two made. In the host's namespace. */
void cow_placeholders_undo(struct cow_tree *t, int upper, struct cow_entries *e);
int cow_split_record(struct cow_tree *t, int upper, const char *path, const struct stat *lower,
		     const struct cow_entries *e); /* 0 or an errno */

/* budget.c */
void cow_budget_set(struct cow_tree *t, size_t present); /* so many mounts are there already */
enum { COW_CHOICE_GRAFT, COW_CHOICE_COPY, COW_CHOICE_NONE };
/* What is to become of a lower entry that is no symbolic link: entry->st. A graft is reserved by that. */
int cow_budget_choose(struct cow_tree *t, struct cow_entry *entry);
bool cow_budget_reserve(struct cow_tree *t, struct cow_entry *entry);      /* a graft for what cannot be copied */
bool cow_budget_reserve_twin(struct cow_tree *t, struct cow_entry *entry); /* and for what can */
void cow_budget_release(struct cow_tree *t, struct cow_entry *entry);

/*
 * hydrate.c: makes `name` in `dir` a copy of the regular file `lower` (readable), with its record in the journal; in
 * entry->st what it was made of. 0 or -1 with errno (ESTALE: no regular file).
 */
int cow_hydrate(struct cow_tree *t, int lower, int dir, const char *name, struct cow_entry *entry);
/* Content of a regular file; `to` is empty, and at its start. `copied` counts the bytes moved. 0 or -1 with errno. */
int cow_tree_copy_content(struct cow_tree *t, int from, int to, const struct stat *st, uint64_t *copied);
/* Not for us to read, in a user namespace that has no id for its owner; or somebody has a lease on it. */
bool cow_hydrate_refused(int errnum);

/* place.c */
enum { COW_TRIES = 16 };                  /* how often what another worker changed is looked at again */
void cow_tree_settle(struct cow_tree *t); /* waits until a change that is going on is complete */
/* Is `fd` lower object `lower`, or what it became? */
bool cow_is_counterpart(struct cow_tree *t, const struct stat *lower, int fd);
/* Where the attached graft of that lower object is now: its root. O_PATH or -1 (ENOENT). */
int cow_graft_open(struct cow_tree *t, const struct stat *lower);
int cow_file_counterpart(struct cow_tree *t, int fd, const struct stat *st); /* file.c: of a stale non-directory */

/* split.c */
/* The real directory at `name` of real directory `parent`, split if it was a graft. O_PATH descriptor or -1. */
int cow_split_directory(struct cow_tree *t, int parent, const char *name);
/* Puts `staged` in the place of placeholder parent/name, keeping the parent's times. 0 or an errno. */
int cow_reveal(struct cow_tree *t, const char *staged, int parent, const char *name);
char *cow_stage_name(struct cow_tree *t, char kind);

/* names.c: the root of the graft at parent/name. 0 or an errno; ESTALE: there is none. */
int cow_graft_at(struct cow_tree *t, int parent, const char *name, int *root);
int cow_graft_mount_at(struct cow_tree *t, int parent, const char *name, int *root,
		       uint64_t *mount); /* its mount, too */
int cow_check_empty(int root);           /* of a directory: 0, ENOTEMPTY or another errno */

/* retire.c */
/* Unmounts all that rests, however short a time; false if there was nothing. */
bool cow_retire_hurry(struct cow_tree *t);
/* bin.c: unmounts those in the stage that nobody uses. said[i]: 0, or EBUSY, EAGAIN (later), another errno. */
void cow_bin_empty(struct cow_tree *t, struct cow_graft **list, int *said, size_t count);
/* shadow.c: a directory of that name in the shadow's root, through the container's mount; O_PATH or -1. */
int cow_shadow_directory(const struct cow_tree *t, const char *name);
/* with `structure` held. */
bool cow_shadow_move(struct cow_tree *t, struct cow_graft *g); /* from the stage; g->where is then below the shadow */
bool cow_shadow_free(struct cow_tree *t, struct cow_graft *g); /* unmounts it if it is idle */

/* privilege.c: the caller may have taken a target's credentials on; what the engine does on its own account needs ours.
 */
struct cow_privileges {
	bool raised;
	uint32_t effective[2];
};
void cow_privileges_raise(struct cow_privileges *saved);
void cow_privileges_restore(const struct cow_privileges *saved);
/* May the caller, as it is, take an entry that is `entry` out of directory `dir`? 0 or an errno. */
int cow_may_remove(int dir, const struct stat *entry);
