/* SPDX-License-Identifier: BSD-2-Clause */
/* What the operator is told about a device. */
#include <stdio.h>

#include "vhost/device.h"

/* Names as QEMU's device properties have them, where there is one. */
static const char *const feature_names[64] = {
	[0] = "csum",
	[1] = "guest_csum",
	[2] = "ctrl_guest_offloads",
	[3] = "mtu",
	[5] = "mac",
	[7] = "guest_tso4",
	[8] = "guest_tso6",
	[9] = "guest_ecn",
	[10] = "guest_ufo",
	[11] = "host_tso4",
	[12] = "host_tso6",
	[13] = "host_ecn",
	[14] = "host_ufo",
	[15] = "mrg_rxbuf",
	[16] = "status",
	[17] = "ctrl_vq",
	[18] = "ctrl_rx",
	[19] = "ctrl_vlan",
	[21] = "guest_announce",
	[22] = "mq",
	[23] = "ctrl_mac_addr",
	[24] = "notify_on_empty",
	[26] = "log_all",
	[27] = "any_layout",
	[28] = "indirect_desc",
	[29] = "event_idx",
	[30] = "protocol_features",
	[32] = "version_1",
	[33] = "iommu_platform",
	[34] = "packed",
	[35] = "in_order",
	[36] = "order_platform",
	[54] = "guest_uso4",
	[55] = "guest_uso6",
	[56] = "host_uso",
};

static const char *const protocol_names[64] = {
	[0] = "mq",
	[2] = "rarp",
	[3] = "reply_ack",
	[4] = "mtu",
	[9] = "config",
	[13] = "reset_device",
	[15] = "configure_mem_slots",
	[16] = "status",
};

const char *vhost_feature_name(unsigned bit)
{
	return bit < ARRAY_SIZE(feature_names) ? feature_names[bit] : NULL;
}

uint64_t vhost_feature_find(const char *name, size_t name_bytes)
{
	for (unsigned bit = 0; bit < ARRAY_SIZE(feature_names); bit++) {
		const char *other = feature_names[bit];

		if (other && strlen(other) == name_bytes && memcmp(other, name, name_bytes) == 0)
			return 1ull << bit;
	}
	return 0;
}

static json_t *names_of(uint64_t bits, const char *const names[64])
{
	json_t *list = json_array();

	for (unsigned bit = 0; bit < 64; bit++) {
		char number[16];

		if (!(bits & (1ull << bit)))
			continue;
		snprintf(number, sizeof(number), "bit%u", bit);
		json_array_append_new(list, json_string(names[bit] ? names[bit] : number));
	}
	return list;
}

static json_t *show_ring(const struct vhost_ring *r, unsigned index)
{
	json_t *ring = json_object();

	json_object_set_new(ring, "index", json_integer(index));
	json_object_set_new(ring, "direction", json_string(index % 2 ? "transmit" : "receive"));
	json_object_set_new(ring, "size", json_integer(r->size));
	json_object_set_new(ring, "running", json_boolean(r->started));
	json_object_set_new(ring, "enabled", json_boolean(r->enabled));
	if (r->broken)
		json_object_set_new(ring, "broken", json_string(r->broken));
	return ring;
}

static json_t *show_rings(const struct vhost_device *d)
{
	json_t *rings = json_array();

	for (unsigned i = 0; i < d->ring_count; i++)
		if (d->rings[i].size)
			json_array_append_new(rings, show_ring(&d->rings[i], i));
	return rings;
}

static json_t *show_memory(const struct mem_table *table)
{
	json_t *regions = json_array();

	for (uint32_t i = 0; table && i < table->count; i++) {
		const struct mem_region *r = table->regions[i];
		json_t *region = json_object();

		json_object_set_new(region, "guest", json_integer((json_int_t)r->guest));
		json_object_set_new(region, "bytes", json_integer((json_int_t)r->bytes));
		json_object_set_new(region, "mapped", json_boolean(r->host != NULL));
		json_object_set_new(region, "truncated", json_boolean(r->broken));
		json_array_append_new(regions, region);
	}
	return regions;
}

static void count(json_t *into, const char *name, uint64_t value)
{
	json_object_set_new(into, name, json_integer((json_int_t)value));
}

static json_t *show_messages(const struct vhost_counters *c)
{
	json_t *messages = json_object(), *requests = json_object();

	for (uint32_t id = 0; id < VHOST_REQUEST_COUNT; id++)
		if (c->requests[id])
			count(requests, vhost_request_name(id), c->requests[id]);
	json_object_set_new(messages, "requests", requests);
	count(messages, "unknown", c->unknown);
	count(messages, "refused", c->refused);
	count(messages, "violations", c->violations);
	count(messages, "pauses", c->pauses);
	return messages;
}

void vhost_device_show(const struct vhost_device *d, json_t *into)
{
	const struct vhost_connection *c = &d->connection;

	if (c->fd >= 0) {
		json_t *peer = json_object();

		json_object_set_new(peer, "pid", json_integer(c->pid));
		json_object_set_new(peer, "uid", json_integer(c->uid));
		json_object_set_new(into, "peer", peer);
	}
	json_object_set_new(into, "features_offered", names_of(d->offered, feature_names));
	json_object_set_new(into, "features", names_of(d->features, feature_names));
	json_object_set_new(into, "protocol_features",
			    names_of(d->protocol_features, protocol_names));
	json_object_set_new(into, "rings", show_rings(d));
	json_object_set_new(into, "memory", show_memory(d->mem));
	json_object_set_new(into, "messages", show_messages(&d->counters));
	count(into, "connections", d->counters.connections);
	count(into, "turned_away", d->counters.turned_away);
	count(into, "rings_broken", d->counters.broken);
	if (d->note[0])
		json_object_set_new(into, "note", json_string(d->note));
}
