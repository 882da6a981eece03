#include "reach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../lib/fd.h"
#include "paths.h"

struct cow_reach_piece {
	dev_t dev;
	char *path; /* in the file system, clean */
	bool writable;
};

/* The mount that an existing path is on, and its path relative to that mount's root. */
static const struct cow_host_mount *entry_of(const struct cow_host *host, const char *path, const char **below)
{
	struct statx stx;

	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_MNT_ID, &stx) != 0)
		return NULL;
	if ((stx.stx_mask & STATX_MNT_ID) == 0) {
		errno = EOPNOTSUPP;
		return NULL;
	}
	for (size_t i = 0; i < host->count; i++)
		if (host->mounts[i].id == stx.stx_mnt_id) {
			*below = cow_path_below(path, host->mounts[i].target);
			errno = ESTALE;
			return *below != NULL ? &host->mounts[i] : NULL;
		}
	errno = ESTALE;
	return NULL;
}

static void add_piece(struct cow_reach *reach, const struct cow_host_mount *e, const char *below, const char *rest,
		      bool writable)
{
	struct cow_reach_piece *grown = reallocarray(reach->pieces, reach->count + 1, sizeof(*grown));
	cleanup_free char *joined = NULL;

	if (grown == NULL || asprintf(&joined, "%s/%s/%s", e->root, below, rest) < 0)
		abort();
	reach->pieces = grown;
	grown[reach->count++] =
		(struct cow_reach_piece){.dev = e->dev, .path = cow_path_clean(joined), .writable = writable};
}

/* How much of `path` exists: its length up to there. */
static size_t existing(const char *path)
{
	cleanup_free char *head = strdup(path);
	struct stat st;
	char *slash;

	if (head == NULL)
		abort();
	while (lstat(head, &st) != 0 && (errno == ENOENT || errno == ENOTDIR) && (slash = strrchr(head, '/')) != head)
		*slash = '\0';
	return stat(head, &st) == 0 ? strlen(head) : 1;
}

int cow_reach_of(const struct cow_host *host, const char *path, bool recursive, bool readonly, bool readonly_below,
		 struct cow_reach *reach, struct cow_error **err)
{
	size_t n = existing(path);
	cleanup_free char *head = strndup(path, n), *real = head != NULL ? realpath(head, NULL) : NULL;
	const char *top_below = NULL;
	const struct cow_host_mount *top = real != NULL ? entry_of(host, real, &top_below) : NULL;

	*reach = (struct cow_reach){.count = 0};
	if (top == NULL)
		return cow_error_set(err, errno, "cannot tell which file system %s is on", path);
	add_piece(reach, top, top_below, path + n, !readonly);
	for (size_t i = 0; recursive && i < host->count; i++) {
		const struct cow_host_mount *e = &host->mounts[i];
		const char *below = cow_path_below(e->target, real);

		if (below != NULL && *below != '\0')
			add_piece(reach, e, "", "", !readonly_below && !e->readonly);
	}
	return 0;
}

void cow_reach_free(struct cow_reach *reach)
{
	for (size_t i = 0; i < reach->count; i++)
		free(reach->pieces[i].path);
	free(reach->pieces);
	*reach = (struct cow_reach){.count = 0};
}

static bool touch(const struct cow_reach_piece *a, const struct cow_reach_piece *b)
{
	return a->dev == b->dev &&
	       (cow_path_below(a->path, b->path) != NULL || cow_path_below(b->path, a->path) != NULL);
}

bool cow_reach_overlap(const struct cow_reach *a, const struct cow_reach *b)
{
	for (size_t i = 0; i < a->count; i++)
		for (size_t j = 0; j < b->count; j++)
			if (touch(&a->pieces[i], &b->pieces[j]))
				return true;
	return false;
}

bool cow_reach_writes(const struct cow_reach *a, const struct cow_reach *b)
{
	for (size_t i = 0; i < a->count; i++)
		for (size_t j = 0; a->pieces[i].writable && j < b->count; j++)
			if (touch(&a->pieces[i], &b->pieces[j]))
				return true;
	return false;
}
