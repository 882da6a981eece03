#include "edits.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/fd.h"
#include "paths.h"

/* The branch's mounts are the container's alone, whatever the engine wanted for the directory. */
static void make_private(struct cow_json *mount)
{
	static const char *const propagation[] = {"private", "rprivate", "shared",     "rshared",
						  "slave",   "rslave",   "unbindable", "runbindable"};
	struct cow_json *options = cow_json_need_array(mount, "options");

	for (size_t i = cow_json_count(options); i-- > 0;) {
		const char *option = cow_json_string(cow_json_at(options, i));

		for (size_t j = 0; j < sizeof(propagation) / sizeof(propagation[0]); j++)
			if (strcmp(option, propagation[j]) == 0) {
				cow_json_remove_at(options, i);
				break;
			}
	}
	cow_json_append(options, cow_json_new_string("rprivate"));
}

/* "cowrunLower" is what an edit finds the user's directory by when the same bundle is created again. */
static void set_source(struct cow_json *mount, const struct cow_mount *m, const char *upper)
{
	/* Both before anything is replaced: m->source points into the mount. */
	struct cow_json *lower = cow_json_new_string(m->source), *source = cow_json_new_string(upper);

	cow_json_set(mount, "source", source);
	cow_json_set(mount, "cowrunLower", lower);
	make_private(mount);
}

/* A mount that was at a workdir in an earlier create, and is not now. */
static void restore_source(struct cow_json *mount, const struct cow_mount *m)
{
	cow_json_set(mount, "source", cow_json_new_string(m->source));
	cow_json_unset(mount, "cowrunLower");
}

static long workdir_of(const struct cow_mount *m, const struct cow_request *request)
{
	for (size_t i = 0; i < request->nworkdirs; i++)
		if (strcmp(m->destination, request->workdirs[i]) == 0)
			return (long)i;
	return -1;
}

static struct cow_json *init_mount(const char *source, const char *destination)
{
	static const char *const options[] = {"bind", "ro", "nosuid", "nodev", "private"};
	struct cow_json *mount = cow_json_new_object(), *list = cow_json_new_array();

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		cow_json_append(list, cow_json_new_string(options[i]));
	cow_json_set(mount, "destination", cow_json_new_string(destination));
	cow_json_set(mount, "type", cow_json_new_string("bind"));
	cow_json_set(mount, "source", cow_json_new_string(source));
	cow_json_set(mount, "options", list);
	cow_json_set(mount, "cowrunInit", cow_json_new_bool(true));
	return mount;
}

int cow_edit_mounts(struct cow_json *spec, const struct cow_spec_plan *plan, char init_path[COW_SPEC_PATH_MAX],
		    struct cow_error **err)
{
	struct cow_json *list = cow_json_get(spec, "mounts");
	cleanup_mounts struct cow_mounts mounts = {.count = 0};
	cleanup_free char *place = NULL;
	bool found[COW_BRANCH_TREES] = {false};

	if (cow_mounts_read(spec, &mounts, err) != 0)
		return -1;
	place = cow_mounts_init_place(&mounts, plan->request->workdirs, plan->request->nworkdirs, err);
	if (place == NULL)
		return -1;
	for (size_t i = mounts.count; i-- > 0;) {
		struct cow_mount *m = &mounts.list[i];
		long w = workdir_of(m, plan->request);

		if (m->init) {
			cow_json_remove_at(list, i);
		} else if (w >= 0) {
			cleanup_free char *upper = cow_branch_path(plan->store, plan->branch->name, (size_t)w, "upper");

			set_source(cow_json_at(list, i), m, upper);
			found[w] = true;
		} else if (m->edited) {
			restore_source(cow_json_at(list, i), m);
		}
	}
	for (size_t i = 0; i < plan->request->nworkdirs; i++)
		if (!found[i])
			return cow_error_set(err, 0, "no mount at workdir %s", plan->request->workdirs[i]);
	cow_json_append(list, init_mount(plan->init, place));
	strcpy(init_path, place);
	return 0;
}
