#include "filter.h"

#include <linux/audit.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>

/*
 * Numbers. libseccomp knows most; what follows is younger than the library may be (2.5.0 ends with Linux 5.8). Since
 * Linux 5.1 a new call has the same number on every architecture, but for the few that only one has.
 */
static const struct {
	const char *name;
	int number;
	uint32_t only; /* 0: all */
} young[] = {
	{"openat2", 437, 0},
	{"pidfd_getfd", 438, 0},
	{"faccessat2", 439, 0},
	{"process_madvise", 440, 0},
	{"epoll_pwait2", 441, 0},
	{"mount_setattr", 442, 0},
	{"quotactl_fd", 443, 0},
	{"landlock_create_ruleset", 444, 0},
	{"landlock_add_rule", 445, 0},
	{"landlock_restrict_self", 446, 0},
	{"memfd_secret", 447, 0},
	{"process_mrelease", 448, 0},
	{"futex_waitv", 449, 0},
	{"set_mempolicy_home_node", 450, 0},
	{"cachestat", 451, 0},
	{"fchmodat2", 452, 0},
	{"map_shadow_stack", 453, 0},
	{"futex_wake", 454, 0},
	{"futex_wait", 455, 0},
	{"futex_requeue", 456, 0},
	{"statmount", 457, 0},
	{"listmount", 458, 0},
	{"lsm_get_self_attr", 459, 0},
	{"lsm_set_self_attr", 460, 0},
	{"lsm_list_modules", 461, 0},
	{"mseal", 462, 0},
	{"setxattrat", 463, 0}, /* Linux 6.13 */
	{"getxattrat", 464, 0},
	{"listxattrat", 465, 0},
	{"removexattrat", 466, 0},
	{"open_tree_attr", 467, 0}, /* 6.15 */
	{"file_getattr", 468, 0},   /* 6.17 */
	{"file_setattr", 469, 0},
	{"listns", 470, 0}, /* 6.19 */
	{"uretprobe", 335, AUDIT_ARCH_X86_64},
	{"uprobe", 336, AUDIT_ARCH_X86_64}, /* 6.18 */
	/* libseccomp names i386's direct bind by the number of its socketcall twin (Linux 4.3). */
	{"bind", 361, AUDIT_ARCH_I386},
};

uint32_t cow_filter_native(void)
{
#if defined(__x86_64__)
	return AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
	return AUDIT_ARCH_AARCH64;
#else
#error "cowrun knows the system calls of x86_64 and aarch64 only"
#endif
}

/* Every architecture, each machine's together. */
enum { ARCHES = 4, LOOKUP_SIZE = 512 };
static const uint32_t known[ARCHES + 2] = {AUDIT_ARCH_X86_64,  AUDIT_ARCH_I386, 0,
					   AUDIT_ARCH_AARCH64, AUDIT_ARCH_ARM,  0};

const uint32_t *cow_filter_arches(uint32_t native)
{
	if (native == AUDIT_ARCH_X86_64)
		return &known[0];
	return native == AUDIT_ARCH_AARCH64 ? &known[3] : NULL;
}

bool cow_filter_is_32bit(uint32_t arch)
{
	return (arch & __AUDIT_ARCH_64BIT) == 0;
}

int cow_filter_number(const char *name, uint32_t arch)
{
	/* libseccomp's architecture tokens are the kernel's audit numbers for all that we know. */
	int nr = seccomp_syscall_resolve_name_arch(arch, name);

	/* Negative, but no error: libseccomp's stand-in for a call that this architecture lacks. */
	if (nr >= 0)
		return nr;
	for (size_t i = 0; i < sizeof(young) / sizeof(young[0]); i++)
		if (strcmp(young[i].name, name) == 0 &&
		    (young[i].only == 0 ? nr == __NR_SCMP_ERROR : young[i].only == arch))
			return young[i].number;
	return -1;
}

char *cow_filter_name(uint32_t arch, int nr)
{
	char *name = seccomp_syscall_resolve_num_arch(arch, nr);

	for (size_t i = 0; name == NULL && i < sizeof(young) / sizeof(young[0]); i++)
		if (young[i].number == nr && (young[i].only == 0 || young[i].only == arch))
			name = strdup(young[i].name);
	return name;
}

/*
 * Families by number. One array for each architecture; 0 (COW_CALL_NONE) everywhere but for the trapped calls.
 */
static uint8_t lookup_family[ARCHES + 2][LOOKUP_SIZE];
static pthread_once_t lookup_once = PTHREAD_ONCE_INIT;

_Static_assert(COW_CALL_COUNT <= UINT8_MAX, "families fit lookup_family");

static void lookup_build(void)
{
	size_t count;
	const struct cow_filter_call *calls = cow_filter_calls(&count);

	for (size_t a = 0; a < sizeof(known) / sizeof(known[0]); a++) {
		for (size_t i = 0; i < count && known[a] != 0; i++) {
			int nr = cow_filter_number(calls[i].name, known[a]);

			if (calls[i].verdict == COW_FILTER_NOTIFY && nr >= 0 && nr < LOOKUP_SIZE)
				lookup_family[a][nr] = (uint8_t)calls[i].call;
		}
	}
}

enum cow_call cow_filter_lookup(uint32_t arch, int nr)
{
	pthread_once(&lookup_once, lookup_build);
	if (nr < 0 || nr >= LOOKUP_SIZE)
		return COW_CALL_NONE;
	for (size_t a = 0; a < sizeof(known) / sizeof(known[0]); a++)
		if (known[a] == arch && arch != 0)
			return (enum cow_call)lookup_family[a][nr];
	return COW_CALL_NONE;
}
