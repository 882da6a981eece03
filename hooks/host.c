#include "hook.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "../runtime/lib/fd.h"

int cow_hook_host_open(struct cow_hook_host *h, const struct cow_branch *b, const struct cow_hook_state *s, size_t tree,
		       struct cow_error **err)
{
	h->upper = cow_branch_open(b, tree, "upper", err);
	if (h->upper < 0)
		return -1;
	h->shadow = cow_branch_open(b, tree, "shadow", err);
	if (h->shadow < 0)
		return -1;
	h->dir = openat(h->upper, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (h->dir < 0)
		return cow_error_set(err, errno, "branch %s: tree %zu", s->branch, tree);
	h->lower = open(s->trees[tree].lower, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (h->lower < 0)
		return cow_error_set(err, errno, "%s", s->trees[tree].lower);
	h->shadow_path = cow_branch_path(s->store, s->branch, tree, "shadow");
	return h->shadow_path != NULL ? 0 : cow_error_set(err, errno, "branch %s", s->branch);
}

void cow_hook_host_close(struct cow_hook_host *h)
{
	cow_close_fd(&h->dir);
	cow_close_fd(&h->upper);
	cow_close_fd(&h->shadow);
	cow_close_fd(&h->lower);
	cow_close_fd(&h->lower_tree);
	free(h->shadow_path);
	h->shadow_path = NULL;
}

int cow_hook_namespace(pid_t pid, struct cow_error **err)
{
	char path[64];
	struct stat ours, theirs;

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	cleanup_close int ns = open(path, O_RDONLY | O_CLOEXEC);

	if (ns < 0 || fstat(ns, &theirs) < 0 || stat("/proc/self/ns/mnt", &ours) < 0)
		return cow_error_set(err, errno, "%s", path);
	/* Mounting in the host's own namespace would put the branch over the user's directory for everybody. */
	if (ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino)
		return cow_error_set(err, 0, "the container has no mount namespace of its own");
	return cow_steal_fd(&ns);
}
