/*
 * How many mounts a branch may use. The kernel bounds them for each mount namespace (fs.mount-max), and the container
 * wants some for itself. So grafts are for what is worth one: up to the first limit for everything; beyond it, what is
 * cheap to copy is copied (hydrate.c); at the second limit there is an end to it.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../lib/fd.h"

/* What a copy may hold of content as long as there are mounts to be had instead. */
enum { SMALL = 64 << 10, DEFAULT_MAX = 100000 };

static size_t mount_max(void)
{
	cleanup_close int fd = open("/proc/sys/fs/mount-max", O_RDONLY | O_CLOEXEC);
	char text[32] = "";

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return DEFAULT_MAX;
	return strtoul(text, NULL, 10);
}

static size_t less(size_t a, size_t b)
{
	return a > b ? a - b : 0;
}

void cow_budget_set(struct cow_tree *t, size_t present)
{
	size_t max = mount_max();
	size_t trees = t->branch->ntrees > 0 ? t->branch->ntrees : 1;

	t->grafts_hard = less(max / 8 * 7 / trees, present);
	t->grafts_soft = less(max / 2 / trees, present);
	if (t->wanted == 0)
		return;
	if (t->wanted / trees < t->grafts_soft)
		t->grafts_soft = t->wanted / trees;
	if (t->grafts_soft * 2 < t->grafts_hard)
		t->grafts_hard = t->grafts_soft * 2;
}

void cow_tree_limit(struct cow_tree *t, size_t grafts)
{
	t->wanted = grafts;
}

/* Counted from now on; in the table it is counted as such. */
static bool reserve(struct cow_tree *t, struct cow_entry *entry, size_t limit)
{
	size_t all =
		__atomic_add_fetch(&t->reserved, 1, __ATOMIC_SEQ_CST) + __atomic_load_n(&t->grafts, __ATOMIC_SEQ_CST);

	entry->reserved = all <= limit;
	if (!entry->reserved)
		__atomic_sub_fetch(&t->reserved, 1, __ATOMIC_SEQ_CST);
	return entry->reserved;
}

void cow_budget_release(struct cow_tree *t, struct cow_entry *entry)
{
	if (entry->reserved)
		__atomic_sub_fetch(&t->reserved, 1, __ATOMIC_SEQ_CST);
	entry->reserved = false;
}

bool cow_budget_reserve(struct cow_tree *t, struct cow_entry *entry)
{
	return reserve(t, entry, t->grafts_hard);
}

bool cow_budget_reserve_twin(struct cow_tree *t, struct cow_entry *entry)
{
	return reserve(t, entry, entry->st.st_size <= SMALL ? t->grafts_soft : t->grafts_hard);
}

/* A copy of one name of several would part it from the others. */
static bool is_bound(struct cow_tree *t, const struct cow_entry *entry)
{
	if (entry->st.st_nlink > 1 && !cow_links_alone(t, &entry->st))
		return true;
	return cow_table_count(t, &entry->st) > 0 || cow_relink_has_twins(t, entry->path);
}

int cow_budget_choose(struct cow_tree *t, struct cow_entry *entry)
{
	bool small = entry->st.st_size <= SMALL;

	if (reserve(t, entry, t->grafts_soft))
		return COW_CHOICE_GRAFT;
	if (!S_ISREG(entry->st.st_mode) || is_bound(t, entry))
		return reserve(t, entry, t->grafts_hard) ? COW_CHOICE_GRAFT : COW_CHOICE_NONE;
	if (!small && reserve(t, entry, t->grafts_hard))
		return COW_CHOICE_GRAFT;
	return COW_CHOICE_COPY;
}
