#include "edits.h"

#include <stdio.h>
#include <stdlib.h>

#include "../lib/fd.h"
#include "profile.h"

/*
 * Which way to the listener. cowrun-init's costs no_new_privs, which Landlock demands anyway, and nothing else: the
 * profile stays what it was, a start is faster (merged, it is compiled anew by libseccomp: 15 ms more) and so is every
 * call that the kernel cannot decide without the filter (the program is shorter than what libseccomp makes). So with
 * Landlock it comes first, unless
 *   - the profile would have to be widened for it;
 *   - the container gets a label of SELinux's, whose policy decides what becomes of an inherited socket.
 * Without Landlock the delegate's comes first, for the sake of set-user-id programs.
 */
static bool init_first(const struct cow_json *spec, const struct cow_spec_plan *plan)
{
	const char *label = cow_json_string(cow_json_path(spec, "process.selinuxLabel"));

	return plan->request->landlock && (label == NULL || *label == '\0') && cow_profile_lets_init(spec);
}

/* 1 if the profile cannot be merged. */
static int by_delegate(struct cow_json *spec, const struct cow_spec_plan *plan, struct cow_error **err)
{
	cleanup_free char *socket = NULL;
	/* cowrun-init's filter traps calls that libseccomp cannot name as well. */
	bool all = plan->way != COW_LISTENER_DELEGATE && plan->request->landlock;

	if (asprintf(&socket, "%s/agent.sock", plan->key_dir) < 0)
		abort();
	return cow_profile_merge(spec, socket, "", all, err);
}

int cow_edit_seccomp(struct cow_json *spec, struct cow_spec_plan *plan, struct cow_error **err)
{
	if (plan->way == COW_LISTENER_INIT || (plan->way == COW_LISTENER_AUTO && init_first(spec, plan)))
		plan->by_delegate = false;
	if (plan->by_delegate) {
		int result = by_delegate(spec, plan, err);

		if (result < 0)
			return -1;
		plan->by_delegate = result == 0;
	}
	if (!plan->by_delegate && cow_profile_admit_init(spec, err) != 0)
		return -1;
	return cow_profile_check(spec, !plan->by_delegate, plan->request->landlock, err);
}
