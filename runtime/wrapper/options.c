#include "args.h"

#include <string.h>

/* runc 1.0 to 1.3, crun 1.0 to 1.20; youki's are the same. Options of create and run that differ between the two are
 * known by the union of both: a delegate that does not know one says so itself. */
static const struct cow_option_rule rules[] = {
	{"root", 0, COW_TAKES_VALUE, COW_IN_GLOBAL, COW_OPTION_ROOT},
	{"log", 0, COW_TAKES_VALUE, COW_IN_GLOBAL, COW_OPTION_LOG},
	{"log-format", 0, COW_TAKES_VALUE, COW_IN_GLOBAL, COW_OPTION_LOG_FORMAT},
	{"log-level", 0, COW_TAKES_VALUE, COW_IN_GLOBAL, COW_OPTION_PLAIN},
	{"criu", 0, COW_TAKES_VALUE, COW_IN_GLOBAL, COW_OPTION_PLAIN},
	{"rootless", 0, COW_TAKES_VALUE, COW_IN_GLOBAL, COW_OPTION_PLAIN},
	{"cgroup-manager", 0, COW_TAKES_VALUE, COW_IN_GLOBAL, COW_OPTION_PLAIN},
	{"systemd-cgroup", 0, COW_TAKES_NOTHING, COW_IN_GLOBAL, COW_OPTION_PLAIN},
	{"debug", 0, COW_TAKES_NOTHING, COW_IN_GLOBAL, COW_OPTION_DEBUG},
	{"version", 'v', COW_TAKES_NOTHING, COW_IN_GLOBAL, COW_OPTION_VERSION},
	{"version", 'V', COW_TAKES_NOTHING, COW_IN_GLOBAL, COW_OPTION_VERSION},
	{"help", 'h', COW_TAKES_NOTHING, ~0u, COW_OPTION_HELP},
	{"help", '?', COW_TAKES_NOTHING, ~0u, COW_OPTION_HELP},
	{"usage", 0, COW_TAKES_NOTHING, ~0u, COW_OPTION_HELP},

	{"bundle", 'b', COW_TAKES_VALUE, COW_IN_CREATE | COW_IN_RUN | COW_IN_RESTORE, COW_OPTION_BUNDLE},
	{"config", 'f', COW_TAKES_VALUE, COW_IN_CREATE | COW_IN_RUN | COW_IN_RESTORE, COW_OPTION_CONFIG},
	{"console-socket", 0, COW_TAKES_VALUE, COW_IN_CREATE | COW_IN_RUN | COW_IN_EXEC | COW_IN_RESTORE,
	 COW_OPTION_PLAIN},
	{"pid-file", 0, COW_TAKES_VALUE, COW_IN_CREATE | COW_IN_RUN | COW_IN_EXEC | COW_IN_RESTORE, COW_OPTION_PLAIN},
	{"pidfd-socket", 0, COW_TAKES_VALUE, COW_IN_CREATE | COW_IN_RUN | COW_IN_EXEC, COW_OPTION_PLAIN},
	{"preserve-fds", 0, COW_TAKES_VALUE, COW_IN_CREATE | COW_IN_RUN | COW_IN_EXEC, COW_OPTION_PRESERVE_FDS},
	{"no-pivot", 0, COW_TAKES_NOTHING, COW_IN_CREATE | COW_IN_RUN | COW_IN_RESTORE, COW_OPTION_PLAIN},
	{"no-new-keyring", 0, COW_TAKES_NOTHING, COW_IN_CREATE | COW_IN_RUN, COW_OPTION_PLAIN},
	{"no-subreaper", 0, COW_TAKES_NOTHING, COW_IN_CREATE | COW_IN_RUN | COW_IN_RESTORE, COW_OPTION_PLAIN},
	{"detach", 'd', COW_TAKES_NOTHING, COW_IN_RUN | COW_IN_EXEC | COW_IN_RESTORE, COW_OPTION_DETACH},
	{"keep", 0, COW_TAKES_NOTHING, COW_IN_RUN, COW_OPTION_KEEP},

	{"process", 'p', COW_TAKES_VALUE, COW_IN_EXEC, COW_OPTION_PROCESS},
	{"cwd", 0, COW_TAKES_VALUE, COW_IN_EXEC, COW_OPTION_CWD},
	{"env", 'e', COW_TAKES_VALUE, COW_IN_EXEC, COW_OPTION_PLAIN},
	{"tty", 't', COW_TAKES_MAYBE, COW_IN_EXEC, COW_OPTION_PLAIN},
	{"user", 'u', COW_TAKES_VALUE, COW_IN_EXEC, COW_OPTION_PLAIN},
	{"additional-gids", 'g', COW_TAKES_VALUE, COW_IN_EXEC, COW_OPTION_PLAIN},
	{"process-label", 0, COW_TAKES_VALUE, COW_IN_EXEC, COW_OPTION_PLAIN},
	{"apparmor", 0, COW_TAKES_VALUE, COW_IN_EXEC, COW_OPTION_PLAIN},
	{"no-new-privs", 0, COW_TAKES_NOTHING, COW_IN_EXEC, COW_OPTION_PLAIN},
	{"cap", 'c', COW_TAKES_VALUE, COW_IN_EXEC, COW_OPTION_PLAIN},
	{"cgroup", 0, COW_TAKES_VALUE, COW_IN_EXEC, COW_OPTION_PLAIN},
	{"ignore-paused", 0, COW_TAKES_NOTHING, COW_IN_EXEC, COW_OPTION_PLAIN},

	{"force", 'f', COW_TAKES_NOTHING, COW_IN_DELETE, COW_OPTION_FORCE},
	{"regex", 'r', COW_TAKES_NOTHING, COW_IN_DELETE, COW_OPTION_REGEX},

	{"image-path", 0, COW_TAKES_VALUE, COW_IN_RESTORE, COW_OPTION_PLAIN},
	{"work-path", 0, COW_TAKES_VALUE, COW_IN_RESTORE, COW_OPTION_PLAIN},
	{"manage-cgroups-mode", 0, COW_TAKES_VALUE, COW_IN_RESTORE, COW_OPTION_PLAIN},
	{"empty-ns", 0, COW_TAKES_VALUE, COW_IN_RESTORE, COW_OPTION_PLAIN},
	{"lsm-profile", 0, COW_TAKES_VALUE, COW_IN_RESTORE, COW_OPTION_PLAIN},
	{"lsm-mount-context", 0, COW_TAKES_VALUE, COW_IN_RESTORE, COW_OPTION_PLAIN},
	{"tcp-established", 0, COW_TAKES_NOTHING, COW_IN_RESTORE, COW_OPTION_PLAIN},
	{"tcp-close", 0, COW_TAKES_NOTHING, COW_IN_RESTORE, COW_OPTION_PLAIN},
	{"ext-unix-sk", 0, COW_TAKES_NOTHING, COW_IN_RESTORE, COW_OPTION_PLAIN},
	{"shell-job", 0, COW_TAKES_NOTHING, COW_IN_RESTORE, COW_OPTION_PLAIN},
	{"file-locks", 0, COW_TAKES_NOTHING, COW_IN_RESTORE, COW_OPTION_PLAIN},
	{"auto-dedup", 0, COW_TAKES_NOTHING, COW_IN_RESTORE, COW_OPTION_PLAIN},
	{"lazy-pages", 0, COW_TAKES_NOTHING, COW_IN_RESTORE, COW_OPTION_PLAIN},
};
enum { RULES = sizeof(rules) / sizeof(*rules) };

static const char *const commands[] = {"checkpoint", "create", "delete", "events", "exec",  "features", "help",
				       "init",       "kill",   "list",   "mounts", "pause", "ps",       "restore",
				       "resume",     "run",    "spec",   "start",  "state", "update",   "info"};

const struct cow_option_rule *cow_option_named(const char *name, size_t length, unsigned where, bool abbreviated)
{
	const struct cow_option_rule *found = NULL;

	if (length == 0)
		return NULL;
	for (size_t i = 0; i < RULES; i++) {
		const struct cow_option_rule *r = &rules[i];

		if ((r->where & where) == 0 || strncmp(r->name, name, length) != 0)
			continue;
		if (r->name[length] == '\0')
			return r;
		if (!abbreviated || (found != NULL && strcmp(found->name, r->name) == 0))
			continue;
		if (found != NULL)
			abbreviated = false; /* more than one begins like that; a whole name may still come */
		found = abbreviated ? r : NULL;
	}
	return found;
}

const struct cow_option_rule *cow_option_lettered(char letter, unsigned where)
{
	for (size_t i = 0; i < RULES; i++)
		if (rules[i].letter == letter && letter != '\0' && (rules[i].where & where) != 0)
			return &rules[i];
	return NULL;
}

bool cow_command_known(const char *word)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (strcmp(commands[i], word) == 0)
			return true;
	return false;
}
