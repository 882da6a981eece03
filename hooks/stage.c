#include "hook.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../runtime/lib/fd.h"

/*
 * The stage lies beside the upper on disk (trees/N/stage), where the container's mount does not reach. Yet what is
 * prepared there must be on that very mount, or else a later rename out of it would be EXDEV to the container. So the
 * directory is made in the upper's root, opened through the container's mount of it, and renamed out from the host's
 * side: the descriptor keeps mount and directory.
 *
 * A hook that is killed in between leaves an empty directory in the upper; the next one takes it away by its name.
 */
#define STAGE_PREFIX ".cowrun-stage-"
enum { STAGE_DIGITS = 16 };

static bool is_stage_name(const char *name)
{
	return strncmp(name, STAGE_PREFIX, strlen(STAGE_PREFIX)) == 0 &&
	       strspn(name + strlen(STAGE_PREFIX), "0123456789abcdef") == STAGE_DIGITS &&
	       name[strlen(STAGE_PREFIX) + STAGE_DIGITS] == '\0';
}

/* A stream over another open of the directory, so that the descriptor's own place does not matter. NULL with *err. */
static DIR *list(int dir, struct cow_error **err)
{
	cleanup_close int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);

	if (stream == NULL)
		cow_error_set(err, errno, "the stage");
	else
		cow_steal_fd(&fd);
	return stream;
}

static bool dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* rmdir of a directory that a killed hook left. Not of anything else: it must be empty. */
static int sweep_upper(int upper, struct cow_error **err)
{
	cleanup_dir DIR *stream = list(upper, err);

	if (stream == NULL)
		return -1;
	for (const struct dirent *e; (e = readdir(stream)) != NULL;)
		if (is_stage_name(e->d_name))
			unlinkat(upper, e->d_name, AT_REMOVEDIR);
	return 0;
}

/*
 * Empties `stage`, whatever trees an earlier run left there, with three descriptors however deep they are: what a
 * subdirectory holds is renamed up into the stage until the subdirectory is empty. No link is followed.
 */
static int hoist(int stage, int sub, unsigned *serial, struct cow_error **err)
{
	cleanup_dir DIR *stream = list(sub, err);

	if (stream == NULL)
		return -1;
	for (const struct dirent *e; (e = readdir(stream)) != NULL;) {
		char name[32];

		if (dots(e->d_name) || unlinkat(sub, e->d_name, 0) == 0)
			continue;
		if (errno != EISDIR && errno != EPERM)
			return cow_error_set(err, errno, "emptying the stage");
		do /* a name that is free: what earlier runs hoisted may be here still */
			snprintf(name, sizeof(name), "hoisted.%u", (*serial)++);
		while (renameat2(sub, e->d_name, stage, name, RENAME_NOREPLACE) < 0 && errno == EEXIST);
	}
	return 0;
}

static int empty_once(int stage, bool *again, unsigned *serial, struct cow_error **err)
{
	cleanup_dir DIR *stream = list(stage, err);

	*again = false;
	if (stream == NULL)
		return -1;
	for (const struct dirent *e; (e = readdir(stream)) != NULL;) {
		if (dots(e->d_name) || unlinkat(stage, e->d_name, 0) == 0 ||
		    unlinkat(stage, e->d_name, AT_REMOVEDIR) == 0)
			continue;
		if (errno != ENOTEMPTY && errno != EEXIST)
			return cow_error_set(err, errno, "emptying the stage");
		cleanup_close int sub = openat(stage, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (sub < 0 || hoist(stage, sub, serial, err) < 0)
			return sub < 0 ? cow_error_set(err, errno, "emptying the stage") : -1;
		if (unlinkat(stage, e->d_name, AT_REMOVEDIR) < 0)
			return cow_error_set(err, errno, "emptying the stage");
		*again = true; /* readdir may or may not show what was hoisted while it ran */
	}
	return 0;
}

static int empty(int stage, struct cow_error **err)
{
	unsigned serial = 0;

	for (bool again = true; again;)
		if (empty_once(stage, &again, &serial, err) < 0)
			return -1;
	return 0;
}

/* mkdir under a name that is not there; the name goes to `name`. */
static int make_unnamed(int upper, char name[sizeof(STAGE_PREFIX) + STAGE_DIGITS], struct cow_error **err)
{
	unsigned long long random;

	do {
		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			return cow_error_set(err, errno, "the stage");
		snprintf(name, sizeof(STAGE_PREFIX) + STAGE_DIGITS, STAGE_PREFIX "%016llx", random);
		if (mkdirat(upper, name, 0700) == 0)
			return 0;
	} while (errno == EEXIST);
	return cow_error_set(err, errno, "making the stage");
}

int cow_hook_stage(int upper, const struct cow_hook_host *host, struct cow_error **err)
{
	char name[sizeof(STAGE_PREFIX) + STAGE_DIGITS];
	cleanup_close int old = openat(host->dir, "stage", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), stage = -1;
	struct stat before;

	if ((old < 0 && errno != ENOENT) || fstat(host->upper, &before) < 0)
		return cow_error_set(err, errno, "the stage");
	if ((old >= 0 && empty(old, err) < 0) || sweep_upper(host->upper, err) < 0 ||
	    make_unnamed(upper, name, err) < 0)
		return -1;
	stage = openat(upper, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (stage < 0 || renameat(host->upper, name, host->dir, "stage") < 0) {
		cow_error_set(err, errno, "making the stage");
		unlinkat(host->upper, name, AT_REMOVEDIR);
		return -1;
	}
	/* The workdir was not changed as far as the container is concerned. */
	struct timespec times[2] = {before.st_atim, before.st_mtim};

	if (futimens(host->upper, times) < 0)
		return cow_error_set(err, errno, "the upper's times");
	return cow_steal_fd(&stage);
}
