/* Between json.c (the values) and json_text.c (yajl): nobody else's. */
#pragma once

#include "json.h"

struct cow_json *cow_json_make(enum cow_json_type type, const char *text, size_t size);
/* Text of a number or string; counted, since a string may hold a NUL. */
const char *cow_json_text(const struct cow_json *v, size_t *size);
/* Puts a value into an array or object at an index; no check for a repeated key. */
void cow_json_put(struct cow_json *v, size_t at, const char *key, struct cow_json *value);
