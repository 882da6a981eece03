#include "delegate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/json.h"
#include "../lib/log.h"
#include "../lib/place.h"
#include "process.h"

/*
 * Which way to the listener a delegate allows (DESIGN, section 3). crun takes flags since 1.6, and does not list them
 * in `crun features`; runc's `features` names every flag that it and the kernel take. Asking costs 10 to 20 ms, so the
 * answer is kept.
 */

enum { ASK_SECONDS = 10, CACHE_MAX = 1 << 16, CACHE_ENTRIES = 16 };

static const char flag[] = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
static const char *const kinds[] = {"other", "runc", "crun"};

bool cow_ability_of_crun(const char *text, struct cow_delegate_ability *can)
{
	unsigned major, minor;

	if (sscanf(text, "crun version %u.%u", &major, &minor) != 2)
		return false;
	can->kind = COW_DELEGATE_CRUN;
	can->wait_killable = (major > 1 || (major == 1 && minor >= 6)) && strstr(text, "+SECCOMP") != NULL;
	return true;
}

void cow_ability_of_features(const char *text, struct cow_delegate_ability *can)
{
	cleanup_json struct cow_json *features = cow_json_parse(text, strlen(text), NULL);
	const struct cow_json *seccomp = cow_json_path(features, "linux.seccomp");
	const struct cow_json *flags = cow_json_get(seccomp, "supportedFlags");

	can->wait_killable = false;
	if (!cow_json_bool(cow_json_get(seccomp, "enabled"), false))
		return;
	for (size_t i = 0; i < cow_json_count(flags); i++) {
		const char *name = cow_json_string(cow_json_at(flags, i));

		if (name != NULL && strcmp(name, flag) == 0)
			can->wait_killable = true;
	}
}

static int ask(const char *path, struct cow_delegate_ability *can, struct cow_error **err)
{
	char *const version[] = {(char *)path, "--version", NULL};
	char *const features[] = {(char *)path, "features", NULL};
	cleanup_free char *told = NULL;
	cleanup_free char *listed = NULL;
	int status;

	*can = (struct cow_delegate_ability){.kind = COW_DELEGATE_OTHER};
	status = cow_process_ask(path, version, false, ASK_SECONDS, &told, err);
	if (status < 0)
		return -1;
	if (status != 0)
		return cow_error_set(err, 0, "%s --version ends with status %d", path, status);
	if (cow_ability_of_crun(told, can))
		return 0;
	if (strncmp(told, "runc version", strlen("runc version")) == 0)
		can->kind = COW_DELEGATE_RUNC;
	status = cow_process_ask(path, features, false, ASK_SECONDS, &listed, err);
	if (status < 0)
		return -1;
	if (status == 0)
		cow_ability_of_features(listed, can);
	return 0;
}

/* --- the cache ---------------------------------------------------------------------------------------------------- */

/* What makes it the same program on the same kernel. */
static char *identity(const char *path, struct cow_error **err)
{
	struct utsname kernel;
	struct stat st;
	char *key = NULL;

	if (stat(path, &st) != 0) {
		cow_error_set(err, errno, "%s", path);
		return NULL;
	}
	uname(&kernel);
	if (asprintf(&key, "%s dev %llu inode %llu size %lld mtime %lld.%09ld kernel %s", path,
		     (unsigned long long)st.st_dev, (unsigned long long)st.st_ino, (long long)st.st_size,
		     (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, kernel.release) < 0)
		abort();
	return key;
}

static bool recall(const struct cow_json *cache, const char *key, struct cow_delegate_ability *can)
{
	const struct cow_json *entry = cow_json_get(cache, key);
	const char *kind = cow_json_string(cow_json_get(entry, "kind"));

	if (kind == NULL)
		return false;
	can->kind = COW_DELEGATE_OTHER;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(kinds[i], kind) == 0)
			can->kind = (enum cow_delegate_kind)i;
	can->wait_killable = cow_json_bool(cow_json_get(entry, "waitKillable"), false);
	return true;
}

/* Two that write at once lose one entry; it is asked for again. */
static void keep(const char *store, const char *path, struct cow_json *cache, const char *key,
		 const struct cow_delegate_ability *can)
{
	cleanup_error struct cow_error *err = NULL;
	struct cow_json *entry = cow_json_new_object();

	while (cow_json_count(cache) >= CACHE_ENTRIES)
		cow_json_unset(cache, cow_json_key_at(cache, 0));
	cow_json_set(entry, "kind", cow_json_new_string(kinds[can->kind]));
	cow_json_set(entry, "waitKillable", cow_json_new_bool(can->wait_killable));
	cow_json_set(cache, key, entry);
	if (cow_place_make(store, &err) != 0 || cow_json_write_file(AT_FDCWD, path, cache, 0600, &err) != 0)
		cow_log_info("%s", err->message);
}

int cow_delegate_ask(const char *path, const char *store, struct cow_delegate_ability *can, struct cow_error **err)
{
	cleanup_free char *key = identity(path, err);
	cleanup_free char *file = NULL;
	cleanup_json struct cow_json *cache = NULL;

	if (key == NULL)
		return -1;
	if (asprintf(&file, "%s/delegates.json", store) < 0)
		abort();
	cache = cow_json_read_file(AT_FDCWD, file, CACHE_MAX, NULL);
	if (recall(cache, key, can))
		return 0;
	if (ask(path, can, err) != 0)
		return -1;
	if (cow_json_type_of(cache) != COW_JSON_OBJECT) {
		cow_json_free(cache);
		cache = cow_json_new_object();
	}
	keep(store, file, cache, key, can);
	return 0;
}

/* --- LISTEN_FDS --------------------------------------------------------------------------------------------------- */

int cow_delegate_listen_fds(enum cow_delegate_kind kind, bool exec)
{
	const char *fds = getenv("LISTEN_FDS");
	const char *pid = getenv("LISTEN_PID");
	char *end;
	long n;

	if (fds == NULL || (exec && kind != COW_DELEGATE_CRUN))
		return 0;
	if (kind != COW_DELEGATE_CRUN && (pid == NULL || strtol(pid, NULL, 10) != (long)getpid()))
		return 0;
	n = strtol(fds, &end, 10);
	return n > 0 && n < 4096 && *end == '\0' ? (int)n : 0;
}
