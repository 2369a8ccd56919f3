/* SPDX-License-Identifier: BSD-2-Clause */
/* The device's side of a virtqueue: pop what the driver offers, publish what is used.
 *
 * Theory of operation
 *
 * A ring is worked by one thread at a time (its worker, or whoever has the ring's lock). Shared
 * memory is read once: the avail index once per burst, a head once, a descriptor by two 64-bit
 * loads into a private copy; everything is decided on the copies. What was popped is told as
 * chains of segments: translated, bounds-checked pointers. Used entries are written without the
 * index (virtio_ring_use()), then all are published by one store (virtio_ring_publish()); after a
 * full fence the caller asks virtio_ring_wants_call() and writes the eventfd: nothing here makes a
 * system call. A driver that breaks the protocol makes the ring broken: it is not touched again
 * until it is started anew.
 *
 * Split rings: virtio 1.3, 2.7. Packed rings (2.8) have their place behind the same functions.
 */
#ifndef VIRTIO_RING_H
#define VIRTIO_RING_H

#include "base/assert.h"
#include "base/endian.h"
#include "base/prefetch.h"
#include "base/segment.h"
#include "mem/mem.h"

/* Feature bits (virtio 1.3, 5.1.3 and 6; VHOST_F_LOG_ALL and bit 30 from vhost-user). */
#define VIRTIO_NET_CSUM		  (1ull << 0)
#define VIRTIO_NET_GUEST_CSUM	  (1ull << 1)
#define VIRTIO_NET_MTU		  (1ull << 3)
#define VIRTIO_NET_GUEST_TSO4	  (1ull << 7)
#define VIRTIO_NET_GUEST_TSO6	  (1ull << 8)
#define VIRTIO_NET_GUEST_ECN	  (1ull << 9)
#define VIRTIO_NET_GUEST_UFO	  (1ull << 10)
#define VIRTIO_NET_HOST_TSO4	  (1ull << 11)
#define VIRTIO_NET_HOST_TSO6	  (1ull << 12)
#define VIRTIO_NET_HOST_ECN	  (1ull << 13)
#define VIRTIO_NET_HOST_UFO	  (1ull << 14)
#define VIRTIO_NET_MRG_RXBUF	  (1ull << 15)
#define VIRTIO_NET_STATUS	  (1ull << 16)
#define VIRTIO_NET_GUEST_ANNOUNCE (1ull << 21)
#define VIRTIO_NET_MQ		  (1ull << 22)
#define VIRTIO_NOTIFY_ON_EMPTY	  (1ull << 24)
#define VIRTIO_LOG_ALL		  (1ull << 26)
#define VIRTIO_ANY_LAYOUT	  (1ull << 27)
#define VIRTIO_INDIRECT		  (1ull << 28)
#define VIRTIO_EVENT_IDX	  (1ull << 29)
#define VIRTIO_PROTOCOL_FEATURES  (1ull << 30)
#define VIRTIO_VERSION_1	  (1ull << 32)
#define VIRTIO_PACKED		  (1ull << 34)
#define VIRTIO_IN_ORDER		  (1ull << 35)

#define VIRTIO_RING_SIZE_MAX 32768u

/* As they lie in shared memory. */
struct virtio_desc {
	le64 addr;
	le64 len_flags_next; /* le32 len, le16 flags, le16 next: read by one load */
};

struct virtio_avail {
	le16 flags;
	le16 index;
	le16 ring[];
};

struct virtio_used_entry {
	le32 id;
	le32 bytes;
};

struct virtio_used {
	le16 flags;
	le16 index;
	struct virtio_used_entry ring[];
};

enum virtio_direction {
	VIRTIO_DRIVER_TO_DEVICE, /* the guest's transmit queue: we read */
	VIRTIO_DEVICE_TO_DRIVER, /* the guest's receive queue: we write */
};

/* What a popped chain is good for. */
enum virtio_verdict {
	VIRTIO_CHAIN_OK,
	VIRTIO_CHAIN_BAD, /* give it back unused and count; the ring stays up */
};

/**
 * struct virtio_chain - One popped chain
 * @head:    what goes into the used entry
 * @verdict: whether it may be used
 * @first:   index of its first segment
 * @count:   its segments; 0 only with VIRTIO_CHAIN_BAD
 * @bytes:   all segments together; fits because chains over VIRTIO_CHAIN_BYTES_MAX are BAD
 */
struct virtio_chain {
	uint16_t head;
	uint16_t verdict;
	uint16_t first;
	uint16_t count;
	uint32_t bytes;
};

#define VIRTIO_CHAIN_BYTES_MAX	  (1u << 20)
#define VIRTIO_CHAIN_SEGMENTS_MAX 1024u

/**
 * struct virtio_ring_config - How a ring is started
 * @desc, @avail, @used: our mappings, checked for length and alignment by the caller
 * @size: descriptors; a power of two for split rings
 * @base: next avail index
 * @features: negotiated feature bits
 * @mem: table to translate through; the ring takes a reference
 */
struct virtio_ring_config {
	struct virtio_desc *desc;
	struct virtio_avail *avail;
	struct virtio_used *used;
	uint32_t size;
	uint16_t base;
	uint64_t features;
	struct mem_table *mem;
};

struct virtio_ring {
	/* set at start */
	struct virtio_desc *desc;
	struct virtio_avail *avail;
	struct virtio_used *used;
	struct mem_table *mem;
	uint16_t size;
	uint16_t mask;
	enum virtio_direction direction;
	bool event_idx;
	bool in_order;
	bool indirect;
	/* the worker's */
	_Atomic(const char *) broken; /* why, or NULL; read by anybody */
	uint16_t avail_next;	      /* next avail slot to take */
	uint16_t avail_seen;	      /* avail index as last read */
	uint16_t used_next;	      /* next used slot to write */
	uint16_t used_published;      /* used index as last stored */
	uint16_t used_called;	      /* used index at the last call decision */
	bool used_called_valid;
	bool kicks_wanted;
	struct mem_cache cache;
	uint8_t *taken; /* by head: popped, not yet used: nothing is taken or returned twice */
};

/**
 * virtio_ring_start() - Begin at @config->base; used index is continued from shared memory
 *
 * Return: 0, -EINVAL, -ENOMEM
 */
int virtio_ring_start(struct virtio_ring *ring, enum virtio_direction direction,
		      const struct virtio_ring_config *config);

/**
 * virtio_ring_stop() - Forget shared memory
 *
 * Return: the next avail index, what GET_VRING_BASE answers
 */
uint16_t virtio_ring_stop(struct virtio_ring *ring);

/**
 * virtio_ring_pop() - Take up to @chain_max chains
 * @chains, @segments: caller's private memory
 * @segment_max: of @segments; a chain that does not fit into what is left stays in the ring
 *
 * Return: chains taken. Look at ring->broken afterwards: what was taken before the breach counts
 */
unsigned virtio_ring_pop(struct virtio_ring *ring, struct virtio_chain *chains, unsigned chain_max,
			 struct segment *segments, unsigned segment_max);

/**
 * virtio_ring_unpop() - Give back the last @count chains popped, in ring order, as never taken
 */
void virtio_ring_unpop(struct virtio_ring *ring, const uint16_t *heads, unsigned count);

/* The entry itself, at the next used slot. */
static inline void virtio_ring_use_entry(struct virtio_ring *ring, uint16_t head, uint32_t bytes)
{
	struct virtio_used_entry *entry = &ring->used->ring[ring->used_next & ring->mask];

	mem_store32(&entry->id, head);
	mem_store32(&entry->bytes, bytes);
}

/**
 * virtio_ring_prefetch_used() - Fetch the line of the used entry that comes @ahead entries from now
 */
static inline void virtio_ring_prefetch_used(const struct virtio_ring *ring, unsigned ahead)
{
	prefetch_for_write(&ring->used->ring[(ring->used_next + ahead) & ring->mask]);
}

/**
 * virtio_ring_use() - Write a used entry: visible to the driver after virtio_ring_publish()
 * @bytes: written into the chain; 0 for a transmit queue
 */
static inline void virtio_ring_use(struct virtio_ring *ring, uint16_t head, uint32_t bytes)
{
	ASSERT(ring->taken[head]); /* L4: returned exactly once */
	ring->taken[head] = 0;
	virtio_ring_use_entry(ring, head, bytes);
	ring->used_next++;
}

/**
 * virtio_ring_use_batch() - IN_ORDER on a transmit ring: one entry for the @count (> 0) chains that
 * were popped next (virtio 1.3, 2.7.9)
 */
void virtio_ring_use_batch(struct virtio_ring *ring, const struct virtio_chain *chains,
			   unsigned count);

/**
 * virtio_ring_publish() - One release store of the used index, when it moved
 *
 * Return: whether it moved
 */
bool virtio_ring_publish(struct virtio_ring *ring);

/**
 * virtio_ring_wants_call() - Does the driver want an interrupt for what was published?
 *
 * After a full fence behind virtio_ring_publish().
 */
bool virtio_ring_wants_call(struct virtio_ring *ring);

/**
 * virtio_ring_enable_kicks() - Ask for a kick at the next offer, then look again
 *
 * Return: true when something is there already: do not sleep
 */
bool virtio_ring_enable_kicks(struct virtio_ring *ring);
void virtio_ring_disable_kicks(struct virtio_ring *ring);

/**
 * virtio_ring_break() - The driver or its memory broke the protocol: no pop any more until started
 * anew; the first reason stays
 * @why: a string that stays
 */
void virtio_ring_break(struct virtio_ring *ring, const char *why);

/**
 * virtio_ring_left_avail() - Did the last virtio_ring_pop() leave a chain that it saw?
 */
static inline bool virtio_ring_left_avail(const struct virtio_ring *ring)
{
	return ring->avail_seen != ring->avail_next;
}

/**
 * virtio_ring_has_avail() - Would virtio_ring_pop() find something? Loads the avail index
 */
bool virtio_ring_has_avail(struct virtio_ring *ring);

#endif
