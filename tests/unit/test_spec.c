/*
 * Which mounts of a bundle can be workdirs, and what else in it would lead to the lower (runtime/wrapper/spec.h,
 * cow_spec_trees).
 */
#include <sched.h>

#include "bundle.h"
#include "tap.h"

static void finds(const char *mounts, const char *want, const char *name)
{
	cleanup_json struct cow_json *spec = bundle(mounts);
	cleanup_free char *got = found_in(spec, "/work", NULL), *expanded = expand(want);

	is_str(got, expanded, "%s", name);
}

static void says(const struct cow_json *spec, const char *b, const char *text, const char *name)
{
	cleanup_free char *got = found_in(spec, "/work", b), *expanded = expand(text);

	ok(strncmp(got, "error: ", 7) == 0 && strstr(got, expanded) != NULL && strpbrk(got, "\n\033") == NULL,
	   "refused: %s", name);
	printf("# %s\n", got);
}

static void refuses(const char *mounts, const char *text, const char *name)
{
	cleanup_json struct cow_json *spec = bundle(mounts);

	says(spec, NULL, text, name);
}

/* --- which mounts can be workdirs --------------------------------------------------------------------------------- */

#define MOUNT(source, rest) "{'destination':'/work','source':'" source "'," rest "}"

static void test_workdir_mounts(void)
{
	finds(DEV "," WORK, "/work @/lower;", "a bind mount");
	finds(DEV "," MOUNT("../lower", "'type':'none','options':['bind']"), "/work @/lower;",
	      "a source relative to the bundle, and bind as an option only");
	finds(DEV "," MOUNT("@/link/", "'type':'bind','options':['ro','rw','nosuid']"), "/work @/lower;",
	      "a source through a link; the last of ro and rw counts");
	finds(DEV ",{'destination':'//x/../work/.','type':'bind','source':'@/lower'}", "/work @/lower;",
	      "a destination that is not clean");
	refuses(DEV, "workdir /work", "no mount there");
	refuses(DEV ",{'destination':'/wor','type':'bind','source':'@/lower'}", "workdir /work", "another name");
	refuses(DEV ",{'destination':'/work/src','type':'bind','source':'@/lower'}", "workdir /work", "a mount below");
	refuses(DEV "," MOUNT("tmpfs", "'type':'tmpfs'"), "/work: not a bind mount", "a tmpfs");
	refuses(DEV "," MOUNT("", "'type':'bind'"), "/work: not a bind mount", "a bind mount of nothing");
	refuses(DEV "," MOUNT("@/missing", "'type':'bind'"), "@/missing", "a source that is not there");
	refuses(DEV "," MOUNT("@/file", "'type':'bind'"), "@/file is no directory", "a file");
	refuses(DEV "," MOUNT("/", "'type':'bind'"), "root of the host", "the host's root");
	refuses(DEV "," MOUNT("@/lower", "'type':'bind','options':['ro']"), "read-only", "read-only");
	refuses(DEV "," MOUNT("@/lower", "'type':'bind','options':['rw','rro']"), "read-only", "read-only with all");
	refuses(DEV "," MOUNT("@/lower", "'type':'bind','options':['idmap=uids=0-1-1']"), "id-mapped", "idmap");
	refuses(DEV "," MOUNT("@/lower", "'type':'bind','uidMappings':[{}]"), "id-mapped", "uidMappings");
	refuses(DEV "," WORK "," WORK, "two mounts", "two mounts there");
	refuses(DEV "," WORK ",{'destination':'/','type':'tmpfs'}", "hides it", "a mount over it");
	refuses(DEV "," WORK ",{'destination':'/work/','type':'bind','source':'@/other'}", "two mounts", "on it");
}

static void test_mountpoints(void)
{
	finds(DEV
	      ",{'destination':'/work/hidden','type':'tmpfs'}," WORK
	      ",{'destination':'/work/a/b','type':'tmpfs'},{'destination':'/work/c/','type':'bind','source':'@/other'}"
	      ",{'destination':'/work/a/b','type':'tmpfs'},{'destination':'/workers','type':'tmpfs'}",
	      "/work @/lower a/b c;", "mount points below the workdir, made after it");
}

static void test_two_workdirs(void)
{
	cleanup_json struct cow_json *good =
		bundle(DEV "," WORK ",{'destination':'/two','type':'bind','source':'@/other'}");
	cleanup_json struct cow_json *same =
		bundle(DEV "," WORK ",{'destination':'/two','type':'bind','source':'@/lower'}");
	cleanup_json struct cow_json *inside =
		bundle(DEV "," WORK ",{'destination':'/two','type':'bind','source':'@/lower/src'}");
	cleanup_free char *got = found_in(good, "/work", "/two"), *want = expand("/work @/lower;/two @/other;");

	is_str(got, want, "two workdirs");
	says(same, "/two", "one in the other", "two of one directory");
	says(inside, "/two", "@/lower/src", "two of which one holds the other");
}

static void test_malformed(void)
{
	cleanup_json struct cow_json *spec = bundle(DEV "," WORK);

	refuses("7", "mounts[0]", "a mount that is a number");
	refuses(DEV ",{}", "mounts[1]", "a mount without a destination");
	refuses(DEV ",{'destination':''}", "mounts[1]", "an empty destination");
	refuses(DEV ",{'destination':['/work']}", "mounts[1]", "a destination that is an array");
	refuses(DEV "," MOUNT("@/lower", "'type':'bind','options':'ro'"), "mounts[1]", "options that are a text");
	refuses(DEV "," MOUNT("@/lower", "'type':'bind','options':[7]"), "mounts[1]", "an option that is a number");
	refuses(DEV ",{'destination':'/work','type':'bind','source':'@/lower\\n\\u001b[2J'}", "\\x0a\\x1b[2J",
		"control characters in a source");
	cow_json_set(spec, "mounts", cow_json_new_int(7));
	says(spec, NULL, "\"mounts\"", "mounts that are a number");
	cow_json_unset(spec, "mounts");
	says(spec, NULL, "workdir /work", "no mounts at all");
}

/* --- the rest of the bundle --------------------------------------------------------------------------------------- */

static void with(const char *parent, const char *key, const char *value, const char *text, const char *name)
{
	cleanup_json struct cow_json *spec = bundle(DEV "," WORK);

	cow_json_set(*parent != '\0' ? cow_json_path(spec, parent) : spec, key, json(value));
	if (text != NULL) {
		says(spec, NULL, text, name);
	} else {
		cleanup_free char *got = found_in(spec, "/work", NULL), *want = expand("/work @/lower;");

		is_str(got, want, "%s", name);
	}
}

static void test_surroundings(void)
{
	with("linux", "namespaces", "[]", "mount namespace", "no mount namespace");
	with("linux", "namespaces", "[{'type':'mount','path':'/proc/1/ns/mnt'}]", "mount namespace", "another's");
	with("linux", "namespaces", "[{'type':'mount'},{'type':'user'}]", NULL, "a user namespace");
	with("linux", "maskedPaths", "['/proc/kcore','/work/secret']", "/work/secret", "a masked path in the workdir");
	with("linux", "readonlyPaths", "['/']", "readonlyPaths", "a read-only path around the workdir");
	with("linux", "devices", "[{'path':'/work/null','type':'c'}]", "/work/null", "a device in the workdir");
	with("linux", "maskedPaths", "['/proc/kcore','/worker']", NULL, "others are no matter");
	with("", "process", "{'args':[]}", "process.args", "no command");
	with("", "process", "{'args':['sh',7]}", "process.args[1]", "a command that is no text");
	with("", "process", "null", "process.args", "no process");
	with("", "root", "{'path':'none'}", "@/bundle/none", "no root file system");
	with("", "root", "{}", "root.path", "no path of one");
	with("", "hooks", "[]", "hooks", "hooks that are an array");
	with("", "hooks", "{'prestart':{}}", "hooks.prestart", "prestart hooks that are an object");
	with("", "annotations", "{'io.kubernetes.cri.container-type':'container'}", NULL, "a pod");
	refuses(WORK, "tmpfs", "no place for init");

	cleanup_json struct cow_json *pod = bundle(DEV);

	cow_json_set(pod, "annotations", json("{'io.kubernetes.cri.container-type':'container'}"));
	says(pod, NULL, "run.cowrun.containers", "a container of a pod without that mount");
}

/* --- other ways to the lower -------------------------------------------------------------------------------------- */

#define ALSO(source, options)                                                                                          \
	DEV "," WORK ",{'destination':'/also','type':'bind','source':'" source "','options':[" options "]}"

static void test_ways_round(void)
{
	refuses(ALSO("@/lower", "'rbind'"), "mount /also", "the lower once more");
	refuses(ALSO("@/lower/src", "'bind','rw'"), "mount /also", "a directory in it");
	refuses(ALSO("@/lower/file", "'bind','rw'"), "mount /also", "a file in it");
	refuses(ALSO("@", "'bind','rw'"), "mount /also", "a directory around it");
	refuses(ALSO("../other/../link", "'bind'"), "mount /also", "through a link, relative");
	refuses(DEV "," WORK ",{'destination':'/work/src','type':'bind','source':'@/lower/src'}", "mount /work/src",
		"a part of it at its own place");
	finds(ALSO("@/lower", "'rbind','ro'"), "/work @/lower;", "but read-only is fine");
	finds(ALSO("@/lower/src", "'bind','rw','rro'"), "/work @/lower;", "in every form");
	finds(ALSO("@/lowest", "'rbind'"), "/work @/lower;", "a name that begins the same");
	finds(ALSO("@/none", "'rbind'"), "/work @/lower;", "what is not there is for the delegate to tell");
	with("", "root", "{'path':'@/lower'}", "root file system", "the lower is the root file system");
	with("", "root", "{'path':'/'}", "root file system", "the lower is in it");
	with("", "root", "{'path':'@/lower/src'}", "root file system", "it is in the lower");
	with("", "root", "{'path':'@/lower','readonly':true}", NULL, "but a read-only one is fine");
	with("", "root", "{'path':'@','readonly':true}", "state directory", "unless the state directory is in it");
	refuses(ALSO("@/state/sub", "'bind','ro'"), "state directory there", "a mount of the state directory");
	refuses(DEV "," MOUNT("@", "'type':'bind'"), "branch store",
		"the lower around the store, which is not there yet");
	make("@/store");
	refuses(ALSO("@/store", "'bind'"), "write to the branch store", "a mount of the store");
	finds(ALSO("@/store", "'bind','ro'"), "/work @/lower;", "which may be read");
	refuses(DEV "," MOUNT("@/store", "'type':'bind'"), "branch store", "the store as the lower");
	refuses(DEV "," MOUNT("@/state/sub", "'type':'bind'"), "state directory", "the lower in the state directory");
}

static int bind_mount(const char *from, const char *to)
{
	cleanup_free char *a = expand(from), *b = expand(to);

	return mount(a, b, NULL, MS_BIND, NULL);
}

/* Mounts of the host, in a namespace of our own. The path says nothing then. */
static void test_mounts_of_host(void)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
		skip("mounting needs root");
		return;
	}
	ok(bind_mount("@/lower", "@/alias") == 0 && bind_mount("@/lower/src", "@/other/deep") == 0 &&
		   bind_mount("@/other", "@/lower/inner") == 0,
	   "bind mounts on the host");
	refuses(ALSO("@/alias", "'bind'"), "mount /also", "the lower by another path");
	refuses(ALSO("@/alias/src", "'bind'"), "mount /also", "a part of it by another path");
	refuses(ALSO("@/other/deep", "'bind'"), "mount /also", "that part, mounted alone");
	refuses(ALSO("@/other", "'bind'"), "mount /also", "what is mounted inside the lower");
	cleanup_free char *inner = expand("@/lower/inner");
	umount2(inner, MNT_DETACH);
	finds(ALSO("@/other", "'bind','rw'"), "/work @/lower;", "a bind mount leaves out what is mounted in it");
	refuses(ALSO("@/other", "'rbind','rw'"), "mount /also", "rbind takes it along");
	refuses(ALSO("@/other", "'rbind','ro'"), "rro", "and ro does not hold there");
	finds(ALSO("@/other", "'rbind','rro'"), "/work @/lower;", "but rro does");
	with("", "root", "{'path':'@/other','readonly':true}", "root file system", "nor in a read-only root");
}

int main(void)
{
	make_top();
	test_workdir_mounts();
	test_mountpoints();
	test_two_workdirs();
	test_malformed();
	test_surroundings();
	test_ways_round();
	test_mounts_of_host();

	cleanup_free char *alias = expand("@/alias"), *deep = expand("@/other/deep");
	umount2(alias, MNT_DETACH);
	umount2(deep, MNT_DETACH);
	remove_top();
	return done_testing();
}
