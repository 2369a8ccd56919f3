/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole guests on the real switch, over its sockets: options drawn by seed, rings stopped and
 * started, ports that go. Every byte is checked, every buffer is poisoned when it comes back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/opener.h"
#include "engine/engine.h"
#include "guest/guest.h"
#include "port/port.h"
#include "switch/bridge.h"

#define GUESTS	      3
#define ROUNDS	      24
#define BURSTS	      25
#define ARRIVAL_LIMIT (10 * NS_PER_S)

static struct port_env env;
static struct port *ports[GUESTS];
static struct guest guests[GUESTS];
static char folder[64];
static char paths[GUESTS][80];
static pthread_t loop_thread;
static _Atomic bool loop_ends;
static uint64_t seed;

static uint32_t below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)((seed >> 16) % n);
}

static void *run_loop(void *arg)
{
	(void)arg;
	while (!loop_ends)
		sd_event_run(env.loop, 20000);
	return NULL;
}

static void loop_start(void)
{
	loop_ends = false;
	assert_int_equal(pthread_create(&loop_thread, NULL, run_loop, NULL), 0);
}

static void loop_stop(void)
{
	loop_ends = true;
	pthread_join(loop_thread, NULL);
}

static void make_port(unsigned i)
{
	const struct port_ops *type = port_type_find("vm");
	struct port_config config = {0};
	struct errmsg err;
	char name[8];

	snprintf(paths[i], sizeof(paths[i]), "%s/%u", folder, i);
	snprintf(name, sizeof(name), "p%u", i);
	for (unsigned k = 0; type->keys[k].name; k++)
		config.value[k] = strcmp(type->keys[k].name, "socket") == 0
					  ? paths[i]
					  : type->keys[k].fallback;
	if (port_new(&env, name, type, &config, &ports[i], &err))
		fail_msg("%s", err.text);
}

static int set_up(void **state)
{
	struct bridge_config bridge = {
		.ageing_s = 300, .hold_limit_ns = NS_PER_MS, .zerocopy = true};
	struct engine_config engine = {.worker_count = 2, .cpus = {-1, -1}, .threads = true};

	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	memset(guests, 0, sizeof(guests));
	snprintf(folder, sizeof(folder), "/tmp/lastref-test-XXXXXX");
	assert_non_null(mkdtemp(folder));
	assert_int_equal(opener_start(&env.opener), 0);
	assert_true(sd_event_new(&env.loop) >= 0);
	assert_int_equal(bridge_new(&bridge, &env.bridge), 0);
	assert_int_equal(engine_new(&engine, env.bridge, &env.engine), 0);
	assert_int_equal(engine_start(env.engine), 0);
	for (unsigned i = 0; i < GUESTS; i++)
		make_port(i);
	loop_start();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (unsigned i = 0; i < GUESTS; i++)
		guest_close(&guests[i]);
	loop_stop();
	for (unsigned i = 0; i < GUESTS; i++) {
		if (ports[i])
			port_free(ports[i]);
		ports[i] = NULL;
	}
	engine_free(env.engine);
	bridge_free(env.bridge);
	sd_event_unref(env.loop);
	opener_stop(env.opener);
	memset(&env, 0, sizeof(env));
	return rmdir(folder);
}

/* Features that this driver may leave out, each with even chances. */
static uint64_t draw_features(void)
{
	static const uint64_t optional[] = {GUEST_F_VERSION_1, GUEST_F_INDIRECT, GUEST_F_EVENT_IDX,
					    GUEST_F_IN_ORDER, GUEST_F_MRG_RXBUF};
	uint64_t features = GUEST_F_PROTOCOL;

	for (unsigned i = 0; i < ARRAY_SIZE(optional); i++)
		features |= below(2) ? optional[i] : 0;
	return features;
}

static uint64_t draw_protocol(void)
{
	static const uint64_t optional[] = {FRONTEND_P_REPLY_ACK, FRONTEND_P_MEM_SLOTS,
					    FRONTEND_P_STATUS, FRONTEND_P_MQ};
	uint64_t protocol = FRONTEND_P_RARP;

	for (unsigned i = 0; i < ARRAY_SIZE(optional); i++)
		protocol |= below(2) ? optional[i] : 0;
	return protocol;
}

static struct guest_options draw_options(unsigned i, uint32_t frame_bytes)
{
	static const uint16_t pieces[] = {1, 2, 3, 7};
	struct guest_options o = {
		.path = paths[i],
		.number = (uint16_t)i,
		.features = draw_features(),
		.protocol = draw_protocol(),
		.memory = {.bytes = 256ull << 20,
			   .region_count = 1 + below(FRONTEND_TABLE_MAX),
			   .hole_bytes = below(2) ? 1ull << 32 : 0,
			   .uva = below(2) ? 0x510000000000 : 0,
			   .file_per_region = below(2)},
		.ring_size = 64u << below(5),
		.tx_indirect = (enum guest_indirect)below(4),
		.tx_pieces = pieces[below(4)],
		.header_apart = below(2),
		.poison = true,
		.frame_bytes = frame_bytes,
		.rx_pieces = (uint16_t)(1 + below(3)),
	};

	/* A frame's receive buffers take at most half of the ring. */
	if (o.features & GUEST_F_MRG_RXBUF)
		o.rx_buffer_bytes = 64 + (frame_bytes + 64) * 2 * (o.rx_pieces + 1u) / o.ring_size +
				    below(4000);
	return o;
}

static void open_guests(uint32_t frame_bytes)
{
	for (unsigned i = 0; i < GUESTS; i++) {
		struct guest_options o = draw_options(i, frame_bytes);

		if (guest_open(&guests[i], &o) || guest_start(&guests[i]))
			fail_msg("guest %u: %s", i, guests[i].err.text);
	}
}

static bool all_arrived(void)
{
	for (unsigned i = 0; i < GUESTS; i++) {
		if (guest_out_count(&guests[i]))
			return false;
		for (unsigned k = 0; k < GUESTS; k++)
			if (k != i && guest_missing(&guests[i], &guests[k]))
				return false;
	}
	return true;
}

static void fail_of_time(void)
{
	for (unsigned i = 0; i < GUESTS; i++) {
		const struct guest_options *o = &guests[i].options;

		print_message("guest %u: features %#" PRIx64 ", ring %u of %u, receive buffers %u "
			      "in %u, frames %u, %u out, missing",
			      i, guests[i].frontend.features, o->ring_size, o->tx_pieces,
			      o->rx_buffer_bytes, o->rx_pieces, o->frame_bytes,
			      guest_out_count(&guests[i]));
		for (unsigned k = 0; k < GUESTS; k++)
			print_message(" %" PRIu64,
				      k == i ? 0 : guest_missing(&guests[i], &guests[k]));
		for (unsigned w = 0; w < engine_worker_count(env.engine); w++)
			for (unsigned k = 0; k < LR_DROP_COUNT && ports[i]; k++)
				if (counter_get(&ports[i]->counters[w].drops[k]))
					print_message(", dropped %s %" PRIu64, lr_drop_name(k),
						      counter_get(&ports[i]->counters[w].drops[k]));
		print_message("\n");
	}
	fail_msg("frames did not arrive in time");
}

static void wait_for_all(void)
{
	uint64_t end_ns = clock_now_ns() + ARRIVAL_LIMIT;

	while (!all_arrived()) {
		for (unsigned i = 0; i < GUESTS; i++) {
			const char *fault;

			guest_poll(&guests[i], 64);
			fault = guest_fault(&guests[i]);
			if (fault)
				fail_msg("guest %u: %s", i, fault);
			assert_int_equal(guests[i].stats.bad, 0);
			assert_int_equal(guests[i].stats.other, 0);
		}
		if (clock_now_ns() > end_ns)
			fail_of_time();
	}
}

/* Bursts that may be more than a ring takes: the copying queue then has the rest. */
static void exchange(unsigned bursts, uint32_t frame_bytes)
{
	for (unsigned n = 0; n < bursts; n++) {
		for (unsigned i = 0; i < GUESTS; i++) {
			unsigned frames = 1 + below(8);
			uint16_t to = (uint16_t)((i + 1 + below(GUESTS - 1)) % GUESTS);

			if (below(4) == 0)
				to = TRAFFIC_BROADCAST;
			while (frames--) {
				uint32_t bytes = TRAFFIC_FRAME_MIN +
						 below(frame_bytes - TRAFFIC_FRAME_MIN + 1);

				if (guest_send_frame(&guests[i], 0, to, bytes))
					break;
			}
			guest_flush(&guests[i]);
		}
		wait_for_all();
	}
}

static void check_clean(void)
{
	for (unsigned i = 0; i < GUESTS; i++) {
		const struct guest_stats *s = &guests[i].stats;

		assert_true(s->sent > 0);
		assert_int_equal(s->sent, s->returned);
		assert_int_equal(s->lost, 0);
		assert_int_equal(s->duplicated, 0);
		assert_int_equal(s->reordered, 0);
	}
}

static void close_guests(void)
{
	for (unsigned i = 0; i < GUESTS; i++)
		guest_close(&guests[i]);
}

static void one_round(uint64_t round_seed)
{
	static const uint32_t sizes[] = {TRAFFIC_FRAME_MIN, 64, 1514, 1514, 9014, 60000};
	uint32_t frame_bytes;

	seed = round_seed * 0x9e3779b97f4a7c15ull + 1;
	frame_bytes = sizes[below(ARRAY_SIZE(sizes))];
	open_guests(frame_bytes);
	exchange(BURSTS, frame_bytes);
	for (unsigned i = 0; i < GUESTS; i++)
		if (guest_stop(&guests[i]))
			fail_msg("guest %u: %s", i, guests[i].err.text);
	for (unsigned i = 0; i < GUESTS; i++)
		if (guest_start(&guests[i]))
			fail_msg("guest %u: %s", i, guests[i].err.text);
	exchange(3, frame_bytes);
	check_clean();
	close_guests();
}

static void drawn_options(void **state)
{
	const char *first = getenv("LASTREF_SEED");
	uint64_t base = first ? strtoull(first, NULL, 10) : 1;
	unsigned rounds = getenv("LASTREF_LONG") ? 10 * ROUNDS : ROUNDS;

	(void)state;
	for (unsigned i = 0; i < rounds; i++) {
		print_message("LASTREF_SEED=%" PRIu64 "\n", base + i);
		one_round(base + i);
	}
}

/* A guest's rings stop while the others send to it and it sends: nothing is lost that the switch
 * had taken, and what it had not taken goes out afterwards. */
static void stop_under_load(void **state)
{
	(void)state;
	seed = 7;
	open_guests(1514);
	exchange(2, 1514);
	for (unsigned n = 0; n < 20; n++) {
		struct guest *g = &guests[n % GUESTS];
		uint64_t before = g->stats.sent;

		for (unsigned i = 0; i < 20; i++)
			guest_send_frame(g, 0, (uint16_t)((n + 1) % GUESTS), 34 + below(1480));
		guest_flush(g);
		if (guest_stop(g))
			fail_msg("%s", g->err.text);
		if (guest_start(g))
			fail_msg("%s", g->err.text);
		wait_for_all();
		assert_true(g->stats.sent > before);
	}
	check_clean();
	close_guests();
}

/* The switch takes a port away: its guest sees the connection end, the others go on. When the port
 * is there again the guest goes on where it stood. */
static void port_goes(void **state)
{
	uint64_t end_ns = clock_now_ns() + ARRIVAL_LIMIT;

	(void)state;
	seed = 8;
	open_guests(1514);
	exchange(2, 1514);
	loop_stop();
	port_free(ports[2]);
	ports[2] = NULL;
	loop_start();
	while (frontend_is_alive(&guests[2].frontend))
		assert_true(clock_now_ns() < end_ns);
	assert_true(guest_stop(&guests[2]) < 0);
	for (unsigned i = 0; i < 50; i++)
		guest_send_frame(&guests[0], 0, 1, 100);
	guest_flush(&guests[0]);
	while (guest_missing(&guests[1], &guests[0]) || guest_out_count(&guests[0])) {
		guest_poll(&guests[0], 64);
		guest_poll(&guests[1], 64);
		assert_true(clock_now_ns() < end_ns);
	}
	loop_stop();
	make_port(2);
	loop_start();
	for (unsigned i = 0; i < 10; i++)
		guest_send_frame(&guests[2], 0, 1, 100); /* wait in its ring */
	if (guest_reconnect(&guests[2], 5000))
		fail_msg("%s", guests[2].err.text);
	wait_for_all();
	exchange(2, 1514);
	check_clean();
	close_guests();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(drawn_options, set_up, tear_down),
		cmocka_unit_test_setup_teardown(stop_under_load, set_up, tear_down),
		cmocka_unit_test_setup_teardown(port_goes, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
