/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets: room in front, and bytes that come, go or change between head and frags. */
#include <lastref/packet.h>

#include <errno.h>
#include <string.h>

#include "packet/internal.h"

/*
 * Theory of operation
 *
 * References follow the bytes (L7): a border through a frag adds one, a frag that moves keeps its
 * own, a frag that goes drops exactly one. Guests' bytes are only ever read; what must be written
 * is pulled into the private head first (L9).
 *
 * Offsets in ->offload count from the first byte of the frame: growing or shrinking at the front
 * moves them, so that an encapsulated packet can still be finished.
 */

uint32_t lr_packet_headroom(const struct lr_packet *p)
{
	packet_check(p, __func__); /* L1 */
	return (uint32_t)(p->head - p->room);
}

int lr_packet_expand(struct lr_packet *p, uint32_t bytes)
{
	PACKET_ENTER(p, PACKET_EVENT_EXPAND);
	if (bytes <= lr_packet_headroom(p))
		return 0;
	if (bytes > LR_PACKET_HEAD_BYTES - p->head_bytes)
		return -ENOSPC;
	memmove(p->room + bytes, p->head, p->head_bytes);
	p->head = p->room + bytes; /* L7: frags and counts stay as they are */
	return 0;
}

/* The first byte is now @bytes further to the front. */
static void offload_push(struct lr_offload *offload, uint32_t bytes)
{
	if (offload->flags & LR_OFFLOAD_NEEDS_CSUM)
		offload->csum_start = (uint16_t)(offload->csum_start + bytes);
	if (offload->hdr_len)
		offload->hdr_len = (uint16_t)min_u32(offload->hdr_len + bytes, UINT16_MAX);
}

uint8_t *lr_packet_push(struct lr_packet *p, uint32_t bytes)
{
	PACKET_ENTER(p, PACKET_EVENT_PUSH);
	if (bytes > lr_packet_headroom(p))
		return NULL;
	if (p->offload.flags & LR_OFFLOAD_NEEDS_CSUM && p->offload.csum_start > UINT16_MAX - bytes)
		return NULL;
	offload_push(&p->offload, bytes);
	p->head -= bytes;
	p->head_bytes += bytes;
	p->bytes += bytes;
	return p->head;
}

/* Remove @bytes from the front of the frags; they are there. */
static void frags_pull(struct lr_packet *p, uint32_t bytes)
{
	uint32_t i = 0, skip = bytes;

	while (i < p->frag_count && skip >= p->frags[i].bytes)
		skip -= p->frags[i++].bytes;
	packet_frags_remove(p, 0, i);
	if (!skip)
		return;
	ASSERT(p->frag_count > 0); /* L7 */
	p->frags[0].data += skip;
	p->frags[0].bytes -= skip;
	p->bytes -= skip;
}

int lr_packet_pull(struct lr_packet *p, uint32_t bytes)
{
	uint32_t before = p->bytes;
	uint32_t from_head = min_u32(bytes, p->head_bytes);

	PACKET_ENTER(p, PACKET_EVENT_PULL);
	if (bytes > p->bytes)
		return -EINVAL;
	if (p->offload.flags & LR_OFFLOAD_NEEDS_CSUM) {
		if (bytes > p->offload.csum_start)
			return -EINVAL;
		p->offload.csum_start = (uint16_t)(p->offload.csum_start - bytes);
	}
	p->offload.hdr_len -= (uint16_t)min_u32(bytes, p->offload.hdr_len);
	p->head += from_head;
	p->head_bytes -= from_head;
	p->bytes -= from_head;
	frags_pull(p, bytes - from_head);
	ASSERT(p->bytes == before - bytes); /* L7 */
	return 0;
}

int lr_packet_trim(struct lr_packet *p, uint32_t bytes)
{
	uint32_t keep, i = 0;

	PACKET_ENTER(p, PACKET_EVENT_TRIM);
	if (bytes > p->bytes)
		return -EINVAL;
	keep = bytes > p->head_bytes ? bytes - p->head_bytes : 0;
	while (keep && i < p->frag_count && keep >= p->frags[i].bytes)
		keep -= p->frags[i++].bytes;
	if (keep) {
		p->bytes -= p->frags[i].bytes - keep;
		p->frags[i++].bytes = keep;
	}
	packet_frags_remove(p, i, p->frag_count - i);
	if (bytes < p->head_bytes) {
		p->bytes -= p->head_bytes - bytes;
		p->head_bytes = bytes;
	}
	ASSERT(p->bytes == bytes); /* L7 */
	return 0;
}

int lr_packet_linearize(struct lr_packet *p, uint32_t bytes)
{
	uint32_t need, before = p->bytes;
	int r;

	PACKET_ENTER(p, PACKET_EVENT_LINEARIZE);
	if (bytes > p->bytes)
		return -EINVAL;
	if (bytes <= p->head_bytes)
		return 0;
	if (bytes > LR_PACKET_HEAD_BYTES)
		return -ENOSPC;
	need = bytes - p->head_bytes;
	if (need > packet_tailroom(p)) {
		uint8_t *head = p->room + LR_PACKET_HEAD_BYTES - bytes;

		memmove(head, p->head, p->head_bytes);
		p->head = head;
	}
	/* L9: read once; from here on these bytes are ours and the guest's are not looked at */
	r = lr_packet_read(p, p->head_bytes, p->head + p->head_bytes, need);
	ASSERT(r == 0);
	for (uint32_t i = 0, at = 0; at < need; at += p->frags[i++].bytes)
		ubuf_mark_copied(p->frags[i].ubuf);
	frags_pull(p, need);
	p->head_bytes += need;
	p->bytes += need;
	ASSERT(p->bytes == before); /* L7 */
	return 0;
}

/* The part of the head behind @at goes to the front of @rest. */
static void head_split(struct lr_packet *p, uint32_t at, struct lr_packet *rest)
{
	uint32_t part = p->head_bytes - at;

	rest->head = rest->room + min_u32(LR_PACKET_HEADROOM, LR_PACKET_HEAD_BYTES - part);
	memcpy(rest->head, p->head + at, part);
	rest->head_bytes = part;
	rest->bytes = part;
	p->head_bytes = at;
	p->bytes -= part;
}

int lr_packet_split(struct lr_packet *p, uint32_t at, struct lr_packet **ret_rest)
{
	uint32_t before = p->bytes, offset, i = 0;
	struct lr_packet *rest;

	PACKET_ENTER(p, PACKET_EVENT_SPLIT);
	if (at == 0 || at >= p->bytes)
		return -EINVAL;
	rest = packet_start(p->pool, LR_PACKET_HEADROOM);
	if (unlikely(!rest))
		return -ENOMEM;
	packet_note(rest, PACKET_EVENT_SPLIT);
	packet_remarks_copy(rest, p);
	if (at < p->head_bytes) {
		head_split(p, at, rest);
	} else {
		offset = at - p->head_bytes;
		for (; i < p->frag_count && offset >= p->frags[i].bytes; i++)
			offset -= p->frags[i].bytes;
		if (offset) { /* L7: the border goes through frag i, each half has a reference */
			uint32_t part = p->frags[i].bytes - offset;

			packet_frags_copy(rest, p, at - p->head_bytes, part);
			p->frags[i++].bytes = offset;
			p->bytes -= part;
		}
	}
	packet_frags_move(rest, p, i);
	ASSERT(p->bytes == at);		    /* L7 */
	ASSERT(rest->bytes == before - at); /* L7 */
	*ret_rest = rest;
	return 0;
}
