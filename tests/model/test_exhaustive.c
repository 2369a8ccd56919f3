/* SPDX-License-Identifier: BSD-2-Clause */
/* Every sequence of operations on two buffers and three packets, up to a depth, against a model.
 *
 * Theory of operation
 *
 * A sequence is run from an empty world. After its last operation the packets' bytes, the counts of
 * both buffers and the pool are compared with the model (its prefixes were compared when they were
 * sequences of their own); then everything is freed, and everything must be home: each buffer
 * completed exactly once, poisoned at that moment by its lender.
 *
 * Left out are only: operations that have no object (no packet, no room for another one, buffer not
 * lent); using the second buffer before the first, or another than the first empty place, which are
 * the same but for names; and what would follow an operation that was made to fail and was seen to
 * change nothing, which is the same as without it.
 *
 * Verified: L2, L3, L4, L6, L7, L8, L13. Not here: threads, the contents of headers that
 * segmentation writes (unit tests have them), kernels and rings.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/asan.h"
#include "base/assert.h"
#include "base/util.h"
#include "oracle.h"

enum {
	PACKETS = 3,
	BUFFERS = 2,
	PIECE = 3,   /* bytes of an attached frag */
	HEADER = 54, /* Ethernet, IPv4, TCP */
	HEAD = 382,  /* of a new packet: 2 bytes of its room are left behind it */
	MSS = 330,   /* 2 bytes more than a new packet's private payload */
	BYTES_MAX = HEAD + 64,
	DEPTH_MAX = 8,
};

/* ---- The model: what a packet is ----------------------------------------------------------- */

/* Byte i is byte[i]; it is private if owner[i] is 0, else in a frag of buffer frag_buffer[owner[i]]
 */
struct model_packet {
	bool live;
	bool gso; /* its header is whole and says what to do */
	int any;  /* that many first bytes were rewritten: not compared */
	int bytes;
	uint8_t byte[BYTES_MAX];
	uint8_t owner[BYTES_MAX];
};

struct model {
	struct model_packet packets[PACKETS];
	uint8_t frag_buffer[2 * DEPTH_MAX];
	int frag_count;
	bool lent[BUFFERS]; /* the builder has a reference */
};

static void model_cut(struct model_packet *to, const struct model_packet *from, int at, int bytes)
{
	memmove(to->byte, from->byte + at, (size_t)bytes);
	memmove(to->owner, from->owner + at, (size_t)bytes);
	to->any = from->any > at ? from->any - at : 0;
	to->bytes = bytes;
	to->live = true;
}

static uint32_t model_count(const struct model *m, unsigned buffer)
{
	uint32_t count = m->lent[buffer];

	for (const struct model_packet *p = m->packets; p < m->packets + PACKETS; p++)
		for (int i = 0; p->live && i < p->bytes; i++)
			count += p->owner[i] && m->frag_buffer[p->owner[i]] == buffer &&
				 (i == 0 || p->owner[i] != p->owner[i - 1]);
	return count;
}

static void model_own(struct model_packet *p, int bytes)
{
	memset(p->owner, 0, (size_t)bytes);
}

/* ---- The world: the real thing beside it --------------------------------------------------- */

struct world {
	struct lr_pool *pool;
	struct oracle_lender lender;
	struct lr_packet *packets[PACKETS];
	struct model m;
	bool second_may; /* the first buffer was lent before */
	uint64_t drops;
};

enum result {
	NO_OBJECT, /* cannot be done here */
	CHANGED,
	UNCHANGED, /* failed, as it should, and nothing is different */
};

static struct world world;
static uint64_t sequence_count;
static uint8_t template[HEAD];

static void world_open(void)
{
	/* as many packets as segments may need beside all others */
	const struct lr_pool_config config = {
		.packet_count = PACKETS + 3, .chunk_count = 4, .chunk_bytes = 64};

	ASSERT(lr_pool_new(&config, &world.pool) == 0);
	oracle_lender_init(&world.lender, BUFFERS, 8);
	oracle_pattern(1, 0, template, sizeof(template));
	memset(template + 12, 0, HEADER - 12);
	template[12] = 0x08;
	template[14] = 0x45;
	template[23] = 6;
	template[46] = 0x50;
}

static void world_empty(void)
{
	for (unsigned i = 0; i < PACKETS; i++) {
		lr_packet_free(world.packets[i]);
		world.packets[i] = NULL;
		world.m.packets[i].live = false;
	}
	for (unsigned u = 0; u < BUFFERS; u++) {
		if (world.m.lent[u])
			lr_ubuf_put(&world.lender.buffers[u].ubuf);
		world.m.lent[u] = false;
		ASSERT(!oracle_is_out(&world.lender, u)); /* L4 */
	}
	ASSERT(lr_pool_packets_free(world.pool) == PACKETS + 3); /* L13 */
	ASSERT(lr_pool_chunks_free(world.pool) == 4);		 /* L13 */
	oracle_check_balance(&world.lender.ledger);
	world.m.frag_count = 0;
	world.second_may = false;
}

static void world_compare(void)
{
	uint8_t bytes[BYTES_MAX];

	for (unsigned i = 0; i < PACKETS; i++) {
		const struct model_packet *m = &world.m.packets[i];
		const struct lr_packet *p = world.packets[i];

		ASSERT(m->live == (p != NULL));
		if (!p)
			continue;
		ASSERT((int)p->bytes == m->bytes);
		ASSERT(lr_packet_read(p, 0, bytes, p->bytes) == 0);
		ASSERT(memcmp(bytes + m->any, m->byte + m->any, (size_t)(m->bytes - m->any)) == 0);
	}
	for (unsigned u = 0; u < BUFFERS; u++) {
		uint32_t count = model_count(&world.m, u);

		ASSERT(lr_ubuf_count(&world.lender.buffers[u].ubuf) == count); /* L2 */
		ASSERT(oracle_is_out(&world.lender, u) == (count > 0));	       /* L4 */
		oracle_check_intact(&world.lender, u);
	}
	lr_pool_verify(world.pool);
	ASSERT(lr_pool_drops(world.pool, LR_DROP_POLICY) == world.drops);
}

/* ---- Operations ---------------------------------------------------------------------------- */

static int empty_place(void)
{
	for (int i = 0; i < PACKETS; i++)
		if (!world.packets[i])
			return i;
	return -1;
}

static enum result do_new(void)
{
	int place = empty_place();
	struct model_packet *m;
	struct lr_packet *p;

	if (place < 0)
		return NO_OBJECT;
	m = &world.m.packets[place];
	p = lr_packet_new(world.pool);
	if (!p)
		return UNCHANGED;
	ASSERT(lr_packet_append(p, template, HEAD) == 0);
	p->offload = (struct lr_offload){.flags = LR_OFFLOAD_NEEDS_CSUM,
					 .gso_type = LR_GSO_TCPV4,
					 .gso_size = MSS,
					 .csum_start = 34,
					 .csum_offset = 16};
	world.packets[place] = p;
	*m = (struct model_packet){.live = true, .gso = true, .bytes = HEAD};
	memcpy(m->byte, template, HEAD);
	return CHANGED;
}

static enum result do_lend(unsigned u)
{
	if (oracle_is_out(&world.lender, u) || (u && !world.second_may))
		return NO_OBJECT;
	oracle_lend(&world.lender, u);
	world.m.lent[u] = true;
	world.second_may = true;
	return CHANGED;
}

static enum result do_put(unsigned u)
{
	if (!world.m.lent[u])
		return NO_OBJECT;
	world.m.lent[u] = false;
	lr_ubuf_put(&world.lender.buffers[u].ubuf);
	return CHANGED;
}

static enum result do_attach(unsigned i, unsigned u)
{
	struct model_packet *m = &world.m.packets[i];
	struct oracle_buffer *b = &world.lender.buffers[u];

	if (!world.m.lent[u])
		return NO_OBJECT;
	ASSERT(lr_packet_attach(world.packets[i], &b->ubuf, b->data + 1, PIECE) == 0);
	world.m.frag_buffer[++world.m.frag_count] = (uint8_t)u;
	memcpy(m->byte + m->bytes, b->data + 1, PIECE);
	memset(m->owner + m->bytes, world.m.frag_count, PIECE);
	m->bytes += PIECE;
	return CHANGED;
}

static enum result do_clone(unsigned i, bool copy)
{
	int place = empty_place();
	struct lr_packet *q;

	if (place < 0)
		return NO_OBJECT;
	q = copy ? lr_packet_copy(world.packets[i], world.pool) : lr_packet_clone(world.packets[i]);
	if (!q)
		return UNCHANGED;
	world.packets[place] = q;
	world.m.packets[place] = world.m.packets[i];
	if (copy)
		model_own(&world.m.packets[place], world.m.packets[i].bytes);
	return CHANGED;
}

static enum result do_orphan(unsigned i)
{
	int r = lr_packet_orphan(world.packets[i]);

	if (r) {
		ASSERT(r == -ENOMEM);
		return UNCHANGED;
	}
	model_own(&world.m.packets[i], world.m.packets[i].bytes);
	return CHANGED;
}

static enum result do_push(unsigned i)
{
	struct model_packet *m = &world.m.packets[i];
	uint8_t *at = lr_packet_push(world.packets[i], 1);

	if (!at) { /* linearize may have used up the headroom */
		ASSERT(lr_packet_headroom(world.packets[i]) == 0);
		return UNCHANGED;
	}
	*at = 0x5a;
	memmove(m->byte + 1, m->byte, (size_t)m->bytes);
	memmove(m->owner + 1, m->owner, (size_t)m->bytes);
	m->byte[0] = 0x5a;
	m->owner[0] = 0;
	m->any += m->any > 0;
	m->bytes++;
	m->gso = false;
	return CHANGED;
}

static enum result do_pull(unsigned i, int bytes)
{
	struct model_packet *m = &world.m.packets[i];

	if (bytes > m->bytes)
		return NO_OBJECT;
	world.packets[i]->offload = (struct lr_offload){0}; /* it is not the frame that it was */
	ASSERT(lr_packet_pull(world.packets[i], (uint32_t)bytes) == 0);
	model_cut(m, m, bytes, m->bytes - bytes);
	m->gso = false;
	return CHANGED;
}

static enum result do_trim(unsigned i, int bytes)
{
	struct model_packet *m = &world.m.packets[i];

	if (bytes > m->bytes || bytes < 0)
		return NO_OBJECT;
	ASSERT(lr_packet_trim(world.packets[i], (uint32_t)bytes) == 0);
	m->bytes = bytes;
	m->any = m->any < bytes ? m->any : bytes;
	m->gso &= bytes >= HEADER;
	return CHANGED;
}

static enum result do_linearize(unsigned i, uint32_t more)
{
	struct lr_packet *p = world.packets[i];
	uint32_t bytes = p->head_bytes + more;

	if (bytes > p->bytes)
		return NO_OBJECT;
	ASSERT(lr_packet_linearize(p, bytes) == 0);
	ASSERT(p->head_bytes == bytes);
	model_own(&world.m.packets[i], (int)bytes);
	return CHANGED;
}

static enum result do_split(unsigned i, int at)
{
	struct model_packet *m = &world.m.packets[i], *rest;
	int place = empty_place();
	int r;

	if (place < 0 || at >= m->bytes)
		return NO_OBJECT;
	r = lr_packet_split(world.packets[i], (uint32_t)at, &world.packets[place]);
	if (r) {
		ASSERT(r == -ENOMEM);
		return UNCHANGED;
	}
	rest = &world.m.packets[place];
	model_cut(rest, m, at, m->bytes - at);
	rest->gso = false;
	m->bytes = at;
	m->any = m->any < at ? m->any : at;
	m->gso &= at >= HEADER;
	return CHANGED;
}

/* Segments that find no place are freed at once. */
static void segments_place(struct lr_packet *list, const struct model_packet *big)
{
	for (int offset = HEADER; list; offset += MSS) {
		int bytes = min_u32(MSS, (uint32_t)(big->bytes - offset)), place = empty_place();
		struct lr_packet *next = list->next;

		ASSERT((int)list->bytes == HEADER + bytes);
		if (place < 0) {
			lr_packet_free(list);
		} else {
			struct model_packet *m = &world.m.packets[place];

			list->next = NULL;
			world.packets[place] = list;
			model_cut(m, big, offset - HEADER, bytes + HEADER);
			model_own(m, HEADER);
			m->any = HEADER;
			m->gso = false;
		}
		list = next;
	}
}

static enum result do_segment(unsigned i)
{
	struct model_packet *m = &world.m.packets[i], big;
	int payload = m->bytes - HEADER;
	struct lr_packet *list;
	int r;

	r = lr_packet_segment(world.packets[i], &list);
	if (r < 0) {
		ASSERT(r == -ENOMEM || !m->gso || payload < MSS);
		return UNCHANGED;
	}
	ASSERT(m->gso);
	ASSERT(r == (payload + MSS - 1) / MSS);
	big = *m;
	m->live = false;
	world.packets[i] = NULL;
	segments_place(list, &big);
	return CHANGED;
}

static enum result do_checksum(unsigned i)
{
	struct model_packet *m = &world.m.packets[i];
	struct lr_packet *p = world.packets[i];
	uint32_t field = (uint32_t)p->offload.csum_start + p->offload.csum_offset + 2;

	if (!(p->offload.flags & LR_OFFLOAD_NEEDS_CSUM))
		return NO_OBJECT;
	p->offload.gso_type = LR_GSO_NONE;
	m->gso = false;
	if (lr_packet_finish_checksum(p)) {
		ASSERT(field > p->bytes);
		return CHANGED; /* it cannot be cut any more */
	}
	m->any = m->any > (int)field ? m->any : (int)field;
	return CHANGED;
}

static enum result do_free(unsigned i, bool drop)
{
	if (drop)
		lr_packet_drop(world.packets[i], LR_DROP_POLICY);
	else
		lr_packet_free(world.packets[i]);
	world.drops += drop;
	world.packets[i] = NULL;
	world.m.packets[i].live = false;
	return CHANGED;
}

enum {
	OP_NEW,
	OP_LEND,
	OP_PUT = OP_LEND + BUFFERS,
	OP_PACKET = OP_PUT + BUFFERS, /* from here on one range per packet */
};

/* What can be done to a packet. */
enum packet_op {
	P_ATTACH_0,
	P_ATTACH_1,
	P_CLONE,
	P_COPY,
	P_ORPHAN,
	P_EXPAND,
	P_PUSH,
	P_PULL_1,
	P_PULL_HEAD,
	P_TRIM_1,
	P_TRIM_HALF,
	P_LINEARIZE,
	P_SPLIT_HEAD,
	P_SPLIT_BORDER,
	P_SPLIT_FRAG,
	P_SEGMENT,
	P_CHECKSUM,
	P_FREE,
	P_DROP,
	P_COUNT,
};

enum { OPS = OP_PACKET + PACKETS * P_COUNT };

static enum result do_packet_op(unsigned i, enum packet_op op)
{
	int head = world.packets[i] ? (int)world.packets[i]->head_bytes : 0;
	int bytes = world.packets[i] ? (int)world.packets[i]->bytes : 0;

	if (!world.packets[i])
		return NO_OBJECT;
	switch (op) {
	case P_ATTACH_0:
	case P_ATTACH_1:
		return do_attach(i, op - P_ATTACH_0);
	case P_CLONE:
	case P_COPY:
		return do_clone(i, op == P_COPY);
	case P_ORPHAN:
		return do_orphan(i);
	case P_EXPAND: /* all there is */
		ASSERT(lr_packet_expand(world.packets[i], LR_PACKET_HEAD_BYTES - (uint32_t)head) ==
		       0);
		return CHANGED;
	case P_PUSH:
		return do_push(i);
	case P_PULL_1:
		return do_pull(i, 1);
	case P_PULL_HEAD:
		return do_pull(i, head + 1);
	case P_TRIM_1:
		return do_trim(i, bytes - 1);
	case P_TRIM_HALF:
		return do_trim(i, bytes / 2);
	case P_LINEARIZE:
		return do_linearize(i, 1);
	case P_SPLIT_HEAD:
		return do_split(i, 1);
	case P_SPLIT_BORDER:
		return head > 1 ? do_split(i, head) : NO_OBJECT;
	case P_SPLIT_FRAG:
		return head ? do_split(i, head + 1) : NO_OBJECT;
	case P_SEGMENT:
		return do_segment(i);
	case P_CHECKSUM:
		return do_checksum(i);
	case P_FREE:
	case P_DROP:
		return do_free(i, op == P_DROP);
	case P_COUNT:
		break;
	}
	return NO_OBJECT;
}

static enum result do_op(unsigned op)
{
	if (op == OP_NEW)
		return do_new();
	if (op < OP_PUT)
		return do_lend(op - OP_LEND);
	if (op < OP_PACKET)
		return do_put(op - OP_PUT);
	return do_packet_op((op - OP_PACKET) / P_COUNT, (op - OP_PACKET) % P_COUNT);
}

/* ---- All sequences ------------------------------------------------------------------------- */

static bool allocates(unsigned op)
{
	switch (op < OP_PACKET ? P_COUNT : (op - OP_PACKET) % P_COUNT) {
	case P_CLONE:
	case P_COPY:
	case P_ORPHAN:
	case P_SPLIT_HEAD:
	case P_SPLIT_BORDER:
	case P_SPLIT_FRAG:
	case P_SEGMENT:
		return true;
	default:
		return op == OP_NEW;
	}
}

static unsigned path[DEPTH_MAX];

static void replay(unsigned length)
{
	for (unsigned i = 0; i < length; i++)
		do_op(path[i]);
}

/* The last operation of the path, its (@fail_at + 1)th allocation failing unless that is < 0. */
static enum result run(unsigned length, int fail_at)
{
	enum result result;

	replay(length - 1);
	if (fail_at >= 0)
		lr_pool_fail_after(world.pool, fail_at);
	result = do_op(path[length - 1]);
	lr_pool_fail_after(world.pool, -1);
	if (result != NO_OBJECT)
		world_compare();
	/* one that was to fail and did not is the sequence that was counted before */
	sequence_count += result == UNCHANGED || (result == CHANGED && fail_at < 0);
	world_empty();
	return result;
}

static void explore(unsigned length, unsigned depth)
{
	for (unsigned op = 0; op < OPS; op++) {
		enum result result;

		path[length] = op;
		result = run(length + 1, -1);
		if (result != CHANGED)
			continue;
		for (int k = 0; allocates(op); k++)
			if (run(length + 1, k) != UNCHANGED)
				break; /* it needs no more than k */
		if (length + 1 < depth)
			explore(length + 1, depth);
	}
}

int main(void)
{
	unsigned depth = getenv("LASTREF_LONG") ? 7 : 6;
	struct timespec begin, end;

#ifdef LR_VERIFY /* poison, recounts and sanitizers make each step a hundred times slower */
	depth = ASAN_BUILD ? 5 : 4;
#endif
	world_open();
	clock_gettime(CLOCK_MONOTONIC, &begin);
	explore(0, depth);
	clock_gettime(CLOCK_MONOTONIC, &end);
	lr_pool_free(world.pool);
	oracle_lender_fini(&world.lender);
	printf("%" PRIu64 " sequences to depth %u, %.1f s\n", sequence_count, depth,
	       (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
	ASSERT(depth < 6 || sequence_count >= 1000000);
	return 0;
}
