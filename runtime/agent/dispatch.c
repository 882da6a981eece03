/* From a notification to its handler. What the handlers share is done here: stale handles are freshened. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/net.h>
#include <stdlib.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/log.h"
#include "request.h"

enum { X32_BIT = 0x40000000, ATTEMPTS = 100 };

/*
 * Of what is no directory the kernel says ENOTDIR; and calls on a descriptor itself see to it themselves. Whether there
 * is anything stale is not asked (cow_agent_has_stale): a directory of the shadow is for longer than a graft in it.
 */
static int freshen_directory(struct cow_target *t, int fd)
{
	cleanup_close int object = -1;
	struct stat st;

	if (fd < 0 || cow_quick_handle(t, fd))
		return 0;
	object = cow_target_fd(t, fd);
	if (object < 0 || fstat(object, &st) != 0 || !S_ISDIR(st.st_mode))
		return 0;
	cow_close_fd(&object);
	return cow_freshen(t, fd);
}

static int freshen_handles(struct cow_target *t, const struct cow_request *r)
{
	int verdict;

	cow_stats_phase(COW_PHASE_HANDLES);
	verdict = freshen_directory(t, r->dir);
	/* No name is found in a directory that was deleted, but it has its attributes. */
	if (verdict == -ENOENT && cow_request_is_about_descriptor(t, r))
		verdict = 0;
	if (verdict == 0)
		verdict = freshen_directory(t, r->dir2);
	/* An O_PATH handle on what its holder may not read cannot be replaced; it goes on showing what it showed. */
	return verdict == -EACCES && cow_request_looks_only(r) ? 0 : verdict;
}

/* The families that name an object by descriptor and path: AT_EMPTY_PATH, or no path at all. */
static int modify(struct cow_target *t, const struct cow_request *r)
{
	bool by_fd = r->no_path || (r->path[0] == '\0' && (r->flags & AT_EMPTY_PATH) != 0);
	/* These take no descriptor opened by O_PATH, though they take the flag. */
	bool opened = r->no_path || r->call == COW_CALL_SETXATTRAT || r->call == COW_CALL_REMOVEXATTRAT ||
		      r->call == COW_CALL_FILE_SETATTR;

	if (by_fd)
		return cow_do_modify_fd(t, r->call, r->dir, !opened);
	return cow_do_modify(t, r->call, r->dir, r->path, (r->flags & AT_SYMLINK_NOFOLLOW) == 0);
}

/* args of the i386 socketcall: a number and an array of 32-bit words. */
static int do_socketcall(struct cow_target *t)
{
	uint32_t words[3];

	if (t->args[0] != SYS_BIND || cow_target_memory(t, t->args[1], words, sizeof(words)) != 0)
		return COW_VERDICT_CONTINUE;
	return cow_do_bind(t, words[1], words[2]);
}

/* Those that are seldom seen. */
static int handle_other(struct cow_target *t, const struct cow_request *r)
{
	switch (r->call) {
	case COW_CALL_IOCTL:
		return cow_do_ioctl(t);
	case COW_CALL_FCNTL:
		return (uint32_t)t->args[1] == F_NOTIFY ? cow_do_fchdir(t, (int)t->args[0]) : COW_VERDICT_CONTINUE;
	case COW_CALL_FANOTIFY_MARK:
		return cow_do_fanotify_mark(t);
	case COW_CALL_LANDLOCK_ADD_RULE:
		return cow_do_landlock_rule(t);
	case COW_CALL_LANDLOCK_RESTRICT_SELF:
		return cow_do_landlock_restrict(t);
	case COW_CALL_MOUNT:
		return cow_do_mount(t, r->path);
	case COW_CALL_MOVE_MOUNT:
		return cow_do_move_mount(t, r->dir, r->path, r->dir2, r->path2);
	case COW_CALL_OPEN_TREE:
		return cow_do_open_tree(t, r->dir, r->path);
	case COW_CALL_UMOUNT:
		return cow_do_umount(t, r->path);
	case COW_CALL_PIVOT_ROOT:
		return cow_do_pivot_root(t, r->path);
	default: /* COW_CALL_STATAT, COW_CALL_READAT: fresh handles are all they need */
		return COW_VERDICT_CONTINUE;
	}
}

static int handle(struct cow_target *t, struct cow_request *r)
{
	switch (r->call) {
	case COW_CALL_OPEN:
	case COW_CALL_OPENAT:
	case COW_CALL_OPENAT2:
	case COW_CALL_CREAT:
		return cow_do_open(t, r->dir, r->path, &r->opening);
	case COW_CALL_MKDIR:
	case COW_CALL_MKDIRAT:
		return cow_do_create(t, r->dir, r->path, true);
	case COW_CALL_MKNOD:
	case COW_CALL_MKNODAT:
	case COW_CALL_SYMLINK:
	case COW_CALL_SYMLINKAT:
		return cow_do_create(t, r->dir, r->path, false);
	case COW_CALL_UNLINK:
	case COW_CALL_RMDIR:
		return cow_do_unlink(t, r->dir, r->path, r->call == COW_CALL_RMDIR);
	case COW_CALL_UNLINKAT:
		if ((r->flags & ~AT_REMOVEDIR) != 0)
			return COW_VERDICT_CONTINUE; /* EINVAL */
		return cow_do_unlink(t, r->dir, r->path, (r->flags & AT_REMOVEDIR) != 0);
	case COW_CALL_RENAME:
	case COW_CALL_RENAMEAT:
	case COW_CALL_RENAMEAT2:
		return cow_do_rename(t, r->dir, r->path, r->dir2, r->path2, (unsigned)r->flags);
	case COW_CALL_LINK:
	case COW_CALL_LINKAT:
		return cow_do_link(t, r->dir, r->path, r->dir2, r->path2, r->flags);
	case COW_CALL_LCHOWN:
	case COW_CALL_LSETXATTR:
	case COW_CALL_LREMOVEXATTR:
		return cow_do_modify(t, r->call, r->dir, r->path, false);
	case COW_CALL_TRUNCATE:
	case COW_CALL_CHMOD:
	case COW_CALL_FCHMODAT:
	case COW_CALL_FCHMODAT2:
	case COW_CALL_CHOWN:
	case COW_CALL_FCHOWNAT:
	case COW_CALL_UTIME:
	case COW_CALL_UTIMES:
	case COW_CALL_FUTIMESAT:
	case COW_CALL_UTIMENSAT:
	case COW_CALL_UTIMENSAT_TIME64:
	case COW_CALL_SETXATTR:
	case COW_CALL_SETXATTRAT:
	case COW_CALL_REMOVEXATTR:
	case COW_CALL_REMOVEXATTRAT:
	case COW_CALL_FILE_SETATTR:
		return modify(t, r);
	case COW_CALL_FCHMOD:
	case COW_CALL_FCHOWN:
	case COW_CALL_FSETXATTR:
	case COW_CALL_FREMOVEXATTR:
		return cow_do_modify_fd(t, r->call, (int)t->args[0], false);
	case COW_CALL_ACCESS:
		return cow_do_access(t, r->dir, r->path, r->mode, 0);
	case COW_CALL_FACCESSAT:
	case COW_CALL_FACCESSAT2:
		return cow_do_access(t, r->dir, r->path, r->mode, r->flags);
	case COW_CALL_CHDIR:
	case COW_CALL_CHROOT:
		return cow_do_enter(t, AT_FDCWD, r->path, true);
	case COW_CALL_FCHDIR:
		return cow_do_fchdir(t, (int)t->args[0]);
	case COW_CALL_INOTIFY_ADD_WATCH:
		return cow_do_watch(t, r->path, (uint32_t)t->args[2]);
	case COW_CALL_BIND:
		return cow_do_bind(t, t->args[1], t->args[2]);
	case COW_CALL_SOCKETCALL:
		return do_socketcall(t);
	case COW_CALL_LANDLOCK_CREATE_RULESET:
		return cow_do_landlock(t);
	default:
		return handle_other(t, r);
	}
}

/* Another worker may change what this one has just resolved: then it is looked at again. */
static int handle_until_settled(struct cow_target *t, struct cow_request *r)
{
	int verdict = -ESTALE;

	for (int i = 0; i < ATTEMPTS && verdict == -ESTALE; i++)
		verdict = handle(t, r);
	if (verdict != -ESTALE)
		return verdict;
	cow_log_error("a call of family %d found no steady state", (int)r->call);
	return -EIO;
}

/* Can the call go on with nothing done? False: perhaps. */
static bool needs_nothing(const struct cow_target *t, const struct cow_request *r)
{
	int fd = cow_request_changed_fd(t, r);

	if (fd >= 0)
		return cow_quick_fd(t, fd);
	if (cow_request_only_reads(r))
		return r->dir < 0 || !cow_agent_has_stale(t->agent) || cow_quick_handle(t, r->dir);
	/* openat2 may have a root of its own. */
	if (cow_request_is_about_mounts(r) || !r->has_path || r->no_path || !r->opening.plain ||
	    !cow_quick_path(t, r->dir, r->path, cow_request_follows(r)))
		return false;
	return !r->has_path2 || cow_quick_path(t, r->dir2, r->path2, false);
}

/* What the kernel will go through is what the agent went through: else it would look at what the directories were. */
static int freshen_ways(struct cow_target *t)
{
	int verdict = 0;

	for (size_t i = 0; verdict == 0 && i < t->ways->count; i++)
		verdict = cow_freshen(t, t->ways->fds[i]);
	return verdict;
}

static int serve(struct cow_target *t, enum cow_call call)
{
	struct cow_request r; /* 8 KiB: only what is read is set */
	struct cow_ways ways = {.count = 0, .bare = false};
	int verdict;

	if (cow_request_moves_roots(call))
		cow_quick_root_moves(t->agent);
	cow_stats_phase(COW_PHASE_READ);
	r.call = call;
	if (cow_call_read(t, &r) != 0)
		return COW_VERDICT_CONTINUE;
	cow_stats_phase(COW_PHASE_RESOLVE);
	if (needs_nothing(t, &r))
		return COW_VERDICT_CONTINUE;
	cow_stats_phase(COW_PHASE_READ);
	/* It died: nobody will see the answer. If it did not, what was read of it was its own. */
	if (cow_target_open(t) != 0)
		return COW_VERDICT_CONTINUE;
	t->ways = &ways;
	verdict = freshen_handles(t, &r);
	cow_stats_phase(COW_PHASE_ACT);
	if (verdict == 0)
		verdict = handle_until_settled(t, &r);
	if (t->split)
		cow_freshen_all(t);
	/* The call's own handles may have become stale by the splits that it caused. */
	if (verdict == COW_VERDICT_CONTINUE) {
		int stale = t->leading || !cow_agent_has_stale(t->agent) ? 0 : freshen_handles(t, &r);

		if (stale == 0)
			stale = freshen_ways(t);
		verdict = stale == 0 ? verdict : stale;
	}
	t->ways = NULL;
	/* What is written to a placeholder would be lost. */
	if (verdict == COW_VERDICT_CONTINUE && ways.bare && cow_request_changes(&r))
		verdict = -EROFS;
	return verdict;
}

int cow_dispatch(struct cow_target *t)
{
	enum cow_call call = cow_filter_lookup(t->arch, t->nr);
	int verdict;

#if defined(__x86_64__)
	if (t->arch == AUDIT_ARCH_X86_64 && (t->nr & X32_BIT) != 0)
		return -ENOSYS;
#endif
	if (call == COW_CALL_NONE)
		return COW_VERDICT_CONTINUE;
	if (call == COW_CALL_LANDLOCK_CREATE_RULESET)
		return cow_do_landlock(t);
	verdict = serve(t, call);
	cow_stats_phase(COW_PHASE_REAP);
	cow_target_close(t);
	for (size_t i = 0; i < t->agent->ntrees; i++)
		cow_tree_reap(t->agent->trees[i]);
	return verdict;
}
