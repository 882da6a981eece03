#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/fd.h"
#include "../lib/json.h"
#include "../lib/log.h"
#include "../lib/message.h"

enum { STATE_MAX = 1 << 20 };

static const char usage[] = "usage: cowrun-agent --state DIR --ready-fd N\n"
			    "Started by cowrun, one for each container; not to be run by hand.\n";

struct options {
	const char *state;
	int ready;
};

/* 0, or the exit status that main is to use. */
static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {{"state", required_argument, NULL, 's'},
					      {"ready-fd", required_argument, NULL, 'r'},
					      {"help", no_argument, NULL, 'h'},
					      {"version", no_argument, NULL, 'V'},
					      {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			o->state = optarg;
			break;
		case 'r':
			o->ready = atoi(optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			exit(COW_EXIT_OK);
		case 'V':
			puts("cowrun-agent " COW_VERSION);
			exit(COW_EXIT_OK);
		default:
			return COW_EXIT_USAGE;
		}
	}
	if (o->state == NULL || o->ready < 0 || optind != argc) {
		fputs(usage, stderr);
		return COW_EXIT_USAGE;
	}
	return 0;
}

static int load_branch(struct cow_agent *a, struct cow_error **err)
{
	cleanup_free char *path = NULL;
	cleanup_json struct cow_json *state = NULL;
	const char *id;
	const char *store;
	const char *name;
	int64_t mounts;

	if (asprintf(&path, "%s/state.json", a->state) < 0)
		abort();
	state = cow_json_read_file(AT_FDCWD, path, STATE_MAX, err);
	if (state == NULL)
		return -1;
	id = cow_json_string(cow_json_get(state, "id"));
	store = cow_json_string(cow_json_get(state, "store"));
	name = cow_json_string(cow_json_get(state, "branch"));
	if (id == NULL || store == NULL || name == NULL)
		return cow_error_set(err, 0, "%s: no id, store or branch", path);
	a->id = strdup(id);
	if (cow_json_int(cow_json_get(state, "mounts"), &mounts) == 0 && mounts > 0)
		a->mounts = (size_t)mounts;
	a->branch = cow_branch_load(store, name, err);
	if (a->branch == NULL)
		return -1;
	return cow_branch_lock(a->branch, err);
}

static int listen_at(const struct cow_agent *a, const char *name, int type, struct cow_error **err)
{
	cleanup_free char *path = NULL;

	if (asprintf(&path, "%s/%s", a->state, name) < 0)
		abort();
	return cow_socket_listen(path, type, err);
}

static int open_all(struct cow_agent *a, struct cow_sockets *s, struct cow_error **err)
{
	if (load_branch(a, err) != 0)
		return -1;
	a->host_ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	a->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (a->host_ns < 0 || a->proc < 0)
		return cow_error_set(err, errno, "/proc");
	s->agent = listen_at(a, "agent.sock", SOCK_STREAM, err);
	if (s->agent < 0)
		return -1;
	s->init = listen_at(a, "init.sock", SOCK_STREAM, err);
	if (s->init < 0)
		return -1;
	s->control = listen_at(a, "control.sock", SOCK_SEQPACKET, err);
	return s->control < 0 ? -1 : 0;
}

/* A process of its own, without the terminal, the pipes or the directory of whoever started the container. */
static int detach(const struct cow_agent *a, int ready, struct cow_error **err)
{
	cleanup_free char *log = NULL;
	int null;

	if (setsid() < 0 && errno != EPERM) /* it leads a session already */
		return cow_error_set(err, errno, "setsid");
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || chdir("/") != 0)
		return cow_error_set(err, errno, "/dev/null");
	for (int fd = 0; fd <= 2; fd++)
		if (fd != ready && dup2(null, fd) < 0)
			return cow_error_set(err, errno, "/dev/null");
	if (null > 2)
		close(null);
	cow_log_set_stderr(false);
	if (asprintf(&log, "%s/agent.log", a->state) < 0)
		abort();
	return cow_log_open_file(log, false) == 0 ? 0 : cow_error_set(err, errno, "%s", log);
}

static int write_pid(const struct cow_agent *a, struct cow_error **err)
{
	cleanup_free char *path = NULL;
	cleanup_file FILE *f = NULL;

	if (asprintf(&path, "%s/agent.pid", a->state) < 0)
		abort();
	f = fopen(path, "we");
	if (f == NULL || fprintf(f, "%d\n", (int)getpid()) < 0 || fflush(f) != 0)
		return cow_error_set(err, errno, "%s", path);
	return 0;
}

static void set_process(void)
{
	struct rlimit files;
	struct rlimit size;

	cow_log_set_program("cowrun-agent");
	/* creds.c sends a child that shares our memory to user namespaces of containers: no root there may look into
	 * it. */
	prctl(PR_SET_DUMPABLE, 0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a copy-up that meets somebody's limit is EFBIG */
	umask(0);                 /* modes are the container's to say */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	if (getrlimit(RLIMIT_FSIZE, &size) == 0) {
		size.rlim_cur = size.rlim_max;
		(void)setrlimit(RLIMIT_FSIZE, &size);
	}
}

/* Descriptors that whoever started us forgot to close would keep things alive as long as the container. */
static void close_others(int ready)
{
	if (ready > 3)
		(void)close_range(3, (unsigned)ready - 1, 0);
	(void)close_range((unsigned)(ready > 2 ? ready : 2) + 1, ~0U, 0);
}

static int run(struct cow_agent *a, int *ready, struct cow_error **err)
{
	struct cow_sockets sockets = {-1, -1, -1};

	if (detach(a, *ready, err) != 0 || open_all(a, &sockets, err) != 0 || write_pid(a, err) != 0)
		return -1;
	/* The main thread grafts at the attach; its file system state is its own as the workers' are. */
	if (unshare(CLONE_FS) != 0)
		return cow_error_set(err, errno, "unshare");
	if (cow_write_all(*ready, "ok\n", 3) != 0)
		return cow_error_set(err, errno, "--ready-fd");
	cow_close_fd(ready);
	cow_control_prepare(a);
	return cow_serve_sockets(a, &sockets, err);
}

int main(int argc, char **argv)
{
	cleanup_error struct cow_error *error = NULL;
	struct options o = {.ready = -1};
	static struct cow_agent agent = {.host_ns = -1,
					 .container_ns = -1,
					 .ruleset = -1,
					 .proc = -1,
					 .root = -1,
					 .lock = PTHREAD_MUTEX_INITIALIZER,
					 .attached = PTHREAD_COND_INITIALIZER};
	int status = parse(argc, argv, &o);

	if (status != 0)
		return status;
	set_process();
	agent.stats.timed = cow_stats_wanted();
	close_others(o.ready);
	agent.state = strdup(o.state);
	if (agent.state == NULL || run(&agent, &o.ready, &error) == 0)
		_exit(COW_EXIT_OK); /* workers hold no state that needs an end */
	if (o.ready >= 0)
		dprintf(o.ready, "%s\n", error->message);
	cow_log_error("%s", error->message);
	_exit(error->status);
}
