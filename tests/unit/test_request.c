/* What the annotations of a bundle ask for (runtime/wrapper/request.h). */
#include "../../runtime/wrapper/request.h"

#include <stdlib.h>

#include "../../runtime/lib/fd.h"
#include "tap.h"

/* {"annotations": ANNOTATIONS}; the result of cow_request_read. */
static int read_id(const char *annotations, const char *id, struct cow_request *r, struct cow_error **err)
{
	cleanup_json struct cow_json *spec = cow_json_new_object();

	cow_json_set(spec, "annotations", cow_json_parse(annotations, strlen(annotations), NULL));
	return cow_request_read(spec, id, r, err);
}

static void asks(const char *annotations, size_t workdirs, const char *branch, const char *name)
{
	cleanup_request struct cow_request r = {.nworkdirs = 0};
	cleanup_error struct cow_error *err = NULL;
	int result = read_id(annotations, "id", &r, &err);

	ok(result == 1 && r.nworkdirs == workdirs && strcmp(r.branch, branch) == 0, "%s", name);
	if (err != NULL)
		printf("# %s\n", err->message);
}

static void asks_nothing(const char *annotations, const char *name)
{
	struct cow_request r;
	cleanup_error struct cow_error *err = NULL;

	ok(read_id(annotations, "id", &r, &err) == 0 && r.nworkdirs == 0 && r.branch == NULL, "%s", name);
	if (err != NULL)
		printf("# %s\n", err->message);
}

/* Refused, in one line that holds `text`. */
static void wrong(const char *annotations, const char *text)
{
	struct cow_request r;
	cleanup_error struct cow_error *err = NULL;
	int result = read_id(annotations, "id", &r, &err);

	ok(result == -1 && r.nworkdirs == 0 && r.branch == NULL, "refused for %s", text);
	ok(err != NULL && strstr(err->message, text) != NULL && strpbrk(err->message, "\n\r\033") == NULL,
	   "it says: %s", err != NULL ? err->message : "nothing");
}

static void test_form(void)
{
	struct cow_request r;
	cleanup_json struct cow_json *array = cow_json_new_array(), *empty = cow_json_new_object();

	ok(cow_request_read(array, "id", &r, NULL) == -1 && cow_request_read(NULL, "id", &r, NULL) == -1,
	   "a config.json that is no object");
	ok(cow_request_read(empty, "id", &r, NULL) == 0, "no annotations");
	asks_nothing("null", "annotations that are null");
	asks_nothing("{\"org.example\": \"1\", \"run.cowrunning.x\": 7, \"run.oci.handler\": \"y\"}",
		     "other annotations");
	wrong("7", "annotations");
	wrong("[]", "annotations");
	wrong("{\"run.cowrun.workdir\": 7}", "run.cowrun.workdir");
	wrong("{\"run.cowrun.workdir\": \"/a\\u0000\"}", "run.cowrun.workdir");
}

static void test_names(void)
{
	static const char *const slips[] = {"run.cowrun",           "run.cowrun.",        "run.cowrun.workdri",
					    "run.cowrun.Workdir",   "Run.Cowrun.workdir", "RUN.COWRUN",
					    "run.cowrun.workdir.x", "run.cowrun.workdir "};

	for (size_t i = 0; i < sizeof(slips) / sizeof(slips[0]); i++) {
		char text[128];

		snprintf(text, sizeof(text), "{\"run.cowrun.workdir\": \"/work\", \"%s\": \"/x\"}", slips[i]);
		wrong(text, slips[i]);
		snprintf(text, sizeof(text), "{\"%s\": \"/x\"}", slips[i]);
		wrong(text, slips[i]);
	}
	wrong("{\"run.cowrun.a\\nb\": \"\"}", "run.cowrun.a\\x0ab");
	wrong("{\"run.cowrun.branch\": \"b\"}", "run.cowrun.workdir");
	wrong("{\"run.cowrun.landlock\": \"off\"}", "run.cowrun.landlock");
}

static void test_workdirs(void)
{
	asks("{\"run.cowrun.workdir\": \"/work\"}", 1, "id", "one workdir; the branch has the container's id");
	asks("{\"run.cowrun.workdir\": \"/work:/work2:/a/b\"}", 3, "id", "three, of which one begins as another does");
	asks("{\"run.cowrun.workdir\": \"/a:/b:/c:/d:/e:/f:/g:/h\"}", 8, "id", "as many as can be");
	asks("{\"run.cowrun.workdir\": \"/a b/\u00e9/...\"}", 1, "id", "unusual names");
	wrong("{\"run.cowrun.workdir\": \"/a:/b:/c:/d:/e:/f:/g:/h:/i\"}", "too many");
	static const char *const bad[] = {"",          "/",          "//",        "work",       "./work",  "/work/../t",
					  "/work/.",   "/..",        "/a//b",     "//a",        "/a:",     ":/a",
					  "/a::/b",    "/a:b",       "/a:/a",     "/a:/a/b",    "/a/b:/a", "/a:/a/",
					  "/dev",      "/dev/x",     "/proc",     "/proc/self", "/sys/fs", "/a\\nb",
					  "/a\\u007f", "/a\\u001bc", "/ok:/dev/", "~",          "/proc/"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[128];

		snprintf(text, sizeof(text), "{\"run.cowrun.workdir\": \"%s\"}", bad[i]);
		wrong(text, "run.cowrun.workdir");
	}
	cleanup_free char *longest = malloc(10000), *text = NULL;
	memset(longest, 'x', 9999);
	longest[0] = '/';
	longest[9999] = '\0';
	if (asprintf(&text, "{\"run.cowrun.workdir\": \"%s\"}", longest) > 0)
		wrong(text, "run.cowrun.workdir");
}

static void test_trailing_slash(void)
{
	cleanup_request struct cow_request r = {.nworkdirs = 0};

	ok(read_id("{\"run.cowrun.workdir\": \"/work/:/dev2//\"}", "id", &r, NULL) == 1, "slashes at the end");
	is_str(r.workdirs[0], "/work", "are cut off");
	is_str(r.workdirs[1], "/dev2", "all of them");
}

#define WORK "\"run.cowrun.workdir\": \"/work\""

static void test_values(void)
{
	cleanup_request struct cow_request r = {.nworkdirs = 0}, q = {.nworkdirs = 0};
	struct cow_request none;
	cleanup_error struct cow_error *err = NULL;

	ok(read_id("{" WORK "}", "id", &r, NULL) == 1 && r.landlock && strcmp(r.on_exit, "keep") == 0, "defaults");
	ok(read_id("{" WORK ", \"run.cowrun.landlock\": \"off\", \"run.cowrun.on-exit\": \"discard\"}", "id", &q,
		   NULL) == 1 &&
		   !q.landlock && strcmp(q.on_exit, "discard") == 0,
	   "values");
	asks("{" WORK ", \"run.cowrun.branch\": \"B.1_x-\", \"run.cowrun.on-exit\": \"commit\"}", 1, "B.1_x-",
	     "a branch");
	wrong("{" WORK ", \"run.cowrun.branch\": \"\"}", "run.cowrun.branch");
	wrong("{" WORK ", \"run.cowrun.branch\": \"../x\"}", "run.cowrun.branch");
	wrong("{" WORK ", \"run.cowrun.branch\": \".x\"}", "run.cowrun.branch");
	wrong("{" WORK ", \"run.cowrun.on-exit\": \"sometimes\"}", "run.cowrun.on-exit");
	wrong("{" WORK ", \"run.cowrun.on-exit\": \"commit-on-success\"}", "not supported yet");
	wrong("{" WORK ", \"run.cowrun.landlock\": \"\"}", "run.cowrun.landlock");
	wrong("{" WORK ", \"run.cowrun.landlock\": \"ON\"}", "run.cowrun.landlock");
	wrong("{" WORK ", \"run.cowrun.quota\": \"10G\"}", "run.cowrun.quota");
	wrong("{" WORK ", \"run.cowrun.quota\": \"10G\"}", "not supported yet");
	ok(read_id("{" WORK "}", "_a+b", &none, &err) == -1 && strstr(err->message, "run.cowrun.branch") != NULL,
	   "an id that is no branch name: %s", err != NULL ? err->message : "");
}

#define CONTAINERD "\"io.kubernetes.cri.container-type\": "
#define CRIO       "\"io.kubernetes.cri-o.ContainerType\": "
#define ONLY       ", \"run.cowrun.containers\": \"build,test\""

static void test_pods(void)
{
	asks_nothing("{" WORK ", " CONTAINERD "\"sandbox\"}", "containerd's sandbox");
	asks_nothing("{" WORK ", " CRIO "\"sandbox\"}", "CRI-O's sandbox");
	asks("{" WORK ", " CONTAINERD "\"container\"}", 1, "id", "a container of a pod");
	asks("{" WORK ", " CONTAINERD "\"container\", " CRIO "\"sandbox\"}", 1, "id", "contradictions: not a sandbox");
	asks("{" WORK ", " CRIO "7}", 1, "id", "a type that is no text: not a sandbox");
	asks("{" WORK ONLY ", \"io.kubernetes.cri.container-name\": \"test\"}", 1, "id", "one of the containers");
	asks("{" WORK ONLY ", \"io.kubernetes.container.name\": \"build\"}", 1, "id", "under CRI-O");
	asks("{" WORK ONLY ", \"io.kubernetes.cri-o.ContainerName\": \"k8s_build_pod_ns_uid_0\"}", 1, "id",
	     "by CRI-O's long name");
	asks_nothing("{" WORK ONLY ", \"io.kubernetes.cri.container-name\": \"tests\"}", "another container");
	asks_nothing("{" WORK ONLY ", \"io.kubernetes.cri.container-name\": \"tes\"}", "a name's beginning");
	asks_nothing("{" WORK ONLY ", \"io.kubernetes.cri.container-name\": \"build,test\"}", "the list is no name");
	asks_nothing("{" WORK ONLY ", \"io.kubernetes.cri-o.ContainerName\": \"k8s_proxy_build_ns_uid_0\"}",
		     "a pod's name");
	wrong("{" WORK ONLY "}", "run.cowrun.containers");
	wrong("{" WORK ONLY ", \"io.kubernetes.cri.container-name\": \"\"}", "run.cowrun.containers");
	wrong("{" WORK ", \"run.cowrun.containers\": \"\"}", "run.cowrun.containers");
	wrong("{" WORK ", \"run.cowrun.containers\": \"a,,b\"}", "run.cowrun.containers");
	wrong("{" WORK ", \"run.cowrun.containers\": \"a, b\"}", "run.cowrun.containers");
	wrong("{" WORK ONLY ", \"run.cowrun.x\": \"\", \"io.kubernetes.cri.container-name\": \"other\"}",
	      "run.cowrun.x");
}

int main(void)
{
	test_form();
	test_names();
	test_workdirs();
	test_trailing_slash();
	test_values();
	test_pods();
	return done_testing();
}
