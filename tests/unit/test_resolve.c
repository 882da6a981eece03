/* runtime/agent/resolve.c: paths as another process would resolve them. Needs root, for chroot. */
#include "../../runtime/agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../runtime/lib/fd.h"
#include "tap.h"

/*
 * The process at the other end: root directory DIR/jail, working directory /sub in it, and descriptor 9 on /other.
 *   jail/file  jail/sub/inner  jail/sub/dir/  jail/other/thing
 *   links: jail/abs -> /sub/inner, jail/rel -> sub/inner, jail/up -> ../../../file, jail/loop -> loop,
 *          jail/dangling -> sub/none, jail/todir -> /sub
 */
struct fixture {
	char dir[40];
	pid_t pid;
	struct cow_agent agent;
	struct cow_target target;
};

static void put(const struct fixture *f, const char *path, const char *link)
{
	char full[200];
	int fd;

	snprintf(full, sizeof(full), "%s/jail/%s", f->dir, path);
	if (link != NULL) {
		if (symlink(link, full) != 0)
			abort();
		return;
	}
	fd = open(full, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		abort();
	close(fd);
}

static void make_directory(const struct fixture *f, const char *path)
{
	char full[200];

	snprintf(full, sizeof(full), "%s/%s", f->dir, path);
	if (mkdir(full, 0755) != 0)
		abort();
}

static void __attribute__((noreturn)) be_the_target(const struct fixture *f, int ready)
{
	char jail[100];
	int fd;

	snprintf(jail, sizeof(jail), "%s/jail", f->dir);
	if (chroot(jail) != 0 || chdir("/sub") != 0)
		_exit(1);
	fd = open("/other", O_RDONLY | O_DIRECTORY);
	if (fd < 0 || dup2(fd, 9) != 9 || write(ready, "x", 1) != 1)
		_exit(1);
	pause();
	_exit(0);
}

static void set_up(struct fixture *f)
{
	static const char *const directories[] = {"jail", "jail/sub", "jail/sub/dir", "jail/other", "jail/proc"};
	char name[32];
	int ready[2];
	char c;

	strcpy(f->dir, "/tmp/test_resolve.XXXXXX");
	if (mkdtemp(f->dir) == NULL || chmod(f->dir, 0755) != 0 || pipe(ready) != 0)
		abort();
	for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++)
		make_directory(f, directories[i]);
	put(f, "file", NULL);
	put(f, "sub/inner", NULL);
	put(f, "other/thing", NULL);
	put(f, "abs", "/sub/inner");
	put(f, "rel", "sub/inner");
	put(f, "up", "../../../file");
	put(f, "loop", "loop");
	put(f, "dangling", "sub/none");
	put(f, "todir", "/sub");
	fflush(stdout);
	f->pid = fork();
	if (f->pid == 0)
		be_the_target(f, ready[1]);
	close(ready[1]);
	if (f->pid < 0 || read(ready[0], &c, 1) != 1)
		abort();
	close(ready[0]);
	f->agent.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(name, sizeof(name), "%d", (int)f->pid);
	f->agent.root = -1;
	f->target = (struct cow_target){.agent = &f->agent, .tid = f->pid};
	f->target.dir = openat(f->agent.proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void tear_down(struct fixture *f)
{
	char command[100];

	kill(f->pid, SIGKILL);
	waitpid(f->pid, NULL, 0);
	close(f->target.dir);
	close(f->agent.proc);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	if (system(command) != 0)
		abort();
}

static bool is_at(const struct fixture *f, int fd, const char *path)
{
	char full[200];
	struct stat a;
	struct stat b;

	snprintf(full, sizeof(full), "%s/jail/%s", f->dir, path);
	return fstat(fd, &a) == 0 && lstat(full, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* `object` and `parent`: where they are in the jail; NULL: there is none. */
struct expectation {
	int dirfd;
	const char *path;
	bool follow;
	int error;
	const char *object, *parent, *name;
	bool slash, dots;
};

static const struct expectation expectations[] = {
	{AT_FDCWD, "/file", true, 0, "file", "", "file", false, false},
	{AT_FDCWD, "inner", true, 0, "sub/inner", "sub", "inner", false, false},
	{AT_FDCWD, "./inner", true, 0, "sub/inner", "sub", "inner", false, false},
	{AT_FDCWD, "../file", true, 0, "file", "", "file", false, false},
	{AT_FDCWD, "dir/../inner", true, 0, "sub/inner", "sub", "inner", false, false},
	{AT_FDCWD, "//sub///inner", true, 0, "sub/inner", "sub", "inner", false, false},
	{9, "thing", true, 0, "other/thing", "other", "thing", false, false},
	{9, "/file", true, 0, "file", "", "file", false, false},
	/* The root of the other process is where ".." ends and where absolute links begin. */
	{AT_FDCWD, "../../../../file", true, 0, "file", "", "file", false, false},
	{AT_FDCWD, "/abs", true, 0, "sub/inner", "sub", "inner", false, false},
	{AT_FDCWD, "/rel", true, 0, "sub/inner", "sub", "inner", false, false},
	{AT_FDCWD, "/up", true, 0, "file", "", "file", false, false},
	{AT_FDCWD, "/todir/inner", true, 0, "sub/inner", "sub", "inner", false, false},
	{AT_FDCWD, "/abs", false, 0, "abs", "", "abs", false, false},
	/* Names that are missing have a parent. */
	{AT_FDCWD, "none", true, 0, NULL, "sub", "none", false, false},
	{AT_FDCWD, "/dangling", true, 0, NULL, "sub", "none", false, false},
	{AT_FDCWD, "/dangling", false, 0, "dangling", "", "dangling", false, false},
	{AT_FDCWD, "none/", true, 0, NULL, "sub", "none", true, false},
	{AT_FDCWD, "none/deeper", true, ENOENT, NULL, NULL, NULL, false, false},
	{AT_FDCWD, "inner/deeper", true, ENOTDIR, NULL, NULL, NULL, false, false},
	{AT_FDCWD, "", true, ENOENT, NULL, NULL, NULL, false, false},
	{AT_FDCWD, "/loop", true, ELOOP, NULL, NULL, NULL, false, false},
	{AT_FDCWD, "/loop", false, 0, "loop", "", "loop", false, false},
	{77, "file", true, EBADF, NULL, NULL, NULL, false, false},
	/* What ends in dots or slashes. */
	{AT_FDCWD, "dir/", true, 0, "sub/dir", "sub", "dir", true, false},
	{AT_FDCWD, "/todir/", false, 0, "sub", "", "sub", true, false},
	{AT_FDCWD, ".", true, 0, "sub", NULL, "", false, true},
	{AT_FDCWD, "..", true, 0, "", NULL, "", false, true},
	{AT_FDCWD, "dir/.", true, 0, "sub/dir", NULL, "", false, true},
	{AT_FDCWD, "/", true, 0, "", NULL, "", false, false},
};

static bool as_expected(const struct fixture *f, const struct expectation *e)
{
	struct cow_location l;
	int error = cow_resolve(&f->target, e->dirfd, e->path, e->follow, &l);
	bool good = error == e->error;

	if (error != 0)
		return good;
	good = good && (e->object != NULL ? l.object >= 0 && is_at(f, l.object, e->object) : l.object < 0) &&
	       (e->parent != NULL ? l.parent >= 0 && is_at(f, l.parent, e->parent) : l.parent < 0) &&
	       strcmp(l.name, e->name) == 0 && l.dots == e->dots && (e->parent == NULL || l.slash == e->slash);
	cow_location_close(&l);
	return good;
}

/* Those that look at names must not be shown more than the process itself would see. */
static bool as_user(const struct fixture *f)
{
	struct cow_creds nobody = {.fsuid = 65534, .fsgid = 65534, .uid = 65534, .gid = 65534, .userns = -1};
	struct cow_location l = {.parent = -1, .object = -1};
	char full[200];
	int error;

	snprintf(full, sizeof(full), "%s/jail/sub", f->dir);
	if (chmod(full, 0700) != 0)
		return false;
	error = cow_resolve_as(&f->target, &nobody, AT_FDCWD, "/sub/inner", true, &l);
	cow_location_close(&l);
	(void)chmod(full, 0755);
	return error == EACCES && geteuid() == 0 &&
	       cow_resolve_as(&f->target, &nobody, AT_FDCWD, "/sub/inner", true, &l) == 0 &&
	       (cow_location_close(&l), true);
}

/* /proc/self is the target's, not the agent's. */
static void check_magic(void)
{
	cleanup_close int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int mine = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct cow_agent agent = {.proc = proc};
	struct cow_target self = {.agent = &agent, .tid = getpid()};
	struct cow_location l;
	struct stat st;
	char path[60];

	self.dir = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", mine);
	ok(cow_resolve(&self, AT_FDCWD, path, true, &l) == 0 && l.magic && l.handle == mine && l.parent < 0 &&
		   fstat(mine, &st) == 0 && l.st.st_ino == st.st_ino,
	   "/proc/self/fd/N leads to the descriptor and says which it was");
	cow_location_close(&l);
	snprintf(path, sizeof(path), "/proc/self/fd/%d/none", mine);
	ok(cow_resolve(&self, AT_FDCWD, path, true, &l) == 0 && !l.magic && l.handle == mine && l.object < 0 &&
		   strcmp(l.name, "none") == 0,
	   "a name below it has it for a parent");
	cow_location_close(&l);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", mine);
	ok(cow_resolve(&self, AT_FDCWD, path, false, &l) == 0 && !l.magic && S_ISLNK(l.st.st_mode),
	   "not followed, it is a link");
	cow_location_close(&l);
	close(self.dir);
}

/* What an earlier call may have left on the stack: numbers of descriptors that are open now. */
static void __attribute__((noinline)) leave_on_stack(int fd)
{
	volatile int room[8192];

	for (size_t i = 0; i < sizeof(room) / sizeof(*room); i++)
		room[i] = fd;
}

/* Calls that are let through before anything was resolved: the agent's own descriptors stay open. */
static void check_nothing_closed(const struct fixture *f)
{
	const struct cow_opening reading = {.flags = O_RDONLY, .plain = true};
	cleanup_close int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct cow_target t = f->target;
	bool continued;

	leave_on_stack(fd);
	continued = cow_do_open(&t, AT_FDCWD, "/file", &reading) == COW_VERDICT_CONTINUE;
	ok(continued && fcntl(fd, F_GETFD) >= 0, "an open for reading through a handle closes nothing of the agent's");
	leave_on_stack(fd);
	continued = cow_do_access(&t, AT_FDCWD, "/file", R_OK, 0) == COW_VERDICT_CONTINUE;
	ok(continued && fcntl(fd, F_GETFD) >= 0, "nor does access(R_OK)");
	leave_on_stack(fd);
	continued = cow_do_link(&t, 100, "", AT_FDCWD, "/sub/none", AT_EMPTY_PATH) == COW_VERDICT_CONTINUE;
	ok(continued && fcntl(fd, F_GETFD) >= 0, "nor linkat(AT_EMPTY_PATH)");
}

/* Without any tree nothing needs work; but what is not plain is never said to need none. */
static const struct {
	int dirfd;
	const char *path;
	bool follow, plain;
} quick[] = {
	{AT_FDCWD, "/file", true, true},
	{AT_FDCWD, "//sub//inner", true, true},
	{AT_FDCWD, "inner", true, true},
	{AT_FDCWD, "dir/none", true, true},
	{9, "thing", true, true},
	{9, "none", true, true},
	{AT_FDCWD, ".", true, true},
	{AT_FDCWD, "/abs", true, false}, /* in the root of the agent it would be another file */
	{AT_FDCWD, "/abs", false, true},
	{AT_FDCWD, "/todir/inner", true, false},
	{AT_FDCWD, "/todir/inner", false, false},
	{AT_FDCWD, "../file", true, false},
	{AT_FDCWD, "dir/", true, false},
	{AT_FDCWD, "", true, false},
	{AT_FDCWD, "/", true, false},
	{AT_FDCWD, "none/deeper", true, false},
	{AT_FDCWD, "inner/deeper", true, false},
	{AT_FDCWD, "/etc/hostname", true, false}, /* there is no etc in that root */
	{77, "file", true, false},
	{77, "/file", true, true},
};

static void check_quick(const struct fixture *f)
{
	for (size_t i = 0; i < sizeof(quick) / sizeof(*quick); i++)
		ok(cow_quick_path(&f->target, quick[i].dirfd, quick[i].path, quick[i].follow) == quick[i].plain,
		   "\"%s\" from %d%s %s", quick[i].path, quick[i].dirfd, quick[i].follow ? "" : ", not followed,",
		   quick[i].plain ? "needs nothing" : "is left to others");
	ok(cow_quick_fd(&f->target, 9) && !cow_quick_fd(&f->target, 77) && cow_quick_handle(&f->target, 9) &&
		   !cow_quick_handle(&f->target, 77),
	   "what descriptors are on, if there are such");
	ok(f->agent.root == -1, "no root is kept before there are trees");
}

int main(void)
{
	struct fixture f = {.pid = -1};
	char name[300];

	set_up(&f);
	for (size_t i = 0; i < sizeof(expectations) / sizeof(*expectations); i++)
		ok(as_expected(&f, &expectations[i]), "\"%s\" from %d%s", expectations[i].path, expectations[i].dirfd,
		   expectations[i].follow ? "" : ", not followed");
	ok(as_user(&f), "with another's credentials, and back to the agent's");
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	ok(cow_resolve(&f.target, AT_FDCWD, name, true, &(struct cow_location){0}) == ENAMETOOLONG,
	   "a name that is too long");
	check_nothing_closed(&f);
	check_quick(&f);
	tear_down(&f);
	check_magic();
	return done_testing();
}
