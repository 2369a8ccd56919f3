/* SPDX-License-Identifier: BSD-2-Clause */
/* A small virtio-net device for tests of our driver, in the driver's own process. */
#include "guest_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "guest/driver.h"

static uint64_t random_state = 88172645463325252ull;

uint32_t device_random_below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)((random_state >> 16) % n);
}

uint16_t device_get16(const void *at)
{
	return __atomic_load_n((const uint16_t *)at, __ATOMIC_SEQ_CST);
}

void device_put16(void *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)at, value, __ATOMIC_SEQ_CST);
}

static uint8_t *shared(struct device_side *s, gpa base, uint64_t offset, uint64_t bytes)
{
	uint8_t *p = guest_memory_at(s->m, (gpa){base.addr + offset}, bytes);

	assert_non_null(p);
	return p;
}

static uint16_t avail_idx(struct device_side *s)
{
	return device_get16(shared(s, s->ring->avail_gpa, 2, 2));
}

static struct guest_desc read_desc(struct device_side *s, gpa table, uint32_t index)
{
	struct guest_desc d;

	memcpy(&d, shared(s, table, index * 16ull, 16), 16);
	return d;
}

/* Walk the chain of the next available head. */
uint16_t device_pop(struct device_side *s, struct device_segment *segments, uint32_t *ret_count)
{
	uint16_t slot = s->last_avail & (uint16_t)(s->ring->size - 1);
	uint16_t head = device_get16(shared(s, s->ring->avail_gpa, 4 + 2ull * slot, 2)), at = head;
	gpa table = s->ring->desc_gpa;
	uint32_t entries = s->ring->size, n = 0;
	bool in_table = false;

	s->last_avail++;
	for (;;) {
		struct guest_desc d;
		uint16_t flags;

		assert_true(at < entries);
		d = read_desc(s, table, at);
		flags = le16_get(d.flags);
		if (flags & GUEST_DESC_INDIRECT) {
			assert_false(in_table);
			assert_false(flags & GUEST_DESC_NEXT);
			assert_int_equal(le32_get(d.bytes) % 16, 0);
			in_table = true;
			table = (gpa){le64_get(d.addr)};
			entries = le32_get(d.bytes) / 16;
			at = 0;
			continue;
		}
		assert_true(n < DEVICE_SEGMENTS_MAX);
		segments[n].bytes = le32_get(d.bytes);
		segments[n].writable = flags & GUEST_DESC_WRITE;
		segments[n].data = shared(s, (gpa){le64_get(d.addr)}, 0, segments[n].bytes);
		n++;
		if (!(flags & GUEST_DESC_NEXT))
			break;
		at = le16_get(d.next);
	}
	*ret_count = n;
	return head;
}

void device_write_used(struct device_side *s, uint16_t position, uint32_t id, uint32_t bytes)
{
	uint32_t slot = position & (s->ring->size - 1);
	uint8_t *p = shared(s, s->ring->used_gpa, 4 + 8ull * slot, 8);

	memcpy(p, &id, 4);
	memcpy(p + 4, &bytes, 4);
}

void device_show_used(struct device_side *s)
{
	device_put16(shared(s, s->ring->used_gpa, 2, 2), s->used_idx);
}

void device_give(struct device_side *s, uint32_t id, uint32_t bytes)
{
	device_write_used(s, s->used_idx++, id, bytes);
	device_show_used(s);
}

/* Copy a frame into receive buffers. false: not enough of them, nothing changed. */
bool device_deliver(struct device *d, const uint8_t *frame, uint32_t bytes)
{
	static struct device_segment segs[DEVICE_SEGMENTS_MAX];
	struct device_side *s = &d->rx;
	uint16_t start = s->last_avail, used = s->used_idx, buffers = 0;
	uint8_t field[2][1];
	uint32_t done = 0, header_at = 0, field_at = 0;
	uint8_t *where[2] = {field[0], field[1]};

	do {
		uint32_t count, in_buffer = 0;
		uint16_t head;

		if (s->last_avail == avail_idx(s) || (buffers && !d->mergeable)) {
			s->last_avail = start;
			s->used_idx = used;
			return false;
		}
		head = device_pop(s, segs, &count);
		for (uint32_t i = 0; i < count; i++) {
			uint32_t at = 0;

			assert_true(segs[i].writable);
			for (; at < segs[i].bytes && header_at < d->header_bytes; at++) {
				segs[i].data[at] = 0;
				if (header_at++ >= GUEST_HEADER_LEGACY_BYTES)
					where[field_at++] = &segs[i].data[at];
			}
			if (done < bytes) {
				uint32_t n = min_u32(bytes - done, segs[i].bytes - at);

				memcpy(segs[i].data + at, frame + done, n);
				done += n;
				at += n;
			}
			in_buffer += at;
		}
		device_write_used(s, s->used_idx++, head, in_buffer);
		buffers++;
	} while (done < bytes);
	*where[0] = (uint8_t)buffers;
	*where[1] = (uint8_t)(buffers >> 8);
	device_show_used(s);
	return true;
}

void device_return_held(struct device *d, bool all)
{
	struct device_side *s = &d->tx;

	if (d->batch && d->held_count) {
		/* One entry, at the batch's first slot, names its last buffer. */
		device_write_used(s, s->used_idx, d->held[d->held_count - 1], 0);
		s->used_idx = (uint16_t)(s->used_idx + d->held_count);
		device_show_used(s);
		d->held_count = 0;
		return;
	}
	while (d->held_count && (all || d->held_count > 5)) {
		uint32_t i = d->shuffle ? device_random_below(d->held_count) : 0;
		uint16_t head = d->held[i];

		memmove(&d->held[i], &d->held[i + 1], (d->held_count - i - 1) * sizeof(d->held[0]));
		d->held_count--;
		device_give(s, head, 0);
	}
}

void device_turn(struct device *d, struct device *const *to, unsigned to_count)
{
	static struct device_segment segs[DEVICE_SEGMENTS_MAX];
	static uint8_t frame[80000];
	uint16_t end = avail_idx(&d->tx);

	while (d->tx.last_avail != end) {
		uint32_t count, bytes = 0;
		uint16_t head = device_pop(&d->tx, segs, &count);

		for (uint32_t i = 0; i < count; i++) {
			assert_false(segs[i].writable);
			assert_true(bytes + segs[i].bytes <= sizeof(frame));
			memcpy(frame + bytes, segs[i].data, segs[i].bytes);
			bytes += segs[i].bytes;
		}
		assert_true(bytes > d->header_bytes);
		d->frames++;
		for (unsigned i = 0; i < to_count; i++)
			if (!device_deliver(to[i], frame + d->header_bytes,
					    bytes - d->header_bytes))
				d->dropped++;
		d->held[d->held_count++] = head;
	}
	device_return_held(d, false);
}
