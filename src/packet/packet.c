/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets: making, cloning and giving them away; every reference of a frag passes through here. */
#include <lastref/packet.h>

#include <errno.h>
#include <string.h>

#include "packet/internal.h"

/*
 * Theory of operation
 *
 * A packet's data are its private head, then its frags in order. Every frag owns one reference of
 * its ubuf (L2). References are made by attach_frag() (from a lender), copied by
 * packet_frags_copy(), moved by packet_frags_move() and dropped by frags_remove(): nowhere else
 * (L6). ->bytes changes in the same functions, so that the sums are right whenever they return.
 *
 * What can fail is taken before anything is changed; from then on nothing fails. So every function
 * here leaves its packet as it was when it returns an error.
 *
 * Editing that moves bytes between head and frags is in edit.c.
 */

#define X(id, name, text) [LR_DROP_##id] = name,
static const char *const drop_names[] = {LR_DROP_REASONS(X)};
#undef X

static_assert(ARRAY_SIZE(drop_names) == LR_DROP_COUNT, "every reason has a name");

const char *lr_drop_name(unsigned reason)
{
	return reason < LR_DROP_COUNT ? drop_names[reason] : "?";
}

/* The one way in for a frag: its reference was taken by the caller. */
static void frag_append(struct lr_packet *p, struct lr_ubuf *ubuf, const uint8_t *data,
			uint32_t bytes, bool lent)
{
	ASSERT(p->frag_count < LR_PACKET_FRAGS);
	ASSERT(bytes > 0);
	p->frags[p->frag_count++] = (struct lr_frag){.ubuf = ubuf, .data = data, .bytes = bytes};
	p->bytes += bytes;
	p->lent |= lent;
}

/* ->lent after frags went away; the first frag almost always decides. */
static void lent_update(struct lr_packet *p)
{
	bool lent = false;

	if (!p->lent)
		return;
	for (uint32_t i = 0; i < p->frag_count && !lent; i++)
		lent = packet_ubuf_is_lent(p->frags[i].ubuf);
	p->lent = lent;
}

void packet_frags_copy(struct lr_packet *to, const struct lr_packet *from, uint32_t offset,
		       uint32_t bytes)
{
	uint32_t i = 0;

	ASSERT(to != from);						    /* L6 */
	ASSERT((uint64_t)offset + bytes <= from->bytes - from->head_bytes); /* L6 */
	for (; bytes; i++) {
		const struct lr_frag *frag = &from->frags[i];
		uint32_t part;

		if (offset >= frag->bytes) {
			offset -= frag->bytes;
			continue;
		}
		part = min_u32(frag->bytes - offset, bytes);
		lr_ubuf_get(frag->ubuf); /* L3 */
		frag_append(to, frag->ubuf, frag->data + offset, part,
			    packet_ubuf_is_lent(frag->ubuf));
		offset = 0;
		bytes -= part;
	}
}

void packet_frags_move(struct lr_packet *to, struct lr_packet *from, uint32_t first_index)
{
	ASSERT(to != from);			 /* L6 */
	ASSERT(first_index <= from->frag_count); /* L6 */
	for (uint32_t i = first_index; i < from->frag_count; i++) {
		struct lr_frag *frag = &from->frags[i];

		frag_append(to, frag->ubuf, frag->data, frag->bytes,
			    packet_ubuf_is_lent(frag->ubuf));
		from->bytes -= frag->bytes;
		frag->ubuf = NULL; /* L6: moved is not shared */
	}
	from->frag_count = (uint16_t)first_index;
	lent_update(from);
}

void packet_frags_remove(struct lr_packet *p, uint32_t first_index, uint32_t count)
{
	uint32_t behind;

	ASSERT(first_index + count <= p->frag_count); /* L7 */
	if (!count)
		return;
	for (uint32_t i = first_index; i < first_index + count; i++) {
		p->bytes -= p->frags[i].bytes;
		lr_ubuf_put(p->frags[i].ubuf); /* L7: removing drops exactly one */
	}
	behind = p->frag_count - first_index - count;
	if (behind)
		memmove(&p->frags[first_index], &p->frags[first_index + count],
			behind * sizeof(p->frags[0]));
	p->frag_count = (uint16_t)(first_index + behind);
	lent_update(p);
}

void packet_chunks_adopt(struct lr_packet *p, struct packet_chunk *chain, uint32_t bytes)
{
	uint32_t chunk_bytes = packet_chunk_bytes(p->pool);

	while (chain) {
		struct packet_chunk *next = chain->next;
		uint32_t part = min_u32(bytes, chunk_bytes);

		ASSERT(chain->pool == p->pool);
		/* L2: the reference it was built with becomes the frag's */
		frag_append(p, &chain->ubuf, chain->data, part, false);
		bytes -= part;
		chain = next;
	}
	ASSERT(bytes == 0);
}

struct lr_packet *packet_start(struct lr_pool *pool, uint32_t headroom_bytes)
{
	struct lr_packet *p = packet_take(pool);

	ASSERT(headroom_bytes <= LR_PACKET_HEAD_BYTES);
	if (unlikely(!p))
		return NULL;
	p->next = NULL;
	p->head = p->room + headroom_bytes;
	p->head_bytes = 0;
	p->bytes = 0;
	p->frag_count = 0;
	p->lent = false;
	p->offload = (struct lr_offload){0};
	p->user[0] = 0;
	p->user[1] = 0;
	return p;
}

struct lr_packet *lr_packet_new(struct lr_pool *pool)
{
	return packet_start(pool, LR_PACKET_HEADROOM);
}

int lr_packet_append(struct lr_packet *p, const void *data, uint32_t bytes)
{
	PACKET_ENTER(p, PACKET_EVENT_APPEND);
	ASSERT(p->frag_count == 0);
	if (bytes > packet_tailroom(p))
		return -ENOSPC;
	if (!bytes)
		return 0;
	memcpy(p->head + p->head_bytes, data, bytes);
	p->head_bytes += bytes;
	p->bytes += bytes;
	return 0;
}

int lr_packet_attach(struct lr_packet *p, struct lr_ubuf *ubuf, const void *data, uint32_t bytes)
{
	PACKET_ENTER(p, PACKET_EVENT_ATTACH);
	if (!bytes)
		return 0;
	if (p->frag_count == LR_PACKET_FRAGS || bytes > LR_PACKET_BYTES_MAX ||
	    p->bytes > LR_PACKET_BYTES_MAX - bytes)
		return -ENOSPC;
	lr_ubuf_get(ubuf); /* L2 */
	frag_append(p, ubuf, data, bytes, packet_ubuf_is_lent(ubuf));
	return 0;
}

void lr_packet_free(struct lr_packet *p)
{
	if (!p)
		return;
	PACKET_ENTER(p, PACKET_EVENT_FREE);
	packet_frags_remove(p, 0, p->frag_count);
	packet_give(p);
}

void lr_packet_drop(struct lr_packet *p, enum lr_drop_reason reason)
{
	packet_check(p, __func__); /* L1 */
	packet_drop_count(p->pool, reason);
	lr_packet_free(p);
}

/* A new packet of @pool with @p's head, remarks and offload, its data where @p's lie. */
static struct lr_packet *head_clone(const struct lr_packet *p, struct lr_pool *pool)
{
	struct lr_packet *q = packet_start(pool, lr_packet_headroom(p));

	if (unlikely(!q))
		return NULL;
	memcpy(q->head, p->head, p->head_bytes);
	q->head_bytes = p->head_bytes;
	q->bytes = p->head_bytes;
	q->offload = p->offload;
	packet_remarks_copy(q, p);
	return q;
}

struct lr_packet *lr_packet_clone(const struct lr_packet *p)
{
	struct lr_packet *q;

	packet_check(p, __func__); /* L1 */
	q = head_clone(p, p->pool);
	if (unlikely(!q))
		return NULL;
	packet_note(q, PACKET_EVENT_CLONE);
	packet_frags_copy(q, p, 0, p->bytes - p->head_bytes);
	ASSERT(q->bytes == p->bytes);		/* L3 */
	ASSERT(q->frag_count == p->frag_count); /* L3: one reference a frag, no byte copied */
	return q;
}

/* All frag data of @p into @chain; the only copy of payload that the library makes. */
static void frags_gather(const struct lr_packet *p, struct packet_chunk *chain)
{
	uint32_t chunk_bytes = packet_chunk_bytes(chain->pool);
	uint32_t at = 0;

	for (uint32_t i = 0; i < p->frag_count; i++) {
		const struct lr_frag *frag = &p->frags[i];

		for (uint32_t done = 0; done < frag->bytes;) {
			uint32_t part;

			if (at == chunk_bytes) {
				chain = chain->next;
				at = 0;
			}
			part = min_u32(chunk_bytes - at, frag->bytes - done);
			memcpy(chain->data + at, frag->data + done, part);
			at += part;
			done += part;
		}
	}
	ASSERT(chain->next == NULL);
}

struct lr_packet *lr_packet_copy(const struct lr_packet *p, struct lr_pool *pool)
{
	uint32_t payload_bytes = p->bytes - p->head_bytes;
	struct packet_chunk *chain;
	struct lr_packet *q;

	packet_check(p, __func__); /* L1 */
	q = head_clone(p, pool);
	if (unlikely(!q))
		return NULL;
	packet_note(q, PACKET_EVENT_COPY);
	if (payload_bytes <= packet_tailroom(q)) {
		int r = lr_packet_read(p, p->head_bytes, q->head + q->head_bytes, payload_bytes);

		ASSERT(r == 0);
		q->head_bytes += payload_bytes;
		q->bytes += payload_bytes;
	} else {
		chain = packet_chunks_take(pool, payload_bytes);
		if (unlikely(!chain)) {
			lr_packet_free(q);
			return NULL;
		}
		frags_gather(p, chain);
		packet_chunks_adopt(q, chain, payload_bytes);
	}
	ASSERT(q->bytes == p->bytes);
	ASSERT(!q->lent); /* L8 */
	return q;
}

int lr_packet_orphan(struct lr_packet *p)
{
	uint32_t payload_bytes = p->bytes - p->head_bytes, frag_count = p->frag_count;
	struct packet_chunk *chain;

	PACKET_ENTER(p, PACKET_EVENT_ORPHAN);
	if (!p->lent)
		return 0;
	if (payload_bytes <= packet_tailroom(p))
		return lr_packet_linearize(p, p->bytes);
	chain = packet_chunks_take(p->pool, payload_bytes);
	if (unlikely(!chain)) {
		ASSERT(p->lent);		     /* L8: unchanged */
		ASSERT(p->frag_count == frag_count); /* L8 */
		return -ENOMEM;
	}
	frags_gather(p, chain);
	for (uint32_t i = 0; i < p->frag_count; i++)
		ubuf_mark_copied(p->frags[i].ubuf);
	packet_frags_remove(p, 0, p->frag_count);
	packet_chunks_adopt(p, chain, payload_bytes);
	ASSERT(!p->lent); /* L8 */
	ASSERT(p->bytes == p->head_bytes + payload_bytes);
	return 0;
}

int lr_packet_read(const struct lr_packet *p, uint32_t offset, void *buffer, uint32_t bytes)
{
	uint8_t *to = buffer;
	uint32_t part;

	packet_check(p, __func__); /* L1 */
	if (offset > p->bytes || bytes > p->bytes - offset)
		return -EINVAL;
	if (offset < p->head_bytes) {
		part = min_u32(p->head_bytes - offset, bytes);
		memcpy(to, p->head + offset, part);
		to += part;
		bytes -= part;
		offset = 0;
	} else {
		offset -= p->head_bytes;
	}
	for (uint32_t i = 0; bytes; i++) {
		const struct lr_frag *frag = &p->frags[i];

		if (offset >= frag->bytes) {
			offset -= frag->bytes;
			continue;
		}
		part = min_u32(frag->bytes - offset, bytes);
		memcpy(to, frag->data + offset, part);
		to += part;
		bytes -= part;
		offset = 0;
	}
	return 0;
}
