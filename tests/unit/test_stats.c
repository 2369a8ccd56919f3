/* SPDX-License-Identifier: BSD-2-Clause */
/* Counters for people: sums over workers, rates, a zero that moves, percentiles of hold times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "control/stats.h"
#include "switch/bridge.h"

#define WORKERS 3

static struct bridge *bridge;
static struct engine *engine;
static struct control_stats *stats;
static struct port_counters *counters;
static struct port port;
static json_t *shown;

static int setup(void **state)
{
	const struct bridge_config config = {.ageing_s = 300, .hold_limit_ns = NS_PER_MS};
	const struct engine_config workers = {.worker_count = WORKERS, .cpus = {-1, 5, -1}};

	(void)state;
	assert_int_equal(bridge_new(&config, &bridge), 0);
	assert_int_equal(engine_new(&workers, bridge, &engine), 0);
	assert_int_equal(control_stats_new(engine, &stats), 0);
	counters = aligned_alloc(CACHE_LINE_BYTES, WORKERS * sizeof(*counters));
	assert_non_null(counters);
	memset(counters, 0, WORKERS * sizeof(*counters));
	port = (struct port){.name = "a", .index = 7, .counters = counters};
	assert_int_equal(control_stats_add(stats, &port), 0);
	shown = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	json_decref(shown);
	control_stats_remove(stats, &port);
	control_stats_free(stats);
	engine_free(engine);
	bridge_free(bridge);
	free(counters);
	return 0;
}

static void show(void)
{
	json_decref(shown);
	shown = json_object();
	control_stats_port(stats, &port, shown);
}

static json_int_t number(const char *table, const char *key)
{
	json_t *value = json_object_get(json_object_get(shown, table), key);

	assert_true(json_is_integer(value));
	return json_integer_value(value);
}

static void test_sums_over_workers(void **state)
{
	json_t *copied;

	(void)state;
	for (unsigned i = 0; i < WORKERS; i++) {
		counter_add(&counters[i].in_frames, 10 + i);
		counter_add(&counters[i].drops[LR_DROP_RX_FULL], i);
		counter_add(&counters[i].copied_frames[PORT_COPY_QUOTA], 2);
		counter_add(&counters[i].copied_bytes[PORT_COPY_QUOTA], 200);
	}
	counter_add(&counters[2].copied_frames[PORT_COPY_LATE], 1);
	counter_add(&counters[2].copied_bytes[PORT_COPY_LATE], 64);
	counter_add(&counters[1].drops[LR_DROP_SPOOF], 5);
	show();
	assert_int_equal(number("counters", "in_frames"), 33);
	assert_int_equal(number("counters", "out_frames"), 0);
	assert_int_equal(number("counters", "dropped"), 8);
	assert_int_equal(number("drops", "rx-full"), 3);
	assert_int_equal(number("drops", "spoof"), 5);
	assert_int_equal(json_object_size(json_object_get(shown, "drops")), 2);
	assert_int_equal(number("counters", "copied_frames"), 7);
	assert_int_equal(number("counters", "copied_bytes"), 664);
	copied = json_object_get(shown, "copied");
	assert_int_equal(json_object_size(copied), 2);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(copied, "quota"), "bytes")),
		600);
}

static void test_rates(void **state)
{
	(void)state;
	show();
	assert_int_equal(number("rates", "in_frames_per_s"), 0); /* nothing to compare yet */
	control_stats_sample(stats, 10 * NS_PER_S);
	counter_add(&counters[0].in_frames, 1000);
	counter_add(&counters[1].in_frames, 500);
	counter_add(&counters[0].out_bytes, 64000);
	show();
	assert_int_equal(number("rates", "in_frames_per_s"), 0);
	control_stats_sample(stats, 12 * NS_PER_S);
	show();
	assert_int_equal(number("rates", "in_frames_per_s"), 750);
	assert_int_equal(number("rates", "out_bytes_per_s"), 32000);
	control_stats_reset(stats); /* moves zero; what was per second stays */
	show();
	assert_int_equal(number("counters", "in_frames"), 0);
	assert_int_equal(number("rates", "in_frames_per_s"), 750);
	control_stats_sample(stats, 13 * NS_PER_S);
	show();
	assert_int_equal(number("rates", "in_frames_per_s"), 0);
}

static void test_reset(void **state)
{
	(void)state;
	counter_add(&counters[0].in_frames, 40);
	counter_add(&counters[2].drops[LR_DROP_NO_PORT], 3);
	control_stats_reset(stats);
	show();
	assert_int_equal(number("counters", "in_frames"), 0);
	assert_int_equal(json_object_size(json_object_get(shown, "drops")), 0);
	counter_add(&counters[1].in_frames, 2);
	show();
	assert_int_equal(number("counters", "in_frames"), 2);
	assert_int_equal(counter_get(&counters[0].in_frames), 40); /* the worker's own: untouched */
}

/* A counter that goes round its 64 bits still tells the difference. */
static void test_wrap(void **state)
{
	(void)state;
	counter_add(&counters[0].in_bytes, UINT64_MAX - 9);
	control_stats_reset(stats);
	control_stats_sample(stats, NS_PER_S);
	counter_add(&counters[0].in_bytes, 30);
	control_stats_sample(stats, 2 * NS_PER_S);
	show();
	assert_int_equal(number("counters", "in_bytes"), 30);
	assert_int_equal(number("rates", "in_bytes_per_s"), 30);
}

static void hold(unsigned worker, uint64_t ns, unsigned times)
{
	counter_add(&counters[worker].hold_ns[63 - __builtin_clzll(ns)], times);
	if (ns > counter_get(&counters[worker].hold_max_ns))
		counter_add(&counters[worker].hold_max_ns,
			    ns - counter_get(&counters[worker].hold_max_ns));
}

static void test_hold_times(void **state)
{
	(void)state;
	show();
	assert_int_equal(number("hold_ns", "count"), 0);
	assert_int_equal(number("hold_ns", "p50"), 0);
	assert_int_equal(number("hold_ns", "max"), 0);
	hold(0, 1000, 90); /* 512 to 1023 */
	hold(1, 5000, 9);  /* 4096 to 8191 */
	hold(2, 900000, 1);
	show();
	assert_int_equal(number("hold_ns", "count"), 100);
	assert_int_equal(number("hold_ns", "p50"), 1023);
	assert_int_equal(number("hold_ns", "p99"), 8191);
	assert_int_equal(number("hold_ns", "max"), 900000);
	/* Behind a reset the greatest is known by its power of two only, until it is passed. */
	control_stats_reset(stats);
	show();
	assert_int_equal(number("hold_ns", "max"), 0);
	hold(0, 2000, 4);
	show();
	assert_int_equal(number("hold_ns", "count"), 4);
	assert_int_equal(number("hold_ns", "p50"), 2047);
	assert_int_equal(number("hold_ns", "max"), 2047);
	hold(1, 1000000, 1);
	show();
	assert_int_equal(number("hold_ns", "max"), 1000000);
}

static void test_one_value(void **state)
{
	(void)state;
	hold(0, 1500, 1);
	show();
	/* No percentile is greater than the greatest value. */
	assert_int_equal(number("hold_ns", "p50"), 1500);
	assert_int_equal(number("hold_ns", "p99"), 1500);
	assert_int_equal(number("hold_ns", "max"), 1500);
}

static void test_workers(void **state)
{
	struct worker_counters *c = &engine_worker(engine, 1)->counters;
	json_t *w;

	(void)state;
	counter_add(&c->turns, 10);
	counter_add(&c->frames, 25);
	counter_add(&c->sleeps, 3);
	w = control_stats_worker(stats, 1, 5);
	assert_int_equal(json_integer_value(json_object_get(w, "index")), 1);
	assert_int_equal(json_integer_value(json_object_get(w, "cpu")), 5);
	assert_true(json_real_value(json_object_get(w, "frames_per_turn")) == 2.5);
	assert_true(json_real_value(json_object_get(w, "busy_share")) == 0.0);
	json_decref(w);
	control_stats_reset(stats);
	counter_add(&c->frames, 1);
	w = control_stats_worker(stats, 1, 5);
	assert_int_equal(json_integer_value(json_object_get(w, "frames")), 1);
	assert_int_equal(json_integer_value(json_object_get(w, "turns")), 0);
	assert_true(json_real_value(json_object_get(w, "frames_per_turn")) == 0.0);
	json_decref(w);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sums_over_workers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rates, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hold_times, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_value, setup, teardown),
		cmocka_unit_test_setup_teardown(test_workers, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
