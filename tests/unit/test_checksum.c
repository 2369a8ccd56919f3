/* SPDX-License-Identifier: BSD-2-Clause */
/* The Internet checksum against known vectors and a sum of single bytes; finishing of packets. */
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

/* RFC 1071 to the letter, in the order of the wire. */
static uint16_t reference(const uint8_t *bytes, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* A finished sum as it lies in memory, as a number. */
static uint16_t wire(uint16_t sum)
{
	uint8_t bytes[2];

	memcpy(bytes, &sum, 2);
	return head_get_16(bytes);
}

static void known_vectors(void **state)
{
	/* RFC 1071, 3: the sum of these is ddf2 */
	static const uint8_t rfc[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
	/* an IPv4 header with its checksum b861 left out */
	static const uint8_t ip[] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
				     0x00, 0x00, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
	static const uint8_t ones[] = {0xff, 0xff, 0xff, 0xff};

	(void)state;
	assert_int_equal(wire(lr_checksum_fold(lr_checksum(rfc, 8, 0, false))), 0x220d);
	assert_int_equal(wire(lr_checksum_fold(lr_checksum(ip, 20, 0, false))), 0xb861);
	assert_int_equal(lr_checksum_fold(lr_checksum(ones, 4, 0, false)), 0);
	assert_int_equal(lr_checksum_fold(lr_checksum(ones, 0, 0, false)), 0xffff);
}

/* Every length and alignment up to a few loops' worth; bytes that carry as often as can be. */
static void every_length_and_alignment(void **state)
{
	uint8_t bytes[300];

	(void)state;
	for (unsigned fill = 0; fill < 3; fill++) {
		if (fill == 0)
			oracle_pattern(5, 0, bytes, sizeof(bytes));
		else
			memset(bytes, fill == 1 ? 0xff : 0, sizeof(bytes));
		for (size_t at = 0; at < 16; at++)
			for (size_t n = 0; n <= 200; n++)
				assert_int_equal(wire(lr_checksum_fold(
							 lr_checksum(bytes + at, n, 0, false))),
						 reference(bytes + at, n));
	}
}

/* Cut anywhere, the parts' sums make the whole's: odd parts too. */
static void parts_make_the_whole(void **state)
{
	struct scene_random random = {.state = 1};
	uint8_t bytes[2000];

	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		uint32_t count = scene_random(&random, sizeof(bytes)), at = 0, sum = 0;

		for (uint32_t i = 0; i < count; i++)
			bytes[i] = (uint8_t)(scene_random(&random, 4) ? scene_random(&random, 256)
								      : 0xff);
		while (at < count) {
			uint32_t part = 1 + scene_random(&random, count - at);

			sum = lr_checksum(bytes + at, part, sum, at & 1);
			at += part;
		}
		assert_int_equal(wire(lr_checksum_fold(sum)), reference(bytes, count));
	}
}

static void sixty_four_kilobytes_of_ones(void **state)
{
	uint8_t *bytes = malloc(65535);

	(void)state;
	memset(bytes, 0xff, 65535);
	assert_int_equal(wire(lr_checksum_fold(lr_checksum(bytes, 65535, 0xffffffff, false))),
			 reference(bytes, 65535));
	free(bytes);
}

/* A packet whose checksum was left open, in any shape, is finished as the flat frame would be. */
static void packets_are_finished(void **state)
{
	struct scene_random random = {.state = 2};
	struct scene s;

	(void)state;
	scene_open(&s, 2, 0, 4, 600);
	for (unsigned round = 0; round < 3000; round++) {
		const uint32_t head = 40 + scene_random(&random, 100);
		struct piece pieces[4];
		uint32_t start, offset, total = head;
		struct lr_packet *p;
		uint8_t *flat;

		for (uint32_t i = 0; i < 4; i++) {
			pieces[i] = (struct piece){i, scene_random(&random, 8),
						   1 + scene_random(&random, 500)};
			total += pieces[i].bytes;
		}
		p = scene_packet(&s, head, pieces, 4);
		start = 14 + scene_random(&random, 40);
		offset = round % 3 ? 16 : scene_random(&random, 80);
		if (start + offset + 2 > total) {
			lr_packet_free(p);
			continue;
		}
		p->offload = (struct lr_offload){.flags = LR_OFFLOAD_NEEDS_CSUM,
						 .csum_start = (uint16_t)start,
						 .csum_offset = (uint16_t)offset};
		flat = scene_bytes(p);
		assert_int_equal(lr_packet_finish_checksum(p), 0);
		assert_int_equal(p->offload.flags, 0);
		head_put_16(flat + start + offset, reference(flat + start, total - start));
		assert_true(scene_is(p, flat, total));
		scene_check(&s);
		lr_packet_free(p);
		free(flat);
	}
	scene_close(&s);
}

/* UDP has no sum of zero: it would say that there is none (RFC 768). TCP has. */
static void zero_is_sent_as_ones_for_udp_only(void **state)
{
	struct scene s;

	(void)state;
	scene_open(&s, 1, 0, 0, 1);
	for (uint16_t offset = 6; offset <= 16; offset += 10) {
		struct lr_packet *p = scene_packet(&s, 60, NULL, 0);

		memset(p->head, 0, 60);
		memset(p->head + 34, 0xff, 4); /* sums to ffff, whose complement is 0 */
		p->offload = (struct lr_offload){
			.flags = LR_OFFLOAD_NEEDS_CSUM, .csum_start = 34, .csum_offset = offset};
		assert_int_equal(lr_packet_finish_checksum(p), 0);
		assert_int_equal(head_get_16(p->head + 34 + offset), offset == 6 ? 0xffff : 0);
		lr_packet_free(p);
	}
	scene_close(&s);
}

static void what_cannot_be_finished_is_refused(void **state)
{
	static const struct piece one = {0, 0, 600};
	struct lr_packet *p;
	struct scene s;

	(void)state;
	scene_open(&s, 1, 0, 1, 600);
	p = scene_packet(&s, 60, &one, 1);
	assert_int_equal(lr_packet_finish_checksum(p), 0); /* nothing open */
	p->offload.flags = LR_OFFLOAD_NEEDS_CSUM;
	p->offload.csum_start = 658;
	p->offload.csum_offset = 1; /* one byte beyond the end */
	assert_int_equal(lr_packet_finish_checksum(p), -EINVAL);
	p->offload.csum_start = 0xffff;
	p->offload.csum_offset = 0xffff;
	assert_int_equal(lr_packet_finish_checksum(p), -EINVAL);
	p->offload.csum_start = 500; /* in the frame, but further than a head reaches */
	p->offload.csum_offset = 16;
	assert_int_equal(lr_packet_finish_checksum(p), -EINVAL);
	p->offload.csum_start = 34;
	p->offload.gso_type = LR_GSO_TCPV4; /* to be cut first */
	assert_int_equal(lr_packet_finish_checksum(p), -EINVAL);
	assert_int_equal(p->offload.flags, LR_OFFLOAD_NEEDS_CSUM);
	assert_int_equal(p->head_bytes, 60);
	lr_packet_free(p);
	scene_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_vectors),
		cmocka_unit_test(every_length_and_alignment),
		cmocka_unit_test(parts_make_the_whole),
		cmocka_unit_test(sixty_four_kilobytes_of_ones),
		cmocka_unit_test(packets_are_finished),
		cmocka_unit_test(zero_is_sent_as_ones_for_udp_only),
		cmocka_unit_test(what_cannot_be_finished_is_refused),
	};

	return cmocka_run_group_tests_name("checksum", tests, NULL, NULL);
}
