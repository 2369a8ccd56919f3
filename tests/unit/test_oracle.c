/* SPDX-License-Identifier: BSD-2-Clause */
/* The oracles themselves: each sees what it is there to see, and nothing else. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/asan.h"
#include "death.h"
#include "oracle.h"

static const uint8_t to[6] = {2, 0, 0, 0, 0, 1}, from[6] = {2, 0, 0, 0, 0, 2};

static void any_part_of_contents_is_recognised(void **state)
{
	uint8_t whole[300], part[300];

	(void)state;
	oracle_pattern(7, 0, whole, sizeof(whole));
	for (size_t at = 0; at < 40; at++)
		for (size_t bytes = 1; bytes < 40; bytes++) {
			oracle_pattern(7, at, part, bytes);
			assert_memory_equal(part, whole + at, bytes);
			assert_true(oracle_pattern_matches(7, at, part, bytes));
			part[bytes - 1] ^= 1;
			assert_false(oracle_pattern_matches(7, at, part, bytes));
		}
	assert_false(oracle_pattern_matches(8, 0, whole, sizeof(whole)));
	assert_false(oracle_is_poison(whole, sizeof(whole)));
}

static void poison_is_recognised_among_other_bytes(void **state)
{
	uint8_t bytes[300];

	(void)state;
	for (uint64_t generation = 0; generation < 20; generation++) {
		oracle_pattern(1, 0, bytes, sizeof(bytes));
		oracle_poison(bytes + 100, 15, generation);
		assert_false(oracle_is_poison(bytes, sizeof(bytes)));
		oracle_poison(bytes + 100, 16, generation);
		assert_true(oracle_is_poison(bytes, sizeof(bytes)));
	}
}

static void frames_say_what_they_are(void **state)
{
	uint8_t frame[1514];
	uint64_t stamp = 0;

	(void)state;
	for (size_t bytes = ORACLE_FRAME_BYTES_MIN; bytes <= sizeof(frame); bytes += 31) {
		oracle_frame_make(frame, bytes, to, from, bytes);
		assert_int_equal(oracle_frame_check(frame, bytes, &stamp), ORACLE_GOOD);
		assert_int_equal(stamp, bytes);
		assert_int_equal(oracle_frame_check(frame, bytes - 1, NULL), ORACLE_SHORT);
	}
	oracle_frame_make(frame, 100, to, from, 5);
	frame[99] ^= 1;
	assert_int_equal(oracle_frame_check(frame, 100, NULL), ORACLE_CORRUPT);
	oracle_frame_make(frame, 100, to, from, 5);
	oracle_poison(frame + 60, 40, 3);
	assert_int_equal(oracle_frame_check(frame, 100, NULL), ORACLE_POISONED);
	memset(frame, 0, sizeof(frame));
	oracle_frame_make(frame, 30, to, from, 5);
	assert_int_equal(oracle_frame_check(frame, 60, NULL), ORACLE_GOOD);
	frame[59] = 1;
	assert_int_equal(oracle_frame_check(frame, 60, NULL), ORACLE_CORRUPT);
	frame[12] = 8;
	assert_int_equal(oracle_frame_check(frame, 60, NULL), ORACLE_FOREIGN);
}

static void ledger_sees_twice_never_and_late(void **state)
{
	struct oracle_ledger l;

	(void)state;
	oracle_ledger_init(&l, "test", 3);
	l.lenient = true;
	assert_int_equal(oracle_submit(&l, 0, 1000), 1);
	assert_int_equal(oracle_submit(&l, 1, 5000), 1);
	oracle_check_live(&l, 6000, 5000);
	assert_int_equal(l.violations, 0);
	oracle_check_live(&l, 6001, 5000); /* slot 0 */
	assert_int_equal(l.violations, 1);
	oracle_end(&l, 0, ORACLE_COMPLETED);
	oracle_check_live(&l, 6001, 5000);
	oracle_check_balance(&l);
	assert_int_equal(l.violations, 1);
	oracle_end(&l, 0, ORACLE_COMPLETED); /* twice */
	assert_int_equal(l.violations, 2);
	oracle_submit(&l, 1, 7000); /* out already */
	assert_int_equal(l.violations, 3);
	oracle_end(&l, 3, ORACLE_COPIED); /* no such slot */
	assert_int_equal(l.violations, 4);
	oracle_check_balance(&l); /* one submitted more than there are slots for */
	assert_int_equal(l.violations, 5);
	oracle_ledger_fini(&l); /* that again, and slot 1 never came back */
	assert_int_equal(l.violations, 7);
	assert_non_null(strstr(l.first_violation, "slot 0 is out for 5 us"));
}

static void end_twice(void *ledger)
{
	oracle_end(ledger, 0, ORACLE_COMPLETED);
}

static void a_strict_ledger_aborts(void **state)
{
	struct oracle_ledger l;

	(void)state;
	oracle_ledger_init(&l, "strict", 1);
	oracle_submit(&l, 0, 0);
	oracle_end(&l, 0, ORACLE_FAILED);
	assert_true(death_seen(end_twice, &l, "came back twice"));
	oracle_ledger_fini(&l);
}

static void lender_poisons_what_completes(void **state)
{
	struct oracle_lender lender;
	struct oracle_buffer *b;
	uint64_t stamp;

	(void)state;
	oracle_lender_init(&lender, 2, 100);
	b = oracle_lend(&lender, 1);
	stamp = b->stamp;
	assert_true(oracle_is_out(&lender, 1));
	assert_true(oracle_pattern_matches(stamp, 0, b->data, 100));
	lr_ubuf_put(&b->ubuf);
	assert_false(oracle_is_out(&lender, 1));
	assert_int_equal(lender.ledger.ended[ORACLE_COMPLETED], 1);
	if (!ASAN_BUILD) /* which forbids even looking */
		assert_true(oracle_is_poison(b->data, 100));
	b = oracle_lend(&lender, 1);
	assert_int_not_equal(b->stamp, stamp);
	lender.ledger.lenient = true;
	oracle_check_intact(&lender, 1);
	assert_int_equal(lender.ledger.violations, 0);
	b->data[50] ^= 1;
	oracle_check_intact(&lender, 1);
	assert_int_equal(lender.ledger.violations, 1);
	lr_ubuf_put(&b->ubuf);
	oracle_lender_fini(&lender);
}

static void leak_fd(void *baseline)
{
	if (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
		oracle_baseline_check(baseline);
}

static void leak_map(void *baseline)
{
	if (mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		oracle_baseline_check(baseline);
}

static void baseline_sees_leaks(void **state)
{
	struct oracle_baseline b;

	(void)state;
	oracle_baseline_take(&b);
	oracle_baseline_check(&b);
	assert_true(death_seen(leak_fd, &b, "oracle leak"));
	assert_true(death_seen(leak_map, &b, "oracle leak"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_part_of_contents_is_recognised),
		cmocka_unit_test(poison_is_recognised_among_other_bytes),
		cmocka_unit_test(frames_say_what_they_are),
		cmocka_unit_test(ledger_sees_twice_never_and_late),
		cmocka_unit_test(a_strict_ledger_aborts),
		cmocka_unit_test(lender_poisons_what_completes),
		cmocka_unit_test(baseline_sees_leaks),
	};

	return cmocka_run_group_tests_name("oracle", tests, NULL, NULL);
}
