#include "args.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/fd.h"

enum { PRESERVE_FDS_MAX = 4096 };

static char *copy(const char *s)
{
	char *c = strdup(s);

	if (c == NULL)
		abort();
	return c;
}

static void add(struct cow_arg_list *list, struct cow_arg arg)
{
	list->v = reallocarray(list->v, list->n + 1, sizeof(*list->v));
	if (list->v == NULL)
		abort();
	list->v[list->n++] = arg;
}

static void add_word(struct cow_args *a, const char *word)
{
	a->words = reallocarray(a->words, a->nwords + 2, sizeof(*a->words));
	if (a->words == NULL)
		abort();
	a->words[a->nwords++] = copy(word);
	a->words[a->nwords] = NULL;
}

static void free_list(struct cow_arg_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->v[i].text);
	free(list->v);
	*list = (struct cow_arg_list){0};
}

void cow_args_free_vector(char **vector)
{
	for (char **p = vector; p != NULL && *p != NULL; p++)
		free(*p);
	free(vector);
}

void cow_args_cleanup_vector(char ***vector)
{
	cow_args_free_vector(*vector);
	*vector = NULL;
}

void cow_args_free(struct cow_args *a)
{
	free_list(&a->globals);
	free_list(&a->options);
	cow_args_free_vector(a->words);
	a->words = NULL;
	a->nwords = 0;
}

/* --- parsing ------------------------------------------------------------------------------------------------------ */

/* strconv.ParseBool, which Go's flag package uses. */
static bool is_false(const char *s)
{
	return strcmp(s, "0") == 0 || strcmp(s, "f") == 0 || strcmp(s, "F") == 0 || strcasecmp(s, "false") == 0;
}

struct reader {
	struct cow_args *a;
	struct cow_arg_list *list;
	unsigned where;
	int at; /* the next word */
};

static void add_unknown(struct reader *r, const char *word)
{
	if (r->a->unknown == NULL)
		r->a->unknown = word;
	add(r->list, (struct cow_arg){.text = copy(word)});
}

/* A value that is missing is left to the delegate to complain of. */
static void add_known(struct reader *r, const struct cow_option_rule *rule, const char *attached, const char *word)
{
	if (rule->takes == COW_TAKES_VALUE && attached == NULL) {
		if (r->at >= r->a->argc) {
			add_unknown(r, word);
			return;
		}
		attached = r->a->argv[r->at++];
	}
	if (rule->takes == COW_TAKES_NOTHING)
		add(r->list, (struct cow_arg){.rule = rule, .off = attached != NULL && is_false(attached)});
	else if (rule->takes == COW_TAKES_MAYBE && attached != NULL && is_false(attached))
		add(r->list, (struct cow_arg){.rule = rule, .off = true});
	else
		add(r->list, (struct cow_arg){.rule = rule, .text = attached != NULL ? copy(attached) : NULL});
}

/* "-d", "-df", "-bVALUE", "-b=VALUE" (Go's form; to argp the equals sign would be part of the value). */
static void read_letters(struct reader *r, const char *word)
{
	for (const char *p = word + 1; *p != '\0' && *p != '='; p++) {
		const struct cow_option_rule *rule = cow_option_lettered(*p, r->where);

		if (rule == NULL) {
			add_unknown(r, word);
			return;
		}
		if (rule->takes == COW_TAKES_VALUE)
			break;
	}
	for (const char *p = word + 1; *p != '\0'; p++) {
		const struct cow_option_rule *rule = cow_option_lettered(*p, r->where);
		bool value = rule->takes == COW_TAKES_VALUE || p[1] == '=';

		add_known(r, rule, value && p[1] != '\0' ? p + 1 + (p[1] == '=') : NULL, word);
		if (value)
			return;
	}
}

static void read_option(struct reader *r, const char *word)
{
	bool two = word[1] == '-';
	const char *name = word + 1 + two;
	size_t length = strcspn(name, "=");
	const struct cow_option_rule *rule = NULL;

	if (two || length > 1)
		rule = cow_option_named(name, length, r->where, two);
	if (rule != NULL)
		add_known(r, rule, name[length] == '=' ? name + length + 1 : NULL, word);
	else if (two || name[0] == '=')
		add_unknown(r, word);
	else
		read_letters(r, word);
}

static bool is_option(const char *word)
{
	return word[0] == '-' && word[1] != '\0';
}

/*
 * Before the subcommand. An option that is not known may take a value: the next word is taken for one unless it is a
 * subcommand. (Else a new option of the delegate would hide the "create" behind it.)
 */
static void read_globals(struct reader *r)
{
	struct cow_args *a = r->a;

	while (r->at < a->argc) {
		const char *word = a->argv[r->at];

		if (strcmp(word, "--") == 0) {
			r->at++;
			return;
		}
		if (!is_option(word))
			return;
		r->at++;
		read_option(r, word);
		if (r->list->v[r->list->n - 1].rule == NULL && strchr(word, '=') == NULL && r->at < a->argc &&
		    !is_option(a->argv[r->at]) && !cow_command_known(a->argv[r->at]))
			add(r->list, (struct cow_arg){.text = copy(a->argv[r->at++])});
	}
}

static const struct {
	const char *name;
	enum cow_verb verb;
	unsigned where;
} verbs[] = {
	{"create", COW_VERB_CREATE, COW_IN_CREATE},    {"run", COW_VERB_RUN, COW_IN_RUN},
	{"exec", COW_VERB_EXEC, COW_IN_EXEC},          {"delete", COW_VERB_DELETE, COW_IN_DELETE},
	{"restore", COW_VERB_RESTORE, COW_IN_RESTORE},
};

void cow_args_parse(struct cow_args *a, int argc, char **argv)
{
	struct reader r = {.a = a, .list = &a->globals, .where = COW_IN_GLOBAL, .at = 1};

	*a = (struct cow_args){.argc = argc, .argv = argv};
	read_globals(&r);
	if (r.at >= argc)
		return;
	a->command = argv[r.at++];
	a->verb = COW_VERB_OTHER;
	r.list = &a->options;
	r.where = 0;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
		if (strcmp(verbs[i].name, a->command) == 0) {
			a->verb = verbs[i].verb;
			r.where = verbs[i].where;
		}
	}
	for (bool words_only = false; r.at < argc;) {
		const char *word = argv[r.at++];

		if (!words_only && r.where != 0 && strcmp(word, "--") == 0) {
			words_only = true;
		} else if (!words_only && r.where != 0 && is_option(word)) {
			read_option(&r, word);
		} else {
			add_word(a, word);
			/* What follows exec's container id is the user's. */
			words_only = words_only || a->verb == COW_VERB_EXEC;
		}
	}
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static const struct cow_arg *find(const struct cow_args *a, enum cow_option option)
{
	const struct cow_arg_list *lists[] = {&a->options, &a->globals};

	for (size_t l = 0; l < 2; l++)
		for (size_t i = lists[l]->n; i > 0; i--)
			if (lists[l]->v[i - 1].rule != NULL && lists[l]->v[i - 1].rule->option == option)
				return &lists[l]->v[i - 1];
	return NULL;
}

const char *cow_args_value(const struct cow_args *a, enum cow_option option)
{
	const struct cow_arg *arg = find(a, option);

	return arg != NULL ? arg->text : NULL;
}

bool cow_args_flag(const struct cow_args *a, enum cow_option option)
{
	const struct cow_arg *arg = find(a, option);

	return arg != NULL && !arg->off;
}

int cow_args_preserve_fds(const struct cow_args *a, int *count, struct cow_error **err)
{
	const char *text = cow_args_value(a, COW_OPTION_PRESERVE_FDS);
	char *end;
	long n;

	*count = 0;
	if (text == NULL)
		return 0;
	errno = 0;
	n = strtol(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || n > PRESERVE_FDS_MAX)
		return cow_error_set(err, 0, "--preserve-fds: not a number from 0 to %d: %s", PRESERVE_FDS_MAX, text);
	*count = (int)n;
	return 0;
}

char *cow_args_root(const struct cow_args *a, struct cow_error **err)
{
	const char *given = cow_args_value(a, COW_OPTION_ROOT);
	cleanup_free char *absolute = NULL;
	cleanup_free char *cwd = NULL;
	char *out;
	size_t n = 0;

	if (given == NULL || *given == '\0')
		return copy("");
	if (given[0] != '/' && (cwd = getcwd(NULL, 0)) == NULL) {
		cow_error_set(err, errno, "--root %s: working directory", given);
		return NULL;
	}
	if (asprintf(&absolute, "%s/%s", cwd != NULL ? cwd : "", given) < 0)
		abort();
	out = copy(absolute);
	for (const char *p = absolute; *p != '\0';) {
		size_t length;

		p += strspn(p, "/");
		length = strcspn(p, "/");
		if (length > 0 && !(length == 1 && *p == '.')) {
			out[n++] = '/';
			memcpy(out + n, p, length);
			n += length;
		}
		p += length;
	}
	if (n == 0)
		out[n++] = '/';
	out[n] = '\0';
	return out;
}

/* --- rendering ---------------------------------------------------------------------------------------------------- */

void cow_args_set(struct cow_args *a, enum cow_option option, const char *value)
{
	static const unsigned where[] = {[COW_VERB_CREATE] = COW_IN_CREATE,
					 [COW_VERB_RUN] = COW_IN_RUN,
					 [COW_VERB_RESTORE] = COW_IN_RESTORE,
					 [COW_VERB_EXEC] = COW_IN_EXEC,
					 [COW_VERB_DELETE] = COW_IN_DELETE};
	static const char *const names[] = {
		[COW_OPTION_PRESERVE_FDS] = "preserve-fds", [COW_OPTION_PROCESS] = "process"};
	const struct cow_option_rule *rule =
		cow_option_named(names[option], strlen(names[option]), where[a->verb], false);
	size_t kept = 0;

	for (size_t i = 0; i < a->options.n; i++) {
		if (a->options.v[i].rule != NULL && a->options.v[i].rule->option == option)
			free(a->options.v[i].text);
		else
			a->options.v[kept++] = a->options.v[i];
	}
	a->options.n = kept;
	add(&a->options, (struct cow_arg){.rule = rule, .text = copy(value)});
}

void cow_args_set_words(struct cow_args *a, char *const *words)
{
	char **old = a->words;

	a->words = NULL;
	a->nwords = 0;
	for (; *words != NULL; words++)
		add_word(a, *words);
	cow_args_free_vector(old);
}

struct vector {
	char **v;
	size_t n;
};

static void push(struct vector *to, char *word)
{
	to->v = reallocarray(to->v, to->n + 2, sizeof(*to->v));
	if (to->v == NULL)
		abort();
	to->v[to->n++] = word;
	to->v[to->n] = NULL;
}

/* "--name=value" is what runc and crun both read, whatever the value is. */
static void push_options(struct vector *to, const struct cow_arg_list *list, bool quiet)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct cow_arg *arg = &list->v[i];
		enum cow_option option = arg->rule != NULL ? arg->rule->option : COW_OPTION_PLAIN;
		char *word = NULL;

		if (arg->off || (quiet && (option == COW_OPTION_LOG || option == COW_OPTION_LOG_FORMAT ||
					   option == COW_OPTION_DEBUG)))
			continue;
		if (arg->rule == NULL)
			word = copy(arg->text);
		else if (asprintf(&word, "--%s%s%s", arg->rule->name, arg->text != NULL ? "=" : "",
				  arg->text != NULL ? arg->text : "") < 0)
			abort();
		push(to, word);
	}
}

/* Would a word be taken for an option? Of exec only the first: what follows the id is never looked at. */
static bool needs_dashes(const struct cow_args *a)
{
	size_t n = a->verb == COW_VERB_EXEC && a->nwords > 1 ? 1 : a->nwords;

	for (size_t i = 0; i < n; i++)
		if (is_option(a->words[i]))
			return true;
	return false;
}

char **cow_args_render(const struct cow_args *a, const char *program)
{
	struct vector to = {0};

	push(&to, copy(program));
	push_options(&to, &a->globals, false);
	if (a->command != NULL)
		push(&to, copy(a->command));
	push_options(&to, &a->options, false);
	if (needs_dashes(a))
		push(&to, copy("--"));
	for (size_t i = 0; i < a->nwords; i++)
		push(&to, copy(a->words[i]));
	return to.v;
}

char **cow_args_render_other(const struct cow_args *a, const char *program, const char *command, const char *id)
{
	struct vector to = {0};

	push(&to, copy(program));
	push_options(&to, &a->globals, true);
	push(&to, copy(command));
	if (id[0] == '-')
		push(&to, copy("--"));
	push(&to, copy(id));
	return to.v;
}
