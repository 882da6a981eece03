/*
 * The live copy-on-write engine of one workdir: a running container's upper with its grafts.
 *
 * Theory of operation (DESIGN section 3): the workdir is a mount of the branch's upper directory. What the branch has
 * not changed is a *placeholder* there, covered by a *graft*: a read-only mount of the lower entry. split() replaces a
 * grafted directory by a real one whose entries are grafts; copy-up replaces a grafted file by a copy. Both are
 * prepared in the *stage*, a directory that is reached through the upper's mount but lies outside its root, and
 * revealed by one RENAME_EXCHANGE. The exchange is done from the host's mount namespace, where the placeholder is no
 * mount point (vfs_rename() asks the caller's namespace only), and takes the placeholder together with its graft to the
 * stage; from there the graft is *retired*: unmounted if idle, else moved to the *shadow* below the upper, so that
 * descriptors in it keep their path and stay inside the container's tree for Landlock.
 *
 * All descriptors are O_PATH ones through the container's mounts. Work on names is done in the host's namespace, work
 * on mounts (open_tree, move_mount, umount2) in the container's: cow_tree_enter() and cow_tree_leave() switch the
 * calling thread, which gets a working directory of its own for it (unshare(CLONE_FS), see setns(2)).
 *
 * Threads: every function may be called from any worker. Long work (the entries of a split, the content of a copy) is
 * done in the stage without a lock, under a *claim* on the graft, so that nobody does it twice. `structure` is held for
 * the short time in which names and mounts change together, and guards the memory of grafts. `table_lock` guards the
 * tables and the states of grafts and is never held over a system call. Order: claim, structure, journal_lock,
 * table_lock.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "../branch/journal.h"
#include "../branch/store.h"
#include "../lib/error.h"

/* A directory or file of the lower: device and inode as the container sees them. */
struct cow_lower_id {
	dev_t dev;
	ino_t ino;
};

enum cow_graft_state {
	COW_GRAFT_ATTACHED, /* covers its placeholder in the upper */
	COW_GRAFT_PENDING,  /* taken away, still on the placeholder in the stage: in use or not, nobody has asked yet */
	COW_GRAFT_RESTING,  /* the same, idle: unmounted some time later */
	COW_GRAFT_SHADOWED, /* in use, kept under the shadow */
};

struct cow_graft {
	uint64_t mount; /* STATX_MNT_ID(_UNIQUE) */
	struct cow_lower_id lower;
	char *path; /* of the lower entry when it was grafted, relative to the lower root: for marks and the journal
		       only */
	bool directory;
	bool twin; /* its lower file has, or had, another name in the branch than the lower gives it (twin.c) */
	enum cow_graft_state state;
	struct file_handle *placeholder; /* finds it wherever it was renamed to; NULL: no handles here */
	char *where;                     /* PENDING, RESTING: name in the stage; SHADOWED: path below the shadow */
	char *place;                     /* path below the workdir when it was retired */
	int point;                       /* SHADOWED directory, no handles: what it covers there; or -1 */
	int64_t since;                   /* RESTING: monotonic milliseconds */
	struct cow_graft *next_by_mount, *next_by_lower, *next_retired;
};

struct cow_graft_queue {
	struct cow_graft *first, *last;
};

enum { COW_TREE_BUCKETS = 4096 };

struct cow_tree_stats {
	uint64_t splits, split_entries, grafts, hydrated, copy_ups, copied_bytes, twins, freed, shadowed;
};

/* Only what tree.h's functions are documented to give is for users; the rest is the engine's own. */
struct cow_tree {
	const struct cow_branch *branch;
	size_t index;
	const char *workdir;
	bool in_place;                   /* that was the upper's path when it was last asked for */
	int upper, shadow, stage, lower; /* through the container's mounts; owned */
	int container_ns, host_ns;       /* not owned */
	int host_shadow;                 /* the shadow's directory through the host's mount */
	int journal;
	uint64_t upper_mount, lower_mount, shadow_mount;
	dev_t upper_dev;
	bool handles; /* the branch's file system has them, and we may open by them */
	int upper_by_handle, shadow_by_handle;
	pthread_mutex_t structure;
	pthread_mutex_t journal_lock;
	pthread_mutex_t table_lock;
	pthread_mutex_t bin_lock;  /* there is one bin (bin.c); before structure */
	pthread_mutex_t reap_lock; /* before structure */
	bool reaping;
	pthread_cond_t claims_changed;
	struct cow_graft *by_mount[COW_TREE_BUCKETS];
	struct cow_graft *by_lower[COW_TREE_BUCKETS];
	struct cow_real *reals[COW_TREE_BUCKETS], *reals_by_upper[COW_TREE_BUCKETS];
	size_t swept; /* of these, by cow_real_sweep; under table_lock */
	struct cow_graft_queue retired, resting, shadowed;
	size_t stale;     /* grafts that are not attached; written under table_lock, read without */
	bool lower_shown; /* cow_tree_known() gave out one that is stale, too */
	struct cow_claim *claims;
	uint64_t claim_count;
	pthread_mutex_t links_lock; /* held for long; before structure */
	struct cow_link_index *links;
	struct cow_relink *relink;   /* during the attach */
	pthread_mutex_t orphan_lock; /* before none of the others */
	struct cow_orphan *orphans;
	/* budget.c: grafts that there are, and those that staging has in mind; from which number on they are spared. */
	size_t grafts, reserved;
	size_t wanted, grafts_soft, grafts_hard;
	bool no_clones; /* the file systems do not share blocks */
	enum {
		COW_UNKNOWN,
		COW_NO,
		COW_YES
	} times_tell,              /* hydrate.c */
		where_tells;       /* where.c */
	bool attached;             /* what is made from now on is staged */
	bool exact_modes;          /* no umask */
	struct cow_nested *nested; /* mounts in the lower; set by the attach */
	struct cow_alias *aliases; /* and their clones in the grafts */
	uint64_t stage_count;
	struct cow_tree_stats stats;
};

/* The descriptors of an attach message, in its order (architecture.md). Ownership moves to the tree. */
struct cow_tree_fds {
	int upper, shadow, stage, lower;
};

struct cow_tree *cow_tree_new(const struct cow_branch *branch, size_t index, const struct cow_tree_fds *fds,
			      int container_ns, int host_ns, struct cow_error **err);
void cow_tree_free(struct cow_tree *t);
/*
 * Before the attach: from how many mounts on, in all the branch's trees, small files are copied instead of grafted. 0:
 * half of fs.mount-max, which is the most.
 */
void cow_tree_limit(struct cow_tree *t, size_t grafts);
/* Grafts what the container is to see at its start: the root of a new branch, every placeholder of one that existed. */
int cow_tree_attach(struct cow_tree *t, struct cow_error **err);

/* Where a descriptor is. */
enum cow_place_kind {
	COW_PLACE_OUTSIDE, /* not in this tree */
	COW_PLACE_UPPER,   /* real, in the upper */
	COW_PLACE_GRAFT,   /* in a lower object that the container sees */
	COW_PLACE_STALE,   /* in a lower object that split or copy-up took away */
};
enum cow_place_kind cow_tree_place(struct cow_tree *t, int fd);
/* The same of what is on the mount of that id. */
enum cow_place_kind cow_tree_place_of(struct cow_tree *t, uint64_t mount);
/*
 * The mount of what is at `path`, as the functions here count mounts; "": of dirfd. AT_SYMLINK_NOFOLLOW is the only
 * flag. Its type and device in *sx. 0 with errno.
 */
uint64_t cow_mount_at(int dirfd, const char *path, int flags, struct statx *sx);
/* Is there anything left that split or copy-up took away, so that a descriptor can be STALE? Takes no lock. */
/*
 * Is it a placeholder that is seen without its graft, through a mount of a container's own making? What was split since
 * that mount namespace was made looks so there.
 */
bool cow_tree_is_bare(const struct cow_tree *t, int fd);
/* No, if it is on another device than this one. */
dev_t cow_tree_device(const struct cow_tree *t);
bool cow_tree_has_stale(const struct cow_tree *t);

/*
 * The real upper directory for a directory descriptor that is in the tree (any kind but OUTSIDE), splitting what is in
 * the way. New O_PATH descriptor, or -1 with errno (ENOENT: it is no longer in the branch).
 */
int cow_tree_real_directory(struct cow_tree *t, int fd);
/*
 * Programs remember directories by device and inode, and a split gives a directory others. `fd`: a directory of the
 * lower that `who` (any number) came to know before a split took its graft away. Noted for it and those above it in the
 * same graft. cow_tree_known: the lower directory that real directory `fd` was split from, if `who` knows it by that;
 * O_PATH, through the lower's own mount, so STALE. Or -1.
 */
void cow_tree_know(struct cow_tree *t, int fd, uint64_t who);
int cow_tree_known(struct cow_tree *t, int fd, uint64_t who);
/* What a STALE descriptor's object is in the branch now, without splitting: O_PATH descriptor, or -1 (ENOENT: gone). */
int cow_tree_counterpart(struct cow_tree *t, int fd);

/*
 * Copies the grafted non-directory `name` of real directory `parent` up. `check`, if given, is asked with the staged
 * copy (attributes set, O_PATH-like use only) before any content is copied: non-zero is an errno that ends the copy-up.
 * `truncate`: no content. 0, also if it is real already; or an errno. ESTALE: the name meant something else by then;
 * resolve again.
 */
typedef int (*cow_copy_check)(int staged, void *data);
int cow_tree_copy_up(struct cow_tree *t, int parent, const char *name, bool truncate, cow_copy_check check, void *data);

/*
 * What the lower file behind `fd` (GRAFT or STALE) is in the branch now, copied up. O_PATH descriptor, or -1 with
 * errno; ENOENT: its name is gone or another file's.
 */
int cow_tree_real_file(struct cow_tree *t, int fd, cow_copy_check check, void *data);

/*
 * The same for a regular file whose name is gone: a copy that has no name either, and is the same one for all who ask.
 * -1 with errno.
 */
int cow_tree_orphan(struct cow_tree *t, int fd, cow_copy_check check, void *data);
/* If there is one already; or -1. */
int cow_tree_known_orphan(struct cow_tree *t, int fd);
/* Is it such a copy? cow_tree_place() has it OUTSIDE, as it needs no work. */
bool cow_tree_is_orphan(const struct cow_tree *t, int fd);

/* Was real directory `fd` made by this container, or an earlier one? Of what earlier ones split it is not known. */
bool cow_tree_is_new(struct cow_tree *t, int fd);
/* Is `name` of real directory `parent` a placeholder under a graft? Its graft's root (O_PATH) in *root. */
bool cow_tree_is_grafted(struct cow_tree *t, int parent, const char *name, int *root);
/* Deletes a grafted entry: file, or directory whose lower is empty. Permission is the caller's business. 0 or an errno.
 */
int cow_tree_drop(struct cow_tree *t, int parent, const char *name);
/* renameat2(2) of entries that may be grafted, as the calling thread's credentials allow. 0 or an errno. */
int cow_tree_rename(struct cow_tree *t, int from, const char *old, int to, const char *new, unsigned flags);

/*
 * Gives untouched lower file `object` (GRAFT) a further name, `name` in real directory `parent`, without copying it.
 * The name is made by `as_caller`, which does `what` as the kernel would let the caller do it, and says 0 or an errno;
 * whether he may link to the file at all is his caller's business. 0, or an errno; EOPNOTSUPP: it has to be copied up
 * first.
 */
struct cow_caller {
	int (*as_caller)(const struct cow_caller *caller, int (*what)(void *data), void *data);
};
int cow_tree_twin(struct cow_tree *t, int object, int parent, const char *name, const struct cow_caller *caller);

/* Retires the grafts that were taken away since the last time; the caller holds no descriptor in them any more. */
void cow_tree_reap(struct cow_tree *t);
/*
 * Frees retired grafts that nobody uses (any more). To be called about once a second by a thread that may switch
 * namespaces; costs nothing when there is nothing to free.
 */
void cow_tree_sweep(struct cow_tree *t);
