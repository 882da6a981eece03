/* runtime/lib/place: where things are, and which names may become part of a path. */
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../../runtime/lib/fd.h"
#include "../../runtime/lib/place.h"
#include "../../runtime/lib/userns.h"
#include "tap.h"

static void clear(void)
{
	static const char *const names[] = {"COWRUN_STATE",
					    "COWRUN_STORE",
					    "COWRUN_CONFIG",
					    "HOME",
					    "XDG_RUNTIME_DIR",
					    "XDG_DATA_HOME",
					    "XDG_CONFIG_HOME",
					    "_CONTAINERS_USERNS_CONFIGURED",
					    "_CONTAINERS_ROOTLESS_UID",
					    NULL};

	for (size_t i = 0; names[i] != NULL; i++)
		unsetenv(names[i]);
}

typedef char *place(struct cow_error **err);

static void is_place(place *f, const char *want, const char *what)
{
	cleanup_error struct cow_error *err = NULL;
	cleanup_free char *path = f(&err);

	is_str(path, want, "%s", what);
}

static void no_place(place *f, const char *says, const char *what)
{
	cleanup_error struct cow_error *err = NULL;
	cleanup_free char *path = f(&err);

	ok(path == NULL && err != NULL && strstr(err->message, says) != NULL, "%s", what);
}

/* Those of root; and with the same variables those of another user, in a process that is one. */
static void test_places(void)
{
	clear();
	is_place(cow_place_state, "/run/cowrun", "root's state");
	is_place(cow_place_store, "/var/lib/cowrun", "root's store");
	is_place(cow_place_config, "/etc/cowrun/config.json", "root's configuration");
	setenv("XDG_DATA_HOME", "/data", 1);
	is_place(cow_place_store, "/var/lib/cowrun", "XDG variables are not for root");
	setenv("COWRUN_STORE", "", 1);
	is_place(cow_place_store, "/var/lib/cowrun", "an empty override is none");
	setenv("COWRUN_STORE", "/elsewhere", 1);
	is_place(cow_place_store, "/elsewhere", "an override");
	setenv("COWRUN_STORE", "elsewhere", 1);
	no_place(cow_place_store, "COWRUN_STORE", "a relative override is refused");
	clear();
}

static void test_places_of_user(void)
{
	clear();
	no_place(cow_place_state, "XDG_RUNTIME_DIR", "a user without XDG_RUNTIME_DIR has no place for state");
	setenv("HOME", "/home/u", 1);
	no_place(cow_place_state, "XDG_RUNTIME_DIR", "nor has one with a home only");
	is_place(cow_place_store, "/home/u/.local/share/cowrun", "a user's store");
	is_place(cow_place_config, "/home/u/.config/cowrun/config.json", "a user's configuration");
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	setenv("XDG_DATA_HOME", "/data", 1);
	setenv("XDG_CONFIG_HOME", "/conf", 1);
	is_place(cow_place_state, "/run/user/7/cowrun", "state in XDG_RUNTIME_DIR");
	is_place(cow_place_store, "/data/cowrun", "store in XDG_DATA_HOME");
	is_place(cow_place_config, "/conf/cowrun/config.json", "configuration in XDG_CONFIG_HOME");
}

/* User 0 of a user namespace: whose? */
static void test_places_in_namespace(void)
{
	clear();
	unsetenv("USER");
	ok(geteuid() == 0 && !cow_userns_initial(), "user 0 elsewhere");
	is_place(cow_place_state, "/run/cowrun", "a container that is a machine of its own");
	setenv("HOME", "/home/u", 1);
	setenv("_CONTAINERS_USERNS_CONFIGURED", "done", 1);
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	is_place(cow_place_state, "/run/user/7/cowrun", "podman's create: the user's state");
	is_place(cow_place_store, "/home/u/.local/share/cowrun", "and store");
	unsetenv("_CONTAINERS_USERNS_CONFIGURED");
	is_place(cow_place_state, "/run/user/7/cowrun", "podman's delete: the same state");
	setenv("USER", "root", 1);
	is_place(cow_place_state, "/run/cowrun", "root's, where USER says so");
}

static void test_names(void)
{
	static const char *const good_ids[] = {"a", "-", "A_b+c.d-9", "..."};
	static const char *const bad_ids[] = {"", ".", "..", "a/b", "a b", "a\n", "../x", "\xc3\xbc"};
	static const char *const bad_branches[] = {"", ".", "..", ".a", "-a", "_a", "a/b", "a b", "a+b", "\xc3\xbc"};
	char name[130];

	for (size_t i = 0; i < sizeof(good_ids) / sizeof(*good_ids); i++)
		ok(cow_place_id_valid(good_ids[i]), "container id %s", good_ids[i]);
	for (size_t i = 0; i < sizeof(bad_ids) / sizeof(*bad_ids); i++)
		ok(!cow_place_id_valid(bad_ids[i]), "no container id, %zu", i);
	for (size_t i = 0; i < sizeof(bad_branches) / sizeof(*bad_branches); i++)
		ok(!cow_place_branch_valid(bad_branches[i]), "no branch name, %zu", i);
	memset(name, 'x', sizeof(name));
	name[128] = '\0';
	ok(cow_place_branch_valid(name) && cow_place_branch_valid("0.a_b-C"), "branch names");
	name[128] = 'x';
	name[129] = '\0';
	ok(!cow_place_branch_valid(name), "a branch name that is too long");
}

static void test_container(void)
{
	cleanup_error struct cow_error *err = NULL;
	cleanup_free char *plain = cow_place_container("/run/cowrun", NULL, "c1", NULL);
	cleanup_free char *empty = cow_place_container("/run/cowrun", "", "c1", NULL);
	cleanup_free char *other = cow_place_container("/run/cowrun", "a", "c1", NULL);
	char id[80], state[80];

	is_str(plain, "/run/cowrun/c1.811c9dc5", "KEY without --root: FNV-1a of nothing");
	is_str(empty, plain, "the same as an empty one");
	is_str(other, "/run/cowrun/c1.e40c292c", "another --root, another KEY");
	ok(cow_place_container("/run/cowrun", NULL, "../c1", &err) == NULL && err != NULL, "an id that is none");
	memset(id, 'x', sizeof(id));
	id[64] = '\0';
	free(empty);
	empty = cow_place_container("/run/cowrun", NULL, id, &err);
	ok(empty != NULL, "an id of 64 characters fits");
	free(plain);
	plain = cow_place_container("/run/user/4294967295/cowrun", NULL, id, &err);
	is_str(plain, "/run/user/4294967295/cowrun/xxxxxxxxxxxxxxxxxxxx-b96a5acbb56db825.811c9dc5",
	       "shortened where it would not");
	memset(state, 'x', sizeof(state));
	state[0] = '/';
	state[79] = '\0';
	ok(cow_place_container(state, NULL, id, &err) == NULL && strstr(err->message, "COWRUN_STATE") != NULL,
	   "one whose sockets would not fit is refused, with what to do");
}

static void test_make(const char *dir)
{
	cleanup_error struct cow_error *err = NULL;
	char path[128], file[160];
	struct stat st;

	snprintf(path, sizeof(path), "%s/a/b/c", dir);
	ok(cow_place_make(path, &err) == 0 && stat(path, &st) == 0 && (st.st_mode & 07777) == 0700,
	   "a directory and its parents, 0700");
	ok(cow_place_make(path, &err) == 0, "an existing one is taken");
	snprintf(file, sizeof(file), "%s/file", path);
	close(creat(file, 0600));
	ok(cow_place_make(file, &err) == -1 && strstr(err->message, file) != NULL, "a file in its place is an error");
	ok(geteuid() != 0 || (chown(path, 12345, 0) == 0 && cow_place_make(path, &err) == -1 &&
			      strstr(err->message, "12345") != NULL),
	   "one of another user is refused");
	unlink(file);
	rmdir(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
}

static void test_program(void)
{
	cleanup_error struct cow_error *err = NULL;
	cleanup_free char *self = cow_place_program("test_place", &err);
	cleanup_free char *none = cow_place_program("no-such-program", &err);

	ok(self != NULL && self[0] == '/' && access(self, X_OK) == 0, "a program beside this one");
	ok(none == NULL && strstr(err->message, "no-such-program") != NULL,
	   "one that is not there: the error names it");
}

/* The tests of an ordinary user run in a child; its results are counted as one. */
static bool as_user(void (*test)(void))
{
	int status = 0;
	pid_t pid;

	if (geteuid() != 0) {
		test();
		return true;
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (freopen("/dev/null", "w", stdout) == NULL || setuid(12345) != 0)
			_exit(2);
		tap_failed = 0;
		test();
		fflush(stdout);
		_exit(tap_failed != 0);
	}
	return waitpid(pid, &status, 0) == pid && status == 0;
}

static bool first_namespace(void)
{
	char target[64] = "";

	return readlink("/proc/self/ns/user", target, sizeof(target) - 1) > 0 &&
	       strcmp(target, "user:[4026531837]") == 0;
}

static bool write_map(const char *path, const char *text)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static bool in_namespace(void (*test)(void))
{
	char map[32];
	int status;
	pid_t pid;

	fflush(stdout);
	snprintf(map, sizeof(map), "0 %u 1\n", geteuid());
	pid = fork();
	if (pid == 0) {
		if (freopen("/dev/null", "w", stdout) == NULL || unshare(CLONE_NEWUSER) != 0 ||
		    !write_map("/proc/self/uid_map", map))
			_exit(2);
		tap_failed = 0;
		test();
		fflush(stdout);
		_exit(tap_failed != 0);
	}
	return waitpid(pid, &status, 0) == pid && status == 0;
}

int main(void)
{
	char dir[] = "/tmp/test_placeXXXXXX";

	if (mkdtemp(dir) == NULL)
		return 1;
	if (geteuid() == 0)
		test_places();
	ok(cow_userns_initial() == first_namespace(), "the first user namespace");
	ok(as_user(test_places_of_user), "the places of an ordinary user");
	ok(in_namespace(test_places_in_namespace), "the places of user 0 in a user namespace");
	test_names();
	test_container();
	test_make(dir);
	test_program();
	rmdir(dir);
	return done_testing();
}
