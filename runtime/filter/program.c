#include "filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/fd.h"

/*
 * The seccomp program, generated here rather than by libseccomp, for three reasons: the table has calls newer than
 * Debian's library; the library takes longer to set up than everything else at a container's start; and a generator
 * this small can be proved (tests/unit/test_filter.c runs its output over every call and flag combination).
 *
 * Shape:
 *   - which architecture? Unknown: ENOSYS, for one whose numbers we cannot read must not go round the table;
 *   - x86_64: is bit 30 of nr set? That is x32: ENOSYS;
 *   - binary search over nr; not in the table: ALLOW;
 *   - the call's clauses; one that matches: the call's verdict; none: ALLOW.
 *
 * Every path is straight and ends in a return, so the only jumps are forward and there is nothing to merge. For a call
 * that is not in the table the program looks at nr and arch only; the kernel (5.11) notices and keeps a bitmap of such
 * calls that skips the filter altogether. Jumps over a subtree can exceed the 8 bits of a conditional jump and are
 * written as BPF_JA.
 */
enum { X32_BIT = 0x40000000 };

struct builder {
	struct sock_filter *code;
	size_t len, room;
};

/* A call that one architecture has. */
struct entry {
	int nr;
	const struct cow_filter_call *call;
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the low word of an argument comes first");

static void emit(struct builder *b, struct sock_filter insn)
{
	if (b->len == b->room) {
		b->room = b->room == 0 ? 512 : 2 * b->room;
		b->code = realloc(b->code, b->room * sizeof(*b->code));
		if (b->code == NULL)
			abort(); /* as everywhere in runtime/lib: no memory, no way on */
	}
	b->code[b->len++] = insn;
}

static void emit_load(struct builder *b, size_t offset)
{
	emit(b, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void emit_return(struct builder *b, uint32_t value)
{
	emit(b, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, value));
}

/* Skips `jt` or `jf` instructions. */
static void emit_jump(struct builder *b, unsigned op, uint32_t value, uint8_t jt, uint8_t jf)
{
	emit(b, (struct sock_filter)BPF_JUMP((uint16_t)(BPF_JMP | op | BPF_K), value, jt, jf));
}

/* A jump to a place that is not known yet; land() makes it the current one. */
static size_t emit_far_jump(struct builder *b)
{
	emit(b, (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, 0));
	return b->len - 1;
}

static void land(struct builder *b, size_t jump)
{
	b->code[jump].k = (uint32_t)(b->len - jump - 1);
}

static uint32_t verdict_of(const struct cow_filter_call *call)
{
	if (call->verdict == COW_FILTER_REFUSE)
		return SECCOMP_RET_ERRNO | ((uint32_t)call->errnum & SECCOMP_RET_DATA);
	return SECCOMP_RET_USER_NOTIF;
}

static bool masks(const struct cow_filter_cond *cond)
{
	return cond->mask != UINT32_MAX;
}

/* Falls through where the clause matches `verdict`'s return, otherwise goes on behind it. */
static void emit_clause(struct builder *b, const struct cow_filter_clause *clause, uint32_t verdict)
{
	size_t rest = 1; /* instructions from the current one to the end of the clause; the return is the last */

	for (size_t i = 0; i < clause->nconds; i++)
		rest += masks(&clause->conds[i]) ? 3 : 2;
	for (size_t i = 0; i < clause->nconds; i++) {
		const struct cow_filter_cond *cond = &clause->conds[i];
		uint8_t out;

		rest -= masks(cond) ? 3 : 2;
		out = (uint8_t)rest;
		emit_load(b, offsetof(struct seccomp_data, args) + 8u * cond->arg);
		if (masks(cond))
			emit(b, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, cond->mask));
		emit_jump(b, BPF_JEQ, cond->value, cond->differs ? out : 0, cond->differs ? 0 : out);
	}
	emit_return(b, verdict);
}

static void emit_call(struct builder *b, const struct cow_filter_call *call)
{
	uint32_t verdict = verdict_of(call);

	if (call->nnotify == 0) {
		emit_return(b, verdict);
		return;
	}
	for (size_t i = 0; i < call->nnotify; i++)
		emit_clause(b, &call->notify[i], verdict);
	emit_return(b, SECCOMP_RET_ALLOW);
}

/* Binary search; the accumulator holds nr, and n is at least 1. */
static void emit_search(struct builder *b, const struct entry *entries, size_t n)
{
	if (n == 1) {
		emit_jump(b, BPF_JEQ, (uint32_t)entries[0].nr, 1, 0);
		emit_return(b, SECCOMP_RET_ALLOW);
		emit_call(b, entries[0].call);
		return;
	}
	emit_jump(b, BPF_JGE, (uint32_t)entries[n / 2].nr, 0, 1);
	size_t upper_half = emit_far_jump(b);

	emit_search(b, entries, n / 2);
	land(b, upper_half);
	emit_search(b, entries + n / 2, n - n / 2);
}

static int compare_entries(const void *a, const void *b)
{
	return ((const struct entry *)a)->nr - ((const struct entry *)b)->nr;
}

/* The calls that an architecture has, by number. Caller frees. */
static struct entry *entries_of(uint32_t arch, size_t *n)
{
	size_t count;
	const struct cow_filter_call *calls = cow_filter_calls(&count);
	struct entry *entries = calloc(count, sizeof(*entries));

	if (entries == NULL)
		abort();
	*n = 0;
	for (size_t i = 0; i < count; i++) {
		int nr = cow_filter_number(calls[i].name, arch);

		if (nr >= 0)
			entries[(*n)++] = (struct entry){.nr = nr, .call = &calls[i]};
	}
	qsort(entries, *n, sizeof(*entries), compare_entries);
	return entries;
}

static int emit_arch(struct builder *b, uint32_t arch, struct cow_error **err)
{
	size_t n;
	cleanup_free struct entry *entries = entries_of(arch, &n);

	for (size_t i = 1; i < n; i++)
		if (entries[i].nr == entries[i - 1].nr)
			return cow_error_set(err, 0, "system call %d is both %s and %s", entries[i].nr,
					     entries[i].call->name, entries[i - 1].call->name);
	if (n == 0)
		return cow_error_set(err, 0, "libseccomp knows no system calls of architecture 0x%x", arch);
	emit_load(b, offsetof(struct seccomp_data, nr));
	if (arch == AUDIT_ARCH_X86_64) {
		emit_jump(b, BPF_JGE, X32_BIT, 0, 1);
		emit_return(b, SECCOMP_RET_ERRNO | ENOSYS);
	}
	emit_search(b, entries, n);
	return 0;
}

struct sock_filter *cow_filter_program(uint32_t native, size_t *len, struct cow_error **err)
{
	const uint32_t *arch = cow_filter_arches(native);
	struct builder b = {0};

	if (arch == NULL) {
		cow_error_set(err, 0, "the system calls of architecture 0x%x are not known", native);
		return NULL;
	}
	emit_load(&b, offsetof(struct seccomp_data, arch));
	for (; *arch != 0; arch++) {
		emit_jump(&b, BPF_JEQ, *arch, 1, 0);
		size_t other = emit_far_jump(&b);

		if (emit_arch(&b, *arch, err) < 0) {
			free(b.code);
			return NULL;
		}
		land(&b, other);
	}
	emit_return(&b, SECCOMP_RET_ERRNO | ENOSYS);
	if (b.len > BPF_MAXINSNS) {
		cow_error_set(err, 0, "the filter has %zu instructions, the kernel takes %d", b.len, BPF_MAXINSNS);
		free(b.code);
		return NULL;
	}
	*len = b.len;
	return b.code;
}
