/*
 * What is left of one argument. The parts of a row must not overlap, and seccomp profiles (libseccomp) take one
 * condition an argument, so "none of these commands" cannot be written down as such. It is cut into masked comparisons
 * here: a part that no clause can match is one; one that a clause matches as a whole is not; any other is halved by a
 * bit that the clauses look at.
 */
#include "filter.h"

#include <stdlib.h>
#include <string.h>

struct rest {
	const struct cow_filter_call *call;
	struct cow_filter_clause *list;
	size_t n, room;
};

static void add(struct rest *r, const struct cow_filter_clause *clause)
{
	if (r->n == r->room) {
		r->room = r->room == 0 ? 32 : 2 * r->room;
		r->list = realloc(r->list, r->room * sizeof(*r->list));
		if (r->list == NULL)
			abort(); /* as everywhere in runtime/lib: no memory, no way on */
	}
	r->list[r->n++] = *clause;
}

/* Types before numbers. */
static uint32_t lowest(uint32_t open)
{
	uint32_t high = open & 0xffffff00u;

	return high != 0 ? high & -high : open & -open;
}

enum cow_filter_part cow_filter_part(const struct cow_filter_call *call, uint32_t mask, uint32_t value, uint32_t *bit)
{
	uint32_t nearest = 0; /* what is open of the clause that the fewest bits decide */

	for (size_t i = 0; i < call->nnotify; i++) {
		const struct cow_filter_cond *cond = &call->notify[i].conds[0];
		uint32_t open = cond->mask & ~mask;

		if (((cond->value ^ value) & cond->mask & mask) != 0)
			continue;
		if (open == 0)
			return COW_FILTER_EVERYWHERE;
		if (nearest == 0 || __builtin_popcount(open) < __builtin_popcount(nearest))
			nearest = open;
	}
	*bit = nearest != 0 ? lowest(nearest) : 0;
	return nearest != 0 ? COW_FILTER_SOMEWHERE : COW_FILTER_NOWHERE;
}

static void cut(struct rest *r, uint32_t mask, uint32_t value)
{
	struct cow_filter_clause part = {
		.nconds = 1, .conds = {{.arg = r->call->notify[0].conds[0].arg, .mask = mask, .value = value}}};
	uint32_t bit;

	switch (cow_filter_part(r->call, mask, value, &bit)) {
	case COW_FILTER_EVERYWHERE:
		return;
	case COW_FILTER_NOWHERE:
		add(r, &part);
		return;
	case COW_FILTER_SOMEWHERE:
		cut(r, mask | bit, value);
		cut(r, mask | bit, value | bit);
	}
}

struct cow_filter_clause *cow_filter_pass(const struct cow_filter_call *call, size_t *n)
{
	struct rest r = {.call = call};

	*n = 0;
	if (call->nnotify == 0)
		return NULL;
	for (size_t i = 0; i < call->npass; i++)
		add(&r, &call->pass[i]);
	if (call->npass == 0)
		cut(&r, 0, 0);
	*n = r.n;
	return r.list;
}
