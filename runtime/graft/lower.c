#include "lower.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/fd.h"

/*
 * A mount's read-only flag can be cleared by anybody with CAP_SYS_ADMIN over the mount namespace (mount -o remount,
 * mount_setattr, open_tree_attr and whatever comes next), and a container may have that. But when a mount namespace is
 * copied into a less privileged user namespace the kernel locks such flags on the copies (mount_namespaces(7),
 * "Restrictions on mount namespaces"), and it keeps the lock when a locked mount is cloned, in whatever namespace the
 * clone ends up. So the tree takes a walk:
 *
 *   - a child process makes a mount namespace of its own and attaches the tree there,
 *   - makes a user namespace with one more mount namespace: the copies in it are locked,
 *   - clones the tree from there into a detached one and leaves that descriptor to us: the two share their table.
 *
 * From then on not even the host's root can make a graft writable; nothing needs to be trusted to remember that. The
 * nested mounts stay locked to their parents, so that none of them can be taken away to see what is beneath.
 */
enum lock_result { LOCK_DONE, LOCK_NO_NAMESPACE, LOCK_NO_ATTACH, LOCK_NO_USERNS, LOCK_NO_CLONE };

static enum lock_result walk(int tree)
{
	int locked;

	/* Private before anything is attached: the tree must not be propagated to the namespace that this one is a copy
	 * of. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return LOCK_NO_NAMESPACE;
	if (move_mount(tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 || fchdir(tree) < 0)
		return LOCK_NO_ATTACH;
	/* Only to leave less to copy; it cannot be done where the root is an initramfs. The working directory stays. */
	if (syscall(SYS_pivot_root, ".", ".") == 0)
		umount2(".", MNT_DETACH);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return LOCK_NO_USERNS;
	locked = open_tree(AT_FDCWD, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH);
	if (locked < 0 || dup3(locked, tree, O_CLOEXEC) < 0)
		return LOCK_NO_CLONE;
	close(locked);
	return LOCK_DONE;
}

/* 0 if it is locked now (*tree is another descriptor), 1 if there are no user namespaces, -1; then *tree is closed. */
static int lock_readonly(int *tree, struct cow_error **err)
{
	static const char *const what[] = {
		[LOCK_NO_NAMESPACE] = "no mount namespace",
		[LOCK_NO_ATTACH] = "the tree cannot be attached",
		[LOCK_NO_CLONE] = "the tree cannot be cloned",
	};
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	int status = 0;

	if (pid == 0)
		_exit(walk(*tree));
	if (pid < 0 || TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)) < 0) {
		cow_close_fd(tree);
		return cow_error_set(err, errno, "locking the lower's mounts");
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == LOCK_DONE)
		return 0;
	cow_close_fd(tree); /* it hung in the child's namespace, which is gone */
	if (WIFEXITED(status) && WEXITSTATUS(status) == LOCK_NO_USERNS)
		return 1;
	if (WIFEXITED(status) && WEXITSTATUS(status) <= LOCK_NO_CLONE)
		return cow_error_set(err, 0, "locking the lower's mounts: %s", what[WEXITSTATUS(status)]);
	return cow_error_set(err, 0, "locking the lower's mounts: the helper died (status %x)", (unsigned)status);
}

static int clone_readonly(const char *path, struct cow_error **err)
{
	cleanup_close int tree = open_tree(AT_FDCWD, path, AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	struct mount_attr change = {.attr_set = MOUNT_ATTR_RDONLY, .propagation = MS_PRIVATE};

	if (tree < 0)
		return cow_error_set(err, errno, "cloning the mount of %s", path);
	if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &change, sizeof(change)) < 0)
		return cow_error_set(err, errno, "mount_setattr on %s", path);
	return cow_steal_fd(&tree);
}

int cow_lower_clone(const char *path, bool *locked, struct cow_error **err)
{
	cleanup_close int tree = clone_readonly(path, err);
	int unlocked = tree < 0 ? -1 : lock_readonly(&tree, err);

	*locked = unlocked == 0;
	if (unlocked < 0)
		return -1;
	return *locked ? cow_steal_fd(&tree) : clone_readonly(path, err);
}
