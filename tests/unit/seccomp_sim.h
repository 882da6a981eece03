/*
 * An interpreter for the part of classic BPF that seccomp programs use, and what the tests of the filter and of the
 * merged profile share: the verdict of the table, asked in the plainest way.
 */
#pragma once

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "../../runtime/filter/filter.h"

/* Runs off the end, jumps out or does something else that the kernel's checker refuses: a broken program. */
#define SIM_BROKEN 0xdeadbeefu

/* Of the last run: its instructions, and those that looked at more than number and architecture. */
static unsigned sim_steps, sim_looks;

static inline uint32_t sim_run(const struct sock_filter *code, size_t len, const struct seccomp_data *data)
{
	uint32_t acc = 0, x = 0, word;
	uint32_t scratch[BPF_MEMWORDS] = {0};

	sim_steps = sim_looks = 0;
	for (size_t pc = 0; pc < len; pc++) {
		const struct sock_filter *i = &code[pc];

		sim_steps++;
		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			if (i->k % 4 != 0 || i->k + 4 > sizeof(*data))
				return SIM_BROKEN;
			sim_looks += i->k > offsetof(struct seccomp_data, arch);
			memcpy(&word, (const char *)data + i->k, sizeof(word));
			acc = word;
			break;
		case BPF_LD | BPF_MEM:
			acc = scratch[i->k % BPF_MEMWORDS];
			break;
		case BPF_ST:
			scratch[i->k % BPF_MEMWORDS] = acc;
			break;
		case BPF_MISC | BPF_TAX:
			x = acc;
			break;
		case BPF_MISC | BPF_TXA:
			acc = x;
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			acc &= i->k;
			break;
		case BPF_JMP | BPF_JA:
			pc += i->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += acc == i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			pc += acc >= i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			pc += acc > i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			pc += (acc & i->k) != 0 ? i->jt : i->jf;
			break;
		case BPF_RET | BPF_K:
			return i->k;
		case BPF_RET | BPF_A:
			return acc;
		default:
			return SIM_BROKEN;
		}
	}
	return SIM_BROKEN;
}

static inline bool sim_cond(const struct cow_filter_cond *cond, const uint64_t args[6])
{
	return (((uint32_t)args[cond->arg] & cond->mask) == cond->value) != cond->differs;
}

static inline int sim_matches(const struct cow_filter_clause *clauses, size_t n, const uint64_t args[6])
{
	int hits = 0;

	for (size_t i = 0; i < n; i++) {
		bool all = true;

		for (size_t c = 0; c < clauses[i].nconds; c++)
			all = all && sim_cond(&clauses[i].conds[c], args);
		hits += all;
	}
	return hits;
}

/* What the table says of a call with these arguments. `call` may be NULL: not in the table. */
static inline uint32_t sim_table(const struct cow_filter_call *call, const uint64_t args[6])
{
	if (call == NULL || (call->nnotify > 0 && sim_matches(call->notify, call->nnotify, args) == 0))
		return SECCOMP_RET_ALLOW;
	if (call->verdict == COW_FILTER_REFUSE)
		return SECCOMP_RET_ERRNO | (uint32_t)call->errnum;
	return SECCOMP_RET_USER_NOTIF;
}

/* The table entry with that number on an architecture. */
static inline const struct cow_filter_call *sim_call_at(uint32_t arch, int nr)
{
	size_t count;
	const struct cow_filter_call *calls = cow_filter_calls(&count);

	for (size_t i = 0; i < count; i++)
		if (cow_filter_number(calls[i].name, arch) == nr)
			return &calls[i];
	return NULL;
}

/*
 * Argument vectors that meet every bit a filter looks at: arg 0 is a directory handle, AT_FDCWD in both widths, or a
 * small number; args 1 to 4 take each combination of the flags that the table names, one argument at a time, the others
 * being noise.
 */
enum { SIM_VECTORS = 8 * 4 * 64 };

static inline void sim_vector(unsigned which, uint64_t args[6])
{
	static const uint64_t firsts[8] = {0, 1, 2, 3, 0xffffff9c, 0xffffffffffffff9c, 0x7fffffff, 0x80000000};
	static const uint64_t bits[6] = {1, 2, 0100, 01000, 0x20, 0x1000};
	unsigned combination = which % 64, position = which / 64 % 4 + 1;
	uint64_t noise = which % 3 == 0 ? 0 : 0xffffffff00000000u;

	args[0] = firsts[which / 256 % 8];
	for (unsigned i = 1; i < 6; i++)
		args[i] = which % 2 == 0 ? 0 : 0xffffffff;
	args[position] = noise;
	for (unsigned b = 0; b < 6; b++)
		if ((combination >> b & 1) != 0)
			args[position] |= bits[b];
}

/* A command of ioctl(2): of each direction and size, of the types that the table names and of others like them. */
static inline uint32_t sim_command(unsigned which)
{
	static const uint8_t types[8] = {'f', 'v', 'X', 0x94, 'T', 0x89, 'F', 0x95};
	unsigned number = which % 64 * 5 & 0xff;

	return which / 64 % 4 << _IOC_DIRSHIFT | (uint32_t)types[which / 256 % 8] << _IOC_TYPESHIFT | number |
	       which % 7 << _IOC_SIZESHIFT;
}

/* The same, with what a call's own conditions are about. `call` may be NULL. */
static inline void sim_vector_for(const struct cow_filter_call *call, unsigned which, uint64_t args[6])
{
	sim_vector(which, args);
	if (call != NULL && call->call == COW_CALL_IOCTL)
		args[1] = (args[1] & 0xffffffff00000000u) | sim_command(which);
	if (call != NULL && call->call == COW_CALL_FCNTL && which % 2 == 0)
		args[1] = (args[1] & 0xffffffff00000000u) | F_NOTIFY;
}
