/* runtime/agent/stats.c: counts and phases; runtime/cmd/counts.c: from a running agent, or from what one left. */
#include "../../runtime/agent/stats.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "../../runtime/agent/agent.h"
#include "../../runtime/cmd/counts.h"
#include "../../runtime/lib/message.h"
#include "branch_fixture.h"

static int64_t number(const struct cow_json *o, const char *path)
{
	int64_t n = -1;

	(void)cow_json_int(cow_json_path(o, path), &n);
	return n;
}

static void pass_time(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static void one(struct cow_stats *s, enum cow_call call, int verdict)
{
	cow_stats_begin(s);
	cow_stats_phase(COW_PHASE_READ);
	cow_stats_phase(COW_PHASE_ANSWER);
	cow_stats_end(s, call, verdict);
}

static void test_counts(void)
{
	struct cow_stats s = {0};
	cleanup_json struct cow_json *o = cow_json_new_object();

	one(&s, COW_CALL_OPENAT, COW_VERDICT_CONTINUE);
	one(&s, COW_CALL_OPENAT, COW_VERDICT_CONTINUE);
	one(&s, COW_CALL_OPENAT, -EROFS);
	one(&s, COW_CALL_UNLINK, 0);
	one(&s, COW_CALL_LANDLOCK_CREATE_RULESET, COW_VERDICT_SENT);
	one(&s, COW_CALL_NONE, COW_VERDICT_CONTINUE);
	s.swaps = 7;
	cow_stats_report(&s, o);
	ok(number(o, "notifications") == 6 && number(o, "continued") == 3 && number(o, "refused") == 1 &&
		   number(o, "performed") == 2 && number(o, "swaps") == 7,
	   "sums");
	ok(number(o, "calls.openat.continued") == 2 && number(o, "calls.openat.refused") == 1 &&
		   number(o, "calls.openat.performed") == 0,
	   "a family by its verdicts");
	ok(number(o, "calls.unlink.performed") == 1, "a result is a call that was performed");
	ok(number(o, "calls.landlock_create_ruleset.performed") == 1, "an answer by descriptor, too");
	ok(number(o, "calls.other.continued") == 1, "calls that are not in the table");
	ok(cow_json_count(cow_json_get(o, "calls")) == 4, "families that did not occur are left out");
	ok(!cow_json_bool(cow_json_get(o, "timed"), true) && cow_json_path(o, "calls.openat.ns") == NULL,
	   "no times unless they were asked for");
}

static void test_times(void)
{
	struct cow_stats s = {.timed = true};
	cleanup_json struct cow_json *o = cow_json_new_object();

	cow_stats_begin(&s);
	cow_stats_phase(COW_PHASE_ACT);
	ok(cow_stats_phase(COW_PHASE_RESOLVE) == COW_PHASE_ACT, "a phase names the one before it");
	pass_time();
	cow_stats_phase(COW_PHASE_ACT);
	cow_stats_phase(COW_PHASE_ANSWER);
	pass_time();
	cow_stats_end(&s, COW_CALL_MKDIR, COW_VERDICT_CONTINUE);
	cow_stats_report(&s, o);
	ok(number(o, "calls.mkdir.ns.resolve") >= 2000000, "the time between two phases is the first one's");
	ok(number(o, "calls.mkdir.ns.answer") >= 2000000, "the last phase goes to the end");
	ok(number(o, "calls.mkdir.ns.read") == 0, "a phase that did not occur took nothing");
	one(&s, COW_CALL_RMDIR, 0);
	pass_time();
	cow_stats_phase(COW_PHASE_ACT); /* of a thread that serves nothing */
	cow_json_free(cow_steal_ptr(&o));
	o = cow_json_new_object();
	cow_stats_report(&s, o);
	ok(number(o, "calls.rmdir.ns.act") == 0 && number(o, "calls.rmdir.ns.answer") < 2000000,
	   "what passes after the answer counts for nothing");
}

static void test_wanted(void)
{
	unsetenv("COWRUN_STATS");
	ok(!cow_stats_wanted(), "not wanted by default");
	setenv("COWRUN_STATS", "1", 1);
	ok(cow_stats_wanted(), "COWRUN_STATS=1");
	setenv("COWRUN_STATS", "0", 1);
	ok(!cow_stats_wanted(), "COWRUN_STATS=0");
	setenv("COWRUN_STATS", "", 1);
	ok(!cow_stats_wanted(), "an empty variable is none");
}

/* --- cowrun branch show --stats ------------------------------------------------------------------------------------
 */

static void write_file(const char *dir, const char *name, const char *text)
{
	cleanup_free char *path = NULL;
	cleanup_file FILE *f = NULL;

	must(asprintf(&path, "%s/%s", dir, name) >= 0);
	f = fopen(path, "we");
	must(f != NULL && fputs(text, f) >= 0);
}

/* An agent that answers one request. */
static void *be_agent(void *listening)
{
	char packet[256];
	size_t nfds = 0;
	cleanup_close int sock = accept(*(int *)listening, NULL, NULL);
	ssize_t n = sock < 0 ? -1 : cow_message_recv(sock, packet, sizeof(packet), NULL, &nfds);
	const char *reply = n > 0 && memmem(packet, (size_t)n, "status", 6) != NULL
				    ? "{\"ok\":true,\"notifications\":42,\"swaps\":3}"
				    : "{\"ok\":false}";

	(void)cow_message_send(sock, reply, strlen(reply), NULL, 0);
	return NULL;
}

static void test_left(const struct fixture *f)
{
	cleanup_error struct cow_error *err = NULL;
	cleanup_json struct cow_json *counts = NULL;
	bool running = true;
	cleanup_free char *dir = NULL;

	ok(cow_counts_get(f->branch, &running, &err) == NULL && strstr(err->message, "COWRUN_STATS") != NULL,
	   "no counts: the message names the variable");
	must(asprintf(&dir, "%s/branches/%s", f->store, f->branch->name) >= 0);
	write_file(dir, COW_BRANCH_STATS, "{\"notifications\":5}");
	counts = cow_counts_get(f->branch, &running, NULL);
	ok(number(counts, "notifications") == 5 && !running, "what an agent left is read when none runs");
}

static void test_running(const struct fixture *f)
{
	cleanup_json struct cow_json *counts = NULL;
	cleanup_free char *state = NULL;
	cleanup_free char *text = NULL;
	cleanup_free char *path = NULL;
	cleanup_close int listening = -1;
	pthread_t agent;
	bool running = false;

	must(asprintf(&state, "%s/state", f->dir) >= 0);
	must(asprintf(&path, "%s/key.1/control.sock", state) >= 0);
	must(asprintf(&text, "{\"store\":\"%s\",\"branch\":\"%s\"}", f->store, f->branch->name) >= 0);
	shell("mkdir -p '%s/key.0' '%s/key.1' '%s/empty'", state, state, state);
	setenv("COWRUN_STATE", state, 1);
	write_file(state, "key.1/state.json", text);
	write_file(state, "key.0/state.json", "{\"store\":\"/elsewhere\",\"branch\":\"b\"}");
	listening = cow_socket_listen(path, SOCK_SEQPACKET, NULL);
	must(listening >= 0 && pthread_create(&agent, NULL, be_agent, &listening) == 0);
	counts = cow_counts_get(f->branch, &running, NULL);
	pthread_join(agent, NULL);
	ok(running && number(counts, "notifications") == 42, "the agent that runs is asked first");
	ok(cow_json_get(counts, "ok") == NULL, "what belongs to the protocol is left out");
	cow_json_free(cow_steal_ptr(&counts));
	cow_close_fd(&listening); /* it was killed */
	counts = cow_counts_get(f->branch, &running, NULL);
	ok(!running && number(counts, "notifications") == 5, "a dead agent's state is not in the way");
}

int main(void)
{
	struct fixture f;

	test_counts();
	test_times();
	test_wanted();
	fixture_open(&f, ":");
	setenv("COWRUN_STORE", f.store, 1);
	setenv("COWRUN_STATE", "/nonexistent", 1);
	test_left(&f);
	test_running(&f);
	fixture_close(&f);
	return done_testing();
}
