#include "describe.h"

#include "../branch/plan.h"

const char *cow_describe_status(const struct cow_branch *b)
{
	if (cow_branch_in_use(b))
		return "in use";
	return cow_plan_exists(b) ? "half committed" : "idle";
}

struct cow_json *cow_describe_branch(const struct cow_branch *b)
{
	struct cow_json *o = cow_json_new_object();
	struct cow_json *trees = cow_json_new_array();

	cow_json_set(o, "name", cow_json_new_string(b->name));
	cow_json_set(o, "container", cow_json_new_string(b->id));
	cow_json_set(o, "created", cow_json_new_int(b->created));
	cow_json_set(o, "status", cow_json_new_string(cow_describe_status(b)));
	for (size_t i = 0; i < b->ntrees; i++) {
		struct cow_json *t = cow_json_new_object();
		struct cow_json *mountpoints = cow_json_new_array();

		for (char **m = b->trees[i].mountpoints; m != NULL && *m != NULL; m++)
			cow_json_append(mountpoints, cow_json_new_string(*m));
		cow_json_set(t, "workdir", cow_json_new_string(b->trees[i].workdir));
		cow_json_set(t, "lower", cow_json_new_string(b->trees[i].lower));
		cow_json_set(t, "mountpoints", mountpoints);
		cow_json_append(trees, t);
	}
	cow_json_set(o, "trees", trees);
	return o;
}
