#include "edits.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/fd.h"
#include "paths.h"

/* The branch is mounted in the container's own mount namespace: without one it would be mounted on the host. */
static int check_namespace(const struct cow_json *spec, struct cow_error **err)
{
	const struct cow_json *list = cow_json_path(spec, "linux.namespaces");

	for (size_t i = 0; i < cow_json_count(list); i++) {
		const char *type = cow_json_string(cow_json_get(cow_json_at(list, i), "type"));

		if (type == NULL || strcmp(type, "mount") != 0)
			continue;
		if (cow_json_type_of(cow_json_get(cow_json_at(list, i), "path")) != COW_JSON_NULL)
			return cow_error_set(err, 0,
					     "linux.namespaces: a branch needs a mount namespace of the container's "
					     "own, not that of a path");
		return 0;
	}
	return cow_error_set(err, 0, "linux.namespaces: a branch needs a mount namespace of the container's own");
}

static int check_path(const char *path, const char *what, const struct cow_request *request, struct cow_error **err)
{
	cleanup_free char *clean = path != NULL ? cow_path_clean(path) : NULL;

	for (size_t i = 0; clean != NULL && i < request->nworkdirs; i++) {
		const char *workdir = request->workdirs[i];

		if (cow_path_below(clean, workdir) != NULL || cow_path_below(workdir, clean) != NULL) {
			cleanup_free char *text = cow_path_printable(clean);

			return cow_error_set(err, 0, "linux.%s: %s overlaps workdir %s: not supported", what, text,
					     workdir);
		}
	}
	return 0;
}

/* The runtimes put these over the branch, after the hook: they would hide what the agent keeps there, or be hidden. */
static int check_paths(const struct cow_json *spec, const struct cow_request *request, struct cow_error **err)
{
	static const char *const lists[] = {"maskedPaths", "readonlyPaths", "devices"};
	const struct cow_json *node = cow_json_get(spec, "linux");

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		const struct cow_json *list = cow_json_get(node, lists[i]);

		for (size_t j = 0; j < cow_json_count(list); j++) {
			const struct cow_json *element = cow_json_at(list, j);

			if (cow_json_type_of(element) == COW_JSON_OBJECT)
				element = cow_json_get(element, "path");
			if (check_path(cow_json_string(element), lists[i], request, err) != 0)
				return -1;
		}
	}
	return 0;
}

static int check_hooks(const struct cow_json *spec, struct cow_error **err)
{
	const struct cow_json *hooks = cow_json_get(spec, "hooks"), *prestart = cow_json_get(hooks, "prestart");

	if (cow_json_type_of(hooks) != COW_JSON_NULL && cow_json_type_of(hooks) != COW_JSON_OBJECT)
		return cow_error_set(err, 0, "config.json: \"hooks\" is no object");
	if (cow_json_type_of(prestart) != COW_JSON_NULL && cow_json_type_of(prestart) != COW_JSON_ARRAY)
		return cow_error_set(err, 0, "config.json: hooks.prestart is no array");
	return 0;
}

int cow_spec_check(const struct cow_json *spec, const struct cow_request *request, const struct cow_mounts *mounts,
		   struct cow_error **err)
{
	cleanup_free char *place = cow_mounts_init_place(mounts, request->workdirs, request->nworkdirs, err);
	cleanup_json struct cow_json *args = cow_json_copy(cow_json_path(spec, "process.args"));

	if (place == NULL || check_namespace(spec, err) != 0 || check_paths(spec, request, err) != 0 ||
	    check_hooks(spec, err) != 0)
		return -1;
	return cow_spec_prefix(args, place, -1, false, NULL, err);
}
