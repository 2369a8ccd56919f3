/* SPDX-License-Identifier: BSD-2-Clause */
/* A frame: what a turn sees of one received chain. Borrowed; gone at the end of the turn (L1). */
#ifndef PACKET_FRAME_H
#define PACKET_FRAME_H

#include <lastref/packet.h>

#include "base/segment.h"
#include "base/util.h"

#define FRAME_HEADROOM	     128 /* in front of the snapshot: outer headers are built here */
#define FRAME_SNAPSHOT_BYTES 128 /* first bytes of the frame, read once */
#define FRAME_BURST	     32	 /* frames of one burst */
#define FRAME_BURST_SEGMENTS 1280

struct frame;

/**
 * struct frame_lender - Who can make a borrowed frame outlive its turn
 * @lend: a ubuf whose count is 1 (the turn's reference), or NULL when this frame must be copied:
 *        an IN_ORDER ring, the quota is spent, private memory. Owner's worker only (L5)
 * @refusal: why the last lend() returned NULL (enum port_copy_reason)
 */
struct frame_lender {
	struct lr_ubuf *(*lend)(struct frame_lender *lender, struct frame *f);
	unsigned refusal;
};

/**
 * struct frame - One frame of the burst
 * @head:          first byte of the Ethernet header, in private memory
 * @head_bytes:    how much of the frame lies there (the snapshot)
 * @bytes:         the whole frame, without virtio-net header
 * @segment_count: pieces of the rest
 * @segments:      the rest, where it lies: may change under us, never decide on it (L9)
 * @offload:       what is left to finish; validated against the head
 * @lender:        NULL: private memory of the worker, can only be copied
 * @ubuf:          set once lent: the turn's own reference, put at the end of the burst
 * @slot:          the source's own index of it
 * @vlan:          VLAN it was classified into; 0 when VLANs are not in use
 * @room:          headroom and snapshot
 */
struct frame {
	uint8_t *head;
	struct segment *segments;
	uint32_t bytes;
	uint16_t head_bytes;
	uint16_t segment_count;
	struct frame_lender *lender;
	struct lr_ubuf *ubuf;
	struct lr_offload offload;
	uint16_t slot;
	uint16_t vlan;
	uint8_t room[FRAME_HEADROOM + FRAME_SNAPSHOT_BYTES] CACHE_ALIGNED;
};

/**
 * struct frame_burst - What one receive call brought; one per worker, used again and again
 */
struct frame_burst {
	unsigned count;
	unsigned segment_count;
	struct frame frames[FRAME_BURST];
	struct segment segments[FRAME_BURST_SEGMENTS];
};

/**
 * frame_of_packet() - View a packet as a frame, for ports that deliver at once
 * @segments: room for LR_PACKET_FRAGS
 *
 * The view is valid as long as the packet.
 */
void frame_of_packet(struct frame *f, struct segment *segments, const struct lr_packet *p);

/**
 * frame_read() - Copy @bytes from @offset on: from the private head as far as it reaches
 *
 * Only for bytes that nothing is decided on (L9). Return: 0, -EINVAL when the frame is shorter
 */
int frame_read(const struct frame *f, uint32_t offset, void *buffer, uint32_t bytes);

/**
 * frame_copy() - The frame as a packet in @pool's memory
 *
 * Return: NULL when the pool is empty
 */
struct lr_packet *frame_copy(const struct frame *f, struct lr_pool *pool);

/**
 * frame_lend() - The frame as a packet whose frags point into the lender's buffer (L2)
 *
 * The first call of a frame asks its lender and keeps the turn's reference in @f->ubuf; further
 * ones share the buffer, so that each holder of a flooded frame has a packet of its own.
 * Return: NULL when it cannot be lent or the pool is empty: copy instead
 */
struct lr_packet *frame_lend(struct frame *f, struct lr_pool *pool);

#endif
