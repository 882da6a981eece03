/*
 * A commit makes the lower what the container saw (runtime/branch/commit.h): random changes are made in a branch and in
 * a plain copy of the lower, and after the commit both must be the same; also if it was killed after any of its steps.
 */
#include "../../runtime/branch/commit.h"

#include <ftw.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/xattr.h>

#include "../../runtime/branch/check.h"
#include "branch_fixture.h"

/* --- looking -------------------------------------------------------------------------------------------------------
 */

static struct {
	char *lines[4096];
	size_t count, prefix;
} seen;

static int see(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	const char *name = path + seen.prefix;
	char detail[PATH_MAX + 300] = "";
	char content[256] = "";
	char attribute[64] = "";
	ssize_t n;

	(void)flag;
	if (ftw->level == 0)
		return 0;
	if (S_ISLNK(st->st_mode))
		must(readlink(path, content, sizeof(content) - 1) > 0);
	if (S_ISREG(st->st_mode)) {
		cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

		must(fd >= 0 && read(fd, content, sizeof(content) - 1) >= 0);
		n = lgetxattr(path, "user.test", attribute, sizeof(attribute) - 1);
		(void)n;
	}
	if (!S_ISDIR(st->st_mode))
		snprintf(detail, sizeof(detail), " %ld.%09ld %lu links %s '%s'", (long)st->st_mtim.tv_sec,
			 st->st_mtim.tv_nsec, (unsigned long)st->st_nlink, attribute, content);
	must(seen.count < 4096);
	must(asprintf(&seen.lines[seen.count++], "%s %o %u:%u%s\n", name, st->st_mode, st->st_uid, st->st_gid, detail) >
	     0);
	return 0;
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Everything below a directory but times of directories. Caller frees. */
static char *look(const char *dir)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	seen.count = 0;
	seen.prefix = strlen(dir) + 1;
	must(out != NULL && nftw(dir, see, 32, FTW_PHYS) == 0);
	qsort(seen.lines, seen.count, sizeof(*seen.lines), compare_lines);
	for (size_t i = 0; i < seen.count; i++) {
		fputs(seen.lines[i], out);
		free(seen.lines[i]);
	}
	fclose(out);
	return text;
}

static bool same_trees(const char *got, const char *want)
{
	cleanup_free char *a = look(got);
	cleanup_free char *b = look(want);

	if (strcmp(a, b) == 0)
		return true;
	printf("# --- got\n");
	for (char *line = strtok(a, "\n"); line != NULL; line = strtok(NULL, "\n"))
		printf("# %s\n", line);
	printf("# --- want\n");
	for (char *line = strtok(b, "\n"); line != NULL; line = strtok(NULL, "\n"))
		printf("# %s\n", line);
	return false;
}

/* --- random changes ------------------------------------------------------------------------------------------------
 */

struct world {
	struct fixture f;
	char plain[96]; /* the same directory without a branch */
	int plainfd;
	unsigned long seed;
	long clock;
	char *paths[4096];
	size_t npaths;
};

static unsigned draw(struct world *w, unsigned below)
{
	w->seed = w->seed * 6364136223846793005UL + 1442695040888963407UL;
	return (unsigned)(w->seed >> 33) % below;
}

static int gather(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	if (ftw->level > 0 && seen.count < 4096)
		seen.lines[seen.count++] = strdup(path + seen.prefix);
	return 0;
}

/* nftw's order is that of the file system, which is not the same in every run: sorted. */
static void gather_paths(struct world *w)
{
	for (size_t i = 0; i < w->npaths; i++)
		free(w->paths[i]);
	seen.count = 0;
	seen.prefix = strlen(w->plain) + 1;
	must(nftw(w->plain, gather, 32, FTW_PHYS) == 0);
	qsort(seen.lines, seen.count, sizeof(*seen.lines), compare_lines);
	memcpy(w->paths, seen.lines, seen.count * sizeof(char *));
	w->npaths = seen.count;
}

static const char *existing(struct world *w)
{
	return w->npaths > 0 ? w->paths[draw(w, (unsigned)w->npaths)] : "";
}

static mode_t type_of(struct world *w, const char *path)
{
	struct stat st;

	return fstatat(w->plainfd, *path ? path : ".", &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_mode & S_IFMT : 0;
}

/* A new or an old name in an existing directory. */
static void some_name(struct world *w, char *out, size_t room)
{
	const char *path = draw(w, 4) == 0 ? "" : existing(w);
	size_t length = strlen(path);

	if (type_of(w, path) != S_IFDIR) {
		const char *slash = strrchr(path, '/');

		length = slash != NULL ? (size_t)(slash - path) : 0;
	}
	if (draw(w, 3) == 0 && *path != '\0')
		snprintf(out, room, "%s", path);
	else
		snprintf(out, room, "%.*s%sn%u", (int)length, path, length > 0 ? "/" : "", draw(w, 12));
}

static void set_time(struct world *w, int dirfd, const char *path)
{
	struct timespec times[2] = {{.tv_sec = 1600000000 + w->clock}, {.tv_sec = 1600000000 + w->clock}};

	(void)utimensat(dirfd, path, times, AT_SYMLINK_NOFOLLOW);
}

static void write_to(struct world *w, int dirfd, const char *path, int flags)
{
	cleanup_close int fd = openat(dirfd, path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags, 0644);
	char text[32];

	if (fd >= 0) {
		snprintf(text, sizeof(text), "t%ld ", w->clock);
		must(write(fd, text, strlen(text)) > 0);
		set_time(w, dirfd, path);
	}
}

static void remove_tree(struct world *w, const char *path)
{
	for (size_t i = w->npaths; i > 0; i--) {
		const char *p = w->paths[i - 1];
		size_t length = strlen(path);
		int flags = type_of(w, p) == S_IFDIR ? AT_REMOVEDIR : 0;

		if (strncmp(p, path, length) != 0 || (p[length] != '/' && p[length] != '\0'))
			continue;
		make_real(&w->f, p, flags != 0);
		must(unlinkat(w->plainfd, p, flags) == 0);
		must(unlinkat(w->f.upperfd, p, flags) == 0);
	}
}

/* Two names of one file: a rename of one over the other does nothing, and the agent sees to that for placeholders. */
static bool same_file(const struct world *w, const char *a, const char *b)
{
	struct stat x, y;

	return fstatat(w->plainfd, a, &x, AT_SYMLINK_NOFOLLOW) == 0 &&
	       fstatat(w->plainfd, b, &y, AT_SYMLINK_NOFOLLOW) == 0 && x.st_ino == y.st_ino;
}

static void do_rename(struct world *w, const char *from, const char *to)
{
	mode_t target = type_of(w, to);

	if (target == S_IFDIR)
		make_real(&w->f, to, true);
	make_real(&w->f, from, false);
	make_real(&w->f, to, false);
	if (same_file(w, from, to) || renameat(w->plainfd, from, w->plainfd, to) != 0)
		return;
	must(renameat(w->f.upperfd, from, w->f.upperfd, to) == 0);
}

static void do_exchange(struct world *w, const char *a, const char *b)
{
	make_real(&w->f, a, false);
	make_real(&w->f, b, false);
	if (!same_file(w, a, b) && renameat2(w->plainfd, a, w->plainfd, b, RENAME_EXCHANGE) == 0)
		must(renameat2(w->f.upperfd, a, w->f.upperfd, b, RENAME_EXCHANGE) == 0);
}

/* One call, made in both. */
static void random_call(struct world *w)
{
	char a[PATH_MAX], b[PATH_MAX];
	mode_t type;

	w->clock++;
	snprintf(a, sizeof(a), "%s", existing(w));
	some_name(w, b, sizeof(b));
	type = type_of(w, a);
	switch (draw(w, 11)) {
	case 0: /* change */
		if (type == S_IFREG) {
			make_copy(&w->f, a);
			write_to(w, w->plainfd, a, O_APPEND);
			write_to(w, w->f.upperfd, a, O_APPEND);
		}
		break;
	case 1: /* write again, or make */
		make_real(&w->f, b, false);
		if (type_of(w, b) != S_IFDIR) {
			unlinkat(w->plainfd, b, 0);
			unlinkat(w->f.upperfd, b, 0);
			write_to(w, w->plainfd, b, O_CREAT | O_EXCL);
			write_to(w, w->f.upperfd, b, O_CREAT | O_EXCL);
		}
		break;
	case 2:
		make_real(&w->f, b, false);
		if (mkdirat(w->plainfd, b, 0755) == 0)
			must(mkdirat(w->f.upperfd, b, 0755) == 0);
		break;
	case 3:
		make_real(&w->f, b, false);
		if (symlinkat(a, w->plainfd, b) == 0) {
			must(symlinkat(a, w->f.upperfd, b) == 0);
			set_time(w, w->plainfd, b);
			set_time(w, w->f.upperfd, b);
		}
		break;
	case 4:
		if (type == S_IFREG && type_of(w, b) == 0) {
			must(linkat(w->plainfd, a, w->plainfd, b, 0) == 0);
			if (draw(w, 3) == 0 || !make_twin(&w->f, a, b)) {
				make_copy(&w->f, a);
				make_real(&w->f, b, false);
				must(linkat(w->f.upperfd, a, w->f.upperfd, b, 0) == 0);
			}
		}
		break;
	case 5:
		if (type == S_IFDIR)
			make_real(&w->f, a, true);
		else if (type == S_IFREG)
			make_copy(&w->f, a);
		if (type == S_IFDIR || type == S_IFREG) {
			mode_t mode = type == S_IFDIR ? 0711 + (mode_t)draw(w, 6) : 0600 + (mode_t)draw(w, 64);

			must(fchmodat(w->plainfd, a, mode, 0) == 0 && fchmodat(w->f.upperfd, a, mode, 0) == 0);
		}
		break;
	case 6:
		if (type != 0 && draw(w, 3) == 0)
			remove_tree(w, a);
		break;
	case 7:
		if (type != 0 && type != S_IFDIR) {
			make_real(&w->f, a, false);
			must(unlinkat(w->plainfd, a, 0) == 0 && unlinkat(w->f.upperfd, a, 0) == 0);
		}
		break;
	case 8:
		if (*a != '\0' && *b != '\0')
			do_exchange(w, a, b);
		break;
	default:
		if (*a != '\0' && *b != '\0')
			do_rename(w, a, b);
	}
}

static const char tree[] = "mkdir -p a/b/c d e/f g; for p in '' a/ a/b/ a/b/c/ d/ e/f/; do"
			   " for i in 1 2 3; do echo $p$i >${p}f$i; done; ln -s f1 ${p}link; done;"
			   "mkfifo d/pipe; chmod 2755 g; chown 5:6 d/f2; setfattr -n user.test -v kept a/f2;"
			   "ln f1 a/hard; ln a/f3 d/other; ln a/f3 e/f/third; ln e/f/f1 e/twin;"
			   "find . -exec touch -h -d 2020-01-02 {} +";

static void world_open(struct world *w, unsigned long seed, unsigned calls)
{
	memset(w, 0, sizeof(*w));
	w->seed = seed;
	fixture_open(&w->f, tree);
	snprintf(w->plain, sizeof(w->plain), "%s/plain", w->f.dir);
	shell("cp -a '%s' '%s'", w->f.lower, w->plain);
	w->plainfd = open(w->plain, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(w->plainfd >= 0);
	split(&w->f, "", "");
	while (calls-- > 0) {
		gather_paths(w);
		random_call(w);
	}
}

static void world_close(struct world *w)
{
	for (size_t i = 0; i < w->npaths; i++)
		free(w->paths[i]);
	close(w->plainfd);
	fixture_close(&w->f);
}

/* --- committing ----------------------------------------------------------------------------------------------------
 */

/* Up to where the steps are written down; the number of conflicts, or -1. */
static int prepare(struct fixture *f, struct cow_plan *plan, bool force, struct cow_error **err)
{
	cleanup_diff struct cow_diff d;
	cleanup_conflicts struct cow_conflicts conflicts = {0};

	memset(plan, 0, sizeof(*plan));
	if (cow_diff_make(&d, f->branch, 0, err) != 0 || cow_conflicts_find(&conflicts, &d, err) != 0)
		return -1;
	for (size_t i = 0; i < conflicts.count; i++)
		printf("# conflict: %s: %s\n", conflicts.list[i].path, conflicts.list[i].why);
	if (conflicts.count > 0 && !force)
		return (int)conflicts.count;
	return cow_commit_prepare(f->branch, &d, force, plan, err) != 0 ? -1 : 0;
}

/* All of it. The number of conflicts, or -1. */
static int commit(struct fixture *f, bool force)
{
	cleanup_error struct cow_error *err = NULL;
	cleanup_plan struct cow_plan plan;
	int result = prepare(f, &plan, force, &err);

	if (result == 0 && plan.count > 0 && cow_commit_run(f->branch, &plan, force, &err) != 0)
		result = -1;
	if (result == 0 && cow_commit_finish(f->branch, &plan, &err) != 0)
		result = -1;
	if (result < 0)
		printf("# %s\n", err->message);
	return result;
}

/* SEEDS=N: a longer run. */
static unsigned long seeds(unsigned long usual)
{
	const char *text = getenv("SEEDS");

	return text != NULL ? strtoul(text, NULL, 10) : usual;
}

static void random_commits(void)
{
	for (unsigned long seed = 1; seed <= seeds(150); seed++) {
		struct world w;
		bool good;

		world_open(&w, seed, 5 + (unsigned)seed % 40);
		good = commit(&w.f, false) == 0 && same_trees(w.f.lower, w.plain);
		if (!good || seed % 50 == 0)
			ok(good, "random changes up to seed %lu", seed);
		world_close(&w);
	}
}

/* Killed after `steps` steps, and begun again from what is on disk. The number of steps there are, or -1. */
static int killed_commit(struct world *w, size_t steps)
{
	cleanup_error struct cow_error *err = NULL;
	cleanup_plan struct cow_plan plan;
	cleanup_plan struct cow_plan again = {0};
	size_t all;

	if (prepare(&w->f, &plan, false, &err) != 0)
		return -1;
	all = plan.count;
	if (all == 0)
		return 0;
	plan.count = steps < all ? steps : all;
	if (cow_commit_run(w->f.branch, &plan, false, &err) != 0) {
		printf("# before: %s\n", err->message);
		plan.count = all;
		return -1;
	}
	plan.count = all;
	if (cow_plan_load(&again, w->f.branch, &err) != 1 || cow_commit_run(w->f.branch, &again, false, &err) != 0 ||
	    cow_commit_run(w->f.branch, &again, false, &err) != 0 ||
	    cow_commit_finish(w->f.branch, &again, &err) != 0) {
		printf("# again: %s\n", err->message);
		return -1;
	}
	return (int)all;
}

static void killed_commits(void)
{
	for (unsigned long seed = 1001; seed <= 1000 + seeds(100) / 25; seed++) {
		bool good = true;
		int all = 1;
		int step = 0;

		for (; good && step <= all; step++) {
			struct world w;

			world_open(&w, seed, 25);
			all = killed_commit(&w, (size_t)step);
			good = all >= 0 && same_trees(w.f.lower, w.plain);
			world_close(&w);
		}
		ok(good, "killed after any of its steps, seed %lu: %d", seed, step - 1);
	}
}

static char *stamp_of_tree(const char *dir)
{
	char *text = NULL;
	size_t room = 0;
	cleanup_free char *command = NULL;
	FILE *in;

	must(asprintf(&command, "find '%s' -printf '%%P %%i %%m %%T@ %%C@ %%s\\n' | sort", dir) > 0);
	in = popen(command, "r");
	must(in != NULL && getdelim(&text, &room, '\0', in) > 0);
	pclose(in);
	return text;
}

static void untouched(void)
{
	struct fixture f;
	cleanup_free char *before = NULL;
	cleanup_free char *after = NULL;

	fixture_open(&f, tree);
	split(&f, "", "");
	split(&f, "a", "a");
	copy_up(&f, "a/f1", "a/f1");
	before = stamp_of_tree(f.lower);
	ok(commit(&f, false) == 0, "a branch without changes");
	after = stamp_of_tree(f.lower);
	is_str(after, before, "leaves the lower as it is, to the change times");
	fixture_close(&f);
}

static void conflicts_with(const char *what, const char *in_branch, const char *on_host, int want)
{
	struct fixture f;
	cleanup_free char *before = NULL;
	cleanup_free char *after = NULL;
	int got;

	fixture_open(&f, tree);
	split(&f, "", "");
	split(&f, "a", "a");
	split(&f, "a/b", "a/b");
	split(&f, "a/b/c", "a/b/c");
	split(&f, "d", "d");
	copy_up(&f, "a/f1", "a/f1");
	in_upper(&f, in_branch);
	in(f.lower, on_host);
	before = stamp_of_tree(f.lower);
	got = commit(&f, false);
	ok(got == want, "%s: %d conflicts", what, got);
	after = stamp_of_tree(f.lower);
	if (want > 0)
		is_str(after, before, "  and nothing was done");
	fixture_close(&f);
}

static void conflicts(void)
{
	conflicts_with("changed on both sides", "echo x >>a/f1", "echo y >>a/f1", 1);
	conflicts_with("touched by the host alone", "true", "echo y >>a/f1", 0);
	conflicts_with("made on both sides", "echo x >a/new", "echo y >a/new", 1);
	conflicts_with("a host's file beside", "echo x >a/new", "echo y >a/other; echo z >>d/f1", 0);
	conflicts_with("deleted here, changed there", "rm a/f2", "echo y >>a/f2", 1);
	conflicts_with("deleted on both sides", "rm a/f2 && rm -r a/b", "rm a/f2 && rm -r a/b", 0);
	conflicts_with("changed here, deleted there", "echo x >>a/f1", "rm a/f1", 1);
	conflicts_with("changed here, its directory deleted there", "echo x >>a/f1; echo >a/new", "rm -r a", 2);
	conflicts_with("renamed here, changed there", "mv a/f3 x", "echo y >>a/f3", 1);
	conflicts_with("a directory renamed here, changed in there", "mv e x", "echo y >>e/f/f1; echo new >e/new", 0);
	conflicts_with("a directory deleted here, filled there", "rm -r a/b", "echo y >a/b/c/new", 1);
	conflicts_with("replaced here, changed there", "rm a/f2; echo x >a/f2", "echo y >>a/f2", 1);
	conflicts_with("renamed over what changed there", "mv -f a/f2 a/f3", "echo y >>a/f3", 1);
	conflicts_with("mode of a directory on both sides", "chmod 700 d", "chmod 711 d", 1);
	/* A copy of a placeholder is one more with its mark. */
	conflicts_with("a further name here, changed there", "cp -a a/f2 twin", "echo y >>a/f2", 0);
	conflicts_with("a further name here, deleted there", "cp -a a/f2 twin; cp -a d/f1 other", "rm a/f2", 1);
	conflicts_with("a directory became a link there", "echo x >>a/f1", "mv a z; ln -s z a", 1);
}

static void forced(const char *what, const char *in_branch, const char *on_host, const char *check)
{
	struct fixture f;

	fixture_open(&f, tree);
	split(&f, "", "");
	split(&f, "a", "a");
	split(&f, "a/b", "a/b");
	split(&f, "a/b/c", "a/b/c");
	copy_up(&f, "a/f1", "a/f1");
	in_upper(&f, in_branch);
	in(f.lower, on_host);
	ok(commit(&f, true) == 0, "forced: %s", what);
	fflush(stdout);
	in(f.lower, check);
	in(f.lower, "test -z \"$(ls -A | grep cowrun)\"");
	fixture_close(&f);
}

static void all_forced(void)
{
	forced("changed on both sides", "echo x >>a/f1", "echo y >>a/f1", "grep -q x a/f1 && ! grep -q y a/f1");
	forced("made on both sides", "mkdir a/new; echo x >a/new/x", "echo y >a/new", "grep -q x a/new/x");
	forced("a file where the host has a directory", "echo x >a/new", "mkdir a/new; echo y >a/new/y",
	       "grep -q x a/new");
	forced("its directory deleted by the host", "echo x >>a/b/new; echo x >>a/f1", "rm -r a",
	       "grep -q x a/b/new && grep -q x a/f1 && ! test -e a/f2");
	forced("renamed here, deleted there", "mv a/f2 x; mv a/f1 y", "rm a/f1 a/f2", "test -e y && ! test -e x");
	forced("a further name here, deleted there", "cp -a a/f2 twin; cp -a a/f3 b", "rm a/f2",
	       "test a/f3 -ef b && ! test -e twin && ! test -e a/f2");
	forced("a further name here, changed there", "cp -a a/f2 twin; mv a/b x", "echo y >>a/f2",
	       "test a/f2 -ef twin && grep -q y twin");
	forced("a directory became a link", "echo x >>a/f1", "mv a z; ln -s z a",
	       "test -d a -a ! -L a && grep -q x a/f1");
}

/* A commit that goes on after the host changed something meanwhile. */
static void changed_meanwhile(void)
{
	struct fixture f;
	cleanup_error struct cow_error *err = NULL;
	cleanup_plan struct cow_plan plan;

	fixture_open(&f, tree);
	split(&f, "", "");
	copy_up(&f, "f1", "f1");
	in_upper(&f, "echo x >>f1; rm f2; echo n >new");
	must(prepare(&f, &plan, false, &err) == 0);
	in(f.lower, "echo host >>f1");
	ok(cow_commit_run(f.branch, &plan, false, &err) != 0 && err->status == COW_EXIT_CONFLICT,
	   "changed after the check: %s", err != NULL ? err->message : "not seen");
	ok(cow_commit_run(f.branch, &plan, true, NULL) == 0 && cow_commit_finish(f.branch, &plan, NULL) == 0,
	   "and forced");
	fflush(stdout);
	in(f.lower, "grep -q x f1 && ! test -e f2 && test -e new");
	fixture_close(&f);
}

static void sockets_and_attributes(void)
{
	struct fixture f;

	fixture_open(&f, tree);
	split(&f, "", "");
	in_upper(&f, "/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")';"
		     "mkdir -m 0555 ro; echo x >ro/x; mkfifo -m 0604 pipe; mknod null c 1 3; echo >s; chmod 4711 s;"
		     "setfattr -n user.test -v v s; setfattr -n trusted.cowrun.graft -v forged s; chown 7:8 pipe;"
		     "truncate -s 10M sparse; echo end >>sparse; setfacl -m u:99:r s; touch -d 2021-01-01 ro");
	in(f.lower, "setfacl -d -m u:55:rwx .");
	ok(commit(&f, false) == 0, "odd files");
	fflush(stdout);
	in(f.lower,
	   "test ! -e sock && test \"$(stat -c %a:%Y ro)\" = 555:1609459200 && test -e ro/x &&"
	   "test \"$(stat -c %a:%u:%g pipe)\" = 604:7:8 && test \"$(stat -c %t:%T null)\" = 1:3 &&"
	   "test \"$(getfattr --only-values -n user.test s)\" = v && test \"$(du -k sparse | cut -f1)\" -lt 100 &&"
	   "getfacl -cp s | grep -q user:99:r && ! getfacl -cp ro | grep -q 55 && test -u s &&"
	   "! getfattr -d -m trusted s | grep -q cowrun");
	fixture_close(&f);
}

static void directory_times(void)
{
	struct fixture f;

	fixture_open(&f, tree);
	in(f.lower, "mkdir i; touch -d 2020-01-02 i .");
	split(&f, "", "");
	split(&f, "a", "a");
	split(&f, "d", "d");
	split(&f, "e", "e");
	split(&f, "e/f", "e/f");
	split(&f, "i", "i");
	in_upper(&f, "rm a/f1; mkdir -p new/below; mv g new/; echo x >d/new; mv e/f/f1 e/f1; touch -d 2021-01-01 a;"
		     "touch -d 2021-01-02 new; touch -d 2021-01-03 new/below; touch -d 2021-01-04 d e; touch -d "
		     "2021-01-05 .; touch i/x; rm i/x; touch -d 2021-01-06 i");
	in(f.lower, "echo host >d/host; touch -d 2022-01-01 d; touch -d 2020-02-02 e");
	ok(commit(&f, false) == 0, "times of directories");
	fflush(stdout);
	in(f.lower,
	   "test \"$(TZ=UTC stat -c %y . a a/b d e i new new/below new/g | cut -c 1-10 | tr '\\n' ' ')\" ="
	   " '2021-01-05 2021-01-01 2020-01-02 2022-01-01 2021-01-04 2021-01-06 2021-01-02 2021-01-03 2020-01-02 '");
	fixture_close(&f);
}

/* Names that the branch gave to what it left as it was, a symbolic link among it, are names of the lower's own. */
static void links(void)
{
	struct fixture f;

	fixture_open(&f, tree);
	in(f.lower, "ln -s target sym; ln -s target sym2; ln sym2 sym3; stat -c %i sym a/f1 >../inodes");
	split(&f, "", "");
	split(&f, "a", "a");
	copy_up(&f, "a/f1", "a/f1");
	in_upper(&f, "ln sym other; mkdir new; ln sym new/third; ln a/f1 new/f; ln -s new n1; ln n1 n2; rm sym2");
	ok(commit(&f, false) == 0, "names of symbolic links and files");
	fflush(stdout);
	in(f.lower,
	   "test \"$(stat -c %h sym other new/third a/f1 new/f n1 n2 sym3 | tr '\\n' ' ')\" = '3 3 3 2 2 2 2 1 ' &&"
	   " test \"$(readlink other) $(readlink n2)\" = 'target new' && test n1 -ef n2 &&"
	   " test \"$(stat -c %i other new/f)\" = \"$(cat ../inodes)\"");
	fixture_close(&f);
}

/* Killed while new content was staged: the steps were not written down yet. */
static void killed_early(void)
{
	struct world w;
	cleanup_error struct cow_error *err = NULL;
	cleanup_plan struct cow_plan plan;
	cleanup_free char *before = NULL;
	cleanup_free char *after = NULL;

	world_open(&w, 77, 30);
	before = look(w.f.lower);
	must(prepare(&w.f, &plan, false, &err) == 0 && plan.count > 0);
	must(unlinkat(w.f.branch->dirfd, "commit", 0) == 0);
	ok(cow_commit_abandon(w.f.branch, &err) == 0, "a commit that was killed early is given up");
	after = look(w.f.lower);
	is_str(after, before, "and leaves the lower as it was");
	cow_plan_clear(&plan);
	must(prepare(&w.f, &plan, false, &err) == 0 && unlinkat(w.f.branch->dirfd, "commit", 0) == 0);
	ok(commit(&w.f, false) == 0 && same_trees(w.f.lower, w.plain), "or repeated");
	world_close(&w);
}

/* In a mount namespace of its own: a lower that has no room. */
static void no_room(void)
{
	struct fixture f;
	cleanup_free char *before = NULL;
	cleanup_free char *after = NULL;
	cleanup_error struct cow_error *err = NULL;
	cleanup_plan struct cow_plan plan;

	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
		skip("no mount namespace");
		return;
	}
	fixture_open(&f, "true");
	must(mount("none", f.lower, "tmpfs", 0, "size=1m,mode=755") == 0);
	close(f.lowerfd);
	f.lowerfd = open(f.lower, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	in(f.lower, "echo 1 >one; mkdir inner; echo 2 >two");
	split(&f, "", "");
	in_upper(&f, "echo x >first; head -c 3000000 /dev/zero >large; rm one");
	before = look(f.lower);
	ok(prepare(&f, &plan, false, &err) < 0 && err->errnum == ENOSPC, "no room: %s",
	   err != NULL ? err->message : "it was done");
	after = look(f.lower);
	is_str(after, before, "leaves the lower as it was");
	in_upper(&f, "rm large");
	ok(commit(&f, false) == 0, "and can be repeated");
	fflush(stdout);
	in(f.lower, "test -e first && ! test -e one");
	close(f.lowerfd);
	f.lowerfd = -1;
	umount2(f.lower, MNT_DETACH);
	fixture_close(&f);
}

static void inner_mount(void)
{
	struct fixture f;
	cleanup_error struct cow_error *err = NULL;
	cleanup_plan struct cow_plan plan;
	char inner[128];

	fixture_open(&f, "mkdir -p x/inner");
	snprintf(inner, sizeof(inner), "%s/x/inner", f.lower);
	must(mount("none", inner, "tmpfs", 0, "size=1m,mode=755") == 0);
	in(inner, "echo 1 >one; mkdir d");
	split(&f, "", "");
	split(&f, "x", "x");
	split(&f, "x/inner", "x/inner");
	split(&f, "x/inner/d", "x/inner/d");
	in_upper(&f, "rm -r x");
	ok(prepare(&f, &plan, false, &err) < 0 && strstr(err->message, "another file system") != NULL,
	   "what is mounted in the lower is not touched: %s", err != NULL ? err->message : "it was");
	fflush(stdout);
	in(inner, "test -e one");
	umount2(inner, MNT_DETACH);
	fixture_close(&f);
}

int main(void)
{
	umask(022);
	untouched();
	random_commits();
	killed_commits();
	conflicts();
	all_forced();
	changed_meanwhile();
	killed_early();
	directory_times();
	links();
	sockets_and_attributes();
	no_room();
	inner_mount();
	return done_testing();
}
