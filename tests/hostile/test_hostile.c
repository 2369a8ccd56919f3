/* SPDX-License-Identifier: BSD-2-Clause */
/* Attacks by a guest or its VMM on the running switch, while a polite pair passes traffic. Numbers
 * are those of doc/attacks.md, where what is required stands in words. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "arena.h"
#include "base/clock.h"

static struct arena arena;

static int group_open(void **state)
{
	(void)state;
	arena_open(&arena);
	return 0;
}

static int group_close(void **state)
{
	(void)state;
	arena_close(&arena);
	return 0;
}

static void sleep_ms(unsigned ms)
{
	const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	nanosleep(&t, NULL);
}

/* Message level */

static void connect_only(struct frontend *f)
{
	frontend_init(f);
	assert_int_equal(frontend_connect(f, arena.socket, 2000), 0);
}

static void wait_closed(struct frontend *f)
{
	for (unsigned tries = 0; tries < 400 && frontend_is_alive(f); tries++)
		sleep_ms(10);
	assert_false(frontend_is_alive(f));
	frontend_fini(f);
}

static void attack_1_4_5_headers(void **state)
{
	static const uint32_t headers[][3] = {
		{FRONTEND_GET_FEATURES, FRONTEND_VERSION, UINT32_MAX},
		{FRONTEND_GET_FEATURES, 0, 0},
		{FRONTEND_GET_FEATURES, 3, 0},
		{FRONTEND_GET_FEATURES, FRONTEND_VERSION | FRONTEND_REPLY, 0},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(headers); i++) {
		struct frontend f;

		connect_only(&f);
		frontend_send_bytes(&f, headers[i], sizeof(headers[i]), NULL, 0);
		wait_closed(&f);
	}
	arena_check(&arena);
}

static void attack_8_too_many_fds(void **state)
{
	static const unsigned counts[] = {9, 64, 253};
	int fds[253];

	(void)state;
	for (unsigned i = 0; i < 253; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
		uint64_t nothing = 0;
		struct frontend f;

		connect_only(&f);
		frontend_send_raw(&f, FRONTEND_SET_MEM_TABLE, FRONTEND_VERSION, &nothing,
				  sizeof(nothing), fds, counts[i]);
		wait_closed(&f);
		arena_check(&arena);
	}
	for (unsigned i = 0; i < 253; i++)
		close(fds[i]);
}

static void attack_17_features_that_are_not_offered(void **state)
{
	struct frontend f;

	(void)state;
	for (unsigned bit = 36; bit < 64; bit += 9) {
		uint64_t features = GUEST_F_VERSION_1 | 1ull << bit;

		connect_only(&f);
		frontend_send_raw(&f, FRONTEND_SET_FEATURES, FRONTEND_VERSION, &features,
				  sizeof(features), NULL, 0);
		wait_closed(&f);
	}
	arena_check(&arena);
}

/* Hundreds that connect and say nothing, while one who speaks is there: they are turned away. */
static void attack_28_connections_without_a_word(void **state)
{
	struct frontend silent[200];
	struct guest g;

	(void)state;
	arena_attacker(&arena, &g, GUEST_F_VERSION_1);
	for (unsigned i = 0; i < ARRAY_SIZE(silent); i++) {
		connect_only(&silent[i]);
		guest_send_frame(&g, 0, ARENA_NOBODY, 100);
		guest_flush(&g);
		guest_poll(&g, 64);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(silent); i++)
		wait_closed(&silent[i]);
	for (unsigned tries = 0; tries < 400 && g.stats.returned < g.stats.sent; tries++) {
		guest_poll(&g, 64);
		sleep_ms(5);
	}
	assert_int_equal(g.stats.returned, g.stats.sent);
	guest_close(&g);
	arena_check(&arena);
}

/* A ring enabled and disabled again and again under traffic: every buffer comes back. */
static void attack_133_ring_enabled_and_disabled(void **state)
{
	struct guest g;

	(void)state;
	arena_attacker(&arena, &g, GUEST_F_VERSION_1);
	for (unsigned i = 0; i < 400; i++) {
		guest_send_frame(&g, 0, ARENA_NOBODY, 100);
		guest_flush(&g);
		assert_int_equal(frontend_ring_enable(&g.frontend, i & 1, i & 2), 0);
		guest_poll(&g, 64);
	}
	assert_int_equal(frontend_ring_enable(&g.frontend, 0, true), 0);
	assert_int_equal(frontend_ring_enable(&g.frontend, 1, true), 0);
	for (unsigned tries = 0; tries < 400 && g.stats.returned < g.stats.sent; tries++) {
		guest_poll(&g, 64);
		sleep_ms(5);
	}
	assert_int_equal(g.stats.returned, g.stats.sent);
	assert_null(guest_fault(&g));
	assert_true(arena_wait_state(&arena, "running"));
	guest_close(&g);
	arena_check(&arena);
}

/* Refused with REPLY_ACK; the ring runs on as it was. */
static void attack_14_ring_changed_while_started(void **state)
{
	struct frontend_vring_state number = {.index = 1, .num = 128};
	struct frontend_vring_state base = {.index = 1, .num = 77};
	struct frontend_vring_addr addr;
	struct guest g;

	(void)state;
	arena_attacker(&arena, &g, 0);
	assert_int_equal(frontend_send(&g.frontend, FRONTEND_SET_VRING_NUM, &number, sizeof(number),
				       NULL, 0),
			 -EREMOTEIO);
	assert_int_equal(
		frontend_send(&g.frontend, FRONTEND_SET_VRING_BASE, &base, sizeof(base), NULL, 0),
		-EREMOTEIO);
	addr = (struct frontend_vring_addr){
		.index = 1,
		.desc = g.memory.regions[0].uva + 8192,
		.avail = g.memory.regions[0].uva + 16384,
		.used = g.memory.regions[0].uva + 32768,
	};
	assert_int_equal(
		frontend_send(&g.frontend, FRONTEND_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0),
		-EREMOTEIO);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(guest_send_frame(&g, 0, ARENA_NOBODY, 100), 0);
		guest_flush(&g);
	}
	for (unsigned tries = 0; tries < 200 && g.stats.returned < 100; tries++) {
		guest_poll(&g, 64);
		sleep_ms(5);
	}
	assert_int_equal(g.stats.returned, 100);
	assert_null(guest_fault(&g));
	guest_close(&g);
	arena_check(&arena);
}

/* A VMM that makes its call eventfd blocking and full while the switch is about to write it. */
struct filler {
	int fd;
	_Atomic bool stop;
};

static void *filler_run(void *arg)
{
	struct filler *f = arg;
	const uint64_t full = UINT64_MAX - 1;
	uint64_t value;

	while (!atomic_load(&f->stop)) {
		fcntl(f->fd, F_SETFL, 0); /* blocking, for the switch too */
		if (write(f->fd, &full, sizeof(full)) < 0)
			break;
		sleep_ms(20);
		fcntl(f->fd, F_SETFL, O_NONBLOCK);
		while (read(f->fd, &value, sizeof(value)) > 0)
			;
	}
	return NULL;
}

static void attack_24_call_eventfd_full_and_blocking(void **state)
{
	struct filler filler = {0};
	pthread_t thread;
	struct guest g;

	(void)state;
	arena_attacker(&arena, &g, GUEST_F_VERSION_1);
	filler.fd = g.frontend.vrings[1].call;
	assert_int_equal(pthread_create(&thread, NULL, filler_run, &filler), 0);
	for (unsigned i = 0; i < 300; i++) {
		struct guest_ring *ring = &g.pairs[0].tx.ring;

		guest_ring_arm(ring, 0);
		guest_send_frame(&g, 0, ARENA_NOBODY, 100);
		guest_flush(&g);
		guest_poll(&g, 64);
		sleep_ms(1);
	}
	atomic_store(&filler.stop, true);
	fcntl(filler.fd, F_SETFL, O_NONBLOCK);
	while (read(filler.fd, &(uint64_t){0}, sizeof(uint64_t)) > 0)
		;
	pthread_join(thread, NULL);
	guest_close(&g);
	arena_check(&arena);
}

static void attack_29_vmm_dies_in_mid_message(void **state)
{
	static const uint32_t header[] = {FRONTEND_SET_MEM_TABLE, FRONTEND_VERSION, 40};

	(void)state;
	for (size_t bytes = 1; bytes <= sizeof(header) + 8; bytes += 3) {
		uint8_t message[sizeof(header) + 8] = {0};
		struct frontend f;
		int fd = eventfd(0, EFD_CLOEXEC);

		memcpy(message, header, sizeof(header));
		connect_only(&f);
		frontend_send_bytes(&f, message, bytes, &fd, 1);
		close(fd);
		frontend_fini(&f);
	}
	arena_check(&arena);
}

/* Memory table */

static void region_is_refused(const struct frontend_region *region, const char *what)
{
	struct frontend_mem_reg message = {.region = *region};
	int fd = memfd_create("attack", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct frontend f;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	connect_only(&f);
	assert_int_equal(
		frontend_negotiate(&f, GUEST_F_VERSION_1 | GUEST_F_PROTOCOL, GUEST_PROTOCOL_ALL),
		0);
	print_message("%s\n", what);
	assert_int_equal(frontend_send(&f, FRONTEND_ADD_MEM_REG, &message, sizeof(message), &fd, 1),
			 -EREMOTEIO);
	assert_true(frontend_is_alive(&f)); /* refused, not thrown out */
	frontend_fini(&f);
	close(fd);
}

static void attack_36_region_of_no_bytes(void **state)
{
	(void)state;
	region_is_refused(&(struct frontend_region){0, 0, 1 << 20, 0}, "no bytes");
	arena_check(&arena);
}

static void attack_40_41_regions_overlap(void **state)
{
	static const struct frontend_region others[] = {
		{4096, 8192, 2 << 20, 0},	      /* in guest addresses */
		{1 << 20, 8192, (1 << 20) + 4096, 0}, /* in the front-end's */
	};
	struct frontend_mem_reg message = {.region = {0, 8192, 1 << 20, 0}};
	int fd = memfd_create("attack", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct frontend f;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	connect_only(&f);
	assert_int_equal(
		frontend_negotiate(&f, GUEST_F_VERSION_1 | GUEST_F_PROTOCOL, GUEST_PROTOCOL_ALL),
		0);
	assert_int_equal(frontend_send(&f, FRONTEND_ADD_MEM_REG, &message, sizeof(message), &fd, 1),
			 0);
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
		message.region = others[i];
		assert_int_equal(
			frontend_send(&f, FRONTEND_ADD_MEM_REG, &message, sizeof(message), &fd, 1),
			-EREMOTEIO);
	}
	assert_true(frontend_is_alive(&f));
	frontend_fini(&f);
	close(fd);
	arena_check(&arena);
}

static void attack_37_region_wraps(void **state)
{
	const uint64_t page = 4096, top = ~0ull - 4095;

	(void)state;
	region_is_refused(&(struct frontend_region){top, 2 * page, 1 << 20, 0}, "guest address");
	region_is_refused(&(struct frontend_region){0, 2 * page, top, 0}, "user address");
	region_is_refused(&(struct frontend_region){0, 2 * page, 1 << 20, top}, "offset");
	arena_check(&arena);
}

static void attack_38_region_beyond_the_file(void **state)
{
	(void)state;
	region_is_refused(&(struct frontend_region){0, 4096, 1 << 20, 1 << 20}, "behind the end");
	region_is_refused(&(struct frontend_region){0, 2 << 20, 1 << 20, 0}, "longer than it");
	region_is_refused(&(struct frontend_region){0, 8192, 1 << 20, (1 << 20) - 4096},
			  "over the end");
	arena_check(&arena);
}

/* The memory is cut while the switch reads frames, writes frames, publishes, or does nothing. */
static void attack_46_memory_truncated(void **state)
{
	/* Not test traffic: it arrives whole, or with zeros behind the cut, or not at all. */
	uint8_t frame[1900] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 0x88, 0xb6};

	(void)state;
	for (unsigned round = 0; round < 12; round++) {
		struct guest g;

		arena_attacker_in(&arena, &g, round & 1 ? GUEST_F_VERSION_1 : 0,
				  (struct guest_memory_options){.unsealable = true});
		for (unsigned i = 0; i < 20 * (round % 4); i++)
			guest_send_bytes(&g, 0, frame, 60 + 90 * (i % 20), NULL);
		guest_flush(&g);
		for (unsigned i = 0; i < round * 50; i++)
			atomic_thread_fence(memory_order_seq_cst);
		/* From here on the guest's memory must not be touched by us either. */
		assert_int_equal(ftruncate(g.memory.regions[0].fd, 0), 0);
		frontend_kick(&g.frontend, 1);
		frontend_kick(&g.frontend, 0);
		assert_true(arena_wait_state(&arena, "broken"));
		frontend_disconnect(&g.frontend);
		assert_int_equal(
			ftruncate(g.memory.regions[0].fd, (off_t)g.memory.regions[0].bytes), 0);
		guest_close(&g);
		arena_check(&arena);
	}
}

/* Split ring: the driver's words are written by hand, then the switch is told to look. */

static void attacker_breaks(void (*attack)(struct guest_ring *ring, uint16_t next))
{
	struct guest_ring *ring;
	struct guest g;

	arena_attacker(&arena, &g, GUEST_F_VERSION_1);
	ring = &g.pairs[0].tx.ring;
	guest_send_frame(&g, 0, ARENA_NOBODY, 100);
	guest_flush(&g);
	for (unsigned tries = 0; tries < 400 && g.stats.returned < 1; tries++) {
		guest_poll(&g, 64);
		sleep_ms(5);
	}
	assert_int_equal(g.stats.returned, 1);
	attack(ring, le16_get(ring->avail->idx));
	frontend_kick(&g.frontend, 1);
	assert_true(arena_wait_state(&arena, "broken"));
	guest_close(&g);
	arena_check(&arena);
}

static void offer(struct guest_ring *ring, uint16_t next, uint16_t head)
{
	ring->avail->ring[next & ring->mask] = le16_make(head);
	__atomic_store_n(&ring->avail->idx.raw, htole16((uint16_t)(next + 1)), __ATOMIC_RELEASE);
}

static void index_runs_ahead(struct guest_ring *ring, uint16_t next)
{
	ring->avail->idx = le16_make((uint16_t)(next + ring->size + 1));
}

static void attack_57_avail_index_too_far(void **state)
{
	(void)state;
	attacker_breaks(index_runs_ahead);
}

static void index_goes_back(struct guest_ring *ring, uint16_t next)
{
	ring->avail->idx = le16_make((uint16_t)(next - 1));
}

static void attack_58_avail_index_goes_back(void **state)
{
	(void)state;
	attacker_breaks(index_goes_back);
}

static void head_is_outside(struct guest_ring *ring, uint16_t next)
{
	offer(ring, next, (uint16_t)ring->size);
}

static void attack_60_head_outside(void **state)
{
	(void)state;
	attacker_breaks(head_is_outside);
}

static void next_is_outside(struct guest_ring *ring, uint16_t next)
{
	ring->desc[0] = (struct guest_desc){
		.addr = le64_make(4096),
		.bytes = le32_make(64),
		.flags = le16_make(GUEST_DESC_NEXT),
		.next = le16_make((uint16_t)ring->size),
	};
	offer(ring, next, 0);
}

static void attack_61_next_outside(void **state)
{
	(void)state;
	attacker_breaks(next_is_outside);
}

static void indirect_is_used(struct guest_ring *ring, uint16_t next)
{
	ring->desc[0] = (struct guest_desc){.addr = le64_make(4096),
					    .bytes = le32_make(32),
					    .flags = le16_make(GUEST_DESC_INDIRECT)};
	offer(ring, next, 0);
}

static void attack_64_indirect_not_negotiated(void **state)
{
	(void)state;
	attacker_breaks(indirect_is_used);
}

static void chain_loops(struct guest_ring *ring, uint16_t next)
{
	for (unsigned i = 0; i < 2; i++)
		ring->desc[i] = (struct guest_desc){
			.addr = le64_make(4096),
			.bytes = le32_make(64),
			.flags = le16_make(GUEST_DESC_NEXT),
			.next = le16_make((uint16_t)(1 - i)),
		};
	offer(ring, next, 0);
}

static void attack_62_chain_loops(void **state)
{
	(void)state;
	attacker_breaks(chain_loops);
}

/* No port of this switch lends by default: the head is out within one burst. Lent beyond the turn,
 * the same is tried in test_ring and in the simulator. */
static void head_comes_twice(struct guest_ring *ring, uint16_t next)
{
	ring->desc[0] = (struct guest_desc){.addr = le64_make(4096), .bytes = le32_make(80)};
	ring->avail->ring[next & ring->mask] = le16_make(0);
	ring->avail->ring[(next + 1) & ring->mask] = le16_make(0);
	__atomic_store_n(&ring->avail->idx.raw, htole16((uint16_t)(next + 2)), __ATOMIC_RELEASE);
}

static void attack_76_head_offered_while_out(void **state)
{
	(void)state;
	attacker_breaks(head_comes_twice);
}

/* Chains that are dropped, one by one; the port stays up. */

struct hand_written {
	struct guest g;
	uint16_t next;
	uint16_t used;
};

static void hand_open(struct hand_written *h, uint64_t features)
{
	arena_attacker(&arena, &h->g, features);
	h->next = le16_get(h->g.pairs[0].tx.ring.avail->idx);
	h->used = guest_ring_used_idx(&h->g.pairs[0].tx.ring);
}

/* Offer what stands at descriptor 0 and wait until it is returned. */
static void hand_offer(struct hand_written *h)
{
	struct guest_ring *ring = &h->g.pairs[0].tx.ring;

	offer(ring, h->next++, 0);
	h->used++;
	frontend_kick(&h->g.frontend, 1);
	for (unsigned tries = 0; tries < 400; tries++) {
		if (guest_ring_used_idx(ring) == h->used)
			return;
		sleep_ms(5);
	}
	fail_msg("a dropped frame's buffer was not returned");
}

static void hand_send(struct hand_written *h, uint64_t addr, uint32_t bytes)
{
	h->g.pairs[0].tx.ring.desc[0] =
		(struct guest_desc){.addr = le64_make(addr), .bytes = le32_make(bytes)};
	hand_offer(h);
}

static void hand_close(struct hand_written *h)
{
	assert_true(arena_wait_state(&arena, "running"));
	guest_close(&h->g);
	arena_check(&arena);
}

static void attack_69_descriptor_outside_of_memory(void **state)
{
	long before = arena_drops(&arena, "tx-malformed");
	struct hand_written h;
	uint64_t end;

	(void)state;
	hand_open(&h, GUEST_F_VERSION_1);
	end = h.g.memory.regions[0].gpa.addr + h.g.memory.regions[0].bytes;
	hand_send(&h, end, 64);
	hand_send(&h, end - 10, 64);
	hand_send(&h, ~0ull - 10, 64);
	assert_int_equal(arena_drops(&arena, "tx-malformed"), before + 3);
	hand_close(&h);
}

static void attack_67_70_72_chains_that_are_dropped(void **state)
{
	long before = arena_drops(&arena, "tx-malformed");
	struct hand_written h;
	struct guest_desc *desc;
	uint64_t start;

	(void)state;
	hand_open(&h, GUEST_F_VERSION_1);
	desc = h.g.pairs[0].tx.ring.desc;
	start = h.g.memory.regions[0].gpa.addr;
	/* 67: a buffer for us to write, in a transmit ring */
	desc[0] = (struct guest_desc){le64_make(start), le32_make(100), le16_make(GUEST_DESC_WRITE),
				      le16_make(0)};
	hand_offer(&h);
	/* 70: nothing but empty ones */
	desc[0] = (struct guest_desc){le64_make(start), le32_make(0), le16_make(GUEST_DESC_NEXT),
				      le16_make(1)};
	desc[1] = (struct guest_desc){le64_make(start), le32_make(0), le16_make(0), le16_make(0)};
	hand_offer(&h);
	/* 72: their sum is 2^32 and some */
	desc[0] = (struct guest_desc){le64_make(start), le32_make(UINT32_MAX),
				      le16_make(GUEST_DESC_NEXT), le16_make(1)};
	desc[1] = (struct guest_desc){le64_make(start), le32_make(101), le16_make(0), le16_make(0)};
	hand_offer(&h);
	assert_int_equal(arena_drops(&arena, "tx-malformed"), before + 3);
	before = arena_drops(&arena, "tx-too-long");
	hand_send(&h, start, 70000); /* 72: more than any frame */
	assert_int_equal(arena_drops(&arena, "tx-too-long"), before + 1);
	hand_close(&h);
}

static void attack_71_shorter_than_its_headers(void **state)
{
	static const uint32_t sizes[] = {1, 11, 12, 13, 25};
	long before = arena_drops(&arena, "tx-too-short");
	struct hand_written h;

	(void)state;
	hand_open(&h, GUEST_F_VERSION_1);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		hand_send(&h, h.g.memory.regions[0].gpa.addr, sizes[i]);
	assert_int_equal(arena_drops(&arena, "tx-too-short"), before + (long)ARRAY_SIZE(sizes));
	hand_close(&h);
}

static void attack_99_checksum_out_of_bounds(void **state)
{
	static const struct guest_offload offloads[] = {
		{.flags = GUEST_NET_NEEDS_CSUM, .csum_start = 1000, .csum_offset = 6},
		{.flags = GUEST_NET_NEEDS_CSUM, .csum_start = 98, .csum_offset = 6},
		{.flags = GUEST_NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 65000},
		{.flags = GUEST_NET_NEEDS_CSUM, .csum_start = 65535, .csum_offset = 65535},
		{.flags = GUEST_NET_NEEDS_CSUM, .csum_start = 3, .csum_offset = 6},
	};
	long before = arena_drops(&arena, "tx-offload");
	uint8_t frame[100] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 0, 0x45};
	struct guest g;

	(void)state;
	arena_attacker(&arena, &g, GUEST_F_VERSION_1 | GUEST_F_CSUM);
	for (unsigned i = 0; i < ARRAY_SIZE(offloads); i++) {
		assert_int_equal(guest_send_bytes(&g, 0, frame, sizeof(frame), &offloads[i]), 0);
		guest_flush(&g);
	}
	for (unsigned tries = 0; tries < 400 && g.stats.returned < ARRAY_SIZE(offloads); tries++) {
		guest_poll(&g, 64);
		sleep_ms(5);
	}
	assert_int_equal(g.stats.returned, ARRAY_SIZE(offloads));
	assert_int_equal(arena_drops(&arena, "tx-offload"), before + (long)ARRAY_SIZE(offloads));
	assert_true(arena_wait_state(&arena, "running"));
	guest_close(&g);
	arena_check(&arena);
}

static void attack_101_segment_sizes(void **state)
{
	static const uint16_t sizes[] = {0, 1, 65535};
	uint8_t frame[1400] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 0, 0x45};
	struct guest g;

	(void)state;
	frame[16] = (sizeof(frame) - 14) >> 8;
	frame[17] = (sizeof(frame) - 14) & 0xff;
	frame[23] = 6;
	frame[46] = 0x50;
	arena_attacker(&arena, &g, GUEST_F_VERSION_1 | GUEST_F_CSUM | GUEST_F_HOST_TSO4);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct guest_offload offload = {.flags = GUEST_NET_NEEDS_CSUM,
						.gso_type = GUEST_GSO_TCPV4,
						.hdr_len = 54,
						.gso_size = sizes[i],
						.csum_start = 34,
						.csum_offset = 16};

		assert_int_equal(guest_send_bytes(&g, 0, frame, sizeof(frame), &offload), 0);
		guest_flush(&g);
	}
	for (unsigned tries = 0; tries < 400 && g.stats.returned < ARRAY_SIZE(sizes); tries++) {
		guest_poll(&g, 64);
		sleep_ms(5);
	}
	assert_int_equal(g.stats.returned, ARRAY_SIZE(sizes));
	assert_true(arena_wait_state(&arena, "running"));
	guest_close(&g);
	arena_check(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attack_1_4_5_headers),
		cmocka_unit_test(attack_8_too_many_fds),
		cmocka_unit_test(attack_14_ring_changed_while_started),
		cmocka_unit_test(attack_17_features_that_are_not_offered),
		cmocka_unit_test(attack_24_call_eventfd_full_and_blocking),
		cmocka_unit_test(attack_28_connections_without_a_word),
		cmocka_unit_test(attack_29_vmm_dies_in_mid_message),
		cmocka_unit_test(attack_36_region_of_no_bytes),
		cmocka_unit_test(attack_37_region_wraps),
		cmocka_unit_test(attack_38_region_beyond_the_file),
		cmocka_unit_test(attack_40_41_regions_overlap),
		cmocka_unit_test(attack_46_memory_truncated),
		cmocka_unit_test(attack_57_avail_index_too_far),
		cmocka_unit_test(attack_58_avail_index_goes_back),
		cmocka_unit_test(attack_60_head_outside),
		cmocka_unit_test(attack_61_next_outside),
		cmocka_unit_test(attack_62_chain_loops),
		cmocka_unit_test(attack_64_indirect_not_negotiated),
		cmocka_unit_test(attack_67_70_72_chains_that_are_dropped),
		cmocka_unit_test(attack_69_descriptor_outside_of_memory),
		cmocka_unit_test(attack_71_shorter_than_its_headers),
		cmocka_unit_test(attack_76_head_offered_while_out),
		cmocka_unit_test(attack_99_checksum_out_of_bounds),
		cmocka_unit_test(attack_101_segment_sizes),
		cmocka_unit_test(attack_133_ring_enabled_and_disabled),
	};

	return cmocka_run_group_tests(tests, group_open, group_close);
}
