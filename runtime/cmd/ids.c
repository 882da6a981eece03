#include "ids.h"

#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/userns.h"

enum { RANGES = 64, WORDS = 2 + (RANGES + 1) * 3 + 1, NUMBER_SIZE = 24 };

/* The command line of newuidmap(1) or newgidmap(1). */
struct map {
	const char *program, *file; /* the file is subuid(5) or subgid(5) */
	unsigned own;
	size_t count;
	char numbers[WORDS][NUMBER_SIZE];
	char *argv[WORDS + 1];
};

static void add(struct map *m, unsigned long number)
{
	snprintf(m->numbers[m->count], NUMBER_SIZE, "%lu", number);
	m->argv[m->count] = m->numbers[m->count];
	m->count++;
}

static bool is_users(const char *line, const char *name, unsigned uid)
{
	size_t n = strcspn(line, ":");
	char number[NUMBER_SIZE];

	snprintf(number, sizeof(number), "%u", uid);
	return (name != NULL && strlen(name) == n && strncmp(line, name, n) == 0) ||
	       (strlen(number) == n && strncmp(line, number, n) == 0);
}

/* Every range that the file gives the user, one after the other as podman takes them. */
static bool read_ranges(struct map *m, const char *name, unsigned uid)
{
	cleanup_file FILE *f = fopen(m->file, "re");
	unsigned long next = 1, first, count;
	char line[512];

	while (f != NULL && fgets(line, sizeof(line), f) != NULL && m->count + 4 < WORDS) {
		const char *colon = strchr(line, ':');

		if (colon == NULL || !is_users(line, name, uid) || sscanf(colon, ":%lu:%lu", &first, &count) != 2 ||
		    count == 0)
			continue;
		add(m, next);
		add(m, first);
		add(m, count);
		next += count;
	}
	return next > 1;
}

static bool prepare(struct map *m, pid_t pid, const char *name, unsigned uid)
{
	m->argv[0] = (char *)m->program;
	m->count = 1;
	add(m, (unsigned long)pid);
	add(m, 0);
	add(m, m->own);
	add(m, 1);
	return read_ranges(m, name, uid);
}

static int run(char *const *argv)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		/* What they have to say is said better below. */
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		if (null >= 0)
			dup2(null, STDERR_FILENO);
		execvp(argv[0], argv);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}

/* The process that waits outside until this one is in its namespace, and then writes the maps. */
static pid_t start_writer(struct map maps[2], int ends[2])
{
	pid_t pid;
	char go;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -1;
	pid = fork();
	if (pid != 0)
		return pid;
	close(ends[1]);
	_exit(read(ends[0], &go, 1) == 1 && run(maps[0].argv) == 0 && run(maps[1].argv) == 0 ? 0 : 1);
}

static bool write_file(const char *path, const char *text)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* Without help a process maps its own ids and no others. */
static void map_own(const struct map maps[2])
{
	char text[64];

	snprintf(text, sizeof(text), "0 %u 1\n", maps[0].own);
	write_file("/proc/self/uid_map", text);
	write_file("/proc/self/setgroups", "deny");
	snprintf(text, sizeof(text), "0 %u 1\n", maps[1].own);
	write_file("/proc/self/gid_map", text);
}

const char *cow_command_take_ids(void)
{
	static struct map maps[2] = {{.program = "newuidmap", .file = "/etc/subuid"},
				     {.program = "newgidmap", .file = "/etc/subgid"}};
	const struct passwd *pw;
	const char *name;
	int ends[2] = {-1, -1};
	pid_t writer = -1;
	int status = 1;
	bool some;

	if (geteuid() == 0)
		return NULL;
	pw = getpwuid(geteuid());
	name = pw != NULL ? pw->pw_name : NULL;
	maps[0].own = geteuid();
	maps[1].own = getegid();
	some = prepare(&maps[0], getpid(), name, geteuid()) && prepare(&maps[1], getpid(), name, geteuid());
	if (some)
		writer = start_writer(maps, ends);
	if (unshare(CLONE_NEWUSER) == 0) {
		if (writer > 0 && (write(ends[1], "x", 1) != 1 || waitpid(writer, &status, 0) != writer))
			status = 1;
		if (status != 0)
			map_own(maps);
		cow_userns_entered();
	} else {
		some = true;
	}
	cow_close_fd(&ends[0]);
	cow_close_fd(&ends[1]);
	if (status == 0)
		return NULL;
	return some ? "newuidmap and newgidmap could not map your subordinate ids"
		    : "you have no subordinate ids in /etc/subuid and /etc/subgid";
}
