/* SPDX-License-Identifier: BSD-2-Clause */
/* Where each frame of a burst goes. The hot path: a few ns a frame.
 *
 * Theory of operation
 *
 * The two addresses and the port that a frame came in by make the key of a flow. What was looked up
 * for a flow is kept by the worker: the one before (most bursts are one conversation) in registers,
 * and 1,024 others in a small cache of its own, so that a known flow costs one private cache line
 * and touches neither FDB. An answer holds within one FDB generation and one second: the second
 * that follows looks everything up anew, which also refreshes the time stamp that ageing goes by.
 * Only answers are kept that nothing was unusual about: the source known behind this very port, the
 * destination known behind another one.
 *
 * Everything else takes the long way, forward(): check the source, learn it, look the destination
 * up in the FDB, flood when it is not there.
 */
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/endian.h"
#include "switch/internal.h"

#define MAC_MASK 0xffffffffffffull

/* 01:80:c2:00:00:00 to -0f, first byte lowest (IEEE 802.1D, 7.12.6). */
#define LINK_LOCAL_MAC	0xc28001ull
#define LINK_LOCAL_MASK (0xfull << 40)

/* Nothing comes in by such a port: the key of no frame. */
#define KEY_REST_NONE UINT64_MAX

struct key {
	uint64_t macs;
	uint64_t rest;
};

static inline struct key frame_key(const struct frame *f, unsigned in_index)
{
	uint64_t macs;
	uint32_t rest;

	memcpy(&macs, f->head, sizeof(macs));
	memcpy(&rest, f->head + sizeof(macs), sizeof(rest));
	return (struct key){.macs = le64toh(macs),
			    .rest = le32toh(rest) | (uint64_t)in_index << 32};
}

static inline uint64_t key_destination(struct key key)
{
	return key.macs & MAC_MASK;
}

static inline uint64_t key_source(struct key key)
{
	return key.macs >> 48 | (key.rest & UINT32_MAX) << 16;
}

static inline struct flow_set *flow_set(struct bridge_worker *bw, struct key key)
{
	uint64_t h = fdb_mix(key.macs ^ bw->flow_keys[0], key.rest ^ bw->flow_keys[1]);

	return &bw->flows[h & (FLOW_SETS - 1)];
}

static inline struct flow *flow_find(struct bridge_worker *bw, struct key key)
{
	struct flow_set *set = flow_set(bw, key);

	for (unsigned i = 0; i < FLOW_WAYS; i++) {
		struct flow *flow = &set->ways[i];

		if (flow->macs == key.macs && flow->rest == key.rest && flow->epoch == bw->epoch)
			return flow;
	}
	return NULL;
}

static void flow_keep(struct bridge_worker *bw, struct key key, uint64_t epoch, uint32_t out)
{
	struct flow_set *set = flow_set(bw, key);
	struct flow *flow = &set->ways[bw->flow_turn++ % FLOW_WAYS];

	for (unsigned i = 0; i < FLOW_WAYS; i++) {
		if (set->ways[i].epoch != bw->epoch)
			flow = &set->ways[i];
	}
	*flow = (struct flow){.macs = key.macs, .rest = key.rest, .epoch = epoch, .out = out};
}

/* What a flow's answer must have been made in to hold now. Never 0: a generation is not. */
static inline uint64_t epoch_now(const struct bridge *br, uint32_t now_s)
{
	return (uint64_t)fdb_generation(&br->fdb) << 32 | now_s;
}

/* Learn the source; false: the frame was dropped. */
static bool source_admit(struct bridge *br, struct worker *w, uint64_t source, bool *ret_known)
{
	struct bridge_worker *bw = w->bridge_private;
	unsigned in_index = bw->in->index;
	enum fdb_verdict verdict;

	if (unlikely(fdb_mac_is_multicast(source) || source == 0)) {
		port_drop(bw->in, w->index, LR_DROP_SPOOF, 1);
		return false;
	}
	verdict = fdb_see(&br->fdb, source, in_index, &br->ports[in_index], bw->now_s);
	if (unlikely(verdict == FDB_SPOOFED)) {
		port_drop(bw->in, w->index, LR_DROP_SPOOF, 1);
		return false;
	}
	*ret_known = verdict == FDB_KNOWN;
	return true;
}

/* The long way. */
static void forward(struct bridge *br, struct worker *w, struct frame *f, struct key key)
{
	struct bridge_worker *bw = w->bridge_private;
	uint64_t destination = key_destination(key), word, epoch;
	uint32_t slot;
	unsigned out;
	bool known;

	ASSERT(f->head_bytes >= 12);
	/* Before anything is looked up: a change in between voids what is kept below. */
	epoch = epoch_now(br, bw->now_s);
	if (!source_admit(br, w, key_source(key), &known))
		return;
	if (fdb_mac_is_multicast(destination)) {
		if ((destination & ~LINK_LOCAL_MASK) == LINK_LOCAL_MAC)
			port_drop(bw->in, w->index, LR_DROP_LINK_LOCAL, 1);
		else
			flood_frame(br, w, f);
		return;
	}
	word = fdb_find(&br->fdb, destination, &slot);
	if (!word) {
		flood_frame(br, w, f);
		return;
	}
	out = word & FDB_PORT_MASK;
	if (out == bw->in->index) {
		port_drop(bw->in, w->index, LR_DROP_SAME_PORT, 1);
		return;
	}
	worker_output(w, out, f);
	if (known)
		flow_keep(bw, key, epoch, out);
}

void bridge_input(struct bridge *br, struct worker *w, struct port *in)
{
	struct bridge_worker *bw = w->bridge_private;
	unsigned count = w->burst.count, in_index = in->index, needs = 0;
	struct key last = {.rest = KEY_REST_NONE};
	struct worker_outbox *box = &w->outbox[0];
	uint32_t bytes_max = 0;

	ASSERT(count <= FRAME_BURST);
	ASSERT(in_index < PORTS_MAX);
	bw->in = in;
	bw->now_s = (uint32_t)(w->now_ns / NS_PER_S);
	bw->epoch = epoch_now(br, bw->now_s);
	bw->flood_ready = false;
	if (unlikely(!atomic_load_explicit(&br->config.zerocopy, memory_order_relaxed)))
		finish_burst_copy(w);
	for (unsigned i = 0; i < count; i++) {
		struct frame *f = &w->burst.frames[i];
		struct key key = frame_key(f, in_index);
		struct flow *flow;

		if (likely(!f->offload.gso_type))
			bytes_max = f->bytes > bytes_max ? f->bytes : bytes_max;
		if (unlikely(f->offload.flags | f->offload.gso_type))
			needs |= frame_needs(f);
		if (key.macs == last.macs && key.rest == last.rest) {
			box->frames[box->count++] = f;
			continue;
		}
		flow = flow_find(bw, key);
		if (likely(flow)) {
			worker_output(w, flow->out, f);
			box = &w->outbox[flow->out];
			last = key;
			continue;
		}
		forward(br, w, f, key);
		/* It may have learnt something that makes other answers void. */
		bw->epoch = epoch_now(br, bw->now_s);
		last.rest = KEY_REST_NONE;
	}
	bw->needs = needs;
	bw->bytes_max = bytes_max;
}
