#include "edits.h"

#include <string.h>

/*
 * Seconds until the delegate gives up on the hook. The hook ends as soon as the agent has grafted the root of the
 * directory: milliseconds, but a root of very many entries takes its time.
 */
enum { HOOK_TIMEOUT = 120 };

static const char hook_name[] = "cowrun-hook";

/* Of whatever installation, for whatever state directory. */
static bool is_ours(const struct cow_json *hook)
{
	const struct cow_json *args = cow_json_get(hook, "args");
	const char *path = cow_json_string(cow_json_get(hook, "path"));
	const char *name = cow_json_string(cow_json_at(args, 0)), *option = cow_json_string(cow_json_at(args, 1));
	const char *slash = path != NULL ? strrchr(path, '/') : NULL;

	return slash != NULL && name != NULL && option != NULL && strcmp(slash + 1, hook_name) == 0 &&
	       strcmp(name, hook_name) == 0 && strcmp(option, "--state") == 0;
}

static void remove_ours(struct cow_json *hooks)
{
	for (size_t i = 0; i < cow_json_count(hooks); i++) {
		struct cow_json *stage = cow_json_at(hooks, i);

		if (cow_json_type_of(stage) != COW_JSON_ARRAY)
			continue;
		for (size_t j = cow_json_count(stage); j-- > 0;)
			if (is_ours(cow_json_at(stage, j)))
				cow_json_remove_at(stage, j);
	}
}

static struct cow_json *make_hook(const struct cow_spec_plan *plan)
{
	struct cow_json *hook = cow_json_new_object(), *args = cow_json_new_array();

	cow_json_append(args, cow_json_new_string(hook_name));
	cow_json_append(args, cow_json_new_string("--state"));
	cow_json_append(args, cow_json_new_string(plan->key_dir));
	cow_json_set(hook, "path", cow_json_new_string(plan->hook));
	cow_json_set(hook, "args", args);
	cow_json_set(hook, "timeout", cow_json_new_int(HOOK_TIMEOUT));
	return hook;
}

int cow_edit_hooks(struct cow_json *spec, const struct cow_spec_plan *plan, struct cow_error **err)
{
	struct cow_json *hooks = cow_json_need_object(spec, "hooks");
	struct cow_json *prestart = hooks != NULL ? cow_json_need_array(hooks, "prestart") : NULL;

	if (prestart == NULL) /* cow_spec_check was not asked */
		return cow_error_set(err, 0, "config.json: \"hooks\" or hooks.prestart is malformed");
	remove_ours(hooks);
	/* After the bundle's own: whatever they do at a workdir must be done before the branch is put there. */
	cow_json_append(prestart, make_hook(plan));
	return 0;
}
