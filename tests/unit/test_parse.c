/* SPDX-License-Identifier: BSD-2-Clause */
/* The layers of frames: right ones, cut ones, lying ones, random ones. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "packet/parse.h"
#include "scene.h"

/* Ethernet, @tags, IPv4, TCP with 20 bytes of header; 100 bytes of payload. */
static uint32_t tcp4(uint8_t *frame, unsigned tags)
{
	const uint32_t l3 = 14 + 4 * tags, bytes = l3 + 40 + 100;

	memset(frame, 0, bytes);
	for (unsigned i = 0; i < tags; i++)
		head_put_16(frame + 12 + (size_t)4 * i, i ? 0x8100 : 0x88a8);
	head_put_16(frame + l3 - 2, 0x0800);
	frame[l3] = 0x45;
	head_put_16(frame + l3 + 2, 140);
	frame[l3 + 9] = 6;
	frame[l3 + 20 + 12] = 0x50;
	return bytes;
}

static uint32_t udp6(uint8_t *frame)
{
	memset(frame, 0, 14 + 40 + 8 + 50);
	head_put_16(frame + 12, 0x86dd);
	frame[14] = 0x60;
	head_put_16(frame + 18, 58);
	frame[20] = 17;
	return 14 + 40 + 8 + 50;
}

static void plain_frames(void **state)
{
	struct packet_layers layers;
	uint8_t frame[300];
	uint32_t bytes;

	(void)state;
	for (unsigned tags = 0; tags <= 2; tags++) {
		bytes = tcp4(frame, tags);
		assert_int_equal(packet_parse(frame, bytes, bytes, false, &layers), 0);
		assert_int_equal(layers.ethertype, 0x0800);
		assert_int_equal(layers.tag_count, tags);
		assert_int_equal(layers.ip_version, 4);
		assert_int_equal(layers.protocol, 6);
		assert_int_equal(layers.l3_offset, 14 + 4 * tags);
		assert_int_equal(layers.l4_offset, 34 + 4 * tags);
		assert_int_equal(layers.l4_bytes, 20);
		assert_int_equal(layers.ip_bytes, 140);
		assert_false(layers.fragment);
	}
	bytes = udp6(frame);
	assert_int_equal(packet_parse(frame, bytes, bytes, false, &layers), 0);
	assert_int_equal(layers.ip_version, 6);
	assert_int_equal(layers.protocol, 17);
	assert_int_equal(layers.l4_offset, 54);
	assert_int_equal(layers.l4_bytes, 8);
	assert_int_equal(layers.ip_bytes, 98);
}

/* A third tag is a payload; a tag cut short is not looked through. */
static void tags_are_bounded(void **state)
{
	struct packet_layers layers;
	uint8_t frame[300];
	uint32_t bytes = tcp4(frame, 3);

	(void)state;
	assert_int_equal(packet_parse(frame, bytes, bytes, false, &layers), 0);
	assert_int_equal(layers.tag_count, 2);
	assert_int_equal(layers.ethertype, 0x8100);
	assert_int_equal(layers.l3_offset, 22);
	assert_int_equal(layers.ip_version, 0);
	for (uint32_t cut = 14; cut < 18; cut++) {
		assert_int_equal(packet_parse(frame, cut, cut, false, &layers), 0);
		assert_int_equal(layers.tag_count, 0);
		assert_int_equal(layers.ethertype, 0x88a8);
	}
	assert_int_equal(packet_parse(frame, 13, 13, false, &layers), -EINVAL);
	assert_int_equal(packet_parse(frame, 0, 0, false, &layers), -EINVAL);
}

/* Cut at every length: what is still told lies within what is there. */
static void cut_at_every_length(void **state)
{
	struct packet_layers layers;
	uint8_t frame[300];
	uint32_t bytes = tcp4(frame, 1);

	(void)state;
	for (uint32_t cut = 14; cut <= bytes; cut++) {
		uint8_t *exact = malloc(cut); /* ASan sees a read behind it */

		memcpy(exact, frame, cut);
		assert_int_equal(packet_parse(exact, cut, bytes, false, &layers), 0);
		assert_int_equal(layers.ip_version, cut >= 38 ? 4 : 0);
		assert_int_equal(layers.l4_offset, cut >= 38 ? 38 : 0);
		assert_int_equal(layers.l4_bytes, cut >= 58 ? 20 : 0);
		/* the frame itself cut: the IP header claims more than there is */
		assert_int_equal(packet_parse(exact, cut, cut, false, &layers), 0);
		assert_int_equal(layers.ip_version, cut == bytes ? 4 : 0);
		free(exact);
	}
}

struct lie {
	unsigned at;
	uint8_t byte;
	uint8_t ip_version;
	uint16_t l4_offset;
	uint16_t l4_bytes;
};

/* One byte of a good TCP frame is changed: how much of it is still believed. */
static void lying_headers(void **state)
{
	static const struct lie lies[] = {
		{14, 0x44, 0, 0, 0},   /* IHL 4 */
		{14, 0x4f, 4, 74, 0},  /* IHL 15: the data offset there is 0 */
		{14, 0x65, 0, 0, 0},   /* version 6 in an IPv4 frame */
		{17, 139, 4, 34, 20},  /* padded by one byte */
		{17, 141, 0, 0, 0},    /* one byte more than there is */
		{17, 19, 0, 0, 0},     /* shorter than its header */
		{17, 30, 4, 34, 0},    /* no room for TCP */
		{20, 0x20, 4, 0, 0},   /* more fragments */
		{21, 0x01, 4, 0, 0},   /* not the first */
		{20, 0x40, 4, 34, 20}, /* don't fragment: fine */
		{23, 1, 4, 34, 0},     /* ICMP */
		{46, 0x40, 4, 34, 0},  /* data offset 4 */
		{46, 0xf0, 4, 34, 60},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct packet_layers layers;
		uint8_t frame[300];
		uint32_t bytes = tcp4(frame, 0);

		frame[lies[i].at] = lies[i].byte;
		assert_int_equal(packet_parse(frame, bytes, bytes, false, &layers), 0);
		assert_int_equal(layers.ip_version, lies[i].ip_version);
		assert_int_equal(layers.l4_offset, lies[i].l4_offset);
		assert_int_equal(layers.l4_bytes, lies[i].l4_bytes);
	}
}

/* Chains of extension headers: 8 of them and 256 bytes are looked through, not more. */
static void ipv6_extension_headers_are_bounded(void **state)
{
	(void)state;
	for (unsigned count = 0; count <= 10; count++) {
		for (unsigned units = 1; units <= 40; units += 13) {
			struct packet_layers layers;
			uint8_t frame[4096] = {0};
			uint32_t at = 54, bytes = 54 + count * units * 8 + 20;
			uint8_t *next = &frame[20];
			bool found = count <= 8 && count * units * 8 <= 256;

			head_put_16(frame + 12, 0x86dd);
			frame[14] = 0x60;
			head_put_16(frame + 18, bytes - 54);
			for (unsigned i = 0; i < count; i++, at += units * 8) {
				*next = i ? 60 : 0;
				next = &frame[at];
				frame[at + 1] = (uint8_t)(units - 1);
			}
			*next = 6;
			frame[at + 12] = 0x50;
			assert_int_equal(packet_parse(frame, bytes, bytes, false, &layers), 0);
			assert_int_equal(layers.ip_version, 6);
			assert_int_equal(layers.l4_offset, found ? at : 0);
			assert_int_equal(layers.l4_bytes, found ? 20 : 0);
		}
	}
}

static void ipv6_fragments_and_routes(void **state)
{
	struct packet_layers layers;
	uint8_t frame[300];
	uint32_t bytes = udp6(frame);

	(void)state;
	frame[20] = 44;
	assert_int_equal(packet_parse(frame, bytes, bytes, false, &layers), 0);
	assert_true(layers.fragment);
	assert_int_equal(layers.l4_offset, 0);
	frame[20] = 43;
	frame[54] = 17;
	assert_int_equal(packet_parse(frame, bytes, bytes, false, &layers), 0);
	assert_int_equal(layers.l4_offset, 62); /* a route that has ended */
	frame[57] = 1;
	assert_int_equal(packet_parse(frame, bytes, bytes, false, &layers), 0);
	assert_int_equal(layers.l4_offset, 0); /* one with a stop to go */
	frame[18] = 1;			       /* longer than the frame */
	assert_int_equal(packet_parse(frame, bytes, bytes, false, &layers), 0);
	assert_int_equal(layers.ip_version, 0);
	assert_int_equal(packet_parse(frame, bytes, bytes, true, &layers), 0);
	assert_int_equal(layers.ip_version, 6); /* not looked at when the frame is to be cut */
	assert_int_equal(layers.ip_bytes, bytes - 14);
}

/* Random bytes, half right: never outside of what there is, whatever it says. */
static void random_frames(void **state)
{
	struct scene_random random = {.state = 9};

	(void)state;
	for (unsigned round = 0; round < 200000; round++) {
		uint32_t frame_bytes = 14 + scene_random(&random, 300);
		uint32_t head_bytes = scene_random(&random, 129);
		struct packet_layers layers;
		uint8_t *head;
		int r;

		if (head_bytes > frame_bytes)
			head_bytes = frame_bytes;
		head = malloc(head_bytes + 1);
		for (uint32_t i = 0; i < head_bytes; i++)
			head[i] = (uint8_t)scene_random(&random, round % 2 ? 256 : 64);
		if (head_bytes > 20 && round % 4) {
			head_put_16(head + 12, round % 3 ? 0x86dd : 0x0800);
			head[14] = round % 3 ? 0x60 : (uint8_t)(0x40 | head[14] % 16);
			if (round % 3)
				head_put_16(head + 18, scene_random(&random, frame_bytes));
			else
				head_put_16(head + 16, scene_random(&random, frame_bytes));
		}
		head = realloc(head, head_bytes ? head_bytes : 1);
		r = packet_parse(head, head_bytes, frame_bytes, round & 8, &layers);
		free(head);
		assert_int_equal(r, head_bytes < 14 ? -EINVAL : 0);
		if (r)
			continue;
		assert_in_range(layers.l3_offset, 14, 22);
		assert_true(layers.l3_offset <= head_bytes);
		assert_true(layers.l4_offset + layers.l4_bytes <= head_bytes);
		assert_true(layers.ip_bytes <= frame_bytes - layers.l3_offset);
		if (layers.l4_offset)
			assert_true(layers.ip_version == 4 || layers.ip_version == 6);
		if (layers.l4_bytes)
			assert_true(layers.l4_offset > layers.l3_offset);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_frames),
		cmocka_unit_test(tags_are_bounded),
		cmocka_unit_test(cut_at_every_length),
		cmocka_unit_test(lying_headers),
		cmocka_unit_test(ipv6_extension_headers_are_bounded),
		cmocka_unit_test(ipv6_fragments_and_routes),
		cmocka_unit_test(random_frames),
	};

	return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
