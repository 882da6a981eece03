#include "userns.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The number of the first one is fixed since Linux 3.8 (PROC_USER_INIT_INO). Maps tell less: root can give all ids
 * away. */
static const ino_t first = 0xEFFFFFFD;

bool cow_userns_initial(void)
{
	struct stat st;

	return stat("/proc/self/ns/user", &st) == 0 && st.st_ino == first;
}

static bool is_set(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && *value != '\0';
}

static bool entered;

void cow_userns_entered(void)
{
	entered = true;
}

bool cow_userns_rootless(void)
{
	const char *user = getenv("USER");

	if (geteuid() != 0 || entered)
		return true;
	if (cow_userns_initial())
		return false;
	if (is_set("_CONTAINERS_USERNS_CONFIGURED") || is_set("_CONTAINERS_ROOTLESS_UID"))
		return true;
	return is_set("XDG_RUNTIME_DIR") && (user == NULL || strcmp(user, "root") != 0);
}
