/*
 * For a directory mode, owner and extended attributes count; its times tell of its entries, which are looked at one by
 * one. For everything else type, size, content and modification time count as well. The stamp holds type, mode, size
 * and times; owner, extended attributes and content can be compared with the lower alone, as long as the host left it.
 */
#include "changed.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "beneath.h"
#include "xattrs.h"

/* Is this fd still the entry that was read? A running container may have put something else there. */
static bool is_node(int fd, const struct cow_node *n)
{
	struct cow_ident ident;

	return cow_ident_of(fd, &ident) == 0 && cow_ident_equal(&ident, &n->ident);
}

static int same_target(int a, int b)
{
	char target_a[PATH_MAX], target_b[PATH_MAX];
	ssize_t n = readlinkat(a, "", target_a, sizeof(target_a));
	ssize_t m = readlinkat(b, "", target_b, sizeof(target_b));

	if (n < 0 || m < 0)
		return -1;
	return n == m && memcmp(target_a, target_b, (size_t)n) == 0 ? 1 : 0;
}

static int same_file_content(int up, int low)
{
	cleanup_close int a = cow_beneath_reopen(up);
	cleanup_close int b = cow_beneath_reopen(low);

	return a < 0 || b < 0 ? -1 : cow_same_content(a, b);
}

static bool same_time(const struct cow_lower_stamp *stamp, const struct timespec *t)
{
	return stamp->mtime_sec == t->tv_sec && stamp->mtime_nsec == (uint32_t)t->tv_nsec;
}

/* What the lower must be asked for. */
static int differs_from(const struct cow_node *n, int up, int low, const struct stat *st)
{
	int same = 1;

	if (n->uid != st->st_uid || n->gid != st->st_gid)
		return 1;
	if (S_ISLNK(n->mode))
		same = same_target(up, low);
	else if (S_ISBLK(n->mode) || S_ISCHR(n->mode))
		same = n->rdev == st->st_rdev;
	else if (S_ISREG(n->mode))
		same = same_file_content(up, low);
	if (same == 1 && !S_ISLNK(n->mode))
		same = cow_xattrs_equal(up, low);
	return same < 0 ? -1 : !same;
}

int cow_node_changed(const struct cow_node *n, int upper, int lower, const struct cow_lower_stamp *stamp)
{
	cleanup_free char *path = NULL;
	cleanup_close int up = -1;
	cleanup_close int low = -1;
	struct stat st;

	if (n->mode != stamp->mode)
		return 1;
	if (!S_ISDIR(n->mode) && (!same_time(stamp, &n->mtime) || (S_ISREG(n->mode) && n->size != stamp->size)))
		return 1;
	low = cow_beneath_open(lower, n->origin, O_PATH, false);
	if (low < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -1;
	if (fstat(low, &st) != 0)
		return -1;
	if ((st.st_mode & S_IFMT) != (n->mode & S_IFMT))
		return 0;
	if (!S_ISDIR(n->mode) && (!same_time(stamp, &st.st_mtim) || (uint64_t)st.st_size != stamp->size))
		return 0; /* the host changed it: nothing to compare with */
	path = cow_node_path(n);
	up = cow_beneath_open(upper, path, O_PATH, true);
	if (up < 0 || !is_node(up, n))
		return up < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP ? -1 : 0;
	return differs_from(n, up, low, &st);
}
