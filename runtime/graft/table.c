#include "internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../lib/fd.h"

static size_t mount_bucket(uint64_t mount)
{
	return (size_t)(mount % COW_TREE_BUCKETS);
}

static size_t lower_bucket(dev_t dev, ino_t ino)
{
	return (size_t)(((uint64_t)ino * 2654435761u + (uint64_t)dev) % COW_TREE_BUCKETS);
}

struct cow_graft *cow_table_add(struct cow_tree *t, uint64_t mount, const struct stat *lower, const char *path,
				struct file_handle *placeholder)
{
	struct cow_graft *g = calloc(1, sizeof(*g));
	struct cow_graft **slot;

	if (g == NULL || (g->path = strdup(path)) == NULL)
		abort();
	g->mount = mount;
	g->lower.dev = lower->st_dev;
	g->lower.ino = lower->st_ino;
	g->directory = S_ISDIR(lower->st_mode);
	g->state = COW_GRAFT_ATTACHED;
	g->placeholder = placeholder;
	g->point = -1;
	__atomic_add_fetch(&t->grafts, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_lock(&t->table_lock);
	slot = &t->by_mount[mount_bucket(mount)];
	g->next_by_mount = *slot;
	*slot = g;
	slot = &t->by_lower[lower_bucket(g->lower.dev, g->lower.ino)];
	g->next_by_lower = *slot;
	*slot = g;
	t->stats.grafts++;
	pthread_mutex_unlock(&t->table_lock);
	return g;
}

static struct cow_graft *find(struct cow_tree *t, uint64_t mount)
{
	struct cow_graft *g = t->by_mount[mount_bucket(mount)];

	while (g != NULL && g->mount != mount)
		g = g->next_by_mount;
	return g;
}

struct cow_graft *cow_table_by_mount(struct cow_tree *t, uint64_t mount)
{
	struct cow_graft *g;

	pthread_mutex_lock(&t->table_lock);
	g = find(t, mount);
	pthread_mutex_unlock(&t->table_lock);
	return g;
}

int cow_table_state(struct cow_tree *t, uint64_t mount)
{
	const struct cow_graft *g;
	int state;

	pthread_mutex_lock(&t->table_lock);
	g = find(t, mount);
	if (g == NULL && t->aliases != NULL)
		g = find(t, cow_nested_graft(t, mount));
	state = g != NULL ? (int)g->state : -1;
	pthread_mutex_unlock(&t->table_lock);
	return state;
}

char *cow_table_path(struct cow_tree *t, uint64_t mount)
{
	const struct cow_graft *g;
	char *path = NULL;

	pthread_mutex_lock(&t->table_lock);
	g = find(t, mount);
	if (g != NULL && g->state == COW_GRAFT_ATTACHED && (path = strdup(g->path)) == NULL)
		abort();
	pthread_mutex_unlock(&t->table_lock);
	return path;
}

struct file_handle *cow_table_handle(struct cow_tree *t, uint64_t mount)
{
	const struct cow_graft *g;
	struct file_handle *handle = NULL;

	pthread_mutex_lock(&t->table_lock);
	g = find(t, mount);
	if (g != NULL && g->state == COW_GRAFT_ATTACHED && g->placeholder != NULL)
		handle = cow_handle_copy(g->placeholder);
	pthread_mutex_unlock(&t->table_lock);
	return handle;
}

static bool is_attached(const struct cow_graft *g, const struct stat *lower)
{
	return g->lower.ino == lower->st_ino && g->lower.dev == lower->st_dev && g->state == COW_GRAFT_ATTACHED;
}

bool cow_table_attached(struct cow_tree *t, const struct stat *lower, uint64_t *mount, struct file_handle **placeholder)
{
	const struct cow_graft *g;

	*placeholder = NULL;
	pthread_mutex_lock(&t->table_lock);
	for (g = t->by_lower[lower_bucket(lower->st_dev, lower->st_ino)]; g != NULL; g = g->next_by_lower)
		if (is_attached(g, lower))
			break;
	if (g != NULL) {
		*mount = g->mount;
		*placeholder = g->placeholder != NULL ? cow_handle_copy(g->placeholder) : NULL;
	}
	pthread_mutex_unlock(&t->table_lock);
	return g != NULL;
}

size_t cow_table_count(struct cow_tree *t, const struct stat *lower)
{
	const struct cow_graft *g;
	size_t count = 0;

	pthread_mutex_lock(&t->table_lock);
	for (g = t->by_lower[lower_bucket(lower->st_dev, lower->st_ino)]; g != NULL; g = g->next_by_lower)
		count += is_attached(g, lower) ? 1 : 0;
	pthread_mutex_unlock(&t->table_lock);
	return count;
}

bool cow_table_several(struct cow_tree *t, const struct stat *lower)
{
	const struct cow_graft *g;
	size_t count = 0;

	if (lower->st_nlink > 1)
		return true;
	pthread_mutex_lock(&t->table_lock);
	for (g = t->by_lower[lower_bucket(lower->st_dev, lower->st_ino)]; g != NULL; g = g->next_by_lower)
		if (is_attached(g, lower))
			count += g->twin ? 2 : 1;
	pthread_mutex_unlock(&t->table_lock);
	return count > 1;
}

void cow_table_names(struct cow_tree *t, const struct stat *lower, struct cow_names *names)
{
	const struct cow_graft *g;

	pthread_mutex_lock(&t->table_lock);
	for (g = t->by_lower[lower_bucket(lower->st_dev, lower->st_ino)]; g != NULL; g = g->next_by_lower) {
		struct cow_name *n;

		if (!is_attached(g, lower))
			continue;
		n = cow_names_add(names);
		n->mount = g->mount;
		n->twin = g->twin;
		n->path = strdup(g->path);
		if (n->path == NULL)
			abort();
		n->handle = g->placeholder != NULL ? cow_handle_copy(g->placeholder) : NULL;
	}
	pthread_mutex_unlock(&t->table_lock);
}

static void graft_free(struct cow_graft *g)
{
	free(g->path);
	free(g->placeholder);
	cow_close_fd(&g->point);
	free(g->where);
	free(g->place);
	free(g);
}

void cow_table_remove(struct cow_tree *t, struct cow_graft *g)
{
	struct cow_graft **at;

	pthread_mutex_lock(&t->table_lock);
	if (g->state != COW_GRAFT_ATTACHED)
		__atomic_sub_fetch(&t->stale, 1, __ATOMIC_SEQ_CST);
	for (at = &t->by_mount[mount_bucket(g->mount)]; *at != g;)
		at = &(*at)->next_by_mount;
	*at = g->next_by_mount;
	for (at = &t->by_lower[lower_bucket(g->lower.dev, g->lower.ino)]; *at != g;)
		at = &(*at)->next_by_lower;
	*at = g->next_by_lower;
	pthread_mutex_unlock(&t->table_lock);
	__atomic_sub_fetch(&t->grafts, 1, __ATOMIC_SEQ_CST);
	graft_free(g);
}

void cow_queue_add(struct cow_graft_queue *q, struct cow_graft *g)
{
	g->next_retired = NULL;
	if (q->first == NULL)
		__atomic_store_n(&q->first, g, __ATOMIC_SEQ_CST); /* peeked at without the lock */
	else
		q->last->next_retired = g;
	q->last = g;
}

struct cow_graft *cow_queue_take(struct cow_graft_queue *q)
{
	struct cow_graft *g = q->first;

	if (g != NULL)
		__atomic_store_n(&q->first, g->next_retired, __ATOMIC_SEQ_CST);
	return g;
}

void cow_table_set(struct cow_tree *t, struct cow_graft *g, enum cow_graft_state state)
{
	pthread_mutex_lock(&t->table_lock);
	if (g->state == COW_GRAFT_ATTACHED && state != COW_GRAFT_ATTACHED)
		__atomic_add_fetch(&t->stale, 1, __ATOMIC_SEQ_CST);
	g->state = state;
	pthread_mutex_unlock(&t->table_lock);
}

void cow_table_retire(struct cow_tree *t, struct cow_graft *g, char *stage_name, char *place)
{
	g->where = stage_name;
	g->place = place;
	cow_table_set(t, g, COW_GRAFT_PENDING);
	cow_queue_add(&t->retired, g);
}

void cow_table_free(struct cow_tree *t)
{
	for (size_t i = 0; i < COW_TREE_BUCKETS; i++)
		while (t->by_mount[i] != NULL) {
			struct cow_graft *g = t->by_mount[i];

			t->by_mount[i] = g->next_by_mount;
			graft_free(g);
		}
}
