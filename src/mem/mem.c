/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables of regions, and translation through them. See mem.h for the theory of operation. */
#include "mem/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "mem/region.h"

static struct mem_table *table_new(void)
{
	struct mem_table *table = calloc(1, sizeof(*table));

	if (table)
		atomic_store(&table->refs, 1);
	return table;
}

struct mem_table *mem_table_get(struct mem_table *table)
{
	uint32_t old = atomic_fetch_add_explicit(&table->refs, 1, memory_order_relaxed);

	ASSERT(old > 0);
	return table;
}

void mem_table_put(struct mem_table *table)
{
	uint32_t old;

	if (!table)
		return;
	old = atomic_fetch_sub_explicit(&table->refs, 1, memory_order_release);
	ASSERT(old > 0);
	if (old > 1)
		return;
	atomic_thread_fence(memory_order_acquire);
	for (uint32_t i = 0; i < table->count; i++)
		mem_region_unpin(table->regions[i]);
	free(table);
}

static bool overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a < b + b_bytes && b < a + a_bytes; /* neither sum wraps: checked by region.c */
}

/* Takes the caller's reference of @region, on failure too. */
static int insert(struct mem_table *table, struct mem_region *region, uint64_t bytes_max,
		  struct errmsg *err)
{
	uint64_t sum = region->host ? region->bytes : 0;
	uint32_t at = table->count;
	int error = -EINVAL;

	if (table->count == MEM_REGIONS_MAX) {
		errmsg_set(err, "more than %u memory regions", MEM_REGIONS_MAX);
		goto refuse;
	}
	for (uint32_t i = 0; i < table->count; i++) {
		const struct mem_region *other = table->regions[i];

		if (overlap(region->guest, region->bytes, other->guest, other->bytes) ||
		    overlap(region->user, region->bytes, other->user, other->bytes)) {
			errmsg_set(err,
				   "memory regions at guest addresses 0x%" PRIx64 " and 0x%" PRIx64
				   " overlap",
				   other->guest, region->guest);
			goto refuse;
		}
		sum += other->host ? other->bytes : 0;
	}
	if (bytes_max && sum > bytes_max) {
		errmsg_set(err,
			   "%" PRIu64 " bytes of guest memory, at most %" PRIu64 " may be mapped",
			   sum, bytes_max);
		goto refuse;
	}
	for (; at > 0 && table->regions[at - 1]->guest > region->guest; at--)
		table->regions[at] = table->regions[at - 1];
	table->regions[at] = region; /* sorted by guest address: search() relies on it */
	table->count++;
	return 0;
refuse:
	mem_region_unpin(region);
	return error;
}

/* Share the region of @old that shows the same bytes, else map it. */
static int take(const struct mem_table *old, const struct mem_region_config *config, int fd,
		struct mem_region **ret_region, struct errmsg *err)
{
	for (uint32_t i = 0; old && i < old->count; i++) {
		if (mem_region_matches(old->regions[i], config, fd)) {
			mem_region_pin(old->regions[i]);
			*ret_region = old->regions[i];
			return 0;
		}
	}
	return mem_region_map(config, fd, ret_region, err);
}

int mem_table_new(const struct mem_table *old, const struct mem_region_config *config,
		  const int *fds, uint32_t count, uint64_t bytes_max, struct mem_table **ret_table,
		  struct errmsg *err)
{
	struct mem_table *table = table_new();
	int error = 0;

	err->text[0] = '\0';
	if (!table)
		return -ENOMEM;
	for (uint32_t i = 0; i < count && !error; i++) {
		struct mem_region *region;

		error = take(old, &config[i], fds[i], &region, err);
		if (!error)
			error = insert(table, region, bytes_max, err);
	}
	if (error) {
		mem_table_put(table);
		return error;
	}
	*ret_table = table;
	return 0;
}

/* A table with the same regions, each with one reference more. */
static struct mem_table *table_copy(const struct mem_table *old, const struct mem_region *but)
{
	struct mem_table *table = table_new();

	for (uint32_t i = 0; table && old && i < old->count; i++) {
		if (old->regions[i] == but)
			continue;
		mem_region_pin(old->regions[i]);
		table->regions[table->count++] = old->regions[i];
	}
	return table;
}

int mem_table_add(const struct mem_table *old, const struct mem_region_config *config, int fd,
		  uint64_t bytes_max, struct mem_table **ret_table, struct errmsg *err)
{
	struct mem_table *table = table_copy(old, NULL);
	struct mem_region *region;
	int error;

	err->text[0] = '\0';
	if (!table)
		return -ENOMEM;
	error = mem_region_map(config, fd, &region, err);
	if (!error)
		error = insert(table, region, bytes_max, err);
	if (error) {
		mem_table_put(table);
		return error;
	}
	*ret_table = table;
	return 0;
}

int mem_table_remove(const struct mem_table *old, const struct mem_region_config *config,
		     struct mem_table **ret_table)
{
	for (uint32_t i = 0; old && i < old->count; i++) {
		const struct mem_region *region = old->regions[i];

		if (region->guest != config->guest || region->user != config->user ||
		    region->bytes != config->bytes)
			continue;
		*ret_table = table_copy(old, region);
		return *ret_table ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

int mem_table_from_memory(void *host, uint64_t guest, uint64_t bytes, struct mem_table **ret_table)
{
	struct mem_table *table = table_new();

	if (!table)
		return -ENOMEM;
	table->regions[0] = mem_region_from_memory(host, guest, bytes);
	if (!table->regions[0]) {
		free(table);
		return -ENOMEM;
	}
	table->count = 1;
	*ret_table = table;
	return 0;
}

bool mem_table_is_broken(const struct mem_table *table)
{
	if (likely(!mem_fault_any()))
		return false;
	for (uint32_t i = 0; i < table->count; i++)
		if (atomic_load_explicit(&table->regions[i]->broken, memory_order_acquire))
			return true;
	return false;
}

void *mem_user_to_host(const struct mem_table *table, uint64_t user, uint64_t bytes)
{
	for (uint32_t i = 0; table && i < table->count; i++) {
		const struct mem_region *region = table->regions[i];
		uint64_t offset = user - region->user;

		if (region->host && offset < region->bytes && bytes <= region->bytes - offset)
			return region->host + mem_clamp(offset, region->bytes);
	}
	return NULL;
}

/* The region that @address lies in: the last one that begins at or below it. */
static struct mem_region *search(const struct mem_table *table, uint64_t address)
{
	uint32_t low = 0, high = table->count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (table->regions[middle]->guest <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? table->regions[low - 1] : NULL;
}

uint8_t *mem_translate_part(const struct mem_table *table, struct mem_cache *cache, gpa address,
			    uint32_t bytes, uint32_t *ret_bytes)
{
	uint64_t offset = address.addr - cache->guest;

	if (offset >= cache->bytes) {
		struct mem_region *region = search(table, address.addr);

		if (!region || !region->host)
			return NULL;
		offset = address.addr - region->guest;
		if (offset >= region->bytes)
			return NULL;
		*cache = (struct mem_cache){.guest = region->guest,
					    .bytes = region->bytes,
					    .host = region->host,
					    .region = region};
	}
	*ret_bytes = (uint32_t)min_u64(bytes, cache->bytes - offset);
	return cache->host + mem_clamp(offset, cache->bytes);
}

uint8_t *mem_translate_slow(const struct mem_table *table, struct mem_cache *cache, gpa address,
			    uint32_t bytes)
{
	uint32_t here = 0;
	uint8_t *host = mem_translate_part(table, cache, address, bytes, &here);

	return here == bytes ? host : NULL;
}
