/* What the files of `cowrun branch` share. */
#pragma once

#include "../branch/store.h"
#include "../lib/error.h"
#include "../lib/json.h"
#include "options.h"

/*
 * The subcommands, a file each. argv holds what follows the subcommand's name. They print their results themselves and
 * return the exit status, or -1 with *err.
 */
int cow_branch_ls_main(int argc, char **argv, struct cow_error **err);
int cow_branch_show_main(int argc, char **argv, struct cow_error **err);
int cow_branch_diff_main(int argc, char **argv, struct cow_error **err);
int cow_branch_commit_main(int argc, char **argv, struct cow_error **err);
int cow_branch_discard_main(int argc, char **argv, struct cow_error **err);

/* The branch of that name in the store that is in force; "no branch NAME" if there is none. NULL with *err. */
struct cow_branch *cow_command_load(const char *name, struct cow_error **err);
/* Prints a document and a newline on stdout. 0 or -1 with *err. */
int cow_command_print_json(const struct cow_json *v, struct cow_error **err);
/* Writes out what stdout still holds: a full disk or a closed pipe is a failure, too. 0 or -1 with *err. */
int cow_command_flush(struct cow_error **err);
/* Seconds since the epoch as 2026-01-31T12:00:00Z; `room` at least 32. */
void cow_command_time(char *out, size_t room, int64_t when);
