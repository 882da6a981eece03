/* Deleting and renaming grafted entries. */
#include "graft_fixture.h"

#include <linux/fs.h>
#include <sys/fsuid.h>

static struct fixture *fx; /* of the running scenario */

static int real_at(const char *path)
{
	cleanup_close int fd = open_path(seen(fx, "%s", path));
	int real = cow_tree_real_directory(fx->tree, fd);

	CHECK(real >= 0);
	return real;
}

static bool grafted(const char *path)
{
	cleanup_close int fd = open_path(seen(fx, "%s", path));

	return fd >= 0 && cow_tree_place(fx->tree, fd) == COW_PLACE_GRAFT;
}

/* Renames within the workdir's root. */
static int ren(const char *old, const char *new, unsigned flags)
{
	return cow_tree_rename(fx->tree, fx->work, old, fx->work, new, flags);
}

static void begin(struct fixture *f)
{
	fx = f;
	start(f);
}

static bool nothing_left(struct fixture *f)
{
	cow_tree_reap(f->tree);
	usleep(1100000);
	cow_tree_sweep(f->tree);
	cow_tree_sweep(f->tree);
	return f->tree->resting.first == NULL && f->tree->shadowed.first == NULL &&
	       count_entries(on_disk(f, "branches/b/trees/0/stage")) == 0 &&
	       count_entries(on_disk(f, "branches/b/trees/0/shadow")) == 0;
}

static void drop_scenario(struct fixture *f)
{
	struct stat before, after;

	begin(f);
	CHECK(stat(f->view, &before) == 0);
	usleep(20000);
	CHECK(cow_tree_drop(f->tree, f->work, "top") == 0 && !exists(seen(f, "top")) && exists(lower(f, "top")));
	CHECK(stat(f->view, &after) == 0 && after.st_mtim.tv_nsec != before.st_mtim.tv_nsec);
	CHECK(cow_tree_drop(f->tree, f->work, "top") == ESTALE);
	write_file(seen(f, "top"), "again\n");
	CHECK(cow_tree_drop(f->tree, f->work, "top") == ESTALE && has_text(seen(f, "top"), "again\n"));
	CHECK(cow_tree_drop(f->tree, f->work, "src") == ENOTEMPTY && grafted("src/a.c"));
	CHECK(cow_tree_drop(f->tree, f->work, "empty") == 0 && !exists(seen(f, "empty")));
	CHECK(count_entries(f->view) == 4);
	CHECK(nothing_left(f) && f->tree->stats.freed == 2 && f->tree->stats.shadowed == 0);
}

static int run_program(const struct fixture *f, void *data)
{
	(void)f;
	execl(data, data, "30", (char *)NULL);
	return 127;
}

/* A running program: unlinked, or renamed over, it can still be read by its link, which shows where it was. */
static void busy_scenario(struct fixture *f)
{
	static const char *const programs[] = {"unlinked", "replaced", "over"};
	char exe[3][64], text[PATH_MAX], want[PATH_MAX + 64];
	pid_t pids[3];

	for (int i = 0; i < 3; i++) {
		char command[PATH_MAX + 64];

		snprintf(command, sizeof(command), "cp /bin/sleep '%s'", lower(f, "%s", programs[i]));
		CHECK(system(command) == 0);
	}
	begin(f);
	for (int i = 0; i < 3; i++) {
		pids[i] = start_inside(f, run_program, (void *)programs[i]);
		snprintf(exe[i], sizeof(exe[i]), "/proc/%d/exe", (int)pids[i]);
	}
	usleep(300000);
	cleanup_close int empty = open(seen(f, "empty"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	CHECK(cow_tree_drop(f->tree, f->work, "unlinked") == 0);
	cow_tree_reap(f->tree);
	write_file(seen(f, "new"), "new\n");
	CHECK(ren("new", "replaced", 0) == 0 && has_text(seen(f, "replaced"), "new\n"));
	cow_tree_reap(f->tree);
	CHECK(ren("top", "over", 0) == 0 && has_text(seen(f, "over"), "top\n") && grafted("over"));
	cow_tree_reap(f->tree);
	CHECK(ren("doc", "empty", 0) == 0 && has_text(seen(f, "empty/readme"), "read me\n"));
	cow_tree_reap(f->tree);
	CHECK(!exists(seen(f, "unlinked")) && !exists(seen(f, "doc")) && !exists(seen(f, "top")));
	for (int i = 0; i < 3; i++) {
		memset(text, 0, sizeof(text));
		CHECK(readlink(exe[i], text, sizeof(text) - 1) > 0);
		snprintf(want, sizeof(want), "%s/root/work/%s", f->scratch, programs[i]);
		printf("# %s\n", text);
		CHECK(strcmp(text, want) == 0);
		cleanup_close int fd = open(exe[i], O_RDONLY | O_CLOEXEC);
		cleanup_close int was = open(lower(f, "%s", programs[i]), O_PATH | O_CLOEXEC);

		CHECK(fd >= 0 && cow_same_object(fd, was));
		CHECK(cow_tree_place(f->tree, fd) == COW_PLACE_STALE);
		CHECK(cow_tree_counterpart(f->tree, fd) < 0 && errno == ENOENT);
	}
	CHECK(cow_tree_place(f->tree, empty) == COW_PLACE_STALE);
	CHECK(cow_tree_counterpart(f->tree, empty) < 0 && errno == ENOENT);
	CHECK(f->tree->stats.shadowed == 4);
	for (int i = 0; i < 3; i++) {
		kill(pids[i], SIGKILL);
		CHECK(waitpid(pids[i], NULL, 0) == pids[i]);
	}
	cow_close_fd(&empty);
	CHECK(nothing_left(f));
}

static void files_scenario(struct fixture *f)
{
	write_file(lower(f, "second"), "second\n");
	CHECK(link(lower(f, "top"), lower(f, "top-too")) == 0);
	begin(f);
	write_file(seen(f, "real"), "real\n");
	cleanup_close int held = open(seen(f, "top"), O_RDONLY | O_CLOEXEC);
	cleanup_close int src = real_at("src");

	/* Away and back, into a directory that was split, over what is there. */
	CHECK(ren("top", "moved", 0) == 0 && !exists(seen(f, "top")) && same_file(seen(f, "moved"), lower(f, "top")));
	CHECK(cow_tree_place(f->tree, held) == COW_PLACE_GRAFT && fd_has_text(held, "top\n"));
	CHECK(cow_tree_rename(f->tree, f->work, "moved", src, "in", 0) == 0);
	CHECK(same_file(seen(f, "src/in"), lower(f, "top")) && !exists(seen(f, "moved")));
	CHECK(cow_tree_rename(f->tree, src, "in", src, "a.c", 0) == 0 && has_text(seen(f, "src/a.c"), "top\n"));
	CHECK(same_file(seen(f, "src/a.c"), lower(f, "top")) && has_text(lower(f, "src/a.c"), "int a;\n"));
	CHECK(cow_tree_rename(f->tree, src, "a.c", f->work, "real", 0) == 0 && has_text(seen(f, "real"), "top\n"));
	CHECK(ren("real", "second", RENAME_NOREPLACE) == EEXIST && ren("real", "link", RENAME_NOREPLACE) == EEXIST);
	CHECK(has_text(seen(f, "second"), "second\n"));
	CHECK(ren("real", "second", RENAME_EXCHANGE) == 0 && has_text(seen(f, "second"), "top\n") &&
	      has_text(seen(f, "real"), "second\n") && grafted("second") && grafted("real"));
	write_file(seen(f, "plain"), "plain\n");
	CHECK(ren("plain", "second", RENAME_EXCHANGE) == 0 && has_text(seen(f, "second"), "plain\n") &&
	      has_text(seen(f, "plain"), "top\n") && grafted("plain") && !grafted("second"));
	CHECK(ren("second", "plain", 0) == 0 && has_text(seen(f, "plain"), "plain\n") && !exists(seen(f, "second")));
	/* Errors: nothing happens. */
	CHECK(ren("none", "real", 0) == ENOENT && grafted("real"));
	CHECK(ren("real", "doc", 0) == EISDIR && grafted("doc") && ren("doc", "real", 0) == ENOTDIR);
	CHECK(ren("doc", "src", 0) == ENOTEMPTY && ren("real", "none/x", 0) == ENOENT);
	CHECK(ren("real", "real", 0) == 0 && has_text(seen(f, "real"), "second\n"));
	cow_tree_reap(f->tree);
	CHECK(fd_has_text(held, "top\n"));
	cow_close_fd(&held);
	CHECK(nothing_left(f));
}

/* rename(2) does nothing with two names of one file; they are two grafts here. */
static void same_file_scenario(struct fixture *f)
{
	CHECK(link(lower(f, "top"), lower(f, "top-too")) == 0);
	begin(f);
	CHECK(ren("top", "top-too", 0) == 0 && grafted("top") && grafted("top-too"));
}

static void directories_scenario(struct fixture *f)
{
	enum { FILES = 1000 };
	double begun;
	uint64_t entries;

	make_dir(lower(f, "large"));
	for (int i = 0; i < FILES; i++)
		write_file(lower(f, "large/f%d", i), "x\n");
	begin(f);
	entries = f->tree->stats.split_entries;
	cleanup_close int inner = open(seen(f, "src/deep"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	begun = now_us();
	CHECK(ren("large", "larger", 0) == 0);
	printf("# rename of a directory of %d files: %.0f us\n", FILES, now_us() - begun);
	CHECK(!exists(seen(f, "large")) && count_entries(seen(f, "larger")) == FILES && grafted("larger/f5"));
	CHECK(same_file(seen(f, "larger/f5"), lower(f, "large/f5")));
	CHECK(f->tree->stats.split_entries == entries && f->tree->stats.copied_bytes == 0);
	CHECK(ren("larger", "larger", 0) == 0 && grafted("larger/f5"));
	/* Into another one; over an empty one, real and grafted; not over a full one; not into itself. */
	cleanup_close int doc = real_at("doc");

	CHECK(cow_tree_rename(f->tree, f->work, "larger", doc, "in", 0) == 0 && grafted("doc/in/f999"));
	CHECK(cow_tree_rename(f->tree, doc, "in", f->work, "empty", 0) == 0 && grafted("empty/f0"));
	CHECK(mkdir(seen(f, "real"), 0755) == 0 && ren("empty", "real", 0) == 0 && grafted("real/f1"));
	CHECK(ren("src", "real", 0) == ENOTEMPTY && ren("src", "doc", 0) == ENOTEMPTY && grafted("src/a.c"));
	CHECK(mkdir(seen(f, "other"), 0755) == 0 && ren("other", "real", 0) == ENOTEMPTY && exists(seen(f, "other")));
	CHECK(ren("real", "src", RENAME_EXCHANGE) == 0 && grafted("src/f1") && grafted("real/deep/er/leaf"));
	cleanup_close int into = real_at("real/deep");

	CHECK(cow_tree_rename(f->tree, f->work, "real", into, "self", 0) == EINVAL && grafted("real/deep/er/leaf"));
	/* The descriptor follows: it is `real/deep` now, which is real. */
	cleanup_close int now = cow_tree_counterpart(f->tree, inner);

	CHECK(now >= 0 && cow_same_object(now, into));
	/* A directory that was renamed is split like any other. */
	cleanup_close int src = real_at("src");

	write_file(seen(f, "src/new"), "new\n");
	CHECK(count_entries(seen(f, "src")) == FILES + 1 && count_entries(lower(f, "large")) == FILES);
	CHECK(cow_tree_rename(f->tree, src, "f7", f->work, "seven", 0) == 0 && has_text(seen(f, "seven"), "x\n"));
	cow_close_fd(&inner);
	CHECK(nothing_left(f));
}

/* As a process of the container that is not root: the kernel judges the placeholders. */
static void rights_scenario(struct fixture *f)
{
	CHECK(chown(lower(f, "src"), 1000, 1000) == 0 && chmod(lower(f, "src"), 01777) == 0);
	CHECK(chown(lower(f, "src/a.c"), 1000, 1000) == 0);
	make_dir(lower(f, "closed"));
	CHECK(chmod(lower(f, "closed"), 0700) == 0);
	begin(f);
	cleanup_close int src = real_at("src");
	cleanup_close int held = open(seen(f, "src/b.c"), O_RDONLY | O_CLOEXEC);

	setfsgid(2000);
	setfsuid(2000); /* takes the effective capabilities on files with it */
	CHECK(cow_tree_rename(f->tree, src, "a.c", src, "mine", 0) == EPERM); /* sticky */
	CHECK(cow_tree_rename(f->tree, f->work, "top", f->work, "mine", 0) == EACCES);
	CHECK(cow_tree_rename(f->tree, src, "a.c", src, "b.c", 0) == EPERM);
	setfsuid(0);
	setfsuid(1000);
	CHECK(cow_tree_rename(f->tree, src, "a.c", src, "b.c", 0) == 0);
	setfsuid(0);
	setfsgid(0);
	CHECK(has_text(seen(f, "src/b.c"), "int a;\n") && grafted("src/b.c"));
	cow_tree_reap(f->tree);
	CHECK(fd_has_text(held, "int b;\n"));
	CHECK(f->tree->stats.shadowed >= 1);
	cow_close_fd(&held);
	CHECK(nothing_left(f));
}

int main(void)
{
	SKIP_UNLESS_ROOT();
	run_scenario(drop_scenario, "deleting");
	scenario_at("/var/tmp", drop_scenario, "deleting");
	run_scenario(busy_scenario, "programs and directories in use that are deleted or renamed over");
	scenario_at("/var/tmp", files_scenario, "renaming files");
	run_scenario(files_scenario, "renaming files");
	run_scenario(same_file_scenario, "two names of one file");
	scenario_at("/var/tmp", directories_scenario, "renaming directories");
	run_scenario(directories_scenario, "renaming directories");
	run_scenario(rights_scenario, "renaming with another's rights");
	return done_testing();
}
