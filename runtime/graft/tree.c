#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/fd.h"

static int open_branch(struct cow_tree *t, struct cow_error **err)
{
	cleanup_close int dir = -1;
	char name[16];

	snprintf(name, sizeof(name), "trees/%zu", t->index);
	dir = openat(t->branch->dirfd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return cow_error_set(err, errno, "branch %s: %s", t->branch->name, name);
	t->host_shadow = openat(dir, "shadow", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (t->host_shadow < 0)
		return cow_error_set(err, errno, "branch %s: %s/shadow", t->branch->name, name);
	/* Nobody else gets there; but what a rename takes out of it, it takes with a target's rights (rename.c). */
	if (fchmodat(t->stage, ".", 0777, 0) != 0)
		return cow_error_set(err, errno, "branch %s: %s/stage", t->branch->name, name);
	cow_spread_directories(t->stage);
	/* The names have a part in where the directories go. */
	if (getrandom(&t->stage_count, sizeof(t->stage_count), GRND_NONBLOCK) < 0)
		t->stage_count = 0;
	t->journal = cow_journal_open(dir, err);
	return t->journal < 0 ? -1 : 0;
}

static bool has_no_umask(void)
{
	mode_t mask = umask(0);

	(void)umask(mask);
	return mask == 0;
}

struct cow_tree *cow_tree_new(const struct cow_branch *branch, size_t index, const struct cow_tree_fds *fds,
			      int container_ns, int host_ns, struct cow_error **err)
{
	struct cow_tree *t = calloc(1, sizeof(*t));
	struct stat st;

	if (t == NULL)
		abort();
	t->branch = branch;
	t->index = index;
	t->workdir = branch->trees[index].workdir;
	t->exact_modes = has_no_umask();
	t->upper = fds->upper;
	t->shadow = fds->shadow;
	t->stage = fds->stage;
	t->lower = fds->lower;
	t->container_ns = container_ns;
	t->host_ns = host_ns;
	t->host_shadow = t->journal = -1;
	t->upper_by_handle = t->shadow_by_handle = -1;
	t->upper_mount = cow_mount_id(t->upper);
	t->lower_mount = cow_mount_id(t->lower);
	t->shadow_mount = cow_mount_id(t->shadow);
	if (fstat(t->upper, &st) == 0)
		t->upper_dev = st.st_dev;
	pthread_mutex_init(&t->structure, NULL);
	pthread_mutex_init(&t->table_lock, NULL);
	pthread_mutex_init(&t->journal_lock, NULL);
	pthread_mutex_init(&t->bin_lock, NULL);
	pthread_mutex_init(&t->links_lock, NULL);
	pthread_mutex_init(&t->reap_lock, NULL);
	pthread_mutex_init(&t->orphan_lock, NULL);
	pthread_cond_init(&t->claims_changed, NULL);
	if (t->upper_mount == 0 || t->lower_mount == 0)
		cow_error_set(err, 0, "statx gives no mount id: Linux 5.8 or later is needed");
	else if (open_branch(t, err) == 0) {
		cow_handles_probe(t);
		return t;
	}
	cow_tree_free(t);
	return NULL;
}

void cow_tree_free(struct cow_tree *t)
{
	if (t == NULL)
		return;
	cow_table_free(t);
	cow_real_free(t);
	cow_nested_free(t);
	cow_links_free(t);
	cow_orphans_free(t);
	cow_close_fd(&t->upper);
	cow_close_fd(&t->shadow);
	cow_close_fd(&t->stage);
	cow_close_fd(&t->lower);
	cow_close_fd(&t->host_shadow);
	cow_close_fd(&t->upper_by_handle);
	cow_close_fd(&t->shadow_by_handle);
	cow_close_fd(&t->journal);
	pthread_cond_destroy(&t->claims_changed);
	pthread_mutex_destroy(&t->orphan_lock);
	pthread_mutex_destroy(&t->reap_lock);
	pthread_mutex_destroy(&t->links_lock);
	pthread_mutex_destroy(&t->bin_lock);
	pthread_mutex_destroy(&t->journal_lock);
	pthread_mutex_destroy(&t->table_lock);
	pthread_mutex_destroy(&t->structure);
	free(t);
}
