/*
 * The counts behind the times: how many notifications of each family were answered how, and, only when COWRUN_STATS
 * asks for it, how long each phase of them took. A worker serves a notification from its receipt to its answer alone,
 * so the clock of the one at hand belongs to the thread and no function has to be given it.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../filter/filter.h"
#include "../lib/json.h"

/* What a worker is at. Each nanosecond of a notification belongs to one of them. */
enum cow_phase {
	COW_PHASE_RECEIVE, /* from its receipt to its family; the wait before cannot be told from taking it */
	COW_PHASE_READ,    /* the target's /proc directory, arguments and credentials */
	COW_PHASE_HANDLES, /* its directory handles: stale or not, and their replacement */
	COW_PHASE_RESOLVE, /* paths, as the target would */
	COW_PHASE_ACT,     /* what the handlers do else: split, copy-up, calls made instead of the target */
	COW_PHASE_REAP,    /* taking away grafts that are of no use any more; the target still waits */
	COW_PHASE_ANSWER,
	COW_PHASE_COUNT
};

enum cow_outcome { COW_OUTCOME_CONTINUED, COW_OUTCOME_REFUSED, COW_OUTCOME_PERFORMED, COW_OUTCOME_COUNT };

struct cow_stats {
	bool timed; /* set before the first worker starts, or never */
	atomic_ullong calls[COW_CALL_COUNT][COW_OUTCOME_COUNT];
	atomic_ullong ns[COW_CALL_COUNT][COW_PHASE_COUNT];
	atomic_ullong swaps; /* descriptors replaced in a target's table */
};

/* COWRUN_STATS is set, and to something else than nothing or 0. */
bool cow_stats_wanted(void);
/* The calling thread takes a notification up; the first phase is COW_PHASE_RECEIVE. */
void cow_stats_begin(const struct cow_stats *s);
/* Goes over to another phase and returns the one before, for those that go back to it. Reads no clock if !timed. */
enum cow_phase cow_stats_phase(enum cow_phase next);
/* It is answered. `verdict` as handlers return it (agent.h). */
void cow_stats_end(struct cow_stats *s, enum cow_call call, int verdict);
/*
 * Adds "timed", the sums "notifications", "continued", "refused", "performed", "swaps", and "calls": for each family
 * that occurred the three counts and, if timed, "ns" with a member a phase.
 */
void cow_stats_report(const struct cow_stats *s, struct cow_json *to);
