/* Processes and threads that play in turn. Lines and results are in shared memory; pipes say whose turn it is. */
#include "play.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000, NUMBER_ROOM = 16 };

struct stage {
	char line[LINE_ROOM];
	struct result result;
	pid_t pid; /* of its process */
	bool started;
};

static struct stage *stages;
static int turn[ACTORS][2], done[ACTORS][2], inbox[ACTORS][2];

void actors_prepare(void)
{
	stages = mmap(NULL, sizeof(*stages) * ACTORS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stages == MAP_FAILED)
		abort();
	for (int i = 0; i < ACTORS; i++)
		if (pipe(turn[i]) != 0 || pipe(done[i]) != 0 ||
		    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, inbox[i]) != 0)
			abort();
}

int actor_inbox(int number, bool to_send)
{
	return inbox[number % ACTORS][to_send ? 1 : 0];
}

/* "@N", which names do not have, is the number of actor N's process. */
static void name_processes(const char *from, char *to, size_t room)
{
	size_t used = 0;

	for (; *from != '\0' && used + NUMBER_ROOM < room; from++) {
		if (from[0] == '@' && from[1] >= '0' && from[1] < '0' + ACTORS) {
			used += (size_t)snprintf(to + used, room - used, "%d", (int)stages[from[1] - '0'].pid);
			from++;
		} else {
			to[used++] = *from;
		}
	}
	to[used] = '\0';
}

static void play_turn(int number)
{
	static __thread char line[LINE_ROOM];
	struct call call = {.result = &stages[number].result};

	call.result->length = 0;
	name_processes(stages[number].line, line, sizeof(line));
	if (parse_call(line, &call))
		run_call(&call);
	else
		say(call.result, "no call");
}

static void *attend(void *data)
{
	int number = (int)(intptr_t)data;
	char byte;

	while (read(turn[number][0], &byte, 1) == 1 && byte == 'p') {
		play_turn(number);
		if (write(done[number][1], "d", 1) != 1)
			abort();
	}
	return NULL;
}

int actor_fork(int number)
{
	pid_t pid;

	if (stages[number].started)
		return EBUSY;
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return errno;
	if (pid == 0) {
		attend((void *)(intptr_t)number);
		_exit(0);
	}
	stages[number].pid = pid;
	stages[number].started = true;
	return 0;
}

int actor_thread(int number)
{
	pthread_t thread;

	if (stages[number].started)
		return EBUSY;
	if (pthread_create(&thread, NULL, attend, (void *)(intptr_t)number) != 0)
		return EAGAIN;
	pthread_detach(thread);
	stages[number].pid = getpid();
	stages[number].started = true;
	return 0;
}

bool actor_play(int number, const char *line, struct result **result)
{
	struct pollfd wait = {.events = POLLIN};
	char byte;

	if (number < 0 || number >= ACTORS || !stages[number].started || strlen(line) >= LINE_ROOM)
		return false;
	*result = &stages[number].result;
	strcpy(stages[number].line, line);
	wait.fd = done[number][0];
	return write(turn[number][1], "p", 1) == 1 && poll(&wait, 1, PATIENCE_MS) == 1 &&
	       read(done[number][0], &byte, 1) == 1;
}

void actors_dismiss(void)
{
	for (int i = 0; i < ACTORS; i++)
		if (stages[i].started)
			(void)!write(turn[i][1], "q", 1);
}
