/* SPDX-License-Identifier: BSD-2-Clause */
/* Lent buffers: the only file that touches counts. */
#include <lastref/ubuf.h>

#include "base/assert.h"
#include "base/util.h"
#include "packet/internal.h"

/*
 * Theory of operation
 *
 * A ubuf lives in its lender's record. Its count goes 0 -> 1 when it is lent (lr_ubuf_init), up
 * and down with the frags that point into it, and back to 0 at the completion; it stays 0 until it
 * is lent again, so that a reference put twice is seen and never completes twice (L4).
 *
 *	what happens			A's frags  B's frags  count
 *	lr_ubuf_init			    -	       -	1  the builder's own
 *	attach to packet A		    1	       -	2
 *	builder puts its own		    1	       -	1  unshared
 *	B = clone of A			    1	       1	2
 *	split A within the frag		    2	       1	3  the other half's packet included
 *	free B, free both halves of A	    -	       -	0  completed
 *
 * Threads: any thread that holds a reference may get and put. Whoever sees a count of 1 while it
 * holds a reference is the only holder, so that nobody else can change the count: the last put
 * needs no atomic read-modify-write. Taking one always does: two readers of one packet may not,
 * by L1, exist, but a bug there must not become an early completion.
 */

/* Completions run one inside another only when one of them frees packets: L4 forbids that. */
static _Thread_local bool completing __attribute__((tls_model("initial-exec")));

static void complete(struct lr_ubuf *ubuf)
{
	ASSERT(!completing); /* L4 */
	completing = true;
	ubuf->ops->complete(ubuf);
	completing = false;
}

void lr_ubuf_init(struct lr_ubuf *ubuf, const struct lr_ubuf_ops *ops)
{
	ASSERT(ops != NULL);
	ASSERT(ops->complete != NULL);
	/* L4: lent again before its completion, or storage that was not zeroed */
	ASSERT(__atomic_load_n(&ubuf->count, __ATOMIC_RELAXED) == 0);
	ubuf->ops = ops;
	__atomic_store_n(&ubuf->flags, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&ubuf->count, 1, __ATOMIC_RELAXED);
}

void lr_ubuf_get(struct lr_ubuf *ubuf)
{
	uint32_t old = __atomic_fetch_add(&ubuf->count, 1, __ATOMIC_RELAXED);

	ASSERT(old != 0); /* L2: a completed buffer is nobody's to refer to */
	if (unlikely(old >= LR_UBUF_SATURATED - 1))
		__atomic_store_n(&ubuf->count, LR_UBUF_SATURATED, __ATOMIC_RELAXED);
}

void lr_ubuf_put(struct lr_ubuf *ubuf)
{
	/* Acquire: what other holders did to the bytes came before their puts, and those before. */
	uint32_t old = __atomic_load_n(&ubuf->count, __ATOMIC_ACQUIRE);

	ASSERT(old != 0); /* L4: put once more than taken */
	if (likely(old == 1)) {
		__atomic_store_n(&ubuf->count, 0, __ATOMIC_RELAXED);
		complete(ubuf);
		return;
	}
	if (unlikely(old >= LR_UBUF_SATURATED)) /* L2: leaks rather than completing early */
		return;
	old = __atomic_fetch_sub(&ubuf->count, 1, __ATOMIC_ACQ_REL);
	ASSERT(old != 0); /* L4 */
	if (unlikely(old >= LR_UBUF_SATURATED))
		__atomic_store_n(&ubuf->count, LR_UBUF_SATURATED, __ATOMIC_RELAXED);
	else if (old == 1)
		complete(ubuf);
}

uint32_t lr_ubuf_count(const struct lr_ubuf *ubuf)
{
	return __atomic_load_n(&ubuf->count, __ATOMIC_RELAXED);
}

void ubuf_mark_copied(struct lr_ubuf *ubuf)
{
	if (!(__atomic_load_n(&ubuf->flags, __ATOMIC_RELAXED) & LR_UBUF_COPIED))
		__atomic_fetch_or(&ubuf->flags, LR_UBUF_COPIED, __ATOMIC_RELAXED);
}
