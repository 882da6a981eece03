/* STATE/KEY, the directory of a running container (contrib/doc/architecture.md, "State of a running container"). */
#pragma once

#include <stdbool.h>

#include "../lib/error.h"
#include "../lib/json.h"

struct cow_key {
	char *path;
	int dirfd; /* flock()ed while a container is made or taken away */
};

#define COW_KEY_NONE ((struct cow_key){.path = NULL, .dirfd = -1})
void cow_key_close(struct cow_key *k);
#define cleanup_key __attribute__((cleanup(cow_key_close)))

/* Opens it for reading. 1; 0 if there is none; -1. */
int cow_key_open(struct cow_key *k, const char *path, struct cow_error **err);
/* Opens and locks it; waits for whoever has it. 1, 0 (none, or it went while we waited), -1. */
int cow_key_lock(struct cow_key *k, const char *path, struct cow_error **err);
/*
 * Makes it, locked. 1 if it is new, 0 if it was there (then it is locked all the same and the caller decides whether it
 * is stale), -1 with *err; "is being made" if another process has it.
 */
int cow_key_make(struct cow_key *k, const char *state, const char *path, struct cow_error **err);
void cow_key_unlock(struct cow_key *k);

struct cow_json *cow_key_read(const struct cow_key *k, struct cow_error **err);
int cow_key_write(const struct cow_key *k, const struct cow_json *state, struct cow_error **err);
/* Removes what is in it, and itself unless `keep`. */
int cow_key_remove(struct cow_key *k, bool keep, struct cow_error **err);
