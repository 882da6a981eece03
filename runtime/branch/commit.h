/*
 * Making the changes of a branch in the lower.
 *
 *   cow_commit_prepare   copies all new content into the stage (stage.h) and writes the steps down (plan.h). Up to the
 * end of it a failure, or a kill, leaves the lower as it was. cow_commit_run       does the steps: first everything
 * that is deleted, moved or in the way goes into the stage, the deepest entries first, then everything takes its new
 * place, from the top down; then attributes and times of directories. May be repeated until it succeeds, after a kill,
 * too. cow_commit_finish    clears up. The branch has no changes any more and can be removed.
 */
#pragma once

#include "diff.h"
#include "plan.h"

/* `force`: what the host deleted is made again, what it put in the way is replaced. 0 or -1 with *err. */
int cow_commit_prepare(const struct cow_branch *b, struct cow_diff *diffs, bool force, struct cow_plan *plan,
		       struct cow_error **err);
/* What the host changed since the steps were written down ends it with COW_EXIT_CONFLICT, unless `force`. */
int cow_commit_run(const struct cow_branch *b, const struct cow_plan *plan, bool force, struct cow_error **err);
int cow_commit_finish(const struct cow_branch *b, const struct cow_plan *plan, struct cow_error **err);
/* A commit that was killed before it changed anything may have left its stage: removes that, for a branch to be
 * discarded.
 */
int cow_commit_abandon(const struct cow_branch *b, struct cow_error **err);
/* The lower's root; while a commit has it, another one is refused. Descriptor or -1 with *err. */
int cow_commit_open_lower(const struct cow_branch *b, size_t tree, struct cow_error **err);
