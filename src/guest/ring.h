/* SPDX-License-Identifier: BSD-2-Clause */
/* The driver's end of a split ring (virtio 1.3, 2.7), with a ledger of every buffer. */
#ifndef GUEST_RING_H
#define GUEST_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/endian.h"
#include "base/util.h"
#include "guest/features.h"
#include "guest/memory.h"

#define GUEST_RING_SIZE_MAX 32768
#define GUEST_PIECES_MAX    1024 /* most pieces of one buffer */

/* As they lie in memory: virtio 1.3, 2.7.5 to 2.7.8. */
struct guest_desc {
	le64 addr;
	le32 bytes;
	le16 flags;
	le16 next;
};

struct guest_avail {
	le16 flags;
	le16 idx;
	le16 ring[]; /* size entries, then used_event */
};

struct guest_used_elem {
	le32 id;
	le32 bytes;
};

struct guest_used {
	le16 flags;
	le16 idx;
	struct guest_used_elem ring[]; /* size entries, then avail_event */
};

#define GUEST_DESC_NEXT		 1
#define GUEST_DESC_WRITE	 2
#define GUEST_DESC_INDIRECT	 4
#define GUEST_AVAIL_NO_INTERRUPT 1
#define GUEST_USED_NO_NOTIFY	 1

/*
 * What a device can do wrong: name, whether the ring is unusable afterwards, what it means.
 * The others are only counted.
 */
#define GUEST_FAULTS(X)                                                                            \
	X(NONE, false, "no fault")                                                                 \
	X(UNKNOWN_ID, true, "used entry names no head of the ring")                                \
	X(DOUBLE_RETURN, true, "a buffer that is not with the device was returned")                \
	X(USED_JUMP, true, "used index moved by more than the buffers that are out")               \
	X(OUT_OF_ORDER, true, "buffers were returned out of order on an in-order ring")            \
	X(RX_SKIPPED, true, "in-order batch entry on a receive ring: lengths are lost")            \
	X(TX_BYTES, false, "used length of a transmit buffer is not 0")                            \
	X(RX_SHORT, true, "received less than a header")                                           \
	X(RX_TOO_LONG, true, "used length exceeds the receive buffer")                             \
	X(NUM_BUFFERS, true, "num_buffers does not fit the buffers that were returned")            \
	X(RX_NOT_FULL, false, "a merged buffer before the last one was not filled")                \
	X(RX_OFFLOAD, false, "received header has an offload that was not negotiated")

enum guest_fault {
#define X(id, fatal, text) GUEST_FAULT_##id,
	GUEST_FAULTS(X)
#undef X
		GUEST_FAULT_COUNT,
};

/**
 * guest_fault_text() - What a fault means
 */
const char *guest_fault_text(enum guest_fault fault);

/**
 * enum guest_indirect - When buffers go through an indirect table (needs GUEST_F_INDIRECT)
 * @NEVER: descriptors chained in the ring
 * @CHAINS: when there is more than one piece, as Linux does
 * @ALWAYS: single pieces too
 * @TAIL: the first piece in the ring, the others through a table chained to it (2.7.5.3.1)
 */
enum guest_indirect {
	GUEST_INDIRECT_NEVER,
	GUEST_INDIRECT_CHAINS,
	GUEST_INDIRECT_ALWAYS,
	GUEST_INDIRECT_TAIL,
};

/**
 * struct guest_piece - One contiguous part of a buffer, as one descriptor will name it
 */
struct guest_piece {
	gpa gpa;
	uint8_t *host;
	uint32_t bytes;
};

/**
 * struct guest_ring_options - What a ring is made of
 * @size:       power of two, 2 to GUEST_RING_SIZE_MAX
 * @features:   negotiated: GUEST_F_INDIRECT, GUEST_F_EVENT_IDX, GUEST_F_IN_ORDER count here
 * @indirect:   when to use tables
 * @pieces_max: most pieces of a buffer; 0 means 1
 * @base:       first value of avail and used index, what SET_VRING_BASE must then say
 * @receive:    the device writes the buffers
 */
struct guest_ring_options {
	uint32_t size;
	uint64_t features;
	enum guest_indirect indirect;
	uint16_t pieces_max;
	uint16_t base;
	bool receive;
};

/**
 * struct guest_used_buffer - One buffer that came back
 * @head:       its head's index
 * @bytes:      used length
 * @posted_bytes: length of all its pieces
 * @generation: how many times this head had been posted
 * @cookie:     as given to guest_ring_post()
 */
struct guest_used_buffer {
	uint16_t head;
	uint32_t bytes;
	uint32_t posted_bytes;
	uint32_t generation;
	uint64_t cookie;
};

/* The ledger's line for one head. */
struct guest_head {
	uint64_t cookie;
	uint32_t posted_bytes;
	uint32_t generation;
	uint16_t desc_count;
	bool posted;
};

/**
 * struct guest_ring - The driver's end
 * @desc, @avail, @used: the shared areas; @used_event and @avail_event at their ends
 * @desc_gpa, @avail_gpa, @used_gpa: where the guest says they are
 * @shown:       what the shared descriptors hold, so that an unchanged one isn't written again
 * @heads:       the ledger
 * @order:       head at each avail position, for in-order rings
 * @free:        descriptors not in use: a queue, so that they are reused in order
 * @tables:      indirect tables, @pieces_max entries each, one per head; NULL without
 * @avail_next:  next avail position to fill
 * @avail_shown: what the device was told last
 * @used_next:   next used position to look at
 * @used_seen:   used index as last read
 * @batch_left:  buffers of an in-order batch entry not handed out yet
 * @posted, @returned: buffers so far
 * @fault:       first fatal fault; the ring does nothing any more
 * @fault_counts: all faults, fatal or not
 *
 * Everything but the shared areas is private: the device cannot reach it. One thread only.
 */
struct guest_ring {
	struct guest_desc *desc;
	struct guest_avail *avail;
	struct guest_used *used;
	le16 *used_event;
	le16 *avail_event;
	struct guest_desc *shown;
	struct guest_head *heads;
	uint16_t *order;
	uint16_t *free;
	struct guest_block tables;
	uint32_t size;
	uint32_t mask;
	uint32_t free_get;
	uint32_t free_put;
	uint16_t avail_next;
	uint16_t avail_shown;
	uint16_t used_next;
	uint16_t used_seen;
	uint16_t batch_left;
	uint16_t pieces_max;
	enum guest_indirect indirect;
	bool event_idx;
	bool in_order;
	bool receive;
	enum guest_fault fault;
	uint64_t posted;
	uint64_t returned;
	uint64_t fault_counts[GUEST_FAULT_COUNT];
	gpa desc_gpa;
	gpa avail_gpa;
	gpa used_gpa;
};

/**
 * guest_ring_init() - Take the ring's areas and tables from @m, and private memory
 *
 * Return: 0, or negative errno with @err set
 */
int guest_ring_init(struct guest_ring *r, struct guest_memory *m,
		    const struct guest_ring_options *options, struct errmsg *err);

/**
 * guest_ring_fini() - Free the private memory. Harmless on a zeroed ring
 */
void guest_ring_fini(struct guest_ring *r);

/**
 * guest_ring_reset() - As after init, with both indexes at @base: the driver was loaded anew
 *
 * Only while no device uses the ring. Buffers that were out are forgotten; counters stay.
 */
void guest_ring_reset(struct guest_ring *r, uint16_t base);

/**
 * guest_ring_post() - Make a buffer of @count pieces available; the device isn't told yet
 *
 * 1 <= @count <= pieces_max.
 *
 * Return: the head's index, -ENOSPC when descriptors are short, -EIO after a fatal fault
 */
int guest_ring_post(struct guest_ring *r, const struct guest_piece *pieces, uint32_t count,
		    uint64_t cookie);

/**
 * guest_ring_publish() - Show the device everything that was posted
 *
 * Return: whether the device wants a kick for it
 */
bool guest_ring_publish(struct guest_ring *r);

/**
 * guest_ring_take() - The next buffer that came back
 * @ret: untouched when there is none
 *
 * Return: false when there is none or the ring is at fault
 */
bool guest_ring_take(struct guest_ring *r, struct guest_used_buffer *ret);

/**
 * guest_ring_pending() - Buffers that came back and were not taken yet
 *
 * Reads the used index at most once.
 */
uint32_t guest_ring_pending(struct guest_ring *r);

/**
 * guest_ring_arm() - Ask for an interrupt when @after more buffers come back (0: at the next)
 *
 * Without EVENT_IDX the device interrupts at each batch. Return: true when that many are there
 * already: look again instead of sleeping
 */
bool guest_ring_arm(struct guest_ring *r, uint16_t after);

/**
 * guest_ring_disarm() - Ask for no interrupts
 */
void guest_ring_disarm(struct guest_ring *r);

/**
 * guest_ring_fault() - Count a fault; a fatal one stops the ring
 */
void guest_ring_fault(struct guest_ring *r, enum guest_fault fault);

/**
 * guest_ring_used_idx() - The used index in shared memory, from which a front-end restarts a ring
 */
uint16_t guest_ring_used_idx(const struct guest_ring *r);

/* The head that the next post will get. Only while a descriptor is free. */
static inline uint16_t guest_ring_next_head(const struct guest_ring *r)
{
	return r->free[r->free_get & r->mask];
}

static inline uint32_t guest_ring_free_count(const struct guest_ring *r)
{
	return r->free_put - r->free_get;
}

/* Buffers with the device, or back and not taken. */
static inline uint32_t guest_ring_out_count(const struct guest_ring *r)
{
	return (uint32_t)(r->posted - r->returned);
}

#endif
