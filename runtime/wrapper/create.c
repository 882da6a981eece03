#include "wrapper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/log.h"
#include "../lib/place.h"
#include "agent.h"
#include "grace.h"
#include "prepare.h"

/* What the command line must be for cowrun to take part; the delegate would perhaps read it otherwise. */
static int check_command(const struct cow_wrapper *w, struct cow_error **err)
{
	const struct cow_args *a = &w->args;

	if (a->verb == COW_VERB_RESTORE)
		return cow_error_set(err, 0, "a checkpoint cannot be restored into a branch");
	if (a->unknown != NULL)
		return cow_error_set(err, 0, "%s: unknown option %s", a->command, a->unknown);
	if (a->nwords == 0)
		return cow_error_set(err, 0, "%s: no container id", a->command);
	if (a->nwords > 1)
		return cow_error_set(err, 0, "%s: unexpected argument %s", a->command, a->words[1]);
	if (!cow_place_id_valid(a->words[0]))
		return cow_error_set(err, 0, "not a container id: %s", a->words[0]);
	/* The delegate could make a namespace, but then the agent would be outside and could mount nothing. */
	if (geteuid() != 0)
		return cow_error_set(err, 0,
				     "an ordinary user's branches need a user namespace around cowrun: use podman, or "
				     "\"podman unshare cowrun\"");
	return 0;
}

/*
 * `run` in the foreground has ended: the container with it, unless it was to be kept or the delegate was killed. The
 * status is the command's as well as the delegate's; only the branch tells whether there ever was a container.
 */
static int after_run(struct cow_preparation *p, bool leave, struct cow_error **err)
{
	cleanup_key struct cow_key k = COW_KEY_NONE;
	int found;

	if (leave && cow_wrapper_exists(p->w, p->w->delegate, p->id))
		return 0;
	found = cow_key_lock(&k, p->key.path, err);
	if (found <= 0)
		return found; /* somebody's delete was faster */
	if (cow_preparation_used(p))
		return cow_retire(&k, err);
	cow_key_close(&k);
	cow_unprepare(p, false);
	return 0;
}

static int run_delegate(struct cow_preparation *p, const struct cow_signals *signals, struct cow_error **err)
{
	struct cow_wrapper *w = p->w;
	bool run = w->args.verb == COW_VERB_RUN;
	bool signalled = false;
	int status = cow_wrapper_delegate(w, signals, p->listener, p->listener_number, &signalled, err);

	cow_close_fd(&p->listener);
	cow_wrapper_open_log(&w->args);
	if (status < 0) {
		cow_unprepare(p, true);
		return -1;
	}
	if (run && !cow_args_flag(&w->args, COW_OPTION_DETACH))
		return after_run(p, signalled || cow_args_flag(&w->args, COW_OPTION_KEEP), err) == 0 ? status : -1;
	if (status != 0 && !(signalled && cow_wrapper_exists(w, w->delegate, p->id)))
		cow_unprepare(p, !run);
	return status;
}

static int make_container(struct cow_wrapper *w, struct cow_bundle *bundle, struct cow_json *spec,
			  const struct cow_request *request, struct cow_error **err)
{
	cleanup_preparation struct cow_preparation p = {
		.w = w, .id = w->args.words[0], .bundle = bundle, .request = request, .listener = -1};
	cleanup_signals struct cow_signals signals = {.active = false};

	p.key.dirfd = -1;
	cow_signals_hold(&signals);
	cow_grace_begin();
	if (cow_prepare(&p, spec, &signals, err) != 0) {
		cow_unprepare(&p, true);
		return -1;
	}
	return run_delegate(&p, &signals, err);
}

/*
 * A container that is none of cowrun's, under an id that one of cowrun's had which was lost: what is left of that would
 * make exec take this one for it.
 */
static int pass_other(struct cow_wrapper *w, struct cow_error **err)
{
	const char *id = w->args.nwords > 0 ? w->args.words[0] : NULL;
	cleanup_free char *path = id != NULL ? cow_wrapper_key_path(w, id) : NULL;
	cleanup_key struct cow_key k = COW_KEY_NONE;

	if (path != NULL && cow_key_lock(&k, path, NULL) > 0) {
		cleanup_json struct cow_json *status = cow_agent_status(path, NULL);

		if (status == NULL && !cow_wrapper_exists(w, w->delegate, id) && cow_retire(&k, err) != 0)
			return -1;
		cow_key_close(&k);
	}
	return cow_wrapper_pass(w, err);
}

int cow_create(struct cow_wrapper *w, struct cow_error **err)
{
	cleanup_bundle struct cow_bundle bundle = COW_BUNDLE_NONE;
	cleanup_request struct cow_request request = {0};
	cleanup_json struct cow_json *spec = NULL;
	int asked;

	if (cow_wrapper_choose(w, err) != 0 || cow_bundle_read(&bundle, cow_args_value(&w->args, COW_OPTION_BUNDLE),
							       cow_args_value(&w->args, COW_OPTION_CONFIG), err) != 0)
		return -1;
	asked = cow_bundle_may_ask(&bundle, err);
	if (asked < 0)
		return -1;
	if (asked == 0)
		return pass_other(w, err);
	spec = cow_bundle_parse(&bundle, err);
	if (spec == NULL)
		return -1;
	/* The id is the default name of the branch; whether there is a good one is asked only of those that want one.
	 */
	asked = cow_request_read(spec, w->args.nwords > 0 ? w->args.words[0] : "", &request, err);
	if (asked < 0)
		return -1;
	if (asked == 0)
		return pass_other(w, err);
	if (check_command(w, err) != 0)
		return -1;
	return make_container(w, &bundle, spec, &request, err);
}
