/*
 * Is every system call classified? The kernel's own tables are held against the filter's (runtime/filter/table.c): the
 * headers that are installed, libseccomp's for each architecture, what is younger than both, and the names of the calls
 * in the running kernel.
 */
#include "../../runtime/filter/filter.h"

#include <ctype.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../runtime/lib/fd.h"
#include "tap.h"

/* Numbers are below it, but for arm's few own ones. */
enum { NUMBERS = 1024, ARM_PRIVATE = 0xf0000, ARM_PRIVATE_END = 0xf0020 };
/* The last call of Linux 6.18. */
enum { LAST = 469 };

static const struct {
	uint32_t arch;
	const char *name;
} arches[] = {{AUDIT_ARCH_X86_64, "x86_64"},
	      {AUDIT_ARCH_I386, "i386"},
	      {AUDIT_ARCH_AARCH64, "aarch64"},
	      {AUDIT_ARCH_ARM, "arm"}};

/* Exactly one of the two knows it. */
static bool classified(const char *name)
{
	return (cow_filter_named(name) != NULL) != (cow_filter_harmless(name) != NULL);
}

/* 1, with the name told, if a number is a call that nobody looked at. `other`: its name, where libseccomp has none. */
static size_t unknown(uint32_t arch, int nr, const char *other)
{
	cleanup_free char *name = cow_filter_name(arch, nr);
	const char *which = name != NULL ? name : other;

	if (which == NULL || classified(which))
		return 0;
	printf("# %d, %s: neither trapped nor refused nor harmless, or more than one of these\n", nr, which);
	return 1;
}

static void test_libseccomp(void)
{
	for (size_t a = 0; a < sizeof(arches) / sizeof(arches[0]); a++) {
		size_t wrong = 0, seen = 0;

		for (int nr = 0; nr < ARM_PRIVATE_END; nr = nr == NUMBERS ? ARM_PRIVATE : nr + 1) {
			cleanup_free char *name = cow_filter_name(arches[a].arch, nr);

			seen += name != NULL;
			wrong += unknown(arches[a].arch, nr, NULL);
		}
		ok(wrong == 0 && seen > 250, "%s: all of the %zu calls that libseccomp knows, and the younger ones",
		   arches[a].name, seen);
	}
}

/* None between the last that libseccomp knows and the last of Linux 6.18 is left out. */
static void test_young(void)
{
	size_t holes = 0, twice = 0;

	for (size_t a = 0; a < sizeof(arches) / sizeof(arches[0]); a++) {
		for (int nr = 424; nr <= LAST; nr++) {
			cleanup_free char *name = cow_filter_name(arches[a].arch, nr);

			if (name == NULL) {
				holes++;
				printf("# %s has no name for %d\n", arches[a].name, nr);
			} else if (cow_filter_number(name, arches[a].arch) != nr &&
				   !(nr == 447 && arches[a].arch == AUDIT_ARCH_ARM)) {
				twice++;
				printf("# %s: %d is %s, but that is %d\n", arches[a].name, nr, name,
				       cow_filter_number(name, arches[a].arch));
			}
		}
	}
	ok(holes == 0, "every number from 424 to %d has a name", LAST);
	ok(twice == 0, "and the name has that number");
}

/*
 * `#define __NR_name 123`, and `#define __NR3264_name 123` of asm-generic. For asm-generic, which is aarch64's (and
 * what other architectures have beside it), numbers that libseccomp has a name for go by that.
 */
static void test_header(const char *path, uint32_t arch, const char *what)
{
	cleanup_file FILE *f = fopen(path, "re");
	char line[256], name[128];
	size_t wrong = 0, seen = 0;
	int nr;

	if (f == NULL) {
		printf("# no %s here\n", path);
		return;
	}
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "#define __NR_%127[a-z0-9_] %d", name, &nr) != 2 &&
		    sscanf(line, "#define __NR3264_%127[a-z0-9_] %d", name, &nr) != 2)
			continue;
		if (strcmp(name, "syscalls") == 0 || strcmp(name, "arch_specific_syscall") == 0)
			continue;
		seen++;
		wrong += unknown(arch, nr, name);
	}
	ok(wrong == 0 && seen > 250, "%s: all of the %zu calls in %s", what, seen, path);
}

/* Names of functions in the kernel that are not those of the calls. */
static bool is_alias(const char *name)
{
	static const char *const aliases[] = {"gethostname", "ia32_fadvise64", "ia32_fadvise64_64", "ia32_fallocate",
					      "ia32_ftruncate64", "ia32_pread64", "ia32_pwrite64", "ia32_readahead",
					      "ia32_sync_file_range", "ia32_truncate64", "llseek", "mmap_pgoff",
					      "newfstat", "newlstat", "newstat", "newuname", "ni_syscall", "oldumount",
					      "sync_file_range2",
					      /* Of other architectures, there as names only. */
					      "rtas", "s390_ipc", "s390_pci_mmio_read", "s390_pci_mmio_write",
					      "spu_create", "spu_run", "subpage_prot"};
	size_t len = strlen(name);

	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
		if (strcmp(aliases[i], name) == 0)
			return true;
	return strncmp(name, "old_", 4) == 0 || (len > 2 && strcmp(name + len - 2, "16") == 0) ||
	       (len > 2 && strcmp(name + len - 2, "32") == 0);
}

/* What runs here, however new. */
static void test_kernel(void)
{
	cleanup_file FILE *f = fopen("/proc/kallsyms", "re");
	char line[512], name[128];
	size_t wrong = 0, seen = 0;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%*x %*c __x64_sys_%127[a-z0-9_]", name) != 1 &&
		    sscanf(line, "%*x %*c __arm64_sys_%127[a-z0-9_]", name) != 1)
			continue;
		seen++;
		if (classified(name) || is_alias(name))
			continue;
		wrong++;
		printf("# the running kernel has %s, which nobody looked at\n", name);
	}
	if (seen == 0)
		printf("# the running kernel does not tell its calls\n");
	else
		ok(wrong == 0, "the running kernel: all of its %zu calls", seen);
}

/* A misspelt name would say nothing of any call. */
static void test_names(void)
{
	size_t count, strange = 0;
	const struct cow_filter_group *groups = cow_filter_groups(&count);

	for (size_t i = 0; i < count; i++) {
		for (const char *const *name = groups[i].names; *name != NULL; name++) {
			bool there = seccomp_syscall_resolve_name(*name) != __NR_SCMP_ERROR;

			for (size_t a = 0; a < sizeof(arches) / sizeof(arches[0]); a++)
				there = there || cow_filter_number(*name, arches[a].arch) >= 0;
			if (there && classified(*name))
				continue;
			strange++;
			printf("# %s: no such call, or it has a row too\n", *name);
		}
	}
	ok(strange == 0, "every name in the groups is a call, and has no row");
	ok(cow_filter_harmless("read") != NULL && cow_filter_harmless("openat") == NULL &&
		   cow_filter_harmless("no_such_call") == NULL,
	   "harmless by name");
}

int main(void)
{
	test_libseccomp();
	test_young();
	test_header("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", AUDIT_ARCH_X86_64, "x86_64");
	test_header("/usr/include/x86_64-linux-gnu/asm/unistd_32.h", AUDIT_ARCH_I386, "i386");
	test_header("/usr/include/asm-generic/unistd.h", AUDIT_ARCH_AARCH64, "aarch64");
	test_kernel();
	test_names();
	return done_testing();
}
