/* SPDX-License-Identifier: BSD-2-Clause */
/* Delivery: offloads finished in software in order, zero-copy switched off, small pools. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "lib/fake_port.h"
#include "mem/mem.h"
#include "switch/internal.h"

#define PORTS	  3
#define BROADCAST 0xffffffffffffull
#define IP	  14
#define IP6_BYTES 40
#define MSS	  1448

struct fixture {
	struct bridge *br;
	struct worker *w;
	struct fake_port *ports[PORTS];
	uint8_t data[FRAME_BURST][66000];
};

static int setup_pool(void **state, uint32_t packets, uint32_t chunks)
{
	struct bridge_config config = {.zerocopy = true};
	struct fixture *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	assert_int_equal(bridge_new(&config, &x->br), 0);
	x->w = fake_worker_new(x->br, 0, packets, chunks);
	for (unsigned i = 0; i < PORTS; i++) {
		char name[8];

		snprintf(name, sizeof(name), "p%u", i);
		x->ports[i] = fake_port_new(x->br, name);
	}
	*state = x;
	return 0;
}

static int setup(void **state)
{
	return setup_pool(state, 1024, 512);
}

static int setup_small_pool(void **state)
{
	return setup_pool(state, 40, 34);
}

/* lr_pool_free() asserts that every packet and chunk is home (L13). */
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

static void turn(struct fixture *x)
{
	fake_turn(x->br, x->w, &x->ports[0]->port);
	assert_true(fake_accounts_balance(x->br, x->ports, PORTS));
}

static void offloads_set(struct fixture *x, unsigned port, unsigned offloads)
{
	atomic_store(&x->ports[port]->port.offloads, offloads);
}

/* The checksum of RFC 1071, the slow way, as a check on the library's. */
static uint32_t slow_sum(const uint8_t *data, uint32_t bytes, uint32_t sum)
{
	for (uint32_t i = 0; i < bytes; i++)
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint32_t pseudo_sum(const uint8_t *ip, bool v6, uint32_t l4_bytes)
{
	uint32_t sum = v6 ? slow_sum(ip + 8, 32, 0) : slow_sum(ip + 12, 8, 0);

	return slow_sum((uint8_t[]){0, 6, (uint8_t)(l4_bytes >> 8), (uint8_t)l4_bytes}, 4, sum);
}

static void put16(uint8_t *at, uint32_t n)
{
	at[0] = (uint8_t)(n >> 8);
	at[1] = (uint8_t)n;
}

static void put32(uint8_t *at, uint32_t n)
{
	put16(at, n >> 16);
	put16(at + 2, n);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint8_t pattern(uint32_t sequence)
{
	return (uint8_t)(sequence * 31 + (sequence >> 8));
}

/* TCP with @payload bytes from @sequence on, its checksum left open; @mss 0: one segment. */
static struct frame *put_tcp(struct fixture *x, bool v6, uint32_t sequence, uint32_t payload,
			     uint16_t mss)
{
	uint8_t *data = x->data[x->w->burst.count], *ip = data + IP;
	uint32_t ip_bytes = v6 ? IP6_BYTES : 20, l4_bytes = 20 + payload;
	uint8_t *tcp = ip + ip_bytes;
	struct frame *f;

	memset(data, 0, IP + ip_bytes + 20);
	fake_ethernet(data, BROADCAST, 0x020000000001, v6 ? 0x86dd : 0x0800);
	if (v6) {
		ip[0] = 0x60;
		put16(ip + 4, l4_bytes);
		ip[6] = 6;
		ip[7] = 64;
		ip[23] = 1;
		ip[39] = 2;
	} else {
		ip[0] = 0x45;
		put16(ip + 2, 20 + l4_bytes);
		ip[8] = 64;
		ip[9] = 6;
		put32(ip + 12, 0x0a000001);
		put32(ip + 16, 0x0a000002);
		put16(ip + 10, ~slow_sum(ip, 20, 0));
	}
	put32(tcp + 4, sequence);
	tcp[12] = 5 << 4;
	tcp[13] = 0x18; /* PSH, ACK */
	for (uint32_t i = 0; i < payload; i++)
		tcp[20 + i] = pattern(sequence + i);
	put16(tcp + 16, pseudo_sum(ip, v6, l4_bytes)); /* as a driver leaves it */
	f = fake_frame(x->w, data, IP + ip_bytes + l4_bytes, FRAME_SNAPSHOT_BYTES, 4096);
	f->offload.flags = LR_OFFLOAD_NEEDS_CSUM;
	f->offload.csum_start = (uint16_t)(IP + ip_bytes);
	f->offload.csum_offset = 16;
	if (mss) {
		f->offload.gso_type = v6 ? LR_GSO_TCPV6 : LR_GSO_TCPV4;
		f->offload.gso_size = mss;
		f->offload.hdr_len = (uint16_t)(IP + ip_bytes + 20);
	}
	return f;
}

/* A finished TCP frame: lengths, checksums, payload. Return: payload bytes */
static uint32_t check_tcp(const struct fake_delivery *d, bool v6, uint32_t sequence)
{
	uint32_t ip_bytes = v6 ? IP6_BYTES : 20, l4_bytes = d->bytes - IP - ip_bytes;
	const uint8_t *ip = d->data + IP, *tcp = ip + ip_bytes;

	assert_int_equal(d->offload.flags & LR_OFFLOAD_NEEDS_CSUM, 0);
	assert_int_equal(d->offload.gso_type, LR_GSO_NONE);
	if (v6) {
		assert_int_equal(ip[4] << 8 | ip[5], l4_bytes);
	} else {
		assert_int_equal(ip[2] << 8 | ip[3], 20 + l4_bytes);
		assert_int_equal(slow_sum(ip, 20, 0), 0xffff);
	}
	assert_int_equal(get32(tcp + 4), sequence);
	assert_int_equal(slow_sum(tcp, l4_bytes, pseudo_sum(ip, v6, l4_bytes)), 0xffff);
	for (uint32_t i = 0; i < l4_bytes - 20; i++)
		assert_int_equal(tcp[20 + i], pattern(sequence + i));
	return l4_bytes - 20;
}

/* Unfinished or not, the bytes as they were put, in place. */
static void check_as_it_was(const struct fixture *x, const struct fake_delivery *d, unsigned slot)
{
	assert_memory_equal(d->data, x->data[slot], d->bytes);
	assert_true(d->offload.flags & LR_OFFLOAD_NEEDS_CSUM);
	assert_true(d->in_place);
}

static void checksum_is_finished_for_who_lacks_it(void **state)
{
	struct fixture *x = *state;
	uint8_t before[2000];

	offloads_set(x, 2, PORT_CSUM);
	put_tcp(x, false, 1000, 1400, 0);
	memcpy(before, x->data[0], sizeof(before));
	turn(x);
	assert_int_equal(x->ports[1]->got_count, 1);
	assert_int_equal(check_tcp(&x->ports[1]->got[0], false, 1000), 1400);
	assert_false(x->ports[1]->got[0].in_place);
	assert_int_equal(x->ports[2]->got_count, 1);
	check_as_it_was(x, &x->ports[2]->got[0], 0);
	/* L9: nobody wrote into the sender's memory. */
	assert_memory_equal(before, x->data[0], sizeof(before));
	assert_int_equal(
		counter_get(&x->ports[0]->port.counters[0].copied_frames[PORT_COPY_FINISH]), 1);
	assert_int_equal(counter_get(&x->ports[0]->port.counters[0].copied_bytes[PORT_COPY_FINISH]),
			 1454);
}

static void segments_for_who_lacks_tso(void **state)
{
	struct fixture *x = *state;
	struct bridge_totals totals;
	uint32_t at = 5000;

	for (unsigned v6 = 0; v6 < 2; v6++) {
		unsigned tso = v6 ? PORT_TSO6 : PORT_TSO4;

		for (unsigned i = 0; i < PORTS; i++)
			fake_port_forget(x->ports[i]);
		offloads_set(x, 1, PORT_CSUM | (v6 ? PORT_TSO4 : PORT_TSO6)); /* the wrong one */
		offloads_set(x, 2, PORT_CSUM | tso);
		put_tcp(x, v6, at, 64000, MSS);
		turn(x);
		assert_int_equal(x->ports[1]->got_count, 45);
		assert_true(x->ports[1]->send_max <= FRAME_BURST);
		for (unsigned i = 0; i < 45; i++)
			assert_int_equal(check_tcp(&x->ports[1]->got[i], v6, at + i * MSS),
					 i < 44 ? MSS : 64000 - 44 * MSS);
		assert_int_equal(x->ports[2]->got_count, 1);
		check_as_it_was(x, &x->ports[2]->got[0], 0);
	}
	bridge_totals(x->br, &totals);
	assert_int_equal(totals.segmented, 2);
	assert_int_equal(totals.segment_copies, 88);
}

static void ecn_needs_its_own_offload(void **state)
{
	struct fixture *x = *state;

	offloads_set(x, 1, PORT_CSUM | PORT_TSO4);
	offloads_set(x, 2, PORT_CSUM | PORT_TSO4 | PORT_ECN);
	put_tcp(x, false, 1, 3000, 1000)->offload.gso_type |= LR_GSO_ECN;
	turn(x);
	assert_int_equal(x->ports[1]->got_count, 3);
	assert_int_equal(x->ports[2]->got_count, 1);
}

/* What is finished and what is not leave in the order they came in. */
static void order_is_kept(void **state)
{
	struct fixture *x = *state;
	unsigned at = 0;

	offloads_set(x, 2, PORT_CSUM | PORT_TSO4 | PORT_TSO6);
	for (uint32_t i = 0; i < FRAME_BURST; i++) {
		if (i % 3 == 0)
			put_tcp(x, false, i * 100000, 10000, 1000);
		else if (i % 3 == 1)
			put_tcp(x, false, i * 100000, 700, 0);
		else
			put_tcp(x, false, i * 100000, 700, 0)->offload =
				(struct lr_offload){0}; /* nothing left to do, the sender says */
	}
	turn(x);
	for (uint32_t i = 0; i < FRAME_BURST; i++) {
		const struct fake_delivery *d = &x->ports[1]->got[at];

		if (i % 3 == 0) {
			for (uint32_t j = 0; j < 10; j++)
				check_tcp(&x->ports[1]->got[at + j], false, i * 100000 + j * 1000);
			at += 9;
		} else if (i % 3 == 1) {
			check_tcp(d, false, i * 100000);
		} else {
			assert_memory_equal(d->data, x->data[i], d->bytes);
			assert_true(d->in_place);
		}
		at++;
	}
	assert_int_equal(x->ports[1]->got_count, at);
	assert_int_equal(x->ports[2]->got_count, FRAME_BURST);
}

static void mtu_holds_for_segments(void **state)
{
	struct fixture *x = *state;

	atomic_store(&x->ports[1]->port.mtu, 1000);
	atomic_store(&x->ports[2]->port.mtu, 1000);
	offloads_set(x, 2, PORT_CSUM | PORT_TSO4);
	put_tcp(x, false, 1, 3460, 1000); /* three are too long, the last one is not */
	turn(x);
	assert_int_equal(x->ports[1]->got_count, 1);
	assert_int_equal(fake_drops(&x->ports[1]->port, LR_DROP_RX_MTU), 3);
	assert_int_equal(x->ports[2]->got_count, 1); /* cut later, by who took it */
}

static void what_cannot_be_finished_is_dropped(void **state)
{
	struct fixture *x = *state;
	struct frame *f;

	/* No source lets such a request pass; the bridge does not rely on it. */
	f = put_tcp(x, false, 1, 3000, 1000);
	f->offload.gso_type = LR_GSO_TCPV6;
	f = put_tcp(x, false, 1, 3000, 1000);
	f->offload.gso_type = LR_GSO_UDP;
	f = put_tcp(x, false, 1, 100, 0);
	f->offload.csum_start = 60000;
	turn(x);
	assert_int_equal(x->ports[1]->got_count, 0);
	assert_int_equal(fake_drops(&x->ports[1]->port, LR_DROP_RX_OFFLOAD), 3);
	assert_int_equal(fake_drops(&x->ports[2]->port, LR_DROP_RX_OFFLOAD), 3);
}

/* The pool has what one frame needs: the next one gets it when the first has left. */
static void small_pool_is_used_again(void **state)
{
	struct fixture *x = *state;

	offloads_set(x, 2, PORT_CSUM | PORT_TSO4);
	for (uint32_t i = 0; i < 4; i++)
		put_tcp(x, false, i * 100000, 60000, 0);
	turn(x);
	assert_int_equal(x->ports[1]->got_count, 4);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(check_tcp(&x->ports[1]->got[i], false, i * 100000), 60000);
}

static void empty_pool_drops(void **state)
{
	struct fixture *x = *state;

	offloads_set(x, 2, PORT_CSUM | PORT_TSO4);
	put_tcp(x, false, 1, 60000, 1000); /* 60 packets of 40 */
	put_tcp(x, false, 1, 1000, 0);
	turn(x);
	assert_int_equal(x->ports[1]->got_count, 1);
	assert_int_equal(fake_drops(&x->ports[1]->port, LR_DROP_NO_MEMORY), 1);
	assert_int_equal(x->ports[2]->got_count, 2);
	/* Whatever take fails: nothing leaks, everything is counted. */
	for (int64_t n = 0; n < 30; n++) {
		put_tcp(x, false, 1, 10000, 1000);
		put_tcp(x, true, 1, 10000, 0);
		lr_pool_fail_after(x->w->pool, n);
		turn(x);
		lr_pool_fail_after(x->w->pool, -1);
	}
}

/* The same frames with zero-copy on and off: identical deliveries, every byte copied once more. */
static void zerocopy_off_delivers_the_same(void **state)
{
	struct fixture *x = *state;
	struct fake_delivery *on = NULL;
	struct errmsg err;
	unsigned on_count = 0;
	uint64_t bytes = 0;

	for (unsigned pass = 0; pass < 2; pass++) {
		offloads_set(x, 2, PORT_CSUM | PORT_TSO4 | PORT_TSO6);
		put_tcp(x, false, 1, 20000, MSS);
		put_tcp(x, true, 2, 1000, 0);
		put_tcp(x, true, 3, 6, 0);
		put_tcp(x, false, 4, 65000, MSS);
		for (unsigned i = 0; i < x->w->burst.count; i++)
			bytes += x->w->burst.frames[i].bytes - x->w->burst.frames[i].head_bytes;
		if (pass == 0) {
			turn(x);
			on = x->ports[1]->got;
			on_count = x->ports[1]->got_count;
			x->ports[1]->got = NULL;
			x->ports[1]->got_count = x->ports[1]->got_room = 0;
			bytes = 0;
			assert_int_equal(bridge_set(x->br, "zerocopy", "off", &err), 0);
			mem_copied_bytes = 0;
		} else {
			turn(x);
		}
	}
	assert_int_equal(mem_copied_bytes, bytes);
	assert_int_equal(counter_get(&x->ports[0]->port.counters[0].copied_frames[PORT_COPY_OFF]),
			 4);
	assert_int_equal(x->ports[1]->got_count, on_count);
	for (unsigned i = 0; i < on_count; i++) {
		const struct fake_delivery *off = &x->ports[1]->got[i];

		assert_int_equal(off->bytes, on[i].bytes);
		assert_memory_equal(off->data, on[i].data, off->bytes);
		assert_memory_equal(&off->offload, &on[i].offload, sizeof(off->offload));
		assert_false(off->in_place);
		free(on[i].data);
	}
	free(on);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(x->ports[2]->got[i].in_place);
		assert_false(x->ports[2]->got[4 + i].in_place);
		assert_memory_equal(x->ports[2]->got[i].data, x->ports[2]->got[4 + i].data,
				    x->ports[2]->got[i].bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(checksum_is_finished_for_who_lacks_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(segments_for_who_lacks_tso, setup, teardown),
		cmocka_unit_test_setup_teardown(ecn_needs_its_own_offload, setup, teardown),
		cmocka_unit_test_setup_teardown(order_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(mtu_holds_for_segments, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_finished_is_dropped, setup,
						teardown),
		cmocka_unit_test_setup_teardown(small_pool_is_used_again, setup_small_pool,
						teardown),
		cmocka_unit_test_setup_teardown(empty_pool_drops, setup_small_pool, teardown),
		cmocka_unit_test_setup_teardown(zerocopy_off_delivers_the_same, setup, teardown),
	};

	return cmocka_run_group_tests_name("finish", tests, NULL, NULL);
}
