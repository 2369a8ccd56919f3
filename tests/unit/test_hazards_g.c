/* SPDX-License-Identifier: BSD-2-Clause */
/* doc/hazards.md, part G: what the kernel's interfaces say about pages that they keep.
 *
 * No shipped port lends to the kernel. These tests show, with a stand-in for it, that packets and
 * buffers keep to the rules under everything that those interfaces are known to do.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "late_kernel.h"

enum { BUFFERS = LATE_SLOTS + 4, BUFFER_BYTES = 2000, HEAD = 54, LIMIT_NS = 1000000 };

struct world {
	struct scene scene;
	struct late_kernel kernel;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	scene_open(&w->scene, 64, 64, BUFFERS, BUFFER_BYTES);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	late_reap(&w->kernel);
	assert_int_equal(w->kernel.out, 0);
	assert_int_equal(w->kernel.torn, 0);
	scene_close(&w->scene);
	free(w);
	return 0;
}

/* A packet over buffer @index. */
static struct lr_packet *packet_of(struct world *w, uint32_t index)
{
	const struct piece piece = {index, 0, BUFFER_BYTES};

	return scene_packet(&w->scene, HEAD, &piece, 1);
}

static uint32_t send_buffer(struct world *w, uint32_t index)
{
	uint32_t id = 0;

	assert_int_equal(late_send(&w->kernel, packet_of(w, index), &id), 0);
	return id;
}

static bool is_out(const struct world *w, uint32_t index)
{
	return oracle_is_out(&w->scene.lender, index);
}

static unsigned completed(const struct world *w)
{
	return (unsigned)(w->scene.lender.ledger.ended[ORACLE_COMPLETED] +
			  w->scene.lender.ledger.ended[ORACLE_COPIED]);
}

/* Ranges: merged, out of order, told twice, across the wrap of the id. */
static void hazard_G73_ranges_of_notifications(void **state)
{
	struct world *w = *state;

	w->kernel.next_id = 0xfffffffc;
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(send_buffer(w, i), 0xfffffffc + i);
	late_done(&w->kernel, 3, 3, false); /* the last one first */
	assert_false(is_out(w, 7));
	late_done(&w->kernel, 0xfffffffe, 1, false); /* four of the middle, across the wrap */
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(is_out(w, i), i < 2 || i == 6);
	late_done(&w->kernel, 0xfffffffe, 1, false); /* again: nothing of it is out */
	assert_int_equal(w->kernel.unknown, 4);
	assert_int_equal(completed(w), 5);
	late_done(&w->kernel, 2, 0xfffffffe, false); /* nonsense: as long as all ids */
	assert_int_equal(completed(w), 5);
	late_done(&w->kernel, 0xfffffffc, 2, false);
	assert_int_equal(completed(w), 8);
}

/* An id is consumed by what was taken, and by nothing else: a part sent holds its part. */
static void hazard_G74_sends_that_fail_or_send_a_part(void **state)
{
	struct world *w = *state;
	struct lr_packet *p = packet_of(w, 0), *rest;
	uint32_t first, second;

	/* refused, a thousand times: the packet stays ours, no reference is added */
	for (uint32_t i = 0; i < LATE_SLOTS; i++)
		send_buffer(w, 1 + i);
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(late_send(&w->kernel, p, &first), -ENOBUFS);
		assert_int_equal(scene_count(&w->scene, 0), 1);
	}
	assert_int_equal(w->kernel.next_id, LATE_SLOTS);
	late_done(&w->kernel, 0, 1, false);
	/* 700 bytes go, the rest is sent again */
	assert_int_equal(lr_packet_split(p, 700, &rest), 0);
	assert_int_equal(late_send(&w->kernel, p, &first), 0);
	assert_int_equal(late_send(&w->kernel, rest, &second), 0);
	assert_int_equal(second, first + 1);
	late_done(&w->kernel, second, second, false);
	assert_true(is_out(w, 0));
	late_done(&w->kernel, first, first, false);
	assert_false(is_out(w, 0));
}

/* The queue also brings other people's records: they complete nothing. */
static void hazard_G75_records_of_other_origins(void **state)
{
	enum { ZEROCOPY, ICMP, TIMESTAMP };
	static const struct {
		int origin;
		uint32_t from, to;
	} records[] = {{ICMP, 0, 3}, {ZEROCOPY, 1, 1}, {TIMESTAMP, 0, 0}, {ZEROCOPY, 0, 0}};
	struct world *w = *state;

	for (uint32_t i = 0; i < 4; i++)
		send_buffer(w, i);
	for (unsigned i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		if (records[i].origin == ZEROCOPY)
			late_done(&w->kernel, records[i].from, records[i].to, false);
		assert_int_equal(completed(w), (i + 1) / 2);
	}
	late_done(&w->kernel, 2, 3, false);
	assert_int_equal(completed(w), 4);
}

/* All slots are out: reading notifications is what makes room, waiting is not. */
static void hazard_G76_full_until_notifications_are_read(void **state)
{
	struct world *w = *state;
	uint32_t id, told = 0;

	for (uint32_t i = 0; i < 200; i++) {
		struct lr_packet *p = packet_of(w, i % BUFFERS);

		if (late_send(&w->kernel, p, &id) == -ENOBUFS) {
			late_done(&w->kernel, told, told + 3, false);
			told += 4;
			assert_int_equal(late_send(&w->kernel, p, &id), 0);
		}
		assert_true(w->kernel.out <= LATE_SLOTS);
	}
	late_done(&w->kernel, told, 199, false);
	assert_int_equal(completed(w), 200);
	assert_int_equal(w->kernel.unknown, 0);
}

/* Closed with ids out: nobody will tell. They stay out; what was only queued is copied. */
static void hazard_G77_closed_while_pages_are_out(void **state)
{
	struct lr_packet *queued[2];
	struct world *w = *state;

	for (uint32_t i = 0; i < 3; i++)
		send_buffer(w, i);
	queued[0] = packet_of(w, 3);
	queued[1] = packet_of(w, 4);
	late_done(&w->kernel, 1, 1, false);
	assert_int_equal(lr_packet_orphan(queued[0]), 0);
	lr_packet_drop(queued[1], LR_DROP_PORT_GONE);
	assert_int_equal(late_close(&w->kernel), 2);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(is_out(w, i), i == 0 || i == 2); /* never early */
	lr_packet_free(queued[0]);
	assert_int_equal(oracle_in_flight(&w->scene.lender.ledger), 2);
}

/* One request, two completions, in either order; or one, which says that no second one comes. */
static void hazard_G78_two_completions_of_one_request(void **state)
{
	enum { RESULT = 1, MORE = 2, NOTIFICATION = 4 };
	static const uint8_t orders[][2] = {
		{RESULT | MORE, NOTIFICATION}, {NOTIFICATION, RESULT | MORE}, {RESULT, 0}};
	struct world *w = *state;

	for (uint32_t i = 0; i < 3; i++) {
		uint32_t id = send_buffer(w, i);
		unsigned seen = 0;

		for (unsigned k = 0; k < 2 && orders[i][k]; k++) {
			bool last;

			assert_true(is_out(w, i));
			seen |= orders[i][k];
			last = seen == RESULT || seen == (RESULT | MORE | NOTIFICATION);
			if (last)
				late_done(&w->kernel, id, id, false);
			assert_int_equal(is_out(w, i), !last);
		}
	}
	assert_int_equal(completed(w), 3);
}

/* "It was copied" may be merged, wrong, late: it decides nothing about who may write. */
static void hazard_G79_copied_is_a_remark(void **state)
{
	struct world *w = *state;
	struct lr_packet *p = packet_of(w, 0), *q = lr_packet_clone(p);
	uint32_t first, second;

	assert_int_equal(late_send(&w->kernel, p, &first), 0);
	assert_int_equal(late_send(&w->kernel, q, &second), 0);
	late_done(&w->kernel, first, first, true);
	assert_true(is_out(w, 0)); /* the other one was not */
	late_done(&w->kernel, second, second, false);
	assert_false(is_out(w, 0));
	assert_int_equal(w->kernel.copied, 1);
	assert_int_equal(completed(w), 1);
}

/* A short ring of addresses that are done: read it though nothing is sent, mind the offset bits. */
static void hazard_G80_completion_ring_is_read_without_sending(void **state)
{
	enum { RING = 4, OFFSET_SHIFT = 48 };
	uint64_t ring[RING];
	struct world *w = *state;
	uint32_t next = 0, in_ring = 0;

	for (uint32_t i = 0; i < 12; i++)
		send_buffer(w, i);
	for (unsigned turn = 0; turn < 3; turn++) {
		/* the device stops when its ring is full; the owner sends nothing all the while */
		for (; in_ring < RING; in_ring++, next++)
			ring[in_ring] = (uint64_t)(64 + turn) << OFFSET_SHIFT | next;
		while (in_ring) {
			uint32_t id = (uint32_t)(ring[--in_ring] & ((1ull << OFFSET_SHIFT) - 1));

			late_done(&w->kernel, id, id, false);
		}
		assert_int_equal(completed(w), RING * (turn + 1));
	}
	assert_int_equal(w->kernel.unknown, 0);
}

/* A frame of several buffers is dropped whole, its buffers return at once; too many: copied. */
static void hazard_G81_frames_of_many_buffers(void **state)
{
	static const struct piece pieces[] = {{0, 0, 900}, {1, 0, 900}, {2, 0, 900}, {3, 0, 900}};
	enum { DEVICE_FRAGS = 3 };
	struct world *w = *state;
	struct lr_packet *p = scene_packet(&w->scene, HEAD, pieces, 3), *q;
	uint8_t *bytes;
	uint32_t id;

	assert_int_equal(late_send(&w->kernel, p, &id), 0);
	late_done(&w->kernel, id, id, false);
	assert_int_equal(completed(w), 3);
	q = scene_packet(&w->scene, HEAD, pieces, 4);
	assert_true(q->frag_count > DEVICE_FRAGS);
	bytes = scene_bytes(q);
	assert_int_equal(lr_packet_orphan(q), 0);
	assert_true(q->frag_count <= DEVICE_FRAGS);
	assert_int_equal(completed(w), 7); /* before the device ever had it */
	assert_true(scene_is(q, bytes, HEAD + 3600));
	lr_packet_free(q);
	free(bytes);
}

/* The device sleeps and the call was missed: the age of what is out tells, and calls again. */
static void hazard_G82_missed_wake_up_is_found_by_age(void **state)
{
	struct world *w = *state;
	bool asleep = true;
	uint32_t id;

	w->scene.lender.now_ns = 1000;
	id = send_buffer(w, 0);
	for (uint64_t now = 1000; is_out(w, 0); now += LIMIT_NS / 4) {
		oracle_check_live(&w->scene.lender.ledger, now, LIMIT_NS);
		if (now - w->scene.lender.now_ns >= LIMIT_NS / 2)
			asleep = false;
		if (!asleep)
			late_done(&w->kernel, id, id, false);
	}
	assert_int_equal(completed(w), 1);
}

/* The kernel copies although it was asked not to: then everything is done when send returns. */
static void hazard_G83_mode_that_copies_silently(void **state)
{
	struct world *w = *state;

	for (uint32_t i = 0; i < 4; i++) {
		struct lr_packet *p = packet_of(w, i);
		uint8_t sent[HEAD + BUFFER_BYTES];

		assert_int_equal(lr_packet_read(p, 0, sent, sizeof(sent)), 0);
		lr_packet_free(p);
		assert_false(is_out(w, i));
		assert_true(oracle_pattern_matches(w->scene.lender.buffers[i].stamp, 0, sent + HEAD,
						   BUFFER_BYTES));
		assert_int_equal(w->kernel.out, 0); /* what is reported as lent */
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(hazard_G73_ranges_of_notifications),
		TEST(hazard_G74_sends_that_fail_or_send_a_part),
		TEST(hazard_G75_records_of_other_origins),
		TEST(hazard_G76_full_until_notifications_are_read),
		TEST(hazard_G77_closed_while_pages_are_out),
		TEST(hazard_G78_two_completions_of_one_request),
		TEST(hazard_G79_copied_is_a_remark),
		TEST(hazard_G80_completion_ring_is_read_without_sending),
		TEST(hazard_G81_frames_of_many_buffers),
		TEST(hazard_G82_missed_wake_up_is_found_by_age),
		TEST(hazard_G83_mode_that_copies_silently),
	};

	return cmocka_run_group_tests_name("hazards_g", tests, NULL, NULL);
}
