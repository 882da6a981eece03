/*
 * cowrun-agent: one per container. It holds the branch's lock, the trees, and the listeners; its workers answer
 * notifications.
 *
 * A notification goes: listener.c receives it, dispatch.c finds the family of the call, a handler in calls_*.c looks at
 * the target's arguments (target.c), resolves paths as the target would (resolve.c), lets the engine (runtime/graft)
 * prepare what the call needs, and *returns* a verdict, which dispatch.c sends: exactly one per notification. Handlers
 * that must act on behalf of the target do so with its credentials (creds.c).
 *
 * No verdict is a security decision: everything the agent lets the kernel go on with (CONTINUE) is judged by the kernel
 * again, on read-only mounts. What the agent does itself, it does on descriptors that it has resolved, never by a path
 * read twice.
 */
#pragma once

#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "../filter/filter.h"
#include "../graft/tree.h"
#include "../lib/error.h"
#include "stats.h"

/* Verdicts: -errno fails the call, 0 to COW_VERDICT_MAX is its result, and: */
enum {
	COW_VERDICT_MAX = 1 << 30,
	COW_VERDICT_CONTINUE, /* the kernel goes on with it */
	COW_VERDICT_SENT,     /* answered already, by a descriptor (ADDFD with SEND) */
};

struct cow_agent {
	char *state;               /* KEY directory */
	char *id;                  /* the container's */
	struct cow_branch *branch; /* locked */
	struct cow_tree *trees[COW_BRANCH_TREES];
	size_t ntrees;                /* 0 until the hook attached */
	int lowers[COW_BRANCH_TREES]; /* their mounts, for the hook to attach (graft/lower.h); -1 */
	bool locked;                  /* all of them */
	struct cow_error *no_lower;   /* why there are none */
	size_t mounts;                /* that the trees may have (graft/tree.h: cow_tree_limit); 0: the default */
	int host_ns, container_ns;
	int ruleset;          /* Landlock, or -1 */
	int proc;             /* O_PATH on the host's /proc */
	atomic_int root;      /* quick.c: the container's, O_PATH; or negative */
	pthread_mutex_t lock; /* guards what follows and the attach */
	pthread_cond_t attached;
	bool ready;
	atomic_bool sandboxed; /* a program has Landlock rules of its own: see calls_landlock.c */
	atomic_bool stop;
	struct cow_stats stats;
};

/* Lives as long as a worker does. */
struct cow_listener {
	struct cow_agent *agent;
	int fd;
	bool must_poll;
	pthread_mutex_t receive;         /* the leader's */
	bool over;                       /* guarded by it */
	atomic_int workers, waiting;     /* threads; those of them that lead or wait to lead */
	bool landlock_given, restricted; /* guarded by agent->lock */
	unsigned cpus;                   /* that there are for the agent */
	bool busy;                       /* all are at work; guarded by `receive`, too */
	int64_t looked;                  /* when that was looked at: monotonic nanoseconds */
};

/* What resolve.c notes of the paths of a call. */
struct cow_ways {
	size_t count;
	int fds[2]; /* the target's own descriptors that they led through (/proc/self/fd/N/…) */
	bool bare;  /* one ended at a placeholder without its graft, or in one: cow_agent_is_bare() */
};

/* One notification being served by one worker. */
struct cow_target {
	struct cow_agent *agent;
	struct cow_listener *listener;
	uint64_t id;
	pid_t tid; /* in the agent's pid namespace */
	uint32_t arch;
	int nr;
	uint64_t args[6];
	int dir;               /* O_PATH on /proc/TID, so that a reused pid is never taken for it */
	bool leading;          /* this worker still holds agent->receive */
	bool split;            /* directories were split for it */
	uint64_t who;          /* cow_target_who() */
	struct cow_ways *ways; /* for dispatch.c; NULL: not asked for */
};

/* target.c: the process behind a notification. errno values, or descriptors/-1 with errno. */
/*
 * /proc/TID, then checks that the notification is still valid: then what was read of the process before was its own,
 * too. Memory and strings need no open.
 */
int cow_target_open(struct cow_target *t);
void cow_target_close(struct cow_target *t);
bool cow_target_valid(const struct cow_target *t);
int cow_target_string(const struct cow_target *t, uint64_t address, char *out, size_t room);
int cow_target_memory(const struct cow_target *t, uint64_t address, void *out, size_t size);
int cow_target_fd(const struct cow_target *t, int fd);             /* what its descriptor points to, O_PATH */
int cow_target_link(const struct cow_target *t, const char *name); /* "cwd", "root" */
/* A number for the thread that no other one has or had, or 0. */
uint64_t cow_target_who(struct cow_target *t);
/*
 * Is `name` of that directory its own process's below /proc: self, thread-self, or its number there? Whatever pid
 * namespace the agent is in.
 */
bool cow_target_is_at(const struct cow_target *t, int dir, const char *name);
bool cow_on_procfs(int fd);
bool cow_target_alone(const struct cow_target *t);                   /* the only thread of its process */
bool cow_target_same_file(const struct cow_target *t, int a, int b); /* two descriptors of one open file description? */
/* RLIMIT_FSIZE or RLIMIT_NOFILE as it holds for it now. 0 or an errno. */
int cow_target_limit(const struct cow_target *t, int resource, rlim_t *limit);
int cow_target_fd_flags(const struct cow_target *t, int fd, int *flags, long long *position);
/* Puts srcfd in the target's table: at `at` (replacing), or as the call's result when send is true. Result or -errno.
 */
int cow_target_replace_fd(const struct cow_target *t, int srcfd, int at, bool cloexec);
int cow_target_send_fd(const struct cow_target *t, int srcfd, bool cloexec);

/* creds.c. Ids are numbers of the agent's user namespace, whatever namespace the target is in. */
struct cow_id_map {
	struct cow_id_range {
		unsigned inside, outside, count;
	} * ranges;
	size_t count;
};
struct cow_creds {
	uid_t fsuid;
	gid_t fsgid;
	uint64_t caps, permitted; /* in the target's user namespace */
	size_t ngroups;
	gid_t *groups;
	uid_t uid;
	gid_t gid;
	int userns; /* the target's user namespace, if it is another than the agent's; or -1 */
	struct cow_id_map uids, gids;
};
#define COW_CREDS_NONE ((struct cow_creds){.userns = -1})
/*
 * Has every user and group an id in the agent's user namespace? If not, those that have none (keep-groups) look as if
 * they were this one, which cannot be set.
 */
enum { COW_OVERFLOW_ID = 65534 };
bool cow_creds_all_have_ids(void);
int cow_creds_read(const struct cow_target *t, struct cow_creds *c); /* 0 or errno */
void cow_creds_forget(void); /* when a worker ends: what it keeps for the next time */
/* Of the process (thread) whose directory in `proc` is `process`; that it still is that one is for the caller to see.
 */
int cow_creds_of(int process, int proc, struct cow_creds *c);
void cow_creds_free(struct cow_creds *c);
/* As access(2) asks: with the real ids, and with no capabilities but root's. */
void cow_creds_use_real(struct cow_creds *c);
/*
 * wear.c: does `what` as the target would be judged by the kernel: its ids, groups, capabilities and user namespace.
 * Its result, which is to be 0 or an errno; or an errno. `what` is to be short and to do nothing but system calls on
 * descriptors and memory: in another user namespace a child that shares both does it.
 */
int cow_creds_run(const struct cow_creds *c, int (*what)(void *data), void *data);
/* May they? `mask` of access(2) on what fd (O_PATH will do) is on, on a mount that is writable. 0 or an errno. */
int cow_creds_permit(const struct cow_creds *c, int fd, int mask);
/*
 * The same for a lower object: what would hold if its mount were writable. On a file system that is read-only as a
 * whole the kernel looks no further, and 0 says nothing.
 */
int cow_creds_permit_lower(const struct cow_creds *c, int fd, int mask);
/* Is a file with these attributes theirs, or may they do as if it were (CAP_FOWNER)? */
bool cow_creds_owns(const struct cow_creds *c, const struct stat *st);
/* May they remove or replace `entry` of `dir`? As may_delete() in the kernel. 0 or an errno. */
int cow_creds_permit_delete(const struct cow_creds *c, int dir, const struct stat *entry);
#define cleanup_creds __attribute__((cleanup(cow_creds_free)))

/* resolve.c */
struct cow_location {
	int parent; /* O_PATH directory that holds `name`, or -1 (a magic link, or the path ends in "." or "/" only) */
	int object; /* O_PATH, or -1: no such name */
	char name[256];
	bool slash; /* the path ended in a slash */
	bool magic; /* the object was reached through a procfs magic link */
	int handle; /* the target's own descriptor that such a link on the way named (/proc/self/fd/N), or -1 */
	bool dots;  /* last component "." or ".." */
	bool halt;  /* cow_resolve_within() only: the walk ended before this symbolic link, whose directory is not real
		     */
	struct stat st;
	struct cow_tree *parent_tree, *object_tree;
	enum cow_place_kind parent_place, object_place;
};
/* The last component, if it is a symbolic link. (Booleans will do for the first two.) */
enum cow_follow {
	COW_NO_FOLLOW, /* but before a slash */
	COW_FOLLOW,
	COW_NAME, /* not even before a slash: calls that make, move and take away names */
};
/*
 * Resolves as the target would. 0 (object may be -1), or errno: then the kernel will find the same error itself.
 * `as`: with these credentials, for what the kernel will not look at again; NULL: with the agent's.
 */
int cow_resolve_as(const struct cow_target *t, const struct cow_creds *as, int dirfd, const char *path,
		   enum cow_follow follow, struct cow_location *l);
static inline int cow_resolve(const struct cow_target *t, int dirfd, const char *path, enum cow_follow follow,
			      struct cow_location *l)
{
	return cow_resolve_as(t, NULL, dirfd, path, follow, l);
}
/*
 * The same with flags of openat2(2): with RESOLVE_IN_ROOT `dirfd` is the root for the walk; with RESOLVE_NO_XDEV it
 * halts at a symbolic link in a directory that is still a graft.
 */
int cow_resolve_within(const struct cow_target *t, int dirfd, const char *path, uint64_t resolve,
		       enum cow_follow follow, struct cow_location *l);
/*
 * Does `path` lead its own user to an entry of the directory `parent`? For what is done on his behalf there: the kernel
 * will not walk it again. 0, an errno, or ESTALE: it leads elsewhere by now.
 */
int cow_check_way(const struct cow_target *t, const struct cow_creds *creds, int dirfd, const char *path, int parent);
/* Does `path` lead its own user to `object`? Likewise. */
int cow_check_object(const struct cow_target *t, const struct cow_creds *creds, int dirfd, const char *path,
		     enum cow_follow follow, int object);
/*
 * If `l`, which `path` led to, was reached by another process's magic link (/proc/PID/fd/N): may the target look there?
 * What is acted on in its stead the kernel would not ask again. 0, an errno, or ESTALE.
 */
int cow_check_magic(const struct cow_target *t, int dirfd, const char *path, const struct cow_location *l);
void cow_location_close(struct cow_location *l);
/* What a STALE object was changed to since it was opened: new O_PATH descriptor, or -1 if nothing is real of it yet. */
int cow_location_now(const struct cow_location *l);
#define cleanup_location __attribute__((cleanup(cow_location_close)))

/* What a variable with cleanup_location must be from the start: the way to cow_resolve may return before it. */
#define COW_LOCATION_NONE ((struct cow_location){.parent = -1, .object = -1, .handle = -1})
struct cow_tree *cow_agent_place(const struct cow_agent *a, int fd, enum cow_place_kind *kind);
/* With Landlock on nobody can have such mounts. */
bool cow_agent_is_bare(const struct cow_agent *a, int fd, enum cow_place_kind kind);

/* quick.c: before cow_target_open. */
/*
 * True: what the path leads to, and if there is nothing the directory it would be in, needs no work, and the handle is
 * not stale. False: perhaps. `follow`: the call follows a symbolic link at its end.
 */
bool cow_quick_path(const struct cow_target *t, int dirfd, const char *path, bool follow);
/* What a descriptor is on needs no work. */
bool cow_quick_fd(const struct cow_target *t, int fd);
/* A descriptor is not stale. */
bool cow_quick_handle(const struct cow_target *t, int fd);
/* A program is about to give itself another root, or to change what others may come to have for one. */
void cow_quick_root_moves(struct cow_agent *a);
/* Can there be stale descriptors at all? */
bool cow_agent_has_stale(const struct cow_agent *a);

/* handles.c: descriptors of the target that are stale. -errno or 0. */
int cow_freshen(struct cow_target *t, int fd);
/* The one that the way to a location begins at, if any: by itself the process would not find what the agent did. */
void cow_freshen_way(struct cow_target *t, const struct cow_location *l);
void cow_freshen_all(struct cow_target *t); /* its directories, where that can be done */
int cow_swap_fd(struct cow_target *t, int fd, int object);
/* reading.c: lets a reading of directory `old` that came as far as `position` go on in `fresh`. */
void cow_reading_carry(int old, long long position, int fresh);

/* prepare.c: makes the branch ready for a call. They let go of receiving first (cow_stop_leading). 0 or -errno. */
/* The directory is real; a descriptor on it in *real unless that is NULL. Nothing to do outside the trees. */
int cow_prepare_directory(struct cow_target *t, struct cow_tree *tree, enum cow_place_kind place, int fd, int *real);
int cow_prepare_parent(struct cow_target *t, const struct cow_location *l, int *real);
/* The object of `l`, which lies in a tree: directories real, files copied up. *now, unless NULL: what is there then. */
int cow_prepare_object(struct cow_target *t, const struct cow_location *l, bool truncate, cow_copy_check check,
		       void *data, int *now);
/* The same for a file that is known by a descriptor only. */
int cow_prepare_file(struct cow_target *t, struct cow_tree *tree, int fd, cow_copy_check check, void *data, int *now);
/* An errno of the engine as a verdict: the ones that a program expects of a file system, EIO for all others. */
int cow_verdict_of(int error);
static inline bool cow_needs_work(enum cow_place_kind place)
{
	return place == COW_PLACE_GRAFT || place == COW_PLACE_STALE;
}

/* calls_*.c, a handler a family; args by position as in the system call's manual page. -ESTALE: once more, please. */
struct cow_opening {
	uint64_t flags;
	bool plain;       /* open, openat, creat: no RESOLVE_* flags that could fail it later */
	uint64_t resolve; /* those */
	mode_t mode;
};
int cow_do_open(struct cow_target *t, int dirfd, const char *path, const struct cow_opening *o);
/* The open of ".." by which walkers go up; they then compare what they have opened with what they remember. */
bool cow_is_way_up(const struct cow_opening *o, const char *path);
int cow_do_create(struct cow_target *t, int dirfd, const char *path, bool directory);
int cow_do_unlink(struct cow_target *t, int dirfd, const char *path, bool directory);
int cow_do_rename(struct cow_target *t, int olddir, const char *old, int newdir, const char *new, unsigned flags);
int cow_do_link(struct cow_target *t, int olddir, const char *old, int newdir, const char *new, int flags);
int cow_do_modify(struct cow_target *t, enum cow_call call, int dirfd, const char *path, bool follow);
/* empty_path: named by AT_EMPTY_PATH, so that O_PATH descriptors count too. */
int cow_do_modify_fd(struct cow_target *t, enum cow_call call, int fd, bool empty_path);
/* instead.c: the target's change of attributes, made on `object` (O_PATH) in its stead. */
int cow_do_instead(const struct cow_target *t, enum cow_call call, int object);
int cow_do_ioctl(struct cow_target *t);
int cow_do_access(struct cow_target *t, int dirfd, const char *path, int mode, int flags);
/* chdir, chroot */
int cow_do_enter(struct cow_target *t, int dirfd, const char *path, bool follow);
int cow_do_fchdir(struct cow_target *t, int fd); /* also fcntl(F_NOTIFY) */
int cow_do_fanotify_mark(struct cow_target *t);
int cow_do_landlock_rule(struct cow_target *t);
int cow_do_mount(struct cow_target *t, const char *target);
int cow_do_move_mount(struct cow_target *t, int from, const char *source, int to, const char *target);
int cow_do_open_tree(struct cow_target *t, int dirfd, const char *path);
int cow_do_umount(struct cow_target *t, const char *path);
int cow_do_pivot_root(struct cow_target *t, const char *put_old);
int cow_do_watch(struct cow_target *t, const char *path, uint32_t mask);
int cow_do_bind(struct cow_target *t, uint64_t address, uint64_t length);
int cow_do_landlock(struct cow_target *t);
int cow_do_landlock_restrict(struct cow_target *t);
/* Must the kernel itself do what the agent otherwise does in a process's stead? */
static inline bool cow_sandboxed(const struct cow_target *t)
{
	return atomic_load(&t->agent->sandboxed);
}

/* dispatch.c: the whole way of one notification but for the answer. A verdict. */
int cow_dispatch(struct cow_target *t);
/* listener.c */
enum { COW_LISTENER_WORKERS = 16 };
/* Takes fd, and serves it from now on. */
int cow_listener_add(struct cow_agent *a, int fd, struct cow_error **err);
/* Before something slow: another worker takes over receiving. */
void cow_stop_leading(struct cow_target *t);
/* sockets.c: agent.sock, init.sock and control.sock, served by the main thread until the container is gone. */
struct cow_sockets {
	int agent, init, control;
};
int cow_serve_sockets(struct cow_agent *a, const struct cow_sockets *s, struct cow_error **err);
/*
 * control.c: one packet of control.sock with its descriptors, which belong to it now. The answer (caller frees), and in
 * *give, COW_BRANCH_TREES long, *ngive descriptors to send with it, which stay the agent's.
 */
char *cow_control(struct cow_agent *a, const char *packet, size_t size, int *fds, size_t nfds, int *give,
		  size_t *ngive);
/* Clones the lowers, before the hook asks for them. */
void cow_control_prepare(struct cow_agent *a);
