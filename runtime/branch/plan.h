/*
 * The steps of a commit, and branches/NAME/commit where they are kept until they are all done.
 *
 * New content is first made in the *stage*, a directory of its own in the lower's root. From then on every step is one
 * rename into the stage or out of it, under a number that no other step uses; so what is in the stage, and what not,
 * tells which steps were done, and a commit that was killed goes on where it was.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "journal.h"
#include "store.h"

enum cow_step_kind {
	COW_STEP_DETACH = 1, /* lower `path` goes to stage name `staged` */
	COW_STEP_ATTACH,     /* stage name `staged` goes to lower `path`; a file may replace one */
	COW_STEP_LINK,       /* lower `path` becomes a further name of lower `source`, by way of stage name `staged` */
	COW_STEP_ATTRIBUTES, /* owner, mode and extended attributes of directory `path` of the upper go to the lower's
			      */
	COW_STEP_TIMES,      /* modification time of directory `path` */
};

struct cow_step {
	enum cow_step_kind kind;
	size_t tree;
	char staged[24];               /* "" for none */
	char *path;                    /* relative to the lower's root, as it is when the step's turn comes */
	char *source;                  /* of LINK, else "" */
	struct cow_lower_stamp expect; /* of what is at `path` before; ino 0: nothing is */
	struct timespec mtime;         /* of TIMES */
	size_t order;                  /* in which it was thought of; not kept */
};

struct cow_plan {
	struct cow_step *steps;
	size_t count, room;
	uint64_t numbers;
};

struct cow_step *cow_plan_add(struct cow_plan *p, enum cow_step_kind kind, size_t tree, const char *path,
			      const char *source);
void cow_plan_clear(struct cow_plan *p);
#define cleanup_plan __attribute__((cleanup(cow_plan_clear)))

/* Atomic, and on disk when it returns. 0 or -1 with *err. */
int cow_plan_save(const struct cow_plan *p, const struct cow_branch *b, struct cow_error **err);
/* 1, 0 if there is none, or -1 with *err. */
int cow_plan_load(struct cow_plan *p, const struct cow_branch *b, struct cow_error **err);
bool cow_plan_exists(const struct cow_branch *b);
/*
 * How far it is. MOVED: every DETACH is done; from now on what is not in the stage has left it. DONE: every step is;
 * what is left in the stage is not needed any more.
 */
enum cow_plan_mark { COW_PLAN_MOVED, COW_PLAN_DONE };
int cow_plan_set_mark(const struct cow_branch *b, enum cow_plan_mark mark, struct cow_error **err);
bool cow_plan_has_mark(const struct cow_branch *b, enum cow_plan_mark mark);

/* Name of the stage of a tree in its lower's root; no container can guess it. */
void cow_plan_stage_name(char *out, size_t room, const struct cow_branch *b, size_t tree);
