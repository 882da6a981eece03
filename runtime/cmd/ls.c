/* cowrun branch ls */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/fd.h"
#include "../lib/log.h"
#include "../lib/place.h"
#include "command.h"
#include "describe.h"

static void names_cleanup(char ***names)
{
	for (char **n = *names; n != NULL && *n != NULL; n++)
		free(*n);
	free(*names);
}

static void print_row(const struct cow_branch *b)
{
	char created[32];

	cow_command_time(created, sizeof(created), b->created);
	/* Engines' ids of 64 digits would fill the line; twelve are what they show themselves. */
	printf("%-24s %-12.12s %-20s %-14s", b->name, b->id, created, cow_describe_status(b));
	for (size_t i = 0; i < b->ntrees; i++)
		printf(" %s", b->trees[i].lower);
	putchar('\n');
}

int cow_branch_ls_main(int argc, char **argv, struct cow_error **err)
{
	bool json = false;
	const struct cow_option options[] = {{"json", 0, &json, NULL}, {0}};
	cleanup_free char *store = NULL;
	char **names __attribute__((cleanup(names_cleanup))) = NULL;
	cleanup_json struct cow_json *list = cow_json_new_array();

	if (cow_options_parse(argc, argv, options, "operand", 0, 0, err) < 0)
		return -1;
	store = cow_place_store(err);
	names = store != NULL ? cow_branch_names(store, err) : NULL;
	if (names == NULL)
		return -1;
	if (!json)
		printf("%-24s %-12s %-20s %-14s %s\n", "NAME", "CONTAINER", "CREATED", "STATUS", "LOWER");
	for (char **name = names; *name != NULL; name++) {
		cleanup_error struct cow_error *why = NULL;
		cleanup_branch struct cow_branch *b = cow_branch_load(store, *name, &why);

		if (b == NULL && why->errnum == 0)
			cow_log_warning("%s", why->message);
		else if (b != NULL && json)
			cow_json_append(list, cow_describe_branch(b));
		else if (b != NULL)
			print_row(b);
	}
	if (json)
		return cow_command_print_json(list, err);
	return cow_command_flush(err);
}
