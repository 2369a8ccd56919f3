/* SPDX-License-Identifier: BSD-2-Clause */
/* Counters for people: sums over workers, rates, and a zero that can be moved.
 *
 * Workers' counters are never written here: "stats reset" remembers what they stood at.
 */
#ifndef CONTROL_STATS_H
#define CONTROL_STATS_H

#include <jansson.h>
#include <stdint.h>

#include "engine/engine.h"
#include "port/port.h"

struct control_stats;

int control_stats_new(struct engine *engine, struct control_stats **ret_stats);
void control_stats_free(struct control_stats *s); /* NULL is fine */

/**
 * control_stats_add() - A port came: it counts from zero
 *
 * Return: 0, -ENOMEM
 */
int control_stats_add(struct control_stats *s, const struct port *p);
void control_stats_remove(struct control_stats *s, const struct port *p);

/**
 * control_stats_sample() - Once a second: what rates and busy shares are computed from
 */
void control_stats_sample(struct control_stats *s, uint64_t now_ns);

/**
 * control_stats_reset() - From now on everything counts from zero
 */
void control_stats_reset(struct control_stats *s);

/**
 * control_stats_port() - Add the members counters, rates, drops, copied, hold_ns to @into
 */
void control_stats_port(const struct control_stats *s, const struct port *p, json_t *into);

/**
 * control_stats_worker() - A new object: one worker's load
 * @cpu: which it was bound to, -1 for any
 */
json_t *control_stats_worker(const struct control_stats *s, unsigned index, int cpu);

#endif
