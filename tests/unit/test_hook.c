/* The parts of cowrun-hook that mount (hooks/stack.c, stage.c, with runtime/graft/lower.c) and its Landlock ruleset, in
 * mount namespaces of their own. */
#include "../../hooks/landlock.c"
#include "../../hooks/stack.c"
#include "../../hooks/stage.c"

#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "../../runtime/graft/lower.h"
#include "../../runtime/lib/fd.h"
#include "tap.h"

static char scratch[PATH_MAX];

/* Runs each check in a process and a mount namespace of its own; its exit status is the number of the line that failed.
 */
#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			give_up(__LINE__, #condition);                                                                 \
	} while (0)

static void __attribute__((noreturn)) give_up(int line, const char *what)
{
	fprintf(stdout, "# line %d: %s (errno %d, %s)\n", line, what, errno, strerror(errno));
	fflush(stdout);
	_exit(1);
}

static void in_namespace(void (*scenario)(void), const char *what)
{
	int status;

	fflush(stdout);
	pid_t pid = fork();

	if (pid == 0) {
		CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
		CHECK(chdir(scratch) == 0);
		scenario();
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", what);
}

static void write_file(const char *path, const char *text)
{
	cleanup_close int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void remove_all(const char *path)
{
	fflush(stdout);
	pid_t pid = fork();

	if (pid == 0)
		execlp("rm", "rm", "-rf", "--one-file-system", path, (char *)NULL);
	waitpid(pid, NULL, 0);
}

static void make_dir(const char *path)
{
	CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
}

/* What the host has: a lower with a mount in it, and a branch. */
static void make_host(void)
{
	static const char *const dirs[] = {"t",
					   "t/lower",
					   "t/lower/sub",
					   "t/lower/nested",
					   "t/branch",
					   "t/branch/upper",
					   "t/branch/upper/data",
					   "t/branch/shadow",
					   "t/branch/stage",
					   "t/rootfs",
					   "t/rootfs/work",
					   "t/data"};

	remove_all("t");
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		make_dir(dirs[i]);
	write_file("t/lower/file", "lower");
	write_file("t/lower/sub/deep", "deep");
	write_file("t/data/in-data", "data");
	CHECK(mount("none", "t/lower/nested", "tmpfs", 0, NULL) == 0);
	write_file("t/lower/nested/inner", "inner");
}

static struct cow_hook_host open_host(void)
{
	struct cow_hook_host host = {
		.dir = open("t/branch", O_PATH | O_DIRECTORY | O_CLOEXEC),
		.upper = open("t/branch/upper", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.shadow = open("t/branch/shadow", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.lower = open("t/lower", O_PATH | O_DIRECTORY | O_CLOEXEC),
		.lower_tree = -1,
		.shadow_path = realpath("t/branch/shadow", NULL),
	};

	cleanup_free char *lower = realpath("t/lower", NULL);

	host.lower_tree = cow_lower_clone(lower, &host.locked, NULL);
	CHECK(host.dir >= 0 && host.upper >= 0 && host.shadow >= 0 && host.lower >= 0 && host.shadow_path != NULL &&
	      host.lower_tree >= 0);
	return host;
}

/* What a runtime does before the prestart hook. Returns the root. */
static int make_container(unsigned long flags)
{
	int rootfs;

	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount("t/rootfs", "t/rootfs", NULL, MS_BIND | MS_REC, NULL) == 0);
	CHECK(mount("t/branch/upper", "t/rootfs/work", NULL, MS_BIND, NULL) == 0);
	if (flags != 0)
		CHECK(mount(NULL, "t/rootfs/work", NULL, MS_REMOUNT | MS_BIND | flags, NULL) == 0);
	CHECK(mount("t/data", "t/rootfs/work/data", NULL, MS_BIND, NULL) == 0);
	rootfs = open("t/rootfs", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK(rootfs >= 0);
	return rootfs;
}

static struct cow_hook_layers stack(int rootfs, const struct cow_hook_host *host)
{
	struct cow_hook_layers layers = COW_HOOK_LAYERS_NONE;
	struct cow_hook_tree tree = {.workdir = "/work", .lower = realpath("t/lower", NULL)};
	struct cow_error *err = NULL;

	if (cow_hook_stack(&layers, rootfs, &tree, host, false, &err) < 0) {
		printf("# %s\n", err->message);
		CHECK(false);
	}
	CHECK(chdir(scratch) == 0); /* the hook leaves the working directory at the root */
	free(tree.lower);
	return layers;
}

static bool is_file(int dir, const char *path, const char *text)
{
	char data[64] = "";
	cleanup_close int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read(fd, data, sizeof(data) - 1) >= 0 && strcmp(data, text) == 0;
}

static bool fails_with(int errnum, long result)
{
	return result < 0 && errno == errnum;
}

static void layers_scenario(void)
{
	make_host();
	struct cow_hook_host host = open_host();
	int rootfs = make_container(0);
	struct cow_hook_layers l = stack(rootfs, &host);
	cleanup_close int seen = open("t/rootfs/work", O_PATH | O_DIRECTORY | O_CLOEXEC);

	CHECK(cow_same_object(seen, host.upper) && cow_same_object(l.upper, host.upper) &&
	      cow_same_object(l.shadow, host.shadow) && cow_same_object(l.lower, host.lower));
	CHECK(is_file(rootfs, "work/data/in-data", "data")); /* the runtime's mount below the workdir is kept */
	CHECK(is_file(l.lower, "file", "lower") && is_file(l.lower, "nested/inner", "inner"));
	CHECK(fails_with(EROFS, openat(l.lower, "file", O_WRONLY | O_CLOEXEC)));
	CHECK(fails_with(EROFS, openat(l.lower, "nested/inner", O_WRONLY | O_CLOEXEC)));
	CHECK(mkdirat(seen, "new", 0755) == 0 && faccessat(host.upper, "new", F_OK, 0) == 0);
	/* Take the layers off one by one: they are where they should be. */
	CHECK(umount2("t/rootfs/work/data", 0) == 0);
	cow_close_fd(&seen);
	cow_close_fd(&l.upper);
	cow_close_fd(&l.stage);
	CHECK(umount2("t/rootfs/work", 0) == 0);
	cleanup_close int second = open("t/rootfs/work", O_PATH | O_CLOEXEC);

	CHECK(cow_same_object(second, l.shadow));
	CHECK(umount2("t/rootfs/work", MNT_DETACH) == 0);
	cleanup_close int third = open("t/rootfs/work", O_PATH | O_CLOEXEC);

	CHECK(cow_same_object(third, l.lower));
	CHECK(umount2("t/rootfs/work", MNT_DETACH) == 0);
	cleanup_close int last = open("t/rootfs/work", O_PATH | O_CLOEXEC);

	CHECK(!cow_same_object(last, host.upper) && !mount_root(last));
}

/* No call of any process can make the lower's mounts, or clones of them, writable. */
static void lock_scenario(void)
{
	make_host();
	struct cow_hook_host host = open_host();
	int rootfs = make_container(0);
	struct cow_hook_layers l = stack(rootfs, &host);
	struct mount_attr writable = {.attr_clr = MOUNT_ATTR_RDONLY};
	cleanup_close int clone = open_tree(l.lower, "sub", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	long attr;

	CHECK(clone >= 0);
	CHECK(fails_with(EPERM, mount_setattr(l.lower, "", AT_EMPTY_PATH, &writable, sizeof(writable))));
	CHECK(fails_with(EPERM, mount_setattr(l.lower, "nested", 0, &writable, sizeof(writable))));
	CHECK(fails_with(EPERM, mount_setattr(clone, "", AT_EMPTY_PATH, &writable, sizeof(writable))));
	attr = syscall(467, l.lower, "sub", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC, &writable, sizeof(writable));
	CHECK(fails_with(EPERM, attr) || fails_with(ENOSYS, attr)); /* open_tree_attr, Linux 6.15 */
	/* A graft, once mounted, by path. */
	make_dir("t/rootfs/work/graft");
	CHECK(move_mount(clone, "", AT_FDCWD, "t/rootfs/work/graft", MOVE_MOUNT_F_EMPTY_PATH) == 0);
	CHECK(fails_with(EPERM, mount(NULL, "t/rootfs/work/graft", NULL, MS_REMOUNT | MS_BIND, NULL)));
	CHECK(fails_with(EROFS, open("t/rootfs/work/graft/deep", O_WRONLY | O_CLOEXEC)));
	/* It can still be moved and taken away, which the agent does. */
	make_dir("t/branch/shadow/graft");
	CHECK(move_mount(clone, "", l.shadow, "graft", MOVE_MOUNT_F_EMPTY_PATH) == 0);
	cow_close_fd(&clone);
	CHECK(fchdir(l.shadow) == 0 && umount2("graft", 0) == 0);
	/* The control: a mount that took no walk. */
	CHECK(chdir(scratch) == 0);
	cleanup_close int plain = clone_tree(AT_FDCWD, "t/lower/sub", MOUNT_ATTR_RDONLY, NULL);

	CHECK(plain >= 0 && mount_setattr(plain, "", AT_EMPTY_PATH, &writable, sizeof(writable)) == 0);
}

static void options_scenario(void)
{
	make_host();
	struct cow_hook_host host = open_host();
	int rootfs = make_container(MS_NOSUID | MS_NODEV);
	struct cow_hook_layers l = stack(rootfs, &host);
	struct statvfs fs;

	CHECK(fstatvfs(l.lower, &fs) == 0 && (fs.f_flag & ST_NOSUID) != 0 && (fs.f_flag & ST_NODEV) != 0 &&
	      (fs.f_flag & ST_RDONLY) != 0);
	CHECK(fstatvfs(l.upper, &fs) == 0 && (fs.f_flag & ST_NOSUID) != 0 && (fs.f_flag & ST_RDONLY) == 0);
	CHECK(fstatvfs(l.shadow, &fs) == 0 && (fs.f_flag & ST_NOSUID) != 0);
}

/* What the host mounts or unmounts in the lower later does not reach the container, and the other way round. */
static void private_scenario(void)
{
	make_host();
	CHECK(mount("t/lower", "t/lower", NULL, MS_BIND | MS_REC, NULL) == 0);
	CHECK(mount(NULL, "t/lower", NULL, MS_SHARED | MS_REC, NULL) == 0);
	struct cow_hook_host host = open_host();
	int rootfs = make_container(0);
	struct cow_hook_layers l = stack(rootfs, &host);

	CHECK(mount("none", "t/lower/sub", "tmpfs", 0, NULL) == 0);
	CHECK(is_file(AT_FDCWD, "t/lower/nested/inner", "inner") &&
	      faccessat(AT_FDCWD, "t/lower/sub/deep", F_OK, 0) < 0);
	CHECK(is_file(l.lower, "sub/deep", "deep"));
}

static void stage_scenario(void)
{
	struct timespec old[2] = {{1000000, 5}, {2000000, 7}};
	struct stat st, on_disk;

	make_host();
	make_dir("t/branch/upper/.cowrun-stage-0123456789abcdef"); /* a killed hook's */
	make_dir("t/branch/upper/.cowrun-stage-0123456789abcdeg"); /* somebody's own */
	make_dir("t/branch/upper/.cowrun-stage-00000000000000ff");
	write_file("t/branch/upper/.cowrun-stage-00000000000000ff/full", "kept");
	CHECK(utimensat(AT_FDCWD, "t/branch/upper", old, 0) == 0);
	struct cow_hook_host host = open_host();
	int rootfs = make_container(0);
	struct cow_hook_layers l = stack(rootfs, &host);

	CHECK(fstat(host.upper, &st) == 0 && st.st_mtim.tv_sec == 2000000 && st.st_mtim.tv_nsec == 7);
	CHECK(faccessat(host.upper, ".cowrun-stage-0123456789abcdef", F_OK, 0) < 0);
	CHECK(faccessat(host.upper, ".cowrun-stage-0123456789abcdeg", F_OK, 0) == 0);
	CHECK(faccessat(host.upper, ".cowrun-stage-00000000000000ff/full", F_OK, 0) == 0);
	CHECK(fstat(l.stage, &st) == 0 && fstatat(host.dir, "stage", &on_disk, 0) == 0 && st.st_ino == on_disk.st_ino &&
	      (st.st_mode & 07777) == 0700);
	/* What is made in the stage is on the mount that the container has: no EXDEV on the way out. */
	CHECK(mkdirat(l.stage, "made", 0755) == 0 && renameat(l.stage, "made", l.upper, "made") == 0);
	CHECK(faccessat(rootfs, "work/made", F_OK, 0) == 0);
	/* Nothing of it can be seen in the workdir. */
	fflush(stdout);
	CHECK(system("test \"$(ls -A t/rootfs/work | sort | tr '\\n' ' ')\" = "
		     "'.cowrun-stage-00000000000000ff .cowrun-stage-0123456789abcdeg data made '") == 0);
}

static void leftovers_scenario(void)
{
	make_host();
	cleanup_close int deep = open("t/branch/stage", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *stage = NULL;
	size_t n = 0;

	for (int level = 0; level < 3000; level++) { /* deeper than a path can name */
		CHECK(mkdirat(deep, "d", 0755) == 0 && mkdirat(deep, "hoisted.3", 0) == 0 &&
		      symlinkat("/", deep, "link") == 0);
		int next = openat(deep, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		CHECK(next >= 0 && dup3(next, deep, O_CLOEXEC) == deep && close(next) == 0);
	}
	CHECK(symlinkat("/", deep, "link") == 0 && mknodat(deep, "fifo", S_IFIFO | 0600, 0) == 0);
	struct cow_hook_host host = open_host();
	int rootfs = make_container(0);

	stack(rootfs, &host);
	stage = opendir("t/branch/stage");
	CHECK(stage != NULL);
	while (readdir(stage) != NULL)
		n++;
	CHECK(n == 2); /* . and .. */
}

static void refuses(const char *workdir, int rootfs, const struct cow_hook_host *host, const char *lower,
		    const char *part)
{
	struct cow_hook_layers layers = COW_HOOK_LAYERS_NONE;
	char path[PATH_MAX], place[] = "/work";
	struct cow_hook_tree tree = {.workdir = workdir != NULL ? strdup(workdir) : place, .lower = path};
	cleanup_error struct cow_error *err = NULL;

	CHECK(realpath(lower, path) != NULL);
	CHECK(cow_hook_stack(&layers, rootfs, &tree, host, false, &err) < 0 && err != NULL);
	if (strstr(err->message, part) == NULL)
		printf("# %s\n", err->message);
	CHECK(strstr(err->message, part) != NULL);
	CHECK(chdir(scratch) == 0);
}

static void refusals_scenario(void)
{
	make_host();
	struct cow_hook_host host = open_host();
	int rootfs = make_container(0);

	CHECK(symlink("../../../../../../../../etc", "t/rootfs/escape") == 0);
	make_dir("t/rootfs/plain");
	make_dir("t/rootfs/etc");
	refuses("/nowhere", rootfs, &host, "t/lower", "No such file");
	refuses("/plain", rootfs, &host, "t/lower", "did not mount the branch");
	refuses("/escape", rootfs, &host, "t/lower", "did not mount the branch");
	refuses("/work/data", rootfs, &host, "t/lower", "did not mount the branch");
	CHECK(mount("none", "t/rootfs/work", "tmpfs", 0, NULL) == 0);
	refuses(NULL, rootfs, &host, "t/lower", "did not mount the branch");
	CHECK(umount2("t/rootfs/work", 0) == 0);
	close(host.lower);
	host.lower = open("t/data", O_PATH | O_DIRECTORY | O_CLOEXEC);
	refuses(NULL, rootfs, &host, "t/data", "another directory");
}

/* A user namespace may forbid itself to have children: then there is no lock. */
static void no_userns_scenario(void)
{
	struct cow_hook_layers layers = COW_HOOK_LAYERS_NONE;
	char lower[PATH_MAX], place[] = "/work";
	struct cow_hook_tree tree = {.workdir = place, .lower = lower};
	cleanup_error struct cow_error *err = NULL;

	make_host();
	CHECK(realpath("t/lower", lower) != NULL);
	CHECK(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0);
	write_file("/proc/self/setgroups", "deny");
	write_file("/proc/self/uid_map", "0 0 1\n");
	write_file("/proc/self/gid_map", "0 0 1\n");
	write_file("/proc/sys/user/max_user_namespaces", "0\n");
	struct cow_hook_host host = open_host();
	int rootfs = make_container(0);

	CHECK(cow_hook_stack(&layers, rootfs, &tree, &host, false, &err) < 0 &&
	      strstr(err->message, "user namespaces") != NULL);
	CHECK(chdir(scratch) == 0 && mount("t/branch/upper", "t/rootfs/work", NULL, MS_BIND, NULL) == 0);
	CHECK(cow_hook_stack(&layers, rootfs, &tree, &host, true, NULL) == 0);
	CHECK(fails_with(EROFS, openat(layers.lower, "file", O_WRONLY | O_CLOEXEC)));
}

/* A static program to run inside: the built cowrun-init, beside this one's directory. */
static void copy_program(const char *to)
{
	char self[PATH_MAX], command[2 * PATH_MAX + 32];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	CHECK(n > 0);
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	snprintf(command, sizeof(command), "cp '%s/../bin/cowrun-init' '%s'", self, to);
	fflush(stdout);
	CHECK(system(command) == 0);
}

static int exit_status_of(int dir, const char *path)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char *argv[] = {"cowrun-init", NULL};

		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
		syscall(SYS_execveat, dir, path, argv, argv + 1, 0);
		_exit(errno == EACCES ? 1 : 2);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void landlock_scenario(void)
{
	make_host();
	copy_program("t/branch/upper/program");
	copy_program("t/lower/sub/program");
	copy_program("t/program");
	cleanup_close int log = open("t/log", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	CHECK(dup2(log, STDERR_FILENO) >= 0);
	struct cow_hook_host host = open_host();
	int rootfs = make_container(0);
	struct cow_hook_layers l = stack(rootfs, &host);
	cleanup_close int leaked = open("t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int dirs[] = {rootfs, l.upper, l.shadow};
	cleanup_error struct cow_error *err = NULL;
	cleanup_close int ruleset = cow_hook_ruleset(getpid(), dirs, 3, &err), graft = -1;

	if (ruleset < 0)
		printf("# %s\n", err->message);
	CHECK(ruleset >= 0);
	graft = open_tree(l.lower, "sub", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	make_dir("t/rootfs/work/sub");
	CHECK(move_mount(graft, "", l.upper, "sub", MOVE_MOUNT_F_EMPTY_PATH) == 0);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0);

	CHECK(fails_with(EACCES, openat(leaked, "lower/file", O_RDONLY | O_CLOEXEC)));
	CHECK(fails_with(EACCES, openat(leaked, "branch/upper/../../data/in-data", O_RDONLY | O_CLOEXEC)));
	CHECK(fails_with(EACCES, openat(leaked, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
	CHECK(fails_with(EACCES, mkdirat(leaked, "new", 0755)));
	CHECK(fails_with(EACCES, openat(leaked, "log", O_RDONLY | O_CLOEXEC))); /* it is open for writing only */
	CHECK(exit_status_of(leaked, "program") == 1);
	CHECK(exit_status_of(rootfs, "work/program") == 125 && exit_status_of(rootfs, "work/sub/program") == 125);
	CHECK(is_file(rootfs, "work/sub/deep", "deep") && is_file(rootfs, "work/data/in-data", "data"));
	CHECK(mkdirat(rootfs, "work/made", 0755) == 0 && renameat(rootfs, "work/made", rootfs, "moved") < 0 &&
	      errno == EXDEV);
	CHECK(mkdirat(rootfs, "in-root", 0755) == 0 && mkdirat(rootfs, "work/data/made", 0755) == 0);
	cleanup_close int again = open("/proc/self/fd/2", O_WRONLY | O_CLOEXEC);

	CHECK(again >= 0); /* stdio that is a file of the host can be opened anew */
}

static void rights_scenario(void)
{
	CHECK(rights_of(1) == 0x1fff && rights_of(2) == 0x3fff && rights_of(3) == 0x7fff && rights_of(4) == 0x7fff &&
	      rights_of(5) == 0xffff && rights_of(7) == 0xffff && rights_of(99) == 0xffff);
}

int main(void)
{
	struct statvfs fs;

	if (geteuid() != 0) {
		skip("mounting needs root");
		return done_testing();
	}
	snprintf(scratch, sizeof(scratch), "/var/tmp/test_hook.XXXXXX");
	if (mkdtemp(scratch) == NULL || statvfs(scratch, &fs) < 0)
		return 1;
	in_namespace(layers_scenario, "lower, shadow and upper at the workdir, with the runtime's mounts below it");
	in_namespace(lock_scenario, "the lower's mounts and their clones stay read-only, whoever asks");
	in_namespace(options_scenario, "nosuid and nodev of the workdir's mount hold for all layers");
	in_namespace(private_scenario, "nothing is propagated");
	in_namespace(stage_scenario, "the stage: beside the upper, on the container's mount");
	in_namespace(leftovers_scenario, "what an earlier run left in the stage goes, however deep");
	in_namespace(refusals_scenario, "what is not the branch's mount is refused");
	in_namespace(no_userns_scenario, "without user namespaces: an error, unless the filter is cowrun's own");
	in_namespace(landlock_scenario, "Landlock: a leaked handle is useless, programs in upper and grafts run");
	in_namespace(rights_scenario, "the rights of each Landlock ABI");
	remove_all(scratch);
	return done_testing();
}
