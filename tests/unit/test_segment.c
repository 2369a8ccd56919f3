/* SPDX-License-Identifier: BSD-2-Clause */
/* TCP segmentation against a reference that works on flat frames, byte by byte. */
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

enum { BUFFERS = 20, BUFFER_BYTES = 4000, PACKETS = 120 };

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32, ECE = 64, CWR = 128 };

/* A large frame as its sender made it; the reference knows where things are without parsing. */
struct big {
	bool ipv6;
	unsigned tags;
	uint32_t ip_options;  /* bytes of IPv4 options, or of IPv6 extension headers */
	uint32_t tcp_options; /* bytes */
	uint32_t payload;
	uint16_t mss;
	uint8_t tcp_flags;
	uint32_t l3, l4, headers, bytes;
	uint8_t frame[70000];
};

static void big_make_ipv4(struct big *b)
{
	uint8_t *ip = b->frame + b->l3;

	ip[0] = (uint8_t)(0x40 + (20 + b->ip_options) / 4);
	head_put_16(ip + 2, b->bytes - b->l3);
	head_put_16(ip + 4, 0xfffe); /* wraps at the third segment */
	head_put_16(ip + 6, 0x4000);
	ip[8] = 64;
	ip[9] = 6;
	oracle_pattern(11, 0, ip + 12, 8);
	memset(ip + 20, 1, b->ip_options);
}

static void big_make_ipv6(struct big *b)
{
	static const uint8_t kinds[] = {0, 60, 43, 60, 60, 60, 60, 60};
	uint8_t *ip = b->frame + b->l3, *at = ip + 40;
	uint8_t *next = &ip[6];
	uint32_t left = b->ip_options;

	ip[0] = 0x60;
	head_put_16(ip + 4, b->bytes - b->l3 - 40);
	ip[7] = 64;
	oracle_pattern(12, 0, ip + 8, 32);
	for (unsigned i = 0; left; i++) {
		/* the last of the eight takes all that is left */
		uint32_t bytes = i == 7 || left < 16 ? left : 8 + 8 * (i % 2);

		*next = kinds[i];
		memset(at, 0, bytes);
		at[1] = (uint8_t)(bytes / 8 - 1);
		next = at;
		at += bytes;
		left -= bytes;
	}
	*next = 6;
}

static void big_make(struct big *b)
{
	uint8_t *at = b->frame + 12, *tcp;

	b->l3 = 14 + 4 * b->tags;
	b->l4 = b->l3 + (b->ipv6 ? 40 : 20) + b->ip_options;
	b->headers = b->l4 + 20 + b->tcp_options;
	b->bytes = b->headers + b->payload;
	memset(b->frame, 0, b->headers);
	oracle_pattern(10, 0, b->frame, 12);
	for (unsigned i = 0; i < b->tags; i++, at += 4) {
		head_put_16(at, i + 1 < b->tags ? 0x88a8 : 0x8100);
		head_put_16(at + 2, 0x2000 + i);
	}
	head_put_16(at, b->ipv6 ? 0x86dd : 0x0800);
	if (b->ipv6)
		big_make_ipv6(b);
	else
		big_make_ipv4(b);
	tcp = b->frame + b->l4;
	head_put_16(tcp, 40000);
	head_put_16(tcp + 2, 80);
	head_put_32(tcp + 4, 0xfffff000); /* wraps early */
	head_put_32(tcp + 8, 0x12345678);
	tcp[12] = (uint8_t)((20 + b->tcp_options) / 4 << 4);
	tcp[13] = b->tcp_flags;
	head_put_16(tcp + 14, 500);
	head_put_16(tcp + 16, 0xdead); /* what a sender leaves there: must not matter */
	memset(tcp + 20, 1, b->tcp_options);
	oracle_pattern(13, 0, b->frame + b->headers, b->payload);
}

static uint16_t reference_sum(const uint8_t *bytes, size_t count, uint32_t sum)
{
	for (size_t i = 0; i < count; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Segment @index of @b. Return: its length */
static uint32_t reference_segment(const struct big *b, uint32_t index, uint32_t count, uint8_t *out)
{
	uint32_t offset = index * b->mss;
	uint32_t payload = b->payload - offset < b->mss ? b->payload - offset : b->mss;
	uint32_t bytes = b->headers + payload, l4_bytes = bytes - b->l4, sum = 6;
	uint8_t *ip = out + b->l3, *tcp = out + b->l4;

	memcpy(out, b->frame, b->headers);
	memcpy(out + b->headers, b->frame + b->headers + offset, payload);
	if (b->ipv6) {
		head_put_16(ip + 4, bytes - b->l3 - 40);
		for (unsigned i = 8; i < 40; i += 2)
			sum += head_get_16(ip + i);
	} else {
		head_put_16(ip + 2, bytes - b->l3);
		head_put_16(ip + 4, (0xfffe + index) & 0xffff);
		head_put_16(ip + 10, 0);
		head_put_16(ip + 10, reference_sum(ip, 20 + b->ip_options, 0));
		for (unsigned i = 12; i < 20; i += 2)
			sum += head_get_16(ip + i);
	}
	head_put_32(tcp + 4, 0xfffff000 + offset);
	if (index + 1 < count)
		tcp[13] &= (uint8_t) ~(FIN | PSH);
	if (index)
		tcp[13] &= (uint8_t)~CWR;
	head_put_16(tcp + 16, 0);
	head_put_16(tcp + 16, reference_sum(tcp, l4_bytes, sum + l4_bytes));
	return bytes;
}

/* @b as a packet with @head_bytes of it in the private head, the rest in pieces of @piece_bytes. */
static struct lr_packet *big_packet(struct scene *s, const struct big *b, uint32_t head_bytes,
				    uint32_t piece_bytes)
{
	struct lr_packet *p = lr_packet_new(s->pool);
	uint32_t at = head_bytes;

	assert_int_equal(lr_packet_append(p, b->frame, head_bytes), 0);
	for (uint32_t i = 0; at < b->bytes; i++) {
		struct oracle_buffer *buffer = oracle_lend(&s->lender, i);
		uint32_t bytes = b->bytes - at < piece_bytes ? b->bytes - at : piece_bytes;

		memcpy(buffer->data, b->frame + at, bytes);
		assert_int_equal(lr_packet_attach(p, &buffer->ubuf, buffer->data, bytes), 0);
		lr_ubuf_put(&buffer->ubuf);
		at += bytes;
	}
	p->offload = (struct lr_offload){.flags = LR_OFFLOAD_NEEDS_CSUM,
					 .gso_type = b->ipv6 ? LR_GSO_TCPV6 : LR_GSO_TCPV4,
					 .gso_size = b->mss,
					 .csum_start = (uint16_t)b->l4,
					 .csum_offset = 16};
	return p;
}

static void check_segments(struct scene *s, const struct big *b, struct lr_packet *p)
{
	uint32_t count = (b->payload + b->mss - 1) / b->mss, i = 0;
	uint8_t *expected = malloc(b->bytes);
	struct lr_packet *list, *next;

	p->user[0] = 77;
	assert_int_equal(lr_packet_segment(p, &list), count);
	lr_pool_verify(s->pool);
	for (; list; list = next, i++) {
		uint32_t bytes = reference_segment(b, i, count, expected);

		next = list->next;
		assert_true(scene_is(list, expected, bytes));
		assert_int_equal(list->offload.flags, 0);
		assert_int_equal(list->offload.gso_type, LR_GSO_NONE);
		assert_int_equal(list->user[0], 77);
		assert_true(lr_packet_headroom(list) >= LR_PACKET_HEADROOM);
		lr_packet_free(list);
	}
	assert_int_equal(i, count);
	assert_int_equal(oracle_in_flight(&s->lender.ledger), 0);
	lr_pool_verify(s->pool);
	free(expected);
}

static int setup(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	scene_open(s, PACKETS, 0, BUFFERS, BUFFER_BYTES);
	s->lender.dry = true; /* frames are written into the buffers by the test */
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	scene_close(*state);
	free(*state);
	return 0;
}

/* All shapes of headers, with and without payload in the private head. */
static void every_shape_of_headers(void **state)
{
	static const uint32_t options[2][4] = {{0, 4, 24, 40}, {0, 8, 64, 256}};
	struct big *b = calloc(1, sizeof(*b));
	unsigned shapes = 0;

	for (unsigned shape = 0; shape < 2 * 3 * 4 * 3 * 2; shape++) {
		uint32_t head;

		b->ipv6 = shape % 2;
		b->tags = shape / 2 % 3;
		b->ip_options = options[b->ipv6][shape / 6 % 4];
		b->tcp_options = shape / 24 % 3 * 20;
		b->payload = 5000;
		b->mss = 1448;
		b->tcp_flags = ACK | PSH | FIN | CWR | ECE;
		big_make(b);
		head = b->headers + (shape / 72 ? 10 : 0);
		if (head > LR_PACKET_HEAD_BYTES - LR_PACKET_HEADROOM)
			continue;
		check_segments(*state, b, big_packet(*state, b, head, 1000));
		shapes++;
	}
	assert_true(shapes > 130);
	free(b);
}

/* Random sizes: segments that end in, at and across the borders of frags; odd ones. */
static void every_border(void **state)
{
	struct scene_random random = {.state = 3};
	struct big *b = calloc(1, sizeof(*b));

	for (unsigned round = 0; round < 400; round++) {
		b->ipv6 = scene_random(&random, 2);
		b->tags = scene_random(&random, 3);
		b->tcp_options = 4 * scene_random(&random, 11);
		b->tcp_flags = (uint8_t)scene_random(&random, 256);
		b->payload = 1 + scene_random(&random, 8000);
		b->mss = (uint16_t)(1 + b->payload / 100 + scene_random(&random, b->payload));
		if (b->mss > b->payload)
			b->mss = (uint16_t)b->payload;
		big_make(b);
		check_segments(*state, b,
			       big_packet(*state, b,
					  b->headers + scene_random(&random, 100) % b->payload,
					  500 + scene_random(&random, 3500)));
	}
	free(b);
}

/* As large as a frame gets: 45 segments, a piece for each page. */
static void sixty_four_kilobytes(void **state)
{
	struct big *b = calloc(1, sizeof(*b));

	for (unsigned i = 0; i < 2; i++) {
		b->ipv6 = i;
		b->tcp_options = 12;
		b->tcp_flags = ACK | PSH;
		b->payload = 65535 - 72;
		b->mss = 1448;
		big_make(b);
		check_segments(*state, b, big_packet(*state, b, b->headers, 4000));
	}
	free(b);
}

/* Lengths that a sender leaves wrong or zero (they need not fit) are written anew. */
static void length_of_the_large_frame_is_not_believed(void **state)
{
	struct big *b = calloc(1, sizeof(*b));

	for (unsigned i = 0; i < 6; i++) {
		static const uint16_t lengths[] = {0, 1, 0xffff};

		b->ipv6 = i % 2;
		b->payload = 4000;
		b->mss = 1000;
		big_make(b);
		head_put_16(b->frame + b->l3 + (b->ipv6 ? 4 : 2), lengths[i / 2]);
		check_segments(*state, b, big_packet(*state, b, b->headers, 4000));
	}
	free(b);
}

/* With the bit for ECN, CWR is on the first segment alone just the same. */
static void ecn_bit_is_accepted(void **state)
{
	struct big *b = calloc(1, sizeof(*b));
	struct lr_packet *p;

	b->payload = 3000;
	b->mss = 1000;
	b->tcp_flags = ACK | CWR;
	big_make(b);
	p = big_packet(*state, b, b->headers, 3000);
	p->offload.gso_type |= LR_GSO_ECN;
	check_segments(*state, b, p);
	free(b);
}

/* What does not fit together is refused, and the packet is as it was. */
static void nonsense_is_refused(void **state)
{
	struct scene *s = *state;
	struct big *b = calloc(1, sizeof(*b));

	for (unsigned which = 0; which < 14; which++) {
		struct lr_packet *p, *list = NULL;
		uint8_t *bytes, *ip;

		b->ipv6 = which == 12 || which == 13;
		b->ip_options = b->ipv6 ? 8 : 0;
		b->payload = 3000;
		b->mss = 1000;
		big_make(b);
		p = big_packet(s, b, which == 0 ? b->headers - 1 : b->headers, 4000);
		ip = p->head + b->l3;
		if (which == 1)
			p->offload.gso_size = 0;
		else if (which == 2)
			p->offload.gso_type = LR_GSO_NONE;
		else if (which == 3)
			p->offload.gso_type = LR_GSO_TCPV6;
		else if (which == 4)
			p->offload.gso_type = LR_GSO_UDP_L4;
		else if (which == 5)
			p->offload.csum_start++;
		else if (which == 6)
			p->offload.flags = 0;
		else if (which == 7)
			ip[0] = 0x44; /* IHL 4 */
		else if (which == 8)
			ip[6] = 0x20; /* a fragment */
		else if (which == 9)
			ip[9] = 17;
		else if (which == 10)
			p->head[b->l4 + 12] = 0x40; /* data offset 4 */
		else if (which == 11)
			p->offload.gso_size = 1; /* 3000 segments */
		else if (which == 12)
			p->head[b->l3 + 6] = 44; /* a fragment header */
		else if (which == 13) {
			p->head[b->l3 + 6] = 43; /* a route with two stops to go */
			p->head[b->l3 + 40 + 3] = 2;
		}
		bytes = scene_bytes(p);
		assert_int_equal(lr_packet_segment(p, &list), -EINVAL);
		assert_null(list);
		assert_true(scene_is(p, bytes, b->bytes));
		assert_int_equal(lr_pool_packets_free(s->pool), PACKETS - 1);
		lr_packet_free(p);
		free(bytes);
	}
	free(b);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_shape_of_headers), TEST(every_border),
		TEST(sixty_four_kilobytes),   TEST(length_of_the_large_frame_is_not_believed),
		TEST(ecn_bit_is_accepted),    TEST(nonsense_is_refused),
	};

	return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
