#include "request.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../lib/fd.h"
#include "../lib/place.h"
#include "paths.h"

static const char prefix[] = "run.cowrun";

/* Annotations by which the engines of Kubernetes say what a container is: containerd, CRI-O. */
static const char *const type_keys[] = {"io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType", NULL};
static const char *const name_keys[] = {"io.kubernetes.cri.container-name", "io.kubernetes.container.name", NULL};
/* CRI-O's own: k8s_NAME_POD_NAMESPACE_UID_ATTEMPT, of which no part holds a "_". */
static const char long_name_key[] = "io.kubernetes.cri-o.ContainerName";

static bool has_control(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

/* "annotation KEY=VALUE: WHY", on one line whatever the value holds. */
static int bad_value(const char *key, const char *value, const char *why, struct cow_error **err)
{
	cleanup_free char *text = cow_path_printable(value);

	return cow_error_set(err, 0, "annotation %s=%s: %s", key, text, why);
}

/* --- one annotation each ------------------------------------------------------------------------------------------ */

/* Why a workdir (clean but for its components) cannot be one, or NULL. */
static const char *workdir_fault(const char *dir)
{
	static const char *const kernel[] = {"/dev", "/proc", "/sys"};
	cleanup_free char *clean = cow_path_clean(dir);

	if (has_control(dir))
		return "a control character in a path";
	if (dir[0] != '/')
		return "a workdir is an absolute path";
	if (strcmp(clean, "/") == 0)
		return "the root of the container cannot be a workdir";
	if (strcmp(clean, dir) != 0)
		return "a workdir is written without \".\", \"..\" and empty components";
	if (strlen(dir) >= PATH_MAX)
		return "a path is too long";
	for (size_t i = 0; i < sizeof(kernel) / sizeof(kernel[0]); i++)
		if (cow_path_below(dir, kernel[i]) != NULL)
			return "the kernel's own file systems cannot be workdirs";
	return NULL;
}

static int add_workdir(struct cow_request *r, const char *key, const char *value, const char *dir,
		       struct cow_error **err)
{
	const char *fault = workdir_fault(dir);

	if (fault != NULL)
		return bad_value(key, value, fault, err);
	for (size_t i = 0; i < r->nworkdirs; i++)
		if (cow_path_below(dir, r->workdirs[i]) != NULL || cow_path_below(r->workdirs[i], dir) != NULL)
			return bad_value(key, value, "a workdir is given twice, or lies inside another", err);
	if (r->nworkdirs == COW_BRANCH_TREES)
		return bad_value(key, value, "too many workdirs", err);
	r->workdirs[r->nworkdirs] = strdup(dir);
	if (r->workdirs[r->nworkdirs++] == NULL)
		abort();
	return 0;
}

static int take_workdir(struct cow_request *r, const char *key, const char *value, struct cow_error **err)
{
	cleanup_free char *copy = strdup(value);
	char *rest = copy, *dir;

	if (copy == NULL)
		abort();
	while ((dir = strsep(&rest, ":")) != NULL) {
		size_t len = strlen(dir);

		if (len == 0)
			return bad_value(key, value, "a workdir is empty", err);
		while (len > 1 && dir[len - 1] == '/')
			dir[--len] = '\0';
		if (add_workdir(r, key, value, dir, err) != 0)
			return -1;
	}
	return 0;
}

static int take_branch(struct cow_request *r, const char *key, const char *value, struct cow_error **err)
{
	if (!cow_place_branch_valid(value))
		return bad_value(key, value,
				 "a branch name is letters, digits and _.- (128 at most), and begins with a letter or "
				 "digit",
				 err);
	r->branch = strdup(value);
	if (r->branch == NULL)
		abort();
	return 0;
}

static int take_on_exit(struct cow_request *r, const char *key, const char *value, struct cow_error **err)
{
	static const char *const known[] = {"keep", "commit", "discard"};

	if (strcmp(value, "commit-on-success") == 0)
		return bad_value(key, value, "not supported yet", err);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(value, known[i]) == 0) {
			r->on_exit = known[i];
			return 0;
		}
	return bad_value(key, value, "keep, commit or discard", err);
}

static int take_landlock(struct cow_request *r, const char *key, const char *value, struct cow_error **err)
{
	r->landlock = strcmp(value, "on") == 0;
	return r->landlock || strcmp(value, "off") == 0 ? 0 : bad_value(key, value, "on or off", err);
}

static int take_quota(struct cow_request *r, const char *key, const char *value, struct cow_error **err)
{
	(void)r;
	return bad_value(key, value, "not supported yet", err);
}

/* Only the form; which container it is for: selected(). */
static int take_containers(struct cow_request *r, const char *key, const char *value, struct cow_error **err)
{
	cleanup_free char *copy = strdup(value);
	char *rest = copy, *name;

	(void)r;
	if (copy == NULL)
		abort();
	if (has_control(value) || strchr(value, ' ') != NULL)
		return bad_value(key, value, "names of containers, with commas between them and no blanks", err);
	while ((name = strsep(&rest, ",")) != NULL)
		if (*name == '\0')
			return bad_value(key, value, "a name is empty", err);
	return 0;
}

static const struct annotation {
	const char *key;
	int (*take)(struct cow_request *r, const char *key, const char *value, struct cow_error **err);
} known_annotations[] = {
	{"run.cowrun.workdir", take_workdir}, {"run.cowrun.branch", take_branch},
	{"run.cowrun.on-exit", take_on_exit}, {"run.cowrun.landlock", take_landlock},
	{"run.cowrun.quota", take_quota},     {"run.cowrun.containers", take_containers},
};

/* --- all of them -------------------------------------------------------------------------------------------------- */

/* Also "run.cowrun" itself and "Run.Cowrun.x": a slip must not mean a container without a branch. */
static bool is_ours(const char *key)
{
	size_t n = sizeof(prefix) - 1;

	return strncasecmp(key, prefix, n) == 0 && (key[n] == '\0' || key[n] == '.');
}

static int take(struct cow_request *r, const char *key, const struct cow_json *value, struct cow_error **err)
{
	cleanup_free char *text = cow_path_printable(key);

	for (size_t i = 0; i < sizeof(known_annotations) / sizeof(known_annotations[0]); i++) {
		const struct annotation *a = &known_annotations[i];

		if (strcmp(a->key, key) != 0)
			continue;
		if (cow_json_string(value) == NULL)
			return cow_error_set(err, 0, "annotation %s: its value is no text", text);
		return a->take(r, key, cow_json_string(value), err);
	}
	return cow_error_set(err, 0, "annotation %s: cowrun knows no such annotation", text);
}

/* *found: one of ours, or NULL. */
static int take_all(struct cow_request *r, const struct cow_json *annotations, const char **found,
		    struct cow_error **err)
{
	for (size_t i = 0; i < cow_json_count(annotations); i++) {
		const char *key = cow_json_key_at(annotations, i);

		if (!is_ours(key))
			continue;
		*found = key;
		if (take(r, key, cow_json_at(annotations, i), err) != 0)
			return -1;
	}
	return 0;
}

/* A pod's own container, which only holds its namespaces. One that is called both a sandbox and something else is none.
 */
static bool is_sandbox(const struct cow_json *annotations)
{
	bool sandbox = false;

	for (size_t i = 0; type_keys[i] != NULL; i++) {
		const struct cow_json *value = cow_json_get(annotations, type_keys[i]);
		const char *type = cow_json_string(value);

		if (value != NULL && (type == NULL || strcmp(type, "sandbox") != 0))
			return false;
		sandbox = sandbox || value != NULL;
	}
	return sandbox;
}

/* The container's name in its pod, and its length. */
static const char *container_name(const struct cow_json *annotations, size_t *len)
{
	static const char manager[] = "k8s_";
	const char *name = NULL;

	for (size_t i = 0; name == NULL && name_keys[i] != NULL; i++)
		name = cow_json_string(cow_json_get(annotations, name_keys[i]));
	if (name != NULL) {
		*len = strlen(name);
		return name;
	}
	name = cow_json_string(cow_json_get(annotations, long_name_key));
	if (name == NULL || strncmp(name, manager, sizeof(manager) - 1) != 0)
		return NULL;
	name += sizeof(manager) - 1;
	*len = strcspn(name, "_");
	return name;
}

/* 1 if this container is one of run.cowrun.containers, or there is no such list; 0 if not; -1 with *err. */
static int selected(const struct cow_json *annotations, struct cow_error **err)
{
	const char *list = cow_json_string(cow_json_get(annotations, "run.cowrun.containers")), *name;
	size_t len = 0;

	if (list == NULL)
		return 1;
	name = container_name(annotations, &len);
	if (name == NULL || len == 0)
		return bad_value("run.cowrun.containers", list,
				 "no annotation says what this container's name is (is it in a pod?)", err);
	for (const char *p = list;; p++) {
		size_t n = strcspn(p, ",");

		if (n == len && memcmp(p, name, n) == 0)
			return 1;
		p += n;
		if (*p == '\0')
			return 0;
	}
}

static int default_branch(struct cow_request *r, const char *id, struct cow_error **err)
{
	cleanup_free char *text = cow_path_printable(id);

	if (r->branch != NULL)
		return 0;
	if (!cow_place_branch_valid(id))
		return cow_error_set(err, 0,
				     "container id %s is no branch name: give one by the annotation run.cowrun.branch",
				     text);
	r->branch = strdup(id);
	if (r->branch == NULL)
		abort();
	return 0;
}

static int read_request(const struct cow_json *annotations, const char *id, struct cow_request *r,
			struct cow_error **err)
{
	const char *found = NULL;
	int wanted;

	if (take_all(r, annotations, &found, err) != 0)
		return -1;
	if (found == NULL)
		return 0;
	if (r->nworkdirs == 0)
		return cow_error_set(err, 0, "annotation %s, but no run.cowrun.workdir", found);
	wanted = selected(annotations, err);
	if (wanted != 1)
		return wanted;
	return default_branch(r, id, err) == 0 ? 1 : -1;
}

int cow_request_read(const struct cow_json *spec, const char *id, struct cow_request *r, struct cow_error **err)
{
	const struct cow_json *annotations = cow_json_get(spec, "annotations");
	int result;

	*r = (struct cow_request){.on_exit = "keep", .landlock = true};
	if (cow_json_type_of(spec) != COW_JSON_OBJECT)
		return cow_error_set(err, 0, "config.json is no object");
	if (cow_json_type_of(annotations) == COW_JSON_NULL)
		return 0;
	if (cow_json_type_of(annotations) != COW_JSON_OBJECT)
		return cow_error_set(err, 0, "config.json: \"annotations\" is no object");
	if (is_sandbox(annotations))
		return 0;
	result = read_request(annotations, id, r, err);
	if (result != 1)
		cow_request_free(r);
	return result;
}

void cow_request_free(struct cow_request *r)
{
	for (size_t i = 0; i < r->nworkdirs; i++)
		free(r->workdirs[i]);
	free(r->branch);
	*r = (struct cow_request){.on_exit = "keep", .landlock = true};
}
