/* SPDX-License-Identifier: BSD-2-Clause */
/* One region of guest memory: what is checked before its file is mapped, and the mapping.
 *
 * Theory of operation
 *
 * Only the part of the file that belongs to the region is mapped, from an aligned offset on: the
 * front-end's mmap_offset may be large. The length of the file is looked at first, because mmap()
 * beyond the end succeeds and faults later; a SHRINK seal is tried so that it stays true; whoever
 * cannot be sealed may still truncate, which fault.c catches.
 *
 * Pages of hugetlb regions are populated here, within a bound of time: their first touch costs too
 * much for a worker's turn. Large unmaps go in slices, so that page faults of others get through.
 */
#include "mem/region.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define UNMAP_SLICE_BYTES    (1ull << 30) /* a multiple of every huge page */
#define POPULATE_SLICE_BYTES (64ull << 20)
#define POPULATE_NS_MAX	     (100 * NS_PER_MS)

/* Addresses above are never mapped by anybody: keeps sums from wrapping. */
#define REGION_BYTES_MAX (1ull << 46)

static _Atomic uint32_t regions_mapped;
static _Atomic uint64_t bytes_mapped;

uint32_t mem_regions_mapped(void)
{
	return atomic_load(&regions_mapped);
}

uint64_t mem_bytes_mapped(void)
{
	return atomic_load(&bytes_mapped);
}

static struct mem_region *region_new(const struct mem_region_config *config)
{
	struct mem_region *region = calloc(1, sizeof(*region));

	if (!region)
		return NULL;
	region->guest = config->guest;
	region->bytes = config->bytes;
	region->user = config->user;
	region->offset = config->offset;
	atomic_store(&region->refs, 1);
	return region;
}

static void count_mapped(const struct mem_region *region)
{
	atomic_fetch_add(&regions_mapped, 1);
	atomic_fetch_add(&bytes_mapped, region->bytes);
}

static void unmap(struct mem_region *region)
{
	if (region->map) {
		uint64_t at = region->map_bytes;

		mem_fault_unwatch(region);
		while (at > 0) {
			uint64_t slice = (at - 1) % UNMAP_SLICE_BYTES + 1;

			at -= slice;
			munmap((uint8_t *)region->map + at, slice);
		}
	}
	if (region->host) {
		atomic_fetch_sub(&regions_mapped, 1);
		atomic_fetch_sub(&bytes_mapped, region->bytes);
	}
	free(region);
}

void mem_region_pin(struct mem_region *region)
{
	uint32_t old = atomic_fetch_add_explicit(&region->refs, 1, memory_order_relaxed);

	ASSERT(old > 0);
	ASSERT(old < UINT32_MAX / 2);
}

void mem_region_unpin(struct mem_region *region)
{
	uint32_t old = atomic_fetch_sub_explicit(&region->refs, 1, memory_order_release);

	ASSERT(old > 0);
	if (old > 1)
		return;
	atomic_thread_fence(memory_order_acquire);
	unmap(region); /* L11: nobody points into it any more */
}

static int check_addresses(const struct mem_region_config *config, struct errmsg *err)
{
	if (config->bytes == 0 || config->bytes > REGION_BYTES_MAX) {
		errmsg_set(err,
			   "memory region at guest address 0x%" PRIx64 ": size 0x%" PRIx64
			   " is not possible",
			   config->guest, config->bytes);
		return -EINVAL;
	}
	if (config->guest > UINT64_MAX - config->bytes ||
	    config->user > UINT64_MAX - config->bytes ||
	    config->offset > (uint64_t)INT64_MAX - config->bytes) {
		errmsg_set(err,
			   "memory region at guest address 0x%" PRIx64 ": size 0x%" PRIx64
			   " runs over the end of the address space",
			   config->guest, config->bytes);
		return -EINVAL;
	}
	return 0;
}

/* Files whose pages stay where they are and cannot be slow. 0: not one of them. */
static uint64_t file_alignment(int fd, const struct stat *st)
{
	struct statfs fs;

	if (!S_ISREG(st->st_mode) || fstatfs(fd, &fs) < 0)
		return 0;
	if (fs.f_type == TMPFS_MAGIC)
		return (uint64_t)sysconf(_SC_PAGESIZE);
	if (fs.f_type == HUGETLBFS_MAGIC && fs.f_bsize > 0 && !(fs.f_bsize & (fs.f_bsize - 1)))
		return (uint64_t)fs.f_bsize;
	return 0;
}

static int check_file(const struct mem_region_config *config, int fd, const struct stat *st,
		      struct errmsg *err)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || (flags & O_ACCMODE) != O_RDWR) {
		errmsg_set(err, "memory region at guest address 0x%" PRIx64 ": file is read-only",
			   config->guest);
		return -EINVAL;
	}
	if ((uint64_t)st->st_size < config->offset + config->bytes) {
		errmsg_set(err,
			   "memory region at guest address 0x%" PRIx64 ": file has %" PRIu64
			   " bytes, %" PRIu64 " are needed",
			   config->guest, (uint64_t)st->st_size, config->offset + config->bytes);
		return -EINVAL;
	}
	return 0;
}

static void populate(struct mem_region *region)
{
	uint64_t until = clock_now_ns() + POPULATE_NS_MAX;
	uint64_t at = 0;

	while (at < region->map_bytes) {
		uint64_t slice = min_u64(region->map_bytes - at, POPULATE_SLICE_BYTES);

		if (madvise((uint8_t *)region->map + at, slice, MADV_POPULATE_WRITE) < 0)
			return; /* not there yet, or no page left: the first touch will tell */
		at += slice;
		if (clock_now_ns() > until)
			return;
	}
}

static int map_file(struct mem_region *region, int fd, uint64_t alignment, struct errmsg *err)
{
	uint64_t from = region->offset & ~(alignment - 1);
	uint64_t skip = region->offset - from;
	uint64_t bytes = (skip + region->bytes + alignment - 1) & ~(alignment - 1);
	int error;

	region->map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
			   (off_t)from);
	if (region->map == MAP_FAILED) {
		error = -errno;
		region->map = NULL;
		errmsg_set(err,
			   "memory region at guest address 0x%" PRIx64 ": cannot map %" PRIu64
			   " bytes: %m",
			   region->guest, bytes);
		return error;
	}
	region->map_bytes = bytes;
	error = mem_fault_watch(region);
	if (error) {
		munmap(region->map, bytes);
		region->map = NULL;
		errmsg_set(err, "too many memory regions in the whole switch");
		return error;
	}
	region->host = (uint8_t *)region->map + skip;
	count_mapped(region);
	madvise(region->map, bytes, MADV_DONTDUMP);
	madvise(region->map, bytes, MADV_DONTFORK);
	return 0;
}

int mem_region_map(const struct mem_region_config *config, int fd, struct mem_region **ret_region,
		   struct errmsg *err)
{
	struct mem_region *region;
	uint64_t alignment;
	struct stat st;
	int error;

	error = check_addresses(config, err);
	if (error)
		return error;
	if (fstat(fd, &st) < 0) {
		error = -errno;
		errmsg_set(err, "memory region at guest address 0x%" PRIx64 ": no file: %m",
			   config->guest);
		return error;
	}
	alignment = file_alignment(fd, &st);
	if (alignment) {
		error = check_file(config, fd, &st, err);
		if (error)
			return error;
	}
	region = region_new(config);
	if (!region)
		return -ENOMEM;
	region->device = st.st_dev;
	region->inode = st.st_ino;
	if (!alignment) {
		errmsg_set(
			err,
			"memory region at guest address 0x%" PRIx64
			" is no tmpfs or hugetlbfs file: left unmapped, frames in it are dropped",
			config->guest);
		*ret_region = region;
		return 0;
	}
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK); /* whoever refuses meets the handler of faults */
	error = map_file(region, fd, alignment, err);
	if (error) {
		free(region);
		return error;
	}
	if (alignment > (uint64_t)sysconf(_SC_PAGESIZE))
		populate(region);
	*ret_region = region;
	return 0;
}

struct mem_region *mem_region_from_memory(void *host, uint64_t guest, uint64_t bytes)
{
	struct mem_region_config config = {.guest = guest, .bytes = bytes, .user = guest};
	struct mem_region *region = region_new(&config);

	if (!region)
		return NULL;
	region->host = host;
	count_mapped(region);
	return region;
}

bool mem_region_matches(const struct mem_region *region, const struct mem_region_config *config,
			int fd)
{
	struct stat st;

	return region->guest == config->guest && region->bytes == config->bytes &&
	       region->user == config->user && region->offset == config->offset && region->map &&
	       !atomic_load(&region->broken) && fstat(fd, &st) == 0 &&
	       region->device == st.st_dev && region->inode == st.st_ino;
}
