/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames: views of packets, and packets made of frames, by copy or by reference. */
#include "packet/frame.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "packet/internal.h"

void frame_of_packet(struct frame *f, struct segment *segments, const struct lr_packet *p)
{
	ASSERT(p->head_bytes <= p->bytes);
	for (unsigned i = 0; i < p->frag_count; i++) {
		/* A segment's bytes are read only, whoever they belong to (L9). */
		segments[i].data = (uint8_t *)(uintptr_t)p->frags[i].data;
		segments[i].bytes = p->frags[i].bytes;
	}
	f->head = p->head;
	f->segments = segments;
	f->bytes = p->bytes;
	f->head_bytes = (uint16_t)p->head_bytes;
	f->segment_count = p->frag_count;
	f->lender = NULL;
	f->ubuf = NULL;
	f->offload = p->offload;
	f->slot = 0;
	f->vlan = 0;
}

/* Copy from the segments behind the head, from @offset of them on. */
static void segments_read(const struct frame *f, uint32_t offset, uint8_t *to, uint32_t bytes)
{
	for (unsigned i = 0; bytes > 0; i++) {
		const struct segment *s = &f->segments[i];
		uint32_t part;

		ASSERT(i < f->segment_count);
		if (offset >= s->bytes) {
			offset -= s->bytes;
			continue;
		}
		part = min_u32(bytes, s->bytes - offset);
		memcpy(to, s->data + offset, part);
		to += part;
		bytes -= part;
		offset = 0;
	}
}

int frame_read(const struct frame *f, uint32_t offset, void *buffer, uint32_t bytes)
{
	uint8_t *to = buffer;
	uint32_t part;

	if (bytes > f->bytes || offset > f->bytes - bytes)
		return -EINVAL;
	if (offset < f->head_bytes) {
		part = min_u32(bytes, f->head_bytes - offset);
		memcpy(to, f->head + offset, part);
		to += part;
		bytes -= part;
		offset = f->head_bytes;
	}
	segments_read(f, offset - f->head_bytes, to, bytes);
	return 0;
}

/* Where a copy goes on: chunks are filled one after the other. */
struct fill {
	struct packet_chunk *chunk;
	uint32_t at;
	uint32_t chunk_bytes;
};

static void fill_copy(struct fill *fill, const uint8_t *data, uint32_t bytes)
{
	while (bytes > 0) {
		uint32_t part;

		if (fill->at == fill->chunk_bytes) {
			fill->chunk = fill->chunk->next;
			fill->at = 0;
		}
		ASSERT(fill->chunk);
		part = min_u32(bytes, fill->chunk_bytes - fill->at);
		memcpy(fill->chunk->data + fill->at, data, part);
		fill->at += part;
		data += part;
		bytes -= part;
	}
}

/* A packet whose private head is the frame's; room for a tunnel in front as far as there is. */
static struct lr_packet *packet_of_head(const struct frame *f, struct lr_pool *pool)
{
	struct lr_packet *p;
	int err;

	ASSERT(f->head_bytes <= LR_PACKET_HEAD_BYTES);
	ASSERT(f->head_bytes <= f->bytes);
	p = packet_start(pool, min_u32(LR_PACKET_HEADROOM, LR_PACKET_HEAD_BYTES - f->head_bytes));
	if (unlikely(!p))
		return NULL;
	err = lr_packet_append(p, f->head, f->head_bytes);
	ASSERT(err == 0);
	p->offload = f->offload;
	return p;
}

struct lr_packet *frame_copy(const struct frame *f, struct lr_pool *pool)
{
	uint32_t rest_bytes = f->bytes - f->head_bytes;
	struct lr_packet *p = packet_of_head(f, pool);
	struct fill fill = {.chunk_bytes = packet_chunk_bytes(pool)};
	struct packet_chunk *chain;

	if (unlikely(!p))
		return NULL;
	if (rest_bytes <= packet_tailroom(p)) {
		for (unsigned i = 0; i < f->segment_count; i++) {
			int err = lr_packet_append(p, f->segments[i].data, f->segments[i].bytes);

			ASSERT(err == 0);
		}
	} else {
		chain = packet_chunks_take(pool, rest_bytes);
		if (unlikely(!chain)) {
			lr_packet_free(p);
			return NULL;
		}
		fill.chunk = chain;
		for (unsigned i = 0; i < f->segment_count; i++)
			fill_copy(&fill, f->segments[i].data, f->segments[i].bytes);
		packet_chunks_adopt(p, chain, rest_bytes);
	}
	ASSERT(p->bytes == f->bytes);
	ASSERT(!p->lent); /* L8 */
	return p;
}

struct lr_packet *frame_lend(struct frame *f, struct lr_pool *pool)
{
	struct lr_packet *p;

	if (f->segment_count > LR_PACKET_FRAGS)
		return NULL;
	if (f->segment_count > 0 && !f->ubuf) {
		if (!f->lender)
			return NULL;
		f->ubuf = f->lender->lend(f->lender, f);
		if (!f->ubuf)
			return NULL;
		ASSERT(lr_ubuf_count(f->ubuf) == 1); /* L2: the turn's own */
	}
	p = packet_of_head(f, pool);
	if (unlikely(!p))
		return NULL;
	for (unsigned i = 0; i < f->segment_count; i++) {
		/* L2: a reference per frag */
		int err = lr_packet_attach(p, f->ubuf, f->segments[i].data, f->segments[i].bytes);

		ASSERT(err == 0);
	}
	ASSERT(p->bytes == f->bytes);
	return p;
}
