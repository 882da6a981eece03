#include "ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "fd.h"
#include "message.h"

enum { ANSWER_SECONDS = 10 }; /* the agent may be busy with a split */

struct cow_json *cow_agent_ask(const char *key_dir, const char *op, struct cow_error **err)
{
	const struct timeval patience = {.tv_sec = ANSWER_SECONDS};
	cleanup_free char *path = NULL;
	cleanup_free char *text = NULL;
	cleanup_free char *message = NULL;
	cleanup_close int sock = -1;
	cleanup_json struct cow_json *answer = NULL;
	size_t nfds = 0;
	ssize_t n;

	if (asprintf(&path, "%s/control.sock", key_dir) < 0 || asprintf(&message, "{\"op\":\"%s\"}", op) < 0)
		abort();
	sock = cow_socket_connect(path, SOCK_SEQPACKET, err);
	if (sock < 0)
		return NULL;
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	text = malloc(COW_MESSAGE_SIZE);
	if (text == NULL)
		abort();
	if (cow_message_send(sock, message, strlen(message), NULL, 0) != 0 ||
	    (n = cow_message_recv(sock, text, COW_MESSAGE_SIZE, NULL, &nfds)) <= 0) {
		cow_error_set(err, errno, "the agent at %s does not answer", path);
		return NULL;
	}
	answer = cow_json_parse(text, (size_t)n, err);
	if (answer == NULL)
		return NULL;
	if (!cow_json_bool(cow_json_get(answer, "ok"), false)) {
		const char *why = cow_json_string(cow_json_get(answer, "error"));

		cow_error_set(err, 0, "agent: %s", why != NULL ? why : "no");
		return NULL;
	}
	return cow_steal_ptr(&answer);
}
