/* A container's start: the root of a new branch is split, an old branch is shown as it was. */
#include "graft_fixture.h"

#include <linux/fs.h>

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

static void restart(struct fixture *f)
{
	stop(f);
	start(f);
}

/* Everything that a container did is there again in the next one. */
static void resume_scenario(struct fixture *f)
{
	struct stat before, after;

	start(f);
	close(real_of(f, "src/deep"));
	cleanup_close int src = real_of(f, "src");

	CHECK(cow_tree_copy_up(f->tree, src, "a.c", false, NULL, NULL) == 0);
	write_file(seen(f, "src/a.c"), "changed\n");
	CHECK(cow_tree_drop(f->tree, src, "b.c") == 0);
	CHECK(cow_tree_rename(f->tree, f->work, "doc", src, "papers", 0) == 0);
	CHECK(cow_tree_rename(f->tree, f->work, "top", src, "bottom", 0) == 0);
	write_file(seen(f, "src/deep/new"), "new\n");
	cow_close_fd(&src);
	CHECK(stat(seen(f, "src"), &before) == 0);
	for (int round = 0; round < 3; round++) {
		restart(f);
		CHECK(has_text(seen(f, "src/a.c"), "changed\n") && !exists(seen(f, "src/b.c")));
		CHECK(same_file(seen(f, "src/papers/readme"), lower(f, "doc/readme")) && !exists(seen(f, "doc")));
		CHECK(same_file(seen(f, "src/bottom"), lower(f, "top")) && !exists(seen(f, "top")));
		CHECK(has_text(seen(f, "src/deep/new"), "new\n") && same_file(seen(f, "empty"), lower(f, "empty")));
		CHECK(same_file(seen(f, "src/deep/er/leaf"), lower(f, "src/deep/er/leaf")));
		CHECK(kind_of(f, "src/papers") == COW_PLACE_GRAFT && kind_of(f, "src/bottom") == COW_PLACE_GRAFT);
		CHECK(kind_of(f, "src") == COW_PLACE_UPPER && kind_of(f, "src/deep/er") == COW_PLACE_GRAFT);
		CHECK(stat(seen(f, "src"), &after) == 0 && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
		CHECK(count_entries(on_disk(f, "branches/b/trees/0/stage")) == 0);
	}
	/* It goes on as before. */
	cleanup_close int papers = real_of(f, "src/papers");

	CHECK(cow_tree_copy_up(f->tree, papers, "readme", false, NULL, NULL) == 0);
	write_file(seen(f, "src/papers/readme"), "written\n");
	cow_close_fd(&papers);
	restart(f);
	CHECK(has_text(seen(f, "src/papers/readme"), "written\n") && has_text(lower(f, "doc/readme"), "read me\n"));
}

/* The host may do with its directory what it likes while the container is away, and while it runs. */
static void host_scenario(struct fixture *f)
{
	struct stat before, after;

	make_dir(lower(f, "kind"));
	write_file(lower(f, "kind/x"), "x\n");
	start(f);
	close(real_of(f, "src"));
	CHECK(unlink(lower(f, "doc/readme")) == 0 && !exists(seen(f, "doc/readme")));
	write_file(lower(f, "doc/later"), "later\n");
	CHECK(has_text(seen(f, "doc/later"), "later\n"));
	/* Deleted under its graft: the branch's other data stays. */
	write_file(seen(f, "src/new"), "new\n");
	CHECK(unlink(lower(f, "src/deep/er/leaf")) == 0 && rename(lower(f, "src"), lower(f, "renamed")) == 0);
	CHECK(has_text(seen(f, "src/new"), "new\n") && has_text(seen(f, "src/a.c"), "int a;\n"));
	CHECK(stat(f->view, &before) == 0);
	stop(f);
	CHECK(rename(lower(f, "renamed"), lower(f, "src")) == 0);
	CHECK(unlink(lower(f, "src/a.c")) == 0 && unlink(lower(f, "top")) == 0);
	CHECK(unlink(lower(f, "kind/x")) == 0 && rmdir(lower(f, "kind")) == 0);
	write_file(lower(f, "kind"), "a file now\n");
	start(f);
	CHECK(!exists(seen(f, "src/a.c")) && !exists(seen(f, "top")) && !exists(seen(f, "kind")));
	CHECK(has_text(seen(f, "src/b.c"), "int b;\n") && has_text(seen(f, "src/new"), "new\n"));
	CHECK(stat(f->view, &after) == 0 && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
}

static const struct cow_journal_split *split_of(struct cow_journal *j, const char *path)
{
	struct cow_ident ident;
	cleanup_close int fd = open_path(path);

	CHECK(fd >= 0 && cow_ident_of(fd, &ident) == 0);
	return cow_journal_find_split(j, &ident);
}

static void journal_scenario(struct fixture *f)
{
	struct cow_lower_stamp stamp;
	struct cow_ident ident;
	struct stat st;

	start(f);
	close(real_of(f, "src/deep"));
	cleanup_close int src = real_of(f, "src");

	CHECK(stat(lower(f, "src/a.c"), &st) == 0);
	cow_lower_stamp_of(&stamp, &st);
	CHECK(cow_tree_copy_up(f->tree, src, "a.c", false, NULL, NULL) == 0);
	cleanup_close int copy = open_path(seen(f, "src/a.c"));
	cleanup_close int dir = open_path(on_disk(f, "branches/b/trees/0"));
	struct cow_journal *j = cow_journal_load(dir, NULL);

	CHECK(j != NULL && cow_ident_of(copy, &ident) == 0);
	const struct cow_journal_split *root = split_of(j, f->view);
	const struct cow_journal_split *split = split_of(j, seen(f, "src"));
	const struct cow_journal_split *deep = split_of(j, seen(f, "src/deep"));
	const struct cow_journal_copy *copied = cow_journal_find_copy(j, &ident);

	CHECK(root != NULL && strcmp(root->lower, "") == 0 && root->nentries == 5);
	CHECK(cow_journal_entry_named(root, "link") != NULL && cow_journal_entry_named(root, "none") == NULL);
	CHECK(split != NULL && strcmp(split->lower, "src") == 0 && split->nentries == 3);
	CHECK(cow_lower_stamp_equal(&cow_journal_entry_named(split, "a.c")->stamp, &stamp));
	CHECK(deep != NULL && strcmp(deep->lower, "src/deep") == 0 && deep->nentries == 1);
	CHECK(copied != NULL && strcmp(copied->lower, "src/a.c") == 0 && cow_lower_stamp_equal(&copied->stamp, &stamp));
	CHECK(cow_journal_split_at(j, 3) == NULL);
	cow_journal_free(j);
}

/* An attach that was killed before it had recorded the root leaves placeholders; the next one takes them over. */
static void killed_scenario(struct fixture *f)
{
	start(f);
	stop(f);
	CHECK(unlink(on_disk(f, "branches/b/trees/0/journal")) == 0);
	CHECK(unlink(on_disk(f, "branches/b/trees/0/upper/doc")) < 0);
	CHECK(rmdir(on_disk(f, "branches/b/trees/0/upper/doc")) == 0);
	start(f);
	CHECK(count_entries(f->view) == 5 && same_file(seen(f, "top"), lower(f, "top")));
	CHECK(same_file(seen(f, "doc/readme"), lower(f, "doc/readme")) && kind_of(f, "src") == COW_PLACE_GRAFT);
}

/* --- mounts in the lower, and mount points of the container below the workdir ------------------------------------- */

static void volume(struct fixture *f, const char *path)
{
	char at[PATH_MAX + 256];
	struct stat before;

	/* As a runtime does it: makes the mount point in what it has mounted at the workdir. */
	snprintf(at, sizeof(at), "%s/branches/b/trees/0/upper/%s", f->store, path);
	CHECK(stat(on_disk(f, "branches"), &before) == 0);
	for (char *p = at + strlen(f->store) + 1; (p = strchr(p + 1, '/')) != NULL; *p = '/') {
		*p = '\0';
		make_dir(at);
	}
	make_dir(at);
	snprintf(f->volume, sizeof(f->volume), "%s", path);
}

static void mountpoint_scenario(struct fixture *f)
{
	struct cow_branch_tree spec = {.workdir = (char *)"/work", .lower = f->lower};
	bool made;

	f->branch = cow_branch_create(f->store, "b", "id", &spec, 1, &made, NULL);
	cow_branch_free(f->branch);
	volume(f, "src/cache/x");
	start(f);
	CHECK(has_text(seen(f, "src/cache/x/inside"), "volume\n") && count_entries(seen(f, "src")) == 4);
	CHECK(same_file(seen(f, "src/a.c"), lower(f, "src/a.c")) && same_file(seen(f, "top"), lower(f, "top")));
	CHECK(kind_of(f, "src") == COW_PLACE_UPPER && kind_of(f, "src/cache/x") == COW_PLACE_OUTSIDE);
	CHECK(kind_of(f, "src/deep") == COW_PLACE_GRAFT);
	/* It can neither be renamed nor renamed over, also where the host's kernel would do it. */
	CHECK(mkdir(seen(f, "src/other"), 0755) == 0);
	cleanup_close int cache = real_of(f, "src/cache");
	cleanup_close int src = real_of(f, "src");

	CHECK(cow_tree_rename(f->tree, cache, "x", f->work, "y", 0) == EBUSY);
	CHECK(cow_tree_rename(f->tree, f->work, "empty", cache, "x", 0) == EBUSY);
	CHECK(cow_tree_rename(f->tree, f->work, "doc", cache, "x", RENAME_EXCHANGE) == EBUSY);
	CHECK(cow_tree_rename(f->tree, f->work, "top", cache, "x", RENAME_EXCHANGE) == EBUSY);
	CHECK(cow_tree_rename(f->tree, src, "other", cache, "x", 0) == EBUSY && rmdir(seen(f, "src/other")) == 0);
	CHECK(cow_tree_rename(f->tree, f->work, "top", cache, "x", 0) == EISDIR);
	CHECK(has_text(seen(f, "src/cache/x/inside"), "volume\n") && exists(seen(f, "doc")));
	cow_close_fd(&cache);
	cow_close_fd(&src);
	stop(f);
	/* The next container has its volume elsewhere, in what was a placeholder so far. */
	volume(f, "doc/y");
	start(f);
	CHECK(has_text(seen(f, "doc/y/inside"), "volume\n") && count_entries(seen(f, "doc")) == 2);
	CHECK(same_file(seen(f, "doc/readme"), lower(f, "doc/readme")) && kind_of(f, "doc") == COW_PLACE_UPPER);
	CHECK(same_file(seen(f, "src/deep/er/leaf"), lower(f, "src/deep/er/leaf")));
	stop(f);
	f->volume[0] = '\0';
	start(f);
	CHECK(same_file(seen(f, "doc/readme"), lower(f, "doc/readme")) && count_entries(seen(f, "doc/y")) == 0);
}

static void nested_scenario(struct fixture *f)
{
	make_dir(lower(f, "src/disk"));
	CHECK(mount("none", lower(f, "src/disk"), "tmpfs", 0, NULL) == 0);
	write_file(lower(f, "src/disk/inner"), "inner\n");
	make_dir(lower(f, "src/disk/sub"));
	write_file(lower(f, "src/disk/sub/file"), "file\n");
	start(f);
	CHECK(same_file(seen(f, "src/disk/inner"), lower(f, "src/disk/inner")));
	CHECK(kind_of(f, "src/disk") == COW_PLACE_GRAFT && kind_of(f, "src/disk/sub/file") == COW_PLACE_GRAFT);
	CHECK(open(seen(f, "src/disk/inner"), O_WRONLY | O_CLOEXEC) < 0 && errno == EROFS);
	cleanup_close int inner = open_path(seen(f, "src/disk/sub/file"));
	cleanup_close int disk = open_path(seen(f, "src/disk"));
	cleanup_close int sub = real_of(f, "src/disk/sub");

	CHECK(mkdirat(sub, "made", 0755) == 0 && exists(seen(f, "src/disk/sub/made")));
	CHECK(cow_tree_copy_up(f->tree, sub, "file", false, NULL, NULL) == 0);
	CHECK(has_text(seen(f, "src/disk/sub/file"), "file\n") && has_text(seen(f, "src/disk/inner"), "inner\n"));
	CHECK(kind_of(f, "src/disk/inner") == COW_PLACE_GRAFT && kind_of(f, "src/disk") == COW_PLACE_UPPER);
	CHECK(cow_tree_place(f->tree, disk) == COW_PLACE_STALE && cow_tree_place(f->tree, inner) == COW_PLACE_STALE);
	cleanup_close int disk_now = cow_tree_counterpart(f->tree, disk);
	cleanup_close int inner_now = cow_tree_counterpart(f->tree, inner);

	CHECK(disk_now >= 0 && cow_tree_place(f->tree, disk_now) == COW_PLACE_UPPER);
	CHECK(inner_now >= 0 && cow_tree_place(f->tree, inner_now) == COW_PLACE_UPPER);
	cow_tree_reap(f->tree);
	CHECK(same_file(seen(f, "src/disk/inner"), lower(f, "src/disk/inner")));
	CHECK(exists(lower(f, "src/disk/sub/file")) && !exists(lower(f, "src/disk/sub/made")));
}

int main(void)
{
	SKIP_UNLESS_ROOT();
	scenario_at("/var/tmp", fresh_scenario, "a fresh branch shows the lower");
	run_scenario(fresh_scenario, "a fresh branch shows the lower");
	scenario_at("/var/tmp", resume_scenario, "a branch is taken up again");
	run_scenario(resume_scenario, "a branch is taken up again");
	run_scenario(host_scenario, "the host changes its directory");
	run_scenario(journal_scenario, "the journal");
	run_scenario(killed_scenario, "an attach that was killed");
	run_scenario(mountpoint_scenario, "volumes below the workdir");
	run_scenario(nested_scenario, "mounts in the lower");
	return done_testing();
}
