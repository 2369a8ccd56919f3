/* SPDX-License-Identifier: BSD-2-Clause */
/* Pools: every packet, head and copy chunk is allocated here, once, before traffic. */
#ifndef LASTREF_POOL_H
#define LASTREF_POOL_H

#include <lastref/ubuf.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lr_pool;

/**
 * struct lr_pool_config - How much a pool holds
 * @packet_count: packet objects, each with its private head
 * @chunk_count:  chunks for payload that is copied (orphan, copy, linearize)
 * @chunk_bytes:  size of a chunk, rounded up to cache lines of 64; 0 means 2048
 *
 * Memory: packet_count * lr_pool_packet_bytes() + chunk_count * (chunk_bytes + 64), rounded up to
 * pages; nothing is allocated later.
 */
struct lr_pool_config {
	uint32_t packet_count;
	uint32_t chunk_count;
	uint32_t chunk_bytes;
};

/**
 * lr_pool_new() - A pool with everything allocated and touched
 * @ret_pool: untouched on failure
 *
 * A pool belongs to one thread: its packets are made and freed there.
 *
 * Return: 0, -EINVAL, -ENOMEM
 */
LR_API int lr_pool_new(const struct lr_pool_config *config, struct lr_pool **ret_pool);

/**
 * lr_pool_free() - Give the memory back; asserts that everything is home (L13). NULL is fine
 */
LR_API void lr_pool_free(struct lr_pool *pool);

/**
 * lr_pool_packets_free() - Packets that can still be taken; any thread
 */
LR_API uint32_t lr_pool_packets_free(const struct lr_pool *pool);

/**
 * lr_pool_chunks_free() - Copy chunks that can still be taken; any thread
 */
LR_API uint32_t lr_pool_chunks_free(const struct lr_pool *pool);

/**
 * lr_pool_packet_bytes() - Size of one packet with its head
 */
LR_API size_t lr_pool_packet_bytes(void);

/**
 * lr_pool_fail_after() - Test hook: the (@n + 1)th take from now on fails once; -1 turns it off
 */
LR_API void lr_pool_fail_after(struct lr_pool *pool, int64_t n);

/**
 * lr_pool_verify() - Test hook: walk everything and assert that it adds up
 *
 * Free lists, the sums and marks of every live packet, the recounted references of every chunk.
 * VERIFY builds do it when a pool is freed. Owner's thread only.
 */
LR_API void lr_pool_verify(const struct lr_pool *pool);

/**
 * lr_pool_references() - Test hook: frags of this pool's packets that point into @ubuf, recounted
 */
LR_API uint32_t lr_pool_references(const struct lr_pool *pool, const struct lr_ubuf *ubuf);

/**
 * lr_pool_drops() - How many packets of this pool were dropped for @reason (enum lr_drop_reason);
 * any thread
 */
LR_API uint64_t lr_pool_drops(const struct lr_pool *pool, unsigned reason);

#ifdef __cplusplus
}
#endif

#endif
