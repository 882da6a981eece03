/* cowrun-init asks for the container's ruleset (init/protocol.h): once a listener, and never the user's program. */
#include "agent.h"

#include <errno.h>
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
