/* The mark of a placeholder (contrib/doc/architecture.md, "On disk"). */
#include "store.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/userns.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *attribute = "trusted.cowrun.graft";

/* trusted.* asks for CAP_SYS_ADMIN in the first user namespace. */
static void choose_attribute(void)
{
	if (geteuid() != 0 || !cow_userns_initial())
		attribute = "user.cowrun.graft";
}

bool cow_mark_on_special(void)
{
	pthread_once(&once, choose_attribute);
	return strncmp(attribute, "trusted.", strlen("trusted.")) == 0;
}

int cow_mark_set(const struct cow_branch *b, int fd, const char *path)
{
	char value[COW_NONCE_SIZE + PATH_MAX];
	size_t length = strlen(path);
	char proc[40];

	pthread_once(&once, choose_attribute);
	if (length > PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(value, b->nonce, COW_NONCE_SIZE);
	memcpy(value + COW_NONCE_SIZE, path, length);
	if (fsetxattr(fd, attribute, value, COW_NONCE_SIZE + length, 0) == 0)
		return 0;
	if (errno != EBADF)
		return -1;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	return setxattr(proc, attribute, value, COW_NONCE_SIZE + length, 0);
}

int cow_mark_get(const struct cow_branch *b, int fd, char **path)
{
	char value[COW_NONCE_SIZE + PATH_MAX];
	char proc[40];
	ssize_t n;

	pthread_once(&once, choose_attribute);
	n = fgetxattr(fd, attribute, value, sizeof(value));
	if (n < 0 && errno == EBADF) {
		snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
		n = getxattr(proc, attribute, value, sizeof(value));
	}
	if (n < 0)
		return errno == ENODATA || errno == ENOTSUP || errno == ERANGE ? 0 : -1;
	if (n <= COW_NONCE_SIZE || memcmp(value, b->nonce, COW_NONCE_SIZE) != 0 ||
	    memchr(value + COW_NONCE_SIZE, '\0', (size_t)n - COW_NONCE_SIZE) != NULL)
		return 0;
	*path = strndup(value + COW_NONCE_SIZE, (size_t)n - COW_NONCE_SIZE);
	return *path != NULL ? 1 : -1;
}

int cow_mark_clear(int fd)
{
	pthread_once(&once, choose_attribute);
	return fremovexattr(fd, attribute) == 0 || errno == ENODATA ? 0 : -1;
}
