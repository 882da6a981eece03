#include "request.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>

/* Arguments by position; -1: it has none. */
struct shape {
	int8_t dir, path;   /* the first path and what it is relative to */
	int8_t dir2, path2; /* the second */
	int8_t flags;       /* AT_* flags, or open flags */
};

#define P(p)                                                                                                           \
	{                                                                                                              \
		-1, p, -1, -1, -1                                                                                      \
	}
#define DP(d, p)                                                                                                       \
	{                                                                                                              \
		d, p, -1, -1, -1                                                                                       \
	}
#define DPF(d, p, f)                                                                                                   \
	{                                                                                                              \
		d, p, -1, -1, f                                                                                        \
	}
#define NOTHING                                                                                                        \
	{                                                                                                              \
		-1, -1, -1, -1, -1                                                                                     \
	}

static const struct shape shapes[COW_CALL_COUNT] = {
	[COW_CALL_NONE] = NOTHING,
	[COW_CALL_OPEN] = {-1, 0, -1, -1, 1},
	[COW_CALL_OPENAT] = DPF(0, 1, 2),
	[COW_CALL_OPENAT2] = DP(0, 1),
	[COW_CALL_CREAT] = P(0),
	[COW_CALL_MKDIR] = P(0),
	[COW_CALL_MKDIRAT] = DP(0, 1),
	[COW_CALL_MKNOD] = P(0),
	[COW_CALL_MKNODAT] = DP(0, 1),
	[COW_CALL_UNLINK] = P(0),
	[COW_CALL_UNLINKAT] = DPF(0, 1, 2),
	[COW_CALL_RMDIR] = P(0),
	[COW_CALL_RENAME] = {-1, 0, -1, 1, -1},
	[COW_CALL_RENAMEAT] = {0, 1, 2, 3, -1},
	[COW_CALL_RENAMEAT2] = {0, 1, 2, 3, 4},
	[COW_CALL_LINK] = {-1, 0, -1, 1, -1},
	[COW_CALL_LINKAT] = {0, 1, 2, 3, 4},
	[COW_CALL_SYMLINK] = P(1),
	[COW_CALL_SYMLINKAT] = DP(1, 2),
	[COW_CALL_TRUNCATE] = P(0),
	[COW_CALL_CHMOD] = P(0),
	[COW_CALL_FCHMOD] = NOTHING,
	[COW_CALL_FCHMODAT] = DP(0, 1),
	[COW_CALL_FCHMODAT2] = DPF(0, 1, 3),
	[COW_CALL_CHOWN] = P(0),
	[COW_CALL_LCHOWN] = P(0),
	[COW_CALL_FCHOWN] = NOTHING,
	[COW_CALL_FCHOWNAT] = DPF(0, 1, 4),
	[COW_CALL_UTIME] = P(0),
	[COW_CALL_UTIMES] = P(0),
	[COW_CALL_FUTIMESAT] = DP(0, 1),
	[COW_CALL_UTIMENSAT] = DPF(0, 1, 3),
	[COW_CALL_UTIMENSAT_TIME64] = DPF(0, 1, 3),
	[COW_CALL_SETXATTR] = P(0),
	[COW_CALL_LSETXATTR] = P(0),
	[COW_CALL_FSETXATTR] = NOTHING,
	[COW_CALL_SETXATTRAT] = DPF(0, 1, 2),
	[COW_CALL_REMOVEXATTR] = P(0),
	[COW_CALL_LREMOVEXATTR] = P(0),
	[COW_CALL_FREMOVEXATTR] = NOTHING,
	[COW_CALL_REMOVEXATTRAT] = DPF(0, 1, 2),
	[COW_CALL_FILE_SETATTR] = DPF(0, 1, 4),
	[COW_CALL_IOCTL] = NOTHING,
	[COW_CALL_ACCESS] = P(0),
	[COW_CALL_FACCESSAT] = DP(0, 1),
	[COW_CALL_FACCESSAT2] = DPF(0, 1, 3),
	[COW_CALL_CHDIR] = P(0),
	[COW_CALL_FCHDIR] = NOTHING,
	[COW_CALL_CHROOT] = P(0),
	[COW_CALL_STATAT] = {0, -1, -1, -1, -1},
	[COW_CALL_READAT] = {0, -1, -1, -1, -1},
	[COW_CALL_BIND] = NOTHING,
	[COW_CALL_SOCKETCALL] = NOTHING,
	[COW_CALL_INOTIFY_ADD_WATCH] = P(1),
	[COW_CALL_FANOTIFY_MARK] = NOTHING,
	[COW_CALL_FCNTL] = NOTHING,
	[COW_CALL_LANDLOCK_CREATE_RULESET] = NOTHING,
	[COW_CALL_LANDLOCK_ADD_RULE] = NOTHING,
	[COW_CALL_LANDLOCK_RESTRICT_SELF] = NOTHING,
	[COW_CALL_MOUNT] = P(1),
	[COW_CALL_MOVE_MOUNT] = {0, 1, 2, 3, -1},
	[COW_CALL_OPEN_TREE] = DP(0, 1),
	[COW_CALL_UMOUNT] = P(0),
	[COW_CALL_PIVOT_ROOT] = P(1),
};

static int handle_at(const struct cow_target *t, int8_t position)
{
	return position < 0 ? AT_FDCWD : (int)t->args[position];
}

static int read_open_how(const struct cow_target *t, struct cow_request *r)
{
	struct open_how how;

	if (t->args[3] < sizeof(how) || cow_target_memory(t, t->args[2], &how, sizeof(how)) != 0)
		return EFAULT;
	r->opening.flags = how.flags;
	r->opening.resolve = how.resolve;
	r->opening.plain = false;
	return 0;
}

bool cow_request_opens_to_read(const struct cow_request *r)
{
	return (r->opening.flags & (O_ACCMODE | O_CREAT | O_TRUNC)) == 0;
}

/* Opens that neither write nor create go on whatever their path is, unless it is a walker's way up. */
static bool path_matters(const struct cow_request *r)
{
	if (r->call != COW_CALL_OPENAT && r->call != COW_CALL_OPEN &&
	    (r->call != COW_CALL_OPENAT2 || (r->opening.resolve & RESOLVE_NO_XDEV) != 0))
		return true;
	return !cow_request_opens_to_read(r) || (r->dir >= 0 && cow_is_way_up(&r->opening, ".."));
}

static int read_paths(const struct cow_target *t, const struct shape *s, struct cow_request *r)
{
	int error = 0;

	r->path[0] = r->path2[0] = '\0';
	if (s->path >= 0 && t->args[s->path] == 0)
		r->no_path = true;
	else if (s->path >= 0 && path_matters(r))
		error = cow_target_string(t, t->args[s->path], r->path, sizeof(r->path));
	if (error == 0 && s->path2 >= 0)
		error = cow_target_string(t, t->args[s->path2], r->path2, sizeof(r->path2));
	return error;
}

int cow_call_read(const struct cow_target *t, struct cow_request *r)
{
	const struct shape *s = &shapes[r->call];

	r->has_path = s->path >= 0;
	r->has_path2 = s->path2 >= 0;
	r->dir = handle_at(t, s->dir);
	r->dir2 = handle_at(t, s->dir2);
	r->flags = s->flags < 0 ? 0 : (int)t->args[s->flags];
	r->mode = r->call == COW_CALL_ACCESS ? (int)t->args[1] : (int)t->args[2];
	r->no_path = false;
	r->opening = (struct cow_opening){.plain = true};
	r->opening.flags = r->call == COW_CALL_CREAT ? O_CREAT | O_WRONLY | O_TRUNC : (uint64_t)(uint32_t)r->flags;
	if (r->call == COW_CALL_OPENAT2 && read_open_how(t, r) != 0)
		return EFAULT;
	return read_paths(t, s, r);
}

bool cow_request_looks_only(const struct cow_request *r)
{
	switch (r->call) {
	case COW_CALL_STATAT:
	case COW_CALL_READAT:
		return true;
	case COW_CALL_FACCESSAT:
	case COW_CALL_FACCESSAT2:
		return (r->mode & W_OK) == 0;
	case COW_CALL_OPENAT:
	case COW_CALL_OPENAT2:
		return cow_request_opens_to_read(r);
	default:
		return false;
	}
}

bool cow_request_only_reads(const struct cow_request *r)
{
	return r->call == COW_CALL_STATAT || r->call == COW_CALL_READAT ||
	       (r->call == COW_CALL_OPENAT && cow_request_opens_to_read(r) && !cow_is_way_up(&r->opening, r->path));
}

bool cow_request_changes(const struct cow_request *r)
{
	switch (r->call) {
	case COW_CALL_OPEN:
	case COW_CALL_OPENAT:
	case COW_CALL_OPENAT2:
		return !cow_request_opens_to_read(r);
	case COW_CALL_ACCESS:
	case COW_CALL_FACCESSAT:
	case COW_CALL_FACCESSAT2:
		return (r->mode & W_OK) != 0;
	case COW_CALL_CHDIR:
	case COW_CALL_CHROOT:
	case COW_CALL_STATAT:
	case COW_CALL_READAT:
	case COW_CALL_INOTIFY_ADD_WATCH:
	case COW_CALL_FANOTIFY_MARK:
		return false;
	default:
		return !cow_request_is_about_mounts(r) && r->call != COW_CALL_PIVOT_ROOT;
	}
}

bool cow_request_follows(const struct cow_request *r)
{
	switch (r->call) {
	case COW_CALL_MKDIR:
	case COW_CALL_MKDIRAT:
	case COW_CALL_MKNOD:
	case COW_CALL_MKNODAT:
	case COW_CALL_UNLINK:
	case COW_CALL_UNLINKAT:
	case COW_CALL_RMDIR:
	case COW_CALL_RENAME:
	case COW_CALL_RENAMEAT:
	case COW_CALL_RENAMEAT2:
	case COW_CALL_SYMLINK:
	case COW_CALL_SYMLINKAT:
	case COW_CALL_LCHOWN:
	case COW_CALL_LSETXATTR:
	case COW_CALL_LREMOVEXATTR:
		return false;
	case COW_CALL_FCHOWNAT:
	case COW_CALL_UTIMENSAT:
	case COW_CALL_UTIMENSAT_TIME64:
		return (r->flags & AT_SYMLINK_NOFOLLOW) == 0;
	default:
		return true;
	}
}

bool cow_request_is_about_descriptor(const struct cow_target *t, const struct cow_request *r)
{
	char first[2] = "";

	if (r->call == COW_CALL_STATAT || r->call == COW_CALL_READAT)
		return t->args[1] == 0 || (cow_target_memory(t, t->args[1], first, 1) == 0 && *first == '\0');
	return r->no_path || (r->has_path && r->path[0] == '\0' && (r->flags & AT_EMPTY_PATH) != 0);
}

bool cow_request_is_about_mounts(const struct cow_request *r)
{
	return r->call == COW_CALL_MOUNT || r->call == COW_CALL_MOVE_MOUNT || r->call == COW_CALL_OPEN_TREE ||
	       r->call == COW_CALL_UMOUNT;
}

int cow_request_changed_fd(const struct cow_target *t, const struct cow_request *r)
{
	switch (r->call) {
	case COW_CALL_FCHMOD:
	case COW_CALL_FCHOWN:
	case COW_CALL_FSETXATTR:
	case COW_CALL_FREMOVEXATTR:
		return (int)t->args[0];
	case COW_CALL_UTIMENSAT:
		return r->no_path ? r->dir : -1;
	default:
		return -1;
	}
}

bool cow_request_moves_roots(enum cow_call call)
{
	return call == COW_CALL_CHROOT || call == COW_CALL_PIVOT_ROOT || call == COW_CALL_MOUNT ||
	       call == COW_CALL_MOVE_MOUNT;
}
