/*
 * A 32-bit program without a C library, for the kernel's other table of system calls: i386 [DIR]. It changes what it
 * finds in DIR (default: the working directory), each thing by a call or a structure that only 32-bit programs have,
 * and prints a line "CALL ok" or "CALL ERRNUM" for each. Nothing but int 0x80 and memory below 4 GB is needed to run
 * it.
 */
enum {
	NR_EXIT = 1,
	NR_WRITE = 4,
	NR_OPEN = 5,
	NR_CLOSE = 6,
	NR_LINK = 9,
	NR_UNLINK = 10,
	NR_CHDIR = 12,
	NR_MKNOD = 14,
	NR_CHMOD = 15,
	NR_LCHOWN16 = 16,
	NR_UTIME = 30,
	NR_RENAME = 38,
	NR_MKDIR = 39,
	NR_RMDIR = 40,
	NR_IOCTL = 54,
	NR_SYMLINK = 83,
	NR_TRUNCATE = 92,
	NR_FCHMOD = 94,
	NR_FCHOWN16 = 95,
	NR_SOCKETCALL = 102,
	NR_CHOWN16 = 182,
	NR_TRUNCATE64 = 193,
	NR_LCHOWN32 = 198,
	NR_FCHOWN32 = 207,
	NR_CHOWN32 = 212,
	NR_SETXATTR = 226,
	NR_UTIMES = 271,
	NR_OPENAT = 295,
	NR_FSTATAT64 = 300,
	NR_FCHMODAT = 306,
	NR_UTIMENSAT = 320,
	NR_SOCKET = 359,
	NR_BIND = 361,
	NR_UTIMENSAT_TIME64 = 412,
};

enum { O_WRONLY = 1, O_CREAT = 0100, O_PATH = 010000000, AT_FDCWD = -100, SYS_SOCKET = 1, SYS_BIND = 2, AF_UNIX = 1 };

static int call(int nr, long a, long b, long c, long d, long e)
{
	int result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
	return result;
}

static int length(const char *s)
{
	int n = 0;

	while (s[n] != '\0')
		n++;
	return n;
}

static void say(const char *s)
{
	call(NR_WRITE, 1, (long)s, length(s), 0, 0);
}

static int told(const char *name, int result)
{
	char digits[12];
	int at = sizeof(digits) - 1;
	unsigned n = (unsigned)-result;

	say(name);
	if (result >= 0) {
		say(" ok\n");
		return result;
	}
	digits[at] = '\0';
	digits[--at] = '\n';
	do
		digits[--at] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	digits[--at] = ' ';
	say(&digits[at]);
	return result;
}

static int open_at(const char *path, int flags)
{
	return call(NR_OPEN, (long)path, flags, 0644, 0, 0);
}

/* "/proc/self/fd/N" of a file opened by O_PATH: changes by it are the agent's to make, with these structures. */
static const char *magic(const char *path)
{
	static char link[] = "/proc/self/fd/NN";
	int fd = open_at(path, O_PATH);

	link[14] = (char)('0' + fd / 10 % 10);
	link[15] = (char)('0' + fd % 10);
	if (fd < 10) {
		link[14] = link[15];
		link[15] = '\0';
	}
	return link;
}

static void names(void)
{
	told("mkdir", call(NR_MKDIR, (long)"src/made", 0755, 0, 0, 0));
	told("mknod", call(NR_MKNOD, (long)"src/fifo", 010644, 0, 0, 0));
	told("symlink", call(NR_SYMLINK, (long)"README", (long)"src/symlink", 0, 0, 0));
	told("link", call(NR_LINK, (long)"README", (long)"src/linked", 0, 0, 0));
	told("rename", call(NR_RENAME, (long)"src/util.c", (long)"src/made/moved", 0, 0, 0));
	told("unlink", call(NR_UNLINK, (long)"src/util.h", 0, 0, 0, 0));
	told("rmdir", call(NR_RMDIR, (long)"empty", 0, 0, 0, 0));
	told("open", open_at("bin/new", O_WRONLY | O_CREAT));
	told("openat", call(NR_OPENAT, AT_FDCWD, (long)"bin/script", O_WRONLY, 0, 0));
}

static void owners(const char *(*path)(const char *), const char *const files[4])
{
	told("chown16", call(NR_CHOWN16, (long)path(files[0]), 7, 0xffff, 0, 0));
	told("lchown16", call(NR_LCHOWN16, (long)files[1], 0xffff, 8, 0, 0));
	told("chown32", call(NR_CHOWN32, (long)path(files[2]), 70000, -1, 0, 0));
	told("lchown32", call(NR_LCHOWN32, (long)files[3], -1, 80000, 0, 0));
}

static void times(const char *(*path)(const char *), const char *const files[4])
{
	static const int buf[2] = {1000, 2000};
	static const int vals[4] = {1000, 1, 3000, 3};
	static const int specs[4] = {1000, 1, 4000, 4};
	static const long long wide[4] = {1000, 1, 5000000000LL, (7LL << 32) + 5}; /* the upper half is padding */

	told("utime", call(NR_UTIME, (long)path(files[0]), (long)buf, 0, 0, 0));
	told("utimes", call(NR_UTIMES, (long)path(files[1]), (long)vals, 0, 0, 0));
	told("utimensat", call(NR_UTIMENSAT, AT_FDCWD, (long)path(files[2]), (long)specs, 0, 0));
	told("utimensat_time64", call(NR_UTIMENSAT_TIME64, AT_FDCWD, (long)path(files[3]), (long)wide, 0, 0));
}

static void attributes(const char *(*path)(const char *), const char *const files[4])
{
	told("chmod", call(NR_CHMOD, (long)path(files[0]), 0604, 0, 0, 0));
	told("fchmodat", call(NR_FCHMODAT, AT_FDCWD, (long)path(files[1]), 0640, 0, 0));
	told("truncate", call(NR_TRUNCATE, (long)path(files[2]), 2, 0, 0, 0));
	/* Its length is in two registers. */
	told("truncate64", call(NR_TRUNCATE64, (long)path(files[3]), 5, 1, 0, 0));
	told("setxattr", call(NR_SETXATTR, (long)path(files[0]), (long)"user.small", (long)"x", 1, 0));
}

static void descriptors(void)
{
	int fd = open_at("many/20", 0);
	int flags = 0;
	long long st[16];

	told("fchmod", call(NR_FCHMOD, fd, 0611, 0, 0, 0));
	told("fchown16", call(NR_FCHOWN16, fd, 5, 0xffff, 0, 0));
	told("fchown32", call(NR_FCHOWN32, fd, -1, 60000, 0, 0));
	/* With those it has: ext4 would take the lack of FS_EXTENT_FL for a wish, which it cannot always fulfil. */
	call(NR_IOCTL, fd, 0x80046601, (long)&flags, 0, 0); /* FS_IOC32_GETFLAGS */
	flags |= 0x80;                                      /* FS_NOATIME_FL */
	told("FS_IOC32_SETFLAGS", call(NR_IOCTL, fd, 0x40046602, (long)&flags, 0, 0));
	fd = open_at("src", 0);
	told("fstatat64", call(NR_FSTATAT64, fd, (long)"made", (long)st, 0, 0));
}

static void sockets(void)
{
	struct {
		short family;
		char path[30];
	} address = {AF_UNIX, "src/deep/direct"}, other = {AF_UNIX, "src/deep/multiplexed"};
	long arguments[3] = {AF_UNIX, 1, 0};
	int fd = call(NR_SOCKET, AF_UNIX, 1, 0, 0, 0);

	told("bind", call(NR_BIND, fd, (long)&address, sizeof(address), 0, 0));
	fd = call(NR_SOCKETCALL, SYS_SOCKET, (long)arguments, 0, 0, 0);
	arguments[0] = fd;
	arguments[1] = (long)&other;
	arguments[2] = sizeof(other);
	told("socketcall", call(NR_SOCKETCALL, SYS_BIND, (long)arguments, 0, 0, 0));
}

static const char *plain(const char *path)
{
	return path;
}

void _start(void);

__attribute__((used)) static void run(void)
{
	static const char *const first[3][4] = {{"many/1", "many/2", "many/3", "many/4"},
						{"many/5", "many/6", "many/7", "many/8"},
						{"many/9", "many/10", "many/11", "many/12"}};
	static const char *const second[3][4] = {
		{"m/1", "m/2", "m/3", "m/4"}, {"m/5", "m/6", "m/7", "m/8"}, {"m/9", "m/10", "m/11", "m/12"}};

	names();
	owners(plain, first[0]);
	times(plain, first[1]);
	attributes(plain, first[2]);
	owners(magic, second[0]);
	times(magic, second[1]);
	attributes(magic, second[2]);
	descriptors();
	sockets();
	call(NR_EXIT, 0, 0, 0, 0, 0);
}

/* The stack is aligned as the compiler expects it. */
__asm__(".globl _start\n_start:\n\tand $-16, %esp\n\tcall run\n");
