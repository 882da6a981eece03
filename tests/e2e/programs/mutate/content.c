/* The ways to open a file for change. */
#include "mutate.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static long open_write(const char *p)
{
	return with_fd(p, O_WRONLY, write_one);
}

static long open_rdwr(const char *p)
{
	return with_fd(p, O_RDWR, write_one);
}

static long open_append(const char *p)
{
	return with_fd(p, O_WRONLY | O_APPEND, write_one);
}

static long open_trunc(const char *p)
{
	return opened(open(p, O_WRONLY | O_TRUNC | O_NONBLOCK));
}

static long open_rdonly_trunc(const char *p)
{
	return opened(open(p, O_RDONLY | O_TRUNC | O_NONBLOCK));
}

static long open_creat(const char *p)
{
	return opened(open(beside(p, "new"), O_WRONLY | O_CREAT, 0666));
}

static long open_creat_rdonly(const char *p)
{
	return opened(open(beside(p, "new"), O_RDONLY | O_CREAT, 0666));
}

static long open_tmpfile(const char *p)
{
	return opened(open(p, O_TMPFILE | O_WRONLY, 0666));
}

static long openat_write_at(int dirfd, const char *name)
{
	return opened(openat(dirfd, name, O_WRONLY | O_NONBLOCK));
}

static long openat_write(const char *p)
{
	return with_parent(p, openat_write_at);
}

static long openat2_write(const char *p)
{
	struct open_how how = {.flags = O_WRONLY | O_NONBLOCK};

	return opened(syscall(SYS_openat2, AT_FDCWD, p, &how, sizeof(how)));
}

static long openat2_beneath_at(int dirfd, const char *name)
{
	struct open_how how = {.flags = O_RDWR | O_NONBLOCK, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};

	return opened(syscall(SYS_openat2, dirfd, name, &how, sizeof(how)));
}

static long openat2_beneath(const char *p)
{
	return with_parent(p, openat2_beneath_at);
}

static long creat_call(const char *p)
{
	return opened(creat(p, 0666));
}

static long reopen_fd(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return with_fd(path, O_RDWR, write_one);
}

static long reopen(const char *p)
{
	return with_fd(p, O_RDONLY, reopen_fd);
}

static long reopen_opath(const char *p)
{
	return with_fd(p, O_PATH, reopen_fd);
}

static long map_fd(int fd)
{
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return -1;
	map[0] = 'X';
	return munmap(map, 4096);
}

static long map_shared(const char *p)
{
	return with_fd(p, O_RDONLY, map_fd);
}

const struct mutation mutations_of_content[] = {
	{"open-write", open_write},
	{"open-rdwr", open_rdwr},
	{"open-append", open_append},
	{"open-trunc", open_trunc},
	{"open-rdonly-trunc", open_rdonly_trunc},
	{"open-creat", open_creat},
	{"open-creat-rdonly", open_creat_rdonly},
	{"open-tmpfile", open_tmpfile},
	{"openat", openat_write},
	{"openat2", openat2_write},
	{"openat2-beneath", openat2_beneath},
	{"creat", creat_call},
	{"reopen", reopen},
	{"reopen-opath", reopen_opath},
	{"map-shared", map_shared},
	{NULL, NULL},
};
