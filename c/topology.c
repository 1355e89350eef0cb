// SPDX-License-Identifier: Apache-2.0
// topology.c - the machine's CPUs, nodes and caches as JSON, from hwloc when it is installed, else from /sys;
// called by JavaScript.
#include "topology.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "affinity.h"
#include "millrace.h"
#include "sys.h"

// What is written and what would have been, so that one comparison in the end tells whether it all fitted.
struct text {
  char *out;
  uint32_t capacity;
  uint64_t length;
};

static void add(struct text *text, const char *pattern, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *pattern, ...) {
  size_t room = text->length < text->capacity ? text->capacity - text->length : 0;
  va_list values;
  va_start(values, pattern);
  int count = vsnprintf(room > 0 ? text->out + text->length : NULL, room, pattern, values);
  va_end(values);
  text->length += count > 0 ? (uint64_t)count : 0;
}

// A comma before all but the first.
static void add_comma(struct text *text, bool *first) {
  if (!*first) add(text, ",");
  *first = false;
}

static void add_cpus(struct text *text, const struct topology *t) {
  bool first = true;
  for (uint32_t cpu = 0; cpu < CPUS_MAX; cpu++) {
    const struct topology_cpu *c = &t->cpus[cpu];
    if (!c->present) continue;
    add_comma(text, &first);
    add(text, "[%u,%u,%u,%u,%d]", cpu, c->package, c->core, c->node, c->allowed);
  }
}

static void add_distances(struct text *text, const struct topology *t, const struct topology_node *n) {
  bool first = true;
  for (uint32_t to = 0; to < NODES_MAX; to++) {
    if (!t->nodes[to].present) continue;
    add_comma(text, &first);
    add(text, "%u", n->distances[to]);
  }
}

static void add_nodes(struct text *text, const struct topology *t) {
  bool first = true;
  for (uint32_t node = 0; node < NODES_MAX; node++) {
    const struct topology_node *n = &t->nodes[node];
    if (!n->present) continue;
    add_comma(text, &first);
    add(text, "[%u,%llu,%d,[", node, (unsigned long long)n->memory, n->allowed);
    add_distances(text, t, n);
    add(text, "]]");
  }
}

static void add_sharers(struct text *text, const struct topology *t, uint32_t level, uint32_t owner) {
  bool first = true;
  for (uint32_t cpu = owner; cpu < CPUS_MAX; cpu++) {
    const struct topology_cache *cache = &t->cpus[cpu].caches[level];
    if (cache->bytes == 0 || cache->first != owner) continue;
    add_comma(text, &first);
    add(text, "%u", cpu);
  }
}

// Each cache stands with the CPU that names it.
static void add_caches(struct text *text, const struct topology *t) {
  bool first = true;
  for (uint32_t level = 0; level < CACHE_LEVELS; level++) {
    for (uint32_t cpu = 0; cpu < CPUS_MAX; cpu++) {
      const struct topology_cache *cache = &t->cpus[cpu].caches[level];
      if (cache->bytes == 0 || cache->first != cpu) continue;
      add_comma(text, &first);
      add(text, "[%u,%llu,%u,[", level + 1, (unsigned long long)cache->bytes, cache->line);
      add_sharers(text, t, level, cpu);
      add(text, "]]");
    }
  }
}

struct topology *topology_new(void) {
  struct topology *t = sys_allocate(1, sizeof(*t));
  for (uint32_t from = 0; t != NULL && from < NODES_MAX; from++) {
    for (uint32_t to = 0; to < NODES_MAX; to++) t->nodes[from].distances[to] = from == to ? 10 : 20;
  }
  return t;
}

int32_t mr_topology(char *out, uint32_t capacity) {
  struct topology *t = topology_new();
  if (t == NULL) return -ENOMEM;
  const struct bits *mask = affinity_at_start();
  bool hwloc = topology_from_hwloc(t, mask);
  if (!hwloc) topology_from_sys(t, mask);
  struct text text = {.out = out, .capacity = capacity};
  add(&text, "{\"source\":\"%s\",\"quota\":%u,\"cpus\":[", hwloc ? "hwloc" : "/sys", topology_quota());
  add_cpus(&text, t);
  add(&text, "],\"nodes\":[");
  add_nodes(&text, t);
  add(&text, "],\"caches\":[");
  add_caches(&text, t);
  add(&text, "]}");
  free(t);
  return text.length < capacity ? (int32_t)text.length : -ENOSPC;
}
