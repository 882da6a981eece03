/* Copying a file as it is: content with its holes, owner, mode, extended attributes and access lists, times. */
#pragma once

#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/*
 * Owner and group of `name` in dirfd, or of dirfd itself if it is "". An owner that has no id in our user namespace
 * cannot be given: then it stays ours. 0 or -1 with errno.
 */
int cow_copy_owner(int dirfd, const char *name, const struct stat *st);
/*
 * Owner, mode, extended attributes (access lists are among them). Either descriptor may be an O_PATH one. What the
 * target's file system or our rights cannot carry is left out. 0 or -1 with errno.
 */
int cow_copy_attributes(int from, int to, const struct stat *st);
/* Access and modification time. 0 or -1 with errno. */
int cow_copy_times(int to, const struct stat *st);
/* Clone, else copy with holes kept. `copied` counts the bytes moved. 0 or -1 with errno. */
int cow_copy_content(int from, int to, off_t size, uint64_t *copied);
