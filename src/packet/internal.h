/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of this folder share: slots of a pool, references of frags, head handling. */
#ifndef PACKET_INTERNAL_H
#define PACKET_INTERNAL_H

#include <lastref/packet.h>

#include "base/assert.h"
#include "base/util.h"

/* lr_packet.state: odd values, so that wiped or foreign memory is neither. */
enum packet_state {
	PACKET_LIVE = 0x5b,
	PACKET_FREE = 0xa7,
};

/* What happened to a packet, 4 bits each in packet_slot.history (VERIFY builds). */
enum packet_event {
	PACKET_EVENT_NONE,
	PACKET_EVENT_NEW,
	PACKET_EVENT_APPEND,
	PACKET_EVENT_ATTACH,
	PACKET_EVENT_CLONE,
	PACKET_EVENT_COPY,
	PACKET_EVENT_ORPHAN,
	PACKET_EVENT_EXPAND,
	PACKET_EVENT_PUSH,
	PACKET_EVENT_PULL,
	PACKET_EVENT_TRIM,
	PACKET_EVENT_LINEARIZE,
	PACKET_EVENT_SPLIT,
	PACKET_EVENT_SEGMENT,
	PACKET_EVENT_CHECKSUM,
	PACKET_EVENT_FREE,
	PACKET_EVENT_COUNT,
};

static_assert(PACKET_EVENT_COUNT <= 16, "an event has 4 bits");

/**
 * struct packet_slot - A packet as it lies in its pool
 * @packet:  first, so that one is the other
 * @history: the last 16 events, the latest lowest
 *
 * An odd number of cache lines, so that first lines do not share few cache sets.
 */
struct packet_slot {
	struct lr_packet packet;
	uint64_t history CACHE_ALIGNED;
};

static_assert(sizeof(struct lr_packet) % CACHE_LINE_BYTES == 0, "no line is shared");
static_assert(offsetof(struct lr_packet, frags) == CACHE_LINE_BYTES, "bookkeeping is one line");
static_assert(sizeof(struct packet_slot) / CACHE_LINE_BYTES % 2 == 1, "spread over cache sets");

/**
 * struct packet_chunk - Private memory for payload that is copied
 * @ubuf: one reference per frag, as for a lent buffer; its completion brings the chunk home
 * @pool: home
 * @next: in the free list, or in a chain just taken
 * @data: the pool's chunk_bytes
 */
struct packet_chunk {
	struct lr_ubuf ubuf;
	struct lr_pool *pool;
	struct packet_chunk *next;
	uint8_t data[] CACHE_ALIGNED;
};

static_assert(sizeof(struct packet_chunk) == CACHE_LINE_BYTES, "as pool.h says");

/* ubuf.c: the remark that bytes were copied before the completion (L4). */
void ubuf_mark_copied(struct lr_ubuf *ubuf);

/**
 * packet_take() - A packet from @pool: nothing set but pool and state
 *
 * Return: NULL when the pool is empty
 */
struct lr_packet *packet_take(struct lr_pool *pool);

/**
 * packet_give() - Home to its pool; its references are gone already. Takes @p
 */
void packet_give(struct lr_packet *p);

/**
 * packet_chunks_take() - Chunks for @bytes, chained by ->next, each with one reference
 *
 * Return: NULL when the pool has not as many or a packet has not as many frags: nothing taken
 */
struct packet_chunk *packet_chunks_take(struct lr_pool *pool, uint32_t bytes);

/**
 * packet_chunk_bytes() - Size of a chunk of @pool
 */
uint32_t packet_chunk_bytes(const struct lr_pool *pool);

/**
 * packet_ubuf_is_lent() - The memory behind @ubuf is not a pool's own
 */
bool packet_ubuf_is_lent(const struct lr_ubuf *ubuf);

/**
 * packet_drop_count() - Count a drop of @pool
 */
void packet_drop_count(struct lr_pool *pool, unsigned reason);

/**
 * packet_dead() - A packet that was given away or never made: say so, with its history, and abort
 */
_Noreturn void packet_dead(const struct lr_packet *p, const char *function);

/* Every public function starts with this (L1). */
static inline void packet_check(const struct lr_packet *p, const char *function)
{
	if (unlikely(p->state != PACKET_LIVE))
		packet_dead(p, function);
}

static inline void packet_note(struct lr_packet *p, enum packet_event event)
{
#ifdef LR_VERIFY
	struct packet_slot *slot = container_of(p, struct packet_slot, packet);

	slot->history = slot->history << 4 | event;
#else
	(void)p;
	(void)event;
#endif
}

/* What every function that changes a packet begins with. */
#define PACKET_ENTER(p, event)                                                                     \
	do {                                                                                       \
		packet_check(p, __func__); /* L1 */                                                \
		packet_note(p, event);                                                             \
	} while (0)

/**
 * packet_start() - An empty packet of @pool with @headroom_bytes in front, everything set
 *
 * Return: NULL when the pool is empty
 */
struct lr_packet *packet_start(struct lr_pool *pool, uint32_t headroom_bytes);

/**
 * packet_remarks_copy() - What an owner wrote beside the data: ->user
 */
static inline void packet_remarks_copy(struct lr_packet *to, const struct lr_packet *from)
{
	to->user[0] = from->user[0];
	to->user[1] = from->user[1];
}

/**
 * packet_frags_copy() - L6: the one function that copies references
 * @offset: from the first byte behind @from's head
 *
 * Appends frags over @bytes of @from's frag data to @to, a reference each. They are there and they
 * fit: both asserted.
 */
void packet_frags_copy(struct lr_packet *to, const struct lr_packet *from, uint32_t offset,
		       uint32_t bytes);

/**
 * packet_frags_move() - L6: the one function that moves references
 *
 * @from's frags from @first_index on, to the end of @to; counts do not change.
 */
void packet_frags_move(struct lr_packet *to, struct lr_packet *from, uint32_t first_index);

/**
 * packet_frags_remove() - Drop @count frags from @first_index on, a reference each (L7)
 */
void packet_frags_remove(struct lr_packet *p, uint32_t first_index, uint32_t count);

/**
 * packet_chunks_adopt() - Chunks with @bytes of data become frags of @p; takes @chain
 */
void packet_chunks_adopt(struct lr_packet *p, struct packet_chunk *chain, uint32_t bytes);

/**
 * packet_checksum() - Partial sum over @bytes of the packet from @offset on; see lr_checksum()
 */
uint32_t packet_checksum(const struct lr_packet *p, uint32_t offset, uint32_t bytes, uint32_t sum);

/* The private head's bytes behind its data. */
static inline uint32_t packet_tailroom(const struct lr_packet *p)
{
	return (uint32_t)(p->room + LR_PACKET_HEAD_BYTES - (p->head + p->head_bytes));
}

#endif
