/* cowrun-init (runtime/init/init.c), run in child processes against an agent of a few lines. */
#include <stdint.h>

int init_main(int argc, char **argv);
#define main init_main
#include "../../runtime/init/inherited.c"
#include "../../runtime/init/init.c"
#undef main

#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "../../runtime/filter/filter.h"
#include "../../runtime/lib/fd.h"
#include "tap.h"

enum { LISTENER_FD = 9, NOBODY = 65534 };

/* What the pretended agent does wrong; 0: nothing. */
enum fault { RIGHT, SILENT, BAD_MAGIC, TOO_LONG, EMPTY, CUT_SHORT, NO_ANSWER, WRONG_ANSWER, NO_RULESET };

struct result {
	int status;                      /* exit status, or -1 */
	char error[4096];                /* what the program wrote to stderr */
	char state[512];                 /* the JSON that came with the listener */
	size_t chdirs, rulesets, others; /* notifications */
};

/* Sends hello and program as `fault` wants it. False if the talk ends here. */
static bool send_filter(int sock, enum fault fault)
{
	size_t len = 0;
	cleanup_free struct sock_filter *code = cow_filter_program(cow_filter_native(), &len, NULL);
	struct cow_init_hello hello = {.magic = COW_INIT_MAGIC, .filter_len = (uint32_t)len};

	if (fault == SILENT)
		return false;
	if (fault == BAD_MAGIC)
		hello.magic ^= 1;
	if (fault == TOO_LONG)
		hello.filter_len = BPF_MAXINSNS + 1;
	if (fault == EMPTY)
		hello.filter_len = 0;
	cow_write_all(sock, &hello, sizeof(hello));
	if (fault == CUT_SHORT)
		len /= 2;
	cow_write_all(sock, code, len * sizeof(*code));
	return fault == RIGHT || fault >= NO_ANSWER;
}

static int receive_listener(int sock, struct result *r)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = r->state, .iov_len = sizeof(r->state) - 1};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	int listener = -1;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) > 0 && CMSG_FIRSTHDR(&msg) != NULL)
		memcpy(&listener, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(listener));
	return listener;
}

/* A real ruleset that handles only the making of block devices, so that the test programs do not notice it. */
static void answer_ruleset(int listener, uint64_t id, enum fault fault, struct seccomp_notif_resp *response)
{
	uint64_t handled = 1ULL << 11;
	cleanup_close int ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0);
	struct seccomp_notif_addfd addfd = {
		.id = id, .srcfd = (uint32_t)ruleset, .flags = SECCOMP_ADDFD_FLAG_SEND, .newfd_flags = O_CLOEXEC};

	if (fault == NO_RULESET || ruleset < 0 || ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &addfd) < 0) {
		*response = (struct seccomp_notif_resp){.id = id, .error = -EACCES};
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, response);
	}
}

static void serve(int listener, enum fault fault, struct result *r)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};

	while (poll(&p, 1, 10000) > 0 && (p.revents & POLLIN) != 0) {
		struct seccomp_notif request = {0};
		struct seccomp_notif_resp response = {0};

		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0)
			continue;
		response = (struct seccomp_notif_resp){.id = request.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
		switch (cow_filter_lookup(request.data.arch, request.data.nr)) {
		case COW_CALL_LANDLOCK_CREATE_RULESET:
			r->rulesets++;
			answer_ruleset(listener, request.id, fault, &response);
			continue;
		case COW_CALL_CHDIR:
			r->chdirs++;
			break;
		default:
			r->others++;
		}
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
	}
}

static void agent(int sock, enum fault fault, struct result *r)
{
	if (!send_filter(sock, fault))
		return;
	cleanup_close int listener = receive_listener(sock, r);

	if (listener < 0 || fault == NO_ANSWER)
		return;
	cow_write_all(sock, fault == WRONG_ANSWER ? "x" : "k", 1);
	serve(listener, fault, r);
}

static void child(char **argv, int sock, int error_pipe)
{
	int argc = 0;

	while (argv[argc] != NULL)
		argc++;
	signal(SIGPIPE, SIG_DFL);
	close_range(3, UINT_MAX, CLOSE_RANGE_CLOEXEC); /* what the test itself was started with */
	dup2(error_pipe, STDERR_FILENO);
	if (sock >= 0) {
		dup2(sock, LISTENER_FD);
		close(sock);
	}
	alarm(60);
	umask(027);
	signal(SIGUSR2, SIG_IGN);
	sigset_t blocked;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	_exit(init_main(argc, argv));
}

/* Runs cowrun-init with these arguments; `with_agent`: --listener-fd 9 is among them. */
static struct result start(char **argv, bool with_agent, enum fault fault)
{
	struct result r = {.status = -1};
	int sock[2] = {-1, -1}, errors[2] = {-1, -1}, status;

	if (pipe2(errors, O_CLOEXEC) < 0 ||
	    (with_agent && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) < 0))
		return r;
	fflush(stdout);
	pid_t pid = fork();

	if (pid == 0) {
		close(sock[0]);
		child(argv, sock[1], errors[1]);
	}
	close(errors[1]);
	if (with_agent) {
		close(sock[1]);
		agent(sock[0], fault, &r);
		close(sock[0]);
	}
	if (read(errors[0], r.error, sizeof(r.error) - 1) < 0)
		r.error[0] = '\0';
	close(errors[0]);
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
		r.status = WEXITSTATUS(status);
	return r;
}

#define ARGV(...)              ((char *[]){"cowrun-init", __VA_ARGS__, NULL})
#define ALONE(...)             start(ARGV(__VA_ARGS__), false, RIGHT)
#define SUPERVISED(fault, ...) start(ARGV("--listener-fd", "9", __VA_ARGS__), true, fault)

static void is_failure(struct result r, int status, const char *part, const char *what)
{
	size_t len = strlen(r.error);

	ok(r.status == status && strncmp(r.error, "cowrun-init: ", 13) == 0 && strstr(r.error, part) != NULL &&
		   len > 0 && strchr(r.error, '\n') == r.error + len - 1,
	   "%s: status %d and one line", what, status);
	if (r.status != status || strstr(r.error, part) == NULL)
		printf("# status %d, stderr: %s\n", r.status, r.error);
}

static void test_exec(char *scratch)
{
	char plain[PATH_MAX], text[PATH_MAX], path[PATH_MAX + 64];

	ok(ALONE("--", "/bin/sh", "-c", "exit 7").status == 7, "the command's status is the program's");
	ok(ALONE("--", "sh", "-c", "[ \"$0\" = zero ]", "zero").status == 0, "PATH is searched, arguments are kept");
	ok(ALONE("--cwd", scratch, "--", "sh", "-c", "[ \"$(pwd -P)\" = \"$SCRATCH\" ]").status == 0, "--cwd");
	ok(ALONE("--", "sh", "-c", "[ \"$(umask)\" = 0027 ]").status == 0, "umask is kept");
	ok(ALONE("--", "grep", "-q", "^SigBlk:.*0000000200$", "/proc/self/status").status == 0,
	   "the signal mask is kept");
	ok(ALONE("--", "grep", "-q", "^SigIgn:.*[89a-f]..$", "/proc/self/status").status == 0, "dispositions are kept");
	snprintf(plain, sizeof(plain), "%s/plain", scratch);
	snprintf(text, sizeof(text), "%s/text", scratch);
	snprintf(path, sizeof(path), "%s:/bin", scratch);
	close(open(plain, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	close(open(text, O_CREAT | O_WRONLY | O_CLOEXEC, 0700));
	is_failure(ALONE("--", "/no/such/program"), 127, "No such file", "a path that is not there");
	is_failure(ALONE("--", "no-such-program"), 127, "executable file not found in $PATH",
		   "a name that is not there");
	is_failure(ALONE("--", ""), 127, "executable file not found in $PATH", "an empty name");
	is_failure(ALONE("--", plain), 126, "Permission denied", "a file without the execute bit");
	is_failure(ALONE("--", text), 126, "Exec format error", "a file that is no program");
	is_failure(ALONE("--", "/tmp"), 126, "Permission denied", "a directory");
	setenv("PATH", path, 1);
	is_failure(ALONE("--", "plain"), 127, "not found in $PATH", "a name in PATH without the execute bit");
	is_failure(ALONE("--", "text"), 126, "Exec format error", "a name in PATH that is no program");
	unsetenv("PATH");
	ok(ALONE("--", "true").status == 0, "no PATH: the usual places");
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
}

static void test_arguments(void)
{
	is_failure(ALONE("--"), 125, "no command", "no command");
	is_failure(ALONE("true"), 125, "unknown or incomplete option \"true\"", "no --");
	is_failure(ALONE("--cwd"), 125, "incomplete", "--cwd without a value");
	is_failure(ALONE("--listener-fd", "x", "--", "true"), 125, "no descriptor", "--listener-fd x");
	is_failure(ALONE("--listener-fd"), 125, "needs a number", "--listener-fd without a value");
	is_failure(ALONE("--listener-fd", "77", "--", "true"), 125, "Bad file descriptor",
		   "--listener-fd that is closed");
	is_failure(ALONE("--listener-fd", "99999999999999", "--", "true"), 125, "no descriptor",
		   "--listener-fd too large");
	is_failure(ALONE("--cwd", "/no/such", "--", "true"), 125, "/no/such", "--cwd that is not there");
	is_failure(ALONE("--landlock", "--", "true"), 125, "no agent supervises", "--landlock without an agent");
}

static void test_supervised(void)
{
	struct result r =
		SUPERVISED(RIGHT, "--landlock", "--cwd", "/", "--", "sh", "-c",
			   "grep -q '^NoNewPrivs:.1' /proc/self/status && grep -q '^Seccomp:.2' /proc/self/status && "
			   "[ \"$(ls /proc/self/fd | tr '\\n' ' ')\" = '0 1 2 3 ' ] || "
			   "ls -l /proc/self/fd >&2; >/tmp/test_init.$$ && rm /tmp/test_init.$$; exit 3");
	char want[64];

	ok(r.status == 3, "filter and Landlock, then the command");
	ok(r.error[0] == '\0', "nothing is left open, no_new_privs and the filter are on");
	if (r.error[0] != '\0')
		printf("# %s\n", r.error);
	ok(r.rulesets == 1 && r.chdirs == 1 && r.others >= 2,
	   "the agent saw the ruleset asked for, chdir, and the command's calls");
	snprintf(want, sizeof(want), "{\"ociVersion\":\"1.0.2\",\"fds\":[\"seccompFd\"],\"pid\":");
	ok(strncmp(r.state, want, strlen(want)) == 0 && strstr(r.state, ",\"metadata\":\"\",\"state\":{}}") != NULL,
	   "the state that came with the listener");
	is_failure(SUPERVISED(SILENT, "--", "true"), 125, "closed the connection", "an agent that says nothing");
	is_failure(SUPERVISED(BAD_MAGIC, "--", "true"), 125, "no filter", "a bad magic number");
	is_failure(SUPERVISED(TOO_LONG, "--", "true"), 125, "no filter", "a filter too long");
	is_failure(SUPERVISED(EMPTY, "--", "true"), 125, "no filter", "an empty filter");
	is_failure(SUPERVISED(CUT_SHORT, "--", "true"), 125, "in the middle", "half a filter");
	is_failure(SUPERVISED(NO_ANSWER, "--", "true"), 125, "the agent went away", "an agent that goes away");
	is_failure(SUPERVISED(WRONG_ANSWER, "--", "true"), 125, "refused", "an agent that refuses");
	is_failure(SUPERVISED(NO_RULESET, "--landlock", "--", "true"), 125, "Landlock", "no ruleset");
}

/* Another user's process becomes dumpable again by exec: its own /proc files are its own. */
static void test_dumpable(void)
{
	int status;

	fflush(stdout);
	pid_t pid = fork();

	if (pid == 0) {
		if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
			_exit(99);
		_exit(ALONE("--", "sh", "-c", "cat /proc/self/environ >/dev/null").status);
	}
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the command is dumpable again");
}

int main(void)
{
	char scratch[] = "/tmp/test_init.XXXXXX";

	alarm(60);
	signal(SIGPIPE, SIG_IGN); /* the agent of a test may write when init has given up already */
	if (mkdtemp(scratch) == NULL)
		return 1;
	setenv("SCRATCH", scratch, 1);
	test_exec(scratch);
	test_arguments();
	test_supervised();
	test_dumpable();
	if (fork() == 0)
		execlp("rm", "rm", "-rf", scratch, (char *)NULL);
	wait(NULL);
	return done_testing();
}
