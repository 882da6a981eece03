/*
 * cowrun: an OCI runtime that gives a container a copy-on-write branch of a directory.
 *
 * `cowrun branch …` is its own command (runtime/cmd). Everything else is runc's command line, for a delegate (crun or
 * runc) that cowrun prepares containers for (runtime/wrapper).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/branch.h"
#include "lib/log.h"
#include "wrapper/wrapper.h"

static int print_help(int argc, char **argv)
{
	(void)argc, (void)argv;
	return puts("Usage: cowrun [GLOBAL OPTION...] COMMAND [ARGUMENT...]\n"
		    "\n"
		    "An OCI runtime in front of crun or runc. A container whose bundle has the annotation\n"
		    "run.cowrun.workdir=DIRECTORY gets a copy-on-write branch of what is mounted there.\n"
		    "\n"
		    "  cowrun branch ls|show|diff|commit|discard ...   what containers wrote, and what becomes of it\n"
		    "  cowrun create|run|exec|delete|kill|start|...    the command line of runc and crun\n"
		    "  cowrun --version                                cowrun's version and the delegate's\n"
		    "\n"
		    "See cowrun(8).") < 0;
}

static int run_wrapper(int argc, char **argv)
{
	cleanup_error struct cow_error *err = NULL;
	int status = cow_wrapper_run(argc, argv, &err);

	if (status >= 0)
		return status;
	cow_log_error("%s", err->message);
	return err->status != 0 ? err->status : COW_EXIT_FAILURE;
}

/* Ours, then what the delegate says of itself. */
static int print_version(int argc, char **argv)
{
	puts("cowrun version " COW_VERSION);
	fflush(stdout);
	return run_wrapper(argc, argv);
}

static int branch(int argc, char **argv)
{
	return cow_cmd_branch(argc - 1, argv + 1);
}

static const struct {
	const char *word;
	int (*run)(int argc, char **argv);
} commands[] = {
	{"branch", branch},   {"--help", print_help},       {"-h", print_help},
	{"help", print_help}, {"--version", print_version}, {"-v", print_version},
};

/* A program that is started without stdin, stdout or stderr would get other files in their place. */
static void fill_stdio(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	fill_stdio();
	if (argc < 2) {
		print_help(argc, argv);
		return COW_EXIT_USAGE;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (strcmp(argv[1], commands[i].word) == 0)
			return commands[i].run(argc, argv);
	return run_wrapper(argc, argv);
}
