/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the layers of a frame begin, read from its private head. */
#include "packet/parse.h"

#include <errno.h>

#include "base/assert.h"
#include "base/util.h"

/* RFC 8200, 4: the headers that may stand between an IPv6 header and the transport. */
enum {
	IPV6_HOP_BY_HOP = 0,
	IPV6_ROUTING = 43,
	IPV6_FRAGMENT = 44,
	IPV6_OPTIONS = 60,
};

static void parse_transport(const uint8_t *head, uint32_t head_bytes, uint32_t at,
			    uint32_t end_offset, uint8_t protocol, struct packet_layers *layers)
{
	uint32_t bytes = 0;

	layers->protocol = protocol;
	if (at > head_bytes)
		return;
	layers->l4_offset = (uint16_t)at;
	if (protocol == IP_PROTOCOL_UDP)
		bytes = 8;
	else if (protocol == IP_PROTOCOL_TCP && head_bytes - at >= 20)
		bytes = (uint32_t)(head[at + 12] >> 4) * 4;
	if (protocol == IP_PROTOCOL_TCP && bytes < 20)
		return;
	if (at + bytes <= head_bytes && at + bytes <= end_offset)
		layers->l4_bytes = (uint16_t)bytes;
}

/* RFC 791, 3.1 */
static void parse_ipv4(const uint8_t *head, uint32_t head_bytes, uint32_t frame_bytes, bool gso,
		       struct packet_layers *layers)
{
	uint32_t at = layers->l3_offset, header_bytes, ip_bytes;
	const uint8_t *ip = head + at;

	if (head_bytes - at < 20 || ip[0] >> 4 != 4)
		return;
	header_bytes = (uint32_t)(ip[0] & 15) * 4;
	ip_bytes = gso ? frame_bytes - at : head_get_16(ip + 2);
	if (header_bytes < 20 || header_bytes > head_bytes - at)
		return;
	if (ip_bytes < header_bytes || ip_bytes > frame_bytes - at)
		return;
	layers->ip_version = 4;
	layers->ip_bytes = ip_bytes;
	layers->fragment = (head_get_16(ip + 6) & 0x3fff) != 0; /* more to come, or not the first */
	if (!layers->fragment)
		parse_transport(head, head_bytes, at + header_bytes, at + ip_bytes, ip[9], layers);
}

/* RFC 8200, 3 and 4 */
static void parse_ipv6(const uint8_t *head, uint32_t head_bytes, uint32_t frame_bytes, bool gso,
		       struct packet_layers *layers)
{
	uint32_t at = layers->l3_offset, start, end;
	const uint8_t *ip = head + at;
	uint8_t next;

	if (head_bytes - at < IPV6_HEADER_BYTES || ip[0] >> 4 != 6)
		return;
	end = gso ? frame_bytes : at + IPV6_HEADER_BYTES + head_get_16(ip + 4);
	if (end > frame_bytes)
		return;
	layers->ip_version = 6;
	layers->ip_bytes = end - at;
	next = ip[6];
	at += IPV6_HEADER_BYTES;
	start = at;
	for (unsigned i = 0; i <= PARSE_IPV6_HEADERS; i++) {
		if (next == IPV6_FRAGMENT) {
			layers->fragment = true;
			return;
		}
		if (next != IPV6_HOP_BY_HOP && next != IPV6_ROUTING && next != IPV6_OPTIONS) {
			parse_transport(head, head_bytes, at, end, next, layers);
			return;
		}
		if (head_bytes - at < 8)
			return;
		/* A route still to go: the address in the pseudo header is not the one we see. */
		if (next == IPV6_ROUTING && head[at + 3] != 0)
			return;
		next = head[at];
		at += ((uint32_t)head[at + 1] + 1) * 8;
		if (at > head_bytes || at > end || at - start > PARSE_IPV6_BYTES)
			return;
	}
}

int packet_parse(const uint8_t *head, uint32_t head_bytes, uint32_t frame_bytes, bool gso,
		 struct packet_layers *layers)
{
	uint32_t at = 12;

	ASSERT(head_bytes <= frame_bytes);
	*layers = (struct packet_layers){0};
	if (head_bytes < ETHERNET_BYTES)
		return -EINVAL;
	layers->ethertype = head_get_16(head + at);
	while (layers->tag_count < PARSE_VLAN_TAGS &&
	       (layers->ethertype == ETHERTYPE_VLAN || layers->ethertype == ETHERTYPE_QINQ)) {
		if (head_bytes - at < VLAN_TAG_BYTES + 2)
			break; /* a tag cut short: the tag's own type is all there is */
		at += VLAN_TAG_BYTES;
		layers->ethertype = head_get_16(head + at);
		layers->tag_count++;
	}
	layers->l3_offset = (uint16_t)(at + 2);
	if (layers->ethertype == ETHERTYPE_IPV4)
		parse_ipv4(head, head_bytes, frame_bytes, gso, layers);
	else if (layers->ethertype == ETHERTYPE_IPV6)
		parse_ipv6(head, head_bytes, frame_bytes, gso, layers);
	return 0;
}
