/* SPDX-License-Identifier: BSD-2-Clause */
/* doc/hazards.md, part A: references that are counted wrong complete a buffer early, twice, never.
 *
 * The lender poisons a buffer the moment it completes and aborts when it completes twice; closing
 * the scene aborts when one never came back.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "scene.h"

enum { BUFFERS = 20, BUFFER_BYTES = 4096, PACKETS = 64, CHUNKS = 48 };

static int setup(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	scene_open(s, PACKETS, CHUNKS, BUFFERS, BUFFER_BYTES);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	scene_close(*state);
	free(*state);
	return 0;
}

static const struct piece three[] = {{0, 5, 700}, {1, 0, 1}, {0, 2000, 300}};
enum { HEAD = 54, THREE = HEAD + 1001 };

/* A clone outlives its original, in the hands of somebody slow. */
static void hazard_A1_clone_outlives_original(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, HEAD, three, 3), *q = lr_packet_clone(p);
	uint8_t *bytes = scene_bytes(p);

	lr_packet_free(p);
	assert_true(oracle_is_out(&s->lender, 0));
	assert_true(oracle_is_out(&s->lender, 1));
	assert_true(scene_is(q, bytes, THREE));
	scene_check(s);
	lr_packet_free(q);
	assert_false(oracle_is_out(&s->lender, 0));
	assert_false(oracle_is_out(&s->lender, 1));
	free(bytes);
}

/* All orders in which four packets over one buffer can go. */
static void hazard_A2_clones_freed_in_any_order(void **state)
{
	struct scene *s = *state;

	for (unsigned order = 0; order < 24; order++) {
		struct lr_packet *p[4];
		unsigned left = 4, code = order;

		p[0] = scene_packet(s, HEAD, three, 3);
		for (unsigned i = 1; i < 4; i++)
			p[i] = lr_packet_clone(p[i - 1]);
		while (left) {
			unsigned i = code % left;

			assert_true(oracle_is_out(&s->lender, 0));
			code /= left;
			lr_packet_free(p[i]);
			p[i] = p[--left];
			scene_check(s);
		}
		assert_false(oracle_is_out(&s->lender, 0));
		assert_int_equal(s->lender.ledger.ended[ORACLE_COMPLETED], 2 * (order + 1));
	}
}

/* Every put is one of several: the lender is told once, not per reference. */
static void hazard_A3_lender_is_told_once(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, HEAD, three, 3);
	struct lr_packet *q = lr_packet_clone(p);

	assert_int_equal(scene_count(s, 0), 4); /* two frags in each of two packets */
	lr_packet_free(p);
	assert_int_equal(s->lender.ledger.ended[ORACLE_COMPLETED], 0);
	lr_packet_free(q);
	assert_int_equal(s->lender.ledger.ended[ORACLE_COMPLETED], 2);
}

/* More headroom copies the head, never the references beside it. */
static void hazard_A4_expand_and_free_again_and_again(void **state)
{
	struct scene *s = *state;

	for (unsigned round = 0; round < 100; round++) {
		struct lr_packet *p = scene_packet(s, HEAD, three, 3), *q = lr_packet_clone(p);

		assert_int_equal(lr_packet_expand(p, 300), 0);
		assert_int_equal(lr_packet_expand(q, 200 + round), 0);
		assert_int_equal(scene_count(s, 0), 4);
		scene_check(s);
		lr_packet_free(round & 1 ? p : q);
		assert_int_equal(scene_count(s, 0), 2);
		scene_check(s);
		lr_packet_free(round & 1 ? q : p);
	}
	assert_int_equal(s->lender.ledger.ended[ORACLE_COMPLETED], 200);
}

/* An unshared packet expands by moving: no reference is taken for it. */
static void hazard_A5_expand_of_unshared_takes_nothing(void **state)
{
	static const struct piece one = {0, 0, 100};
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, HEAD, &one, 1);
	uint8_t *bytes = scene_bytes(p);

	assert_int_equal(lr_packet_expand(p, LR_PACKET_HEAD_BYTES - HEAD), 0);
	assert_int_equal(lr_packet_expand(p, LR_PACKET_HEAD_BYTES), -ENOSPC);
	assert_int_equal(scene_count(s, 0), 1);
	assert_true(scene_is(p, bytes, HEAD + 100));
	lr_packet_free(p);
	assert_false(oracle_is_out(&s->lender, 0));
	free(bytes);
}

/* Split at every border: in the head, at its end, in a frag, between frags; either half first. */
static void hazard_A6_split_at_every_border(void **state)
{
	struct scene *s = *state;

	for (uint32_t at = 1; at < THREE; at++) {
		for (unsigned first = 0; first < 2; first++) {
			struct lr_packet *p = scene_packet(s, HEAD, three, 3), *rest;
			uint8_t *bytes = scene_bytes(p);

			assert_int_equal(lr_packet_split(p, at, &rest), 0);
			assert_int_equal(p->bytes, at);
			scene_check(s);
			if (first == 0) {
				lr_packet_free(p);
				assert_true(scene_is(rest, bytes + at, THREE - at));
				lr_packet_free(rest);
			} else {
				lr_packet_free(rest);
				assert_true(scene_is(p, bytes, at));
				lr_packet_free(p);
			}
			assert_int_equal(oracle_in_flight(&s->lender.ledger), 0);
			free(bytes);
		}
	}
	/* nothing to split off: refused, and nothing taken */
	struct lr_packet *p = scene_packet(s, HEAD, three, 3), *rest = NULL;

	assert_int_equal(lr_packet_split(p, 0, &rest), -EINVAL);
	assert_int_equal(lr_packet_split(p, THREE, &rest), -EINVAL);
	assert_null(rest);
	scene_check(s);
	lr_packet_free(p);
}

/* A TCP frame of 64 KiB: 54 bytes of headers, then 45 segments of 1448 (the last one shorter). */
enum { SEGMENTS = 45, MSS = 1448, PAYLOAD = 44 * MSS + 1000 };

static struct lr_packet *tcp_packet(struct scene *s)
{
	struct piece pieces[BUFFERS];
	unsigned count = 0;
	struct lr_packet *p;

	for (uint32_t left = PAYLOAD; left; count++) {
		uint32_t bytes = left < 3900 ? left : 3900;

		pieces[count] = (struct piece){count, count, bytes};
		left -= bytes;
	}
	p = scene_packet(s, HEAD, pieces, count);
	memset(p->head, 0, HEAD);
	memcpy(p->head + 12, "\x08\x00\x45", 3);
	p->head[23] = 6;
	p->head[46] = 0x50;
	p->offload = (struct lr_offload){.flags = LR_OFFLOAD_NEEDS_CSUM,
					 .gso_type = LR_GSO_TCPV4,
					 .gso_size = MSS,
					 .csum_start = 34,
					 .csum_offset = 16};
	return p;
}

static void hazard_A7_segments_freed_in_random_order(void **state)
{
	struct scene_random random = {.state = 7};
	struct scene *s = *state;

	for (unsigned round = 0; round < 20; round++) {
		struct lr_packet *p = tcp_packet(s), *list, *segments[SEGMENTS];
		unsigned left = 0;

		assert_int_equal(lr_packet_segment(p, &list), SEGMENTS);
		for (; list; list = list->next)
			segments[left++] = list;
		assert_int_equal(left, SEGMENTS);
		scene_check(s);
		while (left) {
			unsigned i = scene_random(&random, left);

			lr_packet_free(segments[i]);
			segments[i] = segments[--left];
			if (left % 8 == 0)
				scene_check(s);
		}
		assert_int_equal(oracle_in_flight(&s->lender.ledger), 0);
	}
}

/* The pool runs out at segment k, for every k: all references are back, the packet as it was. */
static void hazard_A7_segmentation_fails_at_every_segment(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = tcp_packet(s), *list = NULL;
	uint8_t *bytes = scene_bytes(p);

	for (unsigned k = 0; k < SEGMENTS; k++) {
		lr_pool_fail_after(s->pool, k);
		assert_int_equal(lr_packet_segment(p, &list), -ENOMEM);
		assert_null(list);
		assert_int_equal(lr_pool_packets_free(s->pool), PACKETS - 1);
		assert_true(scene_is(p, bytes, HEAD + PAYLOAD));
		scene_check(s);
	}
	lr_packet_free(p);
	free(bytes);
}

/* A frag goes from one packet to another: its buffer goes with it, its donor may go first. */
static void hazard_A9_frag_moves_to_another_packet(void **state)
{
	static const struct piece pieces[] = {{0, 0, 100}, {1, 0, 100}, {2, 0, 100}};
	struct scene *s = *state;
	struct lr_packet *donor = scene_packet(s, 0, pieces, 3), *moved, *joined;
	uint8_t *bytes = scene_bytes(donor);

	assert_int_equal(lr_packet_split(donor, 100, &moved), 0); /* moves two, adds none */
	assert_int_equal(scene_count(s, 1), 1);
	/* joined: made of somebody else's frag */
	joined = lr_packet_new(s->pool);
	assert_int_equal(lr_packet_attach(joined, moved->frags[0].ubuf, moved->frags[0].data, 100),
			 0);
	lr_packet_free(donor);
	assert_false(oracle_is_out(&s->lender, 0));
	lr_packet_free(moved);
	assert_true(oracle_is_out(&s->lender, 1));
	assert_false(oracle_is_out(&s->lender, 2));
	assert_true(scene_is(joined, bytes + 100, 100));
	assert_true(joined->lent);
	scene_check(s);
	lr_packet_free(joined);
	free(bytes);
}

/* Two lenders' buffers in one packet: each completes for itself. */
static void hazard_A10_two_buffers_in_one_packet(void **state)
{
	static const struct piece pieces[] = {{0, 0, 100}, {1, 0, 100}};
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, 0, pieces, 2), *rest;

	assert_int_equal(lr_packet_pull(p, 100), 0);
	assert_false(oracle_is_out(&s->lender, 0));
	assert_true(oracle_is_out(&s->lender, 1));
	lr_packet_free(p);
	p = scene_packet(s, 0, pieces, 2);
	assert_int_equal(lr_packet_split(p, 100, &rest), 0);
	lr_packet_free(rest);
	assert_true(oracle_is_out(&s->lender, 0));
	assert_false(oracle_is_out(&s->lender, 1));
	lr_packet_free(p);
	assert_int_equal(s->lender.ledger.ended[ORACLE_COMPLETED], 4);
}

/* Building fails for want of frags: k references go, the builder's own stays, nothing completes. */
static void hazard_A11_packet_is_half_built(void **state)
{
	struct scene *s = *state;

	for (unsigned k = 0; k <= LR_PACKET_FRAGS; k++) {
		struct oracle_buffer *b = oracle_lend(&s->lender, 0);
		struct lr_packet *p = lr_packet_new(s->pool);

		for (unsigned i = 0; i < k; i++)
			assert_int_equal(lr_packet_attach(p, &b->ubuf, b->data + i, 1), 0);
		if (k == LR_PACKET_FRAGS)
			assert_int_equal(lr_packet_attach(p, &b->ubuf, b->data, 1), -ENOSPC);
		assert_int_equal(lr_ubuf_count(&b->ubuf), k + 1);
		lr_packet_free(p);
		assert_int_equal(lr_ubuf_count(&b->ubuf), 1);
		assert_true(oracle_is_out(&s->lender, 0));
		lr_ubuf_put(&b->ubuf);
		assert_int_equal(s->lender.ledger.ended[ORACLE_COMPLETED], k + 1);
	}
}

/* Every allocation of a build fails in turn: success and rollback count by the same rule. */
static void hazard_A12_every_allocation_of_a_build_fails(void **state)
{
	struct scene *s = *state;

	for (int k = 0; k < 6; k++) {
		struct oracle_buffer *b = oracle_lend(&s->lender, 0);
		struct lr_packet *p, *q = NULL, *r = NULL;
		unsigned frags = 0;

		lr_pool_fail_after(s->pool, k);
		p = lr_packet_new(s->pool);
		if (p && lr_packet_attach(p, &b->ubuf, b->data, BUFFER_BYTES) == 0)
			q = lr_packet_clone(p);
		if (q && lr_packet_orphan(q) == 0) /* two chunks */
			r = lr_packet_clone(p);
		lr_pool_fail_after(s->pool, -1);
		frags = (p != NULL) + (q && q->lent) + (r != NULL);
		assert_int_equal(lr_ubuf_count(&b->ubuf), 1 + frags);
		lr_pool_verify(s->pool);
		lr_packet_free(q);
		lr_packet_free(r);
		lr_ubuf_put(&b->ubuf);
		assert_int_equal(oracle_is_out(&s->lender, 0), p != NULL);
		lr_packet_free(p);
		assert_false(oracle_is_out(&s->lender, 0));
	}
}

/* One buffer, several packets: each of them holds it, whichever is delayed. */
static void hazard_A13_buffer_spans_packets(void **state)
{
	struct scene *s = *state;

	for (unsigned delayed = 0; delayed < 3; delayed++) {
		struct oracle_buffer *b = oracle_lend(&s->lender, 0);
		struct lr_packet *p[3];

		for (unsigned i = 0; i < 3; i++) {
			p[i] = lr_packet_new(s->pool);
			assert_int_equal(
				lr_packet_attach(p[i], &b->ubuf, b->data + 1000ul * i, 1000), 0);
		}
		lr_ubuf_put(&b->ubuf);
		for (unsigned i = 0; i < 3; i++)
			if (i != delayed)
				lr_packet_free(p[i]);
		assert_true(oracle_is_out(&s->lender, 0));
		assert_true(oracle_pattern_matches(b->stamp, 1000ul * delayed,
						   p[delayed]->frags[0].data, 1000));
		lr_packet_free(p[delayed]);
		assert_false(oracle_is_out(&s->lender, 0));
	}
}

/* Part of a buffer was copied, part is still in use: it is done when both are. */
static void hazard_A14_part_copied_part_not(void **state)
{
	static const struct piece one = {0, 0, 2000};
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, HEAD, &one, 1), *q = lr_packet_clone(p);
	uint8_t *bytes = scene_bytes(p);

	assert_int_equal(lr_packet_orphan(q), 0);
	assert_true(oracle_is_out(&s->lender, 0));
	assert_true(scene_is(p, bytes, HEAD + 2000));
	lr_packet_free(p);
	assert_false(oracle_is_out(&s->lender, 0));
	assert_int_equal(s->lender.ledger.ended[ORACLE_COPIED], 1); /* a remark beside it */
	assert_true(scene_is(q, bytes, HEAD + 2000));
	lr_packet_free(q);
	free(bytes);
}

static void unmapped_complete(struct lr_ubuf *ubuf)
{
	(void)ubuf;
}

/* Bytes that must outlive their buffer are copied first: then the memory may go away for good. */
static void hazard_A16_bytes_outlive_their_memory(void **state)
{
	static const struct lr_ubuf_ops ops = {.complete = unmapped_complete};
	struct scene *s = *state;
	struct lr_packet *p = lr_packet_new(s->pool), *q;
	struct lr_ubuf u = {0};
	uint8_t *memory, *bytes;

	memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(memory != MAP_FAILED);
	oracle_pattern(1, 0, memory, 8192);
	lr_ubuf_init(&u, &ops);
	assert_int_equal(lr_packet_attach(p, &u, memory, 8192), 0);
	lr_ubuf_put(&u);
	bytes = scene_bytes(p);
	q = lr_packet_copy(p, s->pool);
	assert_int_equal(lr_ubuf_count(&u), 1); /* the copy refers to nothing lent */
	lr_packet_free(p);
	assert_int_equal(lr_ubuf_count(&u), 0);
	assert_int_equal(munmap(memory, 8192), 0); /* a late reader would fault */
	assert_true(scene_is(q, bytes, 8192));
	lr_packet_free(q);
	free(bytes);
}

/* The last lent byte leaves by pull, trim or linearize: complete then, once; not before. */
static void hazard_A17_last_lent_byte_leaves(void **state)
{
	static const struct piece one = {0, 0, 200};
	struct scene *s = *state;
	struct lr_packet *p;

	for (unsigned way = 0; way < 3; way++) {
		p = scene_packet(s, HEAD, &one, 1);
		assert_int_equal(way == 0   ? lr_packet_pull(p, HEAD + 199)
				 : way == 1 ? lr_packet_trim(p, HEAD + 1)
					    : lr_packet_linearize(p, HEAD + 199),
				 0);
		assert_true(oracle_is_out(&s->lender, 0));
		assert_true(p->lent);
		scene_check(s);
		assert_int_equal(way == 0   ? lr_packet_pull(p, 1)
				 : way == 1 ? lr_packet_trim(p, HEAD)
					    : lr_packet_linearize(p, HEAD + 200),
				 0);
		assert_false(oracle_is_out(&s->lender, 0));
		assert_false(p->lent);
		lr_packet_free(p);
		scene_check(s);
	}
	assert_int_equal(s->lender.ledger.ended[ORACLE_COMPLETED], 2);
	assert_int_equal(s->lender.ledger.ended[ORACLE_COPIED], 1);
}

/* All of it was in the private head already: nothing is attached, it completes at once. */
static void hazard_A18_nothing_left_to_lend(void **state)
{
	struct scene *s = *state;
	struct oracle_buffer *b = oracle_lend(&s->lender, 0);
	struct lr_packet *p = lr_packet_new(s->pool);

	assert_int_equal(lr_packet_append(p, b->data, 60), 0);
	assert_int_equal(lr_packet_attach(p, &b->ubuf, b->data + 60, 0), 0);
	assert_int_equal(p->frag_count, 0);
	lr_ubuf_put(&b->ubuf);
	assert_int_equal(s->lender.ledger.ended[ORACLE_COMPLETED], 1);
	assert_true(oracle_pattern_matches(b->stamp, 0, p->head, 60));
	lr_packet_free(p);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(hazard_A1_clone_outlives_original),
		TEST(hazard_A2_clones_freed_in_any_order),
		TEST(hazard_A3_lender_is_told_once),
		TEST(hazard_A4_expand_and_free_again_and_again),
		TEST(hazard_A5_expand_of_unshared_takes_nothing),
		TEST(hazard_A6_split_at_every_border),
		TEST(hazard_A7_segments_freed_in_random_order),
		TEST(hazard_A7_segmentation_fails_at_every_segment),
		TEST(hazard_A9_frag_moves_to_another_packet),
		TEST(hazard_A10_two_buffers_in_one_packet),
		TEST(hazard_A11_packet_is_half_built),
		TEST(hazard_A12_every_allocation_of_a_build_fails),
		TEST(hazard_A13_buffer_spans_packets),
		TEST(hazard_A14_part_copied_part_not),
		TEST(hazard_A16_bytes_outlive_their_memory),
		TEST(hazard_A17_last_lent_byte_leaves),
		TEST(hazard_A18_nothing_left_to_lend),
	};

	return cmocka_run_group_tests_name("hazards_a", tests, NULL, NULL);
}
