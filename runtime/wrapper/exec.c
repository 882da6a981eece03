#include "wrapper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/message.h"
#include "agent.h"
#include "spec.h"

/*
 * A further process in a container that has a branch. It must be under the filter and Landlock like the first one, so
 * cowrun-init goes before its command: in a copy of process.json, or on the command line. Where the delegate loads the
 * filter it does so here too (the container's own config.json says so); otherwise init gets a new connection to the
 * agent.
 */

enum { PROCESS_MAX = 16 << 20 };

struct entry {
	const char *init; /* cowrun-init's path in the container */
	const char *cwd;  /* the container's own */
	bool landlock;
	int listener, listener_number; /* init.sock, or -1 */
};

/* The agent must be there: without it every call of the new process that needs it would fail. */
static int read_entry(struct entry *e, const struct cow_key *k, const struct cow_json *state, struct cow_error **err)
{
	cleanup_json struct cow_json *status = cow_agent_status(k->path, err);
	const char *listener = cow_json_string(cow_json_get(state, "listener"));

	*e = (struct entry){.listener = -1, .listener_number = -1};
	if (status == NULL)
		return cow_error_wrap(err, "the container's agent is dead, nothing more can be started in it");
	e->init = cow_json_string(cow_json_get(state, "init"));
	e->cwd = cow_json_string(cow_json_get(state, "cwd"));
	e->landlock = cow_json_bool(cow_json_get(state, "landlock"), true);
	if (e->init == NULL || listener == NULL)
		return cow_error_set(err, 0, "%s/state.json: no \"init\" or \"listener\"", k->path);
	if (strcmp(listener, "init") == 0) {
		cleanup_free char *path = NULL;

		if (asprintf(&path, "%s/init.sock", k->path) < 0)
			abort();
		e->listener = cow_socket_connect(path, SOCK_STREAM, err);
		if (e->listener < 0)
			return -1;
	}
	return 0;
}

/* The connection comes behind whatever else the process is to inherit. */
static int number_listener(struct entry *e, struct cow_wrapper *w, const struct cow_json *state, struct cow_error **err)
{
	const char *store = cow_json_string(cow_json_get(state, "store"));
	struct cow_delegate_ability can;
	char text[16];
	int preserved;

	if (e->listener < 0)
		return 0;
	if (cow_args_preserve_fds(&w->args, &preserved, err) != 0 ||
	    cow_delegate_ask(w->delegate, store != NULL ? store : "/nonexistent", &can, err) != 0)
		return -1;
	e->listener_number = STDERR_FILENO + 1 + cow_delegate_listen_fds(can.kind, true) + preserved;
	snprintf(text, sizeof(text), "%d", preserved + 1);
	cow_args_set(&w->args, COW_OPTION_PRESERVE_FDS, text);
	return 0;
}

/* A new file in KEY, readable to us alone: process.json holds the process's environment. */
static int write_copy(const struct cow_key *k, const struct cow_json *process, char **path, struct cow_error **err)
{
	size_t size;
	cleanup_free char *text = cow_json_print(process, 0, &size);
	cleanup_free char *name = NULL;
	cleanup_close int fd = -1;
	unsigned long long random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return cow_error_set(err, errno, "getrandom");
	if (asprintf(&name, "exec.%016llx", random) < 0 || asprintf(path, "%s/%s", k->path, name) < 0)
		abort();
	fd = openat(k->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0 && cow_write_all(fd, text, size) == 0)
		return 0;
	cow_error_set(err, errno, "%s", *path);
	if (fd >= 0)
		unlinkat(k->dirfd, name, 0);
	return -1;
}

static int edit_file(struct cow_wrapper *w, const struct entry *e, const struct cow_key *k, const char *file,
		     char **copy, struct cow_error **err)
{
	cleanup_json struct cow_json *process = cow_json_read_file(AT_FDCWD, file, PROCESS_MAX, err);
	struct cow_json *args = cow_json_get(process, "args");

	if (process == NULL)
		return -1;
	if (cow_json_type_of(args) != COW_JSON_ARRAY || cow_json_count(args) == 0)
		return cow_error_set(err, 0, "%s: \"args\" is no list of words", file);
	if (cow_spec_prefix(args, e->init, e->listener_number, e->landlock,
			    cow_json_string(cow_json_get(process, "cwd")), err) != 0)
		return cow_error_wrap(err, "%s", file);
	if (write_copy(k, process, copy, err) != 0)
		return -1;
	cow_args_set(&w->args, COW_OPTION_PROCESS, *copy);
	return 0;
}

static int edit_words(struct cow_wrapper *w, const struct entry *e, struct cow_error **err)
{
	const char *cwd = cow_args_value(&w->args, COW_OPTION_CWD);
	cleanup_json struct cow_json *args = cow_json_new_array();
	cleanup_free char **words = NULL;

	for (size_t i = 1; i < w->args.nwords; i++)
		cow_json_append(args, cow_json_new_string(w->args.words[i]));
	if (cow_spec_prefix(args, e->init, e->listener_number, e->landlock, cwd != NULL ? cwd : e->cwd, err) != 0)
		return -1;
	words = calloc(cow_json_count(args) + 2, sizeof(*words));
	if (words == NULL)
		abort();
	words[0] = w->args.words[0];
	for (size_t i = 0; i < cow_json_count(args); i++)
		words[i + 1] = (char *)cow_json_string(cow_json_at(args, i));
	cow_args_set_words(&w->args, words);
	return 0;
}

static int enter(struct cow_wrapper *w, struct cow_key *k, const struct cow_json *state, struct cow_error **err)
{
	const char *file = cow_args_value(&w->args, COW_OPTION_PROCESS);
	cleanup_signals struct cow_signals signals = {.active = false};
	cleanup_free char *copy = NULL;
	struct entry e;
	bool signalled;
	int status = -1;

	cow_signals_hold(&signals);
	if (read_entry(&e, k, state, err) == 0 && number_listener(&e, w, state, err) == 0 &&
	    (file != NULL ? edit_file(w, &e, k, file, &copy, err) : edit_words(w, &e, err)) == 0)
		status = cow_wrapper_delegate(w, &signals, e.listener, e.listener_number, &signalled, err);
	if (copy != NULL)
		unlink(copy);
	cow_close_fd(&e.listener);
	return status;
}

/* An option that is not known may take a value, and hide the container's id. */
static bool names_container(const struct cow_wrapper *w)
{
	for (size_t i = 0; i < w->args.nwords; i++) {
		cleanup_free char *path = cow_wrapper_key_path(w, w->args.words[i]);

		if (path != NULL && access(path, F_OK) == 0)
			return true;
	}
	return false;
}

int cow_exec(struct cow_wrapper *w, struct cow_error **err)
{
	const char *id = w->args.nwords > 0 ? w->args.words[0] : NULL;
	cleanup_free char *path = id != NULL ? cow_wrapper_key_path(w, id) : NULL;
	cleanup_key struct cow_key k = COW_KEY_NONE;
	cleanup_json struct cow_json *state = NULL;
	int found = path != NULL ? cow_key_open(&k, path, err) : 0;

	if (found < 0)
		return -1;
	if (w->args.unknown != NULL && names_container(w))
		return cow_error_set(err, 0, "exec: unknown option %s", w->args.unknown);
	if (found == 0)
		return cow_wrapper_pass(w, err);
	state = cow_key_read(&k, err);
	if (state == NULL || cow_wrapper_recorded(w, state, err) != 0)
		return -1;
	if (w->args.nwords < 2 && cow_args_value(&w->args, COW_OPTION_PROCESS) == NULL)
		return cow_wrapper_pass(w, err); /* no command: the delegate says so */
	return enter(w, &k, state, err);
}
