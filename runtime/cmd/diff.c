/* cowrun branch diff NAME */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "patch.h"
#include "rows.h"

static int print_json(const struct cow_branch *b, const struct cow_rows *r, struct cow_error **err)
{
	cleanup_json struct cow_json *o = cow_json_new_object();
	struct cow_json *changes = cow_json_new_array();

	cow_json_set(o, "branch", cow_json_new_string(b->name));
	for (size_t i = 0; i < r->count; i++)
		cow_json_append(changes, cow_row_json(&r->list[i]));
	cow_json_set(o, "changes", changes);
	return cow_command_print_json(o, err);
}

/* As git's -z: nothing is quoted, and a NUL ends each field. */
static int print_null(const struct cow_rows *r, struct cow_error **err)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct cow_row *row = &r->list[i];

		printf("%c%c", row->change->op, '\0');
		if (row->old != NULL)
			printf("%s%c", row->old, '\0');
		if (row->path != NULL)
			printf("%s%c", row->path, '\0');
	}
	return cow_command_flush(err);
}

static int print_status(const struct cow_rows *r, struct cow_error **err)
{
	for (size_t i = 0; i < r->count; i++)
		cow_row_print(&r->list[i]);
	return cow_command_flush(err);
}

/* 1, 0, or -1 with *err. */
static int use_color(const char *when, struct cow_error **err)
{
	if (strcmp(when, "auto") == 0) {
		const char *no = getenv("NO_COLOR"); /* no-color.org */

		return isatty(STDOUT_FILENO) && (no == NULL || *no == '\0');
	}
	if (strcmp(when, "always") == 0 || strcmp(when, "never") == 0)
		return *when == 'a';
	return cow_error_set_status(err, COW_EXIT_USAGE, "--color is auto, always or never, not %s", when);
}

int cow_branch_diff_main(int argc, char **argv, struct cow_error **err)
{
	bool json = false, status = false, stat = false, null = false;
	const char *color = "auto";
	const struct cow_option options[] = {
		{"json", 0, &json, NULL},   {"name-status", 0, &status, NULL}, {"stat", 0, &stat, NULL},
		{"null", 'z', &null, NULL}, {"color", 0, NULL, &color},        {0},
	};
	cleanup_branch struct cow_branch *b = NULL;
	cleanup_rows struct cow_rows rows = {0};
	struct cow_style style = {.guard = isatty(STDOUT_FILENO)};
	int colored;

	if (cow_options_parse(argc, argv, options, "branch", 1, 1, err) < 0)
		return -1;
	if (json + status + stat + null > 1 && !(status && null && !json && !stat))
		return cow_error_set_status(err, COW_EXIT_USAGE, "one of --json, --name-status and --stat");
	colored = use_color(color, err);
	if (colored < 0)
		return -1;
	style.color = colored > 0;
	b = cow_command_load(argv[0], err);
	if (b == NULL || cow_rows_make(&rows, b, err) != 0)
		return -1;
	if (json)
		return print_json(b, &rows, err);
	if (null)
		return print_null(&rows, err);
	if (status)
		return print_status(&rows, err);
	return stat ? cow_patch_stat(&rows, err) : cow_patch_print(&rows, &style, err);
}
