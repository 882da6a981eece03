/* Branches on disk (runtime/branch/store.h): made, loaded, locked, given to a container, removed. */
#include "../../runtime/branch/store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../runtime/branch/plan.h"
#include "../../runtime/lib/fd.h"
#include "tap.h"

static char store[] = "/tmp/cowrun-unit-XXXXXX";
static const struct cow_branch_tree tree = {.workdir = (char *)"/work", .lower = (char *)"/srv/lower"};

static struct cow_branch *create(const char *name, bool *made, struct cow_error **err)
{
	return cow_branch_create(store, name, "container-1", &tree, 1, made, err);
}

static void write_file(const char *name, const char *file, const char *text)
{
	char path[256];
	FILE *out;

	snprintf(path, sizeof(path), "%s/branches/%s/%s", store, name, file);
	out = fopen(path, "we");
	if (out == NULL)
		exit(1);
	fputs(text, out);
	fclose(out);
}

static bool exists(const char *rest)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/branches/%s", store, rest);
	return access(path, F_OK) == 0;
}

static void making(void)
{
	static char *const mountpoints[] = {(char *)"a/b", (char *)"c", NULL};
	static const struct cow_branch_tree elsewhere = {.workdir = (char *)"/work", .lower = (char *)"/srv/other"};
	cleanup_error struct cow_error *err = NULL;
	bool made = false;
	cleanup_branch struct cow_branch *b = create("one", &made, &err);
	cleanup_branch struct cow_branch *again = create("one", &(bool){true}, NULL);
	cleanup_branch struct cow_branch *loaded = NULL;
	struct stat st;

	ok(b != NULL && made, "a branch is made");
	ok(again != NULL && memcmp(again->nonce, b->nonce, COW_NONCE_SIZE) == 0, "and taken when it is there");
	ok(exists("one/trees/0/upper") && exists("one/trees/0/stage") && exists("one/trees/0/shadow"),
	   "its directories");
	ok(fstatat(b->dirfd, "branch.json", &st, 0) == 0 && (st.st_mode & 077) == 0, "branch.json is nobody else's");
	ok(cow_branch_create(store, "one", "c", &elsewhere, 1, &made, &err) == NULL && !made &&
		   strstr(err->message, "/srv/lower") != NULL,
	   "of another lower: %s", err->message);
	ok(cow_branch_set_mountpoints(b, 0, mountpoints, NULL) == 0, "mount points are kept");
	loaded = cow_branch_load(store, "one", NULL);
	ok(loaded != NULL && loaded->ntrees == 1 && loaded->created == b->created &&
		   memcmp(loaded->nonce, b->nonce, COW_NONCE_SIZE) == 0,
	   "it is loaded");
	is_str(loaded->id, "container-1", "the container");
	is_str(loaded->trees[0].workdir, "/work", "the workdir");
	is_str(loaded->trees[0].lower, "/srv/lower", "the lower");
	is_str(loaded->trees[0].mountpoints[1], "c", "the mount points");
}

static void bad(void)
{
	static const char *const contents[] = {
		"",
		"{}",
		"[]",
		"{\"version\":2}",
		"{\"version\":1,\"id\":\"x\",\"created\":1,\"nonce\":\"00\",\"trees\":[]}",
		"{\"version\":1,\"id\":\"x\",\"created\":1,\"nonce\":\"0011223344556677\",\"trees\":[]}",
		"{\"version\":1,\"id\":\"x\",\"created\":1,\"nonce\":\"0011223344556677\",\"trees\":[{\"lower\":1}]}",
		"{\"version\":1,\"id\":3,\"created\":1,\"nonce\":\"0011223344556677\","
		"\"trees\":[{\"lower\":\"/\",\"workdir\":\"/\"}]}",
	};
	static const char *const names[] = {"", ".", "..", "../x", "a/b", "-x", ".hidden", "a b", "a\nb"};
	cleanup_error struct cow_error *err = NULL;
	bool all = true;

	cow_branch_free(create("bad", &(bool){false}, NULL));
	for (size_t i = 0; i < sizeof(contents) / sizeof(*contents); i++) {
		write_file("bad", "branch.json", contents[i]);
		all = all && cow_branch_load(store, "bad", &err) == NULL && strstr(err->message, "bad") != NULL;
	}
	ok(all, "a damaged branch.json is an error that names the branch: %s", err->message);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		all = all && cow_branch_load(store, names[i], NULL) == NULL &&
		      create(names[i], &(bool){false}, NULL) == NULL;
	ok(all, "names that are none");
	ok(cow_branch_load(store, "none", &err) == NULL && strstr(err->message, "no branch none") != NULL, "%s",
	   err->message);
}

static void half_made(void)
{
	cleanup_branch struct cow_branch *b = NULL;
	bool made = false;
	char path[256];

	snprintf(path, sizeof(path), "%s/branches/half", store);
	b = mkdir(path, 0700) == 0 ? create("half", &made, NULL) : NULL;
	ok(b != NULL && made, "what a kill left of making one is taken over");
}

static void locking(void)
{
	cleanup_error struct cow_error *err = NULL;
	cleanup_branch struct cow_branch *a = cow_branch_load(store, "one", NULL);
	cleanup_branch struct cow_branch *b = cow_branch_load(store, "one", NULL);

	ok(!cow_branch_in_use(a), "nobody has it");
	ok(cow_branch_lock(a, NULL) == 0 && cow_branch_in_use(b), "it is locked");
	ok(cow_branch_lock(b, &err) != 0, "a second lock: %s", err != NULL ? err->message : "is had");
	cow_close_fd(&a->lockfd);
	ok(cow_branch_lock(b, NULL) == 0 && cow_branch_in_use(a), "and unlocked");
}

/* A container outlives its agent, and with it the lock. */
static void containers(void)
{
	cleanup_error struct cow_error *err = NULL;
	cleanup_branch struct cow_branch *a = cow_branch_load(store, "one", NULL);
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	ok(cow_branch_set_container(a, pid, NULL) == 0 && cow_branch_in_use(a), "a container has it");
	ok(cow_branch_lock(a, &err) != 0 && strstr(err->message, "in use") != NULL, "%s", err->message);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ok(!cow_branch_in_use(a) && cow_branch_lock(a, NULL) == 0, "until it ends");
	ok(cow_branch_set_container(a, 0, NULL) == 0 && cow_branch_set_container(a, 0, NULL) == 0, "and is forgotten");
}

static void half_committed(void)
{
	cleanup_error struct cow_error *err = NULL;
	cleanup_branch struct cow_branch *b = cow_branch_load(store, "one", NULL);
	cleanup_branch struct cow_branch *again = NULL;
	cleanup_plan struct cow_plan plan = {0};
	cleanup_plan struct cow_plan loaded = {0};
	struct cow_step *s = cow_plan_add(&plan, COW_STEP_ATTACH, 0, "a/\xff\n", "");

	strcpy(s->staged, "n18446744073709551615");
	s->expect.ino = 7;
	s->mtime.tv_nsec = 9;
	ok(cow_plan_load(&loaded, b, NULL) == 0 && cow_plan_save(&plan, b, NULL) == 0 && cow_plan_exists(b),
	   "the steps of a commit are kept");
	ok(cow_plan_load(&loaded, b, NULL) == 1 && loaded.count == 1, "and read");
	is_str(loaded.steps[0].path, "a/\xff\n", "with their paths");
	is_str(loaded.steps[0].staged, "n18446744073709551615", "and the rest");
	again = create("one", &(bool){false}, &err);
	ok(again == NULL && strstr(err->message, "commit") != NULL, "no container gets the branch: %s", err->message);
	ok(!cow_plan_has_mark(b, COW_PLAN_MOVED) && cow_plan_set_mark(b, COW_PLAN_MOVED, NULL) == 0 &&
		   cow_plan_has_mark(b, COW_PLAN_MOVED) && !cow_plan_has_mark(b, COW_PLAN_DONE),
	   "how far it is");
	write_file("one", "commit", "cowc");
	cow_plan_clear(&loaded);
	ok(cow_plan_load(&loaded, b, &err) < 0, "damaged steps: %s", err->message);
}

static void removing(void)
{
	cleanup_error struct cow_error *err = NULL;
	cleanup_branch struct cow_branch *b = cow_branch_load(store, "one", NULL);
	cleanup_close int at = cow_branch_open(b, 0, "upper", NULL);
	char **names = cow_branch_names(store, NULL);
	size_t count = 0;

	while (names[count] != NULL)
		free(names[count++]);
	free(names);
	ok(count == 3, "there are three");
	for (int i = 0; i < 3000; i++) {
		int next = mkdirat(at, "d", 0700) == 0 ? openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

		close(at);
		at = next;
	}
	ok(cow_branch_remove(b, &err) != 0, "not without the lock: %s", err != NULL ? err->message : "it was");
	ok(cow_branch_lock(b, NULL) == 0 && cow_branch_remove(b, NULL) == 0 && !exists("one"),
	   "a deep branch is removed");
	ok(cow_branch_load(store, "one", NULL) == NULL, "and gone");
	ok(cow_branch_lock(b, &err) != 0, "who still has it open: %s", err->message);
	ok(cow_branch_sweep(store, NULL) == 0, "nothing is left to sweep");
}

static void clean_up(void)
{
	static const char *const names[] = {"bad", "half"};
	char path[256];

	for (size_t i = 0; i < 2; i++) {
		cleanup_branch struct cow_branch *b = NULL;

		write_file(names[i], "branch.json", "");
		snprintf(path, sizeof(path), "%s/branches/%s/branch.json", store, names[i]);
		unlink(path);
		b = create(names[i], &(bool){false}, NULL);
		if (b != NULL && cow_branch_lock(b, NULL) == 0)
			cow_branch_remove(b, NULL);
	}
	snprintf(path, sizeof(path), "%s/branches", store);
	rmdir(path);
	ok(rmdir(store) == 0, "nothing is left behind");
}

int main(void)
{
	char *names = mkdtemp(store);

	if (names == NULL)
		return 1;
	making();
	bad();
	half_made();
	locking();
	containers();
	half_committed();
	removing();
	clean_up();
	return done_testing();
}
