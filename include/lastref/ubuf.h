/* SPDX-License-Identifier: BSD-2-Clause */
/* Lent buffers: who lent one, how many point into it, and the one completion. */
#ifndef LASTREF_UBUF_H
#define LASTREF_UBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LR_API __attribute__((visibility("default")))

/**
 * DOC: The rules
 *
 * L1  A packet has one owner. Handing it to a port's send, lr_packet_free() or lr_packet_drop()
 *     gives it away, whether that succeeds or not. A frame, the view of a buffer within one turn,
 *     is never kept: using one after its turn is an error that VERIFY builds catch by poison.
 * L2  A ubuf's count is the number of frags, in all packets, that point into it, plus one while it
 *     is being built. It saturates and never wraps. 0: completed. 1: unshared.
 * L3  A clone adds one reference per frag and copies no payload. When it fails the caller still
 *     owns the original and nothing has changed.
 * L4  Completion happens exactly once, when the count reaches zero: never earlier, never twice,
 *     never under a lock. Whether bytes were copied is told beside it and never decides ownership.
 * L5  A completion only records; the lending queue's own worker publishes to its ring. It never
 *     waits for another frame, kick or interrupt. A lent buffer never leaves its worker.
 * L6  One function copies frag references and one moves them. A packet is never copied otherwise.
 * L7  Expand, split, segment, pull and trim carry references with the bytes: a border through a
 *     frag adds one, moving moves, removing drops exactly one. On error paths too.
 * L8  Orphan is all or nothing: on -ENOMEM the packet is unchanged. Afterwards no pointer into
 *     lent memory is left in it.
 * L9  A guest's bytes may change at any time. Decisions are taken on the private head only; the
 *     head is what is emitted, never the guest's copy of it; a guest's byte is never patched.
 * L10 Predict, then bound: a holder lends only what it expects to give back within the hold limit,
 *     else it copies at the door. What exceeds the limit all the same is orphaned, or dropped with
 *     a reason when the receiver's copy pool is empty.
 * L11 Guest memory is unmapped only when no ubuf points into it. At a ring stop, the removal of a
 *     region or a reset: no new lends, orphan or drop what is held, wait at most 1 s for the
 *     kernel, publish, answer; if the kernel still holds a page the connection is closed instead.
 *     After the peer has closed, nothing is stored to its ring again.
 * L12 A completion that belongs to an earlier generation of a ring is swallowed and counted.
 * L13 At shutdown every pool is full, every count zero and every map gone; all that may remain is
 *     a counted set of buffers that the kernel held at the exit.
 */

struct lr_ubuf;

/**
 * struct lr_ubuf_ops - What the lender of a buffer supplies
 * @complete: the last reference is gone and the lender may reuse the memory. Called exactly once
 *            per lr_ubuf_init(), with no lock of the library held, in the context of whoever put
 *            the last reference. It records and returns: it must not free packets itself (L4, L5).
 *            From the call on the ubuf is the lender's again.
 */
struct lr_ubuf_ops {
	void (*complete)(struct lr_ubuf *ubuf);
};

/**
 * struct lr_ubuf - One lent buffer; embedded in the lender's own record
 * @ops:   the lender
 * @count: references (L2); only the library touches it, atomically
 * @flags: LR_UBUF_COPIED: some bytes were copied before the completion, a remark for statistics
 *         that the lender reads when the buffer is completed
 */
struct lr_ubuf {
	const struct lr_ubuf_ops *ops;
	uint32_t count;
	uint32_t flags;
};

#define LR_UBUF_COPIED (1u << 0)

/* A count that got here stays here: the buffer leaks rather than completing early (L2). */
#define LR_UBUF_SATURATED 0x80000000u

/**
 * lr_ubuf_init() - Lend a buffer: the count becomes 1, the reference of whoever builds with it
 * @ubuf: the lender's storage: zeroed before its first use, completed before the next (asserted)
 * @ops:  stays valid until the completion
 *
 * The caller attaches frags (each takes a reference of its own) and then puts this one.
 */
LR_API void lr_ubuf_init(struct lr_ubuf *ubuf, const struct lr_ubuf_ops *ops);

/**
 * lr_ubuf_get() - One more reference; the caller holds one already
 */
LR_API void lr_ubuf_get(struct lr_ubuf *ubuf);

/**
 * lr_ubuf_put() - One reference less; the last one completes (L4)
 *
 * When the reference is the only one, no atomic read-modify-write is done.
 */
LR_API void lr_ubuf_put(struct lr_ubuf *ubuf);

/**
 * lr_ubuf_count() - References now; exact only while nobody else gets or puts
 */
LR_API uint32_t lr_ubuf_count(const struct lr_ubuf *ubuf);

#ifdef __cplusplus
}
#endif

#endif
