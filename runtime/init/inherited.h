/* Descriptors that the container inherits. */
#pragma once

/*
 * Closes every directory that was not opened in this mount namespace below this root: through it the host's files could
 * be reached, and of what is done to them the kernel's mount flags and Landlock stop much but not all (chmod(2), for
 * one).
 */
void cow_close_foreign_directories(void);
