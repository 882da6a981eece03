/*
 * What ties something to a directory: chdir, fchdir, chroot; the watches, which must see what will change (inotify,
 * fanotify, dnotify); Landlock rules, which must hold for what will be there. It is split first.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/fd.h"

int cow_do_enter(struct cow_target *t, int dirfd, const char *path, bool follow)
{
	cleanup_location struct cow_location l = COW_LOCATION_NONE;
	int verdict;

	if (cow_resolve(t, dirfd, path, follow, &l) != 0 || l.object < 0 || !cow_needs_work(l.object_place) ||
	    !S_ISDIR(l.st.st_mode))
		return COW_VERDICT_CONTINUE;
	verdict = cow_prepare_object(t, &l, false, NULL, NULL, NULL);
	return verdict == 0 ? COW_VERDICT_CONTINUE : verdict;
}

static int may_read(int staged, void *data)
{
	return cow_creds_permit(data, staged, R_OK);
}

/*
 * A watch is on an inode, so it must be on the one that will change: a directory is split, a file copied up. Only a
 * watch that would notice is worth that.
 */
int cow_do_watch(struct cow_target *t, const char *path, uint32_t mask)
{
	cleanup_location struct cow_location l = COW_LOCATION_NONE;
	cleanup_creds struct cow_creds creds = COW_CREDS_NONE;
	const uint32_t changes = IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVE_SELF | IN_DELETE_SELF;
	int verdict;

	if (cow_resolve(t, AT_FDCWD, path, (mask & IN_DONT_FOLLOW) == 0, &l) != 0 || l.object < 0 ||
	    !cow_needs_work(l.object_place))
		return COW_VERDICT_CONTINUE;
	if (!S_ISDIR(l.st.st_mode) && (l.slash || (mask & IN_ONLYDIR) != 0 || (mask & changes) == 0))
		return COW_VERDICT_CONTINUE;
	if (cow_creds_read(t, &creds) != 0)
		return -EACCES;
	verdict = cow_prepare_object(t, &l, false, may_read, &creds, NULL);
	return verdict == 0 ? COW_VERDICT_CONTINUE : verdict;
}

int cow_do_fchdir(struct cow_target *t, int fd)
{
	cleanup_close int object = cow_target_fd(t, fd);
	struct stat st;

	if (object < 0 || fstat(object, &st) != 0 || !S_ISDIR(st.st_mode))
		return COW_VERDICT_CONTINUE;
	cow_close_fd(&object);
	return cow_do_modify_fd(t, COW_CALL_FCHDIR, fd, true);
}

int cow_do_fanotify_mark(struct cow_target *t)
{
	/* The mask has 64 bits: two registers of a 32-bit program. */
	size_t at = cow_filter_is_32bit(t->arch) ? 4 : 3;
	int dirfd = (int)t->args[at];
	char path[PATH_MAX];
	int verdict;

	if (t->args[at + 1] == 0)
		return dirfd >= 0 ? cow_do_fchdir(t, dirfd) : COW_VERDICT_CONTINUE;
	if (cow_target_string(t, t->args[at + 1], path, sizeof(path)) != 0)
		return COW_VERDICT_CONTINUE;
	verdict = cow_freshen(t, dirfd);
	if (verdict == 0)
		verdict = cow_do_enter(t, dirfd, path, (t->args[1] & FAN_MARK_DONT_FOLLOW) == 0);
	if (verdict != COW_VERDICT_CONTINUE)
		return verdict;
	verdict = cow_freshen(t, dirfd);
	return verdict == 0 ? COW_VERDICT_CONTINUE : verdict;
}

int cow_do_landlock_rule(struct cow_target *t)
{
	/* What needs the file itself to be the branch's already; LANDLOCK_ACCESS_FS_TRUNCATE is Linux 6.2's. */
	const uint64_t writing = LANDLOCK_ACCESS_FS_WRITE_FILE | 1ULL << 14;
	struct landlock_path_beneath_attr rule;
	int verdict;

	if (t->args[1] != LANDLOCK_RULE_PATH_BENEATH || cow_target_memory(t, t->args[2], &rule, sizeof(rule)) != 0 ||
	    rule.parent_fd < 0)
		return COW_VERDICT_CONTINUE;
	verdict = cow_do_fchdir(t, rule.parent_fd);
	if (verdict == COW_VERDICT_CONTINUE && (rule.allowed_access & writing) != 0)
		verdict = cow_do_modify_fd(t, COW_CALL_LANDLOCK_ADD_RULE, rule.parent_fd, true);
	return verdict;
}
