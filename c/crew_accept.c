// SPDX-License-Identifier: Apache-2.0
// crew_accept.c - accepts for the workers of a crew and hands each socket to the one that has the fewest;
// called by crew.c.
//
// It has a thread of its own, so that no worker that is busy or gone holds up what others could serve.
// Sockets that all workers are too full for stay in the kernel's queue.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "counter.h"
#include "crew.h"
#include "listener.h"
#include "sys.h"
#include "wake.h"

static uint32_t load_of(struct crew_member *m) {
  uint32_t connections = gauge_read(&m->reactor->control->connections);
  return connections + HANDED_WEIGHT * atomic_load(&m->handed);
}

static bool has_room(const struct crew_service *s) {
  unsigned handed = 0;
  for (struct crew_member *m = s->members; m != NULL; m = m->next) handed += atomic_load(&m->handed);
  return atomic_load(&s->connections) + handed < s->limit;
}

// Who is to have the next one, or NULL.
static struct crew_member *choose(struct crew_service *s) {
  if (!has_room(s)) return NULL;
  struct crew_member *best = NULL;
  for (struct crew_member *m = s->members; m != NULL; m = m->next) {
    if (m->retired || atomic_load(&m->handed) == HANDED_MAX) continue;
    if (best == NULL || load_of(m) < load_of(best)) best = m;
  }
  return best;
}

static void hand(struct crew_member *member, int fd) {
  uint32_t handed = atomic_load(&member->handed);
  member->fds[handed] = fd;
  atomic_store(&member->handed, handed + 1);
  if (handed == 0) wake_send(member->reactor->wake_here);
}

// The others of a burst follow while one is being woken.
static int accept_one(int fd) {
  return sys_accept(fd, SOCK_CLOEXEC);
}

uint32_t acceptor_pass_on(struct crew_service *s, int listening) {
  uint32_t count = 0;
  fcntl(listening, F_SETFL, O_NONBLOCK);
  for (int failures = 0; failures < ACCEPTS_MAX;) {
    int fd = accept_one(listening);
    if (fd < 0 && (errno == EAGAIN || !listener_harmless(errno))) break;
    struct crew_member *member = fd < 0 ? NULL : choose(s);
    if (member != NULL) {
      hand(member, fd);
      count++;
    } else {
      failures++;
      if (fd >= 0) close(fd);
    }
  }
  return count;
}

// Sleeps until somebody connects; or for so many milliseconds, when that is not what is waited for.
static void await(const struct crew_service *s, bool connections, int ms) {
  struct pollfd fds[] = {{.fd = s->stop, .events = POLLIN}, {.fd = s->fds[0], .events = POLLIN}};
  poll(fds, connections ? 2 : 1, ms);
}

// With the lock held, which it gives up while it waits.
static void accept_next(struct crew_service *s) {
  // Chosen once: who takes what was handed over is counted twice for a moment, as if there were no room.
  struct crew_member *member = choose(s);
  if (member == NULL) {
    pthread_cond_wait(&s->room, &s->crew->lock);
    return;
  }
  int fd = accept_one(s->fds[0]);
  if (fd >= 0) {
    hand(member, fd);
    return;
  }
  bool none = errno == EAGAIN;
  if (!none && listener_harmless(errno)) return;
  pthread_mutex_unlock(&s->crew->lock);
  await(s, none, none ? -1 : ACCEPT_PAUSE_MS);
  pthread_mutex_lock(&s->crew->lock);
}

static void *acceptor_main(void *context) {
  struct crew_service *s = context;
  pthread_mutex_lock(&s->crew->lock);
  while (!s->stopping) accept_next(s);
  pthread_mutex_unlock(&s->crew->lock);
  return NULL;
}

int acceptor_start(struct crew_service *s) {
  fcntl(s->fds[0], F_SETFL, O_NONBLOCK);
  s->stop = sys_failed(SYS_EVENTFD) ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (s->stop < 0 || sys_failed(SYS_THREAD)) return -errno;
  // Signals are the application's: none is to be delivered to this thread.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int rc = pthread_create(&s->acceptor, NULL, acceptor_main, s);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  s->handing = rc == 0;
  return -rc;
}

void acceptor_stop(struct crew_service *s) {
  if (s->stopping) return;
  s->stopping = true;
  eventfd_write(s->stop, 1);
  pthread_cond_broadcast(&s->room);
  // It needs the lock to end.
  pthread_mutex_unlock(&s->crew->lock);
  pthread_join(s->acceptor, NULL);
  pthread_mutex_lock(&s->crew->lock);
}
