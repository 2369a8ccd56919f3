/* SPDX-License-Identifier: BSD-2-Clause */
/* Durations in buckets of an eighth of a power of two: percentiles to within 12 %. */
#include "guest/histogram.h"

#include "base/util.h"

/* Below 8 ns each value has its bucket; from there on the top bit and the three behind it tell. */
static unsigned bucket_of(uint64_t ns)
{
	unsigned top;

	if (ns < HISTOGRAM_STEPS)
		return (unsigned)ns;
	top = 63 - (unsigned)__builtin_clzll(ns);
	return (top - 2) * HISTOGRAM_STEPS + (unsigned)(ns >> (top - 3)) % HISTOGRAM_STEPS;
}

static uint64_t end_of(unsigned bucket)
{
	unsigned top = bucket / HISTOGRAM_STEPS + 2;

	if (bucket < HISTOGRAM_STEPS)
		return bucket;
	return ((uint64_t)(HISTOGRAM_STEPS + bucket % HISTOGRAM_STEPS + 1) << (top - 3)) - 1;
}

void histogram_add(struct histogram *h, uint64_t ns)
{
	h->count++;
	h->buckets[bucket_of(ns)]++;
	if (ns > h->max_ns)
		h->max_ns = ns;
}

void histogram_merge(struct histogram *h, const struct histogram *from)
{
	h->count += from->count;
	if (from->max_ns > h->max_ns)
		h->max_ns = from->max_ns;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		h->buckets[i] += from->buckets[i];
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
	uint64_t wanted = (uint64_t)((double)h->count * percent / 100.0), seen = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen > wanted || (seen && seen == h->count))
			return min_u64(end_of(i), h->max_ns);
	}
	return 0;
}
