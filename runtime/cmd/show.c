/* cowrun branch show NAME */
#include <stdio.h>

#include "../lib/fd.h"
#include "command.h"
#include "counts.h"
#include "describe.h"

static void print_text(const struct cow_branch *b)
{
	char created[32];

	cow_command_time(created, sizeof(created), b->created);
	printf("branch     %s\ncontainer  %s\ncreated    %s\nstatus     %s\n", b->name, b->id, created,
	       cow_describe_status(b));
	for (size_t i = 0; i < b->ntrees; i++) {
		printf("workdir    %s\nlower      %s\n", b->trees[i].workdir, b->trees[i].lower);
		for (char **m = b->trees[i].mountpoints; m != NULL && *m != NULL; m++)
			printf("mounted    %s\n", *m);
	}
}

int cow_branch_show_main(int argc, char **argv, struct cow_error **err)
{
	bool json = false, stats = false, running = false;
	const struct cow_option options[] = {{"json", 0, &json, NULL}, {"stats", 0, &stats, NULL}, {0}};
	cleanup_branch struct cow_branch *b = NULL;
	cleanup_json struct cow_json *counts = NULL;

	if (cow_options_parse(argc, argv, options, "branch", 1, 1, err) < 0)
		return -1;
	b = cow_command_load(argv[0], err);
	if (b == NULL)
		return -1;
	if (stats && (counts = cow_counts_get(b, &running, err)) == NULL)
		return -1;
	if (json) {
		cleanup_json struct cow_json *o = cow_describe_branch(b);

		if (stats)
			cow_json_set(o, "stats", cow_steal_ptr(&counts));
		return cow_command_print_json(o, err);
	}
	print_text(b);
	if (stats)
		cow_counts_print(counts, running);
	return cow_command_flush(err);
}
