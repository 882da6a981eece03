/* uring: io_uring would go round the filter, so io_uring_setup must fail with ENOSYS. Prints the errno's name, or
 * "works". */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	char params[120] = {0};

	puts(syscall(SYS_io_uring_setup, 4, params) >= 0 ? "works" : strerrorname_np(errno));
	return 0;
}
