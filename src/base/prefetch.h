/* SPDX-License-Identifier: BSD-2-Clause */
/* Fetch a cache line for writing. */
#ifndef BASE_PREFETCH_H
#define BASE_PREFETCH_H

/* The compiler's builtin is a read prefetch unless -mprfchw is given: not the same for a line that
 * another core has modified. */
static inline void prefetch_for_write(const void *p)
{
#if defined(__x86_64__)
	__asm__ __volatile__("prefetchw %0" : : "m"(*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

#endif
