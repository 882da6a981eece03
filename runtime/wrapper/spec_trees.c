#include "spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../lib/fd.h"
#include "edits.h"
#include "mounts.h"
#include "paths.h"
#include "reach.h"

/*
 * From annotations to directories. A workdir is a bind mount of the bundle, and its source is the lower. Then comes the
 * promise that the container cannot write to the lower: the hook keeps it at the workdir, but the bundle may give the
 * container the same directory in another way, as another mount or as a part of its root file system. Whoever asks for
 * a branch has not meant that, so it is refused; what can only be read is fine. The same holds for cowrun's own places.
 */

struct search {
	const struct cow_json *spec;
	const struct cow_request *request;
	const char *bundle;
	const struct cow_host *host;
	struct cow_mounts mounts;
	struct cow_branch_tree *trees;
	size_t ntrees;
	size_t index[COW_BRANCH_TREES];            /* of the workdir's mount */
	struct cow_reach lowers[COW_BRANCH_TREES]; /* with what is mounted in them: all of it shows in the branch */
	struct cow_reach store, state;
};

static void search_cleanup(struct search *s)
{
	for (size_t i = 0; i < COW_BRANCH_TREES; i++)
		cow_reach_free(&s->lowers[i]);
	cow_reach_free(&s->store);
	cow_reach_free(&s->state);
	cow_mounts_free(&s->mounts);
}

static bool in_pod(const struct cow_json *spec)
{
	const struct cow_json *annotations = cow_json_get(spec, "annotations");

	return cow_json_get(annotations, "io.kubernetes.cri.container-type") != NULL ||
	       cow_json_get(annotations, "io.kubernetes.cri-o.ContainerType") != NULL;
}

/* --- the mount of a workdir --------------------------------------------------------------------------------------- */

/* The mount at the workdir, which nothing else may be mounted on or over. */
static int find_mount(const struct search *s, const char *workdir, size_t *index, struct cow_error **err)
{
	const struct cow_mount *list = s->mounts.list;
	size_t at = s->mounts.count;

	for (size_t i = 0; i < s->mounts.count; i++) {
		if (strcmp(list[i].destination, workdir) != 0)
			continue;
		if (at < s->mounts.count)
			return cow_error_set(err, 0, "workdir %s: the container has two mounts there", workdir);
		at = i;
	}
	if (at == s->mounts.count)
		return cow_error_set(err, 0, "workdir %s: the container has no mount there%s", workdir,
				     in_pod(s->spec) ? " (run.cowrun.containers=NAME[,NAME] says which containers of "
						       "a pod are meant)"
						     : "");
	for (size_t i = at + 1; i < s->mounts.count; i++)
		if (cow_path_below(workdir, list[i].destination) != NULL) {
			cleanup_free char *text = cow_path_printable(list[i].destination);

			return cow_error_set(err, 0, "workdir %s: a later mount at %s hides it", workdir, text);
		}
	*index = at;
	return 0;
}

static int check_mount(const struct cow_mount *m, struct cow_error **err)
{
	if (!m->bind || m->source[0] == '\0')
		return cow_error_set(err, 0, "workdir %s: not a bind mount of a directory", m->destination);
	if (m->readonly)
		return cow_error_set(err, 0, "workdir %s: mounted read-only, so it needs no branch", m->destination);
	if (m->idmapped)
		return cow_error_set(err, 0, "workdir %s: id-mapped mounts are not supported", m->destination);
	return 0;
}

static char *find_lower(const struct search *s, const struct cow_mount *m, struct cow_error **err)
{
	cleanup_free char *given = cow_path_join(s->bundle, m->source), *text = cow_path_printable(given);
	cleanup_free char *real = realpath(given, NULL);
	struct stat st;

	if (real == NULL || stat(real, &st) != 0) {
		cow_error_set(err, errno, "workdir %s: %s", m->destination, text);
		return NULL;
	}
	if (!S_ISDIR(st.st_mode)) {
		cow_error_set(err, 0, "workdir %s: %s is no directory", m->destination, text);
		return NULL;
	}
	if (strcmp(real, "/") == 0) {
		cow_error_set(err, 0, "workdir %s: the root of the host cannot be branched", m->destination);
		return NULL;
	}
	return cow_steal_ptr(&real);
}

/* What the delegate mounts below the workdir, and over it: later in the list. */
static char **find_mountpoints(const struct search *s, size_t index, const char *workdir)
{
	char **found = calloc(s->mounts.count + 1, sizeof(*found));
	size_t n = 0;

	if (found == NULL)
		abort();
	for (size_t i = index + 1; i < s->mounts.count; i++) {
		const char *below = cow_path_below(s->mounts.list[i].destination, workdir);
		bool known = below == NULL;

		for (size_t j = 0; j < n && !known; j++)
			known = strcmp(found[j], below) == 0;
		if (!known && (found[n++] = strdup(below)) == NULL)
			abort();
	}
	return found;
}

static int find_tree(struct search *s, size_t i, struct cow_error **err)
{
	const char *workdir = s->request->workdirs[i];
	struct cow_branch_tree *tree = &s->trees[i];
	const struct cow_mount *m;

	if (find_mount(s, workdir, &s->index[i], err) != 0)
		return -1;
	m = &s->mounts.list[s->index[i]];
	if (check_mount(m, err) != 0)
		return -1;
	*tree = (struct cow_branch_tree){.workdir = strdup(workdir)};
	s->ntrees = i + 1;
	if (tree->workdir == NULL)
		abort();
	tree->mountpoints = find_mountpoints(s, s->index[i], workdir);
	tree->lower = find_lower(s, m, err);
	if (tree->lower == NULL)
		return -1;
	return cow_reach_of(s->host, tree->lower, true, false, false, &s->lowers[i], err);
}

/* --- what else leads to the lower --------------------------------------------------------------------------------- */

static int check_apart(const struct search *s, const struct cow_reach *reach, const char *path, const char *what,
		       struct cow_error **err)
{
	for (size_t i = 0; i < s->ntrees; i++)
		if (cow_reach_overlap(&s->lowers[i], reach))
			return cow_error_set(err, 0, "workdir %s: its directory %s and %s (%s) lie one in the other",
					     s->trees[i].workdir, s->trees[i].lower, what, path);
	return 0;
}

static int check_lowers(const struct search *s, struct cow_error **err)
{
	for (size_t i = 0; i < s->ntrees; i++)
		for (size_t j = i + 1; j < s->ntrees; j++)
			if (cow_reach_overlap(&s->lowers[i], &s->lowers[j]))
				return cow_error_set(err, 0,
						     "workdirs %s and %s: their directories %s and %s lie one in the "
						     "other",
						     s->trees[i].workdir, s->trees[j].workdir, s->trees[i].lower,
						     s->trees[j].lower);
	return 0;
}

/*
 * `what`: "mount PLACE of SOURCE", for the message. The store holds what the branch is, so it is as the lower is; in
 * the state directory there are sockets, for which read-only means nothing.
 */
static int check_way(const struct search *s, const struct cow_reach *reach, const char *what, const char *advice,
		     struct cow_error **err)
{
	for (size_t i = 0; i < s->ntrees; i++)
		if (cow_reach_writes(reach, &s->lowers[i]))
			return cow_error_set(err, 0,
					     "%s: the container could write to %s there, past the branch at %s%s", what,
					     s->trees[i].lower, s->trees[i].workdir, advice);
	if (cow_reach_writes(reach, &s->store))
		return cow_error_set(err, 0, "%s: the container could write to the branch store there%s", what, advice);
	if (cow_reach_overlap(reach, &s->state))
		return cow_error_set(err, 0, "%s: the container could reach cowrun's state directory there", what);
	return 0;
}

static bool is_workdir(const struct search *s, size_t index)
{
	for (size_t i = 0; i < s->ntrees; i++)
		if (s->index[i] == index)
			return true;
	return false;
}

static int check_other_mount(const struct search *s, const struct cow_mount *m, struct cow_error **err)
{
	cleanup_free char *given = cow_path_join(s->bundle, m->source), *real = realpath(given, NULL);
	cleanup_free char *source = cow_path_printable(given), *place = cow_path_printable(m->destination),
			  *what = NULL;
	cleanup_reach struct cow_reach reach = {.count = 0};

	if (real == NULL) /* the delegate will say so */
		return 0;
	if (asprintf(&what, "mount %s of %s", place, source) < 0)
		abort();
	if (cow_reach_of(s->host, real, m->recursive, m->readonly, m->readonly_below, &reach, err) != 0)
		return -1;
	return check_way(s, &reach, what,
			 m->readonly
				 ? " (mount it read-only with all that is mounted in it: rro, or bind instead of rbind)"
				 : " (mount it read-only)",
			 err);
}

/* The runtimes take along what is mounted in the root file system, and make only its top read-only. */
static int check_root(const struct search *s, struct cow_error **err)
{
	cleanup_free char *root = cow_spec_rootfs(s->spec, s->bundle, err), *what = NULL;
	bool readonly = cow_json_bool(cow_json_path(s->spec, "root.readonly"), false);
	cleanup_reach struct cow_reach reach = {.count = 0};

	if (root == NULL || cow_reach_of(s->host, root, true, readonly, false, &reach, err) != 0)
		return -1;
	if (asprintf(&what, "root file system %s", root) < 0)
		abort();
	return check_way(s, &reach, what, "", err);
}

static int check_surroundings(struct search *s, const char *store, const char *state, struct cow_error **err)
{
	if (cow_reach_of(s->host, store, false, false, false, &s->store, err) != 0 ||
	    cow_reach_of(s->host, state, false, false, false, &s->state, err) != 0 ||
	    check_apart(s, &s->store, store, "the branch store", err) != 0 ||
	    check_apart(s, &s->state, state, "the state directory", err) != 0 || check_lowers(s, err) != 0 ||
	    check_root(s, err) != 0)
		return -1;
	for (size_t i = 0; i < s->mounts.count; i++)
		if (s->mounts.list[i].bind && !is_workdir(s, i) && s->mounts.list[i].source[0] != '\0' &&
		    check_other_mount(s, &s->mounts.list[i], err) != 0)
			return -1;
	return 0;
}

/* ------------------------------------------------------------------------------------------------------------------ */

int cow_spec_trees(const struct cow_json *spec, const struct cow_request *request, const char *bundle,
		   const char *store, const char *state, struct cow_branch_tree *trees, struct cow_error **err)
{
	cleanup_host struct cow_host *host = cow_host_load(err);
	__attribute__((cleanup(search_cleanup))) struct search s = {
		.spec = spec, .request = request, .bundle = bundle, .host = host, .trees = trees};
	int result = -1;

	if (host == NULL || cow_mounts_read(spec, &s.mounts, err) != 0)
		return -1;
	for (size_t i = 0; i < request->nworkdirs; i++)
		if (find_tree(&s, i, err) != 0)
			goto out;
	if (check_surroundings(&s, store, state, err) == 0)
		result = cow_spec_check(spec, request, &s.mounts, err);
out:
	if (result != 0)
		cow_spec_trees_free(trees, s.ntrees);
	return result;
}

void cow_spec_trees_free(struct cow_branch_tree *trees, size_t ntrees)
{
	for (size_t i = 0; i < ntrees; i++) {
		for (char **m = trees[i].mountpoints; m != NULL && *m != NULL; m++)
			free(*m);
		free(trees[i].mountpoints);
		free(trees[i].workdir);
		free(trees[i].lower);
		trees[i] = (struct cow_branch_tree){.workdir = NULL};
	}
}
