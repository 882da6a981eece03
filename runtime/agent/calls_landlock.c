/*
 * Landlock. cowrun-init asks for the container's ruleset (init/protocol.h): once a listener, and never the user's
 * program.
 *
 * A program may restrict itself further, and its rules would not be asked where the agent acts in its stead: nothing
 * tells the agent what they are, or who has them. So once any program of the container has restricted itself the agent
 * takes the slower way for all of them: it makes real what is to be changed, and lets the kernel do it. What only the
 * agent can do is refused then.
 */
#include "agent.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "../init/protocol.h"

enum { ATTACH_TIMEOUT = 30 };

int cow_do_landlock(struct cow_target *t)
{
	struct cow_agent *a = t->agent;
	struct timespec until;
	bool first;
	bool ready = true;

	if (t->args[0] != COW_INIT_LANDLOCK_ATTR || t->args[1] != COW_INIT_LANDLOCK_SIZE)
		return COW_VERDICT_CONTINUE;
	cow_stop_leading(t);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ATTACH_TIMEOUT;
	pthread_mutex_lock(&a->lock);
	while (!a->ready && ready)
		ready = pthread_cond_timedwait(&a->attached, &a->lock, &until) == 0;
	first = !t->listener->landlock_given;
	t->listener->landlock_given = true;
	pthread_mutex_unlock(&a->lock);
	if (!first)
		return COW_VERDICT_CONTINUE; /* EFAULT, as for everybody */
	if (!ready || a->ruleset < 0)
		return -EACCES;
	return cow_target_send_fd(t, a->ruleset, true);
}

int cow_do_landlock_restrict(struct cow_target *t)
{
	struct cow_agent *a = t->agent;
	struct cow_listener *l = t->listener;

	pthread_mutex_lock(&a->lock);
	if (a->ruleset >= 0 && l->landlock_given && !l->restricted)
		l->restricted = true; /* cowrun-init, with the container's */
	else
		atomic_store(&a->sandboxed, true);
	pthread_mutex_unlock(&a->lock);
	return COW_VERDICT_CONTINUE;
}
