/* SPDX-License-Identifier: BSD-2-Clause */
/* The bridge object: table of ports, settings, what "show" tells. Main thread, but for look-ups. */
#include "switch/bridge.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "switch/internal.h"

#define MAC_TEXT_BYTES 18
#define MOVES_LOG_NS   (10 * NS_PER_S) /* between two lines about moves */

int bridge_new(const struct bridge_config *config, struct bridge **ret_bridge)
{
	struct bridge *br = aligned_alloc(CACHE_LINE_BYTES, sizeof(*br));
	int err;

	if (!br)
		return -ENOMEM;
	memset(br, 0, sizeof(*br));
	atomic_store(&br->config.ageing_s, config->ageing_s ? config->ageing_s : BRIDGE_AGEING_S);
	atomic_store(&br->config.hold_limit_ns,
		     config->hold_limit_ns ? config->hold_limit_ns : BRIDGE_HOLD_LIMIT_NS);
	atomic_store(&br->config.zerocopy, config->zerocopy);
	br->config.hash_key = config->hash_key;
	err = fdb_init(&br->fdb, config->hash_key);
	if (err) {
		free(br);
		return err;
	}
	*ret_bridge = br;
	return 0;
}

void bridge_free(struct bridge *br)
{
	if (!br)
		return;
	for (unsigned i = 0; i < ENGINE_WORKERS_MAX; i++)
		ASSERT(!atomic_load(&br->workers[i]));
	for (unsigned i = 0; i < PORTS_MAX; i++)
		ASSERT(!port_at(br, i));
	fdb_fini(&br->fdb);
	free(br);
}

int bridge_worker_init(struct bridge *br, struct worker *w)
{
	struct bridge_worker *bw = aligned_alloc(CACHE_LINE_BYTES, sizeof(*bw));

	ASSERT(w->index < ENGINE_WORKERS_MAX);
	if (!bw)
		return -ENOMEM;
	memset(bw, 0, sizeof(*bw));
	/* Its pages are first touched when zero-copy is switched off. */
	bw->plain = malloc(FRAME_BURST * BRIDGE_PLAIN_BYTES);
	if (!bw->plain ||
	    getrandom(bw->flow_keys, sizeof(bw->flow_keys), 0) != sizeof(bw->flow_keys)) {
		free(bw->plain);
		free(bw);
		return -ENOMEM;
	}
	w->bridge_private = bw;
	atomic_store(&br->workers[w->index], bw);
	return 0;
}

void bridge_worker_fini(struct bridge *br, struct worker *w)
{
	struct bridge_worker *bw = w->bridge_private;

	if (!bw)
		return;
	ASSERT(bw->view_count == 0); /* L13 */
	atomic_store(&br->workers[w->index], NULL);
	w->bridge_private = NULL;
	free(bw->plain);
	free(bw);
}

struct port *bridge_port(const struct bridge *br, unsigned index)
{
	return index < PORTS_MAX ? port_at(br, index) : NULL;
}

struct port *bridge_port_find(const struct bridge *br, const char *name)
{
	for (unsigned i = 0; i < PORTS_MAX; i++) {
		struct port *p = port_at(br, i);

		if (p && !strcmp(p->name, name))
			return p;
	}
	return NULL;
}

/* Above the highest port there is. */
static void port_limit_update(struct bridge *br)
{
	unsigned limit = PORTS_MAX;

	while (limit > 0 && !port_at(br, limit - 1))
		limit--;
	atomic_store_explicit(&br->port_limit, limit, memory_order_release);
}

int bridge_port_add(struct bridge *br, struct port *p, struct errmsg *err)
{
	unsigned index = 0;

	if (bridge_port_find(br, p->name)) {
		errmsg_set(err, "port '%s' exists", p->name);
		return -EEXIST;
	}
	while (index < PORTS_MAX && port_at(br, index))
		index++;
	if (index == PORTS_MAX) {
		errmsg_set(err, "no more than %d ports", PORTS_MAX);
		return -ENOSPC;
	}
	ASSERT(p->counters);
	p->index = index;
	atomic_store_explicit(&br->ports[index], p, memory_order_release);
	port_limit_update(br);
	return 0;
}

void bridge_port_remove(struct bridge *br, struct port *p)
{
	ASSERT(p->index < PORTS_MAX);
	ASSERT(port_at(br, p->index) == p);
	atomic_store_explicit(&br->ports[p->index], NULL, memory_order_release);
	port_limit_update(br);
	fdb_flush(&br->fdb, (int)p->index, true);
}

/* Addresses that changed ports since the last line: one line now and then, however many. */
static void moves_tell(struct bridge *br, uint64_t now_ns)
{
	const struct port *from, *to;
	char mac[MAC_TEXT_BYTES];
	struct fdb_move move;
	uint64_t count;

	if (now_ns < br->moves_next_ns)
		return;
	count = fdb_take_move(&br->fdb, &br->moves_told, &move);
	if (count == 0)
		return;
	br->moves_next_ns = now_ns + MOVES_LOG_NS;
	from = port_at(br, move.from);
	to = port_at(br, move.to);
	fdb_mac_text(move.mac, mac, sizeof(mac));
	log_info("fdb: %" PRIu64 " move%s, the last: %s from port %s to %s", count,
		 count == 1 ? "" : "s", mac, from ? from->name : "(deleted)",
		 to ? to->name : "(deleted)");
}

void bridge_age(struct bridge *br, uint64_t now_ns)
{
	fdb_age(&br->fdb, (uint32_t)(now_ns / NS_PER_S), br->config.ageing_s);
	moves_tell(br, now_ns);
}

static int mac_check(uint64_t mac, struct errmsg *err)
{
	char text[MAC_TEXT_BYTES];

	if (mac != 0 && !fdb_mac_is_multicast(mac))
		return 0;
	fdb_mac_text(mac, text, sizeof(text));
	return errmsg_set(err, "%s is no station's address", text);
}

int bridge_fdb_add(struct bridge *br, const uint8_t mac[6], struct port *p, struct errmsg *err)
{
	char text[MAC_TEXT_BYTES];
	uint64_t n = fdb_mac(mac);
	int ret = mac_check(n, err);

	if (ret)
		return ret;
	ret = fdb_set_static(&br->fdb, n, p->index);
	fdb_mac_text(n, text, sizeof(text));
	if (ret == -EEXIST)
		errmsg_set(err, "%s is static at another port; 'fdb del' it first", text);
	else if (ret)
		errmsg_set(err, "no room for %s among %d entries", text, BRIDGE_FDB_ENTRIES);
	return ret;
}

int bridge_fdb_del(struct bridge *br, const uint8_t mac[6], struct errmsg *err)
{
	char text[MAC_TEXT_BYTES];
	int ret = fdb_remove(&br->fdb, fdb_mac(mac));

	if (ret) {
		fdb_mac_text(fdb_mac(mac), text, sizeof(text));
		errmsg_set(err, "%s is not in the fdb", text);
	}
	return ret;
}

void bridge_fdb_flush(struct bridge *br, struct port *p)
{
	fdb_flush(&br->fdb, p ? (int)p->index : -1, false);
}

void bridge_fdb_learn(struct bridge *br, const uint8_t mac[6], struct port *p)
{
	uint64_t n = fdb_mac(mac);

	if (n == 0 || fdb_mac_is_multicast(n))
		return;
	fdb_learn(&br->fdb, n, p->index, &br->ports[p->index],
		  (uint32_t)(clock_now_ns() / NS_PER_S), true);
}

uint32_t bridge_fdb_count(const struct bridge *br, const struct port *p)
{
	return atomic_load_explicit(&br->fdb.port_count[p->index], memory_order_relaxed);
}

json_t *bridge_fdb_show(const struct bridge *br)
{
	uint32_t now_s = (uint32_t)(clock_now_ns() / NS_PER_S);
	json_t *list = json_array();

	for (uint32_t slot = 0; slot < FDB_SLOTS; slot++) {
		uint64_t word = fdb_word(&br->fdb, slot);
		const struct port *p = port_at(br, word & FDB_PORT_MASK);
		char mac[MAC_TEXT_BYTES];
		json_t *entry;

		if (!(word & FDB_USED) || !p)
			continue;
		fdb_mac_text(word >> FDB_MAC_SHIFT, mac, sizeof(mac));
		entry = json_pack("{s:s, s:s, s:s}", "mac", mac, "port", p->name, "type",
				  word & FDB_STATIC ? "static" : "learnt");
		if (!(word & FDB_STATIC)) {
			int32_t age_s = (int32_t)(now_s - fdb_seen_s(&br->fdb, slot));

			json_object_set_new(entry, "age_s", json_integer(age_s < 0 ? 0 : age_s));
		}
		json_array_append_new(list, entry);
	}
	return list;
}

void bridge_totals(const struct bridge *br, struct bridge_totals *ret_totals)
{
	*ret_totals = (struct bridge_totals){0};
	for (unsigned i = 0; i < ENGINE_WORKERS_MAX; i++) {
		const struct bridge_worker *bw = atomic_load(&br->workers[i]);

		if (!bw)
			continue;
		ret_totals->flooded += counter_get(&bw->counters.flooded);
		ret_totals->flood_copies += counter_get(&bw->counters.flood_copies);
		ret_totals->segmented += counter_get(&bw->counters.segmented);
		ret_totals->segment_copies += counter_get(&bw->counters.segment_copies);
	}
}

static json_t *fdb_summary(const struct fdb *fdb)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "learnt",
			 (json_int_t)atomic_load(&fdb->learnt_count), "static",
			 (json_int_t)atomic_load(&fdb->static_count), "limit",
			 (json_int_t)fdb->limit, "moves", (json_int_t)atomic_load(&fdb->moves),
			 "moves_refused", (json_int_t)atomic_load(&fdb->moves_refused), "evicted",
			 (json_int_t)atomic_load(&fdb->evicted), "refused",
			 (json_int_t)atomic_load(&fdb->refused));
}

json_t *bridge_show(const struct bridge *br)
{
	struct bridge_totals totals;
	json_t *show, *settings = json_object();
	unsigned ports = 0;

	for (unsigned i = 0; i < PORTS_MAX; i++)
		ports += !!port_at(br, i);
	for (const struct bridge_key *key = bridge_keys(); key->name; key++) {
		char value[32];

		if (bridge_get(br, key->name, value, sizeof(value)) == 0)
			json_object_set_new(settings, key->name, json_string(value));
	}
	bridge_totals(br, &totals);
	show = json_pack("{s:i, s:o, s:o}", "ports", ports, "settings", settings, "fdb",
			 fdb_summary(&br->fdb));
	json_object_set_new(show, "flooded", json_integer((json_int_t)totals.flooded));
	json_object_set_new(show, "flood_copies", json_integer((json_int_t)totals.flood_copies));
	json_object_set_new(show, "segmented", json_integer((json_int_t)totals.segmented));
	json_object_set_new(show, "segment_copies",
			    json_integer((json_int_t)totals.segment_copies));
	return show;
}

const struct bridge_config *bridge_config(const struct bridge *br)
{
	return &br->config;
}
