/* cowrun-agent, seen from the wrapper: started before the delegate, asked over control.sock, ended with the container.
 */
#pragma once

#include <stdbool.h>

#include "../lib/error.h"
#include "../lib/json.h"
#include "process.h"

struct cow_agent_start {
	const char *program, *key_dir;
	pid_t pid; /* until it is on its own */
	int ready;
};
/* Begins to start it; *s is for cow_agent_await, which must be called. */
int cow_agent_start(struct cow_agent_start *s, const char *program, const char *key_dir,
		    const struct cow_signals *signals, struct cow_error **err);
/* Returns when the agent listens. One that fails or says nothing leaves no process. */
int cow_agent_await(struct cow_agent_start *s, struct cow_error **err);
/* Its answer to {"op":"status"}; NULL with *err if it is dead or does not answer. */
struct cow_json *cow_agent_status(const char *key_dir, struct cow_error **err);
/* {"op":"delete"}; an agent that does not go is killed. -1 if it is there still. */
int cow_agent_stop(const char *key_dir, struct cow_error **err);
