/* Sockets, descriptors sent over them, and inotify. */
#include "play.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* False: the path is too long for a socket's address, and ENAMETOOLONG was said. */
static bool address(struct call *c, int n, struct sockaddr_un *sun, socklen_t *length)
{
	if (c->argument[n] == NULL || c->length[n] >= sizeof(sun->sun_path)) {
		say_error(c->result, ENAMETOOLONG);
		return false;
	}
	memset(sun, 0, sizeof(*sun));
	sun->sun_family = AF_UNIX;
	memcpy(sun->sun_path, c->argument[n], c->length[n]);
	*length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + c->length[n] + 1);
	return true;
}

/* bind SLOT PATH: a stream socket that listens; connect SLOT PATH. */
static void with_socket(struct call *c, bool listening)
{
	struct sockaddr_un sun;
	socklen_t length;
	long value;
	int fd;

	if (!address(c, 1, &sun, &length))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	value = syscall(listening ? SYS_bind : SYS_connect, fd, &sun, length);
	if (value != 0) {
		say_error(c->result, errno);
		close(fd);
		return;
	}
	if (listening && listen(fd, 16) != 0)
		say(c->result, "unheard ");
	if (dup3(fd, slot_fd(c, 0), 0) >= 0)
		say(c->result, "ok");
	close(fd);
}

static void op_bind(struct call *c)
{
	with_socket(c, true);
}

static void op_connect(struct call *c)
{
	with_socket(c, false);
}

union control {
	char room[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

/* sendfd SLOT ACTOR */
static void op_sendfd(struct call *c)
{
	union control control = {0};
	struct iovec byte = {.iov_base = (char[]){'x'}, .iov_len = 1};
	struct msghdr message = {
		.msg_iov = &byte, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int fd = slot_fd(c, 0);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	say_done(c->result, sendmsg(actor_inbox((int)number(c, 1), true), &message, MSG_DONTWAIT));
}

/* recvfd SLOT: what was sent to this actor */
static void op_recvfd(struct call *c)
{
	union control control = {0};
	char byte;
	struct iovec room = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {
		.msg_iov = &room, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	int fd = -1;

	if (recvmsg(actor_inbox(c->actor, false), &message, MSG_DONTWAIT) >= 0 && CMSG_FIRSTHDR(&message) != NULL)
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	say_opened(c, 0, fd, false);
}

/* watch SLOT PATH MASK: a new inotify instance with one watch. */
static void op_watch(struct call *c)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	if (syscall(SYS_inotify_add_watch, fd, c->argument[1], number(c, 2)) < 0) {
		say_error(c->result, errno);
		close(fd);
		return;
	}
	(void)dup3(fd, slot_fd(c, 0), 0);
	close(fd);
	say(c->result, "ok");
}

/* events SLOT: all that has happened since. Cookies are numbered. */
static void op_events(struct call *c)
{
	_Alignas(8) char buffer[16384];
	long n = read(slot_fd(c, 0), buffer, sizeof(buffer));
	uint32_t first = 0;

	if (n < 0) {
		say_error(c->result, errno);
		return;
	}
	say(c->result, "ok");
	for (long at = 0; at + (long)sizeof(struct inotify_event) <= n;) {
		const struct inotify_event *e = (const void *)(buffer + at);

		if (e->cookie != 0 && first == 0)
			first = e->cookie;
		say(c->result, " %x", e->mask);
		if (e->len > 0) {
			say(c->result, ":");
			say_bytes(c->result, e->name, strlen(e->name));
		}
		at += (long)sizeof(*e) + e->len;
	}
}

const struct named_operation message_operations[] = {
	{"bind", op_bind},   {"connect", op_connect}, {"sendfd", op_sendfd}, {"recvfd", op_recvfd},
	{"watch", op_watch}, {"events", op_events},   {NULL, NULL},
};
