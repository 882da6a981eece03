/* The delegate: which program it is, what it can do, and that the answer is asked for once. */
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../runtime/lib/fd.h"
#include "../../runtime/lib/json.h"
#include "../../runtime/wrapper/delegate.h"
#include "../../runtime/wrapper/settings.h"

static char dir[] = "/tmp/cowrun-delegate.XXXXXX";

static char *path_of(const char *name)
{
	char *path = NULL;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		abort();
	return path;
}

static void write_file(const char *name, const char *text, mode_t mode)
{
	cleanup_free char *path = path_of(name);
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || cow_write_all(fd, text, strlen(text)) != 0 || fchmod(fd, mode) != 0)
		abort();
}

static void test_find(void)
{
	cleanup_free char *first = path_of("first");
	cleanup_free char *second = path_of("bin/second");
	cleanup_free char *bin = path_of("bin");
	cleanup_free char *places = NULL;

	mkdir(bin, 0700);
	write_file("first", "#!/bin/sh\n", 0755);
	write_file("bin/second", "#!/bin/sh\n", 0755);
	write_file("bin/first", "not executable", 0644);
	if (asprintf(&places, "bin:%s:%s:/nonexistent", bin, dir) < 0)
		abort();
	setenv("PATH", places, 1);
	{
		cleanup_free char *found = cow_delegate_find((char *[]){"none-such", "first", "second", NULL}, NULL);
		is_str(found, first, "the first name that is there, at its first executable place");
	}
	{
		cleanup_free char *found = cow_delegate_find((char *[]){second, NULL}, NULL);
		is_str(found, second, "an absolute path");
	}
	unsetenv("PATH");
	{
		cleanup_free char *found = cow_delegate_find((char *[]){"sh", NULL}, NULL);
		ok(found != NULL && found[0] == '/', "without PATH: in the usual places");
	}
	{
		cleanup_error struct cow_error *err = NULL;
		ok(cow_delegate_find((char *[]){"none-such", "/none/either", NULL}, &err) == NULL, "none of them");
		ok(strstr(err->message, "none-such, /none/either") != NULL, "the error names all");
	}
	{
		cleanup_error struct cow_error *err = NULL;
		char self[4096] = "";
		ok(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0, "our own path");
		ok(cow_delegate_find((char *[]){self, NULL}, &err) == NULL, "never ourselves");
		ok(strstr(err->message, "itself") != NULL, "and it says so");
		cleanup_free char *link = path_of("runtime");
		ok(symlink(self, link) == 0, "a link to ourselves");
		ok(cow_delegate_find((char *[]){link, NULL}, NULL) == NULL, "is not taken either");
	}
	{
		cleanup_error struct cow_error *err = NULL;
		ok(cow_delegate_find((char *[]){dir, NULL}, &err) == NULL, "a directory is no program");
	}
}

static void test_answers(void)
{
	struct cow_delegate_ability can = {0};

	ok(cow_ability_of_crun("crun version 1.8.1\nspec: 1.0.0\n+SYSTEMD +SECCOMP +EBPF\n", &can) &&
		   can.wait_killable && can.kind == COW_DELEGATE_CRUN,
	   "crun 1.8.1");
	ok(cow_ability_of_crun("crun version 1.5\n+SECCOMP\n", &can) && !can.wait_killable, "crun 1.5 is too old");
	ok(cow_ability_of_crun("crun version 1.20-dirty\n+SECCOMP\n", &can) && can.wait_killable, "1.20 is not 1.2");
	ok(cow_ability_of_crun("crun version 2.0\n+SECCOMP\n", &can) && can.wait_killable, "crun 2.0");
	ok(cow_ability_of_crun("crun version 1.8.1\n+SYSTEMD\n", &can) && !can.wait_killable, "built without seccomp");
	ok(!cow_ability_of_crun("runc version 1.1.5\n", &can), "runc is not crun");
	cow_ability_of_features(
		"{\"linux\":{\"seccomp\":{\"enabled\":true,\"supportedFlags\":[\"SECCOMP_FILTER_FLAG_TSYNC\","
		"\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"]}}}",
		&can);
	ok(can.wait_killable, "features with the flag");
	cow_ability_of_features("{\"linux\":{\"seccomp\":{\"enabled\":true,\"knownFlags\":["
				"\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"],\"supportedFlags\":[]}}}",
				&can);
	ok(!can.wait_killable, "known to the delegate, but not to the kernel");
	cow_ability_of_features("{\"linux\":{\"seccomp\":{\"enabled\":false,\"supportedFlags\":["
				"\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"]}}}",
				&can);
	ok(!can.wait_killable, "seccomp disabled");
	cow_ability_of_features("no JSON", &can);
	ok(!can.wait_killable, "no JSON");
}

static void make_runtime(const char *version)
{
	cleanup_free char *script = NULL;

	if (asprintf(&script, "#!/bin/sh\necho asked >>%s/asked\necho '%s'\n", dir, version) < 0)
		abort();
	write_file("crun", script, 0755);
}

static size_t times_asked(void)
{
	cleanup_free char *path = path_of("asked");
	struct stat st;

	return stat(path, &st) == 0 ? (size_t)st.st_size / strlen("asked\n") : 0;
}

static void test_cache(void)
{
	cleanup_free char *runtime = path_of("crun");
	cleanup_free char *store = path_of("store");
	struct cow_delegate_ability can;

	make_runtime("crun version 1.8.1 +SECCOMP");
	ok(cow_delegate_ask(runtime, store, &can, NULL) == 0 && can.wait_killable, "asked");
	ok(cow_delegate_ask(runtime, store, &can, NULL) == 0 && can.wait_killable && can.kind == COW_DELEGATE_CRUN,
	   "remembered");
	ok(times_asked() == 1, "once");
	make_runtime("crun version 1.5 +SECCOMP.");
	ok(cow_delegate_ask(runtime, store, &can, NULL) == 0 && !can.wait_killable, "another program is asked again");
	write_file("store/delegates.json", "{ broken", 0600);
	ok(cow_delegate_ask(runtime, store, &can, NULL) == 0 && !can.wait_killable && times_asked() == 3,
	   "and when the cache is broken");
	write_file("store/delegates.json", "[]", 0600);
	ok(cow_delegate_ask(runtime, store, &can, NULL) == 0 && times_asked() == 4, "or no object");
	ok(cow_delegate_ask(runtime, "/proc/none", &can, NULL) == 0 && times_asked() == 5, "or cannot be written");
	write_file("crun", "#!/bin/sh\nexit 3\n", 0755);
	{
		cleanup_error struct cow_error *err = NULL;
		ok(cow_delegate_ask(runtime, store, &can, &err) == -1 && strstr(err->message, runtime) != NULL,
		   "one that fails is an error that names it");
	}
}

static void test_listen_fds(void)
{
	char pid[24];

	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_PID");
	ok(cow_delegate_listen_fds(COW_DELEGATE_CRUN, false) == 0, "none");
	setenv("LISTEN_FDS", "2", 1);
	ok(cow_delegate_listen_fds(COW_DELEGATE_CRUN, false) == 2, "crun counts them without LISTEN_PID");
	ok(cow_delegate_listen_fds(COW_DELEGATE_CRUN, true) == 2, "for exec too");
	ok(cow_delegate_listen_fds(COW_DELEGATE_RUNC, false) == 0, "runc does not");
	snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	setenv("LISTEN_PID", pid, 1);
	ok(cow_delegate_listen_fds(COW_DELEGATE_RUNC, false) == 2, "but if they are for this process");
	ok(cow_delegate_listen_fds(COW_DELEGATE_RUNC, true) == 0, "and never for exec");
	setenv("LISTEN_FDS", "2x", 1);
	ok(cow_delegate_listen_fds(COW_DELEGATE_CRUN, false) == 0, "no number");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_PID");
}

static void expect_settings(const char *text, const char *part)
{
	cleanup_error struct cow_error *err = NULL;
	cleanup_settings struct cow_settings s;
	cleanup_free char *path = path_of("config.json");

	write_file("config.json", text, 0644);
	ok(cow_settings_read(&s, &err) == -1 && strstr(err->message, path) != NULL &&
		   strstr(err->message, part) != NULL,
	   "configuration %s", text);
}

static void test_settings(void)
{
	cleanup_free char *path = path_of("config.json");

	unlink(path);
	setenv("COWRUN_CONFIG", path, 1);
	{
		cleanup_settings struct cow_settings s;
		ok(cow_settings_read(&s, NULL) == 0 && s.listener == COW_LISTENER_AUTO, "no file");
		ok(strcmp(s.runtimes[0], "crun") == 0 && strcmp(s.runtimes[1], "runc") == 0 && s.runtimes[2] == NULL,
		   "crun, then runc");
	}
	write_file("config.json", "{\"runtimes\":[\"/x/youki\",\"runc\",\"crun\"],\"listener\":\"init\"}", 0644);
	{
		cleanup_settings struct cow_settings s;
		ok(cow_settings_read(&s, NULL) == 0 && s.listener == COW_LISTENER_INIT, "\"listener\"");
		ok(strcmp(s.runtimes[0], "/x/youki") == 0 && s.runtimes[3] == NULL, "\"runtimes\"");
	}
	setenv("COWRUN_RUNTIME", "mine", 1);
	setenv("COWRUN_LISTENER", "delegate", 1);
	{
		cleanup_settings struct cow_settings s;
		ok(cow_settings_read(&s, NULL) == 0 && s.listener == COW_LISTENER_DELEGATE, "COWRUN_LISTENER");
		ok(strcmp(s.runtimes[0], "mine") == 0 && s.runtimes[1] == NULL, "COWRUN_RUNTIME");
	}
	setenv("COWRUN_LISTENER", "both", 1);
	{
		cleanup_error struct cow_error *err = NULL;
		cleanup_settings struct cow_settings s;
		ok(cow_settings_read(&s, &err) == -1 && strstr(err->message, "COWRUN_LISTENER") != NULL, "a wrong one");
	}
	unsetenv("COWRUN_RUNTIME");
	unsetenv("COWRUN_LISTENER");
	expect_settings("{\"runtimes\": 7", "JSON");
	expect_settings("[]", "object");
	expect_settings("{\"runtimes\": 7}", "runtimes");
	expect_settings("{\"runtimes\": []}", "runtimes");
	expect_settings("{\"runtimes\": [\"\"]}", "runtimes");
	expect_settings("{\"runtimes\": [\"bin/runc\"]}", "runtimes");
	expect_settings("{\"runtimes\": [7]}", "runtimes");
	expect_settings("{\"listener\": \"x\"}", "listener");
	expect_settings("{\"mounts\": 0}", "mounts");
	expect_settings("{\"mounts\": \"many\"}", "mounts");
	expect_settings("{\"listener\": true}", "listener");
	expect_settings("{\"runtime\": [\"runc\"]}", "runtime");
}

int main(void)
{
	cleanup_free char *command = NULL;

	if (mkdtemp(dir) == NULL)
		abort();
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	test_find();
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	test_answers();
	test_cache();
	test_listen_fds();
	test_settings();
	if (asprintf(&command, "rm -rf %s", dir) < 0 || system(command) != 0)
		return 1;
	return done_testing();
}
