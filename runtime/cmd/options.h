/* Options of a subcommand: "--name", "--name=value", "--name value", "-x"; "--" ends them; operands may stand between.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "../lib/error.h"

struct cow_option {
	const char *name;   /* without the dashes */
	char letter;        /* of a short form, or 0 */
	bool *flag;         /* set to true */
	const char **value; /* or: takes a value */
};

/*
 * `options` ends with an entry without a name. Operands are moved to the front of argv and counted; wrong usage (an
 * unknown option, fewer than `least` or more than `most` operands, `what` each is) is an error of status 2.
 */
int cow_options_parse(int argc, char **argv, const struct cow_option *options, const char *what, size_t least,
		      size_t most, struct cow_error **err);
