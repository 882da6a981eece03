#include "internal.h"

bool cow_claim(struct cow_tree *t, struct cow_claim *mine)
{
	bool first = true;

	pthread_mutex_lock(&t->table_lock);
	for (;;) {
		struct cow_claim *c = t->claims;

		while (c != NULL && c->mount != mine->mount)
			c = c->next;
		if (c == NULL)
			break;
		first = false;
		pthread_cond_wait(&t->claims_changed, &t->table_lock);
	}
	if (first) {
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
