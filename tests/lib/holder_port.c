/* SPDX-License-Identifier: BSD-2-Clause */
/* A port that keeps what it is sent. See holder_port.h. */
#include "holder_port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "engine/hold.h"

struct holder_worker {
	bool used;
	struct hold_queue queue;
	/* the plant: a borrowed view, kept where it must not be */
	bool kept;
	uint32_t kept_bytes;
	uint8_t kept_head[FRAME_SNAPSHOT_BYTES];
	uint16_t kept_head_bytes;
	struct segment kept_segment;
};

struct holder {
	struct rig *rig;
	uint64_t expected_ns;
	enum holder_plant plant;
	struct holder_worker workers[ENGINE_WORKERS_MAX];
};

static int holder_create(struct port *p, const struct port_config *config, struct errmsg *err)
{
	(void)config;
	p->impl = calloc(1, sizeof(struct holder));
	if (!p->impl)
		return errmsg_set(err, "no memory");
	atomic_store(&p->state, PORT_RUNNING);
	atomic_store(&p->offloads, PORT_CSUM | PORT_TSO4 | PORT_TSO6 | PORT_ECN);
	return 0;
}

static void fini_on_worker(struct worker *w, void *arg)
{
	struct holder *h = arg;

	if (h->workers[w->index].used)
		hold_queue_fini(&h->workers[w->index].queue, w);
}

static void holder_destroy(struct port *p)
{
	for (unsigned i = 0; i < engine_worker_count(p->env->engine); i++)
		engine_call(p->env->engine, i, fini_on_worker, p->impl);
	free(p->impl);
}

static void keep_borrowed(struct holder_worker *hw, const struct frame *f)
{
	if (hw->kept || f->segment_count != 1)
		return;
	hw->kept = true;
	hw->kept_bytes = f->bytes;
	hw->kept_head_bytes = f->head_bytes;
	memcpy(hw->kept_head, f->head, f->head_bytes);
	hw->kept_segment = f->segments[0];
}

static void holder_send(struct port *p, struct worker *w, struct frame *const *frames,
			unsigned count)
{
	struct holder *h = p->impl;
	struct holder_worker *hw = &h->workers[w->index];

	if (!hw->used)
		hold_queue_init(&hw->queue, w, p);
	hw->used = true;
	for (unsigned i = 0; i < count; i++) {
		struct lr_packet *packet;

		if (h->plant == HOLDER_KEEPS_BORROWED)
			keep_borrowed(hw, frames[i]);
		packet = hold_frame(w, w->source->port, p, frames[i], h->expected_ns);
		if (!packet) {
			port_drop(p, w->index, LR_DROP_NO_MEMORY, 1);
			continue;
		}
		hold_queue_push(&hw->queue, w, packet);
	}
}

static void holder_publish(struct port *p, struct worker *w)
{
	(void)p;
	(void)w;
}

const struct port_ops holder_port_ops = {
	.type = "holder",
	.help = "keeps what it is sent",
	.caps = PORT_HOLD | PORT_SG,
	.create = holder_create,
	.destroy = holder_destroy,
	.send = holder_send,
	.publish = holder_publish,
};

void holder_configure(struct port *p, struct rig *rig, uint64_t expected_ns,
		      enum holder_plant plant)
{
	struct holder *h = p->impl;

	h->rig = rig;
	h->expected_ns = expected_ns;
	h->plant = plant;
}

static void check_packet(struct holder *h, const struct lr_packet *packet)
{
	uint8_t *bytes = malloc(packet->bytes);

	ASSERT(bytes);
	ASSERT(lr_packet_read(packet, 0, bytes, packet->bytes) == 0);
	rig_check_frame(h->rig, bytes, packet->bytes, "holder");
	free(bytes);
}

static void check_kept(struct holder *h, struct holder_worker *hw)
{
	uint8_t bytes[RIG_TX_BYTES];

	if (!hw->kept)
		return;
	memcpy(bytes, hw->kept_head, hw->kept_head_bytes);
	memcpy(bytes + hw->kept_head_bytes, hw->kept_segment.data, hw->kept_segment.bytes);
	rig_check_frame(h->rig, bytes, hw->kept_bytes, "holder's stolen frame");
	hw->kept = false;
}

unsigned holder_release(struct port *p, struct worker *w, unsigned count, enum holder_order order,
			uint64_t random)
{
	struct holder *h = p->impl;
	struct holder_worker *hw = &h->workers[w->index];
	struct lr_packet *taken[256];
	unsigned n = 0;

	if (!hw->used)
		return 0;
	check_kept(h, hw);
	while (n < count && n < ARRAY_SIZE(taken) && (taken[n] = hold_queue_pop(&hw->queue)))
		n++;
	for (unsigned left = n; left; left--) {
		unsigned at = 0;

		if (order == HOLDER_LIFO)
			at = left - 1;
		else if (order == HOLDER_SHUFFLE)
			at = (unsigned)(random % left);
		check_packet(h, taken[at]);
		counter_add(&p->counters[w->index].out_frames, 1);
		counter_add(&p->counters[w->index].out_bytes, taken[at]->bytes);
		lr_packet_free(taken[at]);
		for (; at + 1 < left; at++)
			taken[at] = taken[at + 1];
	}
	return n;
}

unsigned holder_count(struct port *p, unsigned worker_index)
{
	struct holder *h = p->impl;

	return h->workers[worker_index].queue.count;
}

unsigned holder_lent(struct port *p, unsigned worker_index)
{
	struct holder *h = p->impl;
	unsigned lent = 0;

	for (struct lr_packet *q = h->workers[worker_index].queue.head; q; q = q->next)
		lent += q->lent;
	return lent;
}
