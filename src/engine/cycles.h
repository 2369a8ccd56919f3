/* SPDX-License-Identifier: BSD-2-Clause */
/* A counter that is cheap to read; engine_cycles_to_ns() knows its rate. */
#ifndef ENGINE_CYCLES_H
#define ENGINE_CYCLES_H

#include "base/clock.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

static inline uint64_t cycles_now(void)
{
#if defined(__x86_64__)
	return __rdtsc();
#else
	return clock_now_ns();
#endif
}

/* Let a sibling thread have the core for a moment: some tens of ns. */
static inline void cycles_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	__asm__ __volatile__("" ::: "memory");
#endif
}

#endif
