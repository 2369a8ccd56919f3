/* SPDX-License-Identifier: BSD-2-Clause */
/* Pools: sizes, exhaustion, failing takes, drop counters, everything home at the end. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <lastref/packet.h>

#include "death.h"

static struct lr_pool *pool_of(uint32_t packets, uint32_t chunks, uint32_t chunk_bytes)
{
	const struct lr_pool_config config = {
		.packet_count = packets, .chunk_count = chunks, .chunk_bytes = chunk_bytes};
	struct lr_pool *pool = NULL;

	assert_int_equal(lr_pool_new(&config, &pool), 0);
	return pool;
}

static void complete(struct lr_ubuf *ubuf)
{
	(void)ubuf;
}

static const struct lr_ubuf_ops ops = {.complete = complete};

static uint8_t lent_bytes[8192];

/* A packet of @bytes lent bytes. */
static struct lr_packet *lent_packet(struct lr_pool *pool, struct lr_ubuf *u, uint32_t bytes)
{
	struct lr_packet *p = lr_packet_new(pool);

	assert_non_null(p);
	lr_ubuf_init(u, &ops);
	assert_int_equal(lr_packet_attach(p, u, lent_bytes, bytes), 0);
	lr_ubuf_put(u);
	return p;
}

static void sizes_are_as_promised(void **state)
{
	struct lr_pool *pool;

	(void)state;
	assert_int_equal(lr_pool_packet_bytes(), 1600);
	assert_int_equal(offsetof(struct lr_packet, frags), 64);
	pool = pool_of(3, 2, 100);
	assert_int_equal(lr_pool_packets_free(pool), 3);
	assert_int_equal(lr_pool_chunks_free(pool), 2);
	lr_pool_verify(pool);
	lr_pool_free(pool);
	lr_pool_free(NULL);
}

static void nonsense_is_refused(void **state)
{
	const struct lr_pool_config none = {0};
	const struct lr_pool_config huge_chunk = {.packet_count = 1, .chunk_bytes = 1 << 20};
	const struct lr_pool_config huge = {.packet_count = UINT32_MAX,
					    .chunk_count = UINT32_MAX,
					    .chunk_bytes = LR_PACKET_BYTES_MAX};
	struct lr_pool *pool = (void *)&state;

	assert_int_equal(lr_pool_new(&none, &pool), -EINVAL);
	assert_int_equal(lr_pool_new(&huge_chunk, &pool), -EINVAL);
	assert_int_equal(lr_pool_new(&huge, &pool), -ENOMEM);
	assert_ptr_equal(pool, &state); /* untouched on failure */
}

static void packets_run_out_and_come_back(void **state)
{
	struct lr_pool *pool = pool_of(3, 0, 0);
	struct lr_packet *p[3];

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 3; i++) {
			p[i] = lr_packet_new(pool);
			assert_non_null(p[i]);
			assert_int_equal(lr_pool_packets_free(pool), 2 - i);
			lr_pool_verify(pool);
		}
		assert_null(lr_packet_new(pool));
		for (unsigned i = 0; i < 3; i++)
			lr_packet_free(p[(i + round) % 3]);
		lr_pool_verify(pool);
	}
	lr_pool_free(pool);
}

static void chunks_run_out_and_come_back(void **state)
{
	struct lr_pool *pool = pool_of(2, 2, 1024);
	struct lr_ubuf u[2] = {0};
	struct lr_packet *p, *q;

	(void)state;
	p = lent_packet(pool, &u[0], 2000);
	q = lent_packet(pool, &u[1], 1000);
	assert_int_equal(lr_packet_orphan(p), 0);
	assert_int_equal(lr_pool_chunks_free(pool), 0);
	assert_int_equal(lr_packet_orphan(q), -ENOMEM);
	lr_packet_free(p);
	assert_int_equal(lr_pool_chunks_free(pool), 2);
	assert_int_equal(lr_packet_orphan(q), 0);
	assert_int_equal(lr_pool_chunks_free(pool), 1);
	lr_pool_verify(pool);
	lr_packet_free(q);
	lr_pool_free(pool);
}

/* The hook fails one take, the one that it was told. */
static void one_take_fails(void **state)
{
	struct lr_pool *pool = pool_of(4, 4, 1024);
	struct lr_ubuf u = {0};
	struct lr_packet *p;

	(void)state;
	p = lent_packet(pool, &u, 3000);
	for (int n = 0; n < 3; n++) {
		lr_pool_fail_after(pool, n);
		assert_int_equal(lr_packet_orphan(p), -ENOMEM);
		assert_int_equal(lr_pool_chunks_free(pool), 4);
		lr_pool_verify(pool);
	}
	lr_pool_fail_after(pool, 1);
	lr_pool_fail_after(pool, -1);
	assert_int_equal(lr_packet_orphan(p), 0);
	lr_pool_fail_after(pool, 0);
	assert_null(lr_packet_new(pool));
	lr_packet_free(p);
	p = lr_packet_new(pool);
	assert_non_null(p);
	lr_packet_free(p);
	lr_pool_free(pool);
}

static void drops_are_counted_by_reason(void **state)
{
	struct lr_pool *pool = pool_of(1, 0, 0);

	(void)state;
	for (unsigned reason = 0; reason < LR_DROP_COUNT; reason++)
		for (unsigned i = 0; i <= reason; i++)
			lr_packet_drop(lr_packet_new(pool), reason);
	for (unsigned reason = 0; reason < LR_DROP_COUNT; reason++)
		assert_int_equal(lr_pool_drops(pool, reason), reason + 1);
	assert_int_equal(lr_pool_drops(pool, LR_DROP_COUNT), 0);
	assert_int_equal(lr_pool_packets_free(pool), 1);
	lr_pool_free(pool);
}

static void reasons_have_distinct_names(void **state)
{
	(void)state;
	for (unsigned a = 0; a < LR_DROP_COUNT; a++)
		for (unsigned b = 0; b < a; b++)
			assert_string_not_equal(lr_drop_name(a), lr_drop_name(b));
	assert_string_equal(lr_drop_name(LR_DROP_RX_FULL), "rx-full");
	assert_string_equal(lr_drop_name(LR_DROP_COUNT), "?");
}

static void free_pool(void *pool)
{
	lr_pool_free(pool);
}

/* L13: a pool with something still out is not freed. */
static void pool_with_a_packet_out_dies(void **state)
{
	struct lr_pool *pool = pool_of(2, 2, 0);
	struct lr_packet *p = lr_packet_new(pool);

	(void)state;
	assert_true(death_seen(free_pool, pool, "lr_pool_packets_free"));
	lr_packet_free(p);
	lr_pool_free(pool);
}

static void recount(void *pool)
{
	lr_pool_verify(pool);
}

/* L2: the walk sees a count that no frag stands for. */
static void walk_sees_a_lost_reference(void **state)
{
	struct lr_pool *pool = pool_of(2, 2, 0);
	struct lr_ubuf u = {0};
	struct lr_packet *p = lent_packet(pool, &u, 2000);

	(void)state;
	assert_int_equal(lr_packet_orphan(p), 0);
	lr_pool_verify(pool);
	lr_ubuf_get(p->frags[0].ubuf);
	assert_true(death_seen(recount, pool, "lr_pool_references"));
	lr_ubuf_put(p->frags[0].ubuf);
	lr_pool_verify(pool);
	lr_packet_free(p);
	lr_pool_free(pool);
}

static void references_are_recounted(void **state)
{
	struct lr_pool *pool = pool_of(4, 0, 0);
	struct lr_ubuf u = {0};
	struct lr_packet *p = lent_packet(pool, &u, 100), *q;

	(void)state;
	assert_int_equal(lr_packet_attach(p, &u, lent_bytes + 100, 100), 0);
	assert_int_equal(lr_pool_references(pool, &u), 2);
	q = lr_packet_clone(p);
	assert_int_equal(lr_pool_references(pool, &u), 4);
	assert_int_equal(lr_ubuf_count(&u), 4);
	lr_packet_free(p);
	assert_int_equal(lr_pool_references(pool, &u), 2);
	lr_packet_free(q);
	assert_int_equal(lr_pool_references(pool, &u), 0);
	lr_pool_free(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_as_promised),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(packets_run_out_and_come_back),
		cmocka_unit_test(chunks_run_out_and_come_back),
		cmocka_unit_test(one_take_fails),
		cmocka_unit_test(drops_are_counted_by_reason),
		cmocka_unit_test(reasons_have_distinct_names),
		cmocka_unit_test(pool_with_a_packet_out_dies),
		cmocka_unit_test(walk_sees_a_lost_reference),
		cmocka_unit_test(references_are_recounted),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
