/* SPDX-License-Identifier: BSD-2-Clause */
/* Random sequences of operations on packets of any shape, each compared with a flat copy.
 *
 * The exhaustive test has every short sequence on small packets; this one has long sequences on
 * large ones: up to 40 frags, chunks and lent bytes mixed, pools that run out by themselves.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "scene.h"

enum { PACKETS = 8, CHUNKS = 50, BUFFERS = 12, BUFFER_BYTES = 6000 };

struct flat {
	struct lr_packet *packet; /* NULL: empty place */
	uint32_t bytes;
	uint8_t byte[LR_PACKET_BYTES_MAX + LR_PACKET_HEAD_BYTES];
};

struct run {
	struct scene scene;
	struct scene_random random;
	struct flat flats[PACKETS];
	unsigned refused;
	unsigned done;
};

static uint32_t below(struct run *r, uint32_t bound)
{
	return scene_random(&r->random, bound);
}

static struct flat *empty_place(struct run *r)
{
	for (unsigned i = 0; i < PACKETS; i++)
		if (!r->flats[i].packet)
			return &r->flats[i];
	return NULL;
}

static void check_flat(const struct flat *f)
{
	if (f->packet)
		assert_true(scene_is(f->packet, f->byte, f->bytes));
}

/* A new packet: a head, then frags from buffers that are lent for it or were before. */
static void op_new(struct run *r, struct flat *f)
{
	uint32_t head = below(r, 3) ? below(r, 385) : 54, frags = below(r, below(r, 4) ? 5 : 41);
	struct piece pieces[LR_PACKET_FRAGS];
	uint32_t left = LR_PACKET_BYTES_MAX - 385;
	unsigned count = 0;
	uint8_t *bytes;

	if (lr_pool_packets_free(r->scene.pool) == 0) {
		assert_null(lr_packet_new(r->scene.pool));
		r->refused++;
		return;
	}
	for (; count < frags && left; count++) {
		struct piece *p = &pieces[count];

		p->buffer = below(r, BUFFERS);
		p->offset = below(r, BUFFER_BYTES);
		p->bytes = 1 + below(r, min_u32(BUFFER_BYTES - p->offset, left));
		left -= p->bytes;
	}
	f->packet = scene_packet(&r->scene, head, pieces, count);
	f->bytes = f->packet->bytes;
	bytes = scene_bytes(f->packet);
	memcpy(f->byte, bytes, f->bytes);
	free(bytes);
}

static void op_second(struct run *r, struct flat *f, bool copy)
{
	struct flat *other = empty_place(r);
	struct lr_packet *q;

	if (!other)
		return;
	q = copy ? lr_packet_copy(f->packet, r->scene.pool) : lr_packet_clone(f->packet);
	if (!q) {
		r->refused++;
		return;
	}
	other->packet = q;
	other->bytes = f->bytes;
	memcpy(other->byte, f->byte, f->bytes);
	assert_true(!copy || !q->lent);
	check_flat(other);
}

static void op_push(struct run *r, struct flat *f)
{
	uint32_t bytes = below(r, 60);
	uint8_t *at = lr_packet_push(f->packet, bytes);

	if (!at) {
		assert_true(bytes > lr_packet_headroom(f->packet));
		r->refused++;
		return;
	}
	memmove(f->byte + bytes, f->byte, f->bytes);
	oracle_pattern(r->done, 0, f->byte, bytes);
	memcpy(at, f->byte, bytes);
	f->bytes += bytes;
}

static void op_cut(struct run *r, struct flat *f, bool front)
{
	uint32_t cut = below(r, below(r, 3) ? 100 : f->bytes + 2);

	if (cut > f->bytes) {
		assert_int_equal(lr_packet_pull(f->packet, cut), -EINVAL);
		assert_int_equal(lr_packet_trim(f->packet, cut), -EINVAL);
		r->refused++;
		return;
	}
	if (front) {
		assert_int_equal(lr_packet_pull(f->packet, cut), 0);
		memmove(f->byte, f->byte + cut, f->bytes - cut);
	} else {
		assert_int_equal(lr_packet_trim(f->packet, f->bytes - cut), 0);
	}
	f->bytes -= cut;
}

static void op_linearize(struct run *r, struct flat *f)
{
	uint32_t bytes = below(r, 600);
	int code = lr_packet_linearize(f->packet, bytes);

	if (bytes > f->bytes)
		assert_int_equal(code, -EINVAL);
	else if (bytes > LR_PACKET_HEAD_BYTES)
		assert_int_equal(code, -ENOSPC);
	else
		assert_int_equal(code, 0);
	r->refused += code != 0;
}

static void op_split(struct run *r, struct flat *f)
{
	uint32_t at = below(r, f->bytes + 1);
	struct flat *other = empty_place(r);
	struct lr_packet *rest;
	int code;

	if (!other)
		return;
	code = lr_packet_split(f->packet, at, &rest);
	if (code) {
		assert_true(code == -ENOMEM || at == 0 || at == f->bytes);
		r->refused++;
		return;
	}
	other->packet = rest;
	other->bytes = f->bytes - at;
	memcpy(other->byte, f->byte + at, other->bytes);
	f->bytes = at;
	check_flat(other);
}

/* Frags of one packet at the end of another: lent ones and chunks get mixed. */
static void op_join(struct run *r, struct flat *f)
{
	const struct flat *from = &r->flats[below(r, PACKETS)];
	const struct lr_frag *frag;
	uint32_t at = 0, i;
	int code;

	if (!from->packet || from == f || from->packet->frag_count == 0)
		return;
	i = below(r, from->packet->frag_count);
	frag = &from->packet->frags[i];
	for (uint32_t k = 0; k < i; k++)
		at += from->packet->frags[k].bytes;
	code = lr_packet_attach(f->packet, frag->ubuf, frag->data, frag->bytes);
	if (code) {
		assert_int_equal(code, -ENOSPC);
		r->refused++;
		return;
	}
	memcpy(f->byte + f->bytes, from->byte + from->packet->head_bytes + at, frag->bytes);
	f->bytes += frag->bytes;
}

static void op_expand(struct run *r, struct flat *f)
{
	uint32_t bytes = below(r, 300);
	int code = lr_packet_expand(f->packet, bytes);

	assert_int_equal(code, bytes > LR_PACKET_HEAD_BYTES - f->packet->head_bytes ? -ENOSPC : 0);
	assert_true(code || lr_packet_headroom(f->packet) >= bytes);
	r->refused += code != 0;
}

static void op_orphan(struct run *r, struct flat *f)
{
	bool lent = f->packet->lent;
	int code = lr_packet_orphan(f->packet);

	assert_int_equal(f->packet->lent, code && lent);
	r->refused += code != 0;
}

static void op(struct run *r)
{
	struct flat *f = &r->flats[below(r, PACKETS)];

	r->done++;
	if (below(r, 16) == 0)
		lr_pool_fail_after(r->scene.pool, below(r, 4));
	if (!f->packet) {
		lr_pool_fail_after(r->scene.pool, -1);
		op_new(r, f);
	} else {
		switch (below(r, 12)) {
		case 0:
		case 1:
			op_second(r, f, false);
			break;
		case 2:
			op_second(r, f, true);
			break;
		case 3:
			op_orphan(r, f);
			break;
		case 4:
			op_push(r, f);
			break;
		case 5:
			op_cut(r, f, true);
			break;
		case 6:
			op_cut(r, f, false);
			break;
		case 7:
			op_linearize(r, f);
			break;
		case 8:
			op_split(r, f);
			break;
		case 9:
			op_join(r, f);
			break;
		case 10:
			op_expand(r, f);
			break;
		default:
			lr_packet_free(f->packet);
			f->packet = NULL;
			break;
		}
	}
	lr_pool_fail_after(r->scene.pool, -1);
	check_flat(f);
}

static void random_sequences(void **state)
{
	unsigned seeds = getenv("LASTREF_LONG") ? 2000 : 60;
	struct run *r = malloc(sizeof(*r));

	(void)state;
	for (unsigned seed = 0; seed < seeds; seed++) {
		memset(r, 0, offsetof(struct run, flats));
		for (unsigned i = 0; i < PACKETS; i++)
			r->flats[i].packet = NULL;
		r->random.state = seed;
		r->refused = 0;
		r->done = 0;
		scene_open(&r->scene, PACKETS - 1, CHUNKS, BUFFERS, BUFFER_BYTES);
		for (unsigned step = 0; step < 1500; step++) {
			op(r);
			if (step % 16 == 0)
				scene_check(&r->scene);
		}
		for (unsigned i = 0; i < PACKETS; i++) {
			check_flat(&r->flats[i]);
			lr_packet_free(r->flats[i].packet);
		}
		scene_check(&r->scene);
		if (r->refused < 50 || r->refused > 1000)
			print_message("seed %u: %u of %u refused\n", seed, r->refused, r->done);
		assert_in_range(r->refused, 50, 1000); /* it does run out, and not all the time */
		scene_close(&r->scene);
	}
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_sequences),
	};

	return cmocka_run_group_tests_name("packet_random", tests, NULL, NULL);
}
