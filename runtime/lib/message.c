#include "message.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fd.h"

union control {
	char bytes[CMSG_SPACE(sizeof(int) * COW_MESSAGE_FDS)];
	struct cmsghdr align;
};

int cow_message_send(int sock, const void *data, size_t size, const int *fds, size_t nfds)
{
	union control control;
	struct iovec iov = {(void *)data, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (nfds > COW_MESSAGE_FDS) {
		errno = EMSGSIZE;
		return -1;
	}
	if (nfds > 0) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
	}
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -1;
	if ((size_t)n == size)
		return 0;
	/* A stream socket may take a part; the descriptors went with its first byte. */
	return cow_write_all(sock, (const char *)data + n, size - (size_t)n);
}

/* Every descriptor that came is either handed out or closed. */
static int take_fds(struct msghdr *msg, int *fds, size_t room, size_t *count)
{
	int result = (msg->msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0 ? -1 : 0;

	*count = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (*count < room) {
				fds[(*count)++] = fd;
			} else {
				close(fd);
				result = -1;
			}
		}
	}
	if (result != 0) {
		while (*count > 0)
			close(fds[--*count]);
		errno = EMSGSIZE;
	}
	return result;
}

ssize_t cow_message_recv(int sock, void *data, size_t room, int *fds, size_t *nfds)
{
	union control control;
	struct iovec iov = {data, room};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	ssize_t n;

	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		*nfds = 0;
		return -1;
	}
	return take_fds(&msg, fds, *nfds, nfds) == 0 ? n : -1;
}

static int make_address(struct sockaddr_un *address, const char *path, struct cow_error **err)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(address->sun_path))
		return cow_error_set(err, 0, "socket path too long (%zu bytes, at most %zu): %s", strlen(path),
				     sizeof(address->sun_path) - 1, path);
	memcpy(address->sun_path, path, strlen(path) + 1);
	return 0;
}

int cow_socket_listen(const char *path, int type, struct cow_error **err)
{
	struct sockaddr_un address;
	cleanup_close int sock = -1;

	if (make_address(&address, path, err) != 0)
		return -1;
	sock = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return cow_error_set(err, errno, "socket");
	/* fchmod before bind sets the mode that the name is made with (socket(7)): nobody can connect in between. */
	if (fchmod(sock, 0600) != 0 || bind(sock, (struct sockaddr *)&address, sizeof(address)) != 0)
		return cow_error_set(err, errno, "cannot bind %s", path);
	if (listen(sock, 64) != 0)
		return cow_error_set(err, errno, "cannot listen at %s", path);
	return cow_steal_fd(&sock);
}

int cow_socket_connect(const char *path, int type, struct cow_error **err)
{
	struct sockaddr_un address;
	cleanup_close int sock = -1;

	if (make_address(&address, path, err) != 0)
		return -1;
	sock = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return cow_error_set(err, errno, "socket");
	if (connect(sock, (struct sockaddr *)&address, sizeof(address)) != 0)
		return cow_error_set(err, errno, "cannot connect to %s", path);
	return cow_steal_fd(&sock);
}
