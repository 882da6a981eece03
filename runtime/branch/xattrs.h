/*
 * Extended attributes, access lists among them, of a branch's entry and its counterpart on the host. Left out: the mark
 * of placeholders, and labels that the host's security policy gives (SELinux, IMA, EVM). Descriptors may be O_PATH
 * ones, of anything but symbolic links.
 */
#pragma once

/* 1, 0, or -1 with errno. A file system without them has none. */
int cow_xattrs_equal(int a, int b);
/* Sets what `from` has and removes what it has not. What the target cannot carry is left out. 0 or -1 with errno. */
int cow_xattrs_make_equal(int from, int to);
