#include "edits.h"

#include <stdio.h>
#include <stdlib.h>

#include "../lib/fd.h"
#include "profile.h"

int cow_edit_seccomp(struct cow_json *spec, struct cow_spec_plan *plan, struct cow_error **err)
{
	cleanup_free char *socket = NULL;
	/* cowrun-init's filter costs set-user-id programs: where Landlock does not cost them already, these come first.
	 */
	bool all = !plan->delegate_only && plan->request->landlock;
	int result;

	if (plan->by_delegate) {
		if (asprintf(&socket, "%s/agent.sock", plan->key_dir) < 0)
			abort();
		result = cow_profile_merge(spec, socket, "", all, err);
		if (result <= 0)
			return result;
		plan->by_delegate = false;
	}
	return cow_profile_admit_init(spec, err);
}
