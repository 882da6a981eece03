/* config.json on disk, and the KEY directory. */
#include "tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../runtime/lib/fd.h"
#include "../../runtime/wrapper/bundle.h"
#include "../../runtime/wrapper/key.h"

static char dir[] = "/tmp/cowrun-bundle.XXXXXX";

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

static char *content(const char *name)
{
	cleanup_free char *path = path_of(name);
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t size;

	return fd < 0 ? NULL : cow_read_to_end(fd, 1 << 20, &size);
}

static size_t entries(const char *path)
{
	cleanup_dir DIR *d = opendir(path);
	size_t n = 0;

	while (d != NULL && readdir(d) != NULL)
		n++;
	return n - 2;
}

static int may_ask(const char *text)
{
	cleanup_bundle struct cow_bundle b;

	write_file("config.json", text, 0644);
	if (cow_bundle_read(&b, dir, NULL, NULL) != 0)
		abort();
	return cow_bundle_may_ask(&b, NULL);
}

static void test_first_look(void)
{
	ok(may_ask("{\"annotations\":{\"run.cowrun.workdir\":\"/w\"}}") == 1, "an annotation");
	ok(may_ask("{\"annotations\":{\"Run.COWRUN.workdir\":\"/w\"}}") == 1, "in any case");
	ok(may_ask("{\"annotations\":{\"run\\u002ecowrun.workdir\":\"/w\"}}") == 1, "or hidden by an escape");
	ok(may_ask("{\"annotations\":{\"run.cowrun") == 1, "or cut off: the parser will say so");
	ok(may_ask(" {\"a\":[{\"b\":\"}\\\"]\"}, 1]} \n") == 0, "none, in a whole object");
	ok(may_ask("{\"a\":1,\"a\":2}") == 0, "the delegate's parser judges the rest");
	ok(may_ask("") == -1, "empty");
	ok(may_ask(" \n\t") == -1, "blank");
	ok(may_ask("[]") == -1, "no object");
	ok(may_ask("[[[[[[[[[[[[") == -1, "only brackets");
	ok(may_ask("{\"a\":{}") == -1, "cut off between");
	ok(may_ask("{\"a\":\"b") == -1, "cut off in a string");
	ok(may_ask("{\"a\":\"b\\") == -1, "cut off in an escape");
	ok(may_ask("}{") == -1, "closed before it was opened");
}

static void test_read(void)
{
	cleanup_error struct cow_error *no_dir = NULL, *no_file = NULL, *fifo = NULL, *huge = NULL;
	cleanup_free char *config = path_of("config.json");
	struct cow_bundle b;

	ok(cow_bundle_read(&b, "/none/such", NULL, &no_dir) == -1 && strstr(no_dir->message, "/none/such") != NULL,
	   "no such bundle");
	cow_bundle_free(&b);
	unlink(config);
	ok(cow_bundle_read(&b, dir, NULL, &no_file) == -1 && strstr(no_file->message, config) != NULL,
	   "no config.json");
	cow_bundle_free(&b);
	ok(mkfifo(config, 0600) == 0, "a FIFO");
	ok(cow_bundle_read(&b, dir, NULL, &fifo) == -1 && strstr(fifo->message, "not a file") != NULL,
	   "is not waited for");
	cow_bundle_free(&b);
	unlink(config);
	write_file("config.json", "", 0600);
	ok(truncate(config, COW_BUNDLE_CONFIG_MAX + 1) == 0, "a huge file");
	ok(cow_bundle_read(&b, dir, NULL, &huge) == -1 && strstr(huge->message, "larger") != NULL, "is refused");
	cow_bundle_free(&b);
	unlink(config);
	write_file("other.json", "{}", 0600);
	ok(cow_bundle_read(&b, dir, "other.json", NULL) == 0 && b.size == 2, "another name");
	is_str(b.path, dir, "the bundle's path");
	cow_bundle_free(&b);
}

static void test_replace(void)
{
	static const char original[] = "{ \"n\" : 1.50 }\n";
	cleanup_free char *config = path_of("config.json");
	cleanup_bundle struct cow_bundle b;
	cleanup_json struct cow_json *spec = NULL;
	struct stat st;
	size_t before;

	write_file("config.json", original, 0640);
	ok(chown(config, 12, 34) == 0, "somebody's file");
	before = entries(dir);
	ok(cow_bundle_read(&b, dir, NULL, NULL) == 0, "read");
	spec = cow_bundle_parse(&b, NULL);
	cow_json_set(spec, "added", cow_json_new_bool(true));
	ok(cow_bundle_stage(&b, spec, NULL) == 0 && entries(dir) == before + 1, "staged");
	{
		cleanup_free char *now = content("config.json");
		is_str(now, original, "nothing has changed yet");
	}
	ok(cow_bundle_replace(&b, NULL) == 0 && entries(dir) == before, "replaced, nothing left beside it");
	{
		cleanup_free char *now = content("config.json");
		is_str(now, "{\"n\":1.50,\"added\":true}", "by the new text");
	}
	ok(stat(config, &st) == 0 && (st.st_mode & 07777) == 0640 && st.st_uid == 12 && st.st_gid == 34,
	   "mode and owner stay");
	ok(cow_bundle_restore(&b, NULL) == 0, "restored");
	{
		cleanup_free char *now = content("config.json");
		is_str(now, original, "to the letter");
	}
	ok(stat(config, &st) == 0 && (st.st_mode & 07777) == 0640 && st.st_uid == 12 && st.st_gid == 34,
	   "with mode and owner");
	ok(cow_bundle_stage(&b, spec, NULL) == 0 && cow_bundle_restore(&b, NULL) == 0 && entries(dir) == before,
	   "what was only staged is removed");
	ok(cow_bundle_stage(&b, spec, NULL) == 0 && cow_bundle_replace(&b, NULL) == 0, "replaced again");
	unlink(config);
	write_file("config.json", "{\"engine\":1}", 0640);
	ok(cow_bundle_restore(&b, NULL) == 0, "the engine has written its own meanwhile");
	{
		cleanup_free char *now = content("config.json");
		is_str(now, "{\"engine\":1}", "which stays");
	}
}

/* flock is by open file: another process finds the directory locked. */
static int make_elsewhere(const char *path)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct cow_key k = COW_KEY_NONE;
		int made = cow_key_make(&k, dir, path, NULL);

		_exit(made + 1);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) - 1 : -2;
}

static void test_key(void)
{
	cleanup_free char *path = path_of("id.00000000");
	struct cow_key k = COW_KEY_NONE, other = COW_KEY_NONE;
	cleanup_json struct cow_json *state = cow_json_parse("{\"id\":\"id\"}", 11, NULL);

	ok(cow_key_open(&k, path, NULL) == 0, "there is none");
	ok(cow_key_lock(&k, path, NULL) == 0, "nor to lock");
	ok(cow_key_make(&k, dir, path, NULL) == 1, "made");
	ok(make_elsewhere(path) == -1, "and held against others");
	ok(cow_key_write(&k, state, NULL) == 0, "state.json");
	{
		cleanup_json struct cow_json *back = cow_key_read(&k, NULL);
		is_str(cow_json_string(cow_json_get(back, "id")), "id", "read again");
	}
	cow_key_unlock(&k);
	ok(make_elsewhere(path) == 0, "unlocked it is found, not made");
	ok(cow_key_lock(&other, path, NULL) == 1, "locked by another");
	ok(cow_key_remove(&other, false, NULL) == 0 && access(path, F_OK) != 0, "who removes it");
	cow_key_close(&other);
	ok(cow_key_make(&other, dir, path, NULL) == 1, "and makes a new one");
	cow_key_close(&k);
	ok(make_elsewhere(path) == -1, "held again");
	ok(cow_key_remove(&other, true, NULL) == 0 && entries(path) == 0, "emptied");
	ok(cow_key_remove(&other, false, NULL) == 0, "removed");
	ok(cow_key_remove(&other, false, NULL) == 0, "twice");
	cow_key_close(&other);
}

int main(void)
{
	cleanup_free char *command = NULL;

	if (mkdtemp(dir) == NULL)
		abort();
	test_first_look();
	test_read();
	test_replace();
	test_key();
	if (asprintf(&command, "rm -rf %s", dir) < 0 || system(command) != 0)
		return 1;
	return done_testing();
}
