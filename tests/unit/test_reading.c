/* Readings of a directory that go on in another one. */
#include "../../runtime/agent/agent.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../runtime/lib/fd.h"
#include "tap.h"

enum { COUNT = 400 };

static int make(const char *top, const char *name)
{
	int fd;

	mkdirat(AT_FDCWD, top, 0700);
	fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mkdirat(fd, name, 0700);
	cleanup_close int dir = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	close(fd);
	for (int i = 0; i < COUNT; i++) {
		char file[40];

		snprintf(file, sizeof(file), "a-name-%03d", i);
		close(openat(dir, file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	}
	return openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Counts into seen[]; at most `pieces` calls. */
static void read_some(int fd, int pieces, int *seen)
{
	_Alignas(struct dirent64) char room[1024];
	ssize_t n;

	while (pieces-- > 0 && (n = getdents64(fd, room, sizeof(room))) > 0)
		for (char *p = room; p < room + n; p += ((struct dirent64 *)p)->d_reclen) {
			const char *name = ((struct dirent64 *)p)->d_name;

			if (*name == 'a')
				seen[atoi(name + 7)]++;
			else if (*name == 'n')
				seen[COUNT]++;
		}
}

static size_t count(const int *seen, int times)
{
	size_t found = 0;

	for (int i = 0; i < COUNT; i++)
		found += seen[i] == times;
	return found;
}

/* Reads `pieces` of the one, and the rest in the other. */
static void cross(int old, int fresh, int pieces, int *seen)
{
	cleanup_close int path = openat(old, ".", O_PATH | O_CLOEXEC);

	lseek(old, 0, SEEK_SET);
	lseek(fresh, 0, SEEK_SET);
	read_some(old, pieces, seen);
	cow_reading_carry(path, lseek(old, 0, SEEK_CUR), fresh);
	read_some(fresh, 10000, seen);
}

static void each_once(const char *where, const char *what)
{
	cleanup_free char *top = NULL;
	cleanup_close int old = -1;
	cleanup_close int fresh = -1;
	bool good = true;

	if (asprintf(&top, "%s/reading-XXXXXX", where) < 0 || mkdtemp(top) == NULL)
		abort();
	old = make(top, "old");
	fresh = make(top, "fresh");
	for (int pieces = 1; pieces < 20; pieces++) {
		int seen[COUNT + 1] = {0};

		cross(old, fresh, pieces, seen);
		good = good && count(seen, 1) == COUNT;
	}
	ok(good, "%s: each entry once, wherever the reading was", what);
	unlinkat(fresh, "a-name-007", 0);
	unlinkat(fresh, "a-name-300", 0);
	close(openat(fresh, "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	good = true;
	for (int pieces = 1; pieces < 20; pieces++) {
		int seen[COUNT + 1] = {0};

		cross(old, fresh, pieces, seen);
		good = good && count(seen, 1) + count(seen, 0) == COUNT && count(seen, 0) <= 2 && seen[COUNT] <= 1;
	}
	ok(good, "%s: also after entries came and went", what);

	int seen[COUNT + 1] = {0};

	cross(old, fresh, 10000, seen);
	ok(count(seen, 1) == COUNT && seen[COUNT] == 0, "%s: at its end it stays at the end", what);
	lseek(fresh, 0, SEEK_SET);
	memset(seen, 0, sizeof(seen));
	read_some(fresh, 10000, seen);
	ok(count(seen, 1) == COUNT - 2 && seen[COUNT] == 1, "%s: anew it is what is there", what);

	cleanup_free char *command = NULL;

	if (asprintf(&command, "rm -rf '%s'", top) < 0 || system(command) != 0)
		abort();
}

/* Orders that have nothing to do with each other: nothing is left out. */
static void disorder(void)
{
	char one[] = "/dev/shm/reading-XXXXXX";
	char other[] = "/var/tmp/reading-XXXXXX";
	char command[100];
	int seen[COUNT + 1] = {0};

	if (mkdtemp(one) == NULL || mkdtemp(other) == NULL)
		abort();
	cleanup_close int old = make(one, "old");
	cleanup_close int fresh = make(other, "fresh");

	cross(old, fresh, 3, seen);
	ok(count(seen, 0) == 0, "two file systems: none is left out");
	snprintf(command, sizeof(command), "rm -rf %s %s", one, other);
	if (system(command) != 0)
		abort();
}

int main(void)
{
	each_once("/var/tmp", "disk");
	each_once("/dev/shm", "tmpfs");
	disorder();
	return done_testing();
}
