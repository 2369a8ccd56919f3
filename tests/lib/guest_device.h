/* SPDX-License-Identifier: BSD-2-Clause */
/* A small virtio-net device for tests of our driver, in the driver's own process.
 *
 * It takes frames off a transmit ring, copies them into receive rings, and returns buffers in
 * order, shuffled or in batches. Written from the specification for these tests only, so that
 * driver and device do not share a mistake. What the driver may not do fails the test.
 */
#ifndef GUEST_DEVICE_H
#define GUEST_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/ring.h"

#define DEVICE_SEGMENTS_MAX 2048

struct device_segment {
	uint8_t *data;
	uint32_t bytes;
	bool writable;
};

/* One ring: of the driver's struct only addresses and size are used. */
struct device_side {
	struct guest_memory *m;
	struct guest_ring *ring;
	uint16_t last_avail;
	uint16_t used_idx;
};

/**
 * struct device - One port
 * @header_bytes, @mergeable: as negotiated
 * @batch:   return in-order transmit batches by one used entry
 * @shuffle: return transmit buffers in any order
 * @held:    heads of transmit buffers not returned yet
 * @frames:  taken off the transmit ring
 * @dropped: of these, not delivered for want of receive buffers
 */
struct device {
	struct device_side tx;
	struct device_side rx;
	uint32_t header_bytes;
	bool mergeable;
	bool batch;
	bool shuffle;
	uint16_t held[GUEST_RING_SIZE_MAX];
	uint32_t held_count;
	uint64_t frames;
	uint64_t dropped;
};

/* A pseudo-random number below @n, the same in every run. */
uint32_t device_random_below(uint32_t n);

/* 16 bits of shared memory. */
uint16_t device_get16(const void *at);
void device_put16(void *at, uint16_t value);

/* Walk the chain of the next available head. Return: the head */
uint16_t device_pop(struct device_side *s, struct device_segment *segments, uint32_t *ret_count);

/* Write a used entry; make the used index visible; both, for one buffer. */
void device_write_used(struct device_side *s, uint16_t position, uint32_t id, uint32_t bytes);
void device_show_used(struct device_side *s);
void device_give(struct device_side *s, uint32_t id, uint32_t bytes);

/* Copy a frame into receive buffers. false: not enough of them, nothing changed */
bool device_deliver(struct device *d, const uint8_t *frame, uint32_t bytes);

/* Take every available frame off @d's transmit ring to the receive rings of @to. */
void device_turn(struct device *d, struct device *const *to, unsigned to_count);

/* Return transmit buffers: all, or all but five. */
void device_return_held(struct device *d, bool all);

#endif
