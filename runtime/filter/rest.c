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

/* Of the bits that make a clause match here, the lowest that is open in all that are left: types before numbers. */
static uint32_t next_bit(uint32_t open)
{
	uint32_t high = open & 0xffffff00u;

	return high != 0 ? high & -high : open & -open;
}

/* The part of the argument's values whose bits in `mask` are `value`. */
static void cut(struct rest *r, uint32_t mask, uint32_t value)
{
	uint8_t arg = r->call->notify[0].conds[0].arg;
	struct cow_filter_clause part = {.nconds = 1, .conds = {{.arg = arg, .mask = mask, .value = value}}};
	uint32_t open = 0;
	bool any = false;

	for (size_t i = 0; i < r->call->nnotify; i++) {
		const struct cow_filter_cond *cond = &r->call->notify[i].conds[0];

		if (((cond->value ^ value) & cond->mask & mask) != 0)
			continue;
		if ((cond->mask & ~mask) == 0)
			return;
		any = true;
		open |= cond->mask & ~mask;
	}
	if (!any) {
		add(r, &part);
		return;
	}
	cut(r, mask | next_bit(open), value);
	cut(r, mask | next_bit(open), value | next_bit(open));
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
