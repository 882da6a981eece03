/*
 * What the engine must do before a call can go on. The names that a process gives are resolved first (resolve.c), so
 * all of this works on descriptors; if another worker was quicker, the engine says ESTALE and dispatch.c begins again.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/log.h"

enum { COPIES_AT_ONCE = 64 << 10 };

int cow_verdict_of(int error)
{
	switch (error) {
	case 0:
	case ESTALE:
	case ENOENT:
	case ENOTDIR:
	case EISDIR:
	case EEXIST:
	case ENOTEMPTY:
	case EACCES:
	case EPERM:
	case EBUSY:
	case EXDEV:
	case EINVAL:
	case ELOOP:
	case EMLINK:
	case ENAMETOOLONG:
	case ETXTBSY:
	case EBADF:
	case EFBIG:
	case ENOSPC:
	case EDQUOT:
	case EROFS:
		return -error;
	default:
		cow_log_error("the branch could not be made ready for a call: %s", strerror(error));
		return -EIO;
	}
}

int cow_prepare_directory(struct cow_target *t, struct cow_tree *tree, enum cow_place_kind place, int fd, int *real)
{
	int made;

	if (!cow_needs_work(place)) {
		if (real == NULL)
			return 0;
		*real = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		return *real < 0 ? cow_verdict_of(errno) : 0;
	}
	cow_stop_leading(t);
	made = cow_tree_real_directory(tree, fd);
	if (made < 0 && errno == ENOENT && place == COW_PLACE_STALE)
		made = cow_tree_orphan(tree, fd, NULL,
				       NULL); /* as a deleted directory: empty, and nothing can be made in it */
	if (made < 0)
		return cow_verdict_of(errno);
	/* It has named what is in there, so it may have looked at it before. */
	cow_tree_know(tree, fd, cow_target_who(t));
	t->split = true;
	if (real != NULL)
		*real = made;
	else
		close(made);
	return 0;
}

int cow_prepare_parent(struct cow_target *t, const struct cow_location *l, int *real)
{
	return cow_prepare_directory(t, l->parent_tree, l->parent_place, l->parent, real);
}

int cow_prepare_file(struct cow_target *t, struct cow_tree *tree, int fd, cow_copy_check check, void *data, int *now)
{
	int made;

	cow_stop_leading(t);
	made = cow_tree_real_file(tree, fd, check, data);
	/* Deleted in the branch, but who has it open may do as with any deleted file. */
	if (made < 0 && errno == ENOENT)
		made = cow_tree_orphan(tree, fd, check, data);
	if (made < 0)
		return cow_verdict_of(errno);
	if (now != NULL)
		*now = made;
	else
		close(made);
	return 0;
}

static int copy_up(const struct cow_location *l, int parent, bool truncate, cow_copy_check check, void *data, int *now)
{
	int error = cow_tree_copy_up(l->object_tree, parent, l->name, truncate, check, data);

	if (error != 0)
		return cow_verdict_of(error);
	if (now == NULL)
		return 0;
	*now = openat(parent, l->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return *now < 0 ? cow_verdict_of(errno) : 0;
}

/* Long enough to let another worker receive meanwhile, which wakes it and puts this one to sleep afterwards? */
static bool takes_long(const struct stat *st)
{
	return (S_ISREG(st->st_mode) && st->st_size > COPIES_AT_ONCE) || st->st_nlink > 1;
}

int cow_prepare_object(struct cow_target *t, const struct cow_location *l, bool truncate, cow_copy_check check,
		       void *data, int *now)
{
	cleanup_close int parent = -1;
	int verdict;

	if (S_ISDIR(l->st.st_mode))
		return cow_prepare_directory(t, l->object_tree, l->object_place, l->object, now);
	if (l->parent < 0)
		return cow_prepare_file(t, l->object_tree, l->object, check, data, now);
	/* A symbolic link is a real one as soon as the directory is. */
	verdict = cow_prepare_parent(t, l, &parent);
	if (verdict != 0)
		return verdict;
	if (!S_ISLNK(l->st.st_mode)) {
		if (takes_long(&l->st))
			cow_stop_leading(t);
		return copy_up(l, parent, truncate, check, data, now);
	}
	if (now == NULL)
		return 0;
	*now = openat(parent, l->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return *now < 0 ? cow_verdict_of(errno) : 0;
}
