/*
 * The three sockets of a container (contrib/doc/architecture.md), served by the main thread. Who connects is trusted as
 * far as the state directory is (0700): the delegate, the wrapper, the hook. The one connection that a process in the
 * container holds is cowrun-init's, made by the wrapper and used up before the user's command runs.
 */
#include "agent.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "../init/protocol.h"
#include "../lib/fd.h"
#include "../lib/json.h"
#include "../lib/log.h"
#include "../lib/message.h"

enum { PEERS = 256, STATE_MAX = 1 << 20, TIMEOUT_SECONDS = 10, SWEEP_MS = 1000 };

enum kind { AGENT_SOCKET, INIT_SOCKET, CONTROL_SOCKET, AGENT_PEER, INIT_PEER, CONTROL_PEER };

struct peers {
	size_t count;
	struct pollfd polls[PEERS];
	enum kind kinds[PEERS];
};

static void add(struct peers *p, int fd, enum kind kind)
{
	p->polls[p->count] = (struct pollfd){.fd = fd, .events = POLLIN};
	p->kinds[p->count++] = kind;
}

static void drop(struct peers *p, size_t i)
{
	close(p->polls[i].fd);
	p->polls[i] = p->polls[--p->count];
	p->kinds[i] = p->kinds[p->count];
}

/* To cowrun-init: the filter that it is to install. */
static int send_filter(int sock)
{
	cleanup_error struct cow_error *error = NULL;
	size_t len;
	cleanup_free struct sock_filter *filter = cow_filter_program(cow_filter_native(), &len, &error);
	struct cow_init_hello hello = {.magic = COW_INIT_MAGIC};

	if (filter == NULL) {
		cow_log_error("%s", error->message);
		return -1;
	}
	hello.filter_len = (uint32_t)len;
	if (cow_message_send(sock, &hello, sizeof(hello), NULL, 0) != 0)
		return -1;
	return cow_write_all(sock, filter, len * sizeof(*filter));
}

static void welcome(struct peers *p, int listening, enum kind kind)
{
	struct timeval timeout = {.tv_sec = TIMEOUT_SECONDS};
	int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (p->count == PEERS || (kind == INIT_PEER && send_filter(fd) != 0)) {
		cow_log_error("a connection was refused");
		close(fd);
		return;
	}
	add(p, fd, kind);
}

/* The position of "seccompFd" in the state's "fds" is that of the listener among the descriptors (runtime-spec). */
static int find_listener(const struct cow_agent *a, const struct cow_json *state, size_t nfds, struct cow_error **err)
{
	const struct cow_json *names = cow_json_get(state, "fds");
	const char *id = cow_json_string(cow_json_path(state, "state.id"));

	if (id != NULL && strcmp(id, a->id) != 0)
		return cow_error_set(err, 0, "a listener of container %s, not of %s", id, a->id);
	for (size_t i = 0; i < cow_json_count(names) && i < nfds; i++) {
		const char *name = cow_json_string(cow_json_at(names, i));

		if (name != NULL && strcmp(name, "seccompFd") == 0)
			return (int)i;
	}
	return cow_error_set(err, 0, "the container's state names no seccompFd");
}

/* Receives until the JSON is whole: a stream has no packets. *state, and the descriptors that came with it. */
static struct cow_json *receive_state(int sock, int *fds, size_t *nfds, struct cow_error **err)
{
	cleanup_free char *text = malloc(STATE_MAX);
	size_t size = 0, room = *nfds;

	*nfds = 0;
	while (text != NULL && size < STATE_MAX) {
		struct cow_json *state;
		size_t n = room - *nfds;
		ssize_t got = cow_message_recv(sock, text + size, STATE_MAX - size, fds + *nfds, &n);

		if (got <= 0) {
			cow_error_set(err, got < 0 ? errno : 0, "the runtime ended before its message did");
			return NULL;
		}
		*nfds += n;
		size += (size_t)got;
		state = cow_json_parse(text, size, NULL);
		if (state != NULL)
			return state;
	}
	cow_error_set(err, 0, "the runtime's message is too long");
	return NULL;
}

static int receive_listener(struct cow_agent *a, int sock, struct cow_error **err)
{
	int fds[COW_MESSAGE_FDS];
	size_t nfds = COW_MESSAGE_FDS;
	cleanup_json struct cow_json *state = receive_state(sock, fds, &nfds, err);
	int which = state != NULL ? find_listener(a, state, nfds, err) : -1;

	for (size_t i = 0; i < nfds; i++)
		if ((int)i != which)
			close(fds[i]);
	return which < 0 ? -1 : cow_listener_add(a, fds[which], err);
}

static void serve_listener(struct cow_agent *a, int sock, bool init)
{
	cleanup_error struct cow_error *error = NULL;

	if (receive_listener(a, sock, &error) != 0)
		cow_log_error("%s", error->message);
	else if (init && cow_write_all(sock, "k", 1) != 0)
		cow_log_error("cowrun-init went away");
}

/* False: the peer is done. */
static bool serve_control(struct cow_agent *a, int sock)
{
	static char packet[COW_MESSAGE_SIZE];
	int fds[COW_MESSAGE_FDS];
	int give[COW_BRANCH_TREES];
	size_t nfds = COW_MESSAGE_FDS;
	size_t ngive;
	ssize_t n = cow_message_recv(sock, packet, sizeof(packet), fds, &nfds);
	cleanup_free char *reply = NULL;

	if (n <= 0)
		return false;
	reply = cow_control(a, packet, (size_t)n, fds, nfds, give, &ngive);
	return cow_message_send(sock, reply, strlen(reply), give, ngive) == 0;
}

static void serve(struct cow_agent *a, struct peers *p, size_t i)
{
	int fd = p->polls[i].fd;

	switch (p->kinds[i]) {
	case AGENT_SOCKET:
		welcome(p, fd, AGENT_PEER);
		return;
	case INIT_SOCKET:
		welcome(p, fd, INIT_PEER);
		return;
	case CONTROL_SOCKET:
		welcome(p, fd, CONTROL_PEER);
		return;
	case AGENT_PEER:
		serve_listener(a, fd, false);
		break;
	case INIT_PEER:
		/* An end without a message is a container that never started. */
		if ((p->polls[i].revents & POLLIN) != 0 && recv(fd, &(char){0}, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
			serve_listener(a, fd, true);
		break;
	case CONTROL_PEER:
		if (serve_control(a, fd))
			return;
		break;
	}
	drop(p, i);
}

/* Grafts that were in use when they were taken away are freed some time after their last user is gone. */
static void sweep(struct cow_agent *a)
{
	for (size_t i = 0; i < a->ntrees; i++)
		cow_tree_sweep(a->trees[i]);
}

int cow_serve_sockets(struct cow_agent *a, const struct cow_sockets *s, struct cow_error **err)
{
	struct peers p = {0};

	add(&p, s->agent, AGENT_SOCKET);
	add(&p, s->init, INIT_SOCKET);
	add(&p, s->control, CONTROL_SOCKET);
	while (!atomic_load(&a->stop)) {
		int n = poll(p.polls, p.count, a->ntrees > 0 ? SWEEP_MS : -1);

		if (n < 0 && errno != EINTR)
			return cow_error_set(err, errno, "poll");
		if (n == 0)
			sweep(a);
		/* From the last to the first: a peer that is dropped is replaced by one that was seen already. */
		for (size_t i = p.count; n > 0 && i-- > 0;)
			if (p.polls[i].revents != 0)
				serve(a, &p, i);
	}
	return 0;
}
