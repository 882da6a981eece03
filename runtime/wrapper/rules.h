/* The rules of an OCI seccomp profile (runtime-spec, config-linux.md, "Seccomp"), seen as libseccomp sees them. Used by
 * profile.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "../filter/filter.h"
#include "../lib/json.h"

/* What an action does to a call, as far as merging cares. */
enum cow_rule_kind {
	COW_RULE_ALLOW,
	COW_RULE_LOG,   /* allowed, and logged */
	COW_RULE_TRACE, /* to a tracer */
	COW_RULE_DENY,  /* errno, trap, kill */
	COW_RULE_NOTIFY,
	COW_RULE_UNKNOWN,
};

/*
 * Everything that a profile says about one name. Rules with the default action are not counted: runtimes skip them.
 * libseccomp knows no order between an unconditional rule and others of that name: the first unconditional one is all
 * that counts.
 */
struct cow_rule_use {
	bool unconditional;
	enum cow_rule_kind kind;     /* of the first unconditional rule */
	bool allows, denies, others; /* conditional rules: ALLOW; DENY; LOG and TRACE */
};

enum cow_rule_kind cow_rule_kind_of(const char *action);
/* -1 with *err if the profile is not of the form that the runtime-spec gives it. */
int cow_rules_check(const struct cow_json *seccomp, struct cow_error **err);
struct cow_rule_use cow_rules_use(const struct cow_json *seccomp, const char *name);

/* The name goes out of every rule. */
void cow_rules_remove(struct cow_json *seccomp, const char *name);
/*
 * In rules of the given kinds the name gets another action with the same arguments. `kinds` is a set of 1 << kind.
 * errnum: for SCMP_ACT_ERRNO, else 0.
 */
void cow_rules_replace(struct cow_json *seccomp, const char *name, unsigned kinds, const char *action, int errnum);
/* Adds an unconditional rule before all others: libseccomp then drops what comes later for the same number. */
void cow_rules_add_first(struct cow_json *seccomp, const char *name, const char *action);
/* Adds a rule; clause NULL: unconditional. Joins a rule of the same action and arguments. No effect if that rule has
 * the name. */
void cow_rules_add(struct cow_json *seccomp, const char *name, const char *action, int errnum,
		   const struct cow_filter_clause *clause);
