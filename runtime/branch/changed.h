/* Does an entry of the upper that has an origin differ from it? */
#pragma once

#include "upper.h"

/*
 * `stamp`: how the origin looked when the branch took it; `upper` and `lower` are the roots. What the host changed
 * since is no change of the branch. 1, 0, or -1 with errno.
 */
int cow_node_changed(const struct cow_node *n, int upper, int lower, const struct cow_lower_stamp *stamp);
