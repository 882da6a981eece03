/*
 * What a bundle asks of cowrun, by its annotations (DESIGN, section 6). Read from config.json, which is hostile: a
 * request is complete and checked, or an error that names the annotation.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "../branch/store.h"
#include "../lib/error.h"
#include "../lib/json.h"

struct cow_request {
	size_t nworkdirs;
	char *workdirs[COW_BRANCH_TREES]; /* absolute, normalised, none inside another */
	char *branch;                     /* run.cowrun.branch, or the container's id */
	const char *on_exit;              /* "keep", "commit" or "discard" */
	bool landlock;
};

/*
 * 1 and *r if this container is to have a branch; 0 if it is to run exactly as under the delegate (no run.cowrun.*
 * annotation; a pod's sandbox; not one of run.cowrun.containers); -1 with *err: unknown or malformed annotations.
 */
int cow_request_read(const struct cow_json *spec, const char *id, struct cow_request *r, struct cow_error **err);
void cow_request_free(struct cow_request *r);
#define cleanup_request __attribute__((cleanup(cow_request_free)))
