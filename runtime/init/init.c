#include "inherited.h"
#include "protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * cowrun-init [--listener-fd N] [--landlock] [--cwd DIR] -- ARGV…
 *
 * The first program of every process that the delegate starts in the container. It puts itself under the filter and
 * Landlock and becomes the user's command. It runs inside a foreign image: static, without stdio or heap, and it reads
 * no file.
 *
 * Order matters:
 *   1. not dumpable, so that no other process in the container can take the descriptors it holds (exec undoes it);
 *      Then directories of the host that somebody forgot to close are closed (inherited.c);
 *   2. no_new_privs, without which neither a filter nor Landlock may be installed;
 *   3. the filter (protocol.h). From then on every call of the table waits for the agent, which does not serve this
 *      listener before it got it: nothing but read, write, sendmsg and close until the agent's 'k';
 *   4. Landlock. The ruleset comes from the agent as the answer to a call that the kernel itself would fail;
 *   5. chdir once more, under the agent's eyes: a working directory inside a graft is split;
 *   6. exec.
 * A step that fails ends the program: an unprotected command is never run. Umask, signal mask, dispositions,
 * environment and descriptors that are not ours stay as they were.
 */

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self  446
#endif

/* 125: cowrun's own failure, as podman and docker use it. 126 and 127: the shell's "cannot execute" and "not found". */
enum { EXIT_OURS = 125, EXIT_CANNOT_EXECUTE = 126, EXIT_NOT_FOUND = 127 };

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct options {
	int listener_fd; /* -1: the delegate loaded the filter */
	bool landlock;
	const char *cwd; /* NULL: stay */
	char **argv;
};

/* Text in a fixed buffer; what does not fit is cut off. */
struct text {
	char data[PATH_MAX + 512];
	size_t len;
};

static void add(struct text *t, const char *s)
{
	size_t n = strlen(s);

	if (n > sizeof(t->data) - t->len)
		n = sizeof(t->data) - t->len;
	memcpy(t->data + t->len, s, n);
	t->len += n;
}

static void add_number(struct text *t, unsigned long n)
{
	char digits[24], *p = digits + sizeof(digits);

	*--p = '\0';
	do {
		*--p = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	add(t, p);
}

/* "cowrun-init: BEFORE NAME AFTER: strerror" in one write. */
static void __attribute__((noreturn))
die(int status, int errnum, const char *before, const char *name, const char *after)
{
	struct text t = {.len = 0};

	add(&t, "cowrun-init: ");
	add(&t, before);
	add(&t, name);
	add(&t, after);
	if (errnum != 0) {
		add(&t, ": ");
		add(&t, strerror(errnum));
	}
	if (t.len == sizeof(t.data))
		t.len--;
	t.data[t.len++] = '\n';
	if (write(STDERR_FILENO, t.data, t.len) < 0) {
		/* Nobody is there to be told; the status says it too. */
	}
	_exit(status);
}

static void __attribute__((noreturn)) fail(int errnum, const char *what)
{
	die(EXIT_OURS, errnum, what, "", "");
}

static int parse_fd(const char *s)
{
	int n = 0;

	if (s == NULL || *s == '\0')
		fail(0, "--listener-fd needs a number");
	for (; *s != '\0'; s++) {
		if (*s < '0' || *s > '9' || n > 99999)
			fail(0, "--listener-fd is no descriptor");
		n = 10 * n + (*s - '0');
	}
	return n;
}

static struct options parse(char **argv)
{
	struct options o = {.listener_fd = -1};

	for (argv++; *argv != NULL && strcmp(*argv, "--") != 0; argv++) {
		if (strcmp(*argv, "--landlock") == 0)
			o.landlock = true;
		else if (strcmp(*argv, "--listener-fd") == 0)
			o.listener_fd = parse_fd(*++argv);
		else if (strcmp(*argv, "--cwd") == 0 && argv[1] != NULL)
			o.cwd = *++argv;
		else
			die(EXIT_OURS, 0, "unknown or incomplete option \"", *argv, "\"");
	}
	if (*argv == NULL || argv[1] == NULL)
		fail(0, "no command");
	o.argv = argv + 1;
	return o;
}

static void read_exactly(int fd, void *data, size_t size, const char *what)
{
	char *p = data;

	while (size > 0) {
		ssize_t n = read(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			fail(n < 0 ? errno : 0, what);
		p += n;
		size -= (size_t)n;
	}
}

/* Receives the program; the room for it is static, since there is no heap here. */
static struct sock_fprog receive_filter(int sock)
{
	static struct sock_filter code[BPF_MAXINSNS];
	struct cow_init_hello hello;

	read_exactly(sock, &hello, sizeof(hello), "the agent closed the connection before it sent the filter");
	if (hello.magic != COW_INIT_MAGIC || hello.filter_len == 0 || hello.filter_len > BPF_MAXINSNS)
		fail(0, "the agent sent something that is no filter");
	read_exactly(sock, code, hello.filter_len * sizeof(code[0]),
		     "the agent closed the connection in the middle of the filter");
	return (struct sock_fprog){.len = (unsigned short)hello.filter_len, .filter = code};
}

/* The OCI runtime's message to a seccomp agent: process state as JSON, and the descriptor that its "fds" names. */
static void send_listener(int sock, int listener)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.room = {0}};
	struct text t = {.len = 0};
	struct iovec iov;
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
	ssize_t n;

	add(&t, "{\"ociVersion\":\"1.0.2\",\"fds\":[\"seccompFd\"],\"pid\":");
	add_number(&t, (unsigned long)getpid());
	add(&t, ",\"metadata\":\"\",\"state\":{}}");
	iov = (struct iovec){.iov_base = t.data, .iov_len = t.len};
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &listener, sizeof(listener));
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)t.len)
		fail(n < 0 ? errno : 0, "sending the listener to the agent");
}

static void install_filter(int sock)
{
	struct sock_fprog program = receive_filter(sock);
	/* SPEC_ALLOW, as runc and crun have it: whether speculation is to be slow is for the bundle's own filter to
	 * say. */
	int listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				    SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV |
					    SECCOMP_FILTER_FLAG_SPEC_ALLOW,
				    &program);
	char go = 0;

	if (listener < 0)
		fail(errno,
		     errno == EBUSY ? "the process has a seccomp listener already" : "installing the seccomp filter");
	send_listener(sock, listener);
	close(listener);
	read_exactly(sock, &go, 1, "the agent went away");
	if (go != 'k')
		fail(0, "the agent refused the listener");
	close(sock);
}

static void restrict_self(void)
{
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, COW_INIT_LANDLOCK_ATTR, COW_INIT_LANDLOCK_SIZE, 0);

	if (ruleset < 0) /* EFAULT: the kernel itself was asked, so no agent listens */
		fail(errno == EFAULT ? 0 : errno,
		     errno == EFAULT ? "no agent supervises this process, so there is no Landlock ruleset"
				     : "no Landlock ruleset from the agent");
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		fail(errno, "landlock_restrict_self");
	close(ruleset);
}

/* Is there something at `path` that this process may execute? */
static bool executable(const char *path)
{
	struct stat st;

	return access(path, X_OK) == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static void __attribute__((noreturn)) die_exec(const char *path, int errnum)
{
	die(errnum == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE, errnum, "exec \"", path, "\"");
}

/* DIR/NAME, or NAME where the element is empty. False if it is too long to exist. */
static bool join(struct text *t, const char *dir, size_t len, const char *name)
{
	if (len + strlen(name) + 2 > PATH_MAX)
		return false;
	memcpy(t->data, dir, len);
	t->len = len;
	if (len > 0)
		add(t, "/");
	add(t, name);
	t->data[t->len] = '\0';
	return true;
}

/*
 * The command, found as runc and crun find it: what PATH leads to and cannot be executed is passed over, so a name
 * without an executable file is "not found". An executable file that the kernel refuses ends the search.
 */
static void __attribute__((noreturn)) run(char **argv)
{
	const char *name = argv[0], *path = getenv("PATH");
	struct text candidate;

	if (strchr(name, '/') != NULL) {
		execv(name, argv);
		die_exec(name, errno);
	}
	if (path == NULL)
		path = default_path;
	for (bool last = name[0] == '\0'; !last;) {
		size_t len = strcspn(path, ":");

		if (join(&candidate, path, len, name)) {
			execv(candidate.data, argv);
			int errnum = errno;

			if (executable(candidate.data))
				die_exec(candidate.data, errnum);
		}
		last = path[len] == '\0';
		path += len + 1;
	}
	die(EXIT_NOT_FOUND, 0, "exec: \"", name, "\": executable file not found in $PATH");
}

int main(int argc, char **argv)
{
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		fail(errno, "PR_SET_DUMPABLE");
	if (argc < 1)
		fail(0, "no command");
	struct options o = parse(argv);

	cow_close_foreign_directories();
	if (o.listener_fd >= 0 && fcntl(o.listener_fd, F_SETFD, FD_CLOEXEC) < 0)
		fail(errno, "--listener-fd");
	if ((o.landlock || o.listener_fd >= 0) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		fail(errno, "PR_SET_NO_NEW_PRIVS");
	if (o.listener_fd >= 0)
		install_filter(o.listener_fd);
	if (o.landlock)
		restrict_self();
	/* The delegate goes there before it becomes a user who perhaps may not. */
	if (o.cwd != NULL && chdir(o.cwd) < 0 && errno != EACCES)
		die(EXIT_OURS, errno, "chdir to cwd (\"", o.cwd, "\") set in config.json failed");
	run(o.argv);
}
