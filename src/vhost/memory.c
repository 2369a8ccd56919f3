/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests about guest memory. Every change makes a new table: rings that run are stopped, which
 * drains what is lent (L11), and start again where their addresses still translate.
 */
#include "base/log.h"
#include "vhost/device.h"

static struct mem_region_config region_config(const struct vhost_wire_region *region)
{
	return (struct mem_region_config){
		.guest = region->guest,
		.bytes = region->bytes,
		.user = region->user,
		.offset = region->mmap_offset,
	};
}

static bool same_regions(const struct mem_table *a, const struct mem_table *b)
{
	if (!a || a->count != b->count)
		return false;
	for (uint32_t i = 0; i < a->count; i++)
		if (a->regions[i] != b->regions[i])
			return false;
	return true;
}

static bool all_mapped(const struct mem_table *table)
{
	for (uint32_t i = 0; i < table->count; i++)
		if (!table->regions[i]->host)
			return false;
	return true;
}

/* Takes @table. @err: what was said about a region that was left unmapped */
static void replace_table(struct vhost_device *d, struct mem_table *table, const struct errmsg *err)
{
	struct mem_table *old = d->mem;

	if (same_regions(old, table)) { /* sent again: nobody need notice */
		mem_table_put(table);
		return;
	}
	if (err->text[0])
		vhost_device_note(d, err->text);
	else if (all_mapped(table))
		vhost_device_note(d, NULL);
	vhost_rings_stop(d, false);
	d->mem = table;
	mem_table_put(old);
	vhost_rings_start(d);
}

enum vhost_verdict vhost_set_mem_table(struct vhost_device *d, struct vhost_message *m)
{
	const struct vhost_wire_table *wire = &m->payload.table;
	struct mem_region_config config[VHOST_FDS_MAX];
	struct mem_table *table;
	struct errmsg err;
	int error;

	if (wire->count > VHOST_FDS_MAX)
		return vhost_refuse(d, "SET_MEM_TABLE with %u regions, at most %u are possible",
				    wire->count, VHOST_FDS_MAX);
	if (m->header.payload_bytes < 8 + wire->count * sizeof(wire->regions[0]))
		return vhost_violation(d, "SET_MEM_TABLE with %u regions in %u bytes", wire->count,
				       m->header.payload_bytes);
	for (uint32_t i = 0; i < wire->count; i++)
		config[i] = region_config(&wire->regions[i]);
	error = mem_table_new(d->mem, config, m->fds, wire->count, d->config.bytes_max, &table,
			      &err);
	if (error)
		return vhost_refuse(d, "%s", err.text[0] ? err.text : strerror(-error));
	replace_table(d, table, &err);
	return VHOST_DONE;
}

enum vhost_verdict vhost_get_max_mem_slots(struct vhost_device *d, struct vhost_message *m)
{
	uint64_t slots = MEM_REGIONS_MAX;

	if (vhost_reply(d, m, &slots, sizeof(slots)))
		return vhost_violation(d, "it does not read our replies");
	return VHOST_DONE;
}

enum vhost_verdict vhost_add_mem_reg(struct vhost_device *d, struct vhost_message *m)
{
	struct mem_region_config config = region_config(&m->payload.one_region.region);
	struct mem_table *table;
	struct errmsg err;
	int error;

	error = mem_table_add(d->mem, &config, m->fds[0], d->config.bytes_max, &table, &err);
	if (error)
		return vhost_refuse(d, "%s", err.text[0] ? err.text : strerror(-error));
	replace_table(d, table, &err);
	return VHOST_DONE;
}

enum vhost_verdict vhost_rem_mem_reg(struct vhost_device *d, struct vhost_message *m)
{
	struct mem_region_config config = region_config(&m->payload.one_region.region);
	const struct errmsg nothing = {.text = ""};
	struct mem_table *table;
	int error;

	error = mem_table_remove(d->mem, &config, &table);
	if (error)
		return vhost_refuse(d, "REM_MEM_REG of guest address 0x%llx: %s",
				    (unsigned long long)config.guest, strerror(-error));
	replace_table(d, table, &nothing);
	return VHOST_DONE;
}
