/* Removal of trees that a container filled. */
#pragma once

/* Removes directory parent/name with all that is below it, however deep. 0, also if it is not there, or -1 with errno.
 */
int cow_remove_tree(int parent, const char *name);
