/* SPDX-License-Identifier: BSD-2-Clause */
/* The forwarding database: capacity, fairness, attacks on it, and several threads at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "switch/fdb.h"

#define KEY 4711

static _Atomic(struct port *) alive[PORTS_MAX];
static struct port some_port;

static int setup(void **state)
{
	struct fdb *fdb = aligned_alloc(CACHE_LINE_BYTES, sizeof(*fdb));

	assert_non_null(fdb);
	assert_int_equal(fdb_init(fdb, KEY), 0);
	for (unsigned i = 0; i < PORTS_MAX; i++)
		atomic_store(&alive[i], &some_port);
	*state = fdb;
	return 0;
}

static int teardown(void **state)
{
	struct fdb *fdb = *state;

	fdb_fini(fdb);
	free(fdb);
	return 0;
}

static uint64_t mac_of(uint64_t n)
{
	return n << 8 | 2; /* first byte 02: unicast, locally administered */
}

static enum fdb_verdict see(struct fdb *fdb, uint64_t mac, unsigned port, uint32_t now_s)
{
	return fdb_see(fdb, mac, port, &alive[port], now_s);
}

/* Return: its port, or -1 */
static int port_of(const struct fdb *fdb, uint64_t mac)
{
	uint32_t slot;
	uint64_t word = fdb_find(fdb, mac, &slot);

	return word ? (int)(word & FDB_PORT_MASK) : -1;
}

/* Counts, rings and words tell the same. */
static void check(const struct fdb *fdb)
{
	unsigned learnt = 0, fixed = 0, by_port[PORTS_MAX] = {0};

	for (uint32_t slot = 0; slot < FDB_SLOTS; slot++) {
		uint64_t word = fdb_word(fdb, slot);
		uint32_t found;

		if (!(word & FDB_USED))
			continue;
		assert_true(fdb_find(fdb, word >> FDB_MAC_SHIFT, &found) == word);
		assert_int_equal(found, slot); /* no address twice */
		if (word & FDB_STATIC)
			fixed++;
		else
			by_port[word & FDB_PORT_MASK]++;
	}
	for (unsigned i = 0; i < PORTS_MAX; i++) {
		unsigned in_ring = 0;
		uint16_t at = fdb->oldest[i];

		assert_int_equal(by_port[i], atomic_load(&fdb->port_count[i]));
		learnt += by_port[i];
		if (at == FDB_NO_SLOT)
			continue;
		do {
			assert_int_equal(fdb_word(fdb, at) & FDB_PORT_MASK, i);
			assert_int_equal(fdb->slots[fdb->slots[at].next].prev, at);
			at = fdb->slots[at].next;
			in_ring++;
		} while (at != fdb->oldest[i]);
		assert_int_equal(in_ring, by_port[i]);
	}
	assert_int_equal(learnt, atomic_load(&fdb->learnt_count));
	assert_int_equal(fixed, atomic_load(&fdb->static_count));
	assert_true(learnt + fixed <= BRIDGE_FDB_ENTRIES);
}

static void holds_all_it_promises(void **state)
{
	struct fdb *fdb = *state;

	for (unsigned i = 0; i < BRIDGE_FDB_ENTRIES; i++)
		assert_int_equal(see(fdb, mac_of(i), i % 7, 1), FDB_KNOWN);
	for (unsigned i = 0; i < BRIDGE_FDB_ENTRIES; i++)
		assert_int_equal(port_of(fdb, mac_of(i)), (int)(i % 7));
	assert_int_equal(atomic_load(&fdb->evicted), 0);
	assert_int_equal(atomic_load(&fdb->refused), 0);
	assert_int_equal(port_of(fdb, mac_of(BRIDGE_FDB_ENTRIES)), -1);
	check(fdb);
}

/* One port uses a million addresses: the others keep theirs. */
static void flood_evicts_its_own(void **state)
{
	struct fdb *fdb = *state;

	for (unsigned port = 1; port <= 10; port++)
		for (unsigned i = 0; i < 100; i++)
			see(fdb, mac_of(port * 1000 + i), port, 1);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(fdb_set_static(fdb, mac_of(50000 + i), 20), 0);
	for (unsigned i = 0; i < 200000; i++)
		assert_int_equal(see(fdb, mac_of(1000000 + i), 0, 1 + i / 10000), FDB_KNOWN);
	for (unsigned port = 1; port <= 10; port++)
		for (unsigned i = 0; i < 100; i++)
			assert_int_equal(port_of(fdb, mac_of(port * 1000 + i)), (int)port);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(port_of(fdb, mac_of(50000 + i)), 20);
	assert_int_equal(atomic_load(&fdb->port_count[0]), BRIDGE_FDB_ENTRIES - 1100);
	/* Somebody else's new address still finds room, at the flooder's cost. */
	assert_int_equal(see(fdb, mac_of(77777), 3, 30), FDB_KNOWN);
	assert_int_equal(atomic_load(&fdb->port_count[3]), 101);
	assert_int_equal(atomic_load(&fdb->port_count[0]), BRIDGE_FDB_ENTRIES - 1101);
	check(fdb);
}

/* What is in use stays when room is needed on its own port. */
static void eviction_spares_what_is_in_use(void **state)
{
	struct fdb *fdb = *state;

	for (unsigned i = 0; i < BRIDGE_FDB_ENTRIES; i++)
		see(fdb, mac_of(i), 0, 1);
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(see(fdb, mac_of(0), 0, 100), FDB_KNOWN); /* the oldest */
		see(fdb, mac_of(100000 + i), 0, 100);
	}
	assert_int_equal(port_of(fdb, mac_of(0)), 0);
	assert_int_equal(port_of(fdb, mac_of(1)), -1);
	check(fdb);
}

static void static_ones_fill_the_table(void **state)
{
	struct fdb *fdb = *state;

	for (unsigned i = 0; i < BRIDGE_FDB_ENTRIES; i++)
		assert_int_equal(fdb_set_static(fdb, mac_of(i), 1), 0);
	assert_int_equal(fdb_set_static(fdb, mac_of(1000000), 1), -ENOSPC);
	assert_int_equal(see(fdb, mac_of(1000000), 2, 1), FDB_UNKNOWN);
	assert_int_equal(atomic_load(&fdb->refused), 1);
	assert_int_equal(see(fdb, mac_of(5), 2, 1), FDB_SPOOFED);
	assert_int_equal(see(fdb, mac_of(5), 1, 1), FDB_KNOWN);
	assert_int_equal(port_of(fdb, mac_of(5)), 1);
	fdb_age(fdb, 1000, 300);
	fdb_flush(fdb, -1, false);
	assert_int_equal(atomic_load(&fdb->static_count), BRIDGE_FDB_ENTRIES);
	check(fdb);
	fdb_flush(fdb, 2, true);
	assert_int_equal(atomic_load(&fdb->static_count), BRIDGE_FDB_ENTRIES);
	fdb_flush(fdb, 1, true);
	assert_int_equal(atomic_load(&fdb->static_count), 0);
	check(fdb);
}

/*
 * Addresses that all want the same two buckets, which only somebody with the key can find (attack
 * 119): others keep their entries, and a look-up still reads two buckets.
 */
static void full_buckets_evict_fairly(void **state)
{
	struct fdb *fdb = *state;
	unsigned want[2], found = 0;
	uint64_t same[40];

	fdb_buckets(fdb, mac_of(0), want);
	for (uint64_t n = 0; found < ARRAY_SIZE(same); n++) {
		unsigned index[2];

		/* Either order of the two. */
		fdb_buckets(fdb, mac_of(n), index);
		if ((index[0] == want[0] && index[1] == want[1]) ||
		    (index[0] == want[1] && index[1] == want[0]))
			same[found++] = mac_of(n);
	}
	/* Port 1 has more addresses than port 2 altogether, some of them here. */
	for (unsigned i = 0; i < 50; i++)
		see(fdb, mac_of(1ull << 39 | i), 1, 1);
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(see(fdb, same[i], 1, 1), FDB_KNOWN);
	for (unsigned i = 12; i < 16; i++)
		assert_int_equal(see(fdb, same[i], 2, 1), FDB_KNOWN);
	assert_int_equal(atomic_load(&fdb->evicted), 0);
	for (unsigned i = 16; i < ARRAY_SIZE(same); i++)
		assert_int_equal(see(fdb, same[i], 1, 1), FDB_KNOWN);
	for (unsigned i = 12; i < 16; i++)
		assert_int_equal(port_of(fdb, same[i]), 2);
	assert_int_equal(atomic_load(&fdb->evicted), ARRAY_SIZE(same) - 16);
	check(fdb);
}

/* With a key that an attacker does not know, sequences and patterns spread like anything else. */
static void keyed_hash_spreads(void **state)
{
	static const uint64_t steps[] = {1, 1ull << 16, 1ull << 24, 1ull << 28, 0x010101};
	struct fdb *fdb = *state;

	for (unsigned s = 0; s < ARRAY_SIZE(steps); s++) {
		unsigned use[FDB_BUCKETS] = {0}, most = 0;

		for (uint64_t i = 0; i < 4096; i++) {
			unsigned index[2];

			fdb_buckets(fdb, mac_of(i * steps[s]) & 0xffffffffffff, index);
			assert_int_not_equal(index[0], index[1]);
			assert_true(index[0] < FDB_BUCKETS && index[1] < FDB_BUCKETS);
			if (++use[index[0]] > most)
				most = use[index[0]];
		}
		assert_true(most <= 10); /* 4,096 thrown into 4,096: 7 is usual */
	}
}

static void moves_are_limited(void **state)
{
	uint64_t since = 0, mac = mac_of(1);
	struct fdb *fdb = *state;
	struct fdb_move move;
	uint32_t before;

	see(fdb, mac, 0, 10);
	before = fdb_generation(fdb);
	for (unsigned i = 0; i < 100; i++)
		see(fdb, mac, i % 2 ? 0 : 1, 10);
	assert_int_equal(atomic_load(&fdb->moves), FDB_MOVES_PER_S);
	assert_int_equal(fdb_generation(fdb), before + FDB_MOVES_PER_S);
	assert_int_equal(port_of(fdb, mac), 0);
	assert_int_equal(see(fdb, mac, 1, 10), FDB_UNKNOWN);
	assert_int_equal(see(fdb, mac, 1, 11), FDB_KNOWN);
	assert_int_equal(port_of(fdb, mac), 1);
	assert_int_equal(fdb_take_move(fdb, &since, &move), FDB_MOVES_PER_S + 1);
	assert_true(move.mac == mac);
	assert_int_equal(move.from, 0);
	assert_int_equal(move.to, 1);
	assert_int_equal(fdb_take_move(fdb, &since, &move), 0);
	check(fdb);
}

static void ages_and_flushes(void **state)
{
	struct fdb *fdb = *state;

	for (unsigned i = 0; i < 1000; i++)
		see(fdb, mac_of(i), i % 2, 100);
	see(fdb, mac_of(3), 1, 250);
	fdb_age(fdb, 400, 300);
	assert_int_equal(atomic_load(&fdb->learnt_count), 1000);
	fdb_age(fdb, 401, 300);
	assert_int_equal(atomic_load(&fdb->learnt_count), 1);
	assert_int_equal(port_of(fdb, mac_of(3)), 1);
	/* A worker's clock may be ahead of the main thread's. */
	see(fdb, mac_of(4), 0, 500);
	fdb_age(fdb, 490, 300);
	assert_int_equal(port_of(fdb, mac_of(4)), 0);
	fdb_flush(fdb, 1, false);
	assert_int_equal(port_of(fdb, mac_of(3)), -1);
	assert_int_equal(fdb_remove(fdb, mac_of(4)), 0);
	assert_int_equal(fdb_remove(fdb, mac_of(4)), -ENOENT);
	check(fdb);
}

static void dead_port_learns_nothing(void **state)
{
	struct fdb *fdb = *state;

	atomic_store(&alive[3], NULL);
	assert_int_equal(see(fdb, mac_of(1), 3, 1), FDB_UNKNOWN);
	assert_int_equal(port_of(fdb, mac_of(1)), -1);
}

#define THREAD_ROUNDS 30000
#define THREAD_MACS   3000

struct seer {
	struct fdb *fdb;
	unsigned port;
	unsigned known;
	unsigned wrong;
};

/* A worker's use of the table: its own stations, a shared one that roams, look-ups of others. */
static void *seer_run(void *arg)
{
	struct seer *s = arg;
	unsigned seed = s->port;

	for (uint32_t i = 0; i < THREAD_ROUNDS; i++) {
		unsigned n = (unsigned)rand_r(&seed) % THREAD_MACS;
		unsigned owner = (unsigned)rand_r(&seed) % 2;
		int port;

		s->known += see(s->fdb, mac_of((uint64_t)s->port << 32 | n), s->port, i / 1000) ==
			    FDB_KNOWN;
		see(s->fdb, mac_of(0xabcdef), s->port, i / 1000);
		port = port_of(s->fdb, mac_of((uint64_t)owner << 32 | n));
		s->wrong += port >= 0 && port != (int)owner;
	}
	return NULL;
}

static void two_threads_and_the_main_one(void **state)
{
	struct fdb *fdb = *state;
	struct seer seers[2] = {{.fdb = fdb, .port = 0}, {.fdb = fdb, .port = 1}};
	uint64_t since = 0;
	pthread_t threads[2];
	struct fdb_move move;

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, seer_run, &seers[i]), 0);
	for (unsigned i = 0; i < 200; i++) {
		fdb_age(fdb, i, 2);
		fdb_flush(fdb, (int)(i % 3) - 1, false);
		assert_int_equal(fdb_set_static(fdb, mac_of(0x999), 7), 0);
		assert_int_equal(port_of(fdb, mac_of(0x999)), 7);
		assert_int_equal(fdb_remove(fdb, mac_of(0x999)), 0);
		fdb_take_move(fdb, &since, &move);
	}
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(seers[i].wrong, 0);
		assert_true(seers[i].known > 0);
	}
	check(fdb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(holds_all_it_promises, setup, teardown),
		cmocka_unit_test_setup_teardown(flood_evicts_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(eviction_spares_what_is_in_use, setup, teardown),
		cmocka_unit_test_setup_teardown(static_ones_fill_the_table, setup, teardown),
		cmocka_unit_test_setup_teardown(full_buckets_evict_fairly, setup, teardown),
		cmocka_unit_test_setup_teardown(keyed_hash_spreads, setup, teardown),
		cmocka_unit_test_setup_teardown(moves_are_limited, setup, teardown),
		cmocka_unit_test_setup_teardown(ages_and_flushes, setup, teardown),
		cmocka_unit_test_setup_teardown(dead_port_learns_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(two_threads_and_the_main_one, setup, teardown),
	};

	return cmocka_run_group_tests_name("fdb", tests, NULL, NULL);
}
