/* SPDX-License-Identifier: BSD-2-Clause */
/* What senders ask to be finished: doc/attacks.md, cases 97 to 104. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "packet/offload.h"
#include "packet/parse.h"
#include "scene.h"

enum { L4 = 34, HEADERS = 54, PAYLOAD = 3000, FRAME = HEADERS + PAYLOAD, HEAD = 128 };

static const uint32_t guest = PACKET_OFFLOAD_CSUM | PACKET_OFFLOAD_TSO4 | PACKET_OFFLOAD_TSO6;

static uint8_t head[HEAD];

/* A good TCP frame and a good request; tests spoil one thing each. */
static struct lr_offload good(uint8_t gso_type)
{
	memset(head, 0, sizeof(head));
	head_put_16(head + 12, 0x0800);
	head[14] = 0x45;
	head_put_16(head + 16, FRAME - 14);
	head[23] = 6;
	head[L4 + 12] = 0x50;
	return (struct lr_offload){.flags = LR_OFFLOAD_NEEDS_CSUM,
				   .gso_type = gso_type,
				   .hdr_len = 60,
				   .gso_size = 1448,
				   .csum_start = L4,
				   .csum_offset = 16};
}

static bool valid(struct lr_offload *o, uint32_t allowed)
{
	return packet_offload_valid(o, head, HEAD, FRAME, allowed);
}

static void good_requests_are_tidied(void **state)
{
	struct lr_offload o = good(LR_GSO_NONE);

	(void)state;
	assert_true(valid(&o, guest));
	assert_int_equal(o.csum_start, L4);
	assert_int_equal(o.hdr_len, 0);	 /* a hint without use */
	assert_int_equal(o.gso_size, 0); /* not asked for */
	o = good(LR_GSO_TCPV4);
	assert_true(valid(&o, guest));
	assert_int_equal(o.hdr_len, HEADERS);
	assert_int_equal(o.gso_size, 1448);
	o = good(LR_GSO_NONE);
	o.flags = 0;
	assert_true(valid(&o, 0));
	assert_int_equal(o.csum_start, 0);
	assert_int_equal(o.csum_offset, 0);
}

/* Unknown flags are ignored, since virtio says so (5.1.6.2.2); an unknown gso_type is not. */
static void case_97_unknown_flags_and_types(void **state)
{
	struct lr_offload o;

	(void)state;
	for (unsigned flags = 0; flags < 256; flags++) {
		o = good(LR_GSO_NONE);
		o.flags = (uint8_t)flags;
		assert_true(valid(&o, guest));
		assert_int_equal(o.flags, flags & LR_OFFLOAD_NEEDS_CSUM);
		o.flags = (uint8_t)flags;
		assert_true(valid(&o, PACKET_OFFLOAD_ALL));
		assert_int_equal(o.flags, flags & 3);
	}
	for (unsigned type = 0; type < 256; type++) {
		bool known = type == LR_GSO_NONE || (type & 0x7f) == LR_GSO_TCPV4;

		o = good((uint8_t)type);
		assert_int_equal(valid(&o, PACKET_OFFLOAD_ALL), known); /* it is an IPv4 frame */
	}
}

static void case_98_not_negotiated(void **state)
{
	struct lr_offload o = good(LR_GSO_NONE);

	(void)state;
	assert_false(valid(&o, 0));
	o = good(LR_GSO_TCPV4);
	assert_false(valid(&o, guest & ~PACKET_OFFLOAD_TSO4));
	o = good(LR_GSO_TCPV4);
	assert_false(valid(&o, guest & ~PACKET_OFFLOAD_CSUM));
	o = good(LR_GSO_TCPV4 | LR_GSO_ECN);
	assert_false(valid(&o, guest));
	assert_true(valid(&o, guest | PACKET_OFFLOAD_ECN));
	o = good(LR_GSO_UDP_L4);
	assert_false(valid(&o, guest));
}

static void case_99_checksum_out_of_bounds(void **state)
{
	static const struct {
		uint16_t start;
		uint16_t offset;
		bool ok;
	} fields[] = {
		{13, 6, false},		 {14, 6, true},		{0, 20, false},
		{FRAME - 2, 0, true},	 {FRAME - 2, 1, false}, {FRAME - 1, 0, false},
		{FRAME, 0, false},	 {0xffff, 0, false},	{14, FRAME - 16, true},
		{14, FRAME - 15, false}, {14, 0xffff, false},	{0xffff, 0xffff, false},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		struct lr_offload o = good(LR_GSO_NONE), before;

		o.csum_start = fields[i].start;
		o.csum_offset = fields[i].offset;
		before = o;
		assert_int_equal(valid(&o, guest), fields[i].ok);
		if (!fields[i].ok) /* untouched when refused */
			assert_memory_equal(&o, &before, sizeof(o));
	}
}

/* The request is a private copy: what is checked is what is used, by packets and segments too. */
static void case_100_request_is_checked_again_where_it_is_used(void **state)
{
	struct lr_packet *p, *list;
	struct scene s;

	(void)state;
	scene_open(&s, 8, 0, 1, PAYLOAD);
	p = scene_packet(&s, HEADERS, &(const struct piece){0, 0, PAYLOAD}, 1);
	p->offload = good(LR_GSO_TCPV4);
	memcpy(p->head, head, HEADERS);
	p->head[14] = 0x44; /* changed since */
	assert_true(lr_packet_segment(p, &list) < 0);
	p->offload.gso_type = LR_GSO_NONE;
	p->offload.csum_start = FRAME;
	assert_true(lr_packet_finish_checksum(p) < 0);
	lr_packet_free(p);
	scene_close(&s);
}

static void case_101_segment_sizes(void **state)
{
	static const struct {
		uint16_t size;
		bool ok;
	} sizes[] = {{0, false},      {1, false},	    {4, false},	    {5, true},
		     {PAYLOAD, true}, {PAYLOAD + 1, false}, {0xffff, false}};

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct lr_offload o = good(LR_GSO_TCPV4);

		o.gso_size = sizes[i].size;
		assert_int_equal(valid(&o, guest), sizes[i].ok);
	}
	assert_true(PAYLOAD / 5 < PACKET_SEGMENTS_MAX);
	assert_true(PAYLOAD / 4 > PACKET_SEGMENTS_MAX);
}

/* The header's length is a hint that nobody takes. */
static void case_102_header_length_is_not_believed(void **state)
{
	static const uint16_t lengths[] = {0, 1, 13, HEADERS, FRAME, FRAME + 1, 0xffff};

	(void)state;
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct lr_offload o = good(LR_GSO_TCPV4);

		o.hdr_len = lengths[i];
		assert_true(valid(&o, guest));
		assert_int_equal(o.hdr_len, HEADERS);
	}
}

/* Headers that do not fit the request: nothing that cannot be cut is passed on as if it could. */
static void case_104_headers_that_do_not_fit(void **state)
{
	static const struct {
		unsigned at;
		uint8_t byte;
	} spoils[] = {
		{14, 0x44},	 /* IHL < 5 */
		{14, 0x4f},	 /* IHL beyond where TCP is said to be */
		{14, 0x65},	 /* not IPv4 */
		{20, 0x20},	 /* more fragments */
		{21, 0x08},	 /* not the first fragment */
		{23, 17},	 /* UDP */
		{L4 + 12, 0x40}, /* data offset < 5 */
		{12, 0x86},	 /* no ethertype of ours */
	};
	struct lr_offload o;

	(void)state;
	for (unsigned i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++) {
		o = good(LR_GSO_TCPV4);
		head[spoils[i].at] = spoils[i].byte;
		assert_false(valid(&o, guest));
		o = good(LR_GSO_NONE); /* as a plain Ethernet frame it may go */
		head[spoils[i].at] = spoils[i].byte;
		o.flags = 0;
		assert_true(valid(&o, guest));
	}
	o = good(LR_GSO_TCPV4);
	o.flags = 0; /* segments without checksums */
	assert_false(valid(&o, guest));
	o = good(LR_GSO_TCPV4);
	o.csum_offset = 6;
	assert_false(valid(&o, guest));
	o = good(LR_GSO_TCPV6);
	assert_false(valid(&o, guest));
	/* the TCP header reaches behind the snapshot */
	o = good(LR_GSO_TCPV4);
	assert_false(packet_offload_valid(&o, head, HEADERS - 1, FRAME, guest));
	/* no payload at all */
	o = good(LR_GSO_TCPV4);
	o.gso_size = 1;
	assert_false(packet_offload_valid(&o, head, HEADERS, HEADERS, guest));
}

/* Whatever is accepted can be carried out: random requests on a packet that is really cut. */
static void what_is_accepted_can_be_done(void **state)
{
	struct scene_random random = {.state = 4};
	unsigned cut = 0, finished = 0;
	struct scene s;

	(void)state;
	scene_open(&s, 800, 0, 1, PAYLOAD);
	for (unsigned round = 0; round < 20000; round++) {
		struct lr_offload o = good(scene_random(&random, 2) ? LR_GSO_TCPV4 : LR_GSO_NONE);
		struct lr_packet *p, *list = NULL;

		if (scene_random(&random, 2))
			head[14 + scene_random(&random, 40)] = (uint8_t)scene_random(&random, 256);
		if (scene_random(&random, 4) == 0)
			o.gso_size = (uint16_t)scene_random(&random, 4000);
		if (scene_random(&random, 4) == 0)
			o.csum_start = (uint16_t)scene_random(&random, 120);
		if (!packet_offload_valid(&o, head, HEADERS, FRAME, guest))
			continue;
		p = scene_packet(&s, HEADERS, &(const struct piece){0, 0, PAYLOAD}, 1);
		memcpy(p->head, head, HEADERS);
		p->offload = o;
		if (o.gso_type) {
			uint32_t count =
				(PAYLOAD + HEADERS - o.hdr_len + o.gso_size - 1u) / o.gso_size;

			assert_int_equal(lr_packet_segment(p, &list), count);
			cut++;
		} else {
			assert_int_equal(lr_packet_finish_checksum(p), 0);
			list = p;
			finished++;
		}
		while (list) {
			struct lr_packet *next = list->next;

			lr_packet_free(list);
			list = next;
		}
	}
	assert_true(cut > 1000);
	assert_true(finished > 1000);
	scene_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_requests_are_tidied),
		cmocka_unit_test(case_97_unknown_flags_and_types),
		cmocka_unit_test(case_98_not_negotiated),
		cmocka_unit_test(case_99_checksum_out_of_bounds),
		cmocka_unit_test(case_100_request_is_checked_again_where_it_is_used),
		cmocka_unit_test(case_101_segment_sizes),
		cmocka_unit_test(case_102_header_length_is_not_believed),
		cmocka_unit_test(case_104_headers_that_do_not_fit),
		cmocka_unit_test(what_is_accepted_can_be_done),
	};

	return cmocka_run_group_tests_name("offload", tests, NULL, NULL);
}
