/* SPDX-License-Identifier: BSD-2-Clause */
/* Random message streams: mostly plausible messages with wrong values, file descriptors of every
 * kind, memory that is truncated in between, connections that end anywhere. The stand-in owner
 * checks what it is told; after each connection nothing may be left.
 *
 * LASTREF_SEED=N runs one seed, LASTREF_LONG=1 more of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/log.h"
#include "script.h"
#include "vhost/device.h"

#define SEEDS		     8
#define SEEDS_LONG	     200
#define CONNECTIONS	     20
#define MESSAGES	     300
#define KINDS		     6 /* of file descriptors */
#define ROUNDS_BETWEEN_PAUSE 64

static uint64_t seed_state;

static uint64_t draw(void)
{
	/* xorshift64* */
	seed_state ^= seed_state >> 12;
	seed_state ^= seed_state << 25;
	seed_state ^= seed_state >> 27;
	return seed_state * 0x2545f4914f6cdd1dull;
}

static uint64_t below(uint64_t n)
{
	return draw() % n;
}

static bool one_in(uint64_t n)
{
	return below(n) == 0;
}

/* Files of the front-end; the streams pick among them. */
static int files[KINDS];

static void files_open(void)
{
	files[0] = eventfd(0, EFD_CLOEXEC);
	files[1] = memfd_create("sealable", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	files[2] = memfd_create("unsealable", MFD_CLOEXEC);
	files[3] = memfd_create("short", MFD_CLOEXEC);
	files[4] = open("/dev/null", O_RDWR | O_CLOEXEC);
	files[5] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(ftruncate(files[1], SCRIPT_MEMORY), 0);
	assert_int_equal(ftruncate(files[2], SCRIPT_MEMORY), 0);
	assert_int_equal(ftruncate(files[3], 8192), 0);
}

static void files_close(void)
{
	for (int i = 0; i < KINDS; i++)
		close(files[i]);
}

/* Values near where something ends. */
static uint64_t odd_value(void)
{
	static const uint64_t values[] = {
		0,     1,	   2,	       255,	   256,		4095,	    4096,     65535,
		65536, UINT32_MAX, 1ull << 32, 1ull << 46, SCRIPT_USER, UINT64_MAX, INT64_MAX};

	return values[below(ARRAY_SIZE(values))] + below(3) - 1;
}

static uint64_t ring_address(uint64_t good)
{
	if (one_in(20))
		return odd_value();
	return good + (one_in(10) ? below(64) : 0);
}

static struct vhost_wire_region region(void)
{
	struct vhost_wire_region r = {.bytes = SCRIPT_MEMORY, .user = SCRIPT_USER};

	if (one_in(3))
		r.guest = below(4) * SCRIPT_MEMORY;
	if (one_in(3))
		r.user += below(4) * SCRIPT_MEMORY;
	if (one_in(8))
		r.bytes = one_in(2) ? 8192 : odd_value();
	if (one_in(10))
		r.mmap_offset = one_in(2) ? 4096 * below(8) : odd_value();
	if (one_in(30))
		r.guest = odd_value();
	if (one_in(30))
		r.user = odd_value();
	return r;
}

struct stream_message {
	struct vhost_header header;
	union vhost_payload payload;
	uint32_t payload_bytes;
	int fds[12];
	unsigned fd_count;
};

static void fill_ring(struct stream_message *m)
{
	uint32_t index = (uint32_t)(one_in(60) ? odd_value() : below(SCRIPT_RINGS));
	struct vhost_ring_addresses good = script_addresses(index % SCRIPT_RINGS);

	m->payload_bytes = 8;
	m->payload.state.index = index;
	switch (m->header.request) {
	case VHOST_SET_VRING_NUM:
		m->payload.state.value = one_in(8) ? (uint32_t)odd_value() : 1u << below(12);
		break;
	case VHOST_SET_VRING_ADDR:
		good.index = index;
		good.desc = ring_address(good.desc);
		good.avail = ring_address(good.avail);
		good.used = ring_address(good.used);
		m->payload.addresses = good;
		m->payload_bytes = sizeof(good);
		break;
	case VHOST_SET_VRING_ENABLE:
		m->payload.state.value = (uint32_t)below(3);
		break;
	default:
		m->payload.state.value = (uint32_t)draw() & 0x1ffff;
		break;
	}
}

static void fill_eventfd(struct stream_message *m)
{
	m->payload_bytes = 8;
	m->payload.u64 = one_in(30) ? odd_value() : below(SCRIPT_RINGS);
	if (one_in(8))
		m->payload.u64 |= VHOST_RING_NO_FD;
	else
		m->fds[m->fd_count++] = files[one_in(8) ? below(KINDS) : 0];
}

static void fill_memory(struct stream_message *m)
{
	if (m->header.request == VHOST_SET_MEM_TABLE) {
		m->payload.table.count = (uint32_t)(one_in(20) ? odd_value() : below(4));
		for (unsigned i = 0; i < VHOST_FDS_MAX; i++) {
			m->payload.table.regions[i] = region();
			if (i < m->payload.table.count)
				m->fds[m->fd_count++] = files[1 + below(one_in(8) ? 5 : 2)];
		}
		m->payload_bytes = 8 + 32 * (uint32_t)min_u64(m->payload.table.count, 8);
		return;
	}
	m->payload.one_region.region = region();
	m->payload_bytes = sizeof(m->payload.one_region);
	if (m->header.request == VHOST_ADD_MEM_REG)
		m->fds[m->fd_count++] = files[1 + below(one_in(8) ? 5 : 2)];
}

static void fill(struct stream_message *m)
{
	switch (m->header.request) {
	case VHOST_SET_FEATURES:
		m->payload.u64 = draw() & (SCRIPT_OFFERED | VIRTIO_PROTOCOL_FEATURES);
		break;
	case VHOST_SET_PROTOCOL_FEATURES:
		m->payload.u64 = VHOST_PROTOCOL_REPLY_ACK | VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS;
		break;
	case VHOST_SET_MEM_TABLE:
	case VHOST_ADD_MEM_REG:
	case VHOST_REM_MEM_REG:
		fill_memory(m);
		return;
	case VHOST_SET_VRING_KICK:
	case VHOST_SET_VRING_CALL:
	case VHOST_SET_VRING_ERR:
		fill_eventfd(m);
		return;
	case VHOST_SET_VRING_NUM:
	case VHOST_SET_VRING_ADDR:
	case VHOST_SET_VRING_BASE:
	case VHOST_GET_VRING_BASE:
	case VHOST_SET_VRING_ENABLE:
		fill_ring(m);
		return;
	case VHOST_GET_CONFIG:
		m->payload.config.offset = (uint32_t)odd_value();
		m->payload.config.bytes = (uint32_t)odd_value();
		m->payload_bytes = 12 + (uint32_t)below(300);
		return;
	default:
		m->payload.u64 = odd_value();
		break;
	}
	m->payload_bytes = 8;
}

/* Those that make rings run come more often than the rest. */
static uint32_t draw_request(void)
{
	static const uint8_t often[] = {VHOST_SET_VRING_NUM,  VHOST_SET_VRING_ADDR,
					VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL,
					VHOST_GET_VRING_BASE, VHOST_SET_VRING_ENABLE,
					VHOST_ADD_MEM_REG,    VHOST_REM_MEM_REG,
					VHOST_SET_MEM_TABLE,  VHOST_SET_VRING_KICK};

	if (one_in(2))
		return often[below(ARRAY_SIZE(often))];
	return (uint32_t)below(one_in(20) ? 50 : VHOST_REQUEST_COUNT);
}

/* A whole message of the right shape, then a mutation now and then. */
static void compose(struct stream_message *m)
{
	memset(m, 0, sizeof(*m));
	m->header.request = draw_request();
	m->header.flags = VHOST_VERSION | (one_in(2) ? VHOST_FLAG_NEED_REPLY : 0);
	fill(m);
	if (one_in(800))
		m->header.flags = (uint32_t)draw();
	if (one_in(600))
		m->payload.bytes[below(40)] ^= (uint8_t)draw();
	if (one_in(800))
		m->fds[m->fd_count++] = files[below(KINDS)];
	if (one_in(800) && m->fd_count)
		m->fd_count--;
	m->header.payload_bytes = m->payload_bytes;
	if (one_in(800))
		m->header.payload_bytes = (uint32_t)odd_value();
	if (one_in(600))
		m->payload_bytes = (uint32_t)below(m->payload_bytes + 1);
}

static void send_composed(const struct script *s, const struct stream_message *m)
{
	uint8_t bytes[sizeof(m->header) + sizeof(m->payload)];

	memcpy(bytes, &m->header, sizeof(m->header));
	memcpy(bytes + sizeof(m->header), &m->payload, m->payload_bytes);
	script_write(s->fd, bytes, sizeof(m->header) + m->payload_bytes, m->fds, m->fd_count);
}

static void drain_replies(const struct script *s)
{
	uint8_t sink[4096];

	while (recv(s->fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
}

/* Now and then one of the memories shrinks and grows: whoever touches it must live. */
static void disturb(void)
{
	int fd = files[2 + below(2)];

	assert_int_equal(ftruncate(fd, (off_t)(one_in(2) ? 0 : 4096)), 0);
	if (one_in(2))
		assert_int_equal(ftruncate(fd, SCRIPT_MEMORY), 0);
}

static void one_connection(struct script *s, uint64_t *messages)
{
	struct vhost_counters *c = &s->device->counters;

	script_connect(s);
	if (one_in(2)) /* from a start that is good, or from nothing */
		script_start(s, SCRIPT_OFFERED & ~VIRTIO_NET_MQ);
	for (unsigned i = 0; i < MESSAGES && !script_is_closed(s); i++) {
		struct stream_message m;

		compose(&m);
		send_composed(s, &m);
		if (one_in(50))
			disturb();
		script_run(s);
		drain_replies(s);
		for (unsigned ring = 0; ring < SCRIPT_RINGS && one_in(40); ring++)
			if (s->owner.rings[ring].running)
				vhost_device_broken(s->device, ring, "drawn");
		if (i % ROUNDS_BETWEEN_PAUSE == 0 && c->pauses)
			script_run_ms(s, 25); /* past a pause: messages wait in the socket */
		++*messages;
	}
	close(s->fd);
	s->fd = -1;
	script_run_ms(s, c->pauses ? 30 : 1);
}

static uint64_t total_messages, total_violations, total_starts;

static void one_seed(uint64_t seed)
{
	unsigned fds_before = script_fds_open();
	struct script script, *s = &script;

	seed_state = seed * 0x9e3779b97f4a7c15ull + 1;
	files_open();
	script_init(s, NULL);
	for (int i = 0; i < CONNECTIONS; i++) {
		one_connection(s, &total_messages);
		assert_int_equal(s->owner.connected, s->owner.disconnected);
		assert_int_equal(mem_regions_mapped(), 0);
		for (int k = 0; k < SCRIPT_RINGS; k++)
			assert_int_equal(s->owner.rings[k].starts, s->owner.rings[k].stops);
		/* files, loop with its timers, listening socket: nothing of the connection */
		assert_int_equal(ftruncate(files[2], SCRIPT_MEMORY), 0);
		if (i == 0)
			fds_before = script_fds_open();
		assert_int_equal(script_fds_open(), fds_before);
	}
	total_violations += s->device->counters.violations;
	for (int k = 0; k < SCRIPT_RINGS; k++)
		total_starts += s->owner.rings[k].starts;
	script_fini(s);
	files_close();
}

static void random_streams(void **state)
{
	const char *one = getenv("LASTREF_SEED");
	uint64_t seeds = getenv("LASTREF_LONG") ? SEEDS_LONG : SEEDS;

	(void)state;
	assert_int_equal(mem_init(), 0);
	if (one)
		one_seed(strtoull(one, NULL, 10));
	for (uint64_t seed = 1; !one && seed <= seeds; seed++)
		one_seed(seed);
	print_message("# %llu messages, %llu violations, %llu ring starts\n",
		      (unsigned long long)total_messages, (unsigned long long)total_violations,
		      (unsigned long long)total_starts);
	/* the streams get somewhere */
	assert_true(total_starts > total_messages / 1000);
	assert_true(total_violations > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(random_streams)};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
