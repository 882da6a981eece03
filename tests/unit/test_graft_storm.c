/*
 * Several workers at once change a tree through the engine as the agent does it, each its own files in directories that
 * all share, while processes of the container read all of it. In the end everything is where each worker put it, also
 * for the next container, and the lower is as it was.
 */
#include "graft_fixture.h"

#include <linux/fs.h>
#include <pthread.h>
#include <sys/mman.h>

enum { WORKERS = 4, FILES = 24, IN_DIR = 12, STEPS = 400, READERS = 2 };

/* Directories that a process of the container keeps renaming; the workers have descriptors that were opened before any
 * split, and no names. */
static const char *const moving[] = {"m0", "m1/sub", "m2/sub/sub"};
enum { MOVING = sizeof(moving) / sizeof(moving[0]) };

static const char *const dirs[] = {"d0", "d0/x", "d1", "d1/y/z", "d2", "d2/p/q/r", "."};
enum { DIRS = sizeof(dirs) / sizeof(dirs[0]) };

struct file {
	bool present;
	unsigned dir;     /* where it is */
	bool other_name;  /* "….v" */
	unsigned content; /* whose first line it has */
	unsigned lines;   /* of the content, beside the first one */
};

struct worker {
	struct fixture *f;
	unsigned number, seed;
	struct file files[FILES];
	unsigned dir;                  /* where its own directory is */
	unsigned dir_lines[IN_DIR];    /* of the files in it */
	int moving[MOVING];            /* descriptors */
	unsigned moving_lines[MOVING]; /* of a file in each */
	unsigned stale, performed[9];  /* statistics */
};

static const char *name_of(const struct worker *w, unsigned k)
{
	static __thread char ring[4][32];
	static __thread unsigned next;
	char *out = ring[next++ % 4];

	snprintf(out, 32, "t%u_f%u%s", w->number, k, w->files[k].other_name ? ".v" : "");
	return out;
}

/* Until the engine does not say ESTALE any more, as the agent does. */
#define AGAIN(w, error, call)                                                                                          \
	do {                                                                                                           \
		error = (call);                                                                                        \
		(w)->stale += (error) == ESTALE;                                                                       \
	} while ((error) == ESTALE)

static int real_directory(struct worker *w, const char *path)
{
	for (;;) {
		cleanup_close int fd = openat(w->f->work, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		int real = fd < 0 ? -1 : cow_tree_real_directory(w->f->tree, fd);

		if (real >= 0)
			return real;
		if (errno != ESTALE && errno != ENOENT)
			printf("# %s: %s\n", path, strerror(errno));
		CHECK(errno == ESTALE);
		w->stale++;
	}
}

static int real_at(struct worker *w, int fd)
{
	for (;;) {
		int real = cow_tree_real_directory(w->f->tree, fd);

		if (real >= 0)
			return real;
		CHECK(errno == ESTALE);
		w->stale++;
	}
}

static void append_line(struct worker *w, int dir, const char *name)
{
	int error;

	AGAIN(w, error, cow_tree_copy_up(w->f->tree, dir, name, false, NULL, NULL));
	if (error != 0)
		printf("# %s: %s\n", name, strerror(error));
	CHECK(error == 0);
	cleanup_close int fd = openat(dir, name, O_WRONLY | O_APPEND | O_CLOEXEC);

	CHECK(fd >= 0 && write(fd, "more\n", 5) == 5);
}

static void remove_file(struct worker *w, int dir, const char *name)
{
	int error = cow_tree_drop(w->f->tree, dir, name);

	if (error == ESTALE)
		error = unlinkat(dir, name, 0) == 0 ? 0 : errno;
	CHECK(error == 0);
}

static void create_file(struct worker *w, unsigned k)
{
	cleanup_close int dir = real_directory(w, dirs[w->files[k].dir]);
	char temporary[32], text[32];
	int n = snprintf(text, sizeof(text), "t%u_f%u\n", w->number, k);

	snprintf(temporary, sizeof(temporary), ".new%u", w->number);
	cleanup_close int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	CHECK(fd >= 0 && write(fd, text, (size_t)n) == n);
	CHECK(cow_tree_rename(w->f->tree, dir, temporary, dir, name_of(w, k), 0) == 0);
	w->files[k].present = true;
	w->files[k].content = k;
	w->files[k].lines = 0;
}

static void move_file(struct worker *w, unsigned k)
{
	struct file *file = &w->files[k];
	const char *old = name_of(w, k);
	cleanup_close int from = real_directory(w, dirs[file->dir]);

	file->dir = (unsigned)rand_r(&w->seed) % DIRS;
	file->other_name = rand_r(&w->seed) % 2 != 0;
	cleanup_close int to = real_directory(w, dirs[file->dir]);

	CHECK(cow_tree_rename(w->f->tree, from, old, to, name_of(w, k), 0) == 0);
}

/* Over another one, or the two change places. */
static void move_over(struct worker *w, unsigned k, unsigned other, bool exchange)
{
	struct file *a = &w->files[k], *b = &w->files[other];
	cleanup_close int from = real_directory(w, dirs[a->dir]);
	cleanup_close int to = real_directory(w, dirs[b->dir]);
	struct file saved = *b;

	CHECK(cow_tree_rename(w->f->tree, from, name_of(w, k), to, name_of(w, other), exchange ? RENAME_EXCHANGE : 0) ==
	      0);
	b->content = a->content;
	b->lines = a->lines;
	a->present = exchange;
	a->content = saved.content;
	a->lines = saved.lines;
}

static void move_own_directory(struct worker *w)
{
	cleanup_close int from = real_directory(w, dirs[w->dir]);
	char name[32];

	snprintf(name, sizeof(name), "t%u_dir", w->number);
	w->dir = (unsigned)rand_r(&w->seed) % DIRS;
	cleanup_close int to = real_directory(w, dirs[w->dir]);

	int error = cow_tree_rename(w->f->tree, from, name, to, name, 0);

	if (error != 0)
		printf("# %s to %s: %s\n", name, dirs[w->dir], strerror(error));
	CHECK(error == 0);
}

static void write_in_own_directory(struct worker *w)
{
	unsigned k = (unsigned)rand_r(&w->seed) % IN_DIR;
	char path[64], name[32];

	snprintf(path, sizeof(path), "%s/t%u_dir", dirs[w->dir], w->number);
	snprintf(name, sizeof(name), "in%u", k);
	cleanup_close int dir = real_directory(w, path);

	append_line(w, dir, name);
	w->dir_lines[k]++;
}

static void write_in_moving(struct worker *w)
{
	unsigned i = (unsigned)rand_r(&w->seed) % MOVING;
	cleanup_close int dir = real_at(w, w->moving[i]);
	char name[32];

	snprintf(name, sizeof(name), "t%u_m", w->number);
	append_line(w, dir, name);
	w->moving_lines[i]++;
}

static void step(struct worker *w)
{
	unsigned k = (unsigned)rand_r(&w->seed) % FILES, other = (unsigned)rand_r(&w->seed) % FILES;
	unsigned what = (unsigned)rand_r(&w->seed) % 9;
	struct file *file = &w->files[k];

	w->performed[what]++;
	if (what == 6)
		return move_own_directory(w);
	if (what == 7)
		return write_in_own_directory(w);
	if (what == 8)
		return write_in_moving(w);
	if (!file->present)
		return create_file(w, k);
	if (what == 0) {
		cleanup_close int dir = real_directory(w, dirs[file->dir]);

		remove_file(w, dir, name_of(w, k));
		file->present = false;
	} else if (what == 1 || what == 2) {
		cleanup_close int dir = real_directory(w, dirs[file->dir]);

		append_line(w, dir, name_of(w, k));
		file->lines++;
	} else if (what == 3 || k == other || !w->files[other].present) {
		move_file(w, k);
	} else {
		move_over(w, k, other, what == 4);
	}
}

static void *work(void *data)
{
	struct worker *w = data;

	CHECK(unshare(CLONE_FS) == 0);
	for (int i = 0; i < STEPS; i++) {
		step(w);
		cow_tree_reap(w->f->tree);
	}
	return NULL;
}

static bool waits(struct cow_tree *t)
{
	bool any;

	pthread_mutex_lock(&t->structure);
	any = t->resting.first != NULL || t->shadowed.first != NULL;
	pthread_mutex_unlock(&t->structure);
	return any;
}

static bool storm_over;

static void *sweep(void *data)
{
	const struct fixture *f = data;

	CHECK(unshare(CLONE_FS) == 0);
	while (!__atomic_load_n(&storm_over, __ATOMIC_RELAXED)) {
		usleep(50000);
		cow_tree_sweep(f->tree);
	}
	return NULL;
}

/* --- readers ------------------------------------------------------------------------------------------------------ */

static void read_all(int at, unsigned *constant)
{
	cleanup_dir DIR *dir = fdopendir(at);

	CHECK(dir != NULL);
	for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
		char text[8] = "";
		struct stat st;

		if (e->d_name[0] == '.')
			continue;
		cleanup_close int fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

		*constant += strcmp(e->d_name, "constant") == 0;
		if (fd < 0 && errno == ENOENT) {
			/* Moved since it was listed; what nobody moves is there. */
			CHECK(strchr("tma", e->d_name[0]) != NULL);
			continue;
		}
		CHECK(fd >= 0 && fstat(fd, &st) == 0);
		if (S_ISDIR(st.st_mode)) {
			read_all(cow_steal_fd(&fd), constant);
			continue;
		}
		CHECK(read(fd, text, 1) == 1);
		CHECK(text[0] == 't' || text[0] == 'c');
	}
}

static int read_on(const struct fixture *f, void *data)
{
	(void)f;
	(void)data;
	for (;;) {
		unsigned constant = 0;

		read_all(open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), &constant);
		/* One in each directory, and none of these is ever moved. (A walk may meet a moving directory twice.)
		 */
		CHECK(constant == DIRS);
	}
}

static int keep_moving(const struct fixture *f, void *data)
{
	unsigned n = 0;

	(void)f;
	while (!*(volatile bool *)data) {
		for (unsigned i = 0; i < MOVING; i++) {
			char name[8] = "", away[16];

			memcpy(name, moving[i], 2);
			snprintf(away, sizeof(away), "away%u", i);
			/* Not while it is a graft. */
			if (rename(name, away) != 0) {
				CHECK(errno == EBUSY);
				continue;
			}
			n++;
			CHECK(rename(away, name) == 0);
		}
		usleep(100);
	}
	printf("# %u renames\n", n);
	return n > 0 ? 0 : 1;
}

/* --- the result --------------------------------------------------------------------------------------------------- */

static bool has_lines(const char *path, const char *first, unsigned lines)
{
	cleanup_file FILE *file = fopen(path, "re");
	char line[64];

	if (file == NULL || fgets(line, sizeof(line), file) == NULL || strcmp(line, first) != 0)
		return false;
	for (; fgets(line, sizeof(line), file) != NULL; lines--)
		if (lines == 0 || strcmp(line, "more\n") != 0)
			return false;
	return lines == 0;
}

static void check_worker(const struct worker *w)
{
	char first[32];

	for (unsigned k = 0; k < FILES; k++) {
		const struct file *file = &w->files[k];

		snprintf(first, sizeof(first), "t%u_f%u\n", w->number, file->content);
		if (!file->present)
			continue;
		CHECK(has_lines(seen(w->f, "%s/%s", dirs[file->dir], name_of(w, k)), first, file->lines));
	}
	for (unsigned i = 0; i < MOVING; i++)
		CHECK(has_lines(seen(w->f, "%s/t%u_m", moving[i], w->number), "t\n", w->moving_lines[i]));
	for (unsigned k = 0; k < IN_DIR; k++)
		CHECK(has_lines(seen(w->f, "%s/t%u_dir/in%u", dirs[w->dir], w->number, k), "t\n", w->dir_lines[k]));
}

static size_t count_all(const char *path)
{
	cleanup_dir DIR *dir = opendir(path);
	size_t n = 0;

	CHECK(dir != NULL);
	for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
		char sub[PATH_MAX + 300];
		struct stat st;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name);
		CHECK(lstat(sub, &st) == 0);
		n += S_ISDIR(st.st_mode) ? count_all(sub) : 1;
	}
	return n;
}

/* Nothing that nobody put there, either. */
static void check_all(struct worker *workers, size_t others)
{
	size_t files = others;

	for (unsigned i = 0; i < WORKERS; i++) {
		check_worker(&workers[i]);
		files += IN_DIR + MOVING;
		for (unsigned k = 0; k < FILES; k++)
			files += workers[i].files[k].present;
	}
	if (count_all(workers[0].f->view) != files)
		printf("# %zu files instead of %zu\n", count_all(workers[0].f->view), files);
	CHECK(count_all(workers[0].f->view) == files);
}

static void make_path(struct fixture *f, const char *wanted)
{
	char path[64];

	strcpy(path, wanted);
	for (char *p = path; (p = strchr(p, '/')) != NULL; *p++ = '/') {
		*p = '\0';
		make_dir(lower(f, "%s", path));
	}
	make_dir(lower(f, "%s", path));
}

static void make_storm_lower(struct fixture *f, struct worker *workers)
{
	char text[32];

	for (unsigned i = 0; i < DIRS; i++) {
		make_path(f, dirs[i]);
		write_file(lower(f, "%s/constant", dirs[i]), "constant\n");
	}
	for (unsigned i = 0; i < MOVING; i++) {
		make_path(f, moving[i]);
		for (unsigned k = 0; k < WORKERS; k++)
			write_file(lower(f, "%s/t%u_m", moving[i], k), "t\n");
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		struct worker *w = &workers[i];

		*w = (struct worker){.f = f, .number = i, .seed = i + 1, .dir = i};
		for (unsigned k = 0; k < FILES; k++) {
			w->files[k] = (struct file){.present = true, .dir = k % DIRS, .content = k};
			snprintf(text, sizeof(text), "t%u_f%u\n", i, k);
			write_file(lower(f, "%s/%s", dirs[k % DIRS], name_of(w, k)), text);
		}
		make_dir(lower(f, "%s/t%u_dir", dirs[i], i));
		for (unsigned k = 0; k < IN_DIR; k++)
			write_file(lower(f, "%s/t%u_dir/in%u", dirs[i], i, k), "t\n");
	}
}

static void storm_scenario(struct fixture *f)
{
	static struct worker workers[WORKERS];
	pthread_t threads[WORKERS], sweeper;
	pid_t readers[READERS], mover;
	bool *stop_moving;
	unsigned stale = 0;
	double begun;
	size_t others, in_lower;

	remove_all(f->lower);
	make_dir(f->lower);
	make_storm_lower(f, workers);
	others = DIRS;
	in_lower = count_all(f->lower);
	start(f);
	for (int i = 0; i < READERS; i++)
		readers[i] = start_inside(f, read_on, NULL);
	stop_moving = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(stop_moving != MAP_FAILED);
	*stop_moving = false;
	mover = start_inside(f, keep_moving, stop_moving);
	for (unsigned i = 0; i < WORKERS; i++)
		for (unsigned k = 0; k < MOVING; k++)
			workers[i].moving[k] = open(seen(f, "%s", moving[k]), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	begun = now_us();
	CHECK(pthread_create(&sweeper, NULL, sweep, f) == 0);
	for (unsigned i = 0; i < WORKERS; i++)
		CHECK(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		pthread_join(threads[i], NULL);
		stale += workers[i].stale;
	}
	begun = now_us() - begun;
	*stop_moving = true;
	CHECK(end_inside(mover) == 0);
	munmap(stop_moving, 4096);
	for (unsigned i = 0; i < WORKERS; i++)
		for (unsigned k = 0; k < MOVING; k++)
			close(workers[i].moving[k]);
	for (int i = 0; i < READERS; i++) {
		int status;

		CHECK(kill(readers[i], SIGTERM) == 0 && waitpid(readers[i], &status, 0) == readers[i]);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	}
	check_all(workers, others);
	/* What was touched once more rests once more. */
	for (int i = 0; i < 50 && waits(f->tree); i++)
		usleep(100000);
	__atomic_store_n(&storm_over, true, __ATOMIC_RELAXED);
	pthread_join(sweeper, NULL);
	printf("# %.0f ms, %lu splits, %lu copy-ups, %lu shadowed, %lu freed, %u times ESTALE\n", begun / 1e3,
	       (unsigned long)f->tree->stats.splits, (unsigned long)f->tree->stats.copy_ups,
	       (unsigned long)f->tree->stats.shadowed, (unsigned long)f->tree->stats.freed, stale);
	for (const struct cow_graft *g = f->tree->resting.first; g != NULL; g = g->next_retired)
		printf("# resting: %s, at %s\n", g->path, g->where);
	for (const struct cow_graft *g = f->tree->shadowed.first; g != NULL; g = g->next_retired)
		printf("# shadowed: %s, at %s\n", g->path, g->where);
	CHECK(f->tree->resting.first == NULL && f->tree->shadowed.first == NULL && f->tree->claims == NULL);
	CHECK(count_entries(on_disk(f, "branches/b/trees/0/stage")) == 0);
	CHECK(count_entries(on_disk(f, "branches/b/trees/0/shadow")) == 0);
	CHECK(count_all(f->lower) == in_lower);
	for (unsigned i = 0; i < WORKERS; i++)
		for (unsigned k = 0; k < FILES; k++) {
			char text[32];

			snprintf(text, sizeof(text), "t%u_f%u\n", i, k);
			CHECK(has_text(lower(f, "%s/t%u_f%u", dirs[k % DIRS], i, k), text));
		}
	stop(f);
	start(f);
	check_all(workers, others);
}

int main(void)
{
	SKIP_UNLESS_ROOT();
	run_scenario(storm_scenario, "four workers at once");
	scenario_at("/var/tmp", storm_scenario, "four workers at once");
	return done_testing();
}
