/* SPDX-License-Identifier: BSD-2-Clause */
/* Durations in buckets of an eighth of a power of two: percentiles to within 12 %. */
#ifndef GUEST_HISTOGRAM_H
#define GUEST_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEPS	  8
#define HISTOGRAM_BUCKETS (64 * HISTOGRAM_STEPS)

struct histogram {
	uint64_t count;
	uint64_t max_ns;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

/**
 * histogram_add() - Count one duration
 */
void histogram_add(struct histogram *h, uint64_t ns);

/**
 * histogram_merge() - Add everything that is in @from
 */
void histogram_merge(struct histogram *h, const struct histogram *from);

/**
 * histogram_percentile() - The bucket's upper bound under which @percent of all lie; 0 when empty
 */
uint64_t histogram_percentile(const struct histogram *h, double percent);

#endif
