// SPDX-License-Identifier: Apache-2.0
// registry_test.c - who is subscribed to which topic, as one thread sees it: answers, patterns, observers, a
// model beside it, bounds and failures.
#include <errno.h>
#include <stdio.h>

#include "check.h"
#include "faults.h"
#include "harness.h"
#include "millrace.h"
#include "sip_hash.h"

enum { PLACES = 40, WORDS = 2, SERVICE = 3, ROOM = MR_TOPIC_BYTES + 64, NOBODY = UINT32_MAX };

static mr_registry *registry;
static uint32_t mask[WORDS];
static uint32_t counts[PLACES];

static int32_t set(uint32_t place, const char *name, uint32_t count) {
  return mr_registry_set(registry, SERVICE, place, (const uint8_t *)name, (uint32_t)strlen(name), count);
}

static int32_t find(uint32_t except, const char *name) {
  return mr_registry_find(registry, SERVICE, except, (const uint8_t *)name, (uint32_t)strlen(name), mask,
                          counts);
}

static struct mr_registry_stats stats(void) {
  struct mr_registry_stats out;
  mr_registry_stats(registry, &out);
  return out;
}

// The changes for an observer as text: "+name " and "-name ", or "?" when there were more than fit.
static const char *changes(uint32_t observer) {
  static char text[4096];
  static uint8_t out[ROOM];
  size_t end = 0;
  text[0] = 0;
  for (int32_t length; (length = mr_registry_changes(registry, observer, out, ROOM)) != 0;) {
    if (length < 0) return "failed";
    for (int32_t at = 0; at < length;) {
      struct mr_topic_change change;
      memcpy(&change, out + at, sizeof(change));
      at += (int32_t)sizeof(change);
      int written = snprintf(text + end, sizeof(text) - end, "%c%.*s ", change.live ? '+' : '-',
                             (int)change.length, (const char *)out + at);
      if (change.service != SERVICE || written < 0 || end + (size_t)written >= sizeof(text)) return "?";
      end += (size_t)written;
      at += (int32_t)change.length;
    }
  }
  return text;
}

static bool same(const char *a, const char *b) {
  if (strcmp(a, b) == 0) return true;
  printf("# \"%s\" is not \"%s\"\n", a, b);
  return false;
}

static bool run_hash(void) {
  const uint64_t key[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
  struct sip_hash hash = sip_begin(key);
  bool ok = sip_end(hash) == 0xabac0158050fc4dcu;
  sip_add(&hash, 0);
  return ok && sip_end(hash) == 0xc9f49bf37d57ca93u;
}

static bool run_answers(void) {
  bool ok = true;
  T_NEED(mr_registry_open(PLACES, 0, 1, &registry) == 0);
  T_NEED(set(0, "a", 1) == MR_TOPIC_CHANGED && set(0, "a", 2) == 0 && set(33, "a", 5) == 0);
  T_NEED(find(NOBODY, "a") == 7 && mask[0] == 1 && mask[1] == 2 && counts[0] == 2 && counts[33] == 5);
  T_NEED(find(0, "a") == 5 && mask[0] == 0 && mask[1] == 2);
  T_NEED(find(NOBODY, "b") == 0 && mask[0] == 0 && mask[1] == 0);
  T_NEED(set(7, "a", 0) == 0 && set(7, "b", 0) == 0);
  T_NEED(set(0, "a", 0) == 0 && set(0, "a", 0) == 0 && set(33, "a", 4) == 0);
  T_NEED(stats().topics == 1 && stats().subscribers == 4);
  T_NEED(set(33, "a", 0) == MR_TOPIC_CHANGED && stats().topics == 0 && stats().subscribers == 0);
  T_NEED(set(1, "a", 1) == MR_TOPIC_CHANGED);
  // Another server's.
  T_NEED(mr_registry_find(registry, SERVICE + 1, NOBODY, T_BYTES("a"), mask, counts) == 0);
  T_NEED(mr_registry_set(registry, SERVICE + 1, 1, T_BYTES("a"), 1) == MR_TOPIC_CHANGED);
  T_NEED(find(NOBODY, "a") == 1);
  T_NEED(same(changes(MR_WORKERS), "") && same(changes(MR_SUPERVISOR), ""));
end:
  return mr_registry_close(registry) == 0 && ok;
}

static bool run_services(void) {
  bool ok = true;
  T_NEED(mr_registry_open(1, 0, 1, &registry) == 0);
  T_NEED(mr_registry_service(registry, T_BYTES("one")) == 0 &&
         mr_registry_service(registry, T_BYTES("two")) == 1);
  T_NEED(mr_registry_service(registry, T_BYTES("one")) == 0 &&
         mr_registry_service(registry, T_BYTES("tw")) == 2);
  T_NEED(mr_registry_service(registry, T_BYTES("")) == -EINVAL);
  t_fault(SYS_ALLOCATE, 0, 1, ENOMEM);
  T_NEED(mr_registry_service(registry, T_BYTES("three")) == -ENOMEM);
  T_NEED(mr_registry_service(registry, T_BYTES("three")) == 3);
end:
  t_faults_clear();
  return mr_registry_close(registry) == 0 && ok;
}

static bool run_patterns(void) {
  bool ok = true;
  static const char *const all[] = {"a/*", "a/#", "a/b/*", "#", "*", "a/b"};
  static const struct {
    const char *name;
    int32_t count;
  } wanted[] = {{"a", 2},   {"a/b", 4}, {"a/b/c", 3}, {"b", 2},      {"b/c", 1}, {"a/", 3},
                {"a/*", 1}, {"#", 1},   {"c/*", 0},   {"a/b/c/", 2}, {"a*", 2},  {"/", 1}};
  T_NEED(mr_registry_open(PLACES, 0, 1, &registry) == 0);
  for (uint32_t i = 0; i < 6; i++) T_NEED(set(i, all[i], 1) == MR_TOPIC_CHANGED);
  T_NEED(stats().patterns == 5);
  for (uint32_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
    if (find(NOBODY, wanted[i].name) == wanted[i].count) continue;
    printf("# %s\n", wanted[i].name);
    ok = false;
  }
  // A place that matches by several is found once, with all its subscriptions.
  T_NEED(set(6, "a/*", 2) == 0 && set(6, "a/b", 3) == 0 && find(NOBODY, "a/b") == 9);
  T_NEED(mask[0] == 0x6b && counts[6] == 5);
  for (uint32_t i = 0; i < 7; i++) {
    for (uint32_t k = 0; k < 6; k++) set(i, all[k], 0);
  }
  T_NEED(stats().patterns == 0 && stats().topics == 0);
end:
  return mr_registry_close(registry) == 0 && ok;
}

static bool run_observers(void) {
  bool ok = true;
  T_NEED(mr_registry_open(PLACES, 1, 1, &registry) == 0);
  T_NEED(set(0, "a", 1) == (MR_TOPIC_CHANGED | MR_TOPIC_LISTED));
  T_NEED(set(0, "b", 1) == MR_TOPIC_CHANGED && set(1, "b", 1) == 0);
  T_NEED(same(changes(MR_SUPERVISOR), "+a +b ") && same(changes(MR_SUPERVISOR), ""));
  // What begins and ends, or ends and begins, between two looks is no news.
  T_NEED(set(0, "c", 1) == (MR_TOPIC_CHANGED | MR_TOPIC_LISTED) && set(0, "c", 0) == MR_TOPIC_CHANGED);
  T_NEED(set(0, "a", 0) == MR_TOPIC_CHANGED && set(2, "a", 1) == MR_TOPIC_CHANGED && stats().topics == 3);
  T_NEED(same(changes(MR_SUPERVISOR), "") && stats().topics == 2);
  // Workers are told of those that have ended with one of them, once.
  T_NEED(mr_registry_abandon(registry, 2) == 1 && find(NOBODY, "a") == 0 && stats().topics == 2);
  T_NEED(same(changes(MR_WORKERS), "-a ") && same(changes(MR_WORKERS), ""));
  T_NEED(same(changes(MR_SUPERVISOR), "-a ") && stats().topics == 1);
  // One that begins again before anybody was told has never ended.
  T_NEED(mr_registry_abandon(registry, 0) == 0 && mr_registry_abandon(registry, 1) == 1);
  T_NEED(set(3, "b", 1) == 0 && same(changes(MR_WORKERS), "") && same(changes(MR_SUPERVISOR), ""));
  // And one that then ends as it should is told of by who ends it.
  T_NEED(mr_registry_abandon(registry, 3) == 1 && set(4, "b", 1) == 0 && set(4, "b", 0) == MR_TOPIC_CHANGED);
  T_NEED(same(changes(MR_WORKERS), "") && same(changes(MR_SUPERVISOR), "-b ") && stats().topics == 0);
end:
  return mr_registry_close(registry) == 0 && ok;
}

// The longest names: one fits at a time, and none is lost.
static bool run_long_names(void) {
  bool ok = true;
  static char name[MR_TOPIC_BYTES + 2];
  static uint8_t out[ROOM];
  memset(name, 'x', sizeof(name) - 1);
  T_NEED(mr_registry_open(2, 1, 1, &registry) == 0);
  T_NEED(set(0, name, 1) == -EINVAL && find(NOBODY, name) == -EINVAL);
  name[MR_TOPIC_BYTES] = 0;
  for (char at = 'a'; at < 'd'; at++) {
    name[0] = at;
    T_NEED((set(0, name, 1) & MR_TOPIC_CHANGED) != 0);
  }
  T_NEED(mr_registry_changes(registry, MR_SUPERVISOR, out, MR_TOPIC_BYTES) == -EINVAL);
  T_NEED(mr_registry_changes(registry, 2, out, ROOM) == -EINVAL);
  for (char at = 'a'; at < 'd'; at++) {
    T_NEED(mr_registry_changes(registry, MR_SUPERVISOR, out, ROOM) == MR_TOPIC_BYTES + 12);
    T_NEED(out[12] == (uint8_t)at);
  }
  T_NEED(mr_registry_changes(registry, MR_SUPERVISOR, out, ROOM) == 0);
  // Levels without an end cost no more than their number.
  memset(name, '/', MR_TOPIC_BYTES);
  T_NEED(set(1, "#", 1) == (MR_TOPIC_CHANGED | MR_TOPIC_LISTED) && find(NOBODY, name) == 1);
end:
  return mr_registry_close(registry) == 0 && ok;
}

static bool run_arguments(void) {
  bool ok = true;
  mr_registry *unused;
  T_NEED(mr_registry_open(PLACES, 0, 1, &registry) == 0);
  T_NEED(set(PLACES, "a", 1) == -EINVAL && set(0, "", 1) == -EINVAL && set(0, "a", 1u << 31) == -EINVAL);
  T_NEED(find(NOBODY, "") == -EINVAL && mr_registry_abandon(registry, PLACES) == -EINVAL);
  T_NEED(mr_registry_open(0, 0, 1, &unused) == -EINVAL && mr_registry_open(1, 0, 0, &unused) == -EINVAL);
  T_NEED(mr_registry_open(2000, 0, 1, &unused) == -EINVAL && mr_registry_open(1, 0, 1, NULL) == -EINVAL);
  t_fault(SYS_ALLOCATE, 0, 1, ENOMEM);
  T_NEED(mr_registry_open(1, 0, 1, &unused) == -ENOMEM);
  t_faults_clear();
  t_fault(SYS_RANDOM, 0, 1, ENOSYS);
  T_NEED(mr_registry_open(1, 0, 1, &unused) == -ENOSYS);
end:
  t_faults_clear();
  return mr_registry_close(registry) == 0 && ok;
}

// Memory ends: what was there stays, what goes can go, and there is room again.
static bool run_full(void) {
  bool ok = true;
  char name[32];
  uint32_t many = 0;
  T_NEED(mr_registry_open(PLACES, 1, 1, &registry) == 0);
  for (;; many++) {
    snprintf(name, sizeof(name), "topic %u", many);
    int32_t answer = set(many % PLACES, name, 1);
    if (answer == -ENOMEM) break;
    T_NEED((answer & MR_TOPIC_CHANGED) != 0);
  }
  T_NEED(many > 1000 && stats().topics == many && stats().held_bytes <= 1u << 20);
  for (uint32_t i = 0; i < many; i++) {
    snprintf(name, sizeof(name), "topic %u", i);
    T_NEED(find(NOBODY, name) == 1 && mask[i % PLACES / 32] == 1u << i % PLACES % 32);
    T_NEED((set(i % PLACES, name, 0) & MR_TOPIC_CHANGED) != 0);
  }
  T_NEED(stats().subscribers == 0 && same(changes(MR_SUPERVISOR), "") && stats().topics == 0);
  T_NEED(set(0, name, 1) == (MR_TOPIC_CHANGED | MR_TOPIC_LISTED));
end:
  return mr_registry_close(registry) == 0 && ok;
}

// Every allocation fails once: nothing has changed then, and it works afterwards.
static bool run_failures(void) {
  bool ok = true;
  char name[16];
  for (uint32_t failing = 0;; failing++) {
    uint32_t failed = 0;
    T_NEED(mr_registry_open(PLACES, 1, 1, &registry) == 0);
    t_faults_clear();
    t_fault(SYS_ALLOCATE, failing, 1, ENOMEM);
    for (uint32_t i = 0; i < 1200; i++) {
      snprintf(name, sizeof(name), "%u", i % 400);
      struct mr_registry_stats before = stats();
      int32_t answer = set(i / 400, name, 1);
      if (answer == -ENOMEM) {
        failed++;
        struct mr_registry_stats after = stats();
        before.held_bytes = after.held_bytes;  // there may be more buckets
        T_NEED(memcmp(&before, &after, sizeof(before)) == 0);
        answer = set(i / 400, name, 1);
      }
      T_NEED(answer >= 0 && find(NOBODY, name) == (int32_t)(i / 400) + 1);
    }
    uint32_t fired = t_faults_fired();
    T_NEED(failed <= fired && stats().topics == 400 && stats().subscribers == 1200);
    T_NEED(mr_registry_close(registry) == 0);
    if (fired == 0) break;
    T_NEED(failing < 4000);
    // Each of the first, and then those of ever more topics.
    if (failing > 64) failing += 37;
  }
  t_faults_clear();
  return true;
end:
  t_faults_clear();
  mr_registry_close(registry);
  return ok;
}

// Random calls beside a table of plain numbers.
enum { NAMES = 24, STEPS = 60000 };
static uint32_t model[NAMES][PLACES];
static bool told[2][NAMES];
static char names[NAMES][16];

static bool live(uint32_t name) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < PLACES; i++) sum += model[name][i];
  return sum > 0;
}

static bool check_found(uint32_t name, uint32_t except) {
  uint32_t sum = 0;
  bool ok = true;
  int32_t total = find(except, names[name]);
  for (uint32_t i = 0; i < PLACES; i++) {
    uint32_t count = i == except ? 0 : model[name][i];
    bool set_there = (mask[i / 32] >> i % 32 & 1) != 0;
    ok = ok && set_there == (count > 0) && (count == 0 || counts[i] == count);
    sum += count;
  }
  return ok && total == (int32_t)sum;
}

static bool check_changes(uint32_t observer) {
  char text[1024] = "";
  for (uint32_t i = 0; i < NAMES; i++) {
    if (told[observer][i] == live(i)) continue;
    told[observer][i] = live(i);
    snprintf(text + strlen(text), sizeof(text) - strlen(text), "%c%s ", live(i) ? '+' : '-', names[i]);
  }
  // The order is that in which they changed: compared as sets.
  const char *seen = changes(observer);
  bool ok = strlen(seen) == strlen(text);
  for (char *one = strtok(text, " "); one != NULL; one = strtok(NULL, " "))
    ok = ok && strstr(seen, one) != NULL;
  return ok;
}

static bool run_model(void) {
  bool ok = true;
  uint64_t random = 88172645463325252u;
  for (uint32_t i = 0; i < NAMES; i++) snprintf(names[i], sizeof(names[i]), "n%02u", i);
  T_NEED(mr_registry_open(PLACES, 1, 1, &registry) == 0);
  for (uint32_t step = 0; step < STEPS; step++) {
    uint32_t name = (uint32_t)(t_random(&random) % NAMES), place = (uint32_t)(t_random(&random) % PLACES);
    uint32_t what = (uint32_t)(t_random(&random) % 64);
    if (what == 0) {
      T_NEED(mr_registry_abandon(registry, place) >= 0);
      for (uint32_t i = 0; i < NAMES; i++) model[i][place] = 0;
    } else if (what == 1) {
      T_NEED(check_changes(place % 2));
    } else {
      uint32_t count = what < 34 ? 0 : what - 30;
      model[name][place] = count;
      int32_t answer = set(place, names[name], count);
      T_NEED(((answer & MR_TOPIC_CHANGED) != 0) == (told[MR_WORKERS][name] != live(name)));
      told[MR_WORKERS][name] = live(name);
    }
    T_NEED(check_found(name, what % 3 == 0 ? place : NOBODY));
  }
  for (uint32_t place = 0; place < PLACES; place++) T_NEED(mr_registry_abandon(registry, place) >= 0);
  memset(model, 0, sizeof(model));
  T_NEED(check_changes(MR_WORKERS) && check_changes(MR_SUPERVISOR));
  T_NEED(stats().topics == 0 && stats().subscribers == 0);
end:
  return mr_registry_close(registry) == 0 && ok;
}

int main(void) {
  t_case("the hash is SipHash-1-3", run_hash());
  t_case("a topic begins with its first subscriber and ends with its last", run_answers());
  t_case("servers have numbers, and topics of their own", run_services());
  t_case("patterns are found", run_patterns());
  t_case("observers are told what has changed, once", run_observers());
  t_case("long names come one at a time", run_long_names());
  t_case("what cannot be is refused", run_arguments());
  t_case("memory has a bound, and nothing is lost at it", run_full());
  t_case("an allocation that fails changes nothing", run_failures());
  t_case("random calls agree with plain counting", run_model());
  return t_done();
}
