// SPDX-License-Identifier: Apache-2.0
// crew_faults_test.c - a worker that cannot join its crew, since memory, descriptors or a thread are not to
// be had: it is told, nothing of the attempt is left, and the next one succeeds.
#include <dirent.h>
#include <errno.h>
#include <pthread.h>

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

int main(void) {
  const enum sys_call port[] = {SYS_ALLOCATE, SYS_SOCKET, SYS_BIND, SYS_LISTEN, SYS_DUP};
  const enum sys_call least[] = {SYS_ALLOCATE, SYS_SOCKET,  SYS_BIND,  SYS_LISTEN,
                                 SYS_DUP,      SYS_EVENTFD, SYS_THREAD};
  t_case("who cannot join leaves nothing, by port",
         run(MR_BALANCE_PORT, port, sizeof(port) / sizeof(port[0])));
  t_case("who cannot join leaves nothing, handed over",
         run(MR_BALANCE_LEAST, least, sizeof(least) / sizeof(least[0])));
  t_case("the limit of an address is set behind that", run_limit_first());
  return t_done();
}
