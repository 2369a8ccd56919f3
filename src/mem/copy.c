/* SPDX-License-Identifier: BSD-2-Clause */
/* Copying payload: the one implementation, chosen at start by what the processor has.
 *
 * Small sizes are two overlapping moves from both ends, so that no byte needs a loop. Long ones
 * store aligned, 128 bytes a round, and end with 128 bytes that overlap what is there already.
 * Neither "rep movsb" (slow at bad alignments) nor non-temporal stores (the receiver reads what
 * we write) are used.
 *
 * Both ends may be shared memory that somebody writes meanwhile: a torn payload is the writer's
 * own business, so these functions are not instrumented for data races.
 */
#include "mem/mem.h"

#include "base/util.h"

#define COPIES	      __attribute__((no_sanitize("thread")))
#define COPIES_INLINE COPIES __attribute__((always_inline)) inline
#define COPIES_AVX2   COPIES __attribute__((target("avx2")))

__thread uint64_t mem_copied_bytes;

typedef uint8_t vector16 __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint8_t vector16_aligned __attribute__((vector_size(16), may_alias));
typedef uint16_t word16 __attribute__((aligned(1), may_alias));
typedef uint32_t word32 __attribute__((aligned(1), may_alias));
typedef uint64_t word64 __attribute__((aligned(1), may_alias));

/* Two moves of @type that meet or overlap: sizeof(type)..2 * sizeof(type) bytes. */
#define MOVE_ENDS(type, to, from, bytes)                                                           \
	do {                                                                                       \
		type first = *(const type *)(from);                                                \
		type last = *(const type *)((from) + (bytes) - sizeof(type));                      \
                                                                                                   \
		*(type *)(to) = first;                                                             \
		*(type *)((to) + (bytes) - sizeof(type)) = last;                                   \
	} while (0)

/* At most 32 bytes. */
COPIES_INLINE static void copy_small(uint8_t *to, const uint8_t *from, size_t bytes)
{
	if (bytes >= 16)
		MOVE_ENDS(vector16, to, from, bytes);
	else if (bytes >= 8)
		MOVE_ENDS(word64, to, from, bytes);
	else if (bytes >= 4)
		MOVE_ENDS(word32, to, from, bytes);
	else if (bytes >= 2)
		MOVE_ENDS(word16, to, from, bytes);
	else if (bytes)
		*to = *from;
}

/* More than 32 bytes, with what every processor has. */
COPIES static void copy_plain(uint8_t *to, const uint8_t *from, size_t bytes)
{
	size_t skip = 16 - ((uintptr_t)to & 15);
	const uint8_t *end = from + bytes;
	vector16 last = *(const vector16 *)(end - 16);
	uint8_t *to_last = to + bytes - 16;

	*(vector16 *)to = *(const vector16 *)from;
	to += skip;
	from += skip;
	for (; end - from >= 64; to += 64, from += 64) {
		vector16 a = *(const vector16 *)from, b = *(const vector16 *)(from + 16);
		vector16 c = *(const vector16 *)(from + 32), d = *(const vector16 *)(from + 48);

		*(vector16_aligned *)to = a;
		*(vector16_aligned *)(to + 16) = b;
		*(vector16_aligned *)(to + 32) = c;
		*(vector16_aligned *)(to + 48) = d;
	}
	for (; end - from > 16; to += 16, from += 16)
		*(vector16_aligned *)to = *(const vector16 *)from;
	*(vector16 *)to_last = last;
}

static void (*copy_large)(uint8_t *to, const uint8_t *from, size_t bytes) = copy_plain;

#ifdef __x86_64__
typedef uint8_t vector32 __attribute__((vector_size(32), aligned(1), may_alias));
typedef uint8_t vector32_aligned __attribute__((vector_size(32), may_alias));

COPIES_AVX2 static inline void move_64(uint8_t *to, const uint8_t *from)
{
	vector32 a = *(const vector32 *)from, b = *(const vector32 *)(from + 32);

	*(vector32 *)to = a;
	*(vector32 *)(to + 32) = b;
}

/* More than 32 bytes. */
COPIES_AVX2 static void copy_avx2(uint8_t *to, const uint8_t *from, size_t bytes)
{
	const uint8_t *end = from + bytes;
	uint8_t *to_end = to + bytes;
	size_t skip;

	if (bytes <= 64) {
		MOVE_ENDS(vector32, to, from, bytes);
		return;
	}
	if (bytes <= 128) {
		move_64(to, from);
		move_64(to_end - 64, end - 64);
		return;
	}
	skip = 32 - ((uintptr_t)to & 31);
	*(vector32 *)to = *(const vector32 *)from;
	to += skip;
	from += skip;
	for (; end - from > 128; to += 128, from += 128) {
		vector32 a = *(const vector32 *)from, b = *(const vector32 *)(from + 32);
		vector32 c = *(const vector32 *)(from + 64), d = *(const vector32 *)(from + 96);

		*(vector32_aligned *)to = a;
		*(vector32_aligned *)(to + 32) = b;
		*(vector32_aligned *)(to + 64) = c;
		*(vector32_aligned *)(to + 96) = d;
	}
	move_64(to_end - 128, end - 128);
	move_64(to_end - 64, end - 64);
}

__attribute__((constructor)) static void choose(void)
{
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx2"))
		copy_large = copy_avx2;
}
#endif

COPIES void mem_copy(void *to, const void *from, size_t bytes)
{
	mem_copied_bytes += bytes;
	if (bytes <= 32)
		copy_small(to, from, bytes);
	else
		copy_large(to, from, bytes);
}
