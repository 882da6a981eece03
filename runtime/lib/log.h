/*
 * Diagnostics: to stderr, and to a file in the format that the engine asked for (runc's --log and --log-format).
 * Thread-safe; each message is one write(2).
 */
#pragma once

#include <stdbool.h>

enum cow_log_level { COW_LOG_ERROR, COW_LOG_WARNING, COW_LOG_INFO, COW_LOG_DEBUG };

/* Every setter is optional; the defaults are: program name "cowrun", stderr on, no file, WARNING. */
void cow_log_set_program(const char *name);
void cow_log_set_level(enum cow_log_level level);
void cow_log_set_stderr(bool on);
/* Appends to `path`; json selects runc's {"level":…,"msg":…,"time":…} lines. 0 or -1 with errno. */
int cow_log_open_file(const char *path, bool json);
/* The same with a descriptor (ownership moves here). */
void cow_log_set_fd(int fd, bool json);

void cow_log(enum cow_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define cow_log_error(...)   cow_log(COW_LOG_ERROR, __VA_ARGS__)
#define cow_log_warning(...) cow_log(COW_LOG_WARNING, __VA_ARGS__)
#define cow_log_info(...)    cow_log(COW_LOG_INFO, __VA_ARGS__)
#define cow_log_debug(...)   cow_log(COW_LOG_DEBUG, __VA_ARGS__)
