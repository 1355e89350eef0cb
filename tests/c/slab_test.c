// SPDX-License-Identifier: Apache-2.0
// slab_test.c - buffers by size class: apart from each other, bounded, counted, and given back with their
// thread.
#include "slab.h"

#include <errno.h>
#include <pthread.h>

#include "check.h"
#include "faults.h"
#include "limits.h"

enum { CHUNKS = 4, PER_CHUNK = SLAB_CHUNK_BYTES / MR_SLAB_BYTES_MIN, MOST = CHUNKS * PER_CHUNK };

static int32_t buffers[MOST + 1];

static mr_slab *open_slab(void) {
  mr_slab *slab = NULL;
  if (mr_slab_open((uint64_t)CHUNKS * SLAB_CHUNK_BYTES, &slab) != 0) exit(EXIT_FAILURE);
  return slab;
}

// Of all nodes together.
static struct mr_slab_stats total(mr_slab *slab) {
  struct mr_slab_stats sum = {0}, one;
  for (uint32_t node = 0; mr_slab_statistics(slab, node, &one) == 0; node++) {
    sum.allocated += one.allocated;
    sum.used += one.used;
    sum.buffers += one.buffers;
    sum.fallbacks += one.fallbacks;
  }
  return sum;
}

// Takes buffers until there are none; returns how many there were.
static uint32_t take_all(mr_slab *slab, uint32_t bytes) {
  uint32_t count = 0;
  while ((buffers[count] = mr_slab_get(slab, bytes)) >= 0) count++;
  return count;
}

static bool release(mr_slab *slab, uint32_t count) {
  bool ok = true;
  for (uint32_t i = 0; i < count; i++) ok = mr_slab_release(slab, (uint32_t)buffers[i]) == 0 && ok;
  return ok;
}

// Each byte of a buffer is its own: fills all, then looks at all.
static bool apart(uint32_t bytes, uint32_t size) {
  mr_slab *slab = open_slab();
  uint32_t count = take_all(slab, bytes);
  bool ok = count == CHUNKS * SLAB_CHUNK_BYTES / size && buffers[count] == -ENOBUFS;
  ok = ok && total(slab).used == (uint64_t)CHUNKS * SLAB_CHUNK_BYTES && total(slab).buffers == count;
  for (uint32_t i = 0; i < count; i++) memset(mr_slab_at(slab, (uint32_t)buffers[i]), (int)(i % 251), size);
  for (uint32_t i = 0; i < count; i++) {
    const uint8_t *at = mr_slab_at(slab, (uint32_t)buffers[i]);
    ok = ok && (uintptr_t)at % MR_SLAB_BYTES_MIN == 0 && at[0] == i % 251 && at[size - 1] == i % 251;
  }
  return release(slab, count) && ok && total(slab).buffers == 0 && total(slab).used == 0;
}

static bool all_apart(void) {
  bool ok = apart(0, MR_SLAB_BYTES_MIN) && apart(1, MR_SLAB_BYTES_MIN);
  for (uint32_t size = MR_SLAB_BYTES_MIN; size <= MR_SLAB_BYTES_MAX; size *= 2) {
    ok = ok && apart(size, size) && (size == MR_SLAB_BYTES_MAX || apart(size + 1, 2 * size));
  }
  return ok;
}

// Takes and releases at random, against a list of what is out.
static bool at_random(void) {
  mr_slab *slab = open_slab();
  uint64_t state = 7;
  uint32_t count = 0;
  bool ok = true;
  for (uint32_t step = 0; ok && step < 200000; step++) {
    uint32_t bytes = 1u << (6 + t_random(&state) % 13);
    int32_t buffer = t_random(&state) % 5 < 3 ? mr_slab_get(slab, bytes) : -ENOBUFS;
    if (buffer >= 0) {
      memcpy(mr_slab_at(slab, (uint32_t)buffer), &buffer, sizeof(buffer));
      buffers[count++] = buffer;
    } else if (count > 0) {
      uint32_t at = (uint32_t)(t_random(&state) % count);
      ok = memcmp(mr_slab_at(slab, (uint32_t)buffers[at]), &buffers[at], sizeof(buffer)) == 0 &&
           mr_slab_release(slab, (uint32_t)buffers[at]) == 0;
      buffers[at] = buffers[--count];
    }
    ok = ok && total(slab).buffers == count && total(slab).used <= total(slab).allocated;
  }
  return release(slab, count) && ok && total(slab).used == 0;
}

// Memory of one size serves another when all of it is free.
static bool sizes_change(void) {
  mr_slab *slab = open_slab();
  uint32_t count = take_all(slab, 64);
  int32_t last = buffers[count - 1];
  bool ok = mr_slab_get(slab, 4096) == -ENOBUFS && release(slab, count - 1);
  ok = ok && take_all(slab, 4096) == (CHUNKS - 1) * SLAB_CHUNK_BYTES / 4096;
  ok = ok && mr_slab_release(slab, (uint32_t)last) == 0;
  return ok && mr_slab_get(slab, MR_SLAB_BYTES_MAX) >= 0 && mr_slab_get(slab, 64) == -ENOBUFS;
}

static bool misuse(void) {
  mr_slab *slab = open_slab(), *none = NULL;
  bool ok = mr_slab_open(SLAB_CHUNK_BYTES - 1, &none) == -EINVAL && mr_slab_open(0, &none) == -EINVAL;
  ok = ok && mr_slab_open((SLAB_CHUNKS_MAX + 1ull) * SLAB_CHUNK_BYTES, &none) == -EINVAL;
  ok = ok && mr_slab_release(slab, 0) == -EINVAL && mr_slab_at(slab, 0) == NULL;
  ok = ok && mr_slab_get(slab, MR_SLAB_BYTES_MAX + 1) == -EMSGSIZE && total(slab).fallbacks == 1;
  ok = ok && mr_slab_get(slab, UINT32_MAX) == -EMSGSIZE && total(slab).fallbacks == 2;
  int32_t buffer = mr_slab_get(slab, 64);
  ok = ok && buffer >= 0 && mr_slab_release(slab, (uint32_t)buffer + 1) == -EINVAL;
  ok = ok && mr_slab_at(slab, UINT32_MAX) == NULL && mr_slab_release(slab, UINT32_MAX) == -EINVAL;
  ok = ok && mr_slab_release(slab, (uint32_t)buffer) == 0;
  return ok && mr_slab_release(slab, (uint32_t)buffer) == -EINVAL && none == NULL;
}

static bool memory_refused(void) {
  mr_slab *slab = NULL;
  t_fault(SYS_ALLOCATE, 0, 1, ENOMEM);
  bool ok = mr_slab_open(SLAB_CHUNK_BYTES, &slab) == -ENOMEM;
  t_faults_clear();
  slab = open_slab();
  t_fault(SYS_ALLOCATE, 0, 1, ENOMEM);
  ok = ok && mr_slab_get(slab, 64) == -ENOMEM;
  t_faults_clear();
  t_fault(SYS_MMAP, 0, UINT32_MAX, ENOMEM);
  ok = ok && mr_slab_get(slab, 64) == -ENOMEM;
  t_faults_clear();
  int32_t buffer = mr_slab_get(slab, 64);
  ok = ok && buffer >= 0 && mr_slab_release(slab, (uint32_t)buffer) == 0;
  // What there is serves, where no more is to be had.
  t_fault(SYS_MMAP, 0, UINT32_MAX, ENOMEM);
  ok = ok && mr_slab_get(slab, 4096) >= 0 && mr_slab_get(slab, 64) == -ENOMEM;
  t_faults_clear();
  return ok;
}

// A thread that ends with a buffer in use, and none of another slab.
struct user {
  uint8_t *used, *free;
};

static void *use(void *context) {
  struct user *user = context;
  mr_slab *slab = open_slab(), *second = open_slab();
  int32_t buffer = mr_slab_get(slab, 4096);
  user->free = mr_slab_at(slab, (uint32_t)buffer);
  user->used = mr_slab_at(second, (uint32_t)mr_slab_get(second, 64));
  user->free[0] = user->used[0] = 1;
  mr_slab_release(slab, (uint32_t)buffer);
  return NULL;
}

static struct user use_and_end(void) {
  struct user user;
  pthread_t thread;
  pthread_create(&thread, NULL, use, &user);
  pthread_join(thread, NULL);
  return user;
}

static bool thread_ends(void) {
  struct user one = use_and_end();
  // Somebody may have been given what is in use, or still read into what was released: both can be touched,
  // and show nothing.
  bool ok = one.used[0] == 0 && one.free[0] == 0;
  struct user other = use_and_end();
  return ok && other.free == one.free && other.used != one.used;
}

// Without memory to note a chunk, its addresses are not used again.
static void *forget(void *context) {
  mr_slab *slab = open_slab();
  int32_t buffer = mr_slab_get(slab, 64);
  *(uint8_t **)context = mr_slab_at(slab, (uint32_t)buffer);
  mr_slab_release(slab, (uint32_t)buffer);
  t_fault(SYS_ALLOCATE, 0, 1, ENOMEM);
  return NULL;
}

static bool thread_ends_unnoted(void) {
  uint8_t *at = NULL;
  pthread_t thread;
  pthread_create(&thread, NULL, forget, &at);
  pthread_join(thread, NULL);
  bool ok = t_faults_fired() == 1 && at[0] == 0;
  t_faults_clear();
  return use_and_end().free != at && ok;
}

int main(void) {
  t_case("buffers of each size lie apart, as many as there is memory for", all_apart());
  t_case("buffers taken and released at random keep their bytes", at_random());
  t_case("memory that is free changes its size", sizes_change());
  t_case("what is out of range is refused, and what is too long counted", misuse());
  t_case("mr_slab_get() is told that there is no memory", memory_refused());
  t_case("what a thread that ends has is for others, but for buffers in use", thread_ends());
  t_case("a thread that ends without memory leaves nothing that is used", thread_ends_unnoted());
  return t_done();
}
