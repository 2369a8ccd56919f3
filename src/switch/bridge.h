/* SPDX-License-Identifier: BSD-2-Clause */
/* The switch: where a frame goes. Learning bridge after IEEE 802.1D, in user space.
 *
 * Workers call bridge_input() and read the port table and the FDB without locks; learning tries the
 * FDB's lock and writes only on change. Everything else is the main thread's.
 *
 * Files: input.c classifies, fdb.c finds the port, flood.c sends to all, finish.c hands over and
 * finishes offloads in software, bridge.c keeps the table of ports and the settings.
 *
 * Accounting: every frame is accounted for exactly, over any set of workers, once they are idle:
 *
 *   sum of in_frames + flood_copies + segment_copies = sum of out_frames + sum of drops + queued
 *
 * The sums go over all ports. A source counts in_frames for every chain that it takes, and those
 * that it does not put into the burst (malformed, too long: tx-*) as drops. A frame that goes to
 * n > 1 ports adds n - 1 to flood_copies, one that is cut into k segments adds k - 1 to
 * segment_copies (bridge_totals()). A frame that goes nowhere is dropped once, at the port that it
 * came in by: spoof, link-local, same-port, no-port, port-gone. Everything else is dropped at the
 * port that it was to go out by: here as rx-down, rx-mtu, rx-offload or no-memory, and by the port
 * itself whatever it does not count as out.
 */
#ifndef SWITCH_BRIDGE_H
#define SWITCH_BRIDGE_H

#include <jansson.h>
#include <stdint.h>

#include "base/errmsg.h"
#include "engine/engine.h"
#include "port/port.h"

#define BRIDGE_FDB_ENTRIES 16384

#define BRIDGE_AGEING_S	     300
#define BRIDGE_HOLD_LIMIT_NS 1000000

/**
 * struct bridge_config - Settings; changed by bridge_set() while workers read them
 * @ageing_s:      seconds after which an address that is not seen any more is forgotten; 0: 300
 * @hold_limit_ns: longest that a lent buffer is held (L10); 0: 1 ms
 * @zerocopy:      false: every frame is copied at ingress, for comparison
 * @hash_key:      of the FDB; 0: a random one, anything else for simulations
 */
struct bridge_config {
	_Atomic uint32_t ageing_s;
	_Atomic uint64_t hold_limit_ns;
	_Atomic bool zerocopy;
	uint64_t hash_key;
};

int bridge_new(const struct bridge_config *config, struct bridge **ret_bridge);
void bridge_free(struct bridge *br);

/**
 * bridge_worker_init() - Per-worker state (flow cache); before the worker runs
 */
int bridge_worker_init(struct bridge *br, struct worker *w);
void bridge_worker_fini(struct bridge *br, struct worker *w);

/**
 * bridge_input() - Classify every frame of @w->burst, that came in by @in, and put it on the
 * outbox of each port that it goes to; frames that go nowhere are counted with their reason
 */
void bridge_input(struct bridge *br, struct worker *w, struct port *in);

/**
 * bridge_deliver() - Hand every outbox to its port (finishing offloads that the port cannot take),
 * then publish() each; the engine does fence and notify afterwards, for each outbox in @w->touched
 * whose port was set here
 *
 * A port may see several rounds of send() and publish() in one burst, then one notify().
 */
void bridge_deliver(struct bridge *br, struct worker *w);

/* Port table; main thread. bridge_port() may be called by workers: NULL when there is none. */

/**
 * bridge_port_add() - Let @p take part; sets @p->index. @p->counters are there already
 *
 * Return: 0, -EEXIST when there is a port of that name, -ENOSPC
 */
int bridge_port_add(struct bridge *br, struct port *p, struct errmsg *err);

/**
 * bridge_port_remove() - No frame goes to @p any more and nothing is learnt for it; its FDB entries
 * are flushed, static ones too
 *
 * A worker in the middle of its turn may still use @p: engine_quiesce() before it is freed or its
 * place is taken again.
 */
void bridge_port_remove(struct bridge *br, struct port *p);
struct port *bridge_port(const struct bridge *br, unsigned index);
struct port *bridge_port_find(const struct bridge *br, const char *name);

/* FDB; main thread. */
void bridge_age(struct bridge *br, uint64_t now_ns); /* call about once a second */
int bridge_fdb_add(struct bridge *br, const uint8_t mac[6], struct port *p, struct errmsg *err);
int bridge_fdb_del(struct bridge *br, const uint8_t mac[6], struct errmsg *err);
void bridge_fdb_flush(struct bridge *br, struct port *p); /* NULL: all learnt entries */
/* [{"mac", "port", "type": "learnt"|"static", "age_s"}]; age_s of learnt ones only */
json_t *bridge_fdb_show(const struct bridge *br);
uint32_t bridge_fdb_count(const struct bridge *br, const struct port *p); /* learnt behind @p */
/* A migration told us where a MAC is now (SEND_RARP). */
void bridge_fdb_learn(struct bridge *br, const uint8_t mac[6], struct port *p);

/* "switch set KEY VALUE": ageing, hold-limit, zerocopy, ... one table. */
struct bridge_key {
	const char *name;
	const char *help;
};
const struct bridge_key *bridge_keys(void); /* ended by a NULL name */
int bridge_set(struct bridge *br, const char *key, const char *value, struct errmsg *err);
/* The value of @key as bridge_set() takes it, for "config show". Return: 0, -EINVAL */
int bridge_get(const struct bridge *br, const char *key, char *buffer, size_t buffer_bytes);
json_t *bridge_show(const struct bridge *br);
const struct bridge_config *bridge_config(const struct bridge *br);

/**
 * struct bridge_totals - Sums over all workers
 * @flooded:        frames that went to every port
 * @flood_copies:   deliveries of flooded frames beyond the first of each
 * @segmented:      frames that were cut into segments in software
 * @segment_copies: segments beyond the first of each
 */
struct bridge_totals {
	uint64_t flooded;
	uint64_t flood_copies;
	uint64_t segmented;
	uint64_t segment_copies;
};
void bridge_totals(const struct bridge *br, struct bridge_totals *ret_totals);

#endif
