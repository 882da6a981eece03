/* What the agent of a branch counted, for `cowrun branch show --stats`. */
#pragma once

#include "../branch/store.h"
#include "../lib/error.h"
#include "../lib/json.h"

/*
 * Asks the agent that has the branch now, by its control.sock in the state that is in force, or else reads what the
 * last one left in the branch (COW_BRANCH_STATS); *running tells which. The caller frees it; NULL with *err: there is
 * neither.
 */
struct cow_json *cow_counts_get(const struct cow_branch *b, bool *running, struct cow_error **err);
/* On stdout: a line a workdir, a table of calls, a line a family; mean microseconds of each phase if they were timed.
 */
void cow_counts_print(const struct cow_json *counts, bool running);
