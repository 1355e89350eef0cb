// SPDX-License-Identifier: Apache-2.0
// registry_threads_test.c - threads that subscribe, publish and die at the same time: who was subscribed
// before is found, and what is told of a topic alternates and ends where it should. Built with
// ThreadSanitizer too (make tsan).
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "check.h"
#include "millrace.h"

enum { WORKERS = 4, TOPICS = 16, ROUNDS = 20000, ROOM = MR_TOPIC_BYTES + 64, NOBODY = UINT32_MAX };

static mr_registry *registry;
// Odd while a worker is subscribed to a topic: counted on once it is, and before it is not.
static atomic_uint turns[WORKERS][TOPICS];
static atomic_int balance[TOPICS];  // told as begun, less told as ended, by workers
static atomic_int watched[TOPICS];  // the same by the supervisor
static atomic_uint running;
static atomic_uint proved;
static atomic_bool failed;

static uint32_t name_of(uint32_t topic, uint8_t *out) {
  // The last ones are patterns for all of the others that begin with the same letter.
  return (uint32_t)snprintf((char *)out, 16, topic >= TOPICS - 2 ? "%c/#" : "%c/%u", 'a' + (int)(topic % 2),
                            topic);
}

static void check(bool ok, int line) {
  if (ok || atomic_exchange(&failed, true)) return;
  printf("# line %d\n", line);
}

static void say(uint32_t place, uint32_t topic, bool subscribed) {
  if (atomic_load(&turns[place][topic]) % 2 != subscribed) atomic_fetch_add(&turns[place][topic], 1);
}

static void set(uint32_t place, uint32_t topic, uint32_t count) {
  uint8_t name[16];
  uint32_t length = name_of(topic, name);
  if (count == 0) say(place, topic, false);
  int32_t answer = mr_registry_set(registry, 0, place, name, length, count);
  check(answer >= 0, __LINE__);
  if (answer > 0 && (answer & MR_TOPIC_CHANGED) != 0) atomic_fetch_add(&balance[topic], count > 0 ? 1 : -1);
  if (count > 0) say(place, topic, true);
}

static bool is_found(uint32_t topic, uint32_t place) {
  uint8_t name[16];
  uint32_t mask[1], counts[WORKERS];
  check(mr_registry_find(registry, 0, NOBODY, name, name_of(topic, name), mask, counts) >= 0, __LINE__);
  return (mask[0] >> place & 1) != 0 && counts[place] > 0;
}

// Whoever is subscribed all the while has to be found, by the name or by the pattern.
static void look(uint32_t topic, uint32_t place) {
  uint32_t by = topic < TOPICS - 2 && topic % 3 == 0 ? TOPICS - 2 + topic % 2 : topic;
  unsigned before = atomic_load(&turns[place][by]);
  bool found = is_found(topic, place);
  if (before % 2 == 1 && atomic_load(&turns[place][by]) == before) {
    check(found, __LINE__);
    atomic_fetch_add(&proved, 1);
  }
}

static void drain(uint32_t observer, atomic_int *sums) {
  static _Thread_local uint8_t out[ROOM];
  int32_t length = mr_registry_changes(registry, observer, out, ROOM);
  check(length >= 0, __LINE__);
  for (int32_t at = 0; at < length;) {
    struct mr_topic_change change;
    memcpy(&change, out + at, sizeof(change));
    at += (int32_t)sizeof(change);
    for (uint32_t topic = 0; topic < TOPICS; topic++) {
      uint8_t name[16];
      if (name_of(topic, name) != change.length || memcmp(name, out + at, change.length) != 0) continue;
      int sum = atomic_fetch_add(&sums[topic], change.live ? 1 : -1) + (change.live ? 1 : -1);
      // One thread alone tells the supervisor: that alternates.
      if (observer == MR_SUPERVISOR) check(sum == (int)change.live, __LINE__);
    }
    at += (int32_t)change.length;
  }
}

// Another worker has its place from here on.
static void die(uint32_t place) {
  for (uint32_t i = 0; i < TOPICS; i++) say(place, i, false);
  check(mr_registry_abandon(registry, place) >= 0, __LINE__);
}

static void *work(void *context) {
  uint32_t place = (uint32_t)(uintptr_t)context;
  uint64_t random = 1234567 + 77 * place;
  for (uint32_t round = 0; round < ROUNDS; round++) {
    uint32_t topic = (uint32_t)(t_random(&random) % TOPICS), what = (uint32_t)(t_random(&random) % 512);
    if (what == 0) {
      die(place);
    } else if (what < 8) {
      drain(MR_WORKERS, balance);
    } else if (what < 300) {
      set(place, topic, what % 3);
    } else {
      look(topic, what % WORKERS);
    }
  }
  die(place);
  atomic_fetch_sub(&running, 1);
  return NULL;
}

int main(void) {
  pthread_t threads[WORKERS];
  atomic_store(&running, WORKERS);
  check(mr_registry_open(WORKERS, 1, 64, &registry) == 0, __LINE__);
  for (uintptr_t i = 0; i < WORKERS; i++) pthread_create(&threads[i], NULL, work, (void *)i);
  while (atomic_load(&running) > 0) drain(MR_SUPERVISOR, watched);
  for (uint32_t i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
  t_case("subscriptions are found as soon as they are made",
         !atomic_load(&failed) && atomic_load(&proved) > 100);
  drain(MR_WORKERS, balance);
  drain(MR_SUPERVISOR, watched);
  bool even = true;
  for (uint32_t i = 0; i < TOPICS; i++) even = even && balance[i] == 0 && watched[i] == 0;
  t_case("each topic that was told to begin was told to end", even && !atomic_load(&failed));
  struct mr_registry_stats stats;
  mr_registry_stats(registry, &stats);
  t_case("nothing is left", stats.topics == 0 && stats.subscribers == 0 && stats.patterns == 0);
  return mr_registry_close(registry) == 0 ? t_done() : EXIT_FAILURE;
}
