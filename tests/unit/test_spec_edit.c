/* The edits of a bundle (runtime/wrapper/spec.h, cow_spec_edit), and that a second one changes nothing. */
#include "bundle.h"
#include "tap.h"

static void init_at(const char *mounts, const char *want, const char *name)
{
	cleanup_json struct cow_json *spec = bundle(mounts);
	struct cow_request r;
	struct cow_branch b = {.name = (char *)"b"};
	struct cow_spec_plan plan = {&r,    &b, "/store", "/key", "/x/cowrun-hook", "/x/cowrun-init", COW_LISTENER_AUTO,
				     false, 5};
	char place[COW_SPEC_PATH_MAX] = "";

	ask(&r, "/work", NULL);
	ok(cow_spec_edit(spec, &plan, place, NULL) == (want[0] != '\0' ? 0 : -1) && strcmp(place, want) == 0,
	   "init: %s (%s)", name, place);
}

#define TMPFS(at) ",{'destination':'" at "','type':'tmpfs'}"

static void test_init_place(void)
{
	init_at(WORK TMPFS("/tmp") TMPFS("/run") "," DEV, "/dev/.cowrun-init", "in /dev");
	init_at(WORK TMPFS("/tmp") TMPFS("/run"), "/run/.cowrun-init", "in /run");
	init_at(WORK TMPFS("/var/x"), "/var/x/.cowrun-init", "in any other tmpfs");
	init_at(DEV "," WORK ",{'destination':'/dev','type':'bind','source':'/dev'}" TMPFS("/run"), "/run/.cowrun-init",
		"not in the host's /dev");
	init_at(DEV ",{'destination':'/','type':'bind','source':'@/other'}," WORK, "", "not in one that is hidden");
	init_at(WORK ",{'destination':'/dev','type':'tmpfs','options':['ro']}", "", "not in one that is read-only");
	init_at(WORK ",{'destination':'/dev','type':'tmpfs','options':['mode=0755']}", "/dev/.cowrun-init",
		"mode 0755");
	init_at(WORK ",{'destination':'/dev','type':'tmpfs','options':['mode=700']}", "", "not in root's alone");
	init_at(WORK TMPFS("/work/tmp"), "", "not in a workdir");
	init_at(WORK, "", "not in the image");
	init_at(WORK TMPFS("/a-directory-whose-name-is-so-long-that-init-would-not-fit"), "", "not if it is too long");
}

/* --- the edits ---------------------------------------------------------------------------------------------------- */

struct edit {
	const char *store, *branch, *key, *hook, *init;
	bool by_delegate;
	int fd;
};

/* The edited document as text; NULL if it is refused. Caller frees. */
static char *edit(struct cow_json *spec, const struct edit *e, bool *by_delegate)
{
	struct cow_request r;
	struct cow_branch b = {.name = (char *)e->branch};
	struct cow_spec_plan plan = {
		&r, &b, e->store, e->key, e->hook, e->init, COW_LISTENER_DELEGATE, e->by_delegate, e->fd};
	cleanup_error struct cow_error *err = NULL;
	char place[COW_SPEC_PATH_MAX];

	ask(&r, "/work", NULL);
	if (cow_spec_edit(spec, &plan, place, &err) != 0) {
		printf("# %s\n", err->message);
		return NULL;
	}
	if (by_delegate != NULL)
		*by_delegate = plan.by_delegate;
	return cow_json_print(spec, 0, NULL);
}

static const struct edit by_init = {"/store", "b", "/run/cowrun/id.0", "/x/cowrun-hook", "/x/cowrun-init", false, 9};
static const struct edit by_delegate = {"/store", "b", "/run/cowrun/id.0", "/x/cowrun-hook", "/x/cowrun-init",
					true,     -1};
static const struct edit elsewhere = {"/new", "c", "/state/other.1", "/y/cowrun-hook", "/y/cowrun-init", false, 4};

static void member_is(const struct cow_json *spec, const char *path, size_t at, const char *want, const char *name)
{
	const struct cow_json *v = cow_json_path(spec, path);
	cleanup_free char *got = cow_json_print(at == SIZE_MAX ? v : cow_json_at(v, at), 0, NULL),
			  *expanded = expand(want);

	is_str(got, expanded, "%s", name);
}

static const char hooked[] =
	DEV ",{'destination':'/work','type':'bind','source':'@/lower','options':['rbind','rslave','nosuid','rw'],'x':1}"
	    ",{'destination':'/run','type':'tmpfs','options':['rshared']}";

static void test_edit(void)
{
	cleanup_json struct cow_json *spec = bundle(hooked);
	cleanup_free char *text = NULL;

	cow_json_set(spec, "hooks", json("{'prestart':[{'path':'/bin/a','args':['a']}],'poststop':[{'path':'/b'}]}"));
	text = edit(spec, &by_init, NULL);
	ok(text != NULL && strncmp(text, "{\"ociVersion\":\"1.0.2\",\"vnd\":{\"n\":1.50,\"e\":1E+2},", 48) == 0,
	   "edited; what is not known is kept");
	member_is(spec, "mounts", 1,
		  "{'destination':'/work','type':'bind','source':'/store/branches/b/trees/0/upper',"
		  "'options':['rbind','nosuid','rw','rprivate'],'x':1,'cowrunLower':'@/lower'}",
		  "the upper at the workdir");
	member_is(spec, "mounts", 2, "{'destination':'/run','type':'tmpfs','options':['rshared']}",
		  "other mounts stay");
	member_is(spec, "mounts", 3,
		  "{'destination':'/dev/.cowrun-init','type':'bind','source':'/x/cowrun-init',"
		  "'options':['bind','ro','nosuid','nodev','private'],'cowrunInit':true}",
		  "cowrun-init's mount is the last one");
	member_is(
		spec, "hooks", SIZE_MAX,
		"{'prestart':[{'path':'/bin/a','args':['a']},{'path':'/x/cowrun-hook','args':['cowrun-hook','--state',"
		"'/run/cowrun/id.0'],'timeout':120}],'poststop':[{'path':'/b'}]}",
		"the hook after the bundle's own");
	member_is(spec, "process.args", SIZE_MAX,
		  "['/dev/.cowrun-init','--listener-fd','9','--landlock','--cwd','/work','--','sh','-c','x']",
		  "the command");
	ok(cow_json_path(spec, "linux.seccomp") == NULL, "no profile where there was none");
}

static void test_edit_by_delegate(void)
{
	cleanup_json struct cow_json *spec = bundle(hooked), *other = bundle(hooked);
	cleanup_free char *text = NULL, *fallback = NULL;
	bool delegate = false;

	text = edit(spec, &by_delegate, &delegate);
	ok(text != NULL && delegate, "through the delegate");
	member_is(spec, "linux.seccomp.listenerPath", SIZE_MAX, "'/run/cowrun/id.0/agent.sock'", "the listener");
	member_is(spec, "process.args", SIZE_MAX,
		  "['/dev/.cowrun-init','--landlock','--cwd','/work','--','sh','-c','x']",
		  "the command without a listener");
	cow_json_set(cow_json_get(other, "linux"), "seccomp", json("{'defaultAction':'SCMP_ACT_TRACE','syscalls':[]}"));
	fallback = edit(other, &by_delegate, &delegate);
	ok(fallback != NULL && !delegate, "a profile that cannot be merged goes the other way");
	cow_json_set(cow_json_get(other, "linux"), "seccomp",
		     json("{'defaultAction':'SCMP_ACT_ALLOW','listenerPath':'/x'}"));
	ok(edit(other, &by_delegate, &delegate) == NULL, "another's listener is refused");
}

/* Which way is taken by itself, where the delegate could load the filter. */
static void goes(bool want_delegate, const char *seccomp, const char *label, bool landlock, const char *name)
{
	cleanup_json struct cow_json *spec = bundle(hooked);
	struct cow_request r;
	struct cow_branch b = {.name = (char *)"b"};
	struct cow_spec_plan plan = {&r, &b, "/store", "/key", "/x/hook", "/x/init", COW_LISTENER_AUTO, true, 5};
	char place[COW_SPEC_PATH_MAX];

	ask(&r, "/work", NULL);
	r.landlock = landlock;
	cow_json_set(cow_json_get(spec, "linux"), "seccomp", json(seccomp));
	if (label != NULL)
		cow_json_set(cow_json_get(spec, "process"), "selinuxLabel", cow_json_new_string(label));
	ok(cow_spec_edit(spec, &plan, place, NULL) == 0 && plan.by_delegate == want_delegate, "%s: %s", name,
	   want_delegate ? "the delegate" : "cowrun-init");
}

static void test_choice(void)
{
#define LIST(names) "{'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'names':[" names "],'action':'SCMP_ACT_ALLOW'}]}"
	static const char list[] = LIST("'read','openat','seccomp','sendmsg','prctl'");

	goes(false, "null", NULL, true, "no profile");
	goes(false, list, NULL, true, "a profile that lets cowrun-init install a filter");
	goes(true, LIST("'read','openat','sendmsg'"), NULL, true, "one that would have to be widened");
	goes(true, list, "system_u:system_r:container_t:s0", true, "a label of SELinux's");
	goes(false, list, "", true, "an empty label");
	goes(true, list, NULL, false, "without Landlock");
	goes(false, "{'defaultAction':'SCMP_ACT_TRACE','syscalls':[]}", NULL, false, "a profile that cannot be merged");
}

/* A denied call is told by the wrapper, not by a command that ends without a word. */
static void test_denied(void)
{
	cleanup_json struct cow_json *spec = bundle(hooked);

	cow_json_set(cow_json_get(spec, "linux"), "seccomp",
		     json("{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['landlock_restrict_self'],"
			  "'action':'SCMP_ACT_KILL'}]}"));
	ok(edit(spec, &by_init, NULL) == NULL && edit(spec, &by_delegate, NULL) == NULL,
	   "a profile that denies what cowrun-init needs is refused, either way");
}

static void test_again(const struct edit *first, const struct edit *second, const char *name)
{
	cleanup_json struct cow_json *once = bundle(hooked), *twice = bundle(hooked);
	cleanup_free char *want = NULL, *got = NULL, *between = NULL, *trees = NULL,
			  *expanded = expand("/work @/lower;");

	cow_json_set(once, "hooks", json("{'prestart':[{'path':'/bin/a'}]}"));
	cow_json_set(twice, "hooks", json("{'prestart':[{'path':'/bin/a'}]}"));
	want = edit(once, second, NULL);
	between = edit(twice, first, NULL);
	trees = found_in(twice, "/work", NULL);
	is_str(trees, expanded, "an edited bundle has the same lower");
	got = edit(twice, second, NULL);
	is_str(got, want, "%s", name);
}

static void test_repeated(void)
{
	test_again(&by_init, &by_init, "a second edit changes nothing");
	test_again(&by_delegate, &by_delegate, "nor through the delegate");
	test_again(&by_init, &elsewhere, "another branch, another state directory, another installation");
	test_again(&elsewhere, &by_delegate, "from init to the delegate");
	test_again(&by_delegate, &elsewhere, "from the delegate to init");
}

/* What was changed by hand between two creates. */
static void test_changed_between(void)
{
	cleanup_json struct cow_json *spec = bundle(hooked);
	cleanup_free char *first = edit(spec, &by_init, NULL), *second = NULL, *third = NULL, *trees = NULL;
	struct cow_json *mounts = cow_json_get(spec, "mounts");
	cleanup_free char *expanded = expand("/work @/other;"), *other = expand("@/other");

	cow_json_set(cow_json_at(mounts, 1), "source", cow_json_new_string(other));
	trees = found_in(spec, "/work", NULL);
	is_str(trees, expanded, "another source is another lower");
	cow_json_append(mounts, json("{'destination':'/more','type':'tmpfs'}"));
	second = edit(spec, &by_init, NULL);
	member_is(spec, "mounts", 4,
		  "{'destination':'/dev/.cowrun-init','type':'bind','source':'/x/cowrun-init',"
		  "'options':['bind','ro','nosuid','nodev','private'],'cowrunInit':true}",
		  "init comes last again, once");
	ok(cow_json_count(mounts) == 5, "no mount is lost");
	cow_json_set(cow_json_at(mounts, 1), "destination", cow_json_new_string("/was-work"));
	cow_json_append(mounts, json(WORK));
	third = edit(spec, &by_init, NULL);
	member_is(spec, "mounts", 1,
		  "{'destination':'/was-work','type':'bind','source':'@/other','options':['rbind','nosuid','rw',"
		  "'rprivate'],'x':1}",
		  "a workdir no more: its directory is back");
}

static void prefixed(const char *args, const char *want, const char *name)
{
	cleanup_json struct cow_json *v = json(args);
	cleanup_free char *expanded = expand(want), *got = NULL;
	int result = cow_spec_prefix(v, "/run/.cowrun-init", 7, true, "/d", NULL);

	got = cow_json_print(v, 0, NULL);
	ok(result == 0, "%s", name);
	is_str(got, expanded, "%s", name);
}

#define OURS "'/run/.cowrun-init','--listener-fd','7','--landlock','--cwd','/d','--'"

static void test_prefix(void)
{
	cleanup_json struct cow_json *empty = cow_json_new_array(), *plain = json("['a']");
	cleanup_free char *text = NULL;

	prefixed("['a','--','b']", "[" OURS ",'a','--','b']", "a command");
	prefixed("[" OURS ",'a','--','b']", "[" OURS ",'a','--','b']", "again");
	prefixed("['/dev/.cowrun-init','--','a']", "[" OURS ",'a']", "from another place");
	prefixed("['/dev/.cowrun-init','--cwd','--','--','--']", "[" OURS ",'--']", "a directory named --");
	prefixed("['/dev/.cowrun-init','--']", "[" OURS ",'/dev/.cowrun-init','--']", "no command after it: not ours");
	prefixed("['/dev/.cowrun-init','x','--','a']", "[" OURS ",'/dev/.cowrun-init','x','--','a']", "nor this");
	prefixed("['/bin/cowrun-init','--','a']", "[" OURS ",'/bin/cowrun-init','--','a']", "nor this one");
	ok(cow_spec_prefix(empty, "/i", 1, true, NULL, NULL) == -1 &&
		   cow_spec_prefix(NULL, "/i", 1, true, NULL, NULL) == -1,
	   "no command");
	ok(cow_spec_prefix(plain, "/i", -1, false, NULL, NULL) == 0, "without anything");
	text = cow_json_print(plain, 0, NULL);
	is_str(text, "[\"/i\",\"--\",\"a\"]", "just init");
}

int main(void)
{
	make_top();
	test_init_place();
	test_edit();
	test_edit_by_delegate();
	test_choice();
	test_denied();
	test_repeated();
	test_changed_between();
	test_prefix();
	remove_top();
	return done_testing();
}
