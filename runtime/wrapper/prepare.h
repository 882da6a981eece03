/*
 * What stands before the delegate's create: KEY directory, branch, agent, config.json; and how all of it is taken back.
 * Used by create.c.
 */
#pragma once

#include "bundle.h"
#include "request.h"
#include "wrapper.h"

struct cow_preparation {
	struct cow_wrapper *w;
	const char *id;
	struct cow_bundle *bundle;
	const struct cow_request *request;
	char *store, *rootfs;
	struct cow_key key;
	bool key_taken; /* ours to remove */
	struct cow_branch_tree trees[COW_BRANCH_TREES];
	struct cow_branch *branch;
	bool branch_made; /* by us, just now */
	bool by_delegate;
	bool agent_started;
	int listener, listener_number; /* init.sock, to be inherited by cowrun-init; -1 */
};

/* Edits `spec`. On failure what was done is still there, for cow_unprepare. */
int cow_prepare(struct cow_preparation *p, struct cow_json *spec, const struct cow_signals *signals,
		struct cow_error **err);
/*
 * The container came to nothing: the original config.json, no agent, no KEY; and no branch if this made it and it was
 * never given to a container, or `unused` says that no command ran in that. Never fails: what cannot be taken back is
 * logged.
 */
void cow_unprepare(struct cow_preparation *p, bool unused);
/* Was the branch given to a container, as far as can be told? */
bool cow_preparation_used(const struct cow_preparation *p);
void cow_preparation_free(struct cow_preparation *p);
#define cleanup_preparation __attribute__((cleanup(cow_preparation_free)))
