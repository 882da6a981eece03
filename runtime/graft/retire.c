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

enum { CHUNK = 256, REST_MS = 1000, SWEEP_MS = 200, SHADOWED_AT_ONCE = 64 };

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static bool waiting(const struct cow_graft_queue *q)
{
	return __atomic_load_n(&q->first, __ATOMIC_SEQ_CST) != NULL;
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

/* A part of a queue that this worker deals with; in no queue meanwhile, and so nobody else's. */
struct chunk {
	struct cow_graft *list[CHUNK];
	int said[CHUNK];
	size_t count;
};

/* Judged with the lock, asked without: unmounting can take long. */
static void judge_all(struct cow_tree *t, const struct chunk *c)
{
	for (size_t i = 0; i < c->count; i++)
		judge(t, c->list[i], c->said[i]);
}

static void ask_all(struct cow_tree *t, struct chunk *c)
{
	int error = cow_tree_enter(t) == 0 ? 0 : errno;

	for (size_t i = 0; i < c->count; i++)
		c->said[i] = error != 0 ? error : cow_mount_expire(t->stage, c->list[i]->where);
	if (error == 0)
		cow_tree_leave(t);
}

/*
 * Who comes while another worker is at it waits: what it has taken away must have its place before its call is
 * answered.
 */
void cow_tree_reap(struct cow_tree *t)
{
	struct chunk c;

	if (!waiting(&t->retired) && !__atomic_load_n(&t->reaping, __ATOMIC_SEQ_CST))
		return;
	pthread_mutex_lock(&t->reap_lock);
	__atomic_store_n(&t->reaping, true, __ATOMIC_SEQ_CST);
	while (waiting(&t->retired)) {
		c.count = 0;
		pthread_mutex_lock(&t->structure);
		while (c.count < CHUNK && t->retired.first != NULL)
			c.list[c.count++] = cow_queue_take(&t->retired);
		pthread_mutex_unlock(&t->structure);
		ask_all(t, &c);
		pthread_mutex_lock(&t->structure);
		judge_all(t, &c);
		pthread_mutex_unlock(&t->structure);
	}
	__atomic_store_n(&t->reaping, false, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&t->reap_lock);
}

/* One chunk of what rests since `before` or longer. False when there is no more. */
static bool free_resting(struct cow_tree *t, int64_t before)
{
	struct chunk c = {.count = 0};

	pthread_mutex_lock(&t->structure);
	while (c.count < CHUNK && t->resting.first != NULL && t->resting.first->since <= before)
		c.list[c.count++] = cow_queue_take(&t->resting);
	pthread_mutex_unlock(&t->structure);
	if (c.count == 0)
		return false;
	cow_bin_empty(t, c.list, c.said, c.count);
	pthread_mutex_lock(&t->structure);
	judge_all(t, &c);
	pthread_mutex_unlock(&t->structure);
	return c.count == CHUNK;
}

static void free_shadowed(struct cow_tree *t)
{
	const struct cow_graft *last = NULL;

	pthread_mutex_lock(&t->structure);
	for (size_t i = 0; i < SHADOWED_AT_ONCE && t->shadowed.first != last; i++) {
		struct cow_graft *g = cow_queue_take(&t->shadowed);

		if (cow_shadow_free(t, g)) {
			cow_table_remove(t, g);
			t->stats.freed++;
			continue;
		}
		/* Behind those that had no turn; it goes on taking its place in the shadow. */
		cow_queue_add(&t->shadowed, g);
		if (last == NULL)
			last = g;
	}
	pthread_mutex_unlock(&t->structure);
}

void cow_tree_sweep(struct cow_tree *t)
{
	int64_t begun = now_ms();

	if (waiting(&t->resting))
		while (free_resting(t, begun - REST_MS) && now_ms() - begun < SWEEP_MS)
			;
	if (waiting(&t->shadowed))
		free_shadowed(t);
	cow_real_sweep(t);
}

bool cow_retire_hurry(struct cow_tree *t)
{
	int64_t before = now_ms();
	bool any = waiting(&t->retired) || waiting(&t->resting);

	cow_tree_reap(t);
	while (free_resting(t, before))
		;
	return any;
}
