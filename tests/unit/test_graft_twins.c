/* Further names of untouched files, made without copying them: one file by all names, whatever comes then. */
#include "graft_fixture.h"

#include <grp.h>
#include <pthread.h>
#include <sys/fsuid.h>

#include "../../runtime/branch/diff.h"

static int as_oneself(const struct cow_caller *caller, int (*what)(void *data), void *data)
{
	(void)caller;
	return what(data);
}

static const struct cow_caller oneself = {as_oneself};

/* link(old, dir/name) as the agent does it. */
static int twin_as(struct fixture *f, const char *old, const char *dir, const char *name,
		   const struct cow_caller *caller)
{
	cleanup_close int parent = real_of(f, dir);
	cleanup_close int object = open_path(seen(f, "%s", old));

	return cow_tree_twin(f->tree, object, parent, name, caller);
}

static int twin(struct fixture *f, const char *old, const char *dir, const char *name)
{
	return twin_as(f, old, dir, name, &oneself);
}

static int copy_up(struct fixture *f, const char *dir, const char *name)
{
	cleanup_close int parent = real_of(f, dir);

	return cow_tree_copy_up(f->tree, parent, name, false, NULL, NULL);
}

static int drop(struct fixture *f, const char *dir, const char *name)
{
	cleanup_close int parent = real_of(f, dir);

	return cow_tree_drop(f->tree, parent, name);
}

static int move(struct fixture *f, const char *from, const char *old, const char *to, const char *new)
{
	cleanup_close int a = real_of(f, from);
	cleanup_close int b = real_of(f, to);

	return cow_tree_rename(f->tree, a, old, b, new, 0);
}

/* Are they the lower's file, or one real one with that many links? */
static bool untouched(struct fixture *f, const char *path, const char *of)
{
	return kind_of(f, path) == COW_PLACE_GRAFT && same_file(seen(f, "%s", path), lower(f, "%s", of));
}

/* "A x, M y": what a diff lists. */
static bool changes_are(struct fixture *f, const char *want)
{
	cleanup_diff struct cow_diff d;
	char got[1024] = "";

	CHECK(cow_diff_make(&d, f->branch, 0, NULL) == 0);
	for (size_t i = 0; i < d.count; i++) {
		const struct cow_change *c = &d.list[i];

		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%c %s", i > 0 ? ", " : "", c->op,
			 c->op == 'D' ? c->old : c->path);
	}
	if (strcmp(got, want) != 0)
		printf("# \"%s\" instead of \"%s\"\n", got, want);
	return strcmp(got, want) == 0;
}

/* What waits to be unmounted is there, too. */
static size_t staged(struct fixture *f)
{
	return count_entries(on_disk(f, "branches/b/trees/0/stage"));
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* --- one by one --------------------------------------------------------------------------------------------------- */

/* Of a file at the top, and of one in a directory that is not split for it. */
static void name_scenario(struct fixture *f)
{
	static const char *const tops[] = {"top", "doc/more", NULL};
	static const char *const leaves[] = {"src/deep/er/leaf", "empty/leaf", NULL};
	struct stat before = stat_of(lower(f, "top")), after;
	size_t waiting;

	start(f);
	CHECK(twin(f, "top", "doc", "more") == 0 && untouched(f, "doc/more", "top"));
	CHECK(twin(f, "src/deep/er/leaf", "empty", "leaf") == 0 && untouched(f, "empty/leaf", "src/deep/er/leaf"));
	CHECK(kind_of(f, "src") == COW_PLACE_GRAFT && f->tree->stats.twins == 2 && f->tree->stats.copy_ups == 0);
	CHECK(has_text(seen(f, "doc/more"), "top\n") && changes_are(f, "A doc/more, A empty/leaf"));
	after = stat_of(seen(f, "doc/more"));
	CHECK(before.st_nlink == after.st_nlink && same_time(before.st_ctim, after.st_ctim));
	waiting = staged(f);
	CHECK(twin(f, "top", "doc", "more") == EEXIST && twin(f, "top", "doc", "readme") == EEXIST);
	CHECK(staged(f) == waiting && f->tree->reserved == 0);
	/* By the old name and by the new one. */
	CHECK(copy_up(f, "", "top") == 0 && one_file(f, tops));
	write_file(seen(f, "top"), "changed\n");
	CHECK(has_text(seen(f, "doc/more"), "changed\n") && has_text(lower(f, "top"), "top\n"));
	CHECK(copy_up(f, "empty", "leaf") == 0 && one_file(f, leaves));
	CHECK(has_text(seen(f, "src/deep/er/leaf"), "leaf\n") && f->tree->stats.copy_ups == 2);
	CHECK(changes_are(f, "A doc/more, A empty/leaf, M top"));
	stop(f);
	start(f);
	CHECK(one_file(f, tops) && one_file(f, leaves));
}

static void without_handles_scenario(struct fixture *f)
{
	static const char *const tops[] = {"top", "doc/moved", NULL};

	f->no_handles = true;
	start(f);
	CHECK(twin(f, "top", "doc", "more") == 0 && twin(f, "src/a.c", "doc", "a") == 0);
	CHECK(move(f, "doc", "more", "doc", "moved") == 0);
	CHECK(copy_up(f, "", "top") == 0 && one_file(f, tops));
	CHECK(copy_up(f, "src", "a.c") == 0 && same_file(seen(f, "doc/a"), seen(f, "src/a.c")));
}

/* What is moved, deleted, renamed over; and the same in the next container. */
static void moved_scenario(struct fixture *f, bool restart)
{
	static const char *const tops[] = {"doc/one", "src/two", "empty/three", NULL};

	start(f);
	CHECK(twin(f, "top", "doc", "more") == 0 && twin(f, "doc/more", "src", "two") == 0);
	CHECK(twin(f, "src/two", "", "three") == 0);
	CHECK(move(f, "doc", "more", "doc", "one") == 0 && move(f, "", "three", "empty", "three") == 0);
	/* Of two names of one file rename(2) leaves both; over another one it is as ever. */
	CHECK(move(f, "doc", "one", "src", "two") == 0 && untouched(f, "doc/one", "top"));
	CHECK(move(f, "src", "two", "src", "b.c") == 0 && move(f, "src", "b.c", "src", "two") == 0);
	CHECK(drop(f, "", "top") == 0 && untouched(f, "src/two", "top"));
	CHECK(changes_are(f, "A empty/three, D src/b.c, A src/two, R doc/one"));
	if (restart) {
		stop(f);
		start(f);
		CHECK(untouched(f, "doc/one", "top") && untouched(f, "src/two", "top"));
	}
	CHECK(copy_up(f, "src", "two") == 0 && one_file(f, tops));
	CHECK(changes_are(f, "A empty/three, D src/b.c, A src/two, R doc/one"));
}

static void here_scenario(struct fixture *f)
{
	moved_scenario(f, false);
}

static void later_scenario(struct fixture *f)
{
	moved_scenario(f, true);
}

/* The twin is all that a later container's table knows: the other name is in a directory that is a graft as a whole. */
static void hidden_scenario(struct fixture *f)
{
	static const char *const names[] = {"papers/readme", "twin", "again", NULL};

	start(f);
	CHECK(twin(f, "doc/readme", "", "twin") == 0 && changes_are(f, "A twin"));
	CHECK(move(f, "", "doc", "", "papers") == 0 && kind_of(f, "papers") == COW_PLACE_GRAFT);
	CHECK(changes_are(f, "R papers, A twin"));
	stop(f);
	start(f);
	CHECK(untouched(f, "twin", "doc/readme") && twin(f, "papers/readme", "", "again") == 0);
	CHECK(copy_up(f, "", "twin") == 0 && one_file(f, names) && f->tree->stats.copy_ups == 1);
	CHECK(changes_are(f, "A again, R papers, A twin"));
}

/* The same with no other name of it made since; the twin itself takes the place of an untouched file. */
static void alone_scenario(struct fixture *f)
{
	static const char *const leaves[] = {"src/deep/er/leaf", "empty/leaf", NULL};
	static const char *const readmes[] = {"doc/readme", "top", NULL};

	start(f);
	CHECK(twin(f, "src/deep/er/leaf", "empty", "leaf") == 0 && twin(f, "doc/readme", "empty", "readme") == 0);
	CHECK(move(f, "empty", "readme", "", "top") == 0 && untouched(f, "top", "doc/readme"));
	CHECK(kind_of(f, "doc") == COW_PLACE_GRAFT && copy_up(f, "", "top") == 0 && one_file(f, readmes));
	stop(f);
	start(f);
	CHECK(kind_of(f, "src") == COW_PLACE_GRAFT && copy_up(f, "empty", "leaf") == 0 && one_file(f, leaves));
	CHECK(one_file(f, readmes));
}

/* Of a lower file that has several names already. */
static void linked_scenario(struct fixture *f)
{
	static const char *const names[] = {"top", "src/deep/hard", "doc/hard", "src/twin", "twin", NULL};

	CHECK(link(lower(f, "top"), lower(f, "src/deep/hard")) == 0 &&
	      link(lower(f, "top"), lower(f, "doc/hard")) == 0);
	start(f);
	CHECK(twin(f, "src/deep/hard", "", "twin") == 0 && twin(f, "top", "src", "twin") == 0);
	CHECK(copy_up(f, "", "twin") == 0 && one_file(f, names));
	CHECK(changes_are(f, "A src/twin, A twin"));
}

/* A name of the one takes the place of the other: the change that a diff shows, unless they are one file anyway. */
static void over_scenario(struct fixture *f)
{
	CHECK(link(lower(f, "top"), lower(f, "src/hard")) == 0);
	start(f);
	CHECK(drop(f, "src", "a.c") == 0 && twin(f, "top", "src", "a.c") == 0);
	CHECK(drop(f, "src", "hard") == 0 && twin(f, "top", "src", "hard") == 0);
	CHECK(changes_are(f, "M src/a.c"));
	/* The first name goes: then one of the others is it. */
	CHECK(drop(f, "", "top") == 0 && move(f, "src", "b.c", "", "top") == 0);
	CHECK(untouched(f, "src/hard", "top") && changes_are(f, "R top, R src/a.c"));
}

/* What a descriptor leads to whose name is gone: the file by its other name. */
static void descriptor_scenario(struct fixture *f)
{
	start(f);
	cleanup_close int fd = open(seen(f, "src/a.c"), O_RDONLY | O_CLOEXEC);

	CHECK(twin(f, "src/a.c", "doc", "a") == 0 && drop(f, "src", "a.c") == 0);
	cow_tree_reap(f->tree);
	CHECK(cow_tree_place(f->tree, fd) == COW_PLACE_STALE);
	cleanup_close int now = cow_tree_real_file(f->tree, fd, NULL, NULL);
	struct stat st;

	CHECK(now >= 0 && fstat(now, &st) == 0 && st.st_ino == stat_of(seen(f, "doc/a")).st_ino && st.st_nlink == 1);
}

/* --- refusals ----------------------------------------------------------------------------------------------------- */

static int as_nobody(const struct cow_caller *caller, int (*what)(void *data), void *data)
{
	int error;

	(void)caller;
	setfsgid(65533);
	setfsuid(65533); /* and with it go the capabilities that matter */
	error = what(data);
	setfsuid(0);
	setfsgid(0);
	return error;
}

static void refused_scenario(struct fixture *f)
{
	static const struct cow_caller nobody = {as_nobody};
	size_t grafts, waiting;

	CHECK(chmod(lower(f, "doc"), 0755) == 0 && chmod(lower(f, "empty"), 01777) == 0);
	CHECK(symlink("top", lower(f, "src/soft")) == 0 && mkfifo(lower(f, "src/fifo"), 0600) == 0);
	start(f);
	CHECK(twin(f, "src/fifo", "doc", "x") == EOPNOTSUPP && twin(f, "src/soft", "doc", "x") == EOPNOTSUPP);
	CHECK(twin(f, "src", "doc", "x") == EOPNOTSUPP && twin(f, "src/deep", "doc", "x") == EOPNOTSUPP);
	close(real_of(f, "src"));
	close(real_of(f, "empty"));
	close(real_of(f, "doc"));
	grafts = f->tree->grafts;
	waiting = staged(f);
	CHECK(twin_as(f, "top", "doc", "x", &nobody) == EACCES && !exists(seen(f, "doc/x")));
	CHECK(f->tree->grafts == grafts && f->tree->reserved == 0);
	CHECK(staged(f) == waiting && changes_are(f, ""));
	CHECK(twin_as(f, "src/a.c", "empty", "x", &nobody) == 0 && untouched(f, "empty/x", "src/a.c"));
	/* By root's file it is root's: in a sticky directory only he may take it away. */
	cleanup_close int dir = real_of(f, "empty");
	struct stat st = stat_of(on_disk(f, "branches/b/trees/0/upper/empty/x"));

	CHECK(st.st_uid == 0 && st.st_gid == 0 && (st.st_mode & 07777) == 0644);
	/* What the host has put elsewhere cannot be found again by its name. */
	CHECK(rename(lower(f, "top"), lower(f, "elsewhere")) == 0 && twin(f, "top", "doc", "x") == EOPNOTSUPP);
	/* A deleted directory. */
	CHECK(mkdirat(dir, "gone", 0777) == 0);
	cleanup_close int gone = openat(dir, "gone", O_PATH | O_CLOEXEC);
	cleanup_close int object = open_path(seen(f, "src/b.c"));

	CHECK(unlinkat(dir, "gone", AT_REMOVEDIR) == 0);
	CHECK(cow_tree_twin(f->tree, object, gone, "x", &oneself) == ENOENT && f->tree->reserved == 0);
}

/* A user renames root's file over another one: what stands for it is root's still. */
static void owner_scenario(struct fixture *f)
{
	struct stat st;
	int error;

	CHECK(chmod(lower(f, "src"), 0777) == 0 && chmod(lower(f, "src/a.c"), 04711) == 0);
	start(f);
	cleanup_close int src = real_of(f, "src");

	CHECK(twin(f, "src/a.c", "doc", "a") == 0);
	setfsgid(65533);
	setfsuid(65533);
	error = cow_tree_rename(f->tree, src, "a.c", src, "b.c", 0);
	setfsuid(0);
	setfsgid(0);
	CHECK(error == 0 && untouched(f, "src/b.c", "src/a.c"));
	st = stat_of(on_disk(f, "branches/b/trees/0/upper/src/b.c"));
	CHECK(st.st_uid == 0 && st.st_gid == 0 && (st.st_mode & 07777) == 04711);
	CHECK(copy_up(f, "src", "b.c") == 0 && same_file(seen(f, "src/b.c"), seen(f, "doc/a")));
}

/* On another file system, mounted in the lower. */
static void mounted_scenario(struct fixture *f)
{
	CHECK(mount("none", lower(f, "empty"), "tmpfs", 0, NULL) == 0);
	write_file(lower(f, "empty/there"), "there\n");
	start(f);
	CHECK(twin(f, "empty/there", "doc", "x") == EOPNOTSUPP);
	close(real_of(f, "empty"));
	CHECK(twin(f, "empty/there", "doc", "x") == EOPNOTSUPP && !exists(seen(f, "doc/x")));
	CHECK(f->tree->reserved == 0);
}

/* Where mounts are short small files are copied, and a copy of one name must not part it from a twin. */
static void budget_scenario(struct fixture *f)
{
	f->mounts = 40;
	make_dir(lower(f, "big"));
	for (int i = 0; i < 100; i++)
		write_file(lower(f, "big/f%d", i), "content\n");
	start(f);
	for (int i = 0; i < 20; i++) {
		char old[32], new[32];

		snprintf(old, sizeof(old), "big/f%d", i * 5);
		snprintf(new, sizeof(new), "t%d", i);
		CHECK(twin(f, old, "", new) == 0);
	}
	for (int round = 0; round < 3; round++) {
		close(real_of(f, "big"));
		CHECK(f->tree->reserved == 0);
		for (int i = 0; i < 20; i++)
			CHECK(same_file(seen(f, "t%d", i), seen(f, "big/f%d", i * 5)));
		/* Once the one and once the others come first in the listing that the next container reads. */
		if (round == 0)
			CHECK(move(f, "", "big", "", "large") == 0 && move(f, "", "large", "", "big") == 0);
		for (int i = 0; i < 20 && round == 1; i++) {
			char name[16], other[16];

			snprintf(name, sizeof(name), "t%d", i);
			snprintf(other, sizeof(other), "u%d", i);
			CHECK(move(f, "", name, "", other) == 0 && move(f, "", other, "", name) == 0);
		}
		stop(f);
		f->mounts = round < 2 ? 25 : 100;
		start(f);
	}
	stop(f);
	f->mounts = 40;
	start(f);
	close(real_of(f, "big"));
	CHECK(f->tree->grafts >= 40 && twin(f, "big/f0", "", "one-more") == EOPNOTSUPP);
	CHECK(copy_up(f, "", "t7") == 0 && same_file(seen(f, "t7"), seen(f, "big/f35")));
	CHECK(stat_of(seen(f, "t7")).st_nlink == 2);
}

enum { DIRS = 40, IN_EACH = 30 };

static void *split_each(void *data)
{
	struct fixture *f = data;

	for (int d = 0; d < DIRS; d++) {
		char name[16];

		snprintf(name, sizeof(name), "d%d", d);
		close(real_of(f, name));
	}
	return NULL;
}

/* A directory is split, with copies in it, while its files get further names. */
static void split_scenario(struct fixture *f)
{
	pthread_t thread;
	int made = 0;

	f->mounts = DIRS * 2;
	for (int d = 0; d < DIRS; d++) {
		make_dir(lower(f, "d%d", d));
		for (int i = 0; i < IN_EACH; i++)
			write_file(lower(f, "d%d/f%d", d, i), "x");
	}
	start(f);
	close(real_of(f, "doc"));
	CHECK(pthread_create(&thread, NULL, split_each, f) == 0);
	for (int d = 0; d < DIRS; d++)
		for (int i = 0; i < IN_EACH; i++) {
			cleanup_close int to = open_path(seen(f, "doc"));
			cleanup_close int object = open_path(seen(f, "d%d/f%d", d, i));
			char name[32];
			int error;

			snprintf(name, sizeof(name), "f%d.%d", d, i);
			if (cow_tree_place(f->tree, object) != COW_PLACE_GRAFT)
				continue;
			error = cow_tree_twin(f->tree, object, to, name, &oneself);
			CHECK(error == 0 || error == ESTALE || error == EOPNOTSUPP);
			made += error == 0;
		}
	CHECK(pthread_join(thread, NULL) == 0);
	for (int d = 0; d < DIRS; d++)
		for (int i = 0; i < IN_EACH; i++)
			if (exists(seen(f, "doc/f%d.%d", d, i)))
				CHECK(same_file(seen(f, "doc/f%d.%d", d, i), seen(f, "d%d/f%d", d, i)));
	printf("# %d twins, %lu copies\n", made, (unsigned long)f->tree->stats.hydrated);
	CHECK(f->tree->claims == NULL && f->tree->reserved == 0);
}

/* --- killed ------------------------------------------------------------------------------------------------------- */

/* A copy-up that was killed when it had taken one of the two names. */
static void killed_scenario(struct fixture *f)
{
	static const char *const names[] = {"top", "doc/moved", NULL};
	cleanup_close int upper = -1;
	cleanup_close int placeholder = -1;

	start(f);
	CHECK(twin(f, "top", "doc", "more") == 0 && copy_up(f, "", "top") == 0);
	write_file(seen(f, "top"), "changed\n");
	upper = cow_branch_open(f->branch, 0, "upper", NULL);
	CHECK(unlinkat(upper, "doc/more", 0) == 0);
	placeholder = openat(upper, "doc/moved", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	CHECK(placeholder >= 0 && cow_mark_set(f->branch, placeholder, "top") == 0);
	stop(f);
	start(f);
	CHECK(one_file(f, names) && has_text(seen(f, "doc/moved"), "changed\n"));
	CHECK(changes_are(f, "A doc/moved, M top"));
}

/* The agent dies at any moment of making a twin: it is there or it is not, and it is one file with the other. */
static void killed_twin_scenario(struct fixture *f)
{
	int there = 0;

	for (int round = 0; round < 30; round++) {
		pid_t pid;
		int status;

		start(f);
		close(real_of(f, "doc"));
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			for (int i = 0;; i++) {
				char name[16];

				snprintf(name, sizeof(name), "n%d", i);
				if (twin(f, i % 2 ? "src/deep/er/leaf" : "top", "doc", name) != 0)
					_exit(1);
			}
		}
		usleep((useconds_t)(1000 + round * 300));
		CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
		stop(f);
		start(f);
		CHECK(staged(f) == 0);
		there += exists(seen(f, "doc/n1"));
		for (int i = 0; exists(seen(f, "doc/n%d", i)); i++)
			CHECK(same_file(seen(f, "doc/n%d", i), lower(f, i % 2 ? "src/deep/er/leaf" : "top")));
		CHECK(copy_up(f, "src/deep/er", "leaf") == 0);
		for (int i = 1; exists(seen(f, "doc/n%d", i)); i += 2)
			CHECK(same_file(seen(f, "doc/n%d", i), seen(f, "src/deep/er/leaf")));
		stop(f);
		remove_all(f->store);
		make_dir(f->store);
	}
	printf("# %d of 30 had some\n", there);
}

/* --- many at once ------------------------------------------------------------------------------------------------- */

enum { FILES = 40, WORKERS = 6, ROUNDS = 80 };

struct worker {
	struct fixture *f;
	unsigned number, seed;
	pthread_t thread;
};

static unsigned draw(struct worker *w, unsigned n)
{
	w->seed = w->seed * 1103515245u + 12345u;
	return (w->seed >> 16) % n;
}

/* As the agent does it: by what is there, and once more when that changed meanwhile. */
static void one_call(struct worker *w)
{
	struct fixture *f = w->f;
	char name[32], new[32];
	int what = (int)draw(w, 4);
	unsigned file = draw(w, FILES);
	int error;

	snprintf(name, sizeof(name), "f%u", file);
	snprintf(new, sizeof(new), "f%u.%u.%u", file, w->number, draw(w, 4));
	do {
		cleanup_close int object = -1;
		cleanup_close int from = -1;
		cleanup_close int to = real_of(f, "doc");

		error = 0;
		if (what < 3) {
			object = open_path(seen(f, "src/%s", name));
			if (cow_tree_place(f->tree, object) == COW_PLACE_GRAFT)
				error = cow_tree_twin(f->tree, object, to, new, &oneself);
			else if (cow_tree_place(f->tree, object) == COW_PLACE_UPPER)
				error = linkat(AT_FDCWD, seen(f, "src/%s", name), to, new, 0) == 0 ? 0 : errno;
			else
				error = ESTALE;
			if (error == EEXIST)
				error = cow_tree_is_grafted(f->tree, to, new, NULL)
						? cow_tree_copy_up(f->tree, to, new, false, NULL, NULL)
						: 0;
		} else {
			from = real_of(f, "src");
			error = cow_tree_copy_up(f->tree, from, name, false, NULL, NULL);
		}
		cow_tree_reap(f->tree);
	} while (error == ESTALE);
	if (error != 0)
		printf("# %d %s %s: %s\n", what, name, new, strerror(error));
	CHECK(error == 0);
}

static void *work(void *data)
{
	for (int i = 0; i < ROUNDS; i++)
		one_call(data);
	return NULL;
}

static void many_scenario(struct fixture *f)
{
	struct worker workers[WORKERS];

	for (int i = 0; i < FILES; i++)
		write_file(lower(f, "src/f%d", i), "x");
	start(f);
	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){.f = f, .number = i, .seed = i * 77 + 5};
		CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		CHECK(pthread_join(workers[i].thread, NULL) == 0);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < FILES; i++)
			for (int w = 0; w < WORKERS; w++)
				for (int n = 0; n < 4; n++)
					if (exists(seen(f, "doc/f%d.%d.%d", i, w, n)) &&
					    !same_file(seen(f, "doc/f%d.%d.%d", i, w, n), seen(f, "src/f%d", i))) {
						printf("# f%d.%d.%d\n", i, w, n);
						CHECK(false);
					}
		CHECK(f->tree->claims == NULL && f->tree->reserved == 0);
		stop(f);
		start(f);
	}
}

int main(void)
{
	SKIP_UNLESS_ROOT();
	scenario_at("/var/tmp", name_scenario, "a further name of an untouched file");
	run_scenario(name_scenario, "a further name of an untouched file");
	run_scenario(without_handles_scenario, "the same without file handles");
	scenario_at("/var/tmp", here_scenario, "names that are moved, deleted, renamed over");
	run_scenario(later_scenario, "names that are moved and deleted, in the next container");
	scenario_at("/var/tmp", later_scenario, "names that are moved and deleted, in the next container");
	scenario_at("/var/tmp", hidden_scenario, "a name in a directory that is not split");
	scenario_at("/var/tmp", alone_scenario, "a name that is all that is known");
	run_scenario(alone_scenario, "a name that is all that is known");
	run_scenario(linked_scenario, "a lower file with several names");
	run_scenario(over_scenario, "in the place of another file");
	run_scenario(descriptor_scenario, "a descriptor of a name that is gone");
	run_scenario(refused_scenario, "what is refused leaves nothing");
	run_scenario(owner_scenario, "root's file, renamed by another");
	run_scenario(mounted_scenario, "another file system in the lower");
	run_scenario(budget_scenario, "few mounts");
	scenario_at("/var/tmp", budget_scenario, "few mounts");
	run_scenario(split_scenario, "while directories are split");
	scenario_at("/var/tmp", split_scenario, "while directories are split");
	scenario_at("/var/tmp", killed_scenario, "a copy-up that was killed between two names");
	run_scenario(killed_twin_scenario, "killed while names are made");
	run_scenario(many_scenario, "many at once");
	scenario_at("/var/tmp", many_scenario, "many at once");
	return done_testing();
}
