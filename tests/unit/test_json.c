/* JSON (runtime/lib/json.h): what it keeps to the letter, what it refuses, and how it writes files. */
#include "../../runtime/lib/json.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../runtime/lib/fd.h"
#include "tap.h"

static struct cow_json *parse(const char *text)
{
	return cow_json_parse(text, strlen(text), NULL);
}

/* Printed again, or NULL if it is refused. Caller frees. */
static char *again(const char *text)
{
	cleanup_json struct cow_json *v = parse(text);

	return v != NULL ? cow_json_print(v, 0, NULL) : NULL;
}

static void same(const char *text)
{
	cleanup_free char *printed = again(text);

	is_str(printed, text, "kept: %s", text);
}

static void becomes(const char *text, const char *want)
{
	cleanup_free char *printed = again(text);

	is_str(printed, want, "%s is written %s", text, want);
}

static void refused(const char *text, size_t size, const char *name)
{
	cleanup_error struct cow_error *err = NULL;
	cleanup_json struct cow_json *v = cow_json_parse(text, size, &err);

	ok(v == NULL && err != NULL, "refused: %s", name);
	if (err != NULL)
		ok(strchr(err->message, '\n') == NULL && strstr(err->message, "bad JSON") != NULL, "in one line: %s",
		   err->message);
}

static void test_kept(void)
{
	same("[1e400,18446744073709551615,0.10,-0,1E+2,-0.0e-0,123456789012345678901234567890]");
	same("{\"z\":1,\"a\":[],\"m\":{},\"\":null,\"b\":[true,false]}");
	same("\"\\u0000\"");
	same("\"a\\u0000b\"");
	same("\"\\b\\f\\n\\r\\t\\\"\\\\\"");
	becomes("\"\\u00e9\\/\\ud83d\\ude00\"", "\"\u00e9/\U0001f600\"");
	becomes(" [ 1 ,  2 ] ", "[1,2]");
	same("1");
}

static void test_refused(void)
{
	static const char *const broken[] = {
		"",
		" ",
		"{",
		"[1",
		"[1,]",
		"{\"a\":1,}",
		"{} {}",
		"{}x",
		"01",
		"-",
		"1.",
		".5",
		"+1",
		"NaN",
		"Infinity",
		"nul",
		"tru e",
		"'a'",
		"{1:2}",
		"{a:1}",
		"[1 2]",
		"//c\n{}",
		"/**/{}",
		"\"",
		"\"\\x\"",
		"\"\\u12\"",
		"\"\t\"",
		"\"\xff\"",
		"\"\xc0\x80\"",
		"\"\xed\xa0\x80\"",
		"\"\xf4\x90\x80\x80\"",
		"\"\xe2\x82",
		"\xef\xbb\xbf{}",
		"\"\\ud800\"",
		"\"\\udc00x\"",
		"\"\\ud800\\u0041\"",
		"\"\\ud800\\",
		"{\"a\\u0000b\":1}",
		"{\"a\":1,\"a\":2}",
		"{\"a\":1,\"b\":2,\"\\u0061\":3}",
		"[{\"x\":{\"a\":[],\"b\":0,\"a\":1}}]",
	};

	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		char name[32];

		snprintf(name, sizeof(name), "text %zu", i);
		refused(broken[i], strlen(broken[i]), name);
	}
	refused("{}\0{}", 5, "a NUL after the document");
	refused("\"a\0b\"", 5, "a NUL byte in a string");
}

/* [[[…]]] of `depth` levels. */
static char *nested(size_t depth)
{
	char *text = malloc(2 * depth + 1);

	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	text[2 * depth] = '\0';
	return text;
}

static void test_depth(void)
{
	cleanup_free char *deep = nested(64), *deeper = nested(65), *hostile = nested(1000000);
	cleanup_free char *printed = again(deep);

	is_str(printed, deep, "64 levels");
	refused(deeper, strlen(deeper), "65 levels");
	refused(hostile, strlen(hostile), "a million levels");
	refused(hostile, 1000000, "a million levels, and none closed");
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* {"KEY0":0,…}, the last key equal to the first one if `repeat`. Caller frees. */
static char *many_members(size_t n, bool repeat)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	for (size_t i = 0; i < n; i++)
		fprintf(f, "%s\"a-key-that-is-as-long-as-another-%zu\":%zu", i == 0 ? "{" : ",",
			repeat && i == n - 1 ? 0 : i, i);
	fputc('}', f);
	fclose(f);
	return text;
}

static void test_many_members(void)
{
	cleanup_free char *text = many_members(100000, false), *repeated = many_members(100000, true);
	double before = seconds();
	cleanup_free char *printed = again(text);

	is_str(printed, text, "an object of 100,000 members");
	refused(repeated, strlen(repeated), "one of its keys is given twice");
	ok(seconds() - before < 3, "in linear time (%.2f s)", seconds() - before);
}

static void test_readers(void)
{
	cleanup_json struct cow_json *v =
		parse("{\"n\":-9223372036854775808,\"big\":9223372036854775808,\"half\":0.5,\"exp\":1e2,\"s\":\"text\","
		      "\"nul\":\"a\\u0000b\",\"t\":true,\"o\":{\"p\":{\"q\":[1,\"two\"]}},\"null\":null}");
	int64_t n = 7;

	ok(cow_json_int(cow_json_get(v, "n"), &n) == 0 && n == INT64_MIN, "the smallest integer");
	n = 7;
	ok(cow_json_int(cow_json_get(v, "big"), &n) == -1 && n == 7, "an integer that does not fit");
	ok(cow_json_int(cow_json_get(v, "half"), &n) == -1 && cow_json_int(cow_json_get(v, "exp"), &n) == -1 &&
		   cow_json_int(cow_json_get(v, "s"), &n) == -1,
	   "numbers that are no integers, and a text");
	is_str(cow_json_string(cow_json_get(v, "s")), "text", "a string");
	ok(cow_json_string(cow_json_get(v, "nul")) == NULL, "a string with a NUL is none for C");
	ok(cow_json_bool(cow_json_get(v, "t"), false) && cow_json_bool(cow_json_get(v, "n"), true) &&
		   !cow_json_bool(NULL, false),
	   "booleans, and the fallback");
	is_str(cow_json_string(cow_json_at(cow_json_path(v, "o.p.q"), 1)), "two", "a path");
	ok(cow_json_path(v, "o.x.q") == NULL && cow_json_path(v, "s.x") == NULL, "paths that lead nowhere");
	ok(cow_json_count(v) == 9 && cow_json_count(cow_json_get(v, "s")) == 0 && cow_json_count(NULL) == 0, "counts");
	is_str(cow_json_key_at(v, 4), "s", "a key");
	ok(cow_json_key_at(v, 99) == NULL && cow_json_at(v, 99) == NULL, "beyond the end");
	ok(cow_json_type_of(cow_json_get(v, "null")) == COW_JSON_NULL && cow_json_get(v, "null") != NULL &&
		   cow_json_get(v, "none") == NULL,
	   "null and nothing");
}

static void test_changes(void)
{
	cleanup_json struct cow_json *v = parse("{\"a\":1,\"b\":[1,2,3],\"c\":3}");
	cleanup_json struct cow_json *copy = cow_json_copy(v);
	cleanup_free char *printed = NULL, *kept = NULL;

	cow_json_set(v, "a", cow_json_new_string("new\n"));
	cow_json_set(v, "d", cow_json_new_uint(UINT64_MAX));
	cow_json_remove_at(cow_json_get(v, "b"), 1);
	cow_json_remove_at(cow_json_get(v, "b"), 99);
	cow_json_insert(cow_json_get(v, "b"), 0, cow_json_new_int(-5));
	cow_json_append(cow_json_get(v, "b"), cow_json_new_bool(false));
	ok(cow_json_unset(v, "c") && !cow_json_unset(v, "c"), "a member is taken out once");
	ok(cow_json_need_object(v, "a") == NULL && cow_json_need_array(v, "b") == cow_json_get(v, "b") &&
		   cow_json_need_object(v, "e") != NULL,
	   "members that are needed");
	printed = cow_json_print(v, 0, NULL);
	is_str(printed, "{\"a\":\"new\\n\",\"b\":[-5,1,3,false],\"d\":18446744073709551615,\"e\":{}}", "changed");
	kept = cow_json_print(copy, 0, NULL);
	is_str(kept, "{\"a\":1,\"b\":[1,2,3],\"c\":3}", "the copy is not");
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static void put(int dir, const char *name, const char *text)
{
	cleanup_close int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || cow_write_all(fd, text, strlen(text)) != 0)
		perror(name);
}

static size_t count_names(int dir)
{
	cleanup_dir DIR *d = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	size_t n = 0;

	for (struct dirent *e; (e = readdir(d)) != NULL;)
		n += e->d_name[0] != '.';
	return n;
}

static void test_write(int dir)
{
	cleanup_json struct cow_json *v = parse("{\"n\":0.10}"), *back = NULL;
	cleanup_close int old = -1;
	cleanup_free char *before = NULL;
	struct stat st;

	put(dir, "config.json", "before");
	old = openat(dir, "config.json", O_RDONLY | O_CLOEXEC);
	ok(cow_json_write_file(dir, "config.json", v, 0640, NULL) == 0, "written");
	before = cow_read_to_end(old, 100, NULL);
	is_str(before, "before", "who has the old file open still reads the old one");
	ok(fstatat(dir, "config.json", &st, 0) == 0 && (st.st_mode & 07777) == 0640, "its mode");
	back = cow_json_read_file(dir, "config.json", 100, NULL);
	ok(back != NULL && cow_json_get(back, "n") != NULL, "read back");
	ok(count_names(dir) == 1, "nothing beside it");
}

/* A write that cannot be completed leaves the old file, and no temporary one. */
static void test_failed_write(int dir)
{
	cleanup_json struct cow_json *v = parse("[\"a text that is longer than a file may be now\"]"), *back = NULL;
	cleanup_error struct cow_error *err = NULL;
	struct rlimit old, limit;

	getrlimit(RLIMIT_FSIZE, &old);
	limit = (struct rlimit){.rlim_cur = 10, .rlim_max = old.rlim_max};
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	ok(cow_json_write_file(dir, "config.json", v, 0600, &err) == -1 && strstr(err->message, "config.json") != NULL,
	   "a write that fails half-way: %s", err != NULL ? err->message : "");
	setrlimit(RLIMIT_FSIZE, &old);
	back = cow_json_read_file(dir, "config.json", 100, NULL);
	ok(cow_json_get(back, "n") != NULL && count_names(dir) == 1, "the file is as it was, and alone");
	cow_error_cleanup(&err);
	ok(cow_json_write_file(dir, "none/file", v, 0600, &err) == -1 && strstr(err->message, "none/file") != NULL,
	   "a directory that is not there");
}

static void test_bad_files(int dir)
{
	cleanup_error struct cow_error *err = NULL;

	put(dir, "big", "[1,2,3,4,5,6,7,8,9]");
	ok(cow_json_read_file(dir, "big", 10, &err) == NULL && strstr(err->message, "big") != NULL, "too big: %s",
	   err->message);
	cow_error_cleanup(&err);
	put(dir, "broken", "{\"a\":");
	ok(cow_json_read_file(dir, "broken", 100, &err) == NULL && strstr(err->message, "broken") != NULL, "broken: %s",
	   err->message);
	cow_error_cleanup(&err);
	ok(cow_json_read_file(dir, "none", 100, &err) == NULL && strstr(err->message, "none") != NULL, "missing");
	cow_error_cleanup(&err);
	mkfifoat(dir, "fifo", 0600);
	ok(cow_json_read_file(dir, "fifo", 100, &err) == NULL, "a FIFO is not waited for");
	cow_error_cleanup(&err);
	ok(cow_json_read_file(dir, ".", 100, &err) == NULL, "a directory");
	unlinkat(dir, "fifo", 0);
	unlinkat(dir, "big", 0);
	unlinkat(dir, "broken", 0);
}

static void test_same(void)
{
	static const char *const texts[] = {
		"null",
		"true",
		"false",
		"1",
		"1.0",
		"2",
		"\"1\"",
		"\"\"",
		"\"a\\u0000b\"",
		"\"a\\u0000c\"",
		"[]",
		"{}",
		"[1]",
		"[1,2]",
		"[[1],2]",
		"{\"a\":1}",
		"{\"b\":1}",
		"{\"a\":2}",
		"{\"a\":1,\"b\":1}",
		"{\"b\":1,\"a\":1}",
	};
	size_t n = sizeof(texts) / sizeof(texts[0]), wrong = 0;

	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < n; j++) {
			cleanup_json struct cow_json *a = parse(texts[i]), *b = parse(texts[j]);

			wrong += a == NULL || b == NULL || cow_json_same(a, b) != (i == j);
		}
	}
	ok(wrong == 0, "the same is what is printed alike");
}

int main(void)
{
	char path[] = "/tmp/test_jsonXXXXXX";
	cleanup_close int dir = mkdtemp(path) != NULL ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	test_kept();
	test_refused();
	test_depth();
	test_many_members();
	test_readers();
	test_changes();
	test_same();
	test_write(dir);
	test_failed_write(dir);
	test_bad_files(dir);
	unlinkat(dir, "config.json", 0);
	rmdir(path);
	return done_testing();
}
