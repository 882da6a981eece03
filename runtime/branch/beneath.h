/*
 * Paths below a directory whose content somebody else may change at any moment: the upper, which a container filled,
 * and the lower, which the host works on. No symbolic link is followed and nothing leads out (openat2(2), Linux 5.6);
 * paths may be longer than PATH_MAX.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { COW_BENEATH_MAX = 32768 }; /* the longest path that is walked; a chain of directories may be deeper than that */

/*
 * Opens `path` ("" for the directory itself) below `root` with O_CLOEXEC and O_NOFOLLOW added to `flags`. `one_mount`:
 * mount points are not crossed (EXDEV). Descriptor or -1 with errno.
 */
int cow_beneath_open(int root, const char *path, int flags, bool one_mount);
/* O_PATH descriptor of the directory that holds the last component, which *name is set to (it points into `path`). */
int cow_beneath_parent(int root, const char *path, bool one_mount, const char **name);
/* Opens what an O_PATH descriptor is for reading; only ever a regular file, after fstat(2) said so. Or -1 with errno.
 */
int cow_beneath_reopen(int fd);
