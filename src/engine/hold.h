/* SPDX-License-Identifier: BSD-2-Clause */
/* Holding: how a frame outlives its turn, and for how long at most. The one place where lending is
 * decided (L10).
 *
 * A port that keeps packets does so in hold queues: FIFO by arrival, one per port and worker,
 * known to the worker, which orphans whatever is still lent at the hold limit: no holder can
 * forget to.
 */
#ifndef ENGINE_HOLD_H
#define ENGINE_HOLD_H

#include "engine/engine.h"

/**
 * struct hold_queue - Packets that a port keeps on one worker, oldest first
 * @head, @tail: by packet->next
 * @lent:   the first packet that may still be lent; those before it were orphaned
 * @count:  packets
 * @bytes:  of their data
 */
struct hold_queue {
	struct list node;
	struct port *port;
	struct lr_packet *head;
	struct lr_packet *tail;
	struct lr_packet *lent;
	unsigned count;
	uint64_t bytes;
};

/**
 * hold_frame() - A packet of @f for holder @holder: lent when that is allowed and pays, else a copy
 * @in: the port that @f came in by; counted there
 * @expected_ns: how long the holder thinks it will keep it
 *
 * Return: NULL when no memory was left: the caller drops the frame with NO_MEMORY
 */
struct lr_packet *hold_frame(struct worker *w, struct port *in, struct port *holder,
			     struct frame *f, uint64_t expected_ns);

/**
 * hold_queue_init() - An empty queue that @w watches from now on; on @w
 * hold_queue_fini() - Drop what is left with PORT_GONE; @w forgets the queue
 */
void hold_queue_init(struct hold_queue *q, struct worker *w, struct port *port);
void hold_queue_fini(struct hold_queue *q, struct worker *w);

/* Put @packet at the end: takes it. */
void hold_queue_push(struct hold_queue *q, struct worker *w, struct lr_packet *packet);

/* The oldest packet, now the caller's; NULL when empty. */
struct lr_packet *hold_queue_pop(struct hold_queue *q);

/**
 * hold_queue_orphan() - Copy everything in it that is lent, or drop it when there is no memory
 */
void hold_queue_orphan(struct hold_queue *q, struct worker *w);

/**
 * hold_orphan_all() - Every port gives up what it holds on @w: a ring of @w's stops (L11)
 */
void hold_orphan_all(struct worker *w);

#endif
