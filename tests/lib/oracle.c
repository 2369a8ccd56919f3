/* SPDX-License-Identifier: BSD-2-Clause */
/* Oracles: what sees a buffer that came back too early, twice, late or never. */
#include "oracle.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/asan.h"
#include "base/assert.h"
#include "base/util.h"

#define POISON_RUN 16

/* ---- Contents ------------------------------------------------------------------------------ */

/* Eight bytes of contents. The top bit of each is clear: poison has it set. */
static uint64_t pattern_word(uint64_t stamp, uint64_t index)
{
	uint64_t x = (stamp + 1) * 0x9e3779b97f4a7c15ull + index * 0xbf58476d1ce4e5b9ull;

	x ^= x >> 31;
	x *= 0x94d049bb133111ebull;
	x ^= x >> 29;
	return x & 0x7f7f7f7f7f7f7f7full;
}

void oracle_pattern(uint64_t stamp, size_t offset, void *data, size_t bytes)
{
	uint8_t *to = data;

	while (bytes) {
		uint64_t word = pattern_word(stamp, offset / 8);
		size_t skip = offset % 8;
		size_t part = min_u64(8 - skip, bytes);

		memcpy(to, (uint8_t *)&word + skip, part);
		to += part;
		offset += part;
		bytes -= part;
	}
}

bool oracle_pattern_matches(uint64_t stamp, size_t offset, const void *data, size_t bytes)
{
	const uint8_t *at = data;

	while (bytes) {
		uint64_t word = pattern_word(stamp, offset / 8);
		size_t skip = offset % 8;
		size_t part = min_u64(8 - skip, bytes);

		if (memcmp(at, (uint8_t *)&word + skip, part) != 0)
			return false;
		at += part;
		offset += part;
		bytes -= part;
	}
	return true;
}

void oracle_poison(void *data, size_t bytes, uint64_t generation)
{
	memset(data, 0xe0 + (int)(generation % 16), bytes);
}

bool oracle_is_poison(const void *data, size_t bytes)
{
	const uint8_t *at = data;
	size_t run = 0;

	for (size_t i = 0; i < bytes; i++) {
		if ((at[i] & 0xf0) != 0xe0)
			run = 0;
		else
			run = run && at[i] == at[i - 1] ? run + 1 : 1;
		if (run == POISON_RUN)
			return true;
	}
	return false;
}

/* Behind the Ethernet header. */
struct frame_note {
	uint64_t stamp;
	uint32_t bytes;
} __attribute__((packed));

static_assert(14 + sizeof(struct frame_note) == ORACLE_FRAME_BYTES_MIN, "as oracle.h says");

void oracle_frame_make(void *frame, size_t bytes, const uint8_t to[6], const uint8_t from[6],
		       uint64_t stamp)
{
	struct frame_note note = {.stamp = stamp, .bytes = (uint32_t)bytes};
	uint8_t *at = frame;

	if (bytes < ORACLE_FRAME_BYTES_MIN)
		abort();
	memcpy(at, to, 6);
	memcpy(at + 6, from, 6);
	at[12] = 0x88;
	at[13] = 0xb5;
	memcpy(at + 14, &note, sizeof(note));
	oracle_pattern(stamp, 0, at + ORACLE_FRAME_BYTES_MIN, bytes - ORACLE_FRAME_BYTES_MIN);
}

enum oracle_verdict oracle_frame_check(const void *frame, size_t bytes, uint64_t *ret_stamp)
{
	const uint8_t *at = frame;
	struct frame_note note;

	if (oracle_is_poison(frame, bytes))
		return ORACLE_POISONED;
	if (bytes < 14 || at[12] != 0x88 || at[13] != 0xb5)
		return ORACLE_FOREIGN;
	if (bytes < ORACLE_FRAME_BYTES_MIN)
		return ORACLE_SHORT;
	memcpy(&note, at + 14, sizeof(note));
	if (bytes != note.bytes && !(bytes == 60 && note.bytes < 60))
		return ORACLE_SHORT;
	for (size_t i = note.bytes; i < bytes; i++)
		if (at[i])
			return ORACLE_CORRUPT;
	if (!oracle_pattern_matches(note.stamp, 0, at + ORACLE_FRAME_BYTES_MIN,
				    note.bytes - ORACLE_FRAME_BYTES_MIN))
		return ORACLE_CORRUPT;
	if (ret_stamp)
		*ret_stamp = note.stamp;
	return ORACLE_GOOD;
}

/* ---- Ledger -------------------------------------------------------------------------------- */

void oracle_violated(struct oracle_ledger *l, const char *format, ...)
{
	char line[sizeof(l->first_violation)];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (!l->lenient) {
		fprintf(stderr, "oracle %s: %s\n", l->name, line);
		abort();
	}
	if (atomic_fetch_add(&l->violations, 1) == 0)
		memcpy(l->first_violation, line, sizeof(line));
}

void oracle_ledger_init(struct oracle_ledger *l, const char *name, uint32_t slot_count)
{
	memset(l, 0, sizeof(*l));
	l->name = name;
	l->slot_count = slot_count;
	l->slots = calloc(slot_count, sizeof(*l->slots));
	if (!l->slots)
		abort();
}

void oracle_ledger_fini(struct oracle_ledger *l)
{
	oracle_check_balance(l);
	for (uint32_t i = 0; i < l->slot_count; i++)
		if (l->slots[i].in_flight)
			oracle_violated(l, "slot %u never came back", i);
	free(l->slots);
	l->slots = NULL;
}

uint64_t oracle_submit(struct oracle_ledger *l, uint32_t slot, uint64_t now_ns)
{
	struct oracle_slot *s;

	if (slot >= l->slot_count) {
		oracle_violated(l, "no slot %u", slot);
		return 0;
	}
	s = &l->slots[slot];
	if (atomic_load(&s->in_flight))
		oracle_violated(l, "slot %u is out already", slot);
	s->generation++;
	s->since_ns = now_ns;
	atomic_store(&s->in_flight, true);
	atomic_fetch_add(&l->submitted, 1);
	return s->generation;
}

void oracle_end(struct oracle_ledger *l, uint32_t slot, enum oracle_end how)
{
	if (slot >= l->slot_count)
		oracle_violated(l, "slot %u came back and does not exist", slot);
	else if (!atomic_exchange(&l->slots[slot].in_flight, false))
		oracle_violated(l, "slot %u came back twice", slot);
	else
		atomic_fetch_add(&l->ended[how], 1);
}

uint32_t oracle_in_flight(const struct oracle_ledger *l)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < l->slot_count; i++)
		count += l->slots[i].in_flight;
	return count;
}

void oracle_check_balance(struct oracle_ledger *l)
{
	uint64_t ended = 0;

	for (unsigned i = 0; i < ORACLE_ENDS; i++)
		ended += l->ended[i];
	if (l->submitted != ended + oracle_in_flight(l))
		oracle_violated(l, "%llu submitted, %llu ended, %u in flight",
				(unsigned long long)l->submitted, (unsigned long long)ended,
				oracle_in_flight(l));
}

void oracle_check_live(struct oracle_ledger *l, uint64_t now_ns, uint64_t limit_ns)
{
	for (uint32_t i = 0; i < l->slot_count; i++) {
		const struct oracle_slot *s = &l->slots[i];

		if (s->in_flight && now_ns > s->since_ns && now_ns - s->since_ns > limit_ns)
			oracle_violated(l, "slot %u is out for %llu us, limit %llu us", i,
					(unsigned long long)(now_ns - s->since_ns) / 1000,
					(unsigned long long)limit_ns / 1000);
	}
}

/* ---- Lender -------------------------------------------------------------------------------- */

static void buffer_complete(struct lr_ubuf *ubuf)
{
	struct oracle_buffer *b = container_of(ubuf, struct oracle_buffer, ubuf);
	struct oracle_lender *lender = b->lender;
	bool copied = ubuf->flags & LR_UBUF_COPIED;

	if (!lender->dry) {
		oracle_poison(b->data, lender->buffer_bytes,
			      lender->ledger.slots[b->index].generation);
		ASAN_POISON_MEMORY_REGION(b->data, lender->buffer_bytes);
	}
	oracle_end(&lender->ledger, b->index, copied ? ORACLE_COPIED : ORACLE_COMPLETED);
}

static const struct lr_ubuf_ops lender_ops = {.complete = buffer_complete};

void oracle_lender_init(struct oracle_lender *lender, uint32_t buffer_count, uint32_t buffer_bytes)
{
	memset(lender, 0, sizeof(*lender));
	oracle_ledger_init(&lender->ledger, "lender", buffer_count);
	lender->buffer_bytes = buffer_bytes;
	lender->buffers = calloc(buffer_count, sizeof(*lender->buffers));
	/* ASan forbids by units of 8 bytes */
	lender->memory = calloc(buffer_count, ((size_t)buffer_bytes + 7) / 8 * 8);
	if (!lender->buffers || !lender->memory)
		abort();
	for (uint32_t i = 0; i < buffer_count; i++) {
		lender->buffers[i].lender = lender;
		lender->buffers[i].index = i;
		lender->buffers[i].data = lender->memory + i * (((size_t)buffer_bytes + 7) / 8 * 8);
	}
}

void oracle_lender_fini(struct oracle_lender *lender)
{
	oracle_ledger_fini(&lender->ledger);
	for (uint32_t i = 0; i < lender->ledger.slot_count; i++)
		ASAN_UNPOISON_MEMORY_REGION(lender->buffers[i].data, lender->buffer_bytes);
	free(lender->memory);
	free(lender->buffers);
	lender->buffers = NULL;
	lender->memory = NULL;
}

struct oracle_buffer *oracle_lend(struct oracle_lender *lender, uint32_t index)
{
	struct oracle_buffer *b = &lender->buffers[index];
	uint64_t generation = oracle_submit(&lender->ledger, index, lender->now_ns);

	b->stamp = generation << 32 | index;
	if (!lender->dry) {
		ASAN_UNPOISON_MEMORY_REGION(b->data, lender->buffer_bytes);
		oracle_pattern(b->stamp, 0, b->data, lender->buffer_bytes);
	}
	lr_ubuf_init(&b->ubuf, &lender_ops);
	return b;
}

bool oracle_is_out(const struct oracle_lender *lender, uint32_t index)
{
	return lender->ledger.slots[index].in_flight;
}

void oracle_check_intact(struct oracle_lender *lender, uint32_t index)
{
	struct oracle_buffer *b = &lender->buffers[index];

	if (oracle_is_out(lender, index) &&
	    !oracle_pattern_matches(b->stamp, 0, b->data, lender->buffer_bytes))
		oracle_violated(&lender->ledger, "somebody wrote into buffer %u", index);
}

/* ---- Leaks --------------------------------------------------------------------------------- */

static unsigned entries_of(const char *path)
{
	unsigned count = 0;
	DIR *dir = opendir(path);

	if (!dir)
		abort();
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static unsigned maps_of_files(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[600], *word, *rest;
	unsigned count = 0;

	if (!maps)
		abort();
	/* addresses, rights, offset, device, inode */
	while (fgets(line, sizeof(line), maps)) {
		const char *words[5] = {"", "---p", "", "", "0"};
		unsigned n = 0;

		for (word = strtok_r(line, " ", &rest); word && n < 5; n++) {
			words[n] = word;
			word = strtok_r(NULL, " ", &rest);
		}
		count += words[1][3] == 's' || strcmp(words[4], "0") != 0;
	}
	fclose(maps);
	return count;
}

void oracle_baseline_take(struct oracle_baseline *b)
{
	b->fds = entries_of("/proc/self/fd");
	b->maps = maps_of_files();
	b->threads = entries_of("/proc/self/task");
}

void oracle_baseline_check(const struct oracle_baseline *b)
{
	struct oracle_baseline now;

	oracle_baseline_take(&now);
	if (now.fds == b->fds && now.maps == b->maps && now.threads == b->threads)
		return;
	fprintf(stderr, "oracle leak: %u fds (were %u), %u maps (%u), %u threads (%u)\n", now.fds,
		b->fds, now.maps, b->maps, now.threads, b->threads);
	abort();
}
