/* SPDX-License-Identifier: BSD-2-Clause */
/* The forwarding database: learning, moving, ageing, evicting. The theory is in fdb.h. */
#include "switch/fdb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"

#define FLUSH_SLICE 256 /* entries removed under one hold of the lock */
/* Entries seen lately that are passed over before one is evicted all the same. */
#define SECOND_CHANCE 8
#define LATELY_S      2

static uint64_t splitmix(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static void keys_init(struct fdb *fdb, uint64_t key)
{
	for (unsigned i = 0; i < ARRAY_SIZE(fdb->keys); i++)
		fdb->keys[i] = splitmix(&key) | 1;
}

int fdb_init(struct fdb *fdb, uint64_t key)
{
	memset(fdb, 0, sizeof(*fdb));
	atomic_store(&fdb->generation, 1);
	fdb->limit = BRIDGE_FDB_ENTRIES;
	for (unsigned i = 0; i < PORTS_MAX; i++)
		fdb->oldest[i] = FDB_NO_SLOT;
	if (key) {
		keys_init(fdb, key);
	} else {
		if (getrandom(fdb->keys, sizeof(fdb->keys), 0) != sizeof(fdb->keys))
			return -EIO;
		for (unsigned i = 0; i < ARRAY_SIZE(fdb->keys); i++)
			fdb->keys[i] |= 1;
	}
	fdb->buckets = aligned_alloc(CACHE_LINE_BYTES, FDB_BUCKETS * sizeof(*fdb->buckets));
	fdb->slots = calloc((size_t)FDB_SLOTS, sizeof(*fdb->slots));
	if (!fdb->buckets || !fdb->slots) {
		fdb_fini(fdb);
		return -ENOMEM;
	}
	memset(fdb->buckets, 0, FDB_BUCKETS * sizeof(*fdb->buckets));
	return 0;
}

void fdb_fini(struct fdb *fdb)
{
	free(fdb->buckets);
	free(fdb->slots);
	fdb->buckets = NULL;
	fdb->slots = NULL;
}

void fdb_mac_text(uint64_t mac, char *buffer, size_t buffer_bytes)
{
	snprintf(buffer, buffer_bytes, "%02x:%02x:%02x:%02x:%02x:%02x", (unsigned)mac & 0xff,
		 (unsigned)(mac >> 8) & 0xff, (unsigned)(mac >> 16) & 0xff,
		 (unsigned)(mac >> 24) & 0xff, (unsigned)(mac >> 32) & 0xff,
		 (unsigned)(mac >> 40) & 0xff);
}

/* Everything from here to fdb_learn() runs under the lock. */

static uint32_t count_get(const _Atomic uint32_t *count)
{
	return atomic_load_explicit(count, memory_order_relaxed);
}

static void count_change(_Atomic uint32_t *count, uint32_t by)
{
	atomic_store_explicit(count, count_get(count) + by, memory_order_relaxed);
}

static void tally(_Atomic uint64_t *count)
{
	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

static void word_store(struct fdb *fdb, uint32_t slot, uint64_t word)
{
	atomic_store_explicit(&fdb->buckets[slot / FDB_WAYS].words[slot % FDB_WAYS], word,
			      memory_order_relaxed);
}

/* What a flow cache may have kept is void, once the words before this are seen. */
static void generation_advance(struct fdb *fdb)
{
	uint32_t next = count_get(&fdb->generation) + 1;

	atomic_store_explicit(&fdb->generation, next, memory_order_release);
}

static void ring_add(struct fdb *fdb, uint32_t slot, unsigned port_index)
{
	struct fdb_slot *s = &fdb->slots[slot];
	uint16_t first = fdb->oldest[port_index];

	if (first == FDB_NO_SLOT) {
		s->next = (uint16_t)slot;
		s->prev = (uint16_t)slot;
		fdb->oldest[port_index] = (uint16_t)slot;
	} else {
		s->next = first;
		s->prev = fdb->slots[first].prev;
		fdb->slots[s->prev].next = (uint16_t)slot;
		fdb->slots[first].prev = (uint16_t)slot;
	}
	count_change(&fdb->port_count[port_index], 1);
}

static void ring_remove(struct fdb *fdb, uint32_t slot, unsigned port_index)
{
	struct fdb_slot *s = &fdb->slots[slot];

	ASSERT(count_get(&fdb->port_count[port_index]) > 0);
	count_change(&fdb->port_count[port_index], -1u);
	if (s->next == slot) {
		ASSERT(fdb->oldest[port_index] == slot);
		fdb->oldest[port_index] = FDB_NO_SLOT;
		return;
	}
	fdb->slots[s->prev].next = s->next;
	fdb->slots[s->next].prev = s->prev;
	if (fdb->oldest[port_index] == slot)
		fdb->oldest[port_index] = s->next;
}

static void entry_remove(struct fdb *fdb, uint32_t slot)
{
	uint64_t word = fdb_word(fdb, slot);

	ASSERT(word & FDB_USED);
	if (word & FDB_STATIC) {
		count_change(&fdb->static_count, -1u);
	} else {
		ring_remove(fdb, slot, word & FDB_PORT_MASK);
		count_change(&fdb->learnt_count, -1u);
	}
	word_store(fdb, slot, 0);
}

static void entry_add(struct fdb *fdb, uint32_t slot, uint64_t mac, unsigned port_index,
		      uint32_t now_s)
{
	struct fdb_slot *s = &fdb->slots[slot];

	ASSERT(!(fdb_word(fdb, slot) & FDB_USED));
	atomic_store_explicit(&s->seen_s, now_s, memory_order_relaxed);
	s->moved_s = 0;
	s->moves = 0;
	ring_add(fdb, slot, port_index);
	count_change(&fdb->learnt_count, 1);
	word_store(fdb, slot, mac << FDB_MAC_SHIFT | FDB_USED | port_index);
}

static unsigned heaviest_port(const struct fdb *fdb)
{
	unsigned most = 0;

	for (unsigned i = 1; i < PORTS_MAX; i++)
		if (count_get(&fdb->port_count[i]) > count_get(&fdb->port_count[most]))
			most = i;
	return most;
}

static bool is_seen_lately(const struct fdb *fdb, uint32_t slot, uint32_t now_s)
{
	return (int32_t)(now_s - fdb_seen_s(fdb, slot)) <= LATELY_S;
}

/* The table is full: room by the port that takes most of it. False: there are static ones only. */
static bool evict_fairly(struct fdb *fdb, uint32_t now_s)
{
	unsigned port_index = heaviest_port(fdb);

	if (fdb->oldest[port_index] == FDB_NO_SLOT)
		return false;
	for (unsigned i = 0; i < SECOND_CHANCE; i++) {
		if (!is_seen_lately(fdb, fdb->oldest[port_index], now_s))
			break;
		/* The oldest becomes the youngest: it is a ring. */
		fdb->oldest[port_index] = fdb->slots[fdb->oldest[port_index]].next;
	}
	entry_remove(fdb, fdb->oldest[port_index]);
	generation_advance(fdb);
	tally(&fdb->evicted);
	return true;
}

/*
 * Both buckets are full, which at half load nobody can bring about on purpose. The victim is an
 * entry of the port with the most, unless every candidate's port has fewer than the newcomer's.
 */
static uint32_t evict_in_buckets(struct fdb *fdb, const unsigned index[2], unsigned port_index)
{
	uint32_t most = count_get(&fdb->port_count[port_index]);
	uint32_t victim = FDB_NO_SLOT;

	for (unsigned i = 0; i < 2 * FDB_WAYS; i++) {
		uint32_t slot = index[i / FDB_WAYS] * FDB_WAYS + i % FDB_WAYS;
		uint64_t word = fdb_word(fdb, slot);
		uint32_t count = count_get(&fdb->port_count[word & FDB_PORT_MASK]);

		if ((word & FDB_STATIC) || count < most)
			continue;
		if (count == most && victim != FDB_NO_SLOT &&
		    (int32_t)(fdb_seen_s(fdb, slot) - fdb_seen_s(fdb, victim)) >= 0)
			continue;
		most = count;
		victim = slot;
	}
	if (victim == FDB_NO_SLOT)
		return FDB_NO_SLOT;
	entry_remove(fdb, victim);
	generation_advance(fdb);
	tally(&fdb->evicted);
	return victim;
}

/* A free slot for @mac: in the emptier of its buckets, in the first one when they are alike. */
static uint32_t slot_free(const struct fdb *fdb, const unsigned index[2])
{
	uint32_t slot[2] = {FDB_NO_SLOT, FDB_NO_SLOT};
	unsigned used[2] = {0, 0};

	for (unsigned i = 0; i < 2; i++) {
		for (unsigned way = FDB_WAYS; way-- > 0;) {
			uint32_t at = index[i] * FDB_WAYS + way;

			if (fdb_word(fdb, at) & FDB_USED)
				used[i]++;
			else
				slot[i] = at;
		}
	}
	return used[1] < used[0] ? slot[1] : slot[0];
}

static uint32_t slot_take(struct fdb *fdb, uint64_t mac, unsigned port_index, uint32_t now_s)
{
	unsigned index[2];
	uint32_t slot;

	if (count_get(&fdb->learnt_count) + count_get(&fdb->static_count) >= fdb->limit &&
	    !evict_fairly(fdb, now_s))
		return FDB_NO_SLOT;
	fdb_buckets(fdb, mac, index);
	slot = slot_free(fdb, index);
	if (unlikely(slot == FDB_NO_SLOT))
		slot = evict_in_buckets(fdb, index, port_index);
	return slot;
}

static bool may_move(struct fdb_slot *s, uint32_t now_s)
{
	if (s->moved_s != now_s) {
		s->moved_s = now_s;
		s->moves = 0;
	}
	if (s->moves >= FDB_MOVES_PER_S)
		return false;
	s->moves++;
	return true;
}

static enum fdb_verdict entry_move(struct fdb *fdb, uint32_t slot, unsigned port_index,
				   uint32_t now_s)
{
	uint64_t word = fdb_word(fdb, slot);
	unsigned from = word & FDB_PORT_MASK;

	if (!may_move(&fdb->slots[slot], now_s)) {
		tally(&fdb->moves_refused);
		return FDB_UNKNOWN;
	}
	ring_remove(fdb, slot, from);
	ring_add(fdb, slot, port_index);
	atomic_store_explicit(&fdb->slots[slot].seen_s, now_s, memory_order_relaxed);
	word_store(fdb, slot, (word & ~FDB_PORT_MASK) | port_index);
	generation_advance(fdb);
	tally(&fdb->moves);
	fdb->last_move.mac = word >> FDB_MAC_SHIFT;
	fdb->last_move.from = (uint16_t)from;
	fdb->last_move.to = (uint16_t)port_index;
	return FDB_KNOWN;
}

static enum fdb_verdict learn_locked(struct fdb *fdb, uint64_t mac, unsigned port_index,
				     uint32_t now_s)
{
	uint32_t slot;
	uint64_t word = fdb_find(fdb, mac, &slot);

	if (word && (word & FDB_PORT_MASK) == port_index)
		return FDB_KNOWN;
	if (word & FDB_STATIC)
		return FDB_SPOOFED;
	if (word)
		return entry_move(fdb, slot, port_index, now_s);
	slot = slot_take(fdb, mac, port_index, now_s);
	if (slot == FDB_NO_SLOT) {
		tally(&fdb->refused);
		return FDB_UNKNOWN;
	}
	entry_add(fdb, slot, mac, port_index, now_s);
	return FDB_KNOWN;
}

enum fdb_verdict fdb_learn(struct fdb *fdb, uint64_t mac, unsigned port_index,
			   const _Atomic(struct port *) *port_alive, uint32_t now_s, bool wait)
{
	enum fdb_verdict verdict = FDB_UNKNOWN;

	ASSERT(!fdb_mac_is_multicast(mac));
	ASSERT(port_index < PORTS_MAX);
	if (wait)
		spinlock_lock(&fdb->lock);
	else if (!spinlock_try(&fdb->lock))
		return FDB_UNKNOWN;
	/* Who takes a port away flushes under this lock: nothing is learnt for it afterwards. */
	if (atomic_load_explicit(port_alive, memory_order_acquire))
		verdict = learn_locked(fdb, mac, port_index, now_s);
	spinlock_unlock(&fdb->lock);
	return verdict;
}

int fdb_set_static(struct fdb *fdb, uint64_t mac, unsigned port_index)
{
	uint32_t slot;
	uint64_t word;
	int ret = 0;

	spinlock_lock(&fdb->lock);
	word = fdb_find(fdb, mac, &slot);
	if (word & FDB_STATIC) {
		ret = (word & FDB_PORT_MASK) == port_index ? 0 : -EEXIST;
		goto out;
	}
	if (word)
		entry_remove(fdb, slot);
	else
		slot = slot_take(fdb, mac, port_index, 0);
	if (slot == FDB_NO_SLOT) {
		ret = -ENOSPC;
		goto out;
	}
	count_change(&fdb->static_count, 1);
	word_store(fdb, slot, mac << FDB_MAC_SHIFT | FDB_USED | FDB_STATIC | port_index);
	generation_advance(fdb);
out:
	spinlock_unlock(&fdb->lock);
	return ret;
}

int fdb_remove(struct fdb *fdb, uint64_t mac)
{
	uint32_t slot;
	int ret = -ENOENT;

	spinlock_lock(&fdb->lock);
	if (fdb_find(fdb, mac, &slot)) {
		entry_remove(fdb, slot);
		generation_advance(fdb);
		ret = 0;
	}
	spinlock_unlock(&fdb->lock);
	return ret;
}

/* Remove what @doomed says, a slice at a time, so that nobody misses the lock for long. */
static void remove_where(struct fdb *fdb,
			 bool (*doomed)(const struct fdb *fdb, uint32_t slot, uint64_t word,
					const void *arg),
			 const void *arg)
{
	for (uint32_t slot = 0; slot < FDB_SLOTS;) {
		unsigned removed = 0;

		/* Most often there is nothing to do: look before the lock is taken, and again. */
		if (!doomed(fdb, slot, fdb_word(fdb, slot), arg)) {
			slot++;
			continue;
		}
		spinlock_lock(&fdb->lock);
		for (; slot < FDB_SLOTS && removed < FLUSH_SLICE; slot++) {
			if (!doomed(fdb, slot, fdb_word(fdb, slot), arg))
				continue;
			entry_remove(fdb, slot);
			removed++;
		}
		generation_advance(fdb);
		spinlock_unlock(&fdb->lock);
	}
}

struct flush {
	int port_index;
	bool with_static;
};

static bool is_flushed(const struct fdb *fdb, uint32_t slot, uint64_t word, const void *arg)
{
	const struct flush *flush = arg;

	(void)fdb;
	(void)slot;
	if (!(word & FDB_USED))
		return false;
	if ((word & FDB_STATIC) && !flush->with_static)
		return false;
	return flush->port_index < 0 || (word & FDB_PORT_MASK) == (unsigned)flush->port_index;
}

void fdb_flush(struct fdb *fdb, int port_index, bool with_static)
{
	struct flush flush = {.port_index = port_index, .with_static = with_static};

	remove_where(fdb, is_flushed, &flush);
}

struct age {
	uint32_t now_s;
	uint32_t ageing_s;
};

static bool is_aged(const struct fdb *fdb, uint32_t slot, uint64_t word, const void *arg)
{
	const struct age *age = arg;

	if (!(word & FDB_USED) || (word & FDB_STATIC))
		return false;
	/* A worker's clock may be ahead of ours: signed. */
	return (int32_t)(age->now_s - fdb_seen_s(fdb, slot)) > (int32_t)age->ageing_s;
}

void fdb_age(struct fdb *fdb, uint32_t now_s, uint32_t ageing_s)
{
	struct age age = {.now_s = now_s, .ageing_s = ageing_s};

	remove_where(fdb, is_aged, &age);
}

uint64_t fdb_take_move(struct fdb *fdb, uint64_t *since, struct fdb_move *ret_move)
{
	uint64_t moves, count;

	spinlock_lock(&fdb->lock);
	moves = atomic_load_explicit(&fdb->moves, memory_order_relaxed);
	*ret_move = fdb->last_move;
	spinlock_unlock(&fdb->lock);
	count = moves - *since;
	*since = moves;
	return count;
}
