/* SPDX-License-Identifier: BSD-2-Clause */
/* The copying receive queue. See copyq.h. */
#include "port/copyq.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "mem/mem.h"
#include "port/vm.h"

#define RECORD_ALIGN 16u

/* A record never wraps: one that would is preceded by a filler up to the ring's end. */
struct record {
	uint32_t bytes;
	uint32_t is_filler;
	struct lr_offload offload;
};

static_assert(VM_COPYQ_BYTES % RECORD_ALIGN == 0, "records stay aligned over the wrap");
static_assert(sizeof(struct record) <= 2 * RECORD_ALIGN, "a filler's header always fits");

int copyq_init(struct copyq *q)
{
	*q = (struct copyq){.bytes = aligned_alloc(CACHE_LINE_BYTES, VM_COPYQ_BYTES)};
	return q->bytes ? 0 : -ENOMEM;
}

void copyq_fini(struct copyq *q)
{
	free(q->bytes);
	q->bytes = NULL;
}

static struct record *record_at(const struct copyq *q, uint64_t position)
{
	return (struct record *)(void *)(q->bytes + position % VM_COPYQ_BYTES);
}

static uint32_t record_bytes(uint32_t frame_bytes)
{
	uint32_t bytes = 2 * RECORD_ALIGN + frame_bytes;

	return (bytes + RECORD_ALIGN - 1) & ~(RECORD_ALIGN - 1);
}

static void frame_gather(const struct frame *f, uint8_t *to)
{
	mem_copy(to, f->head, f->head_bytes);
	to += f->head_bytes;
	for (unsigned i = 0; i < f->segment_count; i++) {
		mem_copy(to, f->segments[i].data, f->segments[i].bytes);
		to += f->segments[i].bytes;
	}
}

static bool append_locked(struct copyq *q, const struct frame *f)
{
	uint64_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
	uint64_t tail = atomic_load_explicit(&q->tail, memory_order_acquire);
	uint32_t need = record_bytes(f->bytes);
	uint32_t to_end = VM_COPYQ_BYTES - (uint32_t)(head % VM_COPYQ_BYTES);
	uint32_t filler = to_end < need ? to_end : 0;
	struct record *r;

	if (atomic_load_explicit(&q->count, memory_order_relaxed) >= VM_COPYQ_FRAMES)
		return false;
	if (head - tail + filler + need > VM_COPYQ_BYTES)
		return false;
	if (filler) {
		/* Even the smallest rest holds the two words that are written here. */
		r = record_at(q, head);
		r->bytes = filler;
		r->is_filler = 1;
		head += filler;
	}
	r = record_at(q, head);
	r->bytes = f->bytes;
	r->is_filler = 0;
	r->offload = f->offload;
	frame_gather(f, (uint8_t *)r + 2 * RECORD_ALIGN);
	atomic_store_explicit(&q->head, head + need, memory_order_relaxed);
	atomic_fetch_add_explicit(&q->count, 1, memory_order_release);
	return true;
}

bool copyq_append(struct copyq *q, const struct frame *f)
{
	bool done;

	spinlock_lock(&q->lock);
	done = append_locked(q, f);
	spinlock_unlock(&q->lock);
	return done;
}

/* The oldest record, fillers skipped. */
static struct record *oldest(struct copyq *q)
{
	uint64_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
	struct record *r = record_at(q, tail);

	if (r->is_filler) {
		tail += r->bytes;
		atomic_store_explicit(&q->tail, tail, memory_order_release);
		r = record_at(q, tail);
	}
	return r;
}

bool copyq_peek(struct copyq *q, struct frame *f, struct segment *segment)
{
	struct record *r;
	uint8_t *data;

	if (copyq_is_empty(q))
		return false;
	r = oldest(q);
	data = (uint8_t *)r + 2 * RECORD_ALIGN;
	f->head = data;
	f->bytes = r->bytes;
	f->head_bytes = (uint16_t)min_u32(r->bytes, FRAME_SNAPSHOT_BYTES);
	f->segments = segment;
	f->segment_count = r->bytes > FRAME_SNAPSHOT_BYTES;
	f->lender = NULL;
	f->ubuf = NULL;
	f->offload = r->offload;
	*segment =
		(struct segment){.data = data + f->head_bytes, .bytes = f->bytes - f->head_bytes};
	return true;
}

void copyq_take(struct copyq *q)
{
	struct record *r = oldest(q);
	uint64_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
	uint32_t before;

	atomic_store_explicit(&q->tail, tail + record_bytes(r->bytes), memory_order_release);
	before = atomic_fetch_sub_explicit(&q->count, 1, memory_order_release);
	ASSERT(before > 0);
}
