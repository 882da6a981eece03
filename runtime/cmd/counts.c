#include "counts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/ask.h"
#include "../lib/fd.h"
#include "../lib/place.h"

enum { STATE_MAX = 1 << 20, COUNTS_MAX = 1 << 20 };

/* --- from the agent or from the branch -----------------------------------------------------------------------------
 */

/* Does the container of that state directory have the branch? */
static bool has_branch(const char *key_dir, const char *store, const char *name)
{
	cleanup_free char *path = NULL;
	cleanup_json struct cow_json *state = NULL;
	const char *its_store, *its_branch;

	if (asprintf(&path, "%s/state.json", key_dir) < 0)
		abort();
	state = cow_json_read_file(AT_FDCWD, path, STATE_MAX, NULL);
	its_store = cow_json_string(cow_json_get(state, "store"));
	its_branch = cow_json_string(cow_json_get(state, "branch"));
	return its_store != NULL && its_branch != NULL && strcmp(its_store, store) == 0 &&
	       strcmp(its_branch, name) == 0;
}

/* NULL without an error: no container that runs has it. With one: its agent is dead or does not answer. */
static struct cow_json *ask_running(const struct cow_branch *b, struct cow_error **err)
{
	cleanup_free char *places = cow_place_state(err);
	cleanup_free char *store = cow_place_store(err);
	cleanup_dir DIR *dir = places == NULL ? NULL : opendir(places);
	const struct dirent *de;

	while (dir != NULL && store != NULL && (de = readdir(dir)) != NULL) {
		cleanup_free char *key_dir = NULL;

		if (*de->d_name == '.')
			continue;
		if (asprintf(&key_dir, "%s/%s", places, de->d_name) < 0)
			abort();
		if (has_branch(key_dir, store, b->name)) {
			struct cow_json *counts = cow_agent_ask(key_dir, "status", err);

			if (counts != NULL)
				(void)cow_json_unset(counts, "ok");
			return counts;
		}
	}
	return NULL;
}

struct cow_json *cow_counts_get(const struct cow_branch *b, bool *running, struct cow_error **err)
{
	cleanup_error struct cow_error *silent = NULL;
	struct cow_json *counts = ask_running(b, &silent);

	*running = counts != NULL;
	if (counts != NULL)
		return counts;
	counts = cow_json_read_file(b->dirfd, COW_BRANCH_STATS, COUNTS_MAX, NULL);
	if (counts != NULL)
		return counts;
	if (silent != NULL)
		cow_error_set(err, 0, "%s", silent->message);
	else
		cow_error_set(err, 0, "branch %s: no agent runs, and none left its counts (COWRUN_STATS=1 makes it)",
			      b->name);
	return NULL;
}

/* --- in words ------------------------------------------------------------------------------------------------------
 */

static int64_t number(const struct cow_json *object, const char *key)
{
	int64_t n = 0;

	(void)cow_json_int(cow_json_get(object, key), &n);
	return n;
}

static void print_tree(const struct cow_json *tree)
{
	const char *workdir = cow_json_string(cow_json_get(tree, "workdir"));

	printf("%s: %" PRId64 " splits of %" PRId64 " entries; %" PRId64 " copy-ups of %" PRId64 " bytes; %" PRId64
	       " grafts made, %" PRId64 " of them for links, %" PRId64 " freed, %" PRId64 " kept in the shadow\n",
	       workdir != NULL ? workdir : "?", number(tree, "splits"), number(tree, "splitEntries"),
	       number(tree, "copyUps"), number(tree, "copiedBytes"), number(tree, "grafts"), number(tree, "links"),
	       number(tree, "graftsFreed"), number(tree, "graftsShadowed"));
}

/* The phases are the agent's to name: a column for each. */
static void print_phases(const struct cow_json *call, int64_t all)
{
	const struct cow_json *ns = cow_json_get(call, "ns");
	double sum = 0;

	for (size_t i = 0; i < cow_json_count(ns); i++) {
		int64_t n = number(ns, cow_json_key_at(ns, i));

		sum += (double)n;
		printf(" %9.1f", (double)n / 1000 / (double)all);
	}
	printf(" %9.1f %9.1f\n", sum / 1000 / (double)all, sum / 1e6);
}

static void print_heading(const struct cow_json *call)
{
	const struct cow_json *ns = cow_json_get(call, "ns");

	printf("%-20s %10s %10s %10s", "call", "continued", "refused", "performed");
	for (size_t i = 0; i < cow_json_count(ns); i++)
		printf(" %9s", cow_json_key_at(ns, i));
	printf("%s\n", ns != NULL ? "    all us  total ms" : "");
}

void cow_counts_print(const struct cow_json *counts, bool running)
{
	const struct cow_json *trees = cow_json_get(counts, "trees");
	const struct cow_json *calls = cow_json_get(counts, "calls");
	bool timed = cow_json_bool(cow_json_get(counts, "timed"), false);

	printf("counts     of the agent that %s%s\n", running ? "runs" : "ran last",
	       timed ? "; means in microseconds" : "");
	for (size_t i = 0; i < cow_json_count(trees); i++)
		print_tree(cow_json_at(trees, i));
	printf("notifications: %" PRId64 " (%" PRId64 " continued, %" PRId64 " refused, %" PRId64
	       " performed); %" PRId64 " descriptors swapped\n",
	       number(counts, "notifications"), number(counts, "continued"), number(counts, "refused"),
	       number(counts, "performed"), number(counts, "swaps"));
	for (size_t i = 0; i < cow_json_count(calls); i++) {
		const struct cow_json *call = cow_json_at(calls, i);
		int64_t of[] = {number(call, "continued"), number(call, "refused"), number(call, "performed")};

		if (i == 0)
			print_heading(call);
		printf("%-20s %10" PRId64 " %10" PRId64 " %10" PRId64, cow_json_key_at(calls, i), of[0], of[1], of[2]);
		if (timed)
			print_phases(call, of[0] + of[1] + of[2]);
		else
			putchar('\n');
	}
}
