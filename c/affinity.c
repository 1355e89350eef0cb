// SPDX-License-Identifier: Apache-2.0
// affinity.c - pins the calling thread to CPUs and lets it go again; called by JavaScript.
#include "affinity.h"

#include <pthread.h>
#include <string.h>

#include "millrace.h"
#include "sys.h"

// The one thing that the shim remembers of the process. A thread inherits the mask of the one that started
// it, so that a worker could not find out by itself what there was before its parent was pinned.
static struct bits at_start;

static void remember(void) {
  if (sys_getaffinity(sizeof(at_start), at_start.words) <= 0) memset(&at_start, 0xff, sizeof(at_start));
}

const struct bits *affinity_at_start(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, remember);
  return &at_start;
}

int32_t mr_pin(const uint8_t *cpus, uint32_t bytes) {
  struct bits mask = {0};
  if (bytes > sizeof(mask)) return -EINVAL;
  affinity_at_start();
  memcpy(&mask, cpus, bytes);
  return sys_setaffinity(sizeof(mask), mask.words) == 0 ? 0 : -errno;
}

int32_t mr_unpin(void) {
  const struct bits *mask = affinity_at_start();
  return sys_setaffinity(sizeof(*mask), mask->words) == 0 ? 0 : -errno;
}
