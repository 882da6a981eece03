#include "play.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { A_DAY = 86400 };

void say(struct result *r, const char *format, ...)
{
	va_list values;
	int n;

	va_start(values, format);
	n = vsnprintf(r->text + r->length, sizeof(r->text) - r->length, format, values);
	va_end(values);
	if (n > 0)
		r->length += (size_t)n;
	if (r->length >= sizeof(r->text))
		r->length = sizeof(r->text) - 1;
}

static bool plain(unsigned char c)
{
	return c > ' ' && c < 127 && c != '%' && c != '@';
}

void say_bytes(struct result *r, const void *bytes, size_t length)
{
	const unsigned char *p = bytes;

	if (length == 0)
		say(r, "%%");
	for (size_t i = 0; i < length; i++)
		say(r, plain(p[i]) ? "%c" : "%%%02X", p[i]);
}

void say_error(struct result *r, int error)
{
	const char *name = strerrorname_np(error);

	say(r, "%s", name != NULL ? name : "E?");
}

void say_done(struct result *r, long value)
{
	if (value < 0)
		say_error(r, errno);
	else
		say(r, "ok");
}

void say_value(struct result *r, long value)
{
	if (value < 0)
		say_error(r, errno);
	else
		say(r, "ok %ld", value);
}

uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t length)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ p[i]) * 1099511628211ULL;
	return hash;
}

void say_content(struct result *r, const void *bytes, size_t length)
{
	if (length <= 24)
		say_bytes(r, bytes, length);
	else
		say(r, "%zu:%016llx", length, (unsigned long long)hash_bytes(HASH_START, bytes, length));
}

void say_time(struct result *r, long long seconds, unsigned nanoseconds)
{
	long long distance = seconds - (long long)time(NULL);

	if (distance > -A_DAY && distance < A_DAY)
		say(r, "now");
	else
		say(r, "%lld.%09u", seconds, nanoseconds);
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* In place; the length of what it becomes. */
static size_t decode(char *word)
{
	char *to = word;

	for (const char *p = word; *p != '\0'; p++) {
		if (*p != '%')
			*to++ = *p;
		else if (digit(p[1]) >= 0 && digit(p[2]) >= 0) {
			*to++ = (char)(digit(p[1]) * 16 + digit(p[2]));
			p += 2;
		}
	}
	*to = '\0';
	return (size_t)(to - word);
}

bool parse_call(char *line, struct call *c)
{
	char *rest = NULL;
	char *word = strtok_r(line, " \n", &rest);

	c->count = 0;
	if (word == NULL || sscanf(word, "%d", &c->actor) != 1)
		return false;
	c->name = strtok_r(NULL, " \n", &rest);
	while (c->count < ARGUMENTS && (word = strtok_r(NULL, " \n", &rest)) != NULL) {
		c->argument[c->count] = strcmp(word, "@") == 0 ? NULL : word;
		c->length[c->count] = c->argument[c->count] == NULL ? 0 : decode(word);
		c->count++;
	}
	for (int i = c->count; i < ARGUMENTS; i++)
		c->argument[i] = NULL;
	return c->name != NULL;
}
