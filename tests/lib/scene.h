/* SPDX-License-Identifier: BSD-2-Clause */
/* A pool and a lender with oracles, and packets built from the lender's buffers. */
#ifndef SCENE_H
#define SCENE_H

#include "oracle.h"

struct scene {
	struct lr_pool *pool;
	struct oracle_lender lender;
};

/* Bytes of one of the lender's buffers. */
struct piece {
	uint32_t buffer;
	uint32_t offset;
	uint32_t bytes;
};

void scene_open(struct scene *s, uint32_t packet_count, uint32_t chunk_count, uint32_t buffer_count,
		uint32_t buffer_bytes);

/**
 * scene_close() - Everything must be home: packets, chunks, buffers (L13)
 */
void scene_close(struct scene *s);

/**
 * scene_packet() - A packet of @head_bytes private bytes, then @pieces
 *
 * Buffers that are not out are lent, and the references that built them are put: the packet's
 * frags hold all there are. Aborts when the pool or the frags run out.
 */
struct lr_packet *scene_packet(struct scene *s, uint32_t head_bytes, const struct piece *pieces,
			       unsigned piece_count);

/**
 * scene_bytes() - All bytes of @p, to be freed by the caller
 */
uint8_t *scene_bytes(const struct lr_packet *p);

/**
 * scene_is() - @p's bytes are these
 */
bool scene_is(const struct lr_packet *p, const void *expected, uint32_t bytes);

/**
 * scene_count() - References of buffer @index
 */
uint32_t scene_count(const struct scene *s, uint32_t index);

/**
 * scene_check() - Walk the pool, recount every buffer's references, nobody wrote to a buffer
 *
 * While nothing but packets holds references.
 */
void scene_check(struct scene *s);

/* A small generator, so that a seed is a run. */
struct scene_random {
	uint64_t state;
};

uint32_t scene_random(struct scene_random *r, uint32_t below);

#endif
