/* SPDX-License-Identifier: BSD-2-Clause */
/* TCP segmentation: one large packet becomes finished ones that share its payload. */
#include <lastref/packet.h>

#include <errno.h>
#include <string.h>

#include "packet/internal.h"
#include "packet/offload.h"
#include "packet/parse.h"

/*
 * Theory of operation
 *
 * Every segment is a new packet: a copy of the headers, then its share of what payload lay in the
 * private head, then references to its share of the frags (L6, L7). All are made before the large
 * packet is given away: when the pool runs out in the middle the segments made so far are freed
 * and the large packet is as it was.
 *
 * Headers are written and checksums are taken from the private head alone; the checksum that the
 * sender left half done is not used, it is computed from nothing (RFC 9293, 3.1; RFC 8200, 8.1).
 */

enum { TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_CWR = 0x80 };

/* What is the same for all segments. */
struct plan {
	struct packet_layers layers;
	uint32_t header_bytes;
	uint32_t payload_bytes;
	uint32_t segment_bytes;
	uint32_t count;
};

static int plan_make(const struct lr_packet *p, struct plan *plan)
{
	struct lr_offload offload = p->offload;

	if (!packet_offload_valid(&offload, p->head, p->head_bytes, p->bytes, PACKET_OFFLOAD_ALL) ||
	    packet_parse(p->head, p->head_bytes, p->bytes, true, &plan->layers))
		return -EINVAL;
	switch (offload.gso_type & ~LR_GSO_ECN) {
	case LR_GSO_TCPV4:
	case LR_GSO_TCPV6:
		break;
	default:
		return -EINVAL;
	}
	plan->header_bytes = (uint32_t)plan->layers.l4_offset + plan->layers.l4_bytes;
	plan->payload_bytes = p->bytes - plan->header_bytes;
	plan->segment_bytes = offload.gso_size;
	plan->count = (plan->payload_bytes + plan->segment_bytes - 1) / plan->segment_bytes;
	return 0;
}

/* Headers and @bytes of payload from @offset on. */
static struct lr_packet *segment_carve(const struct lr_packet *p, const struct plan *plan,
				       uint32_t offset, uint32_t bytes)
{
	uint32_t in_head = p->head_bytes - plan->header_bytes; /* payload bytes */
	struct lr_packet *s = packet_start(p->pool, lr_packet_headroom(p));
	uint32_t part = 0;

	if (unlikely(!s))
		return NULL;
	packet_note(s, PACKET_EVENT_SEGMENT);
	packet_remarks_copy(s, p);
	memcpy(s->head, p->head, plan->header_bytes);
	if (offset < in_head) {
		part = min_u32(in_head - offset, bytes);
		memcpy(s->head + plan->header_bytes, p->head + plan->header_bytes + offset, part);
	}
	s->head_bytes = plan->header_bytes + part;
	s->bytes = s->head_bytes;
	if (bytes > part)
		packet_frags_copy(s, p, offset + part - in_head, bytes - part);
	ASSERT(s->bytes == plan->header_bytes + bytes); /* L7 */
	return s;
}

static void ipv4_finish(struct lr_packet *s, const struct plan *plan, uint32_t index)
{
	uint8_t *ip = s->head + plan->layers.l3_offset;
	uint16_t sum = 0;

	head_put_16(ip + 2, s->bytes - plan->layers.l3_offset);
	head_put_16(ip + 4, head_get_16(ip + 4) + index);
	memcpy(ip + 10, &sum, sizeof(sum));
	sum = lr_checksum_fold(lr_checksum(ip, (size_t)(ip[0] & 15) * 4, 0, false));
	memcpy(ip + 10, &sum, sizeof(sum));
}

/* The sum of what TCP's checksum covers beside its own bytes. */
static uint32_t pseudo_header_sum(const struct lr_packet *s, const struct plan *plan)
{
	const uint8_t *ip = s->head + plan->layers.l3_offset;
	uint8_t tail[8] = {0};
	uint32_t sum;

	if (plan->layers.ip_version == 4)
		sum = lr_checksum(ip + 12, 8, 0, false);
	else
		sum = lr_checksum(ip + 8, 32, 0, false);
	head_put_32(tail, s->bytes - plan->layers.l4_offset);
	tail[7] = IP_PROTOCOL_TCP;
	return lr_checksum(tail, sizeof(tail), sum, false);
}

static void segment_finish(struct lr_packet *s, const struct plan *plan, uint32_t index)
{
	uint8_t *ip = s->head + plan->layers.l3_offset;
	uint8_t *tcp = s->head + plan->layers.l4_offset;
	uint16_t sum = 0;

	if (plan->layers.ip_version == 4)
		ipv4_finish(s, plan, index);
	else
		head_put_16(ip + 4, s->bytes - plan->layers.l3_offset - IPV6_HEADER_BYTES);
	head_put_32(tcp + 4, head_get_32(tcp + 4) + index * plan->segment_bytes);
	if (index > 0) /* RFC 3168, 6.1.2: told once */
		tcp[13] &= (uint8_t)~TCP_CWR;
	if (index < plan->count - 1)
		tcp[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	memcpy(tcp + 16, &sum, sizeof(sum));
	sum = lr_checksum_fold(packet_checksum(s, plan->layers.l4_offset,
					       s->bytes - plan->layers.l4_offset,
					       pseudo_header_sum(s, plan)));
	memcpy(tcp + 16, &sum, sizeof(sum));
}

static void list_free(struct lr_packet *list)
{
	while (list) {
		struct lr_packet *next = list->next;

		lr_packet_free(list);
		list = next;
	}
}

int lr_packet_segment(struct lr_packet *p, struct lr_packet **ret_list)
{
	struct lr_packet *list = NULL, **end = &list;
	uint32_t offset = 0;
	struct plan plan;
	int r;

	PACKET_ENTER(p, PACKET_EVENT_SEGMENT);
	r = plan_make(p, &plan);
	if (r)
		return r;
	for (uint32_t i = 0; i < plan.count; i++) {
		uint32_t bytes = min_u32(plan.segment_bytes, plan.payload_bytes - offset);
		struct lr_packet *s = segment_carve(p, &plan, offset, bytes);

		if (unlikely(!s)) {
			list_free(list); /* L7: on error paths too */
			return -ENOMEM;
		}
		segment_finish(s, &plan, i);
		*end = s;
		end = &s->next;
		offset += bytes;
	}
	ASSERT(offset == plan.payload_bytes); /* L7 */
	lr_packet_free(p);
	*ret_list = list;
	return (int)plan.count;
}
