/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the files of mem/: one region's mapping, and the faults in it. */
#ifndef MEM_REGION_H
#define MEM_REGION_H

#include "mem/mem.h"

/**
 * mem_region_map() - A region with one reference; mapped when its file may be
 * @fd: stays the caller's
 *
 * Addresses that wrap, an empty region, a file that is too short or read-only are refused. A file
 * of another kind than tmpfs or hugetlbfs is left unmapped: @err says so, and it is a success.
 */
int mem_region_map(const struct mem_region_config *config, int fd, struct mem_region **ret_region,
		   struct errmsg *err);

/**
 * mem_region_from_memory() - A region over memory that is not ours to unmap
 */
struct mem_region *mem_region_from_memory(void *host, uint64_t guest, uint64_t bytes);

/**
 * mem_region_matches() - Does @region show just what @config and @fd say, and is it whole?
 */
bool mem_region_matches(const struct mem_region *region, const struct mem_region_config *config,
			int fd);

/**
 * mem_fault_watch() - From now on a fault in @region's mapping breaks the region
 *
 * Return: 0, -ENOMEM when there are too many
 */
int mem_fault_watch(struct mem_region *region);
void mem_fault_unwatch(struct mem_region *region);

/**
 * mem_fault_any() - Is any region of this process broken? One load
 */
bool mem_fault_any(void);

#endif
