/* What a branch changes of its lower (runtime/branch/diff.h), told by the branch on disk alone. */
#include "../../runtime/branch/diff.h"
#include "branch_fixture.h"

static const char tree[] =
	"echo readme >README; mkdir -p src/deep many empty kinds; echo c >src/main.c; echo u >src/util.c;"
	"echo f >src/deep/file; for i in 1 2 3; do echo $i >many/$i; done;"
	"mkfifo kinds/fifo; ln -s ../README kinds/link; find . -exec touch -h -d 2020-01-02 {} +";

static bool fixture_links;

static const char *listing(struct fixture *f)
{
	static char text[65536];
	cleanup_error struct cow_error *err = NULL;
	cleanup_diff struct cow_diff d;
	size_t at = 0;

	if (cow_diff_make(&d, f->branch, 0, &err) != 0) {
		snprintf(text, sizeof(text), "error: %s", err->message);
		return text;
	}
	text[0] = '\0';
	for (size_t i = 0; i < d.count; i++) {
		const struct cow_change *c = &d.list[i];

		if (c->op == 'R')
			at += (size_t)snprintf(text + at, sizeof(text) - at, "R %s -> %s\n", c->old, c->path);
		else
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%c %s\n", c->op,
					       c->path != NULL ? c->path : c->old);
	}
	return text;
}

static void check(const char *what, const char *changes, void (*change)(struct fixture *f))
{
	struct fixture f;

	fixture_open(&f, tree);
	if (fixture_links)
		in(f.lower, "ln many/1 src/one; ln many/1 one");
	split(&f, "", "");
	change(&f);
	is_str(listing(&f), changes, "%s", what);
	fixture_close(&f);
}

static void nothing(struct fixture *f)
{
	split(f, "src", "src");
	split(f, "kinds", "kinds");
	copy_up(f, "README", "README");
}

static void made(struct fixture *f)
{
	in_upper(f, "echo x >new; mkdir -p made/below; echo y >made/below/file; mkfifo made/fifo; ln new made/hard");
}

static void changed_files(struct fixture *f)
{
	split(f, "src", "src");
	copy_up(f, "src/main.c", "src/main.c");
	copy_up(f, "src/util.c", "src/util.c");
	copy_up(f, "README", "README");
	split(f, "kinds", "kinds");
	in_upper(f, "echo more >>src/main.c; touch README; chmod 600 src/util.c; ln -sf elsewhere kinds/link");
}

static void same_size_and_time(struct fixture *f)
{
	copy_up(f, "README", "README");
	in_upper(f, "echo README >README; touch -d 2020-01-02 README");
}

static void written_again(struct fixture *f)
{
	split(f, "src", "src");
	in_upper(f, "rm README src/main.c src/util.c; echo new >README; ln -s x src/main.c;"
		    "echo u >src/util.c; touch -d 2020-01-02 src/util.c");
}

static void deleted(struct fixture *f)
{
	split(f, "src", "src");
	split(f, "src/deep", "src/deep");
	in_upper(f, "rm -r src README; rmdir empty");
}

static void made_again(struct fixture *f)
{
	split(f, "many", "many");
	in_upper(f, "rm -r many; mkdir many; echo other >many/1; echo new >many/4; rmdir empty; mkdir empty");
}

static void renamed(struct fixture *f)
{
	split(f, "src", "src");
	in_upper(f, "mv many few; mv README src/LIESMICH; mv src/deep src/shallow");
}

static void renamed_and_changed(struct fixture *f)
{
	in_upper(f, "mv many few");
	split(f, "few", "many");
	copy_up(f, "few/2", "many/2");
	in_upper(f, "echo more >>few/2; rm few/1; mv few/3 few/three; echo x >few/new; mv few/2 two");
	copy_up(f, "README", "README");
	in_upper(f, "mv README README~; echo new >README");
}

static void back_again(struct fixture *f)
{
	in_upper(f, "mv many x");
	split(f, "x", "many");
	in_upper(f, "mv x src2; mv src2 many; mv many/1 y; mv y many/1");
}

static void over(struct fixture *f)
{
	split(f, "many", "many");
	split(f, "empty", "empty");
	in_upper(f, "mv -f README many/1; rmdir empty; mv src empty; rm many/2; mkdir many/2; echo x >many/2/y");
}

static void exchanged(struct fixture *f)
{
	in_upper(f, "mv many t; mv src many; mv t src; mv README t; mkdir README; mv t README/in");
}

static void directory_attributes(struct fixture *f)
{
	split(f, "src", "src");
	split(f, "many", "many");
	split(f, "empty", "empty");
	in_upper(f, "chmod 700 src; touch many; chown 1:2 empty; chmod 711 .");
}

static void hard_links(struct fixture *f)
{
	split(f, "many", "many");
	copy_up(f, "many/1", "many/1");
	copy_up(f, "many/2", "many/2");
	in_upper(f, "ln many/1 many/0; ln many/2 two; rm many/2; ln -f many/1 many/3");
}

/* Lower file many/1 has the names src/one and one, too. */
static void copy_links(struct fixture *f)
{
	split(f, "many", "many");
	split(f, "src", "src");
	copy_up(f, "many/1", "many/1");
	link_copy(f, "many/1", "src/one");
	link_copy(f, "many/1", "one");
}

static void lower_links(struct fixture *f)
{
	copy_links(f);
	in_upper(f, "echo more >>one");
}

static void lower_links_renamed(struct fixture *f)
{
	lower_links(f);
	in_upper(f, "mv src/one src/two; mv one many/0; ln many/1 zero");
}

static void lower_links_unchanged(struct fixture *f)
{
	copy_links(f);
	in_upper(f, "rm many/1");
}

static void lower_links_killed(struct fixture *f)
{
	cleanup_close int copy = -1;
	struct cow_journal_copy rec = {.lower = "src/one"};
	struct stat st;

	split(f, "many", "many");
	split(f, "src", "src");
	copy_up(f, "one", "one");
	copy = openat(f->upperfd, "one", O_PATH | O_CLOEXEC);
	must(cow_ident_of(copy, &rec.upper) == 0 && fstatat(f->lowerfd, "one", &st, 0) == 0);
	cow_lower_stamp_of(&rec.stamp, &st);
	must(cow_journal_add_copy(f->journal, &rec) == 0);
	in_upper(f, "echo more >>one; mv src/one src/moved");
}

static void directory_for_file(struct fixture *f)
{
	split(f, "src", "src");
	split(f, "src/deep", "src/deep");
	in_upper(f, "rm -r src/deep; echo x >src/deep; rm README; mkdir README");
}

static void host_changes(struct fixture *f)
{
	split(f, "many", "many");
	split(f, "kinds", "kinds");
	copy_up(f, "many/1", "many/1");
	in(f->lower, "echo host >>many/1; echo host >>many/2; rm many/3; echo new >many/4; ln -sfn x kinds/link;"
		     "chmod 700 many; rm -r src");
}

static void mounts(struct fixture *f)
{
	static char *const list[] = {(char *)"src/deep", (char *)"none/at/all", (char *)"none/file", NULL};

	must(cow_branch_set_mountpoints(f->branch, 0, list, NULL) == 0);
	split(f, "src", "src");
	in_upper(f, "rmdir src/deep; mkdir -p src/deep none/at/all; touch none/file; echo x >src/new; mv src src2");
}

static void content_beside_mounts(struct fixture *f)
{
	static char *const list[] = {(char *)"none/at/all", NULL};

	must(cow_branch_set_mountpoints(f->branch, 0, list, NULL) == 0);
	in_upper(f, "mkdir -p none/at/all; echo x >none/file");
}

/* Names that were given to untouched files. */
static void twins(struct fixture *f)
{
	split(f, "many", "many");
	must(make_twin(f, "README", "README2") && make_twin(f, "many/1", "many/one"));
	/* In a directory that is not split: the file is there still. */
	must(make_twin(f, "src/main.c", "main.c") && make_twin(f, "src/deep/file", "deeper"));
	/* The first of two is the file when its own name is gone; in the place of another file it is a change of that.
	 */
	must(make_twin(f, "many/2", "deux") && make_twin(f, "many/2", "many/zwei"));
	in_upper(f, "mv deux many/deux; rm many/2 many/3; mkdir dir; mv main.c dir/");
	must(make_twin(f, "README", "many/3") && make_twin(f, "dir/main.c", "dir/again.c"));
	/* Copied up: the names are links, as they are of any other file. */
	make_copy(f, "many/one");
	in_upper(f, "echo more >>many/one");
}

/* The directory that holds the file is renamed, with it or not. */
static void twins_renamed(struct fixture *f)
{
	must(make_twin(f, "src/deep/file", "file") && make_twin(f, "many/1", "one"));
	in_upper(f, "mv many few");
	split(f, "src", "src");
	in_upper(f, "mv src/deep deep");
}

static void odd_names(struct fixture *f)
{
	in_upper(f, "touch \"$(printf 'a\\nb')\" \"$(printf '\\377')\" ' ' -- -x");
}

static void forged(struct fixture *f)
{
	/* A mark without the branch's nonce is no mark. */
	in_upper(f, "touch f; setfattr -n trusted.cowrun.graft -v 00000000README f");
}

static void unstarted(void)
{
	struct fixture f;

	fixture_open(&f, tree);
	is_str(listing(&f), "", "a branch that no container started in changes nothing");
	fixture_close(&f);
}

static void deep(void)
{
	struct fixture f;
	cleanup_close int at = -1;
	cleanup_error struct cow_error *err = NULL;
	cleanup_diff struct cow_diff d;

	fixture_open(&f, tree);
	split(&f, "", "");
	at = dup(f.upperfd);
	for (int i = 0; i < 2500; i++) {
		int next;

		must(mkdirat(at, "ten-bytes-", 0755) == 0);
		next = openat(at, "ten-bytes-", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		must(next >= 0);
		close(at);
		at = next;
	}
	ok(cow_diff_make(&d, f.branch, 0, &err) == 0 && d.count == 2500, "paths longer than PATH_MAX");
	must(mkdirat(at, "x", 0755) == 0);
	for (int i = 0; i < 600; i++) {
		int next;

		must(mkdirat(at, "ten-bytes-", 0755) == 0);
		next = openat(at, "ten-bytes-", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		must(next >= 0);
		close(at);
		at = next;
	}
	cow_diff_clear(&d);
	ok(cow_diff_make(&d, f.branch, 0, &err) != 0 && strstr(err->message, "deeper") != NULL,
	   "a tree that is too deep is refused: %s", err != NULL ? err->message : "it was not");
	fixture_close(&f);
}

int main(void)
{
	unstarted();
	check("an untouched branch", "", nothing);
	check("made entries, each one line",
	      "A made\nA made/below\nA made/below/file\nA made/fifo\nA made/hard\nA new\n", made);
	check("changed files", "M README\nM kinds/link\nM src/main.c\nM src/util.c\n", changed_files);
	check("changed content of the same size and time", "M README\n", same_size_and_time);
	check("deleted and written again", "M README\nM src/main.c\n", written_again);
	check("deleted trees, each entry",
	      "D README\nD empty\nD src\nD src/deep\nD src/deep/file\nD src/main.c\nD src/util.c\n", deleted);
	check("a directory that was made again", "M many/1\nD many/2\nD many/3\nA many/4\n", made_again);
	check("renames", "R README -> src/LIESMICH\nR many -> few\nR src/deep -> src/shallow\n", renamed);
	check("changes in a renamed directory",
	      "R README -> README~\nA README\nA few/new\nR many -> few\nD many/1\nR many/2 -> two\nR many/3 -> "
	      "few/three\n"
	      "M two\n",
	      renamed_and_changed);
	check("renamed and back", "", back_again);
	check("renamed over others", "R README -> many/1\nD empty\nD many/2\nA many/2\nA many/2/y\nR src -> empty\n",
	      over);
	check("exchanged", "R README -> README/in\nA README\nR many -> src\nR src -> many\n", exchanged);
	check("attributes of directories; not their times", "M \nM empty\nM src\n", directory_attributes);
	check("hard links", "A many/0\nR many/2 -> two\nM many/3\n", hard_links);
	fixture_links = true;
	check("a lower file with several names", "M many/1\nM one\nM src/one\n", lower_links);
	check("renamed besides", "M many/0\nM many/1\nR one -> many/0\nR src/one -> src/two\nM src/two\nA zero\n",
	      lower_links_renamed);
	check("copied, but not changed", "D many/1\n", lower_links_unchanged);
	check("killed when one name was revealed", "M one\nR src/one -> src/moved\n", lower_links_killed);
	fixture_links = false;
	check("directories and files in each other's place",
	      "D README\nA README\nD src/deep\nA src/deep\nD src/deep/file\n", directory_for_file);
	check("what the host changes is no change of the branch", "", host_changes);
	check("mount points are no change", "R src -> src2\nA src2/new\n", mounts);
	check("what stands beside them is", "A none\nA none/file\n", content_beside_mounts);
	check("further names of untouched files",
	      "A README2\nA deeper\nA dir\nA dir/again.c\nA dir/main.c\nM many/1\nR many/2 -> many/deux\nM many/3\nA "
	      "many/one\nA "
	      "many/zwei\n",
	      twins);
	check("and of what is in a renamed directory", "A file\nR many -> few\nA one\nR src/deep -> deep\n",
	      twins_renamed);
	check("odd names", "A  \nA -x\nA a\nb\nA \377\n", odd_names);
	check("a forged mark", "A f\n", forged);
	deep();
	return done_testing();
}
