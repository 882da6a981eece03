/* The runtime behind cowrun: which program it is, and what it can do. */
#pragma once

#include <stdbool.h>

#include "../lib/error.h"
#include "settings.h"

/*
 * The first of the names that is there, on PATH or, since engines start runtimes with an empty environment, where
 * programs usually are. Never cowrun itself. Absolute path (caller frees), or NULL with an error that names what was
 * looked for.
 */
char *cow_delegate_find(char *const *names, struct cow_error **err);

/* capability.c */
enum cow_delegate_kind { COW_DELEGATE_OTHER, COW_DELEGATE_RUNC, COW_DELEGATE_CRUN };
struct cow_delegate_ability {
	enum cow_delegate_kind kind;
	bool wait_killable; /* takes SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV in linux.seccomp.flags */
};

/*
 * Asks the delegate (--version, features), once: the answer is kept in STORE/delegates.json as long as the program and
 * the kernel are the same. A cache that cannot be read or written is no error.
 */
int cow_delegate_ask(const char *path, const char *store, struct cow_delegate_ability *can, struct cow_error **err);
/* What those two outputs say. */
bool cow_ability_of_crun(const char *version_output, struct cow_delegate_ability *can); /* false: it is not crun */
void cow_ability_of_features(const char *features_output, struct cow_delegate_ability *can);

/*
 * How many descriptors the delegate passes on because of LISTEN_FDS (sd_listen_fds(3)) before those of --preserve-fds.
 * crun counts them always; runc if LISTEN_PID is its own number, and for exec never.
 */
int cow_delegate_listen_fds(enum cow_delegate_kind kind, bool exec);
