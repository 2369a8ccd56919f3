/* SPDX-License-Identifier: BSD-2-Clause */
/* Test traffic: frames that say who sent them, to whom, which one, and carry a pattern. */
#include "guest/traffic.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define PATTERN_STEP 0x9e3779b97f4a7c15ull

/* The pattern is a row of 64-bit words: a seed that no two frames share, plus a step each. */
static uint64_t pattern_seed(const struct traffic_id *id)
{
	uint64_t x = id->sequence ^ ((uint64_t)id->sender << 48) ^ ((uint64_t)id->receiver << 32) ^
		     id->bytes;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	return x ^ (x >> 27);
}

static uint8_t pattern_byte(uint64_t seed, uint32_t at)
{
	return (uint8_t)((seed + (at / 8) * PATTERN_STEP) >> (8 * (at % 8)));
}

static void pattern_write(uint64_t seed, uint8_t *to, uint32_t bytes)
{
	uint32_t at;

	for (at = 0; at + 8 <= bytes; at += 8, seed += PATTERN_STEP) {
		uint64_t word = htole64(seed);

		memcpy(to + at, &word, 8);
	}
	for (uint32_t i = 0; at < bytes; at++, i++)
		to[at] = (uint8_t)(seed >> (8 * i));
}

/* Compare @bytes at @data with the pattern from byte @offset on. */
static bool pattern_check(uint64_t seed, uint32_t offset, const uint8_t *data, uint32_t bytes)
{
	uint64_t word_seed, differs = 0;
	uint32_t at = 0;

	for (; at < bytes && (offset + at) % 8; at++)
		differs |= data[at] ^ pattern_byte(seed, offset + at);
	word_seed = seed + ((offset + at) / 8) * PATTERN_STEP;
	for (; at + 8 <= bytes; at += 8, word_seed += PATTERN_STEP) {
		uint64_t word;

		memcpy(&word, data + at, 8);
		differs |= le64toh(word) ^ word_seed;
	}
	for (; at < bytes; at++)
		differs |= data[at] ^ pattern_byte(seed, offset + at);
	return !differs;
}

void traffic_mac(uint16_t number, uint8_t ret_mac[6])
{
	/* Locally administered, "LR", the number. */
	static const uint8_t first[4] = {0x02, 0x4c, 0x52, 0x00};

	if (number == TRAFFIC_BROADCAST) {
		memset(ret_mac, 0xff, 6);
		return;
	}
	memcpy(ret_mac, first, sizeof(first));
	ret_mac[4] = (uint8_t)(number >> 8);
	ret_mac[5] = (uint8_t)number;
}

/* Ethernet header and ours, all of which follows from @id. */
static void write_headers(uint8_t to[TRAFFIC_FRAME_MIN], const struct traffic_id *id)
{
	struct traffic_header h = {
		.magic = le32_make(TRAFFIC_MAGIC),
		.sender = le16_make(id->sender),
		.receiver = le16_make(id->receiver),
		.bytes = le32_make(id->bytes),
		.sequence = le64_make(id->sequence),
	};

	static_assert(14 + sizeof(h) == TRAFFIC_FRAME_MIN, "no gap");
	traffic_mac(id->receiver, to);
	traffic_mac(id->sender, to + 6);
	to[12] = TRAFFIC_ETHERTYPE >> 8;
	to[13] = TRAFFIC_ETHERTYPE & 0xff;
	memcpy(to + 14, &h, sizeof(h));
}

void traffic_write(uint8_t *frame, uint32_t bytes, uint16_t sender, uint16_t receiver,
		   uint64_t sequence)
{
	struct traffic_id id = {sender, receiver, bytes, sequence};

	ASSERT(bytes >= TRAFFIC_FRAME_MIN);
	write_headers(frame, &id);
	pattern_write(pattern_seed(&id), frame + TRAFFIC_FRAME_MIN, bytes - TRAFFIC_FRAME_MIN);
}

static bool all_zero(const uint8_t *data, uint32_t bytes)
{
	uint8_t any = 0;

	for (uint32_t i = 0; i < bytes; i++)
		any |= data[i];
	return !any;
}

/* Everything behind the headers: pattern, then zeros where the frame was padded. */
static bool check_rest(const struct guest_rx_frame *frame, const struct traffic_id *id)
{
	uint64_t seed = pattern_seed(id);
	uint32_t at = 0; /* in the frame */

	for (uint32_t i = 0; i < frame->segment_count; i++) {
		const uint8_t *data = frame->segments[i].data;
		uint32_t left = frame->segments[i].bytes, n;

		if (at < TRAFFIC_FRAME_MIN) {
			n = min_u32(left, TRAFFIC_FRAME_MIN - at);
			at += n;
			data += n;
			left -= n;
		}
		n = at < id->bytes ? min_u32(left, id->bytes - at) : 0;
		if (n && !pattern_check(seed, at - TRAFFIC_FRAME_MIN, data, n))
			return false;
		if (!all_zero(data + n, left - n))
			return false;
		at += left;
	}
	return true;
}

enum traffic_verdict traffic_check(const struct guest_rx_frame *frame, bool whole,
				   struct traffic_id *ret_id)
{
	uint8_t head[TRAFFIC_FRAME_MIN], expected[TRAFFIC_FRAME_MIN];
	struct traffic_header h;
	struct traffic_id id;

	if (frame->bytes < 14)
		return TRAFFIC_BAD;
	if (guest_rx_copy(frame, head, sizeof(head)) < sizeof(head))
		return head[12] == TRAFFIC_ETHERTYPE >> 8 && head[13] == (TRAFFIC_ETHERTYPE & 0xff)
			       ? TRAFFIC_BAD
			       : TRAFFIC_OTHER;
	if (head[12] != TRAFFIC_ETHERTYPE >> 8 || head[13] != (TRAFFIC_ETHERTYPE & 0xff))
		return TRAFFIC_OTHER;
	memcpy(&h, head + 14, sizeof(h));
	id = (struct traffic_id){
		.sender = le16_get(h.sender),
		.receiver = le16_get(h.receiver),
		.bytes = le32_get(h.bytes),
		.sequence = le64_get(h.sequence),
	};
	write_headers(expected, &id);
	if (memcmp(head, expected, sizeof(head)) != 0)
		return TRAFFIC_BAD;
	/* Padded to an Ethernet frame's least, or not at all. */
	if (frame->bytes != id.bytes && (frame->bytes < id.bytes || frame->bytes > 60))
		return TRAFFIC_BAD;
	if (whole && !check_rest(frame, &id))
		return TRAFFIC_BAD;
	*ret_id = id;
	return TRAFFIC_GOOD;
}

static bool test_and_set(struct traffic_stream *s, uint64_t sequence)
{
	uint64_t *word = &s->seen[sequence % TRAFFIC_WINDOW / 64], bit = 1ull << sequence % 64;
	bool was = *word & bit;

	*word |= bit;
	return was;
}

void traffic_arrived(struct traffic_stream *s, uint64_t sequence)
{
	if (likely(sequence >= s->next)) {
		uint64_t gap = sequence - s->next;

		/* The numbers between are missing for now; their bits are of an older round. */
		for (uint64_t i = 0; i <= min_u64(gap, TRAFFIC_WINDOW - 1); i++)
			s->seen[(sequence - i) % TRAFFIC_WINDOW / 64] &=
				~(1ull << (sequence - i) % 64);
		test_and_set(s, sequence);
		s->lost += gap;
		s->received++;
		s->next = sequence + 1;
		return;
	}
	if (s->next - sequence > TRAFFIC_WINDOW || test_and_set(s, sequence)) {
		s->duplicated++;
		return;
	}
	s->lost--;
	s->reordered++;
	s->received++;
}

struct traffic_stream *traffic_stream(struct traffic_streams *all, uint16_t sender,
				      uint16_t receiver)
{
	struct traffic_stream *s;

	for (unsigned i = 0; i < all->count; i++) {
		s = all->streams[i];
		if (s->sender == sender && s->receiver == receiver)
			return s;
	}
	if (all->count == TRAFFIC_STREAMS_MAX)
		return NULL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->sender = sender;
	s->receiver = receiver;
	all->streams[all->count++] = s;
	return s;
}

void traffic_streams_fini(struct traffic_streams *all)
{
	for (unsigned i = 0; i < all->count; i++)
		free(all->streams[i]);
	all->count = 0;
}
