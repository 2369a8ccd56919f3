/* SPDX-License-Identifier: BSD-2-Clause */
/* Percentiles of durations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "guest/histogram.h"

/* Every value's bucket ends at most an eighth above it, and buckets follow their values. */
static void bounds(void **state)
{
	uint64_t last = 0;

	(void)state;
	for (uint64_t ns = 0; ns < UINT64_MAX / 3; ns += ns / 50 + 1) {
		struct histogram h = {0};
		uint64_t end;

		histogram_add(&h, ns);
		h.max_ns = UINT64_MAX;
		end = histogram_percentile(&h, 50);
		assert_true(end >= ns);
		assert_true(end - ns <= ns / 8);
		assert_true(end >= last);
		last = end;
	}
}

static void percentiles(void **state)
{
	struct histogram h = {0}, sum = {0};

	(void)state;
	assert_int_equal(histogram_percentile(&h, 50), 0);
	for (uint64_t ns = 1; ns <= 100000; ns++)
		histogram_add(ns % 2 ? &h : &sum, ns);
	histogram_merge(&sum, &h);
	assert_int_equal(sum.count, 100000);
	assert_in_range(histogram_percentile(&sum, 50), 50000, 56250);
	assert_in_range(histogram_percentile(&sum, 99), 99000, 100000);
	assert_int_equal(histogram_percentile(&sum, 100), 100000);
	assert_int_equal(sum.max_ns, 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounds),
		cmocka_unit_test(percentiles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
