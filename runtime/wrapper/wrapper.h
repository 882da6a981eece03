/*
 * The wrapper: runc's command line in front of crun or runc.
 *
 * create, run:  create.c. A bundle that asks for a branch is prepared (KEY directory, branch, agent, config.json) and
 * the delegate is run as a child, so that cowrun can take all of it back if no container comes of it. exec: exec.c.
 * cowrun-init goes before the command. delete:       remove.c. After the delegate's own delete: the agent, KEY, and
 * what run.cowrun.on-exit asks. all else, and every container that has no KEY directory: the delegate is executed in
 * cowrun's place.
 */
#pragma once

#include "../lib/error.h"
#include "args.h"
#include "delegate.h"
#include "key.h"
#include "process.h"
#include "settings.h"

struct cow_wrapper {
	struct cow_args args;
	char *root;  /* cow_args_root */
	char *state; /* cow_place_state, or NULL: nobody's place, so there are no containers of cowrun's */
	struct cow_settings settings;
	char *delegate; /* once it was needed */
};

/* Exit status, or -1 with *err (not printed yet). */
int cow_wrapper_run(int argc, char **argv, struct cow_error **err);
/* From now on cow_log writes to the engine's --log file as well. */
void cow_wrapper_open_log(const struct cow_args *a);

/* Finds w->delegate, by the settings; or takes the one that a container was made with. */
int cow_wrapper_choose(struct cow_wrapper *w, struct cow_error **err);
int cow_wrapper_recorded(struct cow_wrapper *w, const struct cow_json *state, struct cow_error **err);
/* The delegate in cowrun's place, with the command line as it came. Returns only with *err set. */
int cow_wrapper_pass(struct cow_wrapper *w, struct cow_error **err);
/* The delegate as a child, with the command line rendered from w->args. Exit status, or -1 with *err. */
int cow_wrapper_delegate(struct cow_wrapper *w, const struct cow_signals *signals, int fd, int fd_number,
			 bool *signalled, struct cow_error **err);
/* Does `delegate` know a container of that id, under the --root of the command line? */
bool cow_wrapper_exists(const struct cow_wrapper *w, const char *delegate, const char *id);
/* KEY's path for an id, or NULL: not an id, or there is no place. Caller frees. */
char *cow_wrapper_key_path(const struct cow_wrapper *w, const char *id);

int cow_create(struct cow_wrapper *w, struct cow_error **err);
int cow_exec(struct cow_wrapper *w, struct cow_error **err);
int cow_delete(struct cow_wrapper *w, struct cow_error **err);

/* The container is gone: ends the agent, removes KEY, then does what on-exit asks. `k` is locked. */
int cow_retire(struct cow_key *k, struct cow_error **err);
