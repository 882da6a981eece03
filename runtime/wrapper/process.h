/* Other programs: run in cowrun's place, beside it, or for their output. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "../lib/error.h"

/* Becomes `path`; returns only with *err set. */
int cow_process_become(const char *path, char *const argv[], struct cow_error **err);

/*
 * Signals that would end cowrun are held back from here on, so that it can clean up; children get the mask and
 * dispositions that cowrun came with.
 */
struct cow_signals {
	sigset_t before, held;
	struct sigaction chld;
	bool active;
};
void cow_signals_hold(struct cow_signals *s);
void cow_signals_release(struct cow_signals *s); /* those that came are delivered now */
#define cleanup_signals __attribute__((cleanup(cow_signals_release)))
/* A signal that asks to end and has come meanwhile (it is taken), or 0. */
int cow_signals_pending(const struct cow_signals *s);

enum { COW_PROCESS_SIGNALLED = 128 };
struct cow_process {
	const char *path;
	char *const *argv;
	int fd, fd_number; /* descriptor to be inherited, and as which number; -1: none */
	bool detached;     /* without stdio and any other inherited descriptor, in the background */
};
/* Starts it. pid, or -1 with *err if it could not be executed. */
pid_t cow_process_start(const struct cow_process *p, const struct cow_signals *s, struct cow_error **err);
/*
 * Waits for the end of `pid`, passing the held signals on to it, and reaps any other child. Exit status, or
 * COW_PROCESS_SIGNALLED + signal with *signalled set.
 */
int cow_process_wait(pid_t pid, const struct cow_signals *s, bool *signalled);

/*
 * Runs a program for its output, with nothing on stdin. *out (caller frees; NULL: not wanted) gets at most 1 MiB of
 * stdout, or of stderr if from_stderr. Exit status (signals as above) or -1 with *err: not started, or killed after
 * `seconds`.
 */
int cow_process_ask(const char *path, char *const argv[], bool from_stderr, int seconds, char **out,
		    struct cow_error **err);
