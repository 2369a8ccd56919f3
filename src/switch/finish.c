/* SPDX-License-Identifier: BSD-2-Clause */
/* Handing frames to their ports; finishing in software what a port cannot take.
 *
 * Theory of operation
 *
 * Most bursts ask for nothing that the port lacks and go to it as they are. Otherwise the frames of
 * that port are walked one by one. What it can take stays in place. What it cannot is copied to a
 * packet of the worker's (a guest's bytes are never patched, L9), finished there (checksum, TCP
 * segments) and shown to the port as frames, in its place among the others. Such views live until
 * the port has published, and are sent FRAME_BURST at a time: then the packets are free again.
 */
#include <errno.h>

#include "base/assert.h"
#include "mem/mem.h"
#include "packet/parse.h"
#include "switch/internal.h"

/* Nothing of @f is left to finish and it is longer than @mtu allows. A tag is no payload. */
static bool frame_is_over_mtu(const struct frame *f, uint32_t mtu)
{
	uint32_t header_bytes = ETHERNET_BYTES;

	if (mtu == 0 || f->offload.gso_type || f->bytes <= mtu + header_bytes)
		return false;
	for (unsigned i = 0; i < PARSE_VLAN_TAGS; i++) {
		uint16_t type = head_get_16(f->head + header_bytes - 2);

		if (type != ETHERTYPE_VLAN && type != ETHERTYPE_QINQ)
			break;
		header_bytes += VLAN_TAG_BYTES;
	}
	return f->bytes > mtu + header_bytes;
}

/* Send and publish what is ready; afterwards the packets behind the views are free. */
static void ready_flush(struct worker *w, struct port *p)
{
	struct bridge_worker *bw = w->bridge_private;

	if (bw->ready_count == 0)
		return;
	p->ops->send(p, w, bw->ready, bw->ready_count);
	p->ops->publish(p, w);
	for (unsigned i = 0; i < bw->view_count; i++)
		lr_packet_free(bw->packets[i]);
	bw->ready_count = 0;
	bw->view_count = 0;
}

static void ready_add(struct worker *w, struct port *p, struct frame *f)
{
	struct bridge_worker *bw = w->bridge_private;

	if (bw->ready_count == FRAME_BURST)
		ready_flush(w, p);
	bw->ready[bw->ready_count++] = f;
}

/* Show a finished packet to the port. Takes @packet. */
static void ready_add_packet(struct worker *w, struct port *p, struct lr_packet *packet)
{
	struct bridge_worker *bw = w->bridge_private;
	struct frame *view;

	ASSERT(!packet->lent);
	if (bw->ready_count == FRAME_BURST)
		ready_flush(w, p);
	ASSERT(bw->view_count < FRAME_BURST);
	view = &bw->views[bw->view_count];
	frame_of_packet(view, bw->segments[bw->view_count], packet);
	if (frame_is_over_mtu(view, atomic_load_explicit(&p->mtu, memory_order_relaxed))) {
		port_drop(p, w->index, LR_DROP_RX_MTU, 1);
		lr_packet_drop(packet, LR_DROP_RX_MTU);
		return;
	}
	bw->packets[bw->view_count++] = packet;
	ready_add(w, p, view);
}

static void segment(struct worker *w, struct port *p, struct lr_packet *packet)
{
	struct bridge_worker *bw = w->bridge_private;
	struct lr_packet *list = NULL, *next;
	int count = lr_packet_segment(packet, &list);

	if (count < 0) {
		enum lr_drop_reason why = count == -ENOMEM ? LR_DROP_NO_MEMORY : LR_DROP_RX_OFFLOAD;

		port_drop(p, w->index, why, 1);
		lr_packet_drop(packet, why);
		return;
	}
	ASSERT(count > 0);
	counter_add(&bw->counters.segmented, 1);
	counter_add(&bw->counters.segment_copies, (unsigned)count - 1);
	for (; list; list = next) {
		next = list->next;
		list->next = NULL;
		ready_add_packet(w, p, list);
	}
}

static void finish_frame(struct worker *w, struct port *p, const struct frame *f)
{
	const struct bridge_worker *bw = w->bridge_private;
	struct port_counters *counters = &bw->in->counters[w->index];
	struct lr_packet *packet = frame_copy(f, w->pool);

	if (unlikely(!packet)) {
		ready_flush(w, p); /* what was finished before may be all that the pool has */
		packet = frame_copy(f, w->pool);
	}
	if (unlikely(!packet)) {
		port_drop(p, w->index, LR_DROP_NO_MEMORY, 1);
		return;
	}
	counter_add(&counters->copied_frames[PORT_COPY_FINISH], 1);
	counter_add(&counters->copied_bytes[PORT_COPY_FINISH], f->bytes);
	if (f->offload.gso_type) {
		segment(w, p, packet);
	} else if (lr_packet_finish_checksum(packet)) {
		port_drop(p, w->index, LR_DROP_RX_OFFLOAD, 1);
		lr_packet_drop(packet, LR_DROP_RX_OFFLOAD);
	} else {
		ready_add_packet(w, p, packet);
	}
}

/* The frames of @box to @p, each finished as far as @p needs it. */
static void send_finished(struct worker *w, struct port *p, const struct worker_outbox *box,
			  unsigned offloads, uint32_t mtu)
{
	struct bridge_worker *bw = w->bridge_private;

	ASSERT(bw->ready_count == 0);
	for (unsigned i = 0; i < box->count; i++) {
		struct frame *f = box->frames[i];

		if (frame_needs(f) & ~offloads)
			finish_frame(w, p, f);
		else if (frame_is_over_mtu(f, mtu))
			port_drop(p, w->index, LR_DROP_RX_MTU, 1);
		else
			ready_add(w, p, f);
	}
	ready_flush(w, p);
}

/* Return: the port that took the frames, NULL when it takes none now */
static struct port *box_send(struct bridge *br, struct worker *w, unsigned index)
{
	const struct bridge_worker *bw = w->bridge_private;
	const struct worker_outbox *box = &w->outbox[index];
	struct port *p = port_at(br, index);
	unsigned offloads;
	uint32_t mtu;

	ASSERT(box->count <= FRAME_BURST);
	if (unlikely(!p)) {
		port_drop(bw->in, w->index, LR_DROP_PORT_GONE, box->count);
		return NULL;
	}
	if (unlikely(!port_is_running(p))) {
		port_drop(p, w->index, LR_DROP_RX_DOWN, box->count);
		return NULL;
	}
	offloads = atomic_load_explicit(&p->offloads, memory_order_relaxed);
	mtu = atomic_load_explicit(&p->mtu, memory_order_relaxed);
	if (likely(!(bw->needs & ~offloads) && (mtu == 0 || bw->bytes_max <= mtu + ETHERNET_BYTES)))
		p->ops->send(p, w, box->frames, box->count);
	else
		send_finished(w, p, box, offloads, mtu);
	return p;
}

void bridge_deliver(struct bridge *br, struct worker *w)
{
	for (unsigned i = 0; i < w->touched_count; i++)
		w->outbox[w->touched[i]].port = box_send(br, w, w->touched[i]);
	for (unsigned i = 0; i < w->touched_count; i++) {
		struct port *p = w->outbox[w->touched[i]].port;

		if (likely(p))
			p->ops->publish(p, w);
	}
}

void finish_burst_copy(struct worker *w)
{
	const struct bridge_worker *bw = w->bridge_private;
	struct port_counters *counters = &bw->in->counters[w->index];
	uint64_t bytes = 0;

	for (unsigned i = 0; i < w->burst.count; i++) {
		struct frame *f = &w->burst.frames[i];
		uint8_t *to = bw->plain + i * BRIDGE_PLAIN_BYTES, *at = to;

		ASSERT(f->bytes <= BRIDGE_PLAIN_BYTES);
		for (unsigned j = 0; j < f->segment_count; j++) {
			mem_copy(at, f->segments[j].data, f->segments[j].bytes);
			at += f->segments[j].bytes;
		}
		ASSERT((size_t)(at - to) == f->bytes - f->head_bytes);
		if (f->segment_count) {
			f->segments[0].data = to;
			f->segments[0].bytes = (uint32_t)(at - to);
			f->segment_count = 1;
		}
		f->lender = NULL; /* private memory now */
		bytes += f->bytes;
	}
	counter_add(&counters->copied_frames[PORT_COPY_OFF], w->burst.count);
	counter_add(&counters->copied_bytes[PORT_COPY_OFF], bytes);
}
