/*
 * Branches on disk. Layout and branch.json: contrib/doc/architecture.md.
 * A `struct cow_branch` is a loaded branch.json plus the descriptors of its directories.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../lib/error.h"

/* In a branch: what the agent of its last container counted, if that was asked for (agent/stats.h). */
#define COW_BRANCH_STATS "stats.json"

enum { COW_BRANCH_VERSION = 1, COW_BRANCH_TREES = 8, COW_NONCE_SIZE = 8 };

struct cow_branch_tree {
	char *workdir;      /* absolute path in the container, normalised */
	char *lower;        /* absolute path on the host */
	char **mountpoints; /* NULL-terminated, relative to the workdir */
};

struct cow_branch {
	char *name;
	char *id;        /* container that made it */
	int64_t created; /* seconds since the epoch */
	uint8_t nonce[COW_NONCE_SIZE];
	size_t ntrees;
	struct cow_branch_tree trees[COW_BRANCH_TREES];
	int dirfd;  /* O_PATH on branches/NAME */
	int lockfd; /* -1 while not locked */
};

/*
 * Makes branches/NAME with its trees, or loads it if it exists with the same trees (lower and workdir). Idempotent:
 * the wrapper calls it to reserve the place, before the container exists. A branch of that name over another lower is
 * an error.
 */
struct cow_branch *cow_branch_create(const char *store, const char *name, const char *id,
				     const struct cow_branch_tree *trees, size_t ntrees, bool *made,
				     struct cow_error **err);
struct cow_branch *cow_branch_load(const char *store, const char *name, struct cow_error **err);
void cow_branch_free(struct cow_branch *b);
void cow_branch_cleanup(struct cow_branch **b);
#define cleanup_branch __attribute__((cleanup(cow_branch_cleanup)))

/*
 * Exclusive lock without waiting: error "branch NAME is in use" if someone (an agent, commit or discard) has it, or
 * while the container that the branch was given to still lives, whatever became of its agent.
 */
int cow_branch_lock(struct cow_branch *b, struct cow_error **err);
/* The first process of the container that has the branch mounted, kept in branches/NAME/container; 0: none any more. */
int cow_branch_set_container(struct cow_branch *b, pid_t pid, struct cow_error **err);
/* Does somebody hold the lock, or does the container live? Nothing is changed. */
bool cow_branch_in_use(const struct cow_branch *b);
/* trees/N/WHAT opened as a directory (O_RDONLY) below the branch; "upper", "stage", "shadow". Descriptor or -1. */
int cow_branch_open(const struct cow_branch *b, size_t tree, const char *what, struct cow_error **err);
/* Absolute path of the same, for a mount source. Caller frees. */
char *cow_branch_path(const char *store, const char *name, size_t tree, const char *what);
/* Records mount points below a workdir (atomic rewrite of branch.json). */
int cow_branch_set_mountpoints(struct cow_branch *b, size_t tree, char *const *rel, struct cow_error **err);
/* Removes the whole branch from disk; must be locked. It is gone from the store at once, its files soon after. */
int cow_branch_remove(struct cow_branch *b, struct cow_error **err);
/* Finishes removals that were killed, and what was never more than an empty name. */
int cow_branch_sweep(const char *store, struct cow_error **err);
/* Names of all branches, sorted, NULL-terminated; caller frees each and the array. */
char **cow_branch_names(const char *store, struct cow_error **err);

/*
 * The placeholder mark (architecture.md). `path` of the mark is relative to the lower root.
 * cow_mark_get: 1 and *path (caller frees) if fd's inode is a placeholder of this branch, 0 if it is not, -1 with
 * errno. Both act on an O_PATH descriptor as well (through /proc/self/fd). Attribute: trusted.cowrun.graft, or
 * user.cowrun.graft where the process may not set trusted attributes (decided once per process).
 */
int cow_mark_set(const struct cow_branch *b, int fd, const char *path);
int cow_mark_get(const struct cow_branch *b, int fd, char **path);
/* Can FIFOs, sockets and devices have one? (user.* attributes are for files and directories only.) */
bool cow_mark_on_special(void);
int cow_mark_clear(int fd); /* of a descriptor that is not O_PATH; also if there was none */
