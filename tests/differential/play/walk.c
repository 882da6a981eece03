/* Everything that a tree shows, so that two of them can be compared: a line an entry, names in order. */
#include "play.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { PATH_ROOM = 65536 };

static struct result line;

static void say_file(int fd)
{
	char block[65536];
	uint64_t hash = HASH_START;
	ssize_t n;

	while ((n = read(fd, block, sizeof(block))) > 0)
		hash = hash_bytes(hash, block, (size_t)n);
	say(&line, n < 0 ? " unreadable" : " content=%016llx", (unsigned long long)hash);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void say_xattrs(const char *self)
{
	char list[8192];
	char value[8192];
	char *names[256];
	size_t count = 0;
	ssize_t n = listxattr(self, list, sizeof(list));

	for (char *p = list; n > 0 && p < list + n && count < 256; p += strlen(p) + 1)
		names[count++] = p;
	qsort(names, count, sizeof(*names), by_name);
	for (size_t i = 0; i < count; i++) {
		ssize_t size = getxattr(self, names[i], value, sizeof(value));

		say(&line, " %s=", names[i]);
		if (size < 0)
			say_error(&line, errno);
		else
			say_content(&line, value, (size_t)size);
	}
}

static void walk_directory(int fd, char *path, size_t length);

static void walk_entry(int parent, const char *name, char *path, size_t length)
{
	int fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char self[40];
	char target[4096];
	struct statx st;
	int opened = -1;

	line.length = 0;
	say(&line, "tree ");
	say_bytes(&line, path, length);
	say(&line, " ");
	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st) != 0) {
		say_error(&line, errno);
		puts(line.text);
		return;
	}
	say_attributes(&line, &st);
	say_identity(&line, fd, NULL, true);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (S_ISLNK(st.stx_mode)) {
		ssize_t n = readlinkat(fd, "", target, sizeof(target));

		say(&line, " -> ");
		say_bytes(&line, target, n > 0 ? (size_t)n : 0);
	} else {
		say_xattrs(self);
	}
	if (S_ISREG(st.stx_mode) || S_ISDIR(st.stx_mode)) {
		opened = open(self, O_RDONLY | O_CLOEXEC);
		if (opened < 0) {
			say(&line, " ");
			say_error(&line, errno);
		}
	}
	if (opened >= 0 && S_ISREG(st.stx_mode))
		say_file(opened);
	puts(line.text);
	if (opened >= 0 && S_ISDIR(st.stx_mode))
		walk_directory(opened, path, length);
	if (opened >= 0)
		close(opened);
	close(fd);
}

static char **names_of(int fd, size_t *count)
{
	DIR *dir = fdopendir(dup(fd));
	char **names = NULL;
	const struct dirent *e;

	*count = 0;
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		names = realloc(names, (*count + 1) * sizeof(*names));
		if (names == NULL)
			abort();
		names[(*count)++] = strdup(e->d_name);
	}
	if (dir != NULL)
		closedir(dir);
	if (*count > 0)
		qsort(names, *count, sizeof(*names), by_name);
	return names;
}

static void walk_directory(int fd, char *path, size_t length)
{
	size_t count;
	char **names = names_of(fd, &count);

	for (size_t i = 0; i < count; i++) {
		size_t n = strlen(names[i]);

		if (length + n + 2 < PATH_ROOM) {
			path[length] = '/';
			memcpy(path + length + 1, names[i], n + 1);
			walk_entry(fd, names[i], path, length + 1 + n);
			path[length] = '\0';
		}
		free(names[i]);
	}
	free(names);
}

int walk(const char *top)
{
	static char path[PATH_ROOM] = ".";

	walk_entry(AT_FDCWD, top, path, 1);
	return 0;
}
