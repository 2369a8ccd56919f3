/* SPDX-License-Identifier: BSD-2-Clause */
/* A virtio-net driver's two queues (virtio 1.3, 5.1.6) over rings in plain memory. */
#include "guest/driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/**
 * DOC: Theory of operation
 *
 * The driver does no system call and knows no file: whether to kick is a return value, interrupts
 * are asked for with guest_ring_arm() and given by whoever owns the call eventfd. So the same
 * code drives a switch in another process, in another thread, or in this one under a virtual
 * clock.
 *
 * Transmit: the caller owns the frame's bytes and gets its cookie back when the device has
 * finished. Receive: the queue owns its buffers; a frame's bytes are the caller's until it
 * reposts the buffers. Nothing is allocated after init.
 */

static_assert(sizeof(struct guest_net_header) == GUEST_HEADER_BYTES, "5.1.6");

uint32_t guest_header_bytes(uint64_t features)
{
	return features & (GUEST_F_VERSION_1 | GUEST_F_MRG_RXBUF) ? GUEST_HEADER_BYTES
								  : GUEST_HEADER_LEGACY_BYTES;
}

/* A header's place: as far apart as cache lines are, so that none is shared by two frames. */
#define HEADER_STRIDE_BYTES CACHE_LINE_BYTES

int guest_tx_init(struct guest_tx *tx, struct guest_memory *m,
		  const struct guest_tx_options *options, struct errmsg *err)
{
	uint32_t pieces = (options->pieces_max ? options->pieces_max : 1u) + options->header_apart;
	struct guest_ring_options ring = {
		.size = options->size,
		.features = options->features,
		.indirect = options->indirect,
		.pieces_max = (uint16_t)pieces,
		.base = options->base,
	};
	int error;

	memset(tx, 0, sizeof(*tx));
	error = guest_ring_init(&tx->ring, m, &ring, err);
	if (error)
		return error;
	tx->header_bytes = guest_header_bytes(options->features);
	tx->header_apart = options->header_apart;
	tx->scratch = calloc(pieces, sizeof(*tx->scratch));
	if (!tx->scratch)
		goto fail;
	if (options->poison) {
		tx->poisoned = calloc((size_t)options->size * pieces, sizeof(*tx->poisoned));
		if (!tx->poisoned)
			goto fail;
	}
	if (options->header_apart &&
	    guest_memory_alloc(m, (uint64_t)options->size * HEADER_STRIDE_BYTES, CACHE_LINE_BYTES,
			       &tx->headers))
		goto fail;
	return 0;
fail:
	errmsg_set(err, "transmit queue of %u: out of memory, here or in the guest", options->size);
	guest_tx_fini(tx);
	return -ENOMEM;
}

void guest_tx_fini(struct guest_tx *tx)
{
	guest_ring_fini(&tx->ring);
	free(tx->poisoned);
	free(tx->scratch);
	memset(tx, 0, sizeof(*tx));
}

static void write_header(uint8_t *to, uint32_t bytes, const struct guest_offload *o)
{
	struct guest_net_header h = {0};

	if (unlikely(o != NULL)) {
		h.flags = o->flags;
		h.gso_type = o->gso_type;
		h.hdr_len = le16_make(o->hdr_len);
		h.gso_size = le16_make(o->gso_size);
		h.csum_start = le16_make(o->csum_start);
		h.csum_offset = le16_make(o->csum_offset);
	}
	if (likely(bytes == GUEST_HEADER_BYTES))
		memcpy(to, &h, GUEST_HEADER_BYTES);
	else
		memcpy(to, &h, GUEST_HEADER_LEGACY_BYTES);
}

/* The frame's pieces with its header in front, in scratch; their number. */
static uint32_t add_header(struct guest_tx *tx, const struct guest_piece *pieces, uint32_t count,
			   const struct guest_offload *offload)
{
	struct guest_piece *to = tx->scratch;
	uint32_t n = 0;

	ASSERT(count >= 1);
	ASSERT(count + tx->header_apart <= tx->ring.pieces_max);
	if (tx->header_apart) {
		uint64_t at = (uint64_t)guest_ring_next_head(&tx->ring) * HEADER_STRIDE_BYTES;

		to[n++] = (struct guest_piece){
			{tx->headers.gpa.addr + at}, tx->headers.host + at, tx->header_bytes};
	}
	for (uint32_t i = 0; i < count; i++)
		to[n++] = pieces[i];
	if (!tx->header_apart) {
		to[0].gpa.addr -= tx->header_bytes;
		to[0].host -= tx->header_bytes;
		to[0].bytes += tx->header_bytes;
	}
	write_header(to[0].host, tx->header_bytes, offload);
	return n;
}

static void keep_pieces(struct guest_tx *tx, int head, const struct guest_piece *pieces,
			uint32_t count)
{
	struct guest_piece *keep = &tx->poisoned[(size_t)head * tx->ring.pieces_max];

	memcpy(keep, pieces, count * sizeof(*keep));
	if (count < tx->ring.pieces_max)
		keep[count].host = NULL;
}

int guest_tx_post(struct guest_tx *tx, const struct guest_piece *pieces, uint32_t count,
		  const struct guest_offload *offload, uint64_t cookie)
{
	uint32_t n;
	int head;

	if (unlikely(!guest_ring_free_count(&tx->ring)))
		return tx->ring.fault ? -EIO : -ENOSPC;
	n = add_header(tx, pieces, count, offload);
	head = guest_ring_post(&tx->ring, tx->scratch, n, cookie);
	if (unlikely(head < 0))
		return head;
	tx->frames++;
	tx->bytes += tx->ring.heads[head].posted_bytes - tx->header_bytes;
	if (unlikely(tx->poisoned != NULL))
		keep_pieces(tx, head, tx->scratch, n);
	return head;
}

static void poison_buffer(struct guest_tx *tx, const struct guest_used_buffer *b)
{
	const struct guest_piece *p = &tx->poisoned[(size_t)b->head * tx->ring.pieces_max];

	for (uint32_t i = 0; i < tx->ring.pieces_max && p[i].host; i++)
		guest_poison(p[i].host, p[i].bytes, b->generation);
}

uint32_t guest_tx_reap(struct guest_tx *tx, uint64_t *ret_cookies, uint32_t max)
{
	struct guest_used_buffer b;
	uint32_t n;

	for (n = 0; n < max && guest_ring_take(&tx->ring, &b); n++) {
		if (unlikely(b.bytes))
			guest_ring_fault(&tx->ring, GUEST_FAULT_TX_BYTES);
		if (tx->poisoned)
			poison_buffer(tx, &b);
		if (ret_cookies)
			ret_cookies[n] = b.cookie;
	}
	return n;
}

void guest_pieces_cut(struct guest_block block, uint32_t bytes, uint32_t count,
		      struct guest_piece *ret_pieces)
{
	uint32_t each = bytes / count ? bytes / count : 1;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t n = i + 1 == count ? bytes : min_u32(each, bytes);

		ret_pieces[i] = (struct guest_piece){block.gpa, block.host, n};
		block.gpa.addr += n;
		block.host += n;
		bytes -= n;
	}
}

static int make_buffer(struct guest_rx *rx, struct guest_memory *m,
		       const struct guest_rx_options *options, uint32_t index)
{
	struct guest_piece *p = &rx->pieces[(size_t)index * rx->piece_count];
	uint32_t bytes = options->buffer_bytes, count = rx->piece_count;
	struct guest_block b;

	if (guest_memory_alloc(m, bytes, CACHE_LINE_BYTES, &b))
		return -ENOMEM;
	if (options->header_apart) {
		*p++ = (struct guest_piece){b.gpa, b.host, rx->header_bytes};
		b.gpa.addr += rx->header_bytes;
		b.host += rx->header_bytes;
		bytes -= rx->header_bytes;
		count--;
	}
	guest_pieces_cut(b, bytes, count, p);
	return 0;
}

int guest_rx_init(struct guest_rx *rx, struct guest_memory *m,
		  const struct guest_rx_options *options, struct errmsg *err)
{
	uint32_t pieces =
		(options->piece_count ? options->piece_count : 1u) + options->header_apart;
	struct guest_ring_options ring = {
		.size = options->size,
		.features = options->features,
		.indirect = options->indirect,
		.pieces_max = (uint16_t)pieces,
		.base = options->base,
		.receive = true,
	};
	int error;

	memset(rx, 0, sizeof(*rx));
	rx->header_bytes = guest_header_bytes(options->features);
	if (options->buffer_bytes <= rx->header_bytes)
		return errmsg_set(err, "receive buffers of %u bytes: no room for a frame",
				  options->buffer_bytes);
	error = guest_ring_init(&rx->ring, m, &ring, err);
	if (error)
		return error;
	rx->mergeable = options->features & GUEST_F_MRG_RXBUF;
	rx->features = options->features;
	rx->piece_count = pieces;
	rx->buffer_count = options->buffer_count ? options->buffer_count : options->size;
	rx->pieces = calloc((size_t)rx->buffer_count * pieces, sizeof(*rx->pieces));
	rx->segments = calloc((size_t)options->size * pieces, sizeof(*rx->segments));
	rx->buffers = calloc(options->size, sizeof(*rx->buffers));
	if (!rx->pieces || !rx->segments || !rx->buffers)
		goto fail;
	for (uint32_t i = 0; i < rx->buffer_count; i++)
		if (make_buffer(rx, m, options, i))
			goto fail;
	return 0;
fail:
	errmsg_set(err, "receive queue of %u: out of memory, here or in the guest", options->size);
	guest_rx_fini(rx);
	return -ENOMEM;
}

void guest_rx_fini(struct guest_rx *rx)
{
	guest_ring_fini(&rx->ring);
	free(rx->pieces);
	free(rx->segments);
	free(rx->buffers);
	memset(rx, 0, sizeof(*rx));
}

int guest_rx_post(struct guest_rx *rx, uint32_t index)
{
	ASSERT(index < rx->buffer_count);
	return guest_ring_post(&rx->ring, &rx->pieces[(size_t)index * rx->piece_count],
			       rx->piece_count, index);
}

uint32_t guest_rx_fill(struct guest_rx *rx)
{
	uint32_t n;

	for (n = 0; n < rx->buffer_count; n++)
		if (guest_rx_post(rx, n) < 0)
			break;
	return n;
}

/* The frame in hand, while its buffers are taken. */
struct gathering {
	struct guest_net_header header;
	uint32_t header_have;
	uint32_t bytes;
	uint32_t segment_count;
	uint32_t buffer_count;
};

/* A frame that came in one buffer of one piece, as most do. */
static void gather_simple(struct guest_rx *rx, struct gathering *g,
			  const struct guest_used_buffer *b)
{
	const struct guest_piece *p = &rx->pieces[b->cookie];

	memcpy(&g->header, p->host, GUEST_HEADER_LEGACY_BYTES);
	g->header.num_buffers = le16_make(1);
	if (rx->header_bytes == GUEST_HEADER_BYTES)
		memcpy(&g->header.num_buffers, p->host + GUEST_HEADER_LEGACY_BYTES, 2);
	g->header_have = rx->header_bytes;
	g->bytes = b->bytes - rx->header_bytes;
	g->segment_count = 1;
	g->buffer_count = 1;
	rx->buffers[0] = (uint32_t)b->cookie;
	rx->segments[0].data = p->host + rx->header_bytes;
	rx->segments[0].bytes = g->bytes;
}

/* One buffer more: its first bytes may be the header's, the others are a segment per piece. */
static void gather(struct guest_rx *rx, struct gathering *g, const struct guest_used_buffer *b)
{
	const struct guest_piece *p = &rx->pieces[b->cookie * rx->piece_count];

	rx->buffers[g->buffer_count++] = (uint32_t)b->cookie;
	for (uint32_t left = b->bytes; left; p++) {
		uint32_t n = min_u32(left, p->bytes), skip;

		skip = min_u32(n, rx->header_bytes - g->header_have);
		if (skip) {
			memcpy((uint8_t *)&g->header + g->header_have, p->host, skip);
			g->header_have += skip;
		}
		left -= n;
		if (n == skip)
			continue;
		rx->segments[g->segment_count].data = p->host + skip;
		rx->segments[g->segment_count++].bytes = n - skip;
		g->bytes += n - skip;
	}
}

static bool take_checked(struct guest_rx *rx, struct guest_used_buffer *ret)
{
	if (!guest_ring_take(&rx->ring, ret))
		return false;
	if (unlikely(ret->bytes > ret->posted_bytes)) {
		guest_ring_fault(&rx->ring, GUEST_FAULT_RX_TOO_LONG);
		return false;
	}
	return true;
}

/* How many buffers the frame in hand has, 0 at a fault. */
static uint32_t buffers_wanted(struct guest_rx *rx, const struct gathering *g)
{
	uint16_t n = le16_get(g->header.num_buffers);

	if (rx->header_bytes != GUEST_HEADER_BYTES)
		return 1;
	/* Without merging it must still say 1 where VERSION_1 makes the field exist (5.1.6.4.1). */
	if (unlikely(!n || (!rx->mergeable && n != 1) || n > rx->ring.size)) {
		guest_ring_fault(&rx->ring, GUEST_FAULT_NUM_BUFFERS);
		return 0;
	}
	return n;
}

static void check_offload(struct guest_rx *rx, const struct guest_offload *o)
{
	bool bad;

	switch (o->gso_type & ~GUEST_GSO_ECN) {
	case GUEST_GSO_NONE:
		bad = o->gso_type;
		break;
	case GUEST_GSO_TCPV4:
		bad = !(rx->features & GUEST_F_GUEST_TSO4);
		break;
	case GUEST_GSO_TCPV6:
		bad = !(rx->features & GUEST_F_GUEST_TSO6);
		break;
	case GUEST_GSO_UDP:
		bad = !(rx->features & GUEST_F_GUEST_UFO);
		break;
	case GUEST_GSO_UDP_L4:
		bad = !(rx->features & (GUEST_F_GUEST_USO4 | GUEST_F_GUEST_USO6));
		break;
	default:
		bad = true;
	}
	if ((o->gso_type & GUEST_GSO_ECN) && !(rx->features & GUEST_F_GUEST_ECN))
		bad = true;
	if (o->flags && !(rx->features & GUEST_F_GUEST_CSUM))
		bad = true;
	if (o->gso_type && !o->gso_size)
		bad = true;
	rx->gso_frames += o->gso_type != GUEST_GSO_NONE;
	rx->csum_frames += o->flags & GUEST_NET_NEEDS_CSUM;
	if (bad)
		guest_ring_fault(&rx->ring, GUEST_FAULT_RX_OFFLOAD);
}

static bool gather_rest(struct guest_rx *rx, struct gathering *g, bool full)
{
	uint32_t wanted = buffers_wanted(rx, g);
	struct guest_used_buffer b;

	if (!wanted)
		return false;
	while (g->buffer_count < wanted) {
		if (!full)
			guest_ring_fault(&rx->ring, GUEST_FAULT_RX_NOT_FULL);
		if (!take_checked(rx, &b)) {
			guest_ring_fault(&rx->ring, GUEST_FAULT_NUM_BUFFERS);
			return false;
		}
		full = b.bytes == b.posted_bytes;
		gather(rx, g, &b);
	}
	return true;
}

bool guest_rx_poll(struct guest_rx *rx, struct guest_rx_frame *ret)
{
	struct gathering g = {0};
	struct guest_used_buffer b;
	struct guest_offload o;

	if (!take_checked(rx, &b))
		return false;
	if (unlikely(b.bytes < rx->header_bytes)) {
		guest_ring_fault(&rx->ring, GUEST_FAULT_RX_SHORT);
		return false;
	}
	if (likely(rx->piece_count == 1 && b.bytes > rx->header_bytes))
		gather_simple(rx, &g, &b);
	else
		gather(rx, &g, &b);
	if (!gather_rest(rx, &g, b.bytes == b.posted_bytes))
		return false;
	o = (struct guest_offload){
		.flags = g.header.flags,
		.gso_type = g.header.gso_type,
		.hdr_len = le16_get(g.header.hdr_len),
		.gso_size = le16_get(g.header.gso_size),
		.csum_start = le16_get(g.header.csum_start),
		.csum_offset = le16_get(g.header.csum_offset),
	};
	if (unlikely(o.flags | o.gso_type))
		check_offload(rx, &o);
	rx->frames++;
	rx->bytes += g.bytes;
	*ret = (struct guest_rx_frame){
		.offload = o,
		.bytes = g.bytes,
		.segment_count = g.segment_count,
		.segments = rx->segments,
		.buffer_count = g.buffer_count,
		.buffers = rx->buffers,
	};
	return true;
}

void guest_rx_repost(struct guest_rx *rx, const struct guest_rx_frame *frame)
{
	/* The buffers left the ring with this frame, so there is room unless it is at fault. */
	for (uint32_t i = 0; i < frame->buffer_count; i++)
		if (guest_rx_post(rx, frame->buffers[i]) == -EIO)
			return;
}

uint32_t guest_rx_copy(const struct guest_rx_frame *frame, void *buffer, uint32_t bytes)
{
	uint8_t *to = buffer;
	uint32_t done = 0;

	for (uint32_t i = 0; i < frame->segment_count && done < bytes; i++) {
		uint32_t n = min_u32(bytes - done, frame->segments[i].bytes);

		memcpy(to + done, frame->segments[i].data, n);
		done += n;
	}
	return done;
}
