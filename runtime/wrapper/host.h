/*
 * The mounts of our namespace: /proc/self/mountinfo (proc(5)), which libmount reads.
 *
 * libmount is loaded when it is first needed. It brings three more libraries along, which cost as much as all the rest
 * of a program start, and of the five times that an engine starts cowrun for a container it is needed once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../lib/error.h"

struct cow_host_mount {
	uint64_t id;
	dev_t dev;
	char *root;   /* path in its file system */
	char *target; /* where it is mounted */
	bool readonly;
};

/* As they were when it was loaded. */
struct cow_host {
	size_t count;
	struct cow_host_mount *mounts;
};

struct cow_host *cow_host_load(struct cow_error **err);
void cow_host_free(struct cow_host *host);
void cow_host_cleanup(struct cow_host **host);
#define cleanup_host __attribute__((cleanup(cow_host_cleanup)))
