/* control.sock: the hook hands over the container, the wrapper asks how it goes and says when it is gone. */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../graft/lower.h"
#include "../lib/fd.h"
#include "../lib/json.h"
#include "../lib/log.h"

enum { FDS_PER_TREE = 4 };

static char *answer(const struct cow_error *error, struct cow_json *reply)
{
	char *text;

	cow_json_set(reply, "ok", cow_json_new_bool(error == NULL));
	if (error != NULL)
		cow_json_set(reply, "error", cow_json_new_string(error->message));
	text = cow_json_print(reply, 0, NULL);
	cow_json_free(reply);
	return text;
}

static int take(int *fds, size_t i)
{
	int fd = fds[i];

	fds[i] = -1;
	return fd;
}

/* The trees go to the agent one by one; what was not taken is closed by the caller. */
static int make_trees(struct cow_agent *a, int *fds, struct cow_error **err)
{
	for (size_t i = 0; i < a->branch->ntrees; i++, fds += FDS_PER_TREE) {
		struct cow_tree_fds of = {take(fds, 0), take(fds, 1), take(fds, 2), take(fds, 3)};

		a->trees[i] = cow_tree_new(a->branch, i, &of, a->container_ns, a->host_ns, err);
		if (a->trees[i] != NULL)
			cow_tree_limit(a->trees[i], a->mounts);
		if (a->trees[i] == NULL || cow_tree_attach(a->trees[i], err) != 0)
			return cow_error_wrap(err, "workdir %s", a->branch->trees[i].workdir);
	}
	return 0;
}

void cow_control_prepare(struct cow_agent *a)
{
	a->locked = true;
	for (size_t i = 0; i < a->branch->ntrees; i++) {
		bool locked;

		a->lowers[i] = cow_lower_clone(a->branch->trees[i].lower, &locked, &a->no_lower);
		if (a->lowers[i] < 0)
			return;
		a->locked = a->locked && locked;
	}
}

static int give_lowers(struct cow_agent *a, struct cow_json *reply, int *give, size_t *ngive, struct cow_error **err)
{
	if (a->no_lower != NULL)
		return cow_error_set(err, 0, "%s", a->no_lower->message);
	for (size_t i = 0; i < a->branch->ntrees; i++)
		give[(*ngive)++] = a->lowers[i];
	cow_json_set(reply, "locked", cow_json_new_bool(a->locked));
	return 0;
}

/* The hook's mounts are what counts now. */
static void close_lowers(struct cow_agent *a)
{
	for (size_t i = 0; i < a->branch->ntrees; i++)
		cow_close_fd(&a->lowers[i]);
}

static int attach(struct cow_agent *a, const struct cow_json *message, int *fds, size_t nfds, struct cow_error **err)
{
	bool landlock = cow_json_bool(cow_json_get(message, "landlock"), true);
	size_t first = landlock ? 2 : 1;
	int64_t pid;

	if (a->container_ns >= 0)
		return cow_error_set(err, 0, "the agent has a container already");
	if (nfds != first + FDS_PER_TREE * a->branch->ntrees || cow_json_int(cow_json_get(message, "pid"), &pid) != 0)
		return cow_error_set(err, 0, "attach: %zu descriptors for %zu trees", nfds, a->branch->ntrees);
	close_lowers(a);
	a->container_ns = take(fds, 0);
	if (landlock)
		a->ruleset = take(fds, 1);
	if (make_trees(a, fds + first, err) != 0 || cow_branch_set_container(a->branch, (pid_t)pid, err) != 0)
		return -1;
	pthread_mutex_lock(&a->lock);
	a->ntrees = a->branch->ntrees;
	a->ready = true;
	pthread_cond_broadcast(&a->attached);
	pthread_mutex_unlock(&a->lock);
	return 0;
}

static void add_count(struct cow_json *object, const char *key, uint64_t n)
{
	cow_json_set(object, key, cow_json_new_uint(n));
}

static void status(struct cow_agent *a, struct cow_json *reply)
{
	struct cow_json *trees = cow_json_new_array();

	cow_json_set(reply, "id", cow_json_new_string(a->id));
	cow_json_set(reply, "branch", cow_json_new_string(a->branch->name));
	cow_json_set(reply, "attached", cow_json_new_bool(a->ready));
	cow_stats_report(&a->stats, reply);
	for (size_t i = 0; i < a->ntrees; i++) {
		const struct cow_tree_stats *s = &a->trees[i]->stats;
		struct cow_json *tree = cow_json_new_object();

		cow_json_set(tree, "workdir", cow_json_new_string(a->branch->trees[i].workdir));
		add_count(tree, "splits", s->splits);
		add_count(tree, "splitEntries", s->split_entries);
		add_count(tree, "grafts", s->grafts);
		add_count(tree, "hydrated", s->hydrated);
		add_count(tree, "copyUps", s->copy_ups);
		add_count(tree, "copiedBytes", s->copied_bytes);
		add_count(tree, "links", s->twins);
		add_count(tree, "graftsFreed", s->freed);
		add_count(tree, "graftsShadowed", s->shadowed);
		cow_json_append(trees, tree);
	}
	cow_json_set(reply, "trees", trees);
}

/* For `cowrun branch show --stats`; who asked for times wants to see them afterwards. */
static void leave_stats(struct cow_agent *a)
{
	cleanup_json struct cow_json *counts = cow_json_new_object();
	cleanup_error struct cow_error *error = NULL;

	if (!a->stats.timed)
		return;
	status(a, counts);
	if (cow_json_write_file(a->branch->dirfd, COW_BRANCH_STATS, counts, 0600, &error) != 0)
		cow_log_warning("%s", error->message);
}

/* The container is gone, says the wrapper, which has asked the delegate. With the answer the branch is free. */
static int finish(struct cow_agent *a, struct cow_error **err)
{
	leave_stats(a);
	if (cow_branch_set_container(a->branch, 0, err) != 0)
		return -1;
	cow_close_fd(&a->branch->lockfd);
	atomic_store(&a->stop, true);
	return 0;
}

struct answer {
	struct cow_json *reply;
	int *give;
	size_t *ngive;
};

static int perform(struct cow_agent *a, const char *packet, size_t size, int *fds, size_t nfds, struct answer *to,
		   struct cow_error **err)
{
	cleanup_json struct cow_json *message = cow_json_parse(packet, size, err);
	const char *op = cow_json_string(cow_json_get(message, "op"));

	if (message == NULL)
		return -1;
	if (op != NULL && strcmp(op, "attach") == 0)
		return attach(a, message, fds, nfds, err);
	if (op != NULL && strcmp(op, "lowers") == 0)
		return give_lowers(a, to->reply, to->give, to->ngive, err);
	if (op != NULL && strcmp(op, "delete") == 0)
		return finish(a, err);
	if (op == NULL || strcmp(op, "status") != 0)
		return cow_error_set(err, 0, "unknown request \"%s\"", op != NULL ? op : "");
	status(a, to->reply);
	return 0;
}

char *cow_control(struct cow_agent *a, const char *packet, size_t size, int *fds, size_t nfds, int *give, size_t *ngive)
{
	cleanup_error struct cow_error *error = NULL;
	struct answer to = {cow_json_new_object(), give, ngive};

	*ngive = 0;
	if (perform(a, packet, size, fds, nfds, &to, &error) != 0)
		cow_log_error("%s", error->message);
	for (size_t i = 0; i < nfds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return answer(error, to.reply);
}
