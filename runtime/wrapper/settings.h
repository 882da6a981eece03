/* The configuration file (lib/place.h: cow_place_config) and the variables that override it; man page: FILES. */
#pragma once

#include <stdint.h>

#include "../lib/error.h"

enum { COW_SETTINGS_RUNTIMES = 16 };

enum cow_listener_way { COW_LISTENER_AUTO, COW_LISTENER_DELEGATE, COW_LISTENER_INIT };

struct cow_settings {
	char *runtimes[COW_SETTINGS_RUNTIMES +
		       1]; /* names or absolute paths, in order of preference; NULL at the end */
	enum cow_listener_way listener;
	int64_t mounts; /* that a container's branches may have before small files are copied; 0: not set */
};

/* A file that is not there means the defaults. The error names the path. */
int cow_settings_read(struct cow_settings *s, struct cow_error **err);
void cow_settings_free(struct cow_settings *s);
#define cleanup_settings __attribute__((cleanup(cow_settings_free)))
