/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole guests on a hub of this test's own: traffic, its checks, stop, start and reconnect. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "guest/guest.h"
#include "guest_device.h"

#define GUESTS 3

/* Answers a front-end's messages; the frames are moved by hub() in the test's own thread. */
struct backend {
	struct frontend socket; /* its listening half is just what a server needs */
	pthread_t thread;
	_Atomic int fd; /* the connection, for die() */
	uint64_t features;
	uint16_t bases[4];
	struct guest *g;
	struct device d;
};

static struct guest guests[GUESTS];
static struct backend backends[GUESTS];
static char dir[32];
static char paths[GUESTS][64];

static uint64_t answer(struct backend *b, const struct frontend_header *h, uint64_t payload)
{
	uint32_t index = (uint32_t)payload, num = (uint32_t)(payload >> 32);
	struct device_side *s;

	switch (h->request) {
	case FRONTEND_GET_FEATURES:
		return b->features;
	case FRONTEND_GET_PROTOCOL_FEATURES:
		return FRONTEND_P_REPLY_ACK | FRONTEND_P_MQ;
	case FRONTEND_GET_QUEUE_NUM:
		return 1;
	case FRONTEND_SET_VRING_BASE:
		b->bases[index] = (uint16_t)num;
		return 0;
	case FRONTEND_GET_VRING_BASE:
		s = index ? &b->d.tx : &b->d.rx;
		return index | (uint64_t)s->last_avail << 32;
	default:
		return 0;
	}
}

static void *serve(void *arg)
{
	struct backend *b = arg;
	struct frontend_header h;
	uint8_t payload[1024];

	if (frontend_accept(&b->socket, 5000))
		return NULL;
	b->fd = b->socket.fd;
	while (recv(b->socket.fd, &h, sizeof(h), MSG_WAITALL) == sizeof(h)) {
		bool get = !strncmp(frontend_request_name(h.request), "GET_", 4);
		uint64_t value = 0;

		memset(payload, 0, sizeof(payload));
		if (h.size && recv(b->socket.fd, payload, h.size, MSG_WAITALL) != h.size)
			break;
		memcpy(&value, payload, sizeof(value));
		value = answer(b, &h, value);
		if (get || (h.flags & FRONTEND_NEED_REPLY))
			frontend_send_raw(&b->socket, h.request, FRONTEND_VERSION | FRONTEND_REPLY,
					  &value, sizeof(value), NULL, 0);
	}
	frontend_disconnect(&b->socket);
	return NULL;
}

static void backend_start(struct backend *b)
{
	assert_int_equal(pthread_create(&b->thread, NULL, serve, b), 0);
}

static void die(struct backend *b)
{
	shutdown(b->fd, SHUT_RDWR);
	pthread_join(b->thread, NULL);
}

/* What SET_VRING_ADDR and so on would tell a real device. */
static void attach(struct backend *b, struct guest *g)
{
	b->g = g;
	b->d.tx = (struct device_side){&g->memory, &g->pairs[0].tx.ring, b->bases[1], b->bases[1]};
	b->d.rx = (struct device_side){&g->memory, &g->pairs[0].rx.ring, b->bases[0], b->bases[0]};
	b->d.header_bytes = g->pairs[0].tx.header_bytes;
	b->d.mergeable = g->pairs[0].rx.mergeable;
	b->d.shuffle = true;
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/lastref-test-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	memset(backends, 0, sizeof(backends));
	memset(guests, 0, sizeof(guests));
	for (unsigned i = 0; i < GUESTS; i++) {
		snprintf(paths[i], sizeof(paths[i]), "%s/%u", dir, i);
		backends[i].features = GUEST_F_VERSION_1 | GUEST_F_MRG_RXBUF | GUEST_F_PROTOCOL |
				       GUEST_F_INDIRECT | GUEST_F_EVENT_IDX;
		frontend_init(&backends[i].socket);
		if (frontend_listen(&backends[i].socket, paths[i]))
			return -1;
		backend_start(&backends[i]);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < GUESTS; i++) {
		guest_close(&guests[i]);
		pthread_join(backends[i].thread, NULL);
		frontend_fini(&backends[i].socket);
	}
	return rmdir(dir);
}

static void open_guest(unsigned i, struct guest_options *o)
{
	o->path = paths[i];
	o->number = (uint16_t)(i + 1);
	if (guest_open(&guests[i], o) || guest_start(&guests[i]))
		fail_msg("%s", guests[i].err.text);
	attach(&backends[i], &guests[i]);
}

/* Every frame goes to everybody else. */
static void hub(void)
{
	for (unsigned i = 0; i < GUESTS; i++) {
		struct device *others[GUESTS];
		unsigned n = 0;

		for (unsigned k = 0; k < GUESTS; k++)
			if (k != i)
				others[n++] = &backends[k].d;
		device_turn(&backends[i].d, others, n);
		device_return_held(&backends[i].d, true);
	}
}

static void settle(void)
{
	hub();
	for (unsigned i = 0; i < GUESTS; i++)
		guest_poll(&guests[i], UINT32_MAX);
}

static void exchange(uint32_t frames, uint32_t largest)
{
	for (uint32_t n = 0; n < frames; n++) {
		for (unsigned i = 0; i < GUESTS; i++) {
			uint32_t bytes = TRAFFIC_FRAME_MIN +
					 device_random_below(largest - TRAFFIC_FRAME_MIN + 1);
			uint16_t to = (uint16_t)(n % 4 == 3 ? TRAFFIC_BROADCAST : 1 + n % 3);

			if (to == i + 1)
				to = (uint16_t)(1 + (i + 1) % 3);
			assert_int_equal(guest_send_frame(&guests[i], 0, to, bytes), 0);
			guest_flush(&guests[i]);
		}
		if (n % 7 == 0)
			settle();
	}
	settle();
}

static void check_clean(void)
{
	for (unsigned i = 0; i < GUESTS; i++) {
		const struct guest_stats *s = &guests[i].stats;

		assert_int_equal(s->sent, s->returned);
		assert_int_equal(guest_out_count(&guests[i]), 0);
		assert_int_equal(s->bad, 0);
		assert_int_equal(s->lost, 0);
		assert_int_equal(s->duplicated, 0);
		assert_int_equal(s->reordered, 0);
		assert_int_equal(s->other, 0);
		if (guest_fault(&guests[i]))
			fail_msg("%s", guest_fault(&guests[i]));
		for (unsigned k = 0; k < GUESTS; k++)
			if (k != i)
				assert_int_equal(guest_missing(&guests[i], &guests[k]), 0);
	}
}

static void traffic(void **state)
{
	struct guest_options o = {.frame_bytes = 3000, .poison = true};
	struct guest_options scattered = {.frame_bytes = 3000,
					  .poison = true,
					  .tx_pieces = 5,
					  .header_apart = true,
					  .tx_indirect = GUEST_INDIRECT_CHAINS,
					  .rx_buffer_bytes = 700,
					  .rx_pieces = 3};
	uint64_t received = 0, foreign = 0, sent = 0;

	(void)state;
	open_guest(0, &o);
	open_guest(1, &o);
	open_guest(2, &scattered);
	exchange(1000, 3000);
	check_clean();
	for (unsigned i = 0; i < GUESTS; i++) {
		received += guests[i].stats.received;
		foreign += guests[i].stats.foreign;
		sent += guests[i].stats.sent;
	}
	assert_int_equal(sent, 3000);
	/* Broadcasts arrive twice, the others once, and once at a guest that they are not for. */
	assert_int_equal(received + foreign, 2 * sent);
	assert_int_equal(foreign, 3 * 750);
}

/* One byte anywhere in a frame: it is noticed. */
static void wrong_bytes(void **state)
{
	struct guest_options o = {0};

	(void)state;
	for (unsigned i = 0; i < GUESTS; i++)
		open_guest(i, &o);
	for (uint32_t at = 0; at < 61; at++) {
		struct guest *g = &guests[0];
		uint64_t good = guests[1].stats.received, bad = guests[1].stats.bad,
			 other = guests[1].stats.other + guests[1].stats.foreign;
		uint32_t index = g->pairs[0].buffers.free[g->pairs[0].buffers.free_count - 1];

		assert_int_equal(guest_send_frame(g, 0, 2, 61), 0);
		g->pairs[0].buffers.blocks[index].host[64 + at] ^= 0x10;
		guest_flush(g);
		settle();
		assert_int_equal(guests[1].stats.received, good);
		assert_int_equal(guests[1].stats.bad - bad + guests[1].stats.other +
					 guests[1].stats.foreign - other,
				 1);
	}
	assert_int_equal(guests[1].stats.bad,
			 59); /* the EtherType's two make it no traffic of ours */
	assert_int_equal(guest_missing(&guests[1], &guests[0]), 61);
}

static void poison_is_seen(void **state)
{
	struct guest_options o = {.poison = true};
	struct device_segment segments[4];
	static uint8_t late[200];
	struct backend *b = &backends[0];
	uint32_t count;
	uint16_t head;

	(void)state;
	for (unsigned i = 0; i < GUESTS; i++)
		open_guest(i, &o);
	assert_int_equal(guest_send_frame(&guests[0], 0, 2, 100), 0);
	guest_flush(&guests[0]);
	head = device_pop(&b->d.tx, segments, &count);
	memcpy(late, segments[0].data + 12, TRAFFIC_FRAME_MIN);
	device_give(&b->d.tx, head, 0);
	guest_poll(&guests[0], 1);
	/* The rest is read only now. */
	memcpy(late + TRAFFIC_FRAME_MIN, segments[0].data + 12 + TRAFFIC_FRAME_MIN,
	       100 - TRAFFIC_FRAME_MIN);
	assert_true(device_deliver(&backends[1].d, late, 100));
	guest_poll(&guests[1], 1);
	assert_int_equal(guests[1].stats.bad, 1);
	assert_int_equal(guests[1].stats.poisoned, 1);
}

static void stop_start_reconnect(void **state)
{
	struct guest_options o = {0};
	struct guest *g = &guests[0];

	(void)state;
	for (unsigned i = 0; i < GUESTS; i++)
		open_guest(i, &o);
	exchange(300, 1000);
	assert_int_equal(guest_stop(g), 0);
	assert_int_equal(g->pairs[0].tx_base, 300);
	assert_int_equal(guest_start(g), 0);
	assert_int_equal(backends[0].bases[1], 300);
	exchange(300, 1000);

	/* A back-end that stops before it has returned everything is found out. */
	backends[0].d.tx.last_avail++;
	assert_int_equal(guest_stop(g), -EPROTO);
	backends[0].d.tx.last_avail--;
	assert_int_equal(guest_stop(g), 0);
	assert_int_equal(guest_start(g), 0);

	/* The switch dies with frames posted; they go out when it is back. */
	die(&backends[0]);
	assert_false(frontend_is_alive(&g->frontend));
	assert_int_equal(guest_send_frame(g, 0, 2, 100), 0);
	guest_flush(g);
	backend_start(&backends[0]);
	assert_int_equal(guest_reconnect(g, 5000), 0);
	attach(&backends[0], g);
	assert_int_equal(backends[0].bases[1], 600);
	exchange(100, 1000);
	check_clean();

	/* It comes back with less than before. */
	die(&backends[0]);
	backends[0].features &= ~GUEST_F_MRG_RXBUF;
	backend_start(&backends[0]);
	assert_int_equal(guest_reconnect(g, 5000), -EREMOTEIO);
}

static void refused(void **state)
{
	struct guest_options o = {.path = paths[0], .pairs = 2};
	struct guest g;

	(void)state;
	assert_int_equal(guest_open(&g, &o), -EINVAL);
	assert_non_null(strstr(g.err.text, "2 queue pairs are wanted, 1 are offered"));
	guest_close(&g);
	o.path = "/nonexistent/socket";
	o.wait_ms = 1;
	assert_int_equal(guest_open(&g, &o), -ENOENT);
	/* The other back-ends still wait for somebody. */
	for (unsigned i = 1; i < GUESTS; i++) {
		o = (struct guest_options){0};
		open_guest(i, &o);
	}
}

static void streams(void **state)
{
	struct traffic_streams all = {0};
	struct traffic_stream *s = traffic_stream(&all, 1, 2);

	(void)state;
	assert_ptr_equal(traffic_stream(&all, 1, 2), s);
	assert_ptr_not_equal(traffic_stream(&all, 2, 1), s);
	for (uint64_t i = 0; i < 200000; i++)
		traffic_arrived(s, i);
	assert_int_equal(s->received, 200000);
	assert_int_equal(s->lost + s->duplicated + s->reordered, 0);
	traffic_arrived(s, 200005);
	assert_int_equal(s->lost, 5);
	traffic_arrived(s, 200002);
	assert_int_equal(s->lost, 4);
	assert_int_equal(s->reordered, 1);
	traffic_arrived(s, 200002);
	traffic_arrived(s, 199999);
	assert_int_equal(s->duplicated, 2);
	traffic_arrived(s, 200005 + 10 * TRAFFIC_WINDOW);
	assert_int_equal(s->lost, 4 + 10 * TRAFFIC_WINDOW - 1);
	traffic_arrived(s, 200006);
	assert_int_equal(s->duplicated, 3); /* too late to tell */
	traffic_arrived(s, 200004 + 10 * TRAFFIC_WINDOW);
	assert_int_equal(s->reordered, 2);
	assert_int_equal(s->received, 200004);
	traffic_streams_fini(&all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(traffic, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(poison_is_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(stop_start_reconnect, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test(streams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
