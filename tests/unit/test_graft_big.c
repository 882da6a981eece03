/* More entries than there are mounts to be had: copies take the place of grafts, and nobody can tell. */
#include "graft_fixture.h"

#include <pthread.h>

#include "../../runtime/branch/diff.h"

enum { LIMIT = 100, MANY = 300, BIG = 200 << 10 };

static int real_at(struct fixture *f, const char *path)
{
	cleanup_close int fd = open_path(seen(f, "%s", path));
	int real = fd < 0 ? -1 : cow_tree_real_directory(f->tree, fd);

	if (real < 0)
		printf("# %s: %s\n", path, strerror(errno));
	return real;
}

static void write_big(const char *path)
{
	char *text = calloc(1, BIG + 1);

	memset(text, 'b', BIG);
	write_file(path, text);
	free(text);
}

/* "big": many small files, and one of each other kind that comes after them or before, as the file system likes. */
static void make_big(struct fixture *f)
{
	struct timespec times[2] = {{11, 12}, {13, 14}};

	make_dir(lower(f, "big"));
	for (int i = 0; i < MANY; i++) {
		write_file(lower(f, "big/f%d", i), "content\n");
		CHECK(chmod(lower(f, "big/f%d", i), (mode_t)(0400 + i % 0200)) == 0);
		CHECK(chown(lower(f, "big/f%d", i), (uid_t)(i % 3), (gid_t)(i % 5)) == 0);
		CHECK(setxattr(lower(f, "big/f%d", i), "user.number", &i, i % 7 == 0 ? sizeof(i) : 0, 0) == 0);
		CHECK(utimensat(AT_FDCWD, lower(f, "big/f%d", i), times, 0) == 0);
	}
	for (int i = 0; i < 5; i++) {
		CHECK(mkfifo(lower(f, "big/p%d", i), 0600) == 0);
		make_dir(lower(f, "big/d%d", i));
		write_file(lower(f, "big/d%d/in", i), "in\n");
		CHECK(symlink("f1", lower(f, "big/l%d", i)) == 0);
		write_big(lower(f, "big/b%d", i));
		write_file(lower(f, "big/h%d", i), "linked\n");
		CHECK(link(lower(f, "big/h%d", i), lower(f, "doc/h%d", i)) == 0);
	}
}

/* All that ls -l and cat show of a directory, sorted. Caller frees. */
static char *show(const char *dir)
{
	char command[PATH_MAX + 256];
	char *text = NULL;
	size_t room = 0;
	FILE *in;

	snprintf(command, sizeof(command),
		 "cd '%s' && find . \\( -type d -printf '%%P %%y %%m %%U %%G %%T@ %%n\\n' \\) -o -printf "
		 "'%%P %%y %%m %%U %%G %%s %%T@ %%l\\n' | sort; find . -type f | sort | xargs md5sum;"
		 "find . -type f | sort | xargs getfattr -e hex -n user.number 2>/dev/null",
		 dir);
	in = popen(command, "r");
	CHECK(in != NULL && getdelim(&text, &room, '\0', in) > 0);
	pclose(in);
	return text;
}

static void check_same(const char *a, const char *b)
{
	cleanup_free char *one = show(a);
	cleanup_free char *other = show(b);
	size_t i = 0;

	while (one[i] != '\0' && one[i] == other[i])
		i++;
	if (one[i] != other[i])
		printf("# %.100s\n# %.100s\n", one + (i > 40 ? i - 40 : 0), other + (i > 40 ? i - 40 : 0));
	CHECK(strcmp(one, other) == 0);
}

static size_t count_changes(struct fixture *f)
{
	cleanup_diff struct cow_diff d;
	cleanup_error struct cow_error *err = NULL;

	if (cow_diff_make(&d, f->branch, 0, &err) != 0)
		printf("# %s\n", err->message);
	for (size_t i = 0; i < d.count && i < 10; i++)
		printf("# %c %s\n", d.list[i].op, d.list[i].path != NULL ? d.list[i].path : d.list[i].old);
	return d.count;
}

/* Changes that leave size and modification time as they were; of copies, which have no graft to be taken away. */
static void hidden_changes(struct fixture *f)
{
	int done = 0;

	for (int i = 1; i < MANY && done < 3; i++) {
		struct timespec times[2] = {{11, 12}, {13, 14}};
		char name[16];

		snprintf(name, sizeof(name), "big/f%d", i);
		if (i % 60 == 0 || i % 3 == 0 || kind_of(f, name) != COW_PLACE_UPPER)
			continue;
		write_file(seen(f, "big/f%d", i), "CONTENT\n");
		CHECK(utimensat(AT_FDCWD, seen(f, "big/f%d", i), times, 0) == 0);
		done++;
	}
}

static void budget_scenario(struct fixture *f)
{
	f->mounts = LIMIT;
	make_big(f);
	start(f);
	cleanup_close int real = real_at(f, "big");

	CHECK(real >= 0 && f->tree->stats.hydrated >= MANY - LIMIT && f->tree->stats.hydrated <= MANY);
	printf("# %lu grafts, %lu copies, %s\n", (unsigned long)f->tree->grafts, (unsigned long)f->tree->stats.hydrated,
	       f->tree->times_tell == COW_YES ? "known by their times" : "to be read");
	CHECK(f->tree->grafts >= LIMIT && f->tree->grafts <= LIMIT + 25 && f->tree->reserved == 0);
	check_same(seen(f, "big"), lower(f, "big"));
	for (int i = 0; i < 5; i++) {
		char name[16];

		snprintf(name, sizeof(name), "big/b%d", i);
		CHECK(kind_of(f, name) == COW_PLACE_GRAFT);
		/* The other name of it is in the workdir, too. */
		CHECK(same_file(seen(f, "big/h%d", i), seen(f, "doc/h%d", i)));
	}
	CHECK(count_changes(f) == 0);
	CHECK(cow_tree_copy_up(f->tree, real, "h1", false, NULL, NULL) == 0);
	write_file(seen(f, "big/h1"), "changed\n");
	CHECK(has_text(seen(f, "doc/h1"), "changed\n") && has_text(lower(f, "doc/h1"), "linked\n"));
	for (int i = 0; i < MANY; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		if (i % 3 == 0)
			CHECK(cow_tree_copy_up(f->tree, real, name, false, NULL, NULL) == 0);
		if (i % 60 == 0)
			write_file(seen(f, "big/f%d", i), "changed\n");
	}
	CHECK(count_changes(f) == 2 + MANY / 60);
	hidden_changes(f);
	CHECK(count_changes(f) == 2 + MANY / 60 + 3);
	for (int i = 0; i < MANY; i++)
		CHECK(has_text(lower(f, "big/f%d", i), "content\n"));
}

/* A descriptor from before the split finds the copy. */
static void descriptor_scenario(struct fixture *f)
{
	f->mounts = 20;
	make_big(f);
	start(f);
	for (int i = 0; i < 20; i++) {
		cleanup_close int before = open(seen(f, "big/f%d", i), O_RDONLY | O_CLOEXEC);
		cleanup_close int real = real_at(f, "big");
		cleanup_close int file = cow_tree_real_file(f->tree, before, NULL, NULL);
		cleanup_close int now = open_path(seen(f, "big/f%d", i));
		struct stat a, b;

		CHECK(before >= 0 && real >= 0 && file >= 0 && fstat(file, &a) == 0 && fstat(now, &b) == 0);
		CHECK(a.st_ino == b.st_ino && cow_tree_place(f->tree, file) == COW_PLACE_UPPER);
	}
}

/* What cannot be read cannot be copied: somebody on the host has a lease on it. */
static void lease_scenario(struct fixture *f)
{
	int leases[10];

	f->mounts = 40;
	make_big(f);
	CHECK(signal(SIGIO, SIG_IGN) != SIG_ERR);
	for (int i = 0; i < 10; i++) {
		leases[i] = open(lower(f, "big/f%d", i), O_WRONLY | O_CLOEXEC);
		CHECK(leases[i] >= 0 && fcntl(leases[i], F_SETLEASE, F_WRLCK) == 0);
	}
	start(f);
	cleanup_close int real = real_at(f, "big");

	CHECK(real >= 0 && f->tree->stats.hydrated > MANY / 2 && f->tree->reserved == 0);
	for (int i = 0; i < 10; i++) {
		char name[16];

		snprintf(name, sizeof(name), "big/f%d", i);
		CHECK(kind_of(f, name) == COW_PLACE_GRAFT && close(leases[i]) == 0);
	}
	check_same(seen(f, "big"), lower(f, "big"));
}

/* At the second limit there is an end, and the directory is as it was. */
static void exhausted_scenario(struct fixture *f)
{
	f->mounts = 20;
	make_dir(lower(f, "dirs"));
	for (int i = 0; i < 60; i++)
		make_dir(lower(f, "dirs/d%d", i));
	start(f);
	for (int i = 0; i < 3; i++) {
		CHECK(real_at(f, "dirs") < 0 && errno == ENOSPC);
		CHECK(kind_of(f, "dirs") == COW_PLACE_GRAFT && count_entries(seen(f, "dirs")) == 60);
		CHECK(count_entries(on_disk(f, "branches/b/trees/0/stage")) == 0);
		CHECK(f->tree->reserved == 0 && f->tree->grafts == 5);
	}
	cleanup_close int src = real_at(f, "src");

	CHECK(src >= 0 && same_file(seen(f, "src/a.c"), lower(f, "src/a.c")));
}

static void *split_it(void *data)
{
	struct fixture *f = data;
	cleanup_close int real = real_at(f, "big");

	CHECK(real >= 0 && cow_tree_copy_up(f->tree, real, "f1", false, NULL, NULL) == 0);
	cow_tree_reap(f->tree);
	return NULL;
}

static void two_scenario(struct fixture *f)
{
	pthread_t threads[4];

	f->mounts = LIMIT;
	make_big(f);
	start(f);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, split_it, f) == 0);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(f->tree->stats.splits == 1);
	check_same(seen(f, "big"), lower(f, "big"));
}

/* A new container on the branch, with as many mounts, with less, with more. */
static void resume_scenario(struct fixture *f)
{
	static const size_t limits[] = {LIMIT, 20, 1000};

	f->mounts = LIMIT;
	make_big(f);
	start(f);
	close(real_at(f, "big"));
	for (size_t i = 0; i < 3; i++) {
		stop(f);
		f->mounts = limits[i];
		start(f);
		CHECK(f->tree->reserved == 0 && (i != 1 || f->tree->grafts <= 40));
		check_same(seen(f, "big"), lower(f, "big"));
		CHECK(count_changes(f) == 0);
	}
}

/* The workdir itself has more entries than there are mounts. */
static void root_scenario(struct fixture *f)
{
	f->mounts = 30;
	for (int i = 0; i < MANY; i++)
		write_file(lower(f, "r%d", i), "root\n");
	start(f);
	CHECK(f->tree->stats.hydrated > 200 && f->tree->grafts < 60);
	check_same(f->view, f->lower);
	CHECK(count_changes(f) == 0);
	/* An attach that was killed before its end: begun again on what it left. */
	stop(f);
	CHECK(truncate(on_disk(f, "branches/b/trees/0/journal"), 0) == 0);
	start(f);
	CHECK(count_entries(f->view) == MANY + 5);
	check_same(f->view, f->lower);
	stop(f);
	start(f);
	CHECK(count_changes(f) == 0 && count_entries(on_disk(f, "branches/b/trees/0/stage")) == 0);
}

/* The agent dies in the middle of a split. */
static void killed_scenario(struct fixture *f)
{
	int revealed = 0;

	f->mounts = LIMIT;
	make_big(f);
	for (int round = 0; round < 12; round++) {
		pid_t pid;
		int status;

		start(f);
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			close(real_at(f, "big"));
			_exit(0);
		}
		usleep((useconds_t)(round * 10000));
		CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
		stop(f);
		start(f);
		check_same(seen(f, "big"), lower(f, "big"));
		CHECK(count_changes(f) == 0 && count_entries(on_disk(f, "branches/b/trees/0/stage")) == 0);
		revealed += kind_of(f, "big") == COW_PLACE_UPPER;
		stop(f);
		remove_all(f->store);
		make_dir(f->store);
	}
	printf("# %d of 12 were revealed\n", revealed);
}

int main(void)
{
	SKIP_UNLESS_ROOT();
	scenario_at("/var/tmp", budget_scenario, "a directory with more entries than mounts");
	run_scenario(budget_scenario, "a directory with more entries than mounts");
	run_scenario(descriptor_scenario, "descriptors from before the split");
	run_scenario(lease_scenario, "files that cannot be read");
	run_scenario(exhausted_scenario, "no more mounts");
	run_scenario(two_scenario, "several split the same one");
	scenario_at("/var/tmp", resume_scenario, "a branch is taken up again");
	run_scenario(root_scenario, "the workdir's root");
	scenario_at("/var/tmp", killed_scenario, "killed in the middle of a split");
	return done_testing();
}
