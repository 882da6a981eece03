/* A table from strings to pointers, and the joining of paths. Allocation failure aborts. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct cow_dict_slot {
	char *key;
	void *value;
};

struct cow_dict {
	struct cow_dict_slot *slots; /* open addressing; room is a power of two */
	size_t room, count;
	uint64_t seed; /* a container chooses the names, but not which of them meet */
};

/* Replaces what the key had. The key is copied, the value is not looked at. */
void cow_dict_put(struct cow_dict *d, const char *key, void *value);
void *cow_dict_get(const struct cow_dict *d, const char *key); /* NULL if it has none */
void cow_dict_clear(struct cow_dict *d);

/* "a/b", or "b" where a is "". Caller frees. */
char *cow_name_join(const char *dir, const char *name);
/* Length of the path of the directory that holds it: 0 for what is at the top. */
size_t cow_name_parent(const char *path);
