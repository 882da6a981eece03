/* One way to change an entry: `make` gets its path, and returns 0 or more for success, -1 with errno for failure. */
#pragma once

struct mutation {
	const char *name;
	long (*make)(const char *path);
};

/* Each ends with a NULL name. */
extern const struct mutation mutations_of_content[];
extern const struct mutation mutations_of_names[];
extern const struct mutation mutations_of_attributes[];
extern const struct mutation mutations_of_escape[];

/* A path in the entry if it is a directory, else one beside it. Static; the next call overwrites it. */
const char *beside(const char *path, const char *suffix);
/* Closes a descriptor that was only a means; hands its value (or -1) on. */
long opened(long fd);
/* Runs a call on a descriptor of the entry opened with `flags`, or on its parent's descriptor and its name. */
long with_fd(const char *path, int flags, long (*act)(int fd));
long with_parent(const char *path, long (*act)(int dirfd, const char *name));
long write_one(int fd);
