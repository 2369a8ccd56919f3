/* SPDX-License-Identifier: BSD-2-Clause */
/* The bridge: where frames go, what is dropped and why, against a small model of a switch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "lib/fake_port.h"
#include "switch/internal.h"

#define PORTS	    4
#define MAC(n)	    (0x020000000000ull + (n))
#define BROADCAST   0xffffffffffffull
#define FRAME_BYTES 60

struct fixture {
	struct bridge *br;
	struct worker *w;
	struct fake_port *ports[PORTS];
	uint8_t data[FRAME_BURST][2048];
};

static int setup(void **state)
{
	struct bridge_config config = {.zerocopy = true, .hash_key = 42};
	struct fixture *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	assert_int_equal(bridge_new(&config, &x->br), 0);
	x->w = fake_worker_new(x->br, 0, 64, 64);
	for (unsigned i = 0; i < PORTS; i++) {
		char name[8];

		snprintf(name, sizeof(name), "p%u", i);
		x->ports[i] = fake_port_new(x->br, name);
	}
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	for (unsigned i = 0; i < PORTS; i++)
		fake_port_free(x->br, x->ports[i]);
	fake_worker_free(x->br, x->w);
	bridge_free(x->br);
	free(x);
	return 0;
}

/* Put a frame into the burst. */
static struct frame *put(struct fixture *x, uint64_t destination, uint64_t source, uint32_t bytes)
{
	uint8_t *data = x->data[x->w->burst.count];

	memset(data, (int)x->w->burst.count, bytes);
	fake_ethernet(data, destination, source, 0x88b5);
	return fake_frame(x->w, data, bytes, FRAME_SNAPSHOT_BYTES, 0);
}

static void turn(struct fixture *x, unsigned in)
{
	fake_turn(x->br, x->w, &x->ports[in]->port);
	assert_true(fake_accounts_balance(x->br, x->ports, PORTS));
}

/* One frame through the bridge. Return: bit mask of the ports that got it */
static unsigned forward_one(struct fixture *x, unsigned in, uint64_t destination, uint64_t source)
{
	unsigned mask = 0;

	for (unsigned i = 0; i < PORTS; i++)
		fake_port_forget(x->ports[i]);
	put(x, destination, source, FRAME_BYTES);
	turn(x, in);
	for (unsigned i = 0; i < PORTS; i++) {
		assert_true(x->ports[i]->got_count <= 1);
		mask |= x->ports[i]->got_count << i;
	}
	return mask;
}

static void test_learns_and_forwards(void **state)
{
	struct fixture *x = *state;

	/* Nobody is known: to all but the port that it came in by. */
	assert_int_equal(forward_one(x, 0, MAC(2), MAC(1)), 0xe);
	assert_int_equal(forward_one(x, 1, MAC(1), MAC(2)), 0x1);
	/* Twice: the second time by the flow cache. */
	assert_int_equal(forward_one(x, 0, MAC(2), MAC(1)), 0x2);
	assert_int_equal(forward_one(x, 0, MAC(2), MAC(1)), 0x2);
	assert_int_equal(forward_one(x, 0, BROADCAST, MAC(1)), 0xe);
	assert_int_equal(forward_one(x, 2, 0x01005e000001, MAC(3)), 0xb);
	assert_int_equal(bridge_fdb_count(x->br, &x->ports[0]->port), 1);
	assert_int_equal(bridge_fdb_count(x->br, &x->ports[3]->port), 0);
}

static void test_delivers_the_bytes(void **state)
{
	struct fixture *x = *state;
	uint8_t expected[1000];

	put(x, MAC(2), MAC(1), sizeof(expected));
	memcpy(expected, x->data[0], sizeof(expected));
	turn(x, 0);
	for (unsigned i = 1; i < PORTS; i++) {
		assert_int_equal(x->ports[i]->got_count, 1);
		assert_int_equal(x->ports[i]->got[0].bytes, sizeof(expected));
		assert_memory_equal(x->ports[i]->got[0].data, expected, sizeof(expected));
		assert_true(x->ports[i]->got[0].in_place);
		assert_int_equal(x->ports[i]->publishes, 1);
	}
}

static void test_drops_have_reasons(void **state)
{
	struct fixture *x = *state;
	struct port *in = &x->ports[0]->port;

	assert_int_equal(forward_one(x, 0, MAC(9), 0x010000000001), 0);
	assert_int_equal(forward_one(x, 0, MAC(9), 0), 0);
	assert_int_equal(forward_one(x, 0, MAC(9), BROADCAST), 0);
	assert_int_equal(fake_drops(in, LR_DROP_SPOOF), 3);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(forward_one(x, 0, 0x0180c2000000 + i, MAC(1)), 0);
	assert_int_equal(fake_drops(in, LR_DROP_LINK_LOCAL), 16);
	assert_int_equal(forward_one(x, 0, 0x0180c2000010, MAC(1)), 0xe);
	assert_int_equal(forward_one(x, 0, 0x0180c2010000, MAC(1)), 0xe);
	/* MAC(1) is behind port 0 by now. */
	assert_int_equal(forward_one(x, 0, MAC(1), MAC(3)), 0);
	assert_int_equal(fake_drops(in, LR_DROP_SAME_PORT), 1);
	for (unsigned i = 1; i < PORTS; i++)
		atomic_store(&x->ports[i]->port.state, PORT_CONNECTED);
	assert_int_equal(forward_one(x, 0, MAC(9), MAC(1)), 0);
	assert_int_equal(forward_one(x, 0, BROADCAST, MAC(1)), 0);
	assert_int_equal(fake_drops(in, LR_DROP_NO_PORT), 2);
}

static void test_port_that_is_down(void **state)
{
	struct fixture *x = *state;

	forward_one(x, 1, BROADCAST, MAC(2));
	assert_int_equal(forward_one(x, 0, MAC(2), MAC(1)), 0x2);
	atomic_store(&x->ports[1]->port.state, PORT_BROKEN);
	assert_int_equal(forward_one(x, 0, MAC(2), MAC(1)), 0);
	assert_int_equal(fake_drops(&x->ports[1]->port, LR_DROP_RX_DOWN), 1);
	assert_int_equal(forward_one(x, 0, BROADCAST, MAC(1)), 0xc);
	assert_null(x->w->outbox[1].port); /* nobody notifies it */
	atomic_store(&x->ports[1]->port.state, PORT_RUNNING);
	assert_int_equal(forward_one(x, 0, MAC(2), MAC(1)), 0x2);
}

static void test_port_removed_in_the_turn(void **state)
{
	struct fixture *x = *state;

	forward_one(x, 1, BROADCAST, MAC(2));
	put(x, MAC(2), MAC(1), FRAME_BYTES);
	bridge_input(x->br, x->w, &x->ports[0]->port);
	assert_int_equal(x->w->touched_count, 1);
	bridge_port_remove(x->br, &x->ports[1]->port);
	bridge_deliver(x->br, x->w);
	assert_null(x->w->outbox[1].port);
	assert_int_equal(fake_drops(&x->ports[0]->port, LR_DROP_PORT_GONE), 1);
	assert_int_equal(x->ports[1]->sends, 0);
}

static void test_mtu(void **state)
{
	struct fixture *x = *state;
	struct port *out = &x->ports[1]->port;

	forward_one(x, 1, BROADCAST, MAC(2));
	fake_port_forget(x->ports[1]);
	atomic_store(&out->mtu, 1500);
	put(x, MAC(2), MAC(1), 1514);
	put(x, MAC(2), MAC(1), 1515);
	put(x, MAC(2), MAC(1), 60);
	turn(x, 0);
	assert_int_equal(fake_drops(out, LR_DROP_RX_MTU), 1);
	assert_int_equal(x->ports[1]->got_count, 2);
	assert_int_equal(x->ports[1]->got[0].bytes, 1514);
	assert_int_equal(x->ports[1]->got[1].bytes, 60);
	/* A VLAN tag is no payload. */
	put(x, MAC(2), MAC(1), 1518);
	x->w->burst.frames[0].head[12] = 0x81;
	x->w->burst.frames[0].head[13] = 0x00;
	turn(x, 0);
	assert_int_equal(x->ports[1]->got_count, 3);
	assert_int_equal(fake_drops(out, LR_DROP_RX_MTU), 1);
	/* What needs a checksum is not cut either. */
	atomic_store(&out->offloads, PORT_CSUM);
	put(x, MAC(2), MAC(1), 1515)->offload =
		(struct lr_offload){.flags = LR_OFFLOAD_NEEDS_CSUM, .csum_start = 14};
	turn(x, 0);
	assert_int_equal(fake_drops(out, LR_DROP_RX_MTU), 2);
}

static void test_station_moves(void **state)
{
	struct fixture *x = *state;

	forward_one(x, 1, BROADCAST, MAC(2));
	assert_int_equal(forward_one(x, 0, MAC(2), MAC(1)), 0x2);
	/* The flow cache must not hold on to the old place. */
	forward_one(x, 2, BROADCAST, MAC(2));
	assert_int_equal(forward_one(x, 0, MAC(2), MAC(1)), 0x4);
	/* Within one burst too: it comes home to the sender's own port between two frames to it. */
	for (unsigned i = 0; i < PORTS; i++)
		fake_port_forget(x->ports[i]);
	put(x, MAC(2), MAC(1), FRAME_BYTES);
	put(x, BROADCAST, MAC(2), FRAME_BYTES);
	put(x, MAC(2), MAC(1), FRAME_BYTES);
	turn(x, 0);
	assert_int_equal(x->ports[2]->got_count, 2);
	assert_int_equal(fake_drops(&x->ports[0]->port, LR_DROP_SAME_PORT), 1);
}

static void test_static_entries(void **state)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 7}, group[6] = {1, 0, 0, 0, 0, 7};
	struct fixture *x = *state;
	struct errmsg err;

	assert_int_equal(forward_one(x, 3, BROADCAST, MAC(7)), 0x7);
	assert_int_equal(bridge_fdb_add(x->br, mac, &x->ports[2]->port, &err), 0);
	assert_int_equal(forward_one(x, 0, MAC(7), MAC(1)), 0x4);
	/* Somebody else uses the address. */
	assert_int_equal(forward_one(x, 3, BROADCAST, MAC(7)), 0);
	assert_int_equal(fake_drops(&x->ports[3]->port, LR_DROP_SPOOF), 1);
	assert_int_equal(forward_one(x, 2, MAC(1), MAC(7)), 0x1);
	assert_int_equal(bridge_fdb_add(x->br, mac, &x->ports[2]->port, &err), 0);
	assert_int_equal(bridge_fdb_add(x->br, mac, &x->ports[1]->port, &err), -EEXIST);
	assert_non_null(strstr(err.text, "02:00:00:00:00:07"));
	assert_int_equal(bridge_fdb_add(x->br, group, &x->ports[1]->port, &err), -EINVAL);
	/* RARP says it moved: static does not. */
	bridge_fdb_learn(x->br, mac, &x->ports[1]->port);
	bridge_fdb_flush(x->br, NULL);
	bridge_age(x->br, (x->w->now_ns += 1000 * NS_PER_S));
	assert_int_equal(forward_one(x, 0, MAC(7), MAC(1)), 0x4);
	assert_int_equal(bridge_fdb_del(x->br, mac, &err), 0);
	assert_int_equal(forward_one(x, 0, MAC(7), MAC(1)), 0xe);
	assert_int_equal(bridge_fdb_del(x->br, mac, &err), -ENOENT);
}

static void test_flush_and_learn(void **state)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 2};
	struct fixture *x = *state;

	forward_one(x, 1, BROADCAST, MAC(2));
	forward_one(x, 2, BROADCAST, MAC(3));
	assert_int_equal(forward_one(x, 0, MAC(2), MAC(1)), 0x2);
	bridge_fdb_flush(x->br, &x->ports[1]->port);
	assert_int_equal(forward_one(x, 0, MAC(2), MAC(1)), 0xe);
	assert_int_equal(forward_one(x, 0, MAC(3), MAC(1)), 0x4);
	bridge_fdb_learn(x->br, mac, &x->ports[3]->port);
	assert_int_equal(forward_one(x, 0, MAC(2), MAC(1)), 0x8);
	bridge_fdb_flush(x->br, NULL);
	assert_int_equal(forward_one(x, 0, MAC(3), MAC(1)), 0xe);
}

/* Frames by the flow cache keep an address alive; silence ends it. */
static void test_ageing(void **state)
{
	struct fixture *x = *state;

	forward_one(x, 1, BROADCAST, MAC(2));
	for (unsigned s = 0; s < 400; s++) {
		x->w->now_ns += NS_PER_S;
		assert_int_equal(forward_one(x, 1, MAC(9), MAC(2)), 0xd);
		assert_int_equal(forward_one(x, 0, MAC(2), MAC(1)), 0x2);
		assert_int_equal(forward_one(x, 0, MAC(2), MAC(1)), 0x2);
		bridge_age(x->br, x->w->now_ns);
	}
	x->w->now_ns += 300 * NS_PER_S;
	bridge_age(x->br, x->w->now_ns);
	assert_int_equal(forward_one(x, 0, MAC(2), MAC(1)), 0x2);
	x->w->now_ns += NS_PER_S;
	bridge_age(x->br, x->w->now_ns);
	assert_int_equal(forward_one(x, 0, MAC(2), MAC(1)), 0xe);
}

/* 64 conversations in turn must all be answered by the flow cache: the FDB is emptied behind it. */
static void test_flow_cache_holds_64_pairs(void **state)
{
	struct fixture *x = *state;
	struct bridge_worker *bw = x->w->bridge_private;
	unsigned hits = 0;

	bw->flow_keys[0] = 0x1234567890abcdef;
	bw->flow_keys[1] = 0xfedcba0987654321;
	for (unsigned i = 0; i < 64; i++)
		forward_one(x, 1, BROADCAST, MAC(1000 + i));
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < 64; i++)
			assert_int_equal(forward_one(x, 0, MAC(1000 + i), MAC(i + 1)), 0x2);
	for (uint32_t slot = 0; slot < FDB_SLOTS; slot++)
		atomic_store(&x->br->fdb.buckets[slot / FDB_WAYS].words[slot % FDB_WAYS], 0);
	for (unsigned i = 0; i < 64; i++)
		hits += forward_one(x, 0, MAC(1000 + i), MAC(i + 1)) == 0x2;
	assert_int_equal(hits, 64);
}

static void test_port_table(void **state)
{
	struct fixture *x = *state;
	struct port twin = x->ports[0]->port;
	struct errmsg err;
	json_t *list;

	assert_int_equal(bridge_port_add(x->br, &twin, &err), -EEXIST);
	assert_string_equal(err.text, "port 'p0' exists");
	assert_ptr_equal(bridge_port_find(x->br, "p2"), &x->ports[2]->port);
	assert_null(bridge_port_find(x->br, "p9"));
	forward_one(x, 1, BROADCAST, MAC(2));
	list = bridge_fdb_show(x->br);
	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "mac")),
			    "02:00:00:00:00:02");
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "port")),
			    "p1");
	json_decref(list);
	bridge_port_remove(x->br, &x->ports[1]->port);
	list = bridge_fdb_show(x->br);
	assert_int_equal(json_array_size(list), 0);
	json_decref(list);
	/* Nothing is learnt for a port that is away. */
	put(x, BROADCAST, MAC(2), FRAME_BYTES);
	fake_turn(x->br, x->w, &x->ports[1]->port);
	assert_int_equal(bridge_fdb_count(x->br, &x->ports[1]->port), 0);
	assert_int_equal(bridge_port_add(x->br, &x->ports[1]->port, &err), 0);
	assert_int_equal(x->ports[1]->port.index, 1);
}

static void test_settings(void **state)
{
	struct fixture *x = *state;
	struct errmsg err;
	char value[32];
	json_t *show;

	assert_int_equal(bridge_set(x->br, "ageing", "17", &err), 0);
	assert_int_equal(bridge_config(x->br)->ageing_s, 17);
	assert_int_equal(bridge_set(x->br, "ageing", "0", &err), -EINVAL);
	assert_int_equal(bridge_set(x->br, "ageing", "5x", &err), -EINVAL);
	assert_int_equal(bridge_set(x->br, "hold-limit", "2ms", &err), 0);
	assert_int_equal(bridge_config(x->br)->hold_limit_ns, 2 * NS_PER_MS);
	assert_int_equal(bridge_set(x->br, "hold-limit", "500us", &err), 0);
	assert_int_equal(bridge_get(x->br, "hold-limit", value, sizeof(value)), 0);
	assert_string_equal(value, "500us");
	assert_int_equal(bridge_set(x->br, "hold-limit", "18446744073709551615ms", &err), -EINVAL);
	assert_int_equal(bridge_set(x->br, "hold-limit", "5", &err), -EINVAL);
	assert_int_equal(bridge_set(x->br, "zerocopy", "maybe", &err), -EINVAL);
	assert_int_equal(bridge_set(x->br, "zerocopy", "off", &err), 0);
	assert_int_equal(bridge_set(x->br, "colour", "off", &err), -EINVAL);
	assert_int_equal(bridge_get(x->br, "colour", value, sizeof(value)), -EINVAL);
	show = bridge_show(x->br);
	assert_int_equal(json_integer_value(json_object_get(show, "ports")), PORTS);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(show, "settings"), "zerocopy")),
		"off");
	json_decref(show);
}

/* The model: a switch in twenty lines, one frame at a time. */
#define MODEL_STATIONS 24

struct model {
	int port[MODEL_STATIONS];
	bool down[PORTS];
};

static unsigned model_flood(const struct model *m, unsigned in)
{
	unsigned mask = 0;

	for (unsigned i = 0; i < PORTS; i++)
		if (i != in && !m->down[i])
			mask |= 1u << i;
	return mask;
}

static unsigned model_forward(struct model *m, unsigned in, int destination, int source)
{
	m->port[source] = (int)in;
	if (destination < 0 || m->port[destination] < 0)
		return model_flood(m, in);
	if (m->port[destination] == (int)in || m->down[m->port[destination]])
		return 0;
	return 1u << m->port[destination];
}

static void model_disturb(struct fixture *x, struct model *m, unsigned *seed)
{
	unsigned i = (unsigned)rand_r(seed) % PORTS;

	switch (rand_r(seed) % 4) {
	case 0:
		m->down[i] = !m->down[i];
		atomic_store(&x->ports[i]->port.state, m->down[i] ? PORT_WAITING : PORT_RUNNING);
		break;
	case 1:
		bridge_fdb_flush(x->br, &x->ports[i]->port);
		for (unsigned s = 0; s < MODEL_STATIONS; s++)
			if (m->port[s] == (int)i)
				m->port[s] = -1;
		break;
	case 2:
		bridge_age(x->br, (x->w->now_ns += 301 * NS_PER_S));
		for (unsigned s = 0; s < MODEL_STATIONS; s++)
			m->port[s] = -1;
		break;
	default:
		x->w->now_ns += NS_PER_S;
	}
}

/* Bursts of random frames; each port must get exactly the model's frames, in order. */
static void test_like_the_model(void **state)
{
	struct fixture *x = *state;
	unsigned seed = 7;
	struct model m;
	uint32_t tag = 0;

	memset(&m, 0, sizeof(m));
	for (unsigned i = 0; i < MODEL_STATIONS; i++)
		m.port[i] = -1;
	for (unsigned round = 0; round < 20000; round++) {
		uint32_t expected[PORTS][FRAME_BURST];
		unsigned counts[PORTS] = {0}, in = (unsigned)rand_r(&seed) % PORTS;
		unsigned burst = 1 + (unsigned)rand_r(&seed) % FRAME_BURST;

		if (rand_r(&seed) % 16 == 0)
			model_disturb(x, &m, &seed);
		for (unsigned i = 0; i < burst; i++, tag++) {
			/* Stations live at home, mostly: else every frame is a move. */
			int source = (int)in + PORTS * (rand_r(&seed) % (MODEL_STATIONS / PORTS));
			int to = rand_r(&seed) % (MODEL_STATIONS + 1) - 1;
			unsigned mask;

			if (rand_r(&seed) % 512 == 0)
				source = rand_r(&seed) % MODEL_STATIONS;
			put(x, to < 0 ? BROADCAST : MAC(to + 1), MAC(source + 1), FRAME_BYTES);
			memcpy(x->w->burst.frames[i].head + 14, &tag, sizeof(tag));
			mask = model_forward(&m, in, to, source);
			for (unsigned p = 0; p < PORTS; p++)
				if (mask & 1u << p)
					expected[p][counts[p]++] = tag;
		}
		turn(x, in);
		for (unsigned p = 0; p < PORTS; p++) {
			assert_int_equal(x->ports[p]->got_count, counts[p]);
			for (unsigned i = 0; i < counts[p]; i++)
				assert_memory_equal(x->ports[p]->got[i].data + 14, &expected[p][i],
						    sizeof(tag));
			fake_port_forget(x->ports[p]);
		}
		/* No station moves too often for the limit within one second. */
		if (round % 4 == 0)
			x->w->now_ns += NS_PER_S / 4;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_learns_and_forwards, setup, teardown),
		cmocka_unit_test_setup_teardown(test_delivers_the_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drops_have_reasons, setup, teardown),
		cmocka_unit_test_setup_teardown(test_port_that_is_down, setup, teardown),
		cmocka_unit_test_setup_teardown(test_port_removed_in_the_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mtu, setup, teardown),
		cmocka_unit_test_setup_teardown(test_station_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_static_entries, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flush_and_learn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ageing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flow_cache_holds_64_pairs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_port_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_settings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_like_the_model, setup, teardown),
	};

	log_set_level(LOG_LEVEL_ERROR); /* stations move a lot here */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
