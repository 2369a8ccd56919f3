/* SPDX-License-Identifier: BSD-2-Clause */
/* Holding: predict, then bound. See hold.h. */
#include "engine/hold.h"

#include "base/assert.h"
#include "base/clock.h"
#include "engine/private.h"
#include "switch/bridge.h"

/* Bytes copied late in one turn at most: an expiring backlog must not stall the frames behind. */
#define LATE_COPY_BYTES 262144u /* 256 KiB */

static uint64_t arrival_ns(const struct lr_packet *p)
{
	return p->user[0];
}

struct lr_packet *hold_frame(struct worker *w, struct port *in, struct port *holder,
			     struct frame *f, uint64_t expected_ns)
{
	const struct bridge_config *config = bridge_config(w->bridge);
	struct port_counters *counters = &in->counters[w->index];
	enum port_copy_reason why = PORT_COPY_OFF;
	struct lr_packet *p = NULL;

	ASSERT(holder->ops->caps & PORT_HOLD);
	if (config->zerocopy && expected_ns <= config->hold_limit_ns) { /* L10: predict */
		p = frame_lend(f, w->pool);
		if (!p)
			why = f->lender ? f->lender->refusal : PORT_COPY_OFF;
	} else if (config->zerocopy) {
		why = PORT_COPY_PREDICTED;
	}
	if (p) {
		counter_add(&counters->lent_frames, 1);
		counter_add(&counters->lent_bytes, f->bytes);
	} else {
		p = frame_copy(f, w->pool);
		if (!p)
			return NULL;
		counter_add(&counters->copied_frames[why], 1);
		counter_add(&counters->copied_bytes[why], f->bytes);
	}
	p->user[0] = w->now_ns;
	return p;
}

void hold_queue_init(struct hold_queue *q, struct worker *w, struct port *port)
{
	*q = (struct hold_queue){.port = port};
	list_push_back(&w->priv->holds, &q->node);
}

void hold_queue_fini(struct hold_queue *q, struct worker *w)
{
	struct lr_packet *p;

	while ((p = hold_queue_pop(q))) {
		port_drop(q->port, w->index, LR_DROP_PORT_GONE, 1);
		lr_packet_drop(p, LR_DROP_PORT_GONE);
	}
	ASSERT(q->count == 0);
	ASSERT(q->bytes == 0);
	list_remove(&q->node);
}

void hold_queue_push(struct hold_queue *q, struct worker *w, struct lr_packet *packet)
{
	(void)w;
	ASSERT(!packet->next); /* L1: in no other queue */
	if (q->tail)
		q->tail->next = packet;
	else
		q->head = packet;
	q->tail = packet;
	if (!q->lent)
		q->lent = packet;
	q->count++;
	q->bytes += packet->bytes;
}

struct lr_packet *hold_queue_pop(struct hold_queue *q)
{
	struct lr_packet *p = q->head;

	if (!p)
		return NULL;
	if (q->lent == p)
		q->lent = p->next;
	q->head = p->next;
	if (!q->head)
		q->tail = NULL;
	p->next = NULL;
	q->count--;
	q->bytes -= p->bytes;
	return p;
}

/* Take @p, which stands behind @before, out of the middle. */
static void queue_unlink(struct hold_queue *q, struct lr_packet *before, struct lr_packet *p)
{
	if (before)
		before->next = p->next;
	else
		q->head = p->next;
	if (q->tail == p)
		q->tail = before;
	p->next = NULL;
	q->count--;
	q->bytes -= p->bytes;
}

/* Orphan what is lent and arrived up to @until_ns, at most @bytes of it. Return: bytes copied */
static uint64_t queue_orphan_until(struct hold_queue *q, struct worker *w, uint64_t until_ns,
				   uint64_t bytes, enum port_copy_reason why)
{
	struct port_counters *counters = &q->port->counters[w->index];
	struct lr_packet *before = NULL, *p = q->head;
	uint64_t copied = 0;

	/* @lent has no back link; the packets before it were orphaned: few, since they left late.
	 */
	while (p && p != q->lent) {
		before = p;
		p = p->next;
	}
	while (p && arrival_ns(p) <= until_ns && copied < bytes) {
		struct lr_packet *next = p->next;

		if (!p->lent) {
			before = p;
		} else if (lr_packet_orphan(p) == 0) {
			counter_add(&counters->copied_frames[why], 1);
			counter_add(&counters->copied_bytes[why], p->bytes);
			copied += p->bytes;
			before = p;
		} else { /* L8, L10: no memory to copy it, so it must go */
			queue_unlink(q, before, p);
			port_drop(q->port, w->index, LR_DROP_HOLD_LIMIT, 1);
			lr_packet_drop(p, LR_DROP_HOLD_LIMIT);
		}
		p = next;
		q->lent = p;
	}
	return copied;
}

void hold_queue_orphan(struct hold_queue *q, struct worker *w)
{
	queue_orphan_until(q, w, UINT64_MAX, UINT64_MAX, PORT_COPY_STOPPED);
	ASSERT(!q->lent); /* L11 */
}

/* Copy what is over the limit. Return: when to come back, 0: nothing is lent */
uint64_t hold_expire(struct worker *w)
{
	uint64_t limit_ns = bridge_config(w->bridge)->hold_limit_ns;
	uint64_t budget = LATE_COPY_BYTES, next_ns = 0;

	list_for_each (node, &w->priv->holds) {
		struct hold_queue *q = list_entry(node, struct hold_queue, node);

		if (q->lent && budget && w->now_ns >= limit_ns) {
			uint64_t copied = queue_orphan_until(q, w, w->now_ns - limit_ns, budget,
							     PORT_COPY_LATE);

			budget -= min_u64(copied, budget);
		}
		if (q->lent) {
			uint64_t due_ns = arrival_ns(q->lent) + limit_ns;

			if (!next_ns || due_ns < next_ns)
				next_ns = due_ns;
		}
	}
	return next_ns;
}

void hold_orphan_all(struct worker *w)
{
	list_for_each (node, &w->priv->holds)
		hold_queue_orphan(list_entry(node, struct hold_queue, node), w);
}
