/* SPDX-License-Identifier: BSD-2-Clause */
/* Split virtqueues (virtio 1.3, 2.7), the device's side. See ring.h for the theory of operation. */
#include "virtio/ring.h"

#include "base/assert.h"

#define DESC_NEXT     1u
#define DESC_WRITE    2u
#define DESC_INDIRECT 4u

#define AVAIL_NO_INTERRUPT 1u
#define USED_NO_NOTIFY	   1u

/* How far ahead receive descriptors are fetched: they are filled in ring order by every driver. */
#define PREFETCH_AHEAD 32u

/* Descriptors read in one burst beside those of plain chains; a chain that exceeds it is the last.
 * Else chains as long as the ring would cost the bystanders milliseconds. */
#define BURST_DESCRIPTORS 1024u

/* A descriptor's private copy: two loads, each done once. */
struct desc {
	gpa addr;
	uint32_t bytes;
	uint16_t flags;
	uint16_t next;
};

static inline struct desc desc_load(const struct virtio_desc *shared)
{
	uint64_t addr = mem_load64(&shared->addr);
	uint64_t rest = mem_load64(&shared->len_flags_next);

	return (struct desc){
		.addr = {addr},
		.bytes = (uint32_t)rest,
		.flags = (uint16_t)(rest >> 32),
		.next = (uint16_t)(rest >> 48),
	};
}

static inline bool ring_is_broken(const struct virtio_ring *ring)
{
	return atomic_load_explicit(&ring->broken, memory_order_relaxed) != NULL;
}

/* Chains on offer, up to @wanted; looks at the shared index only when the cached one has fewer. */
static unsigned avail_count(struct virtio_ring *ring, unsigned wanted)
{
	uint16_t count = (uint16_t)(ring->avail_seen - ring->avail_next);

	if (count < wanted) {
		ring->avail_seen = mem_load16_acquire(&ring->avail->index);
		count = (uint16_t)(ring->avail_seen - ring->avail_next);
		if (unlikely(count > ring->size)) {
			virtio_ring_break(ring,
					  "avail index is further ahead than the ring is long");
			ring->avail_seen = ring->avail_next;
			return 0;
		}
	}
	return count < wanted ? count : wanted;
}

bool virtio_ring_has_avail(struct virtio_ring *ring)
{
	return !ring_is_broken(ring) && avail_count(ring, 1) > 0;
}

/* Where the walk of one chain stands. */
struct walk {
	struct segment *segments;
	unsigned room;
	unsigned count;
	unsigned steps; /* descriptors read */
	uint64_t bytes;
	bool bad;  /* give the chain back unused */
	bool full; /* no room for its segments: leave it in the ring */
};

/* One descriptor's bytes, which may span regions that are adjacent in guest addresses. */
static void walk_bytes(struct virtio_ring *ring, struct walk *k, const struct desc *d)
{
	bool writable = d->flags & DESC_WRITE;
	uint64_t addr = d->addr.addr;
	uint32_t left = d->bytes;

	k->bytes += left;
	if (writable != (ring->direction == VIRTIO_DEVICE_TO_DRIVER) ||
	    k->bytes > VIRTIO_CHAIN_BYTES_MAX || addr + left < addr) {
		k->bad = true;
		return;
	}
	while (left && !k->bad) {
		uint32_t part = 0;
		uint8_t *data =
			mem_translate_part(ring->mem, &ring->cache, (gpa){addr}, left, &part);

		if (!data || k->count == VIRTIO_CHAIN_SEGMENTS_MAX) {
			k->bad = true;
		} else if (k->count == k->room) {
			k->full = true;
			return;
		} else {
			k->segments[k->count++] = (struct segment){.data = data, .bytes = part};
			addr += part;
			left -= part;
		}
	}
}

/* An indirect table: read entry by entry, each once; it ends the chain. */
static void walk_indirect(struct virtio_ring *ring, struct walk *k, const struct desc *table)
{
	uint32_t count = table->bytes / (uint32_t)sizeof(struct virtio_desc);
	uint32_t index = 0;

	if (!ring->indirect) {
		virtio_ring_break(ring, "indirect descriptor, but the feature was not negotiated");
		return;
	}
	if (count == 0 || table->bytes % sizeof(struct virtio_desc) || count > ring->size) {
		k->bad = true;
		return;
	}
	for (uint32_t steps = 0; steps < count && !k->bad && !k->full; steps++, k->steps++) {
		gpa at = {table->addr.addr + (uint64_t)index * sizeof(struct virtio_desc)};
		const uint8_t *entry = NULL;
		struct desc d;

		if (at.addr >= table->addr.addr)
			entry = mem_translate(ring->mem, &ring->cache, at,
					      sizeof(struct virtio_desc));
		if (!entry) {
			k->bad = true;
			return;
		}
		d = desc_load((const struct virtio_desc *)(const void *)entry);
		if (d.flags & DESC_INDIRECT) {
			k->bad = true;
			return;
		}
		walk_bytes(ring, k, &d);
		if (!(d.flags & DESC_NEXT))
			return;
		if (d.next >= count) {
			k->bad = true;
			return;
		}
		index = d.next;
	}
	if (!k->full)
		k->bad = true; /* the last entry still had a next: a loop */
}

/* A chain that is more than one plain descriptor. */
static void walk_chain(struct virtio_ring *ring, struct walk *k, struct desc d)
{
	for (unsigned steps = 1;; steps++, k->steps++) {
		if (d.flags & DESC_INDIRECT) {
			if (d.flags & DESC_NEXT)
				k->bad = true;
			else
				walk_indirect(ring, k, &d);
			return;
		}
		/* A bad chain is walked on: a loop in it breaks the ring all the same. */
		if (!k->bad)
			walk_bytes(ring, k, &d);
		if (k->full || !(d.flags & DESC_NEXT))
			return;
		if (d.next >= ring->size) {
			virtio_ring_break(ring, "next descriptor lies outside of the ring");
			return;
		}
		if (steps == ring->size) {
			virtio_ring_break(ring, "descriptor chain is longer than the ring");
			return;
		}
		d = desc_load(&ring->desc[d.next]);
	}
}

/* Heads of the burst, each read once and checked; fetches their descriptors. */
static unsigned load_heads(struct virtio_ring *ring, struct virtio_chain *chains, unsigned count)
{
	const le16 *heads = ring->avail->ring;
	const struct virtio_desc *desc = ring->desc;
	const unsigned next = ring->avail_next, mask = ring->mask;

	for (unsigned i = 0; i < count; i++) {
		uint16_t head = mem_load16(&heads[(next + i) & mask]);

		if (unlikely(head > mask)) {
			virtio_ring_break(ring, "avail ring offers a head outside of the ring");
			return i;
		}
		/* A speculated larger head must not index our own arrays. */
		head &= (uint16_t)mask;
		__builtin_prefetch(&desc[head]);
		chains[i].head = head;
	}
	return count;
}

static void prefetch_descriptors_ahead(const struct virtio_ring *ring, uint16_t last_head)
{
	const unsigned per_line = CACHE_LINE_BYTES / sizeof(struct virtio_desc);

	for (unsigned i = per_line; i <= PREFETCH_AHEAD; i += per_line)
		__builtin_prefetch(&ring->desc[(last_head + i) & ring->mask]);
}

/* A chain that is not one plain descriptor in the region used last. @walked: descriptors are added.
 * Return: it was taken */
static NOINLINE bool pop_walk(struct virtio_ring *ring, struct virtio_chain *c,
			      const struct desc *d, struct segment *segments, unsigned room,
			      unsigned *walked)
{
	struct walk k = {.segments = segments, .room = room};

	walk_chain(ring, &k, *d);
	*walked += k.steps;
	if (ring_is_broken(ring) || k.full)
		return false;
	if (k.count == 0)
		k.bad = true;
	c->verdict = k.bad ? VIRTIO_CHAIN_BAD : VIRTIO_CHAIN_OK;
	c->count = (uint16_t)(k.bad ? 0 : k.count);
	c->bytes = k.bad ? 0 : (uint32_t)k.bytes;
	return true;
}

/* Nearly every chain is one plain descriptor of the right direction in the region used last: what
 * that needs stays in registers, which stores to the caller's arrays would else spill. */
static unsigned pop_chains(struct virtio_ring *ring, struct virtio_chain *chains, unsigned count,
			   struct segment *segments, unsigned segment_max)
{
	const uint16_t wanted = ring->direction == VIRTIO_DEVICE_TO_DRIVER ? DESC_WRITE : 0;
	const struct virtio_desc *desc = ring->desc;
	struct mem_cache cache = ring->cache;
	uint8_t *taken = ring->taken;
	unsigned used = 0, walked = 0, i;

	for (i = 0; i < count && used < segment_max && walked < BURST_DESCRIPTORS; i++) {
		struct virtio_chain *c = &chains[i];
		const uint16_t head = c->head;
		const struct desc d = desc_load(&desc[head]);
		const uint64_t offset = d.addr.addr - cache.guest;

		if (unlikely(taken[head])) {
			virtio_ring_break(ring, "a head was offered again before it was returned");
			break;
		}
		c->first = (uint16_t)used;
		if (likely((d.flags & (DESC_NEXT | DESC_WRITE | DESC_INDIRECT)) == wanted &&
			   d.bytes - 1 < VIRTIO_CHAIN_BYTES_MAX && offset < cache.bytes &&
			   d.bytes <= cache.bytes - offset)) {
			segments[used].data = cache.host + offset;
			segments[used].bytes = d.bytes;
			c->verdict = VIRTIO_CHAIN_OK;
			c->count = 1;
			c->bytes = d.bytes;
			used++;
		} else {
			if (!pop_walk(ring, c, &d, segments + used, segment_max - used, &walked))
				break;
			used += c->count;
			cache = ring->cache;
		}
		taken[head] = 1;
	}
	return i;
}

unsigned virtio_ring_pop(struct virtio_ring *ring, struct virtio_chain *chains, unsigned chain_max,
			 struct segment *segments, unsigned segment_max)
{
	unsigned count;

	if (unlikely(ring_is_broken(ring)))
		return 0;
	count = avail_count(ring, chain_max);
	if (count == 0)
		return 0;
	count = load_heads(ring, chains, count);
	count = pop_chains(ring, chains, count, segments, segment_max);
	ring->avail_next = (uint16_t)(ring->avail_next + count);
	if (count && ring->direction == VIRTIO_DEVICE_TO_DRIVER)
		prefetch_descriptors_ahead(ring, chains[count - 1].head);
	return count;
}

void virtio_ring_unpop(struct virtio_ring *ring, const uint16_t *heads, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		ASSERT(ring->taken[heads[i]]); /* L4 */
		ring->taken[heads[i]] = 0;
	}
	ring->avail_next = (uint16_t)(ring->avail_next - count);
}

void virtio_ring_use_batch(struct virtio_ring *ring, const struct virtio_chain *chains,
			   unsigned count)
{
	uint8_t *taken = ring->taken;

	ASSERT(ring->in_order);
	ASSERT(ring->direction == VIRTIO_DRIVER_TO_DEVICE);
	for (unsigned i = 0; i < count; i++) {
		ASSERT(taken[chains[i].head]); /* L4 */
		taken[chains[i].head] = 0;
	}
	virtio_ring_use_entry(ring, chains[count - 1].head, 0);
	ring->used_next = (uint16_t)(ring->used_next + count);
}

bool virtio_ring_publish(struct virtio_ring *ring)
{
	if (ring->used_next == ring->used_published)
		return false;
	mem_store16_release(&ring->used->index, ring->used_next);
	ring->used_published = ring->used_next;
	return true;
}

/* The two words behind the rings (virtio 1.3, 2.7.7 and 2.7.10). */
static const le16 *used_event(const struct virtio_ring *ring)
{
	return &ring->avail->ring[ring->size];
}

static le16 *avail_event(const struct virtio_ring *ring)
{
	return (le16 *)(void *)&ring->used->ring[ring->size];
}

bool virtio_ring_wants_call(struct virtio_ring *ring)
{
	uint16_t old = ring->used_called, now = ring->used_published;
	bool first = !ring->used_called_valid;

	if (!ring->event_idx)
		return !(mem_load16(&ring->avail->flags) & AVAIL_NO_INTERRUPT);
	if (now == old && !first)
		return false;
	ring->used_called = now;
	ring->used_called_valid = true;
	if (first)
		return true;
	return (uint16_t)(now - mem_load16(used_event(ring)) - 1) < (uint16_t)(now - old);
}

bool virtio_ring_enable_kicks(struct virtio_ring *ring)
{
	if (ring->event_idx)
		mem_store16(avail_event(ring), ring->avail_next);
	else
		mem_store16(&ring->used->flags, 0);
	/* Seen by the driver before we look again, else a kick is lost. */
	atomic_thread_fence(memory_order_seq_cst);
	return virtio_ring_has_avail(ring);
}

void virtio_ring_disable_kicks(struct virtio_ring *ring)
{
	/* With EVENT_IDX the stale event index suppresses kicks for a whole lap. */
	if (!ring->event_idx)
		mem_store16(&ring->used->flags, USED_NO_NOTIFY);
}
