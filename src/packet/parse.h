/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the layers of a frame begin, read from its private head. */
#ifndef PACKET_PARSE_H
#define PACKET_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#define ETHERNET_BYTES	   14
#define VLAN_TAG_BYTES	   4
#define ETHERTYPE_IPV4	   0x0800
#define ETHERTYPE_IPV6	   0x86dd
#define ETHERTYPE_VLAN	   0x8100
#define ETHERTYPE_QINQ	   0x88a8
#define IP_PROTOCOL_TCP	   6
#define IP_PROTOCOL_UDP	   17
#define IPV6_HEADER_BYTES  40
#define PARSE_VLAN_TAGS	   2   /* most tags that are looked through */
#define PARSE_IPV6_HEADERS 8   /* most extension headers */
#define PARSE_IPV6_BYTES   256 /* and most bytes of them */

/**
 * struct packet_layers - What a frame is, as far as its head tells
 * @ethertype:  behind the tags, host byte order; below 0x600: a length (802.3), then LLC
 * @tag_count:  VLAN tags found, at most PARSE_VLAN_TAGS
 * @ip_version: 4 or 6; 0: no IP, or an IP header that is malformed or not whole in the head
 * @fragment:   an IP fragment: there is no transport header to look at
 * @protocol:   of the transport header; 0 when there is none to look at
 * @l3_offset:  first byte behind Ethernet and tags
 * @l4_offset:  of the transport header; 0 when there is none to look at
 * @l4_bytes:   of a whole TCP or UDP header in the head; 0 otherwise
 * @ip_bytes:   of the whole IP packet, as its header says; never more than the frame has, else
 *              @ip_version is 0
 */
struct packet_layers {
	uint16_t ethertype;
	uint8_t tag_count;
	uint8_t ip_version;
	bool fragment;
	uint8_t protocol;
	uint16_t l3_offset;
	uint16_t l4_offset;
	uint16_t l4_bytes;
	uint32_t ip_bytes;
};

/**
 * packet_parse() - Find the layers of a frame
 * @head:        its private first bytes
 * @head_bytes:  how many of them
 * @frame_bytes: the whole frame, for the lengths that its headers claim
 * @gso:         the frame is to be cut: lengths in its IP header are not looked at, since they
 *               need not fit into their fields
 * @layers:      written whole
 *
 * What cannot be told is left 0 and the frame is a plain Ethernet frame from there on; only one
 * shorter than an Ethernet header is refused. Work is bounded whatever the bytes are.
 *
 * Return: 0, -EINVAL
 */
int packet_parse(const uint8_t *head, uint32_t head_bytes, uint32_t frame_bytes, bool gso,
		 struct packet_layers *layers);

/* Big-endian loads and stores of a private head. */
static inline uint16_t head_get_16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t head_get_32(const uint8_t *at)
{
	return (uint32_t)head_get_16(at) << 16 | head_get_16(at + 2);
}

static inline void head_put_16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline void head_put_32(uint8_t *at, uint32_t value)
{
	head_put_16(at, value >> 16);
	head_put_16(at + 2, value);
}

#endif
