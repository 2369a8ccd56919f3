/* SPDX-License-Identifier: BSD-2-Clause */
/* The switch: where a frame goes. Learning bridge after IEEE 802.1D, in user space.
 *
 * Workers call bridge_input() and read the port table and the FDB without locks; learning takes a
 * bucket's lock and writes only on change. Everything else is the main thread's.
 */
#ifndef SWITCH_BRIDGE_H
#define SWITCH_BRIDGE_H

#include <jansson.h>
#include <stdint.h>

#include "base/errmsg.h"
#include "engine/engine.h"
#include "port/port.h"

#define BRIDGE_FDB_ENTRIES 16384

struct bridge_config {
	uint32_t ageing_s;	/* default 300 */
	uint64_t hold_limit_ns; /* default 1 ms */
	bool zerocopy;		/* false: every frame is copied at ingress, for comparison */
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
 * then publish() each; the engine does fence and notify afterwards, for @w->touched
 */
void bridge_deliver(struct bridge *br, struct worker *w);

/* Port table; main thread. bridge_port() may be called by workers: NULL when there is none. */
int bridge_port_add(struct bridge *br, struct port *p, struct errmsg *err);
void bridge_port_remove(struct bridge *br, struct port *p); /* flushes its FDB entries */
struct port *bridge_port(const struct bridge *br, unsigned index);
struct port *bridge_port_find(const struct bridge *br, const char *name);

/* FDB; main thread. */
void bridge_age(struct bridge *br, uint64_t now_ns); /* call about once a second */
int bridge_fdb_add(struct bridge *br, const uint8_t mac[6], struct port *p, struct errmsg *err);
int bridge_fdb_del(struct bridge *br, const uint8_t mac[6], struct errmsg *err);
void bridge_fdb_flush(struct bridge *br, struct port *p); /* NULL: all learnt entries */
json_t *bridge_fdb_show(const struct bridge *br);
/* A migration told us where a MAC is now (SEND_RARP). */
void bridge_fdb_learn(struct bridge *br, const uint8_t mac[6], struct port *p);

/* "switch set KEY VALUE": ageing, hold-limit, zerocopy, ... one table. */
struct bridge_key {
	const char *name;
	const char *help;
};
const struct bridge_key *bridge_keys(void); /* ended by a NULL name */
int bridge_set(struct bridge *br, const char *key, const char *value, struct errmsg *err);
json_t *bridge_show(const struct bridge *br);
const struct bridge_config *bridge_config(const struct bridge *br);

#endif
