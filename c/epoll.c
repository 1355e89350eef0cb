// SPDX-License-Identifier: Apache-2.0
// epoll.c - the reactor's dialect of epoll: level-triggered; chosen by reactor.c.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "conn.h"
#include "inbox.h"
#include "listener.h"
#include "sys.h"
#include "timer.h"
#include "wake.h"

// What an event belongs to: listeners and the timer above all handles' generations.
#define TAG_LISTENER ((uint64_t)1 << 32)
#define TAG_TIMER ((uint64_t)2 << 32)

struct state {
  int fd;
  struct wake_thread *wake;
  struct epoll_event *events;
  int count;  // of the last wait, and how many of them were dealt with: a turn may have had enough before the
              // last
  int done;
};

static int epoll_fd(const struct mr_reactor *r) {
  return ((const struct state *)r->state)->fd;
}

static int failed(struct mr_reactor *r, const char *step) {
  int error = errno;
  snprintf(r->reason, sizeof(r->reason), "%s failed: %s", step, strerrorname_np(error));
  return -error;
}

static int epoll_backend_open(struct mr_reactor *r) {
  struct state *s = calloc(1, sizeof(*s));
  if (s == NULL) return -ENOMEM;
  r->state = s;
  s->fd = sys_epoll_create();
  if (s->fd < 0) return failed(r, "epoll_create1");
  s->events = calloc(r->options->batch, sizeof(*s->events));
  if (s->events == NULL) return -ENOMEM;
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = TAG_TIMER};
  if (sys_epoll_ctl(s->fd, EPOLL_CTL_ADD, r->timer_fd, &event) != 0) return failed(r, "epoll_ctl");
  int rc = wake_thread_open(&s->wake, s->fd, r->wake_here);
  if (rc == 0) return 0;
  errno = -rc;
  return failed(r, "starting the wake thread");
}

static int epoll_backend_close(struct mr_reactor *r) {
  struct state *s = r->state;
  wake_thread_close(s->wake);
  if (s->fd >= 0) close(s->fd);
  free(s->events);
  free(s);
  r->state = NULL;
  return 0;
}

static int accept_start(struct mr_reactor *r, uint32_t id) {
  struct listener *l = &r->listeners[id];
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = TAG_LISTENER | id};
  if (sys_epoll_ctl(epoll_fd(r), EPOLL_CTL_ADD, l->fd, &event) != 0) return -errno;
  fcntl(l->fd, F_SETFL, O_NONBLOCK);
  l->armed = true;
  return 0;
}

static void accept_stop(struct mr_reactor *r, uint32_t id) {
  struct listener *l = &r->listeners[id];
  if (l->armed) epoll_ctl(epoll_fd(r), EPOLL_CTL_DEL, l->fd, NULL);
  l->armed = false;
}

// Brings the mask in the kernel up to date; most turns find it so already.
static void watch(struct mr_reactor *r, struct conn *c) {
  uint8_t events = (conn_wants_input(c) ? EPOLLIN : 0) | (c->sending || c->awaiting ? EPOLLOUT : 0);
  if (events == c->events) return;
  struct epoll_event event = {.events = events, .data.u64 = c->handle};
  int op = c->receiving ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (sys_epoll_ctl(epoll_fd(r), op, c->fd, &event) != 0) {
    conn_close(r, c, (uint16_t)errno);
    return;
  }
  c->receiving = true;
  c->events = events;
}

static void receive(struct mr_reactor *r, struct conn *c) {
  if (c->life != LIFE_CLOSING) watch(r, c);
}

static void send_queued(struct mr_reactor *r, struct conn *c) {
  struct iovec parts[SEND_BLOCKS_MAX];
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = conn_output_parts(r, c, parts)};
  ssize_t sent = sys_sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT | conn_more(c));
  if (sent < 0 && errno != EAGAIN && errno != EINTR) {
    conn_close(r, c, (uint16_t)errno);
    return;
  }
  if (sent > 0) conn_sent(r, c, (uint32_t)sent);
  if (c->life == LIFE_CLOSING || c->out_head != NO_BLOCK) return;
  c->sending = false;
  watch(r, c);
}

// What is staged is tried at once; a queue exists only because the socket was full, so it waits for room.
static void epoll_backend_send(struct mr_reactor *r, struct conn *c) {
  if (c->staged_length > 0) {
    conn_send_now(r, c);
  } else if (!c->sending) {
    c->sending = true;
    watch(r, c);
  }
}

static ssize_t send_file(struct mr_reactor *r, struct conn *c, size_t count) {
  (void)r;
  return conn_sendfile(c, count);
}

static void await_room(struct mr_reactor *r, struct conn *c) {
  c->awaiting = true;
  watch(r, c);
}

static void stop(struct mr_reactor *r, struct conn *c) {
  // Only the last descriptor of a socket takes it out of the set when it is closed.
  if (c->adopted && c->receiving) epoll_ctl(epoll_fd(r), EPOLL_CTL_DEL, c->fd, NULL);
  conn_released(r, c);
}

static void on_listener(struct mr_reactor *r, uint32_t id) {
  for (int i = 0; i < ACCEPTS_MAX && r->listeners[id].armed && inbox_has_room(r); i++) {
    int fd = sys_accept(r->listeners[id].fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      listener_failed(r, id, errno);
      return;
    }
    listener_accepted(r, id, fd);
  }
}

static void on_writable(struct mr_reactor *r, struct conn *c) {
  if (c->awaiting) {
    c->awaiting = false;
    conn_room(r, c);
    if (c->life != LIFE_CLOSING) watch(r, c);
  } else if (c->sending) {
    send_queued(r, c);
  }
}

static void on_conn(struct mr_reactor *r, struct conn *c, uint32_t events) {
  if ((events & EPOLLOUT) != 0) on_writable(r, c);
  if (c->life == LIFE_CLOSING) return;
  if ((events & EPOLLIN) != 0) {
    if (conn_wants_input(c)) conn_read(r, c);
  } else if ((events & EPOLLERR) != 0 || ((events & EPOLLHUP) != 0 && c->life == LIFE_FINISHING)) {
    conn_close(r, c, conn_socket_error(c));
  } else if ((events & EPOLLHUP) != 0) {
    // Both sides have ended, and what is not parsed yet is still wanted. A hang-up is reported for as long as
    // the socket is in the set.
    epoll_ctl(epoll_fd(r), EPOLL_CTL_DEL, c->fd, NULL);
    c->receiving = false;
    c->events = 0;
  }
}

static int epoll_backend_poll(struct mr_reactor *r) {
  struct state *s = r->state;
  uint32_t reserve = arena_reserve(r->arena);
  conn_feed(r, r->arena->free_count > reserve ? r->arena->free_count - reserve : 0);
  if (s->done == s->count) {
    s->done = 0;
    s->count = sys_epoll_wait(s->fd, s->events, (int)r->options->batch, 0);
    if (s->count < 0) {
      s->count = 0;
      return errno == EINTR ? 0 : -errno;
    }
  }
  while (s->done < s->count && r->bytes_left > 0) {
    int i = s->done++;
    uint64_t tag = s->events[i].data.u64;
    if (tag == TAG_TIMER) {
      timer_fired(r);
    } else if ((tag & TAG_LISTENER) != 0) {
      on_listener(r, (uint32_t)tag);
    } else {
      struct conn *c = conn_find(r, (uint32_t)tag);
      if (c != NULL) on_conn(r, c, s->events[i].events);
    }
  }
  return 0;
}

static int epoll_backend_arm(struct mr_reactor *r) {
  struct state *s = r->state;
  if (s->done < s->count) return 1;
  return wake_thread_arm(s->wake);
}

const struct backend backend_epoll = {
    .name = "epoll",
    .open = epoll_backend_open,
    .close = epoll_backend_close,
    .accept_start = accept_start,
    .accept_stop = accept_stop,
    .receive = receive,
    .send = epoll_backend_send,
    .send_file = send_file,
    .await_room = await_room,
    .stop = stop,
    .poll = epoll_backend_poll,
    .arm = epoll_backend_arm,
};
