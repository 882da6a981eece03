#include "spec.h"

#include <errno.h>
#include <stdlib.h>

#include "../lib/fd.h"
#include "edits.h"
#include "paths.h"

char *cow_spec_rootfs(const struct cow_json *spec, const char *bundle, struct cow_error **err)
{
	const char *given = cow_json_string(cow_json_path(spec, "root.path"));
	cleanup_free char *path = NULL, *text = NULL;
	char *real;

	if (given == NULL || *given == '\0') {
		cow_error_set(err, 0, "config.json: root.path is missing or no text");
		return NULL;
	}
	path = cow_path_join(bundle, given);
	real = realpath(path, NULL);
	if (real == NULL) {
		text = cow_path_printable(path);
		cow_error_set(err, errno, "root file system %s", text);
	}
	return real;
}

/* The profile before the process: whether init gets a listener to install depends on it. */
int cow_spec_edit(struct cow_json *spec, struct cow_spec_plan *plan, char init_path[COW_SPEC_PATH_MAX],
		  struct cow_error **err)
{
	if (cow_json_type_of(spec) != COW_JSON_OBJECT)
		return cow_error_set(err, 0, "config.json is no object");
	if (cow_edit_mounts(spec, plan, init_path, err) != 0 || cow_edit_hooks(spec, plan, err) != 0 ||
	    cow_edit_seccomp(spec, plan, err) != 0)
		return -1;
	return cow_edit_process(spec, plan, init_path, err);
}
