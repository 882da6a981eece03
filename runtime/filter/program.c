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
 *   - is it newfstatat or openat? Programs call nothing more often that the kernel cannot decide alone (below);
 *   - the numbers are cut into segments of one outcome each: allowed, refused, to the agent, or by its arguments. x32
 *     (x86_64, bit 30 of the number) is the last: ENOSYS. A tree of comparisons leads to the segment, by a shorter way
 *     to those that look at arguments;
 *   - such a call goes by the shorter list of clauses, those for the verdict or those against it; where many clauses
 *     are about one argument, by the bits that all of them look at and then bit by bit.
 *
 * Every path is straight and ends in a return, so the only jumps are forward and there is nothing to merge. For a call
 * that is allowed whatever its arguments the program looks at nr and arch only; the kernel (5.11) notices and keeps a
 * bitmap of such calls that skips the filter altogether.
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

/* Numbers from this one up to the next segment's. NULL: allowed. */
struct segment {
	uint32_t from;
	const struct cow_filter_call *call;
};

static const struct cow_filter_call x32 = {.verdict = COW_FILTER_REFUSE, .errnum = ENOSYS};

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

/* Its low 32 bits: no condition is about others. */
static void emit_argument(struct builder *b, unsigned arg)
{
	emit_load(b, offsetof(struct seccomp_data, args) + sizeof(((struct seccomp_data *)NULL)->args[0]) * arg);
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

/* If the comparison holds it goes on at a place that is not known yet; land() makes it the current one. */
static size_t emit_branch(struct builder *b, unsigned op, uint32_t value)
{
	emit_jump(b, op, value, 0, 0);
	return b->len - 1;
}

/*
 * A conditional jump has 8 bits for the distance; where they are too few a BPF_JA comes behind it and all that follows
 * moves. So branches land in the opposite of the order in which they were made.
 */
static void land(struct builder *b, size_t branch)
{
	size_t distance = b->len - branch - 1;

	if (distance <= UINT8_MAX) {
		b->code[branch].jt = (uint8_t)distance;
		return;
	}
	emit_return(b, 0); /* room for one more */
	memmove(&b->code[branch + 2], &b->code[branch + 1], distance * sizeof(*b->code));
	b->code[branch + 1] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, (uint32_t)distance);
	b->code[branch].jf = 1;
}

static uint32_t verdict_of(const struct cow_filter_call *call)
{
	if (call->verdict == COW_FILTER_REFUSE)
		return SECCOMP_RET_ERRNO | ((uint32_t)call->errnum & SECCOMP_RET_DATA);
	return SECCOMP_RET_USER_NOTIF;
}

static bool one_bit(uint32_t n)
{
	return (n & (n - 1)) == 0;
}

/* A mask of all bits needs no BPF_AND; nor does one of whose bits none is to be set, or the only one. */
static bool needs_and(const struct cow_filter_cond *cond)
{
	return cond->mask != UINT32_MAX && cond->value != 0 && !(one_bit(cond->mask) && cond->value == cond->mask);
}

static size_t length_of(const struct cow_filter_clause *clause)
{
	size_t n = 1; /* the return */

	for (size_t i = 0; i < clause->nconds; i++)
		n += needs_and(&clause->conds[i]) ? 3 : 2;
	return n;
}

/* Falls through where it holds, else skips `out` instructions. */
static void emit_condition(struct builder *b, const struct cow_filter_cond *cond, uint8_t out)
{
	emit_argument(b, cond->arg);
	if (needs_and(cond))
		emit(b, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, cond->mask));
	if (needs_and(cond) || cond->mask == UINT32_MAX)
		emit_jump(b, BPF_JEQ, cond->value, cond->differs ? out : 0, cond->differs ? 0 : out);
	else
		emit_jump(b, BPF_JSET, cond->mask, cond->value == 0 ? out : 0, cond->value == 0 ? 0 : out);
}

/* Returns `value` where one of the clauses matches, `rest` where none does. */
static void emit_clauses(struct builder *b, const struct cow_filter_clause *clauses, size_t n, uint32_t value,
			 uint32_t rest)
{
	for (size_t i = 0; i < n; i++) {
		size_t end = b->len + length_of(&clauses[i]);

		for (size_t c = 0; c < clauses[i].nconds; c++) {
			const struct cow_filter_cond *cond = &clauses[i].conds[c];

			emit_condition(b, cond, (uint8_t)(end - b->len - (needs_and(cond) ? 3 : 2)));
		}
		emit_return(b, value);
	}
	emit_return(b, rest);
}

static size_t length_of_all(const struct cow_filter_clause *clauses, size_t n)
{
	size_t length = 0;

	for (size_t i = 0; i < n; i++)
		length += length_of(&clauses[i]);
	return length;
}

/* The accumulator holds the argument that all clauses are about. */
static void emit_bits(struct builder *b, const struct cow_filter_call *call, uint32_t mask, uint32_t value)
{
	uint32_t bit;
	size_t set;

	switch (cow_filter_part(call, mask, value, &bit)) {
	case COW_FILTER_NOWHERE:
		emit_return(b, SECCOMP_RET_ALLOW);
		return;
	case COW_FILTER_EVERYWHERE:
		emit_return(b, verdict_of(call));
		return;
	case COW_FILTER_SOMEWHERE:
		set = emit_branch(b, BPF_JSET, bit);
		emit_bits(b, call, mask | bit, value);
		land(b, set);
		emit_bits(b, call, mask | bit, value | bit);
	}
}

/* Many clauses about one argument: the bits that all of them look at say which of them can match, if any. */
enum { GROUPS = 16 };
struct groups {
	uint32_t common, value[GROUPS]; /* those bits; their values in the clauses */
	size_t n;
};

static struct groups groups_of(const struct cow_filter_call *call)
{
	struct groups g = {.common = UINT32_MAX, .n = 0};

	for (size_t i = 0; i < call->nnotify; i++)
		g.common &= call->notify[i].conds[0].mask;
	for (size_t i = 0; i < call->nnotify; i++) {
		uint32_t value = call->notify[i].conds[0].value & g.common;
		size_t seen = 0;

		while (seen < g.n && g.value[seen] != value)
			seen++;
		if (seen < g.n)
			continue;
		if (g.n == GROUPS)
			abort(); /* the table is ours */
		g.value[g.n++] = value;
	}
	return g;
}

/* The accumulator holds these bits of the argument. Groups before `i` were ruled out. */
static void emit_groups(struct builder *b, const struct cow_filter_call *call, const struct groups *g, size_t i)
{
	uint32_t bit;
	size_t found;

	if (i == g->n) {
		emit_return(b, SECCOMP_RET_ALLOW);
		return;
	}
	found = emit_branch(b, BPF_JEQ, g->value[i]);
	emit_groups(b, call, g, i + 1);
	land(b, found);
	if (cow_filter_part(call, g->common, g->value[i], &bit) == COW_FILTER_SOMEWHERE)
		emit_argument(b, call->notify[0].conds[0].arg);
	emit_bits(b, call, g->common, g->value[i]);
}

static void emit_grouped(struct builder *b, const struct cow_filter_call *call)
{
	const struct groups g = groups_of(call);

	emit_argument(b, call->notify[0].conds[0].arg);
	emit(b, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, g.common));
	emit_groups(b, call, &g, 0);
}

static void emit_call(struct builder *b, const struct cow_filter_call *call)
{
	if (call == NULL) {
		emit_return(b, SECCOMP_RET_ALLOW);
	} else if (call->nnotify == 0) {
		emit_return(b, verdict_of(call));
	} else if (call->npass == 0 && call->nnotify > 1) {
		emit_grouped(b, call);
	} else if (call->npass > 0 &&
		   length_of_all(call->pass, call->npass) < length_of_all(call->notify, call->nnotify)) {
		emit_clauses(b, call->pass, call->npass, SECCOMP_RET_ALLOW, verdict_of(call));
	} else {
		emit_clauses(b, call->notify, call->nnotify, verdict_of(call), SECCOMP_RET_ALLOW);
	}
}

/* How much a short way to the segment is worth. Of what is allowed the kernel remembers, and what goes to the agent
 * takes a thousand times longer. */
static size_t weight_of(const struct segment *segment)
{
	return segment->call != NULL && segment->call->nnotify > 0 ? 16 : 1;
}

/* Where to cut n segments, so that both sides weigh about the same: 1 to n - 1. */
static size_t middle_of(const struct segment *segments, size_t n)
{
	size_t total = 0, left = weight_of(&segments[0]), at = 1;

	for (size_t i = 0; i < n; i++)
		total += weight_of(&segments[i]);
	for (; at < n - 1 && 2 * left + weight_of(&segments[at]) <= total; at++)
		left += weight_of(&segments[at]);
	return at;
}

/* The accumulator holds nr, and n is at least 1. */
static void emit_search(struct builder *b, const struct segment *segments, size_t n)
{
	size_t middle, above;

	if (n == 1) {
		emit_call(b, segments[0].call);
		return;
	}
	middle = middle_of(segments, n);
	above = emit_branch(b, BPF_JGE, segments[middle].from);
	emit_search(b, segments, middle);
	land(b, above);
	emit_search(b, segments + middle, n - middle);
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

/*
 * Before everything else, where the processor has the instructions in its cache: what programs do most and the kernel
 * cannot decide alone.
 */
static void emit_first(struct builder *b, const struct entry *entries, size_t n)
{
	static const char *const first[] = {"newfstatat", "openat"};

	for (size_t f = 0; f < sizeof(first) / sizeof(first[0]); f++) {
		for (size_t i = 0; i < n; i++) {
			size_t jump = b->len;

			if (strcmp(entries[i].call->name, first[f]) != 0)
				continue;
			emit_jump(b, BPF_JEQ, (uint32_t)entries[i].nr, 0, 0);
			emit_call(b, entries[i].call);
			b->code[jump].jf = (uint8_t)(b->len - jump - 1);
		}
	}
}

static uint32_t always(const struct cow_filter_call *call)
{
	return call == NULL ? SECCOMP_RET_ALLOW : verdict_of(call);
}

static void add_segment(struct segment *list, size_t *n, uint32_t from, const struct cow_filter_call *call)
{
	if (*n > 0 && list[*n - 1].from == from) /* of no numbers */
		(*n)--;
	if (*n > 0 && (call == NULL || call->nnotify == 0)) {
		const struct cow_filter_call *before = list[*n - 1].call;

		if ((before == NULL || before->nnotify == 0) && always(before) == always(call))
			return;
	}
	list[(*n)++] = (struct segment){.from = from, .call = call};
}

/* All numbers, in order; *n is at least 1. Caller frees. */
static struct segment *segments_of(uint32_t arch, const struct entry *entries, size_t nentries, size_t *n)
{
	struct segment *list = calloc(2 * nentries + 2, sizeof(*list));

	if (list == NULL)
		abort();
	*n = 0;
	add_segment(list, n, 0, NULL);
	for (size_t i = 0; i < nentries; i++) {
		add_segment(list, n, (uint32_t)entries[i].nr, entries[i].call);
		add_segment(list, n, (uint32_t)entries[i].nr + 1, NULL);
	}
	if (arch == AUDIT_ARCH_X86_64)
		add_segment(list, n, X32_BIT, &x32);
	return list;
}

static int emit_arch(struct builder *b, uint32_t arch, struct cow_error **err)
{
	size_t nentries, n;
	cleanup_free struct entry *entries = entries_of(arch, &nentries);

	for (size_t i = 1; i < nentries; i++)
		if (entries[i].nr == entries[i - 1].nr)
			return cow_error_set(err, 0, "system call %d is both %s and %s", entries[i].nr,
					     entries[i].call->name, entries[i - 1].call->name);
	if (nentries == 0)
		return cow_error_set(err, 0, "libseccomp knows no system calls of architecture 0x%x", arch);
	cleanup_free struct segment *segments = segments_of(arch, entries, nentries, &n);

	emit_load(b, offsetof(struct seccomp_data, nr));
	emit_first(b, entries, nentries);
	emit_search(b, segments, n);
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
		emit(&b, (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, 0));
		size_t other = b.len - 1;

		if (emit_arch(&b, *arch, err) < 0) {
			free(b.code);
			return NULL;
		}
		b.code[other].k = (uint32_t)(b.len - other - 1);
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
