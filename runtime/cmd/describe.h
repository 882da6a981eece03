/* A branch in words, for ls and show. */
#pragma once

#include "../branch/store.h"
#include "../lib/json.h"

/* "in use", "idle", or "half committed": a commit was killed and has to be repeated. */
const char *cow_describe_status(const struct cow_branch *b);
/* The object of `ls --json` and `show --json`. */
struct cow_json *cow_describe_branch(const struct cow_branch *b);
