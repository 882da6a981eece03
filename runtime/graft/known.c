/*
 * Who knows a directory as it was in the lower. A split gives a directory another device and inode. A program that
 * walks a tree and goes up again by ".." looks whether it comes to where it came from (gnulib's fts, so rm -r, chmod
 * -R, find and du), and must then be shown the directory by the identity it remembers. So whoever held a descriptor in
 * a graft when it was taken away, or took it away by naming what is in it, is noted with every real directory that it
 * may have passed on the way: up to the graft's root, for what is above was the branch's own when it passed there.
 */
#include "internal.h"

#include <fcntl.h>
#include <unistd.h>

#include "../lib/fd.h"

void cow_tree_know(struct cow_tree *t, int fd, uint64_t who)
{
	cleanup_close int at = -1;
	struct stat st;

	uint64_t mount = cow_mount_id(fd);

	/* What was handed out by cow_tree_known() says nothing about where its holder passed; nor does the shadow. */
	if (mount != t->shadow_mount && cow_tree_place(t, fd) == COW_PLACE_STALE && !cow_in_lower(t, mount))
		at = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	while (at >= 0 && fstat(at, &st) == 0) {
		int up;

		(void)cow_real_know(t, &st, who);
		if (cow_mount_root(at) && cow_table_by_mount(t, cow_mount_id(at)) != NULL)
			break; /* but go on above the root of another file system in the graft */
		up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(at);
		at = up;
	}
}

int cow_tree_known(struct cow_tree *t, int fd, uint64_t who)
{
	struct cow_lower_id id;
	cleanup_free char *path = cow_real_known(t, fd, who, &id);
	/* Where the host renamed it, it is not found, or is another one: then nobody can be shown it any more. */
	cleanup_close int lower = path == NULL ? -1 : cow_open_beneath(t->lower, path, O_PATH | O_DIRECTORY, 0);
	struct stat st;

	if (lower < 0 || fstat(lower, &st) != 0 || st.st_ino != id.ino || st.st_dev != id.dev ||
	    !cow_in_lower(t, cow_mount_id(lower)))
		return -1;
	/* A descriptor that is stale while no graft is (cow_tree_has_stale). */
	if (!__atomic_exchange_n(&t->lower_shown, true, __ATOMIC_SEQ_CST)) {
		pthread_mutex_lock(&t->table_lock);
		__atomic_add_fetch(&t->stale, 1, __ATOMIC_SEQ_CST);
		pthread_mutex_unlock(&t->table_lock);
	}
	return cow_steal_fd(&lower);
}
