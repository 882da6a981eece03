/* A container's start: the root of a new branch is split, an old branch is shown as it was. */
#include "graft_fixture.h"

static void fresh_scenario(struct fixture *f)
{
	struct stat st;

	start(f);
	CHECK(has_text(seen(f, "top"), "top\n") && has_text(seen(f, "src/deep/er/leaf"), "leaf\n"));
	CHECK(same_file(seen(f, "top"), lower(f, "top")) && same_file(seen(f, "src/a.c"), lower(f, "src/a.c")));
	CHECK(has_text(seen(f, "link"), "int a;\n") && !same_file(seen(f, "link"), lower(f, "link")));
	CHECK(count_entries(f->view) == 5 && count_entries(seen(f, "src")) == 3);
	CHECK(open(seen(f, "top"), O_WRONLY | O_CLOEXEC) < 0 && errno == EROFS);
	CHECK(open(seen(f, "src/new"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644) < 0 && errno == EROFS);
	write_file(seen(f, "new"), "new\n");
	CHECK(has_text(on_disk(f, "branches/b/trees/0/upper/new"), "new\n") && !exists(lower(f, "new")));
	CHECK(stat(on_disk(f, "branches/b/trees/0/upper/top"), &st) == 0 && st.st_size == 0);
}

int main(void)
{
	SKIP_UNLESS_ROOT();
	scenario_at("/var/tmp", fresh_scenario, "a fresh branch shows the lower");
	run_scenario(fresh_scenario, "a fresh branch shows the lower");
	return done_testing();
}
