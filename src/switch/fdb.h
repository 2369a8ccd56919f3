/* SPDX-License-Identifier: BSD-2-Clause */
/* The forwarding database: which port a MAC address is behind.
 *
 * Theory of operation
 *
 * 4,096 buckets of 8 words, a bucket being one cache line. A word holds everything that forwarding
 * needs: the address, the port and whether it is static, so that one atomic load sees one state and
 * readers take no lock. An address lies in one of two buckets, told by a keyed hash: the key is
 * random, so nobody outside can aim at a bucket, and a look-up reads at most two lines whatever is
 * in the table. An entry never moves to another slot.
 *
 * Whoever changes a word holds @lock. There is one lock and not one per bucket, because the number
 * of entries, the lists by port and the choice whom to evict are global. Workers only try it: when
 * somebody else holds it they do not learn this time; the next frame will. A frame of a known
 * address writes nothing, but for its time stamp once a second, for which no lock is needed.
 *
 * @generation moves whenever a word that somebody may have cached changes or goes: not when an
 * address is added, because only addresses that were found are cached.
 *
 * Fairness: a full table evicts from the port that has learnt most addresses, the longest learnt
 * first, sparing those seen lately. Who floods the table with addresses evicts its own. Static
 * entries never go, move or age.
 */
#ifndef SWITCH_FDB_H
#define SWITCH_FDB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/spinlock.h"
#include "base/util.h"
#include "port/port.h"
#include "switch/bridge.h"

#define FDB_WAYS	8
#define FDB_BUCKETS	4096u
#define FDB_SLOTS	(FDB_BUCKETS * FDB_WAYS)
#define FDB_NO_SLOT	UINT16_MAX
#define FDB_MOVES_PER_S 8 /* of one address; beyond that it stays where it is */

/* A word: 48 bits of address, first byte lowest; then flags; then the port's index. */
#define FDB_PORT_MASK 0xffull
#define FDB_STATIC    (1ull << 8)
#define FDB_USED      (1ull << 9)
#define FDB_MAC_SHIFT 16

static_assert(PORTS_MAX <= FDB_PORT_MASK + 1, "a port's index fits into a word");
static_assert(FDB_SLOTS <= FDB_NO_SLOT, "slots are told by 16 bits");
static_assert(BRIDGE_FDB_ENTRIES * 2 <= FDB_SLOTS, "never more than half full: room in a bucket");

struct fdb_bucket {
	_Atomic uint64_t words[FDB_WAYS];
} CACHE_ALIGNED;

/**
 * struct fdb_slot - What is known of an entry besides its word
 * @seen_s:   second it was last seen in
 * @moved_s:  second of its last move; under the lock, like all below
 * @moves:    moves within that second
 * @next, @prev: ring of the entries that its port learnt, oldest first
 */
struct fdb_slot {
	_Atomic uint32_t seen_s;
	uint32_t moved_s;
	uint16_t next;
	uint16_t prev;
	uint8_t moves;
};

/* A move that the main thread may tell the operator about. */
struct fdb_move {
	uint64_t mac;
	uint16_t from;
	uint16_t to;
};

struct fdb {
	struct fdb_bucket *buckets;
	struct fdb_slot *slots;
	uint64_t keys[4];
	_Atomic uint32_t generation CACHE_ALIGNED;
	struct spinlock lock CACHE_ALIGNED;
	/* below: written under the lock, counts read by anybody */
	_Atomic uint32_t learnt_count;
	_Atomic uint32_t static_count;
	uint32_t limit; /* entries of both kinds */
	uint16_t oldest[PORTS_MAX];
	_Atomic uint32_t port_count[PORTS_MAX]; /* learnt by port */
	_Atomic uint64_t moves;
	_Atomic uint64_t moves_refused;
	_Atomic uint64_t evicted;
	_Atomic uint64_t refused; /* not learnt: no room that is fair to take */
	struct fdb_move last_move;
};

/* What became of a source address. */
enum fdb_verdict {
	FDB_KNOWN,   /* it is behind this port, now or already before */
	FDB_UNKNOWN, /* not learnt: lock busy, no room, moves too often */
	FDB_SPOOFED, /* a static entry says that it is behind another port */
};

/**
 * fdb_init() - An empty table
 * @key: of the hash; 0: a random one
 *
 * Return: 0, -ENOMEM
 */
int fdb_init(struct fdb *fdb, uint64_t key);
void fdb_fini(struct fdb *fdb); /* half-built is fine */

/**
 * fdb_mac() - An address as a number: its first byte lowest, as it is loaded from a frame
 */
static inline uint64_t fdb_mac(const uint8_t mac[6])
{
	uint64_t n = 0;

	for (unsigned i = 0; i < 6; i++)
		n |= (uint64_t)mac[i] << (8 * i);
	return n;
}

static inline bool fdb_mac_is_multicast(uint64_t mac)
{
	return mac & 1;
}

static inline uint64_t fdb_mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The two buckets of an address; never the same one. */
static inline void fdb_buckets(const struct fdb *fdb, uint64_t mac, unsigned ret_index[2])
{
	uint64_t h =
		fdb_mix(fdb_mix(mac ^ fdb->keys[0], fdb->keys[1]) ^ fdb->keys[2], fdb->keys[3]);

	ret_index[0] = h & (FDB_BUCKETS - 1);
	ret_index[1] = ret_index[0] ^ (((unsigned)(h >> 32) & (FDB_BUCKETS - 1)) | 1);
}

static inline uint64_t fdb_word(const struct fdb *fdb, uint32_t slot)
{
	return atomic_load_explicit(&fdb->buckets[slot / FDB_WAYS].words[slot % FDB_WAYS],
				    memory_order_relaxed);
}

/* Second that the entry in @slot was last seen in. */
static inline uint32_t fdb_seen_s(const struct fdb *fdb, uint32_t slot)
{
	return atomic_load_explicit(&fdb->slots[slot].seen_s, memory_order_relaxed);
}

/**
 * fdb_find() - Look @mac up; no lock, at most two cache lines
 * @ret_slot: where it lies; untouched when it is not there
 *
 * Return: its word, 0 when it is not there
 */
static inline uint64_t fdb_find(const struct fdb *fdb, uint64_t mac, uint32_t *ret_slot)
{
	unsigned index[2];

	fdb_buckets(fdb, mac, index);
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned way = 0; way < FDB_WAYS; way++) {
			uint32_t slot = index[i] * FDB_WAYS + way;
			uint64_t word = fdb_word(fdb, slot);

			if ((word >> FDB_MAC_SHIFT) == mac && (word & FDB_USED)) {
				*ret_slot = slot;
				return word;
			}
		}
	}
	return 0;
}

/* The slow half of fdb_see(). */
enum fdb_verdict fdb_learn(struct fdb *fdb, uint64_t mac, unsigned port_index,
			   const _Atomic(struct port *) *port_alive, uint32_t now_s, bool wait);

/**
 * fdb_see() - A frame of @mac came in by port @port_index: learn it, move it, refresh its stamp
 * @port_alive: its place in the port table: nothing is learnt once that is NULL
 *
 * Worker context; never waits.
 */
static inline enum fdb_verdict fdb_see(struct fdb *fdb, uint64_t mac, unsigned port_index,
				       const _Atomic(struct port *) *port_alive, uint32_t now_s)
{
	uint32_t slot;
	uint64_t word = fdb_find(fdb, mac, &slot);

	if (likely(word && (word & FDB_PORT_MASK) == port_index)) {
		if (fdb_seen_s(fdb, slot) != now_s)
			atomic_store_explicit(&fdb->slots[slot].seen_s, now_s,
					      memory_order_relaxed);
		return FDB_KNOWN;
	}
	if (word & FDB_STATIC)
		return FDB_SPOOFED;
	return fdb_learn(fdb, mac, port_index, port_alive, now_s, false);
}

static inline uint32_t fdb_generation(const struct fdb *fdb)
{
	return atomic_load_explicit(&fdb->generation, memory_order_acquire);
}

/* "02:00:00:00:00:01" into @buffer. */
void fdb_mac_text(uint64_t mac, char *buffer, size_t buffer_bytes);

/* Main thread, all below. */

/**
 * fdb_set_static() - A static entry; a learnt one becomes static
 *
 * Return: 0, -EEXIST when it is static behind another port, -ENOSPC
 */
int fdb_set_static(struct fdb *fdb, uint64_t mac, unsigned port_index);

/**
 * fdb_remove() - Remove an entry of either kind. Return: 0, -ENOENT
 */
int fdb_remove(struct fdb *fdb, uint64_t mac);

/**
 * fdb_flush() - Remove the entries of port @port_index, or of all when it is negative
 * @with_static: static ones too
 */
void fdb_flush(struct fdb *fdb, int port_index, bool with_static);

/**
 * fdb_age() - Remove what was learnt and not seen for more than @ageing_s seconds
 */
void fdb_age(struct fdb *fdb, uint32_t now_s, uint32_t ageing_s);

/**
 * fdb_take_move() - The last move so far, and how many there were since the last call
 */
uint64_t fdb_take_move(struct fdb *fdb, uint64_t *since, struct fdb_move *ret_move);

#endif
