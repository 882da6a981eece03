/*
 * Handles instead of descriptors: a branch may have many thousand split directories, a process not nearly so many
 * descriptors. A handle names the inode, so it finds a directory or a placeholder wherever the container renamed it to,
 * and what was deleted is not found (ESTALE). Opened through a descriptor of the container's mount it leads to the
 * dentry itself, beneath whatever is mounted there.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/log.h"

struct file_handle *cow_handle_copy(const struct file_handle *h)
{
	struct file_handle *copy = malloc(sizeof(*h) + h->handle_bytes);

	if (copy == NULL)
		abort();
	return memcpy(copy, h, sizeof(*h) + h->handle_bytes);
}

struct file_handle *cow_handle_of(int fd)
{
	_Alignas(struct file_handle) char room[sizeof(struct file_handle) + MAX_HANDLE_SZ] = {0};
	struct file_handle *h = (struct file_handle *)room;
	int mount;

	h->handle_bytes = MAX_HANDLE_SZ;
	return name_to_handle_at(fd, "", h, &mount, AT_EMPTY_PATH) == 0 ? cow_handle_copy(h) : NULL;
}

int cow_handle_open(int mount, const struct file_handle *h)
{
	int fd = open_by_handle_at(mount, (struct file_handle *)h, O_PATH | O_CLOEXEC);

	if (fd < 0 && errno == ESTALE)
		errno = ENOENT;
	return fd;
}

static bool usable(int mount, int fd)
{
	cleanup_free struct file_handle *h = cow_handle_of(fd);
	cleanup_close int again = h == NULL ? -1 : cow_handle_open(mount, h);
	struct stat a;
	struct stat b;

	return again >= 0 && fstat(fd, &a) == 0 && fstat(again, &b) == 0 && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev && cow_mount_id(again) == cow_mount_id(fd);
}

/* A file in the stage, as placeholders and copies are made. */
static bool usable_for_files(const struct cow_tree *t)
{
	static const char name[] = "probe";
	cleanup_close int fd = openat(t->stage, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	bool can = fd >= 0 && usable(t->upper_by_handle, fd);

	unlinkat(t->stage, name, 0);
	return can;
}

/*
 * Not every file system has them, and opening by them asks for CAP_DAC_READ_SEARCH in the first user namespace. (In
 * others it is possible since Linux 6.11, for directories below a mount of one's own: that is too little.)
 */
void cow_handles_probe(struct cow_tree *t)
{
	t->upper_by_handle = openat(t->upper, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t->shadow_by_handle = openat(t->shadow, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t->handles = t->upper_by_handle >= 0 && t->shadow_by_handle >= 0 && usable(t->upper_by_handle, t->upper) &&
		     usable(t->shadow_by_handle, t->shadow) && usable_for_files(t);
	if (!t->handles)
		cow_log_info("%s: no file handles; descriptors are kept instead", t->workdir);
}
