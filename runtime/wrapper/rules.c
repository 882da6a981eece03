#include "rules.h"

#include <errno.h>
#include <string.h>

#include "../lib/fd.h"

static const struct {
	const char *action;
	enum cow_rule_kind kind;
} actions[] = {
	{"SCMP_ACT_ALLOW", COW_RULE_ALLOW},       {"SCMP_ACT_LOG", COW_RULE_LOG},
	{"SCMP_ACT_TRACE", COW_RULE_TRACE},       {"SCMP_ACT_NOTIFY", COW_RULE_NOTIFY},
	{"SCMP_ACT_ERRNO", COW_RULE_DENY},        {"SCMP_ACT_TRAP", COW_RULE_DENY},
	{"SCMP_ACT_KILL", COW_RULE_DENY},         {"SCMP_ACT_KILL_THREAD", COW_RULE_DENY},
	{"SCMP_ACT_KILL_PROCESS", COW_RULE_DENY},
};

enum cow_rule_kind cow_rule_kind_of(const char *action)
{
	for (size_t i = 0; action != NULL && i < sizeof(actions) / sizeof(actions[0]); i++)
		if (strcmp(actions[i].action, action) == 0)
			return actions[i].kind;
	return COW_RULE_UNKNOWN;
}

static const struct cow_json *rules_of(const struct cow_json *seccomp)
{
	return cow_json_get(seccomp, "syscalls");
}

static const char *action_of(const struct cow_json *rule)
{
	return cow_json_string(cow_json_get(rule, "action"));
}

/* The errno (or trace datum) of an action: EPERM where the profile is silent, under runc and crun alike; 0 for actions
 * without one. */
static int64_t datum_of(const char *action, const struct cow_json *value)
{
	int64_t n = EPERM;

	if (strcmp(action, "SCMP_ACT_ERRNO") != 0 && strcmp(action, "SCMP_ACT_TRACE") != 0)
		return 0;
	if (cow_json_int(value, &n) < 0)
		return EPERM;
	return n;
}

/* KILL and KILL_THREAD are one action. */
static const char *canonical(const char *action)
{
	return strcmp(action, "SCMP_ACT_KILL") == 0 ? "SCMP_ACT_KILL_THREAD" : action;
}

/* Does the rule only repeat the default? */
static bool is_default(const struct cow_json *seccomp, const struct cow_json *rule)
{
	const char *fallback = cow_json_string(cow_json_get(seccomp, "defaultAction")), *action = action_of(rule);

	return strcmp(canonical(fallback), canonical(action)) == 0 &&
	       datum_of(fallback, cow_json_get(seccomp, "defaultErrnoRet")) ==
		       datum_of(action, cow_json_get(rule, "errnoRet"));
}

/* Position of the name in a rule's names, or their count. */
static size_t position(const struct cow_json *names, const char *name)
{
	size_t n = cow_json_count(names), i = 0;

	while (i < n && strcmp(cow_json_string(cow_json_at(names, i)), name) != 0)
		i++;
	return i;
}

static bool has(const struct cow_json *rule, const char *name)
{
	const struct cow_json *names = cow_json_get(rule, "names");

	return position(names, name) < cow_json_count(names);
}

static bool optional(const struct cow_json *object, const char *key, enum cow_json_type type)
{
	enum cow_json_type got = cow_json_type_of(cow_json_get(object, key));

	return got == COW_JSON_NULL || got == type;
}

static int check_rule(const struct cow_json *rule, size_t i, struct cow_error **err)
{
	const struct cow_json *names = cow_json_get(rule, "names");

	if (cow_rule_kind_of(action_of(rule)) == COW_RULE_UNKNOWN)
		return cow_error_set(err, 0, "linux.seccomp.syscalls[%zu]: no action, or one that is unknown", i);
	if (cow_json_type_of(names) != COW_JSON_ARRAY || !optional(rule, "args", COW_JSON_ARRAY))
		return cow_error_set(err, 0, "linux.seccomp.syscalls[%zu]: names or args are no array", i);
	for (size_t n = 0; n < cow_json_count(names); n++)
		if (cow_json_string(cow_json_at(names, n)) == NULL)
			return cow_error_set(err, 0, "linux.seccomp.syscalls[%zu]: a name is no string", i);
	return 0;
}

int cow_rules_check(const struct cow_json *seccomp, struct cow_error **err)
{
	const struct cow_json *rules = rules_of(seccomp);

	if (cow_json_type_of(seccomp) != COW_JSON_OBJECT)
		return cow_error_set(err, 0, "linux.seccomp is no object");
	if (cow_rule_kind_of(cow_json_string(cow_json_get(seccomp, "defaultAction"))) == COW_RULE_UNKNOWN)
		return cow_error_set(err, 0, "linux.seccomp: no defaultAction, or one that is unknown");
	if (!optional(seccomp, "syscalls", COW_JSON_ARRAY) || !optional(seccomp, "flags", COW_JSON_ARRAY) ||
	    !optional(seccomp, "architectures", COW_JSON_ARRAY))
		return cow_error_set(err, 0, "linux.seccomp: syscalls, flags or architectures are no array");
	for (size_t i = 0; i < cow_json_count(rules); i++)
		if (check_rule(cow_json_at(rules, i), i, err) < 0)
			return -1;
	return 0;
}

struct cow_rule_use cow_rules_use(const struct cow_json *seccomp, const char *name)
{
	struct cow_rule_use use = {.kind = COW_RULE_UNKNOWN};
	const struct cow_json *rules = rules_of(seccomp);

	for (size_t i = 0; i < cow_json_count(rules); i++) {
		const struct cow_json *rule = cow_json_at(rules, i);
		enum cow_rule_kind kind = cow_rule_kind_of(action_of(rule));

		if (!has(rule, name) || is_default(seccomp, rule))
			continue;
		if (cow_json_count(cow_json_get(rule, "args")) == 0) {
			if (!use.unconditional)
				use.kind = kind;
			use.unconditional = true;
		} else if (kind == COW_RULE_ALLOW) {
			use.allows = true;
		} else if (kind == COW_RULE_DENY) {
			use.denies = true;
		} else {
			use.others = true;
		}
	}
	return use;
}

/* Takes the name out of rule `i`. True if the rule went with its last name. */
static bool remove_from(struct cow_json *rules, size_t i, const char *name)
{
	struct cow_json *names = cow_json_get(cow_json_at(rules, i), "names");

	for (size_t at; (at = position(names, name)) < cow_json_count(names);)
		cow_json_remove_at(names, at);
	if (cow_json_count(names) > 0)
		return false;
	cow_json_remove_at(rules, i);
	return true;
}

void cow_rules_remove(struct cow_json *seccomp, const char *name)
{
	struct cow_json *rules = cow_json_get(seccomp, "syscalls");

	for (size_t i = 0; i < cow_json_count(rules);)
		if (!has(cow_json_at(rules, i), name) || !remove_from(rules, i, name))
			i++;
}

static struct cow_json *new_rule(const char *name, const char *action, int errnum)
{
	struct cow_json *rule = cow_json_new_object(), *names = cow_json_new_array();

	cow_json_append(names, cow_json_new_string(name));
	cow_json_set(rule, "names", names);
	cow_json_set(rule, "action", cow_json_new_string(action));
	if (errnum != 0)
		cow_json_set(rule, "errnoRet", cow_json_new_int(errnum));
	return rule;
}

void cow_rules_add_first(struct cow_json *seccomp, const char *name, const char *action)
{
	cow_json_insert(cow_json_need_array(seccomp, "syscalls"), 0, new_rule(name, action, 0));
}

void cow_rules_replace(struct cow_json *seccomp, const char *name, unsigned kinds, const char *action, int errnum)
{
	struct cow_json *rules = cow_json_get(seccomp, "syscalls");

	for (size_t i = 0; i < cow_json_count(rules); i++) {
		struct cow_json *rule = cow_json_at(rules, i), *replaced;

		if (!has(rule, name) || is_default(seccomp, rule) ||
		    (1u << cow_rule_kind_of(action_of(rule)) & kinds) == 0)
			continue;
		replaced = new_rule(name, action, errnum);
		if (cow_json_get(rule, "args") != NULL)
			cow_json_set(replaced, "args", cow_json_copy(cow_json_get(rule, "args")));
		cow_json_insert(rules, i, replaced);
		/* The new rule is at i, the old one at i + 1, or gone. */
		if (!remove_from(rules, i + 1, name))
			i++;
	}
}

/* A condition as the runtime-spec writes it. Of a mask of all bits libseccomp compares the whole register. */
static struct cow_json *new_arg(const struct cow_filter_cond *cond)
{
	struct cow_json *arg = cow_json_new_object();
	bool masked = cond->mask != UINT32_MAX;

	cow_json_set(arg, "index", cow_json_new_uint(cond->arg));
	cow_json_set(arg, "value", cow_json_new_uint(masked ? cond->mask : cond->value));
	if (masked)
		cow_json_set(arg, "valueTwo", cow_json_new_uint(cond->value));
	cow_json_set(
		arg, "op",
		cow_json_new_string(masked ? "SCMP_CMP_MASKED_EQ" : (cond->differs ? "SCMP_CMP_NE" : "SCMP_CMP_EQ")));
	return arg;
}

/* The same but for their names? A rule of the bundle's own that is written otherwise is not: no harm in a rule more. */
static bool alike(const struct cow_json *old, const struct cow_json *rule)
{
	size_t n = cow_json_count(rule);

	if (cow_json_count(old) != n || strcmp(action_of(old), action_of(rule)) != 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		const char *key = cow_json_key_at(rule, i);
		const struct cow_json *theirs = cow_json_get(old, key);

		if (strcmp(key, "names") != 0 && (theirs == NULL || !cow_json_same(theirs, cow_json_at(rule, i))))
			return false;
	}
	return true;
}

void cow_rules_add(struct cow_json *seccomp, const char *name, const char *action, int errnum,
		   const struct cow_filter_clause *clause)
{
	struct cow_json *rules = cow_json_need_array(seccomp, "syscalls");
	struct cow_json *rule = new_rule(name, action, errnum), *args;

	if (clause != NULL) {
		args = cow_json_new_array();
		for (size_t i = 0; i < clause->nconds; i++)
			cow_json_append(args, new_arg(&clause->conds[i]));
		cow_json_set(rule, "args", args);
	}
	for (size_t i = 0; i < cow_json_count(rules); i++) {
		struct cow_json *old = cow_json_at(rules, i);

		if (!alike(old, rule))
			continue;
		if (!has(old, name))
			cow_json_append(cow_json_get(old, "names"), cow_json_new_string(name));
		cow_json_free(rule);
		return;
	}
	cow_json_append(rules, rule);
}
