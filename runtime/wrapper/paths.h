/* Paths and names as they stand in a bundle: text, not yet looked up anywhere. Returned strings are the caller's. */
#pragma once

/* `path` below `dir`; a copy if it is absolute. */
char *cow_path_join(const char *dir, const char *path);
/*
 * The absolute path without ".", "..", empty components and trailing slashes, as the OCI runtimes clean a destination
 * before they look it up: lexically, and ".." never leaves "/". A relative one counts from "/".
 */
char *cow_path_clean(const char *path);
/* Where `path` is relative to `dir`, both clean: "" if it is `dir`, NULL if it is neither that nor below. */
const char *cow_path_below(const char *path, const char *dir);
/* For a message: control characters as \xHH, and cut if it is very long. */
char *cow_path_printable(const char *text);
