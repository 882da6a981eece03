#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/fd.h"
#include "../lib/json.h"
#include "../lib/place.h"

enum { SETTINGS_MAX = 1 << 20 };

static char *copy(const char *s)
{
	char *c = strdup(s);

	if (c == NULL)
		abort();
	return c;
}

void cow_settings_free(struct cow_settings *s)
{
	for (size_t i = 0; s->runtimes[i] != NULL; i++)
		free(s->runtimes[i]);
	memset(s, 0, sizeof(*s));
}

static int set_listener(struct cow_settings *s, const char *value, struct cow_error **err)
{
	if (value != NULL && strcmp(value, "auto") == 0)
		s->listener = COW_LISTENER_AUTO;
	else if (value != NULL && strcmp(value, "delegate") == 0)
		s->listener = COW_LISTENER_DELEGATE;
	else if (value != NULL && strcmp(value, "init") == 0)
		s->listener = COW_LISTENER_INIT;
	else
		return cow_error_set(err, 0, "\"%s\" is not auto, delegate or init", value != NULL ? value : "");
	return 0;
}

static void set_runtimes(struct cow_settings *s, const char *first, const char *second)
{
	for (size_t i = 0; s->runtimes[i] != NULL; i++) {
		free(s->runtimes[i]);
		s->runtimes[i] = NULL;
	}
	s->runtimes[0] = copy(first);
	if (second != NULL)
		s->runtimes[1] = copy(second);
}

static int read_runtimes(struct cow_settings *s, const struct cow_json *list, struct cow_error **err)
{
	size_t n = cow_json_count(list);

	if (cow_json_type_of(list) != COW_JSON_ARRAY || n == 0 || n > COW_SETTINGS_RUNTIMES)
		return cow_error_set(err, 0, "\"runtimes\" is no list of 1 to %d names", COW_SETTINGS_RUNTIMES);
	for (size_t i = 0; i < n; i++) {
		const char *name = cow_json_string(cow_json_at(list, i));

		if (name == NULL || *name == '\0' || (strchr(name, '/') != NULL && name[0] != '/'))
			return cow_error_set(err, 0, "\"runtimes\" has an entry that is no name and no absolute path");
	}
	for (size_t i = 0; s->runtimes[i] != NULL; i++) {
		free(s->runtimes[i]);
		s->runtimes[i] = NULL;
	}
	for (size_t i = 0; i < n; i++)
		s->runtimes[i] = copy(cow_json_string(cow_json_at(list, i)));
	return 0;
}

/* A member that is not known is an error: a misspelt one would be a setting without effect. */
static int read_members(struct cow_settings *s, const struct cow_json *config, struct cow_error **err)
{
	if (cow_json_type_of(config) != COW_JSON_OBJECT)
		return cow_error_set(err, 0, "not a JSON object");
	for (size_t i = 0; i < cow_json_count(config); i++) {
		const char *key = cow_json_key_at(config, i);
		const struct cow_json *value = cow_json_at(config, i);

		if (strcmp(key, "runtimes") == 0) {
			if (read_runtimes(s, value, err) != 0)
				return -1;
		} else if (strcmp(key, "listener") == 0) {
			if (set_listener(s, cow_json_string(value), err) != 0)
				return cow_error_wrap(err, "\"listener\"");
		} else if (strcmp(key, "mounts") == 0) {
			if (cow_json_int(value, &s->mounts) != 0 || s->mounts < 1)
				return cow_error_set(err, 0, "\"mounts\" is no positive number");
		} else {
			return cow_error_set(err, 0, "unknown member \"%s\"", key);
		}
	}
	return 0;
}

static int read_file(struct cow_settings *s, struct cow_error **err)
{
	cleanup_error struct cow_error *no_home = NULL;
	cleanup_free char *path = cow_place_config(&no_home);
	cleanup_json struct cow_json *config = NULL;
	cleanup_close int fd = -1;

	if (path == NULL)
		return 0; /* an ordinary user without a home: he has no configuration either */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? 0 : cow_error_set(err, errno, "%s", path);
	config = cow_json_read_file(AT_FDCWD, path, SETTINGS_MAX, err);
	if (config == NULL)
		return -1;
	return read_members(s, config, err) == 0 ? 0 : cow_error_wrap(err, "%s", path);
}

int cow_settings_read(struct cow_settings *s, struct cow_error **err)
{
	const char *runtime = getenv("COWRUN_RUNTIME");
	const char *listener = getenv("COWRUN_LISTENER");

	memset(s, 0, sizeof(*s));
	set_runtimes(s, "crun", "runc");
	if (read_file(s, err) != 0)
		return -1;
	if (runtime != NULL && *runtime != '\0')
		set_runtimes(s, runtime, NULL);
	if (listener != NULL && *listener != '\0' && set_listener(s, listener, err) != 0)
		return cow_error_wrap(err, "COWRUN_LISTENER");
	return 0;
}
