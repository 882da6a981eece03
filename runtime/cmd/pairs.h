/*
 * Many comparisons by one diff(1): to start the program takes longer than to compare most files.
 *
 * `diff -r` compares what has the same name in two directories, and /proc/PID/fd is a directory of descriptors. So one
 * process holds all the old versions and another the new ones, each pair under the same number. No name that a
 * container chose is looked up, and whatever ends this process leaves nothing behind.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "../lib/error.h"

enum { COW_PAIRS_MAX = 256 };

struct cow_pairs {
	size_t count;
	int old[COW_PAIRS_MAX]; /* ascending, and all of as many digits: in the order in which diff takes names */
	int new[COW_PAIRS_MAX];
	const char *paths[COW_PAIRS_MAX];
	int first, limit; /* the lowest number that `old` may have; what is above the other leaves too few free */
	bool full;

	/* While diff runs. */
	pid_t holders[2], diff;
	FILE *out;
	char *line;
	size_t room;
	int at;         /* number of the pair whose lines come; 0: none yet */
	int names;      /* so many lines with its names are to come */
	bool announced; /* it has not been asked for yet */
	bool told;      /* there was a line of the pair that is asked for */
	bool strange;   /* what diff says is not what it was asked */
	size_t silent;  /* the first pair of which there was no line */
};

void cow_pairs_init(struct cow_pairs *p);
/*
 * Adds two regular files, open for reading; the old one gets another number. All three must stay as they are until the
 * end. The pair's index; or -1 with errno.
 */
ssize_t cow_pairs_add(struct cow_pairs *p, int *old, int new, const char *path);
/* Takes note of a descriptor that stays open until the pairs are compared. */
void cow_pairs_note(struct cow_pairs *p, int fd);
/* Is it time to compare what was added, since there may be no room for another pair? */
static inline bool cow_pairs_full(const struct cow_pairs *p)
{
	return p->full;
}

/* Starts the comparison. 0 or -1 with *err. */
int cow_pairs_start(struct cow_pairs *p, struct cow_error **err);
/*
 * The next line of the hunks of a pair, with its end; NULL after the last one, and if there is none since the files
 * have become equal. Pairs are asked for in order, and until NULL. It is good until the next call.
 */
const char *cow_pairs_line(struct cow_pairs *p, size_t index, size_t *length);
/*
 * To be called in any case, whether it was started or not, and whether all lines were taken; there are no pairs any
 * more then. 0 or -1 with *err: diff failed, or said something of which no pair is.
 */
int cow_pairs_finish(struct cow_pairs *p, struct cow_error **err);
