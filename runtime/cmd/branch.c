/* `cowrun branch`: the table of its subcommands, and what they share. */
#include "branch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../lib/fd.h"
#include "../lib/log.h"
#include "../lib/place.h"
#include "command.h"
#include "ids.h"

static const struct subcommand {
	const char *name;
	int (*run)(int argc, char **argv, struct cow_error **err); /* NULL: not there yet */
	const char *usage;
	const char *what;
} subcommands[] = {
	{"ls", cow_branch_ls_main, "[--json]", "lists the branches"},
	{"show", cow_branch_show_main, "[--json] [--stats] NAME",
	 "shows what a branch is of, and whether it is in use"},
	{"diff", cow_branch_diff_main, "[--name-status [-z] | --stat | --json] [--color=auto|always|never] NAME",
	 "shows what a branch changes"},
	{"commit", cow_branch_commit_main, "[--dry-run] [--force] [--json] NAME",
	 "makes the changes of a branch in the real directory"},
	{"discard", cow_branch_discard_main, "[--force] NAME...", "throws branches away"},
	{"export", NULL, "NAME", "writes a branch as a layer"},
	{"prune", NULL, "", "throws away what nobody needs"},
	{"recover", NULL, "", "mends what a crash left"},
};

enum { SUBCOMMANDS = sizeof(subcommands) / sizeof(*subcommands) };

/* --- shared --------------------------------------------------------------------------------------------------------
 */

struct cow_branch *cow_command_load(const char *name, struct cow_error **err)
{
	cleanup_free char *store = NULL;
	struct cow_branch *b;

	if (!cow_place_branch_valid(name)) {
		cow_error_set_status(err, COW_EXIT_USAGE, "not a branch name: %s", name);
		return NULL;
	}
	store = cow_place_store(err);
	if (store == NULL)
		return NULL;
	b = cow_branch_load(store, name, err);
	/* Without branch.json it is what a kill left of one, made or removed half. */
	if (b == NULL && err != NULL && *err != NULL && (*err)->errnum == ENOENT)
		cow_error_set(err, 0, "no branch %s in %s", name, store);
	return b;
}

int cow_command_flush(struct cow_error **err)
{
	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return 0;
	return cow_error_set(err, errno, "cannot write the output");
}

int cow_command_print_json(const struct cow_json *v, struct cow_error **err)
{
	cleanup_free char *text = cow_json_print(v, COW_JSON_PRETTY, NULL);
	size_t length = strlen(text);

	fputs(text, stdout);
	if (length == 0 || text[length - 1] != '\n')
		putchar('\n');
	return cow_command_flush(err);
}

void cow_command_time(char *out, size_t room, int64_t when)
{
	time_t t = (time_t)when;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || strftime(out, room, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(out, room, "%lld", (long long)when);
}

/* --- help and dispatch ---------------------------------------------------------------------------------------------
 */

static void print_help(FILE *out)
{
	fputs("usage: cowrun branch COMMAND [OPTION]... [NAME]\n\n", out);
	for (size_t i = 0; i < SUBCOMMANDS; i++)
		fprintf(out, "  %-8s  %s%s\n", subcommands[i].name, subcommands[i].what,
			subcommands[i].run == NULL ? " (not supported yet)" : "");
	fputs("\ncowrun branch COMMAND --help tells a command's options, cowrun-branch(1) the whole of it.\n", out);
}

static bool wants_help(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

static int run(const struct subcommand *command, int argc, char **argv)
{
	cleanup_error struct cow_error *err = NULL;
	const char *lacking;
	int status;

	if (wants_help(argc, argv)) {
		printf("usage: cowrun branch %s%s%s\n%s%s\n", command->name, *command->usage ? " " : "", command->usage,
		       command->what, command->run == NULL ? "; not supported yet" : "");
		return cow_command_flush(NULL) == 0 ? COW_EXIT_OK : COW_EXIT_FAILURE;
	}
	if (command->run == NULL) {
		cow_log_error("branch %s is not supported yet", command->name);
		return COW_EXIT_USAGE;
	}
	lacking = cow_command_take_ids();
	status = command->run(argc, argv, &err);
	if (status >= 0)
		return status;
	fflush(stdout);
	if (lacking != NULL && (err->errnum == EACCES || err->errnum == EPERM))
		cow_log_error("%s (%s)", err->message, lacking);
	else
		cow_log_error("%s", err->message);
	if (err->status == COW_EXIT_USAGE)
		fprintf(stderr, "usage: cowrun branch %s %s\n", command->name, command->usage);
	return err->status;
}

int cow_cmd_branch(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return COW_EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		print_help(stdout);
		return cow_command_flush(NULL) == 0 ? COW_EXIT_OK : COW_EXIT_FAILURE;
	}
	for (size_t i = 0; i < SUBCOMMANDS; i++)
		if (strcmp(argv[1], subcommands[i].name) == 0)
			return run(&subcommands[i], argc - 2, argv + 2);
	cow_log_error("branch: no such command: %s (cowrun branch --help)", argv[1]);
	return COW_EXIT_USAGE;
}
