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
#include <time.h>

#include "counter.h"
#include "crew.h"
#include "listener.h"
#include "sys.h"
#include "timer.h"
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

// Of those who have as many, it is each one's turn: connections that end at once would all be one worker's.
static bool goes_before(struct crew_member *a, struct crew_member *b) {
  uint32_t one = load_of(a), other = load_of(b);
  return one != other ? one < other : a->handed_last < b->handed_last;
}

// Who is to have the next one, or NULL.
static struct crew_member *choose(struct crew_service *s) {
  if (!has_room(s)) return NULL;
  struct crew_member *best = NULL;
  for (struct crew_member *m = s->members; m != NULL; m = m->next) {
    if (m->retired || atomic_load(&m->handed) == HANDED_MAX) continue;
    if (best == NULL || goes_before(m, best)) best = m;
  }
  return best;
}

static void hand(struct crew_member *member, int fd) {
  uint32_t handed = atomic_load(&member->handed);
  member->fds[handed] = fd;
  member->handed_last = ++member->service->handed;
  atomic_store(&member->handed, handed + 1);
  if (handed == 0) wake_send(member->reactor->wake_here);
}

// Nobody will be served whom nobody has room for.
static void hand_or_close(struct crew_service *s, int fd) {
  struct crew_member *member = choose(s);
  if (member != NULL) {
    hand(member, fd);
  } else {
    close(fd);
  }
}

void acceptor_take_back(struct crew_member *member) {
  uint32_t handed = atomic_exchange(&member->handed, 0);
  for (uint32_t i = 0; i < handed; i++) hand_or_close(member->service, member->fds[i]);
}

static bool is_manned(const struct crew_service *s) {
  const struct crew_member *m = s->members;
  while (m != NULL && m->retired) m = m->next;
  return m != NULL;
}

// The same, and when all have been handed as much as they may, waits until a deadline for one that comes for
// it.
static struct crew_member *choose_by(struct crew_service *s, const struct timespec *deadline) {
  struct crew_member *member;
  int rc = 0;
  while ((member = choose(s)) == NULL && rc == 0 && has_room(s) && is_manned(s)) {
    rc = pthread_cond_clockwait(&s->room, &s->crew->lock, CLOCK_MONOTONIC, deadline);
  }
  return member;
}

uint32_t acceptor_pass_on(struct crew_service *s, int listening) {
  uint32_t count = 0;
  struct crew_member *member;
  const uint64_t end = timer_now() + PASS_ON_MS;
  const struct timespec deadline = {.tv_sec = (time_t)(end / 1000), .tv_nsec = (long)(end % 1000) * 1000000};
  fcntl(listening, F_SETFL, O_NONBLOCK);
  for (int failures = 0; failures < ACCEPTS_MAX && (member = choose_by(s, &deadline)) != NULL;) {
    int fd = sys_accept(listening, SOCK_CLOEXEC);
    if (fd >= 0) {
      hand(member, fd);
      count++;
    } else if (errno == EAGAIN || !listener_harmless(errno)) {
      break;
    } else {
      failures++;
    }
  }
  return count;
}

// Accepts one, without the lock: no turn is to wait for these system calls. -1 after it has slept, until
// somebody connects or, where accepting fails for another reason, for a while.
static int accept_one(const struct crew_service *s) {
  int fd = sys_accept(s->fds[0], SOCK_CLOEXEC);
  if (fd >= 0) return fd;
  bool none = errno == EAGAIN;
  // What is of one connection is over at once, unless it is a rule that forbids all.
  int pause = listener_harmless(errno) ? 1 : ACCEPT_PAUSE_MS;
  struct pollfd fds[] = {{.fd = s->stop, .events = POLLIN}, {.fd = s->fds[0], .events = POLLIN}};
  poll(fds, none ? 2 : 1, none ? -1 : pause);
  return -1;
}

static void *acceptor_main(void *context) {
  struct crew_service *s = context;
  int fd = -1;  // accepted, and nobody's yet
  pthread_mutex_lock(&s->crew->lock);
  while (!s->stopping) {
    struct crew_member *member = choose(s);
    if (member == NULL) {
      pthread_cond_wait(&s->room, &s->crew->lock);
    } else if (fd >= 0) {
      hand(member, fd);
      fd = -1;
    } else {
      pthread_mutex_unlock(&s->crew->lock);
      fd = accept_one(s);
      pthread_mutex_lock(&s->crew->lock);
    }
  }
  if (fd >= 0) hand_or_close(s, fd);
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
