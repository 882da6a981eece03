#include "internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t mount_bucket(uint64_t mount)
{
	return (size_t)(mount % COW_TREE_BUCKETS);
}

static size_t lower_bucket(dev_t dev, ino_t ino)
{
	return (size_t)(((uint64_t)ino * 2654435761u + (uint64_t)dev) % COW_TREE_BUCKETS);
}

struct cow_graft *cow_table_add(struct cow_tree *t, uint64_t mount, const struct stat *lower, const char *path)
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
	pthread_mutex_lock(&t->table_lock);
	slot = &t->by_mount[mount_bucket(mount)];
	g->next_by_mount = *slot;
	*slot = g;
	slot = &t->by_lower[lower_bucket(g->lower.dev, g->lower.ino)];
	g->next_by_lower = *slot;
	*slot = g;
	pthread_mutex_unlock(&t->table_lock);
	return g;
}

struct cow_graft *cow_table_by_mount(struct cow_tree *t, uint64_t mount)
{
	struct cow_graft *g;

	pthread_mutex_lock(&t->table_lock);
	for (g = t->by_mount[mount_bucket(mount)]; g != NULL && g->mount != mount;)
		g = g->next_by_mount;
	pthread_mutex_unlock(&t->table_lock);
	return g;
}

struct cow_graft *cow_table_by_lower(struct cow_tree *t, const struct stat *lower)
{
	struct cow_graft *g;

	pthread_mutex_lock(&t->table_lock);
	for (g = t->by_lower[lower_bucket(lower->st_dev, lower->st_ino)]; g != NULL; g = g->next_by_lower)
		if (g->lower.ino == lower->st_ino && g->lower.dev == lower->st_dev && g->state == COW_GRAFT_ATTACHED)
			break;
	pthread_mutex_unlock(&t->table_lock);
	return g;
}

static void graft_free(struct cow_graft *g)
{
	free(g->path);
	free(g->where);
	free(g->place);
	free(g);
}

void cow_table_remove(struct cow_tree *t, struct cow_graft *g)
{
	struct cow_graft **at;

	pthread_mutex_lock(&t->table_lock);
	for (at = &t->by_mount[mount_bucket(g->mount)]; *at != g;)
		at = &(*at)->next_by_mount;
	*at = g->next_by_mount;
	for (at = &t->by_lower[lower_bucket(g->lower.dev, g->lower.ino)]; *at != g;)
		at = &(*at)->next_by_lower;
	*at = g->next_by_lower;
	/* Another worker may be looking at it: kept to the end. */
	g->state = COW_GRAFT_GONE;
	g->next_retired = t->gone;
	t->gone = g;
	pthread_mutex_unlock(&t->table_lock);
}

void cow_table_retire(struct cow_tree *t, struct cow_graft *g, char *stage_name, char *place)
{
	pthread_mutex_lock(&t->table_lock);
	g->state = COW_GRAFT_PENDING;
	g->where = stage_name;
	g->place = place;
	g->next_retired = t->retired;
	t->retired = g;
	pthread_mutex_unlock(&t->table_lock);
}

struct cow_graft *cow_table_take_retired(struct cow_tree *t)
{
	struct cow_graft *list;

	pthread_mutex_lock(&t->table_lock);
	list = t->retired;
	t->retired = NULL;
	pthread_mutex_unlock(&t->table_lock);
	return list;
}

int cow_table_add_split(struct cow_tree *t, const struct stat *lower, const char *path, int upper)
{
	struct cow_split *s = calloc(1, sizeof(*s));
	struct cow_split **slot;

	if (s == NULL || (s->path = strdup(path)) == NULL)
		abort();
	s->lower.dev = lower->st_dev;
	s->lower.ino = lower->st_ino;
	s->upper = fcntl(upper, F_DUPFD_CLOEXEC, 64);
	if (s->upper < 0) {
		free(s->path);
		free(s);
		return -1;
	}
	pthread_mutex_lock(&t->table_lock);
	slot = &t->splits[lower_bucket(lower->st_dev, lower->st_ino)];
	s->next = *slot;
	*slot = s;
	pthread_mutex_unlock(&t->table_lock);
	return 0;
}

int cow_table_find_split(struct cow_tree *t, const struct stat *lower)
{
	struct cow_split *s;
	int fd = -1;

	pthread_mutex_lock(&t->table_lock);
	for (s = t->splits[lower_bucket(lower->st_dev, lower->st_ino)]; s != NULL; s = s->next)
		if (s->lower.ino == lower->st_ino && s->lower.dev == lower->st_dev)
			break;
	if (s != NULL)
		fd = fcntl(s->upper, F_DUPFD_CLOEXEC, 3);
	pthread_mutex_unlock(&t->table_lock);
	return fd;
}

void cow_table_free(struct cow_tree *t)
{
	while (t->gone != NULL) {
		struct cow_graft *g = t->gone;

		t->gone = g->next_retired;
		graft_free(g);
	}
	for (size_t i = 0; i < COW_TREE_BUCKETS; i++) {
		while (t->by_mount[i] != NULL) {
			struct cow_graft *g = t->by_mount[i];

			t->by_mount[i] = g->next_by_mount;
			graft_free(g);
		}
		while (t->splits[i] != NULL) {
			struct cow_split *s = t->splits[i];

			t->splits[i] = s->next;
			close(s->upper);
			free(s->path);
			free(s);
		}
	}
}
