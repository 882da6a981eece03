#include "json.h"

#include "json_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct member {
	char *key; /* NULL in arrays */
	struct cow_json *value;
};

/* The text of strings is counted: a JSON string may hold a NUL. */
struct cow_json {
	enum cow_json_type type;
	bool truth;
	char *text; /* NUMBER: as written; STRING: decoded UTF-8 */
	size_t size;
	struct member *members;
	size_t count, room;
};

static void *need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

struct cow_json *cow_json_make(enum cow_json_type type, const char *text, size_t size)
{
	struct cow_json *v = need(calloc(1, sizeof(*v)));

	v->type = type;
	if (text != NULL) {
		v->text = need(malloc(size + 1));
		memcpy(v->text, text, size);
		v->text[size] = '\0';
		v->size = size;
	}
	return v;
}

const char *cow_json_text(const struct cow_json *v, size_t *size)
{
	*size = v->size;
	return v->text;
}

static bool same_member(const struct member *a, const struct member *b)
{
	return (a->key == NULL || strcmp(a->key, b->key) == 0) && cow_json_same(a->value, b->value);
}

bool cow_json_same(const struct cow_json *a, const struct cow_json *b)
{
	if (a->type != b->type || a->truth != b->truth || a->size != b->size || a->count != b->count)
		return false;
	if (a->size > 0 && memcmp(a->text, b->text, a->size) != 0)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!same_member(&a->members[i], &b->members[i]))
			return false;
	return true;
}

void cow_json_free(struct cow_json *v)
{
	if (v == NULL)
		return;
	for (size_t i = 0; i < v->count; i++) {
		free(v->members[i].key);
		cow_json_free(v->members[i].value);
	}
	free(v->members);
	free(v->text);
	free(v);
}

void cow_json_cleanup(struct cow_json **v)
{
	cow_json_free(*v);
	*v = NULL;
}

enum cow_json_type cow_json_type_of(const struct cow_json *v)
{
	return v == NULL ? COW_JSON_NULL : v->type;
}

static bool is(const struct cow_json *v, enum cow_json_type type)
{
	return v != NULL && v->type == type;
}

static struct member *find(const struct cow_json *object, const char *key)
{
	if (is(object, COW_JSON_OBJECT))
		for (size_t i = 0; i < object->count; i++)
			if (strcmp(object->members[i].key, key) == 0)
				return &object->members[i];
	return NULL;
}

struct cow_json *cow_json_get(const struct cow_json *object, const char *key)
{
	struct member *m = find(object, key);

	return m != NULL ? m->value : NULL;
}

struct cow_json *cow_json_path(const struct cow_json *object, const char *dotted)
{
	char *copy = need(strdup(dotted));
	char *rest = copy;
	char *key;
	struct cow_json *at = (struct cow_json *)object;

	while (at != NULL && (key = strsep(&rest, ".")) != NULL)
		at = cow_json_get(at, key);
	free(copy);
	return at;
}

size_t cow_json_count(const struct cow_json *v)
{
	return is(v, COW_JSON_ARRAY) || is(v, COW_JSON_OBJECT) ? v->count : 0;
}

struct cow_json *cow_json_at(const struct cow_json *v, size_t i)
{
	return i < cow_json_count(v) ? v->members[i].value : NULL;
}

const char *cow_json_key_at(const struct cow_json *object, size_t i)
{
	return is(object, COW_JSON_OBJECT) && i < object->count ? object->members[i].key : NULL;
}

const char *cow_json_string(const struct cow_json *v)
{
	return is(v, COW_JSON_STRING) && strlen(v->text) == v->size ? v->text : NULL;
}

int cow_json_int(const struct cow_json *v, int64_t *value)
{
	char *end;
	long long n;

	if (!is(v, COW_JSON_NUMBER))
		return -1;
	errno = 0;
	n = strtoll(v->text, &end, 10);
	if (errno != 0 || *end != '\0' || end == v->text)
		return -1;
	*value = n;
	return 0;
}

bool cow_json_bool(const struct cow_json *v, bool fallback)
{
	return is(v, COW_JSON_BOOL) ? v->truth : fallback;
}

struct cow_json *cow_json_new_null(void)
{
	return cow_json_make(COW_JSON_NULL, NULL, 0);
}

struct cow_json *cow_json_new_bool(bool b)
{
	struct cow_json *v = cow_json_make(COW_JSON_BOOL, NULL, 0);

	v->truth = b;
	return v;
}

static struct cow_json *new_number(char *text, int length)
{
	struct cow_json *v;

	if (length < 0)
		abort();
	v = cow_json_make(COW_JSON_NUMBER, text, (size_t)length);
	free(text);
	return v;
}

struct cow_json *cow_json_new_int(int64_t n)
{
	char *text = NULL;
	int length = asprintf(&text, "%lld", (long long)n);

	return new_number(text, length);
}

struct cow_json *cow_json_new_uint(uint64_t n)
{
	char *text = NULL;
	int length = asprintf(&text, "%llu", (unsigned long long)n);

	return new_number(text, length);
}

struct cow_json *cow_json_new_string(const char *s)
{
	return cow_json_make(COW_JSON_STRING, s, strlen(s));
}

struct cow_json *cow_json_new_array(void)
{
	return cow_json_make(COW_JSON_ARRAY, NULL, 0);
}

struct cow_json *cow_json_new_object(void)
{
	return cow_json_make(COW_JSON_OBJECT, NULL, 0);
}

struct cow_json *cow_json_copy(const struct cow_json *v)
{
	struct cow_json *c;

	if (v == NULL)
		return NULL;
	c = cow_json_make(v->type, v->text, v->size);
	c->truth = v->truth;
	for (size_t i = 0; i < v->count; i++)
		cow_json_put(c, v->count, v->members[i].key, cow_json_copy(v->members[i].value));
	return c;
}

void cow_json_put(struct cow_json *v, size_t at, const char *key, struct cow_json *value)
{
	if (v->count == v->room) {
		v->room = v->room == 0 ? 8 : v->room * 2;
		v->members = need(realloc(v->members, v->room * sizeof(*v->members)));
	}
	if (at > v->count)
		at = v->count;
	memmove(&v->members[at + 1], &v->members[at], (v->count - at) * sizeof(*v->members));
	v->members[at].key = key != NULL ? need(strdup(key)) : NULL;
	v->members[at].value = value;
	v->count++;
}

static void take_out(struct cow_json *v, size_t at)
{
	free(v->members[at].key);
	cow_json_free(v->members[at].value);
	v->count--;
	memmove(&v->members[at], &v->members[at + 1], (v->count - at) * sizeof(*v->members));
}

void cow_json_set(struct cow_json *object, const char *key, struct cow_json *value)
{
	struct member *m = find(object, key);

	if (m == NULL) {
		cow_json_put(object, object->count, key, value);
		return;
	}
	cow_json_free(m->value);
	m->value = value;
}

bool cow_json_unset(struct cow_json *object, const char *key)
{
	struct member *m = find(object, key);

	if (m == NULL)
		return false;
	take_out(object, (size_t)(m - object->members));
	return true;
}

void cow_json_append(struct cow_json *array, struct cow_json *value)
{
	cow_json_put(array, array->count, NULL, value);
}

void cow_json_insert(struct cow_json *array, size_t at, struct cow_json *value)
{
	cow_json_put(array, at, NULL, value);
}

void cow_json_remove_at(struct cow_json *array, size_t at)
{
	if (at < cow_json_count(array))
		take_out(array, at);
}

static struct cow_json *need_member(struct cow_json *object, const char *key, enum cow_json_type type)
{
	struct cow_json *v = cow_json_get(object, key);

	if (v == NULL || v->type == COW_JSON_NULL) {
		cow_json_set(object, key, cow_json_make(type, NULL, 0));
		v = cow_json_get(object, key);
	}
	return v->type == type ? v : NULL;
}

struct cow_json *cow_json_need_object(struct cow_json *object, const char *key)
{
	return need_member(object, key, COW_JSON_OBJECT);
}

struct cow_json *cow_json_need_array(struct cow_json *object, const char *key)
{
	return need_member(object, key, COW_JSON_ARRAY);
}
