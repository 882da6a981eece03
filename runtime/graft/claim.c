#include "internal.h"

static bool same(const struct cow_claim *a, const struct cow_claim *b)
{
	return a->mount == b->mount && a->lower.ino == b->lower.ino && a->lower.dev == b->lower.dev;
}

bool cow_claim(struct cow_tree *t, struct cow_claim *mine)
{
	bool first = true;

	pthread_mutex_lock(&t->table_lock);
	for (;;) {
		struct cow_claim *c = t->claims;

		while (c != NULL && !same(c, mine))
			c = c->next;
		if (c == NULL)
			break;
		first = false;
		pthread_cond_wait(&t->claims_changed, &t->table_lock);
	}
	if (first) {
		mine->serial = ++t->claim_count;
		mine->next = t->claims;
		t->claims = mine;
	}
	pthread_mutex_unlock(&t->table_lock);
	return first;
}

void cow_claim_end(struct cow_tree *t, struct cow_claim *mine)
{
	pthread_mutex_lock(&t->table_lock);
	for (struct cow_claim **at = &t->claims; *at != NULL; at = &(*at)->next)
		if (*at == mine) {
			*at = mine->next;
			break;
		}
	pthread_cond_broadcast(&t->claims_changed);
	pthread_mutex_unlock(&t->table_lock);
}

void cow_claim_wait_splits(struct cow_tree *t)
{
	const struct cow_claim *c;
	uint64_t last;

	pthread_mutex_lock(&t->table_lock);
	last = t->claim_count;
	for (;;) {
		for (c = t->claims; c != NULL && !(c->split && c->serial <= last);)
			c = c->next;
		if (c == NULL)
			break;
		pthread_cond_wait(&t->claims_changed, &t->table_lock);
	}
	pthread_mutex_unlock(&t->table_lock);
}
