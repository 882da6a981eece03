/*
 * Grafts that were taken away. They wait on their placeholders in the stage. One in use (an open descriptor, a running
 * program, a mapping) is moved at once to the same path below the shadow (shadow.c), where its descriptors have a right
 * path and Landlock finds the container's root above them. An idle one rests for a while before it is unmounted: a
 * path walk that had come as far as the placeholder when it was taken away must still find the graft on it, and not an
 * empty file. umount2(MNT_EXPIRE) tells the two apart without unmounting anything, and the second time unmounts only
 * what nobody touched since the first.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/log.h"

/* An unmount costs 50 us and more, and everybody else waits: a few at a time, with a pause, and not too many a second.
 */
enum { CHUNK = 16, CHUNKS = 100, PAUSE_US = 500, REST_MS = 1000 };

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static bool waiting(const struct cow_graft_queue *q)
{
	return __atomic_load_n(&q->first, __ATOMIC_RELAXED) != NULL;
}

static void rest(struct cow_tree *t, struct cow_graft *g)
{
	cow_table_set(t, g, COW_GRAFT_RESTING);
	g->since = now_ms();
	cow_queue_add(&t->resting, g);
}

static void forget(struct cow_tree *t, struct cow_graft *g)
{
	unlinkat(t->stage, g->where, g->directory ? AT_REMOVEDIR : 0);
	cow_table_remove(t, g);
	t->stats.freed++;
}

static void settle_in_shadow(struct cow_tree *t, struct cow_graft *g)
{
	if (cow_shadow_move(t, g))
		t->stats.shadowed++;
	else
		rest(t, g); /* readable through what is open, and still read-only; tried again later */
}

/* What umount2 said of a graft in the stage. */
static void judge(struct cow_tree *t, struct cow_graft *g, int said)
{
	switch (said) {
	case EAGAIN:
		rest(t, g);
		break;
	case EBUSY:
		settle_in_shadow(t, g);
		break;
	case 0:
	case EINVAL: /* no mount there: somebody with the right to do so unmounted it */
	case ENOENT:
		forget(t, g);
		break;
	default:
		cow_log_warning("a retired graft: umount2: %s", strerror(said));
		rest(t, g);
	}
}

typedef int unmount_function(int dirfd, const char *name);

static void unmount_some(struct cow_tree *t, struct cow_graft **list, size_t count, unmount_function *unmount)
{
	int said[CHUNK];

	if (cow_tree_enter(t) != 0) {
		for (size_t i = 0; i < count; i++)
			rest(t, list[i]);
		return;
	}
	for (size_t i = 0; i < count; i++)
		said[i] = unmount(t->stage, list[i]->where);
	cow_tree_leave(t);
	for (size_t i = 0; i < count; i++)
		judge(t, list[i], said[i]);
}

void cow_tree_reap(struct cow_tree *t)
{
	if (!waiting(&t->retired))
		return;
	pthread_mutex_lock(&t->structure);
	while (t->retired.first != NULL) {
		struct cow_graft *list[CHUNK];
		size_t count = 0;

		while (count < CHUNK && (list[count] = cow_queue_take(&t->retired)) != NULL)
			count++;
		unmount_some(t, list, count, cow_mount_expire);
	}
	pthread_mutex_unlock(&t->structure);
}

/* One chunk of what rests since `before` or longer. False when there is no more. */
static bool free_resting(struct cow_tree *t, int64_t before, unmount_function *unmount)
{
	struct cow_graft *list[CHUNK];
	size_t count = 0;

	pthread_mutex_lock(&t->structure);
	while (count < CHUNK && t->resting.first != NULL && t->resting.first->since <= before)
		list[count++] = cow_queue_take(&t->resting);
	if (count > 0)
		unmount_some(t, list, count, unmount);
	pthread_mutex_unlock(&t->structure);
	return count == CHUNK;
}

static void free_shadowed(struct cow_tree *t)
{
	struct cow_graft_queue busy = {NULL, NULL};
	struct cow_graft *g;

	pthread_mutex_lock(&t->structure);
	for (size_t i = 0; i < CHUNK && (g = cow_queue_take(&t->shadowed)) != NULL; i++) {
		if (cow_shadow_free(t, g)) {
			cow_table_remove(t, g);
			t->stats.freed++;
		} else {
			cow_queue_add(&busy, g);
		}
	}
	while ((g = cow_queue_take(&busy)) != NULL)
		cow_queue_add(&t->shadowed, g); /* behind those that had no turn */
	pthread_mutex_unlock(&t->structure);
}

void cow_tree_sweep(struct cow_tree *t)
{
	int64_t before = now_ms() - REST_MS;

	if (waiting(&t->resting))
		for (int i = 0; i < CHUNKS && free_resting(t, before, cow_mount_expire); i++)
			usleep(PAUSE_US);
	if (waiting(&t->shadowed))
		free_shadowed(t);
}

bool cow_retire_hurry(struct cow_tree *t)
{
	int64_t before = now_ms();
	bool any = waiting(&t->retired) || waiting(&t->resting);

	cow_tree_reap(t);
	while (free_resting(t, before, cow_mount_detach))
		;
	return any;
}
