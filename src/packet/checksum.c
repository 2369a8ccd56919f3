/* SPDX-License-Identifier: BSD-2-Clause */
/* The Internet checksum (RFC 1071), over memory and over packets. */
#include <lastref/packet.h>

#include <errno.h>
#include <string.h>

#include "packet/internal.h"

/*
 * Sums are taken over words in the order they lie in memory, whatever the machine's byte order:
 * the folded result is stored as it is. Words of 64 bits are added in two independent chains whose
 * carries are counted beside them: one addition a cycle and chain, no folding in the loop.
 */

/* 64 bits to 32; congruent modulo 0xffff. */
static uint32_t fold_64(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (uint32_t)sum;
}

/* 32 bits to 16. */
static uint16_t fold_32(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint64_t load_64(const uint8_t *data)
{
	uint64_t word;

	memcpy(&word, data, sizeof(word));
	return word;
}

/* The last @bytes, less than 8, as words that stand where words stand. */
static uint64_t load_tail(const uint8_t *data, size_t bytes)
{
	uint32_t four = 0;
	uint16_t two = 0, one = 0;

	if (bytes & 4) {
		memcpy(&four, data, 4);
		data += 4;
	}
	if (bytes & 2) {
		memcpy(&two, data, 2);
		data += 2;
	}
	if (bytes & 1)
		memcpy(&one, data, 1); /* the first byte of its word, the second is 0 */
	return (uint64_t)four + two + one;
}

/* @a + @b, the carry saved in @carries. */
static uint64_t add_64(uint64_t a, uint64_t b, uint64_t *carries)
{
	uint64_t sum;

	*carries += __builtin_add_overflow(a, b, &sum);
	return sum;
}

uint32_t lr_checksum(const void *data, size_t bytes, uint32_t sum, bool odd)
{
	uint64_t a = 0, b = 0, a_carries = 0, b_carries = 0;
	const uint8_t *at = data;
	uint32_t own;

	for (; bytes >= 32; bytes -= 32, at += 32) {
		a = add_64(a, load_64(at), &a_carries);
		b = add_64(b, load_64(at + 8), &b_carries);
		a = add_64(a, load_64(at + 16), &a_carries);
		b = add_64(b, load_64(at + 24), &b_carries);
	}
	for (; bytes >= 8; bytes -= 8, at += 8)
		a = add_64(a, load_64(at), &a_carries);
	a = add_64(a, load_tail(at, bytes), &a_carries);
	a = add_64(a, b, &a_carries);
	/* 2^64 is 1 modulo 0xffff: a carry counts as one */
	own = fold_64((uint64_t)fold_64(a) + a_carries + b_carries);
	if (odd)
		own = (uint32_t)__builtin_bswap16(fold_32(own));
	return fold_64((uint64_t)sum + own);
}

uint16_t lr_checksum_fold(uint32_t sum)
{
	return (uint16_t)~fold_32(sum);
}

uint32_t packet_checksum(const struct lr_packet *p, uint32_t offset, uint32_t bytes, uint32_t sum)
{
	bool odd = false;
	uint32_t part;

	ASSERT((uint64_t)offset + bytes <= p->bytes);
	if (offset < p->head_bytes) {
		part = min_u32(p->head_bytes - offset, bytes);
		sum = lr_checksum(p->head + offset, part, sum, odd);
		odd ^= part & 1;
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
		sum = lr_checksum(frag->data + offset, part, sum, odd);
		odd ^= part & 1;
		bytes -= part;
		offset = 0;
	}
	return sum;
}

int lr_packet_finish_checksum(struct lr_packet *p)
{
	uint32_t start = p->offload.csum_start, field = start + p->offload.csum_offset;
	uint16_t sum;
	int r;

	PACKET_ENTER(p, PACKET_EVENT_CHECKSUM);
	if (!(p->offload.flags & LR_OFFLOAD_NEEDS_CSUM))
		return 0;
	if (p->offload.gso_type != LR_GSO_NONE || field + sizeof(sum) > p->bytes)
		return -EINVAL;
	/* L9: only the private head is ever written */
	r = lr_packet_linearize(p, field + (uint32_t)sizeof(sum));
	if (r)
		return -EINVAL;
	sum = lr_checksum_fold(packet_checksum(p, start, p->bytes - start, 0));
	if (!sum && p->offload.csum_offset == 6) /* UDP: 0 would say that there is none */
		sum = 0xffff;
	ASSERT(p->head + field + sizeof(sum) <= p->room + LR_PACKET_HEAD_BYTES); /* L9 */
	memcpy(p->head + field, &sum, sizeof(sum));
	p->offload.flags &= (uint8_t)~LR_OFFLOAD_NEEDS_CSUM;
	p->offload.csum_start = 0;
	p->offload.csum_offset = 0;
	return 0;
}
