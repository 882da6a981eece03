/* Many comparisons by one diff(1) (runtime/cmd/pairs.c). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../runtime/cmd/pairs.h"
#include "../../runtime/lib/fd.h"
#include "tap.h"

static struct cow_pairs pairs;
static int olds[COW_PAIRS_MAX], news[COW_PAIRS_MAX];

static int file(const char *text)
{
	int fd = memfd_create("version", MFD_CLOEXEC);

	if (fd < 0 || cow_write_all(fd, text, strlen(text)) != 0) {
		printf("Bail out! memfd_create: %s\n", strerror(errno));
		exit(1);
	}
	return fd;
}

static void add(const char *old, const char *new, const char *path)
{
	size_t i = pairs.count;

	olds[i] = file(old);
	news[i] = file(new);
	if (cow_pairs_add(&pairs, &olds[i], news[i], path) != (ssize_t)i) {
		printf("Bail out! cow_pairs_add: %s\n", strerror(errno));
		exit(1);
	}
}

/* The hunks of one, with all lines; caller frees. */
static char *hunks(size_t index)
{
	char *text = strdup("");
	const char *line;
	size_t length, size = 0;

	while ((line = cow_pairs_line(&pairs, index, &length)) != NULL) {
		text = realloc(text, size + length + 1);
		memcpy(text + size, line, length);
		size += length;
		text[size] = '\0';
	}
	return text;
}

static int finish(struct cow_error **err)
{
	size_t count = pairs.count;
	int status = cow_pairs_finish(&pairs, err);

	for (size_t i = 0; i < count; i++) {
		close(olds[i]);
		close(news[i]);
	}
	return status;
}

static bool no_children(void)
{
	return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD;
}

static void says(size_t index, const char *want, const char *what)
{
	cleanup_free char *got = hunks(index);

	is_str(got, want, "%s", what);
}

static void order(void)
{
	add("same\n", "same\n", "first");
	add("a\n", "b\n", "second");
	/* Lines that look like those between the pairs. */
	add("diff -ru /proc/1/fd/100 /proc/1/fd/100\n-- x\n", "++ y\nOnly in x: y\n", "third");
	add("same again", "same again", "fourth");
	add("", "no end", "fifth");
	add("x", "x", "last");
	ok(cow_pairs_start(&pairs, NULL) == 0, "it starts");
	says(0, "", "what became equal has no hunks");
	says(1, "@@ -1 +1 @@\n-a\n+b\n", "a change");
	says(2, "@@ -1,2 +1,2 @@\n-diff -ru /proc/1/fd/100 /proc/1/fd/100\n--- x\n+++ y\n+Only in x: y\n",
	     "headers in the files");
	says(3, "", "equal between others");
	says(4, "@@ -0,0 +1 @@\n+no end\n\\ No newline at end of file\n", "an empty file; no newline at the end");
	says(5, "", "equal at the end");
	ok(finish(NULL) == 0 && no_children(), "and ends, with all its processes");
	ok(pairs.count == 0 && cow_pairs_start(&pairs, NULL) == 0 && finish(NULL) == 0,
	   "without pairs, nothing is done");
}

/* Each with a number for content, until there is no room for more. How many there were; 0 if one was wrong. */
static size_t fill(void)
{
	size_t good = 0, count;
	char old[16], new[32], want[96];

	while (!cow_pairs_full(&pairs)) {
		snprintf(old, sizeof(old), "%zu\n", pairs.count);
		snprintf(new, sizeof(new), "%zu new\n", pairs.count);
		add(old, pairs.count % 3 == 0 ? old : new, "path");
	}
	count = pairs.count;
	if (cow_pairs_start(&pairs, NULL) != 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		cleanup_free char *got = hunks(i);

		snprintf(want, sizeof(want), "@@ -1 +1 @@\n-%zu\n+%zu new\n", i, i);
		good += strcmp(got, i % 3 == 0 ? "" : want) == 0 ? 1 : 0;
	}
	return finish(NULL) == 0 && no_children() && good == count ? count : 0;
}

static void full(void)
{
	static const rlim_t limits[] = {1024, 640, 300, 215, 200, 199, 150, 117, 64, 32, 24};
	struct rlimit was, limit;
	size_t least = COW_PAIRS_MAX, most = 0;
	bool all = true;

	getrlimit(RLIMIT_NOFILE, &was);
	limit = was;
	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		size_t count;

		limit.rlim_cur = limits[i];
		if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
			continue;
		cow_pairs_init(&pairs);
		count = fill();
		if (count == 0 || count > limits[i] / 2)
			printf("# %zu pairs with %d descriptors\n", count, (int)limits[i]);
		all = all && count > 0 && count <= limits[i] / 2;
		least = count < least ? count : least;
		most = count > most ? count : most;
	}
	setrlimit(RLIMIT_NOFILE, &was);
	cow_pairs_init(&pairs);
	ok(all, "as many as there is room for, whatever the limit of open files");
	ok(most == COW_PAIRS_MAX && least > 0, "one at least, and not more than %d", COW_PAIRS_MAX);
}

static void failures(void)
{
	cleanup_error struct cow_error *err = NULL;
	cleanup_free char *path = strdup(getenv("PATH"));
	cleanup_free char *large = malloc(1 << 20);
	size_t length;

	memset(large, '\n', (1 << 20) - 1);
	large[(1 << 20) - 1] = '\0';
	add("", large, "first");
	add("a\n", "b\n", "second");
	ok(cow_pairs_start(&pairs, NULL) == 0 && cow_pairs_line(&pairs, 0, &length) != NULL, "a million lines");
	ok(finish(NULL) == -1 && no_children(), "which nobody reads: it ends all the same");

	add("a\n", "b\n", "gone");
	setenv("PATH", "/nowhere", 1);
	ok(cow_pairs_start(&pairs, &err) == -1 && strstr(err->message, "cannot run diff") != NULL, "without diff(1)");
	setenv("PATH", path, 1);
	ok(finish(NULL) == 0 && no_children(), "nothing is left");

	cow_error_free(err);
	err = NULL;
	add("a\n", "b\n", "good");
	add("a\n", "b\n", "not readable");
	/* Which diff cannot read as if it were a file. */
	close(news[1]);
	news[1] = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	pairs.new[1] = news[1];
	ok(cow_pairs_start(&pairs, NULL) == 0, "a file that cannot be read");
	says(0, "@@ -1 +1 @@\n-a\n+b\n", "does not spoil the one before it");
	says(1, "", "and has no hunks");
	ok(finish(&err) == -1 && strstr(err->message, "not readable") != NULL && no_children(), "the error names it");
}

int main(void)
{
	cow_pairs_init(&pairs);
	order();
	full();
	failures();
	return done_testing();
}
