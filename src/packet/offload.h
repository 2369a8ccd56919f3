/* SPDX-License-Identifier: BSD-2-Clause */
/* Is what a sender asks to be finished in its frame possible, and allowed to it? */
#ifndef PACKET_OFFLOAD_H
#define PACKET_OFFLOAD_H

#include <lastref/packet.h>

/* What a sender may ask for: negotiated with a guest, known of a tap. DATA_VALID is a kernel's word
 * and not a guest's.
 */
#define PACKET_OFFLOAD_CSUM	  (1u << 0)
#define PACKET_OFFLOAD_DATA_VALID (1u << 1)
#define PACKET_OFFLOAD_TSO4	  (1u << 2)
#define PACKET_OFFLOAD_TSO6	  (1u << 3)
#define PACKET_OFFLOAD_ECN	  (1u << 4)
#define PACKET_OFFLOAD_ALL	  0x1fu

/* Most segments of one frame: 64 KiB at the smallest MSS that anybody uses. */
#define PACKET_SEGMENTS_MAX (65535 / 88)

/**
 * packet_offload_valid() - Check a request against the frame, and tidy it up
 * @offload:     private copy of what the sender wrote, in host byte order; on success hints are
 *               cleared or replaced by what the frame itself says, unused members are 0
 * @head:        private first bytes of the frame
 * @head_bytes:  how many of them
 * @frame_bytes: the whole frame
 * @allowed:     PACKET_OFFLOAD_*
 *
 * Flags that are unknown or that a sender must not set are ignored, as virtio demands (1.3,
 * 5.1.6.2); a gso_type that is unknown or not @allowed, offsets out of bounds, sizes that make no
 * sense and headers that do not fit the request are refused.
 *
 * Return: the request can be carried out
 */
bool packet_offload_valid(struct lr_offload *offload, const uint8_t *head, uint32_t head_bytes,
			  uint32_t frame_bytes, unsigned allowed);

#endif
