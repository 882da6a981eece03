#include "prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/log.h"
#include "../lib/message.h"
#include "../lib/place.h"
#include "agent.h"
#include "spec.h"

/*
 * The order of things. KEY reserves the id. Then all that can be checked is, before anything else is made: the
 * request's trees, the delegate. Then the branch; the agent, which takes the branch's lock; meanwhile the edit in
 * memory, which says which way to the listener is taken, and state.json, which the hook reads. config.json is replaced
 * as the last, so that a bundle is never edited for a container that cannot be.
 */

/* --- KEY ---------------------------------------------------------------------------------------------------------- */

/* A KEY that is there: of a living container, or left by a wrapper or an agent that was killed. */
static int check_stale(struct cow_preparation *p, struct cow_error **err)
{
	cleanup_json struct cow_json *status = cow_agent_status(p->key.path, NULL);
	cleanup_json struct cow_json *state = cow_key_read(&p->key, NULL);
	const char *delegate = cow_json_string(cow_json_get(state, "delegate"));

	if (status != NULL || cow_wrapper_exists(p->w, delegate != NULL ? delegate : p->w->delegate, p->id))
		return cow_error_set(err, 0, "container %s exists already", p->id);
	if (cow_agent_stop(p->key.path, err) != 0)
		return -1;
	return cow_key_remove(&p->key, true, err);
}

static int take_key(struct cow_preparation *p, struct cow_error **err)
{
	cleanup_free char *path = NULL;
	int made;

	if (p->w->state == NULL) {
		p->w->state = cow_place_state(err);
		if (p->w->state == NULL)
			return -1;
	}
	path = cow_place_container(p->w->state, p->w->root, p->id, err);
	made = path != NULL ? cow_key_make(&p->key, p->w->state, path, err) : -1;
	if (made < 0)
		return -1;
	if (made == 0 && check_stale(p, err) != 0)
		return -1;
	p->key_taken = true;
	return 0;
}

/* --- the edit ----------------------------------------------------------------------------------------------------- */

static int choose_way(struct cow_preparation *p, struct cow_error **err)
{
	enum cow_listener_way way = p->w->settings.listener;
	struct cow_delegate_ability can;
	int preserved;

	if (cow_delegate_ask(p->w->delegate, p->store, &can, err) != 0 ||
	    cow_args_preserve_fds(&p->w->args, &preserved, err) != 0)
		return -1;
	if (way == COW_LISTENER_DELEGATE && !can.wait_killable)
		return cow_error_set(err, 0,
				     "%s does not take SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: \"listener\" cannot be "
				     "\"delegate\"",
				     p->w->delegate);
	p->by_delegate = can.wait_killable;
	p->listener_number = STDERR_FILENO + 1 + cow_delegate_listen_fds(can.kind, false) + preserved;
	return 0;
}

/* Fails with the error of the program that is missing. */
static int find_programs(char *programs[3], struct cow_error **err)
{
	static const char *const names[3] = {"cowrun-hook", "cowrun-init", "cowrun-agent"};

	for (size_t i = 0; i < 3; i++) {
		programs[i] = cow_place_program(names[i], err);
		if (programs[i] == NULL)
			return -1;
	}
	return 0;
}

static int edit(struct cow_preparation *p, struct cow_json *spec, char *const programs[3],
		char init_path[COW_SPEC_PATH_MAX], struct cow_error **err)
{
	struct cow_spec_plan plan = {.request = p->request,
				     .branch = p->branch,
				     .store = p->store,
				     .key_dir = p->key.path,
				     .hook = programs[0],
				     .init = programs[1],
				     .way = p->w->settings.listener,
				     .by_delegate = p->by_delegate,
				     .listener_fd = p->listener_number};

	if (cow_spec_edit(spec, &plan, init_path, err) != 0)
		return -1;
	if (!plan.by_delegate && plan.way == COW_LISTENER_DELEGATE)
		return cow_error_set(err, 0,
				     "the bundle's seccomp profile cannot be merged: \"listener\" cannot be "
				     "\"delegate\"");
	p->by_delegate = plan.by_delegate;
	return 0;
}

/* --- state.json --------------------------------------------------------------------------------------------------- */

static struct cow_json *trees_json(const struct cow_preparation *p)
{
	struct cow_json *trees = cow_json_new_array();

	for (size_t i = 0; i < p->request->nworkdirs; i++) {
		struct cow_json *tree = cow_json_new_object();
		struct cow_json *points = cow_json_new_array();

		for (char **m = p->trees[i].mountpoints; m != NULL && *m != NULL; m++)
			cow_json_append(points, cow_json_new_string(*m));
		cow_json_set(tree, "workdir", cow_json_new_string(p->trees[i].workdir));
		cow_json_set(tree, "lower", cow_json_new_string(p->trees[i].lower));
		cow_json_set(tree, "mountpoints", points);
		cow_json_append(trees, tree);
	}
	return trees;
}

/* init_path NULL: before the edit. The agent only reads whose it is and which branch. */
static int write_state(const struct cow_preparation *p, const struct cow_json *spec, const char *init_path,
		       struct cow_error **err)
{
	cleanup_json struct cow_json *o = cow_json_new_object();
	const char *cwd = cow_json_string(cow_json_path(spec, "process.cwd"));
	const struct {
		const char *key, *value;
	} texts[] = {
		{"id", p->id},
		{"root", p->w->root},
		{"bundle", p->bundle->path},
		{"rootfs", p->rootfs},
		{"store", p->store},
		{"branch", p->branch->name},
		{"listener", p->by_delegate ? "delegate" : "init"},
		{"onExit", p->request->on_exit},
		{"delegate", p->w->delegate},
		{"cwd", cwd != NULL ? cwd : "/"},
		{"init", init_path},
	};

	cow_json_set(o, "version", cow_json_new_int(1));
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (texts[i].value != NULL)
			cow_json_set(o, texts[i].key, cow_json_new_string(texts[i].value));
	cow_json_set(o, "landlock", cow_json_new_bool(p->request->landlock));
	if (p->w->settings.mounts > 0)
		cow_json_set(o, "mounts", cow_json_new_int(p->w->settings.mounts));
	cow_json_set(o, "trees", trees_json(p));
	return cow_key_write(&p->key, o, err);
}

/* --- the agent ---------------------------------------------------------------------------------------------------- */

static bool same_list(char *const *a, char *const *b)
{
	static char *const none[] = {NULL};

	a = a != NULL ? a : none;
	b = b != NULL ? b : none;
	while (*a != NULL && *b != NULL && strcmp(*a, *b) == 0)
		a++, b++;
	return *a == NULL && *b == NULL;
}

/* Only now: the agent has the branch's lock, so nobody else changes or uses it. */
static int record_mountpoints(struct cow_preparation *p, struct cow_error **err)
{
	for (size_t i = 0; i < p->branch->ntrees; i++)
		if (!same_list(p->branch->trees[i].mountpoints, p->trees[i].mountpoints) &&
		    cow_branch_set_mountpoints(p->branch, i, p->trees[i].mountpoints, err) != 0)
			return -1;
	return 0;
}

static int connect_listener(struct cow_preparation *p, struct cow_error **err)
{
	cleanup_free char *path = NULL;
	char text[16];
	int preserved;

	if (p->by_delegate)
		return 0;
	if (asprintf(&path, "%s/init.sock", p->key.path) < 0)
		abort();
	p->listener = cow_socket_connect(path, SOCK_STREAM, err);
	if (p->listener < 0 || cow_args_preserve_fds(&p->w->args, &preserved, err) != 0)
		return -1;
	snprintf(text, sizeof(text), "%d", preserved + 1);
	cow_args_set(&p->w->args, COW_OPTION_PRESERVE_FDS, text);
	return 0;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

/* The edit, and the new config.json beside the old one. */
static int edit_and_stage(struct cow_preparation *p, struct cow_json *spec, char *const programs[3],
			  struct cow_error **err)
{
	char init_path[COW_SPEC_PATH_MAX];

	if (edit(p, spec, programs, init_path, err) != 0 || write_state(p, spec, init_path, err) != 0)
		return -1;
	return cow_bundle_stage(p->bundle, spec, err);
}

/* The agent takes a moment to start, and the edit another: both at once. */
static int start_agent(struct cow_preparation *p, struct cow_json *spec, char *const programs[3],
		       const struct cow_signals *signals, struct cow_error **err)
{
	struct cow_agent_start start;
	int edited;

	if (write_state(p, spec, NULL, err) != 0 ||
	    cow_agent_start(&start, programs[2], p->key.path, signals, err) != 0)
		return -1;
	edited = edit_and_stage(p, spec, programs, err);
	/* An agent that is not wanted any more is waited for all the same: then it can be told to go. */
	if (cow_agent_await(&start, edited == 0 ? err : NULL) != 0)
		return -1;
	p->agent_started = true;
	cow_key_unlock(&p->key);
	return edited;
}

static int prepare(struct cow_preparation *p, struct cow_json *spec, char *programs[3],
		   const struct cow_signals *signals, struct cow_error **err)
{
	p->store = cow_place_store(err);
	if (p->store == NULL || find_programs(programs, err) != 0 || take_key(p, err) != 0)
		return -1;
	p->rootfs = cow_spec_rootfs(spec, p->bundle->path, err);
	if (p->rootfs == NULL ||
	    cow_spec_trees(spec, p->request, p->bundle->path, p->store, p->w->state, p->trees, err) != 0 ||
	    choose_way(p, err) != 0)
		return -1;
	p->branch = cow_branch_create(p->store, p->request->branch, p->id, p->trees, p->request->nworkdirs,
				      &p->branch_made, err);
	if (p->branch == NULL || start_agent(p, spec, programs, signals, err) != 0 || record_mountpoints(p, err) != 0 ||
	    connect_listener(p, err) != 0)
		return -1;
	return cow_bundle_replace(p->bundle, err);
}

int cow_prepare(struct cow_preparation *p, struct cow_json *spec, const struct cow_signals *signals,
		struct cow_error **err)
{
	char *programs[3] = {NULL, NULL, NULL};
	int result, signal;

	p->listener = -1;
	p->key = COW_KEY_NONE;
	result = prepare(p, spec, programs, signals, err);
	for (size_t i = 0; i < 3; i++)
		free(programs[i]);
	if (result != 0)
		return -1;
	signal = cow_signals_pending(signals);
	return signal == 0 ? 0 : cow_error_set(err, 0, "ended by signal %d before the container was made", signal);
}

static void complain(struct cow_error **err)
{
	if (*err != NULL)
		cow_log_warning("%s", (*err)->message);
	cow_error_free(*err);
	*err = NULL;
}

bool cow_preparation_used(const struct cow_preparation *p)
{
	/* cow_branch_set_container: the agent writes it when the hook hands the container over. */
	return p->branch != NULL && faccessat(p->branch->dirfd, "container", F_OK, 0) == 0;
}

static void drop_branch(struct cow_preparation *p)
{
	cleanup_error struct cow_error *err = NULL;

	if (cow_branch_lock(p->branch, &err) != 0 || cow_branch_remove(p->branch, &err) != 0)
		complain(&err);
}

void cow_unprepare(struct cow_preparation *p, bool unused)
{
	cleanup_error struct cow_error *err = NULL;
	cleanup_key struct cow_key k = COW_KEY_NONE;
	bool drop = p->branch_made;

	if (cow_bundle_restore(p->bundle, &err) != 0)
		complain(&err);
	if (!p->key_taken)
		return;
	/* The lock again, if it was given up. If KEY is gone, somebody's delete has done all that is to be done. */
	if (p->agent_started && cow_key_lock(&k, p->key.path, &err) <= 0) {
		complain(&err);
		return;
	}
	drop = drop && (unused || !cow_preparation_used(p));
	if (p->agent_started && cow_agent_stop(p->key.path, &err) != 0)
		complain(&err);
	if (cow_key_remove(&p->key, false, &err) != 0)
		complain(&err);
	if (drop)
		drop_branch(p);
}

void cow_preparation_free(struct cow_preparation *p)
{
	free(p->store);
	free(p->rootfs);
	cow_key_close(&p->key);
	cow_spec_trees_free(p->trees, p->request != NULL ? p->request->nworkdirs : 0);
	cow_branch_free(p->branch);
	p->branch = NULL;
	cow_close_fd(&p->listener);
}
