/* SPDX-License-Identifier: BSD-2-Clause */
/* doc/hazards.md, part B: bytes that are copied because they are held, and what must not be lent.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "packet/parse.h"
#include "scene.h"

enum { BUFFERS = 4, BUFFER_BYTES = 65600, PACKETS = 16, CHUNKS = 60, HEAD = 54 };

static int setup(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	scene_open(s, PACKETS, CHUNKS, BUFFERS, BUFFER_BYTES);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	scene_close(*state);
	free(*state);
	return 0;
}

static const struct piece two[] = {{0, 5, 3000}, {1, 0, 2500}};
enum { TWO = HEAD + 5500 };

/* Two threads, a pool each, over one buffer: one copies and lets go while the other reads. */
struct half {
	struct lr_pool *pool;
	struct lr_packet *packet;
	const uint8_t *expected;
	bool orphans;
	bool right;
};

static void *half_run(void *argument)
{
	struct half *h = argument;

	h->right = true;
	for (unsigned i = 0; i < 8; i++) {
		struct lr_packet *q = lr_packet_clone(h->packet);

		if (h->orphans)
			h->right &= lr_packet_orphan(q) == 0;
		h->right &= scene_is(q, h->expected, 4000);
		lr_packet_free(q);
	}
	lr_packet_free(h->packet);
	return NULL;
}

static void hazard_B19_copied_while_another_thread_reads(void **state)
{
	const struct lr_pool_config config = {.packet_count = 4, .chunk_count = 8};
	struct scene *s = *state;
	uint8_t expected[4000];
	struct half halves[2];
	pthread_t threads[2];

	for (unsigned round = 0; round < 20; round++) {
		struct oracle_buffer *b = oracle_lend(&s->lender, 0);

		memcpy(expected, b->data, sizeof(expected));
		for (unsigned i = 0; i < 2; i++) {
			struct half *h = &halves[i];

			*h = (struct half){.expected = expected, .orphans = i == 0};
			assert_int_equal(lr_pool_new(&config, &h->pool), 0);
			h->packet = lr_packet_new(h->pool);
			assert_int_equal(lr_packet_attach(h->packet, &b->ubuf, b->data, 4000), 0);
		}
		lr_ubuf_put(&b->ubuf);
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, half_run, &halves[i]),
					 0);
		for (unsigned i = 0; i < 2; i++) {
			pthread_join(threads[i], NULL);
			assert_true(halves[i].right);
			lr_pool_free(halves[i].pool);
		}
		assert_false(oracle_is_out(&s->lender, 0));
	}
}

/* Each chunk of the copy fails in turn: nothing is half copied, the mark stays, nothing completes.
 */
static void hazard_B20_every_allocation_of_a_copy_fails(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, HEAD, two, 2);
	uint8_t *bytes = scene_bytes(p);
	const uint8_t *data = p->frags[0].data;

	for (int k = 0; k < 3; k++) {
		lr_pool_fail_after(s->pool, k);
		assert_int_equal(lr_packet_orphan(p), -ENOMEM);
		assert_true(p->lent);
		assert_int_equal(p->frag_count, 2);
		assert_ptr_equal(p->frags[0].data, data);
		assert_int_equal(s->lender.buffers[0].ubuf.flags, 0);
		assert_int_equal(lr_pool_chunks_free(s->pool), CHUNKS);
		lr_pool_fail_after(s->pool, k); /* the packet, then its chunks */
		assert_null(lr_packet_copy(p, s->pool));
		assert_int_equal(lr_pool_packets_free(s->pool), PACKETS - 1);
		scene_check(s);
	}
	assert_true(scene_is(p, bytes, TWO));
	assert_int_equal(lr_packet_orphan(p), 0);
	assert_int_equal(oracle_in_flight(&s->lender.ledger), 0);
	assert_true(scene_is(p, bytes, TWO));
	lr_packet_free(p);
	free(bytes);
}

/* After the copy the frags are new ones: none of them is into the lender's memory any more. */
static void hazard_B21_no_pointer_into_lent_memory_is_left(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, HEAD, two, 2);
	const uint8_t *first = s->lender.memory;

	assert_int_equal(lr_packet_orphan(p), 0);
	for (unsigned i = 0; i < p->frag_count; i++) {
		const uint8_t *data = p->frags[i].data;

		assert_true(data < first || data >= first + BUFFERS * (size_t)BUFFER_BYTES);
		for (unsigned b = 0; b < BUFFERS; b++)
			assert_ptr_not_equal(p->frags[i].ubuf, &s->lender.buffers[b].ubuf);
	}
	lr_packet_free(p);
}

/* Payloads of many pages, in as many frags as there may be, and more than chunks can hold. */
static void hazard_B22_copy_of_the_largest_packets(void **state)
{
	static const struct {
		unsigned frags;
		uint32_t frag_bytes;
	} shapes[] = {
		{16, 4093}, {17, 3852}, {18, 3638}, {40, 1637}, {1, LR_PACKET_BYTES_MAX - HEAD}};
	const struct lr_pool_config narrow = {
		.packet_count = 4, .chunk_count = 200, .chunk_bytes = 1024};
	struct scene *s = *state;
	struct lr_pool *pool;

	assert_int_equal(lr_pool_new(&narrow, &pool), 0);
	for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct piece pieces[40];
		struct lr_packet *p, *q;
		uint8_t *bytes;

		for (unsigned f = 0; f < shapes[i].frags; f++)
			pieces[f] = (struct piece){f % BUFFERS, f * shapes[i].frag_bytes / BUFFERS,
						   shapes[i].frag_bytes};
		p = scene_packet(s, HEAD, pieces, shapes[i].frags);
		bytes = scene_bytes(p);
		/* 40 chunks of 1 KiB are too little for any of them: nothing is changed */
		assert_null(lr_packet_copy(p, pool));
		assert_int_equal(lr_pool_packets_free(pool), 4);
		assert_int_equal(lr_pool_chunks_free(pool), 200);
		q = lr_packet_copy(p, s->pool);
		assert_int_equal(lr_packet_orphan(p),
				 -ENOMEM); /* no chunks for it beside the copy */
		assert_true(p->lent);
		scene_check(s);
		lr_packet_free(q);
		assert_int_equal(lr_packet_orphan(p), 0);
		assert_true(scene_is(p, bytes, HEAD + shapes[i].frags * shapes[i].frag_bytes));
		scene_check(s);
		lr_packet_free(p);
		free(bytes);
	}
	lr_pool_free(pool);
}

/* Of three packets over one buffer two are converted: it completes when the third is, too. */
static void hazard_B23_only_some_clones_are_copied(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p[3];
	uint8_t *bytes;

	p[0] = scene_packet(s, HEAD, two, 2);
	bytes = scene_bytes(p[0]);
	p[1] = lr_packet_clone(p[0]);
	p[2] = lr_packet_clone(p[0]);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(oracle_is_out(&s->lender, 0));
		assert_int_equal(lr_packet_orphan(p[i]), 0);
		scene_check(s);
	}
	assert_false(oracle_is_out(&s->lender, 0));
	for (unsigned i = 0; i < 3; i++) {
		assert_true(scene_is(p[i], bytes, TWO));
		lr_packet_free(p[i]);
	}
	free(bytes);
}

/* Memory that another process changes all the time, as a guest may. */
struct racer {
	uint8_t *memory;
	pid_t pid;
};

enum { RACE_BYTES = 8192 };

static void racer_start(struct racer *r)
{
	r->memory =
		mmap(NULL, RACE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(r->memory != MAP_FAILED);
	r->pid = fork();
	assert_true(r->pid >= 0);
	if (r->pid == 0) {
		volatile uint8_t *at = r->memory;

		for (uint8_t n = 0; getppid() != 1; n++)
			for (unsigned i = 0; i < RACE_BYTES; i++)
				at[i] = (uint8_t)(n * 31);
		_exit(0);
	}
}

static void racer_stop(struct racer *r)
{
	kill(r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
	munmap(r->memory, RACE_BYTES);
}

static void nothing(struct lr_ubuf *ubuf)
{
	(void)ubuf;
}

static const struct lr_ubuf_ops nothing_ops = {.complete = nothing};

/* A TCP frame with its headers in the head and its payload where the racer writes. */
static struct lr_packet *raced_packet(struct scene *s, const struct racer *r, struct lr_ubuf *u)
{
	struct lr_packet *p = scene_packet(s, HEAD, NULL, 0);

	memset(p->head, 0, HEAD);
	memcpy(p->head + 12, "\x08\x00\x45", 3);
	p->head[23] = 6;
	p->head[46] = 0x50;
	p->offload = (struct lr_offload){.flags = LR_OFFLOAD_NEEDS_CSUM,
					 .gso_type = LR_GSO_TCPV4,
					 .gso_size = 1000,
					 .csum_start = 34,
					 .csum_offset = 16};
	lr_ubuf_init(u, &nothing_ops);
	assert_int_equal(lr_packet_attach(p, u, r->memory, RACE_BYTES), 0);
	lr_ubuf_put(u);
	return p;
}

/* Torn payload is the guest's own loss: what was decided on, the head, stays what was checked. */
static void hazard_B24_source_changes_while_it_is_copied(void **state)
{
	struct scene *s = *state;
	struct lr_ubuf u = {0};
	struct racer r;

	racer_start(&r);
	for (unsigned round = 0; round < 200; round++) {
		struct lr_packet *p = raced_packet(s, &r, &u), *q = lr_packet_clone(p);
		uint8_t head[HEAD], taken[64];

		memcpy(head, p->head, HEAD);
		assert_int_equal(lr_packet_orphan(p), 0);
		assert_memory_equal(p->head, head, HEAD);
		assert_int_equal(p->bytes, HEAD + RACE_BYTES);
		/* what was brought into the head stays, whatever the guest does to its own copy */
		assert_int_equal(lr_packet_linearize(q, HEAD + 64), 0);
		memcpy(taken, q->head + HEAD, 64);
		for (unsigned i = 0; i < 1000 && memcmp(taken, r.memory, 64) == 0; i++)
			sched_yield();
		assert_memory_equal(q->head + HEAD, taken, 64);
		lr_pool_verify(s->pool);
		lr_packet_free(p);
		lr_packet_free(q);
		assert_int_equal(lr_ubuf_count(&u), 0);
	}
	racer_stop(&r);
}

/* Payload changes after it was summed: the frame's own sum is wrong, its lengths never are. */
static void hazard_B25_source_changes_after_it_was_summed(void **state)
{
	struct scene *s = *state;
	struct lr_ubuf u = {0};
	struct racer r;

	racer_start(&r);
	for (unsigned round = 0; round < 100; round++) {
		struct lr_packet *list, *next;
		uint32_t payload = 0, count = 0;

		assert_int_equal(lr_packet_segment(raced_packet(s, &r, &u), &list), 9);
		for (; list; list = next, count++) {
			const uint32_t bytes = count < 8 ? 1000 : 192;

			next = list->next;
			assert_int_equal(list->bytes, HEAD + bytes);
			assert_int_equal(head_get_16(list->head + 16), 40 + bytes);
			assert_int_equal(head_get_16(list->head + 18), count);
			assert_int_equal(head_get_32(list->head + 38), count * 1000);
			/* the header's own sum covers private bytes: always right */
			assert_int_equal(
				lr_checksum_fold(lr_checksum(list->head + 14, 20, 0, false)), 0);
			payload += bytes;
			lr_packet_free(list);
		}
		assert_int_equal(payload, RACE_BYTES);
	}
	racer_stop(&r);
}

/* Tags, tunnels, checksums, segments, edits: the guest's bytes are read and never written. */
static void hazard_B26_lent_bytes_are_never_written(void **state)
{
	static const struct piece pieces[] = {{0, 0, 3000}, {0, 4000, 2000}};
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, HEAD, pieces, 2), *q, *rest, *list, *next;

	memset(p->head, 0, HEAD);
	memcpy(p->head + 12, "\x08\x00\x45", 3);
	p->head[23] = 6;
	p->head[46] = 0x50;
	p->offload = (struct lr_offload){.flags = LR_OFFLOAD_NEEDS_CSUM,
					 .gso_type = LR_GSO_TCPV4,
					 .gso_size = 600,
					 .csum_start = 34,
					 .csum_offset = 16};
	q = lr_packet_clone(p);
	assert_int_equal(lr_packet_segment(q, &list), 9);
	for (; list; list = next) {
		next = list->next;
		lr_packet_free(list);
	}
	oracle_check_intact(&s->lender, 0);
	q = lr_packet_clone(p);
	memmove(lr_packet_push(q, 4), q->head, 12); /* a VLAN tag */
	memset(lr_packet_push(q, 50), 0xff, 50);    /* a tunnel */
	oracle_check_intact(&s->lender, 0);
	lr_packet_free(q);
	q = lr_packet_clone(p);
	q->offload.gso_type = LR_GSO_NONE;
	q->offload.csum_offset = 300; /* the field lies in the guest's bytes: brought over first */
	assert_int_equal(lr_packet_finish_checksum(q), 0);
	assert_int_equal(q->head_bytes, 336);
	memset(q->head, 0xff, q->head_bytes);
	oracle_check_intact(&s->lender, 0);
	assert_int_equal(lr_packet_split(q, 2000, &rest), 0);
	assert_int_equal(lr_packet_pull(rest, 1500), 0);
	assert_int_equal(lr_packet_trim(rest, 100), 0);
	assert_int_equal(lr_packet_linearize(rest, 100), 0);
	memset(rest->head, 0xff, rest->head_bytes);
	oracle_check_intact(&s->lender, 0);
	lr_packet_free(rest);
	lr_packet_free(q);
	lr_packet_free(p);
}

/* The mark "lent" is right after every operation, on packets that are lent, copied and mixed. */
static void hazard_B27_lent_is_marked_after_every_operation(void **state)
{
	struct scene *s = *state;

	for (unsigned which = 0; which < 8; which++) {
		struct lr_packet *p = scene_packet(s, HEAD, two, 2), *copy, *rest;
		const struct lr_frag *f;

		copy = lr_packet_copy(p, s->pool);
		f = &copy->frags[0]; /* mixed: lent, lent, a chunk */
		assert_int_equal(lr_packet_attach(p, f->ubuf, f->data, f->bytes), 0);
		lr_packet_free(copy);
		scene_check(s);
		switch (which) {
		case 0: /* only the chunk is left */
			assert_int_equal(lr_packet_pull(p, TWO), 0);
			assert_false(p->lent);
			break;
		case 1: /* only lent ones are left */
			assert_int_equal(lr_packet_trim(p, TWO), 0);
			assert_true(p->lent);
			break;
		case 2:
			assert_int_equal(lr_packet_split(p, TWO, &rest), 0);
			assert_true(p->lent);
			assert_false(rest->lent);
			lr_packet_free(rest);
			break;
		case 3: /* in the middle of the chunk */
			assert_int_equal(lr_packet_split(p, TWO + 10, &rest), 0);
			assert_true(p->lent);
			assert_false(rest->lent);
			lr_packet_free(p);
			p = rest;
			break;
		case 4:
			assert_int_equal(lr_packet_linearize(p, HEAD + 100), 0);
			assert_true(p->lent);
			break;
		case 5:
			rest = lr_packet_clone(p);
			assert_int_equal(lr_packet_orphan(p), 0);
			assert_false(p->lent);
			assert_true(rest->lent);
			lr_packet_free(rest);
			break;
		case 6: /* failing changes nothing */
			lr_pool_fail_after(s->pool, 0);
			assert_int_equal(lr_packet_orphan(p), -ENOMEM);
			assert_true(p->lent);
			break;
		default:
			lr_pool_fail_after(s->pool, 0);
			assert_int_equal(lr_packet_split(p, 10, &rest), -ENOMEM);
			assert_true(p->lent);
			break;
		}
		scene_check(s);
		lr_packet_free(p);
		assert_int_equal(oracle_in_flight(&s->lender.ledger), 0);
	}
}

/* A holder without a bound never gives anything back: what it is handed was orphaned before. */
static void hazard_B28_unbounded_holder_gets_copies(void **state)
{
	static const struct piece pieces[] = {{0, 0, 500}, {1, 0, 500}, {2, 0, 500}, {3, 0, 500}};
	struct scene *s = *state;
	struct lr_packet *held = NULL;

	for (unsigned i = 0; i < BUFFERS; i++) {
		struct lr_packet *p = scene_packet(s, HEAD, &pieces[i], 1);

		s->lender.now_ns = 1000 * i;
		assert_int_equal(lr_packet_orphan(p), 0);
		p->next = held;
		held = p;
		oracle_check_live(&s->lender.ledger, s->lender.now_ns, 0);
		assert_int_equal(oracle_in_flight(&s->lender.ledger), 0);
	}
	while (held) {
		struct lr_packet *p = held;

		held = p->next;
		lr_packet_free(p);
	}
}

/* A capture comes and goes: it copies while it is there, nobody else's packet is touched. */
static void hazard_B29_capture_starts_and_stops(void **state)
{
	struct scene *s = *state;
	unsigned copies = 0;

	for (unsigned i = 0; i < 12; i++) {
		struct lr_packet *p = scene_packet(s, HEAD, two, 2);

		if (i >= 4 && i < 8) {
			struct lr_packet *captured = lr_packet_copy(p, s->pool);

			copies += lr_pool_chunks_free(s->pool) < CHUNKS;
			assert_true(p->lent);
			assert_int_equal(scene_count(s, 0), 1);
			lr_packet_free(captured);
		}
		assert_int_equal(lr_pool_chunks_free(s->pool), CHUNKS);
		lr_packet_free(p);
		assert_int_equal(s->lender.ledger.ended[ORACLE_COMPLETED], 2 * (i + 1));
	}
	assert_int_equal(copies, 4);
}

/* A flood to four holders of which one is dead: copied for that one, the rest completes. */
static void hazard_B30_flood_with_a_dead_holder(void **state)
{
	struct scene *s = *state;
	struct lr_packet *holders[4];
	uint8_t *bytes;

	holders[0] = scene_packet(s, HEAD, two, 2);
	bytes = scene_bytes(holders[0]);
	for (unsigned i = 1; i < 4; i++)
		holders[i] = lr_packet_clone(holders[0]);
	for (unsigned i = 0; i < 3; i++)
		lr_packet_free(holders[i]);
	assert_int_equal(oracle_in_flight(&s->lender.ledger), 2);
	assert_int_equal(lr_packet_orphan(holders[3]), 0); /* at its hold limit */
	assert_int_equal(oracle_in_flight(&s->lender.ledger), 0);
	assert_true(scene_is(holders[3], bytes, TWO));
	lr_packet_free(holders[3]);
	free(bytes);
}

/* An error drops one of the packets over a buffer: the others go on. */
static void hazard_B31_error_on_one_clone(void **state)
{
	struct scene *s = *state;
	struct lr_packet *p = scene_packet(s, HEAD, two, 2), *q = lr_packet_clone(p);
	uint8_t *bytes = scene_bytes(p);

	lr_packet_drop(q, LR_DROP_EGRESS_ERROR);
	assert_int_equal(lr_pool_drops(s->pool, LR_DROP_EGRESS_ERROR), 1);
	assert_int_equal(oracle_in_flight(&s->lender.ledger), 2);
	assert_true(scene_is(p, bytes, TWO));
	scene_check(s);
	lr_packet_free(p);
	assert_int_equal(oracle_in_flight(&s->lender.ledger), 0);
	free(bytes);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(hazard_B19_copied_while_another_thread_reads),
		TEST(hazard_B20_every_allocation_of_a_copy_fails),
		TEST(hazard_B21_no_pointer_into_lent_memory_is_left),
		TEST(hazard_B22_copy_of_the_largest_packets),
		TEST(hazard_B23_only_some_clones_are_copied),
		TEST(hazard_B24_source_changes_while_it_is_copied),
		TEST(hazard_B25_source_changes_after_it_was_summed),
		TEST(hazard_B26_lent_bytes_are_never_written),
		TEST(hazard_B27_lent_is_marked_after_every_operation),
		TEST(hazard_B28_unbounded_holder_gets_copies),
		TEST(hazard_B29_capture_starts_and_stops),
		TEST(hazard_B30_flood_with_a_dead_holder),
		TEST(hazard_B31_error_on_one_clone),
	};

	return cmocka_run_group_tests_name("hazards_b", tests, NULL, NULL);
}
