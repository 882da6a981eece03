/* Lower files with several names: copied up by one of them, they are one file by all of them. */
#include "graft_fixture.h"

#include <pthread.h>

static void link_lower(struct fixture *f, const char *old, const char *new)
{
	CHECK(link(lower(f, "%s", old), lower(f, "%s", new)) == 0);
}

static const char *const everywhere[] = {"top", "beside", "src/deep/er/hard", "doc/hard", NULL};

static void make_links(struct fixture *f)
{
	for (size_t i = 1; everywhere[i] != NULL; i++)
		link_lower(f, "top", everywhere[i]);
}

static void everywhere_scenario(struct fixture *f)
{
	struct stat before, after;

	make_links(f);
	CHECK(stat(lower(f, "top"), &before) == 0);
	start(f);
	CHECK(cow_tree_copy_up(f->tree, f->work, "beside", false, NULL, NULL) == 0);
	CHECK(one_file(f, everywhere) && has_text(seen(f, "doc/hard"), "top\n"));
	CHECK(f->tree->stats.copy_ups == 1 && f->tree->stats.splits == 4);
	write_file(seen(f, "src/deep/er/hard"), "changed\n");
	for (size_t i = 0; everywhere[i] != NULL; i++)
		CHECK(has_text(seen(f, "%s", everywhere[i]), "changed\n") &&
		      has_text(lower(f, "%s", everywhere[i]), "top\n"));
	CHECK(same_file(seen(f, "doc/readme"), lower(f, "doc/readme")));
	CHECK(stat(lower(f, "top"), &after) == 0 && after.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
	cow_tree_reap(f->tree);
	usleep(1100000);
	cow_tree_sweep(f->tree);
	CHECK(count_entries(on_disk(f, "branches/b/trees/0/stage")) == 0);
	stop(f);
	start(f);
	CHECK(one_file(f, everywhere) && has_text(seen(f, "beside"), "changed\n"));
}

static void without_handles_scenario(struct fixture *f)
{
	f->no_handles = true;
	make_links(f);
	start(f);
	CHECK(cow_tree_copy_up(f->tree, f->work, "top", false, NULL, NULL) == 0 && one_file(f, everywhere));
}

/* Names that were renamed before, with their directory and alone; that were deleted; that are elsewhere. */
static void moved_scenario(struct fixture *f)
{
	static const char *const now[] = {"top", "src/papers/hard", "src/low", NULL};
	char outside[PATH_MAX + 64];

	make_links(f);
	link_lower(f, "top", "src/gone");
	snprintf(outside, sizeof(outside), "%s/outside", f->scratch);
	CHECK(link(lower(f, "top"), outside) == 0);
	start(f);
	cleanup_close int src = real_of(f, "src");

	CHECK(cow_tree_drop(f->tree, src, "gone") == 0);
	CHECK(cow_tree_rename(f->tree, f->work, "doc", src, "papers", 0) == 0);
	CHECK(cow_tree_rename(f->tree, f->work, "beside", src, "low", 0) == 0);
	cleanup_close int er = real_of(f, "src/deep/er");

	CHECK(cow_tree_drop(f->tree, er, "hard") == 0);
	/* One of them comes to stand where another lower file did. */
	CHECK(cow_tree_rename(f->tree, src, "low", src, "b.c", 0) == 0);
	CHECK(cow_tree_rename(f->tree, src, "b.c", src, "low", 0) == 0);
	CHECK(cow_tree_copy_up(f->tree, src, "low", true, NULL, NULL) == 0);
	CHECK(one_file(f, now) && has_text(seen(f, "top"), "") && !exists(seen(f, "src/gone")));
	CHECK(has_text(outside, "top\n") && stat_of(outside).st_nlink == 6);
}

static int refuse(int staged, void *data)
{
	(void)staged;
	(void)data;
	return EACCES;
}

static void refused_scenario(struct fixture *f)
{
	make_links(f);
	start(f);
	CHECK(cow_tree_copy_up(f->tree, f->work, "top", true, refuse, NULL) == EACCES);
	CHECK(kind_of(f, "top") == COW_PLACE_GRAFT && kind_of(f, "src") == COW_PLACE_GRAFT);
	CHECK(count_entries(on_disk(f, "branches/b/trees/0/stage")) == 0 && f->tree->stats.splits == 0);
}

/* Known by a descriptor only: what it became, also when it was another name of it that was copied up. */
static void descriptor_scenario(struct fixture *f)
{
	struct stat a, b;

	make_links(f);
	start(f);
	cleanup_close int hard = open(seen(f, "doc/hard"), O_RDONLY | O_CLOEXEC);
	cleanup_close int top = open_path(seen(f, "top"));

	CHECK(cow_tree_copy_up(f->tree, f->work, "top", false, NULL, NULL) == 0);
	cow_tree_reap(f->tree);
	CHECK(cow_tree_place(f->tree, hard) == COW_PLACE_STALE && fd_has_text(hard, "top\n"));
	cleanup_close int now = cow_tree_real_file(f->tree, hard, NULL, NULL);
	cleanup_close int too = cow_tree_counterpart(f->tree, top);

	CHECK(now >= 0 && too >= 0 && fstat(now, &a) == 0 && fstat(too, &b) == 0 && a.st_ino == b.st_ino);
	CHECK(one_file(f, everywhere));
}

/* A copy-up that was killed when some of the names were taken: the next container sees one file. */
static void killed_scenario(struct fixture *f)
{
	cleanup_close int upper = -1;
	cleanup_close int placeholder = -1;
	struct stat before, after;

	make_links(f);
	start(f);
	CHECK(cow_tree_copy_up(f->tree, f->work, "top", false, NULL, NULL) == 0);
	write_file(seen(f, "top"), "changed\n");
	upper = cow_branch_open(f->branch, 0, "upper", NULL);
	CHECK(renameat(upper, "doc/hard", upper, "doc/moved") == 0 && unlinkat(upper, "doc/moved", 0) == 0);
	placeholder = openat(upper, "doc/moved", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	CHECK(placeholder >= 0 && cow_mark_set(f->branch, placeholder, "doc/hard") == 0);
	CHECK(stat(seen(f, "doc"), &before) == 0);
	stop(f);
	start(f);
	CHECK(same_file(seen(f, "doc/moved"), seen(f, "top")) && kind_of(f, "doc/moved") == COW_PLACE_UPPER);
	CHECK(has_text(seen(f, "doc/moved"), "changed\n") && stat_of(seen(f, "top")).st_nlink == 4);
	CHECK(stat(seen(f, "doc"), &after) == 0 && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
	CHECK(count_entries(on_disk(f, "branches/b/trees/0/stage")) == 0);
	/* The copy itself was deleted: then there is only what the lower has. */
	for (size_t i = 0; everywhere[i] != NULL; i++)
		(void)unlink(seen(f, "%s", everywhere[i]));
	CHECK(unlinkat(upper, "doc/moved", 0) == 0);
	cow_close_fd(&placeholder);
	placeholder = openat(upper, "doc/moved", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	CHECK(placeholder >= 0 && cow_mark_set(f->branch, placeholder, "doc/hard") == 0);
	stop(f);
	start(f);
	CHECK(same_file(seen(f, "doc/moved"), lower(f, "doc/hard")));
}

/* --- many at once ------------------------------------------------------------------------------------------------- */

enum { FILES = 24, DIRS = 12, WORKERS = 6 };

struct worker {
	struct fixture *f;
	unsigned seed;
	pthread_t thread;
};

static unsigned draw(struct worker *w, unsigned n)
{
	w->seed = w->seed * 1103515245u + 12345u;
	return (w->seed >> 16) % n;
}

/* As the agent does it: whatever changed meanwhile is looked at again. */
static void copy_any(struct worker *w)
{
	char dir[32], name[32];
	int error;

	snprintf(dir, sizeof(dir), "d%u", draw(w, DIRS));
	snprintf(name, sizeof(name), "f%u", draw(w, FILES));
	do {
		cleanup_close int fd = openat(w->f->work, dir, O_PATH | O_CLOEXEC);
		cleanup_close int real = cow_tree_real_directory(w->f->tree, fd);

		CHECK(real >= 0);
		error = cow_tree_copy_up(w->f->tree, real, name, false, NULL, NULL);
		cow_tree_reap(w->f->tree);
	} while (error == ESTALE);
	if (error != 0)
		printf("# %s\n", strerror(error));
	CHECK(error == 0);
}

static void *work(void *data)
{
	struct worker *w = data;

	for (int i = 0; i < 60; i++)
		copy_any(w);
	return NULL;
}

static void many_scenario(struct fixture *f)
{
	struct worker workers[WORKERS];

	for (int d = 0; d < DIRS; d++) {
		make_dir(lower(f, "d%d", d));
		for (int i = 0; i < FILES; i++)
			if (d == 0)
				write_file(lower(f, "d0/f%d", i), "x");
			else
				CHECK(link(lower(f, "d0/f%d", i), lower(f, "d%d/f%d", d, i)) == 0);
	}
	start(f);
	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){.f = f, .seed = i};
		CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		CHECK(pthread_join(workers[i].thread, NULL) == 0);
	CHECK(f->tree->stats.splits == DIRS && f->tree->stats.copy_ups <= FILES);
	for (int i = 0; i < FILES; i++) {
		bool copied = !same_file(seen(f, "d0/f%d", i), lower(f, "d0/f%d", i));

		for (int d = 1; d < DIRS; d++)
			CHECK(same_file(seen(f, "d0/f%d", i), seen(f, "d%d/f%d", d, i)));
		CHECK(stat_of(seen(f, "d0/f%d", i)).st_nlink == DIRS || !copied);
	}
	CHECK(f->tree->claims == NULL);
}

int main(void)
{
	SKIP_UNLESS_ROOT();
	scenario_at("/var/tmp", everywhere_scenario, "all names of a lower file stay one file");
	run_scenario(everywhere_scenario, "all names of a lower file stay one file");
	run_scenario(without_handles_scenario, "the same without file handles");
	scenario_at("/var/tmp", moved_scenario, "names that were renamed, deleted, or are elsewhere");
	run_scenario(moved_scenario, "names that were renamed, deleted, or are elsewhere");
	run_scenario(refused_scenario, "a refused copy-up splits nothing");
	run_scenario(descriptor_scenario, "a descriptor of another name");
	scenario_at("/var/tmp", killed_scenario, "a copy-up that was killed between two names");
	run_scenario(many_scenario, "many at once");
	scenario_at("/var/tmp", many_scenario, "many at once");
	return done_testing();
}
