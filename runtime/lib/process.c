#include "process.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fd.h"

int cow_process_read(int dirfd, const char *stat, struct cow_process *p)
{
	cleanup_close int fd = openat(dirfd, stat, O_RDONLY | O_CLOEXEC);
	char text[1024];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	const char *rest;

	if (n <= 0)
		return -1;
	text[n] = '\0';
	/* Field 2, the command, may hold anything: what follows its last parenthesis is field 3 (state), 20
	 * (threads), 22.
	 */
	rest = strrchr(text, ')');
	if (rest == NULL ||
	    sscanf(rest + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %ld %*s %" SCNu64,
		   &p->state, &p->threads, &p->began) != 3)
		return -1;
	return 0;
}
