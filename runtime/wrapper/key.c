#include "key.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/place.h"

#define STATE_JSON "state.json"
enum { STATE_JSON_MAX = 4 << 20 };

void cow_key_close(struct cow_key *k)
{
	free(k->path);
	cow_close_fd(&k->dirfd);
	*k = COW_KEY_NONE;
}

static int open_directory(struct cow_key *k, const char *path)
{
	*k = COW_KEY_NONE;
	k->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (k->dirfd < 0)
		return -1;
	k->path = strdup(path);
	if (k->path == NULL)
		abort();
	return 0;
}

int cow_key_open(struct cow_key *k, const char *path, struct cow_error **err)
{
	if (open_directory(k, path) == 0)
		return 1;
	return errno == ENOENT ? 0 : cow_error_set(err, errno, "%s", path);
}

/* Is it still the directory of that name? Whoever had the lock may have removed it, and another made it anew. */
static bool current(const struct cow_key *k)
{
	struct stat a, b;

	return fstat(k->dirfd, &a) == 0 && lstat(k->path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int cow_key_lock(struct cow_key *k, const char *path, struct cow_error **err)
{
	int found = cow_key_open(k, path, err);

	if (found <= 0)
		return found;
	while (flock(k->dirfd, LOCK_EX) != 0)
		if (errno != EINTR)
			return cow_error_set(err, errno, "locking %s", path);
	if (current(k))
		return 1;
	cow_key_close(k);
	return 0;
}

void cow_key_unlock(struct cow_key *k)
{
	flock(k->dirfd, LOCK_UN);
}

int cow_key_make(struct cow_key *k, const char *state, const char *path, struct cow_error **err)
{
	if (cow_place_make(state, err) != 0)
		return -1;
	for (;;) {
		bool made = mkdir(path, 0700) == 0;

		if (!made && errno != EEXIST)
			return cow_error_set(err, errno, "cannot make %s", path);
		if (open_directory(k, path) != 0) {
			if (errno == ENOENT)
				continue;
			return cow_error_set(err, errno, "%s", path);
		}
		if (flock(k->dirfd, LOCK_EX | LOCK_NB) != 0)
			return cow_error_set(err, errno == EWOULDBLOCK ? 0 : errno, "another cowrun is at work in %s",
					     path);
		if (current(k))
			return made;
		cow_key_close(k);
	}
}

struct cow_json *cow_key_read(const struct cow_key *k, struct cow_error **err)
{
	struct cow_json *state = cow_json_read_file(k->dirfd, STATE_JSON, STATE_JSON_MAX, err);

	if (state == NULL)
		cow_error_wrap(err, "%s", k->path);
	return state;
}

int cow_key_write(const struct cow_key *k, const struct cow_json *state, struct cow_error **err)
{
	static const char temporary[] = STATE_JSON ".new";
	size_t size;
	cleanup_free char *text = cow_json_print(state, 0, &size);
	cleanup_close int fd = openat(k->dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	/* Not synced: it is of use only as long as the machine runs. */
	if (fd < 0 || cow_write_all(fd, text, size) != 0 || renameat(k->dirfd, temporary, k->dirfd, STATE_JSON) != 0)
		return cow_error_set(err, errno, "%s/%s", k->path, STATE_JSON);
	return 0;
}

/* The files of the wrapper and the agent: no directories among them. state.json goes last: as long as it is there, what
 * is left can be cleaned up by it. */
static int empty(const struct cow_key *k, struct cow_error **err)
{
	int fd = openat(k->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (dir == NULL) {
		cow_close_fd(&fd);
		return cow_error_set(err, errno, "%s", k->path);
	}
	for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || strcmp(e->d_name, STATE_JSON) == 0)
			continue;
		if (unlinkat(k->dirfd, e->d_name, 0) != 0 && errno != ENOENT)
			return cow_error_set(err, errno, "cannot remove %s/%s", k->path, e->d_name);
	}
	if (unlinkat(k->dirfd, STATE_JSON, 0) != 0 && errno != ENOENT)
		return cow_error_set(err, errno, "cannot remove %s/%s", k->path, STATE_JSON);
	return 0;
}

int cow_key_remove(struct cow_key *k, bool keep, struct cow_error **err)
{
	if (empty(k, err) != 0)
		return -1;
	if (!keep && rmdir(k->path) != 0 && errno != ENOENT)
		return cow_error_set(err, errno, "cannot remove %s", k->path);
	return 0;
}
