/* The changes of a branch as a patch that `git apply` and patch(1) take, and as the counts of its lines. */
#pragma once

#include "../lib/error.h"
#include "hunk.h"
#include "rows.h"

/* Both print to stdout: 0 or -1 with *err. */
int cow_patch_print(const struct cow_rows *rows, const struct cow_style *style, struct cow_error **err);
int cow_patch_stat(const struct cow_rows *rows, struct cow_error **err);
