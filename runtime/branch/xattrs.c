#include "xattrs.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "../lib/fd.h"

static bool left_out(const char *name)
{
	static const char *const names[] = {"trusted.cowrun.graft", "user.cowrun.graft", "security.selinux",
					    "security.ima", "security.evm"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static void proc_path(char *out, size_t room, int fd)
{
	snprintf(out, room, "/proc/self/fd/%d", fd);
}

/* All names, NUL-terminated each; an empty list where there can be none. NULL with errno. */
static char *list_names(const char *path, size_t *size)
{
	for (;;) {
		ssize_t need = listxattr(path, NULL, 0);
		cleanup_free char *names = malloc(need > 0 ? (size_t)need : 1);
		ssize_t got;

		if (names == NULL)
			return NULL;
		if (need < 0 && errno != ENOTSUP)
			return NULL;
		got = need > 0 ? listxattr(path, names, (size_t)need) : 0;
		if (got < 0 && errno == ERANGE)
			continue; /* another one came meanwhile */
		if (got < 0)
			return NULL;
		*size = (size_t)got;
		return cow_steal_ptr(&names);
	}
}

/* NULL with errno. */
static char *read_value(const char *path, const char *name, size_t *size)
{
	for (;;) {
		ssize_t need = getxattr(path, name, NULL, 0);
		cleanup_free char *value = malloc(need > 0 ? (size_t)need : 1);
		ssize_t got;

		if (need < 0 || value == NULL)
			return NULL;
		got = need > 0 ? getxattr(path, name, value, (size_t)need) : 0;
		if (got < 0 && errno == ERANGE)
			continue;
		if (got < 0)
			return NULL;
		*size = (size_t)got;
		return cow_steal_ptr(&value);
	}
}

static size_t count_names(const char *names, size_t size)
{
	size_t count = 0;

	for (const char *n = names; n < names + size; n += strlen(n) + 1)
		count += left_out(n) ? 0 : 1;
	return count;
}

/* Has `path` this attribute with this value? */
static int has_value(const char *path, const char *name, const char *value, size_t size)
{
	size_t other_size;
	cleanup_free char *other = read_value(path, name, &other_size);

	if (other == NULL)
		return errno == ENODATA || errno == ENOTSUP ? 0 : -1;
	return other_size == size && memcmp(other, value, size) == 0 ? 1 : 0;
}

int cow_xattrs_equal(int a, int b)
{
	char path_a[40], path_b[40];
	cleanup_free char *names_a = NULL;
	cleanup_free char *names_b = NULL;
	size_t size_a, size_b;

	proc_path(path_a, sizeof(path_a), a);
	proc_path(path_b, sizeof(path_b), b);
	names_a = list_names(path_a, &size_a);
	names_b = names_a != NULL ? list_names(path_b, &size_b) : NULL;
	if (names_b == NULL)
		return -1;
	if (count_names(names_a, size_a) != count_names(names_b, size_b))
		return 0;
	for (const char *n = names_a; n < names_a + size_a; n += strlen(n) + 1) {
		cleanup_free char *value = NULL;
		size_t size;
		int same;

		if (left_out(n))
			continue;
		value = read_value(path_a, n, &size);
		if (value == NULL)
			return errno == ENODATA ? 0 : -1;
		same = has_value(path_b, n, value, size);
		if (same != 1)
			return same;
	}
	return 1;
}

static bool tolerable(int errnum)
{
	return errnum == ENOTSUP || errnum == EPERM || errnum == ENODATA;
}

static int copy_values(const char *from, const char *to, const char *names, size_t size)
{
	for (const char *n = names; n < names + size; n += strlen(n) + 1) {
		cleanup_free char *value = NULL;
		size_t length;

		if (left_out(n))
			continue;
		value = read_value(from, n, &length);
		if (value == NULL && errno != ENODATA)
			return -1;
		if (value != NULL && setxattr(to, n, value, length, 0) != 0 && !tolerable(errno))
			return -1;
	}
	return 0;
}

static bool contains(const char *names, size_t size, const char *name)
{
	for (const char *n = names; n < names + size; n += strlen(n) + 1)
		if (strcmp(n, name) == 0)
			return true;
	return false;
}

int cow_xattrs_make_equal(int from, int to)
{
	char source[40], target[40];
	cleanup_free char *want = NULL;
	cleanup_free char *have = NULL;
	size_t want_size, have_size;

	proc_path(source, sizeof(source), from);
	proc_path(target, sizeof(target), to);
	want = list_names(source, &want_size);
	have = want != NULL ? list_names(target, &have_size) : NULL;
	if (have == NULL)
		return -1;
	for (const char *n = have; n < have + have_size; n += strlen(n) + 1)
		if (!left_out(n) && !contains(want, want_size, n) && removexattr(target, n) != 0 && !tolerable(errno))
			return -1;
	return copy_values(source, target, want, want_size);
}
