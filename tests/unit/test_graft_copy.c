/* Copying files up: what the copy is like, who still sees the old one, and what a failure leaves. */
#include "graft_fixture.h"

#include <pthread.h>
#include <sys/sysmacros.h>

static bool real_now(struct fixture *f, const char *path)
{
	cleanup_close int fd = open_path(path);

	return fd >= 0 && cow_tree_place(f->tree, fd) == COW_PLACE_UPPER;
}

static bool is_same(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_ino == sb.st_ino && sa.st_dev == sb.st_dev;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static void attributes_scenario(struct fixture *f)
{
	/* An access list: user::rw-, user:1234:r--, group::r--, mask::r--, other::--- */
	static const unsigned char acl[] = {2, 0,    0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  4,
					    0, 0xd2, 4,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
					    4, 0,    255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255};
	/* cap_net_raw+ep, revision 2 */
	static const unsigned char caps[] = {1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	struct timespec times[2] = {{1111111111, 123456789}, {1222222222, 987654321}};
	unsigned char value[64];
	struct stat before, after, parent, parent_after;
	bool with_acl;

	CHECK(chown(lower(f, "top"), 77, 88) == 0 && chmod(lower(f, "top"), 04640) == 0);
	CHECK(setxattr(lower(f, "top"), "user.note", "kept", 4, 0) == 0 &&
	      setxattr(lower(f, "top"), "trusted.note", "kept", 4, 0) == 0);
	CHECK(setxattr(lower(f, "top"), "security.capability", caps, sizeof(caps), 0) == 0);
	with_acl = setxattr(lower(f, "top"), "system.posix_acl_access", acl, sizeof(acl), 0) == 0;
	CHECK(utimensat(AT_FDCWD, lower(f, "top"), times, 0) == 0 && stat(lower(f, "top"), &before) == 0);
	start(f);
	CHECK(stat(f->view, &parent) == 0);
	CHECK(cow_tree_copy_up(f->tree, f->work, "top", false, NULL, NULL) == 0);
	CHECK(stat(seen(f, "top"), &after) == 0 && after.st_ino != before.st_ino);
	CHECK(after.st_mode == before.st_mode && after.st_uid == 77 && after.st_gid == 88 && after.st_size == 4);
	CHECK(same_time(&after.st_atim, &before.st_atim) && same_time(&after.st_mtim, &before.st_mtim));
	CHECK(getxattr(seen(f, "top"), "user.note", value, sizeof(value)) == 4);
	CHECK(getxattr(seen(f, "top"), "trusted.note", value, sizeof(value)) == 4);
	CHECK(getxattr(seen(f, "top"), "security.capability", value, sizeof(value)) == (ssize_t)sizeof(caps));
	CHECK(getxattr(seen(f, "top"), "trusted.cowrun.graft", value, sizeof(value)) < 0);
	if (with_acl)
		CHECK(getxattr(seen(f, "top"), "system.posix_acl_access", value, sizeof(value)) ==
			      (ssize_t)sizeof(acl) &&
		      memcmp(value, acl, sizeof(acl)) == 0);
	else
		printf("# no access lists here\n");
	CHECK(has_text(seen(f, "top"), "top\n"));
	write_file(seen(f, "top"), "changed\n");
	CHECK(has_text(lower(f, "top"), "top\n"));
	CHECK(stat(lower(f, "top"), &after) == 0 && same_time(&after.st_ctim, &before.st_ctim));
	/* The directory it is in was not modified as far as the container can tell. */
	CHECK(stat(f->view, &parent_after) == 0 && same_time(&parent.st_mtim, &parent_after.st_mtim));
	/* What is real already is left alone. */
	CHECK(cow_tree_copy_up(f->tree, f->work, "top", true, NULL, NULL) == 0 &&
	      has_text(seen(f, "top"), "changed\n"));
	CHECK(cow_tree_copy_up(f->tree, f->work, "none", false, NULL, NULL) == ENOENT);
	CHECK(cow_tree_copy_up(f->tree, f->work, "src", false, NULL, NULL) == EISDIR);
	CHECK(count_entries(on_disk(f, "branches/b/trees/0/stage")) == 1); /* top's placeholder under its graft */
	cow_tree_reap(f->tree);
	usleep(1100000);
	cow_tree_sweep(f->tree);
	CHECK(count_entries(on_disk(f, "branches/b/trees/0/stage")) == 0 && f->tree->stats.freed == 1);
}

static void contents_scenario(struct fixture *f)
{
	enum { BIG = 5 << 20 };
	struct stat before, after;
	char *a = malloc(BIG), *b = malloc(BIG);
	cleanup_close int sparse = open(lower(f, "sparse"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	cleanup_close int big = open(lower(f, "big"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	for (int i = 0; i < BIG; i++)
		a[i] = (char)(i * 31 + (i >> 9));
	CHECK(write(big, a, BIG) == BIG);
	CHECK(pwrite(sparse, "begin", 5, 0) == 5 && pwrite(sparse, "middle", 6, 100 << 20) == 6 &&
	      ftruncate(sparse, 300 << 20) == 0);
	fsync(sparse);
	write_file(lower(f, "empty-file"), "");
	start(f);
	CHECK(cow_tree_copy_up(f->tree, f->work, "sparse", false, NULL, NULL) == 0);
	CHECK(stat(lower(f, "sparse"), &before) == 0 && stat(seen(f, "sparse"), &after) == 0);
	printf("# sparse: %lld blocks, copied to %lld\n", (long long)before.st_blocks, (long long)after.st_blocks);
	CHECK(after.st_size == 300 << 20 && after.st_blocks <= before.st_blocks + 64);
	cleanup_close int copy = open(seen(f, "sparse"), O_RDONLY | O_CLOEXEC);

	CHECK(pread(copy, b, 6, 100 << 20) == 6 && memcmp(b, "middle", 6) == 0);
	CHECK(pread(copy, b, 6, 0) == 6 && memcmp(b, "begin", 6) == 0);
	CHECK(cow_tree_copy_up(f->tree, f->work, "big", false, NULL, NULL) == 0);
	cleanup_close int big_copy = open(seen(f, "big"), O_RDONLY | O_CLOEXEC);

	CHECK(read(big_copy, b, BIG) == BIG && memcmp(a, b, BIG) == 0);
	CHECK(cow_tree_copy_up(f->tree, f->work, "empty-file", false, NULL, NULL) == 0);
	CHECK(real_now(f, seen(f, "empty-file")) && has_text(seen(f, "empty-file"), ""));
	CHECK(cow_tree_copy_up(f->tree, f->work, "top", true, NULL, NULL) == 0);
	CHECK(real_now(f, seen(f, "top")) && has_text(seen(f, "top"), "") && has_text(lower(f, "top"), "top\n"));
	free(a);
	free(b);
}

static void special_scenario(struct fixture *f)
{
	struct stat st;

	CHECK(mkfifo(lower(f, "fifo"), 0640) == 0 && chown(lower(f, "fifo"), 5, 6) == 0);
	CHECK(mknod(lower(f, "null"), S_IFCHR | 0666, makedev(1, 3)) == 0);
	CHECK(link(lower(f, "top"), lower(f, "other-name")) == 0);
	start(f);
	CHECK(same_file(seen(f, "fifo"), lower(f, "fifo")));
	CHECK(cow_tree_copy_up(f->tree, f->work, "fifo", false, NULL, NULL) == 0);
	CHECK(stat(seen(f, "fifo"), &st) == 0 && st.st_mode == (S_IFIFO | 0640) && st.st_uid == 5 && st.st_gid == 6);
	CHECK(real_now(f, seen(f, "fifo")));
	CHECK(cow_tree_copy_up(f->tree, f->work, "null", false, NULL, NULL) == 0);
	CHECK(stat(seen(f, "null"), &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
	/* The names of one lower file stay one file. */
	cleanup_close int other = open_path(seen(f, "other-name"));

	CHECK(cow_tree_copy_up(f->tree, f->work, "top", false, NULL, NULL) == 0);
	CHECK(same_file(seen(f, "other-name"), seen(f, "top")) && !same_file(seen(f, "top"), lower(f, "top")));
	cleanup_close int real = cow_tree_real_file(f->tree, other, NULL, NULL);
	cleanup_close int now = open_path(seen(f, "top"));

	CHECK(real >= 0 && is_same(real, now) && f->tree->stats.copy_ups == 3);
}

/* --- refusal ------------------------------------------------------------------------------------------------------ */

static int refuse(int staged, void *data)
{
	struct stat st;

	CHECK(fstat(staged, &st) == 0 && st.st_mode == (S_IFREG | 0644) && st.st_size == 0 && st.st_uid == 42);
	++*(int *)data;
	return EACCES;
}

static void refused_scenario(struct fixture *f)
{
	int asked = 0;

	CHECK(chown(lower(f, "top"), 42, 42) == 0);
	start(f);
	CHECK(cow_tree_copy_up(f->tree, f->work, "top", true, refuse, &asked) == EACCES && asked == 1);
	CHECK(same_file(seen(f, "top"), lower(f, "top")) && has_text(seen(f, "top"), "top\n"));
	CHECK(count_entries(on_disk(f, "branches/b/trees/0/stage")) == 0 && f->tree->stats.copy_ups == 0);
	CHECK(cow_tree_is_grafted(f->tree, f->work, "top", NULL));
}

/* --- a file in use ------------------------------------------------------------------------------------------------ */

static bool leads_to(const struct fixture *f, const char *link, const char *path)
{
	char text[PATH_MAX] = "", want[PATH_MAX + 64];

	snprintf(want, sizeof(want), "%s/root/work/%s", f->scratch, path);
	CHECK(readlink(link, text, sizeof(text) - 1) > 0);
	if (strcmp(text, want) != 0)
		printf("# %s is %s\n", link, text);
	return strcmp(text, want) == 0;
}

static int run_program(const struct fixture *f, void *data)
{
	(void)f;
	execl(data, data, "30", (char *)NULL);
	return 127;
}

static pid_t run(const struct fixture *f, const char *path, char link[64])
{
	pid_t pid = start_inside(f, run_program, (void *)path);

	snprintf(link, 64, "/proc/%d/exe", (int)pid);
	usleep(200000);
	return pid;
}

static void copy_program(const char *to)
{
	char command[PATH_MAX + 64];

	snprintf(command, sizeof(command), "cp /bin/sleep '%s'", to);
	CHECK(system(command) == 0);
}

static void open_file_scenario(struct fixture *f)
{
	char self[64];

	start(f);
	cleanup_close int top = open(seen(f, "top"), O_RDONLY | O_CLOEXEC);
	int before;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", top);
	CHECK(cow_tree_copy_up(f->tree, f->work, "top", false, NULL, NULL) == 0);
	cow_tree_reap(f->tree);
	write_file(seen(f, "top"), "new\n");
	CHECK(fd_has_text(top, "top\n") && has_text(self, "top\n") && leads_to(f, self, "top"));
	CHECK(f->tree->stats.shadowed == 1 && f->tree->stats.freed == 0);
	cleanup_close int now = cow_tree_counterpart(f->tree, top);

	CHECK(cow_tree_place(f->tree, top) == COW_PLACE_STALE && cow_tree_place(f->tree, now) == COW_PLACE_UPPER);
	CHECK(fd_has_text(open(seen(f, "top"), O_RDONLY | O_CLOEXEC), "new\n"));
	cow_close_fd(&now);
	/* In use it stays, however often the sweeper comes. */
	usleep(1100000);
	cow_tree_sweep(f->tree);
	before = (int)f->tree->stats.freed; /* what covered the placeholder */
	CHECK(fd_has_text(top, "top\n") && leads_to(f, self, "top"));
	CHECK(count_entries(on_disk(f, "branches/b/trees/0/shadow")) == 1);
	CHECK(count_entries(on_disk(f, "branches/b/trees/0/stage")) == 0);
	cow_close_fd(&top);
	cow_tree_sweep(f->tree);
	CHECK((int)f->tree->stats.freed == before + 1 && f->tree->shadowed.first == NULL);
	CHECK(count_entries(on_disk(f, "branches/b/trees/0/shadow")) == 0);
}

static void program_scenario(struct fixture *f)
{
	char exe[64], second_exe[64];
	pid_t first, second;

	make_dir(lower(f, "bin"));
	copy_program(lower(f, "bin/prog"));
	start(f);
	first = run(f, "bin/prog", exe);
	cleanup_close int bin = open_path(seen(f, "bin"));
	cleanup_close int real = cow_tree_real_directory(f->tree, bin);

	CHECK(real >= 0);
	cow_tree_reap(f->tree);
	CHECK(f->tree->stats.shadowed == 1 && leads_to(f, exe, "bin/prog"));
	/* The first runs from the directory's graft, the second from the program's own, which then has to lie below the
	 * other one: not in it, for no mount hangs on a lower dentry. */
	second = run(f, "bin/prog", second_exe);
	CHECK(cow_tree_copy_up(f->tree, real, "prog", false, NULL, NULL) == 0);
	cow_tree_reap(f->tree);
	CHECK(f->tree->stats.shadowed == 2);
	CHECK(leads_to(f, exe, "bin/prog") && leads_to(f, second_exe, "bin/prog"));
	CHECK(same_file(lower(f, "bin/prog"), seen(f, "bin/prog")) == false);
	CHECK(unlink(lower(f, "bin/prog")) == 0 && exists(on_disk(f, "branches/b/trees/0/shadow/bin/prog")));
	/* The one below goes, the directory's stays as long as it is needed. */
	kill(second, SIGKILL);
	CHECK(waitpid(second, NULL, 0) == second);
	cow_tree_sweep(f->tree);
	CHECK(!exists(on_disk(f, "branches/b/trees/0/shadow/bin/prog")) && leads_to(f, exe, "bin/prog (deleted)"));
	kill(first, SIGKILL);
	CHECK(waitpid(first, NULL, 0) == first);
	cow_close_fd(&bin);
	usleep(1100000);
	cow_tree_sweep(f->tree);
	cow_tree_sweep(f->tree);
	CHECK(f->tree->shadowed.first == NULL && f->tree->resting.first == NULL);
	CHECK(count_entries(on_disk(f, "branches/b/trees/0/shadow")) == 0);
	CHECK(count_entries(on_disk(f, "branches/b/trees/0/stage")) == 0);
}

/* --- several at once ---------------------------------------------------------------------------------------------- */

struct caller {
	struct fixture *f;
	int asked, result;
};

static int count(int staged, void *data)
{
	(void)staged;
	__atomic_add_fetch((int *)data, 1, __ATOMIC_RELAXED);
	usleep(50000);
	return 0;
}

static int asked_in_all;

static void *copy_same(void *data)
{
	struct caller *c = data;

	CHECK(unshare(CLONE_FS) == 0);
	c->result = cow_tree_copy_up(c->f->tree, c->f->work, "top", false, count, &asked_in_all);
	return NULL;
}

static void together_scenario(struct fixture *f)
{
	enum { CALLERS = 4 };
	pthread_t threads[CALLERS];
	struct caller callers[CALLERS];

	start(f);
	for (int i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller){.f = f, .result = -1};
		CHECK(pthread_create(&threads[i], NULL, copy_same, &callers[i]) == 0);
	}
	for (int i = 0; i < CALLERS; i++) {
		pthread_join(threads[i], NULL);
		CHECK(callers[i].result == 0);
	}
	CHECK(asked_in_all == 1 && f->tree->stats.copy_ups == 1 && has_text(seen(f, "top"), "top\n"));
	CHECK(f->tree->claims == NULL);
}

static void price_scenario(struct fixture *f)
{
	enum { FILES = 500 };
	double begun, took, statx_us;
	struct statx sx;

	make_dir(lower(f, "small"));
	for (int i = 0; i < FILES; i++)
		write_file(lower(f, "small/f%d", i), "int main(void) { return 0; }\n");
	start(f);
	cleanup_close int dir = open_path(seen(f, "small"));
	cleanup_close int real = cow_tree_real_directory(f->tree, dir);
	cleanup_close int file = open_path(seen(f, "small/f0"));

	cow_close_fd(&dir);
	cow_tree_reap(f->tree);
	begun = now_us();
	for (int i = 0; i < 100000; i++)
		CHECK(cow_tree_place(f->tree, file) == COW_PLACE_GRAFT);
	took = now_us() - begun;
	begun = now_us();
	for (int i = 0; i < 100000; i++)
		CHECK(statx(file, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &sx) == 0);
	statx_us = (now_us() - begun) / 100000;
	printf("# cow_tree_place: %.2f us, of which statx %.2f\n", took / 100000, statx_us);
	cow_close_fd(&file);
	begun = now_us();
	for (int i = 0; i < FILES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		CHECK(cow_tree_copy_up(f->tree, real, name, false, NULL, NULL) == 0);
		cow_tree_reap(f->tree);
	}
	took = now_us() - begun;
	printf("# copy-up of a small file with its reap: %.1f us\n", took / FILES);
	CHECK(f->tree->stats.shadowed == 0);
}

int main(void)
{
	SKIP_UNLESS_ROOT();
	scenario_at("/var/tmp", attributes_scenario, "attributes, owner, times, access list, capabilities");
	run_scenario(attributes_scenario, "attributes, owner, times, access list, capabilities");
	scenario_at("/var/tmp", contents_scenario, "content: big, sparse, empty, dropped");
	run_scenario(contents_scenario, "content: big, sparse, empty, dropped");
	run_scenario(special_scenario, "a FIFO, a device, two names of one file");
	run_scenario(refused_scenario, "a refused copy-up changes nothing");
	run_scenario(open_file_scenario, "who has the file open keeps the old one and its path");
	scenario_at("/var/tmp", open_file_scenario, "who has the file open keeps the old one and its path");
	run_scenario(program_scenario, "running programs keep their path");
	run_scenario(together_scenario, "several at once copy once");
	scenario_at("/var/tmp", price_scenario, "many small ones");
	run_scenario(price_scenario, "many small ones");
	return done_testing();
}
