#include "edits.h"

#include <stdio.h>
#include <string.h>

/* How many of the arguments are cowrun-init's own, put there by an earlier edit; 0 if there are none. */
static size_t own_arguments(const struct cow_json *args, const char *init_path)
{
	const char *first = cow_json_string(cow_json_at(args, 0));
	size_t n = cow_json_count(args);

	if (strcmp(first, init_path) != 0 && !cow_mounts_is_init_place(first))
		return 0;
	for (size_t i = 1; i < n; i++) {
		const char *arg = cow_json_string(cow_json_at(args, i));

		if (strcmp(arg, "--") == 0)
			return i + 1 < n ? i + 1 : 0;
		if (strcmp(arg, "--listener-fd") == 0 || strcmp(arg, "--cwd") == 0)
			i++;
		else if (strcmp(arg, "--landlock") != 0)
			return 0;
	}
	return 0;
}

static int check_args(const struct cow_json *args, struct cow_error **err)
{
	if (cow_json_type_of(args) != COW_JSON_ARRAY || cow_json_count(args) == 0)
		return cow_error_set(err, 0, "process.args is missing, empty or no array");
	for (size_t i = 0; i < cow_json_count(args); i++)
		if (cow_json_string(cow_json_at(args, i)) == NULL)
			return cow_error_set(err, 0, "process.args[%zu] is no text", i);
	return 0;
}

int cow_spec_prefix(struct cow_json *args, const char *init_path, int listener_fd, bool landlock, const char *cwd,
		    struct cow_error **err)
{
	char number[16];
	size_t at = 0;

	if (check_args(args, err) != 0)
		return -1;
	for (size_t n = own_arguments(args, init_path); n > 0; n--)
		cow_json_remove_at(args, 0);
	cow_json_insert(args, at++, cow_json_new_string(init_path));
	if (listener_fd >= 0) {
		cow_json_insert(args, at++, cow_json_new_string("--listener-fd"));
		snprintf(number, sizeof(number), "%d", listener_fd);
		cow_json_insert(args, at++, cow_json_new_string(number));
	}
	if (landlock)
		cow_json_insert(args, at++, cow_json_new_string("--landlock"));
	if (cwd != NULL) {
		cow_json_insert(args, at++, cow_json_new_string("--cwd"));
		cow_json_insert(args, at++, cow_json_new_string(cwd));
	}
	cow_json_insert(args, at, cow_json_new_string("--"));
	return 0;
}

int cow_edit_process(struct cow_json *spec, const struct cow_spec_plan *plan, const char *init_path,
		     struct cow_error **err)
{
	struct cow_json *process = cow_json_get(spec, "process");

	return cow_spec_prefix(cow_json_get(process, "args"), init_path, plan->by_delegate ? -1 : plan->listener_fd,
			       plan->request->landlock, cow_json_string(cow_json_get(process, "cwd")), err);
}
