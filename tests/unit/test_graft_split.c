/* Splitting directories, and what descriptors that were opened before show then. */
#include "graft_fixture.h"

#include <pthread.h>
#include <signal.h>

static int real_at(struct fixture *f, const char *path)
{
	cleanup_close int fd = open_path(path);
	int real = cow_tree_real_directory(f->tree, fd);

	if (real < 0)
		printf("# real directory of %s: %s\n", path, strerror(errno));
	return real;
}

static bool is_same(int a, int b)
{
	return cow_same_object(a, b);
}

static void kinds_scenario(struct fixture *f)
{
	start(f);
	cleanup_close int upper = open_path(f->view);
	cleanup_close int top = open_path(seen(f, "top"));
	cleanup_close int link = open_path(seen(f, "link"));
	cleanup_close int src = open_path(seen(f, "src"));
	cleanup_close int leaf = open_path(seen(f, "src/deep/er/leaf"));
	cleanup_close int outside = open_path("/proc");
	cleanup_close int host = open_path(f->lower);

	CHECK(cow_tree_place(f->tree, upper) == COW_PLACE_UPPER && cow_tree_place(f->tree, link) == COW_PLACE_UPPER);
	CHECK(cow_tree_place(f->tree, top) == COW_PLACE_GRAFT && cow_tree_place(f->tree, src) == COW_PLACE_GRAFT);
	CHECK(cow_tree_place(f->tree, leaf) == COW_PLACE_GRAFT);
	CHECK(cow_tree_place(f->tree, outside) == COW_PLACE_OUTSIDE &&
	      cow_tree_place(f->tree, host) == COW_PLACE_OUTSIDE);
	cleanup_close int real = cow_tree_real_directory(f->tree, src);
	cleanup_close int now = open_path(seen(f, "src"));

	CHECK(real >= 0 && is_same(real, now) && !is_same(real, src));
	CHECK(cow_tree_place(f->tree, now) == COW_PLACE_UPPER && cow_tree_place(f->tree, src) == COW_PLACE_STALE);
	CHECK(cow_tree_place(f->tree, leaf) == COW_PLACE_STALE && cow_tree_place(f->tree, top) == COW_PLACE_GRAFT);
	CHECK(cow_tree_real_directory(f->tree, outside) < 0);
}

static void deep_scenario(struct fixture *f)
{
	struct stat before, after;

	CHECK(chmod(lower(f, "src/deep"), 02751) == 0 && chown(lower(f, "src/deep"), 12, 34) == 0);
	CHECK(chmod(lower(f, "src/deep"), 02751) == 0);
	CHECK(setxattr(lower(f, "src/deep"), "user.note", "yes", 3, 0) == 0);
	CHECK(stat(lower(f, "src/deep"), &before) == 0);
	start(f);
	cleanup_close int real = real_at(f, seen(f, "src/deep/er"));

	CHECK(real >= 0);
	CHECK(mkdirat(real, "made", 0755) == 0 && exists(seen(f, "src/deep/er/made")));
	CHECK(!exists(lower(f, "src/deep/er/made")));
	CHECK(same_file(seen(f, "src/deep/er/leaf"), lower(f, "src/deep/er/leaf")));
	CHECK(same_file(seen(f, "src/a.c"), lower(f, "src/a.c")) && count_entries(seen(f, "src")) == 3);
	CHECK(count_entries(seen(f, "src/deep/er")) == 2 && count_entries(seen(f, "src/deep")) == 1);
	CHECK(stat(seen(f, "src/deep"), &after) == 0);
	CHECK(after.st_mode == before.st_mode && after.st_uid == 12 && after.st_gid == 34);
	CHECK(after.st_mtim.tv_sec == before.st_mtim.tv_sec && after.st_mtim.tv_nsec == before.st_mtim.tv_nsec);
	CHECK(getxattr(seen(f, "src/deep"), "user.note", (char[8]){0}, 8) == 3);
	CHECK(getxattr(seen(f, "src/deep"), "trusted.cowrun.graft", NULL, 0) < 0 && errno == ENODATA);
	CHECK(f->tree->stats.splits == 3);
	cow_tree_reap(f->tree);
	CHECK(f->tree->stats.shadowed == 0 && f->tree->retired.first == NULL);
	usleep(1100000);
	cow_tree_sweep(f->tree);
	CHECK(f->tree->stats.freed == 3 && f->tree->resting.first == NULL);
	CHECK(count_entries(on_disk(f, "branches/b/trees/0/stage")) == 0);
}

/* As in the agent: nothing takes bits away, so most placeholders are born with the right ones. */
static void modes_scenario(struct fixture *f)
{
	static const struct {
		const char *name;
		mode_t mode;
		uid_t owner;
	} entries[] = {{"plain", 0644, 0}, {"closed", 0, 12},     {"all", 0777, 0},       {"set", 06755, 12},
		       {"dir/", 0555, 12}, {"sticky/", 01777, 0}, {"shared/", 02775, 12}, {"fifo|", 0622, 0}};
	const mode_t before = umask(0);
	char path[64];

	for (size_t i = 0; i < sizeof(entries) / sizeof(*entries); i++) {
		char type = entries[i].name[strcspn(entries[i].name, "/|")];

		snprintf(path, sizeof(path), "src/%.*s", (int)strcspn(entries[i].name, "/|"), entries[i].name);
		CHECK((type == '/' ? mkdir(lower(f, "%s", path), 0700)
				   : mknod(lower(f, "%s", path), (type == '|' ? S_IFIFO : S_IFREG) | 0600, 0)) == 0);
		CHECK(chown(lower(f, "%s", path), entries[i].owner, entries[i].owner) == 0);
		CHECK(chmod(lower(f, "%s", path), entries[i].mode) == 0);
	}
	start(f);
	cleanup_close int real = real_at(f, seen(f, "src"));

	CHECK(real >= 0);
	for (size_t i = 0; i < sizeof(entries) / sizeof(*entries); i++) {
		struct stat st;

		snprintf(path, sizeof(path), "branches/b/trees/0/upper/src/%.*s", (int)strcspn(entries[i].name, "/|"),
			 entries[i].name);
		CHECK(lstat(on_disk(f, "%s", path), &st) == 0);
		CHECK((st.st_mode & 07777) == entries[i].mode && st.st_uid == entries[i].owner &&
		      st.st_gid == entries[i].owner);
	}
	umask(before);
}

static void stale_scenario(struct fixture *f)
{
	start(f);
	cleanup_close int src = open_path(seen(f, "src"));
	cleanup_close int deep = open_path(seen(f, "src/deep"));
	cleanup_close int er = open_path(seen(f, "src/deep/er"));
	cleanup_close int file = open_path(seen(f, "src/a.c"));
	cleanup_close int leaf = open_path(seen(f, "src/deep/er/leaf"));
	cleanup_close int real = real_at(f, seen(f, "src"));

	cow_tree_reap(f->tree);
	CHECK(f->tree->stats.shadowed == 1);
	/* The directory itself, one that is grafted now, one deep in it; files alike. */
	cleanup_close int now = cow_tree_counterpart(f->tree, src);

	CHECK(now >= 0 && is_same(now, real) && cow_tree_place(f->tree, now) == COW_PLACE_UPPER);
	cleanup_close int deep_now = cow_tree_counterpart(f->tree, deep);
	cleanup_close int er_now = cow_tree_counterpart(f->tree, er);
	cleanup_close int leaf_now = cow_tree_counterpart(f->tree, leaf);
	cleanup_close int file_now = cow_tree_counterpart(f->tree, file);

	CHECK(cow_tree_place(f->tree, deep_now) == COW_PLACE_GRAFT && is_same(deep_now, deep));
	CHECK(cow_tree_place(f->tree, er_now) == COW_PLACE_GRAFT && is_same(er_now, er));
	CHECK(cow_tree_place(f->tree, leaf_now) == COW_PLACE_GRAFT && is_same(leaf_now, leaf));
	CHECK(cow_tree_place(f->tree, file_now) == COW_PLACE_GRAFT && is_same(file_now, file));
	/* All of them after the directory was renamed, natively as it is real, and a new one took its name. */
	CHECK(rename(seen(f, "src"), seen(f, "moved")) == 0 && mkdir(seen(f, "src"), 0755) == 0);
	CHECK(mkdir(seen(f, "src/deep"), 0755) == 0);
	write_file(seen(f, "src/a.c"), "another\n");
	cleanup_close int again = cow_tree_counterpart(f->tree, src);
	cleanup_close int deep_again = cow_tree_counterpart(f->tree, deep);
	cleanup_close int er_again = cow_tree_counterpart(f->tree, er);
	cleanup_close int file_again = cow_tree_counterpart(f->tree, file);
	cleanup_close int leaf_again = cow_tree_counterpart(f->tree, leaf);

	CHECK(again >= 0 && is_same(again, real) && deep_again >= 0 && is_same(deep_again, deep));
	CHECK(er_again >= 0 && is_same(er_again, er));
	CHECK(cow_tree_place(f->tree, er_again) == COW_PLACE_GRAFT);
	CHECK(file_again >= 0 && is_same(file_again, file));
	CHECK(leaf_again >= 0 && is_same(leaf_again, leaf));
	/* And its real directory is that of the renamed one. */
	cleanup_close int er_real = cow_tree_real_directory(f->tree, er);

	CHECK(er_real >= 0 && mkdirat(er_real, "made", 0755) == 0 && exists(seen(f, "moved/deep/er/made")));
	cleanup_close int file_real = cow_tree_real_file(f->tree, file, NULL, NULL);
	cleanup_close int moved_file = open_path(seen(f, "moved/a.c"));

	CHECK(file_real >= 0 && is_same(file_real, moved_file) &&
	      cow_tree_place(f->tree, file_real) == COW_PLACE_UPPER);
	CHECK(has_text(seen(f, "moved/a.c"), "int a;\n") && has_text(seen(f, "src/a.c"), "another\n"));
}

static void stale_without_scenario(struct fixture *f)
{
	f->no_handles = true;
	stale_scenario(f);
}

static void removed_scenario(struct fixture *f)
{
	start(f);
	cleanup_close int doc = open_path(seen(f, "doc"));
	cleanup_close int readme = open_path(seen(f, "doc/readme"));
	cleanup_close int deep = open_path(seen(f, "src/deep"));
	cleanup_close int er = open_path(seen(f, "src/deep/er"));
	cleanup_close int real = real_at(f, seen(f, "doc"));
	cleanup_close int src = real_at(f, seen(f, "src"));
	cleanup_close int deep_real = real_at(f, seen(f, "src/deep"));
	cleanup_close int er_real = real_at(f, seen(f, "src/deep/er"));

	CHECK(cow_tree_drop(f->tree, real, "readme") == 0);
	CHECK(!exists(seen(f, "doc/readme")) && rmdir(seen(f, "doc")) == 0 && mkdir(seen(f, "doc"), 0755) == 0);
	CHECK(cow_tree_counterpart(f->tree, doc) < 0 && errno == ENOENT);
	CHECK(cow_tree_counterpart(f->tree, readme) < 0 && errno == ENOENT);
	CHECK(cow_tree_real_directory(f->tree, doc) < 0 && errno == ENOENT);
	CHECK(cow_tree_drop(f->tree, er_real, "leaf") == 0 && unlinkat(deep_real, "er", AT_REMOVEDIR) == 0);
	CHECK(mkdirat(deep_real, "er", 0755) == 0);
	cleanup_close int deep_now = cow_tree_counterpart(f->tree, deep);

	CHECK(deep_now >= 0 && is_same(deep_now, deep_real));
	CHECK(cow_tree_counterpart(f->tree, er) < 0 && errno == ENOENT);
	CHECK(has_text(lower(f, "doc/readme"), "read me\n"));
}

static void removed_without_scenario(struct fixture *f)
{
	f->no_handles = true;
	removed_scenario(f);
}

/* --- nobody ever sees a placeholder ------------------------------------------------------------------------------- */

enum { WATCHED = 40 };

static int watch(const struct fixture *f, void *data)
{
	(void)f;
	(void)data;
	for (;;) {
		cleanup_dir DIR *dir = opendir("many");
		unsigned n = 0;

		CHECK(dir != NULL);
		for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
			char path[300], text[32] = "";

			if (e->d_name[0] == '.')
				continue;
			n++;
			snprintf(path, sizeof(path), "many/%s%s", e->d_name, e->d_name[0] == 'd' ? "/in" : "");
			cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

			CHECK(fd >= 0);
			CHECK(read(fd, text, sizeof(text) - 1) > 0 && strcmp(text, e->d_name) == 0);
		}
		CHECK(n == WATCHED);
	}
}

static void watched_scenario(struct fixture *f)
{
	pid_t watchers[3];

	make_dir(lower(f, "many"));
	for (int i = 0; i < WATCHED; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%c%d", i % 2 != 0 ? 'd' : 'f', i);
		if (i % 2 != 0)
			make_dir(lower(f, "many/%s", name));
		write_file(lower(f, "many/%s%s", name, i % 2 != 0 ? "/in" : ""), name);
	}
	for (int round = 0; round < 6; round++) {
		start(f);
		for (int i = 0; i < 3; i++)
			watchers[i] = start_inside(f, watch, NULL);
		usleep(20000);
		cleanup_close int real = real_at(f, seen(f, "many"));

		cow_tree_reap(f->tree);
		for (int i = 0; i < WATCHED; i++) {
			char name[16];

			snprintf(name, sizeof(name), "%c%d", i % 2 != 0 ? 'd' : 'f', i);
			if (i % 2 != 0)
				close(real_at(f, seen(f, "many/%s", name)));
			if (i % 4 == 0)
				CHECK(cow_tree_copy_up(f->tree, real, name, false, NULL, NULL) == 0);
			cow_tree_reap(f->tree);
			usleep(1000);
		}
		usleep(20000);
		for (int i = 0; i < 3; i++) {
			int status;

			CHECK(kill(watchers[i], SIGTERM) == 0 && waitpid(watchers[i], &status, 0) == watchers[i]);
			CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
		}
		printf("# %lu shadowed\n", (unsigned long)f->tree->stats.shadowed);
		cow_close_fd(&real);
		stop(f);
		remove_all(f->store);
		make_dir(f->store);
	}
}

/* --- large directories -------------------------------------------------------------------------------------------- */

static void large_scenario(struct fixture *f)
{
	const int many = strncmp(f->scratch, "/dev/shm/", 9) == 0 ? 10000 : 3000;
	double begun, took;

	make_dir(lower(f, "large"));
	for (int i = 0; i < many; i++)
		write_file(lower(f, "large/f%d", i), "x");
	start(f);
	begun = now_us();
	cleanup_close int real = real_at(f, seen(f, "large"));

	took = now_us() - begun;
	CHECK(real >= 0);
	printf("# split of %d entries: %.0f ms, %.1f us each\n", many, took / 1e3, took / many);
	CHECK(count_entries(seen(f, "large")) == (size_t)many);
	CHECK(same_file(seen(f, "large/f77"), lower(f, "large/f77")));
	begun = now_us();
	for (int i = 0; i < 1000; i++)
		CHECK(cow_tree_drop(f->tree, real, strrchr(seen(f, "large/f%d", i), '/') + 1) == 0);
	cow_tree_reap(f->tree);
	took = now_us() - begun;
	printf("# drop of a file: %.1f us", took / 1000);
	usleep(1100000);
	begun = now_us();
	cow_tree_sweep(f->tree);
	took = now_us() - begun;
	printf(", freeing it later: %.1f us\n", took / 1000);
	CHECK(f->tree->stats.freed == 1001 && count_entries(seen(f, "large")) == (size_t)many - 1000);
}

static bool knows(struct fixture *f, const char *path, uint64_t who, int as)
{
	cleanup_close int fd = open_path(path);
	cleanup_close int known = cow_tree_known(f->tree, fd, who);

	return known >= 0 && is_same(known, as) && cow_tree_place(f->tree, known) == COW_PLACE_STALE;
}

/* Who was in a graft when it was taken away knows what is above, but not what was real before. */
static void known_scenario(struct fixture *f)
{
	start(f);
	cleanup_close int src = open_path(seen(f, "src"));
	cleanup_close int deep = open_path(seen(f, "src/deep"));
	cleanup_close int er = open_path(seen(f, "src/deep/er"));
	cleanup_close int real = cow_tree_real_directory(f->tree, deep);

	CHECK(real >= 0);
	cow_tree_know(f->tree, deep, 7);
	CHECK(knows(f, seen(f, "src"), 7, src) && knows(f, seen(f, "src/deep"), 7, deep));
	CHECK(!knows(f, seen(f, "src/deep"), 8, deep) && !knows(f, f->view, 7, f->tree->lower));
	cleanup_close int within = open_path(seen(f, "src/deep/er"));
	cleanup_close int below = cow_tree_real_directory(f->tree, within);

	CHECK(below >= 0);
	cow_tree_know(f->tree, within, 9);
	CHECK(knows(f, seen(f, "src/deep/er"), 9, er) && !knows(f, seen(f, "src/deep"), 9, deep));
	for (uint64_t who = 20; who < 26; who++)
		cow_tree_know(f->tree, deep, who);
	CHECK(knows(f, seen(f, "src"), 25, src) && !knows(f, seen(f, "src"), 7, src));
	/* What the host has put elsewhere since is shown to nobody. */
	CHECK(rename(lower(f, "src"), lower(f, "elsewhere")) == 0);
	CHECK(!knows(f, seen(f, "src/deep"), 25, deep));
	cow_tree_reap(f->tree);
}

/* Between the reveal and the reaping a graft has no path. */
static void pending_scenario(struct fixture *f)
{
	start(f);
	cleanup_close int er = open_path(seen(f, "src/deep/er"));
	cleanup_close int real = real_at(f, seen(f, "src"));
	cleanup_close int now = cow_tree_counterpart(f->tree, er);

	CHECK(real >= 0 && now >= 0 && is_same(now, er) && cow_tree_place(f->tree, now) == COW_PLACE_GRAFT);
}

int main(void)
{
	SKIP_UNLESS_ROOT();
	run_scenario(kinds_scenario, "where descriptors are");
	scenario_at("/var/tmp", deep_scenario, "a deep directory becomes real");
	run_scenario(deep_scenario, "a deep directory becomes real");
	run_scenario(modes_scenario, "placeholders have owner and mode of what they stand for");
	scenario_at("/var/tmp", stale_scenario, "stale descriptors after a split and a rename");
	run_scenario(stale_scenario, "stale descriptors after a split and a rename");
	run_scenario(removed_scenario, "stale descriptors of what was removed");
	run_scenario(stale_without_scenario, "the same without file handles");
	run_scenario(removed_without_scenario, "the same without file handles");
	run_scenario(known_scenario, "who knows a directory as it was in the lower");
	run_scenario(pending_scenario, "a descriptor in a graft that was just taken away");
	run_scenario(watched_scenario, "readers never see a placeholder");
	scenario_at("/var/tmp", large_scenario, "a large directory");
	run_scenario(large_scenario, "a large directory");
	return done_testing();
}
