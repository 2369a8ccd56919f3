/* SPDX-License-Identifier: BSD-2-Clause */
/* Oracles: what sees a buffer that came back too early, twice, late or never.
 *
 * Poison (O1): the moment a buffer completes, its lender overwrites it. Whoever still reads it
 * sees bytes that were never sent. Contents are a function of (stamp, offset), so that any part of
 * them, cut and joined in any way, can be checked wherever it turns up. ASan builds forbid even the
 * read, until the buffer is lent again.
 *
 * Ledger (O2): exactly one completion for each time that a slot was submitted, and
 * submitted = completed + copied + failed + in flight, always.
 *
 * Liveness (O4): nothing is in flight longer than it may be.
 *
 * Leak (O5): descriptors, mappings and threads are as many as before.
 *
 * A violation is printed and aborts; a lenient oracle only counts, for tests that plant one.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lastref/packet.h>

/* ---- Contents ------------------------------------------------------------------------------ */

/**
 * oracle_pattern() - Write what bytes [@offset, @offset + @bytes) of the contents @stamp are
 */
void oracle_pattern(uint64_t stamp, size_t offset, void *data, size_t bytes);

/**
 * oracle_pattern_matches() - Are these bytes [@offset, @offset + @bytes) of the contents @stamp?
 */
bool oracle_pattern_matches(uint64_t stamp, size_t offset, const void *data, size_t bytes);

/**
 * oracle_poison() - Overwrite a buffer that came back, differently for each generation
 */
void oracle_poison(void *data, size_t bytes, uint64_t generation);

/**
 * oracle_is_poison() - Is there poison among these bytes? A run of 16 is taken for it
 */
bool oracle_is_poison(const void *data, size_t bytes);

/* Shortest frame that oracle_frame_make() can stamp. */
#define ORACLE_FRAME_BYTES_MIN 26

enum oracle_verdict {
	ORACLE_GOOD,
	ORACLE_FOREIGN, /* not one of ours: another ethertype */
	ORACLE_SHORT,	/* cut, or longer than it was sent */
	ORACLE_POISONED,
	ORACLE_CORRUPT,
};

/**
 * oracle_frame_make() - An Ethernet frame that says what it is: addresses, ethertype 0x88b5,
 * stamp, length, contents
 * @bytes: of the whole frame, at least ORACLE_FRAME_BYTES_MIN
 */
void oracle_frame_make(void *frame, size_t bytes, const uint8_t to[6], const uint8_t from[6],
		       uint64_t stamp);

/**
 * oracle_frame_check() - Is it what oracle_frame_make() made?
 * @ret_stamp: when good; may be NULL
 *
 * A frame that was padded to 60 bytes is good when the padding is 0.
 */
enum oracle_verdict oracle_frame_check(const void *frame, size_t bytes, uint64_t *ret_stamp);

/* ---- Ledger: exactly once, in time --------------------------------------------------------- */

enum oracle_end {
	ORACLE_COMPLETED,
	ORACLE_COPIED,
	ORACLE_FAILED,
	ORACLE_ENDS,
};

struct oracle_slot {
	_Atomic bool in_flight;
	uint64_t generation; /* how often it was submitted */
	uint64_t since_ns;
};

/**
 * struct oracle_ledger - Slots (buffers, descriptors) that go out and come back
 *
 * Submitting is one thread's; ending may be another's.
 */
struct oracle_ledger {
	const char *name;
	uint32_t slot_count;
	struct oracle_slot *slots;
	_Atomic uint64_t submitted;
	_Atomic uint64_t ended[ORACLE_ENDS];
	bool lenient;
	_Atomic unsigned violations;
	char first_violation[160];
};

void oracle_ledger_init(struct oracle_ledger *l, const char *name, uint32_t slot_count);

/**
 * oracle_ledger_fini() - Nothing may be in flight any more (O5)
 */
void oracle_ledger_fini(struct oracle_ledger *l);

/**
 * oracle_submit() - @slot goes out; it must not be out
 *
 * Return: its generation, from 1
 */
uint64_t oracle_submit(struct oracle_ledger *l, uint32_t slot, uint64_t now_ns);

/**
 * oracle_end() - @slot came back; it must be out
 */
void oracle_end(struct oracle_ledger *l, uint32_t slot, enum oracle_end how);

uint32_t oracle_in_flight(const struct oracle_ledger *l);

/**
 * oracle_check_balance() - submitted = completed + copied + failed + in flight (O2)
 *
 * While nobody submits or ends.
 */
void oracle_check_balance(struct oracle_ledger *l);

/**
 * oracle_check_live() - Nothing is out for longer than @limit_ns (O4)
 */
void oracle_check_live(struct oracle_ledger *l, uint64_t now_ns, uint64_t limit_ns);

/**
 * oracle_violated() - Record a violation of something else
 */
void oracle_violated(struct oracle_ledger *l, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- A lender of ubufs: poison and ledger together ----------------------------------------- */

struct oracle_lender;

/**
 * struct oracle_buffer - One buffer of a lender
 * @ubuf:  what frags point to
 * @stamp: contents since it was lent; differs for each buffer and generation
 */
struct oracle_buffer {
	struct lr_ubuf ubuf;
	struct oracle_lender *lender;
	uint8_t *data;
	uint64_t stamp;
	uint32_t index;
};

struct oracle_lender {
	struct oracle_ledger ledger;
	struct oracle_buffer *buffers;
	uint8_t *memory;
	uint32_t buffer_bytes;
	uint64_t now_ns; /* set by the test */
	bool dry;	 /* only count: contents are neither written nor poisoned */
};

void oracle_lender_init(struct oracle_lender *lender, uint32_t buffer_count, uint32_t buffer_bytes);

/**
 * oracle_lender_fini() - Everything must have come back
 */
void oracle_lender_fini(struct oracle_lender *lender);

/**
 * oracle_lend() - Fill buffer @index and lend it: its count is 1, put it when the frags are there
 */
struct oracle_buffer *oracle_lend(struct oracle_lender *lender, uint32_t index);

/**
 * oracle_is_out() - It was lent and has not completed
 */
bool oracle_is_out(const struct oracle_lender *lender, uint32_t index);

/**
 * oracle_check_intact() - Nobody wrote into a buffer that is out (L9)
 */
void oracle_check_intact(struct oracle_lender *lender, uint32_t index);

/* ---- Leaks --------------------------------------------------------------------------------- */

/**
 * struct oracle_baseline - What this process has
 * @maps:   mappings that are shared or of a file
 */
struct oracle_baseline {
	unsigned fds;
	unsigned maps;
	unsigned threads;
};

void oracle_baseline_take(struct oracle_baseline *b);

/**
 * oracle_baseline_check() - As much as then: prints what is not and aborts (O5)
 */
void oracle_baseline_check(const struct oracle_baseline *b);

#endif
