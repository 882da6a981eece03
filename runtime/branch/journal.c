/*
 * Record: struct frame, then `size` bytes of payload. Payload of a split: struct split_head, the lower path
 * (NUL-terminated), then for each entry a struct cow_lower_stamp and its name (NUL-terminated); of a copy: struct
 * copy_head and the lower path; of a timed copy: struct timed_head and the lower path; of a twin: the lower path. Host
 * byte order: a branch does not travel between machines (`cowrun branch export` is for that).
 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/fd.h"

enum { KIND_SPLIT = 1, KIND_COPY = 2, KIND_COPY_TIMED = 3, KIND_TWIN = 4 };
#define FRAME_MAGIC 0x6a776f63u /* "cowj" */

struct frame {
	uint32_t magic;
	uint32_t kind;
	uint64_t size;
	uint64_t sum; /* FNV-1a of the payload */
};

struct split_head {
	struct cow_ident upper;
	struct cow_lower_stamp stamp;
	int64_t when_sec;
	uint64_t nentries;
};

struct copy_head {
	struct cow_ident upper;
	struct cow_lower_stamp stamp;
};

struct timed_head {
	struct copy_head copy;
	int64_t ctime_sec;
	uint64_t ctime_nsec;
};

static uint64_t checksum(const char *data, size_t size)
{
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < size; i++)
		h = (h ^ (unsigned char)data[i]) * 1099511628211u;
	return h;
}

/* --- identities --------------------------------------------------------------------------------------------------- */

void cow_lower_stamp_of(struct cow_lower_stamp *stamp, const struct stat *st)
{
	memset(stamp, 0, sizeof(*stamp)); /* its padding is written, too */
	stamp->ino = st->st_ino;
	stamp->size = (uint64_t)st->st_size;
	stamp->mode = st->st_mode;
	stamp->mtime_sec = st->st_mtim.tv_sec;
	stamp->mtime_nsec = (uint32_t)st->st_mtim.tv_nsec;
	stamp->ctime_sec = st->st_ctim.tv_sec;
	stamp->ctime_nsec = (uint32_t)st->st_ctim.tv_nsec;
}

bool cow_lower_stamp_equal(const struct cow_lower_stamp *a, const struct cow_lower_stamp *b)
{
	return a->ino == b->ino && a->size == b->size && a->mode == b->mode && a->mtime_sec == b->mtime_sec &&
	       a->mtime_nsec == b->mtime_nsec && a->ctime_sec == b->ctime_sec && a->ctime_nsec == b->ctime_nsec;
}

int cow_ident_of(int fd, struct cow_ident *ident)
{
	struct statx sx;

	if (statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &sx) != 0)
		return -1;
	memset(ident, 0, sizeof(*ident));
	ident->ino = sx.stx_ino;
	if ((sx.stx_mask & STATX_BTIME) != 0) {
		ident->born_sec = sx.stx_btime.tv_sec;
		ident->born_nsec = sx.stx_btime.tv_nsec;
	}
	return 0;
}

bool cow_ident_equal(const struct cow_ident *a, const struct cow_ident *b)
{
	return a->ino == b->ino && a->born_sec == b->born_sec && a->born_nsec == b->born_nsec;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static int append(int fd, uint32_t kind, char *record, size_t size)
{
	struct frame frame = {FRAME_MAGIC, kind, size - sizeof(frame), 0};
	struct stat st;

	frame.sum = checksum(record + sizeof(frame), size - sizeof(frame));
	memcpy(record, &frame, sizeof(frame));
	if (fstat(fd, &st) != 0)
		return -1;
	if (cow_write_all(fd, record, size) == 0)
		return 0;
	/* No room: what is torn now would hide all that comes later. */
	int saved = errno;

	if (ftruncate(fd, st.st_size) != 0)
		errno = EIO;
	else
		errno = saved;
	return -1;
}

int cow_journal_add_split(int fd, const struct cow_journal_split *rec)
{
	struct split_head head;
	size_t size = sizeof(struct frame) + sizeof(head) + strlen(rec->lower) + 1;
	cleanup_free char *record = NULL;
	char *p;

	for (size_t i = 0; i < rec->nentries; i++)
		size += sizeof(struct cow_lower_stamp) + strlen(rec->entries[i].name) + 1;
	record = calloc(1, size);
	if (record == NULL)
		return -1;
	memset(&head, 0, sizeof(head));
	head.upper = rec->upper;
	head.stamp = rec->stamp;
	head.when_sec = rec->when_sec;
	head.nentries = rec->nentries;
	p = record + sizeof(struct frame);
	p = (char *)memcpy(p, &head, sizeof(head)) + sizeof(head);
	p = stpcpy(p, rec->lower) + 1;
	for (size_t i = 0; i < rec->nentries; i++) {
		memcpy(p, &rec->entries[i].stamp, sizeof(struct cow_lower_stamp));
		p = stpcpy(p + sizeof(struct cow_lower_stamp), rec->entries[i].name) + 1;
	}
	return append(fd, KIND_SPLIT, record, size);
}

int cow_journal_add_copy(int fd, const struct cow_journal_copy *rec)
{
	bool timed = rec->ctime_sec != 0 || rec->ctime_nsec != 0;
	struct timed_head head;
	size_t headed = sizeof(struct frame) + (timed ? sizeof(head) : sizeof(head.copy));
	size_t size = headed + strlen(rec->lower) + 1;
	cleanup_free char *record = calloc(1, size);

	if (record == NULL)
		return -1;
	memset(&head, 0, sizeof(head));
	head.copy.upper = rec->upper;
	head.copy.stamp = rec->stamp;
	head.ctime_sec = rec->ctime_sec;
	head.ctime_nsec = rec->ctime_nsec;
	memcpy(record + sizeof(struct frame), &head, headed - sizeof(struct frame));
	strcpy(record + headed, rec->lower);
	return append(fd, timed ? KIND_COPY_TIMED : KIND_COPY, record, size);
}

int cow_journal_add_twin(int fd, const char *lower)
{
	size_t size = sizeof(struct frame) + strlen(lower) + 1;
	cleanup_free char *record = calloc(1, size);

	if (record == NULL)
		return -1;
	strcpy(record + sizeof(struct frame), lower);
	return append(fd, KIND_TWIN, record, size);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

struct slot {
	struct cow_ident upper;
	struct cow_journal_split *split;
	struct cow_journal_copy *copy;
};

struct cow_journal {
	char *text; /* strings of the records point into it */
	struct cow_journal_split **splits;
	struct cow_journal_copy **copies;
	const char **twins; /* lower paths */
	size_t nsplits, ncopies, ntwins;
	struct slot *slots; /* open addressing by inode */
	size_t nslots;
};

/* A NUL-terminated string within [p, end); NULL if there is none. */
static const char *text_at(const char **p, const char *end)
{
	const char *s = *p;
	const char *nul = memchr(s, '\0', (size_t)(end - s));

	if (nul == NULL)
		return NULL;
	*p = nul + 1;
	return s;
}

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct cow_journal_entry *)a)->name, ((const struct cow_journal_entry *)b)->name);
}

static struct cow_journal_split *parse_split(const char *p, const char *end)
{
	struct split_head head;
	struct cow_journal_split *s;

	if ((size_t)(end - p) < sizeof(head))
		return NULL;
	memcpy(&head, p, sizeof(head));
	p += sizeof(head);
	if (head.nentries > (size_t)(end - p))
		return NULL;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		abort();
	s->upper = head.upper;
	s->stamp = head.stamp;
	s->when_sec = head.when_sec;
	s->lower = text_at(&p, end);
	s->entries = calloc(head.nentries + 1, sizeof(*s->entries));
	if (s->entries == NULL)
		abort();
	while (s->lower != NULL && s->nentries < head.nentries && (size_t)(end - p) > sizeof(struct cow_lower_stamp)) {
		struct cow_journal_entry *e = &s->entries[s->nentries];

		memcpy(&e->stamp, p, sizeof(e->stamp));
		p += sizeof(e->stamp);
		e->name = text_at(&p, end);
		if (e->name == NULL)
			break;
		s->nentries++;
	}
	if (s->lower != NULL && s->nentries == head.nentries) {
		qsort(s->entries, s->nentries, sizeof(*s->entries), compare_entries);
		return s;
	}
	free(s->entries);
	free(s);
	return NULL;
}

static struct cow_journal_copy *parse_copy(const char *p, const char *end, bool timed)
{
	struct timed_head head;
	size_t size = timed ? sizeof(head) : sizeof(head.copy);
	struct cow_journal_copy *c;

	if ((size_t)(end - p) < size)
		return NULL;
	memset(&head, 0, sizeof(head));
	memcpy(&head, p, size);
	p += size;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		abort();
	c->upper = head.copy.upper;
	c->stamp = head.copy.stamp;
	c->ctime_sec = head.ctime_sec;
	c->ctime_nsec = (uint32_t)head.ctime_nsec;
	c->lower = text_at(&p, end);
	if (c->lower != NULL)
		return c;
	free(c);
	return NULL;
}

static void *grow(void *list, size_t count)
{
	void *p = (count & (count - 1)) == 0 ? realloc(list, (count == 0 ? 1 : count * 2) * sizeof(void *)) : list;

	if (p == NULL)
		abort();
	return p;
}

/* False: it is damaged. What a later version may have added is passed over. */
static bool keep(struct cow_journal *j, uint32_t kind, const char *body, const char *end)
{
	if (kind == KIND_SPLIT) {
		struct cow_journal_split *s = parse_split(body, end);

		if (s == NULL)
			return false;
		j->splits = grow(j->splits, j->nsplits);
		j->splits[j->nsplits++] = s;
	} else if (kind == KIND_COPY || kind == KIND_COPY_TIMED) {
		struct cow_journal_copy *c = parse_copy(body, end, kind == KIND_COPY_TIMED);

		if (c == NULL)
			return false;
		j->copies = grow(j->copies, j->ncopies);
		j->copies[j->ncopies++] = c;
	} else if (kind == KIND_TWIN) {
		const char *lower = text_at(&body, end);

		if (lower == NULL)
			return false;
		j->twins = grow(j->twins, j->ntwins);
		j->twins[j->ntwins++] = lower;
	}
	return true;
}

/* Takes one record; the bytes it has, or 0 at a torn or foreign one. */
static size_t take(struct cow_journal *j, const char *p, size_t left)
{
	struct frame frame;
	const char *body = p + sizeof(frame);

	if (left < sizeof(frame))
		return 0;
	memcpy(&frame, p, sizeof(frame));
	if (frame.magic != FRAME_MAGIC || frame.size > left - sizeof(frame) || checksum(body, frame.size) != frame.sum)
		return 0;
	if (j != NULL && !keep(j, frame.kind, body, body + frame.size))
		return 0;
	return sizeof(frame) + frame.size;
}

static struct slot *slot_for(const struct cow_journal *j, const struct cow_ident *upper)
{
	size_t i = (size_t)(upper->ino * 2654435761u) & (j->nslots - 1);

	while ((j->slots[i].split != NULL || j->slots[i].copy != NULL) && !cow_ident_equal(&j->slots[i].upper, upper))
		i = (i + 1) & (j->nslots - 1);
	return &j->slots[i];
}

static void index_records(struct cow_journal *j)
{
	j->nslots = 16;
	while (j->nslots < (j->nsplits + j->ncopies) * 2)
		j->nslots *= 2;
	j->slots = calloc(j->nslots, sizeof(*j->slots));
	if (j->slots == NULL)
		abort();
	for (size_t i = 0; i < j->nsplits; i++) {
		struct slot *s = slot_for(j, &j->splits[i]->upper);

		s->upper = j->splits[i]->upper;
		s->split = j->splits[i];
	}
	for (size_t i = 0; i < j->ncopies; i++) {
		struct slot *s = slot_for(j, &j->copies[i]->upper);

		/* Unless the number of the inode came again. */
		if (s->copy != NULL && cow_lower_stamp_equal(&s->copy->stamp, &j->copies[i]->stamp))
			j->copies[i]->other = s->copy;
		s->upper = j->copies[i]->upper;
		s->copy = j->copies[i];
	}
}

struct cow_journal *cow_journal_load(int dirfd, struct cow_error **err)
{
	cleanup_close int fd = openat(dirfd, "journal", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct cow_journal *j = calloc(1, sizeof(*j));
	size_t size = 0;
	size_t used;

	if (j == NULL)
		abort();
	if (fd >= 0) {
		j->text = cow_read_to_end(fd, (size_t)1 << 40, &size);
	} else if (errno == ENOENT) {
		j->text = calloc(1, 1);
	}
	if (j->text == NULL) {
		cow_error_set(err, errno, "cannot read the journal");
		free(j);
		return NULL;
	}
	for (size_t at = 0; (used = take(j, j->text + at, size - at)) > 0;)
		at += used;
	index_records(j);
	return j;
}

void cow_journal_free(struct cow_journal *j)
{
	if (j == NULL)
		return;
	for (size_t i = 0; i < j->nsplits; i++) {
		free(j->splits[i]->entries);
		free(j->splits[i]);
	}
	for (size_t i = 0; i < j->ncopies; i++)
		free(j->copies[i]);
	free(j->splits);
	free(j->copies);
	free(j->twins);
	free(j->slots);
	free(j->text);
	free(j);
}

/* The bytes of whole records, or -1. */
static off_t good_length(int fd)
{
	cleanup_free char *text = NULL;
	size_t size;
	size_t at = 0;
	size_t used;

	if (lseek(fd, 0, SEEK_SET) < 0 || (text = cow_read_to_end(fd, (size_t)1 << 40, &size)) == NULL)
		return -1;
	while ((used = take(NULL, text + at, size - at)) > 0)
		at += used;
	return (off_t)at;
}

int cow_journal_open(int dirfd, struct cow_error **err)
{
	cleanup_close int fd = openat(dirfd, "journal", O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	off_t length = fd < 0 ? -1 : good_length(fd);

	if (length < 0 || ftruncate(fd, length) != 0)
		return cow_error_set(err, errno, "cannot open the journal");
	return cow_steal_fd(&fd);
}

const struct cow_journal_split *cow_journal_find_split(const struct cow_journal *j, const struct cow_ident *upper)
{
	return slot_for(j, upper)->split;
}

const struct cow_journal_copy *cow_journal_find_copy(const struct cow_journal *j, const struct cow_ident *upper)
{
	return slot_for(j, upper)->copy;
}

const struct cow_journal_split *cow_journal_split_at(const struct cow_journal *j, size_t i)
{
	return i < j->nsplits ? j->splits[i] : NULL;
}

const struct cow_journal_copy *cow_journal_copy_at(const struct cow_journal *j, size_t i)
{
	return i < j->ncopies ? j->copies[i] : NULL;
}

const char *cow_journal_twin_at(const struct cow_journal *j, size_t i)
{
	return i < j->ntwins ? j->twins[i] : NULL;
}

const struct cow_journal_entry *cow_journal_entry_named(const struct cow_journal_split *split, const char *name)
{
	const struct cow_journal_entry wanted = {.name = name};

	return bsearch(&wanted, split->entries, split->nentries, sizeof(wanted), compare_entries);
}
