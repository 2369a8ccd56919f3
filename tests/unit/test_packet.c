/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets: what each function does and refuses, one by one. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/asan.h"
#include "death.h"
#include "scene.h"

enum { BUFFERS = 4, BUFFER_BYTES = 4096 };

static unsigned completions;

static int setup(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	scene_open(s, 8, 40, BUFFERS, BUFFER_BYTES);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	scene_close(*state);
	free(*state);
	return 0;
}

static const struct piece two[] = {{0, 100, 1000}, {1, 0, 500}};

static void new_packet_is_empty(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = lr_packet_new(s->pool);

	assert_int_equal(p->bytes, 0);
	assert_int_equal(p->frag_count, 0);
	assert_false(p->lent);
	assert_null(p->next);
	assert_int_equal(p->offload.flags, 0);
	assert_int_equal(p->user[0] | p->user[1], 0);
	assert_int_equal(lr_packet_headroom(p), LR_PACKET_HEADROOM);
	lr_packet_free(p);
	lr_packet_free(NULL);
}

static void append_fills_the_head_and_no_more(void **state)
{
	const uint32_t room = LR_PACKET_HEAD_BYTES - LR_PACKET_HEADROOM;
	struct scene *s = *state;
	struct lr_packet *p = lr_packet_new(s->pool);
	uint8_t bytes[LR_PACKET_HEAD_BYTES];

	oracle_pattern(1, 0, bytes, sizeof(bytes));
	assert_int_equal(lr_packet_append(p, NULL, 0), 0);
	assert_int_equal(lr_packet_append(p, bytes, 100), 0);
	assert_int_equal(lr_packet_append(p, bytes + 100, room - 100 + 1), -ENOSPC);
	assert_int_equal(p->bytes, 100);
	assert_int_equal(lr_packet_append(p, bytes + 100, room - 100), 0);
	assert_int_equal(lr_packet_append(p, bytes, 1), -ENOSPC);
	assert_true(scene_is(p, bytes, room));
	lr_packet_free(p);
}

static void attach_refuses_what_does_not_fit(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = lr_packet_new(s->pool);
	struct oracle_buffer *b = oracle_lend(&s->lender, 0);

	assert_int_equal(lr_packet_attach(p, &b->ubuf, b->data, LR_PACKET_BYTES_MAX + 1), -ENOSPC);
	assert_int_equal(lr_packet_attach(p, &b->ubuf, b->data, UINT32_MAX), -ENOSPC);
	assert_int_equal(lr_packet_attach(p, &b->ubuf, b->data, LR_PACKET_BYTES_MAX), 0);
	assert_int_equal(lr_packet_attach(p, &b->ubuf, b->data, 1), -ENOSPC);
	assert_int_equal(lr_ubuf_count(&b->ubuf), 2);
	lr_packet_free(p);
	lr_ubuf_put(&b->ubuf);
}

static void clone_has_its_own_head(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, 60, two, 2), *q;
	uint8_t *bytes = scene_bytes(p);

	p->user[0] = 7;
	p->offload.gso_size = 9;
	q = lr_packet_clone(p);
	assert_int_equal(q->user[0], 7);
	assert_int_equal(q->offload.gso_size, 9);
	assert_int_equal(q->frags[0].data - p->frags[0].data, 0); /* L3: no byte copied */
	assert_int_equal(scene_count(s, 0), 2);
	memset(p->head, 0, p->head_bytes);
	assert_true(scene_is(q, bytes, 1560));
	assert_false(scene_is(p, bytes, 1560));
	scene_check(s);
	lr_packet_free(p);
	lr_packet_free(q);
	free(bytes);
}

/* L3: failing changes nothing and the caller still owns the original. */
static void clone_failing_changes_nothing(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, 60, two, 2);
	uint8_t *bytes = scene_bytes(p);

	lr_pool_fail_after(s->pool, 0);
	assert_null(lr_packet_clone(p));
	assert_int_equal(scene_count(s, 0), 1);
	assert_int_equal(scene_count(s, 1), 1);
	assert_true(scene_is(p, bytes, 1560));
	scene_check(s);
	lr_packet_free(p);
	free(bytes);
}

static void copy_takes_a_chunk_only_when_it_must(void **state)
{
	struct scene *s = *state;
	const struct piece small = {0, 0, 300}, large = {1, 0, 340};
	struct lr_packet *p = scene_packet(s, 60, &small, 1);
	struct lr_packet *q = scene_packet(s, 60, &large, 1);
	struct lr_packet *p2 = lr_packet_copy(p, s->pool), *q2 = lr_packet_copy(q, s->pool);
	uint8_t *bytes = scene_bytes(q);

	assert_int_equal(p2->head_bytes, 360);
	assert_int_equal(p2->frag_count, 0);
	assert_int_equal(q2->head_bytes, 60);
	assert_int_equal(q2->frag_count, 1);
	assert_int_equal(lr_pool_chunks_free(s->pool), 39);
	assert_false(p2->lent);
	assert_false(q2->lent);
	assert_true(scene_is(q2, bytes, 400));
	scene_check(s);
	lr_packet_free(p);
	lr_packet_free(q);
	lr_packet_free(p2);
	lr_packet_free(q2);
	free(bytes);
}

static void copy_lives_in_the_other_pool(void **state)
{
	const struct lr_pool_config config = {.packet_count = 1, .chunk_count = 1};
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, 60, two, 2), *q;
	uint8_t *bytes = scene_bytes(p);
	struct lr_pool *other;

	assert_int_equal(lr_pool_new(&config, &other), 0);
	q = lr_packet_copy(p, other);
	assert_ptr_equal(q->pool, other);
	assert_int_equal(lr_pool_chunks_free(other), 0);
	lr_packet_free(p);
	assert_int_equal(oracle_in_flight(&s->lender.ledger), 0);
	assert_true(scene_is(q, bytes, 1560));
	assert_null(lr_packet_copy(q, other));
	lr_packet_free(q);
	lr_pool_free(other);
	free(bytes);
}

static void expand_moves_the_head_within_its_room(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, 60, two, 2);
	uint8_t *bytes = scene_bytes(p);

	assert_int_equal(lr_packet_expand(p, 100), 0);
	assert_int_equal(lr_packet_headroom(p), 128);
	assert_int_equal(lr_packet_expand(p, 300), 0);
	assert_int_equal(lr_packet_headroom(p), 300);
	assert_int_equal(lr_packet_expand(p, 453), -ENOSPC);
	assert_int_equal(lr_packet_headroom(p), 300);
	assert_int_equal(lr_packet_expand(p, 452), 0);
	assert_non_null(lr_packet_push(p, 452));
	assert_int_equal(lr_packet_pull(p, 452), 0);
	assert_true(scene_is(p, bytes, 1560));
	lr_packet_free(p);
	free(bytes);
}

static void push_and_pull_carry_the_checksum_offset(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, 60, two, 2);

	p->offload = (struct lr_offload){
		.flags = LR_OFFLOAD_NEEDS_CSUM, .hdr_len = 54, .csum_start = 34, .csum_offset = 16};
	assert_non_null(lr_packet_push(p, 50));
	assert_int_equal(p->offload.csum_start, 84);
	assert_int_equal(p->offload.hdr_len, 104);
	assert_null(lr_packet_push(p, 100)); /* 78 are left */
	assert_int_equal(p->offload.csum_start, 84);
	assert_int_equal(lr_packet_pull(p, 85), -EINVAL); /* would lose bytes it covers */
	assert_int_equal(p->bytes, 1610);
	assert_int_equal(lr_packet_pull(p, 50), 0);
	assert_int_equal(p->offload.csum_start, 34);
	assert_int_equal(p->offload.hdr_len, 54);
	p->offload.csum_start = UINT16_MAX - 10;
	assert_null(lr_packet_push(p, 11));
	assert_non_null(lr_packet_push(p, 10));
	lr_packet_free(p);
}

static void pull_and_trim_bounds(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, 60, two, 2);
	uint8_t *bytes = scene_bytes(p);

	assert_int_equal(lr_packet_pull(p, 1561), -EINVAL);
	assert_int_equal(lr_packet_trim(p, 1561), -EINVAL);
	assert_int_equal(lr_packet_trim(p, 1560), 0);
	assert_int_equal(lr_packet_pull(p, 0), 0);
	assert_true(scene_is(p, bytes, 1560));
	assert_int_equal(lr_packet_pull(p, 70), 0);
	assert_true(scene_is(p, bytes + 70, 1490));
	assert_int_equal(lr_packet_trim(p, 1000), 0);
	assert_true(scene_is(p, bytes + 70, 1000));
	assert_int_equal(lr_packet_trim(p, 0), 0);
	assert_int_equal(p->bytes, 0);
	assert_false(p->lent);
	scene_check(s);
	lr_packet_free(p);
	free(bytes);
}

/* Every length: what comes off goes, what stays is what it was. */
static void pull_and_trim_every_length(void **state)
{
	static const struct piece pieces[] = {{0, 0, 7}, {1, 9, 1}, {2, 3, 11}};
	struct scene *s = *state;

	for (uint32_t from = 0; from <= 24; from++) {
		for (uint32_t to = from; to <= 24; to++) {
			struct lr_packet *p = scene_packet(s, 5, pieces, 3);
			uint8_t *bytes = scene_bytes(p);

			assert_int_equal(lr_packet_trim(p, to), 0);
			assert_int_equal(lr_packet_pull(p, from), 0);
			assert_true(scene_is(p, bytes + from, to - from));
			scene_check(s);
			lr_packet_free(p);
			free(bytes);
		}
	}
}

static void linearize_uses_tail_then_headroom(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, 60, two, 2);
	uint8_t *bytes = scene_bytes(p);

	assert_int_equal(lr_packet_linearize(p, 1561), -EINVAL);
	assert_int_equal(lr_packet_linearize(p, 513), -ENOSPC);
	assert_int_equal(lr_packet_linearize(p, 30), 0);
	assert_int_equal(p->head_bytes, 60);
	assert_int_equal(lr_packet_linearize(p, 384), 0);
	assert_int_equal(p->head_bytes, 384);
	assert_int_equal(lr_packet_headroom(p), 128);
	assert_int_equal(lr_packet_linearize(p, 512), 0);
	assert_int_equal(lr_packet_headroom(p), 0);
	assert_true(scene_is(p, bytes, 1560));
	assert_int_equal(p->frags[0].bytes, 1060 - 512);
	assert_true(s->lender.buffers[0].ubuf.flags & LR_UBUF_COPIED);
	assert_false(s->lender.buffers[1].ubuf.flags & LR_UBUF_COPIED);
	scene_check(s);
	lr_packet_free(p);
	free(bytes);
}

static void split_bounds_and_remarks(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, 60, two, 2), *rest = NULL;

	p->user[1] = 5;
	p->offload.gso_size = 3;
	assert_int_equal(lr_packet_split(p, 0, &rest), -EINVAL);
	assert_int_equal(lr_packet_split(p, 1560, &rest), -EINVAL);
	lr_pool_fail_after(s->pool, 0);
	assert_int_equal(lr_packet_split(p, 100, &rest), -ENOMEM);
	assert_null(rest);
	assert_int_equal(p->bytes, 1560);
	assert_int_equal(lr_packet_split(p, 100, &rest), 0);
	assert_int_equal(rest->user[1], 5);
	assert_int_equal(rest->offload.gso_size, 0);
	assert_int_equal(p->offload.gso_size, 3);
	lr_packet_free(p);
	lr_packet_free(rest);
}

/* A head as long as the whole room still splits: the rest gets less headroom. */
static void split_of_a_full_head(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, 384, NULL, 0), *rest;
	uint8_t *bytes;

	assert_non_null(lr_packet_push(p, 128));
	oracle_pattern(3, 0, p->head, 128);
	bytes = scene_bytes(p);
	assert_int_equal(lr_packet_split(p, 1, &rest), 0);
	assert_int_equal(lr_packet_headroom(rest), 1);
	assert_true(scene_is(rest, bytes + 1, 511));
	lr_packet_free(p);
	lr_packet_free(rest);
	free(bytes);
}

static void read_crosses_borders(void **state)
{
	static const struct piece pieces[] = {{0, 0, 7}, {1, 9, 1}, {2, 3, 11}};
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, 5, pieces, 3);
	uint8_t *bytes = scene_bytes(p), part[24];

	for (uint32_t at = 0; at <= 24; at++) {
		for (uint32_t n = 0; n <= 24 - at; n++) {
			assert_int_equal(lr_packet_read(p, at, part, n), 0);
			assert_memory_equal(part, bytes + at, n);
		}
		assert_int_equal(lr_packet_read(p, at, part, 25 - at), -EINVAL);
	}
	assert_int_equal(lr_packet_read(p, 25, part, 0), -EINVAL);
	assert_int_equal(lr_packet_read(p, 1, part, UINT32_MAX), -EINVAL);
	lr_packet_free(p);
	free(bytes);
}

static void orphan_small_goes_into_the_head(void **state)
{
	struct scene *s = *state;
	const struct piece small = {0, 0, 300};
	struct lr_packet *p = scene_packet(s, 60, &small, 1);
	uint8_t *bytes = scene_bytes(p);

	assert_int_equal(lr_packet_orphan(p), 0);
	assert_int_equal(lr_pool_chunks_free(s->pool), 40);
	assert_false(p->lent);
	assert_false(oracle_is_out(&s->lender, 0));
	assert_int_equal(s->lender.ledger.ended[ORACLE_COPIED], 1);
	assert_true(scene_is(p, bytes, 360));
	assert_int_equal(lr_packet_orphan(p), 0); /* nothing lent: nothing to do */
	lr_packet_free(p);
	free(bytes);
}

/* A packet object comes and goes, as drivers recycle theirs: nothing of its last life is left. */
static void hazard_C37_recycled_packet_forgets_its_buffers(void **state)
{
	struct scene *s = *state;

	for (unsigned round = 0; round < 20; round++) {
		struct lr_packet *p = scene_packet(s, 60, two, 2);

		p->next = p;
		p->user[0] = round + 1;
		p->offload.flags = LR_OFFLOAD_NEEDS_CSUM;
		lr_packet_free(p);
		assert_int_equal(oracle_in_flight(&s->lender.ledger), 0);
		assert_ptr_equal(lr_packet_new(s->pool), p); /* the same one again */
		assert_null(p->next);
		assert_int_equal(p->bytes + p->frag_count + p->lent + p->offload.flags, 0);
		assert_int_equal(p->user[0], 0);
		assert_int_equal(lr_packet_headroom(p), LR_PACKET_HEADROOM);
		lr_packet_free(p);
	}
}

static void count_completion(struct lr_ubuf *ubuf)
{
	(void)ubuf;
	completions++;
}

/* One page offered twice: two buffers, each with a count and a completion of its own. */
static void hazard_D57_same_bytes_lent_twice(void **state)
{
	static const struct lr_ubuf_ops ops = {.complete = count_completion};
	static const uint8_t page[4096] = {1};
	struct lr_ubuf u[2] = {0};
	struct scene *s = *state;
	struct lr_packet *p[2];

	completions = 0;
	for (unsigned i = 0; i < 2; i++) {
		lr_ubuf_init(&u[i], &ops);
		p[i] = lr_packet_new(s->pool);
		assert_int_equal(lr_packet_attach(p[i], &u[i], page, sizeof(page)), 0);
		lr_ubuf_put(&u[i]);
	}
	lr_packet_free(p[0]);
	assert_int_equal(completions, 1);
	assert_int_equal(lr_ubuf_count(&u[1]), 1);
	lr_packet_free(p[1]);
	assert_int_equal(completions, 2);
}

static void free_it(void *p)
{
	lr_packet_free(p);
}

static void push_it(void *p)
{
	lr_packet_push(p, 1);
}

static void append_it(void *p)
{
	lr_packet_append(p, "x", 1);
}

/* L1: a packet that was given away is not its old owner's to use. */
static void using_a_freed_packet_dies(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = lr_packet_new(s->pool);

	lr_packet_free(p);
	assert_true(death_seen(free_it, p, "packet is live"));
	assert_true(death_seen(push_it, p, "packet is live"));
}

static void append_behind_frags_dies(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, 60, two, 2);

	assert_true(death_seen(append_it, p, "frag_count == 0"));
	lr_packet_free(p);
}

#ifdef LR_VERIFY
static void write_then_take(void *argument)
{
	struct scene *s = argument;
	struct lr_packet *p = lr_packet_new(s->pool);

	lr_packet_free(p);
	p->room[200] = 1;
	lr_packet_new(s->pool);
}

/* L1: VERIFY builds see a write to a packet that was given away, and tell its history. */
static void verify_sees_use_after_free(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = lr_packet_new(s->pool);

	assert_non_null(lr_packet_push(p, 1));
	lr_packet_free(p);
	assert_true(death_seen(free_it, p, "free push new"));
	if (!ASAN_BUILD) /* which forbids it at once */
		assert_true(death_seen(write_then_take, s, "packet_show"));
}
#endif

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(new_packet_is_empty),
		TEST(append_fills_the_head_and_no_more),
		TEST(attach_refuses_what_does_not_fit),
		TEST(clone_has_its_own_head),
		TEST(clone_failing_changes_nothing),
		TEST(copy_takes_a_chunk_only_when_it_must),
		TEST(copy_lives_in_the_other_pool),
		TEST(expand_moves_the_head_within_its_room),
		TEST(push_and_pull_carry_the_checksum_offset),
		TEST(pull_and_trim_bounds),
		TEST(pull_and_trim_every_length),
		TEST(linearize_uses_tail_then_headroom),
		TEST(split_bounds_and_remarks),
		TEST(split_of_a_full_head),
		TEST(read_crosses_borders),
		TEST(orphan_small_goes_into_the_head),
		TEST(hazard_C37_recycled_packet_forgets_its_buffers),
		TEST(hazard_D57_same_bytes_lent_twice),
		TEST(using_a_freed_packet_dies),
		TEST(append_behind_frags_dies),
#ifdef LR_VERIFY
		TEST(verify_sees_use_after_free),
#endif
	};

	return cmocka_run_group_tests_name("packet", tests, NULL, NULL);
}
