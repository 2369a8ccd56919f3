/* SPDX-License-Identifier: BSD-2-Clause */
/* A pool and a lender with oracles, and packets built from the lender's buffers. */
#include "scene.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define HEAD_STAMP 0x6865616473ull

void scene_open(struct scene *s, uint32_t packet_count, uint32_t chunk_count, uint32_t buffer_count,
		uint32_t buffer_bytes)
{
	const struct lr_pool_config config = {.packet_count = packet_count,
					      .chunk_count = chunk_count};

	ASSERT(lr_pool_new(&config, &s->pool) == 0);
	oracle_lender_init(&s->lender, buffer_count, buffer_bytes);
}

void scene_close(struct scene *s)
{
	lr_pool_verify(s->pool);
	lr_pool_free(s->pool);
	oracle_lender_fini(&s->lender);
}

struct lr_packet *scene_packet(struct scene *s, uint32_t head_bytes, const struct piece *pieces,
			       unsigned piece_count)
{
	struct lr_packet *p = lr_packet_new(s->pool);
	uint8_t head[LR_PACKET_HEAD_BYTES];
	uint64_t built = 0;

	ASSERT(p != NULL);
	ASSERT(s->lender.ledger.slot_count <= 64);
	oracle_pattern(HEAD_STAMP, 0, head, sizeof(head));
	ASSERT(lr_packet_append(p, head, head_bytes) == 0);
	for (unsigned i = 0; i < piece_count; i++) {
		const struct piece *piece = &pieces[i];
		struct oracle_buffer *b = &s->lender.buffers[piece->buffer];

		if (!oracle_is_out(&s->lender, piece->buffer)) {
			oracle_lend(&s->lender, piece->buffer);
			built |= 1ull << piece->buffer;
		}
		ASSERT(lr_packet_attach(p, &b->ubuf, b->data + piece->offset, piece->bytes) == 0);
	}
	for (unsigned i = 0; i < s->lender.ledger.slot_count; i++)
		if (built & 1ull << i)
			lr_ubuf_put(&s->lender.buffers[i].ubuf);
	return p;
}

uint8_t *scene_bytes(const struct lr_packet *p)
{
	uint8_t *bytes = malloc(p->bytes ? p->bytes : 1);

	ASSERT(bytes != NULL);
	ASSERT(lr_packet_read(p, 0, bytes, p->bytes) == 0);
	return bytes;
}

bool scene_is(const struct lr_packet *p, const void *expected, uint32_t bytes)
{
	uint8_t *got = scene_bytes(p);
	bool same = p->bytes == bytes && memcmp(got, expected, bytes) == 0;

	free(got);
	return same;
}

uint32_t scene_count(const struct scene *s, uint32_t index)
{
	return lr_ubuf_count(&s->lender.buffers[index].ubuf);
}

void scene_check(struct scene *s)
{
	lr_pool_verify(s->pool);
	oracle_check_balance(&s->lender.ledger);
	for (uint32_t i = 0; i < s->lender.ledger.slot_count; i++) {
		struct lr_ubuf *u = &s->lender.buffers[i].ubuf;

		ASSERT(lr_ubuf_count(u) == lr_pool_references(s->pool, u));
		ASSERT(oracle_is_out(&s->lender, i) == (lr_ubuf_count(u) > 0));
		if (!s->lender.dry)
			oracle_check_intact(&s->lender, i);
	}
}

uint32_t scene_random(struct scene_random *r, uint32_t below)
{
	uint64_t x = r->state += 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	x ^= x >> 31;
	return below ? (uint32_t)(x % below) : 0;
}
