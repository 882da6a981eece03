/*
 * What programs do with directory handles, by system calls as they are: no C library reads ahead or hides a position.
 *
 *   walk loop DIR       reads DIR in small pieces and removes after each what it names; says what it saw
 *   walk again DIR      the same, but begins anew (lseek to 0) until nothing is left
 *   walk go DIR         as Go's os.RemoveAll: up to 100 names, removes them, opens the directory anew
 *   walk rust DIR       as Rust's remove_dir_all: fdopendir of an O_NOFOLLOW handle, unlinkat, directories by recursion
 *   walk up DIR         goes down by the first directory of each, makes a file there and goes up by "..": the same
 *                       directories?
 *   walk half DIR HOW   reads a half, then removes every second entry, by path (HOW: path), by the handle (handle) or
 * by a handle that is a duplicate of it (dup); reads the rest; begins anew
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PIECE = 700, NAMES = 20000, DEPTH = 64 };

static void __attribute__((noreturn)) die(const char *what, const char *name)
{
	printf("%s %s: %s\n", what, name, strerror(errno));
	exit(1);
}

static int open_dir(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		die("open", name);
	return fd;
}

struct list {
	char *names[NAMES];
	size_t count;
};

/* One getdents64 of `size` bytes. Names are added; 0 at the end. */
static size_t read_piece(int fd, size_t size, struct list *l)
{
	char room[65536];
	long n = syscall(SYS_getdents64, fd, room, size);
	size_t before = l->count;

	if (n < 0)
		die("getdents64", "");
	for (char *p = room; p < room + n; p += ((struct dirent64 *)p)->d_reclen) {
		const char *name = ((struct dirent64 *)p)->d_name;

		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
			l->names[l->count++] = strdup(name);
	}
	return n == 0 ? 0 : l->count - before + 1;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t twice(struct list *l)
{
	size_t found = 0;

	qsort(l->names, l->count, sizeof(*l->names), compare);
	for (size_t i = 1; i < l->count; i++)
		found += strcmp(l->names[i], l->names[i - 1]) == 0;
	return found;
}

static void remove_at(int fd, const char *name)
{
	if (unlinkat(fd, name, 0) != 0 && (errno != EISDIR || unlinkat(fd, name, AT_REMOVEDIR) != 0))
		die("remove", name);
}

static size_t loop(int fd, struct list *l)
{
	size_t done = l->count;

	while (read_piece(fd, PIECE, l) > 0)
		for (; done < l->count; done++)
			remove_at(fd, l->names[done]);
	return l->count;
}

static void again(int fd, struct list *l)
{
	size_t before;
	int turns = 0;

	do {
		before = l->count;
		if (turns++ > 0 && lseek(fd, 0, SEEK_SET) != 0)
			die("lseek", "");
	} while (loop(fd, l) > before);
	printf("turns %d ", turns);
}

static void go(const char *path, struct list *l)
{
	int parent = open_dir(AT_FDCWD, ".");

	for (;;) {
		int fd = open_dir(parent, path);
		size_t begin = l->count;

		while (l->count - begin < 100 && read_piece(fd, 4096, l) > 0)
			;
		for (size_t i = begin; i < l->count; i++)
			remove_at(fd, l->names[i]);
		close(fd);
		if (l->count == begin)
			break;
	}
	remove_at(parent, path);
}

static void rust(int at, const char *name, struct list *l)
{
	int fd = open_dir(at, name);
	DIR *dir = fdopendir(fd);
	const struct dirent *e;

	while ((e = readdir(dir)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		l->names[l->count++] = strdup(e->d_name);
		if (e->d_type == DT_DIR)
			rust(fd, e->d_name, l);
		else
			remove_at(fd, e->d_name);
	}
	closedir(dir);
	if (unlinkat(at, name, AT_REMOVEDIR) != 0)
		die("rmdir", name);
}

/* The name of the first directory in it, or NULL. */
static char *first_directory(int fd)
{
	static struct list l;
	struct stat st;

	l.count = 0;
	while (read_piece(fd, 32768, &l) > 0)
		;
	qsort(l.names, l.count, sizeof(*l.names), compare);
	for (size_t i = 0; i < l.count; i++)
		if (fstatat(fd, l.names[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
			return l.names[i];
	return NULL;
}

static void up(const char *path)
{
	struct stat seen[DEPTH];
	struct stat st;
	int fd = open_dir(AT_FDCWD, path);
	size_t depth = 0;
	const char *name;

	if (fstatat(AT_FDCWD, path, &seen[0], AT_SYMLINK_NOFOLLOW) != 0)
		die("stat", path);
	while ((name = first_directory(fd)) != NULL) {
		int next = open_dir(fd, name);

		if (fstatat(fd, name, &seen[++depth], AT_SYMLINK_NOFOLLOW) != 0)
			die("stat", name);
		close(fd);
		fd = next;
	}
	printf("depth %zu\n", depth);
	for (;;) {
		int next = openat(fd, "made", O_CREAT | O_WRONLY | O_EXCL | O_CLOEXEC, 0644);

		if (next < 0)
			die("make", "made");
		close(next);
		if (depth-- == 0)
			break;
		next = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
		if (next < 0 || fstat(next, &st) != 0)
			die("open", "..");
		if (st.st_ino != seen[depth].st_ino || st.st_dev != seen[depth].st_dev)
			printf("another directory at %zu\n", depth);
		close(fd);
		fd = next;
	}
}

static void half(const char *path, const char *how, struct list *l)
{
	int fd = open_dir(AT_FDCWD, path);
	int second = strcmp(how, "dup") == 0 ? dup(fd) : fd;
	struct list rest = {.count = 0};
	size_t removed = 0;
	size_t total;

	while (l->count < 500 && read_piece(fd, PIECE, l) > 0)
		;
	total = l->count;
	for (size_t i = 0; i < total; i += 2, removed++) {
		char name[4096];

		snprintf(name, sizeof(name), "%s/%s", path, l->names[i]);
		if (strcmp(how, "path") == 0)
			remove_at(AT_FDCWD, name);
		else
			remove_at(second, l->names[i]);
	}
	while (read_piece(second, PIECE, l) > 0)
		;
	if (second != fd && read_piece(fd, PIECE, l) > 0)
		printf("the duplicates have two positions\n");
	if (lseek(fd, 0, SEEK_SET) != 0)
		die("lseek", "");
	while (read_piece(fd, 32768, &rest) > 0)
		;
	printf("removed %zu, then %zu ", removed, rest.count);
}

int main(int argc, char **argv)
{
	static struct list l;
	const char *how = argc > 1 ? argv[1] : "";
	const char *path = argc > 2 ? argv[2] : "";

	if (strcmp(how, "loop") == 0)
		loop(open_dir(AT_FDCWD, path), &l);
	else if (strcmp(how, "again") == 0)
		again(open_dir(AT_FDCWD, path), &l);
	else if (strcmp(how, "go") == 0)
		go(path, &l);
	else if (strcmp(how, "rust") == 0)
		rust(AT_FDCWD, path, &l);
	else if (strcmp(how, "half") == 0 && argc > 3)
		half(path, argv[3], &l);
	else if (strcmp(how, "up") == 0) {
		up(path);
		return 0;
	} else
		return 2;
	printf("saw %zu, twice %zu\n", l.count, twice(&l));
	return 0;
}
