/* SPDX-License-Identifier: BSD-2-Clause */
/* Holding: what is lent, what is copied, and that everything is back within the limit: to the ns,
 * under a virtual clock. Rules L1, L5, L10, L11, L12; hazards 28, 30, 44 to 48, 57, 60. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/clock.h"
#include "holder_port.h"
#include "rig.h"

#define START_NS NS_PER_S
#define LIMIT_NS NS_PER_MS

struct scene {
	struct rig rig;
	struct port *holder;
	struct rig_guest *sender;
	struct worker *worker;
};

static void at(uint64_t since_start_ns)
{
	clock_set_virtual(START_NS + since_start_ns);
}

static struct scene *scene_open_ring(uint64_t features, uint64_t expected_ns, uint32_t tx_size)
{
	struct rig_options options = {.hold_limit_ns = LIMIT_NS};
	struct rig_guest_options guest = {.features = GUEST_F_VERSION_1 | features,
					  .tx_size = tx_size};
	struct scene *s = test_calloc(1, sizeof(*s));

	at(0);
	rig_open(&s->rig, &options);
	s->holder = rig_port_add(&s->rig, "h", &holder_port_ops, NULL);
	holder_configure(s->holder, &s->rig, expected_ns, HOLDER_HONEST);
	s->sender = rig_guest_add(&s->rig, &guest);
	s->worker = engine_worker(s->rig.engine, 0);
	engine_run_once(s->rig.engine);
	return s;
}

static struct scene *scene_open(uint64_t features, uint64_t expected_ns)
{
	return scene_open_ring(features, expected_ns, 0);
}

static void scene_close(struct scene *s)
{
	rig_close(&s->rig);
	test_free(s);
	clock_set_virtual(0);
}

static void send_and_run(struct scene *s, unsigned frames)
{
	while (frames--)
		assert_true(rig_send(s->sender, rig_broadcast, 1000));
	engine_run_once(s->rig.engine);
}

static unsigned in_flight(struct scene *s)
{
	rig_reap(s->sender);
	return oracle_in_flight(&s->sender->ledger);
}

static void test_lent_and_back_at_the_limit(void **state)
{
	struct scene *s = scene_open(0, 0);

	(void)state;
	send_and_run(s, 3);
	assert_int_equal(holder_lent(s->holder, 0), 3);
	assert_int_equal(in_flight(s), 3);
	at(LIMIT_NS - 1);
	engine_run_once(s->rig.engine);
	assert_int_equal(in_flight(s), 3);
	/* L10: at the limit they are copied; L5: the turn behind it publishes, nothing else helps
	 */
	at(LIMIT_NS);
	engine_run_once(s->rig.engine);
	engine_run_once(s->rig.engine);
	assert_int_equal(in_flight(s), 0);
	assert_int_equal(holder_lent(s->holder, 0), 0);
	assert_int_equal(holder_count(s->holder, 0), 3);
	assert_int_equal(RIG_COUNT(&s->rig, s->sender->port, hold_max_ns), LIMIT_NS);
	assert_int_equal(RIG_COUNT(&s->rig, s->holder, copied_frames[PORT_COPY_LATE]), 3);
	/* The guest overwrote its buffers when they came back: what is held is whole all the same.
	 */
	assert_int_equal(holder_release(s->holder, s->worker, 10, HOLDER_LIFO, 0), 3);
	scene_close(s);
}

static void test_released_in_time_costs_no_copy(void **state)
{
	struct scene *s = scene_open(0, 0);

	(void)state;
	send_and_run(s, 5);
	at(LIMIT_NS / 2);
	engine_run_once(s->rig.engine);
	holder_release(s->holder, s->worker, 5, HOLDER_SHUFFLE, 12345); /* hazard 44: any order */
	engine_run_once(s->rig.engine);
	assert_int_equal(in_flight(s), 0);
	assert_int_equal(RIG_COUNT(&s->rig, s->sender->port, lent_frames), 5);
	assert_int_equal(RIG_COUNT(&s->rig, s->sender->port, completed), 5);
	assert_int_equal(RIG_COUNT(&s->rig, s->sender->port, hold_max_ns), LIMIT_NS / 2);
	for (unsigned i = 0; i < PORT_COPY_COUNT; i++)
		assert_int_equal(RIG_COUNT(&s->rig, s->sender->port, copied_frames[i]), 0);
	scene_close(s);
}

/* Frames behind a held one come back at once (hazard 44, no order promised). */
static void test_publication_passes_a_held_buffer(void **state)
{
	static const uint8_t nobody[6] = {2, 0, 0, 0, 0, 99};
	struct scene *s = scene_open(0, 0);

	(void)state;
	/* Teach the switch where "nobody" is: behind the sender itself, so it drops at once. */
	send_and_run(s, 1);
	bridge_fdb_learn(s->rig.bridge, nobody, s->sender->port);
	for (unsigned i = 0; i < 20; i++)
		assert_true(rig_send(s->sender, nobody, 100));
	engine_run_once(s->rig.engine);
	assert_int_equal(in_flight(s), 1);
	scene_close(s);
}

static void test_in_order_is_never_lent(void **state)
{
	struct scene *s = scene_open(GUEST_F_IN_ORDER, 0);

	(void)state;
	send_and_run(s, 8);
	assert_int_equal(in_flight(s), 0); /* hazard 45 */
	assert_int_equal(holder_lent(s->holder, 0), 0);
	assert_int_equal(RIG_COUNT(&s->rig, s->sender->port, copied_frames[PORT_COPY_IN_ORDER]), 8);
	scene_close(s);
}

static void test_predicted_too_long_is_copied_at_the_door(void **state)
{
	struct scene *s = scene_open(0, LIMIT_NS + 1);

	(void)state;
	send_and_run(s, 8);
	assert_int_equal(in_flight(s), 0);
	assert_int_equal(RIG_COUNT(&s->rig, s->sender->port, copied_frames[PORT_COPY_PREDICTED]),
			 8);
	scene_close(s);
}

/* Over the quota: copy, never stall (hazard 47). A ring of 256 lends 64. */
static void test_quota(void **state)
{
	struct scene *s = scene_open(0, 0);

	(void)state;
	send_and_run(s, 200);
	for (unsigned i = 0; i < 8; i++)
		engine_run_once(s->rig.engine);
	assert_int_equal(in_flight(s), 64);
	assert_int_equal(holder_lent(s->holder, 0), 64);
	assert_int_equal(holder_count(s->holder, 0), 200);
	assert_int_equal(RIG_COUNT(&s->rig, s->sender->port, copied_frames[PORT_COPY_QUOTA]), 136);
	scene_close(s);
}

/* What was given back and is not published yet counts against the quota: here all of it came back
 * between two turns, and one more is lent, fails to become a packet, and completes within its turn.
 */
static void test_quota_counts_what_waits_for_publication(void **state)
{
	struct scene *s = scene_open_ring(0, 0, 512);

	(void)state;
	send_and_run(s, 128);
	for (unsigned i = 0; i < 8; i++)
		engine_run_once(s->rig.engine);
	assert_int_equal(holder_lent(s->holder, 0), 128);
	assert_int_equal(holder_release(s->holder, s->worker, 128, HOLDER_FIFO, 0), 128);
	lr_pool_fail_after(s->worker->pool, 0);
	send_and_run(s, 1);
	assert_int_equal(in_flight(s), 0);
	send_and_run(s, 1);
	assert_int_equal(in_flight(s), 1); /* lent again */
	scene_close(s);
}

/* Two holders of one flooded frame: back at the last reference (hazard 1), and a stop in between
 * takes everything back at once (L11, hazard 60). */
static void test_flood_to_two_holders_and_stop(void **state)
{
	struct scene *s = scene_open(0, 0);
	struct port *other = rig_port_add(&s->rig, "h2", &holder_port_ops, NULL);

	(void)state;
	holder_configure(other, &s->rig, 0, HOLDER_HONEST);
	send_and_run(s, 4);
	holder_release(s->holder, s->worker, 4, HOLDER_FIFO, 0);
	engine_run_once(s->rig.engine);
	assert_int_equal(in_flight(s), 4);
	holder_release(other, s->worker, 1, HOLDER_FIFO, 0);
	engine_run_once(s->rig.engine);
	assert_int_equal(in_flight(s), 3);
	rig_guest_tx_stop(s->sender);
	assert_int_equal(in_flight(s), 0);
	assert_int_equal(holder_count(other, 0), 3);
	holder_release(other, s->worker, 3, HOLDER_FIFO, 0); /* whole, though the guest overwrote */
	rig_guest_tx_start(s->sender);
	send_and_run(s, 1);
	assert_int_equal(in_flight(s), 1);
	scene_close(s);
}

/* No memory left to copy what exceeds the limit: it is dropped with its reason, and is back. */
static void test_no_memory_to_copy_late(void **state)
{
	struct scene *s = scene_open(0, 0);

	(void)state;
	send_and_run(s, 2);
	lr_pool_fail_after(s->worker->pool, 0);
	at(LIMIT_NS);
	engine_run_once(s->rig.engine);
	engine_run_once(s->rig.engine);
	assert_int_equal(in_flight(s), 0);
	assert_int_equal(RIG_COUNT(&s->rig, s->holder, drops[LR_DROP_HOLD_LIMIT]), 1);
	assert_int_equal(holder_count(s->holder, 0), 1);
	scene_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lent_and_back_at_the_limit),
		cmocka_unit_test(test_released_in_time_costs_no_copy),
		cmocka_unit_test(test_publication_passes_a_held_buffer),
		cmocka_unit_test(test_in_order_is_never_lent),
		cmocka_unit_test(test_predicted_too_long_is_copied_at_the_door),
		cmocka_unit_test(test_quota),
		cmocka_unit_test(test_quota_counts_what_waits_for_publication),
		cmocka_unit_test(test_flood_to_two_holders_and_stop),
		cmocka_unit_test(test_no_memory_to_copy_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
