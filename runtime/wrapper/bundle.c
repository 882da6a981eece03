#include "bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

#include "../lib/fd.h"

void cow_bundle_free(struct cow_bundle *b)
{
	free(b->path);
	free(b->name);
	free(b->file);
	free(b->text);
	cow_close_fd(&b->dirfd);
	*b = COW_BUNDLE_NONE;
}

/* config.json is opened like any file of somebody else's: not for waiting on a FIFO, and only if it is a file. */
static int read_text(struct cow_bundle *b, struct cow_error **err)
{
	cleanup_close int fd = openat(b->dirfd, b->file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &b->st) != 0)
		return cow_error_set(err, errno, "%s", b->name);
	if (!S_ISREG(b->st.st_mode))
		return cow_error_set(err, 0, "%s is not a file", b->name);
	b->text = cow_read_to_end(fd, COW_BUNDLE_CONFIG_MAX, &b->size);
	if (b->text == NULL && errno == EFBIG)
		return cow_error_set(err, 0, "%s is larger than %d MiB", b->name, COW_BUNDLE_CONFIG_MAX >> 20);
	return b->text != NULL ? 0 : cow_error_set(err, errno, "%s", b->name);
}

int cow_bundle_read(struct cow_bundle *b, const char *path, const char *file, struct cow_error **err)
{
	*b = COW_BUNDLE_NONE;
	if (path == NULL)
		path = ".";
	if (file == NULL)
		file = "config.json";
	b->file = strdup(file);
	if (b->file == NULL ||
	    asprintf(&b->name, "%s%s%s", file[0] == '/' ? "" : path, file[0] == '/' ? "" : "/", file) < 0)
		abort();
	b->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b->path = b->dirfd >= 0 ? realpath(path, NULL) : NULL;
	if (b->path == NULL)
		return cow_error_set(err, errno, "bundle %s", path);
	return read_text(b, err);
}

/* --- a first look ------------------------------------------------------------------------------------------------- */

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/*
 * Braces and brackets that close, strings that end: not more. The delegate's parser has the last word on a bundle that
 * cowrun has no part in; but what is cut off may be cut off before its annotations.
 */
static bool whole_object(const char *p, const char *end)
{
	size_t depth = 0;
	bool string = false;

	while (p < end && blank(*p))
		p++;
	if (p == end || *p != '{')
		return false;
	for (; p < end; p++) {
		if (string) {
			if (*p == '\\')
				p++;
			else if (*p == '"')
				string = false;
		} else if (*p == '"') {
			string = true;
		} else if (*p == '{' || *p == '[') {
			depth++;
		} else if (*p == '}' || *p == ']') {
			if (depth == 0)
				return false;
			depth--;
		}
	}
	return depth == 0 && !string;
}

/* request.c takes even "Run.Cowrun" for ours, so as to refuse it. Letters and dots can be hidden by no other escape
 * than \u. */
static bool has_marker(const char *p, const char *end)
{
	static const char marker[] = "run.cowrun";

	for (; (size_t)(end - p) >= strlen(marker); p++)
		if ((*p | 0x20) == marker[0] && strncasecmp(p, marker, strlen(marker)) == 0)
			return true;
	return false;
}

int cow_bundle_may_ask(const struct cow_bundle *b, struct cow_error **err)
{
	if (memmem(b->text, b->size, "\\u", 2) != NULL || has_marker(b->text, b->text + b->size))
		return 1;
	if (!whole_object(b->text, b->text + b->size))
		return cow_error_set(err, 0, "%s is not a JSON object", b->name);
	return 0;
}

struct cow_json *cow_bundle_parse(const struct cow_bundle *b, struct cow_error **err)
{
	cleanup_json struct cow_json *spec = cow_json_parse(b->text, b->size, err);

	if (spec == NULL) {
		cow_error_wrap(err, "%s", b->name);
		return NULL;
	}
	if (cow_json_type_of(spec) != COW_JSON_OBJECT) {
		cow_error_set(err, 0, "%s is not a JSON object", b->name);
		return NULL;
	}
	return cow_steal_ptr(&spec);
}

/* --- replacing ---------------------------------------------------------------------------------------------------- */

/* The directory that the file is in, for crun's --config DIR/FILE, and the file's name there. */
static int open_parent(const struct cow_bundle *b, const char **name)
{
	cleanup_free char *parent = NULL;
	const char *slash = strrchr(b->file, '/');

	*name = slash != NULL ? slash + 1 : b->file;
	if (slash == NULL)
		return openat(b->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	parent = strndup(b->file, (size_t)(slash - b->file) + 1);
	if (parent == NULL)
		abort();
	return openat(b->dirfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int fill(int fd, const struct cow_bundle *b, const char *text, size_t size, struct stat *st)
{
	if (fchown(fd, b->st.st_uid, b->st.st_gid) != 0 && errno != EPERM)
		return -1;
	if (fchmod(fd, b->st.st_mode & 07777) != 0)
		return -1;
	/* Synced before it gets the name: a crash leaves the one file or the other, never an empty one. */
	return cow_write_all(fd, text, size) == 0 && fsync(fd) == 0 && fstat(fd, st) == 0 ? 0 : -1;
}

static int stage(struct cow_bundle *b, const char *text, size_t size, struct cow_error **err)
{
	const char *name;
	cleanup_close int dir = open_parent(b, &name);
	cleanup_close int fd = -1;
	unsigned long long random = 0;
	char temporary[sizeof(b->staged)];

	if (dir < 0 || getrandom(&random, sizeof(random), 0) != sizeof(random))
		return cow_error_set(err, errno, "%s", b->name);
	snprintf(temporary, sizeof(temporary), ".cowrun-%016llx", random);
	fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return cow_error_set(err, errno, "cannot write beside %s", b->name);
	if (fill(fd, b, text, size, &b->written) != 0) {
		cow_error_set(err, errno, "cannot write %s", b->name);
		unlinkat(dir, temporary, 0);
		return -1;
	}
	memcpy(b->staged, temporary, sizeof(temporary));
	return 0;
}

int cow_bundle_stage(struct cow_bundle *b, const struct cow_json *spec, struct cow_error **err)
{
	size_t size;
	cleanup_free char *text = cow_json_print(spec, 0, &size);

	return stage(b, text, size, err);
}

int cow_bundle_replace(struct cow_bundle *b, struct cow_error **err)
{
	const char *name;
	cleanup_close int dir = open_parent(b, &name);

	if (dir < 0 || renameat(dir, b->staged, dir, name) != 0)
		return cow_error_set(err, errno, "cannot write %s", b->name);
	b->staged[0] = '\0';
	b->replaced = true;
	return 0;
}

static void unstage(struct cow_bundle *b)
{
	const char *name;
	cleanup_close int dir = open_parent(b, &name);

	if (b->staged[0] != '\0' && dir >= 0)
		unlinkat(dir, b->staged, 0);
	b->staged[0] = '\0';
}

int cow_bundle_restore(struct cow_bundle *b, struct cow_error **err)
{
	struct stat now;

	unstage(b);
	if (!b->replaced)
		return 0;
	b->replaced = false;
	if (fstatat(b->dirfd, b->file, &now, 0) != 0 || now.st_dev != b->written.st_dev ||
	    now.st_ino != b->written.st_ino)
		return 0;
	if (stage(b, b->text, b->size, err) != 0 || cow_bundle_replace(b, err) != 0) {
		unstage(b);
		return -1;
	}
	b->replaced = false;
	return 0;
}
