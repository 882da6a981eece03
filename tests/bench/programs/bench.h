/* What the measuring programs share: single calls, each timed, and the median of them. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct samples {
	size_t count, room;
	double *ns;
};

static inline uint64_t bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline void bench_add(struct samples *s, double ns)
{
	if (s->count == s->room) {
		s->room = s->room == 0 ? 1024 : s->room * 2;
		s->ns = realloc(s->ns, s->room * sizeof(*s->ns));
		if (s->ns == NULL)
			abort();
	}
	s->ns[s->count++] = ns;
}

static inline int bench_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The median is printed: a call in which another process had the CPU does not count. */
static inline int bench_print(struct samples *s)
{
	if (s->count == 0)
		return 1;
	qsort(s->ns, s->count, sizeof(*s->ns), bench_compare);
	printf("%.1f\n", s->ns[s->count / 2]);
	free(s->ns);
	return 0;
}

static inline void bench_fail(const char *what)
{
	perror(what);
	exit(1);
}
