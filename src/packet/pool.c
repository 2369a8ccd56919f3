/* SPDX-License-Identifier: BSD-2-Clause */
/* Pools: packets and copy chunks in one allocation, two free lists. */
#include <lastref/pool.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/asan.h"
#include "base/counter.h"
#include "packet/internal.h"

/*
 * Theory of operation
 *
 * One allocation, touched at creation: this structure, then the packet slots, then the
 * chunks. Free ones hang in two last-in-first-out lists, so that what is taken next is still in
 * the cache. The free list runs through a packet's own ->next and a chunk's header: a free packet
 * costs one line.
 *
 * A chunk is a ubuf whose lender is the pool: frags of copied bytes are counted, cloned and split
 * by the same code as lent ones, and the completion puts the chunk back into its list.
 *
 * A pool belongs to one thread. The numbers of free ones and the drop counters may be read by
 * others at any time; nothing else may.
 *
 * VERIFY builds fill a free packet with a pattern and look for it when it is taken again; ASan
 * builds forbid every access to it but its first line.
 */

#define POISON	       0xd5
#define PAGE_BYTES     4096
#define POOL_BYTES_MAX (1ull << 40) /* and no product of the sizes overflows */

struct lr_pool {
	struct lr_packet *free_packets;
	struct packet_chunk *free_chunks;
	_Atomic uint32_t free_packet_count;
	_Atomic uint32_t free_chunk_count;
	int64_t fail_after;
	uint32_t chunk_bytes;
	uint32_t packet_count;
	uint32_t chunk_count;
	size_t bytes;
	struct packet_slot *slots;
	uint8_t *chunks;
	struct counter drops[LR_DROP_COUNT];
};

static const char *const event_names[] = {
	[PACKET_EVENT_NONE] = "-",
	[PACKET_EVENT_NEW] = "new",
	[PACKET_EVENT_APPEND] = "append",
	[PACKET_EVENT_ATTACH] = "attach",
	[PACKET_EVENT_CLONE] = "clone",
	[PACKET_EVENT_COPY] = "copy",
	[PACKET_EVENT_ORPHAN] = "orphan",
	[PACKET_EVENT_EXPAND] = "expand",
	[PACKET_EVENT_PUSH] = "push",
	[PACKET_EVENT_PULL] = "pull",
	[PACKET_EVENT_TRIM] = "trim",
	[PACKET_EVENT_LINEARIZE] = "linearize",
	[PACKET_EVENT_SPLIT] = "split",
	[PACKET_EVENT_SEGMENT] = "segment",
	[PACKET_EVENT_CHECKSUM] = "checksum",
	[PACKET_EVENT_FREE] = "free",
};

static_assert(ARRAY_SIZE(event_names) == PACKET_EVENT_COUNT, "every event has a name");

/* The owner is the only writer: no locked instruction. */
static void count_change(_Atomic uint32_t *count, uint32_t by)
{
	uint32_t old = atomic_load_explicit(count, memory_order_relaxed);

	atomic_store_explicit(count, old + by, memory_order_relaxed);
}

static void chunk_complete(struct lr_ubuf *ubuf)
{
	struct packet_chunk *chunk = container_of(ubuf, struct packet_chunk, ubuf);
	struct lr_pool *pool = chunk->pool;

	chunk->next = pool->free_chunks;
	pool->free_chunks = chunk;
	count_change(&pool->free_chunk_count, 1);
	ASSERT(lr_pool_chunks_free(pool) <= pool->chunk_count); /* L4 */
}

static const struct lr_ubuf_ops chunk_ops = {.complete = chunk_complete};

bool packet_ubuf_is_lent(const struct lr_ubuf *ubuf)
{
	return ubuf->ops != &chunk_ops;
}

static size_t round_up(size_t bytes, size_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

static struct packet_chunk *chunk_at(const struct lr_pool *pool, uint32_t index)
{
	return (void *)(pool->chunks +
			(size_t)index * (sizeof(struct packet_chunk) + pool->chunk_bytes));
}

/* The bytes that a free packet must not be used for: all but its first line. */
static void packet_hide(struct lr_packet *p)
{
#ifdef LR_VERIFY
	memset(p->frags, POISON, sizeof(*p) - offsetof(struct lr_packet, frags));
#endif
	ASAN_POISON_MEMORY_REGION(p->frags, sizeof(*p) - offsetof(struct lr_packet, frags));
}

static void packet_show(struct lr_packet *p)
{
	ASAN_UNPOISON_MEMORY_REGION(p->frags, sizeof(*p) - offsetof(struct lr_packet, frags));
#ifdef LR_VERIFY
	const uint8_t *byte = (const uint8_t *)p->frags;
	size_t bytes = sizeof(*p) - offsetof(struct lr_packet, frags);

	/* L1: written to after it was given away */
	VERIFY(byte[0] == POISON);
	VERIFY(memcmp(byte, byte + 1, bytes - 1) == 0);
#endif
}

int lr_pool_new(const struct lr_pool_config *config, struct lr_pool **ret_pool)
{
	uint32_t chunk_bytes = config->chunk_bytes ? config->chunk_bytes : 2048;
	size_t start = round_up(sizeof(struct lr_pool), CACHE_LINE_BYTES);
	struct lr_pool *pool;
	size_t bytes;

	if (!config->packet_count || chunk_bytes > LR_PACKET_BYTES_MAX)
		return -EINVAL;
	chunk_bytes = (uint32_t)round_up(chunk_bytes, CACHE_LINE_BYTES);
	bytes = start + config->packet_count * sizeof(struct packet_slot) +
		(size_t)config->chunk_count * (sizeof(struct packet_chunk) + chunk_bytes);
	bytes = round_up(bytes, PAGE_BYTES);
	if (bytes > POOL_BYTES_MAX)
		return -ENOMEM;
	pool = aligned_alloc(PAGE_BYTES, bytes);
	if (!pool)
		return -ENOMEM;
	memset(pool, 0, bytes);
	pool->fail_after = -1;
	pool->bytes = bytes;
	pool->chunk_bytes = chunk_bytes;
	pool->packet_count = config->packet_count;
	pool->chunk_count = config->chunk_count;
	pool->slots = (void *)((uint8_t *)pool + start);
	pool->chunks = (uint8_t *)(pool->slots + pool->packet_count);
	for (uint32_t i = pool->packet_count; i--;) {
		struct lr_packet *p = &pool->slots[i].packet;

		p->pool = pool;
		p->state = PACKET_FREE;
		p->next = pool->free_packets;
		pool->free_packets = p;
		packet_hide(p);
	}
	for (uint32_t i = pool->chunk_count; i--;) {
		struct packet_chunk *chunk = chunk_at(pool, i);

		chunk->pool = pool;
		chunk->next = pool->free_chunks;
		pool->free_chunks = chunk;
	}
	pool->free_packet_count = pool->packet_count;
	pool->free_chunk_count = pool->chunk_count;
	*ret_pool = pool;
	return 0;
}

void lr_pool_free(struct lr_pool *pool)
{
	if (!pool)
		return;
	ASSERT(lr_pool_packets_free(pool) == pool->packet_count); /* L13 */
	ASSERT(lr_pool_chunks_free(pool) == pool->chunk_count);	  /* L13 */
#ifdef LR_VERIFY
	lr_pool_verify(pool);
#endif
	ASAN_UNPOISON_MEMORY_REGION(pool, pool->bytes);
	free(pool);
}

/* One take: is it the one that a test wants to fail? */
static bool take_fails(struct lr_pool *pool)
{
	if (likely(pool->fail_after < 0))
		return false;
	return pool->fail_after-- == 0;
}

struct lr_packet *packet_take(struct lr_pool *pool)
{
	struct lr_packet *p = pool->free_packets;

	if (unlikely(!p || take_fails(pool)))
		return NULL;
	ASSERT(p->state == PACKET_FREE); /* L1 */
	ASSERT(p->pool == pool);
	pool->free_packets = p->next;
	count_change(&pool->free_packet_count, -1u);
	packet_show(p);
	p->state = PACKET_LIVE;
	packet_note(p, PACKET_EVENT_NEW);
	return p;
}

void packet_give(struct lr_packet *p)
{
	struct lr_pool *pool = p->pool;

	ASSERT(p->state == PACKET_LIVE); /* L1 */
	ASSERT(p->frag_count == 0);	 /* L2: its references are gone */
	p->state = PACKET_FREE;
	packet_hide(p);
	p->next = pool->free_packets;
	pool->free_packets = p;
	count_change(&pool->free_packet_count, 1);
	ASSERT(lr_pool_packets_free(pool) <= pool->packet_count); /* L1 */
}

struct packet_chunk *packet_chunks_take(struct lr_pool *pool, uint32_t bytes)
{
	uint32_t need = (bytes + pool->chunk_bytes - 1) / pool->chunk_bytes;
	struct packet_chunk *chain = NULL;

	ASSERT(bytes > 0);
	if (need > LR_PACKET_FRAGS || need > lr_pool_chunks_free(pool))
		return NULL;
	while (need--) {
		struct packet_chunk *chunk = pool->free_chunks;

		if (unlikely(take_fails(pool)))
			goto give_back;
		pool->free_chunks = chunk->next;
		count_change(&pool->free_chunk_count, -1u);
		lr_ubuf_init(&chunk->ubuf, &chunk_ops);
		chunk->next = chain;
		chain = chunk;
	}
	return chain;

give_back:
	while (chain) {
		struct packet_chunk *next = chain->next;

		lr_ubuf_put(&chain->ubuf);
		chain = next;
	}
	return NULL;
}

uint32_t packet_chunk_bytes(const struct lr_pool *pool)
{
	return pool->chunk_bytes;
}

uint32_t lr_pool_packets_free(const struct lr_pool *pool)
{
	return atomic_load_explicit(&pool->free_packet_count, memory_order_relaxed);
}

uint32_t lr_pool_chunks_free(const struct lr_pool *pool)
{
	return atomic_load_explicit(&pool->free_chunk_count, memory_order_relaxed);
}

size_t lr_pool_packet_bytes(void)
{
	return sizeof(struct packet_slot);
}

void lr_pool_fail_after(struct lr_pool *pool, int64_t n)
{
	pool->fail_after = n < 0 ? -1 : n;
}

void packet_drop_count(struct lr_pool *pool, unsigned reason)
{
	ASSERT(reason < LR_DROP_COUNT);
	counter_add(&pool->drops[reason], 1);
}

uint64_t lr_pool_drops(const struct lr_pool *pool, unsigned reason)
{
	return reason < LR_DROP_COUNT ? counter_get(&pool->drops[reason]) : 0;
}

uint32_t lr_pool_references(const struct lr_pool *pool, const struct lr_ubuf *ubuf)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < pool->packet_count; i++) {
		const struct lr_packet *p = &pool->slots[i].packet;

		if (p->state != PACKET_LIVE)
			continue;
		for (uint32_t f = 0; f < p->frag_count; f++)
			count += p->frags[f].ubuf == ubuf;
	}
	return count;
}

/* A live packet's sums and marks are those of its parts. */
static void verify_packet(const struct lr_packet *p)
{
	uint32_t bytes = p->head_bytes;
	bool lent = false;

	ASSERT(p->frag_count <= LR_PACKET_FRAGS);
	ASSERT(p->head >= p->room);
	ASSERT(p->head + p->head_bytes <= p->room + LR_PACKET_HEAD_BYTES);
	for (uint32_t f = 0; f < p->frag_count; f++) {
		ASSERT(p->frags[f].bytes > 0);
		ASSERT(lr_ubuf_count(p->frags[f].ubuf) > 0); /* L2 */
		bytes += p->frags[f].bytes;
		lent |= packet_ubuf_is_lent(p->frags[f].ubuf);
	}
	ASSERT(p->bytes == bytes);
	ASSERT(p->lent == lent); /* L8 */
}

void lr_pool_verify(const struct lr_pool *pool)
{
	uint32_t live_count = 0, count = 0;

	for (uint32_t i = 0; i < pool->packet_count; i++) {
		const struct lr_packet *p = &pool->slots[i].packet;

		ASSERT(p->pool == pool);
		if (p->state == PACKET_LIVE) {
			verify_packet(p);
			live_count++;
		}
	}
	for (const struct lr_packet *p = pool->free_packets; p; p = p->next) {
		ASSERT(p->state == PACKET_FREE); /* L1 */
		ASSERT(count < pool->packet_count);
		count++;
	}
	ASSERT(count == lr_pool_packets_free(pool));
	ASSERT(count + live_count == pool->packet_count); /* L13 */
	count = 0;
	for (const struct packet_chunk *c = pool->free_chunks; c; c = c->next) {
		ASSERT(lr_ubuf_count(&c->ubuf) == 0);
		ASSERT(count < pool->chunk_count);
		count++;
	}
	ASSERT(count == lr_pool_chunks_free(pool));
	for (uint32_t i = 0; i < pool->chunk_count; i++) {
		const struct lr_ubuf *ubuf = &chunk_at(pool, i)->ubuf;

		ASSERT(lr_ubuf_count(ubuf) == lr_pool_references(pool, ubuf)); /* L2 */
	}
}

_Noreturn void packet_dead(const struct lr_packet *p, const char *function)
{
#ifdef LR_VERIFY
	const struct packet_slot *slot = container_of(p, struct packet_slot, packet);

	fprintf(stderr, "lastref: packet %p in %s, latest event first:", (const void *)p, function);
	for (unsigned i = 0; i < 16; i++)
		fprintf(stderr, " %s", event_names[slot->history >> (4 * i) & 15]);
	fprintf(stderr, "\n");
#else
	(void)p;
	(void)event_names;
	(void)function;
#endif
	assert_failed("packet is live (L1)", __FILE__, __LINE__, function);
}
