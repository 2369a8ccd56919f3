/* SPDX-License-Identifier: BSD-2-Clause */
/* The copying receive queue: frames that wait for buffers of a guest, in memory of ours.
 *
 * Theory of operation
 *
 * A byte ring of records {bytes, offload, data}. Any worker appends, under a lock that is held for
 * one copy; one consumer at a time takes (whoever has the receive ring's lock). Nothing in it
 * points at a sender's memory: no guest's buffer waits for another guest. Bounded by frames and
 * bytes; a full queue refuses (tail drop).
 */
#ifndef PORT_COPYQ_H
#define PORT_COPYQ_H

#include "base/spinlock.h"
#include "packet/frame.h"

/**
 * struct copyq - @head, @tail: bytes ever appended and taken; positions are modulo the size
 */
struct copyq {
	struct spinlock lock;
	uint8_t *bytes;
	_Atomic uint32_t count;
	_Atomic uint64_t head;
	_Atomic uint64_t tail;
};

int copyq_init(struct copyq *q);
void copyq_fini(struct copyq *q);

/**
 * copyq_append() - Copy @f behind the others; any worker
 *
 * Return: false when it is full
 */
bool copyq_append(struct copyq *q, const struct frame *f);

/**
 * copyq_peek() - View the oldest frame; consumer
 * @segment: room for one
 *
 * Return: false when empty
 */
bool copyq_peek(struct copyq *q, struct frame *f, struct segment *segment);

/* Forget the oldest frame; consumer. */
void copyq_take(struct copyq *q);

static inline bool copyq_is_empty(const struct copyq *q)
{
	return atomic_load_explicit(&q->count, memory_order_acquire) == 0;
}

#endif
