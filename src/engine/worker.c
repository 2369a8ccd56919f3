/* SPDX-License-Identifier: BSD-2-Clause */
/* The turn: receive, switch, send, publish. Read this first.
 *
 * Theory of operation
 *
 * A worker goes round its sources. Each gives it a burst of frames that lie where the sender put
 * them; the bridge lists them per output port; each of these ports delivers, then publishes; then
 * the source publishes what nobody holds. One fence behind all these stores, then every ring is
 * asked whether its driver wants an interrupt. A busy turn of vm ports makes no system call, takes
 * one lock per receiving ring and allocates nothing.
 *
 * Between turns a worker looks at its mailbox (engine_call()) and at the deadlines of what is held.
 * With nothing to do for WORKER_SPIN_NS it asks its sources for wake-ups, looks once more, and
 * sleeps until an fd or the earliest deadline.
 */
#include "engine/private.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "engine/cycles.h"
#include "mem/mem.h"
#include "switch/bridge.h"

#define CLOCK_EVERY_TURNS 16 /* turns between two looks at the clock */
#define STREAM_FRAMES	  8  /* a burst of as many: a stream, more are under way */
#define STREAM_PAUSES	  16 /* in an idle turn behind such a burst */

/* Behind the fence: whatever was published may now be called for. */
static void notify_all(struct worker *w, struct source *s)
{
	for (unsigned i = 0; i < w->touched_count; i++) {
		struct worker_outbox *box = &w->outbox[w->touched[i]];

		box->count = 0;
		if (box->port && box->port->ops->notify)
			box->port->ops->notify(box->port, w);
	}
	w->touched_count = 0;
	if (s->ops->notify)
		s->ops->notify(s, w);
}

/* One burst of one source, all the way. Return: chains taken in */
static unsigned burst_run(struct worker *w, struct source *s)
{
	unsigned taken;

	ASSERT(w->touched_count == 0); /* L1: nothing of the burst before is left */
	w->source = s;
	w->burst.count = 0;
	w->burst.segment_count = 0;
	taken = s->ops->recv(s, w);
	if (taken == 0)
		return 0;
	if (w->burst.count) {
		bridge_input(w->bridge, w, s->port);
		bridge_deliver(w->bridge, w);
	}
	s->ops->publish(s, w);
	atomic_thread_fence(memory_order_seq_cst);
	notify_all(w, s);
	return taken;
}

static void mailbox_run(struct worker *w)
{
	struct worker_call *call = atomic_load_explicit(&w->priv->call, memory_order_acquire);

	if (likely(!call))
		return;
	atomic_store_explicit(&w->priv->call, NULL, memory_order_relaxed);
	call->fn(w, call->arg);
	sem_post(&call->done);
}

/* A look at the clock costs as much as an idle turn: a frame that arrives meanwhile would wait. */
static void clock_update(struct worker *w, uint64_t turn)
{
	if (turn % CLOCK_EVERY_TURNS == 0 || !list_is_empty(&w->priv->holds) ||
	    !w->engine->config.threads)
		w->now_ns = clock_now_ns();
}

/* An idle turn of a stream: every look at a ring takes a cache line from a driver that is about to
 * write to it, and a sibling thread's time. A moment later there is more to take at once. Frames
 * that come one by one are looked for without pause. */
static void stream_pause(unsigned last_taken)
{
	if (last_taken < STREAM_FRAMES)
		return;
	for (unsigned i = 0; i < STREAM_PAUSES; i++)
		cycles_pause();
}

unsigned worker_turn(struct worker *w)
{
	struct worker_private *priv = w->priv;
	uint64_t begin = priv->last_tick, now;
	/* A full fence: what was unpublished before is not seen in this turn (engine_quiesce()). */
	uint64_t turn = atomic_fetch_add(&priv->turn, 1);
	unsigned taken = 0;

	mailbox_run(w);
	for (unsigned i = 0; i < priv->source_count; i++) {
		if (++priv->next_source >= priv->source_count)
			priv->next_source = 0;
		taken += burst_run(w, priv->sources[priv->next_source]);
	}
	if (taken)
		priv->last_taken = taken;
	else
		stream_pause(priv->last_taken);
	now = cycles_now();
	priv->last_tick = now;
	clock_update(w, turn);
	if (!list_is_empty(&priv->holds))
		hold_expire(w);
	if (taken) {
		counter_add(&w->counters.turns, 1);
		counter_add(&w->counters.frames, taken);
		counter_add(&w->counters.busy_cycles, now - begin);
		counter_add(&w->counters.payload_copied_bytes, mem_copied_bytes);
		mem_copied_bytes = 0;
		priv->last_work_ns = w->now_ns;
	}
	return taken;
}

static void pin_to_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

void *worker_thread(void *arg)
{
	struct worker *w = arg;
	struct worker_private *priv = w->priv;
	char name[16];

	snprintf(name, sizeof(name), "lr-worker%u", w->index);
	pthread_setname_np(pthread_self(), name);
	if (priv->cpu >= 0)
		pin_to_cpu(priv->cpu);
	w->now_ns = clock_now_ns();
	priv->last_work_ns = w->now_ns;
	priv->last_tick = cycles_now();
	watchdog_worker_awake(w);
	while (!atomic_load_explicit(&priv->stop, memory_order_relaxed)) {
		worker_turn(w);
		if (w->now_ns - priv->last_work_ns > WORKER_SPIN_NS) {
			wait_sleep(w);
			w->now_ns = clock_now_ns();
			priv->last_work_ns = w->now_ns;
			priv->last_tick = cycles_now();
		}
	}
	watchdog_worker_asleep(w);
	return NULL;
}
