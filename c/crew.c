// SPDX-License-Identifier: Apache-2.0
// crew.c - the mr_crew_* functions of millrace.h, and what reactors have to do with a crew; called by
// JavaScript, listener.c, conn.c, reactor.c and thread.c.
#include "crew.h"

#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>

#include "address_limit.h"
#include "counter.h"
#include "listener.h"
#include "sys.h"
#include "thread.h"
#include "timer.h"
#include "wake.h"

#define COUNTERS_AT offsetof(struct mr_control, accepted)
#define COUNTERS ((sizeof(struct mr_control) - COUNTERS_AT) / sizeof(uint64_t))

// All that are open, for the threads that have opened them.
static pthread_mutex_t crews_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mr_crew *crews;

int32_t mr_crew_open(uint32_t slots, uint32_t balance, mr_crew **out) {
  if (out == NULL || slots == 0 || slots > MR_CREW_SLOTS_MAX || balance > MR_BALANCE_LEAST) return -EINVAL;
  struct mr_crew *crew = sys_allocate(1, sizeof(*crew));
  if (crew == NULL) return -ENOMEM;
  pthread_mutex_init(&crew->joining, NULL);
  pthread_mutex_init(&crew->lock, NULL);
  crew->slots = slots;
  crew->balance = balance;
  crew->opener = thread_self();
  pthread_mutex_lock(&crews_lock);
  crew->next = crews;
  crews = crew;
  pthread_mutex_unlock(&crews_lock);
  *out = crew;
  return 0;
}

// --- services

// Unix sockets cannot share an address, and one that many wait for wakes whom it likes.
static bool is_handed(const struct mr_crew *crew, const struct mr_listen_options *options) {
  return crew->balance == MR_BALANCE_LEAST || (options->flags & MR_UNIX) != 0;
}

static bool is_named(const struct crew_service *service, const struct mr_listen_options *options) {
  const struct mr_listen_options *o = &service->options;
  return o->flags == options->flags && o->port == options->port && strcmp(o->host, options->host) == 0;
}

static bool serves(const struct crew_service *service, const struct crew_worker *worker) {
  const struct crew_member *m = service->members;
  while (m != NULL && m->worker != worker) m = m->next;
  return m != NULL;
}

// That which the worker has not joined yet: of several with port 0 the first is that of all who ask first.
static struct crew_service *find(struct mr_crew *crew, const struct crew_worker *worker,
                                 const struct mr_listen_options *options, int *rc) {
  for (struct crew_service *s = crew->services; s != NULL; s = s->next) {
    if (!is_named(s, options)) continue;
    if (!serves(s, worker)) return s;
    if (options->port != 0 || (options->flags & MR_UNIX) != 0) *rc = -EADDRINUSE;
  }
  return NULL;
}

static void service_free(struct crew_service *service) {
  if (service->handing) acceptor_stop(service);
  for (uint32_t i = 0; i < MR_CREW_SLOTS_MAX; i++) {
    if (service->fds[i] >= 0) close(service->fds[i]);
  }
  if (service->stop >= 0) close(service->stop);
  pthread_cond_destroy(&service->room);
  address_limit_close(service->addresses);
  free(service);
}

// Nobody finds it any more while its thread is waited for.
static void service_close(struct crew_service *service) {
  struct crew_service **at = &service->crew->services;
  while (*at != service) at = &(*at)->next;
  *at = service->next;
  service_free(service);
}

// Without the lock, since a name may take long to look up. Nobody knows of the service yet.
static int open_first(struct crew_service *s) {
  struct mr_listen_options options = s->options;
  if (is_handed(s->crew, &options)) options.flags &= ~(uint32_t)MR_SHARED;  // it remains the only one
  pthread_mutex_unlock(&s->crew->lock);
  int fd = listener_socket(&options, &s->tuning);
  pthread_mutex_lock(&s->crew->lock);
  if (fd < 0) return fd;
  s->fds[0] = fd;
  return s->crew->draining ? -ESHUTDOWN : 0;
}

static int open_sockets(struct crew_service *s) {
  int fd = open_first(s);
  if (fd < 0) return fd;
  fd = s->fds[0];
  s->address_length = sizeof(s->address);
  if (getsockname(fd, (struct sockaddr *)&s->address, &s->address_length) != 0) return -errno;
  if (is_handed(s->crew, &s->options)) return acceptor_start(s);
  for (uint32_t i = 1; i < s->crew->slots; i++) {
    fd = listener_sibling(&s->address, s->address_length, &s->options, &s->tuning);
    if (fd < 0) return fd;
    s->fds[i] = fd;
  }
  return 0;
}

static int service_open(struct mr_crew *crew, uint32_t limit, const struct mr_listen_options *options,
                        const struct mr_socket_options *tuning, struct crew_service **out) {
  struct crew_service *s = sys_allocate(1, sizeof(*s));
  if (s == NULL) return -ENOMEM;
  s->crew = crew;
  s->limit = limit;
  s->options = *options;
  if (tuning != NULL) s->tuning = *tuning;
  for (uint32_t i = 0; i < MR_CREW_SLOTS_MAX; i++) s->fds[i] = -1;
  s->stop = -1;
  pthread_cond_init(&s->room, NULL);
  int rc = open_sockets(s);
  if (rc != 0) {
    service_free(s);
    return rc;
  }
  struct crew_service **at = &crew->services;
  while (*at != NULL) at = &(*at)->next;
  *at = s;
  *out = s;
  return 0;
}

// What the worker is to listen with: it closes that by itself, also when it is ended.
static int socket_for(struct crew_service *s, uint32_t slot) {
  uint32_t at = s->handing ? 0 : slot;
  if (s->fds[at] < 0) {
    int fd = listener_sibling(&s->address, s->address_length, &s->options, &s->tuning);
    if (fd < 0) return fd;
    s->fds[at] = fd;
  }
  int own = sys_dup(s->fds[at]);
  return own < 0 ? -errno : own;
}

static int join(struct mr_reactor *r, struct crew_worker *worker, const struct mr_listen_options *options,
                const struct mr_socket_options *tuning) {
  struct mr_crew *crew = worker->crew;
  if (crew->draining) return -ESHUTDOWN;
  int rc = 0;
  struct crew_service *service = find(crew, worker, options, &rc);
  bool is_new = service == NULL;
  uint32_t limit = r->options->max_connections;
  if (is_new && rc == 0) rc = service_open(crew, limit, options, tuning, &service);
  if (rc != 0) return rc;
  struct crew_member *member = sys_allocate(1, sizeof(*member));
  int fd = member == NULL ? -ENOMEM : socket_for(service, worker->slot);
  if (fd < 0) {
    free(member);
    // Only what nobody else knows of yet: who closes another one gives the lock up for a moment.
    if (is_new) service_close(service);
    return fd;
  }
  *member =
      (struct crew_member){.next = service->members, .service = service, .worker = worker, .reactor = r};
  service->members = member;
  worker->listeners++;
  r->member = member;
  pthread_cond_broadcast(&service->room);
  return fd;
}

int crew_join(struct mr_reactor *r, const struct mr_listen_options *options,
              const struct mr_socket_options *tuning) {
  struct crew_worker *worker = thread_worker();
  // All connections of a member count: its reactor can have this listener only, and nothing else.
  bool is_used = r->control->listeners > 0 || r->control->connections > 0 || r->addresses != NULL;
  if (worker == NULL || is_used) return -EINVAL;
  pthread_mutex_lock(&worker->crew->joining);
  pthread_mutex_lock(&worker->crew->lock);
  int fd = join(r, worker, options, tuning);
  pthread_mutex_unlock(&worker->crew->lock);
  pthread_mutex_unlock(&worker->crew->joining);
  return fd;
}

bool crew_serves_on(struct crew_member *member) {
  struct mr_crew *crew = member->service->crew;
  pthread_mutex_lock(&crew->lock);
  bool others = !crew->draining;
  pthread_mutex_unlock(&crew->lock);
  return others;
}

void crew_retire(struct crew_member *member) {
  pthread_mutex_lock(&member->service->crew->lock);
  member->retired = true;
  pthread_mutex_unlock(&member->service->crew->lock);
}

// The counters lie side by side, 64 bits each. Another thread may be counting meanwhile, of which one sees
// the number before or the one after.
static void add_counters(struct mr_control *sum, const struct mr_control *control) {
  uint64_t *to = (uint64_t *)((uint8_t *)sum + COUNTERS_AT);
  const uint64_t *from = (const uint64_t *)((const uint8_t *)control + COUNTERS_AT);
  for (size_t i = 0; i < COUNTERS; i++) to[i] += counter_read(&from[i]);
}

static void wake_all(struct crew_service *service) {
  for (struct crew_member *m = service->members; m != NULL; m = m->next) wake_send(m->reactor->wake_here);
}

void crew_leave(struct mr_reactor *r) {
  struct crew_member *member = r->member;
  if (member == NULL) return;
  struct crew_service *service = member->service;
  struct mr_crew *crew = service->crew;
  pthread_mutex_lock(&crew->lock);
  struct crew_member **at = &service->members;
  while (*at != member) at = &(*at)->next;
  *at = member->next;
  service->orphaned = !member->retired;
  struct mr_control *counted = &member->worker->counted;
  add_counters(counted, r->control);
  counted->blocks_free = counted->blocks_retained = counted->deflate_bytes = 0;  // are no more
  atomic_fetch_sub(&service->connections, r->control->connections);
  acceptor_take_back(member);
  r->member = NULL;
  wake_all(service);
  pthread_cond_broadcast(&service->room);
  pthread_mutex_unlock(&crew->lock);
  free(member);
}

// --- the limit

bool crew_admit(struct crew_member *member) {
  struct crew_service *s = member->service;
  for (;;) {
    unsigned count = atomic_load(&s->connections);
    if (count >= s->limit) {
      if (crew_is_full(member)) return false;
    } else if (atomic_compare_exchange_weak(&s->connections, &count, count + 1)) {
      return true;
    }
  }
}

bool crew_is_full(struct crew_member *member) {
  struct crew_service *s = member->service;
  if (atomic_load(&s->connections) < s->limit) return false;
  atomic_store(&s->wanted, true);
  // Looked at again: who has closed one meanwhile has woken nobody.
  return atomic_load(&s->connections) >= s->limit;
}

void crew_release(struct crew_member *member, uint32_t count) {
  struct crew_service *s = member->service;
  atomic_fetch_sub(&s->connections, count);
  if (!s->handing && !atomic_load(&s->wanted)) return;
  pthread_mutex_lock(&s->crew->lock);
  if (atomic_exchange(&s->wanted, false)) wake_all(s);
  pthread_cond_broadcast(&s->room);
  pthread_mutex_unlock(&s->crew->lock);
}

struct address_limit *crew_addresses(struct crew_member *member, uint32_t most) {
  struct crew_service *s = member->service;
  pthread_mutex_lock(&s->crew->lock);
  if (s->addresses == NULL) s->addresses = address_limit_open(s->limit, most);
  struct address_limit *addresses = s->addresses;
  pthread_mutex_unlock(&s->crew->lock);
  return addresses;
}

uint32_t crew_take(struct crew_member *member, int *fds, uint32_t capacity) {
  uint32_t handed = atomic_load(&member->handed);
  if (handed == 0 || capacity == 0) return 0;
  struct crew_service *service = member->service;
  pthread_mutex_lock(&service->crew->lock);
  handed = atomic_load(&member->handed);
  uint32_t count = handed < capacity ? handed : capacity;
  memcpy(fds, member->fds, count * sizeof(fds[0]));
  memmove(member->fds, member->fds + count, (handed - count) * sizeof(fds[0]));
  atomic_store(&member->handed, handed - count);
  pthread_cond_broadcast(&service->room);
  pthread_mutex_unlock(&service->crew->lock);
  return count;
}

// --- places

int32_t mr_crew_enter(mr_crew *crew, uint32_t place, uint32_t slot) {
  if (crew == NULL || place >= MR_CREW_PLACES || slot >= crew->slots) return -EINVAL;
  struct crew_worker *worker = &crew->places[place];
  pthread_mutex_lock(&crew->lock);
  int rc = crew->draining ? -ESHUTDOWN : 0;
  if (rc == 0 && atomic_load(&worker->state) != MR_WORKER_NONE) rc = -EBUSY;
  if (rc == 0) rc = thread_enter(worker);
  if (rc == 0) {
    *worker = (struct crew_worker){.crew = crew, .slot = slot, .beat = timer_now()};
    atomic_store(&worker->state, MR_WORKER_RUNS);
  }
  pthread_mutex_unlock(&crew->lock);
  return rc;
}

void crew_worker_gone(struct crew_worker *worker) {
  // Held, so that nobody frees the crew before we have let go of it.
  pthread_mutex_t *lock = &worker->crew->lock;
  pthread_mutex_lock(lock);
  atomic_store(&worker->state, MR_WORKER_GONE);
  pthread_mutex_unlock(lock);
}

static struct crew_worker *lock_place(mr_crew *crew, uint32_t place) {
  if (crew == NULL || place >= MR_CREW_PLACES) return NULL;
  pthread_mutex_lock(&crew->lock);
  return &crew->places[place];
}

typedef void visit(struct crew_member *member, void *context);

static void each_member(const struct crew_worker *worker, const struct mr_crew *crew, visit *fn,
                        void *context) {
  for (struct crew_service *s = crew->services; s != NULL; s = s->next) {
    for (struct crew_member *m = s->members; m != NULL; m = m->next) {
      if (m->worker == worker) fn(m, context);
    }
  }
}

static void count_connections(struct crew_member *member, void *sum) {
  *(uint32_t *)sum += gauge_read(&member->reactor->control->connections);
}

static void count_all(struct crew_member *member, void *sum) {
  struct mr_control *control = sum;
  count_connections(member, &control->connections);
  add_counters(control, member->reactor->control);
}

static void wake(struct crew_member *member, void *context) {
  (void)context;
  wake_send(member->reactor->wake_here);
}

int32_t mr_crew_worker(mr_crew *crew, uint32_t place, struct mr_worker_report *out) {
  const struct crew_worker *worker = out == NULL ? NULL : lock_place(crew, place);
  if (worker == NULL) return -EINVAL;
  uint64_t now = timer_now(), beat = atomic_load(&worker->beat);
  *out = (struct mr_worker_report){.state = atomic_load(&worker->state), .listeners = worker->listeners};
  if (out->state == MR_WORKER_RUNS && now > beat) out->quiet = (uint32_t)(now - beat);
  each_member(worker, crew, count_connections, &out->connections);
  pthread_mutex_unlock(&crew->lock);
  return 0;
}

int32_t mr_crew_counters(mr_crew *crew, uint32_t place, struct mr_control *out) {
  const struct crew_worker *worker = out == NULL ? NULL : lock_place(crew, place);
  if (worker == NULL) return -EINVAL;
  *out = worker->counted;
  each_member(worker, crew, count_all, out);
  pthread_mutex_unlock(&crew->lock);
  return 0;
}

struct memories {
  struct mr_memory *out;
  uint32_t count, capacity;
};

static void look(struct crew_member *member, void *context) {
  struct memories *all = context;
  if (all->count < all->capacity) mr_arena_memory(member->reactor->arena, &all->out[all->count++]);
}

int32_t mr_crew_memory(mr_crew *crew, uint32_t place, struct mr_memory *out, uint32_t capacity) {
  const struct crew_worker *worker = out == NULL ? NULL : lock_place(crew, place);
  if (worker == NULL) return -EINVAL;
  struct memories all = {.out = out, .capacity = capacity};
  each_member(worker, crew, look, &all);
  pthread_mutex_unlock(&crew->lock);
  return (int32_t)all.count;
}

int32_t mr_crew_wake(mr_crew *crew, uint32_t place) {
  const struct crew_worker *worker = lock_place(crew, place);
  if (worker == NULL) return -EINVAL;
  each_member(worker, crew, wake, NULL);
  pthread_mutex_unlock(&crew->lock);
  return 0;
}

int32_t mr_crew_forget(mr_crew *crew, uint32_t place) {
  struct crew_worker *worker = lock_place(crew, place);
  if (worker == NULL) return -EINVAL;
  int rc = atomic_load(&worker->state) == MR_WORKER_RUNS ? -EBUSY : 0;
  if (rc == 0) *worker = (struct crew_worker){0};
  pthread_mutex_unlock(&crew->lock);
  return rc;
}

// --- the whole

static bool retire_slot(struct crew_service *service, uint32_t slot) {
  bool others = false;
  for (struct crew_member *m = service->members; m != NULL; m = m->next) {
    if (m->worker->slot == slot) m->retired = true;
    others = others || !m->retired;
  }
  // With nobody else it may still come for what it was handed.
  for (struct crew_member *m = service->members; others && m != NULL; m = m->next) {
    if (m->worker->slot == slot) acceptor_take_back(m);
  }
  return others;
}

static uint32_t vacate(struct crew_service *s, uint32_t slot) {
  bool others = retire_slot(s, slot);
  int fd = s->fds[slot];
  if (s->handing || fd < 0) return 0;
  // Where nobody else serves, those who connect from now on shall not be refused.
  s->fds[slot] = others ? -1 : listener_sibling(&s->address, s->address_length, &s->options, &s->tuning);
  uint32_t count = others ? acceptor_pass_on(s, fd) : 0;
  // Also for a worker that still has a descriptor of its own.
  shutdown(fd, SHUT_RDWR);
  close(fd);
  return count;
}

int32_t mr_crew_vacate(mr_crew *crew, uint32_t slot) {
  if (crew == NULL || slot >= crew->slots) return -EINVAL;
  uint32_t count = 0;
  pthread_mutex_lock(&crew->lock);
  for (struct crew_service *s = crew->services; s != NULL; s = s->next) count += vacate(s, slot);
  pthread_mutex_unlock(&crew->lock);
  return (int32_t)count;
}

// Looked for anew each time: to close one gives the lock up for a moment.
static struct crew_service *unused(const mr_crew *crew) {
  struct crew_service *s = crew->services;
  while (s != NULL && (s->members != NULL || s->orphaned)) s = s->next;
  return s;
}

int32_t mr_crew_trim(mr_crew *crew) {
  if (crew == NULL) return -EINVAL;
  pthread_mutex_lock(&crew->lock);
  for (struct crew_service *s; (s = unused(crew)) != NULL;) service_close(s);
  pthread_mutex_unlock(&crew->lock);
  return 0;
}

static bool is_served(const struct crew_service *service, uint32_t slot) {
  const struct crew_member *m = service->members;
  while (m != NULL && (m->retired || m->worker->slot != slot)) m = m->next;
  return m != NULL;
}

// What waits where nobody will look any more.
static void pass_on_unserved(struct crew_service *service) {
  for (uint32_t i = 0; i < service->crew->slots; i++) {
    if (service->fds[i] >= 0 && (service->handing || !is_served(service, i))) {
      acceptor_pass_on(service, service->fds[i]);
    }
  }
}

int32_t mr_crew_drain(mr_crew *crew) {
  if (crew == NULL) return -EINVAL;
  pthread_mutex_lock(&crew->lock);
  crew->draining = true;
  for (struct crew_service *s = crew->services; s != NULL; s = s->next) {
    pass_on_unserved(s);
    if (s->handing) acceptor_stop(s);
    // Those of the workers are the last ones now, which close them when nothing waits there any more.
    for (uint32_t i = 0; i < MR_CREW_SLOTS_MAX; i++) {
      if (s->fds[i] >= 0) close(s->fds[i]);
      s->fds[i] = -1;
    }
  }
  pthread_mutex_unlock(&crew->lock);
  return 0;
}

// The crew itself is left: a worker of it may just be about to enter.
void crew_abandoned(const struct thread *opener) {
  pthread_mutex_lock(&crews_lock);
  for (struct mr_crew *crew = crews; crew != NULL; crew = crew->next) {
    if (crew->opener != opener) continue;
    crew->opener = NULL;
    mr_crew_drain(crew);
  }
  pthread_mutex_unlock(&crews_lock);
}

static void forget_crew(const struct mr_crew *crew) {
  pthread_mutex_lock(&crews_lock);
  struct mr_crew **at = &crews;
  while (*at != crew) at = &(*at)->next;
  *at = crew->next;
  pthread_mutex_unlock(&crews_lock);
}

int32_t mr_crew_close(mr_crew *crew) {
  if (crew == NULL) return -EINVAL;
  pthread_mutex_lock(&crew->lock);
  bool busy = false;
  for (uint32_t i = 0; i < MR_CREW_PLACES; i++) {
    busy = busy || atomic_load(&crew->places[i].state) == MR_WORKER_RUNS;
  }
  while (!busy && crew->services != NULL) service_close(crew->services);
  pthread_mutex_unlock(&crew->lock);
  if (busy) return -EBUSY;
  forget_crew(crew);
  pthread_mutex_destroy(&crew->joining);
  pthread_mutex_destroy(&crew->lock);
  free(crew);
  return 0;
}
