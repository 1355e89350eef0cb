// SPDX-License-Identifier: Apache-2.0
// heap.c - keeps freed memory of large bodies in the process; called by reactor.c.
//
// JavaScript takes and frees an ArrayBuffer for every large body. By default the C library gives such memory
// back to the system each time, and touching it anew costs more than to receive the body.
#include "heap.h"

#include <malloc.h>
#include <stdlib.h>

#include "limits.h"

void heap_keep(void) {
#ifdef __GLIBC__
  if (getenv("MALLOC_TRIM_THRESHOLD_") != NULL || getenv("MALLOC_MMAP_THRESHOLD_") != NULL) return;
  mallopt(M_MMAP_THRESHOLD, HEAP_BLOCK_BYTES);
  mallopt(M_TRIM_THRESHOLD, HEAP_KEPT_BYTES);
#endif
}
