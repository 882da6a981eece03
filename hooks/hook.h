/*
 * cowrun-hook: puts a branch at the workdirs of a container that is being made, and hands it to the agent.
 * What it does in which order: attach.c. The parts are called in that order by cow_hook_run.
 *
 * Everything of the host is opened before the container's mount namespace is entered; everything that is mounted is
 * mounted after. The hook never goes back: it ends there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "../runtime/branch/store.h"
#include "../runtime/lib/error.h"

struct cow_hook_tree {
	char *workdir; /* absolute path in the container */
	char *lower;   /* absolute path on the host */
};

/* KEY/state.json, and the pid from the runtime's state (state.c). */
struct cow_hook_state {
	pid_t pid; /* the container's first process, in our pid namespace */
	char *rootfs, *store, *branch;
	bool landlock;
	bool own_filter; /* "listener" is "init": the program in force is runtime/filter's own */
	size_t ntrees;
	struct cow_hook_tree trees[COW_BRANCH_TREES];
};

/* Descriptors on the host's side of a tree, opened in the host's mount namespace (host.c). */
struct cow_hook_host {
	int dir;           /* trees/N, O_PATH */
	int upper, shadow; /* directories */
	int lower;         /* O_PATH */
	int lower_tree;    /* its mounts, detached: runtime/graft/lower.h */
	bool locked;       /* these are read-only for good */
	char *shadow_path;
};

/* O_PATH directories through the container's mounts, bottom to top (stack.c). */
struct cow_hook_layers {
	int lower, shadow, upper;
	int stage; /* no mount of its own: a directory of the branch, reached through the upper's mount */
};

/* The whole hook: state directory KEY, the runtime's state on descriptor `oci_state`. */
int cow_hook_run(const char *state_dir, int oci_state, struct cow_error **err);

/* state.c. The state belongs to the caller: cow_hook_state_free. */
int cow_hook_state_read(struct cow_hook_state *s, const char *state_dir, int oci_state, struct cow_error **err);
void cow_hook_state_free(struct cow_hook_state *s);

/* host.c. Closing is for the caller, also after a failure; COW_HOOK_HOST_NONE is what to begin with. */
#define COW_HOOK_HOST_NONE ((struct cow_hook_host){.dir = -1, .upper = -1, .shadow = -1, .lower = -1, .lower_tree = -1})
int cow_hook_host_open(struct cow_hook_host *h, const struct cow_branch *b, const struct cow_hook_state *s, size_t tree,
		       struct cow_error **err);
void cow_hook_host_close(struct cow_hook_host *h);
/* The container's mount namespace; -1 also if it is ours. */
int cow_hook_namespace(pid_t pid, struct cow_error **err);

/*
 * stack.c, in the container's mount namespace: replaces what the runtime mounted at the workdir (the branch's upper) by
 * lower, shadow and upper, one on the other, with everything that the runtime mounted below the workdir. `rootfs`: the
 * container's root, O_PATH. `own_filter`: as in the state; without it mounts that cannot be locked are an error.
 */
#define COW_HOOK_LAYERS_NONE ((struct cow_hook_layers){.lower = -1, .shadow = -1, .upper = -1, .stage = -1})
int cow_hook_stack(struct cow_hook_layers *layers, int rootfs, const struct cow_hook_tree *tree,
		   const struct cow_hook_host *host, bool own_filter, struct cow_error **err);
void cow_hook_layers_close(struct cow_hook_layers *layers);

/*
 * stage.c: makes the branch's stage anew: empty, and reached through `upper` (the root of the mount that the container
 * sees). O_PATH descriptor or -1.
 */
int cow_hook_stage(int upper, const struct cow_hook_host *host, struct cow_error **err);

/*
 * landlock.c: a ruleset that handles every right on files that the kernel knows and grants them below the directories,
 * and on the files that the container's first process has as stdio, as far as it has them open. Descriptor or -1.
 */
int cow_hook_ruleset(pid_t pid, const int *dirs, size_t ndirs, struct cow_error **err);

/* control.c: connects to KEY/control.sock; sends the attach message with its descriptors and waits for the answer. */
int cow_hook_connect(const char *state_dir, struct cow_error **err);
/* Asks for the trees' lowers, which the agent has made ready. */
int cow_hook_lowers(int control, struct cow_hook_host *hosts, size_t ntrees, struct cow_error **err);
int cow_hook_attach(int control, const struct cow_hook_state *s, const int *fds, size_t nfds, struct cow_error **err);
