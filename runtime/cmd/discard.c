/* cowrun branch discard NAME... */
#include <limits.h>
#include <stdio.h>

#include "../branch/commit.h"
#include "../lib/fd.h"
#include "../lib/log.h"
#include "../lib/place.h"
#include "command.h"

static int discard(const char *name, bool force, struct cow_error **err)
{
	cleanup_branch struct cow_branch *b = cow_command_load(name, err);
	cleanup_error struct cow_error *left = NULL;

	if (b == NULL || cow_branch_lock(b, err) != 0)
		return -1;
	/* What it has taken out of the lower would go with it. */
	if (cow_plan_exists(b) && !cow_plan_has_mark(b, COW_PLAN_DONE) && !force)
		return cow_error_set(err, 0,
				     "a commit of branch %s did not end: repeat it, or discard --force leaves %s half "
				     "changed",
				     name, b->trees[0].lower);
	if (cow_commit_abandon(b, &left) != 0)
		cow_log_warning("%s", left->message);
	return cow_branch_remove(b, err);
}

int cow_branch_discard_main(int argc, char **argv, struct cow_error **err)
{
	bool force = false;
	const struct cow_option options[] = {{"force", 0, &force, NULL}, {0}};
	int count = cow_options_parse(argc, argv, options, "branch", 1, INT_MAX, err);
	cleanup_free char *store = NULL;
	int status = COW_EXIT_OK;

	if (count < 0 || (store = cow_place_store(err)) == NULL)
		return -1;
	for (int i = 0; i < count; i++) {
		cleanup_error struct cow_error *why = NULL;

		if (discard(argv[i], force, &why) == 0)
			continue;
		cow_log_error("%s", why->message);
		status = why->status;
	}
	/* What earlier removals left when they were killed. */
	if (cow_branch_sweep(store, err) != 0)
		return -1;
	return status;
}
