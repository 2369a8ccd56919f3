/* SPDX-License-Identifier: BSD-2-Clause */
/* Receive rings whose guest posts what cannot be used. Numbers are those of doc/attacks.md. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "rig.h"

#define RX_SIZE 256

static struct rig *open_pair(uint64_t features)
{
	struct rig_options options = {0};
	struct rig_guest_options from = {.features = GUEST_F_VERSION_1};
	struct rig_guest_options to = {.features = GUEST_F_VERSION_1 | features,
				       .rx_size = RX_SIZE};
	struct rig *r = test_calloc(1, sizeof(*r));

	rig_open(r, &options);
	rig_guest_add(r, &from);
	rig_guest_add(r, &to);
	return r;
}

static void close_pair(struct rig *r)
{
	rig_reap(&r->guests[0]);
	assert_int_equal(oracle_in_flight(&r->guests[0].ledger), 0);
	rig_check_accounts(r);
	rig_close(r);
	test_free(r);
}

static void send_one(struct rig *r, uint32_t bytes)
{
	assert_true(rig_send(&r->guests[0], rig_broadcast, bytes));
	for (unsigned turns = 0; turns < 4; turns++)
		engine_run_once(r->engine);
	rig_reap(&r->guests[0]);
}

static void all_flags(struct guest_ring *ring, uint16_t flags)
{
	for (unsigned i = 0; i < ring->size; i++)
		ring->desc[i].flags = le16_make(flags);
}

/* Every buffer is read-only: each comes back empty, none stays in front, and good ones behind them
 * are used. */
static void attack_68(uint64_t features)
{
	struct rig *r = open_pair(features);
	struct guest_ring *ring = &r->guests[1].rx.ring;
	uint16_t index = le16_get(ring->avail->idx);

	assert_int_equal(index, RX_SIZE);
	all_flags(ring, 0);
	for (unsigned i = 0; i < 8; i++)
		send_one(r, 500);
	assert_int_equal(guest_ring_used_idx(ring), RX_SIZE);
	for (unsigned i = 0; i < RX_SIZE; i++)
		assert_int_equal(le32_get(ring->used->ring[i].bytes), 0);
	assert_int_equal(RIG_COUNT(r, r->guests[1].port, out_frames), 0);
	/* Posted again as they were, writable now. */
	all_flags(ring, GUEST_DESC_WRITE);
	ring->avail->idx = le16_make((uint16_t)(index + RX_SIZE));
	for (unsigned i = 0; i < 4; i++)
		send_one(r, 500);
	assert_true(RIG_COUNT(r, r->guests[1].port, out_frames) >= 4);
	assert_int_equal(le32_get(ring->used->ring[0].bytes), 12 + 500);
	close_pair(r);
}

static void attack_68_read_only_receive_buffers(void **state)
{
	(void)state;
	attack_68(0);
	attack_68(GUEST_F_MRG_RXBUF);
}

/* Too small for anything: dropped and counted, and the sender's buffers are back. */
static void attack_84_receive_buffers_too_small(void **state)
{
	static const uint32_t sizes[] = {1, 11, 12};

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		struct rig *r = open_pair(i & 1 ? GUEST_F_MRG_RXBUF : 0);
		struct guest_ring *ring = &r->guests[1].rx.ring;

		for (unsigned k = 0; k < ring->size; k++)
			ring->desc[k].bytes = le32_make(sizes[i / 2]);
		for (unsigned k = 0; k < 20; k++)
			send_one(r, 1400);
		assert_int_equal(RIG_COUNT(r, r->guests[1].port, drops[LR_DROP_RX_TOO_SMALL]), 20);
		assert_int_equal(guest_ring_used_idx(&r->guests[1].rx.ring), 0);
		close_pair(r);
	}
}

/* A burst is bounded in bytes: what is behind them is taken in the next turn, in order. */
static void test_burst_is_bounded_in_bytes(void **state)
{
	struct rig *r = open_pair(GUEST_F_MRG_RXBUF);
	struct rig_guest *from = &r->guests[0];

	(void)state;
	for (unsigned i = 0; i < 32; i++)
		assert_true(rig_send(from, rig_broadcast, 9000));
	engine_run_once(r->engine);
	assert_int_equal(RIG_COUNT(r, from->port, in_frames), 30); /* 256 KiB and the last */
	rig_receive(&r->guests[1], 64);
	engine_run_once(r->engine);
	rig_receive(&r->guests[1], 64);
	assert_int_equal(RIG_COUNT(r, from->port, in_frames), 32);
	assert_int_equal(r->guests[1].received, 32);
	close_pair(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_burst_is_bounded_in_bytes),
		cmocka_unit_test(attack_68_read_only_receive_buffers),
		cmocka_unit_test(attack_84_receive_buffers_too_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
