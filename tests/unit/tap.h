/* The little of TAP (testanything.org, version 13) that the unit programs need. One program, one plan at the end. */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int tap_count;
static int tap_failed;

#define ok(condition, ...)                                                                                             \
	do {                                                                                                           \
		bool tap_ok_ = (condition);                                                                            \
		printf("%sok %d - ", tap_ok_ ? "" : "not ", ++tap_count);                                              \
		printf(__VA_ARGS__);                                                                                   \
		putchar('\n');                                                                                         \
		if (!tap_ok_) {                                                                                        \
			tap_failed++;                                                                                  \
			printf("# failed: %s (%s:%d)\n", #condition, __FILE__, __LINE__);                              \
		}                                                                                                      \
	} while (0)

#define is_str(got, want, ...)                                                                                         \
	do {                                                                                                           \
		const char *tap_got_ = (got);                                                                          \
		const char *tap_want_ = (want);                                                                        \
		ok(tap_got_ != NULL && tap_want_ != NULL && strcmp(tap_got_, tap_want_) == 0, __VA_ARGS__);            \
		if (tap_got_ == NULL || tap_want_ == NULL || strcmp(tap_got_, tap_want_) != 0)                         \
			printf("# got:  %s\n# want: %s\n", tap_got_ ? tap_got_ : "(null)",                             \
			       tap_want_ ? tap_want_ : "(null)");                                                      \
	} while (0)

#define skip(...)                                                                                                      \
	do {                                                                                                           \
		printf("ok %d # SKIP ", ++tap_count);                                                                  \
		printf(__VA_ARGS__);                                                                                   \
		putchar('\n');                                                                                         \
	} while (0)

static inline int done_testing(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed == 0 ? 0 : 1;
}
