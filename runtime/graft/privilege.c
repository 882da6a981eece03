#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/log.h"

/* The raw calls: they change this thread only. */
static int get(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};

	return (int)syscall(SYS_capget, &header, data);
}

static int set_effective(struct __user_cap_data_struct data[2], uint32_t low, uint32_t high)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};

	data[0].effective = low;
	data[1].effective = high;
	return (int)syscall(SYS_capset, &header, data);
}

void cow_privileges_raise(struct cow_privileges *saved)
{
	struct __user_cap_data_struct data[2];

	saved->raised = false;
	if (get(data) != 0 || (data[0].effective == data[0].permitted && data[1].effective == data[1].permitted))
		return;
	saved->raised = true;
	saved->effective[0] = data[0].effective;
	saved->effective[1] = data[1].effective;
	(void)set_effective(data, data[0].permitted, data[1].permitted);
}

void cow_privileges_restore(const struct cow_privileges *saved)
{
	struct __user_cap_data_struct data[2];

	if (!saved->raised)
		return;
	/* What comes next must not be done with more rights than the target has. */
	if (get(data) != 0 || set_effective(data, saved->effective[0], saved->effective[1]) != 0) {
		cow_log_error("cannot give capabilities up again: %s", strerror(errno));
		abort();
	}
}

/* As the kernel's may_delete() and its sticky bit. */
int cow_may_remove(int dir, const struct stat *entry)
{
	struct __user_cap_data_struct data[2];
	struct stat st;
	uid_t fsuid;

	if (syscall(SYS_faccessat2, dir, "", W_OK | X_OK, AT_EMPTY_PATH | AT_EACCESS) != 0 || fstat(dir, &st) != 0)
		return errno;
	fsuid = (uid_t)setfsuid((uid_t)-1); /* changes nothing, and says what it is */
	if ((st.st_mode & S_ISVTX) == 0 || fsuid == entry->st_uid || fsuid == st.st_uid)
		return 0;
	return get(data) == 0 && (data[0].effective & 1U << CAP_FOWNER) != 0 ? 0 : EPERM;
}
