/*
 * Merging the table into a bundle's seccomp profile (runtime/wrapper/profile.c). Whether a merge is right is decided by
 * libseccomp: profiles are given to it as crun and runc do, and the programs that come out are run over calls and
 * arguments and compared.
 */
#include "../../runtime/wrapper/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../runtime/lib/fd.h"
#include "../../runtime/wrapper/rules.h"
#include "seccomp_sim.h"
#include "tap.h"

struct program {
	struct sock_filter *code;
	size_t len;
};

/* -- What crun 1.8.1 and runc 1.1.5 do with a profile. */

static uint32_t action_value(const char *action, int64_t datum)
{
	static const struct {
		const char *name;
		uint32_t value;
	} values[] = {
		{"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
		{"SCMP_ACT_LOG", SCMP_ACT_LOG},
		{"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
		{"SCMP_ACT_KILL", SCMP_ACT_KILL},
		{"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
		{"SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY},
	};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		if (strcmp(values[i].name, action) == 0)
			return values[i].value;
	return strcmp(action, "SCMP_ACT_ERRNO") == 0 ? SCMP_ACT_ERRNO((uint32_t)datum)
						     : SCMP_ACT_TRACE((uint32_t)datum);
}

static int64_t number(const struct cow_json *object, const char *key, int64_t fallback)
{
	int64_t n;

	return cow_json_int(cow_json_get(object, key), &n) == 0 ? n : fallback;
}

static enum scmp_compare operator_value(const char *op)
{
	static const char *const names[] = {
		[SCMP_CMP_NE] = "SCMP_CMP_NE", [SCMP_CMP_LT] = "SCMP_CMP_LT", [SCMP_CMP_LE] = "SCMP_CMP_LE",
		[SCMP_CMP_EQ] = "SCMP_CMP_EQ", [SCMP_CMP_GE] = "SCMP_CMP_GE", [SCMP_CMP_GT] = "SCMP_CMP_GT"};

	for (unsigned i = SCMP_CMP_NE; i <= SCMP_CMP_GT; i++)
		if (strcmp(names[i], op) == 0)
			return (enum scmp_compare)i;
	return SCMP_CMP_MASKED_EQ;
}

static bool repeats(const struct scmp_arg_cmp *compare, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = i + 1; j < n; j++)
			if (compare[i].arg == compare[j].arg)
				return true;
	return false;
}

static int add_rule(scmp_filter_ctx ctx, const struct cow_json *rule, const char *name, uint32_t action)
{
	const struct cow_json *args = cow_json_get(rule, "args");
	struct scmp_arg_cmp compare[6];
	size_t n = cow_json_count(args);
	int nr = seccomp_syscall_resolve_name(name);

	if (nr == __NR_SCMP_ERROR || n > 6)
		return 0;
	for (size_t i = 0; i < n; i++) {
		const struct cow_json *arg = cow_json_at(args, i);

		compare[i].arg = (unsigned)number(arg, "index", 0);
		compare[i].op = operator_value(cow_json_string(cow_json_get(arg, "op")));
		compare[i].datum_a = (uint64_t)number(arg, "value", 0);
		compare[i].datum_b = (uint64_t)number(arg, "valueTwo", 0);
	}
	/* Two conditions on one argument: each becomes a rule of its own. */
	if (repeats(compare, n)) {
		for (size_t i = 0; i < n; i++)
			if (seccomp_rule_add_array(ctx, action, nr, 1, &compare[i]) < 0)
				return -EINVAL;
		return 0;
	}
	return seccomp_rule_add_array(ctx, action, nr, (unsigned)n, compare);
}

static int add_arch(scmp_filter_ctx ctx, const char *name)
{
	char lower[32];
	size_t i = 0;
	int result;

	for (name += strlen("SCMP_ARCH_"); *name != '\0' && i + 1 < sizeof(lower); name++)
		lower[i++] = (char)(*name >= 'A' && *name <= 'Z' ? *name + 'a' - 'A' : *name);
	lower[i] = '\0';
	result = seccomp_arch_add(ctx, seccomp_arch_resolve_name(lower));
	return result == -EEXIST ? 0 : result;
}

static int add_rules(scmp_filter_ctx ctx, const struct cow_json *seccomp, uint32_t fallback)
{
	const struct cow_json *arches = cow_json_get(seccomp, "architectures"),
			      *rules = cow_json_get(seccomp, "syscalls");

	for (size_t i = 0; i < cow_json_count(arches); i++)
		if (add_arch(ctx, cow_json_string(cow_json_at(arches, i))) < 0)
			return -1;
	for (size_t i = 0; i < cow_json_count(rules); i++) {
		const struct cow_json *rule = cow_json_at(rules, i), *names = cow_json_get(rule, "names");
		uint32_t action =
			action_value(cow_json_string(cow_json_get(rule, "action")), number(rule, "errnoRet", EPERM));

		for (size_t n = 0; action != fallback && n < cow_json_count(names); n++) {
			int result = add_rule(ctx, rule, cow_json_string(cow_json_at(names, n)), action);

			if (result < 0) {
				printf("# rule %zu, %s: %s\n", i, cow_json_string(cow_json_at(names, n)),
				       strerror(-result));
				return -1;
			}
		}
	}
	return 0;
}

/* The program that a delegate would load. Without a profile: everything is allowed. */
static struct program compile(const struct cow_json *spec)
{
	const struct cow_json *seccomp = cow_json_path(spec, "linux.seccomp");
	struct program p = {0};
	cleanup_close int fd = memfd_create("bpf", MFD_CLOEXEC);
	uint32_t fallback;
	scmp_filter_ctx ctx;

	if (cow_json_type_of(seccomp) == COW_JSON_NULL) {
		p.code = calloc(1, sizeof(*p.code));
		p.code[0] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
		p.len = 1;
		return p;
	}
	fallback = action_value(cow_json_string(cow_json_get(seccomp, "defaultAction")),
				number(seccomp, "defaultErrnoRet", EPERM));
	ctx = seccomp_init(fallback);
	if (ctx != NULL && add_rules(ctx, seccomp, fallback) == 0 && seccomp_export_bpf(ctx, fd) == 0) {
		p.len = (size_t)lseek(fd, 0, SEEK_END) / sizeof(*p.code);
		p.code = calloc(p.len, sizeof(*p.code));
		if (pread(fd, p.code, p.len * sizeof(*p.code), 0) < 0)
			p.len = 0;
	}
	seccomp_release(ctx);
	return p;
}

/* -- Comparing. */

static const struct {
	uint32_t token, audit;
	int bit; /* in every number of x32 */
} arches[] = {
#if defined(__x86_64__)
	{SCMP_ARCH_X86_64, AUDIT_ARCH_X86_64, 0},
	{SCMP_ARCH_X86, AUDIT_ARCH_I386, 0},
	{SCMP_ARCH_X32, AUDIT_ARCH_X86_64, 0x40000000},
#else
	{SCMP_ARCH_AARCH64, AUDIT_ARCH_AARCH64, 0},
	{SCMP_ARCH_ARM, AUDIT_ARCH_ARM, 0},
#endif
};

static bool passes(uint32_t verdict)
{
	return verdict == SECCOMP_RET_ALLOW || verdict == SECCOMP_RET_LOG;
}

/* Calls that cowrun-init needs, and what of them. */
static bool for_init(const char *name, const uint64_t args[6])
{
	return (strcmp(name, "prctl") == 0 && (args[0] == 38 || args[0] == 4)) ||
	       strcmp(name, "landlock_restrict_self") == 0 ||
	       (strcmp(name, "landlock_create_ruleset") == 0 && args[0] == 1);
}

/*
 * What must come of a call: as before what was refused before; the table's verdict for what was allowed. Where the
 * profile allows under conditions, or for socketcall, more may be notified than the table says.
 */
static bool right(const char *name, const uint64_t args[6], uint32_t before, uint32_t after, bool wide)
{
	const struct cow_filter_call *call = name == NULL ? NULL : cow_filter_named(name);
	uint32_t table = sim_table(call, args);

	if (!passes(before))
		return after == before ||
		       (name != NULL && for_init(name, args) && (passes(after) || after == SECCOMP_RET_USER_NOTIF));
	if (table == SECCOMP_RET_ALLOW)
		return after == before || (wide && call != NULL && after == SECCOMP_RET_USER_NOTIF) ||
		       (call != NULL && call->call == COW_CALL_SOCKETCALL && after == SECCOMP_RET_USER_NOTIF);
	return after == table;
}

/* Wrong verdicts among all calls of all architectures. */
static size_t compare(const struct cow_json *original, const struct cow_json *merged, bool wide)
{
	struct program before = compile(original), after = compile(merged);
	size_t wrong = before.len == 0 || after.len == 0;

	for (size_t a = 0; a < sizeof(arches) / sizeof(arches[0]); a++) {
		for (int nr = 0; nr < 600; nr++) {
			cleanup_free char *name = seccomp_syscall_resolve_num_arch(arches[a].token, nr | arches[a].bit);
			const struct cow_filter_call *call = name == NULL ? NULL : cow_filter_named(name);

			for (unsigned v = 0; v < SIM_VECTORS; v += call == NULL ? 251 : (call->nnotify == 0 ? 31 : 1)) {
				struct seccomp_data data = {.nr = nr | arches[a].bit, .arch = arches[a].audit};
				uint64_t args[6];
				uint32_t was, is;

				sim_vector_for(call, v, args);
				for (int i = 0; i < 6; i++)
					data.args[i] = args[i] =
						arches[a].token == SCMP_ARCH_X86 ? (uint32_t)args[i] : args[i];
				was = sim_run(before.code, before.len, &data);
				is = sim_run(after.code, after.len, &data);
				if (!right(name, args, was, is, wide) && wrong++ < 5)
					printf("# %s (%d on %x), vector %u: %x became %x\n", name != NULL ? name : "?",
					       nr, arches[a].token, v, was, is);
			}
		}
	}
	free(before.code);
	free(after.code);
	return wrong;
}

/* -- Profiles. */

static struct cow_json *parse(const char *text)
{
	struct cow_error *err = NULL;
	struct cow_json *v = cow_json_parse(text, strlen(text), &err);

	if (v == NULL)
		printf("# %s\n# %s\n", text, err->message);
	return v;
}

/* A spec with that linux.seccomp. */
static struct cow_json *spec_with(const char *seccomp)
{
	cleanup_free char *text = NULL;

	if (asprintf(&text, "{\"ociVersion\":\"1.0.2\",\"linux\":{\"resources\":{},\"seccomp\":%s}}", seccomp) < 0)
		abort();
	return parse(text);
}

static bool same(const struct cow_json *a, const struct cow_json *b)
{
	cleanup_free char *ta = cow_json_print(a, 0, NULL), *tb = cow_json_print(b, 0, NULL);

	return strcmp(ta, tb) == 0;
}

static void merges(const struct cow_json *spec, bool wide, const char *what)
{
	cleanup_json struct cow_json *once = cow_json_copy(spec), *twice = NULL, *third = NULL;
	cleanup_error struct cow_error *err = NULL;
	int result = cow_profile_merge(once, "/run/cowrun/x/agent.sock", "metadata", false, &err);

	ok(result == 0, "%s: is merged", what);
	if (result != 0) {
		printf("# %d: %s\n", result, err == NULL ? "" : err->message);
		return;
	}
	ok(compare(spec, once, wide) == 0, "%s: exactly", what);
	twice = cow_json_copy(once);
	ok(cow_profile_merge(twice, "/run/cowrun/x/agent.sock", "metadata", false, NULL) == 0 && same(once, twice),
	   "%s: idempotent", what);
	ok(cow_profile_merge(twice, "/run/cowrun/other/agent.sock", "", false, NULL) == 0 && !same(once, twice) &&
		   compare(spec, twice, wide) == 0,
	   "%s: merged again for another container", what);
	third = cow_json_copy(once);
	ok(cow_profile_admit_init(third, NULL) == 0 && cow_json_path(third, "linux.seccomp.listenerPath") == NULL &&
		   cow_json_path(third, "linux.seccomp.cowrunOriginal") == NULL,
	   "%s: the other way undoes it", what);
}

static void merges_text(const char *seccomp, bool wide, const char *what)
{
	cleanup_json struct cow_json *spec = spec_with(seccomp);

	merges(spec, wide, what);
}

#define X86_ARCHES "\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"]"
#define ARG(index, op, value, two)                                                                                     \
	"{\"index\":" #index ",\"op\":\"SCMP_CMP_" op "\",\"value\":" #value ",\"valueTwo\":" #two "}"

static const char allow_list[] =
	"{\"defaultAction\":\"SCMP_ACT_ERRNO\"," X86_ARCHES ",\"syscalls\":["
	"{\"names\":[\"read\",\"open\",\"openat\",\"mkdir\",\"unlink\",\"bind\",\"connect\",\"socketcall\",\"mount\","
	"\"chdir\",\"ioctl\",\"fcntl\",\"landlock_add_rule\","
	"\"newfstatat\",\"statx\",\"io_uring_setup\",\"faccessat\",\"access\",\"readlinkat\",\"execveat\",\"chown\","
	"\"chown32\","
	"\"setxattrat\",\"no_such_call\"],\"action\":\"SCMP_ACT_ALLOW\"},"
	"{\"names\":[\"chmod\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":13},"
	"{\"names\":[\"rmdir\"],\"action\":\"SCMP_ACT_KILL\"},"
	"{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":22,\"args\":[" ARG(
		0, "EQ", 16,
		0) "]},"
		   "{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[" ARG(
			   0, "NE", 16,
			   0) "]},"
			      "{\"names\":[\"mkdir\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":1,\"args\":[]},"
			      "{\"names\":[\"openat\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":7,\"args\":[" ARG(
				      2, "EQ", 64, 0) "]},"
						      "{\"names\":[\"fchmod\",\"fchown\"],\"action\":\"SCMP_ACT_"
						      "ALLOW\",\"args\":[" ARG(1, "EQ", 0, 0) "]}]}";

static void test_merging(void)
{
	cleanup_json struct cow_json *bare = parse("{\"ociVersion\":\"1.0.2\"}");

	merges(bare, false, "no profile");
	merges_text("null", false, "null");
	merges_text(allow_list, true, "an allow list");
	merges_text("{\"defaultAction\":\"SCMP_ACT_KILL_PROCESS\",\"syscalls\":[{\"names\":[\"read\",\"openat\","
		    "\"rename\"],"
		    "\"action\":\"SCMP_ACT_LOG\"}]}",
		    false, "an allow list that logs, native architecture only");
	merges_text("{\"defaultAction\":\"SCMP_ACT_ALLOW\"," X86_ARCHES ",\"syscalls\":["
		    "{\"names\":[\"chmod\",\"mount\",\"io_uring_setup\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":1},"
		    "{\"names\":[\"unlink\",\"bind\"],\"action\":\"SCMP_ACT_KILL\"},"
		    "{\"names\":[\"openat\",\"rename\"],\"action\":\"SCMP_ACT_LOG\"},"
		    "{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ERRNO\",\"args\":[" ARG(
			    0, "EQ", 16, 0) "]},"
					    "{\"names\":[\"mkdir\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[" ARG(
						    1, "EQ", 0, 0) "]}]}",
		    false, "a deny list");
	merges_text("{\"defaultAction\":\"SCMP_ACT_LOG\"," X86_ARCHES ",\"syscalls\":["
		    "{\"names\":[\"socketcall\",\"open\"],\"action\":\"SCMP_ACT_ERRNO\"}]}",
		    false, "logging by default");
	merges_text(
		"{\"defaultAction\":\"SCMP_ACT_ERRNO\"," X86_ARCHES ",\"syscalls\":["
		"{\"names\":[\"openat\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[" ARG(
			2, "MASKED_EQ", 64,
			0) "]},"
			   "{\"names\":[\"io_uring_setup\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[" ARG(
				   0, "EQ", 1, 0) "]},"
						  "{\"names\":[\"fchmodat\",\"mount\",\"ioctl\"],\"action\":\"SCMP_ACT_"
						  "ALLOW\",\"args\":[" ARG(0, "EQ", 1, 0) "," ARG(0, "EQ", 2, 0) "]}]}",
		true, "an allow list with conditions");
}

/* Is an entry of the docker form meant for this machine and for these capabilities? */
static bool included(const struct cow_json *entry, const char *capability)
{
	const struct cow_json *caps = cow_json_path(entry, "includes.caps"),
			      *arch = cow_json_path(entry, "includes.arches");
	const struct cow_json *without = cow_json_path(entry, "excludes.caps");
	bool has = false, here = cow_json_count(arch) == 0;

	for (size_t i = 0; i < cow_json_count(caps); i++)
		has = has || strcmp(cow_json_string(cow_json_at(caps, i)), capability) == 0;
	for (size_t i = 0; i < cow_json_count(arch); i++)
		here = here || strcmp(cow_json_string(cow_json_at(arch, i)), "amd64") == 0;
	for (size_t i = 0; i < cow_json_count(without); i++)
		if (strcmp(cow_json_string(cow_json_at(without, i)), capability) == 0)
			return false;
	return here && (cow_json_count(caps) == 0 || has);
}

/* podman's default profile, which is in docker's form, as podman would put it into config.json. NULL if it is not
 * installed. */
static struct cow_json *podman_default(const char *capability)
{
	cleanup_json struct cow_json *docker =
		cow_json_read_file(AT_FDCWD, "/usr/share/containers/seccomp.json", 1 << 20, NULL);
	struct cow_json *spec = spec_with("{" X86_ARCHES ",\"syscalls\":[]}"),
			*seccomp = cow_json_path(spec, "linux.seccomp");
	struct cow_json *rules = cow_json_get(seccomp, "syscalls"), *given = cow_json_get(docker, "syscalls");

	if (docker == NULL) {
		cow_json_free(spec);
		return NULL;
	}
	cow_json_set(seccomp, "defaultAction", cow_json_copy(cow_json_get(docker, "defaultAction")));
	cow_json_set(seccomp, "defaultErrnoRet", cow_json_copy(cow_json_get(docker, "defaultErrnoRet")));
	for (size_t i = 0; i < cow_json_count(given); i++) {
		struct cow_json *rule = cow_json_copy(cow_json_at(given, i));

		if (!included(rule, capability)) {
			cow_json_free(rule);
			continue;
		}
		cow_json_unset(rule, "includes");
		cow_json_unset(rule, "excludes");
		cow_json_append(rules, rule);
	}
	return spec;
}

static void test_podman(void)
{
	static const char *const capabilities[] = {"CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH",
						   "CAP_AUDIT_WRITE"};

	for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++) {
		cleanup_json struct cow_json *spec = podman_default(capabilities[i]);
		char what[64];

		if (spec == NULL) {
			skip("no /usr/share/containers/seccomp.json");
			return;
		}
		snprintf(what, sizeof(what), "podman's default with %s", capabilities[i]);
		merges(spec, false, what);
	}
}

/* Every call: ALLOW is taken out of long lists once, not left beside its halves. */
static void test_shape(void)
{
	cleanup_json struct cow_json *spec = spec_with(allow_list);
	const struct cow_json *seccomp, *flags;
	struct cow_rule_use use;

	cow_profile_merge(spec, "/l", "m", false, NULL);
	seccomp = cow_json_path(spec, "linux.seccomp");
	flags = cow_json_get(seccomp, "flags");
	use = cow_rules_use(seccomp, "openat");
	ok(!use.unconditional && use.allows && use.others, "openat is in halves");
	is_str(cow_json_string(cow_json_get(seccomp, "listenerPath")), "/l", "listenerPath");
	is_str(cow_json_string(cow_json_get(seccomp, "listenerMetadata")), "m", "listenerMetadata");
	ok(cow_json_count(flags) == 2, "flags: two");
	is_str(cow_json_string(cow_json_at(flags, 0)), "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "the implied flag is named");
	is_str(cow_json_string(cow_json_at(flags, 1)), "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "and ours");
	ok(cow_json_path(spec, "linux.resources") != NULL, "other members stay");
	cow_json_free(cow_steal_ptr(&spec));
	spec = spec_with("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\"]}");
	cow_profile_merge(spec, "/l", "m", false, NULL);
	flags = cow_json_path(spec, "linux.seccomp.flags");
	ok(cow_json_count(flags) == 2 && strcmp(cow_json_string(cow_json_at(flags, 0)), "SECCOMP_FILTER_FLAG_LOG") == 0,
	   "flags that were given are kept, and no more implied");
}

/* 1 or -1, and the spec as it was. */
static void gives(int want, const char *text, const char *part, const char *what)
{
	cleanup_json struct cow_json *spec = parse(text), *before = cow_json_copy(spec);
	cleanup_error struct cow_error *err = NULL;
	int got = cow_profile_merge(spec, "/l", "", false, &err);

	ok(got == want && same(spec, before) && (want < 0) == (err != NULL) &&
		   (err == NULL || strstr(err->message, part) != NULL),
	   "%s: %s", what, want == 1 ? "not merged" : "refused");
	if (got != want || err != NULL)
		printf("# %d %s\n", got, err == NULL ? "" : err->message);
}

#define PROFILE(fallback, rest)  "{\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_" fallback "\"" rest "}}}"
#define RULE(action, name, args) ",\"syscalls\":[{\"names\":[\"" name "\"],\"action\":\"SCMP_ACT_" action "\"" args "}]"
#define WITH_ARG                 ",\"args\":[" ARG(0, "EQ", 1, 0) "]"

static void test_not_merged(void)
{
	gives(1, PROFILE("ALLOW", RULE("ERRNO", "openat", WITH_ARG)), "", "a denial under conditions");
	gives(1, PROFILE("ALLOW", RULE("ERRNO", "io_uring_setup", WITH_ARG)), "",
	      "a denial of a refused call under conditions");
	gives(1, PROFILE("ERRNO", RULE("LOG", "mkdir", WITH_ARG)), "", "logged under conditions");
	gives(1, PROFILE("ERRNO", RULE("TRACE", "mkdir", "")), "", "traced");
	gives(1, PROFILE("ERRNO", RULE("ALLOW", "socketcall", WITH_ARG)), "", "socketcall under conditions");
	gives(1, PROFILE("TRACE", ""), "", "tracing by default");
	gives(1, PROFILE("ALLOW", ",\"flags\":[\"SECCOMP_FILTER_FLAG_TSYNC\"]"), "", "TSYNC");
	gives(1, "{\"annotations\":{\"run.oci.seccomp_bpf_data\":\"AAAA\"}}", "", "crun's ready-made program");
	gives(-1, PROFILE("ERRNO", RULE("NOTIFY", "read", "")), "syscalls[0]", "a NOTIFY rule");
	gives(-1, PROFILE("NOTIFY", ""), "defaultAction", "NOTIFY by default");
	gives(-1, PROFILE("ALLOW", ",\"listenerPath\":\"/x\""), "listenerPath", "a listener path");
	gives(-1, "{\"annotations\":{\"run.oci.seccomp.receiver\":\"/x\"}}", "run.oci.seccomp.receiver",
	      "crun's receiver");
	gives(-1, "{\"annotations\":{\"run.oci.seccomp.plugins\":\"x\"}}", "run.oci.seccomp.plugins", "crun's plugins");
	gives(-1, PROFILE("NO_SUCH", ""), "defaultAction", "an unknown default");
	gives(-1, PROFILE("ALLOW", RULE("NO_SUCH", "read", "")), "syscalls[0]", "an unknown action");
	gives(-1, PROFILE("ALLOW", ",\"syscalls\":{}"), "no array", "syscalls that are no array");
	gives(-1, PROFILE("ALLOW", ",\"syscalls\":[{\"names\":\"x\",\"action\":\"SCMP_ACT_LOG\"}]"), "syscalls[0]",
	      "names that are no array");
	gives(-1, PROFILE("ALLOW", ",\"syscalls\":[{\"names\":[3],\"action\":\"SCMP_ACT_LOG\"}]"), "syscalls[0]",
	      "a name that is no string");
	gives(-1, PROFILE("ALLOW", ",\"syscalls\":[7]"), "syscalls[0]", "a rule that is no object");
	gives(-1, "{\"linux\":{\"seccomp\":[]}}", "no object", "a profile that is no object");
	gives(-1, "{\"linux\":7}", "no object", "linux that is no object");
	gives(-1, "[]", "no object", "a document that is no object");
}

/* Calls that libseccomp cannot name, where the kernel has them. */
static void test_unnamed(void)
{
	cleanup_json struct cow_json *open = spec_with("null"), *list = spec_with(allow_list),
				     *before = cow_json_copy(open);
	size_t count, missing = 0;
	const struct cow_filter_call *calls = cow_filter_calls(&count);

	for (size_t i = 0; i < count; i++) {
		bool named = seccomp_syscall_resolve_name(calls[i].name) != __NR_SCMP_ERROR;

		if (!named && calls[i].verdict == COW_FILTER_NOTIFY &&
		    (syscall(cow_filter_number(calls[i].name, cow_filter_native()), -1, NULL, 0, NULL, 0, 0) >= 0 ||
		     errno != ENOSYS))
			missing++;
	}
	ok(cow_profile_merge(open, "/l", "", true, NULL) == (missing > 0 ? 1 : 0),
	   "an open profile is merged if the kernel has no call that libseccomp cannot name (it has %zu)", missing);
	ok(missing == 0 || same(open, before), "and stays as it was if not");
	ok(cow_profile_merge(list, "/l", "", true, NULL) == 0, "a list that denies them is merged");
	ok(cow_profile_merge(list, "/l", "", false, NULL) == 0 && cow_profile_merge(list, "/l", "", true, NULL) == 0,
	   "and again");
}

/* A merged profile that somebody edited since is not taken for ours. */
static void test_edited(void)
{
	cleanup_json struct cow_json *spec = spec_with(allow_list), *before = NULL;
	cleanup_error struct cow_error *err = NULL;

	cow_profile_merge(spec, "/l", "", false, NULL);
	cow_json_append(cow_json_path(spec, "linux.seccomp.syscalls"),
			parse("{\"names\":[\"read\"],\"action\":\"SCMP_ACT_KILL\"}"));
	before = cow_json_copy(spec);
	ok(cow_profile_merge(spec, "/l", "", false, &err) < 0 && strstr(err->message, "changed since") != NULL &&
		   same(spec, before),
	   "edited after the merge: refused");
	ok(cow_profile_admit_init(spec, NULL) < 0, "for the other way too");
}

static uint32_t verdict(const struct cow_json *spec, const char *name, uint64_t first)
{
	struct program p = compile(spec);
	struct seccomp_data data = {.nr = seccomp_syscall_resolve_name(name), .arch = arches[0].audit, .args = {first}};
	uint32_t result = p.len == 0 ? SIM_BROKEN : sim_run(p.code, p.len, &data);

	free(p.code);
	return result;
}

static void test_admission(void)
{
	cleanup_json struct cow_json *spec = spec_with(allow_list), *once = NULL, *bare = parse("{\"a\":1}");

	ok(cow_profile_admit_init(spec, NULL) == 0, "an allow list for cowrun-init's own filter");
	ok(verdict(spec, "prctl", 38) == SECCOMP_RET_ALLOW && verdict(spec, "prctl", 4) == SECCOMP_RET_ALLOW &&
		   verdict(spec, "seccomp", 1) == SECCOMP_RET_ALLOW &&
		   verdict(spec, "landlock_restrict_self", 3) == SECCOMP_RET_ALLOW &&
		   verdict(spec, "landlock_create_ruleset", 1) == SECCOMP_RET_ALLOW,
	   "lets it do what it must");
	ok(!passes(verdict(spec, "prctl", 15)) && !passes(verdict(spec, "seccomp", 0)) &&
		   !passes(verdict(spec, "landlock_create_ruleset", 0x1000)) &&
		   verdict(spec, "openat", 3) == SECCOMP_RET_ALLOW,
	   "and no more");
	once = cow_json_copy(spec);
	ok(cow_profile_admit_init(spec, NULL) == 0 && same(spec, once), "idempotent");
	ok(cow_profile_merge(spec, "/l", "", false, NULL) == 0, "and can be merged");
	ok(cow_profile_admit_init(bare, NULL) == 0 && cow_json_count(bare) == 1, "no profile stays none");
}

/* Whether a profile lets cowrun-init install a filter, and what cowrun-init would meet. */
static void test_lets_init(void)
{
	static const struct {
		const char *spec;
		bool lets;
		const char *what;
	} profiles[] = {
		{"{}", true, "no profile"},
		{PROFILE("ALLOW", ""), true, "everything allowed"},
		{PROFILE("ALLOW", RULE("ERRNO", "reboot", "")), true, "something else denied"},
		{PROFILE("ALLOW", RULE("ERRNO", "seccomp", "")), false, "seccomp denied"},
		{PROFILE("ALLOW", RULE("KILL", "sendmsg", WITH_ARG)), false, "sendmsg denied under conditions"},
		{PROFILE("ERRNO", RULE("ALLOW", "seccomp\",\"sendmsg", "")), true, "both allowed"},
		{PROFILE("ERRNO", RULE("ALLOW", "seccomp", "")), false, "sendmsg not mentioned"},
		{PROFILE("ERRNO", RULE("ALLOW", "seccomp\",\"sendmsg", WITH_ARG)), false, "under conditions"},
		{PROFILE("TRACE", ""), false, "traced by default"},
		{PROFILE("ALLOW", RULE("TRACE", "seccomp", "")), false, "traced"},
		{"{\"linux\":{\"seccomp\":[]}}", false, "a malformed one"},
		{PROFILE("NOTIFY", ""), false, "another agent's"},
	};

	for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++) {
		cleanup_json struct cow_json *spec = parse(profiles[i].spec);

		ok(cow_profile_lets_init(spec) == profiles[i].lets, "%s: cowrun-init may%s install a filter",
		   profiles[i].what, profiles[i].lets ? "" : " not");
	}

	cleanup_json struct cow_json *merged = spec_with(allow_list), *podman = podman_default("CAP_CHOWN");

	cow_profile_merge(merged, "/l", "", false, NULL);
	ok(!cow_profile_lets_init(merged), "asked of a merged profile: of what it was");
	if (podman == NULL) {
		skip("no /usr/share/containers/seccomp.json");
		return;
	}
	cleanup_json struct cow_json *admitted = cow_json_copy(podman);

	ok(cow_profile_lets_init(podman) && cow_profile_admit_init(admitted, NULL) == 0 && same(podman, admitted),
	   "podman's default lets it, and stays as it is");
}

static void check_is(const char *text, bool installs, bool landlock, const char *denied)
{
	cleanup_json struct cow_json *spec = parse(text);
	cleanup_error struct cow_error *err = NULL;
	int result = cow_profile_check(spec, installs, landlock, &err);

	ok(result == (denied != NULL ? -1 : 0) && (denied == NULL || strstr(err->message, denied) != NULL), "%s: %s",
	   text, denied != NULL ? denied : "nothing is in the way");
}

static void test_check(void)
{
	cleanup_json struct cow_json *list = spec_with(allow_list);

	check_is("{}", true, true, NULL);
	check_is(PROFILE("ALLOW", RULE("KILL", "prctl", "")), false, false, "prctl");
	check_is(PROFILE("ALLOW", RULE("ERRNO", "seccomp", "")), true, true, "seccomp");
	check_is(PROFILE("ALLOW", RULE("ERRNO", "seccomp", "")), false, true, NULL);
	check_is(PROFILE("ALLOW", RULE("ERRNO", "landlock_restrict_self", "")), false, true, "landlock_restrict_self");
	check_is(PROFILE("ALLOW", RULE("ERRNO", "landlock_restrict_self", "")), true, false, NULL);
	check_is(PROFILE("ALLOW", RULE("ERRNO", "prctl", WITH_ARG)), true, true, NULL);
	ok(cow_profile_merge(list, "/l", "", false, NULL) == 0 && cow_profile_check(list, false, true, NULL) == 0,
	   "a merged list lets it do all");
	ok(cow_profile_admit_init(list, NULL) == 0 && cow_profile_check(list, true, true, NULL) == -1,
	   "for its own filter the list lacks sendmsg");
}

int main(void)
{
	test_merging();
	test_podman();
	test_shape();
	test_not_merged();
	test_unnamed();
	test_edited();
	test_admission();
	test_lets_init();
	test_check();
	return done_testing();
}
