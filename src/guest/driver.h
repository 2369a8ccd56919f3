/* SPDX-License-Identifier: BSD-2-Clause */
/* A virtio-net driver's two queues (virtio 1.3, 5.1.6) over rings in plain memory. */
#ifndef GUEST_DRIVER_H
#define GUEST_DRIVER_H

#include "guest/ring.h"

/* The header as it lies in front of a frame: virtio 1.3, 5.1.6. */
struct guest_net_header {
	uint8_t flags;
	uint8_t gso_type;
	le16 hdr_len;
	le16 gso_size;
	le16 csum_start;
	le16 csum_offset;
	le16 num_buffers; /* only where the header has 12 bytes */
};

#define GUEST_HEADER_BYTES	  12
#define GUEST_HEADER_LEGACY_BYTES 10

#define GUEST_NET_NEEDS_CSUM 1
#define GUEST_NET_DATA_VALID 2
#define GUEST_GSO_NONE	     0
#define GUEST_GSO_TCPV4	     1
#define GUEST_GSO_UDP	     3
#define GUEST_GSO_TCPV6	     4
#define GUEST_GSO_UDP_L4     5
#define GUEST_GSO_ECN	     0x80

/**
 * guest_header_bytes() - Size of the header for negotiated @features: 12 with VERSION_1 or
 * MRG_RXBUF, else 10
 */
uint32_t guest_header_bytes(uint64_t features);

/**
 * struct guest_offload - The header's fields in host byte order
 */
struct guest_offload {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
};

/**
 * struct guest_tx_options - A transmit queue
 * @size, @indirect, @base: as in struct guest_ring_options
 * @features:   negotiated
 * @pieces_max: most pieces of a frame, the header's own not counted; 0 means 1
 * @header_apart: the header gets a descriptor of its own; else it lies in front of the first
 *              piece, which then must have guest_header_bytes() of room there
 * @poison:     overwrite every buffer that comes back, so that a late reader shows
 */
struct guest_tx_options {
	uint32_t size;
	uint64_t features;
	enum guest_indirect indirect;
	uint16_t pieces_max;
	uint16_t base;
	bool header_apart;
	bool poison;
};

/**
 * struct guest_tx - A transmit queue
 * @ring:         the ring and its ledger
 * @header_bytes: size of the header
 * @headers:      one per head, where they have descriptors of their own
 * @poisoned:     the pieces of each head, kept to poison them
 * @scratch:      a frame's pieces with its header
 * @frames, @bytes: posted so far, without headers
 */
struct guest_tx {
	struct guest_ring ring;
	uint32_t header_bytes;
	bool header_apart;
	struct guest_block headers;
	struct guest_piece *poisoned;
	struct guest_piece *scratch;
	uint64_t frames;
	uint64_t bytes;
};

/**
 * guest_tx_init() - Take everything from @m and the heap; the queue is empty
 *
 * Return: 0, or negative errno with @err set
 */
int guest_tx_init(struct guest_tx *tx, struct guest_memory *m,
		  const struct guest_tx_options *options, struct errmsg *err);

/**
 * guest_tx_fini() - Free the heap's part. Harmless on a zeroed queue
 */
void guest_tx_fini(struct guest_tx *tx);

/**
 * guest_tx_post() - Post a frame; guest_tx_publish() shows it to the device
 * @pieces:  the frame's bytes, @count pieces
 * @offload: written to the header; NULL: none
 * @cookie:  comes back with the buffer
 *
 * The bytes are the device's until the cookie comes back.
 *
 * Return: head index, -ENOSPC when the ring is full, -EIO after a fatal fault
 */
int guest_tx_post(struct guest_tx *tx, const struct guest_piece *pieces, uint32_t count,
		  const struct guest_offload *offload, uint64_t cookie);

/**
 * guest_tx_publish() - Show the device what was posted. Return: whether it wants a kick
 */
static inline bool guest_tx_publish(struct guest_tx *tx)
{
	return guest_ring_publish(&tx->ring);
}

/**
 * guest_tx_reap() - Take back up to @max buffers
 * @ret_cookies: their cookies; may be NULL
 *
 * Return: how many; 0 also after a fatal fault (tx->ring.fault)
 */
uint32_t guest_tx_reap(struct guest_tx *tx, uint64_t *ret_cookies, uint32_t max);

/**
 * struct guest_rx_options - A receive queue
 * @size, @features, @indirect, @base: as for transmit
 * @buffer_count: receive buffers to make; 0 means as many as the ring takes
 * @buffer_bytes: size of each, header included
 * @piece_count:  descriptors per buffer, 0 means 1
 * @header_apart: the first descriptor is for the header alone (one more piece)
 */
struct guest_rx_options {
	uint32_t size;
	uint64_t features;
	enum guest_indirect indirect;
	uint16_t base;
	uint32_t buffer_count;
	uint32_t buffer_bytes;
	uint16_t piece_count;
	bool header_apart;
};

/**
 * struct guest_rx_frame - One received frame; its memory is ours until reposted
 * @offload:       from its header
 * @bytes:         without the header
 * @segment_count: contiguous parts of it
 * @segments:      where they are; valid until the next poll
 * @buffer_count:  buffers that it came in
 * @buffers:       their indexes, for guest_rx_post(); valid until the next poll
 */
struct guest_rx_frame {
	struct guest_offload offload;
	uint32_t bytes;
	uint32_t segment_count;
	const struct guest_segment *segments;
	uint32_t buffer_count;
	const uint32_t *buffers;
};

struct guest_segment {
	const uint8_t *data;
	uint32_t bytes;
};

/**
 * struct guest_rx - A receive queue
 * @ring:         the ring and its ledger
 * @header_bytes: size of the header
 * @mergeable:    MRG_RXBUF was negotiated
 * @features:     negotiated
 * @pieces:       all buffers, @piece_count pieces each; a buffer's index is its cookie
 * @buffer_count: how many there are
 * @segments, @buffers: of the frame in hand
 * @frames, @bytes: received so far, without headers
 * @gso_frames, @csum_frames: of these, with something left to finish
 */
struct guest_rx {
	struct guest_ring ring;
	uint32_t header_bytes;
	bool mergeable;
	uint64_t features;
	struct guest_piece *pieces;
	uint32_t piece_count;
	uint32_t buffer_count;
	struct guest_segment *segments;
	uint32_t *buffers;
	uint64_t frames;
	uint64_t bytes;
	uint64_t gso_frames;
	uint64_t csum_frames;
};

/**
 * guest_rx_init() - Take everything from @m and the heap; nothing is posted
 *
 * Return: 0, or negative errno with @err set
 */
int guest_rx_init(struct guest_rx *rx, struct guest_memory *m,
		  const struct guest_rx_options *options, struct errmsg *err);

/**
 * guest_rx_fini() - Free the heap's part. Harmless on a zeroed queue
 */
void guest_rx_fini(struct guest_rx *rx);

/**
 * guest_rx_post() - Give buffer @index to the device
 *
 * Return: head index, -ENOSPC when the ring is full, -EIO after a fatal fault
 */
int guest_rx_post(struct guest_rx *rx, uint32_t index);

/**
 * guest_rx_fill() - Post all buffers, or as many as the ring takes. For an empty queue
 *
 * Return: how many were posted
 */
uint32_t guest_rx_fill(struct guest_rx *rx);

/**
 * guest_rx_publish() - Show the device what was posted. Return: whether it wants a kick
 */
static inline bool guest_rx_publish(struct guest_rx *rx)
{
	return guest_ring_publish(&rx->ring);
}

/**
 * guest_rx_poll() - The next received frame
 * @ret: untouched when there is none
 *
 * Return: false when there is none, or at a fatal fault (rx->ring.fault)
 */
bool guest_rx_poll(struct guest_rx *rx, struct guest_rx_frame *ret);

/**
 * guest_rx_repost() - Post the buffers of a frame again
 */
void guest_rx_repost(struct guest_rx *rx, const struct guest_rx_frame *frame);

/**
 * guest_rx_copy() - Gather up to @bytes of a frame. Return: how many were copied
 */
uint32_t guest_rx_copy(const struct guest_rx_frame *frame, void *buffer, uint32_t bytes);

/**
 * guest_pieces_cut() - Cut @bytes at @block into @count pieces, all but the last equally long
 *
 * Pieces may be empty when there are fewer bytes than pieces: descriptors of 0 bytes.
 */
void guest_pieces_cut(struct guest_block block, uint32_t bytes, uint32_t count,
		      struct guest_piece *ret_pieces);

#endif
