/*
 * leak FD NAME: a directory of the host was left open as FD when the container started; NAME is a file in it. Tries
 * what a program could do with that. Prints "WHAT ok" for all that works and says nothing of what is refused.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

extern char **environ;

static void report(const char *what, long rc)
{
	if (rc >= 0)
		printf("%s ok\n", what);
}

static void by_handle(int fd, const char *name)
{
	char *const argv[] = {(char *)name, NULL};

	report("read", openat(fd, name, O_RDONLY));
	report("list", openat(fd, ".", O_RDONLY | O_DIRECTORY));
	report("write", openat(fd, name, O_WRONLY | O_APPEND));
	report("truncate", openat(fd, name, O_WRONLY | O_TRUNC));
	report("create", openat(fd, "leak-new", O_WRONLY | O_CREAT, 0666));
	report("tmpfile", openat(fd, ".", O_WRONLY | O_TMPFILE, 0666));
	report("mkdir", mkdirat(fd, "leak-dir", 0777));
	report("mknod", mknodat(fd, "leak-node", S_IFREG | 0666, 0));
	report("symlink", symlinkat("x", fd, "leak-symlink"));
	report("link", linkat(fd, name, fd, "leak-link", 0));
	report("link into the branch", linkat(fd, name, AT_FDCWD, "leak-link", 0));
	report("rename", renameat(fd, name, fd, "leak-moved"));
	report("rename into the branch", renameat(fd, name, AT_FDCWD, "leak-moved"));
	report("unlink", unlinkat(fd, name, 0));
	report("chmod", fchmodat(fd, name, 0777, 0));
	report("chown", fchownat(fd, name, 12, 34, 0));
	report("utimens", utimensat(fd, name, NULL, 0));
	report("exec", syscall(SYS_execveat, fd, name, argv, environ, 0));
}

static void by_proc(int fd, const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", fd, name);
	report("write by path", open(path, O_WRONLY | O_APPEND));
	report("truncate by path", truncate(path, 1));
	report("chmod by path", chmod(path, 0777));
	report("setxattr by path", setxattr(path, "user.leak", "x", 1, 0));
	report("unlink by path", unlink(path));
	snprintf(path, sizeof(path), "/proc/self/fd/%d/..", fd);
	report("list the parent", open(path, O_RDONLY | O_DIRECTORY));
}

static void by_directory(int fd, const char *name)
{
	if (fchdir(fd) != 0)
		return;
	report("read in it", open(name, O_RDONLY));
	report("write in it", open(name, O_WRONLY | O_APPEND));
	report("create in it", open("leak-new", O_WRONLY | O_CREAT, 0666));
	report("unlink in it", unlink(name));
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	int fd = atoi(argv[1]);

	if (fcntl(fd, F_GETFD) < 0) {
		return 0; /* as useless as can be */
	}
	by_handle(fd, argv[2]);
	by_proc(fd, argv[2]);
	report("fchmod", fchmod(fd, 0777));
	by_directory(fd, argv[2]);
	return 0;
}
