#include "wrapper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/fd.h"
#include "../lib/log.h"
#include "../lib/place.h"

enum { ASK_SECONDS = 30 };

void cow_wrapper_open_log(const struct cow_args *a)
{
	const char *path = cow_args_value(a, COW_OPTION_LOG);
	const char *format = cow_args_value(a, COW_OPTION_LOG_FORMAT);

	if (cow_args_flag(a, COW_OPTION_DEBUG))
		cow_log_set_level(COW_LOG_DEBUG);
	if (path == NULL || strcmp(path, "/dev/stderr") == 0)
		return;
	/* crun's other targets, and its name for this one. */
	if (strncmp(path, "journald:", 9) == 0 || strncmp(path, "syslog:", 7) == 0)
		return;
	if (strncmp(path, "file:", 5) == 0)
		path += 5;
	(void)cow_log_open_file(path, format != NULL && strcmp(format, "json") == 0);
}

int cow_wrapper_choose(struct cow_wrapper *w, struct cow_error **err)
{
	if (w->delegate != NULL)
		return 0;
	if (cow_settings_read(&w->settings, err) != 0)
		return -1;
	w->delegate = cow_delegate_find(w->settings.runtimes, err);
	return w->delegate != NULL ? 0 : -1;
}

int cow_wrapper_recorded(struct cow_wrapper *w, const struct cow_json *state, struct cow_error **err)
{
	const char *path = cow_json_string(cow_json_get(state, "delegate"));
	char *names[] = {(char *)path, NULL};

	if (path == NULL)
		return cow_wrapper_choose(w, err);
	free(w->delegate);
	w->delegate = cow_delegate_find(names, err);
	return w->delegate != NULL ? 0 : cow_error_wrap(err, "the container's own delegate");
}

int cow_wrapper_pass(struct cow_wrapper *w, struct cow_error **err)
{
	cleanup_free char **argv = NULL;

	if (cow_wrapper_choose(w, err) != 0)
		return -1;
	argv = calloc((size_t)w->args.argc + 2, sizeof(*argv));
	if (argv == NULL)
		abort();
	argv[0] = w->delegate;
	for (int i = 1; i < w->args.argc; i++)
		argv[i] = w->args.argv[i];
	return cow_process_become(w->delegate, argv, err);
}

int cow_wrapper_delegate(struct cow_wrapper *w, const struct cow_signals *signals, int fd, int fd_number,
			 bool *signalled, struct cow_error **err)
{
	cleanup_vector char **argv = cow_args_render(&w->args, w->delegate);
	pid_t pid = cow_process_start(
		&(struct cow_process){.path = w->delegate, .argv = argv, .fd = fd, .fd_number = fd_number}, signals,
		err);

	return pid < 0 ? -1 : cow_process_wait(pid, signals, signalled);
}

bool cow_wrapper_exists(const struct cow_wrapper *w, const char *delegate, const char *id)
{
	cleanup_vector char **argv = cow_args_render_other(&w->args, delegate, "state", id);

	return cow_process_ask(delegate, argv, false, ASK_SECONDS, NULL, NULL) == 0;
}

char *cow_wrapper_key_path(const struct cow_wrapper *w, const char *id)
{
	return w->state != NULL && cow_place_id_valid(id) ? cow_place_container(w->state, w->root, id, NULL) : NULL;
}

/* Commands that only pass: with the delegate of the container that one of the words names. */
static int pass_other(struct cow_wrapper *w, struct cow_error **err)
{
	for (size_t i = 0; i < w->args.nwords; i++) {
		cleanup_free char *path = cow_wrapper_key_path(w, w->args.words[i]);
		cleanup_key struct cow_key k = COW_KEY_NONE;
		cleanup_json struct cow_json *state = NULL;

		if (path == NULL || cow_key_open(&k, path, NULL) <= 0)
			continue;
		state = cow_key_read(&k, NULL);
		if (state != NULL) {
			if (cow_wrapper_recorded(w, state, err) != 0)
				return -1;
			break;
		}
	}
	return cow_wrapper_pass(w, err);
}

static int dispatch(struct cow_wrapper *w, struct cow_error **err)
{
	if (cow_args_flag(&w->args, COW_OPTION_HELP))
		return cow_wrapper_pass(w, err);
	switch (w->args.verb) {
	case COW_VERB_CREATE:
	case COW_VERB_RUN:
	case COW_VERB_RESTORE:
		return cow_create(w, err);
	case COW_VERB_EXEC:
		return cow_exec(w, err);
	case COW_VERB_DELETE:
		return cow_delete(w, err);
	default:
		return pass_other(w, err);
	}
}

int cow_wrapper_run(int argc, char **argv, struct cow_error **err)
{
	struct cow_wrapper w = {0};
	int status = -1;

	cow_args_parse(&w.args, argc, argv);
	w.root = cow_args_root(&w.args, err);
	w.state = cow_place_state(NULL);
	if (w.root != NULL)
		status = dispatch(&w, err);
	if (status < 0)
		cow_wrapper_open_log(&w.args);
	free(w.root);
	free(w.state);
	free(w.delegate);
	cow_settings_free(&w.settings);
	cow_args_free(&w.args);
	return status;
}
