/* cowrun branch commit NAME */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "../branch/check.h"
#include "../branch/commit.h"
#include "../lib/fd.h"
#include "../lib/log.h"
#include "../lib/place.h"
#include "command.h"
#include "rows.h"

struct request {
	bool json, dry_run, force;
};

/* The lowers of a branch, locked against other commits for as long as they are open. */
struct lowers {
	int fds[COW_BRANCH_TREES];
};

static void lowers_cleanup(struct lowers *l)
{
	for (size_t i = 0; i < COW_BRANCH_TREES; i++)
		cow_close_fd(&l->fds[i]);
}

static int lock_lowers(struct lowers *l, const struct cow_branch *b, struct cow_error **err)
{
	for (size_t i = 0; i < b->ntrees; i++) {
		bool again = false;

		/* A second lock on one directory would stand in the first one's way. */
		for (size_t k = 0; k < i; k++)
			again = again || strcmp(b->trees[i].lower, b->trees[k].lower) == 0;
		if (!again && (l->fds[i] = cow_commit_open_lower(b, i, err)) < 0)
			return -1;
	}
	return 0;
}

/* --- what is said --------------------------------------------------------------------------------------------------
 */

static void print_conflicts(const struct cow_branch *b, const struct cow_conflicts *c)
{
	for (size_t i = 0; i < c->count; i++) {
		cleanup_free char *shown = cow_shown_path(b, c->list[i].tree, c->list[i].path);
		cleanup_free char *quoted = cow_quote_path(shown);

		fprintf(stderr, "conflict: %s: %s\n", quoted, c->list[i].why);
	}
}

static int print_json(const struct cow_branch *b, const struct cow_rows *rows, const struct cow_conflicts *conflicts,
		      bool committed, struct cow_error **err)
{
	cleanup_json struct cow_json *o = cow_json_new_object();
	struct cow_json *changes = cow_json_new_array();
	struct cow_json *list = cow_json_new_array();

	for (size_t i = 0; i < rows->count; i++)
		cow_json_append(changes, cow_row_json(&rows->list[i]));
	for (size_t i = 0; i < conflicts->count; i++) {
		cleanup_free char *shown = cow_shown_path(b, conflicts->list[i].tree, conflicts->list[i].path);
		struct cow_json *c = cow_json_new_object();

		cow_json_set_path(c, "path", shown);
		cow_json_set(c, "reason", cow_json_new_string(conflicts->list[i].why));
		cow_json_append(list, c);
	}
	cow_json_set(o, "branch", cow_json_new_string(b->name));
	cow_json_set(o, "committed", cow_json_new_bool(committed));
	cow_json_set(o, "changes", changes);
	cow_json_set(o, "conflicts", list);
	return cow_command_print_json(o, err);
}

static void print_summary(const struct cow_branch *b, const struct cow_rows *rows)
{
	size_t added = 0, changed = 0, deleted = 0, renamed = 0;

	for (size_t i = 0; i < rows->count; i++)
		switch (rows->list[i].change->op) {
		case 'A':
			added++;
			break;
		case 'M':
			changed++;
			break;
		case 'D':
			deleted++;
			break;
		default:
			renamed++;
		}
	printf("committed %s: %zu added, %zu changed, %zu deleted, %zu renamed\n", b->name, added, changed, deleted,
	       renamed);
}

/* What a container made may have more power on the host than it had inside. */
static void warn_of_power(const struct cow_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++) {
		const struct cow_change *c = rows->list[i].change;
		mode_t mode = c->op == 'A' || c->op == 'M' ? c->node->mode : 0;
		cleanup_free char *path = mode != 0 ? cow_quote_path(rows->list[i].path) : NULL;

		if (S_ISREG(mode) && (mode & (S_ISUID | S_ISGID)) != 0)
			cow_log_warning("%s runs with the rights of its owner or group (mode %04o)", path,
					mode & 07777);
		else if (S_ISBLK(mode) || S_ISCHR(mode))
			cow_log_warning("%s is a device", path);
	}
}

/* --- what is done --------------------------------------------------------------------------------------------------
 */

/* The branch is removed at the end: its changes are the lower's now. */
static int complete(struct cow_branch *b, const struct cow_plan *plan, bool force, struct cow_error **err)
{
	if (!cow_plan_has_mark(b, COW_PLAN_DONE) && plan->count > 0 && cow_commit_run(b, plan, force, err) != 0) {
		if (err != NULL && *err != NULL && (*err)->status == COW_EXIT_CONFLICT)
			return cow_error_wrap(err,
					      "half committed: repeat it with --force, or mend this and repeat it");
		return cow_error_wrap(err, "half committed: repeat it to go on");
	}
	if (cow_commit_finish(b, plan, err) != 0)
		return cow_error_wrap(err, "half committed: repeat it to go on");
	return cow_branch_remove(b, err);
}

static int resume(struct cow_branch *b, const struct request *q, struct cow_error **err)
{
	cleanup_plan struct cow_plan plan = {0};
	struct cow_rows rows = {0};
	struct cow_conflicts none = {0};

	if (q->dry_run)
		return cow_error_set(err, 0, "a commit of branch %s did not end: repeat it without --dry-run", b->name);
	if (cow_plan_load(&plan, b, err) < 0 || complete(b, &plan, q->force, err) != 0)
		return -1;
	if (q->json)
		return print_json(b, &rows, &none, true, err);
	printf("committed %s: what an earlier commit had begun\n", b->name);
	return cow_command_flush(err);
}

static int commit(struct cow_branch *b, const struct request *q, struct cow_error **err)
{
	cleanup_rows struct cow_rows rows = {0};
	cleanup_conflicts struct cow_conflicts conflicts = {0};
	cleanup_plan struct cow_plan plan = {0};
	bool stop;

	if (cow_rows_make(&rows, b, err) != 0)
		return -1;
	for (size_t i = 0; i < rows.ndiffs; i++)
		if (cow_conflicts_find(&conflicts, &rows.diffs[i], err) != 0)
			return -1;
	stop = conflicts.count > 0 && !q->force;
	if (!q->json)
		print_conflicts(b, &conflicts);
	warn_of_power(&rows);
	if (!q->dry_run && !stop &&
	    (cow_commit_prepare(b, rows.diffs, q->force, &plan, err) != 0 || complete(b, &plan, q->force, err) != 0))
		return -1;
	if (q->json) {
		if (print_json(b, &rows, &conflicts, !q->dry_run && !stop, err) != 0)
			return -1;
	} else if (q->dry_run) {
		for (size_t i = 0; i < rows.count; i++)
			cow_row_print(&rows.list[i]);
	} else if (stop) {
		cow_log_error("branch %s: %zu conflict%s, nothing was committed", b->name, conflicts.count,
			      conflicts.count == 1 ? "" : "s");
	} else {
		print_summary(b, &rows);
	}
	return cow_command_flush(err) != 0 ? -1 : stop ? COW_EXIT_CONFLICT : COW_EXIT_OK;
}

int cow_branch_commit_main(int argc, char **argv, struct cow_error **err)
{
	struct request q = {0};
	const struct cow_option options[] = {
		{"json", 0, &q.json, NULL}, {"dry-run", 'n', &q.dry_run, NULL}, {"force", 0, &q.force, NULL}, {0}};
	cleanup_branch struct cow_branch *b = NULL;
	cleanup_free char *store = NULL;
	int status;
	struct lowers lowers __attribute__((cleanup(lowers_cleanup)));

	for (size_t i = 0; i < COW_BRANCH_TREES; i++)
		lowers.fds[i] = -1;
	if (cow_options_parse(argc, argv, options, "branch", 1, 1, err) < 0)
		return -1;
	b = cow_command_load(argv[0], err);
	if (b == NULL || cow_branch_lock(b, err) != 0 || lock_lowers(&lowers, b, err) != 0)
		return -1;
	status = cow_plan_exists(b) ? resume(b, &q, err) : commit(b, &q, err);
	/* What earlier removals left when they were killed. */
	store = cow_place_store(NULL);
	if (store != NULL)
		(void)cow_branch_sweep(store, NULL);
	return status;
}
