#include "place.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fd.h"
#include "userns.h"

#ifndef COW_LIBEXECDIR
#define COW_LIBEXECDIR "/usr/local/libexec/cowrun"
#endif

enum { ID_KEPT = 20 }; /* of an id that is too long for a socket address */

/* Engines start runtimes with variables that are there but empty: that counts as unset. */
static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && *value != '\0' ? value : NULL;
}

static char *join(const char *a, const char *b)
{
	char *path = NULL;

	if (asprintf(&path, "%s%s", a, b) < 0)
		abort();
	return path;
}

static char *place(const char *override, const char *root, const char *xdg, const char *home, const char *tail,
		   struct cow_error **err)
{
	const char *value = variable(override);

	if (value != NULL) {
		if (*value != '/') {
			cow_error_set(err, 0, "%s is not an absolute path: %s", override, value);
			return NULL;
		}
		return join(value, "");
	}
	if (!cow_userns_rootless())
		return join(root, "");
	value = variable(xdg);
	if (value != NULL)
		return join(value, tail);
	value = variable("HOME");
	if (home != NULL && value != NULL) {
		cleanup_free char *base = join(value, home);

		return join(base, tail);
	}
	cow_error_set(err, 0, "neither %s nor %s is set", override, xdg);
	return NULL;
}

char *cow_place_state(struct cow_error **err)
{
	return place("COWRUN_STATE", "/run/cowrun", "XDG_RUNTIME_DIR", NULL, "/cowrun", err);
}

char *cow_place_store(struct cow_error **err)
{
	return place("COWRUN_STORE", "/var/lib/cowrun", "XDG_DATA_HOME", "/.local/share", "/cowrun", err);
}

char *cow_place_config(struct cow_error **err)
{
	return place("COWRUN_CONFIG", "/etc/cowrun/config.json", "XDG_CONFIG_HOME", "/.config", "/cowrun/config.json",
		     err);
}

int cow_place_make(const char *path, struct cow_error **err)
{
	cleanup_free char *copy = strdup(path);
	struct stat st;

	if (copy == NULL)
		abort();
	for (char *p = copy + 1;; p++) {
		char saved = *p;

		if (saved != '/' && saved != '\0')
			continue;
		*p = '\0';
		if (mkdir(copy, 0700) != 0 && errno != EEXIST)
			return cow_error_set(err, errno, "cannot make %s", copy);
		*p = saved;
		if (saved == '\0')
			break;
	}
	if (stat(path, &st) != 0)
		return cow_error_set(err, errno, "%s", path);
	if (!S_ISDIR(st.st_mode))
		return cow_error_set(err, ENOTDIR, "%s", path);
	if (st.st_uid != geteuid())
		return cow_error_set(err, 0, "%s belongs to user %u, not to user %u", path, st.st_uid, geteuid());
	return 0;
}

bool cow_place_id_valid(const char *id)
{
	if (*id == '\0' || strlen(id) > 1024 || strcmp(id, ".") == 0 || strcmp(id, "..") == 0)
		return false;
	for (const char *p = id; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr("_+.-", *p) == NULL)
			return false;
	return true;
}

bool cow_place_branch_valid(const char *name)
{
	if (!isalnum((unsigned char)*name) || strlen(name) > 128)
		return false;
	for (const char *p = name; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr("_.-", *p) == NULL)
			return false;
	return true;
}

static uint64_t fnv64(uint64_t hash, const char *s)
{
	for (; *s != '\0'; s++)
		hash = (hash ^ (unsigned char)*s) * 1099511628211u;
	return hash;
}

static bool fits_socket(const char *key)
{
	return strlen(key) + sizeof("/control.sock") <= sizeof(((struct sockaddr_un *)NULL)->sun_path);
}

char *cow_place_container(const char *state, const char *root, const char *id, struct cow_error **err)
{
	uint32_t hash = 2166136261u; /* FNV-1a */
	char *path = NULL;

	if (!cow_place_id_valid(id)) {
		cow_error_set(err, 0, "not a container id: %s", id);
		return NULL;
	}
	for (const char *p = root != NULL ? root : ""; *p != '\0'; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619u;
	if (asprintf(&path, "%s/%s.%08x", state, id, hash) < 0)
		abort();
	/* An engine's id is 64 characters, and a user's runtime directory may be long. */
	if (!fits_socket(path) && strlen(id) > ID_KEPT + 17) {
		free(path);
		if (asprintf(&path, "%s/%.*s-%016" PRIx64 ".%08x", state, (int)ID_KEPT, id,
			     fnv64(14695981039346656037u, id), hash) < 0)
			abort();
	}
	if (!fits_socket(path)) {
		cow_error_set(err, 0,
			      "%s/control.sock does not fit a socket address: set COWRUN_STATE to a shorter path",
			      path);
		free(path);
		return NULL;
	}
	return path;
}

char *cow_place_program(const char *name, struct cow_error **err)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;
	char *path = NULL;

	if (n < 0) {
		cow_error_set(err, errno, "/proc/self/exe");
		return NULL;
	}
	self[n] = '\0';
	slash = strrchr(self, '/');
	*slash = '\0';
	if (asprintf(&path, "%s/%s", self, name) < 0)
		abort();
	if (access(path, X_OK) == 0)
		return path;
	free(path);
	path = join(COW_LIBEXECDIR "/", name);
	if (access(path, X_OK) == 0)
		return path;
	cow_error_set(err, errno, "cannot find %s beside %s or in %s", name, self, COW_LIBEXECDIR);
	free(path);
	return NULL;
}
