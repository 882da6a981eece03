#include "hook.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../runtime/lib/fd.h"
#include "../runtime/lib/json.h"

enum { STATE_MAX = 4 << 20 }; /* bytes; annotations make it large */

/* Copies a string member that must be there. */
static int take(char **to, const struct cow_json *object, const char *key, struct cow_error **err)
{
	const char *s = cow_json_string(cow_json_get(object, key));

	if (s == NULL)
		return cow_error_set(err, 0, "\"%s\" is missing or no string", key);
	*to = strdup(s);
	return *to != NULL ? 0 : cow_error_set(err, errno, "%s", key);
}

static int take_path(char **to, const struct cow_json *object, const char *key, struct cow_error **err)
{
	if (take(to, object, key, err) < 0)
		return -1;
	return (*to)[0] == '/' ? 0 : cow_error_set(err, 0, "\"%s\" is not an absolute path", key);
}

/* The runtime's state: pid, and an id that must be the one that the wrapper prepared for. */
static int read_oci_state(struct cow_hook_state *s, int fd, const char *id, struct cow_error **err)
{
	size_t size;
	cleanup_free char *text = cow_read_to_end(fd, STATE_MAX, &size);
	cleanup_json struct cow_json *state = NULL;
	const char *oci_id;
	int64_t pid;

	if (text == NULL)
		return cow_error_set(err, errno, "reading the container's state");
	state = cow_json_parse(text, size, err);
	if (state == NULL)
		return cow_error_wrap(err, "the container's state");
	oci_id = cow_json_string(cow_json_get(state, "id"));
	if (oci_id == NULL || strcmp(oci_id, id) != 0)
		return cow_error_set(err, 0, "the runtime calls for container \"%s\", but this is \"%s\"",
				     oci_id == NULL ? "" : oci_id, id);
	if (cow_json_int(cow_json_get(state, "pid"), &pid) < 0 || pid <= 0 || pid > INT_MAX)
		return cow_error_set(err, 0, "the container's state has no pid");
	s->pid = (pid_t)pid;
	return 0;
}

static int read_trees(struct cow_hook_state *s, const struct cow_json *trees, struct cow_error **err)
{
	size_t n = cow_json_count(trees);

	if (n == 0 || n > COW_BRANCH_TREES)
		return cow_error_set(err, 0, "%zu trees, not 1 to %d", n, COW_BRANCH_TREES);
	for (s->ntrees = 0; s->ntrees < n; s->ntrees++) {
		const struct cow_json *tree = cow_json_at(trees, s->ntrees);

		if (take_path(&s->trees[s->ntrees].workdir, tree, "workdir", err) < 0 ||
		    take_path(&s->trees[s->ntrees].lower, tree, "lower", err) < 0) {
			s->ntrees++; /* what it has is freed with the others */
			return -1;
		}
	}
	return 0;
}

int cow_hook_state_read(struct cow_hook_state *s, const char *state_dir, int oci_state, struct cow_error **err)
{
	cleanup_close int dir = open(state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_json struct cow_json *state = NULL;
	cleanup_free char *id = NULL;
	const char *listener;

	*s = (struct cow_hook_state){.pid = -1};
	if (dir < 0)
		return cow_error_set(err, errno, "%s", state_dir);
	state = cow_json_read_file(dir, "state.json", STATE_MAX, err);
	if (state == NULL)
		return cow_error_wrap(err, "%s", state_dir);
	if (take(&id, state, "id", err) < 0 || take_path(&s->rootfs, state, "rootfs", err) < 0 ||
	    take_path(&s->store, state, "store", err) < 0 || take(&s->branch, state, "branch", err) < 0 ||
	    read_trees(s, cow_json_get(state, "trees"), err) < 0)
		return cow_error_wrap(err, "%s/state.json", state_dir);
	listener = cow_json_string(cow_json_get(state, "listener"));
	s->own_filter = listener != NULL && strcmp(listener, "init") == 0;
	s->landlock = cow_json_bool(cow_json_get(state, "landlock"), true);
	return read_oci_state(s, oci_state, id, err);
}

void cow_hook_state_free(struct cow_hook_state *s)
{
	free(s->rootfs);
	free(s->store);
	free(s->branch);
	for (size_t i = 0; i < s->ntrees; i++) {
		free(s->trees[i].workdir);
		free(s->trees[i].lower);
	}
	*s = (struct cow_hook_state){.pid = -1};
}
