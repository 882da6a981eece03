/* runtime/agent/creds: credentials of another process, its user namespace among them, and what they let it do. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../runtime/agent/agent.h"
#include "../../runtime/lib/fd.h"
#include "tap.h"

static char dir[] = "/tmp/test_credsXXXXXX";
static int proc;

/* A process that waits, in a user namespace of its own if it is given maps ("" : of its own, but nothing is mapped). */
struct subject {
	pid_t pid;
	int dir;
};

static bool write_map(pid_t pid, const char *name, const char *text)
{
	char path[64];
	cleanup_close int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static void become(const char *map, uid_t uid, gid_t gid, const gid_t *groups, size_t ngroups)
{
	if (map != NULL && unshare(CLONE_NEWUSER) != 0)
		_exit(1);
	if (uid != 0 && (syscall(SYS_setgroups, ngroups, groups) != 0 || syscall(SYS_setresgid, gid, gid, gid) != 0 ||
			 syscall(SYS_setresuid, uid, uid, uid) != 0))
		_exit(1);
}

static bool start(struct subject *s, const char *map, uid_t uid, gid_t gid, const gid_t *groups, size_t ngroups)
{
	char path[32], byte;
	int ready[2];

	if (pipe2(ready, O_CLOEXEC) != 0)
		return false;
	s->pid = fork();
	if (s->pid == 0) {
		become(map, uid, gid, groups, ngroups);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	close(ready[1]);
	snprintf(path, sizeof(path), "%d", (int)s->pid);
	s->dir = openat(proc, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool up = s->dir >= 0 && read(ready[0], &byte, 1) == 1;

	close(ready[0]);
	return up && (map == NULL || *map == '\0' ||
		      (write_map(s->pid, "uid_map", map) && write_map(s->pid, "gid_map", map)));
}

static void stop(struct subject *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	cow_close_fd(&s->dir);
}

/* A new file or directory of that owner. O_PATH descriptor. */
static int make(const char *name, mode_t mode, uid_t owner)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (S_ISDIR(mode) ? mkdir(path, 0700) : mknod(path, S_IFREG | 0600, 0))
		return -1;
	if (chown(path, owner, owner) != 0 || chmod(path, mode & 07777) != 0)
		return -1;
	return open(path, O_PATH | O_CLOEXEC);
}

static int permitted(const struct cow_creds *c, const char *name, mode_t mode, uid_t owner, int mask)
{
	cleanup_close int fd = make(name, mode, owner);

	return fd < 0 ? -1 : cow_creds_permit(c, fd, mask);
}

static bool ours_again(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	return syscall(SYS_capget, &header, data) == 0 && data[0].effective == data[0].permitted &&
	       access("/proc/self/ns/user", F_OK) == 0 && syscall(SYS_setfsuid, -1) == geteuid();
}

static void test_same_namespace(void)
{
	static const gid_t groups[] = {2000, 3000};
	cleanup_creds struct cow_creds c = COW_CREDS_NONE;
	struct subject s;

	ok(start(&s, NULL, 1000, 1001, groups, 2) && cow_creds_of(s.dir, proc, &c) == 0, "an ordinary process");
	ok(c.fsuid == 1000 && c.fsgid == 1001 && c.ngroups == 2 && c.groups[1] == 3000 && c.caps == 0 && c.userns < 0,
	   "its ids, groups and capabilities");
	ok(permitted(&c, "own", 0600, 1000, R_OK | W_OK) == 0, "its own file");
	ok(permitted(&c, "member", 0060, 3000, R_OK | W_OK) == 0, "a file of its group's");
	ok(permitted(&c, "other", 0660, 4000, R_OK) == EACCES, "a file of somebody else's");
	ok(ours_again(), "and the thread is its own again");
	stop(&s);
}

static int find_fd(void *data)
{
	*(int *)data = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *(int *)data >= 0 ? 0 : errno;
}

static int give_away(void *data)
{
	return chown(data, 5, 6) == 0 ? 0 : errno;
}

static int steal(void *data)
{
	return chown(data, 3000, 3000) == 0 ? 0 : errno;
}

static void test_another_namespace(void)
{
	cleanup_creds struct cow_creds c = COW_CREDS_NONE;
	cleanup_close int file = make("given", 0600, 1000), fd = -1;
	char path[128];
	struct stat st;
	struct subject s;

	snprintf(path, sizeof(path), "%s/given", dir);
	ok(start(&s, "0 1000 1\n5 3000 2\n", 0, 0, NULL, 0) && cow_creds_of(s.dir, proc, &c) == 0 && c.userns >= 0,
	   "a process in a user namespace");
	ok(c.uids.count == 2 && c.uids.ranges[1].inside == 5 && c.uids.ranges[1].outside == 3000, "its map");
	ok(permitted(&c, "mapped", 0, 1000, R_OK | W_OK) == 0, "its capabilities reach a mapped owner's file");
	ok(permitted(&c, "mapped2", 0, 3001, R_OK | W_OK) == 0, "and another's");
	ok(permitted(&c, "unmapped", 0, 3002, R_OK) == EACCES, "but no further");
	ok(cow_creds_run(&c, find_fd, &fd) == 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode),
	   "what an errand opens is open here");
	ok(cow_creds_run(&c, give_away, path) == 0 && fstat(file, &st) == 0 && st.st_uid == 3000 && st.st_gid == 3001,
	   "ids mean what they mean there");
	ok(cow_creds_run(&c, steal, path) == EINVAL, "and no others are");
	ok(ours_again(), "the thread is its own all the while");
	stop(&s);
}

static void test_sticky(void)
{
	cleanup_creds struct cow_creds c = COW_CREDS_NONE;
	cleanup_close int sticky = make("sticky", S_IFDIR | 01777, 4000);
	cleanup_close int mapped = make("theirs", 0600, 3000), unmapped = make("strangers", 0600, 4001);
	struct stat a, b;
	struct subject s;

	ok(start(&s, "0 1000 1\n5 3000 2\n", 0, 0, NULL, 0) && cow_creds_of(s.dir, proc, &c) == 0 &&
		   fstat(mapped, &a) == 0 && fstat(unmapped, &b) == 0,
	   "in a sticky directory");
	ok(cow_creds_permit_delete(&c, sticky, &a) == 0, "the entry of a mapped owner");
	ok(cow_creds_permit_delete(&c, sticky, &b) == EPERM, "and that of another");
	stop(&s);
}

static void test_real_ids(void)
{
	cleanup_creds struct cow_creds c = COW_CREDS_NONE;
	struct subject s;

	ok(start(&s, "0 0 1\n", 0, 0, NULL, 0) && cow_creds_of(s.dir, proc, &c) == 0, "root there");
	c.caps = 0;
	cow_creds_use_real(&c);
	ok(c.caps == c.permitted && c.caps != 0, "access(2) asks with its permitted capabilities");
	c.uid = 1;
	cow_creds_use_real(&c);
	ok(c.caps == 0, "and with none for others");
	stop(&s);
}

static void test_no_map(void)
{
	cleanup_creds struct cow_creds c = COW_CREDS_NONE;
	struct subject s;

	ok(start(&s, "", 0, 0, NULL, 0) && cow_creds_of(s.dir, proc, &c) == 0 && c.uids.count == 0,
	   "a namespace whose map nobody has written");
	ok(permitted(&c, "nomap", 0, 1000, R_OK) == EACCES, "reaches nothing");
	stop(&s);
}

struct storm {
	const struct cow_creds *creds;
	int yes, no;
	bool right;
};

static void *storm(void *data)
{
	struct storm *s = data;

	s->right = unshare(CLONE_FS) == 0;
	for (int i = 0; i < 300; i++)
		s->right = s->right && cow_creds_permit(s->creds, s->yes, W_OK) == 0 &&
			   cow_creds_permit(s->creds, s->no, W_OK) == EACCES;
	return NULL;
}

static void test_threads(void)
{
	cleanup_creds struct cow_creds here = COW_CREDS_NONE;
	cleanup_creds struct cow_creds there = COW_CREDS_NONE;
	cleanup_close int a = make("storm1", 0600, 1000), b = make("storm2", 0600, 3002);
	struct subject s1, s2;
	struct storm storms[6];
	pthread_t threads[6];
	bool right = start(&s1, NULL, 1000, 1000, NULL, 0) && start(&s2, "0 1000 1\n", 0, 0, NULL, 0) &&
		     cow_creds_of(s1.dir, proc, &here) == 0 && cow_creds_of(s2.dir, proc, &there) == 0;

	for (size_t i = 0; i < 6; i++) {
		storms[i] = (struct storm){.creds = i % 2 ? &here : &there, .yes = a, .no = b};
		right = pthread_create(&threads[i], NULL, storm, &storms[i]) == 0 && right;
	}
	for (size_t i = 0; i < 6; i++)
		right = pthread_join(threads[i], NULL) == 0 && storms[i].right && right;
	ok(right, "threads with different credentials do not disturb each other");
	stop(&s1);
	stop(&s2);
}

int main(void)
{
	char command[64];

	if (geteuid() != 0) {
		skip("needs root");
		return done_testing();
	}
	umask(0);
	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (mkdtemp(dir) == NULL || chmod(dir, 0711) != 0)
		return 1;
	test_same_namespace();
	test_another_namespace();
	test_sticky();
	test_real_ids();
	test_no_map();
	test_threads();
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ok(system(command) == 0, "cleaned up");
	return done_testing();
}
