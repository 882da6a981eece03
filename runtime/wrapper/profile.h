/*
 * The edits of linux.seccomp in a bundle's config.json.
 *
 * Two ways lead to the listener (edit_seccomp.c chooses). Either cowrun-init installs the program of the table
 * (filter/filter.h) on top of the bundle's profile, which only must let it do so; or the delegate, where it takes
 * SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, loads one filter, the profile with the table merged in.
 */
#pragma once

#include <stdbool.h>

#include "../lib/error.h"
#include "../lib/json.h"

/*
 * Merges the table into spec's linux.seccomp and sets listenerPath, listenerMetadata and flags. 0 if merged; 1 if this
 * profile cannot be merged exactly (spec is unchanged; take the other way); -1 with *err if there is another seccomp
 * agent already or the profile is malformed. Idempotent: the profile as it was is kept in the member "cowrunOriginal"
 * (runtimes ignore what they do not know) and is what a later merge starts from, whatever its path and metadata.
 *
 * `all`: a profile is not merged either if the running kernel has a call that is to be trapped, the profile allows it
 * and libseccomp cannot name it. Otherwise such calls stay untrapped, and end as EROFS on what the branch has not
 * changed.
 */
int cow_profile_merge(struct cow_json *spec, const char *listener_path, const char *metadata, bool all,
		      struct cow_error **err);

/*
 * Does the bundle's own profile, as it is, let cowrun-init install a filter and hand over its listener? (What else
 * cowrun-init calls it calls both ways.) False if that cannot be told.
 */
bool cow_profile_lets_init(const struct cow_json *spec);

/*
 * For cowrun-init's way: undoes an earlier merge, and adds to an allow list what cowrun-init calls before the user's
 * command and the list lacks. 0, or -1 as above. Idempotent.
 */
int cow_profile_admit_init(struct cow_json *spec, struct cow_error **err);

/*
 * After either edit: -1 with *err if the profile denies, whatever the arguments, a call that cowrun-init makes. It
 * would end with that errno in the container, or be killed without a word. `installs_filter`: by cowrun-init's way.
 */
int cow_profile_check(const struct cow_json *spec, bool installs_filter, bool landlock, struct cow_error **err);
