/* `cowrun branch …`: argv[0] is "branch". Prints its own results; returns the exit status (DESIGN, section 6). */
#pragma once

int cow_cmd_branch(int argc, char **argv);
