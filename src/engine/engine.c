/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine: workers made, started, given sources, spoken to and stopped. Main thread. */
#include "engine/private.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "engine/cycles.h"
#include "switch/bridge.h"

/* What one worker may hold, copy or finish at one time; the memory formula in lastref(8). */
#define WORKER_PACKETS 1024
#define WORKER_CHUNKS  512

static void worker_free(struct worker *w)
{
	if (!w)
		return;
	if (w->priv) {
		ASSERT(w->priv->source_count == 0);
		ASSERT(list_is_empty(&w->priv->holds)); /* L13 */
		bridge_worker_fini(w->bridge, w);
		wait_fini(w);
		free(w->priv);
	}
	lr_pool_free(w->pool); /* L13 */
	free(w);
}

static int worker_new(struct engine *e, unsigned index, struct worker **ret_worker)
{
	struct lr_pool_config pool = {.packet_count = WORKER_PACKETS, .chunk_count = WORKER_CHUNKS};
	struct worker *w = aligned_alloc(CACHE_LINE_BYTES, sizeof(*w));
	int err = -ENOMEM;

	if (!w)
		return -ENOMEM;
	memset(w, 0, sizeof(*w));
	w->index = index;
	w->engine = e;
	w->bridge = e->bridge;
	w->priv = calloc(1, sizeof(*w->priv));
	if (!w->priv)
		goto fail;
	w->priv->cpu = e->config.cpus[index];
	w->priv->epoll_fd = -1;
	w->priv->wake_fd = -1;
	list_init(&w->priv->holds);
	err = wait_init(w);
	if (!err)
		err = lr_pool_new(&pool, &w->pool);
	if (!err)
		err = bridge_worker_init(e->bridge, w);
	if (err)
		goto fail;
	*ret_worker = w;
	return 0;
fail:
	worker_free(w);
	return err;
}

int engine_new(const struct engine_config *config, struct bridge *bridge,
	       struct engine **ret_engine)
{
	struct engine *e;

	if (config->worker_count == 0 || config->worker_count > ENGINE_WORKERS_MAX)
		return -EINVAL;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->config = *config;
	e->bridge = bridge;
	e->start_ns = clock_now_ns();
	e->start_cycles = cycles_now();
	for (unsigned i = 0; i < config->worker_count; i++) {
		int err = worker_new(e, i, &e->workers[i]);

		if (err) {
			engine_free(e);
			return err;
		}
	}
	*ret_engine = e;
	return 0;
}

int engine_start(struct engine *e)
{
	sigset_t all, before;
	int err;

	ASSERT(e->config.threads);
	err = watchdog_start(e);
	if (err)
		return err;
	e->running = true;
	/* Signals are the main thread's, but for the watchdog's. */
	sigfillset(&all);
	sigdelset(&all, SIGURG);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGABRT);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (unsigned i = 0; i < e->config.worker_count && !err; i++) {
		struct worker *w = e->workers[i];

		w->priv->started = true; /* the thread looks at it */
		err = -pthread_create(&w->priv->thread, NULL, worker_thread, w);
		if (err)
			w->priv->started = false;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

static void engine_stop(struct engine *e)
{
	for (unsigned i = 0; i < e->config.worker_count; i++) {
		struct worker *w = e->workers[i];

		if (!w || !w->priv->started)
			continue;
		atomic_store(&w->priv->stop, true);
		wait_wake(w);
		pthread_join(w->priv->thread, NULL);
		w->priv->started = false;
	}
	if (e->running)
		watchdog_stop(e);
	e->running = false;
}

void engine_free(struct engine *e)
{
	if (!e)
		return;
	engine_stop(e);
	for (unsigned i = 0; i < e->config.worker_count; i++)
		worker_free(e->workers[i]);
	free(e);
}

unsigned engine_worker_count(const struct engine *e)
{
	return e->config.worker_count;
}

struct worker *engine_worker(struct engine *e, unsigned index)
{
	ASSERT(index < e->config.worker_count);
	return e->workers[index];
}

uint64_t engine_cycles_to_ns(const struct engine *e, uint64_t cycles)
{
	uint64_t passed_cycles = cycles_now() - e->start_cycles;
	uint64_t passed_ns = clock_now_ns() - e->start_ns;

	if (passed_cycles == 0)
		return 0;
	return (uint64_t)((double)cycles * (double)passed_ns / (double)passed_cycles);
}

void engine_call(struct engine *e, unsigned worker_index, void (*fn)(struct worker *w, void *arg),
		 void *arg)
{
	struct worker *w = engine_worker(e, worker_index);
	struct worker_call call = {.fn = fn, .arg = arg};

	if (!w->priv->started) {
		fn(w, arg);
		return;
	}
	sem_init(&call.done, 0, 0);
	ASSERT(!atomic_load(&w->priv->call));
	atomic_store_explicit(&w->priv->call, &call, memory_order_release);
	wait_wake(w);
	while (sem_wait(&call.done))
		ASSERT(errno == EINTR);
	sem_destroy(&call.done);
}

void engine_quiesce(struct engine *e)
{
	const struct timespec pause = {.tv_nsec = 5000};
	uint64_t turns[ENGINE_WORKERS_MAX];

	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned i = 0; i < e->config.worker_count; i++)
		turns[i] = atomic_load_explicit(&e->workers[i]->priv->turn, memory_order_acquire);
	for (unsigned i = 0; i < e->config.worker_count; i++) {
		struct worker_private *priv = e->workers[i]->priv;

		while (priv->started &&
		       !atomic_load_explicit(&priv->asleep, memory_order_seq_cst) &&
		       atomic_load_explicit(&priv->turn, memory_order_acquire) == turns[i])
			nanosleep(&pause, NULL);
	}
}

void engine_kick(struct engine *e, unsigned worker_index)
{
	struct worker *w = engine_worker(e, worker_index);

	atomic_store(&w->priv->kicked, true); /* it may be between its last look and its sleep */
	wait_wake(w);
}

unsigned engine_run_once(struct engine *e)
{
	unsigned taken = 0;

	ASSERT(!e->config.threads);
	for (unsigned i = 0; i < e->config.worker_count; i++)
		taken += worker_turn(e->workers[i]);
	return taken;
}

static void attach_on_worker(struct worker *w, void *arg)
{
	struct source *s = arg;

	ASSERT(w->priv->source_count < ENGINE_SOURCES_MAX);
	w->priv->sources[w->priv->source_count++] = s;
	wait_add(w, s);
	s->ops->disarm(s);
}

static void detach_on_worker(struct worker *w, void *arg)
{
	struct worker_private *priv = w->priv;
	struct source *s = arg;
	unsigned i = 0;

	while (i < priv->source_count && priv->sources[i] != s)
		i++;
	ASSERT(i < priv->source_count);
	priv->sources[i] = priv->sources[--priv->source_count];
	wait_remove(w, s);
}

static struct worker *least_loaded(struct engine *e)
{
	struct worker *best = e->workers[0];

	for (unsigned i = 1; i < e->config.worker_count; i++)
		if (e->workers[i]->assigned_count < best->assigned_count)
			best = e->workers[i];
	return best;
}

void engine_attach(struct engine *e, struct source *s)
{
	if (!s->worker)
		s->worker = least_loaded(e);
	s->worker->assigned_count++;
	engine_call(e, s->worker->index, attach_on_worker, s);
}

void engine_detach(struct engine *e, struct source *s)
{
	ASSERT(s->worker);
	s->worker->assigned_count--;
	engine_call(e, s->worker->index, detach_on_worker, s);
}
