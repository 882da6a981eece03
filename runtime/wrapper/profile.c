#include "profile.h"

#include <errno.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <string.h>
#include <unistd.h>

#include "../filter/filter.h"
#include "../lib/fd.h"
#include "rules.h"

/*
 * Merging. The delegate gives the profile to libseccomp, which keeps no order between rules: of a name's rules the
 * first unconditional one is all that counts, and conditional ones that overlap give either's verdict. So for each
 * name of the table it is asked what the profile says of it in effect, and only rules are written that do not overlap:
 *
 *   - always allowed (or logged): the table's halves, NOTIFY (or the errno) and the rest as it was;
 *   - always denied: stays so;
 *   - allowed under conditions, else denied: NOTIFY (or the errno) under the same conditions. That traps more than
 *     needed, and the agent lets it go on. A refusal that has conditions of its own cannot be told so: not merged;
 *   - denied under conditions, else allowed: what is left cannot be told without overlap: not merged;
 *   - not mentioned: the NOTIFY half (or the errno) if the default allows, nothing otherwise.
 *
 * Rules go by name, so they hold for every architecture in the profile.
 *
 * Calls that libseccomp cannot name: an allow list denies them, as it does without cowrun. Under a permissive default
 * they run untrapped: safe, since they meet read-only grafts (and the locked mounts of runtime/graft/lower.c: not
 * merged where those cannot be), but EROFS is not what a program would get from a plain directory. So where the running
 * kernel has such a call the profile is not merged, and cowrun-init's own filter is taken, unless that must not be.
 *
 * i386 has its socket calls twice, directly and through socketcall(2), and libseccomp turns every rule on bind, socket
 * and so on into one on socketcall as well. Those may contradict each other and socketcall's halves, which libseccomp
 * takes for an error. So a socketcall that is allowed is notified as a whole, first of all, and if nothing is said of
 * it bind's rule does.
 */
static const char original_key[] = "cowrunOriginal";

enum outcome { MERGED = 0, NOT_MERGEABLE = 1 };
enum { PASSING = 1u << COW_RULE_ALLOW | 1u << COW_RULE_LOG | 1u << COW_RULE_TRACE };

struct merge {
	struct cow_json *seccomp;
	enum cow_rule_kind fallback; /* of defaultAction */
	bool all;                    /* trapped calls that libseccomp cannot name but the kernel has are in the way */
};

static struct merge look_at(struct cow_json *seccomp)
{
	return (struct merge){.seccomp = seccomp,
			      .fallback = cow_rule_kind_of(cow_json_string(cow_json_get(seccomp, "defaultAction")))};
}

static bool permissive(const struct merge *m)
{
	return m->fallback == COW_RULE_ALLOW || m->fallback == COW_RULE_LOG;
}

/* Can libseccomp name it? Ours stands for the delegate's, which is the same library where distributions build both. */
static bool nameable(const char *name)
{
	return seccomp_syscall_resolve_name(name) != __NR_SCMP_ERROR;
}

/* Without effect: descriptor -1 and no path. EPERM is an engine's or a sandbox's filter, which the container inherits.
 */
static bool kernel_has(const char *name)
{
	int nr = cow_filter_number(name, cow_filter_native());

	return nr >= 0 && !(syscall(nr, -1, NULL, 0, NULL, 0, 0) < 0 && (errno == ENOSYS || errno == EPERM));
}

/* Will the hook be able to lock the lower's mounts? It fails if this was wrong. */
static bool lockable(void)
{
	cleanup_file FILE *f = fopen("/proc/sys/user/max_user_namespaces", "re");
	int max = 0;

	return f != NULL && fscanf(f, "%d", &max) == 1 && max > 0;
}

static const char *action_name(enum cow_rule_kind kind)
{
	return kind == COW_RULE_LOG ? "SCMP_ACT_LOG" : "SCMP_ACT_ALLOW";
}

/* The table's verdict on a call, as rules; where it does not apply, `pass` (a kind, or -1 for what the default says).
 */
static void add_halves(struct merge *m, const struct cow_filter_call *call, int pass)
{
	const char *verdict = call->verdict == COW_FILTER_REFUSE ? "SCMP_ACT_ERRNO" : "SCMP_ACT_NOTIFY";
	size_t n;
	cleanup_free struct cow_filter_clause *rest = cow_filter_pass(call, &n);

	if (call->call == COW_CALL_SOCKETCALL) {
		cow_rules_add_first(m->seccomp, call->name, verdict);
		return;
	}
	if (call->nnotify == 0) {
		cow_rules_add(m->seccomp, call->name, verdict, call->errnum, NULL);
		return;
	}
	for (size_t i = 0; i < call->nnotify; i++)
		cow_rules_add(m->seccomp, call->name, verdict, call->errnum, &call->notify[i]);
	for (size_t i = 0; pass >= 0 && i < n; i++)
		cow_rules_add(m->seccomp, call->name, action_name((enum cow_rule_kind)pass), 0, &rest[i]);
}

/* The profile has an unconditional rule for the call. */
static enum outcome merge_unconditional(struct merge *m, const struct cow_filter_call *call, enum cow_rule_kind kind)
{
	if (kind == COW_RULE_DENY)
		return MERGED;
	if (kind == COW_RULE_TRACE && (call->verdict == COW_FILTER_NOTIFY || call->nnotify > 0))
		return NOT_MERGEABLE;
	cow_rules_remove(m->seccomp, call->name);
	add_halves(m, call, (int)kind);
	return MERGED;
}

/* The profile has only rules with conditions for the call. */
static enum outcome merge_conditional(struct merge *m, const struct cow_filter_call *call,
				      const struct cow_rule_use *use)
{
	if (permissive(m))
		return NOT_MERGEABLE;
	if (!use->allows && !use->others)
		return MERGED; /* denied here, denied there */
	if (call->verdict == COW_FILTER_NOTIFY) {
		if (use->others || call->call == COW_CALL_SOCKETCALL)
			return NOT_MERGEABLE;
		cow_rules_replace(m->seccomp, call->name, 1u << COW_RULE_ALLOW, "SCMP_ACT_NOTIFY", 0);
		return MERGED;
	}
	if (call->nnotify > 0)
		return NOT_MERGEABLE;
	cow_rules_replace(m->seccomp, call->name, PASSING, "SCMP_ACT_ERRNO", call->errnum);
	return MERGED;
}

static enum outcome merge_call(struct merge *m, const struct cow_filter_call *call)
{
	struct cow_rule_use use = cow_rules_use(m->seccomp, call->name);

	if (use.unconditional)
		return merge_unconditional(m, call, use.kind);
	if (use.allows || use.denies || use.others)
		return merge_conditional(m, call, &use);
	if (!permissive(m))
		return MERGED;
	if (!nameable(call->name)) {
		bool stands = call->verdict == COW_FILTER_REFUSE ? !lockable() : m->all && kernel_has(call->name);

		return stands ? NOT_MERGEABLE : MERGED;
	}
	if (call->call != COW_CALL_SOCKETCALL) /* else bind's rule holds for it */
		add_halves(m, call, -1);
	return MERGED;
}

static void admit(struct merge *m, const char *name, const char *action, const struct cow_filter_clause *clause)
{
	if (!permissive(m) && !cow_rules_use(m->seccomp, name).unconditional)
		cow_rules_add(m->seccomp, name, action, 0, clause);
}

/* What cowrun-init calls and a list may lack, no more than that. An explicit denial stays, for cow_profile_check. */
static void admit_init(struct merge *m, bool installs_filter)
{
	static const struct cow_filter_clause no_new_privs = {1, {{0, false, UINT32_MAX, PR_SET_NO_NEW_PRIVS}}};
	static const struct cow_filter_clause dumpable = {1, {{0, false, UINT32_MAX, PR_SET_DUMPABLE}}};
	static const struct cow_filter_clause set_filter = {1, {{0, false, UINT32_MAX, SECCOMP_SET_MODE_FILTER}}};
	const struct cow_filter_call *create = cow_filter_named("landlock_create_ruleset");

	admit(m, "prctl", "SCMP_ACT_ALLOW", &no_new_privs);
	admit(m, "prctl", "SCMP_ACT_ALLOW", &dumpable);
	admit(m, "landlock_restrict_self", installs_filter ? "SCMP_ACT_ALLOW" : "SCMP_ACT_NOTIFY", NULL);
	if (installs_filter)
		admit(m, "seccomp", "SCMP_ACT_ALLOW", &set_filter);
	admit(m, create->name, installs_filter ? "SCMP_ACT_ALLOW" : "SCMP_ACT_NOTIFY", &create->notify[0]);
}

/* Another agent for this container: only one listener can be in a chain of filters. */
static int refuse_agents(const struct cow_json *spec, const struct cow_json *seccomp, struct cow_error **err)
{
	static const char *const annotations[] = {"run.oci.seccomp.receiver", "run.oci.seccomp.plugins"};
	const struct cow_json *rules = cow_json_get(seccomp, "syscalls"), *given = cow_json_get(spec, "annotations");

	for (size_t i = 0; i < sizeof(annotations) / sizeof(annotations[0]); i++)
		if (cow_json_get(given, annotations[i]) != NULL)
			return cow_error_set(err, 0, "annotation %s: the container has a seccomp agent already",
					     annotations[i]);
	if (cow_json_type_of(cow_json_get(seccomp, "listenerPath")) != COW_JSON_NULL)
		return cow_error_set(err, 0, "linux.seccomp.listenerPath: the container has a seccomp agent already");
	if (cow_rule_kind_of(cow_json_string(cow_json_get(seccomp, "defaultAction"))) == COW_RULE_NOTIFY)
		return cow_error_set(err, 0, "linux.seccomp.defaultAction: the container has a seccomp agent already");
	for (size_t i = 0; i < cow_json_count(rules); i++)
		if (cow_rule_kind_of(cow_json_string(cow_json_get(cow_json_at(rules, i), "action"))) == COW_RULE_NOTIFY)
			return cow_error_set(err, 0,
					     "linux.seccomp.syscalls[%zu]: SCMP_ACT_NOTIFY, so the container has a "
					     "seccomp agent already",
					     i);
	return 0;
}

/* An allow-everything profile for the architectures that this machine's kernel runs. */
static struct cow_json *new_profile(void)
{
#if defined(__x86_64__)
	static const char *const arches[] = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", NULL};
#else
	static const char *const arches[] = {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", NULL};
#endif
	struct cow_json *seccomp = cow_json_new_object(), *list = cow_json_new_array();

	cow_json_set(seccomp, "defaultAction", cow_json_new_string("SCMP_ACT_ALLOW"));
	for (size_t i = 0; arches[i] != NULL; i++)
		cow_json_append(list, cow_json_new_string(arches[i]));
	cow_json_set(seccomp, "architectures", list);
	return seccomp;
}

static bool has_string(const struct cow_json *array, const char *s)
{
	for (size_t i = 0; i < cow_json_count(array); i++) {
		const char *element = cow_json_string(cow_json_at(array, i));

		if (element != NULL && strcmp(element, s) == 0)
			return true;
	}
	return false;
}

/* runc and crun take SPEC_ALLOW where no flags are given, so it is named once there are some. */
static void set_flags(struct cow_json *seccomp)
{
	static const char wait_killable[] = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
	struct cow_json *flags = cow_json_get(seccomp, "flags");

	if (cow_json_type_of(flags) == COW_JSON_NULL) {
		cow_json_set(seccomp, "flags", cow_json_new_array());
		flags = cow_json_get(seccomp, "flags");
		cow_json_append(flags, cow_json_new_string("SECCOMP_FILTER_FLAG_SPEC_ALLOW"));
	}
	if (!has_string(flags, wait_killable))
		cow_json_append(flags, cow_json_new_string(wait_killable));
}

/* The merged form of `original` (JSON null: the bundle has no profile), or NULL if it cannot be merged. */
static struct cow_json *merged(const struct cow_json *original, const char *listener_path, const char *metadata,
			       bool all)
{
	bool none = cow_json_type_of(original) == COW_JSON_NULL;
	cleanup_json struct cow_json *seccomp = none ? new_profile() : cow_json_copy(original);
	struct merge m = look_at(seccomp);
	size_t count;
	const struct cow_filter_call *calls = cow_filter_calls(&count);

	m.all = all;
	/* A tracer by default; or one filter for all threads, which the kernel does not give together with a listener.
	 */
	if (m.fallback == COW_RULE_TRACE || has_string(cow_json_get(seccomp, "flags"), "SECCOMP_FILTER_FLAG_TSYNC"))
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (merge_call(&m, &calls[i]) != MERGED)
			return NULL;
	admit_init(&m, false);
	set_flags(seccomp);
	cow_json_set(seccomp, "listenerPath", cow_json_new_string(listener_path));
	cow_json_set(seccomp, "listenerMetadata", cow_json_new_string(metadata));
	cow_json_set(seccomp, original_key, none ? cow_json_new_null() : cow_json_copy(original));
	return cow_steal_ptr(&seccomp);
}

/*
 * The bundle's own profile: what linux.seccomp holds, or what an earlier merge kept there. An earlier merge is believed
 * only if it comes out the same again: otherwise somebody changed the rules since, and must not lose that silently.
 * *original is a copy (JSON null if there is none).
 */
static int find_original(const struct cow_json *spec, struct cow_json **original, struct cow_error **err)
{
	const struct cow_json *now = cow_json_path(spec, "linux.seccomp"), *kept = cow_json_get(now, original_key);
	const char *path = cow_json_string(cow_json_get(now, "listenerPath"));
	const char *metadata = cow_json_string(cow_json_get(now, "listenerMetadata"));
	cleanup_json struct cow_json *again = NULL;

	if (kept == NULL) {
		*original = now == NULL ? cow_json_new_null() : cow_json_copy(now);
		return 0;
	}
	if (path != NULL && metadata != NULL &&
	    (cow_json_type_of(kept) == COW_JSON_NULL || cow_rules_check(kept, NULL) == 0))
		again = merged(kept, path, metadata, false);
	if (again == NULL || !cow_json_same(again, now))
		return cow_error_set(
			err, 0,
			"linux.seccomp was merged by another version of cowrun or changed since: restore config.json");
	*original = cow_json_copy(kept);
	return 0;
}

/* find_original with the checks that both ways need. */
static int open_profile(const struct cow_json *spec, struct cow_json **original, struct cow_error **err)
{
	if (cow_json_type_of(spec) != COW_JSON_OBJECT)
		return cow_error_set(err, 0, "config.json is no object");
	if (find_original(spec, original, err) < 0)
		return -1;
	if (cow_json_type_of(*original) != COW_JSON_NULL && cow_rules_check(*original, err) < 0)
		return -1;
	return refuse_agents(spec, *original, err);
}

static int put(struct cow_json *spec, struct cow_json *seccomp, struct cow_error **err)
{
	struct cow_json *node = cow_json_need_object(spec, "linux");

	if (node == NULL) {
		cow_json_free(seccomp);
		return cow_error_set(err, 0, "\"linux\" is no object");
	}
	cow_json_set(node, "seccomp", seccomp);
	return 0;
}

int cow_profile_merge(struct cow_json *spec, const char *listener_path, const char *metadata, bool all,
		      struct cow_error **err)
{
	cleanup_json struct cow_json *original = NULL;
	struct cow_json *seccomp;

	if (open_profile(spec, &original, err) < 0)
		return -1;
	/* crun loads the program in this annotation in place of the profile. */
	if (cow_json_get(cow_json_get(spec, "annotations"), "run.oci.seccomp_bpf_data") != NULL)
		return NOT_MERGEABLE;
	seccomp = merged(original, listener_path, metadata, all);
	return seccomp == NULL ? NOT_MERGEABLE : put(spec, seccomp, err);
}

int cow_profile_admit_init(struct cow_json *spec, struct cow_error **err)
{
	cleanup_json struct cow_json *original = NULL;
	struct cow_json *node;

	if (open_profile(spec, &original, err) < 0)
		return -1;
	if (cow_json_type_of(original) == COW_JSON_NULL) {
		node = cow_json_get(spec, "linux");
		if (node != NULL)
			cow_json_unset(node, "seccomp");
		return 0;
	}
	struct merge m = look_at(original);

	admit_init(&m, true);
	return put(spec, cow_steal_ptr(&original), err);
}

/* Whatever the arguments. A tracer may allow it. */
static bool denies(const struct merge *m, const char *name)
{
	struct cow_rule_use use = cow_rules_use(m->seccomp, name);

	if (use.unconditional)
		return use.kind == COW_RULE_DENY;
	return m->fallback == COW_RULE_DENY && !use.allows && !use.others;
}

static bool allows(const struct merge *m, const char *name)
{
	struct cow_rule_use use = cow_rules_use(m->seccomp, name);

	if (use.unconditional)
		return use.kind == COW_RULE_ALLOW || use.kind == COW_RULE_LOG;
	return permissive(m) && !use.denies && !use.others;
}

bool cow_profile_lets_init(const struct cow_json *spec)
{
	cleanup_json struct cow_json *original = NULL;

	if (open_profile(spec, &original, NULL) < 0)
		return false;
	if (cow_json_type_of(original) == COW_JSON_NULL)
		return true;
	const struct merge m = look_at(original);

	return allows(&m, "seccomp") && allows(&m, "sendmsg");
}

int cow_profile_check(const struct cow_json *spec, bool installs_filter, bool landlock, struct cow_error **err)
{
	const struct {
		const char *name;
		bool made;
	} calls[] = {{"prctl", true},
		     {"seccomp", installs_filter},
		     {"sendmsg", installs_filter},
		     {"landlock_create_ruleset", landlock},
		     {"landlock_restrict_self", landlock}};
	struct merge m = look_at(cow_json_path(spec, "linux.seccomp"));

	if (cow_json_type_of(m.seccomp) != COW_JSON_OBJECT)
		return 0;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (calls[i].made && denies(&m, calls[i].name))
			return cow_error_set(err, 0,
					     "linux.seccomp denies %s, without which cowrun-init can do nothing",
					     calls[i].name);
	return 0;
}
