/* runtime/lib: errors, ownership of descriptors and pointers, whole reads and writes, log lines. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../../runtime/lib/error.h"
#include "../../runtime/lib/fd.h"
#include "../../runtime/lib/json.h"
#include "../../runtime/lib/log.h"
#include "tap.h"

/* --- error -------------------------------------------------------------------------------------------------------- */

static int failing(struct cow_error **err)
{
	return cow_error_set(err, ENOENT, "cannot read %s", "/x");
}

static void test_error(void)
{
	cleanup_error struct cow_error *err = NULL;

	ok(failing(&err) == -1 && err != NULL, "a failure is -1 and an error");
	is_str(err->message, "cannot read /x: No such file or directory", "message with the text of errno");
	ok(err->errnum == ENOENT && err->status == COW_EXIT_FAILURE, "errno and exit status");
	ok(cow_error_wrap(&err, "container %d", 7) == -1, "wrapping is a failure too");
	is_str(err->message, "container 7: cannot read /x: No such file or directory", "context comes before");
	ok(err->errnum == ENOENT, "and errno is kept");

	cow_error_set_status(&err, COW_EXIT_CONFLICT, "%s", "both changed");
	is_str(err->message, "both changed", "a second error replaces the first");
	ok(err->status == COW_EXIT_CONFLICT && err->errnum == 0, "with a status of its own");
	cow_error_set(&err, 0, "100%% %s", "%s");
	is_str(err->message, "100% %s", "arguments are no formats");

	ok(failing(NULL) == -1 && cow_error_wrap(NULL, "x") == -1 && cow_error_set_status(NULL, 3, "x") == -1,
	   "nobody wants to know: still -1");
	cow_error_cleanup(&err);
	ok(err == NULL && cow_error_wrap(&err, "x") == -1 && err == NULL, "nothing to wrap: stays nothing");
	cow_error_free(NULL);
}

/* --- fd ----------------------------------------------------------------------------------------------------------- */

static int opened_and_left(void)
{
	cleanup_close int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int number = fd;

	return number;
}

static void test_ownership(void)
{
	int fd = opened_and_left();
	char *text = strdup("x"), *taken;

	ok(fd >= 0 && fcntl(fd, F_GETFD) == -1 && errno == EBADF, "a descriptor is closed at the end of its block");
	fd = -1;
	errno = EXDEV;
	cow_close_fd(&fd);
	ok(errno == EXDEV, "closing none keeps errno");
	fd = 1 << 20;
	errno = EXDEV;
	cow_close_fd(&fd);
	ok(errno == EXDEV && fd == -1, "closing one that fails keeps errno");
	fd = 5;
	ok(cow_steal_fd(&fd) == 5 && fd == -1, "a stolen descriptor leaves -1");
	taken = cow_steal_ptr(&text);
	ok(text == NULL && strcmp(taken, "x") == 0, "a stolen pointer leaves NULL");
	cow_free_pointer(&taken);
	ok(taken == NULL, "a freed pointer is NULL");
}

struct pipe_ends {
	int in, out;
};

/* Writes in small pieces, with pauses, so that reads come back short. */
static void *dribble(void *ends)
{
	const struct pipe_ends *p = ends;

	for (int i = 0; i < 40; i++) {
		if (write(p->in, "0123456789", 10) != 10)
			break;
		usleep(200);
	}
	close(p->in);
	return NULL;
}

static void test_whole(void)
{
	struct pipe_ends p;
	pthread_t thread;
	char buf[400] = "";
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		abort();
	p = (struct pipe_ends){.in = fds[1], .out = fds[0]};
	pthread_create(&thread, NULL, dribble, &p);
	ok(cow_read_all(p.out, buf, 395) == 0 && memcmp(buf, "0123456789", 10) == 0 && buf[394] == '4',
	   "pieces are read until all is there");
	ok(cow_read_all(p.out, buf, 10) == -1 && errno == 0, "an end before that is -1 without errno");
	pthread_join(thread, NULL);
	close(p.out);
	ok(cow_read_all(p.out, buf, 1) == -1 && errno == EBADF, "an error is -1 with errno");
	ok(cow_write_all(p.out, "x", 1) == -1 && errno == EBADF, "in writing too");
	ok(cow_write_all(-1, "", 0) == 0, "nothing is written anywhere");
}

static void test_read_to_end(void)
{
	cleanup_close int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	cleanup_free char *text = NULL;
	char block[1000];
	size_t size = 7;

	memset(block, 'b', sizeof(block));
	text = cow_read_to_end(fd, 0, &size);
	ok(text != NULL && size == 0 && *text == '\0', "an empty file is an empty string");
	free(text);
	for (int i = 0; i < 50; i++)
		if (cow_write_all(fd, block, sizeof(block)) != 0)
			abort();
	lseek(fd, 0, SEEK_SET);
	text = cow_read_to_end(fd, 50000, &size);
	ok(text != NULL && size == 50000 && text[49999] == 'b' && text[50000] == '\0', "exactly as much as is allowed");
	free(text);
	lseek(fd, 0, SEEK_SET);
	errno = 0;
	text = cow_read_to_end(fd, 49999, &size);
	ok(text == NULL && errno == EFBIG, "one byte more is EFBIG");
	text = cow_read_to_end(-1, 10, &size);
	ok(text == NULL && errno == EBADF, "an error of read(2)");
}

/* --- log ---------------------------------------------------------------------------------------------------------- */

/* What was logged to the file since `from`; caller frees. */
static char *logged(int fd, off_t from)
{
	lseek(fd, from, SEEK_SET);
	return cow_read_to_end(fd, 1 << 20, NULL);
}

static int log_file(const char *path, bool json)
{
	int fd;

	unlink(path);
	if (cow_log_open_file(path, json) < 0)
		abort();
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		abort();
	return fd;
}

/* time="2026-01-02T03:04:05Z" level=… */
static const char *after_time(const char *line)
{
	int end = 0;

	sscanf(line, "time=\"%*4d-%*2d-%*2dT%*2d:%*2d:%*2dZ\" %n", &end);
	return line + end;
}

static void test_log_text(const char *path)
{
	cleanup_close int fd = log_file(path, false);
	cleanup_free char *line = NULL;
	struct stat st;

	errno = EXDEV;
	cow_log_error("cannot do %s", "it");
	ok(errno == EXDEV, "logging keeps errno");
	line = logged(fd, 0);
	is_str(after_time(line), "level=error msg=\"cannot do it\"\n", "a line of runc's text form");
	ok(line != after_time(line), "it begins with the time");
	fstat(fd, &st);
	cow_log_info("not asked for");
	free(line);
	line = logged(fd, st.st_size);
	is_str(line, "", "below the level nothing is written");
	cow_log_set_level(COW_LOG_DEBUG);
	cow_log_debug("say \"%s\"\\", "x\n\ttwo\r\x1b[31m\x7f");
	free(line);
	line = logged(fd, st.st_size);
	is_str(after_time(line), "level=debug msg=\"say \\\"x\\n\\ttwo\\r\\x1b[31m\\x7f\\\"\\\\\"\n",
	       "quotes, line ends and terminal sequences are escaped: no message can forge a second line");
	fstat(fd, &st);
	cow_log_warning("%s", "gr\xc3\xbc\xc3\x9f "
			      "\xf0\x9f\x90\x84 \xff \xc0\xaf \xed\xa0\x80 \xc2\x9b \xc3");
	free(line);
	line = logged(fd, st.st_size);
	is_str(after_time(line),
	       "level=warning msg=\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x84 \\xff \\xc0\\xaf \\xed\\xa0\\x80 \\xc2\\x9b "
	       "\\xc3\"\n",
	       "UTF-8 stays, what is none is escaped");
	cow_log_set_level(COW_LOG_WARNING);
}

static void test_log_json(const char *path)
{
	cleanup_close int fd = log_file(path, true);
	cleanup_json struct cow_json *v = NULL;
	cleanup_free char *line = NULL;
	cleanup_error struct cow_error *err = NULL;

	cow_log_error("\"%s\"", "a\nb\xff");
	line = logged(fd, 0);
	ok(strchr(line, '\n') == line + strlen(line) - 1, "one line");
	v = cow_json_parse(line, strlen(line), &err);
	ok(v != NULL && cow_json_count(v) == 3, "an object of three members");
	is_str(cow_json_string(cow_json_get(v, "level")), "error", "level");
	is_str(cow_json_string(cow_json_get(v, "msg")), "\"a\\nb\\xff\"", "msg, in valid UTF-8");
	ok(cow_json_string(cow_json_get(v, "time")) != NULL, "time");
}

static void *log_much(void *number)
{
	for (int i = 0; i < 200; i++)
		cow_log_error("%s of thread %d", "a message that is long enough to be torn if it were not one write",
			      *(int *)number);
	return NULL;
}

static void test_log_threads(const char *path)
{
	cleanup_close int fd = log_file(path, false);
	cleanup_free char *text = NULL;
	int numbers[] = {1, 2, 3, 4}, lines = 0, whole = 0;
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, log_much, &numbers[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	text = logged(fd, 0);
	for (char *save = NULL, *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
		lines++;
		whole += strncmp(line, "time=\"", 6) == 0 && line[strlen(line) - 1] == '"';
	}
	ok(lines == 800 && whole == 800, "lines of several threads are whole");
}

static void test_log_stderr(void)
{
	cleanup_free char *said = NULL;
	int fds[2];
	pid_t pid;

	fflush(stdout);
	if (pipe2(fds, O_CLOEXEC) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		cow_log_set_program("cowrun-x");
		cow_log_set_stderr(true);
		cow_log_error("two\nlines of \"%s\"", "it");
		cow_log_set_stderr(false);
		cow_log_error("not this");
		_exit(0);
	}
	close(fds[1]);
	said = cow_read_to_end(fds[0], 1000, NULL);
	is_str(said, "cowrun-x: two\\nlines of \"it\"\n", "stderr: the program's name, one line, for people");
	close(fds[0]);
	waitpid(pid, NULL, 0);
}

int main(void)
{
	char dir[] = "/tmp/test_libXXXXXX", path[64];

	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/log", dir);
	cow_log_set_stderr(false);
	test_error();
	test_ownership();
	test_whole();
	test_read_to_end();
	test_log_text(path);
	test_log_json(path);
	test_log_threads(path);
	test_log_stderr();
	ok(cow_log_open_file("/nonexistent/log", false) == -1 && errno == ENOENT, "a log that cannot be opened");
	cow_log_set_fd(-1, false);
	unlink(path);
	rmdir(dir);
	return done_testing();
}
