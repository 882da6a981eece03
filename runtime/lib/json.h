/*
 * A mutable JSON document over yajl. Numbers keep their text and objects keep their order and unknown members,
 * so that parse + print changes nothing but white space. Depth and size of the input are bounded (hostile bundles).
 *
 * Ownership: a value belongs to its parent; the root belongs to the caller. Setters take the value they are given.
 * Allocation failure aborts: the programs that use this cannot go on without memory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

enum cow_json_type { COW_JSON_NULL, COW_JSON_BOOL, COW_JSON_NUMBER, COW_JSON_STRING, COW_JSON_ARRAY, COW_JSON_OBJECT };

struct cow_json;

/* Limits: 64 levels, `size` bytes. Anything after the document but white space is an error, and so are a repeated key
   and broken UTF-8 or UTF-16 (two parsers could read two different things). */
struct cow_json *cow_json_parse(const char *text, size_t size, struct cow_error **err);
/* At most `max` bytes are read. The error names the path. */
struct cow_json *cow_json_read_file(int dirfd, const char *path, size_t max, struct cow_error **err);
void cow_json_free(struct cow_json *v);
void cow_json_cleanup(struct cow_json **v);
#define cleanup_json __attribute__((cleanup(cow_json_cleanup)))

enum { COW_JSON_PRETTY = 1 };
/* NUL-terminated text; caller frees. *size may be NULL. */
char *cow_json_print(const struct cow_json *v, int flags, size_t *size);
/*
 * Temporary file in the same directory, renamed over `path`: readers and a kill find the old text or the new. A loss of
 * power may find neither: waiting for the disk took 2 to 3 ms of every start. Mode as given.
 */
int cow_json_write_file(int dirfd, const char *path, const struct cow_json *v, unsigned mode, struct cow_error **err);

enum cow_json_type cow_json_type_of(const struct cow_json *v); /* NULL pointer: COW_JSON_NULL */

/* Readers: NULL (or false, or -1) if v is NULL or of another type. Pointers live as long as v is not changed. */
struct cow_json *cow_json_get(const struct cow_json *object, const char *key);
struct cow_json *cow_json_path(const struct cow_json *object, const char *dotted); /* "linux.seccomp" */
size_t cow_json_count(const struct cow_json *v);                  /* members or elements; 0 otherwise */
struct cow_json *cow_json_at(const struct cow_json *v, size_t i); /* element, or member value */
const char *cow_json_key_at(const struct cow_json *object, size_t i);
const char *cow_json_string(const struct cow_json *v);      /* NULL too if the string holds a NUL byte */
int cow_json_int(const struct cow_json *v, int64_t *value); /* 0, or -1 if not an integer that fits */
bool cow_json_bool(const struct cow_json *v, bool fallback);

struct cow_json *cow_json_new_null(void);
struct cow_json *cow_json_new_bool(bool b);
struct cow_json *cow_json_new_int(int64_t n);
struct cow_json *cow_json_new_uint(uint64_t n);
struct cow_json *cow_json_new_string(const char *s);
struct cow_json *cow_json_new_array(void);
struct cow_json *cow_json_new_object(void);
struct cow_json *cow_json_copy(const struct cow_json *v);
/* Would they be printed alike? So 1 is not 1.0, and members count in their order. */
bool cow_json_same(const struct cow_json *a, const struct cow_json *b);

void cow_json_set(struct cow_json *object, const char *key, struct cow_json *value); /* replaces in place or appends */
bool cow_json_unset(struct cow_json *object, const char *key);                       /* true if it was there */
void cow_json_append(struct cow_json *array, struct cow_json *value);
void cow_json_insert(struct cow_json *array, size_t at, struct cow_json *value);
void cow_json_remove_at(struct cow_json *array, size_t at);
/* Member as an object (or array), made if missing. NULL if it exists with another type. */
struct cow_json *cow_json_need_object(struct cow_json *object, const char *key);
struct cow_json *cow_json_need_array(struct cow_json *object, const char *key);
