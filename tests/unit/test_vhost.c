/* SPDX-License-Identifier: BSD-2-Clause */
/* The vhost-user back-end, message by message: what is done, what is refused, what ends the
 * connection, and that nothing is left of it. Numbers are those of doc/attacks.md.
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
#include <sys/resource.h>
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

/* Negotiation */

static void questions_before_owner(void **state)
{
	struct script *s = *state;

	assert_int_equal(script_ask(s, VHOST_GET_FEATURES), SCRIPT_OFFERED | BIT30);
	assert_int_equal(script_ask(s, VHOST_GET_PROTOCOL_FEATURES),
			 VHOST_PROTOCOL_MQ | VHOST_PROTOCOL_RARP | VHOST_PROTOCOL_REPLY_ACK |
				 VHOST_PROTOCOL_MTU | VHOST_PROTOCOL_RESET_DEVICE |
				 VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS | VHOST_PROTOCOL_STATUS);
	assert_int_equal(script_ask(s, VHOST_GET_QUEUE_NUM), SCRIPT_PAIRS); /* pairs, for net */
	assert_true(script_ask(s, VHOST_GET_MAX_MEM_SLOTS) >= 64);
	assert_int_equal(s->owner.pid, getpid());
	assert_int_equal(s->owner.uid, getuid());
}

static void owner_may_come_twice(void **state) /* 19 */
{
	struct script *s = *state;

	script_negotiate(s, USUAL);
	assert_int_equal(script_tell(s, VHOST_SET_OWNER, NULL, 0, NULL, 0), 0);
	assert_int_equal(script_tell(s, VHOST_RESET_OWNER, NULL, 0, NULL, 0), 0);
	assert_int_equal(s->owner.features, USUAL);
}

static void no_acknowledgement_unless_negotiated_and_asked(void **state)
{
	struct script *s = *state;
	uint64_t protocol = VHOST_PROTOCOL_REPLY_ACK, byte;

	script_send(s, VHOST_SET_OWNER, SCRIPT_NEED, NULL, 0, NULL, 0);
	assert_int_equal(script_receive(s, VHOST_SET_OWNER, &byte, 8), -1);
	script_send(s, VHOST_SET_PROTOCOL_FEATURES, 0, &protocol, 8, NULL, 0);
	script_send(s, VHOST_SET_OWNER, 0, NULL, 0, NULL, 0);
	assert_int_equal(script_receive(s, VHOST_SET_OWNER, &byte, 8), -1);
	assert_int_equal(script_tell(s, VHOST_SET_OWNER, NULL, 0, NULL, 0), 0);
}

static void replies_are_never_doubled(void **state)
{
	struct script *s = *state;
	static const uint32_t asks[] = {VHOST_GET_FEATURES, VHOST_GET_PROTOCOL_FEATURES,
					VHOST_GET_QUEUE_NUM, VHOST_GET_MAX_MEM_SLOTS,
					VHOST_GET_STATUS};
	uint64_t value;

	script_negotiate(s, USUAL);
	for (unsigned i = 0; i < ARRAY_SIZE(asks); i++) {
		script_send(s, asks[i], SCRIPT_NEED, NULL, 0, NULL, 0);
		assert_int_equal(script_receive(s, asks[i], &value, 8), 8);
		assert_int_equal(script_receive(s, asks[i], &value, 8), -1);
	}
}

static void features_not_offered(void **state) /* 17 */
{
	struct script *s = *state;
	uint64_t bad[] = {1ull << 63, VIRTIO_PACKED, VIRTIO_LOG_ALL | VIRTIO_VERSION_1, UINT64_MAX};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		script_send(s, VHOST_SET_FEATURES, 0, &bad[i], 8, NULL, 0);
		closed_and_ready_again(s);
		script_send(s, VHOST_SET_PROTOCOL_FEATURES, 0, &bad[i], 8, NULL, 0);
		closed_and_ready_again(s);
	}
}

static void features_while_running(void **state) /* 18 */
{
	struct script *s = *state;

	script_start(s, USUAL);
	assert_int_equal(script_tell_u64(s, VHOST_SET_FEATURES, USUAL), 0);
	assert_int_equal(script_tell_u64(s, VHOST_SET_FEATURES, USUAL & ~VIRTIO_NET_MRG_RXBUF),
			 REFUSED);
	assert_int_equal(s->owner.features, USUAL);
	assert_int_equal(RINGS[0].stops, 0);
	script_stop_ring(s, 0);
	script_stop_ring(s, 1);
	assert_int_equal(script_tell_u64(s, VHOST_SET_FEATURES, BIT30), 0);
	assert_int_equal(s->owner.features, BIT30);
}

static void status_and_reset(void **state)
{
	struct script *s = *state;

	script_start(s, USUAL);
	assert_int_equal(script_tell_u64(s, VHOST_SET_STATUS, 0xf), 0);
	assert_int_equal(script_ask(s, VHOST_GET_STATUS), 0xf);
	assert_int_equal(script_tell_u64(s, VHOST_SET_STATUS, 0x100), REFUSED);
	assert_int_equal(script_ask(s, VHOST_GET_STATUS), 0xf);
	assert_true(RINGS[0].running);
	RINGS[0].next = 77;
	RINGS[1].next = 78;
	assert_int_equal(script_tell_u64(s, VHOST_SET_STATUS, 0), 0);
	assert_false(RINGS[0].running);
	assert_false(RINGS[1].running);
	assert_false(RINGS[1].peer_gone);
	assert_int_equal(script_ask(s, VHOST_GET_STATUS), 0);
	/* a link that goes down: QEMU goes on by itself from where we stood */
	assert_int_equal(script_stop_ring(s, 0), 77);
	assert_int_equal(script_stop_ring(s, 1), 78);

	script_start(s, USUAL); /* memory and features told again, as after a reboot */
	assert_int_equal(script_tell(s, VHOST_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	assert_false(RINGS[0].running);
	assert_int_equal(RINGS[0].starts, 2);
	assert_int_equal(script_stop_ring(s, 1), 0);
}

static void mtu_and_rarp(void **state)
{
	struct script *s = *state;
	const uint8_t rarp[8] = {2, 0, 0, 0, 0, 7, 0xff, 0xff};

	script_negotiate(s, USUAL);
	assert_int_equal(script_tell_u64(s, VHOST_NET_SET_MTU, 9000), 0);
	assert_int_equal(s->owner.mtu, 9000);
	assert_int_equal(script_tell_u64(s, VHOST_NET_SET_MTU, 67), REFUSED);
	assert_int_equal(script_tell_u64(s, VHOST_NET_SET_MTU, 65536), REFUSED);
	assert_int_equal(script_tell_u64(s, VHOST_NET_SET_MTU, 1ull << 32 | 1500), REFUSED);
	assert_int_equal(s->owner.mtu, 9000);
	assert_int_equal(script_tell(s, VHOST_SEND_RARP, rarp, 8, NULL, 0), 0);
	assert_int_equal(s->owner.rarps, 1);
	assert_memory_equal(s->owner.mac, rarp, 6);
}

static int get_config(struct script *s, uint32_t offset, uint32_t bytes, uint32_t payload,
		      struct vhost_wire_config *config)
{
	*config = (struct vhost_wire_config){.offset = offset, .bytes = bytes};
	script_send(s, VHOST_GET_CONFIG, 0, config, payload, NULL, 0);
	return script_receive(s, VHOST_GET_CONFIG, config, sizeof(*config));
}

static void config_space(void **state) /* 30 */
{
	const uint8_t mac[6] = {2, 1, 2, 3, 4, 5};
	const struct vhost_device_config wanted = {
		.name = "t",
		.features = SCRIPT_OFFERED,
		.pairs_max = SCRIPT_PAIRS,
		.mtu = 4000,
		.mac = mac,
	};
	struct vhost_wire_config config;
	struct script script, *s = &script;

	assert_int_equal(get_config(*state, 0, 12, 24, &config), 0); /* not offered there */
	script_init(s, &wanted);
	script_connect(s);
	assert_true(script_ask(s, VHOST_GET_PROTOCOL_FEATURES) & VHOST_PROTOCOL_CONFIG);
	assert_int_equal(get_config(s, 0, 12, 24, &config), 24);
	assert_memory_equal(config.data, mac, 6);
	assert_int_equal(config.data[6], 1);
	assert_int_equal(config.data[8], SCRIPT_PAIRS);
	assert_int_equal(config.data[10] | config.data[11] << 8, 4000);
	assert_int_equal(get_config(s, 10, 2, 14, &config), 14);
	assert_int_equal(config.data[0] | config.data[1] << 8, 4000);
	assert_int_equal(get_config(s, 200, 56, 68, &config), 68);
	assert_int_equal(config.data[0], 0);
	assert_int_equal(get_config(s, 200, 57, 69, &config), 0);
	assert_int_equal(get_config(s, UINT32_MAX, 2, 14, &config), 0);
	assert_int_equal(get_config(s, 0, 12, 25, &config), 0);
	assert_int_equal(get_config(s, 0, UINT32_MAX, 268, &config), 0);
	script_negotiate(s, USUAL);
	assert_int_equal(script_tell(s, VHOST_SET_CONFIG, &config, 24, NULL, 0), REFUSED);
	assert_int_equal(script_tell_u64(s, VHOST_NET_SET_MTU, 4000), 0);
	assert_int_equal(script_tell_u64(s, VHOST_NET_SET_MTU, 4001), REFUSED);
	script_fini(s);
}

/* Framing */

static void header_violations(void **state) /* 1, 4, 5 */
{
	struct script *s = *state;
	const struct vhost_header bad[] = {
		{VHOST_GET_FEATURES, VHOST_VERSION, VHOST_PAYLOAD_MAX + 1},
		{VHOST_GET_FEATURES, VHOST_VERSION, UINT32_MAX},
		{VHOST_GET_FEATURES, 0, 0},
		{VHOST_GET_FEATURES, 2, 0},
		{VHOST_GET_FEATURES, 3, 0},
		{VHOST_GET_FEATURES, VHOST_VERSION | VHOST_FLAG_REPLY, 0},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		script_write(s->fd, &bad[i], sizeof(bad[i]), NULL, 0);
		closed_and_ready_again(s);
	}
}

static void payload_too_short(void **state) /* 2 */
{
	struct script *s = *state;
	static const struct {
		uint32_t request;
		uint32_t bytes;
	} requests[] = {
		{VHOST_SET_FEATURES, 8},     {VHOST_SET_PROTOCOL_FEATURES, 8},
		{VHOST_SET_MEM_TABLE, 8},    {VHOST_SET_VRING_NUM, 8},
		{VHOST_SET_VRING_ADDR, 40},  {VHOST_SET_VRING_BASE, 8},
		{VHOST_GET_VRING_BASE, 8},   {VHOST_SET_VRING_KICK, 8},
		{VHOST_SET_VRING_CALL, 8},   {VHOST_SET_VRING_ERR, 8},
		{VHOST_SET_VRING_ENABLE, 8}, {VHOST_SEND_RARP, 8},
		{VHOST_NET_SET_MTU, 8},	     {VHOST_ADD_MEM_REG, 40},
		{VHOST_REM_MEM_REG, 40},     {VHOST_SET_STATUS, 8},
		{VHOST_GET_CONFIG, 12},
	};
	uint8_t zeros[64] = {0};

	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		script_send(s, requests[i].request, 0, zeros, requests[i].bytes - 1, NULL, 0);
		closed_and_ready_again(s);
		script_send(s, requests[i].request, 0, NULL, 0, NULL, 0);
		closed_and_ready_again(s);
	}
}

static void unknown_requests(void **state) /* 3, 16, 31 */
{
	struct script *s = *state;
	const uint32_t unknown[] = {0, 6, 7, 21, 26, 31, 32, 41, 42, 43, 999, UINT32_MAX};
	int fds[2] = {eventfd(0, 0), eventfd(0, 0)};
	uint8_t payload[64] = {0};

	script_negotiate(s, USUAL);
	for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
		script_send(s, unknown[i], 0, payload, sizeof(payload), fds, 2);
		assert_int_equal(script_receive(s, 0, payload, 64), -1);
		assert_int_equal(script_tell(s, unknown[i], payload, 16, fds, 1), REFUSED);
	}
	assert_int_equal(script_tell_u64(s, VHOST_SET_FEATURES, USUAL), 0);
	close(fds[0]);
	close(fds[1]);
}

static void bytes_one_by_one(void **state) /* 6 */
{
	struct script *s = *state;
	struct __attribute__((packed)) {
		struct vhost_header header;
		uint64_t features;
	} message = {{VHOST_SET_FEATURES, VHOST_VERSION, 8}, USUAL};
	const uint8_t *bytes = (const uint8_t *)&message;

	for (unsigned i = 0; i < 20; i++) {
		script_write(s->fd, bytes + i, 1, NULL, 0);
		script_run_ms(s, 60);
	}
	assert_int_equal(s->owner.features, USUAL);
	/* the second one is too slow: a byte each 300 ms */
	for (unsigned i = 0; i < 6; i++) {
		assert_false(script_is_closed(s));
		script_write(s->fd, bytes + i, 1, NULL, 0);
		script_run_ms(s, 300);
	}
	script_run_ms(s, 350);
	assert_true(script_is_closed(s));
	assert_non_null(strstr(s->owner.why, "2 s"));
	closed_and_ready_again(s);
}

static void several_messages_in_one_write(void **state) /* 7 */
{
	struct script *s = *state;
	struct vhost_header headers[40];
	uint64_t value;

	for (unsigned i = 0; i < 40; i++)
		headers[i] = (struct vhost_header){VHOST_GET_QUEUE_NUM, VHOST_VERSION, 0};
	script_write(s->fd, headers, sizeof(headers), NULL, 0);
	script_run(s);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(script_receive(s, VHOST_GET_QUEUE_NUM, &value, 8), 8);
	assert_int_equal(script_receive(s, VHOST_GET_QUEUE_NUM, &value, 8), -1);
}

static void too_many_fds(void **state) /* 8 */
{
	struct script *s = *state;
	int fds[253];
	struct vhost_wire_table table = {.count = 8};

	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = STDERR_FILENO;
	for (unsigned count = 9; count <= 253; count += 61) {
		script_send(s, VHOST_SET_MEM_TABLE, 0, &table, sizeof(table), fds, count);
		closed_and_ready_again(s);
	}
}

static void fds_where_none_belong(void **state) /* 9, 10, 35 */
{
	struct script *s = *state;
	int fds[2] = {STDERR_FILENO, STDERR_FILENO};
	uint64_t zero = 0, no_fd = VHOST_RING_NO_FD;
	struct vhost_wire_one_region region = {0};
	struct vhost_wire_table table = {.count = 1};

	script_send(s, VHOST_GET_FEATURES, 0, NULL, 0, fds, 1);
	closed_and_ready_again(s);
	script_send(s, VHOST_SET_VRING_KICK, 0, &no_fd, 8, fds, 1);
	closed_and_ready_again(s);
	script_send(s, VHOST_SET_VRING_KICK, 0, &zero, 8, NULL, 0);
	closed_and_ready_again(s);
	script_send(s, VHOST_SET_VRING_CALL, 0, &zero, 8, fds, 2);
	closed_and_ready_again(s);
	script_send(s, VHOST_ADD_MEM_REG, 0, &region, sizeof(region), NULL, 0);
	closed_and_ready_again(s);
	script_send(s, VHOST_SET_MEM_TABLE, 0, &table, 40, NULL, 0);
	closed_and_ready_again(s);
	script_send(s, VHOST_SET_MEM_TABLE, 0, &table, 40, fds, 2);
	closed_and_ready_again(s);
	table.count = 2; /* of which the payload holds one */
	script_send(s, VHOST_SET_MEM_TABLE, 0, &table, 40, fds, 2);
	closed_and_ready_again(s);
	/* with the payload instead of the header */
	script_write(s->fd, &(struct vhost_header){VHOST_SET_VRING_KICK, VHOST_VERSION, 8}, 12,
		     NULL, 0);
	script_write(s->fd, &zero, 8, fds, 1);
	closed_and_ready_again(s);
	/* deployed front-ends send one with REM_MEM_REG: closed, refused for its own reason */
	script_negotiate(s, USUAL);
	assert_int_equal(script_tell(s, VHOST_REM_MEM_REG, &region, sizeof(region), fds, 1),
			 REFUSED);
}

static void never_reads_replies(void **state) /* 27 */
{
	struct script *s = *state;
	int small = 4096;

	setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	for (unsigned i = 0; i < 100000 && s->owner.disconnected == 0; i++) {
		script_send(s, VHOST_GET_FEATURES, 0, NULL, 0, NULL, 0);
		if (i % 1000 == 999)
			script_run_ms(s, 1);
	}
	assert_int_equal(s->owner.disconnected, 1);
	assert_non_null(strstr(s->owner.why, "replies"));
}

static void flood_of_messages(void **state) /* 32 */
{
	struct script *s = *state;
	struct vhost_header headers[64];
	uint8_t sink[65536];
	double cpu, wall;
	uint64_t began, answers = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(headers); i++)
		headers[i] = (struct vhost_header){VHOST_GET_FEATURES, VHOST_VERSION, 0};
	fcntl(s->fd, F_SETFL, O_NONBLOCK);
	/* first it may spend what it saved up; then measure */
	for (int phase = 0; phase < 2; phase++) {
		struct timespec t0, t1;
		double spent = 0;

		began = clock_now_ns();
		while (clock_now_ns() - began < (phase ? 2500 : 20000) * NS_PER_MS) {
			ssize_t n = send(s->fd, headers, sizeof(headers), MSG_NOSIGNAL);

			if (n > 0 && n % 12) { /* part of a header: end it */
				fcntl(s->fd, F_SETFL, 0);
				send(s->fd, (uint8_t *)headers + n % 12, 12 - n % 12, 0);
				fcntl(s->fd, F_SETFL, O_NONBLOCK);
			}
			clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t0);
			assert_true(sd_event_run(s->loop, 20000) >= 0);
			clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t1);
			spent += (double)(t1.tv_sec - t0.tv_sec) * 1e9 +
				 (double)(t1.tv_nsec - t0.tv_nsec);
			while ((n = recv(s->fd, sink, sizeof(sink), MSG_DONTWAIT)) > 0)
				answers += (uint64_t)n / 20;
			if (!phase && s->device->counters.pauses)
				break;
		}
		cpu = spent;
		wall = (double)(clock_now_ns() - began);
	}
	assert_int_equal(s->owner.disconnected, 0);
	assert_true(answers > 1000);
	print_message("# %.1f %% of a processor, %llu answers\n", 100 * cpu / wall,
		      (unsigned long long)answers);
	assert_true(cpu / wall < 0.08);
}

static void second_front_end(void **state) /* 28 */
{
	struct script *s = *state;
	uint8_t byte;

	script_start(s, USUAL);
	for (int i = 0; i < 100; i++) {
		int fd = script_dial(s);

		assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
		close(fd);
	}
	assert_true(RINGS[0].running);
	assert_int_equal(script_ask(s, VHOST_GET_FEATURES), SCRIPT_OFFERED | BIT30);
	/* the first one leaves and another comes in the same moment */
	close(s->fd);
	s->fd = script_dial(s);
	assert_int_equal(s->owner.connected, 2);
	assert_int_equal(script_ask(s, VHOST_GET_FEATURES), SCRIPT_OFFERED | BIT30);
}

static void silent_front_end_gives_way(void **state) /* 28 */
{
	struct script *s = *state;
	int silent = s->fd;

	s->fd = script_dial(s);
	assert_true(script_is_closed(s));
	close(s->fd);
	script_run_ms(s, 2100);
	s->fd = script_dial(s);
	assert_int_equal(script_ask(s, VHOST_GET_QUEUE_NUM), SCRIPT_PAIRS);
	assert_int_equal(recv(silent, &(char){0}, 1, MSG_DONTWAIT), 0);
	close(silent);
}

/* From now on no file descriptor can be had. Return: the limit before */
static rlim_t fds_exhaust(void)
{
	struct rlimit limit;
	rlim_t before;
	int next = dup(STDERR_FILENO);

	assert_true(next >= 0);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	before = limit.rlim_cur;
	limit.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return before;
}

static void fds_restore(rlim_t before)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = before;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Connections wait in the backlog, without a busy loop; fds that cannot come end theirs. */
static void no_file_descriptor_left(void **state) /* 135, 137 */
{
	struct script *s = *state;
	uint64_t ring = 0;
	rlim_t before;
	int kick_fd;

	close(s->fd);
	script_run(s);
	s->fd = script_connect_fd(s->path);
	before = fds_exhaust();
	script_run(s);
	assert_int_equal(sd_event_run(s->loop, 100000), 0); /* nothing to do: it sleeps */
	assert_int_equal(s->owner.connected, 1);
	fds_restore(before);
	script_run_ms(s, 1100);
	assert_int_equal(s->owner.connected, 2);
	assert_int_equal(script_ask(s, VHOST_GET_QUEUE_NUM), SCRIPT_PAIRS);

	kick_fd = eventfd(0, EFD_CLOEXEC);
	before = fds_exhaust();
	script_send(s, VHOST_SET_VRING_KICK, 0, &ring, sizeof(ring), &kick_fd, 1);
	fds_restore(before);
	close(kick_fd);
	closed_and_ready_again(s);
}

/* A process of its own connects, sends half a message with an fd, and is killed. */
static void killed_in_mid_message(void **state) /* 29 */
{
	struct script *s = *state;
	struct vhost_header header = {VHOST_SET_VRING_KICK, VHOST_VERSION, 8};
	int kick_fd = eventfd(0, EFD_CLOEXEC), status;
	pid_t pid;

	close(s->fd);
	script_run(s);
	s->fd = script_dial(s);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		script_write(s->fd, &header, sizeof(header), &kick_fd, 1);
		kill(getpid(), SIGKILL);
	}
	close(s->fd); /* the child has the only end of it */
	s->fd = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	script_run(s);
	assert_int_equal(s->owner.disconnected, 2);
	close(kick_fd);
}

/* Connections */

static void everything_is_forgotten_with_the_connection(void **state)
{
	struct script *s = *state;

	for (int i = 0; i < 50; i++) {
		unsigned fds;

		script_start(s, USUAL);
		RINGS[0].next = 42;
		fds = script_fds_open();
		close(s->fd);
		s->fd = -1;
		script_run(s);
		assert_false(RINGS[0].running);
		assert_true(RINGS[0].peer_gone); /* nothing may be stored any more (L11) */
		assert_int_equal(mem_regions_mapped(), 0);
		assert_true(script_fds_open() < fds - 4);
		script_connect(s);
		script_negotiate(s, USUAL);
		assert_int_equal(script_stop_ring(s, 0), 0);
		assert_int_equal(script_ask(s, VHOST_GET_STATUS), 0);
	}
}

static void freed_while_it_runs(void **state)
{
	struct script script, *s = &script;

	(void)state;
	script_init(s, NULL);
	script_connect(s);
	script_start(s, USUAL);
	vhost_device_free(s->device);
	s->device = NULL;
	assert_false(RINGS[0].running);
	assert_false(RINGS[0].peer_gone);
	assert_true(script_is_closed(s));
	script_fini(s);
}

static int dial_path(void *ctx)
{
	struct script *s = container_of(ctx, struct script, owner);

	s->owner.signals++; /* counts the attempts */
	return s->owner.start_error ? s->owner.start_error : script_connect_fd(s->path);
}

/* The front-end listens, goes away and comes back. */
static void client_mode(void **state)
{
	const struct vhost_device_config wanted = {
		.name = "t",
		.features = SCRIPT_OFFERED,
		.pairs_max = SCRIPT_PAIRS,
		.listen_fd = -1,
		.dial = dial_path,
	};
	struct script script, *s = &script;
	int listen_fd;

	(void)state;
	script_init(s, &wanted);
	s->owner.start_error = -ECONNREFUSED;
	script_run_ms(s, 2500);
	assert_in_range(s->owner.signals, 3, 6); /* at once, then pauses that grow to a second */
	listen_fd = script_listen(s->path);
	s->owner.start_error = 0;
	for (unsigned i = 1; i <= 3; i++) {
		for (int wait = 0; wait < 25 && s->owner.connected < i; wait++)
			script_run_ms(s, 50);
		assert_int_equal(s->owner.connected, i);
		s->fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		assert_true(s->fd >= 0);
		script_start(s, USUAL);
		close(s->fd);
		s->fd = -1;
		script_run(s);
		assert_int_equal(s->owner.disconnected, i);
	}
	close(listen_fd);
	script_fini(s);
}

static void unshared_memory_is_told(void **state)
{
	struct script *s = *state;
	json_t *show = json_object();
	int memory_fd = script_memory_fd();

	script_negotiate(s, USUAL);
	vhost_device_show(s->device, show);
	assert_null(json_object_get(show, "note"));
	script_run_ms(s, 3100);
	vhost_device_show(s->device, show);
	assert_non_null(strstr(json_string_value(json_object_get(show, "note")), "share=on"));
	assert_non_null(strstr(s->owner.note, "share=on"));
	json_object_clear(show);
	assert_int_equal(script_tell_memory(s, memory_fd), 0);
	assert_string_equal(s->owner.note, "");
	vhost_device_show(s->device, show);
	assert_null(json_object_get(show, "note"));
	json_decref(show);
	close(memory_fd);
}

static void show_tells_all(void **state)
{
	struct script *s = *state;
	json_t *show = json_object(), *ring, *messages;

	script_start(s, USUAL);
	script_tell_u64(s, VHOST_NET_SET_MTU, 1);
	vhost_device_show(s->device, show);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(show, "peer"), "pid")),
			 getpid());
	assert_int_equal(json_array_size(json_object_get(show, "features")), 3);
	assert_int_equal(json_array_size(json_object_get(show, "features_offered")), 8);
	assert_int_equal(json_array_size(json_object_get(show, "memory")), 1);
	assert_int_equal(json_array_size(json_object_get(show, "rings")), 2);
	ring = json_array_get(json_object_get(show, "rings"), 1);
	assert_string_equal(json_string_value(json_object_get(ring, "direction")), "transmit");
	assert_int_equal(json_integer_value(json_object_get(ring, "size")), 256);
	assert_true(json_is_true(json_object_get(ring, "running")));
	messages = json_object_get(show, "messages");
	assert_int_equal(json_integer_value(json_object_get(messages, "refused")), 1);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(messages, "requests"),
							    "SET_VRING_KICK")),
			 2);
	json_decref(show);
}

static void feature_names(void **state)
{
	(void)state;
	assert_string_equal(vhost_feature_name(35), "in_order");
	assert_null(vhost_feature_name(63));
	assert_null(vhost_feature_name(64));
	assert_int_equal(vhost_feature_find("packed", 6), VIRTIO_PACKED);
	assert_int_equal(vhost_feature_find("packed,x", 6), VIRTIO_PACKED);
	assert_int_equal(vhost_feature_find("pack", 4), 0);
	assert_int_equal(vhost_feature_find("", 0), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(questions_before_owner),
		TEST(owner_may_come_twice),
		TEST(no_acknowledgement_unless_negotiated_and_asked),
		TEST(replies_are_never_doubled),
		TEST(features_not_offered),
		TEST(features_while_running),
		TEST(status_and_reset),
		TEST(mtu_and_rarp),
		TEST(config_space),
		TEST(header_violations),
		TEST(payload_too_short),
		TEST(unknown_requests),
		TEST(bytes_one_by_one),
		TEST(several_messages_in_one_write),
		TEST(too_many_fds),
		TEST(fds_where_none_belong),
		TEST(never_reads_replies),
		TEST(flood_of_messages),
		TEST(second_front_end),
		TEST(silent_front_end_gives_way),
		TEST(no_file_descriptor_left),
		TEST(killed_in_mid_message),
		TEST(everything_is_forgotten_with_the_connection),
		TEST(freed_while_it_runs),
		TEST(client_mode),
		TEST(unshared_memory_is_told),
		TEST(show_tells_all),
		TEST(feature_names),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
