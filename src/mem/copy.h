/* SPDX-License-Identifier: BSD-2-Clause */
/* Inline copies of small pieces; see mem/copy.c for the large ones. */
#ifndef MEM_COPY_H
#define MEM_COPY_H

#include <stddef.h>
#include <string.h>

typedef uint8_t mem_vector16 __attribute__((vector_size(16), aligned(1), may_alias));

static inline void mem_move16(uint8_t *to, const uint8_t *from)
{
	*(mem_vector16 *)to = *(const mem_vector16 *)from;
}

static inline void mem_copy_head(void *to, const void *from, size_t bytes)
{
	uint8_t *t = to;
	const uint8_t *f = from;

	if (bytes >= 16) {
		size_t at = 0;

		for (; at + 16 < bytes; at += 16)
			mem_move16(t + at, f + at);
		mem_move16(t + bytes - 16, f + bytes - 16);
		return;
	}
	if (bytes >= 8) {
		uint64_t first, last;

		memcpy(&first, f, 8);
		memcpy(&last, f + bytes - 8, 8);
		memcpy(t, &first, 8);
		memcpy(t + bytes - 8, &last, 8);
		return;
	}
	for (size_t i = 0; i < bytes; i++)
		t[i] = f[i];
}

#endif
