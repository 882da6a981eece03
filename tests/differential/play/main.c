/*
 * play PROGRAM [TREE]: plays the program with one actor, 0, at first; prints "call N RESULT" for each line and then
 * what TREE has become. play --walk TREE:    that alone. play --hello:        says who it is (what the program
 * executes).
 */
#include "play.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What a program can see of itself. */
static int hello(const char *name)
{
	struct result r = {0};
	char text[4096];
	ssize_t n = readlink("/proc/self/exe", text, sizeof(text));

	say_bytes(&r, name, strlen(name));
	say(&r, " ");
	say_bytes(&r, text, n > 0 ? (size_t)n : 0);
	puts(r.text);
	return 0;
}

static int play(const char *path)
{
	char line[LINE_ROOM];
	FILE *program = fopen(path, "re");
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	unsigned count = 0;

	if (program == NULL || dup3(proc, PROC_FD, O_CLOEXEC) < 0 || actor_fork(0) != 0) {
		perror(path);
		return 1;
	}
	while (fgets(line, sizeof(line), program) != NULL) {
		struct result *result = NULL;
		int actor = -1;
		bool played;

		if (sscanf(line, "%d", &actor) != 1)
			continue;
		played = actor_play(actor, line, &result);
		printf("call %u %s\n", count, played ? result->text : result == NULL ? "no such actor" : "hangs");
		if (!played && result != NULL)
			return 1;
		count++;
	}
	fclose(program);
	return 0;
}

int main(int argc, char **argv)
{
	int status;

	if (argc >= 2 && strcmp(argv[1], "--hello") == 0)
		return hello(argv[0]);
	if (argc == 3 && strcmp(argv[1], "--walk") == 0)
		return walk(argv[2]);
	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: play PROGRAM [TREE] | --walk TREE | --hello\n");
		return 2;
	}
	actors_prepare();
	status = play(argv[1]);
	actors_dismiss();
	if (status == 0 && argc == 3)
		status = walk(argv[2]);
	fflush(stdout);
	return status;
}
