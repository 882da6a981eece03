/*
 * Copying a file ahead of time, in the place of a graft. To the branch it is a copy-up like any other, with its record
 * in the journal: as long as nothing is changed in it a diff shows nothing.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../lib/fd.h"

enum { AT_ONCE = 64 << 10 };

/* In two calls, where a file is small and has no holes. 1: done, 0: not such a one, -1 with errno. */
static int copy_small(int from, int to, const struct stat *st, uint64_t *copied)
{
	static __thread char buf[AT_ONCE];
	ssize_t n;

	if (st->st_size > AT_ONCE || (off_t)st->st_blocks * 512 < st->st_size)
		return 0;
	n = pread(from, buf, sizeof(buf), 0);
	if (n < 0 || n == AT_ONCE)
		return n < 0 ? -1 : 0;
	*copied += (uint64_t)n;
	return n == 0 || cow_write_all(to, buf, (size_t)n) == 0 ? 1 : -1;
}

int cow_tree_copy_content(struct cow_tree *t, int from, int to, const struct stat *st, uint64_t *copied)
{
	int small;

	/* One try tells whether the file systems share blocks: then that is the cheapest, also of space. */
	if (st->st_size > 0 && !t->no_clones) {
		if (ioctl(to, FICLONE, from) == 0)
			return 0;
		t->no_clones = errno == EOPNOTSUPP || errno == ENOTTY || errno == EXDEV;
	}
	small = copy_small(from, to, st, copied);
	if (small != 0)
		return small < 0 ? -1 : 0;
	return cow_copy_content(from, to, st->st_size, copied);
}

/* As cow_copy_attributes(), for descriptors that are none of O_PATH, and mostly without extended attributes. */
static int copy_attributes(int from, int to, const struct stat *st)
{
	struct timespec times[2] = {st->st_atim, st->st_mtim};

	if (flistxattr(from, NULL, 0) > 0) {
		if (cow_copy_attributes(from, to, st) != 0)
			return -1;
	} else if (((st->st_uid != 0 || st->st_gid != 0) && cow_copy_owner(to, "", st) != 0) ||
		   fchmod(to, st->st_mode & 07777) != 0) {
		return -1;
	}
	return futimens(to, times);
}

/* Does a change show in the change time that is made right after somebody looked at it? Since Linux 6.13. */
static bool times_are_fine(int dir, const char *name)
{
	cleanup_close int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct stat before = {0};
	struct stat after = {0};
	bool fine = fd >= 0 && fstat(fd, &before) == 0;

	for (int i = 0; fine && i < 8; i++, before = after)
		fine = fchmod(fd, 0600) == 0 && fstat(fd, &after) == 0 &&
		       (after.st_ctim.tv_sec != before.st_ctim.tv_sec ||
			after.st_ctim.tv_nsec != before.st_ctim.tv_nsec);
	if (fd >= 0)
		unlinkat(dir, name, 0);
	return fine;
}

/*
 * Does every change of a file show in its change time? Writing through a mapping leaves it as it is on some file
 * systems, tmpfs among them. Asked once.
 */
static bool times_tell(struct cow_tree *t)
{
	cleanup_free char *name = NULL;
	struct statfs fs;

	if (t->times_tell == COW_UNKNOWN) {
		name = cow_stage_name(t, 'h');
		t->times_tell = fstatfs(t->stage, &fs) == 0 &&
						(fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC ||
						 fs.f_type == BTRFS_SUPER_MAGIC) &&
						times_are_fine(t->stage, name)
					? COW_YES
					: COW_NO;
	}
	return t->times_tell == COW_YES;
}

static int record(struct cow_tree *t, int upper, struct cow_entry *entry)
{
	struct cow_journal_copy rec = {.lower = entry->path};
	struct stat st;
	int error;

	if (cow_ident_of(upper, &rec.upper) != 0 || fstat(upper, &st) != 0)
		return -1;
	entry->ident = rec.upper;
	/* At an attach it is still to be renamed. */
	if (t->attached && times_tell(t)) {
		rec.ctime_sec = st.st_ctim.tv_sec;
		rec.ctime_nsec = (uint32_t)st.st_ctim.tv_nsec;
	}
	cow_lower_stamp_of(&rec.stamp, &entry->st);
	pthread_mutex_lock(&t->journal_lock);
	error = cow_journal_add_copy(t->journal, &rec);
	pthread_mutex_unlock(&t->journal_lock);
	return error;
}

static int fill(struct cow_tree *t, int lower, int upper, struct cow_entry *entry)
{
	uint64_t copied = 0;

	if (cow_tree_copy_content(t, lower, upper, &entry->st, &copied) != 0 ||
	    copy_attributes(lower, upper, &entry->st) != 0)
		return -1;
	__atomic_add_fetch(&t->stats.copied_bytes, copied, __ATOMIC_RELAXED);
	if (record(t, upper, entry) != 0)
		return -1;
	if (t->handles)
		entry->handle = cow_handle_of(upper);
	entry->hydrated = true;
	__atomic_add_fetch(&t->stats.hydrated, 1, __ATOMIC_RELAXED);
	return 0;
}

int cow_hydrate(struct cow_tree *t, int lower, int dir, const char *name, struct cow_entry *entry)
{
	cleanup_close int upper = -1;

	/* Before the content: what the host writes meanwhile is then newer than the stamp. */
	if (fstat(lower, &entry->st) != 0)
		return -1;
	if (!S_ISREG(entry->st.st_mode)) {
		errno = ESTALE; /* the host put something else there */
		return -1;
	}
	entry->directory = false;
	upper = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (upper < 0)
		return -1;
	if (fill(t, lower, upper, entry) == 0)
		return 0;
	int saved = errno;

	unlinkat(dir, name, 0);
	errno = saved;
	return -1;
}

bool cow_hydrate_refused(int errnum)
{
	return errnum == EACCES || errnum == EPERM || errnum == EWOULDBLOCK;
}
