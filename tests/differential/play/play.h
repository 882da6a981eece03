/*
 * play: executes a program of calls, one call at a time, and says what each gave.
 *
 * A program is a text of lines "ACTOR CALL ARGUMENT...". Actors are processes and threads that are started by calls of
 * the program itself (spawn, thread) and wait for their turn: whoever plays, all others stand still, so that two runs
 * are comparable. Bytes of names are written as %XX where they are not printable; "@" is a null pointer, "%" alone the
 * empty string, @N in a path the number of actor N's process.
 *
 * Everything is done by system calls proper (syscall(2)): nothing of the C library comes between.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	ACTORS = 8,
	ARGUMENTS = 12,
	SLOTS = 32,
	PROC_FD = 199,  /* /proc, also for who has another root */
	FIRST_FD = 200, /* slot N is descriptor FIRST_FD + N */
	LINE_ROOM = 16384,
	RESULT_ROOM = 32768,
};

/* What a call gave: text that is compared. */
struct result {
	size_t length;
	char text[RESULT_ROOM];
};

/* One call on its way, arguments decoded in place. */
struct call {
	int actor;
	int count; /* of arguments, the call's own name not counted */
	char *name;
	char *argument[ARGUMENTS]; /* NULL: "@" */
	size_t length[ARGUMENTS];
	struct result *result;
};

typedef void (*operation)(struct call *c);

struct named_operation {
	const char *name;
	operation run;
};

/* Each family of calls has its table, which ends with a name of NULL. */
extern const struct named_operation open_operations[];
extern const struct named_operation read_operations[];
extern const struct named_operation memory_operations[];
extern const struct named_operation message_operations[];
extern const struct named_operation process_operations[];

/* text.c */
void say(struct result *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Bytes as a word: percent encoded. */
void say_bytes(struct result *r, const void *bytes, size_t length);
/* "ok", "ok VALUE" or the error's name. */
void say_done(struct result *r, long value);
void say_value(struct result *r, long value);
void say_error(struct result *r, int error);
/* Content in short: its length and a hash. */
void say_content(struct result *r, const void *bytes, size_t length);
/* A time of the past or the future exactly; "now" for one that lies near this run. */
void say_time(struct result *r, long long seconds, unsigned nanoseconds);
uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t length);
#define HASH_START 14695981039346656037ULL
/* Splits a line into words, decodes them. False: no line of a program. */
bool parse_call(char *line, struct call *c);

/* call.c */
void run_call(struct call *c);
int slot_fd(const struct call *c, int n); /* descriptor of the slot that argument n names */
int dir_fd(const struct call *c, int n);  /* the same, or AT_FDCWD for "-" */
long number(const struct call *c, int n);
/* Puts a new descriptor in the slot that argument n names and says what it is, or says the error. */
void say_opened(struct call *c, int n, long fd, bool cloexec);

/* identity.c */
void say_identity(struct result *r, int dirfd, const char *path, bool follow);
/* An object's attributes, as statx(2) gave them. */
struct statx;
void say_attributes(struct result *r, const struct statx *st);

/* actors.c */
void actors_prepare(void);
/* Starts an actor: with pid 0 as a thread of the caller's process, else as a forked process. 0 or an errno. */
int actor_fork(int number);
int actor_thread(int number);
/* Gives a line to its actor and waits until it was played. False: it hangs, or there is no such actor. */
bool actor_play(int number, const char *line, struct result **result);
void actors_dismiss(void);
/* Descriptors travel between processes by these: a datagram socket for each actor. */
int actor_inbox(int number, bool to_send);

/* walk.c: prints everything below a directory, a line an entry. */
int walk(const char *top);
