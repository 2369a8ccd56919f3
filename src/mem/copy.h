/* SPDX-License-Identifier: BSD-2-Clause */
/* Inline copies of small pieces; see mem/copy.c for the large ones. */
#ifndef MEM_COPY_H
#define MEM_COPY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MEM_COPY_HEAD_MAX 128u

typedef uint8_t mem_vector16 __attribute__((vector_size(16), aligned(1), may_alias));

static inline void mem_move16(uint8_t *to, const uint8_t *from)
{
	*(mem_vector16 *)to = *(const mem_vector16 *)from;
}

static inline void mem_move32(uint8_t *to, const uint8_t *from)
{
	mem_move16(to, from);
	mem_move16(to + 16, from + 16);
}

static inline void mem_move64(uint8_t *to, const uint8_t *from)
{
	mem_move32(to, from);
	mem_move32(to + 32, from + 32);
}

/* Less than 16 bytes. */
static inline void mem_copy_tiny(uint8_t *to, const uint8_t *from, size_t bytes)
{
	if (bytes >= 8) {
		uint64_t first, last;

		memcpy(&first, from, 8);
		memcpy(&last, from + bytes - 8, 8);
		memcpy(to, &first, 8);
		memcpy(to + bytes - 8, &last, 8);
		return;
	}
	for (size_t i = 0; i < bytes; i++)
		to[i] = from[i];
}

/* From both ends, meeting in the middle: no loop for any size that a snapshot has. The head of a
 * packet that was finished in software may be longer. */
static inline void mem_copy_head(void *to, const void *from, size_t bytes)
{
	const uint8_t *f = from;
	uint8_t *t = to;

	if (bytes >= 64) {
		mem_move64(t, f);
		if (__builtin_expect(bytes > MEM_COPY_HEAD_MAX, 0))
			memcpy(t + 64, f + 64, bytes - MEM_COPY_HEAD_MAX);
		if (bytes > 64)
			mem_move64(t + bytes - 64, f + bytes - 64);
	} else if (bytes >= 32) {
		mem_move32(t, f);
		mem_move32(t + bytes - 32, f + bytes - 32);
	} else if (bytes >= 16) {
		mem_move16(t, f);
		mem_move16(t + bytes - 16, f + bytes - 16);
	} else {
		mem_copy_tiny(t, f, bytes);
	}
}

#endif
