#include "dict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static struct cow_dict_slot *slot_for(const struct cow_dict *d, const char *key)
{
	uint64_t h = 14695981039346656037u ^ d->seed; /* FNV-1a */
	size_t i;

	for (const char *p = key; *p != '\0'; p++)
		h = (h ^ (unsigned char)*p) * 1099511628211u;
	h ^= h >> 32;
	for (i = h & (d->room - 1); d->slots[i].key != NULL && strcmp(d->slots[i].key, key) != 0;)
		i = (i + 1) & (d->room - 1);
	return &d->slots[i];
}

static void grow(struct cow_dict *d)
{
	struct cow_dict bigger = {.room = d->room == 0 ? 64 : d->room * 2, .count = d->count, .seed = d->seed};

	if (d->room == 0 && getrandom(&bigger.seed, sizeof(bigger.seed), GRND_NONBLOCK) < 0)
		bigger.seed = (uint64_t)(uintptr_t)d; /* early at boot: addresses are random, too */

	bigger.slots = calloc(bigger.room, sizeof(*bigger.slots));
	if (bigger.slots == NULL)
		abort();
	for (size_t i = 0; i < d->room; i++)
		if (d->slots[i].key != NULL)
			*slot_for(&bigger, d->slots[i].key) = d->slots[i];
	free(d->slots);
	*d = bigger;
}

void cow_dict_put(struct cow_dict *d, const char *key, void *value)
{
	struct cow_dict_slot *slot;

	if (d->count * 2 >= d->room)
		grow(d);
	slot = slot_for(d, key);
	if (slot->key == NULL) {
		slot->key = strdup(key);
		if (slot->key == NULL)
			abort();
		d->count++;
	}
	slot->value = value;
}

void *cow_dict_get(const struct cow_dict *d, const char *key)
{
	return d->room == 0 ? NULL : slot_for(d, key)->value;
}

void cow_dict_clear(struct cow_dict *d)
{
	for (size_t i = 0; i < d->room; i++)
		free(d->slots[i].key);
	free(d->slots);
	memset(d, 0, sizeof(*d));
}

char *cow_name_join(const char *dir, const char *name)
{
	char *path = NULL;

	if (asprintf(&path, "%s%s%s", dir, *dir != '\0' ? "/" : "", name) < 0)
		abort();
	return path;
}

size_t cow_name_parent(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? (size_t)(slash - path) : 0;
}
