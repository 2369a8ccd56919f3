/* SPDX-License-Identifier: BSD-2-Clause */
/* Our driver against a small device of this test's own: every combination of options. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "guest/driver.h"
#include "guest_device.h"

/* A driver and a device with memory of their own. */
struct bench {
	struct guest_memory m;
	struct guest_tx tx;
	struct guest_rx rx;
	struct device d;
	struct guest_slab slab;
	uint32_t room;
};

struct combo {
	uint32_t size;
	uint64_t features;
	enum guest_indirect indirect;
	uint16_t pieces;
	bool header_apart;
	bool batch;
	uint16_t base;
	uint32_t frame_bytes;
	uint32_t rx_bytes;
	uint16_t rx_pieces;
};

static void bench_open(struct bench *b, const struct combo *c)
{
	uint32_t block = 64 + c->frame_bytes;
	struct guest_memory_options mo = {
		.bytes = (uint64_t)c->size * (block + 128 + c->rx_bytes + 64 +
					      16ull * (c->pieces + c->rx_pieces + 4) + 128) +
			 (1 << 20),
		.region_count = 2,
		.gpa = {0x100000},
		.hole_bytes = 0x40000000,
		.anonymous = true,
	};
	struct guest_tx_options to = {
		.size = c->size,
		.features = c->features,
		.indirect = c->indirect,
		.pieces_max = c->pieces,
		.base = c->base,
		.header_apart = c->header_apart,
		.poison = true,
	};
	struct guest_rx_options ro = {
		.size = c->size,
		.features = c->features,
		.indirect = c->indirect,
		.base = c->base,
		.buffer_bytes = c->rx_bytes,
		.piece_count = c->rx_pieces,
		.header_apart = c->header_apart,
	};
	struct errmsg err;

	memset(b, 0, sizeof(*b));
	assert_int_equal(guest_memory_init(&b->m, &mo, &err), 0);
	if (guest_tx_init(&b->tx, &b->m, &to, &err) || guest_rx_init(&b->rx, &b->m, &ro, &err))
		fail_msg("%s", err.text);
	assert_int_equal(guest_slab_init(&b->slab, &b->m, c->size, block, 64), 0);
	b->room = 64;
	b->d.tx = (struct device_side){&b->m, &b->tx.ring, c->base, c->base};
	b->d.rx = (struct device_side){&b->m, &b->rx.ring, c->base, c->base};
	b->d.header_bytes = guest_header_bytes(c->features);
	b->d.mergeable = c->features & GUEST_F_MRG_RXBUF;
	b->d.batch = c->batch;
	b->d.shuffle = !(c->features & GUEST_F_IN_ORDER);
}

/* Its own frames come back to it. */
static void turn(struct bench *b)
{
	struct device *to = &b->d;

	device_turn(&b->d, &to, 1);
}

static void bench_close(struct bench *b)
{
	guest_slab_fini(&b->slab);
	guest_tx_fini(&b->tx);
	guest_rx_fini(&b->rx);
	guest_memory_fini(&b->m);
}

static uint8_t byte_of(uint32_t frame, uint32_t at)
{
	return (uint8_t)(frame * 131 + at * 7 + (at >> 8));
}

static int post_frame(struct bench *b, const struct combo *c, uint32_t number, uint32_t bytes)
{
	static struct guest_piece pieces[GUEST_PIECES_MAX];
	int64_t index = guest_slab_take(&b->slab);
	struct guest_block block;
	int head;

	if (index < 0)
		return -ENOSPC;
	block = b->slab.blocks[index];
	block.gpa.addr += b->room;
	block.host += b->room;
	for (uint32_t i = 0; i < bytes; i++)
		block.host[i] = byte_of(number, i);
	guest_pieces_cut(block, bytes, c->pieces, pieces);
	head = guest_tx_post(&b->tx, pieces, c->pieces, NULL, (uint64_t)index);
	if (head < 0)
		guest_slab_give(&b->slab, (uint32_t)index);
	return head;
}

static void check_frame(const struct guest_rx_frame *f, uint32_t number, uint32_t bytes)
{
	static uint8_t copy[80000];

	assert_int_equal(f->bytes, bytes);
	assert_int_equal(guest_rx_copy(f, copy, sizeof(copy)), bytes);
	for (uint32_t i = 0; i < bytes; i++)
		if (copy[i] != byte_of(number, i))
			fail_msg("frame %u: byte %u is %02x, expected %02x", number, i, copy[i],
				 byte_of(number, i));
}

static void reap(struct bench *b)
{
	uint64_t cookies[64];
	uint32_t n;

	while ((n = guest_tx_reap(&b->tx, cookies, ARRAY_SIZE(cookies))))
		for (uint32_t i = 0; i < n; i++)
			guest_slab_give(&b->slab, (uint32_t)cookies[i]);
	assert_int_equal(b->tx.ring.fault, GUEST_FAULT_NONE);
}

static uint32_t frame_size(const struct combo *c, uint32_t number)
{
	return 14 + (number * 61) % (c->frame_bytes - 13);
}

static void run_combo(const struct combo *c, uint32_t frames)
{
	static struct bench b;
	uint32_t sent = 0, received = 0;
	struct guest_rx_frame f;

	bench_open(&b, c);
	assert_true(guest_rx_fill(&b.rx) > 0);
	guest_rx_publish(&b.rx);
	while (received < frames) {
		uint32_t burst = 1 + device_random_below(9);

		while (burst-- && sent < frames &&
		       post_frame(&b, c, sent, frame_size(c, sent)) >= 0)
			sent++;
		guest_tx_publish(&b.tx);
		turn(&b);
		while (guest_rx_poll(&b.rx, &f)) {
			check_frame(&f, received, frame_size(c, received));
			received++;
			guest_rx_repost(&b.rx, &f);
		}
		assert_int_equal(b.rx.ring.fault, GUEST_FAULT_NONE);
		guest_rx_publish(&b.rx);
		device_return_held(&b.d, device_random_below(4) == 0 ||
						 guest_ring_free_count(&b.tx.ring) < 8 ||
						 !b.slab.free_count);
		reap(&b);
		assert_int_equal(b.d.dropped, 0);
	}
	device_return_held(&b.d, true);
	reap(&b);
	assert_int_equal(b.tx.ring.posted, frames);
	assert_int_equal(b.tx.ring.returned, frames);
	assert_int_equal(b.tx.frames, frames);
	assert_int_equal(b.slab.free_count, b.slab.count);
	assert_int_equal(guest_ring_free_count(&b.tx.ring), c->size);
	assert_int_equal(b.rx.frames, frames);
	for (int i = 0; i < GUEST_FAULT_COUNT; i++) {
		assert_int_equal(b.tx.ring.fault_counts[i], 0);
		assert_int_equal(b.rx.ring.fault_counts[i], 0);
	}
	bench_close(&b);
}

static void all_combinations(void **state)
{
	static const uint32_t sizes[] = {16, 64, 256};
	static const uint16_t pieces[] = {1, 2, 5};
	static const uint64_t features[] = {
		0,
		GUEST_F_VERSION_1,
		GUEST_F_MRG_RXBUF,
		GUEST_F_VERSION_1 | GUEST_F_MRG_RXBUF,
	};
	unsigned count = 0;

	(void)state;
	/* Bits of @i: in order, batches, event index, header apart, base near the wrap. */
	for (unsigned i = 0; i < 32; i++)
		for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++)
			for (unsigned p = 0; p < ARRAY_SIZE(pieces); p++)
				for (unsigned v = 0; v < ARRAY_SIZE(features); v++)
					for (unsigned t = 0; t <= GUEST_INDIRECT_TAIL; t++) {
						struct combo c = {
							.size = sizes[s],
							.features = features[v],
							.indirect = (enum guest_indirect)t,
							.pieces = pieces[p],
							.header_apart = i & 8,
							.batch = (i & 3) == 3,
							.base = i & 16 ? 65500 : 0,
							.frame_bytes = 400,
							.rx_bytes = 512,
							.rx_pieces = 1,
						};

						if (i & 1)
							c.features |= GUEST_F_IN_ORDER;
						else if (i & 2)
							continue;
						if (i & 4)
							c.features |= GUEST_F_EVENT_IDX;
						if (t)
							c.features |= GUEST_F_INDIRECT;
						run_combo(&c, 200);
						count++;
					}
	print_message("# %u combinations\n", count);
}

static void merged_buffers(void **state)
{
	struct combo c = {
		.size = 1024,
		.features = GUEST_F_VERSION_1 | GUEST_F_MRG_RXBUF,
		.pieces = 3,
		.frame_bytes = 65535 + 14,
		.rx_bytes = 256,
		.rx_pieces = 1,
	};

	(void)state;
	run_combo(&c, 150);
	c.rx_pieces = 3;
	run_combo(&c, 100);
	c.size = 32;
	c.rx_bytes = 4096;
	c.pieces = 19;
	c.features |= GUEST_F_INDIRECT;
	c.indirect = GUEST_INDIRECT_CHAINS;
	run_combo(&c, 150);
}

/* More than 2^16 frames through every kind of ring: both indexes and every slot wrap. */
static void many_frames(void **state)
{
	struct combo c = {
		.features = GUEST_F_VERSION_1,
		.pieces = 1,
		.frame_bytes = 64,
		.rx_bytes = 128,
		.rx_pieces = 1,
	};

	(void)state;
	for (c.size = 2; c.size <= GUEST_RING_SIZE_MAX; c.size *= 4) {
		c.features = GUEST_F_VERSION_1;
		c.batch = false;
		run_combo(&c, 70000);
		c.features |= GUEST_F_IN_ORDER | GUEST_F_EVENT_IDX;
		c.batch = true;
		run_combo(&c, 70000);
	}
	c.size = 1024;
	c.base = 65535;
	run_combo(&c, 140000);
}

static const struct combo plain = {
	.size = 8,
	.features = GUEST_F_VERSION_1,
	.pieces = 1,
	.frame_bytes = 100,
	.rx_bytes = 200,
	.rx_pieces = 1,
};

/* The ring offers what it has, says so when it is full, and takes what was given back. */
static void full_ring(void **state)
{
	static struct bench b;
	struct combo c = plain;

	(void)state;
	c.pieces = 3;
	bench_open(&b, &c);
	assert_int_equal(post_frame(&b, &c, 0, 60), 0);
	assert_int_equal(post_frame(&b, &c, 1, 60), 3);
	/* Two descriptors are left, a third buffer needs three. */
	assert_int_equal(post_frame(&b, &c, 2, 60), -ENOSPC);
	assert_int_equal(guest_ring_free_count(&b.tx.ring), 2);
	guest_tx_publish(&b.tx);
	turn(&b);
	device_return_held(&b.d, true);
	reap(&b);
	assert_int_equal(guest_ring_free_count(&b.tx.ring), 8);
	assert_true(post_frame(&b, &c, 3, 60) >= 0);
	bench_close(&b);
}

static void offload_header(void **state)
{
	static struct bench b;
	struct guest_offload o = {
		.flags = GUEST_NET_NEEDS_CSUM,
		.gso_type = GUEST_GSO_TCPV6,
		.hdr_len = 0x1234,
		.gso_size = 1448,
		.csum_start = 34,
		.csum_offset = 16,
	};
	static const uint8_t expected[12] = {1, 4, 0x34, 0x12, 0xa8, 0x05, 34, 0, 16, 0, 0, 0};
	struct device_segment segs[4];
	struct guest_piece piece;
	uint32_t count;

	(void)state;
	bench_open(&b, &plain);
	piece = (struct guest_piece){
		{b.slab.blocks[0].gpa.addr + 64}, b.slab.blocks[0].host + 64, 60};
	assert_true(guest_tx_post(&b.tx, &piece, 1, &o, 0) >= 0);
	guest_tx_publish(&b.tx);
	device_pop(&b.d.tx, segs, &count);
	assert_int_equal(count, 1);
	assert_int_equal(segs[0].bytes, 72);
	assert_memory_equal(segs[0].data, expected, 12);
	bench_close(&b);
}

/* A kick is wanted exactly when the device's flag or event says so. */
static void kicks(void **state)
{
	static struct bench b;
	struct combo c = plain;

	(void)state;
	bench_open(&b, &c);
	assert_false(guest_tx_publish(&b.tx)); /* nothing posted */
	post_frame(&b, &c, 0, 60);
	assert_true(guest_tx_publish(&b.tx));
	device_put16(&b.tx.ring.used->flags, GUEST_USED_NO_NOTIFY);
	post_frame(&b, &c, 1, 60);
	assert_false(guest_tx_publish(&b.tx));
	bench_close(&b);

	c.features |= GUEST_F_EVENT_IDX;
	c.size = 64;
	for (uint32_t base = 65530; base < 65536 + 6; base++) {
		for (int event = -3; event < 8; event++) {
			uint16_t at = (uint16_t)((int)base + event);
			bool expected = event >= 0 && event < 4;

			c.base = (uint16_t)base;
			bench_open(&b, &c);
			device_put16(b.tx.ring.avail_event, at);
			for (uint32_t i = 0; i < 4; i++)
				post_frame(&b, &c, i, 60);
			assert_int_equal(guest_tx_publish(&b.tx), expected);
			bench_close(&b);
		}
	}
}

static void interrupts(void **state)
{
	static struct bench b;
	struct combo c = plain;

	(void)state;
	bench_open(&b, &c);
	assert_false(guest_ring_arm(&b.tx.ring, 0));
	assert_int_equal(device_get16(&b.tx.ring.avail->flags), 0);
	guest_ring_disarm(&b.tx.ring);
	assert_int_equal(device_get16(&b.tx.ring.avail->flags), GUEST_AVAIL_NO_INTERRUPT);
	post_frame(&b, &c, 0, 60);
	guest_tx_publish(&b.tx);
	turn(&b);
	device_return_held(&b.d, true);
	assert_true(guest_ring_arm(&b.tx.ring, 0)); /* already there: do not sleep */
	bench_close(&b);

	c.features |= GUEST_F_EVENT_IDX;
	c.base = 65534;
	bench_open(&b, &c);
	for (uint32_t i = 0; i < 5; i++)
		post_frame(&b, &c, i, 60);
	guest_tx_publish(&b.tx);
	assert_false(guest_ring_arm(&b.tx.ring, 2));
	assert_int_equal(device_get16(b.tx.ring.used_event), 0); /* 65534 + 2 */
	assert_false(guest_ring_arm(&b.tx.ring, 100));
	assert_int_equal(device_get16(b.tx.ring.used_event), 2); /* the last that is out */
	guest_ring_disarm(&b.tx.ring);
	assert_int_equal(device_get16(b.tx.ring.used_event), 65533);
	turn(&b);
	device_return_held(&b.d, true);
	assert_true(guest_ring_arm(&b.tx.ring, 0));
	bench_close(&b);
}

/* Planted mistakes of the device: each is named by the ledger. */
static enum guest_fault planted(uint64_t features, void (*mistake)(struct bench *b))
{
	static struct bench b;
	struct combo c = plain;
	struct guest_rx_frame f;
	enum guest_fault fault;

	c.features |= features;
	bench_open(&b, &c);
	guest_rx_fill(&b.rx);
	guest_rx_publish(&b.rx);
	for (uint32_t i = 0; i < 4; i++)
		post_frame(&b, &c, i, 60);
	guest_tx_publish(&b.tx);
	b.d.tx.last_avail = 4;
	mistake(&b);
	while (guest_tx_reap(&b.tx, NULL, 1))
		;
	while (guest_rx_poll(&b.rx, &f))
		;
	fault = b.tx.ring.fault ? b.tx.ring.fault : b.rx.ring.fault;
	if (!fault)
		for (int i = 1; i < GUEST_FAULT_COUNT; i++)
			if (b.tx.ring.fault_counts[i] || b.rx.ring.fault_counts[i])
				fault = (enum guest_fault)i;
	if (b.tx.ring.fault)
		assert_int_equal(post_frame(&b, &c, 9, 60), -EIO);
	bench_close(&b);
	return fault;
}

static void give_twice(struct bench *b)
{
	device_give(&b->d.tx, 1, 0);
	device_give(&b->d.tx, 1, 0);
}

static void give_unknown(struct bench *b)
{
	device_give(&b->d.tx, 8, 0);
}

static void give_never_posted(struct bench *b)
{
	device_give(&b->d.tx, 7, 0);
}

static void jump(struct bench *b)
{
	b->d.tx.used_idx = 5;
	device_show_used(&b->d.tx);
}

static void jump_back(struct bench *b)
{
	device_give(&b->d.tx, 0, 0);
	guest_tx_reap(&b->tx, NULL, 1);
	b->d.tx.used_idx = 0;
	device_show_used(&b->d.tx);
}

static void give_second_first(struct bench *b)
{
	device_give(&b->d.tx, 1, 0);
}

static void give_first_twice(struct bench *b)
{
	device_give(&b->d.tx, 0, 0);
	device_give(&b->d.tx, 0, 0);
}

static void give_bytes(struct bench *b)
{
	device_give(&b->d.tx, 0, 60);
}

static void rx_short(struct bench *b)
{
	device_give(&b->d.rx, 0, 11);
}

static void rx_too_long(struct bench *b)
{
	device_give(&b->d.rx, 0, 201);
}

static void set_header(struct bench *b, uint8_t flags, uint8_t gso, uint8_t buffers)
{
	uint8_t *h = b->rx.pieces[0].host;

	memset(h, 0, 12);
	h[0] = flags;
	h[1] = gso;
	h[4] = gso ? 200 : 0;
	h[10] = buffers;
}

static void rx_no_buffers(struct bench *b)
{
	set_header(b, 0, 0, 0);
	device_give(&b->d.rx, 0, 100);
}

static void rx_two_buffers(struct bench *b)
{
	set_header(b, 0, 0, 2);
	device_give(&b->d.rx, 0, 200);
}

static void rx_not_full(struct bench *b)
{
	set_header(b, 0, 0, 2);
	device_write_used(&b->d.rx, b->d.rx.used_idx++, 0, 100);
	device_give(&b->d.rx, 1, 100);
}

static void rx_skipped(struct bench *b)
{
	set_header(b, 0, 0, 1);
	device_write_used(&b->d.rx, b->d.rx.used_idx, 1, 100);
	b->d.rx.used_idx = (uint16_t)(b->d.rx.used_idx + 2);
	device_show_used(&b->d.rx);
}

static void rx_tso(struct bench *b)
{
	set_header(b, 1, 1, 1);
	device_give(&b->d.rx, 0, 100);
}

static void planted_mistakes(void **state)
{
	(void)state;
	assert_int_equal(planted(0, give_twice), GUEST_FAULT_DOUBLE_RETURN);
	assert_int_equal(planted(0, give_never_posted), GUEST_FAULT_DOUBLE_RETURN);
	assert_int_equal(planted(0, give_unknown), GUEST_FAULT_UNKNOWN_ID);
	assert_int_equal(planted(0, jump), GUEST_FAULT_USED_JUMP);
	assert_int_equal(planted(0, jump_back), GUEST_FAULT_USED_JUMP);
	assert_int_equal(planted(GUEST_F_IN_ORDER, give_second_first), GUEST_FAULT_OUT_OF_ORDER);
	assert_int_equal(planted(GUEST_F_IN_ORDER, give_first_twice), GUEST_FAULT_DOUBLE_RETURN);
	assert_int_equal(planted(0, give_second_first), GUEST_FAULT_NONE);
	assert_int_equal(planted(0, give_bytes), GUEST_FAULT_TX_BYTES);
	assert_int_equal(planted(0, rx_short), GUEST_FAULT_RX_SHORT);
	assert_int_equal(planted(0, rx_too_long), GUEST_FAULT_RX_TOO_LONG);
	assert_int_equal(planted(0, rx_no_buffers), GUEST_FAULT_NUM_BUFFERS);
	assert_int_equal(planted(0, rx_two_buffers), GUEST_FAULT_NUM_BUFFERS);
	assert_int_equal(planted(GUEST_F_MRG_RXBUF, rx_two_buffers), GUEST_FAULT_NUM_BUFFERS);
	assert_int_equal(planted(GUEST_F_MRG_RXBUF, rx_not_full), GUEST_FAULT_RX_NOT_FULL);
	assert_int_equal(planted(GUEST_F_IN_ORDER, rx_skipped), GUEST_FAULT_RX_SKIPPED);
	assert_int_equal(planted(0, rx_tso), GUEST_FAULT_RX_OFFLOAD);
	assert_int_equal(planted(GUEST_F_GUEST_CSUM | GUEST_F_GUEST_TSO4, rx_tso),
			 GUEST_FAULT_NONE);
}

/* A device that returns a buffer and reads it afterwards delivers poison. */
static void early_return_shows(void **state)
{
	static struct bench b;
	struct device_segment segs[4];
	struct guest_rx_frame f;
	uint32_t count, generation = 0;
	uint16_t head;

	(void)state;
	bench_open(&b, &plain);
	guest_rx_fill(&b.rx);
	guest_rx_publish(&b.rx);
	post_frame(&b, &plain, 0, 60);
	guest_tx_publish(&b.tx);
	head = device_pop(&b.d.tx, segs, &count);
	device_give(&b.d.tx, head, 0);
	reap(&b);
	assert_true(device_deliver(&b.d, segs[0].data + 12, 60));
	assert_true(guest_rx_poll(&b.rx, &f));
	assert_true(guest_poison_find(f.segments[0].data, f.segments[0].bytes, &generation));
	assert_int_equal(generation, 1);
	bench_close(&b);
}

static void reset_starts_anew(void **state)
{
	static struct bench b;
	struct combo c = plain;

	(void)state;
	bench_open(&b, &c);
	for (uint32_t i = 0; i < 5; i++)
		post_frame(&b, &c, i, 60);
	guest_tx_publish(&b.tx);
	guest_ring_reset(&b.tx.ring, 100);
	assert_int_equal(guest_ring_used_idx(&b.tx.ring), 100);
	assert_int_equal(guest_ring_out_count(&b.tx.ring), 0);
	assert_int_equal(guest_ring_free_count(&b.tx.ring), 8);
	b.d.tx.last_avail = b.d.tx.used_idx = 100;
	/* A completion of the time before the reset is nobody's now. */
	post_frame(&b, &c, 6, 60);
	guest_tx_publish(&b.tx);
	device_give(&b.d.tx, 4, 0);
	assert_int_equal(guest_tx_reap(&b.tx, NULL, 8), 0);
	assert_int_equal(b.tx.ring.fault, GUEST_FAULT_DOUBLE_RETURN);
	bench_close(&b);
}

static void bad_options(void **state)
{
	struct guest_memory m;
	struct guest_memory_options mo = {.bytes = 1 << 16, .anonymous = true};
	struct guest_ring r;
	struct guest_ring_options o = {.size = 100};
	struct errmsg err;

	(void)state;
	assert_int_equal(guest_memory_init(&m, &mo, &err), 0);
	assert_int_equal(guest_ring_init(&r, &m, &o, &err), -EINVAL);
	assert_non_null(strstr(err.text, "power of two"));
	o.size = 16;
	o.indirect = GUEST_INDIRECT_ALWAYS;
	assert_int_equal(guest_ring_init(&r, &m, &o, &err), -EINVAL);
	o.indirect = GUEST_INDIRECT_NEVER;
	o.size = 32768;
	assert_int_equal(guest_ring_init(&r, &m, &o, &err), -ENOMEM);
	guest_memory_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_combinations),   cmocka_unit_test(merged_buffers),
		cmocka_unit_test(many_frames),	      cmocka_unit_test(full_ring),
		cmocka_unit_test(offload_header),     cmocka_unit_test(kicks),
		cmocka_unit_test(interrupts),	      cmocka_unit_test(planted_mistakes),
		cmocka_unit_test(early_return_shows), cmocka_unit_test(reset_starts_anew),
		cmocka_unit_test(bad_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
