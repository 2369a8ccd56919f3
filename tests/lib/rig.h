/* SPDX-License-Identifier: BSD-2-Clause */
/* The rig: the production switch, rings and engine with our own guests, in one process and without
 * sockets. With threads or, for simulation, turn by turn under a virtual clock.
 *
 * Every guest stamps what it sends and keeps a ledger of its buffers; a buffer that comes back is
 * poisoned at once. Whoever receives a frame checks it whole.
 */
#ifndef RIG_H
#define RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"
#include "guest/driver.h"
#include "oracle.h"
#include "port/port.h"
#include "port/vm.h"
#include "switch/bridge.h"

#define RIG_GUESTS_MAX 8
#define RIG_TX_BYTES   9216 /* largest frame without offload that a rig guest sends */

/**
 * struct rig_guest_options - Zero means the default that stands in brackets
 * @features:   GUEST_F_*
 * @tx_size, @rx_size: ring sizes [256]
 * @tx_pieces:  descriptors per frame [1]
 * @header_apart, @indirect: as in struct guest_tx_options
 * @rx_bytes:   receive buffer [2048]
 */
struct rig_guest_options {
	uint64_t features;
	uint32_t tx_size;
	uint32_t rx_size;
	uint16_t tx_pieces;
	bool header_apart;
	enum guest_indirect indirect;
	uint32_t rx_bytes;
};

struct rig_guest {
	struct rig *rig;
	struct port *port;
	struct rig_guest_options options;
	uint8_t mac[6];
	struct guest_memory memory;
	struct mem_table *table;
	struct guest_tx tx;
	struct guest_rx rx;
	struct guest_slab buffers;
	struct oracle_ledger ledger; /* of transmit buffers */
	uint32_t *sizes;	     /* of what is in each buffer */
	uint64_t sent;
	uint64_t received;
	bool tx_running;
	bool rx_running;
	bool rx_filled;
};

struct rig {
	struct port_env env;
	struct bridge *bridge;
	struct engine *engine;
	unsigned guest_count;
	struct rig_guest guests[RIG_GUESTS_MAX];
	struct port *ports[PORTS_MAX];
	unsigned port_count;
	bool lenient; /* violations are counted, not fatal */
	unsigned violations;
	char first_violation[160];
	uint64_t hold_limit_ns;
	_Atomic uint64_t next_stamp; /* of the next frame that any guest sends */
};

struct rig_options {
	unsigned worker_count; /* [1] */
	bool threads;
	bool copy_all; /* zero-copy off */
	uint64_t hold_limit_ns;
};

void rig_open(struct rig *r, const struct rig_options *options);

/* Stop everything; every buffer must have come home and nothing be leaked (L13). */
void rig_close(struct rig *r);

/* A port of any type; NULL values: its keys' fallbacks. */
struct port *rig_port_add(struct rig *r, const char *name, const struct port_ops *ops,
			  const struct port_config *config);

struct rig_guest *rig_guest_add(struct rig *r, const struct rig_guest_options *options);
void rig_guest_tx_start(struct rig_guest *g);
void rig_guest_tx_stop(struct rig_guest *g); /* as GET_VRING_BASE: afterwards nothing is out */
void rig_guest_rx_start(struct rig_guest *g);
void rig_guest_rx_stop(struct rig_guest *g);

/**
 * rig_send() - Post a stamped frame; visible to the switch
 *
 * Return: false when the ring or the buffers are all in use
 */
bool rig_send(struct rig_guest *g, const uint8_t to[6], uint32_t bytes);

/* Take back what completed (poison, ledger). Return: buffers */
unsigned rig_reap(struct rig_guest *g);

/* Receive and check up to @max frames, posting their buffers again. Return: frames */
unsigned rig_receive(struct rig_guest *g, unsigned max);

/* A checker's complaint: aborts unless lenient. */
void rig_violation(struct rig *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Check @bytes that came out somewhere against what was sent. */
void rig_check_frame(struct rig *r, const void *frame, size_t bytes, const char *where);

/**
 * rig_check_accounts() - Every frame is accounted for (bridge.h), while nothing moves and no port
 * was deleted
 */
void rig_check_accounts(struct rig *r);

uint64_t rig_counter(const struct rig *r, const struct port *p, size_t offset);
#define RIG_COUNT(r, p, member) rig_counter(r, p, offsetof(struct port_counters, member))

extern const uint8_t rig_broadcast[6];

#endif
