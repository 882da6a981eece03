#include "store.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/json.h"
#include "../lib/place.h"
#include "plan.h"

enum { BRANCH_JSON_MAX = 1 << 20 };

void cow_branch_free(struct cow_branch *b)
{
	if (b == NULL)
		return;
	for (size_t i = 0; i < b->ntrees; i++) {
		free(b->trees[i].workdir);
		free(b->trees[i].lower);
		for (char **m = b->trees[i].mountpoints; m != NULL && *m != NULL; m++)
			free(*m);
		free(b->trees[i].mountpoints);
	}
	free(b->name);
	free(b->id);
	cow_close_fd(&b->dirfd);
	cow_close_fd(&b->lockfd);
	free(b);
}

void cow_branch_cleanup(struct cow_branch **b)
{
	cow_branch_free(*b);
	*b = NULL;
}

char *cow_branch_path(const char *store, const char *name, size_t tree, const char *what)
{
	char *path = NULL;

	if (asprintf(&path, "%s/branches/%s/trees/%zu/%s", store, name, tree, what) < 0)
		abort();
	return path;
}

/* --- branch.json ------------------------------------------------------------------------------------------------- */

static struct cow_json *to_json(const struct cow_branch *b)
{
	struct cow_json *o = cow_json_new_object();
	struct cow_json *trees = cow_json_new_array();
	char nonce[COW_NONCE_SIZE * 2 + 1];

	for (size_t i = 0; i < COW_NONCE_SIZE; i++)
		snprintf(nonce + i * 2, 3, "%02x", b->nonce[i]);
	cow_json_set(o, "version", cow_json_new_int(COW_BRANCH_VERSION));
	cow_json_set(o, "name", cow_json_new_string(b->name));
	cow_json_set(o, "id", cow_json_new_string(b->id));
	cow_json_set(o, "created", cow_json_new_int(b->created));
	cow_json_set(o, "nonce", cow_json_new_string(nonce));
	for (size_t i = 0; i < b->ntrees; i++) {
		struct cow_json *t = cow_json_new_object();
		struct cow_json *m = cow_json_new_array();

		for (char **p = b->trees[i].mountpoints; p != NULL && *p != NULL; p++)
			cow_json_append(m, cow_json_new_string(*p));
		cow_json_set(t, "workdir", cow_json_new_string(b->trees[i].workdir));
		cow_json_set(t, "lower", cow_json_new_string(b->trees[i].lower));
		cow_json_set(t, "mountpoints", m);
		cow_json_append(trees, t);
	}
	cow_json_set(o, "trees", trees);
	return o;
}

static int save(const struct cow_branch *b, struct cow_error **err)
{
	cleanup_json struct cow_json *o = to_json(b);

	return cow_json_write_file(b->dirfd, "branch.json", o, 0600, err);
}

static char **strings_of(const struct cow_json *array)
{
	char **list = calloc(cow_json_count(array) + 1, sizeof(*list));
	size_t n = 0;

	if (list == NULL)
		abort();
	for (size_t i = 0; i < cow_json_count(array); i++) {
		const char *s = cow_json_string(cow_json_at(array, i));

		if (s != NULL)
			list[n++] = strdup(s);
	}
	return list;
}

static int parse_nonce(struct cow_branch *b, const char *hex)
{
	if (hex == NULL || strlen(hex) != COW_NONCE_SIZE * 2)
		return -1;
	for (size_t i = 0; i < COW_NONCE_SIZE; i++) {
		unsigned byte;

		if (!isxdigit((unsigned char)hex[i * 2]) || sscanf(hex + i * 2, "%2x", &byte) != 1)
			return -1;
		b->nonce[i] = (uint8_t)byte;
	}
	return 0;
}

static int parse_trees(struct cow_branch *b, const struct cow_json *trees)
{
	if (cow_json_count(trees) == 0 || cow_json_count(trees) > COW_BRANCH_TREES)
		return -1;
	for (size_t i = 0; i < cow_json_count(trees); i++) {
		const struct cow_json *t = cow_json_at(trees, i);
		const char *workdir = cow_json_string(cow_json_get(t, "workdir"));
		const char *lower = cow_json_string(cow_json_get(t, "lower"));

		if (workdir == NULL || lower == NULL)
			return -1;
		b->ntrees = i + 1;
		b->trees[i].workdir = strdup(workdir);
		b->trees[i].lower = strdup(lower);
		b->trees[i].mountpoints = strings_of(cow_json_get(t, "mountpoints"));
	}
	return 0;
}

static int parse(struct cow_branch *b, const struct cow_json *o, struct cow_error **err)
{
	const char *id = cow_json_string(cow_json_get(o, "id"));
	int64_t version;

	if (cow_json_int(cow_json_get(o, "version"), &version) != 0)
		return cow_error_set(err, 0, "branch %s: branch.json has no version", b->name);
	if (version != COW_BRANCH_VERSION)
		return cow_error_set(err, 0, "branch %s: format version %lld, this cowrun knows %d", b->name,
				     (long long)version, COW_BRANCH_VERSION);
	if (id == NULL || cow_json_int(cow_json_get(o, "created"), &b->created) != 0 ||
	    parse_nonce(b, cow_json_string(cow_json_get(o, "nonce"))) != 0 ||
	    parse_trees(b, cow_json_get(o, "trees")) != 0)
		return cow_error_set(err, 0, "branch %s: branch.json is damaged", b->name);
	b->id = strdup(id);
	return 0;
}

/* --- making and loading ------------------------------------------------------------------------------------------- */

static struct cow_branch *new_branch(const char *name)
{
	struct cow_branch *b = calloc(1, sizeof(*b));

	if (b == NULL || (b->name = strdup(name)) == NULL)
		abort();
	b->dirfd = -1;
	b->lockfd = -1;
	return b;
}

static int open_branches(const char *store, bool make, struct cow_error **err)
{
	cleanup_free char *path = NULL;
	int fd;

	if (asprintf(&path, "%s/branches", store) < 0)
		abort();
	if (make && cow_place_make(path, err) != 0)
		return -1;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return cow_error_set(err, errno, "cannot open the store %s", path);
	if (make)
		cow_spread_directories(fd);
	return fd;
}

struct cow_branch *cow_branch_load(const char *store, const char *name, struct cow_error **err)
{
	cleanup_branch struct cow_branch *b = new_branch(name);
	cleanup_close int branches = -1;
	cleanup_json struct cow_json *o = NULL;

	if (!cow_place_branch_valid(name)) {
		cow_error_set(err, 0, "not a branch name: %s", name);
		return NULL;
	}
	branches = open_branches(store, false, err);
	if (branches < 0)
		return NULL;
	b->dirfd = openat(branches, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (b->dirfd < 0) {
		if (errno == ENOENT)
			cow_error_set(err, 0, "no branch %s in %s", name, store);
		else
			cow_error_set(err, errno, "branch %s", name);
		return NULL;
	}
	o = cow_json_read_file(b->dirfd, "branch.json", BRANCH_JSON_MAX, err);
	if (o == NULL) {
		cow_error_wrap(err, "branch %s", name);
		return NULL;
	}
	return parse(b, o, err) == 0 ? cow_steal_ptr(&b) : NULL;
}

static int make_directories(struct cow_branch *b, struct cow_error **err)
{
	static const char *const parts[] = {"", "/upper", "/stage", "/shadow"};

	if (mkdirat(b->dirfd, "trees", 0700) != 0 && errno != EEXIST)
		return cow_error_set(err, errno, "branch %s: cannot make trees", b->name);
	for (size_t i = 0; i < b->ntrees; i++) {
		for (size_t k = 0; k < sizeof(parts) / sizeof(*parts); k++) {
			char path[40];

			snprintf(path, sizeof(path), "trees/%zu%s", i, parts[k]);
			/* What is below is reached through descriptors only; the upper gets the lower root's mode. */
			if (mkdirat(b->dirfd, path, k == 0 ? 0700 : 0755) != 0 && errno != EEXIST)
				return cow_error_set(err, errno, "branch %s: cannot make %s", b->name, path);
		}
	}
	return 0;
}

static bool same_trees(const struct cow_branch *b, const struct cow_branch_tree *trees, size_t ntrees)
{
	if (b->ntrees != ntrees)
		return false;
	for (size_t i = 0; i < ntrees; i++)
		if (strcmp(b->trees[i].workdir, trees[i].workdir) != 0 ||
		    strcmp(b->trees[i].lower, trees[i].lower) != 0)
			return false;
	return true;
}

static struct cow_branch *load_same(const char *store, const char *name, const struct cow_branch_tree *trees,
				    size_t ntrees, struct cow_error **err)
{
	cleanup_branch struct cow_branch *b = cow_branch_load(store, name, err);

	if (b == NULL)
		return NULL;
	if (!same_trees(b, trees, ntrees)) {
		cow_error_set(err, 0,
			      "branch %s is of %s at %s: choose another name with run.cowrun.branch, or discard it",
			      name, b->trees[0].lower, b->trees[0].workdir);
		return NULL;
	}
	if (cow_plan_exists(b)) {
		cow_error_set(err, 0, "a commit of branch %s did not end: finish it first (cowrun branch commit %s)",
			      name, name);
		return NULL;
	}
	if (make_directories(b, err) != 0)
		return NULL;
	return cow_steal_ptr(&b);
}

/* A directory without branch.json is what a kill left in the middle of this function: it is taken over. */
struct cow_branch *cow_branch_create(const char *store, const char *name, const char *id,
				     const struct cow_branch_tree *trees, size_t ntrees, bool *made,
				     struct cow_error **err)
{
	cleanup_branch struct cow_branch *b = new_branch(name);
	cleanup_close int branches = -1;

	*made = false;
	if (!cow_place_branch_valid(name) || ntrees == 0 || ntrees > COW_BRANCH_TREES) {
		cow_error_set(err, 0, "not a branch name: %s", name);
		return NULL;
	}
	branches = open_branches(store, true, err);
	if (branches < 0)
		return NULL;
	if (mkdirat(branches, name, 0700) != 0 && errno != EEXIST) {
		cow_error_set(err, errno, "cannot make branch %s in %s", name, store);
		return NULL;
	}
	b->dirfd = openat(branches, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (b->dirfd < 0) {
		cow_error_set(err, errno, "cannot open branch %s in %s", name, store);
		return NULL;
	}
	if (faccessat(b->dirfd, "branch.json", F_OK, 0) == 0)
		return load_same(store, name, trees, ntrees, err);
	b->id = strdup(id);
	b->created = time(NULL);
	if (getrandom(b->nonce, sizeof(b->nonce), 0) != (ssize_t)sizeof(b->nonce)) {
		cow_error_set(err, errno, "getrandom");
		return NULL;
	}
	for (size_t i = 0; i < ntrees; i++) {
		b->ntrees = i + 1;
		b->trees[i].workdir = strdup(trees[i].workdir);
		b->trees[i].lower = strdup(trees[i].lower);
		b->trees[i].mountpoints = calloc(1, sizeof(char *));
	}
	if (make_directories(b, err) != 0 || save(b, err) != 0)
		return NULL;
	*made = true;
	return cow_steal_ptr(&b);
}

int cow_branch_set_mountpoints(struct cow_branch *b, size_t tree, char *const *rel, struct cow_error **err)
{
	char **old = b->trees[tree].mountpoints;
	size_t n = 0;

	while (rel[n] != NULL)
		n++;
	b->trees[tree].mountpoints = calloc(n + 1, sizeof(char *));
	for (size_t i = 0; i < n; i++)
		b->trees[tree].mountpoints[i] = strdup(rel[i]);
	for (char **m = old; m != NULL && *m != NULL; m++)
		free(*m);
	free(old);
	return save(b, err);
}

int cow_branch_open(const struct cow_branch *b, size_t tree, const char *what, struct cow_error **err)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "trees/%zu/%s", tree, what);
	fd = openat(b->dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 ? fd : cow_error_set(err, errno, "branch %s: %s", b->name, path);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char **cow_branch_names(const char *store, struct cow_error **err)
{
	int fd = open_branches(store, true, err);
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	char **names = calloc(1, sizeof(char *));
	struct dirent *de;
	size_t n = 0;

	if (dir == NULL || names == NULL) {
		free(names);
		return NULL;
	}
	while ((de = readdir(dir)) != NULL) {
		if (!cow_place_branch_valid(de->d_name))
			continue;
		names = realloc(names, (n + 2) * sizeof(char *));
		if (names == NULL)
			abort();
		names[n++] = strdup(de->d_name);
		names[n] = NULL;
	}
	qsort(names, n, sizeof(char *), compare_names);
	return names;
}
