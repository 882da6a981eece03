/* The wrapper's command line: every way in which engines and people write it. */
#include "tap.h"

#include <stdlib.h>
#include <unistd.h>

#include "../../runtime/lib/fd.h"
#include "../../runtime/wrapper/args.h"

#define PARSE(a, ...)                                                                                                  \
	char *argv_[] = {"cowrun", __VA_ARGS__, NULL};                                                                 \
	cleanup_args struct cow_args a;                                                                                \
	cow_args_parse(&a, (int)(sizeof(argv_) / sizeof(*argv_)) - 1, argv_)

/* The rendered command line, words joined by blanks. */
static char *rendered(const struct cow_args *a)
{
	static char line[4096];
	cleanup_vector char **argv = cow_args_render(a, "/bin/d");

	line[0] = '\0';
	for (char **p = argv; *p != NULL; p++) {
		if (p != argv)
			strcat(line, " ");
		strcat(line, *p);
	}
	return line;
}

static const char *id_of(const struct cow_args *a)
{
	return a->nwords > 0 ? a->words[0] : NULL;
}

static void test_globals(void)
{
	{
		PARSE(a, "--root", "/r", "--log", "/l", "--log-format", "json", "--systemd-cgroup", "create", "-b",
		      "/b", "id");
		is_str(cow_args_value(&a, COW_OPTION_ROOT), "/r", "--root X");
		is_str(cow_args_value(&a, COW_OPTION_LOG), "/l", "--log X");
		is_str(cow_args_value(&a, COW_OPTION_LOG_FORMAT), "json", "--log-format X");
		ok(a.verb == COW_VERB_CREATE && a.unknown == NULL, "create behind them");
		is_str(cow_args_value(&a, COW_OPTION_BUNDLE), "/b", "-b X");
		is_str(id_of(&a), "id", "the id");
		is_str(rendered(&a),
		       "/bin/d --root=/r --log=/l --log-format=json --systemd-cgroup create --bundle=/b id",
		       "rendered");
	}
	{
		PARSE(a, "--root=/r", "--log=/l", "--log-format=json", "--debug", "--criu", "/c", "--rootless", "auto",
		      "run", "id");
		is_str(cow_args_value(&a, COW_OPTION_ROOT), "/r", "--root=X");
		is_str(cow_args_value(&a, COW_OPTION_LOG), "/l", "--log=X");
		ok(cow_args_flag(&a, COW_OPTION_DEBUG), "--debug");
		ok(a.verb == COW_VERB_RUN, "run behind --criu X --rootless X");
	}
	{
		PARSE(a, "-root", "/r", "-log=/l", "--cgroup-manager", "cgroupfs", "state", "id");
		is_str(cow_args_value(&a, COW_OPTION_ROOT), "/r", "-root X");
		is_str(cow_args_value(&a, COW_OPTION_LOG), "/l", "-log=X");
		ok(a.verb == COW_VERB_OTHER, "state");
		is_str(id_of(&a), "id", "its id");
	}
	{
		PARSE(a, "--root", "create", "--log", "run", "delete", "id");
		ok(a.verb == COW_VERB_DELETE, "values that look like subcommands");
	}
	{
		PARSE(a, "--systemd-cgroup=false", "--log-f", "json", "--", "create", "id");
		is_str(rendered(&a), "/bin/d --log-format=json create id", "=false, an abbreviation, --");
	}
	{
		PARSE(a, "--version");
		ok(a.verb == COW_VERB_NONE && cow_args_flag(&a, COW_OPTION_VERSION), "--version");
	}
	{
		PARSE(a, "--root");
		ok(a.verb == COW_VERB_NONE && a.unknown != NULL, "a value that is missing");
	}
}

static void test_unknown_globals(void)
{
	{
		PARSE(a, "--new-flag", "create", "id");
		ok(a.verb == COW_VERB_CREATE, "an unknown global flag does not hide create");
		is_str(a.unknown, "--new-flag", "and is reported");
	}
	{
		PARSE(a, "--new-option", "value", "create", "-b", "/b", "id");
		ok(a.verb == COW_VERB_CREATE, "nor does an unknown one with a value");
		is_str(cow_args_value(&a, COW_OPTION_BUNDLE), "/b", "the bundle is found");
		is_str(rendered(&a), "/bin/d --new-option value create --bundle=/b id", "rendered as it came");
	}
	{
		PARSE(a, "--new-option=create", "run", "id");
		ok(a.verb == COW_VERB_RUN, "nor one with a value attached");
	}
}

static void test_create(void)
{
	{
		PARSE(a, "create", "--bundle", "/b", "--pid-file", "/p", "--console-socket", "/c", "--no-pivot", "id");
		is_str(cow_args_value(&a, COW_OPTION_BUNDLE), "/b", "--bundle X");
		is_str(id_of(&a), "id", "behind options with values");
		ok(a.nwords == 1, "and nothing else");
	}
	{
		PARSE(a, "create", "--bundle=/b", "--pid-file=/p", "--no-new-keyring", "id");
		is_str(cow_args_value(&a, COW_OPTION_BUNDLE), "/b", "--bundle=X");
	}
	{
		PARSE(a, "create", "-b=/b", "id");
		is_str(cow_args_value(&a, COW_OPTION_BUNDLE), "/b", "-b=X, Go's form");
		is_str(rendered(&a), "/bin/d create --bundle=/b id", "rendered for both");
	}
	{
		PARSE(a, "create", "-b/b", "-f", "other.json", "id");
		is_str(cow_args_value(&a, COW_OPTION_BUNDLE), "/b", "-bX, argp's form");
		is_str(cow_args_value(&a, COW_OPTION_CONFIG), "other.json", "crun's -f");
	}
	{
		PARSE(a, "create", "-bundle", "/b", "id");
		is_str(cow_args_value(&a, COW_OPTION_BUNDLE), "/b", "-bundle X, Go's form");
	}
	{
		PARSE(a, "create", "--bun", "/b", "id");
		is_str(cow_args_value(&a, COW_OPTION_BUNDLE), "/b", "--bun X, argp's abbreviation");
	}
	{
		PARSE(a, "create", "id", "--bundle", "/b");
		is_str(cow_args_value(&a, COW_OPTION_BUNDLE), "/b", "options behind the id");
		is_str(id_of(&a), "id", "and the id before them");
	}
	{
		PARSE(a, "create", "-b", "/a", "-b", "/b", "id");
		is_str(cow_args_value(&a, COW_OPTION_BUNDLE), "/b", "the last of two");
	}
	{
		PARSE(a, "create", "--no-", "id");
		is_str(a.unknown, "--no-", "an abbreviation of several is none");
	}
	{
		PARSE(a, "create", "-x");
		ok(a.unknown != NULL && a.nwords == 0, "an id that looks like an option is none");
	}
	{
		PARSE(a, "create", "--", "-x");
		is_str(id_of(&a), "-x", "unless it is behind --");
		is_str(rendered(&a), "/bin/d create -- -x", "and it is rendered so");
	}
}

static void test_preserve_fds(void)
{
	int n;

	{
		PARSE(a, "run", "--preserve-fds", "3", "-d", "id");
		ok(cow_args_preserve_fds(&a, &n, NULL) == 0 && n == 3, "--preserve-fds N");
		cow_args_set(&a, COW_OPTION_PRESERVE_FDS, "4");
		is_str(rendered(&a), "/bin/d run --detach --preserve-fds=4 id", "set anew");
		ok(cow_args_flag(&a, COW_OPTION_DETACH), "-d");
	}
	{
		PARSE(a, "run", "--preserve-fds=1", "--detach=false", "id");
		ok(cow_args_preserve_fds(&a, &n, NULL) == 0 && n == 1, "--preserve-fds=N");
		ok(!cow_args_flag(&a, COW_OPTION_DETACH), "--detach=false");
	}
	{
		PARSE(a, "run", "id");
		ok(cow_args_preserve_fds(&a, &n, NULL) == 0 && n == 0, "none");
		cow_args_set(&a, COW_OPTION_PRESERVE_FDS, "1");
		is_str(rendered(&a), "/bin/d run --preserve-fds=1 id", "added");
	}
	{
		static const char *const wrong[] = {"x", "-1", "1x", "", "99999999999999999999"};

		for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
			cleanup_error struct cow_error *err = NULL;
			PARSE(a, "run", "--preserve-fds", (char *)wrong[i], "id");
			ok(cow_args_preserve_fds(&a, &n, &err) == -1 && err != NULL, "--preserve-fds \"%s\"", wrong[i]);
		}
	}
}

static void test_exec(void)
{
	{
		PARSE(a, "exec", "--pid-file", "/p", "--process", "/x.json", "-d", "id");
		is_str(cow_args_value(&a, COW_OPTION_PROCESS), "/x.json", "podman's exec");
		is_str(id_of(&a), "id", "its id");
		cow_args_set(&a, COW_OPTION_PROCESS, "/y.json");
		is_str(rendered(&a), "/bin/d exec --pid-file=/p --detach --process=/y.json id", "another process.json");
	}
	{
		PARSE(a, "exec", "--cwd", "/w", "-e", "A=B", "-u", "0:0", "--cap", "CAP_X", "-t", "id", "ls", "-l",
		      "--cwd", "/v", "--");
		is_str(cow_args_value(&a, COW_OPTION_CWD), "/w", "--cwd; not the command's own");
		ok(a.nwords == 6, "the command's options are the command's");
		is_str(a.words[5], "--", "with its --");
		is_str(rendered(&a), "/bin/d exec --cwd=/w --env=A=B --user=0:0 --cap=CAP_X --tty id ls -l --cwd /v --",
		       "rendered");
		cow_args_set_words(&a, (char *[]){"id", "/init", "--", "ls", NULL});
		is_str(rendered(&a), "/bin/d exec --cwd=/w --env=A=B --user=0:0 --cap=CAP_X --tty id /init -- ls",
		       "other words");
	}
	{
		PARSE(a, "exec", "-dp", "/x", "--tty=false", "id");
		is_str(cow_args_value(&a, COW_OPTION_PROCESS), "/x", "a cluster that ends in a value");
		is_str(rendered(&a), "/bin/d exec --detach --process=/x id", "taken apart");
	}
	{
		PARSE(a, "exec", "-dx", "id", "true");
		is_str(a.unknown, "-dx", "a cluster with an unknown letter");
		is_str(id_of(&a), "id", "counts as a flag");
	}
}

static void test_delete(void)
{
	{
		PARSE(a, "--root", "/r", "--log=/l", "delete", "--force", "id");
		ok(a.verb == COW_VERB_DELETE && cow_args_flag(&a, COW_OPTION_FORCE), "--force");
		is_str(id_of(&a), "id", "the id");
		cleanup_vector char **argv = cow_args_render_other(&a, "/bin/d", "state", "id");
		ok(strcmp(argv[1], "--root=/r") == 0 && strcmp(argv[2], "state") == 0,
		   "asking for the state logs nothing");
	}
	{
		PARSE(a, "delete", "id", "-f");
		ok(cow_args_flag(&a, COW_OPTION_FORCE), "-f behind the id");
	}
	{
		PARSE(a, "delete", "--force=false", "id");
		ok(!cow_args_flag(&a, COW_OPTION_FORCE), "--force=false");
	}
	{
		PARSE(a, "kill", "--all", "id", "KILL");
		ok(a.verb == COW_VERB_OTHER && a.nwords == 3, "of other subcommands everything is a word");
	}
}

static void test_root(void)
{
	static const char *const forms[] = {"/a/b", "/a/b/", "//a//b", "/a/./b/.", "/./a/b//"};

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		PARSE(a, "--root", (char *)forms[i], "state", "id");
		cleanup_free char *root = cow_args_root(&a, NULL);
		is_str(root, "/a/b", "root %s", forms[i]);
	}
	{
		PARSE(a, "state", "id");
		cleanup_free char *root = cow_args_root(&a, NULL);
		is_str(root, "", "no root");
	}
	{
		PARSE(a, "--root", "b", "state", "id");
		ok(chdir("/usr") == 0, "chdir");
		cleanup_free char *root = cow_args_root(&a, NULL);
		is_str(root, "/usr/b", "a relative root");
	}
	{
		PARSE(a, "--root", "/", "state", "id");
		cleanup_free char *root = cow_args_root(&a, NULL);
		is_str(root, "/", "the root itself");
	}
}

/* Random command lines: whatever was understood, rendering it and reading that again comes to the same. */
static void test_random(void)
{
	static const char *const words[] = {"--root",   "--root=/x",
					    "-root",    "-",
					    "--",       "---",
					    "-=",       "create",
					    "run",      "exec",
					    "delete",   "id",
					    "-b",       "-b=/x",
					    "-bx",      "--bun",
					    "--no-",    "-dp",
					    "-tdf",     "--tty=x",
					    "--tty",    "--preserve-fds=3",
					    "-?",       "--help",
					    "",         "-x",
					    "--log",    "kill",
					    "-fr",      "--process",
					    "--cap",    "--detach=false",
					    "a b",      "-\xff",
					    "--bundle="};
	unsigned differing = 0;

	srandom(1);
	for (int round = 0; round < 20000; round++) {
		char *argv[14] = {"cowrun"};
		int argc = 1 + (int)(random() % 12);
		cleanup_vector char **first = NULL;
		cleanup_vector char **second = NULL;
		cleanup_args struct cow_args a;
		cleanup_args struct cow_args b;
		int n = 0;

		for (int i = 1; i < argc; i++)
			argv[i] = (char *)words[(size_t)random() % (sizeof(words) / sizeof(*words))];
		cow_args_parse(&a, argc, argv);
		first = cow_args_render(&a, "d");
		while (first[n] != NULL)
			n++;
		cow_args_parse(&b, n, first);
		second = cow_args_render(&b, "d");
		if (a.unknown != NULL || a.verb <= COW_VERB_OTHER)
			continue; /* these are not rendered, or need not be */
		for (int i = 0; first[i] != NULL || second[i] != NULL; i++) {
			if (first[i] == NULL || second[i] == NULL || strcmp(first[i], second[i]) != 0) {
				differing++;
				break;
			}
		}
	}
	ok(differing == 0, "20,000 random command lines");
}

int main(void)
{
	test_random();
	test_globals();
	test_unknown_globals();
	test_create();
	test_preserve_fds();
	test_exec();
	test_delete();
	test_root();
	return done_testing();
}
