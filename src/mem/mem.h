/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest memory: the table of mapped regions, and the only door to guest bytes.
 *
 * Theory of operation
 *
 * A table is an immutable set of regions. A front-end's message makes a new table that shares the
 * regions that stay; rings that run are stopped, given the new table and started again. A region
 * is counted: by every table it stands in and by every ubuf that points into it (a pin). The last
 * one unmaps it (L11). Regions and tables are made and changed by the main thread; pins are taken
 * and dropped by workers.
 *
 * A region whose file is truncated under us raises SIGBUS at the next touch: the handler maps
 * zeros over the region and marks it broken. Whoever copied re-checks mem_table_is_broken() before
 * publishing, and the port breaks.
 */
#ifndef MEM_MEM_H
#define MEM_MEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/endian.h"
#include "base/errmsg.h"
#include "base/util.h"

#define MEM_REGIONS_MAX 64

/**
 * struct mem_region - One mapped piece of guest memory
 * @guest:     first guest-physical address
 * @bytes:     length
 * @user:      first address in the front-end's own address space (ring addresses are told in it)
 * @host:      our mapping of the first byte; NULL when the file cannot be used (descriptors into
 *             it drop their frame, a ring in it is refused)
 * @map:       what was mapped, from file offset 0 or an aligned part of it
 * @map_bytes: its length
 * @device:    identity of the file
 * @inode:     identity of the file
 * @offset:    of the region in the file
 * @refs:      tables and ubufs that point here
 * @broken:    the file was truncated: zeros were mapped over it
 */
struct mem_region {
	uint64_t guest;
	uint64_t bytes;
	uint64_t user;
	uint8_t *host;
	void *map;
	size_t map_bytes;
	uint64_t device;
	uint64_t inode;
	uint64_t offset;
	_Atomic uint32_t refs;
	_Atomic bool broken;
};

/**
 * struct mem_table - The memory of one front-end at one time; immutable but for @refs
 */
struct mem_table {
	_Atomic uint32_t refs;
	uint32_t count;
	struct mem_region *regions[MEM_REGIONS_MAX];
};

/**
 * struct mem_cache - The region a ring translated through last: a private copy of its borders
 *
 * Zeroed means empty. Valid as long as the table that filled it.
 */
struct mem_cache {
	uint64_t guest;
	uint64_t bytes;
	uint8_t *host;
	struct mem_region *region;
};

/* What a front-end says about a region (vhost-user memory region description). */
struct mem_region_config {
	uint64_t guest;
	uint64_t bytes;
	uint64_t user;
	uint64_t offset;
};

/**
 * mem_init() - Install the SIGBUS handler; once, before any thread
 */
int mem_init(void);

/**
 * mem_table_new() - A table with @count regions (@count may be 0)
 * @old: the table that it replaces, or NULL: regions that are in both keep their mapping
 * @fds: one per region; stay the caller's
 * @bytes_max: cap on mapped bytes, 0 for none
 *
 * Checks each region: no wrap, no overlap in guest or user addresses, file long enough and
 * writable (fstat before mmap), a file that may be mapped (tmpfs, hugetlbfs; else left unmapped
 * with a line in @err and success). Main thread.
 *
 * Return: 0; -EINVAL, -ENOMEM, ... with @err set and nothing mapped
 */
int mem_table_new(const struct mem_table *old, const struct mem_region_config *config,
		  const int *fds, uint32_t count, uint64_t bytes_max, struct mem_table **ret_table,
		  struct errmsg *err);

/**
 * mem_table_add() - A new table: @old (may be NULL) and one region more
 */
int mem_table_add(const struct mem_table *old, const struct mem_region_config *config, int fd,
		  uint64_t bytes_max, struct mem_table **ret_table, struct errmsg *err);

/**
 * mem_table_remove() - A new table: @old without the region that matches guest, user and bytes
 *
 * Return: 0, -ENOENT
 */
int mem_table_remove(const struct mem_table *old, const struct mem_region_config *config,
		     struct mem_table **ret_table);

struct mem_table *mem_table_get(struct mem_table *table);
void mem_table_put(struct mem_table *table); /* NULL is fine */

/**
 * mem_table_from_memory() - A table over memory of this process, for tests and simulation
 * @host: @bytes of it, standing at guest address and user address @guest
 */
int mem_table_from_memory(void *host, uint64_t guest, uint64_t bytes, struct mem_table **ret_table);

/**
 * mem_region_pin() - A ubuf points into @region: it stays mapped until mem_region_unpin() (L11)
 */
void mem_region_pin(struct mem_region *region);
void mem_region_unpin(struct mem_region *region);

/**
 * mem_user_to_host() - Translate a ring address: @bytes at @user within one region, else NULL
 */
void *mem_user_to_host(const struct mem_table *table, uint64_t user, uint64_t bytes);

/**
 * mem_table_is_broken() - Some region of it was truncated since
 */
bool mem_table_is_broken(const struct mem_table *table);

/* Number of regions mapped now, in the whole process, and their bytes: for leak checks and show. */
uint32_t mem_regions_mapped(void);
uint64_t mem_bytes_mapped(void);

/**
 * mem_clamp() - @index, or 0 when it is not below @size, without a branch
 *
 * Behind the check itself, for guest-chosen indexes into our arrays and mappings: a processor that
 * runs ahead of the check reads nothing else (Spectre, variant 1). Both below 2^63.
 */
static inline uint64_t mem_clamp(uint64_t index, uint64_t size)
{
	uint64_t mask = 0 - (~(index | (size - 1 - index)) >> 63);

	__asm__("" : "+r"(mask)); /* or the compiler sees that the check made it known */
	return index & mask;
}

/* The slow half of mem_translate(): search all regions, refill the cache. */
uint8_t *mem_translate_slow(const struct mem_table *table, struct mem_cache *cache, gpa address,
			    uint32_t bytes);

/**
 * mem_translate() - Our pointer to @bytes (> 0) at @address, NULL unless they lie in one region
 *
 * Bytes that cross into a region adjacent in guest addresses: see mem_translate_part().
 */
static inline uint8_t *mem_translate(const struct mem_table *table, struct mem_cache *cache,
				     gpa address, uint32_t bytes)
{
	uint64_t offset = address.addr - cache->guest;

	if (likely(offset < cache->bytes && bytes <= cache->bytes - offset))
		return cache->host + mem_clamp(offset, cache->bytes);
	return mem_translate_slow(table, cache, address, bytes);
}

/**
 * mem_translate_part() - As mem_translate(), but says how many of @bytes are contiguous here
 * @ret_bytes: 1..@bytes; untouched on failure
 *
 * For a descriptor that spans regions: call again for the rest.
 */
uint8_t *mem_translate_part(const struct mem_table *table, struct mem_cache *cache, gpa address,
			    uint32_t bytes, uint32_t *ret_bytes);

/* Loads and stores of shared words: exactly one access each. */
static inline uint16_t mem_load16(const le16 *p)
{
	return le16toh(__atomic_load_n(&p->raw, __ATOMIC_RELAXED));
}

static inline uint64_t mem_load64(const le64 *p)
{
	return le64toh(__atomic_load_n(&p->raw, __ATOMIC_RELAXED));
}

static inline uint16_t mem_load16_acquire(const le16 *p)
{
	return le16toh(__atomic_load_n(&p->raw, __ATOMIC_ACQUIRE));
}

static inline void mem_store16(le16 *p, uint16_t x)
{
	__atomic_store_n(&p->raw, htole16(x), __ATOMIC_RELAXED);
}

static inline void mem_store32(le32 *p, uint32_t x)
{
	__atomic_store_n(&p->raw, htole32(x), __ATOMIC_RELAXED);
}

static inline void mem_store16_release(le16 *p, uint16_t x)
{
	__atomic_store_n(&p->raw, htole16(x), __ATOMIC_RELEASE);
}

static inline void mem_store64(le64 *p, uint64_t x)
{
	__atomic_store_n(&p->raw, htole64(x), __ATOMIC_RELAXED);
}

/* Payload bytes that this thread copied with the helpers below: what "copies per byte" counts. */
extern __thread uint64_t mem_copied_bytes;

/**
 * mem_copy() - Copy payload: guest to guest, guest to private or private to guest
 *
 * The one implementation is chosen at start by what the processor has.
 */
void mem_copy(void *to, const void *from, size_t bytes);

/* Copy of at most 128 bytes by overlapping moves: heads and small frames; not counted. */
static inline void mem_copy_head(void *to, const void *from, size_t bytes);

#include "mem/copy.h"

#endif
