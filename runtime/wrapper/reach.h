/*
 * What of the host's file systems can be reached through a directory. Paths alone do not tell: one directory can be
 * mounted at several places of the host, and a bind mount takes along what is mounted in it. So places are compared as
 * "this path of that file system", which the kernel says in /proc/self/mountinfo (proc(5)).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "../lib/error.h"
#include "host.h"

struct cow_reach {
	size_t count;
	struct cow_reach_piece *pieces;
};

/*
 * `path` is absolute; symbolic links in it are followed, and its end need not exist yet. The flags are those of a bind
 * mount made of it: `recursive` takes what is mounted in it along, `readonly` holds for the top, `readonly_below` for
 * the rest.
 */
int cow_reach_of(const struct cow_host *host, const char *path, bool recursive, bool readonly, bool readonly_below,
		 struct cow_reach *reach, struct cow_error **err);
void cow_reach_free(struct cow_reach *reach);
#define cleanup_reach __attribute__((cleanup(cow_reach_free)))

/* Do they have anything in common? */
bool cow_reach_overlap(const struct cow_reach *a, const struct cow_reach *b);
/* Does `a` give write access to anything of `b`? */
bool cow_reach_writes(const struct cow_reach *a, const struct cow_reach *b);
