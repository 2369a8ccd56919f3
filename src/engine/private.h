/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of engine/ share. */
#ifndef ENGINE_PRIVATE_H
#define ENGINE_PRIVATE_H

#include <pthread.h>
#include <semaphore.h>

#include "engine/engine.h"
#include "engine/hold.h"

#define ENGINE_SOURCES_MAX 1024 /* of one worker */
#define WORKER_SPIN_NS	   (60 * NS_PER_US)

/* Something that the main thread wants done on a worker's thread. */
struct worker_call {
	void (*fn)(struct worker *w, void *arg);
	void *arg;
	sem_t done;
};

/**
 * struct worker_private - The engine's side of a worker
 * @call:     posted by the main thread, taken by the worker between turns
 * @turn:     grows with every turn, idle ones too
 * @asleep:   in epoll_wait: touches nothing until it has said otherwise
 * @kicked:   by engine_kick(), since the sources were last asked before a sleep
 * @stop:     end the thread
 * @calling_since_ns: writing to a guest's eventfd since then; 0: not
 * @holds:    queues of held packets that must keep the hold limit
 */
struct worker_private {
	pthread_t thread;
	bool started;
	int cpu;
	int epoll_fd;
	int wake_fd;
	_Atomic(struct worker_call *) call;
	_Atomic uint64_t turn;
	_Atomic bool asleep;
	_Atomic bool kicked;
	_Atomic bool stop;
	_Atomic uint64_t calling_since_ns;
	struct source *sources[ENGINE_SOURCES_MAX];
	unsigned source_count;
	unsigned next_source;
	struct list holds;
	uint64_t last_work_ns;
	uint64_t last_tick;
	unsigned last_taken; /* in the last turn with work */
};

struct engine {
	struct engine_config config;
	struct bridge *bridge;
	struct worker *workers[ENGINE_WORKERS_MAX];
	uint64_t start_ns;
	uint64_t start_cycles;
	bool running;
	pthread_t watchdog;
	_Atomic unsigned awake_count;
	_Atomic bool watchdog_stop;
};

/* worker.c: the turn. */
unsigned worker_turn(struct worker *w);
void *worker_thread(void *arg);

/* wait.c: how a worker sleeps and is woken. */
int wait_init(struct worker *w);
void wait_fini(struct worker *w);
void wait_add(struct worker *w, struct source *s);
void wait_remove(struct worker *w, struct source *s);
void wait_sleep(struct worker *w);
void wait_wake(struct worker *w);

/* watchdog.c: frees a worker that a hostile eventfd holds. */
int watchdog_start(struct engine *e);
void watchdog_stop(struct engine *e);
void watchdog_worker_awake(struct worker *w);
void watchdog_worker_asleep(struct worker *w);

/* hold.c */
uint64_t hold_expire(struct worker *w);

#endif
