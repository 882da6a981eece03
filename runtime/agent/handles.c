/*
 * Stale descriptors. One that was opened in a graft keeps showing the lower after split or copy-up; before a call that
 * uses it goes on, it is replaced in the target's table by one on what the branch has there now
 * (SECCOMP_IOCTL_NOTIF_ADDFD with SETFD), and the kernel then does the call on the right object. The new one is a real
 * descriptor also where the old one was O_PATH: ADDFD takes no O_PATH source.
 *
 * Directories are read without any trap. So when a process causes a split, all its directories are replaced, and those
 * of another one when it next uses one of them in a trapped call. Numbers that share a file description (dup(2)) go on
 * sharing one. A reading goes on where it was (reading.c). All that is done only where the process has one thread,
 * which waits for us: another one could close a number and open something else by it between our look and our deed.
 * With threads only the descriptor that the call names is replaced.
 */
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../lib/fd.h"

enum { SCAN_MAX = 1024 };

/* What of a file description's flags can be handed to open(2). */
enum { KEPT_FLAGS = O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECTORY | O_DSYNC | O_SYNC | O_NOATIME };

struct opening {
	const char *path;
	int fd;
};

static int open_for_reading(void *data)
{
	struct opening *o = data;

	o->fd = open(o->path, O_RDONLY | O_CLOEXEC);
	return o->fd >= 0 ? 0 : errno;
}

/*
 * An O_PATH descriptor gives less than one for reading, so what takes its place must be one that the process itself
 * could have opened.
 */
static int open_for(const struct cow_target *t, int object, int flags)
{
	cleanup_creds struct cow_creds creds = COW_CREDS_NONE;
	char path[40];
	struct opening opening = {.path = path, .fd = -1};
	struct stat st;
	int error;

	if (fstat(object, &st) != 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", object);
	if ((flags & O_PATH) == 0)
		return S_ISDIR(st.st_mode) ? openat(object, ".", (flags & (KEPT_FLAGS | O_NOFOLLOW)) | O_CLOEXEC)
					   : open(path, (flags & KEPT_FLAGS) | O_CLOEXEC);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) {
		errno = EROFS;
		return -1;
	}
	error = cow_creds_read(t, &creds);
	if (error == 0)
		error = cow_creds_run(&creds, open_for_reading, &opening);
	errno = error;
	return opening.fd;
}

/* A descriptor of the target as it was found. */
struct handle {
	int number;
	int old; /* O_PATH */
	int flags;
	long long position;
};

static int look(const struct cow_target *t, int number, struct handle *h)
{
	h->number = number;
	h->old = cow_target_fd(t, number);
	return h->old < 0 || cow_target_fd_flags(t, number, &h->flags, &h->position) != 0 ? -EBADF : 0;
}

/* What is neither is never opened twice; and of a file by O_PATH it is the call that says what is to become. */
static bool can_be_swapped(const struct handle *h)
{
	struct stat st;

	if (fstat(h->old, &st) != 0 || S_ISDIR(st.st_mode))
		return true;
	return S_ISREG(st.st_mode) && (h->flags & O_PATH) == 0;
}

/* An equal descriptor on `object` (O_PATH), for the numbers that h's description has. Or -1 with errno. */
static int make_equal(const struct cow_target *t, const struct handle *h, int object)
{
	cleanup_close int fresh = open_for(t, object, h->flags);
	struct stat st;

	if (fresh < 0 || (h->flags & O_PATH) != 0 || h->position == 0)
		return cow_steal_fd(&fresh);
	if (fstat(fresh, &st) == 0 && S_ISDIR(st.st_mode))
		cow_reading_carry(h->old, h->position, fresh);
	else
		(void)lseek(fresh, h->position, SEEK_SET);
	return cow_steal_fd(&fresh);
}

/* The stale directories of the target, and what else has the number `named`. */
struct scan {
	struct cow_target *t;
	int named;
	size_t count, room;
	struct handle *list;
};

static void scan_cleanup(struct scan *s)
{
	for (size_t i = 0; i < s->count; i++)
		cow_close_fd(&s->list[i].old);
	free(s->list);
}

static bool is_stale_directory(const struct cow_target *t, int fd)
{
	enum cow_place_kind kind;
	struct stat st;

	(void)cow_agent_place(t->agent, fd, &kind);
	return kind == COW_PLACE_STALE && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

/* O_PATH ones cannot be read, so they have time until they are used. */
static void scan_number(struct scan *s, const char *name)
{
	struct handle h = {.old = -1};
	int number = atoi(name);

	/* Most are not stale, and their mount says so at once. */
	if (*name == '.' || (number != s->named && cow_quick_handle(s->t, number)))
		return;
	if (look(s->t, number, &h) == 0 &&
	    (h.number == s->named || ((h.flags & O_PATH) == 0 && is_stale_directory(s->t, h.old)))) {
		if (s->count == s->room) {
			s->room = s->room == 0 ? 16 : 2 * s->room;
			s->list = realloc(s->list, s->room * sizeof(*s->list));
			if (s->list == NULL)
				abort();
		}
		s->list[s->count++] = h;
		return;
	}
	cow_close_fd(&h.old);
}

static void scan(struct scan *s)
{
	int dir = openat(s->t->dir, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = dir < 0 ? NULL : fdopendir(dir);
	const struct dirent *entry;

	if (stream == NULL) {
		cow_close_fd(&dir);
		return;
	}
	for (size_t i = 0; i < SCAN_MAX && (entry = readdir(stream)) != NULL; i++)
		scan_number(s, entry->d_name);
	closedir(stream);
}

/* Puts `fresh` in the place of the i-th and of those that share its description. 0 or -errno, of `named`. */
static int replace(struct scan *s, size_t i, int fresh)
{
	int verdict = 0;

	for (size_t j = s->count; j-- > i;) {
		struct handle *h = &s->list[j];
		int said;

		/* The first is the last to be replaced: the others are compared with it. */
		if (h->old < 0 || (j != i && !cow_target_same_file(s->t, s->list[i].number, h->number)))
			continue;
		said = cow_target_replace_fd(s->t, fresh, h->number, (h->flags & O_CLOEXEC) != 0);
		cow_close_fd(&h->old);
		if (h->number == s->named)
			verdict = said;
	}
	return verdict;
}

/* The i-th of the list. 0 or -errno. */
static int freshen(struct scan *s, size_t i)
{
	const struct handle *h = &s->list[i];
	cleanup_close int now = -1;
	cleanup_close int fresh = -1;
	enum cow_place_kind kind;
	struct cow_tree *tree = cow_agent_place(s->t->agent, h->old, &kind);

	if (kind != COW_PLACE_STALE || !can_be_swapped(h))
		return 0;
	cow_tree_know(tree, h->old, cow_target_who(s->t));
	now = cow_tree_counterpart(tree, h->old);
	if (now < 0)
		return -ENOENT;
	fresh = make_equal(s->t, h, now);
	return fresh < 0 ? -errno : replace(s, i, fresh);
}

static int freshen_all(struct scan *s)
{
	int verdict = 0;

	scan(s);
	for (size_t i = 0; i < s->count; i++)
		if (s->list[i].old >= 0) {
			int number = s->list[i].number;
			int said = freshen(s, i);

			if (number == s->named && said != 0)
				verdict = said;
		}
	return verdict;
}

void cow_freshen_all(struct cow_target *t)
{
	struct scan s __attribute__((cleanup(scan_cleanup))) = {.t = t, .named = -1};

	if (cow_target_alone(t))
		(void)freshen_all(&s);
}

int cow_freshen(struct cow_target *t, int fd)
{
	struct handle only = {.old = -1};
	struct scan s __attribute__((cleanup(scan_cleanup))) = {.t = t, .named = fd};
	enum cow_place_kind kind;
	cleanup_close int old = fd < 0 ? -1 : cow_target_fd(t, fd);

	/* EBADF is the kernel's to say. */
	if (old < 0 || (cow_agent_place(t->agent, old, &kind), kind != COW_PLACE_STALE))
		return 0;
	if (cow_target_alone(t))
		return freshen_all(&s);
	if (look(t, fd, &only) != 0 || (s.list = malloc(sizeof(only))) == NULL)
		return 0;
	s.list[0] = only;
	s.count = s.room = 1;
	return freshen(&s, 0);
}

void cow_freshen_way(struct cow_target *t, const struct cow_location *l)
{
	if (l->handle >= 0)
		(void)cow_freshen(t, l->handle);
}

int cow_swap_fd(struct cow_target *t, int fd, int object)
{
	struct handle h = {.old = -1};
	cleanup_close int fresh = -1;
	cleanup_close int old = -1;
	int verdict = look(t, fd, &h);

	old = h.old;
	if (verdict != 0)
		return verdict;
	fresh = make_equal(t, &h, object);
	return fresh < 0 ? -errno : cow_target_replace_fd(t, fresh, fd, (h.flags & O_CLOEXEC) != 0);
}
