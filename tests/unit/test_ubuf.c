/* SPDX-License-Identifier: BSD-2-Clause */
/* Lent buffers: the count, saturation, and the one completion. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <lastref/packet.h>

#include "death.h"

static _Atomic unsigned completions;
static struct lr_ubuf *put_by_completion;

static void complete(struct lr_ubuf *ubuf)
{
	(void)ubuf;
	completions++;
	if (put_by_completion) {
		struct lr_ubuf *other = put_by_completion;

		put_by_completion = NULL;
		lr_ubuf_put(other);
	}
}

static const struct lr_ubuf_ops ops = {.complete = complete};

static int reset(void **state)
{
	(void)state;
	completions = 0;
	put_by_completion = NULL;
	return 0;
}

/* L2: one at the start, one more for each get, completed at zero. */
static void count_follows_get_and_put(void **state)
{
	struct lr_ubuf u = {0};

	(void)state;
	lr_ubuf_init(&u, &ops);
	assert_int_equal(lr_ubuf_count(&u), 1);
	for (unsigned i = 0; i < 5; i++)
		lr_ubuf_get(&u);
	assert_int_equal(lr_ubuf_count(&u), 6);
	for (unsigned i = 0; i < 5; i++)
		lr_ubuf_put(&u);
	assert_int_equal(lr_ubuf_count(&u), 1);
	assert_int_equal(completions, 0);
	lr_ubuf_put(&u);
	assert_int_equal(lr_ubuf_count(&u), 0);
	assert_int_equal(completions, 1);
}

/* The lender's again at once: the next generation starts anew. */
static void buffer_is_lent_again(void **state)
{
	struct lr_ubuf u = {0};

	(void)state;
	for (unsigned generation = 1; generation <= 3; generation++) {
		lr_ubuf_init(&u, &ops);
		u.flags |= LR_UBUF_COPIED;
		lr_ubuf_put(&u);
		assert_int_equal(completions, generation);
	}
	lr_ubuf_init(&u, &ops);
	assert_int_equal(u.flags, 0);
	lr_ubuf_put(&u);
}

/* L2: a saturated count neither wraps nor completes; the buffer leaks. */
static void saturated_count_stays(void **state)
{
	struct lr_ubuf u = {0};

	(void)state;
	lr_ubuf_init(&u, &ops);
	u.count = LR_UBUF_SATURATED - 2;
	lr_ubuf_get(&u);
	assert_int_equal(lr_ubuf_count(&u), LR_UBUF_SATURATED - 1);
	lr_ubuf_put(&u);
	lr_ubuf_get(&u);
	for (unsigned i = 0; i < 3; i++) {
		lr_ubuf_get(&u);
		assert_int_equal(lr_ubuf_count(&u), LR_UBUF_SATURATED);
	}
	for (unsigned i = 0; i < 10; i++) {
		lr_ubuf_put(&u);
		assert_int_equal(lr_ubuf_count(&u), LR_UBUF_SATURATED);
	}
	u.count = UINT32_MAX; /* never reached, and would wrap */
	lr_ubuf_get(&u);
	assert_int_equal(lr_ubuf_count(&u), LR_UBUF_SATURATED);
	assert_int_equal(completions, 0);
}

static void put(void *ubuf)
{
	lr_ubuf_put(ubuf);
}

static void get(void *ubuf)
{
	lr_ubuf_get(ubuf);
}

static void lend(void *ubuf)
{
	lr_ubuf_init(ubuf, &ops);
}

/* L4: put once more than taken is seen, and never a second completion. */
static void put_after_completion_dies(void **state)
{
	struct lr_ubuf u = {0};

	(void)state;
	lr_ubuf_init(&u, &ops);
	lr_ubuf_put(&u);
	assert_true(death_seen(put, &u, "old != 0"));
}

/* L2: a completed buffer cannot be referred to again. */
static void get_after_completion_dies(void **state)
{
	struct lr_ubuf u = {0};

	(void)state;
	lr_ubuf_init(&u, &ops);
	lr_ubuf_put(&u);
	assert_true(death_seen(get, &u, "old != 0"));
}

/* L4: lending what is still out would complete somebody else's generation. */
static void lending_what_is_lent_dies(void **state)
{
	struct lr_ubuf u = {0};

	(void)state;
	lr_ubuf_init(&u, &ops);
	assert_true(death_seen(lend, &u, "count"));
	lr_ubuf_put(&u);
}

static void put_nested(void *argument)
{
	struct lr_ubuf *pair = argument;

	put_by_completion = &pair[1];
	lr_ubuf_put(&pair[0]);
}

/* L4: a completion records; one that puts the last reference of another buffer does more. */
static void completion_inside_completion_dies(void **state)
{
	struct lr_ubuf pair[2] = {0};

	(void)state;
	lr_ubuf_init(&pair[0], &ops);
	lr_ubuf_init(&pair[1], &ops);
	assert_true(death_seen(put_nested, pair, "completing"));
	lr_ubuf_put(&pair[0]);
	lr_ubuf_put(&pair[1]);
	assert_int_equal(completions, 2);
}

enum { THREADS = 3, ROUNDS = 20000 };

static void *churn(void *ubuf)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		lr_ubuf_get(ubuf);
		lr_ubuf_get(ubuf);
		lr_ubuf_put(ubuf);
		lr_ubuf_put(ubuf);
	}
	lr_ubuf_put(ubuf);
	return NULL;
}

/* Each thread has one reference to begin with; whoever is last completes, once. */
static void threads_complete_once(void **state)
{
	struct lr_ubuf u = {0};
	pthread_t threads[THREADS];

	(void)state;
	for (unsigned round = 1; round <= 20; round++) {
		lr_ubuf_init(&u, &ops);
		for (unsigned i = 1; i < THREADS; i++)
			lr_ubuf_get(&u);
		for (unsigned i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, churn, &u), 0);
		for (unsigned i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		assert_int_equal(lr_ubuf_count(&u), 0);
		assert_int_equal(completions, round);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(count_follows_get_and_put, reset),
		cmocka_unit_test_setup(buffer_is_lent_again, reset),
		cmocka_unit_test_setup(saturated_count_stays, reset),
		cmocka_unit_test_setup(put_after_completion_dies, reset),
		cmocka_unit_test_setup(get_after_completion_dies, reset),
		cmocka_unit_test_setup(lending_what_is_lent_dies, reset),
		cmocka_unit_test_setup(completion_inside_completion_dies, reset),
		cmocka_unit_test_setup(threads_complete_once, reset),
	};

	return cmocka_run_group_tests_name("ubuf", tests, NULL, NULL);
}
