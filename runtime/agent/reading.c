/*
 * Directories that are half read. A reading is at a position that means something to one directory of one file system
 * only; when a directory of the lower becomes one of the upper under a process that reads it, the entries that it has
 * still to see must be those that come after the new position. They are, wherever both file systems list them in one
 * order: ext4 by the names' hash, the others as they were made, and a split makes them in the order in which it reads
 * them. So the new position is that before the first entry which the old reading has not come to. Where the orders
 * differ there is no such place, and the reading begins anew: entries may show twice, but none is left out.
 */
#include "agent.h"

#include <dirent.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/fd.h"

struct names {
	size_t count, room;
	char **list; /* sorted, once complete */
};

static void names_cleanup(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->list[i]);
	free(n->list);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add(struct names *n, const char *name)
{
	if (n->count == n->room) {
		n->room = n->room == 0 ? 256 : 2 * n->room;
		n->list = realloc(n->list, n->room * sizeof(*n->list));
		if (n->list == NULL)
			abort();
	}
	if ((n->list[n->count++] = strdup(name)) == NULL)
		abort();
}

static bool has(const struct names *n, const char *name)
{
	return n->count > 0 && bsearch(&name, n->list, n->count, sizeof(*n->list), compare) != NULL;
}

/* Calls `each` for every entry from where `dir` is; it ends the reading by returning false. False on an error. */
static bool read_on(int dir, bool (*each)(const struct dirent64 *entry, void *data), void *data)
{
	_Alignas(struct dirent64) char room[32768];
	ssize_t n;

	while ((n = getdents64(dir, room, sizeof(room))) > 0)
		for (char *p = room; p < room + n; p += ((struct dirent64 *)p)->d_reclen)
			if (!each((struct dirent64 *)p, data))
				return true;
	return n == 0;
}

static bool collect(const struct dirent64 *entry, void *data)
{
	add(data, entry->d_name);
	return true;
}

static bool names_from(int dir, long long position, struct names *n)
{
	if (lseek(dir, position, SEEK_SET) < 0 || !read_on(dir, collect, n))
		return false;
	if (n->count > 0)
		qsort(n->list, n->count, sizeof(*n->list), compare);
	return true;
}

struct matching {
	struct names all, rest; /* of the old directory; those that were not read yet */
	bool begun;             /* an entry of the rest was met */
	bool disorder;
	long long place; /* before it */
};

static bool match(const struct dirent64 *entry, void *data)
{
	struct matching *m = data;

	if (has(&m->rest, entry->d_name))
		m->begun = true;
	else if (m->begun && has(&m->all, entry->d_name))
		m->disorder = true;
	if (!m->begun)
		m->place = entry->d_off;
	return !m->disorder;
}

static void matching_cleanup(struct matching *m)
{
	names_cleanup(&m->all);
	names_cleanup(&m->rest);
}

void cow_reading_carry(int old, long long position, int fresh)
{
	struct matching m __attribute__((cleanup(matching_cleanup))) = {.place = 0};
	cleanup_close int before = openat(old, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (before >= 0 && cow_same_object(before, fresh)) {
		_Alignas(struct dirent64) char room[1024];

		/* ext4 begins where the first position was that it read from: from there on a rewinddir(3) finds
		 * nothing. */
		(void)getdents64(fresh, room, sizeof(room));
		(void)lseek(fresh, position, SEEK_SET);
		return;
	}
	if (before < 0 || !names_from(before, 0, &m.all) || !names_from(before, position, &m.rest) ||
	    !read_on(fresh, match, &m) || m.disorder)
		m.place = 0;
	/* At its end it stays there: that is a position, too, and further than after the last entry. */
	if (m.begun || m.place == 0)
		(void)lseek(fresh, m.place, SEEK_SET);
}
