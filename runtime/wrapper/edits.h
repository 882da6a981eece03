/*
 * The single edits that cow_spec_edit makes, a file each. All are idempotent: what an earlier edit left is recognised
 * and replaced, whatever state directory, branch or installation it was made for.
 */
#pragma once

#include "../lib/error.h"
#include "../lib/json.h"
#include "mounts.h"
#include "spec.h"

/*
 * spec_check.c: what no branch can be put into, told before anything is made: mount namespace, process.args, masked
 * paths and devices in a workdir.
 */
int cow_spec_check(const struct cow_json *spec, const struct cow_request *request, const struct cow_mounts *mounts,
		   struct cow_error **err);

/* edit_mounts.c: the uppers at the workdirs, and cowrun-init at `init_path`, which it chooses. */
int cow_edit_mounts(struct cow_json *spec, const struct cow_spec_plan *plan, char init_path[COW_SPEC_PATH_MAX],
		    struct cow_error **err);
/* edit_hooks.c: the hook, last of the prestart hooks. */
int cow_edit_hooks(struct cow_json *spec, const struct cow_spec_plan *plan, struct cow_error **err);
/* edit_seccomp.c: the profile, and which way to the listener is taken: plan->by_delegate. */
int cow_edit_seccomp(struct cow_json *spec, struct cow_spec_plan *plan, struct cow_error **err);
/* edit_process.c: cowrun-init before process.args. */
int cow_edit_process(struct cow_json *spec, const struct cow_spec_plan *plan, const char *init_path,
		     struct cow_error **err);
