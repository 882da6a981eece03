/*
 * names DIR COUNT: COUNT files below DIR, a thousand a directory, as fast as they can be had: most of them are links to
 * the few that are really made, since a name costs a tenth of an inode. For lowers of a million files that nobody
 * reads.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { A_DIRECTORY = 1000, LINKS = 60000 }; /* ext4 allows 65,000 */

static int make(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	return fd < 0 ? -1 : close(fd);
}

static int one(long i)
{
	char original[64], name[64];

	snprintf(name, sizeof(name), "%ld", i / A_DIRECTORY);
	if (i % A_DIRECTORY == 0 && mkdir(name, 0755) != 0 && errno != EEXIST)
		return -1;
	snprintf(name, sizeof(name), "%ld/%ld", i / A_DIRECTORY, i);
	i -= i % LINKS;
	snprintf(original, sizeof(original), "%ld/%ld", i / A_DIRECTORY, i);
	return access(original, F_OK) == 0 ? link(original, name) : make(name);
}

int main(int argc, char **argv)
{
	long count = argc == 3 ? strtol(argv[2], NULL, 10) : -1;

	if (count < 0 || chdir(argv[1]) != 0)
		return 2;
	for (long i = 0; i < count; i++)
		if (one(i) != 0) {
			perror(argv[1]);
			return 1;
		}
	return 0;
}
