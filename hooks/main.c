#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../runtime/lib/log.h"
#include "hook.h"

int main(int argc, char **argv)
{
	cleanup_error struct cow_error *err = NULL;

	cow_log_set_program("cowrun-hook");
	if (argc != 3 || strcmp(argv[1], "--state") != 0) {
		fputs("usage: cowrun-hook --state DIR <STATE\n", stderr);
		return COW_EXIT_USAGE;
	}
	if (cow_hook_run(argv[2], STDIN_FILENO, &err) < 0) {
		cow_log_error("%s", err->message);
		return COW_EXIT_FAILURE;
	}
	return COW_EXIT_OK;
}
