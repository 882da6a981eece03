/* A directory with bundles in it, and what the tests of their edits (test_spec*.c) need to write them. */
#pragma once

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../runtime/lib/fd.h"
#include "../../runtime/wrapper/spec.h"

static char top[] = "/tmp/test_specXXXXXX"; /* bundle/rootfs, lower/src, other, store, state */

/* Every "@" becomes `top`, every "'" a quotation mark. Caller frees. */
static char *expand(const char *text)
{
	char *out = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&out, &size);

	for (; *text != '\0'; text++)
		if (*text == '@')
			fputs(top, f);
		else
			fputc(*text == '\'' ? '"' : *text, f);
	fclose(f);
	return out;
}

static struct cow_json *json(const char *text)
{
	cleanup_free char *expanded = expand(text);
	cleanup_error struct cow_error *err = NULL;
	struct cow_json *v = cow_json_parse(expanded, strlen(expanded), &err);

	if (v == NULL) {
		printf("Bail out! %s: %s\n", err->message, expanded);
		exit(1);
	}
	return v;
}

#define WORK "{'destination':'/work','type':'bind','source':'@/lower','options':['rbind','rw']}"
#define DEV  "{'destination':'/dev','type':'tmpfs','source':'tmpfs','options':['nosuid','noexec']}"

/* A bundle with these mounts, as JSON without the brackets. */
static struct cow_json *bundle(const char *mounts)
{
	struct cow_json *spec =
		json("{'ociVersion':'1.0.2','vnd':{'n':1.50,'e':1E+2},"
		     "'process':{'args':['sh','-c','x'],'cwd':'/work','user':{'uid':0}},"
		     "'root':{'path':'rootfs'},'linux':{'namespaces':[{'type':'pid'},{'type':'mount'}]}}");
	cleanup_free char *array = NULL;

	if (asprintf(&array, "[%s]", mounts) < 0)
		abort();
	cow_json_set(spec, "mounts", json(array));
	return spec;
}

static void ask(struct cow_request *r, const char *a, const char *b)
{
	*r = (struct cow_request){.nworkdirs = b != NULL ? 2 : 1,
				  .workdirs = {(char *)a, (char *)b},
				  .branch = (char *)"b",
				  .on_exit = "keep",
				  .landlock = true};
}

static int trees_of(const struct cow_json *spec, const struct cow_request *r, struct cow_branch_tree *trees,
		    struct cow_error **err)
{
	cleanup_free char *dir = expand("@/bundle"), *store = expand("@/store"), *state = expand("@/state");

	return cow_spec_trees(spec, r, dir, store, state, trees, err);
}

/* The trees of a bundle, printed: "workdir lower mountpoint…;", or what is wrong with it. Caller frees. */
static char *found_in(const struct cow_json *spec, const char *a, const char *b)
{
	struct cow_branch_tree trees[COW_BRANCH_TREES] = {{NULL, NULL, NULL}};
	cleanup_error struct cow_error *err = NULL;
	struct cow_request r;
	char *out = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&out, &size);

	ask(&r, a, b);
	if (trees_of(spec, &r, trees, &err) != 0) {
		fprintf(f, "error: %s", err != NULL ? err->message : "");
	} else {
		for (size_t i = 0; i < r.nworkdirs; i++) {
			fprintf(f, "%s %s", trees[i].workdir, trees[i].lower);
			for (char **m = trees[i].mountpoints; *m != NULL; m++)
				fprintf(f, " %s", *m);
			fputc(';', f);
		}
		cow_spec_trees_free(trees, r.nworkdirs);
	}
	fclose(f);
	return out;
}

static void make(const char *path)
{
	cleanup_free char *expanded = expand(path);

	if (mkdir(expanded, 0755) != 0)
		perror(expanded);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* The store is not made yet, as before the first container. */
static void make_top(void)
{
	static const char *const dirs[] = {"@/bundle",      "@/bundle/rootfs", "@/lower",      "@/lower/src",
					   "@/lower/inner", "@/other",         "@/other/deep", "@/lowest",
					   "@/alias",       "@/state",         "@/state/sub"};
	cleanup_free char *link = NULL, *file = NULL, *inside = NULL;

	if (mkdtemp(top) == NULL)
		abort();
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		make(dirs[i]);
	link = expand("@/link");
	file = expand("@/file");
	inside = expand("@/lower/file");
	if (symlink("lower", link) != 0 || mknod(file, S_IFREG | 0644, 0) != 0 || mknod(inside, S_IFREG | 0644, 0) != 0)
		abort();
}

static void remove_top(void)
{
	nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}
