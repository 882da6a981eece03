/* runtime/lib/message: packets with descriptors, and the sockets for them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "../../runtime/lib/fd.h"
#include "../../runtime/lib/message.h"
#include "tap.h"

static int open_count(void)
{
	cleanup_dir DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir) != NULL)
		n++;
	return n;
}

static void make_pair(int type, int pair[2])
{
	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
}

static bool same_file(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_ino == sb.st_ino && sa.st_dev == sb.st_dev;
}

static void test_packets(void)
{
	int pair[2], fds[COW_MESSAGE_FDS], before;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), root = open("/", O_PATH | O_CLOEXEC);
	size_t count = COW_MESSAGE_FDS;
	char buf[64];

	make_pair(SOCK_SEQPACKET, pair);
	ok(cow_message_send(pair[0], "hello", 5, (int[]){null, root}, 2) == 0, "a packet with two descriptors is sent");
	ok(cow_message_recv(pair[1], buf, sizeof(buf), fds, &count) == 5 && count == 2, "and received");
	ok(same_file(fds[0], null) && same_file(fds[1], root), "in their order");
	ok(fcntl(fds[0], F_GETFD) == FD_CLOEXEC && fcntl(fds[1], F_GETFD) == FD_CLOEXEC, "close-on-exec");
	close(fds[0]);
	close(fds[1]);

	before = open_count();
	count = 1;
	cow_message_send(pair[0], "x", 1, (int[]){null, root, null}, 3);
	ok(cow_message_recv(pair[1], buf, sizeof(buf), fds, &count) == -1 && errno == EMSGSIZE && count == 0,
	   "more descriptors than there is room for: EMSGSIZE");
	ok(open_count() == before, "and none of them stays open");
	count = 0;
	cow_message_send(pair[0], "plain", 5, NULL, 0);
	ok(cow_message_recv(pair[1], buf, sizeof(buf), NULL, &count) == 5 && count == 0,
	   "none is asked for, none comes");
	count = COW_MESSAGE_FDS;
	cow_message_send(pair[0], "0123456789", 10, &null, 1);
	ok(cow_message_recv(pair[1], buf, 4, fds, &count) == -1 && errno == EMSGSIZE && open_count() == before,
	   "a packet that is longer than the room");
	for (int i = 0; i < COW_MESSAGE_FDS; i++)
		fds[i] = null;
	ok(cow_message_send(pair[0], "x", 1, fds, COW_MESSAGE_FDS) == 0, "as many as may be");
	count = COW_MESSAGE_FDS;
	ok(cow_message_recv(pair[1], buf, sizeof(buf), fds, &count) == 1 && count == COW_MESSAGE_FDS, "all come");
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	ok(cow_message_send(pair[0], "x", 1, fds, COW_MESSAGE_FDS + 1) == -1 && errno == EMSGSIZE,
	   "one more: EMSGSIZE");
	close(pair[0]);
	count = COW_MESSAGE_FDS;
	ok(cow_message_recv(pair[1], buf, sizeof(buf), fds, &count) == 0 && count == 0, "the end is 0");
	ok(cow_message_send(pair[1], "x", 1, NULL, 0) == -1 && errno == EPIPE,
	   "sending to nobody: EPIPE and no signal");
	count = COW_MESSAGE_FDS;
	ok(cow_message_recv(-1, buf, sizeof(buf), fds, &count) == -1 && errno == EBADF && count == 0,
	   "an error leaves no descriptors to be closed");
	close(pair[1]);
	close(null);
	close(root);
}

/* More than any buffer of ours takes: the kernel hands out the first ones, and they must not stay. */
static void test_flood(void)
{
	enum { MANY = 200 };
	union {
		char room[CMSG_SPACE(sizeof(int) * MANY)];
		struct cmsghdr align;
	} control = {.room = {0}};
	struct iovec iov = {"x", 1};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
	int pair[2], many[MANY], fds[COW_MESSAGE_FDS], before;
	size_t count = COW_MESSAGE_FDS;
	char buf[8];

	make_pair(SOCK_STREAM, pair);
	for (int i = 0; i < MANY; i++)
		many[i] = STDERR_FILENO;
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(many));
	memcpy(CMSG_DATA(header), many, sizeof(many));
	before = open_count();
	ok(sendmsg(pair[0], &msg, MSG_NOSIGNAL) == 1, "a stranger sends %d descriptors", MANY);
	ok(cow_message_recv(pair[1], buf, sizeof(buf), fds, &count) == -1 && errno == EMSGSIZE && count == 0,
	   "more than a packet may have: EMSGSIZE");
	ok(open_count() == before, "and none of them stays open");
	close(pair[0]);
	close(pair[1]);
}

static void test_sockets(const char *dir)
{
	char path[128], longer[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 1];
	cleanup_error struct cow_error *err = NULL;
	cleanup_close int listener = -1, client = -1, server = -1, second = -1;
	struct stat st;

	snprintf(path, sizeof(path), "%s/sock", dir);
	ok(cow_socket_connect(path, SOCK_SEQPACKET, &err) == -1 && err->errnum == ENOENT &&
		   strstr(err->message, path) != NULL,
	   "a socket that is not there: the error names it");
	listener = cow_socket_listen(path, SOCK_SEQPACKET, NULL);
	ok(listener >= 0 && fcntl(listener, F_GETFD) == FD_CLOEXEC, "a listener");
	ok(stat(path, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600, "only its owner may connect");
	second = cow_socket_listen(path, SOCK_SEQPACKET, &err);
	ok(second == -1 && err->errnum == EADDRINUSE, "there cannot be two");
	client = cow_socket_connect(path, SOCK_SEQPACKET, NULL);
	server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ok(client >= 0 && server >= 0 && fcntl(client, F_GETFD) == FD_CLOEXEC, "a connection");
	ok(cow_message_send(client, "x", 1, NULL, 0) == 0, "that works");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	ok(cow_socket_listen(longer, SOCK_STREAM, &err) == -1 && strstr(err->message, "too long") != NULL &&
		   cow_socket_connect(longer, SOCK_STREAM, &err) == -1,
	   "a path that does not fit is not cut off");
	unlink(path);
}

int main(void)
{
	char dir[] = "/tmp/test_messageXXXXXX";

	if (mkdtemp(dir) == NULL)
		return 1;
	test_packets();
	test_flood();
	test_sockets(dir);
	rmdir(dir);
	return done_testing();
}
