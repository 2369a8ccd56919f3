/* SPDX-License-Identifier: BSD-2-Clause */
/* Is what a sender asks to be finished in its frame possible, and allowed to it? */
#include "packet/offload.h"

#include "base/assert.h"
#include "packet/parse.h"

/* Where TCP keeps its checksum; RFC 9293, 3.1. */
#define TCP_CHECKSUM_OFFSET 16

static bool checksum_valid(const struct lr_offload *offload, uint32_t frame_bytes)
{
	uint32_t field = (uint32_t)offload->csum_start + offload->csum_offset;

	return offload->csum_start >= ETHERNET_BYTES && field + 2 <= frame_bytes;
}

/* The frame is what its gso_type says, and cutting it up gives a sane number of segments. */
static bool gso_valid(struct lr_offload *offload, const uint8_t *head, uint32_t head_bytes,
		      uint32_t frame_bytes, unsigned allowed)
{
	struct packet_layers layers;
	uint32_t payload_bytes;
	uint8_t ip_version;

	switch (offload->gso_type & ~LR_GSO_ECN) {
	case LR_GSO_TCPV4:
		ip_version = allowed & PACKET_OFFLOAD_TSO4 ? 4 : 0;
		break;
	case LR_GSO_TCPV6:
		ip_version = allowed & PACKET_OFFLOAD_TSO6 ? 6 : 0;
		break;
	default:
		return false;
	}
	if (!ip_version || (offload->gso_type & LR_GSO_ECN && !(allowed & PACKET_OFFLOAD_ECN)))
		return false;
	if (!(offload->flags & LR_OFFLOAD_NEEDS_CSUM) || offload->gso_size == 0)
		return false;
	if (packet_parse(head, head_bytes, frame_bytes, true, &layers))
		return false;
	if (layers.ip_version != ip_version || layers.protocol != IP_PROTOCOL_TCP ||
	    !layers.l4_bytes)
		return false;
	if (offload->csum_start != layers.l4_offset || offload->csum_offset != TCP_CHECKSUM_OFFSET)
		return false;
	offload->hdr_len = (uint16_t)(layers.l4_offset + layers.l4_bytes);
	ASSERT(offload->hdr_len <= frame_bytes);
	payload_bytes = frame_bytes - offload->hdr_len;
	return offload->gso_size <= payload_bytes &&
	       (payload_bytes - 1) / offload->gso_size < PACKET_SEGMENTS_MAX;
}

bool packet_offload_valid(struct lr_offload *offload, const uint8_t *head, uint32_t head_bytes,
			  uint32_t frame_bytes, unsigned allowed)
{
	struct lr_offload o = *offload;

	o.hdr_len = 0;
	o.flags &= LR_OFFLOAD_NEEDS_CSUM | LR_OFFLOAD_DATA_VALID;
	if (!(allowed & PACKET_OFFLOAD_DATA_VALID))
		o.flags &= (uint8_t)~LR_OFFLOAD_DATA_VALID;
	if (o.flags & LR_OFFLOAD_NEEDS_CSUM) {
		if (!(allowed & PACKET_OFFLOAD_CSUM) || !checksum_valid(&o, frame_bytes))
			return false;
	} else {
		o.csum_start = 0;
		o.csum_offset = 0;
	}
	if (o.gso_type == LR_GSO_NONE)
		o.gso_size = 0;
	else if (!gso_valid(&o, head, head_bytes, frame_bytes, allowed))
		return false;
	*offload = o;
	return true;
}
