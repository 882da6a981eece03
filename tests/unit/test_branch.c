/* `cowrun branch` (runtime/cmd): what it prints and with which status it ends. */
#include "../../runtime/branch/plan.h"
#include "../../runtime/cmd/branch.h"
#include "branch_fixture.h"

#include <sys/resource.h>

static char output[1 << 18];
static rlim_t open_files; /* for the next one that is run; 0: as many as there are */

/* Runs it in a process of its own; `output` gets what it says. The status. */
static int run(struct fixture *f, ...)
{
	char *argv[16] = {(char *)"branch"};
	int argc = 1;
	cleanup_file FILE *out = tmpfile();
	va_list ap;
	pid_t pid;
	int status;
	size_t n;

	va_start(ap, f);
	while ((argv[argc] = va_arg(ap, char *)) != NULL)
		argc++;
	va_end(ap);
	must(out != NULL);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct rlimit limit = {open_files, open_files};

		must(open_files == 0 || setrlimit(RLIMIT_NOFILE, &limit) == 0);
		setenv("COWRUN_STORE", f->store, 1);
		dup2(fileno(out), STDOUT_FILENO);
		dup2(fileno(out), STDERR_FILENO);
		exit(cow_cmd_branch(argc, argv));
	}
	must(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	rewind(out);
	n = fread(output, 1, sizeof(output) - 1, out);
	output[n] = '\0';
	return WEXITSTATUS(status);
}

static bool says(const char *text)
{
	if (strstr(output, text) != NULL)
		return true;
	printf("# said: %s\n", output);
	return false;
}

static const char tree[] = "echo one >a; mkdir dir; echo two >dir/b; echo three >dir/c; printf 'x\\0y' >bin;"
			   "ln -s a link; find . -exec touch -h -d 2020-01-02 {} +";

static void usage(void)
{
	static const char *const subcommands[] = {"ls",      "show",   "diff",  "commit",
						  "discard", "export", "prune", "recover"};
	struct fixture f;
	bool all = true;

	fixture_open(&f, tree);
	ok(run(&f, NULL) == 2 && says("usage"), "nothing");
	ok(run(&f, "nonsense", NULL) == 2 && says("nonsense"), "an unknown command");
	ok(run(&f, "--help", NULL) == 0 && says("discard"), "--help");
	for (size_t i = 0; i < 8; i++)
		all = all && run(&f, subcommands[i], "--help", NULL) == 0 && says(subcommands[i]);
	ok(all, "--help of each");
	for (size_t i = 1; i < 5; i++)
		all = all && run(&f, subcommands[i], NULL) == 2 &&
		      run(&f, subcommands[i], "--nonsense", "b", NULL) == 2 && says("--nonsense") &&
		      run(&f, subcommands[i], "none", NULL) == 1 && says("no branch none") &&
		      run(&f, subcommands[i], "../b", NULL) == 2;
	ok(all, "wrong usage is 2, and no such branch is 1");
	for (size_t i = 5; i < 8; i++)
		all = all && run(&f, subcommands[i], "b", NULL) == 2 && says("not supported yet");
	ok(all, "what is not there yet says so");
	ok(run(&f, "show", "b", "c", NULL) == 2 && run(&f, "ls", "x", NULL) == 2, "operands too many");
	ok(run(&f, "diff", "--json", "--stat", "b", NULL) == 2 && run(&f, "diff", "--color=blue", "b", NULL) == 2 &&
		   run(&f, "diff", "--json=1", "b", NULL) == 2 && run(&f, "diff", "--color", NULL) == 2,
	   "options that do not go");
	fixture_close(&f);
}

static void lists(void)
{
	struct fixture f;

	fixture_open(&f, tree);
	ok(run(&f, "ls", NULL) == 0 && says("b ") && says("container") && says("idle") && says(f.lower), "ls");
	ok(run(&f, "ls", "--json", NULL) == 0 && says("\"name\": \"b\"") && says("\"status\": \"idle\""), "ls --json");
	ok(run(&f, "show", "b", NULL) == 0 && says(f.lower) && says("/work"), "show");
	ok(run(&f, "show", "b", "--json", NULL) == 0 && says("\"workdir\": \"/work\""), "show --json, after the name");
	must(cow_branch_lock(f.branch, NULL) == 0);
	ok(run(&f, "ls", NULL) == 0 && says("in use"), "in use");
	ok(run(&f, "commit", "b", NULL) == 1 && says("in use"), "no commit then");
	ok(run(&f, "discard", "b", NULL) == 1 && says("in use"), "and no discard");
	ok(run(&f, "diff", "b", NULL) == 0, "but a diff");
	fixture_close(&f);
}

static void diffs(void)
{
	struct fixture f;

	fixture_open(&f, tree);
	split(&f, "", "");
	ok(run(&f, "diff", "b", NULL) == 0 && strcmp(output, "") == 0, "an empty diff");
	copy_up(&f, "a", "a");
	copy_up(&f, "bin", "bin");
	in_upper(&f, "echo more >>a; echo >>bin; printf 'no end' >new; mv dir rid; ln -sf b link; mkfifo pipe;"
		     "echo >'a b'; echo >\"$(printf 'n\\tl\\377')\"; echo >'x -> y'; chmod 755 a");
	run(&f, "diff", "--name-status", "b", NULL);
	is_str(output,
	       "M\ta\nA\ta b\nM\tbin\nR dir -> rid\nM\tlink\nA\t\"n\\tl\\377\"\nA\tnew\nA\tpipe\nA\t\"x -> y\"\n",
	       "--name-status, quoted");
	ok(run(&f, "diff", "-z", "b", NULL) == 0 && memcmp(output, "M\0a\0A\0a b\0M\0bin\0R\0dir\0rid\0M\0", 28) == 0,
	   "-z");
	ok(run(&f, "diff", "--json", "b", NULL) == 0 && says("\"old\": \"dir\""), "--json");
	ok(says("\"pathBase64\": \"bgls/w==\"") && says("\"oldMode\": \"0644\""), "with exact names and modes");
	run(&f, "diff", "b", NULL);
	ok(says("diff --git a/a b/a\nold mode 100644\nnew mode 100755\n--- a/a\n+++ b/a\n@@ -1 +1,2 @@\n one\n+more\n"),
	   "a changed file");
	ok(says("diff --git a/new b/new\nnew file mode 100644\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+no end\n"
		"\\ No newline at end of file\n"),
	   "a new one");
	ok(says("Binary files a/bin and b/bin differ\n"), "a binary one");
	ok(says("diff --git a/dir/b b/rid/b\nrename from dir/b\nrename to rid/b\ndiff --git a/dir/c b/rid/c\n"),
	   "renamed ones, in order");
	ok(says("--- a/link\n") && says("-a\n\\ No newline at end of file\n") && says("# new fifo: pipe\n"),
	   "a link and a fifo");
	ok(says("+++ b/a b\t\n") && says("+++ \"b/n\\tl\\377\"\n"), "odd names");
	ok(strchr(output, '\033') == NULL, "no colour in a file");
	ok(run(&f, "diff", "--color=always", "b", NULL) == 0 && says("\033[32m+more\033[0m\n"), "unless wanted");
	ok(run(&f, "diff", "--stat", "b", NULL) == 0 && says(" M a | 1 +\n") && says(" M bin | binary\n") &&
		   says(" 9 changes"),
	   "--stat");
	fixture_close(&f);
}

/* What one diff(1) for each file makes of the two trees. */
static const char file_by_file[] =
	"export LC_ALL=C; (cd lower; find * -type f; cd ../upper; find * -type f) | sort -u | while IFS= read -r f; do "
	"l=lower/$f u=upper/$f; printf 'diff --git a/%s b/%s\\n' \"$f\" \"$f\"; "
	"if ! test -e \"$l\"; then "
	"printf 'new file mode 100644\\n--- /dev/null\\n+++ b/%s\\n@@ -0,0 +1 @@\\n+new\\n' \"$f\"; "
	"elif ! test -e \"$u\"; then "
	"printf 'deleted file mode 100644\\n--- a/%s\\n+++ /dev/null\\n@@ -1 +0,0 @@\\n-%s\\n' \"$f\" \"$(cat $l)\"; "
	"elif cmp -s \"$l\" \"$u\"; then printf 'old mode 100644\\nnew mode 100755\\n'; "
	"elif grep -q bin \"$u\"; then printf 'Binary files a/%s and b/%s differ\\n' \"$f\" \"$f\"; "
	"else diff -u --text --label \"a/$f\" --label \"b/$f\" \"$l\" \"$u\" || :; fi; done >want";

static bool as_wanted(struct fixture *f)
{
	cleanup_free char *path = NULL;
	cleanup_close int fd = -1;
	cleanup_free char *want = NULL;

	must(asprintf(&path, "%s/want", f->dir) > 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	want = fd >= 0 ? cow_read_to_end(fd, sizeof(output), NULL) : NULL;
	return want != NULL && strlen(want) > 20000 && strcmp(want, output) == 0;
}

static void many_diffs(void)
{
	static const rlim_t limits[] = {0, 400, 150, 64, 32};
	cleanup_free char *upper = NULL;
	struct fixture f;
	bool all = true;
	char path[64];

	fixture_open(&f, "mkdir 1 2 3; for i in $(seq 100 299); do for d in 1 2 3; do echo $d.$i >$d/f$i; done; done");
	split(&f, "", "");
	for (char d[] = "1"; *d <= '3'; ++*d) {
		split(&f, d, d);
		for (int i = 100; i < 300; i++) {
			snprintf(path, sizeof(path), "%s/f%d", d, i);
			copy_up(&f, path, path);
		}
	}
	in_upper(
		&f,
		"for f in ?/f*; do case $f in *1) rm $f ;; *2) chmod 755 $f ;; *3) printf 'bin\\0' >$f ;; "
		"*4) printf 'no end' >>$f ;; *5) echo '-- x' >$f; echo new >$f.new ;; *) echo more >>$f ;; esac; done");
	upper = cow_branch_path(f.store, "b", 0, "upper");
	shell("cd '%s' && ln -s '%s' upper && { %s; }", f.dir, upper, file_by_file);
	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		open_files = limits[i];
		all = all && run(&f, "diff", "b", NULL) == 0 && as_wanted(&f);
		all = all && run(&f, "diff", "--stat", "b", NULL) == 0 &&
		      says(" 660 changes, 480 lines added, 120 lines removed\n");
	}
	open_files = 0;
	ok(all, "more files than one diff(1) compares at a time, with few and with many descriptors");
	fixture_close(&f);
}

static void commits(void)
{
	struct fixture f;

	fixture_open(&f, tree);
	split(&f, "", "");
	copy_up(&f, "a", "a");
	in_upper(&f, "echo more >>a; echo >suid; chmod 4755 suid");
	ok(run(&f, "commit", "--dry-run", "b", NULL) == 0 && says("M\ta\nA\tsuid\n") && says("rights of its owner"),
	   "a dry run");
	in(f.lower, "! test -e suid; echo host >>a");
	ok(run(&f, "commit", "b", NULL) == 3 && says("conflict: a: "), "a conflict");
	ok(run(&f, "commit", "--json", "b", NULL) == 3 && says("\"committed\": false") && says("\"reason\""),
	   "in JSON");
	in(f.lower, "! test -e suid; grep -q host a");
	ok(run(&f, "commit", "--force", "b", NULL) == 0 && says("1 added, 1 changed"), "forced");
	in(f.lower, "test -u suid; ! grep -q host a; test -z \"$(ls -A | grep cowrun)\"");
	ok(run(&f, "show", "b", NULL) == 1, "it is no branch any more");
	fixture_close(&f);
}

static void interrupted(void)
{
	struct fixture f;
	struct cow_plan plan = {0};
	char stage[64], path[200];
	struct cow_step *s;

	fixture_open(&f, tree);
	split(&f, "", "");
	cow_plan_stage_name(stage, sizeof(stage), f.branch, 0);
	snprintf(path, sizeof(path), "%s/%s", f.lower, stage);
	must(mkdir(path, 0700) == 0);
	in(path, "echo staged >n1");
	s = cow_plan_add(&plan, COW_STEP_ATTACH, 0, "new", "");
	strcpy(s->staged, "n1");
	must(cow_plan_save(&plan, f.branch, NULL) == 0);
	cow_plan_clear(&plan);
	ok(run(&f, "ls", NULL) == 0 && says("half committed"), "half committed");
	ok(run(&f, "discard", "b", NULL) == 1 && says("did not end"), "is not discarded");
	ok(run(&f, "commit", "--dry-run", "b", NULL) == 1, "nor looked at");
	ok(run(&f, "commit", "b", NULL) == 0 && says("committed"), "but finished");
	in(f.lower, "grep -q staged new; test -z \"$(ls -A | grep cowrun)\"");
	fixture_close(&f);
}

static void discards(void)
{
	struct fixture f;

	fixture_open(&f, tree);
	split(&f, "", "");
	in_upper(&f, "echo >new");
	ok(run(&f, "discard", "none", "b", NULL) == 1 && says("none"), "discard of several, one of which is none");
	ok(run(&f, "show", "b", NULL) == 1, "the other one is gone");
	in(f.lower, "! test -e new");
	fixture_close(&f);
}

/* One fixture for each tree of a branch. */
static void tree_of(struct fixture *f, struct fixture *whole, struct cow_branch *b, size_t i, const char *lower)
{
	char name[32];
	cleanup_close int dir = -1;

	*f = *whole;
	snprintf(name, sizeof(name), "trees/%zu", i);
	dir = openat(b->dirfd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	f->branch = b;
	f->upperfd = cow_branch_open(b, i, "upper", NULL);
	f->lowerfd = open(lower, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->journal = cow_journal_open(dir, NULL);
	must(f->upperfd >= 0 && f->lowerfd >= 0 && f->journal >= 0);
	split(f, "", "");
}

static void several_trees(void)
{
	struct fixture f, one, two;
	char other[128];
	struct cow_branch_tree trees[2];
	cleanup_branch struct cow_branch *b = NULL;

	fixture_open(&f, tree);
	snprintf(other, sizeof(other), "%s/other", f.dir);
	must(mkdir(other, 0755) == 0);
	in(other, "echo x >a; echo y >b");
	trees[0] = (struct cow_branch_tree){.workdir = (char *)"/work", .lower = f.lower};
	trees[1] = (struct cow_branch_tree){.workdir = (char *)"/opt/other", .lower = other};
	b = cow_branch_create(f.store, "two", "c", trees, 2, &(bool){false}, NULL);
	must(b != NULL);
	tree_of(&one, &f, b, 0, f.lower);
	tree_of(&two, &f, b, 1, other);
	copy_up(&one, "a", "a");
	shell("cd '%s/branches/two/trees' && echo 1 >>0/upper/a && rm 1/upper/b && echo >1/upper/new", f.store);
	run(&f, "diff", "--name-status", "two", NULL);
	is_str(output, "D\topt/other/b\nA\topt/other/new\nM\twork/a\n", "paths tell the trees apart");
	in(other, "echo host >>b");
	ok(run(&f, "commit", "two", NULL) == 3 && says("conflict: opt/other/b"), "a conflict in one of them");
	in(f.lower, "! grep -q 1 a");
	ok(run(&f, "commit", "--force", "two", NULL) == 0, "stops all; forced, it does all");
	in(f.lower, "grep -q 1 a");
	in(other, "! test -e b; test -e new; test -z \"$(ls -A | grep cowrun)\"");
	for (struct fixture *g = &one; g != NULL; g = g == &one ? &two : NULL) {
		close(g->upperfd);
		close(g->lowerfd);
		close(g->journal);
	}
	fixture_close(&f);
}

int main(void)
{
	umask(022);
	usage();
	lists();
	diffs();
	many_diffs();
	commits();
	interrupted();
	discards();
	several_trees();
	return done_testing();
}
