/*
 * The lower's mounts as a container gets them. Made by the agent while the delegate still builds the container, and
 * attached by the hook.
 */
#pragma once

#include <stdbool.h>

#include "../lib/error.h"

/*
 * A detached, private, read-only clone of the mounts at directory `path` (absolute, on the host) and of all that is
 * mounted in it. *locked: the read-only flag is permanent for every mount and clone of it: the kernel refuses to clear
 * it, whoever asks; false if user namespaces cannot be had here. Descriptor or -1.
 */
int cow_lower_clone(const char *path, bool *locked, struct cow_error **err);
