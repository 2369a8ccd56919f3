/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest's memory: shared files mapped here, seen by the guest at its own addresses. */
#ifndef GUEST_MEMORY_H
#define GUEST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endian.h"
#include "base/errmsg.h"

#define GUEST_REGIONS_MAX 64

/**
 * struct guest_memory_options - What the memory looks like
 * @bytes:        all of it; rounded up to a whole page per region
 * @region_count: slices that the front-end announces one by one; 0 means 1
 * @gpa:          guest address of the first byte
 * @hole_bytes:   guest addresses skipped between two regions: 0 makes neighbours that touch in
 *                guest addresses, as a PC's RAM above and below 4 GiB would not
 * @uva:          user address of the first byte as told to the back-end; 0: the real pointer. A
 *                back-end may only compare such addresses, so a made-up one must work as well
 * @file_per_region: each region is a file of its own, mapped apart from the others; else slices of
 *                one file at growing offsets, mapped in one piece
 * @unsealable:   files that nobody can seal: they can be cut short at any time
 * @anonymous:    no files at all: for a switch in the same process (fd is -1)
 */
struct guest_memory_options {
	uint64_t bytes;
	unsigned region_count;
	gpa gpa;
	uint64_t hole_bytes;
	uint64_t uva;
	bool file_per_region;
	bool unsealable;
	bool anonymous;
};

/**
 * struct guest_region - One slice
 * @gpa:          first guest address
 * @uva:          first user address, as told to the back-end
 * @bytes:        size
 * @offset_bytes: where it begins in its file
 * @fd:           the file, -1 when there is none; owned by the memory
 * @host:         where it is mapped here
 * @used_bytes:   handed out by the allocator
 */
struct guest_region {
	gpa gpa;
	uint64_t uva;
	uint64_t bytes;
	uint64_t offset_bytes;
	int fd;
	uint8_t *host;
	uint64_t used_bytes;
};

struct guest_memory {
	unsigned region_count;
	struct guest_region regions[GUEST_REGIONS_MAX];
};

/**
 * struct guest_block - Guest memory that was handed out: both names of its first byte
 */
struct guest_block {
	gpa gpa;
	uint8_t *host;
};

/**
 * guest_memory_init() - Make and map the memory, zeroed
 *
 * Return: 0, or negative errno with @err set and nothing left behind
 */
int guest_memory_init(struct guest_memory *m, const struct guest_memory_options *options,
		      struct errmsg *err);

/**
 * guest_memory_fini() - Unmap and close. Harmless on a zeroed or finished memory
 */
void guest_memory_fini(struct guest_memory *m);

/**
 * guest_memory_alloc() - Take @bytes from the first region that has them; never given back singly
 * @align_bytes: power of two; of the guest address
 * @ret_block:   untouched on failure
 *
 * A block never spans two regions. Return: 0, -ENOMEM
 */
int guest_memory_alloc(struct guest_memory *m, uint64_t bytes, uint64_t align_bytes,
		       struct guest_block *ret_block);

/**
 * guest_memory_alloc_in() - The same from region @region_index only
 */
int guest_memory_alloc_in(struct guest_memory *m, unsigned region_index, uint64_t bytes,
			  uint64_t align_bytes, struct guest_block *ret_block);

/**
 * guest_memory_at() - Where @bytes from @address on are mapped
 *
 * Return: NULL when they are not all there, or not in one piece
 */
uint8_t *guest_memory_at(const struct guest_memory *m, gpa address, uint64_t bytes);

/**
 * guest_memory_uva() - The user address that stands for @address, 0 when it isn't mapped
 */
uint64_t guest_memory_uva(const struct guest_memory *m, gpa address);

/**
 * struct guest_slab - Blocks of one size, taken and given back in any order
 * @block_bytes: size of each
 * @count:       how many there are
 * @free_count:  how many are at hand; free[] is a stack of them
 */
struct guest_slab {
	uint32_t block_bytes;
	uint32_t count;
	uint32_t free_count;
	struct guest_block *blocks;
	uint32_t *free;
};

/**
 * guest_slab_init() - @count blocks of @block_bytes, each aligned to @align_bytes, spread over the
 * regions in turn
 *
 * Return: 0, -ENOMEM with nothing left behind but used up guest memory
 */
int guest_slab_init(struct guest_slab *s, struct guest_memory *m, uint32_t count,
		    uint32_t block_bytes, uint32_t align_bytes);

/**
 * guest_slab_fini() - Forget the blocks. Harmless on a zeroed slab
 */
void guest_slab_fini(struct guest_slab *s);

/**
 * guest_slab_take() - One block's index in blocks[], or -1
 */
static inline int64_t guest_slab_take(struct guest_slab *s)
{
	return s->free_count ? (int64_t)s->free[--s->free_count] : -1;
}

/**
 * guest_slab_give() - The block is free again
 */
static inline void guest_slab_give(struct guest_slab *s, uint32_t index)
{
	s->free[s->free_count++] = index;
}

/**
 * guest_poison() - Overwrite a buffer that came back with a pattern that names @generation
 *
 * Whoever still reads the buffer now sees poison: that is how a completion that came too early
 * shows at the receiver.
 */
void guest_poison(void *buffer, size_t bytes, uint32_t generation);

/**
 * guest_poison_find() - Look for poison anywhere in @buffer
 * @ret_generation: whose; may be NULL; untouched when there is none
 *
 * Return: whether at least eight bytes of it are there
 */
bool guest_poison_find(const void *buffer, size_t bytes, uint32_t *ret_generation);

#endif
