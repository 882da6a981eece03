/* A head start for the delegate. */
#pragma once

/*
 * A delegate puts the container into its cgroup; for that the kernel takes cgroup_threadgroup_rwsem for writing, and
 * when nobody has done so lately it waits for an RCU grace period first: 6 to 12 ms, more than all that cowrun does
 * (rcu_sync_enter() in kernel/rcu/sync.c, seen on Linux 6.18). This begins that wait, in a thread, while the container
 * is prepared; the delegate then finds it over, or nearly so.
 */
void cow_grace_begin(void);
