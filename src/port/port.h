/* SPDX-License-Identifier: BSD-2-Clause */
/* The port contract: what every thing that frames enter and leave by supplies.
 *
 * Life cycle (main thread): create() -> frames flow whenever the port is up -> destroy().
 *
 * A burst (the worker that owns the source):
 *   1. source->recv() fills the worker's burst of frames
 *   2. the bridge puts each frame on the list of every port that it goes to
 *   3. port->send() of each of these ports: deliver now, or hold (engine/hold.h). Returns nothing:
 *      what cannot be delivered is dropped with a reason
 *   4. port->publish() of each: from here on it is done with every frame that it did not hold
 *   5. source->publish(): the buffers that nobody holds go back to the sender
 *   6. one full fence, then port->notify() and source->notify(): locks dropped, eventfds written
 *
 * A new port type is one file here and one line in port.c.
 */
#ifndef PORT_PORT_H
#define PORT_PORT_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/counter.h"
#include "base/errmsg.h"
#include "base/list.h"
#include "packet/frame.h"

struct bridge;
struct engine;
struct opener;
struct port;
struct sd_event;
struct source;
struct worker;

#define PORT_NAME_BYTES 32
#define PORTS_MAX	256 /* ports of one bridge */

/* Capabilities. Lending is decided by them in one place: engine/hold.c. */
#define PORT_SYNC (1u << 0) /* done with the bytes when publish() returns */
#define PORT_HOLD (1u << 1) /* has queues of ours: may keep packets within the hold limit */
#define PORT_LEND (1u << 2) /* may hand pages to the kernel, with "lend on" only */
#define PORT_SG	  (1u << 3) /* takes frags as they are */

/* Offloads that a receiver can take unfinished; else finished in software (switch/finish.c). */
#define PORT_CSUM (1u << 0)
#define PORT_TSO4 (1u << 1)
#define PORT_TSO6 (1u << 2)
#define PORT_USO  (1u << 3)
#define PORT_ECN  (1u << 4)

enum port_state {
	PORT_WAITING,	/* nobody connected yet, or the device is away */
	PORT_CONNECTED, /* a front-end is there, no ring runs */
	PORT_RUNNING,
	PORT_BROKEN, /* the peer broke the protocol; heals by reset or reconnect */
	PORT_STATE_COUNT,
};

/* Why bytes were copied although they could have been used in place or lent. */
#define PORT_COPY_REASONS(X)                                                                       \
	X(RX_QUEUE, "rx-queue", "receiver's ring was short: its copy queue")                       \
	X(IN_ORDER, "in-order", "sender's ring is IN_ORDER and may not be lent")                   \
	X(QUOTA, "quota", "sender's quota of lent buffers was spent")                              \
	X(PREDICTED, "predicted", "holder expected to exceed the hold limit")                      \
	X(LATE, "late", "held longer than the hold limit")                                         \
	X(FINISH, "finish", "checksum or segmentation in software")                                \
	X(STOPPED, "stopped", "the lender's ring was stopped")                                     \
	X(OFF, "off", "zero-copy is switched off")

enum port_copy_reason {
#define X(id, name, text) PORT_COPY_##id,
	PORT_COPY_REASONS(X)
#undef X
		PORT_COPY_COUNT,
};

#define PORT_HOLD_BUCKETS 32 /* by power of two of ns */

/**
 * struct port_counters - One set per port and worker; that worker is the only writer
 * "in" is into the switch, "out" is out of it to the port. Drops of frames that came in by this
 * port and of frames that were to go out by it are told apart by their reason.
 */
struct port_counters {
	struct counter in_frames;
	struct counter in_bytes;
	struct counter out_frames;
	struct counter out_bytes;
	struct counter in_place_bytes; /* of this sender, delivered from where they lay */
	struct counter lent_frames;
	struct counter lent_bytes;
	struct counter copied_frames[PORT_COPY_COUNT];
	struct counter copied_bytes[PORT_COPY_COUNT];
	struct counter completed;     /* lent buffers that came back */
	struct counter completed_old; /* of an earlier generation of the ring: swallowed (L12) */
	struct counter hold_ns[PORT_HOLD_BUCKETS];
	struct counter hold_max_ns; /* greatest seen */
	struct counter calls;	    /* interrupts raised */
	struct counter kicks;	    /* wake-ups by the guest */
	struct counter drops[LR_DROP_COUNT];
} CACHE_ALIGNED;

/* A key of "port add" and "port set". The table of a type's keys is its grammar, help and check. */
enum port_key_kind {
	PORT_KEY_TEXT,
	PORT_KEY_NUMBER, /* min..max */
	PORT_KEY_MAC,
	PORT_KEY_CHOICE, /* @choices: "server|client" */
	PORT_KEY_OCTAL,
};

#define PORT_KEY_REQUIRED (1u << 0)
#define PORT_KEY_SETTABLE (1u << 1) /* by "port set" too */

struct port_key {
	const char *name;
	enum port_key_kind kind;
	unsigned flags;
	uint64_t min;
	uint64_t max;
	const char *choices;  /* of a CHOICE; of a TEXT: what stands for it in help, "PATH" */
	const char *fallback; /* when not given; NULL: none */
	const char *help;
};

#define PORT_KEYS_MAX 16

/* What the operator said: values by index into the type's keys, checked against the table. */
struct port_config {
	const char *value[PORT_KEYS_MAX]; /* NULL: not given and no fallback */
};

/**
 * struct port_ops - A type of port
 * @type:    its name in the grammar
 * @help:    one line
 * @caps:    PORT_SYNC, ...
 * @keys:    ended by a NULL name
 * @create:  set up @p->impl; opens devices and sockets; main thread. On failure nothing is left
 * @destroy: end every source, close everything, free @p->impl; no worker sees the port any more
 * @set:     change a settable key
 * @show:    add members to the port's JSON object
 * @show_config: words behind the name that recreate it: "vm socket /x queues 2"
 * @send:    deliver or hold frames; the port's worker context. @frames stay valid until publish()
 * @publish: be done with every frame that was not held
 * @notify:  behind the fence; may be NULL
 */
struct port_ops {
	const char *type;
	const char *help;
	uint32_t caps;
	const struct port_key *keys;
	int (*create)(struct port *p, const struct port_config *config, struct errmsg *err);
	void (*destroy)(struct port *p);
	int (*set)(struct port *p, unsigned key, const char *value, struct errmsg *err);
	void (*show)(struct port *p, json_t *into);
	void (*show_config)(struct port *p, char *buffer, size_t buffer_bytes);
	void (*send)(struct port *p, struct worker *w, struct frame *const *frames, unsigned count);
	void (*publish)(struct port *p, struct worker *w);
	void (*notify)(struct port *p, struct worker *w);
};

/* What ports need of the world around them. */
struct port_env {
	struct sd_event *loop; /* the main thread's */
	struct engine *engine;
	struct bridge *bridge;
	struct opener *opener;
	const char *state_dir; /* or NULL */
};

struct port {
	const struct port_ops *ops;
	void *impl;
	char name[PORT_NAME_BYTES];
	unsigned index; /* in the bridge's table */
	const struct port_env *env;
	_Atomic uint32_t state;	   /* enum port_state */
	_Atomic uint32_t offloads; /* PORT_CSUM, ...: what it takes unfinished now */
	_Atomic uint32_t mtu; /* most payload bytes of a frame, without Ethernet header; 0: any */
	char why[256];	      /* one line beside the state; main thread */
	struct port_counters *counters; /* one per worker */
};

/**
 * struct source - A queue that a worker receives from
 * @recv:    fill @w->burst, at most FRAME_BURST frames; returns how many chains were taken (bad
 *           ones included: they count as work)
 * @publish: give back every buffer of the burst that is not held, then what completed meanwhile
 * @notify:  behind the fence; may be NULL
 * @arm:     about to sleep: ask for wake-ups; returns true when there is work already
 * @disarm:  woken: no more wake-ups, please
 */
struct source_ops {
	unsigned (*recv)(struct source *s, struct worker *w);
	void (*publish)(struct source *s, struct worker *w);
	void (*notify)(struct source *s, struct worker *w);
	bool (*arm)(struct source *s);
	void (*disarm)(struct source *s);
};

#define SOURCE_FDS_MAX 2

struct source {
	const struct source_ops *ops;
	struct port *port;
	unsigned queue_index;
	int fds[SOURCE_FDS_MAX]; /* readable: wake up; -1: none */
	bool fds_are_events;	 /* eventfds: waited for by edge, never read */
	struct worker *worker;	 /* set by engine_attach() */
};

static inline void port_drop(struct port *p, unsigned worker_index, enum lr_drop_reason reason,
			     unsigned count)
{
	counter_add(&p->counters[worker_index].drops[reason], count);
}

/**
 * port_new() - Make a port of type @type and put it into the bridge
 * @config: by index into the type's keys; see port_type_find()
 *
 * Return: 0, negative errno with @err set and nothing left behind
 */
int port_new(const struct port_env *env, const char *name, const struct port_ops *type,
	     const struct port_config *config, struct port **ret_port, struct errmsg *err);

/**
 * port_free() - Take it out of the bridge, wait until no worker sees it, destroy it
 */
void port_free(struct port *p);

/**
 * port_type_find() - The type called @name, or NULL
 * port_type_at() - Types by number, NULL behind the last
 */
const struct port_ops *port_type_find(const char *name);
const struct port_ops *port_type_at(unsigned index);

const char *port_state_name(enum port_state state);
const char *port_copy_reason_name(enum port_copy_reason reason);

#endif
