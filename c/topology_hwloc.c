// SPDX-License-Identifier: Apache-2.0
// topology_hwloc.c - the machine as hwloc sees it; called by topology.c.
//
// The library is opened at run time, so that neither building nor running needs it. What is declared here is
// part of its ABI 15, that of all hwloc 2: see hwloc.h and hwloc/distances.h there.
#include <dlfcn.h>
#include <stddef.h>

#include "topology.h"

#define HWLOC_LIBRARY "libhwloc.so.15"
#define HWLOC_INCLUDE_DISALLOWED (1ul << 0)
#define HWLOC_DONT_CHANGE_BINDING (1ul << 6)
#define HWLOC_MEANS_LATENCY 4ul

enum hwloc_type {
  HWLOC_PACKAGE = 1,
  HWLOC_CORE = 2,
  HWLOC_PU = 3,
  HWLOC_L1 = 4,  // and so on, level by level
  HWLOC_NODE = 13,
};

union hwloc_attributes {
  struct {
    uint64_t local_memory;
  } node;
  struct {
    uint64_t size;
    unsigned depth;
    unsigned line;
  } cache;
};

struct hwloc_object {
  int type;
  char *subtype;
  unsigned os_index;
  char *name;
  uint64_t total_memory;
  union hwloc_attributes *attributes;
  int depth;
  unsigned logical_index;
  struct hwloc_object *next_cousin, *previous_cousin, *parent;
  unsigned sibling_rank;
  struct hwloc_object *next_sibling, *previous_sibling;
  unsigned arity;
  struct hwloc_object **children, *first_child, *last_child;
  int symmetric_subtree;
  unsigned memory_arity;
  struct hwloc_object *memory_first_child;
  unsigned io_arity;
  struct hwloc_object *io_first_child;
  unsigned misc_arity;
  struct hwloc_object *misc_first_child;
  const void *cpus;
  // More follows, which is of no use here.
};

struct hwloc_distances {
  unsigned count;
  struct hwloc_object **objects;
  unsigned long kind;
  uint64_t *values;
};

struct hwloc {
  void *topology;
  int (*init)(void **topology);
  int (*abi_check)(void *topology);
  int (*set_flags)(void *topology, unsigned long flags);
  int (*load)(void *topology);
  void (*destroy)(void *topology);
  int (*is_this_system)(void *topology);
  int (*type_depth)(void *topology, int type);
  struct hwloc_object *(*object)(void *topology, int depth, unsigned index);
  const void *(*allowed_cpus)(void *topology);
  const void *(*allowed_nodes)(void *topology);
  int (*distances)(void *topology, int type, unsigned *count, struct hwloc_distances **out,
                   unsigned long kind, unsigned long flags);
  void (*release)(void *topology, struct hwloc_distances *distances);
  int (*has)(const void *bitmap, unsigned index);
  int (*first)(const void *bitmap);
  int (*weight)(const void *bitmap);
};

static bool bind_library(struct hwloc *h, void *library) {
  const struct {
    const char *name;
    size_t at;
  } symbols[] = {
      {"hwloc_topology_init", offsetof(struct hwloc, init)},
      {"hwloc_topology_abi_check", offsetof(struct hwloc, abi_check)},
      {"hwloc_topology_set_flags", offsetof(struct hwloc, set_flags)},
      {"hwloc_topology_load", offsetof(struct hwloc, load)},
      {"hwloc_topology_destroy", offsetof(struct hwloc, destroy)},
      {"hwloc_topology_is_thissystem", offsetof(struct hwloc, is_this_system)},
      {"hwloc_get_type_depth", offsetof(struct hwloc, type_depth)},
      {"hwloc_get_obj_by_depth", offsetof(struct hwloc, object)},
      {"hwloc_topology_get_allowed_cpuset", offsetof(struct hwloc, allowed_cpus)},
      {"hwloc_topology_get_allowed_nodeset", offsetof(struct hwloc, allowed_nodes)},
      {"hwloc_distances_get_by_type", offsetof(struct hwloc, distances)},
      {"hwloc_distances_release", offsetof(struct hwloc, release)},
      {"hwloc_bitmap_isset", offsetof(struct hwloc, has)},
      {"hwloc_bitmap_first", offsetof(struct hwloc, first)},
      {"hwloc_bitmap_weight", offsetof(struct hwloc, weight)},
  };
  for (size_t i = 0; i < sizeof(symbols) / sizeof(*symbols); i++) {
    void *found = dlsym(library, symbols[i].name);
    if (found == NULL) return false;
    *(void **)((char *)h + symbols[i].at) = found;
  }
  return true;
}

static struct hwloc_object *object_of(const struct hwloc *h, int type, unsigned index) {
  return h->object(h->topology, h->type_depth(h->topology, type), index);
}

static uint32_t first_of(const struct hwloc *h, const struct hwloc_object *o, uint32_t none) {
  int first = h->first(o->cpus);
  return first < 0 ? none : (uint32_t)first;
}

static void take_cache(const struct hwloc *h, struct topology_cpu *c, const struct hwloc_object *o,
                       uint32_t cpu) {
  c->caches[o->type - HWLOC_L1] = (struct topology_cache){
      .bytes = o->attributes->cache.size,
      .line = o->attributes->cache.line,
      .first = first_of(h, o, cpu),
  };
}

static void take_cpu(const struct hwloc *h, struct topology_cpu *c, const struct hwloc_object *pu) {
  c->present = true;
  c->core = pu->os_index;
  for (const struct hwloc_object *o = pu->parent; o != NULL; o = o->parent) {
    if (o->type == HWLOC_PACKAGE) c->package = o->os_index != UINT32_MAX ? o->os_index : o->logical_index;
    if (o->type == HWLOC_CORE) c->core = first_of(h, o, pu->os_index);
    if (o->type >= HWLOC_L1 && o->type < HWLOC_L1 + CACHE_LEVELS) take_cache(h, c, o, pu->os_index);
  }
}

// Several nodes may be near a CPU, as one of fast memory beside the common one: the one that is near the
// fewest CPUs is its own, and among those the first, which is the one that the kernel takes for it.
static uint32_t node_of(const struct hwloc *h, uint32_t cpu) {
  const struct hwloc_object *node, *nearest = NULL;
  for (unsigned i = 0; (node = object_of(h, HWLOC_NODE, i)) != NULL; i++) {
    if (node->os_index >= NODES_MAX || !h->has(node->cpus, cpu)) continue;
    int less = nearest == NULL ? -1 : h->weight(node->cpus) - h->weight(nearest->cpus);
    if (less < 0 || (less == 0 && node->os_index < nearest->os_index)) nearest = node;
  }
  return nearest == NULL ? 0 : nearest->os_index;
}

static void take_distances(const struct hwloc *h, struct topology *t) {
  struct hwloc_distances *d;
  unsigned count = 1;
  if (h->distances(h->topology, HWLOC_NODE, &count, &d, HWLOC_MEANS_LATENCY, 0) != 0 || count == 0) return;
  for (unsigned i = 0; i < d->count; i++) {
    for (unsigned j = 0; j < d->count; j++) {
      if (d->objects[i] == NULL || d->objects[j] == NULL) continue;
      unsigned from = d->objects[i]->os_index, to = d->objects[j]->os_index;
      uint64_t value = d->values[i * d->count + j];
      if (from >= NODES_MAX || to >= NODES_MAX) continue;
      t->nodes[from].distances[to] = value < UINT16_MAX ? (uint16_t)value : UINT16_MAX;
    }
  }
  h->release(h->topology, d);
}

// A topology from a file, or made up, as of the variables that hwloc reads, is not that of the mask.
static void take(const struct hwloc *h, struct topology *t, const struct bits *mask) {
  bool here = h->is_this_system(h->topology) != 0;
  const struct hwloc_object *o;
  for (unsigned i = 0; (o = object_of(h, HWLOC_PU, i)) != NULL; i++) {
    uint32_t cpu = o->os_index;
    if (cpu >= CPUS_MAX) continue;
    take_cpu(h, &t->cpus[cpu], o);
    t->cpus[cpu].node = node_of(h, cpu);
    t->cpus[cpu].allowed = h->has(h->allowed_cpus(h->topology), cpu) && (!here || bits_has(mask, cpu));
  }
  for (unsigned i = 0; (o = object_of(h, HWLOC_NODE, i)) != NULL; i++) {
    if (o->os_index >= NODES_MAX) continue;
    struct topology_node *n = &t->nodes[o->os_index];
    n->present = true;
    n->memory = o->attributes->node.local_memory;
    n->allowed = h->has(h->allowed_nodes(h->topology), o->os_index) != 0;
  }
  take_distances(h, t);
}

// hwloc would visit all CPUs with the calling thread, to ask each what it is; /sys knows. Before 2.5 it
// cannot be told.
static bool set_flags(const struct hwloc *h) {
  unsigned long flags = HWLOC_INCLUDE_DISALLOWED;
  return h->set_flags(h->topology, flags | HWLOC_DONT_CHANGE_BINDING) == 0 ||
         h->set_flags(h->topology, flags) == 0;
}

bool topology_from_hwloc(struct topology *t, const struct bits *mask) {
  void *library = dlopen(HWLOC_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return false;
  struct hwloc h = {0};
  bool loaded = bind_library(&h, library) && h.init(&h.topology) == 0 && h.abi_check(h.topology) == 0 &&
                set_flags(&h) && h.load(h.topology) == 0;
  if (loaded) take(&h, t, mask);
  if (h.topology != NULL) h.destroy(h.topology);
  dlclose(library);
  return loaded;
}
