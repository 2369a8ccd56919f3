/* SPDX-License-Identifier: BSD-2-Clause */
/* Stand-ins for what surrounds the bridge: ports that record, a worker without a thread. */
#ifndef LIB_FAKE_PORT_H
#define LIB_FAKE_PORT_H

#include "engine/engine.h"
#include "port/port.h"
#include "switch/bridge.h"

/* A frame as a port got it. */
struct fake_delivery {
	uint8_t *data;
	uint32_t bytes;
	struct lr_offload offload;
	bool in_place; /* some of it lay outside the worker's private memory, as the test says */
};

/**
 * struct fake_port - A port that takes everything and remembers it
 * @port:      what the bridge sees
 * @got:       deliveries in order, copied when the port publishes
 * @pending:   sent, not yet published
 * @publishes: how often publish() was called
 * @sends:     how often send() was called
 * @send_max:  most frames in one send()
 */
struct fake_port {
	struct port port;
	struct fake_delivery *got;
	unsigned got_count;
	unsigned got_room;
	struct frame *pending[FRAME_BURST];
	unsigned pending_count;
	unsigned publishes;
	unsigned sends;
	unsigned send_max;
};

/* Running, any MTU, no offloads; in the bridge. */
struct fake_port *fake_port_new(struct bridge *br, const char *name);
void fake_port_free(struct bridge *br, struct fake_port *fp);
void fake_port_forget(struct fake_port *fp); /* what it got so far */

/* A worker without a thread or sources; @pool_packets 0: the pool has few. */
struct worker *fake_worker_new(struct bridge *br, unsigned index, uint32_t packets,
			       uint32_t chunks);
void fake_worker_free(struct bridge *br, struct worker *w);

/**
 * fake_frame() - Add a frame to the worker's burst
 * @data: of @bytes: the first @head_bytes are snapshot, the rest stays where it is, in pieces of
 *        @piece_bytes (0: one)
 */
struct frame *fake_frame(struct worker *w, uint8_t *data, uint32_t bytes, uint32_t head_bytes,
			 uint32_t piece_bytes);

/* The burst came in by @in: input, deliver, notify; the burst is empty afterwards. */
void fake_turn(struct bridge *br, struct worker *w, struct port *in);

/* An Ethernet header; addresses as numbers, first byte highest: 0x020000000001. */
void fake_ethernet(uint8_t *to, uint64_t destination, uint64_t source, uint16_t type);

uint64_t fake_drops(const struct port *p, enum lr_drop_reason reason);

/* The equation of bridge.h over @count ports; nothing is queued in a fake port. */
bool fake_accounts_balance(const struct bridge *br, struct fake_port *const *ports, unsigned count);

#endif
