/* A lower and a branch of it in a scratch directory, with what the engine would leave in the branch made by hand. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../../runtime/branch/journal.h"
#include "../../runtime/branch/store.h"
#include "../../runtime/lib/copy.h"
#include "../../runtime/lib/fd.h"
#include "tap.h"

struct fixture {
	char dir[64], store[96], lower[96];
	struct cow_branch *branch;
	int lowerfd, upperfd, journal;
};

/* A step that prepares a test and fails leaves nothing to test. */
#define must(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			printf("Bail out! %s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno));          \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

static inline void shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static inline void shell(const char *fmt, ...)
{
	cleanup_free char *command = NULL;
	va_list ap;

	va_start(ap, fmt);
	must(vasprintf(&command, fmt, ap) >= 0);
	va_end(ap);
	fflush(stdout);
	must(system(command) == 0); // NOLINT(cert-env33-c)
}

/* Fills a directory by a shell script that runs in it. */
static inline void in(const char *dir, const char *script)
{
	shell("cd '%s' && { %s\n}", dir, script);
}

/* In memory, where that file system has all kinds of extended attributes (user.* came to it with Linux 6.6). */
static inline void make_scratch(struct fixture *f)
{
	strcpy(f->dir, "/dev/shm/cowrun-unit-XXXXXX");
	if (mkdtemp(f->dir) != NULL) {
		if (setxattr(f->dir, "user.test", "", 0, 0) == 0 && setxattr(f->dir, "trusted.test", "", 0, 0) == 0)
			return;
		rmdir(f->dir);
	}
	strcpy(f->dir, "/tmp/cowrun-unit-XXXXXX");
	must(mkdtemp(f->dir) != NULL);
}

static inline void fixture_open(struct fixture *f, const char *lower_script)
{
	struct cow_branch_tree tree = {.workdir = (char *)"/work", .lower = f->lower};
	cleanup_error struct cow_error *err = NULL;
	cleanup_close int trees = -1;
	bool made;

	memset(f, 0, sizeof(*f));
	make_scratch(f);
	snprintf(f->store, sizeof(f->store), "%s/store", f->dir);
	snprintf(f->lower, sizeof(f->lower), "%s/lower", f->dir);
	must(mkdir(f->lower, 0755) == 0);
	in(f->lower, lower_script);
	f->branch = cow_branch_create(f->store, "b", "container", &tree, 1, &made, &err);
	must(f->branch != NULL && made);
	f->lowerfd = open(f->lower, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->upperfd = cow_branch_open(f->branch, 0, "upper", NULL);
	trees = openat(f->branch->dirfd, "trees/0", O_PATH | O_DIRECTORY | O_CLOEXEC);
	f->journal = cow_journal_open(trees, NULL);
	must(f->lowerfd >= 0 && f->upperfd >= 0 && f->journal >= 0);
}

static inline void fixture_close(struct fixture *f)
{
	cow_branch_free(f->branch);
	cow_close_fd(&f->lowerfd);
	cow_close_fd(&f->upperfd);
	cow_close_fd(&f->journal);
	shell("rm -rf '%s'", f->dir);
}

/* What runtime/graft/split.c makes of one lower entry. */
static inline void placeholder(struct fixture *f, int upper, int lower, const char *dir, struct cow_journal_entry *e)
{
	cleanup_free char *path = NULL;
	char target[PATH_MAX] = "";
	struct stat st;
	cleanup_close int fd = -1;

	must(fstatat(lower, e->name, &st, AT_SYMLINK_NOFOLLOW) == 0);
	must(asprintf(&path, "%s%s%s", dir, *dir ? "/" : "", e->name) > 0);
	cow_lower_stamp_of(&e->stamp, &st);
	if (S_ISLNK(st.st_mode)) {
		struct timespec times[2] = {st.st_atim, st.st_mtim};

		must(readlinkat(lower, e->name, target, sizeof(target) - 1) > 0);
		must(symlinkat(target, upper, e->name) == 0);
		must(fchownat(upper, e->name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) == 0);
		must(utimensat(upper, e->name, times, AT_SYMLINK_NOFOLLOW) == 0);
		return;
	}
	if (S_ISDIR(st.st_mode)) {
		must(mkdirat(upper, e->name, 0700) == 0);
		fd = openat(upper, e->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	} else {
		fd = openat(upper, e->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	}
	must(fd >= 0 && cow_mark_set(f->branch, fd, path) == 0);
	must(fchown(fd, st.st_uid, st.st_gid) == 0 && fchmod(fd, st.st_mode & 07777) == 0);
}

/* Splits the placeholder of lower directory `path` that is at `place` of the upper ("" for the root). */
static inline void split(struct fixture *f, const char *place, const char *path)
{
	struct cow_journal_entry entries[256];
	struct cow_journal_split rec = {.lower = path, .entries = entries};
	cleanup_close int lower = openat(f->lowerfd, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int upper = -1;
	DIR *dir;
	struct dirent *de;
	struct stat st;

	must(lower >= 0 && fstat(lower, &st) == 0);
	if (*place != '\0')
		must(unlinkat(f->upperfd, place, AT_REMOVEDIR) == 0 && mkdirat(f->upperfd, place, 0700) == 0);
	upper = openat(f->upperfd, *place ? place : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(upper >= 0);
	dir = fdopendir(dup(lower));
	must(dir != NULL);
	while ((de = readdir(dir)) != NULL) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		must(rec.nentries < 256);
		entries[rec.nentries].name = strdup(de->d_name);
		placeholder(f, upper, lower, path, &entries[rec.nentries++]);
	}
	closedir(dir);
	must(cow_copy_attributes(lower, upper, &st) == 0 && cow_copy_times(upper, &st) == 0);
	must(cow_ident_of(upper, &rec.upper) == 0);
	cow_lower_stamp_of(&rec.stamp, &st);
	must(cow_journal_add_split(f->journal, &rec) == 0);
	for (size_t i = 0; i < rec.nentries; i++)
		free((char *)entries[i].name);
}

/* Copies the placeholder of lower file `path` that is at `place` up. */
static inline void copy_up(struct fixture *f, const char *place, const char *path)
{
	struct cow_journal_copy rec = {.lower = path};
	cleanup_close int from = openat(f->lowerfd, path, O_RDONLY | O_CLOEXEC);
	cleanup_close int to = -1;
	uint64_t copied = 0;
	struct stat st;

	must(unlinkat(f->upperfd, place, 0) == 0);
	to = openat(f->upperfd, place, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	must(from >= 0 && to >= 0 && fstat(from, &st) == 0);
	must(cow_copy_content(from, to, st.st_size, &copied) == 0 && cow_copy_attributes(from, to, &st) == 0);
	must(cow_copy_times(to, &st) == 0 && cow_ident_of(to, &rec.upper) == 0);
	cow_lower_stamp_of(&rec.stamp, &st);
	must(cow_journal_add_copy(f->journal, &rec) == 0);
}

/* A script in the upper, as a container would run it: placeholders are there to be moved and deleted. */
static inline void in_upper(struct fixture *f, const char *script)
{
	cleanup_free char *path = cow_branch_path(f->store, "b", 0, "upper");

	in(path, script);
}

/* --- a container's calls, with the splits and copy-ups that the engine would do for them ---------------------------
 */

/* The mark of what is at a place of the upper, or NULL; caller frees. */
static inline char *mark_at(struct fixture *f, const char *place)
{
	cleanup_close int fd = openat(f->upperfd, place, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char *mark = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0 || S_ISLNK(st.st_mode))
		return NULL;
	return cow_mark_get(f->branch, fd, &mark) == 1 ? mark : NULL;
}

/* Makes the directories that lead to `path` real, and `path` itself if it is one and `itself` says so. */
static inline void make_real(struct fixture *f, const char *path, bool itself)
{
	for (const char *p = path;; p++) {
		cleanup_free char *place = NULL;
		cleanup_free char *mark = NULL;

		if (*p != '/' && (*p != '\0' || !itself))
			if (*p != '\0')
				continue;
		if (*p == '\0' && !itself)
			return;
		place = strndup(path, (size_t)(p - path));
		mark = mark_at(f, place);
		if (mark != NULL)
			split(f, place, mark);
		if (*p == '\0')
			return;
	}
}

/* Where the placeholder of lower path `path` is, or of the nearest directory above it; in `dir` of the upper. */
static inline bool find_placeholder(struct fixture *f, const char *dir, const char *path, char *place, size_t room)
{
	int fd = openat(f->upperfd, *dir ? dir : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *stream = fdopendir(fd);
	struct dirent *de;
	bool found = false;

	must(stream != NULL);
	while (!found && (de = readdir(stream)) != NULL) {
		cleanup_free char *entry = NULL;
		cleanup_free char *mark = NULL;
		size_t len;

		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		must(asprintf(&entry, "%s%s%s", dir, *dir ? "/" : "", de->d_name) > 0);
		mark = mark_at(f, entry);
		if (mark == NULL && de->d_type == DT_DIR)
			found = find_placeholder(f, entry, path, place, room);
		if (mark == NULL)
			continue;
		len = strlen(mark);
		found = strncmp(mark, path, len) == 0 &&
			(path[len] == '\0' || (path[len] == '/' && de->d_type == DT_DIR));
		if (found)
			snprintf(place, room, "%s", entry);
	}
	closedir(stream);
	return found;
}

/* Makes lower path `path`, wherever the branch has it, a further name of the copy at `first`. */
static inline void link_copy(struct fixture *f, const char *first, const char *path)
{
	struct cow_journal_copy rec = {.lower = path};
	cleanup_close int copy = openat(f->upperfd, first, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char place[PATH_MAX];
	struct stat st;

	must(copy >= 0 && cow_ident_of(copy, &rec.upper) == 0 && fstatat(f->lowerfd, path, &st, 0) == 0);
	while (find_placeholder(f, "", path, place, sizeof(place))) {
		cleanup_free char *mark = mark_at(f, place);

		if (strcmp(mark, path) != 0) {
			split(f, place, mark);
			continue;
		}
		must(unlinkat(f->upperfd, place, 0) == 0 && linkat(f->upperfd, first, f->upperfd, place, 0) == 0);
		cow_lower_stamp_of(&rec.stamp, &st);
		must(cow_journal_add_copy(f->journal, &rec) == 0);
	}
}

/* The lower paths of a file of the lower, a line each. */
static inline char *lower_names(struct fixture *f, const char *path)
{
	cleanup_free char *command = NULL;
	char *text = NULL;
	size_t room = 0;
	FILE *out;

	must(asprintf(&command, "cd '%s' && find . -samefile '%s' -printf '%%P\\n' | sort", f->lower, path) > 0);
	out = popen(command, "r"); // NOLINT(cert-env33-c)
	must(out != NULL && getdelim(&text, &room, '\0', out) > 0);
	pclose(out);
	return text;
}

/* The lower path of what is untouched at a path of the branch, in a directory of which it is or by itself; or NULL. */
static inline char *lower_path_of(struct fixture *f, const char *path)
{
	for (const char *end = path + strlen(path); end > path; end = memrchr(path, '/', (size_t)(end - path))) {
		cleanup_free char *place = strndup(path, (size_t)(end - path));
		cleanup_free char *mark = mark_at(f, place);
		char *lower = NULL;

		if (mark != NULL) {
			must(asprintf(&lower, "%s%s", mark, end) > 0);
			return lower;
		}
		if (memchr(path, '/', (size_t)(end - path)) == NULL)
			break;
	}
	return NULL;
}

/* What runtime/graft/twin.c makes of a link to an untouched file. False if it is none. */
static inline bool make_twin(struct fixture *f, const char *path, const char *new)
{
	cleanup_free char *lower = lower_path_of(f, path);
	cleanup_close int fd = -1;
	struct stat st;

	if (lower == NULL)
		return false;
	must(fstatat(f->lowerfd, lower, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode));
	make_real(f, new, false);
	fd = openat(f->upperfd, new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	must(fd >= 0 && cow_mark_set(f->branch, fd, lower) == 0);
	must(fchown(fd, st.st_uid, st.st_gid) == 0 && fchmod(fd, st.st_mode & 07777) == 0);
	must(cow_journal_add_twin(f->journal, lower) == 0);
	return true;
}

/* A file that is about to be written to. All names of it go with it. */
static inline void make_copy(struct fixture *f, const char *path)
{
	cleanup_free char *mark = NULL;
	cleanup_free char *names = NULL;
	char *rest;
	const char *name;

	make_real(f, path, false);
	mark = mark_at(f, path);
	if (mark == NULL)
		return;
	copy_up(f, path, mark);
	names = rest = lower_names(f, mark);
	while ((name = strsep(&rest, "\n")) != NULL)
		if (*name != '\0')
			link_copy(f, path, name);
}
