// SPDX-License-Identifier: Apache-2.0
// wake.c - the wake chain of io_uring and the wake thread of epoll; called by uring.c and epoll.c.
#include "wake.h"

#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "sys.h"

#define CHAIN_ENTRIES 4
#define CHAIN_POLL 1
#define CHAIN_SEND 2

static const char wake_byte = 1;

void wake_send(int socket) {
  (void)!send(socket, &wake_byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

struct wake_chain {
  struct io_uring ring;
  int event_fd;
  int socket;
  bool armed;
};

int wake_chain_open(struct wake_chain **out, int event_fd, int socket) {
  struct wake_chain *chain = calloc(1, sizeof(*chain));
  if (chain == NULL) return -ENOMEM;
  chain->event_fd = event_fd;
  chain->socket = socket;
  // No COOP_TASKRUN and no DEFER_TASKRUN: the completion of the poll has to interrupt Deno's epoll_wait,
  // since the linked send is issued in that thread's context.
  int rc = sys_failed(SYS_URING_SETUP) ? -errno : io_uring_queue_init(CHAIN_ENTRIES, &chain->ring, 0);
  if (rc != 0) {
    free(chain);
    return rc;
  }
  *out = chain;
  return 0;
}

static void chain_reap(struct wake_chain *chain) {
  struct io_uring_cqe *cqe;
  while (io_uring_peek_cqe(&chain->ring, &cqe) == 0) {
    if (cqe->user_data == CHAIN_SEND) chain->armed = false;
    io_uring_cqe_seen(&chain->ring, cqe);
  }
}

void wake_chain_close(struct wake_chain *chain) {
  if (chain == NULL) return;
  // The poll is cancelled with the ring; nothing of it refers to memory of ours.
  io_uring_queue_exit(&chain->ring);
  free(chain);
}

int wake_chain_arm(struct wake_chain *chain) {
  chain_reap(chain);
  if (chain->armed) return 0;
  // What an earlier submission could not hand over is still in the queue.
  if (io_uring_sq_ready(&chain->ring) == 0) {
    struct io_uring_sqe *poll = io_uring_get_sqe(&chain->ring);
    struct io_uring_sqe *wake = io_uring_get_sqe(&chain->ring);
    if (poll == NULL || wake == NULL) return -EBUSY;
    io_uring_prep_poll_add(poll, chain->event_fd, POLLIN);
    poll->flags |= IOSQE_IO_LINK;
    poll->user_data = CHAIN_POLL;
    io_uring_prep_send(wake, chain->socket, &wake_byte, 1, MSG_NOSIGNAL);
    wake->user_data = CHAIN_SEND;
  }
  int rc = sys_failed(SYS_URING_ENTER) ? -errno : io_uring_submit(&chain->ring);
  if (rc < 0) return rc;
  chain->armed = true;
  return 0;
}

// The thread waits on an outer epoll set that holds the reactor's set, one-shot: arming is one epoll_ctl in
// the reactor's thread, wakes nobody, and notices what is ready already.
struct wake_thread {
  pthread_t thread;
  int outer;
  int inner;
  int stop;  // eventfd
  int socket;
  bool started;
};

static void *thread_main(void *context) {
  const struct wake_thread *thread = context;
  for (;;) {
    struct epoll_event event;
    int count = epoll_wait(thread->outer, &event, 1, -1);
    if (count == 1 && event.data.fd == thread->stop) return NULL;
    if (count == 1) wake_send(thread->socket);
    if (count < 0 && errno != EINTR) return NULL;
  }
}

// Signals are the application's: none is to be delivered to this thread.
static int thread_start(struct wake_thread *thread) {
  if (sys_failed(SYS_THREAD)) return -errno;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int rc = pthread_create(&thread->thread, NULL, thread_main, thread);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  thread->started = rc == 0;
  return -rc;
}

static int thread_watch(struct wake_thread *thread) {
  struct epoll_event stop = {.events = EPOLLIN, .data.fd = thread->stop};
  struct epoll_event inner = {.events = 0, .data.fd = thread->inner};
  if (thread->outer < 0 || thread->stop < 0) return -errno;
  if (sys_epoll_ctl(thread->outer, EPOLL_CTL_ADD, thread->stop, &stop) != 0) return -errno;
  if (sys_epoll_ctl(thread->outer, EPOLL_CTL_ADD, thread->inner, &inner) != 0) return -errno;
  return thread_start(thread);
}

int wake_thread_open(struct wake_thread **out, int epoll_fd, int socket) {
  struct wake_thread *thread = calloc(1, sizeof(*thread));
  if (thread == NULL) return -ENOMEM;
  thread->inner = epoll_fd;
  thread->socket = socket;
  thread->outer = sys_epoll_create();
  thread->stop = sys_failed(SYS_EVENTFD) ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  int rc = thread_watch(thread);
  if (rc != 0) {
    wake_thread_close(thread);
    return rc;
  }
  *out = thread;
  return 0;
}

void wake_thread_close(struct wake_thread *thread) {
  if (thread == NULL) return;
  if (thread->started) {
    eventfd_write(thread->stop, 1);
    pthread_join(thread->thread, NULL);
  }
  if (thread->outer >= 0) close(thread->outer);
  if (thread->stop >= 0) close(thread->stop);
  free(thread);
}

int wake_thread_arm(struct wake_thread *thread) {
  struct epoll_event inner = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = thread->inner};
  return sys_epoll_ctl(thread->outer, EPOLL_CTL_MOD, thread->inner, &inner) != 0 ? -errno : 0;
}
