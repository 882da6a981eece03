#include "stats.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent.h"

static const char *const phase_names[COW_PHASE_COUNT] = {
	[COW_PHASE_RECEIVE] = "receive", [COW_PHASE_READ] = "read", [COW_PHASE_HANDLES] = "handles",
	[COW_PHASE_RESOLVE] = "resolve", [COW_PHASE_ACT] = "act",   [COW_PHASE_REAP] = "reap",
	[COW_PHASE_ANSWER] = "answer",
};
static const char *const outcome_names[COW_OUTCOME_COUNT] = {
	[COW_OUTCOME_CONTINUED] = "continued",
	[COW_OUTCOME_REFUSED] = "refused",
	[COW_OUTCOME_PERFORMED] = "performed",
};

/* The notification at hand. */
static _Thread_local struct {
	bool timed;
	enum cow_phase phase;
	uint64_t since;
	uint64_t ns[COW_PHASE_COUNT];
} now;

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

bool cow_stats_wanted(void)
{
	const char *value = getenv("COWRUN_STATS");

	return value != NULL && *value != '\0' && strcmp(value, "0") != 0;
}

void cow_stats_begin(const struct cow_stats *s)
{
	now.timed = s->timed;
	now.phase = COW_PHASE_RECEIVE;
	if (!now.timed)
		return;
	memset(now.ns, 0, sizeof(now.ns));
	now.since = clock_ns();
}

enum cow_phase cow_stats_phase(enum cow_phase next)
{
	enum cow_phase before = now.phase;

	if (now.timed && next != before) {
		uint64_t at = clock_ns();

		now.ns[before] += at - now.since;
		now.since = at;
	}
	now.phase = next;
	return before;
}

static enum cow_outcome outcome_of(int verdict)
{
	if (verdict == COW_VERDICT_CONTINUE)
		return COW_OUTCOME_CONTINUED;
	return verdict < 0 ? COW_OUTCOME_REFUSED : COW_OUTCOME_PERFORMED;
}

void cow_stats_end(struct cow_stats *s, enum cow_call call, int verdict)
{
	atomic_fetch_add_explicit(&s->calls[call][outcome_of(verdict)], 1, memory_order_relaxed);
	if (!now.timed)
		return;
	now.ns[now.phase] += clock_ns() - now.since;
	for (int i = 0; i < COW_PHASE_COUNT; i++)
		if (now.ns[i] != 0)
			atomic_fetch_add_explicit(&s->ns[call][i], now.ns[i], memory_order_relaxed);
	now.timed = false;
}

/* Families go by the first call of the table that belongs to them. */
static const char *family_name(enum cow_call call)
{
	size_t count;
	const struct cow_filter_call *table = cow_filter_calls(&count);

	for (size_t i = 0; i < count; i++)
		if (table[i].call == call && table[i].verdict == COW_FILTER_NOTIFY)
			return table[i].name;
	return "other";
}

static struct cow_json *report_call(const struct cow_stats *s, enum cow_call call,
				    unsigned long long sums[COW_OUTCOME_COUNT])
{
	struct cow_json *o = cow_json_new_object();
	struct cow_json *ns = cow_json_new_object();
	unsigned long long all = 0;

	for (int i = 0; i < COW_OUTCOME_COUNT; i++) {
		unsigned long long n = atomic_load(&s->calls[call][i]);

		all += n;
		sums[i] += n;
		cow_json_set(o, outcome_names[i], cow_json_new_uint(n));
	}
	for (int i = 0; i < COW_PHASE_COUNT; i++)
		cow_json_set(ns, phase_names[i], cow_json_new_uint(atomic_load(&s->ns[call][i])));
	if (s->timed)
		cow_json_set(o, "ns", ns);
	else
		cow_json_free(ns);
	if (all != 0)
		return o;
	cow_json_free(o);
	return NULL;
}

void cow_stats_report(const struct cow_stats *s, struct cow_json *to)
{
	struct cow_json *calls = cow_json_new_object();
	unsigned long long sums[COW_OUTCOME_COUNT] = {0};
	unsigned long long all = 0;

	for (int i = 0; i < COW_CALL_COUNT; i++) {
		struct cow_json *call = report_call(s, (enum cow_call)i, sums);

		if (call != NULL)
			cow_json_set(calls, family_name((enum cow_call)i), call);
	}
	for (int i = 0; i < COW_OUTCOME_COUNT; i++)
		all += sums[i];
	cow_json_set(to, "timed", cow_json_new_bool(s->timed));
	cow_json_set(to, "notifications", cow_json_new_uint(all));
	for (int i = 0; i < COW_OUTCOME_COUNT; i++)
		cow_json_set(to, outcome_names[i], cow_json_new_uint(sums[i]));
	cow_json_set(to, "swaps", cow_json_new_uint(atomic_load(&s->swaps)));
	cow_json_set(to, "calls", calls);
}
