/* chmod, chown, utimes, xattrs, truncate: by path and by descriptor. And access(W_OK), which asks whether they could.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../lib/fd.h"

static int may_write(int staged, void *data)
{
	return cow_creds_permit(data, staged, W_OK);
}

/* fchmod(2) and the like refuse O_PATH descriptors. */
static bool is_path_only(const struct cow_target *t, int fd)
{
	long long position;
	int flags;

	return cow_target_fd_flags(t, fd, &flags, &position) == 0 && (flags & O_PATH) != 0;
}

/*
 * The target's descriptor `fd` is on what `now` is in the branch. Put on that it lets the kernel do the call itself;
 * where it cannot be, or the target knows it as O_PATH, the call is made in its stead.
 */
static int modify_by(struct cow_target *t, enum cow_call call, int fd, int now)
{
	struct stat st;

	if (fstat(now, &st) != 0)
		return cow_verdict_of(errno);
	/* With those that share its position, if that can be done. */
	if (S_ISDIR(st.st_mode) && cow_freshen(t, fd) == 0 && cow_quick_handle(t, fd))
		return COW_VERDICT_CONTINUE;
	/* It only names the file, and any descriptor will do for that. */
	if (call == COW_CALL_LANDLOCK_ADD_RULE || S_ISDIR(st.st_mode) ||
	    (S_ISREG(st.st_mode) && !is_path_only(t, fd))) {
		int verdict = cow_swap_fd(t, fd, now);

		if (verdict == 0)
			return COW_VERDICT_CONTINUE;
		/* Nobody can go there, or have a rule for it, in the target's stead. */
		if (verdict != -EACCES || call == COW_CALL_FCHDIR || call == COW_CALL_LANDLOCK_ADD_RULE)
			return verdict;
	}
	return cow_do_instead(t, call, now);
}

int cow_do_modify(struct cow_target *t, enum cow_call call, int dirfd, const char *path, bool follow)
{
	cleanup_location struct cow_location l = COW_LOCATION_NONE;
	cleanup_creds struct cow_creds creds = COW_CREDS_NONE;
	cleanup_close int now = -1;
	cow_copy_check check = call == COW_CALL_TRUNCATE ? may_write : NULL;
	int verdict;

	if (cow_resolve(t, dirfd, path, follow, &l) != 0 || l.object < 0 || !cow_needs_work(l.object_place))
		return COW_VERDICT_CONTINUE;
	if (l.slash && !S_ISDIR(l.st.st_mode))
		return COW_VERDICT_CONTINUE; /* ENOTDIR */
	verdict = cow_check_magic(t, dirfd, path, &l);
	if (verdict != 0)
		return cow_verdict_of(verdict);
	if (check != NULL && cow_creds_read(t, &creds) != 0)
		return -EACCES;
	verdict = cow_prepare_object(t, &l, false, check, &creds, &now);
	if (verdict != 0)
		return verdict;
	/* chmod("/proc/self/fd/N") is how C libraries change a file without following a link. The kernel would find
	   the old file by it. */
	if (l.magic)
		return l.handle >= 0 ? modify_by(t, call, l.handle, now) : cow_do_instead(t, call, now);
	return COW_VERDICT_CONTINUE;
}

int cow_do_modify_fd(struct cow_target *t, enum cow_call call, int fd, bool empty_path)
{
	cleanup_close int object = fd == AT_FDCWD ? cow_target_link(t, "cwd") : cow_target_fd(t, fd);
	cleanup_close int now = -1;
	enum cow_place_kind place;
	struct cow_tree *tree;
	struct stat st;
	int verdict;

	if (object < 0)
		return COW_VERDICT_CONTINUE;
	tree = cow_agent_place(t->agent, object, &place);
	if (cow_agent_is_bare(t->agent, object, place))
		return call == COW_CALL_FCHDIR || call == COW_CALL_LANDLOCK_ADD_RULE ? COW_VERDICT_CONTINUE : -EROFS;
	if (!cow_needs_work(place) || fstat(object, &st) != 0 || (!empty_path && fd >= 0 && is_path_only(t, fd)))
		return COW_VERDICT_CONTINUE;
	/* FIFOs and devices have no such command of their file system; on a graft they would say EROFS first. */
	if (call == COW_CALL_IOCTL && !S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return -ENOTTY;
	if (S_ISDIR(st.st_mode))
		verdict = cow_prepare_directory(t, tree, place, object, &now);
	else
		verdict = cow_prepare_file(t, tree, object, NULL, NULL, &now);
	if (verdict != 0)
		return verdict;
	return fd >= 0 ? modify_by(t, call, fd, now) : COW_VERDICT_CONTINUE;
}

/* The mode's verdict, as acl_permission_check() and capable_wrt_inode_uidgid() in the kernel: 0 or EACCES. */
static int judge(const struct cow_creds *c, const struct stat *st, int mode)
{
	int bits = (int)(st->st_mode & 7);

	if (c->fsuid == st->st_uid) {
		bits = (int)(st->st_mode >> 6 & 7);
	} else {
		bool member = c->fsgid == st->st_gid;

		for (size_t i = 0; i < c->ngroups && !member; i++)
			member = c->groups[i] == st->st_gid;
		if (member)
			bits = (int)(st->st_mode >> 3 & 7);
	}
	if ((mode & ~bits & 7) == 0)
		return 0;
	if ((c->caps & (1ULL << CAP_DAC_OVERRIDE)) == 0)
		return EACCES;
	return (mode & X_OK) == 0 || S_ISDIR(st->st_mode) || (st->st_mode & 0111) != 0 ? 0 : EACCES;
}

static bool has_acl(int object)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", object);
	return getxattr(path, "system.posix_acl_access", NULL, 0) > 0;
}

/*
 * Who asks with access(2) whether a file may be written to is an editor, mostly, and writes later. By then it may have
 * noted the file's inode, and refuse a file with another one: vim does, where it writes in place. So the copy is made
 * now, unless it is costly. A copy is no change, and the answer does not depend on it.
 */
static void copy_for_editor(struct cow_target *t, const struct cow_location *l, int flags)
{
	enum { LARGEST = 1 << 20 };

	if (S_ISREG(l->st.st_mode) && (flags & AT_EACCESS) == 0 && l->st.st_size <= LARGEST)
		(void)cow_prepare_object(t, l, false, NULL, NULL, NULL);
}

/* What access(2) asks about. 0, or an errno that is the kernel's to say. */
static int find_asked(struct cow_target *t, int dirfd, const char *path, int flags, struct cow_location *l)
{
	if (*path != '\0' || (flags & AT_EMPTY_PATH) == 0)
		return cow_resolve(t, dirfd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0, l);
	l->object = dirfd == AT_FDCWD ? cow_target_link(t, "cwd") : cow_target_fd(t, dirfd);
	if (l->object < 0 || fstat(l->object, &l->st) != 0)
		return EBADF;
	l->object_tree = cow_agent_place(t->agent, l->object, &l->object_place);
	return 0;
}

/* The file itself is asked, with everything that its file system has to say about it. */
static int ask_copy(struct cow_target *t, const struct cow_location *l, const struct cow_creds *creds, int mode)
{
	cleanup_close int now = -1;
	int verdict = cow_prepare_object(t, l, false, NULL, NULL, &now);

	return verdict != 0 ? verdict : cow_verdict_of(cow_creds_permit(creds, now, mode));
}

/* A graft says EROFS to W_OK. What would the file say if it were there? */
int cow_do_access(struct cow_target *t, int dirfd, const char *path, int mode, int flags)
{
	cleanup_location struct cow_location l = COW_LOCATION_NONE;
	cleanup_location struct cow_location way = COW_LOCATION_NONE;
	cleanup_creds struct cow_creds creds = COW_CREDS_NONE;
	cleanup_close int changed = -1;
	int error;

	if ((mode & W_OK) == 0 || find_asked(t, dirfd, path, flags, &l) != 0 || l.object < 0 ||
	    !cow_needs_work(l.object_place))
		return COW_VERDICT_CONTINUE;
	if (S_ISLNK(l.st.st_mode) && *path != '\0') {
		/* Of itself, which nobody can write; it is a real one as soon as its directory is. */
		error = cow_prepare_object(t, &l, false, NULL, NULL, NULL);
		return error == 0 ? COW_VERDICT_CONTINUE : error;
	}
	if (!S_ISDIR(l.st.st_mode) && !S_ISLNK(l.st.st_mode) && (!S_ISREG(l.st.st_mode) || l.slash))
		return COW_VERDICT_CONTINUE; /* FIFOs and devices are writable on a read-only mount; ENOTDIR */
	error = cow_creds_read(t, &creds);
	if (error == 0 && (flags & AT_EACCESS) == 0)
		cow_creds_use_real(&creds);
	if (error == 0 && *path != '\0')
		error = cow_resolve_as(t, &creds, dirfd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0, &way);
	changed = error == 0 ? cow_location_now(&l) : -1;
	if (changed >= 0)
		return cow_verdict_of(cow_creds_permit(&creds, changed, mode));
	if (error == 0)
		error = cow_creds_permit_lower(&creds, l.object, mode);
	if (error == 0 && has_acl(l.object))
		return ask_copy(t, &l, &creds, mode);
	if (error == 0)
		error = judge(&creds, &l.st, mode);
	if (error == 0)
		copy_for_editor(t, &l, flags);
	return cow_verdict_of(error);
}
