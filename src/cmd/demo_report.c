/* SPDX-License-Identifier: BSD-2-Clause */
/* The demo's results: collected from the guests, printed as a table or as JSON. */
#include <jansson.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/util.h"
#include "cmd/demo.h"

void demo_collect(struct demo_run *run, struct demo_result *ret)
{
	ret->returned_once = true;
	for (unsigned i = 0; i < DEMO_GUESTS; i++) {
		const struct guest *g = &run->guests[i].guest;
		const char *fault = guest_fault(g);

		ret->sent += g->stats.sent;
		ret->returned += g->stats.returned;
		ret->duplicated += g->stats.duplicated;
		ret->reordered += g->stats.reordered;
		ret->corrupted += g->stats.bad + g->stats.other;
		if (fault)
			ret->fault = fault;
		if (fault || g->stats.returned != g->stats.sent)
			ret->returned_once = false;
		for (unsigned k = 0; k < DEMO_GUESTS; k++)
			if (k != i)
				ret->lost += guest_missing(g, &run->guests[k].guest);
		histogram_merge(&ret->away, &g->away);
	}
}

bool demo_result_is_clean(const struct demo_result *r)
{
	return r->sent && r->returned_once && !r->lost && !r->duplicated && !r->reordered &&
	       !r->corrupted;
}

static double per_second(uint64_t n, uint64_t ns)
{
	return ns ? (double)n * (double)NS_PER_S / (double)ns : 0;
}

static double ratio(uint64_t a, uint64_t b)
{
	return b ? (double)a / (double)b : 0;
}

/* A row: its name, and a cell for each mode. */
struct row {
	const char *name;
	void (*cell)(const struct demo_result *r, char *buffer, size_t buffer_bytes);
};

#define CELL(name) static void name(const struct demo_result *r, char *buffer, size_t buffer_bytes)
#define PRINT(...) snprintf(buffer, buffer_bytes, __VA_ARGS__)
#define U64(x)	   ((unsigned long long)(x))

CELL(cell_frames)
{
	PRINT("%llu", U64(r->sent));
}

CELL(cell_delivered)
{
	PRINT("%llu", U64(r->unicast.delivered_frames + r->flood.delivered_frames));
}

CELL(cell_bytes)
{
	PRINT("%.3f GB", (double)(r->unicast.delivered_bytes + r->flood.delivered_bytes) / 1e9);
}

CELL(cell_copies_unicast)
{
	PRINT("%.2f", ratio(r->unicast.counts.copied_bytes, r->unicast.delivered_bytes));
}

CELL(cell_copies_flood)
{
	PRINT("%.2f", ratio(r->flood.counts.copied_bytes, r->flood.delivered_bytes));
}

CELL(cell_in_place)
{
	PRINT("%.3f GB",
	      (double)(r->unicast.counts.in_place_bytes + r->flood.counts.in_place_bytes) / 1e9);
}

CELL(cell_held)
{
	PRINT("%llu", U64(r->unicast.counts.held_frames + r->flood.counts.held_frames));
}

CELL(cell_returned)
{
	PRINT("%llu", U64(r->returned));
}

CELL(cell_once)
{
	PRINT("%s", r->returned_once ? "yes" : "NO");
}

CELL(cell_wrong)
{
	PRINT("%llu / %llu / %llu / %llu", U64(r->lost), U64(r->duplicated), U64(r->reordered),
	      U64(r->corrupted));
}

CELL(cell_away)
{
	PRINT("%.0f / %.0f / %.0f us", (double)histogram_percentile(&r->away, 50) / 1e3,
	      (double)histogram_percentile(&r->away, 99) / 1e3, (double)r->away.max_ns / 1e3);
}

CELL(cell_unicast)
{
	PRINT("%.2f Mpps, %.2f Gbit/s",
	      per_second(r->unicast.delivered_frames, r->unicast.ns) / 1e6,
	      per_second(r->unicast.delivered_bytes * 8, r->unicast.ns) / 1e9);
}

CELL(cell_flood)
{
	PRINT("%.2f Mpps, %.2f Gbit/s", per_second(r->flood.delivered_frames, r->flood.ns) / 1e6,
	      per_second(r->flood.delivered_bytes * 8, r->flood.ns) / 1e9);
}

CELL(cell_busy)
{
	PRINT("%.0f ns", ratio(r->unicast.counts.busy_ns, r->unicast.counts.frames));
}

static const struct row rows[] = {
	{"frames sent", cell_frames},
	{"frames delivered", cell_delivered},
	{"bytes delivered", cell_bytes},
	{"copies per byte, unicast", cell_copies_unicast},
	{"copies per byte, flood to two", cell_copies_flood},
	{"bytes used where they lay", cell_in_place},
	{"buffers kept beyond their turn", cell_held},
	{"buffers returned", cell_returned},
	{"each exactly once", cell_once},
	{"buffer away, p50 / p99 / max", cell_away},
	{"lost / doubled / out of order / corrupted", cell_wrong},
	{"unicast delivered", cell_unicast},
	{"flood delivered", cell_flood},
	{"switch busy per unicast frame", cell_busy},
};

void demo_print_table(const struct demo_result *results, unsigned count)
{
	printf("\n%-42s", "");
	for (unsigned i = 0; i < count; i++)
		printf("%26s", results[i].name);
	printf("\n");
	for (unsigned k = 0; k < ARRAY_SIZE(rows); k++) {
		printf("%-42s", rows[k].name);
		for (unsigned i = 0; i < count; i++) {
			char cell[64];

			rows[k].cell(&results[i], cell, sizeof(cell));
			printf("%26s", cell);
		}
		printf("\n");
	}
	printf("\nCopies are counted in the switch's copy helpers: one must be made, from guest "
	       "to\n"
	       "guest; copying mode makes another at the entrance. Not counted: the private "
	       "snapshot\n"
	       "of each frame's first 128 bytes, by which it is decided where the frame goes. The\n"
	       "guests write, check and overwrite every byte, on the same processors as the "
	       "switch.\n");
	for (unsigned i = 0; i < count; i++)
		if (results[i].fault)
			printf("%s: a guest's ring saw: %s\n", results[i].name, results[i].fault);
}

static json_t *part_json(const struct demo_part *p)
{
	return json_pack("{s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "seconds",
			 (double)p->ns / (double)NS_PER_S, "frames", (json_int_t)p->frames, "bytes",
			 (json_int_t)p->bytes, "delivered_frames", (json_int_t)p->delivered_frames,
			 "delivered_bytes", (json_int_t)p->delivered_bytes, "copied_bytes",
			 (json_int_t)p->counts.copied_bytes, "in_place_bytes",
			 (json_int_t)p->counts.in_place_bytes, "lent_frames",
			 (json_int_t)p->counts.held_frames, "drops", (json_int_t)p->counts.drops,
			 "busy_ns", (json_int_t)p->counts.busy_ns, "copies_per_byte",
			 ratio(p->counts.copied_bytes, p->delivered_bytes));
}

static json_t *result_json(const struct demo_result *r)
{
	return json_pack(
		"{s:s, s:o, s:o, s:I, s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s*}",
		"mode", r->name, "unicast", part_json(&r->unicast), "flood", part_json(&r->flood),
		"sent", (json_int_t)r->sent, "returned", (json_int_t)r->returned, "returned_once",
		r->returned_once, "lost", (json_int_t)r->lost, "duplicated",
		(json_int_t)r->duplicated, "reordered", (json_int_t)r->reordered, "corrupted",
		(json_int_t)r->corrupted, "away_p50_ns",
		(json_int_t)histogram_percentile(&r->away, 50), "away_p99_ns",
		(json_int_t)histogram_percentile(&r->away, 99), "away_max_ns",
		(json_int_t)r->away.max_ns, "clean", demo_result_is_clean(r), "fault", r->fault);
}

void demo_print_json(const struct demo_result *results, unsigned count)
{
	json_t *modes = json_array(), *all;
	bool clean = true;

	for (unsigned i = 0; i < count; i++) {
		json_array_append_new(modes, result_json(&results[i]));
		clean = clean && demo_result_is_clean(&results[i]);
	}
	all = json_pack("{s:b, s:o}", "clean", clean, "modes", modes);
	json_dumpf(all, stdout, JSON_INDENT(2));
	printf("\n");
	json_decref(all);
}
