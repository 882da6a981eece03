/*
 * calls TEST PATH [COUNT]: times one system call (or the few that belong together) and prints the median in
 * nanoseconds. Calls that change nothing are timed in batches, as the clock takes a part of what they do; those that
 * change something one by one, each on a name of its own.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

extern char **environ;

enum { BATCH = 20, BATCHES = 200 };

struct target {
	const char *path;
	int dir;          /* open on `path`, or -1 */
	const char *name; /* an entry of it */
	int fd;           /* open on a file, or -1 */
};

/* --- calls that change nothing: 0, or -1 with errno ----------------------------------------------------------------
 */

static int call_stat(struct target *t)
{
	struct stat st;

	return stat(t->path, &st);
}

static int call_open(struct target *t)
{
	int fd = open(t->path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : close(fd);
}

static int call_pread(struct target *t)
{
	char data[4096];

	return pread(t->fd, data, sizeof(data), 0) < 0 ? -1 : 0;
}

static int call_access(struct target *t)
{
	return access(t->path, W_OK);
}

static int call_statat(struct target *t)
{
	struct stat st;

	return fstatat(t->dir, t->name, &st, AT_SYMLINK_NOFOLLOW);
}

static int call_openat(struct target *t)
{
	int fd = openat(t->dir, t->name, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : close(fd);
}

static int call_readdir(struct target *t)
{
	DIR *dir = opendir(t->path);

	if (dir == NULL)
		return -1;
	while (readdir(dir) != NULL)
		;
	return closedir(dir);
}

static int call_exec(struct target *t)
{
	char *argv[] = {(char *)t->path, NULL};
	int status;
	pid_t pid;

	errno = posix_spawn(&pid, t->path, NULL, NULL, argv, environ);
	if (errno != 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return status == 0 ? 0 : -1;
}

static const struct reading {
	const char *name;
	int (*call)(struct target *t);
	int batch, batches;
} readings[] = {
	{"stat", call_stat, BATCH, BATCHES}, {"open", call_open, BATCH, BATCHES}, {"pread", call_pread, BATCH, BATCHES},
	{"access", call_access, 1, 1000},    {"statat", call_statat, 1, 1000},    {"openat", call_openat, 1, 1000},
	{"readdir", call_readdir, 1, 50},    {"exec", call_exec, 1, 100},
};

/* The first entry that is a regular file, for the calls through a handle. */
static void open_target(struct target *t)
{
	static char name[256];
	struct stat st;
	DIR *dir;

	t->dir = t->fd = -1;
	if (stat(t->path, &st) != 0)
		bench_fail(t->path);
	if (S_ISREG(st.st_mode)) {
		t->fd = open(t->path, O_RDONLY | O_CLOEXEC);
		return;
	}
	t->dir = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = opendir(t->path);
	if (t->dir < 0 || dir == NULL)
		bench_fail(t->path);
	for (struct dirent *de; (de = readdir(dir)) != NULL;)
		if (de->d_type == DT_REG)
			snprintf(name, sizeof(name), "%s", de->d_name);
	closedir(dir);
	t->name = name;
}

static int time_reading(const struct reading *r, const char *path)
{
	struct target t = {.path = path};
	struct samples s = {0};

	open_target(&t);
	for (int i = 0; i < r->batches + 2; i++) {
		uint64_t begun = bench_now();

		for (int k = 0; k < r->batch; k++)
			if (r->call(&t) != 0)
				bench_fail(r->name);
		if (i >= 2) /* they warm up */
			bench_add(&s, (double)(bench_now() - begun) / r->batch);
	}
	return bench_print(&s);
}

/* --- calls that change something: `path` is a name of their own ----------------------------------------------------
 */

static int write_new(const char *path)
{
	static const char data[100];
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, data, sizeof(data)) != (ssize_t)sizeof(data))
		return -1;
	return close(fd);
}

static int make_directory(const char *path)
{
	return mkdir(path, 0755);
}

static int append(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

	if (fd < 0 || write(fd, "x", 1) != 1)
		return -1;
	return close(fd);
}

static int change_mode(const char *path)
{
	return chmod(path, 0640);
}

static int rename_beside(const char *path)
{
	char beside[4096];

	snprintf(beside, sizeof(beside), "%s.renamed", path);
	return rename(path, beside);
}

static const struct change {
	const char *name;
	int (*call)(const char *path);
} changes[] = {
	{"create", write_new},  {"mkdir", make_directory}, {"append", append},
	{"chmod", change_mode}, {"rename", rename_beside}, {"unlink", unlink},
};

/* Names 0, 1, 2... in directory `path`: as many as there are, or `count`. The first is left out of more: it may split.
 */
static int time_change(const struct change *c, const char *path, long count)
{
	struct samples s = {0};

	for (long i = 0; i < count; i++) {
		char name[4096];
		uint64_t begun;

		snprintf(name, sizeof(name), "%s/%ld", path, i);
		begun = bench_now();
		if (c->call(name) != 0)
			bench_fail(name);
		if (i > 0 || count == 1)
			bench_add(&s, (double)(bench_now() - begun));
	}
	return bench_print(&s);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	for (size_t i = 0; i < sizeof(readings) / sizeof(readings[0]); i++)
		if (strcmp(argv[1], readings[i].name) == 0)
			return time_reading(&readings[i], argv[2]);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		if (strcmp(argv[1], changes[i].name) == 0)
			return time_change(&changes[i], argv[2], argc > 3 ? strtol(argv[3], NULL, 10) : 1);
	return 2;
}
