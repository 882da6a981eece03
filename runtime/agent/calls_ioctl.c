/*
 * ioctl: the commands that change an inode through a descriptor open for reading. (Those that want one open for writing
 * were judged when that was opened.) The filter lets more through than these; the rest goes on.
 */
#include "agent.h"

#include <errno.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <linux/fscrypt.h>
#include <linux/fsverity.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "../lib/fd.h"

/* ext4's own, which no header for programs has: fs/ext4/ext4.h. */
#define EXT4_SETVERSION   _IOW('f', 4, long)
#define EXT4_SETVERSION32 _IOW('f', 4, int)
#define EXT4_MIGRATE      _IO('f', 9)

/* Of XFS (fs/xfs/libxfs/xfs_fs.h), whatever the size of their argument: they reach any inode, as open_by_handle_at. */
enum { XFS_OPEN_BY_HANDLE = 107, XFS_FSSETDM_BY_HANDLE = 121, XFS_ATTRMULTI_BY_HANDLE = 123 };

static bool goes_by_handle(uint32_t command)
{
	unsigned nr = _IOC_NR(command);

	return _IOC_TYPE(command) == 'X' && command != FITRIM &&
	       (nr == XFS_OPEN_BY_HANDLE || nr == XFS_FSSETDM_BY_HANDLE || nr == XFS_ATTRMULTI_BY_HANDLE);
}

static bool changes(uint32_t command)
{
	switch (command) {
	case FS_IOC_SETFLAGS:
	case FS_IOC32_SETFLAGS:
	case FS_IOC_FSSETXATTR:
	case FS_IOC_SETVERSION:
	case FS_IOC32_SETVERSION:
	case EXT4_SETVERSION:
	case EXT4_SETVERSION32:
	case EXT4_MIGRATE:
	case FS_IOC_SET_ENCRYPTION_POLICY:
	case FS_IOC_GET_ENCRYPTION_PWSALT: /* makes the salt */
	case FS_IOC_ENABLE_VERITY:
	case BTRFS_IOC_SNAP_CREATE:
	case BTRFS_IOC_SNAP_CREATE_V2:
	case BTRFS_IOC_SUBVOL_CREATE:
	case BTRFS_IOC_SUBVOL_CREATE_V2:
	case BTRFS_IOC_SNAP_DESTROY:
	case BTRFS_IOC_SUBVOL_SETFLAGS:
	case BTRFS_IOC_SET_RECEIVED_SUBVOL:
	case BTRFS_IOC_DEFRAG:
	case BTRFS_IOC_DEFRAG_RANGE:
		return true;
	default:
		return false;
	}
}

/* FIDEDUPERANGE: the descriptor is the source; what is changed is named in the argument and may be open for reading. */
static int dedupe(struct cow_target *t, uint64_t address)
{
	enum { MOST = 4096 / sizeof(struct file_dedupe_range_info) };
	struct file_dedupe_range range;

	if (cow_target_memory(t, address, &range, sizeof(range)) != 0)
		return COW_VERDICT_CONTINUE;
	for (uint16_t i = 0; i < range.dest_count && i < MOST; i++) {
		struct file_dedupe_range_info info;
		int verdict;

		if (cow_target_memory(t, address + sizeof(range) + i * sizeof(info), &info, sizeof(info)) != 0)
			return COW_VERDICT_CONTINUE;
		verdict = info.dest_fd < 0 || info.dest_fd > INT32_MAX
				  ? COW_VERDICT_CONTINUE
				  : cow_do_modify_fd(t, COW_CALL_IOCTL, (int)info.dest_fd, false);
		if (verdict != COW_VERDICT_CONTINUE)
			return verdict;
	}
	return COW_VERDICT_CONTINUE;
}

int cow_do_ioctl(struct cow_target *t)
{
	uint32_t command = (uint32_t)t->args[1];

	if (goes_by_handle(command) || command == BTRFS_IOC_SNAP_DESTROY_V2) /* by its number, wherever it is */
		return -EPERM;
	if (command == FIDEDUPERANGE)
		return dedupe(t, t->args[2]);
	if (!changes(command))
		return COW_VERDICT_CONTINUE;
	return cow_do_modify_fd(t, COW_CALL_IOCTL, (int)t->args[0], false);
}
