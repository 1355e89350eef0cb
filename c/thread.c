// SPDX-License-Identifier: Apache-2.0
// thread.c - closes the reactors, slabs and crews of a thread that ends without having done so, and keeps its
// arenas for others; called by arena.c, slab.c and crew.c.
//
// A worker of JavaScript may be ended at any time, with everything open. The isolate is then gone before its
// thread is, and what runs at the end of that is still the thread that opened the reactors, as io_uring
// wants. Arenas are kept and not unmapped: another isolate may have been given a view of a block.
#include "thread.h"

#include <pthread.h>
#include <stdlib.h>

#include "crew.h"
#include "reactor.h"
#include "slab.h"
#include "sys.h"

struct thread {
  struct mr_arena *arenas;
  struct mr_slab *slabs;
  struct crew_worker *worker;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool usable;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mr_arena *spare;

static void give_back(struct mr_arena *arena) {
  if (arena->reactor != NULL) reactor_abandoned(arena->reactor);
  if (arena->lost) return;
  if (arena->retained > 0) return arena_give_up(arena);
  pthread_mutex_lock(&lock);
  arena->next = spare;
  spare = arena;
  pthread_mutex_unlock(&lock);
}

static void end(void *context) {
  struct thread *thread = context;
  while (thread->arenas != NULL) {
    struct mr_arena *arena = thread->arenas;
    thread->arenas = arena->next;
    give_back(arena);
  }
  slab_abandoned(thread->slabs);
  if (thread->worker != NULL) crew_worker_gone(thread->worker);
  crew_abandoned(thread);
  free(thread);
}

static void make_key(void) {
  usable = pthread_key_create(&key, end) == 0;
}

static struct thread *current(bool make) {
  pthread_once(&once, make_key);
  if (!usable) return NULL;
  struct thread *thread = pthread_getspecific(key);
  if (thread != NULL || !make) return thread;
  thread = sys_allocate(1, sizeof(*thread));
  if (thread == NULL || pthread_setspecific(key, thread) == 0) return thread;
  free(thread);
  return NULL;
}

void thread_keep(struct mr_arena *arena) {
  struct thread *thread = current(true);
  if (thread == NULL) return;
  arena->next = thread->arenas;
  thread->arenas = arena;
}

struct mr_slab *thread_keep_slab(struct mr_slab *slab) {
  struct thread *thread = current(true);
  if (thread == NULL) return NULL;
  struct mr_slab *next = thread->slabs;
  thread->slabs = slab;
  return next;
}

struct mr_arena *thread_spare(const struct mr_options *options) {
  pthread_mutex_lock(&lock);
  struct mr_arena **found = NULL;
  for (struct mr_arena **at = &spare; *at != NULL; at = &(*at)->next) {
    if (!arena_fits(*at, options)) continue;
    found = at;
    if ((*at)->options.memory_node == options->memory_node) break;  // nothing has to be moved
  }
  struct mr_arena *arena = found == NULL ? NULL : *found;
  if (arena != NULL) *found = arena->next;
  pthread_mutex_unlock(&lock);
  if (arena != NULL) thread_keep(arena);
  return arena;
}

const struct thread *thread_self(void) {
  return current(true);
}

struct crew_worker *thread_worker(void) {
  struct thread *thread = current(false);
  return thread == NULL ? NULL : thread->worker;
}

int thread_enter(struct crew_worker *worker) {
  struct thread *thread = current(true);
  if (thread == NULL) return -ENOMEM;
  if (thread->worker != NULL) return -EBUSY;
  thread->worker = worker;
  return 0;
}
