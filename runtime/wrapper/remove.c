#include "wrapper.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/fd.h"
#include "../lib/log.h"
#include "../lib/place.h"
#include "agent.h"

/*
 * Taking a container's things away. Two may try at once (podman's cleanup and its rm; a `run` in the foreground and a
 * `delete` from elsewhere): the lock on KEY lets one do it, and the other finds nothing.
 */

enum { ON_EXIT_SECONDS = 24 * 60 * 60 }; /* a commit takes as long as it takes */

/*
 * `cowrun branch commit NAME` by this very program; a conflict leaves the branch for the user. The store is the
 * container's: engines call delete with another environment than create, or with none.
 */
static void on_exit_do(const char *what, const char *branch, const char *store)
{
	static const char program[] = "cowrun: ";
	char *const argv[] = {"cowrun", "branch", (char *)what, (char *)branch, NULL};
	cleanup_error struct cow_error *err = NULL;
	cleanup_free char *said = NULL;
	const char *why;
	int status;

	setenv("COWRUN_STORE", store, 1);
	status = cow_process_ask("/proc/self/exe", argv, true, ON_EXIT_SECONDS, &said, &err);
	if (status == 0)
		return;
	if (said != NULL)
		said[strcspn(said, "\n")] = '\0';
	why = status < 0 ? err->message : said;
	if (strncmp(why, program, strlen(program)) == 0)
		why += strlen(program);
	cow_log_error(
		"run.cowrun.on-exit=%s: %s: branch %s is kept; see `cowrun branch diff %s`, then commit or discard it",
		what, why, branch, branch);
}

int cow_retire(struct cow_key *k, struct cow_error **err)
{
	cleanup_json struct cow_json *state = cow_key_read(k, NULL);
	const char *on_exit = cow_json_string(cow_json_get(state, "onExit"));
	const char *branch = cow_json_string(cow_json_get(state, "branch"));
	const char *store = cow_json_string(cow_json_get(state, "store"));

	if (cow_agent_stop(k->path, err) != 0 || cow_key_remove(k, false, err) != 0)
		return -1;
	cow_key_unlock(k);
	if (on_exit != NULL && branch != NULL && store != NULL && strcmp(on_exit, "keep") != 0)
		on_exit_do(on_exit, branch, store);
	return 0;
}

enum fate { FATE_LIVES, FATE_GONE };

/*
 * After the delegate's delete, whatever became of it: KEY is taken away if the delegate does not know the container any
 * more; or somebody else has done so meanwhile. An enum fate, or -1 with *err.
 */
static int retire_id(struct cow_wrapper *w, const char *path, const char *id, bool deleted, struct cow_error **err)
{
	cleanup_key struct cow_key k = COW_KEY_NONE;
	int found;

	if (!deleted && cow_wrapper_exists(w, w->delegate, id))
		return FATE_LIVES;
	found = cow_key_lock(&k, path, err);
	if (found < 0 || (found > 0 && cow_retire(&k, err) != 0))
		return -1;
	return FATE_GONE;
}

static int run_delegate(struct cow_wrapper *w, struct cow_error **err)
{
	cleanup_signals struct cow_signals signals = {.active = false};
	bool signalled;

	cow_signals_hold(&signals);
	return cow_wrapper_delegate(w, &signals, -1, -1, &signalled, err);
}

/* Was the container of KEY made by the delegate that is run now? */
static bool same_delegate(const struct cow_wrapper *w, const char *path)
{
	cleanup_key struct cow_key k = COW_KEY_NONE;
	cleanup_json struct cow_json *state = cow_key_open(&k, path, NULL) > 0 ? cow_key_read(&k, NULL) : NULL;
	const char *delegate = cow_json_string(cow_json_get(state, "delegate"));

	return delegate != NULL && strcmp(delegate, w->delegate) == 0;
}

/* The id of KEY `name` if it is one of this --root. Caller frees. */
static char *id_of(const struct cow_wrapper *w, const char *name)
{
	cleanup_key struct cow_key k = COW_KEY_NONE;
	cleanup_json struct cow_json *state = NULL;
	cleanup_free char *path = NULL;
	cleanup_free char *expected = NULL;
	const char *id;

	if (asprintf(&path, "%s/%s", w->state, name) < 0)
		abort();
	state = cow_key_open(&k, path, NULL) > 0 ? cow_key_read(&k, NULL) : NULL;
	id = cow_json_string(cow_json_get(state, "id"));
	expected = id != NULL ? cow_wrapper_key_path(w, id) : NULL;
	return expected != NULL && strcmp(expected, path) == 0 ? strdup(id) : NULL;
}

/* crun's `delete --regex`: every container of this --root that is gone afterwards. */
static int delete_regex(struct cow_wrapper *w, struct cow_error **err)
{
	cleanup_dir DIR *dir = w->state != NULL ? opendir(w->state) : NULL;
	int status;

	if (dir == NULL)
		return cow_wrapper_pass(w, err);
	if (cow_wrapper_choose(w, err) != 0)
		return -1;
	status = run_delegate(w, err);
	if (status < 0)
		return -1;
	cow_wrapper_open_log(&w->args);
	for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
		cleanup_free char *id = id_of(w, e->d_name);
		cleanup_free char *path = id != NULL ? cow_wrapper_key_path(w, id) : NULL;

		if (path != NULL && same_delegate(w, path) && retire_id(w, path, id, false, err) < 0)
			return -1;
	}
	return status;
}

int cow_delete(struct cow_wrapper *w, struct cow_error **err)
{
	const char *id = w->args.nwords > 0 ? w->args.words[0] : NULL;
	cleanup_free char *path = id != NULL ? cow_wrapper_key_path(w, id) : NULL;
	cleanup_key struct cow_key k = COW_KEY_NONE;
	cleanup_json struct cow_json *state = NULL;
	int status, found, fate;

	if (cow_args_flag(&w->args, COW_OPTION_REGEX))
		return delete_regex(w, err);
	if (path == NULL)
		return cow_wrapper_pass(w, err);
	found = cow_key_open(&k, path, err);
	if (found < 0)
		return -1;
	if (found == 0)
		return cow_wrapper_pass(w, err);
	state = cow_key_read(&k, NULL);
	cow_key_close(&k);
	if (cow_wrapper_recorded(w, state, err) != 0)
		return -1;
	status = run_delegate(w, err);
	if (status < 0)
		return -1;
	cow_wrapper_open_log(&w->args);
	fate = retire_id(w, path, id, status == 0, err);
	if (fate < 0)
		return -1;
	/* A container that never came to be, or was lost: --force means that it is no error. */
	return fate == FATE_GONE && cow_args_flag(&w->args, COW_OPTION_FORCE) ? 0 : status;
}
