/* Names made and taken away: mkdir, mknod, symlink, bind; unlink, rmdir. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../lib/fd.h"

static int proceed(int verdict)
{
	return verdict == 0 ? COW_VERDICT_CONTINUE : verdict;
}

/*
 * mkdir of a directory that exists is EEXIST, on a graft as well. Who asked means to work in it, and many look what it
 * is then, and once more afterwards (tar): it gets its new inode before they look.
 */
static int create_existing(struct cow_target *t, const struct cow_location *l, bool directory)
{
	if (directory && S_ISDIR(l->st.st_mode) && cow_needs_work(l->object_place))
		(void)cow_prepare_object(t, l, false, NULL, NULL, NULL);
	return COW_VERDICT_CONTINUE;
}

int cow_do_create(struct cow_target *t, int dirfd, const char *path, bool directory)
{
	cleanup_location struct cow_location l = COW_LOCATION_NONE;

	if (cow_resolve(t, dirfd, path, COW_NAME, &l) != 0)
		return COW_VERDICT_CONTINUE;
	if (l.object >= 0)
		return create_existing(t, &l, directory);
	return proceed(cow_prepare_parent(t, &l, NULL));
}

int cow_do_bind(struct cow_target *t, uint64_t address, uint64_t length)
{
	struct sockaddr_un sun = {.sun_family = AF_UNSPEC};
	char path[sizeof(sun.sun_path) + 1] = "";

	if (length <= offsetof(struct sockaddr_un, sun_path) || length > sizeof(sun))
		return COW_VERDICT_CONTINUE;
	if (cow_target_memory(t, address, &sun, length) != 0 || sun.sun_family != AF_UNIX || sun.sun_path[0] == '\0')
		return COW_VERDICT_CONTINUE;
	memcpy(path, sun.sun_path, length - offsetof(struct sockaddr_un, sun_path));
	return cow_do_create(t, AT_FDCWD, path, false);
}

/* On a graft the kernel looks at the mount before the name, so the errors that the name would give are given here. */
static int unlink_missing(const struct cow_target *t, const struct cow_location *l, int dirfd, const char *path)
{
	cleanup_creds struct cow_creds creds = COW_CREDS_NONE;
	cleanup_location struct cow_location as = COW_LOCATION_NONE;
	int error;

	if (!cow_needs_work(l->parent_place))
		return COW_VERDICT_CONTINUE;
	error = cow_creds_read(t, &creds);
	if (error == 0)
		error = cow_resolve_as(t, &creds, dirfd, path, COW_NAME, &as);
	return error == 0 ? -ENOENT : -error;
}

/* The errno for a file of the wrong kind, or 0. */
static int wrong_kind(const struct cow_location *l, bool directory)
{
	if (directory)
		return S_ISDIR(l->st.st_mode) ? 0 : ENOTDIR;
	return S_ISDIR(l->st.st_mode) ? EISDIR : 0;
}

struct removal {
	int dirfd;
	const char *path;
	bool directory; /* rmdir */
};

static int drop(struct cow_target *t, const struct cow_location *l, int parent, const struct removal *r)
{
	cleanup_creds struct cow_creds creds = COW_CREDS_NONE;
	int error = cow_creds_read(t, &creds);

	cow_freshen_way(t, l);
	/* Of a name alone the way is what is asked of `parent` next. */
	if (error == 0 && (l->handle >= 0 || strchr(r->path, '/') != NULL))
		error = cow_check_way(t, &creds, r->dirfd, r->path, parent);
	/* A slash at the end is judged before permission is. */
	if (error == 0 && !r->directory && l->slash)
		error = S_ISDIR(l->st.st_mode) ? EISDIR : ENOTDIR;
	if (error == 0)
		error = cow_creds_permit_delete(&creds, parent, &l->st);
	if (error == 0)
		error = wrong_kind(l, r->directory);
	if (error == 0)
		error = cow_tree_drop(l->object_tree, parent, l->name);
	return cow_verdict_of(error);
}

int cow_do_unlink(struct cow_target *t, int dirfd, const char *path, bool directory)
{
	cleanup_location struct cow_location l = COW_LOCATION_NONE;
	cleanup_close int parent = -1;
	struct removal removal = {dirfd, path, directory};
	int verdict;

	if (cow_resolve(t, dirfd, path, COW_NAME, &l) != 0 || l.parent < 0)
		return COW_VERDICT_CONTINUE;
	if (l.object < 0)
		return unlink_missing(t, &l, dirfd, path);
	if (!cow_needs_work(l.object_place))
		return COW_VERDICT_CONTINUE;
	verdict = cow_prepare_parent(t, &l, &parent);
	if (verdict != 0)
		return verdict;
	/* If the directory was real already, then what is in a graft there is that graft's root. */
	if ((l.parent_place != COW_PLACE_UPPER || l.object_place != COW_PLACE_GRAFT) &&
	    !cow_tree_is_grafted(l.object_tree, parent, l.name, NULL))
		return COW_VERDICT_CONTINUE;
	if (cow_sandboxed(t))
		return proceed(cow_prepare_object(t, &l, false, NULL, NULL, NULL));
	return drop(t, &l, parent, &removal);
}
