/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of switch/ share. */
#ifndef SWITCH_INTERNAL_H
#define SWITCH_INTERNAL_H

#include "base/counter.h"
#include "switch/bridge.h"
#include "switch/fdb.h"

#define BRIDGE_PLAIN_BYTES ((size_t)65 * 1024) /* more than any frame */

#define FLOW_SETS 512
#define FLOW_WAYS 2

/**
 * struct flow - One answer of the FDB, kept by a worker
 * @macs:  first 8 bytes of the frame: destination, and 2 bytes of the source
 * @rest:  4 bytes of the source; above them the index of the port that it came in by
 * @epoch: FDB generation and second in which the answer holds; 0: none
 * @out:   index of the port that it goes to
 */
struct flow {
	uint64_t macs;
	uint64_t rest;
	uint64_t epoch;
	uint32_t out;
	uint32_t unused;
};

struct flow_set {
	struct flow ways[FLOW_WAYS];
} CACHE_ALIGNED;

static_assert(sizeof(struct flow_set) == CACHE_LINE_BYTES, "a set is one line");
static_assert(BRIDGE_PLAIN_BYTES > LR_PACKET_BYTES_MAX, "a frame fits");

/* Written by the worker, read by anybody. */
struct bridge_counters {
	struct counter flooded;
	struct counter flood_copies;
	struct counter segmented;
	struct counter segment_copies;
};

/**
 * struct bridge_worker - A worker's side of the bridge: w->bridge_private
 * @flows:       the flow cache
 * @flow_keys:   of its hash
 * @flow_turn:   which way is replaced next
 * @in:          the port that the burst came in by
 * @now_s:       the burst's second
 * @epoch:       what a flow of this burst must carry to be valid
 * @needs:       offloads (PORT_CSUM, ...) that some frame of the burst asks for
 * @bytes_max:   longest frame of the burst that is not to be cut
 * @flood_ready: @flood lists the ports that a flooded frame of this burst goes to
 * @plain:       room for whole bursts, when zero-copy is off
 */
struct bridge_worker {
	struct flow_set flows[FLOW_SETS];
	uint64_t flow_keys[2];
	unsigned flow_turn;
	struct port *in;
	uint32_t now_s;
	uint64_t epoch;
	unsigned needs;
	uint32_t bytes_max;
	bool flood_ready;
	unsigned flood_count;
	uint16_t flood[PORTS_MAX];
	struct bridge_counters counters CACHE_ALIGNED;
	uint8_t *plain;
	/* finish.c: what waits for one send(), in order */
	unsigned ready_count;
	unsigned view_count;
	struct frame *ready[FRAME_BURST];
	struct lr_packet *packets[FRAME_BURST];
	struct frame views[FRAME_BURST];
	struct segment segments[FRAME_BURST][LR_PACKET_FRAGS];
};

struct bridge {
	struct fdb fdb;
	struct bridge_config config;
	_Atomic(struct port *) ports[PORTS_MAX];
	_Atomic unsigned port_limit; /* above the highest index in use */
	_Atomic(struct bridge_worker *) workers[ENGINE_WORKERS_MAX];
	uint64_t moves_told; /* main thread: moves that the log has told of */
	uint64_t moves_next_ns;
};

/* The offloads that a receiver must have to take @f as it is. */
static inline unsigned frame_needs(const struct frame *f)
{
	unsigned needs = f->offload.flags & LR_OFFLOAD_NEEDS_CSUM ? PORT_CSUM : 0;

	switch (f->offload.gso_type & ~LR_GSO_ECN) {
	case LR_GSO_NONE:
		return needs;
	case LR_GSO_TCPV4:
		needs |= PORT_TSO4;
		break;
	case LR_GSO_TCPV6:
		needs |= PORT_TSO6;
		break;
	case LR_GSO_UDP_L4:
		needs |= PORT_USO;
		break;
	default:
		needs |= 1u << 31; /* nobody takes it */
	}
	if (f->offload.gso_type & LR_GSO_ECN)
		needs |= PORT_ECN;
	return needs;
}

static inline struct port *port_at(const struct bridge *br, unsigned index)
{
	return atomic_load_explicit(&br->ports[index], memory_order_acquire);
}

static inline bool port_is_running(const struct port *p)
{
	return atomic_load_explicit(&p->state, memory_order_acquire) == PORT_RUNNING;
}

/* flood.c: @f to every running port but the one it came in by. */
void flood_frame(struct bridge *br, struct worker *w, struct frame *f);

/* finish.c: zero-copy is off: the burst's bytes to private memory. */
void finish_burst_copy(struct worker *w);

#endif
