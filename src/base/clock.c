/* SPDX-License-Identifier: BSD-2-Clause */
/* The clock: monotonic nanoseconds, or a virtual time that a simulation sets. */
#include "base/clock.h"

#include <time.h>

static uint64_t virtual_now_ns;

uint64_t clock_now_ns(void)
{
	struct timespec ts;

	if (virtual_now_ns)
		return virtual_now_ns;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

void clock_set_virtual(uint64_t now_ns)
{
	virtual_now_ns = now_ns;
}
