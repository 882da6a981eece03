/*
 * The edits of a bundle's config.json. Each is a function of its own in edit_*.c (edits.h), idempotent, and leaves what
 * it does not know as it was; cow_spec_edit calls them in order. Nothing is written to disk here.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "../branch/store.h"
#include "../lib/error.h"
#include "../lib/json.h"
#include "request.h"
#include "settings.h"

/*
 * Finds and checks the mounts at the workdirs: bind mounts of host directories (after realpath), not read-only, not
 * id-mapped, not overlapping each other, the store or the state directory. Fills `trees` (request->nworkdirs of them;
 * caller frees with cow_spec_trees_free): workdir, lower, and the mount points that the bundle has below it. Where the
 * mount's source is the upper of a branch already (the bundle was edited before, by a create that was repeated), the
 * lower is the one that the edit recorded in the mount's "cowrunLower" member. `bundle` is absolute: relative mount
 * sources count from it (runtime-spec, "Mounts").
 *
 * Refuses too what cannot be edited (spec_check.c), and a bundle that gives the container another way to write to a
 * lower or to the store, or any way to the state directory.
 */
int cow_spec_trees(const struct cow_json *spec, const struct cow_request *request, const char *bundle,
		   const char *store, const char *state, struct cow_branch_tree *trees, struct cow_error **err);
void cow_spec_trees_free(struct cow_branch_tree *trees, size_t ntrees);
/* root.path of the bundle, absolute. Caller frees. */
char *cow_spec_rootfs(const struct cow_json *spec, const char *bundle, struct cow_error **err);

struct cow_spec_plan {
	const struct cow_request *request;
	const struct cow_branch *branch;
	const char *store;
	const char *key_dir;       /* KEY directory of the state */
	const char *hook, *init;   /* absolute paths on the host of cowrun-hook and cowrun-init */
	enum cow_listener_way way; /* what the configuration says */
	bool by_delegate; /* in: the delegate could load the filter; out: it is to (linux.seccomp.listenerPath) */
	int listener_fd;  /* if not: the number under which init.sock is inherited */
};

enum { COW_SPEC_PATH_MAX = 64 };
/*
 * All edits. `init_path` is where cowrun-init is in the container: the start of process.args, and of every exec's.
 * A bundle with process.args that begin with it already gets them anew.
 */
int cow_spec_edit(struct cow_json *spec, struct cow_spec_plan *plan, char init_path[COW_SPEC_PATH_MAX],
		  struct cow_error **err);
/*
 * Puts cowrun-init before `args` (an array of strings, as process.args): `[init_path, --listener-fd N, --landlock,
 * --cwd CWD, --, args…]`. listener_fd < 0: without --listener-fd; cwd NULL: without --cwd. Idempotent.
 */
int cow_spec_prefix(struct cow_json *args, const char *init_path, int listener_fd, bool landlock, const char *cwd,
		    struct cow_error **err);
