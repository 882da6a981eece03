/*
 * The text of one file's change: unified hunks. diff(1) compares; what is wholly new or wholly gone needs no
 * comparison, and so no process.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "../lib/error.h"

/* One version of a file: readable descriptor, -1 where there is none; label: what its "---" or "+++" line says. */
struct cow_version {
	int fd;
	const char *label;
};

struct cow_lines {
	size_t added, removed;
	bool binary;
};

struct cow_style {
	bool color;
	bool guard; /* stdout is a terminal: control characters, which a container may have put there, are shown instead
		     */
};

/* Prints the hunks to stdout. 0 or -1 with *err. */
int cow_hunks_print(const struct cow_version *old, const struct cow_version *new, const struct cow_style *style,
		    struct cow_error **err);
/* Counts their lines instead. */
int cow_hunks_count(const struct cow_version *old, const struct cow_version *new, struct cow_lines *lines,
		    struct cow_error **err);
