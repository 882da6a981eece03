/* The journal of splits and copy-ups (runtime/branch/journal.h): what is written is read, and what is torn is not. */
#include "../../runtime/branch/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../runtime/lib/fd.h"
#include "tap.h"

static char dir[] = "/tmp/cowrun-unit-XXXXXX";
static int dirfd_;

static struct cow_lower_stamp stamp(uint64_t ino)
{
	struct cow_lower_stamp s;

	memset(&s, 0, sizeof(s));
	s.ino = ino;
	s.mode = S_IFREG | 0644;
	s.mtime_sec = -1;
	s.ctime_nsec = 999999999;
	return s;
}

static struct cow_ident ident(uint64_t ino, int64_t born)
{
	struct cow_ident i;

	memset(&i, 0, sizeof(i));
	i.ino = ino;
	i.born_sec = born;
	return i;
}

static int add_split(int fd, uint64_t ino, int64_t born, const char *lower, const char *const *names)
{
	struct cow_journal_entry entries[16];
	struct cow_journal_split rec = {.upper = ident(ino, born), .lower = lower, .entries = entries, .when_sec = 7};

	rec.stamp = stamp(ino + 1000);
	for (; names[rec.nentries] != NULL; rec.nentries++) {
		entries[rec.nentries].name = names[rec.nentries];
		entries[rec.nentries].stamp = stamp(rec.nentries);
	}
	return cow_journal_add_split(fd, &rec);
}

static int add_copy(int fd, uint64_t ino, const char *lower)
{
	struct cow_journal_copy rec = {.upper = ident(ino, 0), .lower = lower};

	rec.stamp = stamp(ino + 1000);
	return cow_journal_add_copy(fd, &rec);
}

static off_t size_of_journal(void)
{
	struct stat st;

	return fstatat(dirfd_, "journal", &st, 0) == 0 ? st.st_size : -1;
}

static int cut(off_t length)
{
	cleanup_close int fd = openat(dirfd_, "journal", O_WRONLY | O_CLOEXEC);

	return ftruncate(fd, length);
}

static void fill(void)
{
	static const char *const names[] = {"zebra", "\xff\n", "apple", "apple pie", NULL};
	static const char *const none[] = {NULL};
	cleanup_close int fd = cow_journal_open(dirfd_, NULL);

	ok(fd >= 0, "a new journal is made");
	ok(add_split(fd, 1, 0, "", names) == 0 && add_split(fd, 2, 5, "a/b", none) == 0, "splits are written");
	ok(add_copy(fd, 3, "a/file") == 0 && add_copy(fd, 4, "x") == 0, "copies are written");
	/* The number of a deleted inode comes again, with another time of birth. */
	ok(add_split(fd, 2, 6, "c", none) == 0, "a reused inode number");
	ok(add_copy(fd, 4, "y") == 0, "a record of the same inode");
	ok(cow_journal_add_twin(fd, "a/file") == 0 && cow_journal_add_twin(fd, "z\xff") == 0, "twins are written");
}

static void read_back(void)
{
	cleanup_error struct cow_error *err = NULL;
	struct cow_journal *j = cow_journal_load(dirfd_, &err);
	const struct cow_ident one = ident(1, 0), two = ident(2, 5), again = ident(2, 6), other = ident(2, 7);
	const struct cow_ident three = ident(3, 0), four = ident(4, 0);
	const struct cow_lower_stamp want = stamp(1001);
	const struct cow_journal_split *s;

	ok(j != NULL, "it is loaded: %s", err != NULL ? err->message : "yes");
	s = cow_journal_find_split(j, &one);
	ok(s != NULL && s->nentries == 4 && s->when_sec == 7 && cow_lower_stamp_equal(&s->stamp, &want), "a split");
	is_str(s->lower, "", "of the root");
	is_str(s->entries[0].name, "apple", "its entries are sorted");
	ok(cow_journal_entry_named(s, "zebra")->stamp.ino == 0 &&
		   cow_journal_entry_named(s, "\xff\n")->stamp.ino == 1 &&
		   cow_journal_entry_named(s, "apple pie")->stamp.ino == 3,
	   "and found by name");
	ok(cow_journal_entry_named(s, "app") == NULL && cow_journal_entry_named(s, "") == NULL, "others are not");
	is_str(cow_journal_find_split(j, &two)->lower, "a/b", "an inode");
	is_str(cow_journal_find_split(j, &again)->lower, "c", "and the next one of its number");
	ok(cow_journal_find_split(j, &other) == NULL && cow_journal_find_split(j, &three) == NULL, "no others");
	is_str(cow_journal_find_copy(j, &three)->lower, "a/file", "a copy");
	is_str(cow_journal_find_copy(j, &four)->lower, "y", "the last record of an inode wins");
	ok(cow_journal_split_at(j, 2) != NULL && cow_journal_split_at(j, 3) == NULL, "all splits in order");
	ok(cow_journal_copy_at(j, 2) != NULL && cow_journal_copy_at(j, 3) == NULL, "all copies in order");
	is_str(cow_journal_twin_at(j, 0), "a/file", "a twin");
	is_str(cow_journal_twin_at(j, 1), "z\xff", "another");
	ok(cow_journal_twin_at(j, 2) == NULL, "and no more");
	cow_journal_free(j);
}

static size_t splits_now(void)
{
	struct cow_journal *j = cow_journal_load(dirfd_, NULL);
	size_t n = 0;

	while (j != NULL && cow_journal_split_at(j, n) != NULL)
		n++;
	cow_journal_free(j);
	return n;
}

/* A kill in the middle of a write: cut off anywhere within the last record. */
static void torn(void)
{
	static const char *const names[] = {"one", "two", NULL};
	off_t before = size_of_journal();
	bool all_good = true;
	off_t after;
	int fd = cow_journal_open(dirfd_, NULL);

	add_split(fd, 50, 0, "torn", names);
	close(fd);
	after = size_of_journal();
	for (off_t length = after - 1; length > before && all_good; length--) {
		if (cut(length) != 0)
			break;
		all_good = splits_now() == 3;
	}
	ok(all_good, "a torn record is ignored, wherever it was torn");
	fd = cow_journal_open(dirfd_, NULL);
	ok(size_of_journal() == before, "and cut off when it is opened");
	ok(add_split(fd, 51, 0, "next", names) == 0 && splits_now() == 4, "so that the next one is read");
	close(fd);
}

static void garbage(void)
{
	cleanup_close int fd = openat(dirfd_, "journal", O_RDWR | O_CLOEXEC);
	char byte;

	/* One flipped byte in the last record. */
	if (pread(fd, &byte, 1, size_of_journal() - 3) == 1) {
		byte ^= 1;
		ok(pwrite(fd, &byte, 1, size_of_journal() - 3) == 1 && splits_now() == 3,
		   "a damaged record is not believed");
	}
}

int main(void)
{
	if (mkdtemp(dir) == NULL || (dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return 1;
	ok(splits_now() == 0, "no journal is an empty one");
	fill();
	read_back();
	torn();
	garbage();
	unlinkat(dirfd_, "journal", 0);
	rmdir(dir);
	return done_testing();
}
