/* User namespaces: user_namespaces(7). */
#pragma once

#include <stdbool.h>

/* Is this process in the first user namespace? Only there do trusted.* attributes and the fixed places of root count.
 */
bool cow_userns_initial(void);

/*
 * Is this an ordinary user's, so that his places (XDG) are the right ones? True for every user but 0; and for user 0 of
 * a user namespace that an ordinary user's engine made: there are the variables of rootless podman, or else a runtime
 * directory that is not that of a "root", as a container that is a machine of its own has it. Engines start runtimes
 * with few variables: for some of its commands podman gives XDG_RUNTIME_DIR and no other.
 */
bool cow_userns_rootless(void);
/* This process is now user 0 in a namespace that it has made as an ordinary user: his places stay his. */
void cow_userns_entered(void);
