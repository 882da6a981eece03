#include "hook.h"

#include <errno.h>
#include <stdio.h>
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

/* {"ok":true} or {"ok":false,"error":"…"} */
static int check_answer(const char *text, size_t size, struct cow_error **err)
{
	cleanup_json struct cow_json *answer = cow_json_parse(text, size, err);
	const char *message;

	if (answer == NULL)
		return cow_error_wrap(err, "the agent's answer");
	if (cow_json_bool(cow_json_get(answer, "ok"), false))
		return 0;
	message = cow_json_string(cow_json_get(answer, "error"));
	return cow_error_set(err, 0, "%s", message != NULL ? message : "the agent refused the branch and said nothing");
}

int cow_hook_attach(int control, const struct cow_hook_state *s, const int *fds, size_t nfds, struct cow_error **err)
{
	cleanup_json struct cow_json *message = cow_json_new_object();
	cleanup_free char *text = NULL, *answer = malloc(COW_MESSAGE_SIZE);
	size_t size, none = 0;
	ssize_t n;

	cow_json_set(message, "op", cow_json_new_string("attach"));
	cow_json_set(message, "pid", cow_json_new_int(s->pid));
	cow_json_set(message, "landlock", cow_json_new_bool(s->landlock));
	text = cow_json_print(message, 0, &size);
	if (answer == NULL)
		return cow_error_set(err, errno, "the agent's answer");
	if (cow_message_send(control, text, size, fds, nfds) < 0)
		return cow_error_set(err, errno, "handing the branch to the agent");
	n = cow_message_recv(control, answer, COW_MESSAGE_SIZE, NULL, &none);
	if (n <= 0)
		return cow_error_set(err, n < 0 ? errno : 0, "the agent went away");
	return check_answer(answer, (size_t)n, err);
}
