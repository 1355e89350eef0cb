// SPDX-License-Identifier: Apache-2.0
// registry.c - who is subscribed to which topic, for all threads of a process: how many subscribers each
// worker has; called by JavaScript, from any thread.
//
// Topics are spread over stripes by their hash, each with a lock of its own. A topic lives in its stripe for
// as long as somebody is subscribed, or an observer has not been told yet that nobody is.
//
// Observers. A topic begins with its first subscriber and ends with its last. What an observer was told of
// that is kept with the topic, and where it differs from what is, the topic is in that observer's list. One
// that begins and ends between two looks is told of by nobody, and a list never needs memory. Locks are taken
// in this order: that of a stripe, that of the lists.
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "limits.h"
#include "millrace.h"
#include "queue.h"
#include "sip_hash.h"
#include "sys.h"

enum { OBSERVERS = 2, STRIPES = 64, BUCKETS_FIRST = 8, HOLDERS_FIRST = 2, NO_WILDCARD = 0 };

struct holder {
  uint32_t place;
  uint32_t count;
};

struct topic {
  struct topic *next;  // in its bucket
  uint64_t hash;
  struct holder *holders;  // in no order
  uint32_t used;
  uint32_t room;
  uint32_t service;
  uint32_t length;
  bool told[OBSERVERS];  // that it has begun
  bool listed[OBSERVERS];
  struct topic *behind[OBSERVERS];  // in an observer's list
  uint8_t name[];
};

struct stripe {
  _Alignas(QUEUE_APART) pthread_mutex_t lock;
  struct topic **buckets;
  uint32_t bucket_count;  // a power of two, or 0
  uint32_t topics;
};

struct list {
  struct topic *first;
  struct topic *last;
};

struct service {
  struct service *next;
  uint32_t number;
  uint32_t length;
  uint8_t name[];
};

struct mr_registry {
  uint64_t key[2];
  uint32_t places;
  bool watched;
  uint64_t max_bytes;
  _Atomic uint64_t bytes;
  _Atomic uint64_t topics;
  _Atomic uint64_t subscribers;
  _Atomic uint64_t patterns;
  pthread_mutex_t lists_lock;
  struct list lists[OBSERVERS];
  pthread_mutex_t services_lock;
  struct service *services;
  struct stripe stripes[STRIPES];
};

// A topic that is looked for: name, and a wildcard behind it unless that is NO_WILDCARD.
struct wanted {
  uint64_t hash;
  uint32_t service;
  uint32_t length;
  const uint8_t *name;
  uint8_t wildcard;
};

static bool is_wildcard(uint8_t byte) {
  return byte == '*' || byte == '#';
}

static bool is_pattern(const uint8_t *name, uint32_t length) {
  return is_wildcard(name[length - 1]) && (length == 1 || name[length - 2] == '/');
}

// --- memory

static bool take_bytes(struct mr_registry *r, uint64_t bytes) {
  if (atomic_fetch_add(&r->bytes, bytes) + bytes <= r->max_bytes) return true;
  atomic_fetch_sub(&r->bytes, bytes);
  return false;
}

static void give_bytes(struct mr_registry *r, uint64_t bytes) {
  atomic_fetch_sub(&r->bytes, bytes);
}

static void *allocate(struct mr_registry *r, uint64_t bytes) {
  if (!take_bytes(r, bytes)) return NULL;
  void *memory = sys_allocate(1, bytes);
  if (memory == NULL) give_bytes(r, bytes);
  return memory;
}

static void release(struct mr_registry *r, void *memory, uint64_t bytes) {
  if (memory == NULL) return;
  free(memory);
  give_bytes(r, bytes);
}

// --- topics of a stripe, whose lock is held

static struct stripe *stripe_of(struct mr_registry *r, uint64_t hash) {
  return &r->stripes[hash % STRIPES];
}

static struct topic **bucket_of(const struct stripe *stripe, uint64_t hash) {
  return &stripe->buckets[hash / STRIPES & (stripe->bucket_count - 1)];
}

static bool is_wanted(const struct topic *topic, const struct wanted *w) {
  uint32_t length = w->length + (w->wildcard != NO_WILDCARD);
  return topic->hash == w->hash && topic->service == w->service && topic->length == length &&
         memcmp(topic->name, w->name, w->length) == 0 &&
         (w->wildcard == NO_WILDCARD || topic->name[w->length] == w->wildcard);
}

static struct topic *find_topic(const struct stripe *stripe, const struct wanted *w) {
  if (stripe->bucket_count == 0) return NULL;
  struct topic *topic = *bucket_of(stripe, w->hash);
  while (topic != NULL && !is_wanted(topic, w)) topic = topic->next;
  return topic;
}

static void put(const struct stripe *stripe, struct topic *topic) {
  struct topic **bucket = bucket_of(stripe, topic->hash);
  topic->next = *bucket;
  *bucket = topic;
}

// Makes room for another topic. Without memory for more buckets, chains grow longer.
static bool grow(struct mr_registry *r, struct stripe *stripe) {
  struct stripe old = *stripe;
  if (stripe->topics < old.bucket_count) return true;
  uint32_t count = old.bucket_count == 0 ? BUCKETS_FIRST : 2 * old.bucket_count;
  struct topic **buckets = allocate(r, count * sizeof(*buckets));
  if (buckets == NULL) return old.bucket_count > 0;
  stripe->buckets = buckets;
  stripe->bucket_count = count;
  for (uint32_t i = 0; i < old.bucket_count; i++) {
    for (struct topic *topic = old.buckets[i], *next; topic != NULL; topic = next) {
      next = topic->next;
      put(stripe, topic);
    }
  }
  release(r, old.buckets, old.bucket_count * sizeof(*old.buckets));
  return true;
}

static struct topic *add_topic(struct mr_registry *r, struct stripe *stripe, const struct wanted *w) {
  if (!grow(r, stripe)) return NULL;
  struct topic *topic = allocate(r, sizeof(*topic) + w->length);
  if (topic == NULL) return NULL;
  topic->hash = w->hash;
  topic->service = w->service;
  topic->length = w->length;
  memcpy(topic->name, w->name, w->length);
  put(stripe, topic);
  stripe->topics++;
  atomic_fetch_add(&r->topics, 1);
  return topic;
}

static void free_topic(struct mr_registry *r, struct topic *topic) {
  release(r, topic->holders, topic->room * sizeof(*topic->holders));
  release(r, topic, sizeof(*topic) + topic->length);
}

// Once nobody is subscribed, and nobody waits to be told so.
static void remove_unused(struct mr_registry *r, struct stripe *stripe, struct topic *topic) {
  if (topic->used > 0 || topic->listed[MR_WORKERS] || topic->listed[MR_SUPERVISOR]) return;
  struct topic **at = bucket_of(stripe, topic->hash);
  while (*at != topic) at = &(*at)->next;
  *at = topic->next;
  stripe->topics--;
  atomic_fetch_sub(&r->topics, 1);
  free_topic(r, topic);
}

// --- who is subscribed

static struct holder *holder_of(const struct topic *topic, uint32_t place) {
  for (uint32_t i = 0; i < topic->used; i++) {
    if (topic->holders[i].place == place) return &topic->holders[i];
  }
  return NULL;
}

static struct holder *add_holder(struct mr_registry *r, struct topic *topic, uint32_t place) {
  if (topic->used == topic->room) {
    uint32_t room = topic->room == 0 ? HOLDERS_FIRST : 2 * topic->room;
    struct holder *holders = allocate(r, room * sizeof(*holders));
    if (holders == NULL) return NULL;
    if (topic->used > 0) memcpy(holders, topic->holders, topic->used * sizeof(*holders));
    release(r, topic->holders, topic->room * sizeof(*holders));
    topic->holders = holders;
    topic->room = room;
  }
  if (topic->used == 0 && is_pattern(topic->name, topic->length)) atomic_fetch_add(&r->patterns, 1);
  struct holder *holder = &topic->holders[topic->used++];
  *holder = (struct holder){.place = place};
  return holder;
}

static void remove_holder(struct mr_registry *r, struct topic *topic, struct holder *holder) {
  atomic_fetch_sub(&r->subscribers, holder->count);
  *holder = topic->holders[--topic->used];
  if (topic->used == 0 && is_pattern(topic->name, topic->length)) atomic_fetch_sub(&r->patterns, 1);
}

// Puts a topic where an observer looks, if there is something to be told. Returns whether nothing was there.
static bool list_for(struct mr_registry *r, struct topic *topic, enum mr_observer observer) {
  if (topic->told[observer] == (topic->used > 0) || topic->listed[observer]) return false;
  topic->listed[observer] = true;
  topic->behind[observer] = NULL;
  pthread_mutex_lock(&r->lists_lock);
  struct list *list = &r->lists[observer];
  bool was_empty = list->first == NULL;
  *(was_empty ? &list->first : &list->last->behind[observer]) = topic;
  list->last = topic;
  pthread_mutex_unlock(&r->lists_lock);
  return was_empty;
}

// The worker that has changed a topic is told at once, by the answer.
static int32_t tell(struct mr_registry *r, struct topic *topic) {
  bool live = topic->used > 0;
  int32_t answer = topic->told[MR_WORKERS] == live ? 0 : MR_TOPIC_CHANGED;
  topic->told[MR_WORKERS] = live;
  if (r->watched && list_for(r, topic, MR_SUPERVISOR)) answer |= MR_TOPIC_LISTED;
  return answer;
}

static int32_t set(struct mr_registry *r, struct stripe *stripe, const struct wanted *w, uint32_t place,
                   uint32_t count) {
  struct topic *topic = find_topic(stripe, w);
  if (topic == NULL && count == 0) return 0;
  if (topic == NULL) topic = add_topic(r, stripe, w);
  if (topic == NULL) return -ENOMEM;
  struct holder *holder = holder_of(topic, place);
  int32_t answer = 0;
  if (count == 0) {
    if (holder != NULL) remove_holder(r, topic, holder);
    answer = tell(r, topic);
  } else {
    if (holder == NULL) holder = add_holder(r, topic, place);
    if (holder != NULL) {
      atomic_fetch_add(&r->subscribers, (uint64_t)count - holder->count);
      holder->count = count;
      answer = tell(r, topic);
    } else {
      answer = -ENOMEM;
    }
  }
  remove_unused(r, stripe, topic);
  return answer;
}

static struct sip_hash begin_hash(const struct mr_registry *r, uint32_t service) {
  struct sip_hash hash = sip_begin(r->key);
  sip_add(&hash, (uint8_t)service);
  sip_add(&hash, (uint8_t)(service >> 8));
  return hash;
}

static bool is_name(uint32_t length) {
  return length > 0 && length <= MR_TOPIC_BYTES;
}

int32_t mr_registry_set(mr_registry *r, uint32_t service, uint32_t place, const uint8_t *name,
                        uint32_t length, uint32_t count) {
  if (place >= r->places || !is_name(length) || count > INT32_MAX) return -EINVAL;
  struct sip_hash hash = begin_hash(r, service);
  for (uint32_t i = 0; i < length; i++) sip_add(&hash, name[i]);
  const struct wanted w = {.hash = sip_end(hash), .service = service, .length = length, .name = name};
  struct stripe *stripe = stripe_of(r, w.hash);
  pthread_mutex_lock(&stripe->lock);
  int32_t answer = set(r, stripe, &w, place, count);
  pthread_mutex_unlock(&stripe->lock);
  return answer;
}

// --- whom to send to

struct found {
  uint32_t except;
  uint32_t *mask;
  uint32_t *counts;
  uint64_t total;
};

static void add_holders(struct mr_registry *r, const struct wanted *w, struct found *found) {
  struct stripe *stripe = stripe_of(r, w->hash);
  pthread_mutex_lock(&stripe->lock);
  const struct topic *topic = find_topic(stripe, w);
  for (uint32_t i = 0; topic != NULL && i < topic->used; i++) {
    const struct holder *holder = &topic->holders[i];
    if (holder->place == found->except) continue;
    uint32_t *word = &found->mask[holder->place / 32], bit = 1u << holder->place % 32;
    if ((*word & bit) == 0) found->counts[holder->place] = 0;
    *word |= bit;
    found->counts[holder->place] += holder->count;
    found->total += holder->count;
  }
  pthread_mutex_unlock(&stripe->lock);
}

static void add_pattern(struct mr_registry *r, struct wanted w, struct sip_hash prefix, uint8_t wildcard,
                        struct found *found) {
  sip_add(&prefix, wildcard);
  w.hash = sip_end(prefix);
  w.wildcard = wildcard;
  add_holders(r, &w, found);
}

// The topic itself, and the patterns that match it: "*" for its last level, "#" for each level.
static void find_all(struct mr_registry *r, struct wanted w, struct found *found) {
  bool patterns = atomic_load(&r->patterns) > 0 && !is_pattern(w.name, w.length);
  struct sip_hash hash = begin_hash(r, w.service), last = hash;
  struct wanted prefix = {.service = w.service, .name = w.name};
  if (patterns) add_pattern(r, prefix, hash, '#', found);
  for (uint32_t i = 0; i < w.length; i++) {
    sip_add(&hash, w.name[i]);
    if (!patterns || w.name[i] != '/') continue;
    last = hash;
    prefix.length = i + 1;
    add_pattern(r, prefix, hash, '#', found);
  }
  if (patterns) add_pattern(r, prefix, last, '*', found);
  w.hash = sip_end(hash);
  add_holders(r, &w, found);
}

int32_t mr_registry_find(mr_registry *r, uint32_t service, uint32_t except, const uint8_t *name,
                         uint32_t length, uint32_t *mask, uint32_t *counts) {
  if (!is_name(length)) return -EINVAL;
  memset(mask, 0, (r->places + 31) / 32 * sizeof(*mask));
  struct found found = {.except = except, .mask = mask, .counts = counts};
  find_all(r, (struct wanted){.service = service, .length = length, .name = name}, &found);
  return found.total > INT32_MAX ? INT32_MAX : (int32_t)found.total;
}

// --- what is told later

static bool abandon_topic(struct mr_registry *r, struct stripe *stripe, struct topic *topic, uint32_t place) {
  struct holder *holder = holder_of(topic, place);
  if (holder == NULL) return false;
  remove_holder(r, topic, holder);
  bool ended = topic->used == 0;
  list_for(r, topic, MR_WORKERS);
  if (r->watched) list_for(r, topic, MR_SUPERVISOR);
  remove_unused(r, stripe, topic);
  return ended;
}

int32_t mr_registry_abandon(mr_registry *r, uint32_t place) {
  if (place >= r->places) return -EINVAL;
  int32_t ended = 0;
  for (uint32_t i = 0; i < STRIPES; i++) {
    struct stripe *stripe = &r->stripes[i];
    pthread_mutex_lock(&stripe->lock);
    for (uint32_t b = 0; b < stripe->bucket_count; b++) {
      for (struct topic *topic = stripe->buckets[b], *next; topic != NULL; topic = next) {
        next = topic->next;
        if (abandon_topic(r, stripe, topic, place)) ended++;
      }
    }
    pthread_mutex_unlock(&stripe->lock);
  }
  return ended;
}

// What is taken out of the list stays listed, so that nobody frees it.
static struct topic *take_listed(struct mr_registry *r, enum mr_observer observer) {
  pthread_mutex_lock(&r->lists_lock);
  struct list *list = &r->lists[observer];
  struct topic *topic = list->first;
  if (topic != NULL) list->first = topic->behind[observer];
  pthread_mutex_unlock(&r->lists_lock);
  return topic;
}

static void put_back(struct mr_registry *r, struct topic *topic, enum mr_observer observer) {
  pthread_mutex_lock(&r->lists_lock);
  struct list *list = &r->lists[observer];
  topic->behind[observer] = list->first;
  if (list->first == NULL) list->last = topic;
  list->first = topic;
  pthread_mutex_unlock(&r->lists_lock);
}

// Writes the change of a topic, if there is one, and returns how long that is; 0xffffffff: longer than the
// room.
static uint32_t write_change(struct topic *topic, enum mr_observer observer, uint8_t *out, uint32_t room) {
  bool live = topic->used > 0;
  if (topic->told[observer] == live) return 0;
  const struct mr_topic_change change = {.service = topic->service, .live = live, .length = topic->length};
  if (sizeof(change) + topic->length > room) return UINT32_MAX;
  topic->told[observer] = live;
  memcpy(out, &change, sizeof(change));
  memcpy(out + sizeof(change), topic->name, topic->length);
  return (uint32_t)sizeof(change) + topic->length;
}

int32_t mr_registry_changes(mr_registry *r, uint32_t observer, uint8_t *out, uint32_t capacity) {
  if (observer >= OBSERVERS || capacity < sizeof(struct mr_topic_change) + MR_TOPIC_BYTES ||
      capacity > INT32_MAX) {
    return -EINVAL;
  }
  uint32_t used = 0;
  for (struct topic *topic; (topic = take_listed(r, observer)) != NULL;) {
    struct stripe *stripe = stripe_of(r, topic->hash);
    pthread_mutex_lock(&stripe->lock);
    uint32_t length = write_change(topic, observer, out + used, capacity - used);
    if (length == UINT32_MAX) {
      put_back(r, topic, observer);
    } else {
      used += length;
      topic->listed[observer] = false;
      remove_unused(r, stripe, topic);
    }
    pthread_mutex_unlock(&stripe->lock);
    if (length == UINT32_MAX) break;
  }
  return (int32_t)used;
}

// --- the whole

int32_t mr_registry_open(uint32_t places, uint32_t watched, uint32_t max_mib, mr_registry **out) {
  if (places == 0 || places > MAILBOXES_MAX || max_mib == 0 || out == NULL) return -EINVAL;
  struct mr_registry *r = sys_allocate_aligned(QUEUE_APART, sizeof(*r));
  if (r == NULL) return -ENOMEM;
  memset(r, 0, sizeof(*r));
  if (sys_random(r->key, sizeof(r->key)) != sizeof(r->key)) {
    int error = errno;
    free(r);
    return -error;
  }
  r->places = places;
  r->watched = watched != 0;
  r->max_bytes = (uint64_t)max_mib << 20;
  pthread_mutex_init(&r->lists_lock, NULL);
  pthread_mutex_init(&r->services_lock, NULL);
  for (uint32_t i = 0; i < STRIPES; i++) pthread_mutex_init(&r->stripes[i].lock, NULL);
  *out = r;
  return 0;
}

static void close_stripe(struct mr_registry *r, struct stripe *stripe) {
  for (uint32_t b = 0; b < stripe->bucket_count; b++) {
    for (struct topic *topic = stripe->buckets[b], *next; topic != NULL; topic = next) {
      next = topic->next;
      free_topic(r, topic);
    }
  }
  free(stripe->buckets);
  pthread_mutex_destroy(&stripe->lock);
}

int32_t mr_registry_close(mr_registry *r) {
  for (uint32_t i = 0; i < STRIPES; i++) close_stripe(r, &r->stripes[i]);
  for (struct service *service = r->services, *next; service != NULL; service = next) {
    next = service->next;
    free(service);
  }
  pthread_mutex_destroy(&r->lists_lock);
  pthread_mutex_destroy(&r->services_lock);
  free(r);
  return 0;
}

static struct service *find_service(const struct mr_registry *r, const uint8_t *name, uint32_t length) {
  struct service *service = r->services;
  while (service != NULL && (service->length != length || memcmp(service->name, name, length) != 0)) {
    service = service->next;
  }
  return service;
}

static int32_t add_service(struct mr_registry *r, const uint8_t *name, uint32_t length) {
  uint32_t number = r->services == NULL ? 0 : r->services->number + 1;
  if (number > UINT16_MAX) return -ENOSPC;
  struct service *service = allocate(r, sizeof(*service) + length);
  if (service == NULL) return -ENOMEM;
  service->next = r->services;
  service->number = number;
  service->length = length;
  memcpy(service->name, name, length);
  r->services = service;
  return (int32_t)number;
}

int32_t mr_registry_service(mr_registry *r, const uint8_t *name, uint32_t length) {
  if (!is_name(length)) return -EINVAL;
  pthread_mutex_lock(&r->services_lock);
  const struct service *service = find_service(r, name, length);
  int32_t number = service == NULL ? add_service(r, name, length) : (int32_t)service->number;
  pthread_mutex_unlock(&r->services_lock);
  return number;
}

int32_t mr_registry_stats(mr_registry *r, struct mr_registry_stats *out) {
  *out = (struct mr_registry_stats){.topics = atomic_load(&r->topics),
                                    .subscribers = atomic_load(&r->subscribers),
                                    .patterns = atomic_load(&r->patterns),
                                    .held_bytes = atomic_load(&r->bytes)};
  return 0;
}
