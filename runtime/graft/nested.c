/*
 * Mounts in the lower. A directory graft is a clone with everything mounted in it, and these clones are mounts of their
 * own: a descriptor in one must be known to be in the graft. The lower is private and locked, so its mounts are those
 * of the start: their paths are noted then, and looked up in every graft that is cut above one.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/fd.h"

struct cow_nested {
	char *path;     /* below the lower */
	uint64_t mount; /* the one in the lower itself, of which the grafts have clones */
	struct cow_nested *next;
};

struct cow_alias {
	uint64_t mount, graft;
	struct cow_alias *next;
};

/* One line of proc_pid_mountinfo(5). */
struct row {
	unsigned id, parent;
	char *point;
};

struct rows {
	struct row *list;
	size_t count;
};

static void rows_cleanup(struct rows *r)
{
	for (size_t i = 0; i < r->count; i++)
		free(r->list[i].point);
	free(r->list);
}

/* "\040" and the like. */
static void unescape(char *text)
{
	char *out = text;

	for (const char *in = text; *in != '\0'; out++) {
		if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] != '\0' && in[3] != '\0') {
			*out = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
			in += 4;
		} else {
			*out = *in++;
		}
	}
	*out = '\0';
}

static int parse(FILE *file, struct rows *rows)
{
	cleanup_free char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, file) > 0) {
		struct row row = {0};
		struct row *grown;

		if (sscanf(line, "%u %u %*s %*s %ms", &row.id, &row.parent, &row.point) != 3) {
			free(row.point);
			continue;
		}
		unescape(row.point);
		grown = realloc(rows->list, (rows->count + 1) * sizeof(*grown));
		if (grown == NULL)
			abort();
		rows->list = grown;
		rows->list[rows->count++] = row;
	}
	return ferror(file) ? EIO : 0;
}

/* The mounts of the container's namespace: procfs says those of the thread that opens, at that time. 0 or an errno. */
static int read_mounts(struct cow_tree *t, struct rows *rows)
{
	cleanup_close int proc = open("/proc/thread-self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int fd = -1;
	cleanup_file FILE *file = NULL;

	if (proc < 0 || cow_tree_enter(t) != 0)
		return errno;
	fd = openat(proc, "mountinfo", O_RDONLY | O_CLOEXEC);
	cow_tree_leave(t);
	if (fd < 0 || (file = fdopen(fd, "r")) == NULL)
		return errno;
	cow_steal_fd(&fd);
	return parse(file, rows);
}

static const struct row *row_of(const struct rows *rows, unsigned id)
{
	for (size_t i = 0; i < rows->count; i++)
		if (rows->list[i].id == id)
			return &rows->list[i];
	return NULL;
}

/* Below, but not on it: what is mounted on the lower's root is the shadow, with the upper and the container's volumes.
 */
static bool is_below(const struct rows *rows, const struct row *row, const struct row *top)
{
	/* Counted: rows that are read while mounts change might lead in circles. */
	for (size_t depth = 0; row != NULL && row->id != row->parent && depth < rows->count; depth++) {
		if (row->parent == top->id)
			return strcmp(row->point, top->point) != 0;
		row = row_of(rows, row->parent);
	}
	return false;
}

int cow_nested_find(struct cow_tree *t)
{
	struct rows rows __attribute__((cleanup(rows_cleanup))) = {NULL, 0};
	const struct row *top;
	struct statx sx;
	int error = read_mounts(t, &rows);

	if (error != 0)
		return error;
	cow_budget_set(t, rows.count);
	if (statx(t->lower, "", AT_EMPTY_PATH, STATX_MNT_ID, &sx) != 0)
		return errno;
	top = row_of(&rows, (unsigned)sx.stx_mnt_id);
	for (size_t i = 0; top != NULL && i < rows.count; i++) {
		const char *point = rows.list[i].point;
		size_t len = strlen(top->point);
		cleanup_close int fd = -1;
		struct cow_nested *n;

		if (!is_below(&rows, &rows.list[i], top) || strncmp(point, top->point, len) != 0 || point[len] != '/')
			continue;
		n = calloc(1, sizeof(*n));
		if (n == NULL || (n->path = strdup(point + len + 1)) == NULL)
			abort();
		fd = cow_open_beneath(t->lower, n->path, O_PATH, 0);
		n->mount = fd < 0 ? 0 : cow_mount_id(fd);
		n->next = t->nested;
		t->nested = n;
	}
	return 0;
}

bool cow_in_lower(const struct cow_tree *t, uint64_t mount)
{
	if (mount == t->lower_mount)
		return true;
	for (const struct cow_nested *n = t->nested; n != NULL; n = n->next)
		if (n->mount == mount)
			return true;
	return false;
}

void cow_nested_note(struct cow_tree *t, uint64_t graft, int mount, const char *path)
{
	size_t len = strlen(path);

	for (const struct cow_nested *n = t->nested; n != NULL; n = n->next) {
		cleanup_close int fd = -1;
		struct cow_alias *alias;

		if (strncmp(n->path, path, len) != 0 || n->path[len] != '/')
			continue;
		fd = cow_open_beneath(mount, n->path + len + 1, O_PATH, 0);
		if (fd < 0 || !cow_mount_root(fd) || (alias = calloc(1, sizeof(*alias))) == NULL)
			continue;
		alias->mount = cow_mount_id(fd);
		alias->graft = graft;
		pthread_mutex_lock(&t->table_lock);
		alias->next = t->aliases;
		t->aliases = alias;
		pthread_mutex_unlock(&t->table_lock);
	}
}

uint64_t cow_nested_graft(const struct cow_tree *t, uint64_t mount)
{
	for (const struct cow_alias *a = t->aliases; a != NULL; a = a->next)
		if (a->mount == mount)
			return a->graft;
	return 0;
}

void cow_nested_free(struct cow_tree *t)
{
	while (t->nested != NULL) {
		struct cow_nested *n = t->nested;

		t->nested = n->next;
		free(n->path);
		free(n);
	}
	while (t->aliases != NULL) {
		struct cow_alias *a = t->aliases;

		t->aliases = a->next;
		free(a);
	}
}
