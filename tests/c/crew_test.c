// SPDX-License-Identifier: Apache-2.0
// crew_test.c - workers that share their listeners: who gets a connection, the limit, sockets that outlive a
// worker, and what is left of a thread that ends with everything open.
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "millrace.h"

enum { PATIENCE_MS = 5000, CLIENTS = 12, CHURN = 300, MANY = 200 };

// A thread that turns a reactor until it is told to stop, and leaves everything open.
struct worker {
  pthread_t thread;
  mr_crew *crew;
  uint32_t backend, place, slot, limit;
  uint32_t most;      // connections of an address; 0 = any number
  int32_t listening;  // answer of mr_listen
  int32_t second;     // that of another one
  uint32_t port;
  uint8_t *base;
  atomic_bool ready, stop;
  atomic_bool stalled;  // takes no turn
  atomic_bool leaves;   // closes its listener
};

static struct mr_options options_of(const struct worker *w) {
  return (struct mr_options){.backend = w->backend,
                             .ring_entries = 64,
                             .batch = 32,
                             .max_connections = w->limit,
                             .block_count = 64,
                             .receive_buffers = 16,
                             .outbox_bytes = 65536,
                             .max_head_bytes = 4096,
                             .max_target_bytes = 1024,
                             .max_fields = 16,
                             .max_queue_bytes = 65536,
                             .max_fragments = 16,
                             .max_pipelined = 8};
}

// As JavaScript does: who will send no more is let go of.
static void answer(mr_reactor *reactor, uint8_t *base, int32_t count) {
  const struct mr_control *control = (const struct mr_control *)base;
  const struct mr_record *records = (const struct mr_record *)(base + control->records_offset);
  struct mr_command *commands = (struct mr_command *)(base + control->commands_offset);
  uint32_t staged = 0;
  for (int32_t i = 0; i < count; i++) {
    if (records[i].kind != MR_END) continue;
    commands[staged++] = (struct mr_command){.handle = records[i].handle, .op = MR_CMD_TERMINATE};
  }
  if (staged > 0) mr_flush(reactor, staged, 1);
}

static void nap(void) {
  poll(NULL, 0, 1);
}

static void *work(void *context) {
  struct worker *w = context;
  const struct mr_options options = options_of(w);
  struct mr_listen_options where = {.flags = MR_SHARED, .port = w->port, .backlog = 512, .host = "127.0.0.1"};
  char text[MR_TEXT_BYTES];
  mr_arena *arena = NULL;
  mr_reactor *reactor = NULL;
  w->listening = mr_crew_enter(w->crew, w->place, w->slot);
  if (w->listening == 0) w->listening = mr_arena_open(&options, &arena);
  if (w->listening == 0) w->listening = mr_open(arena, &options, &reactor, text);
  if (w->listening == 0) w->listening = mr_listen(reactor, &where, NULL);
  if (w->listening == 0 && w->most > 0) w->listening = mr_limit_addresses(reactor, w->most);
  if (w->listening >= 0) {
    w->base = mr_arena_base(arena);
    w->second = mr_listen(reactor, &where, NULL);
    mr_listen_address(reactor, 0, text);
    w->port = (uint32_t)atoi(strchr(text, ' ') + 1);
  }
  atomic_store(&w->ready, true);
  if (w->listening < 0) return NULL;
  struct pollfd wake = {.fd = mr_wake_socket(reactor), .events = POLLIN};
  while (!atomic_load(&w->stop)) {
    if (atomic_load(&w->stalled)) {
      nap();
      continue;
    }
    if (atomic_exchange(&w->leaves, false)) mr_unlisten(reactor, 0);
    int32_t count;
    while ((count = mr_poll(reactor)) > 0) answer(reactor, w->base, count);
    if (mr_arm(reactor) == 0) poll(&wake, 1, 5);
    while (recv(wake.fd, text, sizeof(text), MSG_DONTWAIT) > 0) continue;
  }
  return NULL;
}

static void start(struct worker *w, mr_crew *crew, uint32_t backend, uint32_t place, uint32_t slot) {
  *w = (struct worker){.crew = crew,
                       .backend = backend,
                       .place = place,
                       .slot = slot,
                       .limit = w->limit,
                       .most = w->most,
                       .port = w->port};
  pthread_create(&w->thread, NULL, work, w);
  while (!atomic_load(&w->ready)) nap();
}

static void end(struct worker *w) {
  if (atomic_exchange(&w->stop, true)) return;
  pthread_join(w->thread, NULL);
}

static int dial(uint32_t port) {
  struct sockaddr_in to = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0) return fd;
  close(fd);
  return -1;
}

static uint32_t connections(mr_crew *crew, uint32_t place) {
  struct mr_worker_report report;
  return mr_crew_worker(crew, place, &report) == 0 ? report.connections : UINT32_MAX;
}

static uint64_t accepted(mr_crew *crew, uint32_t place) {
  struct mr_control control;
  return mr_crew_counters(crew, place, &control) == 0 ? control.accepted : UINT64_MAX;
}

static bool have(mr_crew *crew, uint32_t a, uint32_t b) {
  for (int ms = 0; ms < PATIENCE_MS; ms++) {
    if (connections(crew, 0) == a && connections(crew, 1) == b) return true;
    nap();
  }
  return false;
}

static bool have_in_all(mr_crew *crew, uint32_t count) {
  for (int ms = 0; ms < PATIENCE_MS; ms++) {
    if (connections(crew, 0) + connections(crew, 1) == count) return true;
    nap();
  }
  return false;
}

static int descriptors(void) {
  DIR *directory = opendir("/proc/self/fd");
  int count = 0;
  while (readdir(directory) != NULL) count++;
  closedir(directory);
  return count;
}

// Two workers, and clients that hang on until the end.
struct crew {
  mr_crew *crew;
  struct worker workers[2];
  int clients[MANY];
  uint32_t client_count;
  atomic_bool opened, abandoned;  // by another thread
};

static bool open_limited(struct crew *c, uint32_t backend, uint32_t balance, uint32_t limit, uint32_t most) {
  *c = (struct crew){0};
  if (mr_crew_open(2, balance, &c->crew) != 0) return false;
  c->workers[0].limit = c->workers[1].limit = limit;
  c->workers[0].most = c->workers[1].most = most;
  start(&c->workers[0], c->crew, backend, 0, 0);
  start(&c->workers[1], c->crew, backend, 1, 1);
  return c->workers[0].listening == 0 && c->workers[1].listening == 0 && c->workers[0].second == -EINVAL &&
         c->workers[0].port == c->workers[1].port;
}

static bool open_crew(struct crew *c, uint32_t backend, uint32_t balance, uint32_t limit) {
  return open_limited(c, backend, balance, limit, 0);
}

static void connect_more(struct crew *c, uint32_t count) {
  while (count-- > 0) c->clients[c->client_count++] = dial(c->workers[0].port);
}

static bool close_crew(struct crew *c) {
  bool busy = mr_crew_close(c->crew) == -EBUSY;
  end(&c->workers[0]);
  end(&c->workers[1]);
  for (uint32_t i = 0; i < c->client_count; i++) close(c->clients[i]);
  return busy && mr_crew_close(c->crew) == 0;
}

static bool run_leaves_nothing(uint32_t backend) {
  static struct crew c;
  bool ok = true;
  int before = 0;
  uint8_t *bases[2] = {0};
  for (int round = 0; round < 3; round++) {
    ok = open_crew(&c, backend, MR_BALANCE_PORT, 64) && ok;
    connect_more(&c, 4);
    ok = have_in_all(c.crew, 4) && ok;
    uint8_t *one = c.workers[0].base, *other = c.workers[1].base;
    // The second pair of threads works in the memory of the first.
    if (round > 0)
      ok = (one == bases[0] || one == bases[1]) && (other == bases[0] || other == bases[1]) && ok;
    bases[0] = one;
    bases[1] = other;
    ok = close_crew(&c) && ok;
    if (round == 0) before = descriptors();
  }
  // The kernel gives rings back a little later.
  for (int ms = 0; ms < PATIENCE_MS && descriptors() > before; ms++) nap();
  return ok && descriptors() <= before;
}

// What another thread is told of the memory of those that run.
static bool run_memory(uint32_t backend) {
  static struct crew c;
  struct mr_memory memory[2] = {0};
  bool ok = open_crew(&c, backend, MR_BALANCE_PORT, 64);
  for (uint32_t place = 0; place < 2; place++) {
    ok = mr_crew_memory(c.crew, place, memory, 2) == 1 && memory[0].mapped_bytes > 0 && ok;
    ok = (memory[0].counted == 0 || memory[0].resident_bytes > 0) && memory[0].node == 0 && ok;
    ok = mr_crew_memory(c.crew, place, memory, 0) == 0 && memory[1].mapped_bytes == 0 && ok;
  }
  ok = mr_crew_memory(c.crew, 2, memory, 2) == 0 && mr_crew_memory(c.crew, 0, NULL, 2) == -EINVAL && ok;
  return close_crew(&c) && ok;
}

static bool run_least(uint32_t backend) {
  static struct crew c;
  bool ok = open_crew(&c, backend, MR_BALANCE_LEAST, 64);
  for (uint32_t i = 1; i <= 4; i++) {
    connect_more(&c, 2);
    ok = have(c.crew, i, i) && ok;
  }
  return close_crew(&c) && ok;
}

static bool have_accepted(mr_crew *crew, uint64_t count) {
  for (int ms = 0; ms < PATIENCE_MS; ms++) {
    if (accepted(crew, 0) + accepted(crew, 1) == count) return true;
    nap();
  }
  return false;
}

// Connections that end at once leave all workers with as few: they take turns.
static bool run_turns(uint32_t backend) {
  static struct crew c;
  bool ok = open_crew(&c, backend, MR_BALANCE_LEAST, 64);
  for (uint64_t i = 1; i <= CLIENTS; i++) {
    int fd = dial(c.workers[0].port);
    ok = fd >= 0 && have_accepted(c.crew, i) && close(fd) == 0 && have_in_all(c.crew, 0) && ok;
  }
  ok = accepted(c.crew, 0) == CLIENTS / 2 && accepted(c.crew, 1) == CLIENTS / 2 && ok;
  return close_crew(&c) && ok;
}

static bool run_limit(uint32_t backend, uint32_t balance) {
  static struct crew c;
  bool ok = open_crew(&c, backend, balance, 3);
  connect_more(&c, 8);
  ok = have_in_all(c.crew, 3) && ok;
  for (uint32_t closed = 0; closed < 8; closed++) {
    ok = connections(c.crew, 0) + connections(c.crew, 1) <= 3 && ok;
    // Of those that wait some go as well: all eight are accepted, in whichever order.
    shutdown(c.clients[closed], SHUT_RDWR);
  }
  ok = have_accepted(c.crew, 8) && have_in_all(c.crew, 0) && ok;
  return close_crew(&c) && ok;
}

static bool have_refused(mr_crew *crew, uint64_t count) {
  for (int ms = 0; ms < PATIENCE_MS; ms++) {
    struct mr_control one, other;
    mr_crew_counters(crew, 0, &one);
    mr_crew_counters(crew, 1, &other);
    if (one.address_refusals + other.address_refusals == count) return true;
    nap();
  }
  return false;
}

// An address has as many in all workers, and those of a worker that has ended are had again.
static bool run_addresses(uint32_t backend, uint32_t balance) {
  static struct crew c;
  bool ok = open_limited(&c, backend, balance, 64, 3);
  connect_more(&c, 8);
  ok = have_refused(c.crew, 5) && have_in_all(c.crew, 3) && ok;
  uint32_t ends = connections(c.crew, 1) == 0 ? 0 : 1, had = connections(c.crew, ends);
  end(&c.workers[ends]);
  // What comes to its socket would wait for the next one.
  ok = mr_crew_vacate(c.crew, ends) >= 0 && have_in_all(c.crew, 3 - had) && ok;
  connect_more(&c, 4);
  ok = have_refused(c.crew, 5 + 4 - had) && have_in_all(c.crew, 3) && ok;
  return close_crew(&c) && ok;
}

// Connections come and go faster than the limit lets them in: who accepts may find, when it has a socket,
// that a worker has just let the last one in.
static bool run_churn(uint32_t backend, uint32_t balance) {
  static struct crew c;
  bool ok = open_crew(&c, backend, balance, 2);
  for (int round = 0; ok && round < CHURN; round++) {
    int fds[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) fds[i] = dial(c.workers[0].port);
    for (int i = 0; i < CLIENTS; i++) ok = fds[i] >= 0 && close(fds[i]) == 0 && ok;
    // The kernel's queue is short.
    ok = ok && have_accepted(c.crew, (uint64_t)(round + 1) * CLIENTS);
  }
  ok = have_in_all(c.crew, 0) && ok;
  return close_crew(&c) && ok;
}

// What waits at a socket whose worker is gone is for the next one of the slot.
static bool run_outlives(uint32_t backend) {
  static struct crew c;
  bool ok = open_crew(&c, backend, MR_BALANCE_PORT, 64);
  struct mr_worker_report report;
  end(&c.workers[0]);
  ok = mr_crew_worker(c.crew, 0, &report) == 0 && report.state == MR_WORKER_GONE && ok;
  ok = mr_crew_forget(c.crew, 1) == -EBUSY && mr_crew_forget(c.crew, 0) == 0 && ok;
  connect_more(&c, CLIENTS);
  c.workers[0].port = 0;
  start(&c.workers[0], c.crew, backend, 0, 0);
  ok = c.workers[0].listening == 0 && have_in_all(c.crew, CLIENTS) && ok;
  return close_crew(&c) && ok;
}

static bool run_vacate(uint32_t backend) {
  static struct crew c;
  bool ok = open_crew(&c, backend, MR_BALANCE_PORT, 64);
  end(&c.workers[0]);
  connect_more(&c, CLIENTS / 2);
  ok = mr_crew_vacate(c.crew, 0) >= 0 && ok;
  connect_more(&c, CLIENTS / 2);
  ok = have(c.crew, 0, CLIENTS) && ok;
  ok = mr_crew_forget(c.crew, 0) == 0 && ok;
  c.workers[0].port = 0;
  start(&c.workers[0], c.crew, backend, 0, 0);
  ok = c.workers[0].listening == 0 && c.workers[0].port == c.workers[1].port && ok;
  return close_crew(&c) && ok;
}

// Much more than a worker is handed at a time.
static bool run_vacate_many(uint32_t backend) {
  static struct crew c;
  bool ok = open_crew(&c, backend, MR_BALANCE_PORT, 2 * MANY);
  end(&c.workers[0]);
  connect_more(&c, MANY);
  ok = mr_crew_vacate(c.crew, 0) > 0 && ok;
  return have(c.crew, 0, MANY) && close_crew(&c) && ok;
}

// What a worker was handed and has not come for is not its own yet: it goes to others when the worker is
// given up, or ends.
static bool run_orphans(uint32_t backend, bool vacated) {
  static struct crew c;
  bool ok = open_crew(&c, backend, MR_BALANCE_LEAST, MANY);
  atomic_store(&c.workers[0].stalled, true);
  connect_more(&c, CLIENTS);
  // Who has none is handed at least one of so many.
  if (vacated) ok = mr_crew_vacate(c.crew, 0) == 0 && have(c.crew, 0, CLIENTS) && ok;
  end(&c.workers[0]);
  ok = have(c.crew, 0, CLIENTS) && ok;
  return close_crew(&c) && ok;
}

// More than all workers together were handed waits in the socket when nobody accepts for them any longer.
// What waited last is accepted a moment before the socket is closed.
static bool refuses(uint32_t port) {
  for (int tries = 0; tries < 5000; tries++) {
    int fd = dial(port);
    if (fd < 0) return true;
    close(fd);
    nap();
  }
  return false;
}

static bool run_drain_many(uint32_t backend, uint32_t balance) {
  static struct crew c;
  bool ok = open_crew(&c, backend, balance, 2 * MANY);
  for (int i = 0; i < 2; i++) atomic_store(&c.workers[i].stalled, true);
  connect_more(&c, MANY);
  ok = mr_crew_drain(c.crew) == 0 && ok;
  for (int i = 0; i < 2; i++) {
    atomic_store(&c.workers[i].leaves, true);
    atomic_store(&c.workers[i].stalled, false);
  }
  ok = have_in_all(c.crew, MANY) && refuses(c.workers[0].port) && ok;
  return close_crew(&c) && ok;
}

// Of the same user, whom the kernel would let share the port.
static bool run_taken(uint32_t backend, uint32_t balance) {
  static struct crew c;
  mr_crew *others = NULL;
  bool ok = open_crew(&c, backend, balance, 64) && mr_crew_open(2, MR_BALANCE_PORT, &others) == 0;
  struct worker other = {.limit = 64, .port = c.workers[0].port};
  start(&other, others, backend, 0, 0);
  ok = other.listening == -EADDRINUSE && ok;
  end(&other);
  return mr_crew_close(others) == 0 && close_crew(&c) && ok;
}

static bool run_drain(uint32_t backend, uint32_t balance) {
  static struct crew c;
  bool ok = open_crew(&c, backend, balance, 64);
  connect_more(&c, 4);
  ok = mr_crew_drain(c.crew) == 0 && have_in_all(c.crew, 4) && ok;
  struct worker late = {.limit = 64, .port = c.workers[0].port};
  start(&late, c.crew, backend, 2, 0);
  ok = late.listening == -ESHUTDOWN && ok;
  end(&late);
  end(&c.workers[0]);
  end(&c.workers[1]);
  ok = dial(c.workers[0].port) == -1 && ok;
  start(&c.workers[0], c.crew, backend, 3, 0);
  start(&c.workers[1], c.crew, backend, 4, 1);
  end(&c.workers[0]);
  end(&c.workers[1]);
  for (uint32_t i = 0; i < c.client_count; i++) close(c.clients[i]);
  return mr_crew_close(c.crew) == 0 && ok;
}

// Nobody comes for what all workers have closed; what was open when the last one died is for the next one.
static bool run_trim(uint32_t backend, bool closed) {
  static struct crew c;
  bool ok = open_crew(&c, backend, MR_BALANCE_PORT, 64);
  for (int i = 0; i < 2; i++) {
    atomic_store(&c.workers[i].leaves, closed);
    while (closed && atomic_load(&c.workers[i].leaves)) nap();
  }
  ok = mr_crew_trim(c.crew) == 0 && ok;
  int used = dial(c.workers[0].port);
  end(&c.workers[0]);
  end(&c.workers[1]);
  ok = mr_crew_trim(c.crew) == 0 && used >= 0 && close(used) == 0 && ok;
  int fd = dial(c.workers[0].port);
  ok = (fd >= 0) != closed && ok;
  if (fd >= 0) close(fd);
  return mr_crew_close(c.crew) == 0 && ok;
}

static void *open_and_wait(void *context) {
  struct crew *c = context;
  if (mr_crew_open(2, MR_BALANCE_LEAST, &c->crew) != 0) exit(EXIT_FAILURE);
  atomic_store(&c->opened, true);
  while (!atomic_load(&c->abandoned)) nap();
  return NULL;
}

// Nobody is left who would replace the workers.
static bool run_abandoned(uint32_t backend) {
  static struct crew c;
  pthread_t opener;
  c = (struct crew){0};
  c.workers[0].limit = 64;
  pthread_create(&opener, NULL, open_and_wait, &c);
  while (!atomic_load(&c.opened)) nap();
  start(&c.workers[0], c.crew, backend, 0, 0);
  bool ok = c.workers[0].listening == 0;
  connect_more(&c, 1);
  ok = have_in_all(c.crew, 1) && ok;
  atomic_store(&c.abandoned, true);
  pthread_join(opener, NULL);
  c.workers[1].limit = 64;
  start(&c.workers[1], c.crew, backend, 1, 1);
  ok = c.workers[1].listening == -ESHUTDOWN && have(c.crew, 1, 0) && ok;
  ok = close_crew(&c) && ok;
  return dial(c.workers[0].port) == -1 && ok;
}

static bool run_misuse(void) {
  mr_crew *crew;
  struct mr_worker_report report;
  bool ok = mr_crew_open(0, 0, &crew) == -EINVAL && mr_crew_open(1, 7, &crew) == -EINVAL &&
            mr_crew_open(MR_CREW_SLOTS_MAX + 1, 0, &crew) == -EINVAL && mr_crew_open(1, 0, NULL) == -EINVAL;
  ok = mr_crew_open(1, 0, &crew) == 0 && ok;
  ok = mr_crew_enter(crew, MR_CREW_PLACES, 0) == -EINVAL && mr_crew_enter(crew, 0, 1) == -EINVAL && ok;
  ok = mr_crew_worker(crew, MR_CREW_PLACES, &report) == -EINVAL && ok;
  ok = mr_crew_worker(crew, 0, NULL) == -EINVAL && mr_crew_counters(crew, 0, NULL) == -EINVAL && ok;
  ok = mr_crew_wake(crew, MR_CREW_PLACES) == -EINVAL && mr_crew_vacate(crew, 1) == -EINVAL && ok;
  ok = mr_crew_worker(crew, 5, &report) == 0 && report.state == MR_WORKER_NONE && ok;
  ok = mr_crew_trim(crew) == 0 && mr_crew_close(crew) == 0 && mr_crew_close(NULL) == -EINVAL && ok;
  return ok;
}

int main(void) {
  const uint32_t backends[] = {MR_IO_URING, MR_EPOLL};
  t_case("misuse is refused", run_misuse());
  for (int i = 0; i < 2; i++) {
    uint32_t b = backends[i];
    printf("# %s\n", b == MR_EPOLL ? "epoll" : "io_uring");
    t_case("threads that end leave nothing open, and their memory to others", run_leaves_nothing(b));
    t_case("the memory of workers is told", run_memory(b));
    t_case("who has the fewest gets the next", run_least(b));
    t_case("who have as few take turns", run_turns(b));
    t_case("the limit is that of all, by port", run_limit(b, MR_BALANCE_PORT));
    t_case("the limit is that of all, handed over", run_limit(b, MR_BALANCE_LEAST));
    t_case("the limit of an address is that of all, by port", run_addresses(b, MR_BALANCE_PORT));
    t_case("the limit of an address is that of all, handed over", run_addresses(b, MR_BALANCE_LEAST));
    t_case("nobody is lost at the limit, by port", run_churn(b, MR_BALANCE_PORT));
    t_case("nobody is lost at the limit, handed over", run_churn(b, MR_BALANCE_LEAST));
    t_case("a port that others serve is in use, by port", run_taken(b, MR_BALANCE_PORT));
    t_case("a port that others serve is in use, handed over", run_taken(b, MR_BALANCE_LEAST));
    t_case("sockets outlive their worker", run_outlives(b));
    t_case("what all workers have closed is closed", run_trim(b, true));
    t_case("what was open when they died is not", run_trim(b, false));
    t_case("what waits at a vacated slot goes to others", run_vacate(b));
    t_case("what waits at a vacated slot goes to others, in turns", run_vacate_many(b));
    t_case("what a dead worker was handed goes to others", run_orphans(b, false));
    t_case("what a worker that is given up was handed goes to others", run_orphans(b, true));
    t_case("what waits is served before the end, by port", run_drain_many(b, MR_BALANCE_PORT));
    t_case("what waits is served before the end, handed over", run_drain_many(b, MR_BALANCE_LEAST));
    t_case("a crew whose opener has ended takes nobody in", run_abandoned(b));
    t_case("drain ends what is shared, by port", run_drain(b, MR_BALANCE_PORT));
    t_case("drain ends what is shared, handed over", run_drain(b, MR_BALANCE_LEAST));
  }
  return t_done();
}
