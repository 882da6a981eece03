/*
 * trees/N/journal: append-only records of what the engine did, for diff, commit and conflict checks. Each record is one
 * write(2), framed by its length and a checksum; a torn tail (kill -9 in the middle) is ignored when read and cut off
 * when opened for append.
 *
 * An upper inode is named by `struct cow_ident`: device-independent, survives reuse of inode numbers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "../lib/error.h"

/* Inode number and birth time (or, where the file system has none, 0) of an upper inode. */
struct cow_ident {
	uint64_t ino;
	int64_t born_sec;
	uint32_t born_nsec;
};

/* What a lower entry looked like when the branch took it: enough to see that the host changed it since. */
struct cow_lower_stamp {
	uint64_t ino;
	uint64_t size;
	uint32_t mode;
	int64_t mtime_sec, ctime_sec;
	uint32_t mtime_nsec, ctime_nsec;
};

struct cow_journal_entry {
	const char *name;
	struct cow_lower_stamp stamp;
};

/* "The upper directory `upper` is lower directory `lower` split at `when`; it had these entries." */
struct cow_journal_split {
	struct cow_ident upper;
	const char *lower; /* path relative to the lower root, "" for the root itself */
	struct cow_lower_stamp stamp;
	int64_t when_sec;
	size_t nentries;
	struct cow_journal_entry *entries; /* once loaded, sorted bytewise by name */
};

/* "The upper file `upper` began as a copy of lower file `lower`." A record for each name that the lower file had. */
struct cow_journal_copy {
	struct cow_ident upper;
	const char *lower;
	struct cow_lower_stamp stamp;
	/* Change time of the upper file when it was complete, of copies that were made ahead; 0: not known. */
	int64_t ctime_sec;
	uint32_t ctime_nsec;
	/* Once loaded: the record of another name of it, written earlier; or NULL. */
	const struct cow_journal_copy *other;
};

void cow_lower_stamp_of(struct cow_lower_stamp *stamp, const struct stat *st);
bool cow_lower_stamp_equal(const struct cow_lower_stamp *a, const struct cow_lower_stamp *b);
/* Identity of an open (or O_PATH) descriptor. 0 or -1 with errno. */
int cow_ident_of(int fd, struct cow_ident *ident);
bool cow_ident_equal(const struct cow_ident *a, const struct cow_ident *b);

/* Writing. `dirfd` is trees/N. Descriptor or -1. Appends are atomic towards readers; callers serialise writers. */
int cow_journal_open(int dirfd, struct cow_error **err);
int cow_journal_add_split(int fd, const struct cow_journal_split *rec); /* 0 or -1 with errno */
int cow_journal_add_copy(int fd, const struct cow_journal_copy *rec);
/*
 * "Lower file `lower` may have further names in the branch: placeholders with the same mark." Written before there is
 * one; whether it still is, the upper says.
 */
int cow_journal_add_twin(int fd, const char *lower);

/* Reading: the whole journal in memory, looked up by upper inode (the last record of an inode wins). */
struct cow_journal;
struct cow_journal *cow_journal_load(int dirfd, struct cow_error **err);
void cow_journal_free(struct cow_journal *j);
const struct cow_journal_split *cow_journal_find_split(const struct cow_journal *j, const struct cow_ident *upper);
const struct cow_journal_copy *cow_journal_find_copy(const struct cow_journal *j, const struct cow_ident *upper);
/* All splits, all copies, all twins, in order of writing; NULL at the end. */
const struct cow_journal_split *cow_journal_split_at(const struct cow_journal *j, size_t i);
const struct cow_journal_copy *cow_journal_copy_at(const struct cow_journal *j, size_t i);
const char *cow_journal_twin_at(const struct cow_journal *j, size_t i);
const struct cow_journal_entry *cow_journal_entry_named(const struct cow_journal_split *split, const char *name);
