/*
 * The engine without a listener. Each scenario runs in a process that plays the agent, in a mount namespace of its own
 * ("the host's"); a child of it is "the container", with another namespace in which the hook's own code has mounted
 * lower, shadow and upper. All mounts end with these processes, however a scenario ends.
 */
#pragma once

#include "../../hooks/stack.c"
#include "../../hooks/stage.c"

#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#include "../../runtime/graft/lower.h"
#include "../../runtime/graft/tree.h"
#include "tap.h"

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			give_up(__FILE__, __LINE__, #condition);                                                       \
	} while (0)

static void __attribute__((noreturn)) give_up(const char *file, int line, const char *what)
{
	fprintf(stdout, "# %s:%d: %s (errno %d, %s)\n", file, line, what, errno, strerror(errno));
	fflush(stdout);
	_exit(1);
}

struct fixture {
	char scratch[PATH_MAX];
	char lower[PATH_MAX]; /* the user's directory */
	char store[PATH_MAX];
	char view[PATH_MAX]; /* the workdir, through the container's mounts */
	bool no_handles;     /* as on a file system that has none */
	size_t mounts;       /* cow_tree_limit() */
	char volume[256];    /* if not "": where below the workdir the runtime mounts something of its own */
	struct cow_branch *branch;
	struct cow_tree *tree;
	pid_t container;
	int host_ns, container_ns;
	int work; /* the workdir as the container sees it, O_PATH */
};

/* Paths for one call; a few at a time. */
static const char *vpath(const char *base, const char *fmt, va_list ap)
{
	static __thread char ring[8][PATH_MAX + 256];
	static __thread unsigned next;
	char *out = ring[next++ % 8];
	int n = snprintf(out, PATH_MAX, "%s/", base);

	vsnprintf(out + n, PATH_MAX + 256 - (size_t)n, fmt, ap);
	return out;
}

/* What the container sees at the workdir; what the user has; what the branch has on disk. */
#define PATH_FUNCTION(function, base)                                                                                  \
	static inline const char *__attribute__((format(printf, 2, 3)))                                                \
	function(const struct fixture *f, const char *fmt, ...)                                                        \
	{                                                                                                              \
		va_list ap;                                                                                            \
		const char *path;                                                                                      \
                                                                                                                       \
		va_start(ap, fmt);                                                                                     \
		path = vpath(base, fmt, ap);                                                                           \
		va_end(ap);                                                                                            \
		return path;                                                                                           \
	}
PATH_FUNCTION(seen, f->view)
PATH_FUNCTION(lower, f->lower)
PATH_FUNCTION(on_disk, f->store)

static inline void write_file(const char *path, const char *text)
{
	cleanup_close int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static inline void make_dir(const char *path)
{
	CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
}

static inline bool has_text(const char *path, const char *text)
{
	char data[256] = "";
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool same = fd >= 0 && read(fd, data, sizeof(data) - 1) >= 0 && strcmp(data, text) == 0;

	if (!same)
		printf("# %s: \"%s\" instead of \"%s\" (fd %d, %s)\n", path, data, text, fd, strerror(errno));
	return same;
}

static inline bool fd_has_text(int fd, const char *text)
{
	char data[256] = "";

	return pread(fd, data, sizeof(data) - 1, 0) >= 0 && strcmp(data, text) == 0;
}

static inline bool exists(const char *path)
{
	return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Is it the very inode? Untouched files are. */
static inline bool same_file(const char *a, const char *b)
{
	struct stat sa, sb;

	return lstat(a, &sa) == 0 && lstat(b, &sb) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

static inline size_t count_entries(const char *path)
{
	cleanup_dir DIR *dir = opendir(path);
	size_t n = 0;

	CHECK(dir != NULL);
	for (const struct dirent *e; (e = readdir(dir)) != NULL;)
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	return n;
}

static inline int open_path(const char *path)
{
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		printf("# %s: %s\n", path, strerror(errno));
	return fd;
}

/* The real directory at a path below the workdir, split if need be. */
static inline int real_of(struct fixture *f, const char *path)
{
	cleanup_close int fd = open_path(seen(f, "%s", path));
	int real = cow_tree_real_directory(f->tree, fd);

	CHECK(real >= 0);
	return real;
}

static inline enum cow_place_kind kind_of(struct fixture *f, const char *path)
{
	cleanup_close int fd = open_path(seen(f, "%s", path));

	return cow_tree_place(f->tree, fd);
}

static inline double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

/* The container's first process: makes its namespace as a runtime does before the hook, and stays. */
static inline void be_container(const struct fixture *f, int ready)
{
	char upper[PATH_MAX + 64], root[PATH_MAX + 64], work[PATH_MAX + 64];

	snprintf(upper, sizeof(upper), "%s/branches/b/trees/0/upper", f->store);
	snprintf(root, sizeof(root), "%s/root", f->scratch);
	snprintf(work, sizeof(work), "%s/root/work", f->scratch);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount(root, root, NULL, MS_BIND | MS_REC, NULL) == 0 && mount(upper, work, NULL, MS_BIND, NULL) == 0);
	if (f->volume[0] != '\0') {
		char at[PATH_MAX + 512];

		snprintf(at, sizeof(at), "%s/%s", work, f->volume);
		CHECK(mount("none", at, "tmpfs", 0, NULL) == 0);
		strcat(at, "/inside");
		write_file(at, "volume\n");
	}
	CHECK(write(ready, "", 1) == 1);
	for (;;)
		pause();
}

static inline void start_container(struct fixture *f)
{
	int ready[2];
	char path[64], byte;

	CHECK(pipe2(ready, O_CLOEXEC) == 0);
	fflush(stdout);
	f->container = fork();
	if (f->container == 0)
		be_container(f, ready[1]);
	close(ready[1]);
	CHECK(read(ready[0], &byte, 1) == 1);
	close(ready[0]);
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)f->container);
	f->container_ns = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(f->container_ns >= 0);
	snprintf(f->view, sizeof(f->view), "/proc/%d/root%.3000s/root/work", (int)f->container, f->scratch);
}

/* What cowrun-hook does. */
static inline struct cow_tree_fds run_hook(struct fixture *f)
{
	struct cow_hook_layers l = COW_HOOK_LAYERS_NONE;
	struct cow_hook_tree tree = {.workdir = "/work", .lower = f->lower};
	struct cow_error *err = NULL;
	char root[PATH_MAX + 64];
	struct cow_hook_host host = {
		.upper = cow_branch_open(f->branch, 0, "upper", NULL),
		.shadow = cow_branch_open(f->branch, 0, "shadow", NULL),
		.lower = open(f->lower, O_PATH | O_DIRECTORY | O_CLOEXEC),
		.shadow_path = cow_branch_path(f->store, "b", 0, "shadow"),
	};

	host.dir = openat(host.upper, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	host.lower_tree = cow_lower_clone(f->lower, &host.locked, NULL);
	CHECK(host.dir >= 0 && host.shadow >= 0 && host.lower >= 0 && host.lower_tree >= 0);
	CHECK(setns(f->container_ns, CLONE_NEWNS) == 0);
	snprintf(root, sizeof(root), "%s/root", f->scratch);
	cleanup_close int rootfs = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (cow_hook_stack(&l, rootfs, &tree, &host, true, &err) < 0) {
		printf("# %s\n", err->message);
		CHECK(false);
	}
	CHECK(setns(f->host_ns, CLONE_NEWNS) == 0);
	close(host.dir);
	close(host.upper);
	close(host.shadow);
	close(host.lower);
	close(host.lower_tree);
	free(host.shadow_path);
	return (struct cow_tree_fds){.upper = l.upper, .shadow = l.shadow, .stage = l.stage, .lower = l.lower};
}

/* A container on the branch "b", made if it is new. False if the engine could not attach. */
static inline bool try_start(struct fixture *f)
{
	struct cow_branch_tree spec = {.workdir = (char *)"/work", .lower = f->lower};
	struct cow_error *err = NULL;
	struct cow_tree_fds fds;
	bool made;

	f->branch = cow_branch_create(f->store, "b", "id", &spec, 1, &made, &err);
	CHECK(f->branch != NULL);
	start_container(f);
	fds = run_hook(f);
	f->tree = cow_tree_new(f->branch, 0, &fds, f->container_ns, f->host_ns, &err);
	if (f->tree != NULL && f->no_handles)
		f->tree->handles = false;
	if (f->tree != NULL)
		cow_tree_limit(f->tree, f->mounts);
	if (f->tree == NULL || cow_tree_attach(f->tree, &err) != 0) {
		printf("# %s\n", err->message);
		cow_error_free(err);
		return false;
	}
	f->work = open(f->view, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK(f->work >= 0);
	return true;
}

static inline void start(struct fixture *f)
{
	CHECK(try_start(f));
}

static inline void stop(struct fixture *f)
{
	cow_tree_free(f->tree);
	f->tree = NULL;
	cow_close_fd(&f->work);
	cow_close_fd(&f->container_ns);
	kill(f->container, SIGKILL);
	CHECK(waitpid(f->container, NULL, 0) == f->container);
	cow_branch_free(f->branch);
	f->branch = NULL;
}

/* A process of the container, with the workdir as its working directory. Returns the exit status of `body`. */
static inline pid_t start_inside(const struct fixture *f, int (*body)(const struct fixture *f, void *data), void *data)
{
	char work[PATH_MAX + 64];
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(work, sizeof(work), "%s/root/work", f->scratch);
	CHECK(unshare(CLONE_FS) == 0 && setns(f->container_ns, CLONE_NEWNS) == 0 && chdir(work) == 0);
	int status = body(f, data);

	fflush(stdout);
	_exit(status);
}

static inline int end_inside(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static inline int inside(const struct fixture *f, int (*body)(const struct fixture *f, void *data), void *data)
{
	return end_inside(start_inside(f, body, data));
}

static inline void remove_all(const char *path)
{
	fflush(stdout);
	pid_t pid = fork();

	if (pid == 0)
		execlp("rm", "rm", "-rf", path, (char *)NULL);
	waitpid(pid, NULL, 0);
}

/* The user's directory that the scenarios begin with. */
static inline void make_lower(const struct fixture *f)
{
	make_dir(f->lower);
	write_file(lower(f, "top"), "top\n");
	make_dir(lower(f, "src"));
	write_file(lower(f, "src/a.c"), "int a;\n");
	write_file(lower(f, "src/b.c"), "int b;\n");
	make_dir(lower(f, "src/deep"));
	make_dir(lower(f, "src/deep/er"));
	write_file(lower(f, "src/deep/er/leaf"), "leaf\n");
	make_dir(lower(f, "doc"));
	write_file(lower(f, "doc/readme"), "read me\n");
	make_dir(lower(f, "empty"));
	CHECK(symlink("src/a.c", lower(f, "link")) == 0);
}

static inline void be_agent(void (*scenario)(struct fixture *f), const char *scratch)
{
	struct fixture f = {.host_ns = -1, .container_ns = -1, .work = -1};

	CHECK(realpath(scratch, f.scratch) != NULL);
	snprintf(f.lower, sizeof(f.lower), "%.3000s/lower", f.scratch);
	snprintf(f.store, sizeof(f.store), "%.3000s/store", f.scratch);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHECK(unshare(CLONE_NEWNS | CLONE_FS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	f.host_ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	make_dir(f.store);
	{
		char root[PATH_MAX + 64];

		snprintf(root, sizeof(root), "%s/root", f.scratch);
		make_dir(root);
		strcat(root, "/work");
		make_dir(root);
	}
	make_lower(&f);
	scenario(&f);
	if (f.tree != NULL)
		stop(&f);
	close(f.host_ns);
	fflush(stdout);
	exit(0); /* not _exit(): the leak checker speaks here */
}

static inline struct stat stat_of(const char *path)
{
	struct stat st;

	CHECK(lstat(path, &st) == 0);
	return st;
}

/* Are they one real file, and nothing else is? `paths` ends with NULL. */
static inline bool one_file(struct fixture *f, const char *const *paths)
{
	size_t count = 0;

	for (; paths[count] != NULL; count++)
		if (kind_of(f, paths[count]) != COW_PLACE_UPPER ||
		    !same_file(seen(f, "%s", paths[0]), seen(f, "%s", paths[count]))) {
			printf("# %s\n", paths[count]);
			return false;
		}
	return stat_of(seen(f, "%s", paths[0])).st_nlink == count;
}

/* `base`: where the scratch directory is made: "/var/tmp" for a real disk, "/dev/shm" for tmpfs. */
static inline void scenario_at(const char *base, void (*scenario)(struct fixture *f), const char *what)
{
	char scratch[64];
	int status;

	snprintf(scratch, sizeof(scratch), "%s/cowrun-graft.XXXXXX", base);
	CHECK(mkdtemp(scratch) != NULL);
	fflush(stdout);
	pid_t pid = fork();

	if (pid == 0)
		be_agent(scenario, scratch);
	CHECK(waitpid(pid, &status, 0) == pid);
	remove_all(scratch);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s (%s)", what, base);
}

static inline void run_scenario(void (*scenario)(struct fixture *f), const char *what)
{
	scenario_at("/dev/shm", scenario, what);
}

#define SKIP_UNLESS_ROOT()                                                                                             \
	do {                                                                                                           \
		if (geteuid() != 0) {                                                                                  \
			skip("needs root");                                                                            \
			return done_testing();                                                                         \
		}                                                                                                      \
	} while (0)
