// SPDX-License-Identifier: Apache-2.0
// slab.c - buffers by size class, each taken and released in constant time; called by JavaScript and, when
// its thread ends, by thread.c.
//
// Memory is taken in chunks of a huge page. A chunk has buffers of one size. Those of a class that have room
// stand in a row, with the empty ones last: where there is no memory for another chunk, one of these changes
// its class. Which buffers are free is noted apart from them, as JavaScript may write to one for a while
// after its release: a read that is under way knows nothing of that. For the same reason the chunks of a
// thread that ends are not unmapped, when something else might come to lie there, but kept for other slabs.
#include "slab.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "limits.h"
#include "pages.h"
#include "sys.h"
#include "thread.h"

#define CLASSES 13
#define INDEX_BITS 15
#define INDEX_MASK ((1u << INDEX_BITS) - 1)

_Static_assert(MR_SLAB_BYTES_MIN << (CLASSES - 1) == MR_SLAB_BYTES_MAX, "each class is twice the one before");
_Static_assert(SLAB_CHUNK_BYTES / MR_SLAB_BYTES_MIN == 1u << INDEX_BITS, "an index of a buffer fits");
_Static_assert((uint64_t)SLAB_CHUNKS_MAX << INDEX_BITS <= INT32_MAX, "a buffer's number is no error");

struct chunk {
  TAILQ_ENTRY(chunk) row;
  struct pages pages;
  uint16_t *free;  // a stack: the buffer used last is still in the cache
  uint32_t free_count;
  uint32_t fresh;  // buffers from here on were never used
  uint32_t used;
  uint32_t class;
  uint32_t node;
};

TAILQ_HEAD(row, chunk);

struct mr_slab {
  struct mr_slab *next;  // of its thread
  struct row rows[CLASSES];
  struct mr_slab_stats nodes[NODES_MAX];
  uint32_t nodes_seen;
  uint32_t chunk_count;
  uint32_t chunks_max;
  struct chunk chunks[];
};

// A chunk that nobody has.
struct spare {
  struct spare *next;
  struct pages pages;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct spare *spares;

static void keep_spare(struct spare *spare, const struct pages *pages) {
  pages_clear(pages);
  spare->pages = *pages;
  pthread_mutex_lock(&lock);
  spare->next = spares;
  spares = spare;
  pthread_mutex_unlock(&lock);
}

static bool take_spare(struct pages *out, uint32_t node) {
  pthread_mutex_lock(&lock);
  struct spare *spare = spares;
  if (spare != NULL) spares = spare->next;
  pthread_mutex_unlock(&lock);
  if (spare == NULL) return false;
  *out = spare->pages;
  free(spare);
  pages_rebind(out, node);
  return true;
}

static uint32_t class_of(uint32_t bytes) {
  return bytes <= MR_SLAB_BYTES_MIN ? 0 : 26 - (uint32_t)__builtin_clz(bytes - 1);
}

static uint32_t class_bytes(uint32_t class) {
  return (uint32_t)MR_SLAB_BYTES_MIN << class;
}

static uint32_t capacity(const struct chunk *chunk) {
  return SLAB_CHUNK_BYTES / class_bytes(chunk->class);
}

int32_t mr_slab_open(uint64_t max_bytes, struct mr_slab **out) {
  uint64_t chunks = max_bytes / SLAB_CHUNK_BYTES;
  if (out == NULL || chunks == 0 || chunks > SLAB_CHUNKS_MAX) return -EINVAL;
  struct mr_slab *slab = sys_allocate(1, sizeof(*slab) + chunks * sizeof(struct chunk));
  if (slab == NULL) return -ENOMEM;
  for (uint32_t class = 0; class < CLASSES; class ++) TAILQ_INIT(&slab->rows[class]);
  slab->chunks_max = (uint32_t)chunks;
  slab->next = thread_keep_slab(slab);
  *out = slab;
  return 0;
}

static struct mr_slab_stats *stats_of(struct mr_slab *slab, uint32_t node) {
  if (node >= NODES_MAX) node = NODES_MAX - 1;
  if (node >= slab->nodes_seen) slab->nodes_seen = node + 1;
  return &slab->nodes[node];
}

static struct chunk *map_chunk(struct mr_slab *slab) {
  struct chunk *chunk = &slab->chunks[slab->chunk_count];
  uint32_t node = sys_node();
  if (!take_spare(&chunk->pages, node + 1) &&
      pages_map(&chunk->pages, SLAB_CHUNK_BYTES, MR_PAGES_HUGETLB, node + 1) != 0) {
    return NULL;
  }
  slab->chunk_count++;
  chunk->node = node;
  stats_of(slab, chunk->node)->allocated += SLAB_CHUNK_BYTES;
  return chunk;
}

// Takes an empty chunk from the class that has one.
static struct chunk *empty_chunk(struct mr_slab *slab) {
  for (uint32_t class = 0; class < CLASSES; class ++) {
    struct chunk *last = TAILQ_LAST(&slab->rows[class], row);
    if (last == NULL || last->used > 0) continue;
    TAILQ_REMOVE(&slab->rows[class], last, row);
    return last;
  }
  return NULL;
}

// Gives a class another chunk, which then is the only one in its row.
static int32_t add_chunk(struct mr_slab *slab, uint32_t class) {
  uint16_t *stack = sys_allocate_raw(SLAB_CHUNK_BYTES / class_bytes(class) * sizeof(*stack));
  if (stack == NULL) return -ENOMEM;
  bool may_grow = slab->chunk_count < slab->chunks_max;
  struct chunk *chunk = may_grow ? map_chunk(slab) : NULL;
  if (chunk == NULL) chunk = empty_chunk(slab);
  if (chunk == NULL) {
    free(stack);
    return may_grow ? -ENOMEM : -ENOBUFS;
  }
  free(chunk->free);
  chunk->free = stack;
  chunk->free_count = chunk->fresh = 0;
  chunk->class = class;
  TAILQ_INSERT_HEAD(&slab->rows[class], chunk, row);
  return 0;
}

int32_t mr_slab_get(struct mr_slab *slab, uint32_t bytes) {
  if (bytes > MR_SLAB_BYTES_MAX) {
    stats_of(slab, sys_node())->fallbacks++;
    return -EMSGSIZE;
  }
  uint32_t class = class_of(bytes);
  struct row *row = &slab->rows[class];
  int32_t rc = TAILQ_EMPTY(row) ? add_chunk(slab, class) : 0;
  if (rc != 0) return rc;
  struct chunk *chunk = TAILQ_FIRST(row);
  uint32_t index = chunk->free_count > 0 ? chunk->free[--chunk->free_count] : chunk->fresh++;
  if (++chunk->used == capacity(chunk)) TAILQ_REMOVE(row, chunk, row);
  struct mr_slab_stats *stats = stats_of(slab, chunk->node);
  stats->buffers++;
  stats->used += class_bytes(class);
  return (int32_t)((uint32_t)(chunk - slab->chunks) << INDEX_BITS | index);
}

// The chunk of a buffer that was given out, or NULL.
static struct chunk *chunk_of(struct mr_slab *slab, uint32_t buffer) {
  uint32_t number = buffer >> INDEX_BITS;
  if (number >= slab->chunk_count) return NULL;
  struct chunk *chunk = &slab->chunks[number];
  return (buffer & INDEX_MASK) < chunk->fresh && chunk->used > 0 ? chunk : NULL;
}

void *mr_slab_at(struct mr_slab *slab, uint32_t buffer) {
  const struct chunk *chunk = chunk_of(slab, buffer);
  if (chunk == NULL) return NULL;
  return chunk->pages.base + (size_t)(buffer & INDEX_MASK) * class_bytes(chunk->class);
}

int32_t mr_slab_release(struct mr_slab *slab, uint32_t buffer) {
  struct chunk *chunk = chunk_of(slab, buffer);
  if (chunk == NULL) return -EINVAL;
  struct row *row = &slab->rows[chunk->class];
  bool was_full = chunk->used-- == capacity(chunk);
  chunk->free[chunk->free_count++] = (uint16_t)(buffer & INDEX_MASK);
  if (was_full) {
    TAILQ_INSERT_HEAD(row, chunk, row);
  }
  if (chunk->used == 0) {
    TAILQ_REMOVE(row, chunk, row);
    TAILQ_INSERT_TAIL(row, chunk, row);
  }
  struct mr_slab_stats *stats = stats_of(slab, chunk->node);
  stats->buffers--;
  stats->used -= class_bytes(chunk->class);
  return 0;
}

int32_t mr_slab_statistics(struct mr_slab *slab, uint32_t node, struct mr_slab_stats *out) {
  if (node >= slab->nodes_seen) return -ENOENT;
  *out = slab->nodes[node];
  return 0;
}

static void close_slab(struct mr_slab *slab) {
  for (uint32_t i = 0; i < slab->chunk_count; i++) {
    struct chunk *chunk = &slab->chunks[i];
    // Another isolate may have been given a buffer that is in use: the addresses are nobody else's.
    struct spare *spare = chunk->used > 0 ? NULL : sys_allocate_raw(sizeof(*spare));
    if (spare != NULL) {
      keep_spare(spare, &chunk->pages);
    } else {
      sys_map_over(chunk->pages.base, chunk->pages.bytes);
    }
    free(chunk->free);
  }
  free(slab);
}

void slab_abandoned(struct mr_slab *first) {
  while (first != NULL) {
    struct mr_slab *next = first->next;
    close_slab(first);
    first = next;
  }
}
