/*
 * Where a graft is now, however its placeholder was renamed: the handle of the placeholder tells, or, where there are
 * no handles, the kernel, which knows the mount points (statmount(2), Linux 6.8).
 */
#include "internal.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/fd.h"

#ifndef SYS_statmount
#define SYS_statmount 457 /* the same on every architecture */
#endif

enum { WANT_MOUNT_POINT = 0x10, ROOM = 1 << 14 };

/* struct mnt_id_req and struct statmount of linux/mount.h, which Debian 12 does not have. */
struct request {
	uint32_t size, spare;
	uint64_t id, wanted;
};
struct answer {
	uint32_t size, options;
	uint64_t mask;
	uint64_t numbers[11]; /* device, magic, flags, ids, attributes, propagation */
	uint32_t root, point; /* offsets in text */
	uint64_t more[50];
	char text[];
};
_Static_assert(offsetof(struct answer, point) == 108 && offsetof(struct answer, text) == 512, "as in linux/mount.h");

/* The mount point as a path of the namespace that this thread is in. NULL with errno. Caller frees. */
static char *mount_point(uint64_t mount)
{
	struct request r = {.size = sizeof(r), .id = mount, .wanted = WANT_MOUNT_POINT};
	cleanup_free struct answer *a = malloc(ROOM);

	if (a == NULL || syscall(SYS_statmount, &r, a, ROOM, 0) != 0)
		return NULL;
	if ((a->mask & WANT_MOUNT_POINT) == 0) {
		errno = ENODATA;
		return NULL;
	}
	return strdup(a->text + a->point);
}

static char *by_mount(struct cow_tree *t, uint64_t mount)
{
	cleanup_free char *top = NULL;
	cleanup_free char *point = NULL;
	size_t len;

	if (cow_tree_enter(t) != 0)
		return NULL;
	top = mount_point(t->upper_mount);
	point = top == NULL ? NULL : mount_point(mount);
	cow_tree_leave(t);
	len = top == NULL ? 0 : strlen(top);
	if (point == NULL || strncmp(point, top, len) != 0 || point[len] != '/')
		return NULL;
	return strdup(point + len + 1);
}

bool cow_where_tells(struct cow_tree *t)
{
	cleanup_free char *top = NULL;

	if (t->handles)
		return true;
	if (__atomic_load_n(&t->where_tells, __ATOMIC_RELAXED) == COW_UNKNOWN && cow_tree_enter(t) == 0) {
		top = mount_point(t->upper_mount);
		cow_tree_leave(t);
		__atomic_store_n(&t->where_tells, top != NULL ? COW_YES : COW_NO, __ATOMIC_RELAXED);
	}
	return __atomic_load_n(&t->where_tells, __ATOMIC_RELAXED) == COW_YES;
}

char *cow_graft_where(struct cow_tree *t, uint64_t mount, const struct file_handle *placeholder)
{
	cleanup_close int fd = -1;

	if (placeholder == NULL)
		return by_mount(t, mount);
	fd = cow_handle_open(t->upper_by_handle, placeholder);
	return fd < 0 ? NULL : cow_tree_relative(t, fd);
}
