// SPDX-License-Identifier: Apache-2.0
// counter.h - numbers of struct mr_control, which one thread writes while others may read them; used by all
// that counts, and by crew.c and crew_accept.c.
//
// Relaxed, and without a locked instruction: who reads sees the number before or the one after.
#ifndef MR_COUNTER_H
#define MR_COUNTER_H

#include <stdint.h>

static inline uint64_t counter_read(const uint64_t *counter) {
  return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static inline void counter_set(uint64_t *counter, uint64_t value) {
  __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

static inline void counter_add(uint64_t *counter, uint64_t by) {
  counter_set(counter, *counter + by);
}

static inline void counter_sub(uint64_t *counter, uint64_t by) {
  counter_set(counter, *counter - by);
}

static inline uint32_t gauge_read(const uint32_t *gauge) {
  return __atomic_load_n(gauge, __ATOMIC_RELAXED);
}

static inline void gauge_set(uint32_t *gauge, uint32_t value) {
  __atomic_store_n(gauge, value, __ATOMIC_RELAXED);
}

#endif
