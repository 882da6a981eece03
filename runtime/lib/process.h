/* What /proc/PID/stat says of a process or thread (proc_pid_stat(5)). */
#pragma once

#include <stdint.h>

struct cow_process {
	char state;
	long threads;
	uint64_t began; /* clock ticks since boot; with its number it is like no other */
};

/* `stat`: the file's path, relative to dirfd. 0, or -1: there is no such process. */
int cow_process_read(int dirfd, const char *stat, struct cow_process *p);
