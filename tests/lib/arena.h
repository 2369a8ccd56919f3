/* SPDX-License-Identifier: BSD-2-Clause */
/* The arena: a real switch process, a polite pair of guests that never stops talking, and a port
 * for whoever misbehaves. What must hold around every attack is checked here. */
#ifndef ARENA_H
#define ARENA_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "guest/guest.h"

#define ARENA_VICTIM 9	 /* traffic number of the guest that attacks */
#define ARENA_NOBODY 200 /* and of whom it sends to: nobody is, so it goes to all */

/**
 * struct arena - @polite: 1 on port p0, 2 on port p1, driven by a thread; the port of attacks is v
 * @wrong: frames of it that came wrong, twice, late or never
 * @longest_gap_ns: longest turn of the polite pair, without waits for a processor
 */
struct arena {
	char folder[64];
	char socket[128]; /* of port v */
	pid_t switch_pid;
	struct guest polite[2];
	pthread_t thread;
	_Atomic bool stop;
	_Atomic uint64_t received;
	_Atomic uint64_t wrong;
	_Atomic int64_t longest_gap_ns;
	unsigned fds; /* of the switch, with nobody at v */
};

/* The binary is named by the environment: LASTREF. */
void arena_open(struct arena *a);
void arena_close(struct arena *a); /* SIGTERM: the switch must end well within 2 s */

/* A guest at v, ready to attack: negotiated and running. */
void arena_attacker(struct arena *a, struct guest *g, uint64_t features);
void arena_attacker_in(struct arena *a, struct guest *g, uint64_t features,
		       struct guest_memory_options memory);

/* What "port show v" says; the caller's. */
json_t *arena_port(struct arena *a);
/* Wait until v is in @state, at most 2 s. */
bool arena_wait_state(struct arena *a, const char *state);
/* Drops of v for @reason. */
long arena_drops(struct arena *a, const char *reason);

/**
 * arena_check() - After an attack, with its connection closed: the switch lives and holds no more
 * fds than before; the polite pair went on without a loss, a wrong byte, or a long pause; a new
 * guest at v gets traffic through within a second
 */
void arena_check(struct arena *a);

#endif
