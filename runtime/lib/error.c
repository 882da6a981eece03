#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cow_error *make(int errnum, int status, const char *fmt, va_list ap)
{
	struct cow_error *e = calloc(1, sizeof(*e));
	char *text = NULL;

	if (e == NULL)
		abort();
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	e->errnum = errnum;
	e->status = status;
	e->message = text;
	if (errnum != 0) {
		char *full = NULL;

		if (asprintf(&full, "%s: %s", text, strerror(errnum)) < 0)
			abort();
		free(text);
		e->message = full;
	}
	return e;
}

int cow_error_set(struct cow_error **err, int errnum, const char *fmt, ...)
{
	va_list ap;

	if (err == NULL)
		return -1;
	cow_error_cleanup(err);
	va_start(ap, fmt);
	*err = make(errnum, COW_EXIT_FAILURE, fmt, ap);
	va_end(ap);
	return -1;
}

int cow_error_set_status(struct cow_error **err, int status, const char *fmt, ...)
{
	va_list ap;

	if (err == NULL)
		return -1;
	cow_error_cleanup(err);
	va_start(ap, fmt);
	*err = make(0, status, fmt, ap);
	va_end(ap);
	return -1;
}

int cow_error_wrap(struct cow_error **err, const char *fmt, ...)
{
	va_list ap;
	char *context = NULL;
	char *full = NULL;

	if (err == NULL || *err == NULL)
		return -1;
	va_start(ap, fmt);
	if (vasprintf(&context, fmt, ap) < 0)
		abort();
	va_end(ap);
	if (asprintf(&full, "%s: %s", context, (*err)->message) < 0)
		abort();
	free(context);
	free((*err)->message);
	(*err)->message = full;
	return -1;
}

void cow_error_free(struct cow_error *err)
{
	if (err == NULL)
		return;
	free(err->message);
	free(err);
}

void cow_error_cleanup(struct cow_error **err)
{
	cow_error_free(*err);
	*err = NULL;
}
