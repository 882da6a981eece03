/* What goes wrong leaves everything as it was. */
#include "graft_fixture.h"

#include <sys/resource.h>

static int real_at(struct fixture *f, const char *path)
{
	cleanup_close int fd = open_path(seen(f, "%s", path));

	return cow_tree_real_directory(f->tree, fd);
}

static size_t grafts(const struct fixture *f)
{
	size_t n = 0;

	for (size_t i = 0; i < COW_TREE_BUCKETS; i++)
		for (const struct cow_graft *g = f->tree->by_mount[i]; g != NULL; g = g->next_by_mount)
			n++;
	return n;
}

static bool stage_is_empty(const struct fixture *f)
{
	return count_entries(on_disk(f, "branches/b/trees/0/stage")) == 0;
}

/* The branch on a small file system of its own. */
static void start_small(struct fixture *f, const char *options)
{
	CHECK(mount("none", f->store, "tmpfs", 0, options) == 0);
	start(f);
}

static void fill_up(struct fixture *f, const char *name)
{
	cleanup_close int fd = open(seen(f, "%s", name), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	char block[4096] = {1};

	while (write(fd, block, sizeof(block)) > 0)
		;
	CHECK(errno == ENOSPC);
}

static void no_space_scenario(struct fixture *f)
{
	char text[8192];
	size_t before;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	write_file(lower(f, "big"), text);
	start_small(f, "size=256k");
	before = grafts(f);
	fill_up(f, "filler");
	CHECK(cow_tree_copy_up(f->tree, f->work, "big", false, NULL, NULL) == ENOSPC);
	CHECK(stage_is_empty(f) && same_file(seen(f, "big"), lower(f, "big")) && grafts(f) == before);
	/* (Here directories and placeholders take no space, elsewhere they do.) */
	if (real_at(f, "src") < 0)
		CHECK(errno == ENOSPC && stage_is_empty(f) && grafts(f) == before);
	CHECK(same_file(seen(f, "src/a.c"), lower(f, "src/a.c")));
	CHECK(cow_tree_rename(f->tree, f->work, "big", f->work, "bigger", 0) == 0 || errno == ENOSPC);
	CHECK(cow_tree_rename(f->tree, f->work, "bigger", f->work, "big", 0) == 0);
	/* With room again it goes on. */
	CHECK(unlink(seen(f, "filler")) == 0);
	cleanup_close int src = real_at(f, "src");

	CHECK(src >= 0 && cow_tree_copy_up(f->tree, f->work, "big", false, NULL, NULL) == 0);
	CHECK(cow_tree_copy_up(f->tree, src, "a.c", false, NULL, NULL) == 0 && f->tree->claims == NULL);
}

static void no_inodes_scenario(struct fixture *f)
{
	size_t before;

	make_dir(lower(f, "large"));
	for (int i = 0; i < 200; i++)
		write_file(lower(f, "large/f%d", i), "x");
	start_small(f, "size=64m,nr_inodes=100");
	before = grafts(f);
	CHECK(real_at(f, "large") < 0 && errno == ENOSPC);
	CHECK(stage_is_empty(f) && count_entries(seen(f, "large")) == 200 && grafts(f) == before);
	CHECK(same_file(seen(f, "large/f3"), lower(f, "large/f3")) && kind_of(f, "large/f3") == COW_PLACE_GRAFT);
	cleanup_close int src = real_at(f, "src");

	CHECK(src >= 0 && same_file(seen(f, "src/a.c"), lower(f, "src/a.c")));
}

/* What rests in the stage, to be freed a second later, is given up when there is no room without. */
static void hurry_scenario(struct fixture *f)
{
	make_dir(lower(f, "one"));
	make_dir(lower(f, "two"));
	for (int i = 0; i < 50; i++) {
		write_file(lower(f, "one/f%d", i), "x");
		write_file(lower(f, "two/f%d", i), "x");
	}
	start_small(f, "size=64m,nr_inodes=120");
	cleanup_close int one = real_at(f, "one");

	for (int i = 0; i < 50; i++)
		CHECK(cow_tree_drop(f->tree, one, strrchr(seen(f, "one/f%d", i), '/') + 1) == 0);
	cow_tree_reap(f->tree);
	CHECK(count_entries(on_disk(f, "branches/b/trees/0/stage")) == 51);
	cleanup_close int two = real_at(f, "two");

	CHECK(two >= 0 && count_entries(seen(f, "two")) == 50 && f->tree->stats.freed == 51);
}

/* --- descriptors -------------------------------------------------------------------------------------------------- */

static void no_descriptors_scenario(struct fixture *f)
{
	struct rlimit limit, saved;
	size_t before;

	start(f);
	before = grafts(f);
	cleanup_close int src = open_path(seen(f, "src"));
	cleanup_close int deep = open_path(seen(f, "src/deep/er"));

	CHECK(getrlimit(RLIMIT_NOFILE, &saved) == 0);
	/* However many are left, it fails as a whole or works. */
	for (rlim_t left = 0; left < 12; left++) {
		int top = fcntl(src, F_DUPFD_CLOEXEC, 0);
		int error, real;

		close(top);
		limit = saved;
		limit.rlim_cur = (rlim_t)top + left;
		CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
		real = cow_tree_real_directory(f->tree, deep);
		error = errno;
		cow_close_fd(&real);
		if (real < 0 && error == EMFILE && f->tree->stats.splits == 0) {
			CHECK(setrlimit(RLIMIT_NOFILE, &saved) == 0);
			CHECK(count_entries(on_disk(f, "branches/b/trees/0/stage")) == f->tree->stats.copy_ups);
			CHECK(grafts(f) == before && kind_of(f, "src") == COW_PLACE_GRAFT);
		}
		CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
		error = cow_tree_copy_up(f->tree, f->work, "top", false, NULL, NULL);
		if (error != 0 && error != EMFILE)
			printf("# %s\n", strerror(error));
		CHECK(error == 0 || error == EMFILE);
		CHECK(setrlimit(RLIMIT_NOFILE, &saved) == 0);
		CHECK(has_text(seen(f, "top"), "top\n") && has_text(seen(f, "src/deep/er/leaf"), "leaf\n"));
	}
	CHECK(kind_of(f, "top") == COW_PLACE_UPPER && kind_of(f, "src/deep/er") == COW_PLACE_UPPER);
	CHECK(f->tree->claims == NULL);
}

static size_t open_descriptors(void)
{
	return count_entries("/proc/self/fd");
}

/* Split directories cost no descriptor each. */
static void many_splits_scenario(struct fixture *f)
{
	enum { DIRS = 300 };
	size_t before;

	for (int i = 0; i < DIRS; i++) {
		make_dir(lower(f, "d%d", i));
		write_file(lower(f, "d%d/file", i), "x");
	}
	start(f);
	before = open_descriptors();
	for (int i = 0; i < DIRS; i++)
		close(real_at(f, strrchr(seen(f, "d%d", i), '/') + 1));
	CHECK(f->tree->stats.splits == DIRS && open_descriptors() == before);
}

/* --- the host is at work ------------------------------------------------------------------------------------------ */

static void __attribute__((noreturn)) host_works(const struct fixture *f)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		/* By rename over, as editors do; from file to directory and back; gone and made again; to a link. */
		write_file(lower(f, "busy/.tmp"), "one");
		rename(lower(f, "busy/.tmp"), lower(f, "busy/edited"));
		unlink(lower(f, "busy/kind"));
		mkdir(lower(f, "busy/kind"), 0755);
		unlink(lower(f, "busy/gone"));
		unlink(lower(f, "busy/link"));
		write_file(lower(f, "busy/link"), "one");
		rmdir(lower(f, "busy/kind"));
		write_file(lower(f, "busy/kind"), "one");
		write_file(lower(f, "busy/gone"), "one");
		unlink(lower(f, "busy/link"));
		CHECK(symlink("edited", lower(f, "busy/link")) == 0);
	}
}

static void host_scenario(struct fixture *f)
{
	pid_t host;

	make_dir(lower(f, "busy"));
	for (int i = 0; i < 50; i++)
		write_file(lower(f, "busy/f%d", i), "one");
	write_file(lower(f, "busy/edited"), "one");
	write_file(lower(f, "busy/kind"), "one");
	fflush(stdout);
	host = fork();
	if (host == 0)
		host_works(f);
	for (int round = 0; round < 30; round++) {
		cleanup_dir DIR *dir = NULL;
		unsigned files = 0;

		start(f);
		cleanup_close int real = real_at(f, "busy");

		CHECK(real >= 0 && (dir = opendir(seen(f, "busy"))) != NULL);
		for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
			struct stat st;
			cleanup_close int fd = openat(real, e->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

			CHECK(fd >= 0 && fstat(fd, &st) == 0);
			/* A bare placeholder would be an empty file in the upper. */
			if (S_ISREG(st.st_mode))
				CHECK(cow_tree_place(f->tree, fd) == COW_PLACE_GRAFT);
			files += e->d_name[0] == 'f';
		}
		CHECK(files == 50);
		stop(f);
		remove_all(f->store);
		make_dir(f->store);
	}
	kill(host, SIGKILL);
	CHECK(waitpid(host, NULL, 0) == host);
}

/* A lower directory that is deleted while somebody has it: an error, nothing worse. */
static void deleted_scenario(struct fixture *f)
{
	start(f);
	cleanup_close int er = open_path(seen(f, "src/deep/er"));

	CHECK(unlink(lower(f, "src/deep/er/leaf")) == 0 && rmdir(lower(f, "src/deep/er")) == 0);
	CHECK(cow_tree_real_directory(f->tree, er) < 0 && errno == ENOENT);
	CHECK(kind_of(f, "src/deep") == COW_PLACE_UPPER || kind_of(f, "src/deep") == COW_PLACE_GRAFT);
	CHECK(has_text(seen(f, "src/a.c"), "int a;\n"));
	cleanup_close int top = open(seen(f, "top"), O_RDONLY | O_CLOEXEC);

	CHECK(unlink(lower(f, "top")) == 0);
	/* A file graft stays with its file: the branch's entry is unchanged, whatever the host did. */
	CHECK(has_text(seen(f, "top"), "top\n") && cow_tree_copy_up(f->tree, f->work, "top", false, NULL, NULL) == 0);
	CHECK(has_text(seen(f, "top"), "top\n") && kind_of(f, "top") == COW_PLACE_UPPER);
}

int main(void)
{
	SKIP_UNLESS_ROOT();
	run_scenario(no_space_scenario, "no space for the branch");
	run_scenario(no_inodes_scenario, "no inodes for the branch");
	run_scenario(hurry_scenario, "no inodes but those that rest");
	run_scenario(no_descriptors_scenario, "no descriptors");
	run_scenario(many_splits_scenario, "split directories keep no descriptors");
	run_scenario(host_scenario, "the host changes what is being split");
	run_scenario(deleted_scenario, "the host deletes what is in use");
	return done_testing();
}
