/*
 * What cowrun-init and cowrun-agent say to each other.
 *
 * init.sock (SOCK_STREAM), connected by the wrapper and inherited by init as --listener-fd:
 *   agent -> init   struct cow_init_hello, then hello.filter_len struct sock_filter
 *   init installs it (SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
 *   init -> agent   the OCI ContainerProcessState as JSON, the listener by SCM_RIGHTS (runtime-spec, config-linux.md,
 *                   "Seccomp"): {"ociVersion":…,"fds":["seccompFd"],"pid":…,"metadata":"","state":{}}
 *   agent -> init   one byte 'k': the agent serves it from now on
 *
 * Landlock: after that (or at once, when the delegate loaded the filter) init calls
 *   landlock_create_ruleset(COW_INIT_LANDLOCK_ATTR, COW_INIT_LANDLOCK_SIZE, 0)
 * which the agent answers, once per listener, with a descriptor of the container's ruleset. An attr pointer of 1 is one
 * that the kernel itself would answer with EFAULT, so an unsupervised call cannot be mistaken for success.
 */
#pragma once

#include <stdint.h>

#define COW_INIT_LANDLOCK_ATTR 1UL
#define COW_INIT_LANDLOCK_SIZE 0xc0UL
#define COW_INIT_MAGIC         0x31696f63u /* "coi1" */

struct cow_init_hello {
	uint32_t magic;
	uint32_t filter_len; /* instructions, at most 4096 (BPF_MAXINSNS) */
};
