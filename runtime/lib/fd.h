/* Ownership of descriptors and heap pointers by cleanup attributes. */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

/* errno is kept, so that a cleanup never hides the error that led to it. */
void cow_close_fd(int *fd);
void cow_close_dir(DIR **dir);
void cow_close_file(FILE **file);
void cow_free_pointer(void *pointer);

#define cleanup_close __attribute__((cleanup(cow_close_fd)))
#define cleanup_dir   __attribute__((cleanup(cow_close_dir)))
#define cleanup_file  __attribute__((cleanup(cow_close_file)))
#define cleanup_free  __attribute__((cleanup(cow_free_pointer)))

/* Hands ownership over: the variable is left empty. */
static inline int cow_steal_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}
#define cow_steal_ptr(p)                                                                                               \
	__extension__({                                                                                                \
		__typeof__(*(p)) taken_ = *(p);                                                                        \
		*(p) = NULL;                                                                                           \
		taken_;                                                                                                \
	})

/* Are both on one object, by device and inode? False too if one of them cannot be asked. */
bool cow_same_object(int a, int b);

/* write(2)/read(2) until all is done. 0, or -1 with errno; a read that ends early sets errno to 0. */
int cow_write_all(int fd, const void *data, size_t size);
int cow_read_all(int fd, void *data, size_t size);
/* Have two readable descriptors the same content, from the start? 1, 0, or -1 with errno. */
int cow_same_content(int a, int b);
/* Whole content of a descriptor, NUL-terminated, at most `max` bytes (then errno EFBIG). NULL with errno. Caller frees.
 */
char *cow_read_to_end(int fd, size_t max, size_t *size);

/*
 * ext4 puts a new directory, and then the files in it, near its parent; and where many files were deleted a short while
 * ago it reads inode after inode there to pass over them: 500 us for each new one. After this call the directories made
 * in `dir` (O_PATH will do) are spread over the disk instead. A file system that knows no such flag is left as it is.
 */
void cow_spread_directories(int dir);
