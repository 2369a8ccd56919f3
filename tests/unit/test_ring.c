/* SPDX-License-Identifier: BSD-2-Clause */
/* Split rings: against our own driver with every option, and against rings written by hand that
 * break the rules. Numbers are those of doc/attacks.md. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "guest/driver.h"
#include "mem/mem.h"
#include "virtio/ring.h"

#define GUEST_BYTES (4u << 20)

struct fixture {
	struct guest_memory memory;
	struct mem_table *table;
	struct virtio_ring ring;
	struct virtio_chain chains[64];
	struct segment segments[1280];
};

static void fixture_open(struct fixture *f)
{
	struct guest_memory_options options = {.bytes = GUEST_BYTES, .anonymous = true};
	struct errmsg err;

	memset(f, 0, sizeof(*f));
	assert_int_equal(guest_memory_init(&f->memory, &options, &err), 0);
	assert_int_equal(mem_table_from_memory(f->memory.regions[0].host,
					       f->memory.regions[0].gpa.addr, GUEST_BYTES,
					       &f->table),
			 0);
}

static void fixture_close(struct fixture *f)
{
	mem_table_put(f->table);
	guest_memory_fini(&f->memory);
	assert_int_equal(mem_regions_mapped(), 0);
}

static void ring_open(struct fixture *f, enum virtio_direction direction,
		      const struct guest_ring *g, uint64_t features, uint16_t base)
{
	struct virtio_ring_config config = {
		.desc = (struct virtio_desc *)(void *)g->desc,
		.avail = (struct virtio_avail *)(void *)g->avail,
		.used = (struct virtio_used *)(void *)g->used,
		.size = g->size,
		.base = base,
		.features = features,
		.mem = f->table,
	};

	assert_int_equal(virtio_ring_start(&f->ring, direction, &config), 0);
}

/* Every byte of a chain is where the driver put it. */
static uint32_t chain_sum(const struct fixture *f, const struct virtio_chain *c)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < c->count; i++)
		for (uint32_t k = 0; k < f->segments[c->first + i].bytes; k++)
			sum += f->segments[c->first + i].data[k];
	return sum;
}

static void transmit_run(uint64_t features, enum guest_indirect indirect, uint32_t size,
			 unsigned pieces, bool apart)
{
	struct guest_tx_options options = {
		.size = size,
		.features = features,
		.indirect = indirect,
		.pieces_max = (uint16_t)pieces,
		.base = 65500, /* wraps soon */
		.header_apart = apart,
	};
	struct guest_piece cut[8];
	struct guest_block block;
	struct guest_tx tx = {0};
	struct errmsg err;
	struct fixture f;
	uint64_t popped = 0;

	fixture_open(&f);
	assert_int_equal(guest_tx_init(&tx, &f.memory, &options, &err), 0);
	ring_open(&f, VIRTIO_DRIVER_TO_DEVICE, &tx.ring, features, 65500);
	assert_int_equal(guest_memory_alloc(&f.memory, 4096, 64, &block), 0);
	block.host += 64;
	block.gpa.addr += 64;
	memset(block.host, 3, 500);
	guest_pieces_cut(block, 500, pieces, cut);
	while (popped < 70000) {
		unsigned posted = 0, count;

		while (posted < 1 + popped % 48 && guest_tx_post(&tx, cut, pieces, NULL, 0) >= 0)
			posted++;
		guest_tx_publish(&tx);
		count = virtio_ring_pop(&f.ring, f.chains, 32, f.segments, 1280);
		assert_null(f.ring.broken);
		assert_true(count > 0);
		popped += count;
		for (unsigned i = 0; i < count; i++) {
			assert_int_equal(f.chains[i].verdict, VIRTIO_CHAIN_OK);
			assert_int_equal(f.chains[i].bytes, 500 + tx.header_bytes);
			assert_int_equal(chain_sum(&f, &f.chains[i]) % 3, 0);
			if (!f.ring.in_order)
				virtio_ring_use(&f.ring, f.chains[i].head, 0);
		}
		if (f.ring.in_order)
			virtio_ring_use_batch(&f.ring, f.chains, count);
		assert_true(virtio_ring_publish(&f.ring));
		guest_tx_reap(&tx, NULL, UINT32_MAX);
		assert_int_equal(tx.ring.fault, GUEST_FAULT_NONE);
		assert_int_equal(tx.ring.fault_counts[GUEST_FAULT_TX_BYTES], 0);
	}
	/* What is still in the ring comes out too; nothing comes out twice. */
	for (unsigned count; (count = virtio_ring_pop(&f.ring, f.chains, 64, f.segments, 1280));) {
		popped += count;
		for (unsigned i = 0; i < count; i++)
			virtio_ring_use(&f.ring, f.chains[i].head, 0);
	}
	virtio_ring_publish(&f.ring);
	guest_tx_reap(&tx, NULL, UINT32_MAX);
	assert_int_equal(tx.ring.posted, popped);
	assert_int_equal(tx.ring.returned, popped);
	assert_int_equal(virtio_ring_stop(&f.ring), (uint16_t)(65500 + popped));
	guest_tx_fini(&tx);
	fixture_close(&f);
}

static void test_transmit_options(void **state)
{
	static const uint64_t features[] = {
		0,
		GUEST_F_VERSION_1,
		GUEST_F_VERSION_1 | GUEST_F_EVENT_IDX,
		GUEST_F_VERSION_1 | GUEST_F_IN_ORDER,
		GUEST_F_VERSION_1 | GUEST_F_IN_ORDER | GUEST_F_EVENT_IDX,
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
		transmit_run(features[i], GUEST_INDIRECT_NEVER, 64, 1, false);
		transmit_run(features[i], GUEST_INDIRECT_NEVER, 256, 3, true);
		transmit_run(features[i] | GUEST_F_INDIRECT, GUEST_INDIRECT_CHAINS, 256, 4, true);
		transmit_run(features[i] | GUEST_F_INDIRECT, GUEST_INDIRECT_ALWAYS, 1024, 1, false);
		transmit_run(features[i] | GUEST_F_INDIRECT, GUEST_INDIRECT_TAIL, 256, 3, true);
	}
}

static void test_receive_and_unpop(void **state)
{
	struct guest_rx_options options = {
		.size = 256, .features = GUEST_F_VERSION_1, .buffer_bytes = 2048};
	struct guest_rx rx = {0};
	struct errmsg err;
	struct fixture f;
	uint16_t head;

	(void)state;
	fixture_open(&f);
	assert_int_equal(guest_rx_init(&rx, &f.memory, &options, &err), 0);
	ring_open(&f, VIRTIO_DEVICE_TO_DRIVER, &rx.ring, options.features, 0);
	assert_int_equal(guest_rx_fill(&rx), 256);
	guest_rx_publish(&rx);
	assert_int_equal(virtio_ring_pop(&f.ring, f.chains, 10, f.segments, 1280), 10);
	head = f.chains[4].head;
	for (unsigned i = 10; i-- > 4;)
		virtio_ring_unpop(&f.ring, &f.chains[i].head, 1);
	assert_int_equal(virtio_ring_pop(&f.ring, f.chains, 1, f.segments, 1280), 1);
	assert_int_equal(f.chains[0].head, head);
	assert_int_equal(virtio_ring_stop(&f.ring), 5);
	guest_rx_fini(&rx);
	fixture_close(&f);
}

/* No wake-up is lost and none is given for nothing, around the wrap of the event index. */
static void test_event_index(void **state)
{
	uint64_t features = GUEST_F_VERSION_1 | GUEST_F_EVENT_IDX;
	struct guest_tx_options options = {
		.size = 64, .features = features, .base = 65530, .pieces_max = 1};
	struct guest_tx tx = {0};
	struct guest_block block;
	struct guest_piece piece;
	struct errmsg err;
	struct fixture f;

	(void)state;
	fixture_open(&f);
	assert_int_equal(guest_tx_init(&tx, &f.memory, &options, &err), 0);
	ring_open(&f, VIRTIO_DRIVER_TO_DEVICE, &tx.ring, features, 65530);
	assert_int_equal(guest_memory_alloc(&f.memory, 128, 64, &block), 0);
	piece = (struct guest_piece){
		.gpa = {block.gpa.addr + 12}, .host = block.host + 12, .bytes = 60};
	assert_false(virtio_ring_enable_kicks(&f.ring));
	for (unsigned i = 0; i < 40; i++) {
		assert_true(guest_tx_post(&tx, &piece, 1, NULL, 0) >= 0);
		assert_true(guest_tx_publish(&tx)); /* asleep: every first offer kicks */
		assert_true(virtio_ring_has_avail(&f.ring));
		assert_int_equal(virtio_ring_pop(&f.ring, f.chains, 8, f.segments, 64), 1);
		assert_true(guest_tx_post(&tx, &piece, 1, NULL, 0) >= 0);
		assert_false(guest_tx_publish(&tx)); /* awake: no kick */
		assert_int_equal(virtio_ring_pop(&f.ring, f.chains + 1, 8, f.segments, 64), 1);
		assert_false(guest_ring_arm(&tx.ring, 0));
		virtio_ring_use(&f.ring, f.chains[0].head, 0);
		assert_true(virtio_ring_publish(&f.ring));
		assert_true(virtio_ring_wants_call(&f.ring));
		guest_tx_reap(&tx, NULL, 8);
		virtio_ring_use(&f.ring, f.chains[1].head, 0);
		assert_true(virtio_ring_publish(&f.ring));
		if (i) /* the first decision of a ring always calls */
			assert_false(virtio_ring_wants_call(&f.ring));
		guest_tx_reap(&tx, NULL, 8);
		virtio_ring_enable_kicks(&f.ring);
	}
	virtio_ring_stop(&f.ring);
	guest_tx_fini(&tx);
	fixture_close(&f);
}

/* Rings written by hand */

struct by_hand {
	struct fixture f;
	struct guest_ring g;
	uint64_t features;
};

static void hand_open_size(struct by_hand *h, uint64_t features, uint32_t size)
{
	struct guest_ring_options options = {.size = size, .features = features};
	struct errmsg err;

	memset(&h->g, 0, sizeof(h->g));
	fixture_open(&h->f);
	assert_int_equal(guest_ring_init(&h->g, &h->f.memory, &options, &err), 0);
	ring_open(&h->f, VIRTIO_DRIVER_TO_DEVICE, &h->g, features, 0);
}

static void hand_open(struct by_hand *h, uint64_t features)
{
	hand_open_size(h, features, 16);
}

static void hand_close(struct by_hand *h)
{
	virtio_ring_stop(&h->f.ring);
	guest_ring_fini(&h->g);
	fixture_close(&h->f);
}

static void hand_desc(struct by_hand *h, unsigned index, uint64_t addr, uint32_t bytes,
		      uint16_t flags, uint16_t next)
{
	h->g.desc[index] = (struct guest_desc){le64_make(addr), le32_make(bytes), le16_make(flags),
					       le16_make(next)};
}

static void hand_offer(struct by_hand *h, uint16_t slot, uint16_t head, uint16_t index)
{
	h->g.avail->ring[slot] = le16_make(head);
	h->g.avail->idx = le16_make(index);
}

static unsigned hand_pop(struct by_hand *h)
{
	return virtio_ring_pop(&h->f.ring, h->f.chains, 64, h->f.segments, 1280);
}

static void test_attack_57_58_avail_index(void **state)
{
	struct by_hand h;

	(void)state;
	hand_open(&h, 0);
	hand_offer(&h, 0, 0, 17); /* 57: size + 1 */
	assert_int_equal(hand_pop(&h), 0);
	assert_non_null(h.f.ring.broken);
	hand_close(&h);

	hand_open(&h, 0);
	hand_desc(&h, 0, 4096, 64, 0, 0);
	hand_offer(&h, 0, 0, 1);
	assert_int_equal(hand_pop(&h), 1);
	hand_offer(&h, 0, 0, 0); /* 58: back */
	assert_int_equal(hand_pop(&h), 0);
	assert_non_null(h.f.ring.broken);
	hand_close(&h);
}

static void test_attack_60_61_indexes(void **state)
{
	struct by_hand h;

	(void)state;
	hand_open(&h, 0);
	hand_offer(&h, 0, 16, 1);
	assert_int_equal(hand_pop(&h), 0);
	assert_non_null(h.f.ring.broken);
	hand_close(&h);

	hand_open(&h, 0);
	hand_desc(&h, 0, 4096, 64, GUEST_DESC_NEXT, 16);
	hand_offer(&h, 0, 0, 1);
	assert_int_equal(hand_pop(&h), 0);
	assert_non_null(h.f.ring.broken);
	hand_close(&h);
}

static void test_attack_62_63_loops(void **state)
{
	struct by_hand h;

	(void)state;
	hand_open(&h, 0);
	hand_desc(&h, 3, 4096, 64, GUEST_DESC_NEXT, 3);
	hand_offer(&h, 0, 3, 1);
	assert_int_equal(hand_pop(&h), 0);
	assert_non_null(h.f.ring.broken);
	hand_close(&h);

	hand_open(&h, 0); /* the whole ring, last to first; and one that is bad on top */
	for (unsigned i = 0; i < 16; i++)
		hand_desc(&h, i, i == 5 ? ~0ull : 4096, 64, GUEST_DESC_NEXT,
			  (uint16_t)((i + 1) % 16));
	hand_offer(&h, 0, 0, 1);
	assert_int_equal(hand_pop(&h), 0);
	assert_non_null(h.f.ring.broken);
	hand_close(&h);
}

/* Legal, but a thousand descriptors each: a burst ends with the chain that exceeds its bound. */
static void test_attack_63_long_chains_are_rationed(void **state)
{
	struct by_hand h;

	(void)state;
	hand_open_size(&h, 0, 1024);
	for (unsigned i = 0; i < 1024; i++)
		hand_desc(&h, i, 4096, i == 1023 ? 60 : 0, i == 1023 ? 0 : GUEST_DESC_NEXT,
			  (uint16_t)(i + 1));
	for (uint16_t i = 0; i < 32; i++)
		hand_offer(&h, i, i, (uint16_t)(i + 1));
	for (unsigned popped = 0; popped < 32; popped += 2) {
		assert_int_equal(hand_pop(&h), 2);
		assert_int_equal(h.f.chains[0].head, popped);
		assert_int_equal(h.f.chains[1].head, popped + 1);
		assert_int_equal(h.f.chains[1].bytes, 60);
	}
	assert_int_equal(hand_pop(&h), 0);
	assert_null(h.f.ring.broken);
	hand_close(&h);
}

static void test_attack_64_65_indirect(void **state)
{
	static const uint32_t lengths[] = {0, 15, 17, 16 * 17};
	struct by_hand h;

	(void)state;
	hand_open(&h, 0);
	hand_desc(&h, 0, 4096, 16, GUEST_DESC_INDIRECT, 0);
	hand_offer(&h, 0, 0, 1);
	assert_int_equal(hand_pop(&h), 0);
	assert_non_null(h.f.ring.broken);
	hand_close(&h);

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		hand_open(&h, GUEST_F_INDIRECT);
		hand_desc(&h, 0, 65536, lengths[i], GUEST_DESC_INDIRECT, 0);
		hand_offer(&h, 0, 0, 1);
		assert_int_equal(hand_pop(&h), 1);
		assert_int_equal(h.f.chains[0].verdict, VIRTIO_CHAIN_BAD);
		assert_null(h.f.ring.broken);
		hand_close(&h);
	}
	/* A table whose entry points to itself, one inside another, one outside of memory. */
	hand_open(&h, GUEST_F_INDIRECT);
	struct guest_desc *table =
		(struct guest_desc *)(void *)guest_memory_at(&h.f.memory, (gpa){65536}, 64);
	table[0] = (struct guest_desc){le64_make(4096), le32_make(8), le16_make(GUEST_DESC_NEXT),
				       le16_make(0)};
	hand_desc(&h, 0, 65536, 32, GUEST_DESC_INDIRECT, 0);
	table[2] = (struct guest_desc){le64_make(65536), le32_make(16),
				       le16_make(GUEST_DESC_INDIRECT), le16_make(0)};
	hand_desc(&h, 1, 65536 + 32, 16, GUEST_DESC_INDIRECT, 0);
	hand_desc(&h, 2, ~15ull, 32, GUEST_DESC_INDIRECT, 0);
	hand_desc(&h, 3, GUEST_BYTES - 8, 16, GUEST_DESC_INDIRECT, 0);
	for (uint16_t i = 0; i < 4; i++)
		hand_offer(&h, i, i, (uint16_t)(i + 1));
	assert_int_equal(hand_pop(&h), 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(h.f.chains[i].verdict, VIRTIO_CHAIN_BAD);
	assert_null(h.f.ring.broken);
	hand_close(&h);
}

static void test_attack_67_69_70_72_descriptors(void **state)
{
	struct by_hand h;

	(void)state;
	hand_open(&h, 0);
	hand_desc(&h, 0, 4096, 64, GUEST_DESC_WRITE, 0); /* 67 */
	hand_desc(&h, 1, GUEST_BYTES - 32, 64, 0, 0);	 /* 69: past the end */
	hand_desc(&h, 2, ~0ull - 16, 64, 0, 0);		 /* 69: wraps */
	hand_desc(&h, 3, 4096, 0, GUEST_DESC_NEXT, 4);	 /* 70: empty, then some */
	hand_desc(&h, 4, 4096, 60, 0, 0);
	hand_desc(&h, 5, 0, 0xffffffff, GUEST_DESC_NEXT, 6); /* 72: sums to 2^32 */
	hand_desc(&h, 6, 0, 1, 0, 0);
	hand_desc(&h, 7, 4096, 0, 0, 0); /* nothing at all */
	static const uint16_t heads[] = {0, 1, 2, 3, 5, 7};
	for (unsigned i = 0; i < ARRAY_SIZE(heads); i++)
		hand_offer(&h, (uint16_t)i, heads[i], (uint16_t)(i + 1));
	assert_int_equal(hand_pop(&h), 6);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(h.f.chains[i].verdict,
				 i == 3 ? VIRTIO_CHAIN_OK : VIRTIO_CHAIN_BAD);
	assert_int_equal(h.f.chains[3].bytes, 60);
	assert_null(h.f.ring.broken);
	hand_close(&h);
}

static void test_attack_75_76_same_head_twice(void **state)
{
	struct by_hand h;

	(void)state;
	hand_open(&h, 0);
	hand_desc(&h, 7, 4096, 64, 0, 0);
	hand_offer(&h, 0, 7, 1);
	hand_offer(&h, 1, 7, 2);
	assert_int_equal(hand_pop(&h), 1); /* 75: the first of them counts */
	assert_non_null(h.f.ring.broken);
	virtio_ring_use(&h.f.ring, 7, 0);
	hand_close(&h);

	hand_open(&h, 0);
	hand_desc(&h, 7, 4096, 64, 0, 0);
	hand_offer(&h, 0, 7, 1);
	assert_int_equal(hand_pop(&h), 1);
	hand_offer(&h, 1, 7, 2); /* 76: it is still out */
	assert_int_equal(hand_pop(&h), 0);
	assert_non_null(h.f.ring.broken);
	hand_close(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transmit_options),
		cmocka_unit_test(test_receive_and_unpop),
		cmocka_unit_test(test_event_index),
		cmocka_unit_test(test_attack_57_58_avail_index),
		cmocka_unit_test(test_attack_60_61_indexes),
		cmocka_unit_test(test_attack_62_63_loops),
		cmocka_unit_test(test_attack_63_long_chains_are_rationed),
		cmocka_unit_test(test_attack_64_65_indirect),
		cmocka_unit_test(test_attack_67_69_70_72_descriptors),
		cmocka_unit_test(test_attack_75_76_same_head_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
