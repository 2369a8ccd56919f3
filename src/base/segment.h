/* SPDX-License-Identifier: BSD-2-Clause */
/* A piece of a chain or frame: contiguous bytes, possibly in a guest's memory. */
#ifndef BASE_SEGMENT_H
#define BASE_SEGMENT_H

#include <stdint.h>

struct segment {
	uint8_t *data;
	uint32_t bytes;
	uint32_t unused;
};

#endif
