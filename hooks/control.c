#include "hook.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "../runtime/lib/fd.h"
#include "../runtime/lib/json.h"
#include "../runtime/lib/message.h"

int cow_hook_connect(const char *state_dir, struct cow_error **err)
{
	cleanup_free char *path = NULL;

	if (asprintf(&path, "%s/control.sock", state_dir) < 0) {
		path = NULL;
		return cow_error_set(err, ENOMEM, "%s", state_dir);
	}
	return cow_socket_connect(path, SOCK_SEQPACKET, err);
}

/* {"ok":true,…} or {"ok":false,"error":"…"}: the former, or NULL. */
static struct cow_json *check_answer(const char *text, size_t size, struct cow_error **err)
{
	cleanup_json struct cow_json *answer = cow_json_parse(text, size, err);
	const char *message;

	if (answer == NULL) {
		cow_error_wrap(err, "the agent's answer");
		return NULL;
	}
	if (cow_json_bool(cow_json_get(answer, "ok"), false))
		return cow_steal_ptr(&answer);
	message = cow_json_string(cow_json_get(answer, "error"));
	cow_error_set(err, 0, "%s", message != NULL ? message : "the agent refused the branch and said nothing");
	return NULL;
}

/* Receives the answer and, in *nfds places at most, the descriptors that come with it. */
static struct cow_json *receive(int control, int *fds, size_t *nfds, struct cow_error **err)
{
	cleanup_free char *answer = malloc(COW_MESSAGE_SIZE);
	ssize_t n;

	if (answer == NULL)
		abort();
	n = cow_message_recv(control, answer, COW_MESSAGE_SIZE, fds, nfds);
	if (n > 0)
		return check_answer(answer, (size_t)n, err);
	cow_error_set(err, n < 0 ? errno : 0, "the agent went away");
	return NULL;
}

int cow_hook_lowers(int control, struct cow_hook_host *hosts, size_t ntrees, struct cow_error **err)
{
	static const char request[] = "{\"op\":\"lowers\"}";
	cleanup_json struct cow_json *answer = NULL;
	int fds[COW_BRANCH_TREES];
	size_t n = COW_BRANCH_TREES;

	if (cow_message_send(control, request, strlen(request), NULL, 0) < 0)
		return cow_error_set(err, errno, "asking the agent for the lower");
	answer = receive(control, fds, &n, err);
	for (size_t i = 0; i < n; i++)
		if (i < ntrees)
			hosts[i].lower_tree = fds[i];
		else
			close(fds[i]);
	if (answer == NULL)
		return -1;
	if (n != ntrees)
		return cow_error_set(err, 0, "the agent has %zu lowers for %zu trees", n, ntrees);
	for (size_t i = 0; i < ntrees; i++)
		hosts[i].locked = cow_json_bool(cow_json_get(answer, "locked"), false);
	return 0;
}

int cow_hook_attach(int control, const struct cow_hook_state *s, const int *fds, size_t nfds, struct cow_error **err)
{
	cleanup_json struct cow_json *message = cow_json_new_object();
	cleanup_json struct cow_json *answer = NULL;
	cleanup_free char *text = NULL;
	size_t size, none = 0;

	cow_json_set(message, "op", cow_json_new_string("attach"));
	cow_json_set(message, "pid", cow_json_new_int(s->pid));
	cow_json_set(message, "landlock", cow_json_new_bool(s->landlock));
	text = cow_json_print(message, 0, &size);
	if (cow_message_send(control, text, size, fds, nfds) < 0)
		return cow_error_set(err, errno, "handing the branch to the agent");
	answer = receive(control, NULL, &none, err);
	return answer != NULL ? 0 : -1;
}
