/* SPDX-License-Identifier: BSD-2-Clause */
/* The vhost-user back-end's rings and memory: when a ring runs, what it refuses, what a change of
 * memory does to it. Numbers are those of doc/attacks.md.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "script.h"
#include "vhost/device.h"

#define BIT30	VIRTIO_PROTOCOL_FEATURES
#define USUAL	(VIRTIO_VERSION_1 | VIRTIO_NET_MRG_RXBUF | BIT30)
#define RINGS	s->owner.rings
#define REFUSED 1

static unsigned fds_before;

static int set_up(void **state)
{
	static struct script script;

	fds_before = script_fds_open();
	script_init(&script, NULL);
	script_connect(&script);
	*state = &script;
	return script.owner.connected == 1 ? 0 : -1;
}

static int tear_down(void **state)
{
	struct script *s = *state;

	script_fini(s);
	assert_int_equal(script_fds_open(), fds_before); /* G9 */
	return 0;
}

/* Violations end the connection; the next one is served as if nothing had been. */
static void closed_and_ready_again(struct script *s)
{
	unsigned count = s->owner.connected;

	script_run(s);
	assert_true(script_is_closed(s));
	assert_int_equal(s->owner.disconnected, count);
	assert_true(s->owner.why[0] != '\0');
	script_connect(s);
	assert_int_equal(s->owner.connected, count + 1);
	assert_int_equal(script_ask(s, VHOST_GET_FEATURES), SCRIPT_OFFERED | BIT30);
}

/* Rings */

static void ring_starts_on_kick_and_stops_on_get_base(void **state)
{
	struct script *s = *state;

	script_start(s, USUAL);
	assert_int_equal(RINGS[0].starts, 1);
	assert_int_equal(RINGS[0].info.config.size, 256);
	assert_int_equal(RINGS[0].info.config.base, 0);
	assert_int_equal(RINGS[0].info.config.features, USUAL);
	assert_true(RINGS[0].info.kick_fd >= 0);
	assert_true(RINGS[0].info.call_fd >= 0);
	assert_false(RINGS[0].enabled); /* bit 30: until SET_VRING_ENABLE */
	assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_ENABLE, 0, 1), 0);
	assert_true(RINGS[0].enabled);
	RINGS[0].next = 77;
	assert_int_equal(script_stop_ring(s, 0), 77);
	assert_false(RINGS[0].running);
	assert_false(RINGS[0].peer_gone);
	assert_true(RINGS[1].running);
	assert_int_equal(script_stop_ring(s, 0), 77); /* again: the same */
	assert_int_equal(script_stop_ring(s, 3), 0);  /* never ran */
}

/* No new memory table is needed, nor addresses. */
static void ring_starts_again_after_get_base(void **state)
{
	struct script *s = *state;
	int kick_fd = eventfd(0, 0);

	script_start(s, USUAL);
	assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_ENABLE, 0, 1), 0);
	RINGS[0].next = 65535;
	script_stop_ring(s, 0);
	assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_BASE, 0, 65535), 0);
	assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_BASE, 0, 65536), REFUSED);
	assert_false(RINGS[0].running);
	assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_KICK, 0, kick_fd), 0);
	assert_true(RINGS[0].running);
	assert_true(RINGS[0].enabled);
	assert_int_equal(RINGS[0].info.config.base, 65535);
	assert_int_equal(RINGS[0].info.call_fd, -1); /* dropped with the stop */
	close(kick_fd);
}

/* The back-end was killed and came back: the base that it is told may be stale, the used index in
 * guest memory is not. */
static void base_of_an_earlier_life(void **state)
{
	struct script *s = *state;
	static const struct {
		uint64_t features;
		uint16_t base, used, avail, resumes;
	} cases[] = {
		{USUAL, 0, 0, 256, 0},
		{USUAL, 0, 1000, 1256, 1000},	 /* never told: behind what was used */
		{USUAL, 900, 1000, 1000, 1000},	 /* the last one told */
		{USUAL, 1003, 1000, 1100, 1003}, /* three are out: not ours to take again */
		{USUAL, 0, 65500, 65530, 65500}, /* cannot be: nothing there yet */
		{USUAL, 2, 65534, 100, 2},	 /* the same as three out, over the wrap */
		{USUAL | VIRTIO_IN_ORDER, 1003, 1000, 1100, 1000}, /* nothing is ever left out */
		{USUAL | VIRTIO_IN_ORDER, 0, 65500, 100, 65500},
	};
	int kick_fd = eventfd(0, 0), memory_fd = script_memory_fd();
	uint8_t *memory =
		mmap(NULL, SCRIPT_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		script_connect(s);
		script_negotiate(s, cases[i].features);
		assert_int_equal(script_tell_memory(s, memory_fd), 0);
		((struct virtio_avail *)(void *)(memory + 0x10000))->index =
			le16_make(cases[i].avail);
		((struct virtio_used *)(void *)(memory + 0x18000))->index =
			le16_make(cases[i].used);
		script_set_up_ring(s, 0, 256);
		assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_BASE, 0, cases[i].base), 0);
		assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_KICK, 0, kick_fd), 0);
		assert_int_equal(RINGS[0].info.config.base, cases[i].resumes);
	}
	munmap(memory, SCRIPT_MEMORY);
	close(memory_fd);
	close(kick_fd);
}

static void rings_start_enabled_without_protocol_features(void **state)
{
	struct script *s = *state;

	script_start(s, USUAL & ~BIT30);
	assert_true(RINGS[0].enabled);
	assert_true(RINGS[1].enabled);
}

static void enable_before_everything_else(void **state) /* 20 */
{
	struct script *s = *state;

	script_negotiate(s, USUAL);
	for (uint32_t i = 0; i < SCRIPT_RINGS; i++)
		assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_ENABLE, i, i == 1), 0);
	assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_ENABLE, 0, 2), REFUSED);
	script_start(s, USUAL);
	assert_false(RINGS[0].enabled);
	assert_true(RINGS[1].enabled);
	for (int i = 0; i < 1000; i++) /* 133 */
		assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_ENABLE, 0, i & 1), 0);
	assert_int_equal(RINGS[0].stops, 0);
}

/* Every message but one, in the order of the row: a ring starts only when all were there. */
static void half_configured_rings(void **state) /* 21 */
{
	struct script *s = *state;
	int kick_fd = eventfd(0, 0), memory_fd = script_memory_fd();

	for (int without = 0; without < 4; without++) {
		struct vhost_ring_addresses a = script_addresses(0);
		uint64_t protocol = VHOST_PROTOCOL_REPLY_ACK;

		script_send(s, VHOST_SET_PROTOCOL_FEATURES, 0, &protocol, 8, NULL, 0);
		if (without != 0)
			assert_int_equal(script_tell_u64(s, VHOST_SET_FEATURES, USUAL), 0);
		if (without != 1)
			assert_int_equal(script_tell_memory(s, memory_fd), 0);
		if (without != 2)
			assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_NUM, 0, 64), 0);
		if (without != 3)
			assert_int_equal(
				script_tell(s, VHOST_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
		assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_KICK, 0, kick_fd), 0);
		assert_false(RINGS[0].running);
		/* and once the last one comes, it runs */
		if (without == 0)
			script_tell_u64(s, VHOST_SET_FEATURES, USUAL);
		if (without == 1)
			script_tell_memory(s, memory_fd);
		if (without == 2)
			script_tell_ring(s, VHOST_SET_VRING_NUM, 0, 64);
		if (without == 3)
			script_tell(s, VHOST_SET_VRING_ADDR, &a, sizeof(a), NULL, 0);
		assert_true(RINGS[0].running);
		script_connect(s);
		assert_false(RINGS[0].running);
	}
	close(kick_fd);
	close(memory_fd);
}

static void no_fd_means_polling(void **state) /* 11 */
{
	struct script *s = *state;

	script_start(s, USUAL);
	script_stop_ring(s, 0);
	assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_CALL, 0, -1), 0);
	assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_ERR, 0, -1), 0);
	assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_KICK, 0, -1), 0);
	assert_true(RINGS[0].running);
	assert_int_equal(RINGS[0].info.kick_fd, -1);
	assert_int_equal(RINGS[0].info.call_fd, -1);
}

static void ring_sizes(void **state) /* 13 */
{
	struct script *s = *state;
	static const uint32_t bad[] = {0, 3, 300, 32769, 65536, UINT32_MAX};

	script_negotiate(s, USUAL);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_NUM, 0, bad[i]), REFUSED);
	for (uint32_t size = 1; size <= 32768; size *= 2)
		assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_NUM, 0, size), 0);
}

static void ring_indexes(void **state)
{
	struct script *s = *state;
	struct vhost_ring_addresses a = script_addresses(0);
	struct vhost_ring_state state_of_none = {SCRIPT_RINGS, 0};
	int fd = eventfd(0, 0);

	script_negotiate(s, USUAL);
	for (uint32_t index = SCRIPT_RINGS; index < 256; index += 13) {
		a.index = index;
		assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_NUM, index, 64), REFUSED);
		assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_BASE, index, 0), REFUSED);
		assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_ENABLE, index, 1), REFUSED);
		assert_int_equal(script_tell(s, VHOST_SET_VRING_ADDR, &a, sizeof(a), NULL, 0),
				 REFUSED);
		assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_KICK, index, fd), REFUSED);
		assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_CALL, index, fd), REFUSED);
		assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_ERR, index, fd), REFUSED);
	}
	assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_NUM, 0x80000000, 64), REFUSED);
	/* it waits for a reply that cannot be given */
	script_send(s, VHOST_GET_VRING_BASE, 0, &state_of_none, 8, NULL, 0);
	closed_and_ready_again(s);
	close(fd);
}

static void changes_while_running(void **state) /* 14 */
{
	struct script *s = *state;
	struct vhost_ring_addresses a = script_addresses(0), same = a;
	struct vhost_ring_state num = {0, 512};
	int err_fd = eventfd(0, EFD_NONBLOCK), kick_fd = eventfd(0, 0);
	uint64_t count;

	script_start(s, USUAL);
	same.flags = 1;
	same.log = 4096;
	assert_int_equal(script_tell(s, VHOST_SET_VRING_ADDR, &same, sizeof(same), NULL, 0), 0);
	assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_NUM, 0, 512), REFUSED);
	assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_BASE, 0, 1), REFUSED);
	a.used += 64;
	assert_int_equal(script_tell(s, VHOST_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), REFUSED);
	assert_true(RINGS[0].running);
	assert_int_equal(RINGS[0].stops, 0);
	/* nobody listens for the refusal: that ring is broken, the other one is not */
	assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_ERR, 0, err_fd), 0);
	script_send(s, VHOST_SET_VRING_NUM, 0, &num, 8, NULL, 0);
	assert_false(RINGS[0].running);
	assert_true(RINGS[1].running);
	assert_int_equal(RINGS[0].broken, 1);
	assert_int_equal(read(err_fd, &count, 8), 8);
	/* a kick does not heal it, GET_VRING_BASE does */
	assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_KICK, 0, kick_fd), 0);
	assert_false(RINGS[0].running);
	script_stop_ring(s, 0);
	assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_KICK, 0, kick_fd), 0);
	assert_true(RINGS[0].running);
	close(err_fd);
	close(kick_fd);
}

static void broken_by_its_guest(void **state)
{
	struct script *s = *state;
	int err_fd = eventfd(0, EFD_NONBLOCK), kick_fd = eventfd(0, 0);
	uint64_t count = UINT64_MAX - 1;

	script_start(s, USUAL);
	assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_ERR, 1, err_fd), 0);
	assert_int_equal(write(err_fd, &count, 8), 8); /* 26: saturated */
	RINGS[1].next = 9;
	vhost_device_broken(s->device, 1, "head 700 of 256");
	vhost_device_broken(s->device, 1, "once more");
	assert_int_equal(RINGS[1].broken, 1);
	assert_int_equal(RINGS[1].stops, 1);
	assert_int_equal(s->owner.signals, 1);
	assert_true(RINGS[0].running);
	assert_int_equal(script_ask(s, VHOST_GET_FEATURES), SCRIPT_OFFERED | BIT30);
	assert_int_equal(script_stop_ring(s, 1), 9);
	assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_KICK, 1, kick_fd), 0);
	assert_true(RINGS[1].running);
	vhost_device_broken(s->device, 1, "again");
	assert_int_equal(script_tell_u64(s, VHOST_SET_STATUS, 0), 0);
	script_start(s, USUAL); /* a reset heals, too */
	close(err_fd);
	close(kick_fd);
}

static void ring_size_a_million_times(void **state) /* 15 */
{
	struct script *s = *state;
	struct vhost_ring_state num = {0, 256};

	for (int i = 0; i < 20000; i++) {
		script_send(s, VHOST_SET_VRING_NUM, 0, &num, 8, NULL, 0);
		if (i % 100 == 0)
			script_run_ms(s, 1);
	}
	script_run_ms(s, 1100); /* past a pause of the rate limit */
	assert_int_equal(script_ask(s, VHOST_GET_QUEUE_NUM), SCRIPT_PAIRS);
}

static void fds_that_are_no_eventfds(void **state) /* 23 */
{
	struct script *s = *state;
	int pipes[2], sockets[2];
	int fds[7];

	script_start(s, USUAL);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	fds[0] = pipes[1];
	fds[1] = sockets[0];
	fds[2] = memfd_create("[eventfd]", 0);
	fds[3] = epoll_create1(0);
	fds[4] = open("/dev/zero", O_RDWR);
	fds[5] = s->fd;
	fds[6] = open("/", O_PATH);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_CALL, 0, fds[i]), REFUSED);
		assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_KICK, 0, fds[i]), REFUSED);
		assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_ERR, 0, fds[i]), REFUSED);
	}
	assert_true(RINGS[0].running);
	assert_int_equal(RINGS[0].calls, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] != s->fd)
			close(fds[i]);
	close(pipes[0]);
	close(sockets[1]);
}

static void eventfds_replaced_while_running(void **state)
{
	struct script *s = *state;
	int fd = eventfd(0, 0);

	script_start(s, USUAL);
	for (int i = 0; i < 300; i++) {
		assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_CALL, 0, i % 3 ? fd : -1), 0);
		assert_int_equal(RINGS[0].call_fd < 0, i % 3 == 0);
		if (i % 3)
			assert_true(fcntl(RINGS[0].call_fd, F_GETFL) & O_NONBLOCK);
	}
	assert_int_equal(RINGS[0].calls, 300);
	RINGS[1].next = 5;
	assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_KICK, 1, fd), 0);
	assert_int_equal(RINGS[1].starts, 2); /* where it was */
	assert_int_equal(RINGS[1].info.config.base, 5);
	close(fd);
}

static void ring_addresses(void **state) /* 55 */
{
	struct script *s = *state;
	const uint64_t end = SCRIPT_USER + SCRIPT_MEMORY;
	struct vhost_ring_addresses good = script_addresses(0), a;
	int memory_fd = script_memory_fd(), kick_fd = eventfd(0, 0);
	uint64_t *parts[3] = {&a.desc, &a.avail, &a.used};
	const uint64_t bytes[3] = {16 * 256, 6 + 2 * 256, 6 + 8 * 256};
	const uint64_t step[3] = {16, 2, 4};

	script_negotiate(s, USUAL);
	assert_int_equal(script_tell_memory(s, memory_fd), 0);
	assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_NUM, 0, 256), 0);
	for (int i = 0; i < 3; i++) {
		const uint64_t last = (end - bytes[i]) & ~(step[i] - 1);
		const uint64_t bad[] = {0,
					UINT64_MAX - 15,
					end,
					SCRIPT_USER - step[i],
					last + step[i],
					SCRIPT_USER + 1};

		for (unsigned k = 0; k < ARRAY_SIZE(bad); k++) {
			a = good;
			*parts[i] = bad[k];
			assert_int_equal(
				script_tell(s, VHOST_SET_VRING_ADDR, &a, sizeof(a), NULL, 0),
				REFUSED);
		}
		a = good;
		*parts[i] = last;
		assert_int_equal(script_tell(s, VHOST_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
	}
	/* a larger ring at addresses that were good for the smaller one */
	assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_NUM, 0, 32768), 0);
	assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_KICK, 0, kick_fd), REFUSED);
	assert_int_equal(RINGS[0].starts, 0);
	assert_int_equal(script_tell(s, VHOST_SET_VRING_ADDR, &good, sizeof(good), NULL, 0), 0);
	assert_int_equal(RINGS[0].starts, 1); /* 512 KiB of descriptors do fit there */
	/* used ring over the descriptors: its guest hurts itself only */
	script_stop_ring(s, 0);
	assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_NUM, 0, 256), 0);
	a = good;
	a.used = a.desc;
	assert_int_equal(script_tell(s, VHOST_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
	close(memory_fd);
	close(kick_fd);
}

static void owner_that_cannot_start_a_ring(void **state)
{
	struct script *s = *state;
	int kick_fd = eventfd(0, 0), memory_fd = script_memory_fd();

	script_negotiate(s, USUAL);
	assert_int_equal(script_tell_memory(s, memory_fd), 0);
	script_set_up_ring(s, 0, 64);
	s->owner.start_error = -ENOMEM;
	assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_KICK, 0, kick_fd), REFUSED);
	s->owner.start_error = 0;
	assert_int_equal(script_tell_fd(s, VHOST_SET_VRING_KICK, 0, kick_fd), 0);
	assert_true(RINGS[0].running);
	close(kick_fd);
	close(memory_fd);
}

/* Memory */

static void tables(void **state) /* 33, 34 */
{
	struct script *s = *state;
	uint8_t payload[8 + 9 * 32] = {9};
	struct vhost_wire_table empty = {0};
	int memory_fd = script_memory_fd();
	int fds[8];

	for (int i = 0; i < 8; i++)
		fds[i] = memory_fd;
	script_start(s, USUAL);
	assert_int_equal(script_tell(s, VHOST_SET_MEM_TABLE, payload, sizeof(payload), fds, 8),
			 REFUSED);
	assert_true(RINGS[0].running);
	assert_int_equal(RINGS[0].stops, 0);
	assert_int_equal(script_tell(s, VHOST_SET_MEM_TABLE, &empty, 8, NULL, 0), 0);
	assert_false(RINGS[0].running);
	assert_int_equal(mem_regions_mapped(), 0);
	RINGS[0].next = 3;
	assert_int_equal(script_tell_memory(s, memory_fd), 0);
	assert_true(RINGS[0].running); /* back where it stood */
	close(memory_fd);
}

static void bad_regions_leave_the_old_table(void **state) /* 36, 37, 38, 39, 43 */
{
	struct script *s = *state;
	int memory_fd = script_memory_fd(), read_only;
	char path[64];
	const struct vhost_wire_region bad[] = {
		{.bytes = 0, .user = SCRIPT_USER},
		{.guest = UINT64_MAX - 4095, .bytes = 8192, .user = SCRIPT_USER},
		{.bytes = 8192, .user = UINT64_MAX - 4095},
		{.bytes = 8192, .user = SCRIPT_USER, .mmap_offset = UINT64_MAX - 4095},
		{.bytes = 4096, .user = SCRIPT_USER, .mmap_offset = SCRIPT_MEMORY},
		{.bytes = SCRIPT_MEMORY + 4096, .user = SCRIPT_USER},
	};
	struct vhost_wire_table table = {.count = 1};

	script_start(s, USUAL);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		table.regions[0] = bad[i];
		assert_int_equal(script_tell(s, VHOST_SET_MEM_TABLE, &table, 40, &memory_fd, 1),
				 REFUSED);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memory_fd);
	read_only = open(path, O_RDONLY);
	assert_int_equal(script_tell_memory(s, read_only), REFUSED);
	assert_true(RINGS[0].running);
	assert_int_equal(RINGS[0].stops, 0);
	assert_int_equal(mem_regions_mapped(), 1);
	close(read_only);
	close(memory_fd);
}

static void same_table_again_disturbs_nobody(void **state)
{
	struct script *s = *state;
	int memory_fd = script_memory_fd(), other_fd = script_memory_fd();

	script_start(s, USUAL);
	assert_int_equal(script_tell_memory(s, memory_fd), 0); /* another file: a change */
	assert_int_equal(RINGS[0].stops, 1);
	assert_int_equal(RINGS[0].starts, 2);
	for (int i = 0; i < 10; i++)
		assert_int_equal(script_tell_memory(s, memory_fd), 0);
	assert_int_equal(RINGS[0].stops, 1);
	RINGS[0].next = 1234;
	assert_int_equal(script_tell_memory(s, other_fd), 0);
	assert_int_equal(RINGS[0].info.config.base, 1234);
	assert_int_equal(mem_regions_mapped(), 1);
	close(memory_fd);
	close(other_fd);
}

static void memory_slots(void **state) /* 34, 50, 51, 53, 56 */
{
	struct script *s = *state;
	int memory_fd = script_memory_fd(), other_fd = script_memory_fd();
	struct vhost_wire_one_region region = {
		.region = {.guest = 1 << 30, .bytes = SCRIPT_MEMORY, .user = 1 << 30}};
	struct vhost_wire_one_region first = {
		.region = {.guest = 0, .bytes = SCRIPT_MEMORY, .user = SCRIPT_USER}};
	struct vhost_wire_one_region wrong = region;

	script_start(s, USUAL);
	for (unsigned i = 1; i < 64; i++) {
		region.region.guest = region.region.user = (uint64_t)i << 30;
		assert_int_equal(
			script_tell(s, VHOST_ADD_MEM_REG, &region, sizeof(region), &other_fd, 1),
			0);
		assert_true(RINGS[0].running);
	}
	assert_int_equal(mem_regions_mapped(), 64);
	region.region.guest = region.region.user = 64ull << 30;
	assert_int_equal(script_tell(s, VHOST_ADD_MEM_REG, &region, sizeof(region), &other_fd, 1),
			 REFUSED);
	assert_int_equal(script_tell(s, VHOST_REM_MEM_REG, &region, sizeof(region), NULL, 0),
			 REFUSED);
	wrong.region.bytes--;
	assert_int_equal(script_tell(s, VHOST_REM_MEM_REG, &wrong, sizeof(wrong), NULL, 0),
			 REFUSED);
	for (unsigned i = 1; i < 64; i++) {
		region.region.guest = region.region.user = (uint64_t)i << 30;
		assert_int_equal(script_tell(s, VHOST_REM_MEM_REG, &region, sizeof(region),
					     &other_fd, i % 2),
				 0);
	}
	assert_int_equal(mem_regions_mapped(), 1);
	/* the one that the rings lie in: stopped before it is unmapped, started when it is back */
	RINGS[1].next = 12;
	assert_int_equal(script_tell(s, VHOST_REM_MEM_REG, &first, sizeof(first), NULL, 0), 0);
	assert_false(RINGS[1].running);
	assert_int_equal(mem_regions_mapped(), 0);
	assert_int_equal(script_tell(s, VHOST_ADD_MEM_REG, &first, sizeof(first), &memory_fd, 1),
			 0);
	assert_true(RINGS[1].running);
	assert_int_equal(RINGS[1].info.config.base, 12);
	close(memory_fd);
	close(other_fd);
}

static void ring_in_memory_that_cannot_be_mapped(void **state) /* 44 */
{
	struct script *s = *state;
	int file_fd = open("/proc/self/mem", O_RDWR), kick_fd = eventfd(0, 0);
	struct vhost_ring_addresses a = script_addresses(0);
	json_t *show = json_object();

	script_negotiate(s, USUAL);
	assert_int_equal(script_tell_memory(s, file_fd), 0);
	assert_int_equal(script_tell_ring(s, VHOST_SET_VRING_NUM, 0, 64), 0);
	assert_int_equal(script_tell(s, VHOST_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), REFUSED);
	vhost_device_show(s->device, show);
	assert_non_null(strstr(json_string_value(json_object_get(show, "note")), "unmapped"));
	json_decref(show);
	close(file_fd);
	close(kick_fd);
}

static void memory_cap(void **state)
{
	const struct vhost_device_config wanted = {
		.name = "t",
		.features = SCRIPT_OFFERED,
		.pairs_max = 1,
		.bytes_max = SCRIPT_MEMORY - 1,
	};
	int memory_fd = script_memory_fd();
	struct script script, *s = &script;

	(void)state;
	script_init(s, &wanted);
	script_connect(s);
	script_negotiate(s, USUAL);
	assert_int_equal(script_tell_memory(s, memory_fd), REFUSED);
	script_fini(s);
	close(memory_fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ring_starts_on_kick_and_stops_on_get_base),
		TEST(ring_starts_again_after_get_base),
		TEST(base_of_an_earlier_life),
		TEST(rings_start_enabled_without_protocol_features),
		TEST(enable_before_everything_else),
		TEST(half_configured_rings),
		TEST(no_fd_means_polling),
		TEST(ring_sizes),
		TEST(ring_indexes),
		TEST(changes_while_running),
		TEST(broken_by_its_guest),
		TEST(ring_size_a_million_times),
		TEST(fds_that_are_no_eventfds),
		TEST(eventfds_replaced_while_running),
		TEST(ring_addresses),
		TEST(owner_that_cannot_start_a_ring),
		TEST(tables),
		TEST(bad_regions_leave_the_old_table),
		TEST(same_table_again_disturbs_nobody),
		TEST(memory_slots),
		TEST(ring_in_memory_that_cannot_be_mapped),
		TEST(memory_cap),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
