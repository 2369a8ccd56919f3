/* SPDX-License-Identifier: BSD-2-Clause */
/* The driver's end of a split ring (virtio 1.3, 2.7), with a ledger of every buffer. */
#include "guest/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/**
 * DOC: Theory of operation
 *
 * A buffer is posted as one chain of descriptors, shown to the device by the avail index, and
 * comes back by its head's index in the used ring. The ledger has a line for each head: posted or
 * not, how often, with which cookie. Whatever the device returns is checked against it, and the
 * first thing that a correct device cannot do stops the ring with a named fault. A fault is the
 * device's, so it is reported and never asserted.
 *
 * Descriptors are freed into a queue and not onto a stack: a device that returns buffers in order
 * then sees the same descriptor at the same place with the same contents again and again. We
 * remember what the shared table holds and write only what differs, so that the table's cache
 * lines stay shared between both cores. On an in-order ring the queue's order is the ring's order,
 * which is what VIRTIO_F_IN_ORDER asks of a driver (2.7.9).
 *
 * An in-order device may return a batch by one used entry, the last buffer's (2.7.9.1): the
 * entries before it are not written, so they are not read. order[] tells which heads these are.
 *
 * Packed rings are a second implementation of the functions in ring.h and share nothing with this
 * file but the ledger.
 *
 * What is not checked here: whether the device read the bytes it should have. Payload patterns and
 * poison (guest/memory.h) tell that at the receiver.
 */

static const char *const fault_texts[] = {
#define X(id, fatal, text) text,
	GUEST_FAULTS(X)
#undef X
};

static const bool fault_is_fatal[] = {
#define X(id, fatal, text) fatal,
	GUEST_FAULTS(X)
#undef X
};

static_assert(ARRAY_SIZE(fault_texts) == GUEST_FAULT_COUNT, "every fault has a text");
static_assert(sizeof(struct guest_desc) == 16, "as the specification has it");
static_assert(sizeof(struct guest_used_elem) == 8, "read by one load");

const char *guest_fault_text(enum guest_fault fault)
{
	return (unsigned)fault < GUEST_FAULT_COUNT ? fault_texts[fault] : "?";
}

void guest_ring_fault(struct guest_ring *r, enum guest_fault fault)
{
	r->fault_counts[fault]++;
	if (fault_is_fatal[fault] && !r->fault)
		r->fault = fault;
}

/* The indexes are paired with flags or events of the other side: store then load, in order. */
static void store_index(le16 *at, uint16_t value)
{
	__atomic_store_n(&at->raw, le16_make(value).raw, __ATOMIC_SEQ_CST);
}

static uint16_t load_index(const le16 *at)
{
	return le16_get((le16){__atomic_load_n(&at->raw, __ATOMIC_SEQ_CST)});
}

static int alloc_shared(struct guest_ring *r, struct guest_memory *m)
{
	struct guest_block b;
	uint64_t n = r->size;

	if (guest_memory_alloc(m, n * sizeof(*r->desc), CACHE_LINE_BYTES, &b))
		return -ENOMEM;
	r->desc = (struct guest_desc *)(void *)b.host;
	r->desc_gpa = b.gpa;
	if (guest_memory_alloc(m, sizeof(*r->avail) + (n + 1) * sizeof(le16), CACHE_LINE_BYTES, &b))
		return -ENOMEM;
	r->avail = (struct guest_avail *)(void *)b.host;
	r->avail_gpa = b.gpa;
	r->used_event = &r->avail->ring[n];
	if (guest_memory_alloc(m, sizeof(*r->used) + n * sizeof(r->used->ring[0]) + sizeof(le16),
			       CACHE_LINE_BYTES, &b))
		return -ENOMEM;
	r->used = (struct guest_used *)(void *)b.host;
	r->used_gpa = b.gpa;
	r->avail_event = (le16 *)(void *)&r->used->ring[n];
	if (r->indirect == GUEST_INDIRECT_NEVER)
		return 0;
	return guest_memory_alloc(m, n * r->pieces_max * sizeof(*r->desc), CACHE_LINE_BYTES,
				  &r->tables);
}

static int check_options(const struct guest_ring_options *o, struct errmsg *err)
{
	if (o->size < 2 || o->size > GUEST_RING_SIZE_MAX || (o->size & (o->size - 1)))
		return errmsg_set(err, "ring size %u: expected a power of two from 2 to %d",
				  o->size, GUEST_RING_SIZE_MAX);
	if (o->pieces_max > GUEST_PIECES_MAX)
		return errmsg_set(err, "%u pieces in a buffer: at most %d", o->pieces_max,
				  GUEST_PIECES_MAX);
	if (o->indirect != GUEST_INDIRECT_NEVER && !(o->features & GUEST_F_INDIRECT))
		return errmsg_set(err, "indirect tables need the feature INDIRECT");
	if (o->features & GUEST_F_RING_PACKED)
		return errmsg_set(err, "packed rings are not supported");
	return 0;
}

int guest_ring_init(struct guest_ring *r, struct guest_memory *m,
		    const struct guest_ring_options *options, struct errmsg *err)
{
	int error = check_options(options, err);

	memset(r, 0, sizeof(*r));
	if (error)
		return error;
	r->size = options->size;
	r->mask = options->size - 1;
	r->indirect = options->indirect;
	r->pieces_max = options->pieces_max ? options->pieces_max : 1;
	r->event_idx = options->features & GUEST_F_EVENT_IDX;
	r->in_order = options->features & GUEST_F_IN_ORDER;
	r->receive = options->receive;
	r->shown = calloc(r->size, sizeof(*r->shown));
	r->heads = calloc(r->size, sizeof(*r->heads));
	r->order = calloc(r->size, sizeof(*r->order));
	r->free = calloc(r->size, sizeof(*r->free));
	if (!r->shown || !r->heads || !r->order || !r->free || alloc_shared(r, m)) {
		errmsg_set(err, "ring of %u: out of memory, here or in the guest", r->size);
		guest_ring_fini(r);
		return -ENOMEM;
	}
	guest_ring_reset(r, options->base);
	return 0;
}

void guest_ring_fini(struct guest_ring *r)
{
	free(r->shown);
	free(r->heads);
	free(r->order);
	free(r->free);
	memset(r, 0, sizeof(*r));
}

void guest_ring_reset(struct guest_ring *r, uint16_t base)
{
	memset(r->desc, 0, r->size * sizeof(*r->desc));
	memset(r->shown, 0, r->size * sizeof(*r->shown));
	memset(r->avail, 0, sizeof(*r->avail) + (r->size + 1) * sizeof(le16));
	memset(r->used, 0, sizeof(*r->used) + r->size * sizeof(r->used->ring[0]) + sizeof(le16));
	for (uint32_t i = 0; i < r->size; i++) {
		r->free[i] = (uint16_t)i;
		r->order[i] = 0;
		r->heads[i].posted = false;
	}
	r->free_get = 0;
	r->free_put = r->size;
	r->avail_next = base;
	r->avail_shown = base;
	r->used_next = base;
	r->used_seen = base;
	r->batch_left = 0;
	r->returned = r->posted;
	r->fault = GUEST_FAULT_NONE;
	store_index(&r->avail->idx, base);
	store_index(&r->used->idx, base);
}

static uint16_t take_free(struct guest_ring *r)
{
	return r->free[r->free_get++ & r->mask];
}

static void show(struct guest_ring *r, uint32_t at, struct guest_desc d)
{
	uint64_t was[2], is[2];

	memcpy(was, &r->shown[at], sizeof(was));
	memcpy(is, &d, sizeof(is));
	if (likely(was[0] == is[0] && was[1] == is[1]))
		return;
	r->shown[at] = d;
	r->desc[at] = d;
}

static struct guest_desc make_desc(gpa at, uint32_t bytes, unsigned flags, uint16_t next)
{
	return (struct guest_desc){le64_make(at.addr), le32_make(bytes), le16_make((uint16_t)flags),
				   le16_make(next)};
}

/* Fill @head's indirect table; the descriptor that names it. */
static struct guest_desc make_table(struct guest_ring *r, uint16_t head,
				    const struct guest_piece *pieces, uint32_t count)
{
	uint64_t at = (uint64_t)head * r->pieces_max * sizeof(struct guest_desc);
	struct guest_desc *table = (struct guest_desc *)(void *)(r->tables.host + at);
	unsigned flags = r->receive ? GUEST_DESC_WRITE : 0;

	for (uint32_t i = 0; i < count; i++) {
		bool last = i + 1 == count;

		table[i] = make_desc(pieces[i].gpa, pieces[i].bytes,
				     flags | (last ? 0 : GUEST_DESC_NEXT),
				     (uint16_t)(last ? 0 : i + 1));
	}
	return make_desc((gpa){r->tables.gpa.addr + at},
			 count * (uint32_t)sizeof(struct guest_desc), GUEST_DESC_INDIRECT, 0);
}

/* How many of @count pieces lie in the ring itself; the others go through a table. */
static uint32_t direct_count(const struct guest_ring *r, uint32_t count)
{
	switch (r->indirect) {
	case GUEST_INDIRECT_ALWAYS:
		return 0;
	case GUEST_INDIRECT_CHAINS:
		return count > 1 ? 0 : 1;
	case GUEST_INDIRECT_TAIL:
		return 1;
	default:
		return count;
	}
}

/* Descriptors for all pieces, chained; their number. */
static uint16_t show_chain(struct guest_ring *r, uint16_t head, const struct guest_piece *pieces,
			   uint32_t count)
{
	uint32_t direct = direct_count(r, count);
	bool table = direct < count;
	unsigned flags = r->receive ? GUEST_DESC_WRITE : 0;
	uint16_t at = head;

	for (uint32_t i = 0; i < direct; i++) {
		bool last = i + 1 == direct && !table;
		uint16_t next = last ? 0 : take_free(r);

		show(r, at,
		     make_desc(pieces[i].gpa, pieces[i].bytes, flags | (last ? 0 : GUEST_DESC_NEXT),
			       next));
		at = next;
	}
	if (table)
		show(r, at, make_table(r, head, pieces + direct, count - direct));
	return (uint16_t)(direct + table);
}

/* The ledger's line for a buffer that goes out, and its entry in the avail ring. */
static int make_available(struct guest_ring *r, uint16_t head, uint32_t bytes, uint16_t desc_count,
			  uint64_t cookie)
{
	struct guest_head *h = &r->heads[head];
	uint32_t slot = r->avail_next & r->mask;

	ASSERT(!h->posted);
	h->posted = true;
	h->generation++;
	h->cookie = cookie;
	h->posted_bytes = bytes;
	h->desc_count = desc_count;
	/* order[] is also what the avail ring holds: an unchanged entry isn't written either. */
	if (r->order[slot] != head) {
		r->order[slot] = head;
		r->avail->ring[slot] = le16_make(head);
	}
	r->avail_next++;
	r->posted++;
	return head;
}

static int post_pieces(struct guest_ring *r, const struct guest_piece *pieces, uint32_t count,
		       uint64_t cookie)
{
	uint32_t direct = direct_count(r, count), bytes = 0;
	uint16_t head, desc_count;

	ASSERT(count >= 1);
	ASSERT(count <= r->pieces_max);
	if (guest_ring_free_count(r) < direct + (direct < count))
		return -ENOSPC;
	for (uint32_t i = 0; i < count; i++)
		bytes += pieces[i].bytes;
	head = take_free(r);
	desc_count = show_chain(r, head, pieces, count);
	return make_available(r, head, bytes, desc_count, cookie);
}

int guest_ring_post(struct guest_ring *r, const struct guest_piece *pieces, uint32_t count,
		    uint64_t cookie)
{
	uint16_t head;

	if (unlikely(r->fault))
		return -EIO;
	if (count != 1 || r->indirect == GUEST_INDIRECT_ALWAYS)
		return post_pieces(r, pieces, count, cookie);
	if (unlikely(r->free_get == r->free_put))
		return -ENOSPC;
	head = take_free(r);
	show(r, head, make_desc(pieces->gpa, pieces->bytes, r->receive ? GUEST_DESC_WRITE : 0, 0));
	return make_available(r, head, pieces->bytes, 1, cookie);
}

bool guest_ring_publish(struct guest_ring *r)
{
	uint16_t old = r->avail_shown, new = r->avail_next;

	if (old == new)
		return false;
	store_index(&r->avail->idx, new);
	r->avail_shown = new;
	if (r->event_idx) {
		uint16_t event = load_index(r->avail_event);

		return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
	}
	return !(load_index(&r->used->flags) & GUEST_USED_NO_NOTIFY);
}

uint32_t guest_ring_pending(struct guest_ring *r)
{
	uint16_t have = (uint16_t)(r->used_seen - r->used_next), out;

	if (have)
		return have;
	r->used_seen = load_index(&r->used->idx);
	have = (uint16_t)(r->used_seen - r->used_next);
	/* Never more than the device was shown; an index that went back looks like a big jump. */
	out = (uint16_t)(guest_ring_out_count(r) - (uint16_t)(r->avail_next - r->avail_shown));
	if (unlikely(have > out)) {
		guest_ring_fault(r, GUEST_FAULT_USED_JUMP);
		r->used_seen = r->used_next;
		return 0;
	}
	return have;
}

/* One load: the device must not change the entry between our two looks at it. */
static void load_elem(const struct guest_used_elem *e, uint32_t *ret_id, uint32_t *ret_bytes)
{
	le64 both = {__atomic_load_n((const uint64_t *)(const void *)e, __ATOMIC_RELAXED)};
	uint64_t value = le64_get(both);

	*ret_id = (uint32_t)value;
	*ret_bytes = (uint32_t)(value >> 32);
}

/*
 * The used entry at used_next of an in-order ring names the last buffer of a batch: how many
 * buffers that is, 0 at a fault.
 */
static uint16_t batch_count(struct guest_ring *r, uint32_t id, uint32_t pending)
{
	for (uint32_t k = 0; k < pending; k++) {
		if (r->order[(r->used_next + k) & r->mask] != id)
			continue;
		if (k && r->receive) {
			guest_ring_fault(r, GUEST_FAULT_RX_SKIPPED);
			return 0;
		}
		return (uint16_t)(k + 1);
	}
	guest_ring_fault(r, id < r->size && !r->heads[id].posted ? GUEST_FAULT_DOUBLE_RETURN
								 : GUEST_FAULT_OUT_OF_ORDER);
	return 0;
}

static void give_free(struct guest_ring *r, uint16_t head, uint16_t count)
{
	uint16_t at = head;

	r->free[r->free_put++ & r->mask] = at;
	while (--count) {
		at = le16_get(r->shown[at].next);
		r->free[r->free_put++ & r->mask] = at;
	}
}

/* The next buffer of an in-order ring: from the batch in hand, or its used entry's. */
static bool next_in_order(struct guest_ring *r, uint32_t *id, uint32_t *bytes)
{
	uint16_t count;

	if (r->batch_left) {
		r->batch_left--;
		*bytes = 0;
	} else {
		count = batch_count(r, *id, (uint16_t)(r->used_seen - r->used_next));
		if (!count)
			return false;
		r->batch_left = (uint16_t)(count - 1);
	}
	*id = r->order[r->used_next & r->mask];
	return true;
}

bool guest_ring_take(struct guest_ring *r, struct guest_used_buffer *ret)
{
	uint32_t id = 0, bytes = 0;
	struct guest_head *h;

	if (unlikely(r->fault) || !guest_ring_pending(r))
		return false;
	if (!r->batch_left)
		load_elem(&r->used->ring[r->used_next & r->mask], &id, &bytes);
	if (r->in_order && !next_in_order(r, &id, &bytes))
		return false;
	if (unlikely(id >= r->size)) {
		guest_ring_fault(r, GUEST_FAULT_UNKNOWN_ID);
		return false;
	}
	h = &r->heads[id];
	if (unlikely(!h->posted)) {
		guest_ring_fault(r, GUEST_FAULT_DOUBLE_RETURN);
		return false;
	}
	h->posted = false;
	give_free(r, (uint16_t)id, h->desc_count);
	r->used_next++;
	r->returned++;
	ret->head = (uint16_t)id;
	ret->bytes = bytes;
	ret->posted_bytes = h->posted_bytes;
	ret->generation = h->generation;
	ret->cookie = h->cookie;
	return true;
}

bool guest_ring_arm(struct guest_ring *r, uint16_t after)
{
	if (r->event_idx) {
		/* Never beyond what is out: that many will not come back. */
		uint32_t out = guest_ring_out_count(r);

		if (after && after >= out)
			after = (uint16_t)(out ? out - 1 : 0);
		store_index(r->used_event, (uint16_t)(r->used_next + after));
	} else {
		after = 0;
		store_index(&r->avail->flags, 0);
	}
	/* It may have come back before the device could see that we want to know. */
	return (uint16_t)(load_index(&r->used->idx) - r->used_next) > after;
}

void guest_ring_disarm(struct guest_ring *r)
{
	if (r->event_idx)
		/* Just passed: not reached again before 65,535 more. */
		store_index(r->used_event, (uint16_t)(r->used_next - 1));
	else
		store_index(&r->avail->flags, GUEST_AVAIL_NO_INTERRUPT);
}

uint16_t guest_ring_used_idx(const struct guest_ring *r)
{
	return load_index(&r->used->idx);
}
