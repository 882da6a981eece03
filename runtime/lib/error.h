/*
 * Errors that gain context on their way up and are printed once, in main.
 *
 * Contract of every function that takes `struct cow_error **err`: it returns 0 (or a useful
 * non-negative number) and leaves *err alone, or returns -1 (NULL for pointers) and sets *err.
 * `err` may be NULL: then the message is dropped.
 */
#pragma once

struct cow_error {
	int errnum;    /* errno that began it, or 0 */
	int status;    /* exit status that main should use: COW_EXIT_* */
	char *message; /* one line, no trailing newline */
};

enum { COW_EXIT_OK = 0, COW_EXIT_FAILURE = 1, COW_EXIT_USAGE = 2, COW_EXIT_CONFLICT = 3 };

/* Sets *err and returns -1. With errnum != 0, ": strerror(errnum)" is appended. */
int cow_error_set(struct cow_error **err, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same with an exit status other than COW_EXIT_FAILURE. */
int cow_error_set_status(struct cow_error **err, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Puts "CONTEXT: " before the message of *err (which is set) and returns -1. */
int cow_error_wrap(struct cow_error **err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cow_error_free(struct cow_error *err);
void cow_error_cleanup(struct cow_error **err);

#define cleanup_error __attribute__((cleanup(cow_error_cleanup)))
