/* Where cowrun keeps its things: DESIGN section 6, "places". All returned strings are the caller's to free. */
#pragma once

#include <stdbool.h>

#include "error.h"

/* Environment override, else root's fixed place, else the XDG place of an ordinary user. NULL with *err. */
char *cow_place_state(struct cow_error **err);
char *cow_place_store(struct cow_error **err);
char *cow_place_config(struct cow_error **err);

/* Makes a directory and its parents, 0700 each; an existing one is taken if it is a directory and ours. */
int cow_place_make(const char *path, struct cow_error **err);

/* Container ids as runc takes them ([A-Za-z0-9_+.-], not "." or ".."), branch names ([A-Za-z0-9][A-Za-z0-9_.-]{0,127}).
 */
bool cow_place_id_valid(const char *id);
bool cow_place_branch_valid(const char *name);

/* KEY as contrib/doc/architecture.md tells; fails if a socket in it would not fit sun_path. */
char *cow_place_container(const char *state, const char *root, const char *id, struct cow_error **err);

/* /proc/self/exe's directory, or the install's libexec: finds a sibling program ("cowrun-agent"). */
char *cow_place_program(const char *name, struct cow_error **err);
