/* Where a process stands: chdir, fchdir, chroot. And inotify, which must watch what will change. */
#include "agent.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "../lib/fd.h"

int cow_do_enter(struct cow_target *t, const char *path, bool follow)
{
	cleanup_location struct cow_location l;
	int verdict;

	if (cow_resolve(t, AT_FDCWD, path, follow, &l) != 0 || l.object < 0 || !cow_needs_work(l.object_place) ||
	    !S_ISDIR(l.st.st_mode))
		return COW_VERDICT_CONTINUE;
	verdict = cow_prepare_object(t, &l, false, NULL, NULL, NULL);
	if (verdict == 0 && l.handle >= 0)
		verdict = cow_freshen(t, l.handle);
	return verdict == 0 ? COW_VERDICT_CONTINUE : verdict;
}

int cow_do_fchdir(struct cow_target *t, int fd)
{
	cleanup_close int object = cow_target_fd(t, fd);
	struct stat st;

	if (object < 0 || fstat(object, &st) != 0 || !S_ISDIR(st.st_mode))
		return COW_VERDICT_CONTINUE;
	cow_close_fd(&object);
	return cow_do_modify_fd(t, fd, true);
}
