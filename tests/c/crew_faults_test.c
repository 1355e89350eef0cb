// SPDX-License-Identifier: Apache-2.0
// crew_faults_test.c - a worker that cannot join its crew, since memory, descriptors or a thread are not to
// be had: it is told, nothing of the attempt is left, and the next one succeeds.
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>

#include "backend.h"
#include "check.h"
#include "faults.h"
#include "harness.h"
#include "millrace.h"

enum { FAULTS_MAX = 64 };

static mr_crew *crew;

static int descriptors(void) {
  DIR *directory = opendir("/proc/self/fd");
  int count = 0;
  while (readdir(directory) != NULL) count++;
  closedir(directory);
  return count;
}

static int32_t listen_shared(mr_reactor *reactor) {
  const struct mr_listen_options where = {.flags = MR_SHARED, .backlog = 16, .host = "127.0.0.1"};
  return mr_listen(reactor, &where, NULL);
}

// Each call of a kind fails once, until listening takes no more of them.
static bool each_fails(mr_reactor *reactor, enum sys_call call) {
  int before = descriptors();
  for (uint32_t skip = 0; skip < FAULTS_MAX; skip++) {
    t_faults_clear();
    t_fault(call, skip, 1, ENOMEM);
    int32_t listening = listen_shared(reactor);
    uint32_t fired = t_faults_fired();
    t_faults_clear();
    if (fired == 0) return skip > 0 && listening == 0;
    if (listening != -ENOMEM || descriptors() != before) {
      printf("# %s %u: %d\n", t_fault_name(call), skip, listening);
      return false;
    }
  }
  return false;
}

struct attempt {
  enum sys_call call;
  uint32_t place;
  bool ok;
};

// Ends with all of it open, which is the crew's business elsewhere.
static void *attempt(void *context) {
  struct attempt *a = context;
  const struct mr_options options = t_options(MR_EPOLL);
  mr_arena *arena = NULL;
  mr_reactor *reactor = NULL;
  char reason[MR_TEXT_BYTES];
  a->ok = mr_crew_enter(crew, 0, 0) == 0 && mr_arena_open(&options, &arena) == 0 &&
          mr_open(arena, &options, &reactor, reason) == 0 && each_fails(reactor, a->call);
  return NULL;
}

// A limit that was set before would be that of one worker, and nobody would free it.
static void *limit_first(void *context) {
  bool *ok = context;
  const struct mr_options options = t_options(MR_EPOLL);
  mr_arena *arena = NULL;
  mr_reactor *reactor = NULL;
  char reason[MR_TEXT_BYTES];
  *ok = mr_crew_enter(crew, 0, 0) == 0 && mr_arena_open(&options, &arena) == 0 &&
        mr_open(arena, &options, &reactor, reason) == 0 && mr_limit_addresses(reactor, 1) == 0 &&
        listen_shared(reactor) == -EINVAL;
  return NULL;
}

static bool run_limit_first(void) {
  pthread_t thread;
  bool ok = false;
  if (mr_crew_open(1, MR_BALANCE_PORT, &crew) != 0) return false;
  pthread_create(&thread, NULL, limit_first, &ok);
  pthread_join(thread, NULL);
  return mr_crew_close(crew) == 0 && ok;
}

static bool run(uint32_t balance, const enum sys_call *calls, uint32_t count) {
  bool ok = true;
  for (uint32_t i = 0; i < count; i++) {
    struct attempt a = {.call = calls[i]};
    pthread_t thread;
    int before = descriptors();
    ok = mr_crew_open(3, balance, &crew) == 0 && ok;
    pthread_create(&thread, NULL, attempt, &a);
    pthread_join(thread, NULL);
    ok = mr_crew_close(crew) == 0 && a.ok && descriptors() == before && ok;
  }
  return ok;
}

static void stop_nothing(struct mr_reactor *r, struct conn *c) {
  (void)r;
  (void)c;
}

static int close_in_vain(struct mr_reactor *r) {
  backend_epoll.close(r);
  return -EBUSY;
}

static int dial(uint32_t port) {
  struct sockaddr_in to = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0) return fd;
  close(fd);
  return -1;
}

// One connection is all that an address may have. The worker of it ends as if the kernel kept that.
static bool serve_one(uint32_t place) {
  static mr_arena *arenas[2];  // nobody else will have them again
  const struct mr_options options = t_options(MR_EPOLL);
  mr_reactor *reactor = NULL;
  char text[MR_TEXT_BYTES];
  if (mr_crew_enter(crew, place, 0) != 0 || mr_arena_open(&options, &arenas[place]) != 0 ||
      mr_open(arenas[place], &options, &reactor, text) != 0 || listen_shared(reactor) != 0 ||
      mr_limit_addresses(reactor, 1) != 0 || mr_listen_address(reactor, 0, text) != 0) {
    return false;
  }
  int client = dial((uint32_t)atoi(strchr(text, ' ') + 1));
  for (int ms = 0; ms < T_DEADLINE_MS && reactor->control->accepted == 0; ms++) {
    if (mr_poll(reactor) == 0) poll(NULL, 0, 1);
  }
  static struct backend stuck;
  stuck = backend_epoll;
  stuck.stop = stop_nothing;
  stuck.close = close_in_vain;
  reactor->backend = &stuck;
  bool ok = reactor->control->connections == 1 && reactor->control->address_refusals == 0;
  close(client);
  return ok;
}

static void *serve_in_place(void *context) {
  struct attempt *a = context;
  a->ok = serve_one(a->place);
  return NULL;
}

static bool run_stuck(void) {
  bool ok = mr_crew_open(1, MR_BALANCE_PORT, &crew) == 0;
  for (uint32_t place = 0; place < 2; place++) {
    struct attempt a = {.place = place};
    pthread_t thread;
    pthread_create(&thread, NULL, serve_in_place, &a);
    pthread_join(thread, NULL);
    ok = a.ok && ok;
  }
  return mr_crew_close(crew) == 0 && ok;
}

int main(void) {
  const enum sys_call calls[] = {SYS_ALLOCATE, SYS_SOCKET,  SYS_BIND,  SYS_LISTEN,
                                 SYS_DUP,      SYS_EVENTFD, SYS_THREAD};
  // The last two are what another thread needs that accepts.
  t_case("who cannot join leaves nothing, by port", run(MR_BALANCE_PORT, calls, 5));
  t_case("who cannot join leaves nothing, handed over", run(MR_BALANCE_LEAST, calls, 7));
  t_case("the limit of an address is set behind that", run_limit_first());
  t_case("connections that the kernel keeps count no longer for their address", run_stuck());
  return t_done();
}
