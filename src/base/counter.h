/* SPDX-License-Identifier: BSD-2-Clause */
/* Counters with one writer and any number of readers. */
#ifndef BASE_COUNTER_H
#define BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

struct counter {
	_Atomic uint64_t value;
};

/**
 * counter_add() - Add without a locked instruction: the calling thread is the only writer
 */
static inline void counter_add(struct counter *c, uint64_t n)
{
	uint64_t old = atomic_load_explicit(&c->value, memory_order_relaxed);

	atomic_store_explicit(&c->value, old + n, memory_order_relaxed);
}

static inline uint64_t counter_get(const struct counter *c)
{
	return atomic_load_explicit(&c->value, memory_order_relaxed);
}

#endif
