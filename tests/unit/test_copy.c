/* SPDX-License-Identifier: BSD-2-Clause */
/* The payload copy: every small size and a grid of large ones, at every alignment, byte for byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <lastref/packet.h>

#include "mem/copy.c" /* reaches the copy for processors without AVX2, too */

#define ROOM_BYTES (70 * 1024)
#define FILL	   0xa5

static uint8_t from[ROOM_BYTES], to[ROOM_BYTES];

static void fill_from(void)
{
	uint32_t x = 1;

	for (size_t i = 0; i < ROOM_BYTES; i++) {
		x = x * 1664525 + 1013904223;
		from[i] = (uint8_t)(x >> 24);
	}
}

/* Copies and looks at 64 bytes on both sides too: nothing else may have been written. */
static void check(size_t to_at, size_t from_at, size_t bytes)
{
	uint64_t before = mem_copied_bytes;
	size_t span = bytes + 128;

	memset(to + to_at - 64, FILL, span);
	mem_copy(to + to_at, from + from_at, bytes);
	assert_int_equal(mem_copied_bytes - before, bytes);
	assert_memory_equal(to + to_at, from + from_at, bytes);
	for (size_t i = 0; i < 64; i++) {
		assert_int_equal(to[to_at - 64 + i], FILL);
		assert_int_equal(to[to_at + bytes + i], FILL);
	}
}

static void small_sizes_at_every_alignment(void **state)
{
	(void)state;
	for (size_t bytes = 0; bytes <= 700; bytes++)
		for (size_t at = 0; at < 32; at++)
			check(64 + at, (at * 7) & 31, bytes);
}

static void large_sizes(void **state)
{
	static const size_t sizes[] = {1024, 1372,  1500,  2048,  4095,	 4096, 4097,
				       9000, 16384, 32769, 65000, 65535, 66560};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (size_t to_at = 0; to_at < 64; to_at += 3)
			for (size_t from_at = 0; from_at < 64; from_at += 21)
				check(64 + to_at, from_at, sizes[i]);
}

/* Neither reads nor writes cross the borders of the two pages that the bytes end at. */
static void stays_within_its_pages(void **state)
{
	uint8_t *pages =
		mmap(NULL, 6 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(pages, MAP_FAILED);
	assert_int_equal(mprotect(pages + 4096, 4096, PROT_NONE), 0);
	assert_int_equal(mprotect(pages + 4 * 4096, 4096, PROT_NONE), 0);
	for (size_t bytes = 0; bytes <= 4096; bytes += bytes < 600 ? 1 : 97) {
		mem_copy(pages + 4096 - bytes, pages + 4 * 4096 - bytes, bytes);
		mem_copy(pages + 2 * 4096, pages + 5 * 4096, bytes);
	}
	munmap(pages, 6 * 4096);
}

static void heads(void **state)
{
	(void)state;
	for (size_t bytes = 0; bytes <= LR_PACKET_HEAD_BYTES; bytes++) {
		memset(to, FILL, 1024);
		mem_copy_head(to + 64, from + 3, bytes);
		assert_memory_equal(to + 64, from + 3, bytes);
		assert_int_equal(to[63], FILL);
		assert_int_equal(to[64 + bytes], FILL);
	}
}

static void without_avx2(void **state)
{
	void (*chosen)(uint8_t *, const uint8_t *, size_t) = copy_large;

	copy_large = copy_plain;
	small_sizes_at_every_alignment(state);
	large_sizes(state);
	stays_within_its_pages(state);
	copy_large = chosen;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_sizes_at_every_alignment),
		cmocka_unit_test(large_sizes),
		cmocka_unit_test(stays_within_its_pages),
		cmocka_unit_test(heads),
		cmocka_unit_test(without_avx2),
	};

	fill_from();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
