#include "delegate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/fd.h"

static const char usual_places[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static bool is_ourselves(const struct stat *st)
{
	struct stat self;

	return stat("/proc/self/exe", &self) == 0 && self.st_dev == st->st_dev && self.st_ino == st->st_ino;
}

/* 0, or the errno that says why this is not a program to run. */
static int usable(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return errno;
	if (!S_ISREG(st.st_mode))
		return EACCES;
	if (access(path, X_OK) != 0)
		return errno;
	return is_ourselves(&st) ? ELOOP : 0;
}

static char *search(const char *name, const char *places)
{
	while (*places != '\0') {
		size_t length = strcspn(places, ":");
		char *path = NULL;

		/* A relative entry would mean another program in every working directory. */
		if (places[0] == '/') {
			if (asprintf(&path, "%.*s/%s", (int)length, places, name) < 0)
				abort();
			if (usable(path) == 0)
				return path;
			free(path);
		}
		places += length + (places[length] == ':');
	}
	return NULL;
}

static void append(char **list, const char *name)
{
	char *longer = NULL;

	if (asprintf(&longer, "%s%s%s", *list != NULL ? *list : "", *list != NULL ? ", " : "", name) < 0)
		abort();
	free(*list);
	*list = longer;
}

char *cow_delegate_find(char *const *names, struct cow_error **err)
{
	cleanup_free char *tried = NULL;
	const char *places = getenv("PATH");
	int why = ENOENT;

	for (; *names != NULL; names++) {
		char *path = NULL;

		if (strchr(*names, '/') != NULL) {
			int errnum = usable(*names);

			if (errnum == 0)
				path = (*names)[0] == '/' ? strdup(*names) : realpath(*names, NULL);
			else if (errnum == ELOOP)
				append(&tried, "cowrun itself as");
			if (errnum != 0 && errnum != ELOOP)
				why = errnum;
		} else {
			path = places != NULL ? search(*names, places) : NULL;
			if (path == NULL)
				path = search(*names, usual_places);
		}
		if (path != NULL)
			return path;
		append(&tried, *names);
	}
	cow_error_set(err, why, "no runtime to delegate to: %s", tried != NULL ? tried : "none configured");
	return NULL;
}
