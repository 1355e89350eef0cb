// SPDX-License-Identifier: Apache-2.0
// histogram.h - counts latencies in fixed log-linear buckets, 128 to each power of two: an error below 0.8 %.
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>
#include <string.h>

#define HISTOGRAM_BITS 7
#define HISTOGRAM_STEPS (1u << HISTOGRAM_BITS)
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_BITS + 1) * HISTOGRAM_STEPS)

struct histogram {
  uint64_t count;
  uint64_t highest;
  uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline uint32_t histogram_index(uint64_t value) {
  if (value < HISTOGRAM_STEPS) return (uint32_t)value;
  uint32_t shift = 63 - (uint32_t)__builtin_clzll(value) - HISTOGRAM_BITS;
  return (shift + 1) * HISTOGRAM_STEPS + ((value >> shift) & (HISTOGRAM_STEPS - 1));
}

// The middle of a bucket, so that rounding errs to neither side.
static inline uint64_t histogram_value(uint32_t index) {
  if (index < HISTOGRAM_STEPS) return index;
  uint32_t shift = index / HISTOGRAM_STEPS - 1;
  uint64_t low = ((uint64_t)HISTOGRAM_STEPS + index % HISTOGRAM_STEPS) << shift;
  return low + ((1ull << shift) >> 1);
}

static inline void histogram_add(struct histogram *histogram, uint64_t value, uint64_t count) {
  histogram->count += count;
  histogram->buckets[histogram_index(value)] += count;
  if (value > histogram->highest) histogram->highest = value;
}

static inline void histogram_merge(struct histogram *into, const struct histogram *from) {
  into->count += from->count;
  if (from->highest > into->highest) into->highest = from->highest;
  for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) into->buckets[i] += from->buckets[i];
}

// The value that the given share (0.99: p99) of all values does not exceed; 0 when there are none.
static inline uint64_t histogram_share(const struct histogram *histogram, double share) {
  uint64_t rank = (uint64_t)(share * (double)histogram->count);
  uint64_t seen = 0;
  for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
    seen += histogram->buckets[i];
    if (seen <= rank) continue;
    uint64_t value = histogram_value(i);  // may lie above all that are in the bucket
    return value < histogram->highest ? value : histogram->highest;
  }
  return histogram->highest;
}

#endif
