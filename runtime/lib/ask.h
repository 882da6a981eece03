/* A request to a container's agent over its control.sock (contrib/doc/architecture.md, control messages). */
#pragma once

#include "error.h"
#include "json.h"

/* Its answer to {"op":OP} without descriptors; NULL with *err if it is dead, says nothing for 10 seconds, or refuses.
 */
struct cow_json *cow_agent_ask(const char *key_dir, const char *op, struct cow_error **err);
