/* SPDX-License-Identifier: BSD-2-Clause */
/* Workers: threads that receive, switch, send and publish. Read worker.c first: it is the turn. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "base/counter.h"
#include "base/list.h"
#include "packet/frame.h"
#include "port/port.h"

#define ENGINE_WORKERS_MAX 16

struct bridge;
struct engine;

struct engine_config {
	unsigned worker_count;
	int cpus[ENGINE_WORKERS_MAX]; /* processor of each worker; -1: any */
	bool threads;		      /* false: the caller runs turns (simulation) */
};

/**
 * struct worker_outbox - Frames that go to one port in this burst
 * @port:  the port, set by bridge_deliver() for the rest of the burst: it may leave the table
 *         meanwhile; NULL when nothing was handed to it
 * @queue: the port's own, from its send() to its notify(): what it works on in this burst
 * @count: frames
 */
struct worker_outbox {
	struct port *port;
	void *queue;
	unsigned count;
	struct frame *frames[FRAME_BURST];
};

struct worker_counters {
	struct counter turns;  /* with work */
	struct counter frames; /* taken in */
	struct counter sleeps;
	struct counter busy_cycles;	     /* time-stamp counter, in turns with work */
	struct counter payload_copied_bytes; /* by mem_copy() */
};

/**
 * struct worker - One thread's world; touched by that thread only, but for counters
 * @now_ns: the clock, read at most once a turn
 * @pool:   packets and chunks for what this worker holds, copies and finishes
 */
struct worker {
	unsigned index;
	struct engine *engine;
	struct bridge *bridge;
	struct lr_pool *pool;
	uint64_t now_ns;
	struct source *source;	 /* of this burst */
	unsigned assigned_count; /* sources; main thread */
	struct frame_burst burst;
	unsigned touched_count;
	uint16_t touched[PORTS_MAX]; /* ports with something in their outbox */
	struct worker_outbox outbox[PORTS_MAX];
	struct worker_counters counters;
	void *bridge_private; /* flow cache and the like */
	struct worker_private *priv;
};

/**
 * worker_output() - Bridge: @f goes out by the port with index @port_index
 */
static inline void worker_output(struct worker *w, unsigned port_index, struct frame *f)
{
	struct worker_outbox *box = &w->outbox[port_index];

	if (box->count == 0)
		w->touched[w->touched_count++] = (uint16_t)port_index;
	box->frames[box->count++] = f;
}

/**
 * engine_new() - Workers, not yet running
 */
int engine_new(const struct engine_config *config, struct bridge *bridge,
	       struct engine **ret_engine);
int engine_start(struct engine *e);

/**
 * engine_free() - Stop the workers, free everything; sources are gone by then. NULL is fine
 */
void engine_free(struct engine *e);

unsigned engine_worker_count(const struct engine *e);
struct worker *engine_worker(struct engine *e, unsigned index);

/**
 * engine_attach() - Let a worker receive from @s from now on; main thread
 *
 * The worker with the fewest sources takes it; @s->worker tells which. A source that was attached
 * before goes back to its worker: what is lent never changes workers (L5).
 */
void engine_attach(struct engine *e, struct source *s);

/**
 * engine_detach() - When this returns no worker touches @s any more; main thread
 *
 */
void engine_detach(struct engine *e, struct source *s);

/**
 * engine_call() - Run @fn on a worker between two turns and wait for it; main thread
 */
void engine_call(struct engine *e, unsigned worker_index, void (*fn)(struct worker *w, void *arg),
		 void *arg);

/**
 * engine_quiesce() - Wait until every worker has begun a new turn or sleeps: what was unpublished
 * before is out of their sight; main thread
 */
void engine_quiesce(struct engine *e);

/**
 * engine_kick() - Wake a worker that sleeps; any thread
 */
void engine_kick(struct engine *e, unsigned worker_index);

/**
 * engine_call_guest() - Write a guest's call eventfd; a hostile one costs at most some ms; on @w
 */
void engine_call_guest(struct worker *w, int fd);

/**
 * engine_cycles_to_ns() - Time-stamp counter cycles as nanoseconds, by the rate seen since start
 */
uint64_t engine_cycles_to_ns(const struct engine *e, uint64_t cycles);

/**
 * engine_run_once() - Simulation: one turn of every worker, in the caller's thread
 *
 * Return: frames taken in
 */
unsigned engine_run_once(struct engine *e);

#endif
