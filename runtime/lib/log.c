#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fd.h"
#include "json.h"

static struct {
	pthread_mutex_t lock;
	const char *program;
	enum cow_log_level level;
	bool to_stderr;
	int fd;
	bool json;
} state = {PTHREAD_MUTEX_INITIALIZER, "cowrun", COW_LOG_WARNING, true, -1, false};

static const char *const level_names[] = {"error", "warning", "info", "debug"};

void cow_log_set_program(const char *name)
{
	state.program = name;
}

void cow_log_set_level(enum cow_log_level level)
{
	state.level = level;
}

void cow_log_set_stderr(bool on)
{
	state.to_stderr = on;
}

void cow_log_set_fd(int fd, bool json)
{
	cow_close_fd(&state.fd);
	state.fd = fd;
	state.json = json;
}

int cow_log_open_file(const char *path, bool json)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);

	if (fd < 0)
		return -1;
	cow_log_set_fd(fd, json);
	return 0;
}

/* Bytes of the well-formed UTF-8 character at p (RFC 3629); 0: none, or a C1 control, which terminals obey. */
static size_t utf8_length(const unsigned char *p)
{
	size_t length = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < length; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((*p == 0xc2 && p[1] < 0xa0) || (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
	    (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
		return 0;
	return length;
}

/*
 * Messages name files and annotations of containers. What could end the line, or be more than text to a terminal or a
 * parser, becomes \n, \t, \r or \xNN; the characters of `quoted` get a backslash. Caller frees.
 */
static char *one_line(const char *text, const char *quoted)
{
	char *out = malloc(4 * strlen(text) + 1), *to = out;

	if (out == NULL)
		abort();
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0';) {
		const char *named = strchr("\nn\tt\rr", *p);
		size_t length = utf8_length(p);

		if (named != NULL && *p < ' ') {
			to += sprintf(to, "\\%c", named[1]);
			p++;
		} else if (length == 0 || *p < ' ' || *p == 0x7f) {
			to += sprintf(to, "\\x%02x", *p++);
		} else {
			if (strchr(quoted, *p) != NULL)
				*to++ = '\\';
			memcpy(to, p, length);
			to += length;
			p += length;
		}
	}
	*to = '\0';
	return out;
}

/* runc's own two forms, which engines read back to show the last error to their user. */
static char *file_line(enum cow_log_level level, const char *text)
{
	char stamp[40];
	cleanup_free char *safe = one_line(text, state.json ? "" : "\"\\");
	char *line = NULL;
	struct tm tm;
	time_t now = time(NULL);

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (state.json) {
		cleanup_json struct cow_json *o = cow_json_new_object();
		cleanup_free char *body = NULL;

		cow_json_set(o, "level", cow_json_new_string(level_names[level]));
		cow_json_set(o, "msg", cow_json_new_string(safe));
		cow_json_set(o, "time", cow_json_new_string(stamp));
		body = cow_json_print(o, 0, NULL);
		if (asprintf(&line, "%s\n", body) < 0)
			return NULL;
	} else if (asprintf(&line, "time=\"%s\" level=%s msg=\"%s\"\n", stamp, level_names[level], safe) < 0) {
		return NULL;
	}
	return line;
}

void cow_log(enum cow_log_level level, const char *fmt, ...)
{
	cleanup_free char *text = NULL;
	cleanup_free char *line = NULL;
	int saved = errno;
	va_list ap;

	if (level > state.level)
		return;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	pthread_mutex_lock(&state.lock);
	if (state.to_stderr) {
		cleanup_free char *safe = one_line(text, "");
		cleanup_free char *human = NULL;

		if (asprintf(&human, "%s: %s\n", state.program, safe) >= 0)
			(void)cow_write_all(STDERR_FILENO, human, strlen(human));
	}
	if (state.fd >= 0 && (line = file_line(level, text)) != NULL)
		(void)cow_write_all(state.fd, line, strlen(line));
	pthread_mutex_unlock(&state.lock);
	errno = saved;
}
