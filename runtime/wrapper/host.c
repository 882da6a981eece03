#include "host.h"

#include <dlfcn.h>
#include <errno.h>
#include <libmount.h>
#include <stdlib.h>
#include <string.h>

/* The name of its ABI, as the linker would note it. */
static const char library[] = "libmount.so.1";

#define FUNCTIONS(X)                                                                                                   \
	X(mnt_new_table_from_file)                                                                                     \
	X(mnt_unref_table)                                                                                             \
	X(mnt_table_get_nents)                                                                                         \
	X(mnt_table_next_fs)                                                                                           \
	X(mnt_new_iter)                                                                                                \
	X(mnt_free_iter)                                                                                               \
	X(mnt_fs_get_id)                                                                                               \
	X(mnt_fs_get_devno)                                                                                            \
	X(mnt_fs_get_root)                                                                                             \
	X(mnt_fs_get_target)                                                                                           \
	X(mnt_fs_get_vfs_options)                                                                                      \
	X(mnt_optstr_get_option)

#define POINTER(name) __typeof__(&name) name;
static struct {
	FUNCTIONS(POINTER)
} lib;

/* dlsym(3) gives a pointer to an object, which POSIX lets stand for one to a function. */
static bool find_function(void *handle, const char *name, void *pointer)
{
	void *found = dlsym(handle, name);

	memcpy(pointer, &found, sizeof(found));
	return found != NULL;
}

static int load_library(struct cow_error **err)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);

#define FIND(name) || !find_function(handle, #name, &lib.name)
	if (handle == NULL FUNCTIONS(FIND))
		return cow_error_set(err, 0, "cannot load %s: %s", library, dlerror());
	return 0;
}

static char *copy_of(const char *s)
{
	char *copy = strdup(s);

	if (copy == NULL)
		abort();
	return copy;
}

static void add_mount(struct cow_host *host, struct libmnt_fs *fs)
{
	const char *root = lib.mnt_fs_get_root(fs), *target = lib.mnt_fs_get_target(fs);
	const char *options = lib.mnt_fs_get_vfs_options(fs);

	if (root == NULL || target == NULL)
		return;
	host->mounts[host->count++] = (struct cow_host_mount){
		.id = (uint64_t)lib.mnt_fs_get_id(fs),
		.dev = lib.mnt_fs_get_devno(fs),
		.root = copy_of(root),
		.target = copy_of(target),
		.readonly = options != NULL && lib.mnt_optstr_get_option(options, "ro", NULL, NULL) == 0,
	};
}

static struct cow_host *host_of(struct libmnt_table *table)
{
	struct libmnt_iter *iter = lib.mnt_new_iter(MNT_ITER_FORWARD);
	struct cow_host *host = calloc(1, sizeof(*host));
	struct libmnt_fs *fs;

	if (iter == NULL || host == NULL)
		abort();
	host->mounts = calloc((size_t)lib.mnt_table_get_nents(table) + 1, sizeof(*host->mounts));
	if (host->mounts == NULL)
		abort();
	while (lib.mnt_table_next_fs(table, iter, &fs) == 0)
		add_mount(host, fs);
	lib.mnt_free_iter(iter);
	return host;
}

struct cow_host *cow_host_load(struct cow_error **err)
{
	static const char path[] = "/proc/self/mountinfo";
	struct libmnt_table *table;
	struct cow_host *host;

	if (lib.mnt_new_table_from_file == NULL && load_library(err) != 0)
		return NULL;
	table = lib.mnt_new_table_from_file(path);
	if (table == NULL) {
		cow_error_set(err, errno, "cannot read %s", path);
		return NULL;
	}
	host = host_of(table);
	lib.mnt_unref_table(table);
	return host;
}

void cow_host_free(struct cow_host *host)
{
	if (host == NULL)
		return;
	for (size_t i = 0; i < host->count; i++) {
		free(host->mounts[i].root);
		free(host->mounts[i].target);
	}
	free(host->mounts);
	free(host);
}

void cow_host_cleanup(struct cow_host **host)
{
	cow_host_free(*host);
	*host = NULL;
}
