#include "mounts.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/fd.h"
#include "paths.h"
#include "spec.h"

static const char init_name[] = "/.cowrun-init";

static bool is_one_of(const char *s, const char *const *list)
{
	for (; *list != NULL; list++)
		if (strcmp(s, *list) == 0)
			return true;
	return false;
}

/* Later options win, as in mount(8). */
static void take_option(struct cow_mount *m, const char *option, bool *plain_bind)
{
	static const char *const idmap[] = {"idmap", "ridmap", NULL};

	if (strcmp(option, "rbind") == 0)
		m->bind = m->recursive = true;
	else if (strcmp(option, "bind") == 0)
		m->bind = *plain_bind = true;
	else if (strcmp(option, "ro") == 0)
		m->readonly = true;
	else if (strcmp(option, "rw") == 0)
		m->readonly = false;
	else if (strcmp(option, "rro") == 0)
		m->readonly_below = true;
	else if (strcmp(option, "rrw") == 0)
		m->readonly_below = false;
	else if (strncmp(option, "mode=", 5) == 0)
		m->closed = (strtoul(option + 5, NULL, 8) & 1) == 0;
	else if (is_one_of(option, idmap) || strncmp(option, "idmap=", 6) == 0 || strncmp(option, "ridmap=", 7) == 0)
		m->idmapped = true;
}

static int read_options(struct cow_mount *m, const struct cow_json *options, size_t index, struct cow_error **err)
{
	bool plain_bind = false;

	if (cow_json_type_of(options) != COW_JSON_NULL && cow_json_type_of(options) != COW_JSON_ARRAY)
		return cow_error_set(err, 0, "config.json: mounts[%zu]: \"options\" is no array", index);
	for (size_t i = 0; i < cow_json_count(options); i++) {
		const char *option = cow_json_string(cow_json_at(options, i));

		if (option == NULL)
			return cow_error_set(err, 0, "config.json: mounts[%zu]: an option is no text", index);
		take_option(m, option, &plain_bind);
	}
	if (strcmp(m->type, "bind") == 0) {
		m->bind = true;
		m->recursive = m->recursive || !plain_bind;
	}
	m->readonly = m->readonly || m->readonly_below;
	return 0;
}

/* STORE/branches/NAME/trees/N/upper, of whatever store. */
static bool is_upper(const char *path)
{
	static const char branches[] = "/branches/", trees[] = "/trees/";
	const char *p = NULL;

	for (const char *next = path; (next = strstr(next, branches)) != NULL; next++)
		p = next;
	if (path[0] != '/' || p == NULL)
		return false;
	p += sizeof(branches) - 1;
	p += strcspn(p, "/");
	if (strncmp(p, trees, sizeof(trees) - 1) != 0)
		return false;
	p += sizeof(trees) - 1;
	while (isdigit((unsigned char)*p))
		p++;
	return strcmp(p, "/upper") == 0;
}

/* NULL if there is no such member. */
static int text_member(const struct cow_json *json, const char *key, size_t index, const char **text,
		       struct cow_error **err)
{
	const struct cow_json *value = cow_json_get(json, key);

	*text = cow_json_string(value);
	if (*text == NULL && cow_json_type_of(value) != COW_JSON_NULL)
		return cow_error_set(err, 0, "config.json: mounts[%zu]: \"%s\" is no text", index, key);
	return 0;
}

static int read_mount(struct cow_mount *m, const struct cow_json *json, size_t index, struct cow_error **err)
{
	const char *destination, *lower;

	if (cow_json_type_of(json) != COW_JSON_OBJECT)
		return cow_error_set(err, 0, "config.json: mounts[%zu] is no object", index);
	if (text_member(json, "destination", index, &destination, err) != 0 ||
	    text_member(json, "type", index, &m->type, err) != 0 ||
	    text_member(json, "source", index, &m->source, err) != 0 ||
	    text_member(json, "cowrunLower", index, &lower, err) != 0)
		return -1;
	if (destination == NULL || *destination == '\0')
		return cow_error_set(err, 0, "config.json: mounts[%zu] has no destination", index);
	m->destination = cow_path_clean(destination);
	m->type = m->type != NULL ? m->type : "";
	m->source = m->source != NULL ? m->source : "";
	m->edited = lower != NULL && is_upper(m->source);
	if (m->edited)
		m->source = lower;
	m->init = cow_json_bool(cow_json_get(json, "cowrunInit"), false) && cow_mounts_is_init_place(m->destination);
	if (cow_json_count(cow_json_get(json, "uidMappings")) > 0 ||
	    cow_json_count(cow_json_get(json, "gidMappings")) > 0)
		m->idmapped = true;
	return read_options(m, cow_json_get(json, "options"), index, err);
}

int cow_mounts_read(const struct cow_json *spec, struct cow_mounts *mounts, struct cow_error **err)
{
	const struct cow_json *list = cow_json_get(spec, "mounts");
	size_t n = cow_json_count(list);

	*mounts = (struct cow_mounts){.count = 0};
	if (cow_json_type_of(list) != COW_JSON_NULL && cow_json_type_of(list) != COW_JSON_ARRAY)
		return cow_error_set(err, 0, "config.json: \"mounts\" is no array");
	mounts->list = calloc(n + 1, sizeof(*mounts->list));
	if (mounts->list == NULL)
		abort();
	for (size_t i = 0; i < n; i++) {
		mounts->count = i + 1;
		if (read_mount(&mounts->list[i], cow_json_at(list, i), i, err) != 0) {
			cow_mounts_free(mounts);
			return -1;
		}
	}
	return 0;
}

void cow_mounts_free(struct cow_mounts *mounts)
{
	for (size_t i = 0; i < mounts->count; i++)
		free(mounts->list[i].destination);
	free(mounts->list);
	*mounts = (struct cow_mounts){.count = 0};
}

/* The mount that a path of the container lies on, by destinations: the last one at the path or above it. Init's own of
 * an earlier edit does not count. */
static const struct cow_mount *mount_at(const struct cow_mounts *mounts, const char *path)
{
	for (size_t i = mounts->count; i-- > 0;)
		if (!mounts->list[i].init && cow_path_below(path, mounts->list[i].destination) != NULL)
			return &mounts->list[i];
	return NULL;
}

/* DIR's place for init, if DIR is a tmpfs that can be seen there and written, and every user can get at it. NULL if
 * not.
 */
static char *place_in(const struct cow_mounts *mounts, const char *dir, char *const *workdirs, size_t nworkdirs)
{
	cleanup_free char *place = NULL;
	const struct cow_mount *m;

	if (asprintf(&place, "%s%s", strcmp(dir, "/") == 0 ? "" : dir, init_name) < 0)
		abort();
	m = mount_at(mounts, place);
	if (m == NULL || strlen(place) >= COW_SPEC_PATH_MAX)
		return NULL;
	if (strcmp(m->type, "tmpfs") != 0 || m->bind || m->readonly || m->closed || strcmp(m->destination, dir) != 0)
		return NULL;
	for (size_t i = 0; i < nworkdirs; i++)
		if (cow_path_below(place, workdirs[i]) != NULL)
			return NULL;
	return cow_steal_ptr(&place);
}

char *cow_mounts_init_place(const struct cow_mounts *mounts, char *const *workdirs, size_t nworkdirs,
			    struct cow_error **err)
{
	static const char *const preferred[] = {"/dev", "/run", "/tmp", "/dev/shm"};
	char *place = NULL;

	for (size_t i = 0; place == NULL && i < sizeof(preferred) / sizeof(preferred[0]); i++)
		place = place_in(mounts, preferred[i], workdirs, nworkdirs);
	for (size_t i = 0; place == NULL && i < mounts->count; i++)
		place = place_in(mounts, mounts->list[i].destination, workdirs, nworkdirs);
	if (place == NULL)
		cow_error_set(err, 0,
			      "the container has no tmpfs (at /dev, /run, /tmp or elsewhere) that cowrun-init could be "
			      "mounted in: give it one at /run");
	return place;
}

bool cow_mounts_is_init_place(const char *path)
{
	size_t n = strlen(path), tail = sizeof(init_name) - 1;

	return path[0] == '/' && n >= tail && strcmp(path + n - tail, init_name) == 0;
}
