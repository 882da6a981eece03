#include "paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PRINTABLE_MAX = 512 };

static void *need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

char *cow_path_join(const char *dir, const char *path)
{
	char *joined = NULL;

	if (path[0] == '/')
		return need(strdup(path));
	if (asprintf(&joined, "%s/%s", dir, path) < 0)
		abort();
	return joined;
}

char *cow_path_clean(const char *path)
{
	char *clean = need(malloc(strlen(path) + 2));
	size_t len = 0;

	while (*path != '\0') {
		size_t n = strcspn(path, "/");

		if (n == 2 && path[0] == '.' && path[1] == '.') {
			while (len > 0 && clean[--len] != '/')
				;
		} else if (n > 0 && !(n == 1 && path[0] == '.')) {
			clean[len++] = '/';
			memcpy(clean + len, path, n);
			len += n;
		}
		path += n;
		path += strspn(path, "/");
	}
	if (len == 0)
		clean[len++] = '/';
	clean[len] = '\0';
	return clean;
}

const char *cow_path_below(const char *path, const char *dir)
{
	size_t n = strcmp(dir, "/") == 0 ? 0 : strlen(dir);

	if (strncmp(path, dir, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return NULL;
	return path + n + strspn(path + n, "/");
}

char *cow_path_printable(const char *text)
{
	char *out = need(malloc(4 * PRINTABLE_MAX + sizeof("...")));
	char *p = out;

	for (size_t i = 0; text[i] != '\0'; i++) {
		unsigned char c = (unsigned char)text[i];

		/* Not in the middle of a character of UTF-8. */
		if (i >= PRINTABLE_MAX - 4 && (c & 0xc0) != 0x80) {
			strcpy(p, "...");
			return out;
		}
		if (c < 0x20 || c == 0x7f)
			p += sprintf(p, "\\x%02x", c);
		else
			*p++ = (char)c;
		if (i == PRINTABLE_MAX - 1)
			break;
	}
	*p = '\0';
	return out;
}
