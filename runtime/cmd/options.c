#include "options.h"

#include <string.h>

static const struct cow_option *find_long(const struct cow_option *options, const char *name, size_t length)
{
	for (const struct cow_option *o = options; o->name != NULL; o++)
		if (strlen(o->name) == length && strncmp(o->name, name, length) == 0)
			return o;
	return NULL;
}

static const struct cow_option *find_short(const struct cow_option *options, char letter)
{
	for (const struct cow_option *o = options; o->name != NULL; o++)
		if (o->letter != '\0' && o->letter == letter)
			return o;
	return NULL;
}

static int take_short(const struct cow_option *options, const char *letters, struct cow_error **err)
{
	for (; *letters != '\0'; letters++) {
		const struct cow_option *o = find_short(options, *letters);

		if (o == NULL || o->flag == NULL)
			return cow_error_set_status(err, COW_EXIT_USAGE, "unknown option -%c", *letters);
		*o->flag = true;
	}
	return 0;
}

/* Takes argv[*at], and the next one if it is its value. */
static int take_long(int argc, char **argv, int *at, const struct cow_option *options, struct cow_error **err)
{
	const char *name = argv[*at] + 2;
	size_t length = strcspn(name, "=");
	const struct cow_option *o = find_long(options, name, length);

	if (o == NULL)
		return cow_error_set_status(err, COW_EXIT_USAGE, "unknown option --%.*s", (int)length, name);
	if (o->flag != NULL) {
		if (name[length] != '\0')
			return cow_error_set_status(err, COW_EXIT_USAGE, "--%s takes no value", o->name);
		*o->flag = true;
	} else if (name[length] == '=') {
		*o->value = name + length + 1;
	} else if (*at + 1 < argc) {
		*o->value = argv[++*at];
	} else {
		return cow_error_set_status(err, COW_EXIT_USAGE, "--%s wants a value", o->name);
	}
	return 0;
}

int cow_options_parse(int argc, char **argv, const struct cow_option *options, const char *what, size_t least,
		      size_t most, struct cow_error **err)
{
	size_t count = 0;
	bool ended = false;

	for (int i = 0; i < argc; i++) {
		int error = 0;

		if (!ended && strcmp(argv[i], "--") == 0)
			ended = true;
		else if (!ended && strncmp(argv[i], "--", 2) == 0)
			error = take_long(argc, argv, &i, options, err);
		else if (!ended && argv[i][0] == '-' && argv[i][1] != '\0')
			error = take_short(options, argv[i] + 1, err);
		else
			argv[count++] = argv[i];
		if (error != 0)
			return -1;
	}
	if (count < least)
		return cow_error_set_status(err, COW_EXIT_USAGE, "which %s?", what);
	if (count > most)
		return cow_error_set_status(err, COW_EXIT_USAGE, "one %s too many: %s", what, argv[most]);
	return (int)count;
}
