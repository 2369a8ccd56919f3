/* SPDX-License-Identifier: BSD-2-Clause */
/* The clock: monotonic nanoseconds, or a virtual time that a simulation sets. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

/**
 * clock_now_ns() - Nanoseconds of CLOCK_MONOTONIC, or the virtual time once one was set
 */
uint64_t clock_now_ns(void);

/**
 * clock_set_virtual() - From now on the clock stands at @now_ns until set again
 *
 * For simulations: one thread, before any other thread exists. 0 returns to the real clock.
 */
void clock_set_virtual(uint64_t now_ns);

#endif
