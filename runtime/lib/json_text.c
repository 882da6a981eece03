/* JSON as text: parsed and printed by yajl, read from and written to files. */
#include "json.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yajl/yajl_gen.h>
#include <yajl/yajl_parse.h>

#include "fd.h"
#include "json_internal.h"

enum { COW_JSON_DEPTH = 64 };

struct reader {
	struct cow_json *stack[COW_JSON_DEPTH];
	size_t depth;
	struct cow_json *root;
	char *key;
	const char *complaint;
};

static int complain(struct reader *r, const char *what)
{
	r->complaint = what;
	return 0;
}

static int add(struct reader *r, struct cow_json *v)
{
	struct cow_json *parent = r->depth > 0 ? r->stack[r->depth - 1] : NULL;

	if (parent == NULL) {
		r->root = v;
	} else {
		cow_json_put(parent, cow_json_count(parent), r->key, v);
		free(r->key);
		r->key = NULL;
	}
	return 1;
}

static int push(struct reader *r, struct cow_json *v)
{
	add(r, v);
	if (r->depth == COW_JSON_DEPTH)
		return complain(r, "nested too deeply");
	r->stack[r->depth++] = v;
	return 1;
}

static int on_null(void *ctx)
{
	return add(ctx, cow_json_new_null());
}

static int on_bool(void *ctx, int b)
{
	return add(ctx, cow_json_new_bool(b != 0));
}

static int on_number(void *ctx, const char *text, size_t size)
{
	return add(ctx, cow_json_make(COW_JSON_NUMBER, text, size));
}

static int on_string(void *ctx, const unsigned char *text, size_t size)
{
	return add(ctx, cow_json_make(COW_JSON_STRING, (const char *)text, size));
}

static int on_map(void *ctx)
{
	return push(ctx, cow_json_new_object());
}

static int on_array(void *ctx)
{
	return push(ctx, cow_json_new_array());
}

static int on_key(void *ctx, const unsigned char *text, size_t size)
{
	struct reader *r = ctx;

	if (memchr(text, '\0', size) != NULL)
		return complain(r, "a key holds a NUL byte");
	r->key = strndup((const char *)text, size);
	if (r->key == NULL)
		abort();
	return 1;
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Once, when the object is complete: asking at each key would take quadratic time. */
static bool has_repeated_key(const struct cow_json *object)
{
	size_t n = cow_json_count(object);
	cleanup_free const char **keys = calloc(n + 1, sizeof(*keys));

	if (keys == NULL)
		abort();
	for (size_t i = 0; i < n; i++)
		keys[i] = cow_json_key_at(object, i);
	qsort(keys, n, sizeof(*keys), compare_keys);
	for (size_t i = 1; i < n; i++)
		if (strcmp(keys[i - 1], keys[i]) == 0)
			return true;
	return false;
}

static int on_end(void *ctx)
{
	struct reader *r = ctx;

	const struct cow_json *v = r->stack[--r->depth];

	if (cow_json_type_of(v) == COW_JSON_OBJECT && has_repeated_key(v))
		return complain(r, "a key is given twice");
	return 1;
}

static const yajl_callbacks callbacks = {
	.yajl_null = on_null,
	.yajl_boolean = on_bool,
	.yajl_number = on_number,
	.yajl_string = on_string,
	.yajl_start_map = on_map,
	.yajl_map_key = on_key,
	.yajl_end_map = on_end,
	.yajl_start_array = on_array,
	.yajl_end_array = on_end,
};

/* --- what yajl lets pass or mends in its own way, so that another parser would read something else --------------- */

/* Length of the UTF-8 character at `p` (RFC 3629: no surrogates, nothing written longer than needed), or 0. */
static size_t utf8_length(const unsigned char *p, size_t size)
{
	static const struct {
		unsigned char mask, lead;
		size_t length;
		uint32_t least;
	} forms[] = {{0x80, 0x00, 1, 0}, {0xe0, 0xc0, 2, 0x80}, {0xf0, 0xe0, 3, 0x800}, {0xf8, 0xf0, 4, 0x10000}};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		uint32_t c = p[0] & (unsigned char)~forms[i].mask;

		if ((p[0] & forms[i].mask) != forms[i].lead)
			continue;
		if (forms[i].length > size)
			return 0;
		for (size_t j = 1; j < forms[i].length; j++) {
			if ((p[j] & 0xc0) != 0x80)
				return 0;
			c = c << 6 | (p[j] & 0x3f);
		}
		return c < forms[i].least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : forms[i].length;
	}
	return 0;
}

/* The code unit of the escape \uXXXX at `p`, or -1 if there is none. */
static long escaped_unit(const char *p, size_t size)
{
	long unit = 0;

	if (size < 6 || p[0] != '\\' || p[1] != 'u')
		return -1;
	for (size_t i = 2; i < 6; i++) {
		if (!isxdigit((unsigned char)p[i]))
			return -1;
		unit = unit << 4 | (isdigit((unsigned char)p[i]) ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
	}
	return unit;
}

/* Length of the escape at `p`, or 0 if it is half a character of UTF-16. yajl judges all else. */
static size_t escape_length(const char *p, size_t size)
{
	long unit = escaped_unit(p, size), next;

	if (unit < 0xd800 || unit >= 0xe000)
		return size < 2 ? size : 2;
	next = unit < 0xdc00 ? escaped_unit(p + 6, size - 6) : -1;
	return next >= 0xdc00 && next < 0xe000 ? 12 : 0;
}

static int check_characters(const char *text, size_t size, struct cow_error **err)
{
	for (size_t at = 0, n; at < size; at += n) {
		n = text[at] == '\\' ? escape_length(text + at, size - at)
				     : utf8_length((const unsigned char *)text + at, size - at);
		if (n == 0)
			return cow_error_set(err, 0, "bad JSON: a broken character (byte %zu)", at);
	}
	return 0;
}

/* ------------------------------------------------------------------------------------------------------------------ */

static void set_parse_error(yajl_handle h, const struct reader *r, const char *text, size_t size,
			    struct cow_error **err)
{
	unsigned char *why;

	if (r->complaint != NULL) {
		cow_error_set(err, 0, "bad JSON: %s (byte %zu)", r->complaint, yajl_get_bytes_consumed(h));
		return;
	}
	why = yajl_get_error(h, 0, (const unsigned char *)text, size);
	why[strcspn((char *)why, "\n")] = '\0';
	cow_error_set(err, 0, "bad JSON: %s (byte %zu)", (char *)why, yajl_get_bytes_consumed(h));
	yajl_free_error(h, why);
}

struct cow_json *cow_json_parse(const char *text, size_t size, struct cow_error **err)
{
	struct reader r = {.depth = 0};
	yajl_handle h;
	yajl_status status;

	if (check_characters(text, size, err) != 0)
		return NULL;
	h = yajl_alloc(&callbacks, NULL, &r);
	if (h == NULL)
		abort();
	status = yajl_parse(h, (const unsigned char *)text, size);
	if (status == yajl_status_ok)
		status = yajl_complete_parse(h);
	if (status != yajl_status_ok) {
		set_parse_error(h, &r, text, size, err);
		cow_json_cleanup(&r.root);
	} else if (r.root == NULL) {
		cow_error_set(err, 0, "bad JSON: nothing there");
	}
	free(r.key);
	yajl_free(h);
	return r.root;
}

struct cow_json *cow_json_read_file(int dirfd, const char *path, size_t max, struct cow_error **err)
{
	cleanup_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	cleanup_free char *text = NULL;
	struct cow_json *v;
	struct stat st;
	size_t size;

	if (fd < 0 || fstat(fd, &st) != 0) {
		cow_error_set(err, errno, "cannot read %s", path);
		return NULL;
	}
	if (!S_ISREG(st.st_mode)) {
		cow_error_set(err, 0, "cannot read %s: not a regular file", path);
		return NULL;
	}
	text = cow_read_to_end(fd, max, &size);
	if (text == NULL) {
		cow_error_set(err, errno, "cannot read %s", path);
		return NULL;
	}
	v = cow_json_parse(text, size, err);
	if (v == NULL)
		cow_error_wrap(err, "%s", path);
	return v;
}

static void generate(yajl_gen g, const struct cow_json *v)
{
	size_t size = 0;
	const char *text;

	switch (cow_json_type_of(v)) {
	case COW_JSON_NULL:
		yajl_gen_null(g);
		break;
	case COW_JSON_BOOL:
		yajl_gen_bool(g, cow_json_bool(v, false));
		break;
	case COW_JSON_NUMBER:
		text = cow_json_text(v, &size);
		yajl_gen_number(g, text, size);
		break;
	case COW_JSON_STRING:
		text = cow_json_text(v, &size);
		yajl_gen_string(g, (const unsigned char *)text, size);
		break;
	case COW_JSON_ARRAY:
		yajl_gen_array_open(g);
		for (size_t i = 0; i < cow_json_count(v); i++)
			generate(g, cow_json_at(v, i));
		yajl_gen_array_close(g);
		break;
	case COW_JSON_OBJECT:
		yajl_gen_map_open(g);
		for (size_t i = 0; i < cow_json_count(v); i++) {
			const char *key = cow_json_key_at(v, i);

			yajl_gen_string(g, (const unsigned char *)key, strlen(key));
			generate(g, cow_json_at(v, i));
		}
		yajl_gen_map_close(g);
		break;
	}
}

char *cow_json_print(const struct cow_json *v, int flags, size_t *size)
{
	yajl_gen g = yajl_gen_alloc(NULL);
	const unsigned char *text;
	size_t length;
	char *copy;

	if (g == NULL)
		abort();
	yajl_gen_config(g, yajl_gen_beautify, (flags & COW_JSON_PRETTY) != 0);
	yajl_gen_config(g, yajl_gen_indent_string, "  ");
	generate(g, v);
	yajl_gen_get_buf(g, &text, &length);
	copy = malloc(length + 1);
	if (copy == NULL)
		abort();
	memcpy(copy, text, length);
	copy[length] = '\0';
	yajl_gen_free(g);
	if (size != NULL)
		*size = length;
	return copy;
}

int cow_json_write_file(int dirfd, const char *path, const struct cow_json *v, unsigned mode, struct cow_error **err)
{
	cleanup_free char *text = NULL;
	cleanup_free char *temp = NULL;
	cleanup_close int fd = -1;
	size_t size;

	text = cow_json_print(v, COW_JSON_PRETTY, &size);
	if (asprintf(&temp, "%s.%d.tmp", path, (int)getpid()) < 0)
		abort();
	unlinkat(dirfd, temp, 0);
	fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return cow_error_set(err, errno, "cannot write %s", path);
	if (cow_write_all(fd, text, size) != 0 || fchmod(fd, mode) != 0 || renameat(dirfd, temp, dirfd, path) != 0) {
		cow_error_set(err, errno, "cannot write %s", path);
		unlinkat(dirfd, temp, 0);
		return -1;
	}
	return 0;
}
