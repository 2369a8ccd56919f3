/* SPDX-License-Identifier: BSD-2-Clause */
/* Small things that every folder uses. */
#ifndef BASE_UTIL_H
#define BASE_UTIL_H

#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a)			(sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define likely(x)			__builtin_expect(!!(x), 1)
#define unlikely(x)			__builtin_expect(!!(x), 0)
#define CACHE_LINE_BYTES		64
#define CACHE_ALIGNED			__attribute__((aligned(CACHE_LINE_BYTES)))

/* Keeps a rare path's registers out of the common one. */
#define NOINLINE __attribute__((noinline))

/* The compiler may neither repeat nor move a load of shared memory across this. */
#define compiler_barrier() __asm__ __volatile__("" ::: "memory")

static inline uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

#endif
