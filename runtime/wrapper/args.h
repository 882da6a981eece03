/*
 * The command line of runc and crun, as podman, conmon, containerd's shim, CRI-O and people write it.
 *
 * runc reads options as Go's flag package does (-name value, --name=value, -b=value, --flag=false), crun as GNU argp
 * does
 * (-bVALUE, clusters, unique abbreviations). All of it is understood whatever the delegate is. A command line that
 * cowrun has no part in goes to the delegate as it came; the others are rendered anew, in the one form that both
 * understand.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "../lib/error.h"

/* Subcommands in which cowrun takes part; all others are the delegate's own. */
enum cow_verb {
	COW_VERB_NONE, /* no subcommand at all */
	COW_VERB_OTHER,
	COW_VERB_CREATE,
	COW_VERB_RUN,
	COW_VERB_RESTORE,
	COW_VERB_EXEC,
	COW_VERB_DELETE,
};

/* Options that cowrun looks at. The others in the table (options.c) are only known by their form. */
enum cow_option {
	COW_OPTION_PLAIN,
	COW_OPTION_ROOT,
	COW_OPTION_LOG,
	COW_OPTION_LOG_FORMAT,
	COW_OPTION_DEBUG,
	COW_OPTION_HELP,
	COW_OPTION_VERSION,
	COW_OPTION_BUNDLE,
	COW_OPTION_CONFIG,
	COW_OPTION_PRESERVE_FDS,
	COW_OPTION_DETACH,
	COW_OPTION_KEEP,
	COW_OPTION_PROCESS,
	COW_OPTION_CWD,
	COW_OPTION_FORCE,
	COW_OPTION_REGEX,
};

/* Where an option may stand. */
enum {
	COW_IN_GLOBAL = 1,
	COW_IN_CREATE = 2,
	COW_IN_RUN = 4,
	COW_IN_EXEC = 8,
	COW_IN_DELETE = 16,
	COW_IN_RESTORE = 32,
};

enum cow_takes { COW_TAKES_NOTHING, COW_TAKES_VALUE, COW_TAKES_MAYBE /* a value only after "=" */ };

struct cow_option_rule {
	const char *name; /* without dashes */
	char letter;      /* or 0 */
	enum cow_takes takes;
	unsigned where;
	enum cow_option option;
};

/* options.c. `abbreviated`: a unique beginning of a name will do. NULL: not known there. */
const struct cow_option_rule *cow_option_named(const char *name, size_t length, unsigned where, bool abbreviated);
const struct cow_option_rule *cow_option_lettered(char letter, unsigned where);
/* A subcommand of runc or crun that cowrun has heard of. */
bool cow_command_known(const char *word);

/* One option as it was given. */
struct cow_arg {
	const struct cow_option_rule *rule; /* NULL: unknown; `text` is the word as it came */
	char *text;                         /* the value, or NULL */
	bool off;                           /* --flag=false */
};

struct cow_arg_list {
	struct cow_arg *v;
	size_t n;
};

struct cow_args {
	int argc; /* as it came; not owned */
	char **argv;
	enum cow_verb verb;
	const char *command;         /* the subcommand, or NULL */
	struct cow_arg_list globals; /* options before it */
	struct cow_arg_list options; /* options of it: only for the verbs that cowrun takes part in */
	char **words;                /* what is no option: the container id, exec's command line; NULL-terminated */
	size_t nwords;
	const char *unknown; /* the first option that is not in the table, or NULL */
};

/* Never fails: what it does not understand is recorded as unknown and left to the caller. */
void cow_args_parse(struct cow_args *a, int argc, char **argv);
void cow_args_free(struct cow_args *a);
#define cleanup_args __attribute__((cleanup(cow_args_free)))

/* The last value given, or NULL; was the flag given (and not taken back)? */
const char *cow_args_value(const struct cow_args *a, enum cow_option option);
bool cow_args_flag(const struct cow_args *a, enum cow_option option);
/* Number of --preserve-fds, 0 if not given. */
int cow_args_preserve_fds(const struct cow_args *a, int *count, struct cow_error **err);
/* --root in a form that does not depend on how it was written: absolute, without "//", "/./" and a slash at the end.
   "" if it was not given. Caller frees. */
char *cow_args_root(const struct cow_args *a, struct cow_error **err);

/* Sets an option of the subcommand, once. */
void cow_args_set(struct cow_args *a, enum cow_option option, const char *value);
/* Replaces the words. The strings are copied. */
void cow_args_set_words(struct cow_args *a, char *const *words);
/* A new argument vector for `program`; caller frees with cow_args_free_vector. */
char **cow_args_render(const struct cow_args *a, const char *program);
/* `PROGRAM [the same globals, but nothing about logs] COMMAND ID`: asks the delegate about a container. */
char **cow_args_render_other(const struct cow_args *a, const char *program, const char *command, const char *id);
void cow_args_free_vector(char **vector);
void cow_args_cleanup_vector(char ***vector);
#define cleanup_vector __attribute__((cleanup(cow_args_cleanup_vector)))
