#include "hook.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include "../runtime/lib/fd.h"
#include "../runtime/lib/message.h"

/*
 * Where the hook stands: the runtime has made the container's mount namespace, with the root file system still at its
 * host path and the host's tree around it, and has mounted the branch's upper at the workdir (the wrapper wrote that
 * into config.json, so that mount points below the workdir are made in the branch). No program of the container runs
 * before the hook has ended.
 *
 * At each workdir it then builds, from the bottom up:
 *   - lower: the user's directory and all that is mounted in it, read-only and locked so (runtime/graft/lower.c); the
 * agent cuts grafts from it;
 *   - shadow: where grafts in use go when they are taken away, under the same path, so that d_path stays right;
 *   - upper: what the container sees, the runtime's own mount with what it mounted below.
 * All of them are private, so nothing of it is seen elsewhere.
 */

/* Per tree to the agent: upper, shadow, stage, lower. Before them the namespace and the ruleset. */
enum { FDS_PER_TREE = 4, FDS_MAX = 2 + FDS_PER_TREE * COW_BRANCH_TREES };
_Static_assert((int)FDS_MAX <= (int)COW_MESSAGE_FDS, "all trees fit one message");

struct hook {
	struct cow_hook_state state;
	struct cow_hook_host hosts[COW_BRANCH_TREES];
	struct cow_hook_layers layers[COW_BRANCH_TREES];
	int control, ns, ruleset;
};

static void hook_cleanup(struct hook *h)
{
	for (size_t i = 0; i < COW_BRANCH_TREES; i++) {
		cow_hook_host_close(&h->hosts[i]);
		cow_hook_layers_close(&h->layers[i]);
	}
	cow_close_fd(&h->control);
	cow_close_fd(&h->ns);
	cow_close_fd(&h->ruleset);
	cow_hook_state_free(&h->state);
}

/* Whatever belongs to the host. */
static int prepare(struct hook *h, const char *state_dir, int oci_state, struct cow_error **err)
{
	cleanup_branch struct cow_branch *branch = NULL;

	if (cow_hook_state_read(&h->state, state_dir, oci_state, err) < 0)
		return -1;
	h->control = cow_hook_connect(state_dir, err);
	if (h->control < 0)
		return -1;
	h->ns = cow_hook_namespace(h->state.pid, err);
	if (h->ns < 0)
		return -1;
	branch = cow_branch_load(h->state.store, h->state.branch, err);
	if (branch == NULL)
		return -1;
	if (branch->ntrees != h->state.ntrees)
		return cow_error_set(err, 0, "branch %s has %zu trees, the container %zu", h->state.branch,
				     branch->ntrees, h->state.ntrees);
	for (size_t i = 0; i < h->state.ntrees; i++)
		if (cow_hook_host_open(&h->hosts[i], branch, &h->state, i, err) < 0)
			return -1;
	return cow_hook_lowers(h->control, h->hosts, h->state.ntrees, err);
}

/* Enters the container's mount namespace and mounts. The root's descriptor goes to *rootfs. */
static int mount_trees(struct hook *h, int *rootfs, struct cow_error **err)
{
	if (setns(h->ns, CLONE_NEWNS) < 0)
		return cow_error_set(err, errno, "entering the container's mount namespace");
	*rootfs = open(h->state.rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*rootfs < 0)
		return cow_error_set(err, errno, "%s", h->state.rootfs);
	for (size_t i = 0; i < h->state.ntrees; i++)
		if (cow_hook_stack(&h->layers[i], *rootfs, &h->state.trees[i], &h->hosts[i], h->state.own_filter, err) <
		    0)
			return cow_error_wrap(err, "workdir %s", h->state.trees[i].workdir);
	return 0;
}

/* The container's own root, and of each tree the upper and the shadow by name: what a graft or a copy lies in, wherever
 * it is. */
static int make_ruleset(struct hook *h, int rootfs, struct cow_error **err)
{
	int dirs[1 + 2 * COW_BRANCH_TREES];
	size_t n = 0;

	dirs[n++] = rootfs;
	for (size_t i = 0; i < h->state.ntrees; i++) {
		dirs[n++] = h->layers[i].upper;
		dirs[n++] = h->layers[i].shadow;
	}
	h->ruleset = cow_hook_ruleset(h->state.pid, dirs, n, err);
	return h->ruleset < 0 ? -1 : 0;
}

static int hand_over(struct hook *h, struct cow_error **err)
{
	int fds[FDS_MAX];
	size_t n = 0;

	fds[n++] = h->ns;
	if (h->state.landlock)
		fds[n++] = h->ruleset;
	for (size_t i = 0; i < h->state.ntrees; i++) {
		fds[n++] = h->layers[i].upper;
		fds[n++] = h->layers[i].shadow;
		fds[n++] = h->layers[i].stage;
		fds[n++] = h->layers[i].lower;
	}
	return cow_hook_attach(h->control, &h->state, fds, n, err);
}

int cow_hook_run(const char *state_dir, int oci_state, struct cow_error **err)
{
	__attribute__((cleanup(hook_cleanup))) struct hook h = {.control = -1, .ns = -1, .ruleset = -1};
	cleanup_close int rootfs = -1;

	for (size_t i = 0; i < COW_BRANCH_TREES; i++) {
		h.hosts[i] = COW_HOOK_HOST_NONE;
		h.layers[i] = COW_HOOK_LAYERS_NONE;
	}
	if (prepare(&h, state_dir, oci_state, err) < 0 || mount_trees(&h, &rootfs, err) < 0)
		return -1;
	if (h.state.landlock && make_ruleset(&h, rootfs, err) < 0)
		return -1;
	return hand_over(&h, err);
}
