/* SPDX-License-Identifier: BSD-2-Clause */
/* A lock that is held for one batch: taken by trylock on the data path. */
#ifndef BASE_SPINLOCK_H
#define BASE_SPINLOCK_H

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

struct spinlock {
	atomic_int held;
};

static inline bool spinlock_try(struct spinlock *l)
{
	return !atomic_load_explicit(&l->held, memory_order_relaxed) &&
	       !atomic_exchange_explicit(&l->held, 1, memory_order_acquire);
}

/* Not for the data path. */
static inline void spinlock_lock(struct spinlock *l)
{
	while (!spinlock_try(l))
		sched_yield();
}

static inline void spinlock_unlock(struct spinlock *l)
{
	atomic_store_explicit(&l->held, 0, memory_order_release);
}

#endif
