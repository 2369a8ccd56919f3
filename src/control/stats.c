/* SPDX-License-Identifier: BSD-2-Clause */
/* Counters for people.
 *
 * Theory of operation
 *
 * A record per port holds three snapshots of its counters, each a sum over workers: where "zero"
 * lies (when the port was added, or at the last reset), and the last two samples, one second
 * apart, from which rates are computed. Counters have one writer each, a worker, and are read here
 * without locks: a sum is exact for each counter, while two counters of one answer may differ by
 * the frames of a turn. A worker's load is kept the same way. Main thread only.
 */
#include "control/stats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/util.h"

/* Counters that are told by name. */
#define PORT_COUNTERS(X)                                                                           \
	X(in_frames)                                                                               \
	X(in_bytes)                                                                                \
	X(out_frames)                                                                              \
	X(out_bytes)                                                                               \
	X(in_place_bytes)                                                                          \
	X(lent_frames)                                                                             \
	X(lent_bytes)                                                                              \
	X(completed)                                                                               \
	X(completed_old)                                                                           \
	X(calls)                                                                                   \
	X(kicks)

/* Sums over workers; nothing but uint64_t, so that it can be walked as an array. */
struct port_sum {
#define X(name) uint64_t name;
	PORT_COUNTERS(X)
#undef X
	uint64_t copied_frames[PORT_COPY_COUNT];
	uint64_t copied_bytes[PORT_COPY_COUNT];
	uint64_t hold_ns[PORT_HOLD_BUCKETS];
	uint64_t drops[LR_DROP_COUNT];
};

struct worker_sum {
	uint64_t turns;
	uint64_t frames;
	uint64_t sleeps;
	uint64_t busy_cycles;
	uint64_t payload_copied_bytes;
};

static_assert(sizeof(struct port_sum) % sizeof(uint64_t) == 0, "an array of uint64_t");

/* @at_ns is 0 for a snapshot that was never taken. */
struct port_sample {
	uint64_t at_ns;
	struct port_sum sum;
};

struct worker_sample {
	uint64_t at_ns;
	struct worker_sum sum;
};

struct port_record {
	const struct port *port;
	uint64_t hold_max_zero_ns; /* greatest that was seen when zero was set */
	struct port_sum zero;
	struct port_sample old;
	struct port_sample recent;
};

struct worker_record {
	struct worker_sum zero;
	struct worker_sample old;
	struct worker_sample recent;
};

struct control_stats {
	struct engine *engine;
	struct port_record *ports[PORTS_MAX];
	struct worker_record workers[ENGINE_WORKERS_MAX];
};

static void add_counters(uint64_t *to, const struct counter *from, size_t count)
{
	for (size_t i = 0; i < count; i++)
		to[i] += counter_get(&from[i]);
}

static void sum_port(const struct control_stats *s, const struct port *p, struct port_sum *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; i < engine_worker_count(s->engine); i++) {
		const struct port_counters *c = &p->counters[i];

#define X(name) ret->name += counter_get(&c->name);
		PORT_COUNTERS(X)
#undef X
		add_counters(ret->copied_frames, c->copied_frames, PORT_COPY_COUNT);
		add_counters(ret->copied_bytes, c->copied_bytes, PORT_COPY_COUNT);
		add_counters(ret->hold_ns, c->hold_ns, PORT_HOLD_BUCKETS);
		add_counters(ret->drops, c->drops, LR_DROP_COUNT);
	}
}

static uint64_t hold_max_ns(const struct control_stats *s, const struct port *p)
{
	uint64_t max = 0;

	for (unsigned i = 0; i < engine_worker_count(s->engine); i++) {
		uint64_t ns = counter_get(&p->counters[i].hold_max_ns);

		max = ns > max ? ns : max;
	}
	return max;
}

static void sum_worker(const struct control_stats *s, unsigned index, struct worker_sum *ret)
{
	const struct worker_counters *c = &engine_worker(s->engine, index)->counters;

	ret->turns = counter_get(&c->turns);
	ret->frames = counter_get(&c->frames);
	ret->sleeps = counter_get(&c->sleeps);
	ret->busy_cycles = counter_get(&c->busy_cycles);
	ret->payload_copied_bytes = counter_get(&c->payload_copied_bytes);
}

int control_stats_new(struct engine *engine, struct control_stats **ret_stats)
{
	struct control_stats *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->engine = engine;
	*ret_stats = s;
	return 0;
}

void control_stats_free(struct control_stats *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < PORTS_MAX; i++)
		free(s->ports[i]);
	free(s);
}

int control_stats_add(struct control_stats *s, const struct port *p)
{
	struct port_record *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	ASSERT(p->index < PORTS_MAX);
	ASSERT(!s->ports[p->index]);
	r->port = p;
	s->ports[p->index] = r;
	return 0;
}

void control_stats_remove(struct control_stats *s, const struct port *p)
{
	ASSERT(p->index < PORTS_MAX);
	free(s->ports[p->index]);
	s->ports[p->index] = NULL;
}

void control_stats_sample(struct control_stats *s, uint64_t now_ns)
{
	for (unsigned i = 0; i < PORTS_MAX; i++) {
		struct port_record *r = s->ports[i];

		if (!r)
			continue;
		r->old = r->recent;
		r->recent.at_ns = now_ns;
		sum_port(s, r->port, &r->recent.sum);
	}
	for (unsigned i = 0; i < engine_worker_count(s->engine); i++) {
		struct worker_record *r = &s->workers[i];

		r->old = r->recent;
		r->recent.at_ns = now_ns;
		sum_worker(s, i, &r->recent.sum);
	}
}

void control_stats_reset(struct control_stats *s)
{
	for (unsigned i = 0; i < PORTS_MAX; i++) {
		struct port_record *r = s->ports[i];

		if (!r)
			continue;
		sum_port(s, r->port, &r->zero);
		r->hold_max_zero_ns = hold_max_ns(s, r->port);
	}
	for (unsigned i = 0; i < engine_worker_count(s->engine); i++)
		sum_worker(s, i, &s->workers[i].zero);
}

static void set_integer(json_t *into, const char *key, uint64_t value)
{
	json_object_set_new(into, key, json_integer((json_int_t)value));
}

/* @to counts from zero, whatever the port counted before. */
static void sum_since_zero(const struct control_stats *s, const struct port_record *r,
			   struct port_sum *ret)
{
	uint64_t *words = (uint64_t *)ret;
	const uint64_t *zero = (const uint64_t *)&r->zero;

	sum_port(s, r->port, ret);
	for (size_t i = 0; i < sizeof(*ret) / sizeof(*words); i++)
		words[i] -= zero[i];
}

static uint64_t per_second(uint64_t from, uint64_t to, uint64_t ns)
{
	return (uint64_t)((double)(to - from) * (double)NS_PER_S / (double)ns);
}

static json_t *show_rates(const struct port_record *r)
{
	const struct port_sum *a = &r->old.sum, *b = &r->recent.sum;
	uint64_t ns = r->old.at_ns ? r->recent.at_ns - r->old.at_ns : 0;
	json_t *rates = json_object();

#define RATE(name) set_integer(rates, #name "_per_s", ns ? per_second(a->name, b->name, ns) : 0)
	RATE(in_frames);
	RATE(in_bytes);
	RATE(out_frames);
	RATE(out_bytes);
#undef RATE
	return rates;
}

static json_t *show_copied(const struct port_sum *sum)
{
	json_t *copied = json_object();

	for (unsigned i = 0; i < PORT_COPY_COUNT; i++)
		if (sum->copied_frames[i])
			json_object_set_new(copied, port_copy_reason_name((enum port_copy_reason)i),
					    json_pack("{s:I, s:I}", "frames",
						      (json_int_t)sum->copied_frames[i], "bytes",
						      (json_int_t)sum->copied_bytes[i]));
	return copied;
}

static json_t *show_drops(const struct port_sum *sum)
{
	json_t *drops = json_object();

	for (unsigned i = 0; i < LR_DROP_COUNT; i++)
		if (sum->drops[i])
			set_integer(drops, lr_drop_name(i), sum->drops[i]);
	return drops;
}

/* The upper border of the bucket in which the @percent-th of the values lies. */
static uint64_t percentile_ns(const struct port_sum *sum, uint64_t total, unsigned percent)
{
	uint64_t rank = (total * percent + 99) / 100;
	uint64_t seen = 0;

	for (unsigned i = 0; i < PORT_HOLD_BUCKETS; i++) {
		seen += sum->hold_ns[i];
		if (seen >= rank)
			return (2ull << i) - 1;
	}
	return 0;
}

static json_t *show_hold(const struct control_stats *s, const struct port_record *r,
			 const struct port_sum *sum)
{
	uint64_t max_ns = hold_max_ns(s, r->port);
	json_t *hold = json_object();
	uint64_t total = 0;

	for (unsigned i = 0; i < PORT_HOLD_BUCKETS; i++)
		total += sum->hold_ns[i];
	/* Nothing longer since zero was set: then the histogram's last bucket bounds it. */
	if (max_ns == r->hold_max_zero_ns)
		max_ns = min_u64(max_ns, total ? percentile_ns(sum, total, 100) : 0);
	set_integer(hold, "count", total);
	set_integer(hold, "p50", total ? min_u64(percentile_ns(sum, total, 50), max_ns) : 0);
	set_integer(hold, "p99", total ? min_u64(percentile_ns(sum, total, 99), max_ns) : 0);
	set_integer(hold, "max", max_ns);
	return hold;
}

void control_stats_port(const struct control_stats *s, const struct port *p, json_t *into)
{
	const struct port_record *r = s->ports[p->index];
	uint64_t copied_frames = 0, copied_bytes = 0, dropped = 0;
	json_t *counters = json_object();
	struct port_sum sum;

	ASSERT(r);
	ASSERT(r->port == p);
	sum_since_zero(s, r, &sum);
	for (unsigned i = 0; i < PORT_COPY_COUNT; i++) {
		copied_frames += sum.copied_frames[i];
		copied_bytes += sum.copied_bytes[i];
	}
	for (unsigned i = 0; i < LR_DROP_COUNT; i++)
		dropped += sum.drops[i];
#define X(name) set_integer(counters, #name, sum.name);
	PORT_COUNTERS(X)
#undef X
	set_integer(counters, "copied_frames", copied_frames);
	set_integer(counters, "copied_bytes", copied_bytes);
	set_integer(counters, "dropped", dropped);
	json_object_set_new(into, "counters", counters);
	json_object_set_new(into, "rates", show_rates(r));
	json_object_set_new(into, "drops", show_drops(&sum));
	json_object_set_new(into, "copied", show_copied(&sum));
	json_object_set_new(into, "hold_ns", show_hold(s, r, &sum));
}

json_t *control_stats_worker(const struct control_stats *s, unsigned index, int cpu)
{
	const struct worker_record *r = &s->workers[index];
	uint64_t ns = r->old.at_ns ? r->recent.at_ns - r->old.at_ns : 0;
	uint64_t busy_ns =
		engine_cycles_to_ns(s->engine, r->recent.sum.busy_cycles - r->old.sum.busy_cycles);
	json_t *w = json_object();
	struct worker_sum sum;
	uint64_t turns, frames;

	sum_worker(s, index, &sum);
	turns = sum.turns - r->zero.turns;
	frames = sum.frames - r->zero.frames;
	set_integer(w, "index", index);
	json_object_set_new(w, "cpu", json_integer(cpu));
	json_object_set_new(w, "busy_share", json_real(ns ? (double)busy_ns / (double)ns : 0.0));
	set_integer(w, "turns", turns);
	set_integer(w, "frames", frames);
	json_object_set_new(w, "frames_per_turn",
			    json_real(turns ? (double)frames / (double)turns : 0.0));
	set_integer(w, "sleeps", sum.sleeps - r->zero.sleeps);
	set_integer(w, "busy_cycles", sum.busy_cycles - r->zero.busy_cycles);
	set_integer(w, "busy_ns",
		    engine_cycles_to_ns(s->engine, sum.busy_cycles - r->zero.busy_cycles));
	set_integer(w, "payload_copied_bytes",
		    sum.payload_copied_bytes - r->zero.payload_copied_bytes);
	return w;
}
