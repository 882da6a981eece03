#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../lib/fd.h"

char *cow_shown_path(const struct cow_branch *b, size_t tree, const char *path)
{
	const char *workdir = b->ntrees > 1 ? b->trees[tree].workdir + 1 : "";

	if (*workdir == '\0' && *path == '\0')
		return cow_name_join("", ".");
	return *path == '\0' ? cow_name_join("", workdir) : cow_name_join(workdir, path);
}

static const char *key_of(const struct cow_row *row)
{
	return row->old != NULL ? row->old : row->path;
}

static int compare_rows(const void *a, const void *b)
{
	const struct cow_row *x = a;
	const struct cow_row *y = b;
	static const char order[] = "DRAM";
	int by_key = strcmp(key_of(x), key_of(y));

	return by_key != 0 ? by_key : (int)(strchr(order, x->change->op) - strchr(order, y->change->op));
}

static void add_rows(struct cow_rows *r, const struct cow_diff *d)
{
	r->list = reallocarray(r->list, r->count + d->count + 1, sizeof(*r->list));
	if (r->list == NULL)
		abort();
	for (size_t i = 0; i < d->count; i++) {
		const struct cow_change *c = &d->list[i];
		struct cow_row *row = &r->list[r->count++];

		memset(row, 0, sizeof(*row));
		row->diff = d;
		row->change = c;
		if (c->op == 'D' || c->op == 'R')
			row->old = cow_shown_path(d->branch, d->tree, c->old);
		if (c->path != NULL)
			row->path = cow_shown_path(d->branch, d->tree, c->path);
	}
}

int cow_rows_make(struct cow_rows *r, const struct cow_branch *b, struct cow_error **err)
{
	memset(r, 0, sizeof(*r));
	for (size_t i = 0; i < b->ntrees; i++) {
		r->ndiffs = i + 1;
		if (cow_diff_make(&r->diffs[i], b, i, err) != 0)
			return -1;
		add_rows(r, &r->diffs[i]);
	}
	if (r->count > 0)
		qsort(r->list, r->count, sizeof(*r->list), compare_rows);
	return 0;
}

void cow_rows_clear(struct cow_rows *r)
{
	for (size_t i = 0; i < r->count; i++) {
		free(r->list[i].old);
		free(r->list[i].path);
	}
	free(r->list);
	for (size_t i = 0; i < r->ndiffs; i++)
		cow_diff_clear(&r->diffs[i]);
	memset(r, 0, sizeof(*r));
}

/* --- paths ---------------------------------------------------------------------------------------------------------
 */

static bool is_plain(const char *path)
{
	size_t length = strlen(path);

	for (const char *p = path; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || (unsigned char)*p > '~' || *p == '"' || *p == '\\')
			return false;
	return strstr(path, " -> ") == NULL && length > 0 && path[0] != ' ' && path[length - 1] != ' ';
}

char *cow_quote_path(const char *path)
{
	static const char letters[] = "abtnvfr"; /* 7 to 13 */
	char *text = malloc(strlen(path) * 4 + 3);
	char *at = text;

	if (text == NULL)
		abort();
	if (is_plain(path))
		return strcpy(text, path);
	*at++ = '"';
	for (const unsigned char *p = (const unsigned char *)path; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\')
			at += sprintf(at, "\\%c", *p);
		else if (*p >= '\a' && *p <= '\r')
			at += sprintf(at, "\\%c", letters[*p - '\a']);
		else if (*p < ' ' || *p > '~')
			at += sprintf(at, "\\%03o", *p);
		else
			*at++ = (char)*p;
	}
	strcpy(at, "\"");
	return text;
}

size_t cow_utf8_length(const char *text, size_t left)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t length = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	if (length > left)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return length;
}

/* NULL if it is UTF-8 already. */
static char *with_replacements(const char *path)
{
	char *text = malloc(strlen(path) * 3 + 1);
	char *at = text;
	bool valid = true;

	if (text == NULL)
		abort();
	for (const char *p = path, *end = path + strlen(path); p < end;) {
		size_t length = cow_utf8_length(p, (size_t)(end - p));

		if (length == 0) {
			valid = false;
			at = stpcpy(at, "\xef\xbf\xbd");
			p++;
		} else {
			at = (char *)memcpy(at, p, length) + length;
			p += length;
		}
	}
	*at = '\0';
	if (!valid)
		return text;
	free(text);
	return NULL;
}

static char *base64(const char *path)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t left = strlen(path);
	char *text = malloc((left + 2) / 3 * 4 + 1);
	char *at = text;

	if (text == NULL)
		abort();
	for (const unsigned char *p = (const unsigned char *)path; left > 0; p += 3) {
		unsigned group = (unsigned)p[0] << 16 | (left > 1 ? (unsigned)p[1] << 8 : 0) | (left > 2 ? p[2] : 0U);

		*at++ = digits[group >> 18];
		*at++ = digits[group >> 12 & 63];
		*at++ = left > 1 ? digits[group >> 6 & 63] : '=';
		*at++ = left > 2 ? digits[group & 63] : '=';
		left -= left > 3 ? 3 : left;
	}
	*at = '\0';
	return text;
}

void cow_json_set_path(struct cow_json *o, const char *key, const char *path)
{
	cleanup_free char *shown = with_replacements(path);

	cow_json_set(o, key, cow_json_new_string(shown != NULL ? shown : path));
	if (shown != NULL) {
		cleanup_free char *exact = base64(path);
		char name[32];

		snprintf(name, sizeof(name), "%sBase64", key);
		cow_json_set(o, name, cow_json_new_string(exact));
	}
}

/* --- rows ----------------------------------------------------------------------------------------------------------
 */

const char *cow_type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "symlink";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	case S_IFBLK:
		return "block-device";
	case S_IFCHR:
		return "character-device";
	default:
		return "unknown";
	}
}

static void set_mode(struct cow_json *o, const char *type_key, const char *mode_key, mode_t mode)
{
	char text[16];

	snprintf(text, sizeof(text), "%04o", mode & 07777);
	cow_json_set(o, type_key, cow_json_new_string(cow_type_name(mode)));
	cow_json_set(o, mode_key, cow_json_new_string(text));
}

struct cow_json *cow_row_json(const struct cow_row *row)
{
	const struct cow_change *c = row->change;
	struct cow_json *o = cow_json_new_object();
	char op[2] = {c->op, '\0'};

	cow_json_set(o, "status", cow_json_new_string(op));
	cow_json_set_path(o, "path", row->path != NULL ? row->path : row->old);
	if (c->op == 'R')
		cow_json_set_path(o, "old", row->old);
	if (c->op == 'D' || c->op == 'R')
		set_mode(o, "type", "mode", c->old_mode);
	else
		set_mode(o, "type", "mode", c->node->mode);
	if (c->op == 'M')
		set_mode(o, "oldType", "oldMode", c->old_mode);
	if (row->diff->branch->ntrees > 1)
		cow_json_set(o, "workdir", cow_json_new_string(row->diff->branch->trees[row->diff->tree].workdir));
	return o;
}

void cow_row_print(const struct cow_row *row)
{
	cleanup_free char *old = row->old != NULL ? cow_quote_path(row->old) : NULL;
	cleanup_free char *path = row->path != NULL ? cow_quote_path(row->path) : NULL;

	if (row->change->op == 'R')
		printf("R %s -> %s\n", old, path);
	else
		printf("%c\t%s\n", row->change->op, path != NULL ? path : old);
}
