#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/fd.h"

static const char plan_name[] = "commit", plan_tmp[] = "commit.tmp";
static const char *const mark_names[] = {[COW_PLAN_MOVED] = "commit.moved", [COW_PLAN_DONE] = "commit.done"};
#define PLAN_MAGIC 0x63776f63u /* "cowc" */
enum { PLAN_VERSION = 1 };

/* The file: this, then for each step a struct record and its two paths. Host byte order, as the journal. */
struct header {
	uint32_t magic, version;
	uint64_t size, count;
	uint64_t sum; /* FNV-1a of what follows */
};

struct record {
	uint32_t kind;
	uint32_t tree;
	uint64_t length, source_length; /* of the paths, without a NUL */
	struct cow_lower_stamp expect;
	int64_t sec, nsec;
	char staged[24];
};

struct cow_step *cow_plan_add(struct cow_plan *p, enum cow_step_kind kind, size_t tree, const char *path,
			      const char *source)
{
	struct cow_step *s;

	if (p->count == p->room) {
		p->room = p->room == 0 ? 64 : p->room * 2;
		p->steps = reallocarray(p->steps, p->room, sizeof(*p->steps));
		if (p->steps == NULL)
			abort();
	}
	s = &p->steps[p->count++];
	memset(s, 0, sizeof(*s));
	s->kind = kind;
	s->tree = tree;
	s->path = strdup(path);
	s->source = strdup(source);
	if (s->path == NULL || s->source == NULL)
		abort();
	return s;
}

void cow_plan_clear(struct cow_plan *p)
{
	for (size_t i = 0; i < p->count; i++) {
		free(p->steps[i].path);
		free(p->steps[i].source);
	}
	free(p->steps);
	memset(p, 0, sizeof(*p));
}

void cow_plan_stage_name(char *out, size_t room, const struct cow_branch *b, size_t tree)
{
	char hex[COW_NONCE_SIZE * 2 + 1];

	for (size_t i = 0; i < COW_NONCE_SIZE; i++)
		snprintf(hex + i * 2, 3, "%02x", b->nonce[i]);
	snprintf(out, room, ".cowrun-commit-%s-%zu", hex, tree);
}

static uint64_t checksum(const char *data, size_t size)
{
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < size; i++)
		h = (h ^ (unsigned char)data[i]) * 1099511628211u;
	return h;
}

/* --- writing -------------------------------------------------------------------------------------------------------
 */

static char *serialise(const struct cow_plan *p, size_t *size)
{
	struct header head = {PLAN_MAGIC, PLAN_VERSION, 0, p->count, 0};
	char *text;
	char *at;

	*size = sizeof(head);
	for (size_t i = 0; i < p->count; i++)
		*size += sizeof(struct record) + strlen(p->steps[i].path) + strlen(p->steps[i].source);
	text = malloc(*size);
	if (text == NULL)
		abort();
	at = text + sizeof(head);
	for (size_t i = 0; i < p->count; i++) {
		const struct cow_step *s = &p->steps[i];
		struct record rec;

		memset(&rec, 0, sizeof(rec));
		rec.kind = s->kind;
		rec.tree = (uint32_t)s->tree;
		rec.length = strlen(s->path);
		rec.source_length = strlen(s->source);
		rec.expect = s->expect;
		rec.sec = s->mtime.tv_sec;
		rec.nsec = s->mtime.tv_nsec;
		memcpy(rec.staged, s->staged, sizeof(rec.staged));
		at = (char *)memcpy(at, &rec, sizeof(rec)) + sizeof(rec);
		at = (char *)memcpy(at, s->path, rec.length) + rec.length;
		at = (char *)memcpy(at, s->source, rec.source_length) + rec.source_length;
	}
	head.size = *size;
	head.sum = checksum(text + sizeof(head), *size - sizeof(head));
	memcpy(text, &head, sizeof(head));
	return text;
}

static int sync_branch(const struct cow_branch *b)
{
	cleanup_close int dir = openat(b->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 ? -1 : fsync(dir);
}

int cow_plan_save(const struct cow_plan *p, const struct cow_branch *b, struct cow_error **err)
{
	size_t size;
	cleanup_free char *text = serialise(p, &size);
	cleanup_close int fd = openat(b->dirfd, plan_tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0 || cow_write_all(fd, text, size) != 0 || fsync(fd) != 0 ||
	    renameat(b->dirfd, plan_tmp, b->dirfd, plan_name) != 0 || sync_branch(b) != 0)
		return cow_error_set(err, errno, "branch %s: cannot write down the steps of the commit", b->name);
	return 0;
}

int cow_plan_set_mark(const struct cow_branch *b, enum cow_plan_mark mark, struct cow_error **err)
{
	cleanup_close int fd = openat(b->dirfd, mark_names[mark], O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0 || fsync(fd) != 0 || sync_branch(b) != 0)
		return cow_error_set(err, errno, "branch %s: %s", b->name, mark_names[mark]);
	return 0;
}

bool cow_plan_has_mark(const struct cow_branch *b, enum cow_plan_mark mark)
{
	return faccessat(b->dirfd, mark_names[mark], F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* --- reading -------------------------------------------------------------------------------------------------------
 */

bool cow_plan_exists(const struct cow_branch *b)
{
	return faccessat(b->dirfd, plan_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int parse(struct cow_plan *p, const struct cow_branch *b, const char *text, size_t size)
{
	struct header head;
	const char *at = text + sizeof(head);
	const char *end = text + size;

	if (size < sizeof(head))
		return -1;
	memcpy(&head, text, sizeof(head));
	if (head.magic != PLAN_MAGIC || head.version != PLAN_VERSION || head.size != size ||
	    head.sum != checksum(at, size - sizeof(head)))
		return -1;
	for (uint64_t i = 0; i < head.count; i++) {
		struct record rec;
		cleanup_free char *path = NULL;
		cleanup_free char *source = NULL;
		struct cow_step *s;

		if ((size_t)(end - at) < sizeof(rec))
			return -1;
		memcpy(&rec, at, sizeof(rec));
		at += sizeof(rec);
		if (rec.length > (size_t)(end - at) || rec.source_length > (size_t)(end - at) - rec.length ||
		    rec.tree >= b->ntrees || rec.kind < COW_STEP_DETACH || rec.kind > COW_STEP_TIMES ||
		    memchr(rec.staged, '\0', sizeof(rec.staged)) == NULL)
			return -1;
		path = strndup(at, rec.length);
		source = strndup(at + rec.length, rec.source_length);
		at += rec.length + rec.source_length;
		if (path == NULL || source == NULL)
			abort();
		s = cow_plan_add(p, (enum cow_step_kind)rec.kind, rec.tree, path, source);
		s->expect = rec.expect;
		s->mtime.tv_sec = rec.sec;
		s->mtime.tv_nsec = rec.nsec;
		memcpy(s->staged, rec.staged, sizeof(s->staged));
	}
	return 0;
}

int cow_plan_load(struct cow_plan *p, const struct cow_branch *b, struct cow_error **err)
{
	cleanup_close int fd = openat(b->dirfd, plan_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_free char *text = NULL;
	size_t size;

	memset(p, 0, sizeof(*p));
	if (fd < 0 && errno == ENOENT)
		return 0;
	text = fd < 0 ? NULL : cow_read_to_end(fd, (size_t)1 << 40, &size);
	if (text == NULL)
		return cow_error_set(err, errno, "branch %s: %s", b->name, plan_name);
	if (parse(p, b, text, size) != 0)
		return cow_error_set(err, 0, "branch %s: %s is damaged", b->name, plan_name);
	return 1;
}
