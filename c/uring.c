// SPDX-License-Identifier: Apache-2.0
// uring.c - the reactor's dialect of io_uring: multishot accept and receive, provided buffers, polls where
// much comes, one send in flight for each socket; chosen by reactor.c. Needs Linux 6.1.
//
// Rules that this file keeps: a completion without IORING_CQE_F_MORE ends its operation and is the only thing
// that does; a socket is closed only when none of its operations is left; memory that the kernel was given
// stays until then.
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "backend.h"
#include "conn.h"
#include "listener.h"
#include "sys.h"
#include "timer.h"
#include "uring_setup.h"
#include "uring_tag.h"
#include "wake.h"

// Enters of one poll: the kernel runs some twenty completions in each, so that a busy turn takes several.
#define ENTERS_MAX 32

// One part in this many of the receive buffers is left to the kernel's last enter of a poll: small messages
// take one for each completion.
#define KEPT_PART 8

// Completions that an enter brings which also submits: twice those of another.
#define SUBMIT_COMPLETIONS 40

// The kernel reads a send's message when it is submitted, so one for each submission entry is enough.
struct message {
  struct msghdr header;
  struct iovec parts[SEND_BLOCKS_MAX];
};

struct state {
  struct io_uring ring;
  struct io_uring_buf_ring *buffers;
  struct message *messages;
  struct wake_chain *wake;
  uint32_t buffers_given;  // receive buffers that the kernel has
  uint32_t ops;            // operations that the kernel has
  uint32_t direct;         // sends straight from the outbox among them
  bool reaping;            // completions are being looked at
  uint32_t enters;         // of this turn
  uint32_t reaped;         // completions of this turn
  int event_fd;
};

static struct io_uring_sqe *get_sqe(struct mr_reactor *r) {
  struct state *s = r->state;
  struct io_uring_sqe *sqe = io_uring_get_sqe(&s->ring);
  if (sqe == NULL) {
    io_uring_submit(&s->ring);
    sqe = io_uring_get_sqe(&s->ring);
  }
  if (sqe == NULL) return NULL;
  memset(sqe, 0, sizeof(*sqe));
  s->ops++;
  return sqe;
}

// To be called last: liburing's prep functions may clear user_data.
static void set_tag(struct io_uring_sqe *sqe, enum uring_op op, uint32_t id) {
  sqe->user_data = uring_tag(op, id);
}

// False when the submission queue is full; what is to be cancelled then goes on for now.
static bool cancel(struct mr_reactor *r, enum uring_op op, uint32_t id, struct conn *c) {
  uint32_t owner = c == NULL ? 0 : c->handle;
  struct io_uring_sqe *sqe = get_sqe(r);
  if (sqe == NULL) return false;
  io_uring_prep_cancel64(sqe, uring_tag(op, id), 0);
  set_tag(sqe, URING_CANCEL, owner);
  if (c != NULL) c->ops++;
  return true;
}

// Gives free blocks to the kernel until it has as many as the ring holds.
static void buffers_refill(struct mr_reactor *r) {
  struct state *s = r->state;
  uint32_t count = r->options->receive_buffers;
  int added = 0;
  while (s->buffers_given < count) {
    if (r->arena->free_count <= arena_reserve(r->arena)) break;
    uint32_t block = block_get(r->arena);
    io_uring_buf_ring_add(s->buffers, block_at(r->arena, block) + HEADROOM, DATA_BYTES, (uint16_t)block,
                          (int)count - 1, added++);
    s->buffers_given++;
  }
  if (added > 0) io_uring_buf_ring_advance(s->buffers, added);
}

static void arm_timer(struct mr_reactor *r) {
  struct io_uring_sqe *sqe = get_sqe(r);
  if (sqe == NULL) return;
  io_uring_prep_poll_multishot(sqe, r->timer_fd, POLLIN);
  set_tag(sqe, URING_TIMER, 0);
}

static int failed(struct mr_reactor *r, const char *step, int error) {
  snprintf(r->reason, sizeof(r->reason), "%s failed: %s%s", step, strerrorname_np(-error),
           uring_failure_hint(error));
  return error;
}

static int state_open(struct mr_reactor *r, struct state *s) {
  s->messages = calloc(r->options->ring_entries, sizeof(*s->messages));
  if (s->messages == NULL) return failed(r, "allocating", -ENOMEM);
  int rc = uring_ring_open(&s->ring, r->options->ring_entries);
  if (rc != 0) return failed(r, "io_uring_setup", rc);
  rc = uring_buffers_open(&s->ring, r->options->receive_buffers, &s->buffers);
  if (rc != 0) return failed(r, "registering a buffer ring", rc);
  s->event_fd = sys_failed(SYS_EVENTFD) ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (s->event_fd < 0) return failed(r, "eventfd", -errno);
  rc = sys_failed(SYS_URING_REGISTER) ? -errno : io_uring_register_eventfd(&s->ring, s->event_fd);
  if (rc != 0) return failed(r, "registering an eventfd", rc);
  // Saves a look-up of the ring's descriptor in each enter; old kernels do without.
  io_uring_register_ring_fd(&s->ring);
  rc = wake_chain_open(&s->wake, s->event_fd, r->wake_here);
  if (rc != 0) return failed(r, "opening the wake ring", rc);
  return 0;
}

static int uring_open(struct mr_reactor *r) {
  struct state *s = calloc(1, sizeof(*s));
  if (s == NULL) return -ENOMEM;
  s->ring.ring_fd = -1;
  s->event_fd = -1;
  r->state = s;
  int rc = state_open(r, s);
  if (rc != 0) return rc;
  buffers_refill(r);
  rc = uring_self_test(&s->ring);
  if (rc < 0) return failed(r, "a multishot receive", rc);
  block_put(r->arena, (uint32_t)rc);
  s->buffers_given--;
  arm_timer(r);
  return 0;
}

static int uring_accept_start(struct mr_reactor *r, uint32_t id) {
  struct listener *l = &r->listeners[id];
  struct io_uring_sqe *sqe = get_sqe(r);
  if (sqe == NULL) return -EBUSY;
  // Not SOCK_NONBLOCK: the kernel would answer EAGAIN instead of waiting for room in a socket.
  io_uring_prep_multishot_accept(sqe, l->fd, NULL, NULL, SOCK_CLOEXEC);
  set_tag(sqe, URING_ACCEPT, id);
  l->armed = true;
  l->stopping = false;
  return 0;
}

static void uring_accept_stop(struct mr_reactor *r, uint32_t id) {
  struct listener *l = &r->listeners[id];
  if (!l->armed || l->stopping) return;
  l->stopping = cancel(r, URING_ACCEPT, id, NULL);
}

// A multishot receive delivers all that the socket holds before anyone can stop it: not for a connection that
// does not keep up.
static bool keeps_up(const struct conn *c) {
  return !c->paused && !c->held && c->in_blocks <= 1;
}

// A receive of the ring takes a block at a time: where much comes, one read of many takes its place.
static bool wants_poll(const struct conn *c) {
  return c->polls_left > 0;
}

static enum uring_op recv_op(const struct conn *c) {
  return c->recv_poll ? URING_READABLE : URING_RECV;
}

static void arm_receive(struct mr_reactor *r, struct conn *c) {
  struct io_uring_sqe *sqe = get_sqe(r);
  if (sqe == NULL) {
    conn_close(r, c, EBUSY);
    return;
  }
  c->recv_poll = wants_poll(c);
  c->recv_multishot = !c->recv_poll && keeps_up(c);
  if (c->recv_poll) {
    io_uring_prep_poll_add(sqe, c->fd, POLLIN);
  } else if (c->recv_multishot) {
    io_uring_prep_recv_multishot(sqe, c->fd, NULL, 0, 0);
  } else {
    io_uring_prep_recv(sqe, c->fd, NULL, 0, 0);
  }
  if (!c->recv_poll) {
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = URING_BUFFER_GROUP;
  }
  set_tag(sqe, recv_op(c), c->handle);
  c->recv_armed = true;
  c->recv_stopping = false;
  c->ops++;
}

// While nothing is received, no receive fails when the peer resets. The poll ends at a FIN too, behind which
// a reset is heard of by the next send, and is not begun anew: it would end at once.
static void watch(struct mr_reactor *r, struct conn *c) {
  struct io_uring_sqe *sqe = get_sqe(r);
  if (sqe == NULL) return;
  io_uring_prep_poll_add(sqe, c->fd, POLLERR);
  set_tag(sqe, URING_WATCH, c->handle);
  c->watched = true;
  c->ops++;
}

static void uring_receive(struct mr_reactor *r, struct conn *c) {
  if (c->in_readable) return;  // read_readable goes on
  bool wanted = conn_wants_input(c);
  bool as_armed = wanted && c->recv_poll == wants_poll(c) && (!c->recv_multishot || keeps_up(c));
  if (wanted && !c->recv_armed) {
    arm_receive(r, c);
  } else if (!as_armed && c->recv_armed && !c->recv_stopping) {
    c->recv_stopping = cancel(r, recv_op(c), c->handle, c);
  } else if (!wanted && !c->recv_armed && !c->watched && !c->ended && c->life == LIFE_OPEN) {
    watch(r, c);
  }
}

// Whether a turn enters once more, with so many buffers to spare. A receive that finds no buffer ends and has
// to be begun anew, which costs more than the next turn, when buffers are there again.
static bool goes_on(const struct mr_reactor *r, uint32_t spare) {
  const struct state *s = r->state;
  return s->enters < ENTERS_MAX && s->reaped < r->options->ring_entries &&
         s->buffers_given > r->options->receive_buffers / KEPT_PART + spare;
}

static void reap(struct mr_reactor *r);

static void uring_send(struct mr_reactor *r, struct conn *c) {
  if (c->sending) return;
  struct state *s = r->state;
  bool direct = c->staged_length > 0;
  // The answer of a route, near the end of a turn: to enter for its completion would bring more requests, and
  // so on until the buffers are used up, of which those at hand are still to be counted too.
  if (direct && s->reaping && !goes_on(r, 2 * SUBMIT_COMPLETIONS)) {
    conn_send_now(r, c);
    return;
  }
  struct io_uring_sqe *sqe = get_sqe(r);
  if (sqe == NULL) {
    conn_close(r, c, EBUSY);
    return;
  }
  if (direct) {
    // DONTWAIT: the kernel is done with the outbox when the submission returns, sent or not.
    io_uring_prep_send(sqe, c->fd, r->arena->outbox + c->staged_offset, c->staged_length,
                       MSG_NOSIGNAL | MSG_DONTWAIT | conn_more(c));
    s->direct++;
  } else {
    struct message *m = &s->messages[sqe - s->ring.sq.sqes];
    m->header = (struct msghdr){.msg_iov = m->parts, .msg_iovlen = conn_output_parts(r, c, m->parts)};
    io_uring_prep_sendmsg(sqe, c->fd, &m->header, (unsigned)(MSG_NOSIGNAL | conn_more(c)));
  }
  set_tag(sqe, URING_SEND, c->handle);
  c->sending = true;
  c->ops++;
  // A message for very many: what has been sent makes room for the completions of what follows.
  if (direct && !s->reaping && s->direct >= s->ring.cq.ring_entries) {
    io_uring_submit(&s->ring);
    reap(r);
  }
}

// The ring has no operation for this that does not run on a thread of the kernel's own; sendfile(2) costs
// less than those. Sockets block here, as the ring wants them, so this one does not for as long as the call
// takes.
static ssize_t uring_send_file(struct mr_reactor *r, struct conn *c, size_t count) {
  (void)r;
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  ssize_t sent = conn_sendfile(c, count);
  int error = errno;
  fcntl(c->fd, F_SETFL, 0);
  errno = error;
  return sent;
}

static void uring_await_room(struct mr_reactor *r, struct conn *c) {
  struct io_uring_sqe *sqe = get_sqe(r);
  if (sqe == NULL) {
    conn_close(r, c, EBUSY);
    return;
  }
  io_uring_prep_poll_add(sqe, c->fd, POLLOUT);
  set_tag(sqe, URING_ROOM, c->handle);
  c->awaiting = true;
  c->ops++;
}

static void uring_stop(struct mr_reactor *r, struct conn *c) {
  if (c->ops == 0) {
    conn_released(r, c);
    return;
  }
  if (!c->reset) {
    shutdown(c->fd, SHUT_RDWR);  // completes the receive and whatever is being sent
    return;
  }
  // A reset must not look like an orderly end, so that no FIN goes out before the RST.
  struct io_uring_sqe *sqe = get_sqe(r);
  if (sqe == NULL) {
    shutdown(c->fd, SHUT_RDWR);
    return;
  }
  io_uring_prep_cancel_fd(sqe, c->fd, IORING_ASYNC_CANCEL_ALL);
  set_tag(sqe, URING_CANCEL, c->handle);
  c->ops++;
}

static void on_accept(struct mr_reactor *r, uint32_t id, int32_t result, bool more) {
  struct listener *l = &r->listeners[id];
  if (!more) l->armed = l->stopping = false;
  if (result >= 0) {
    listener_accepted(r, id, result);
  } else if (result != -ECANCELED) {
    listener_failed(r, id, -result);
  }
  // Nothing else may happen for long that would start it again.
  if (!more) listener_resume_all(r);
}

// A receive ended without data.
static void recv_over(struct mr_reactor *r, struct conn *c, int32_t result) {
  if (c->life == LIFE_CLOSING) return;
  if (result == 0) {
    conn_ended(r, c);
  } else if (result == -ENOBUFS) {
    conn_starve(r, c);
  } else if (result == -ECANCELED || result == -EINTR || result == -EAGAIN) {
    uring_receive(r, c);
  } else {
    conn_close(r, c, (uint16_t)-result);
  }
}

static void on_recv(struct mr_reactor *r, struct conn *c, int32_t result, uint32_t flags) {
  bool more = (flags & IORING_CQE_F_MORE) != 0;
  if (!more) {
    c->recv_armed = c->recv_stopping = false;
    c->ops--;
  }
  // An end or an error may come with a buffer too, which then is empty.
  if ((flags & IORING_CQE_F_BUFFER) != 0) {
    uint32_t block = flags >> IORING_CQE_BUFFER_SHIFT;
    ((struct state *)r->state)->buffers_given--;
    if (result > 0) {
      if (result >= DATA_BYTES) c->polls_left = POLLS_AFTER_MUCH;
      conn_received(r, c, block, (uint32_t)result);
    } else {
      block_put(r->arena, block);
    }
  }
  if (result <= 0) {
    recv_over(r, c, result);
  } else if (!more && c->life != LIFE_CLOSING) {
    uring_receive(r, c);
  }
}

// There are bytes for a connection that waits by a poll: it gets in line to be read.
static void on_readable(struct mr_reactor *r, struct conn *c, int32_t result) {
  c->recv_armed = c->recv_stopping = false;
  c->ops--;
  if (c->life == LIFE_CLOSING) return;
  if (result < 0) {
    recv_over(r, c, result);
    return;
  }
  c->in_readable = true;
  slot_push(r, QUEUE_READABLE, slot_of(c->handle));
}

// Reads as much as one share, and finds out whether there is still much to come. Without a free block the
// ring has to receive, which holds some.
static void read_much(struct mr_reactor *r, struct conn *c) {
  if (r->arena->free_count <= arena_reserve(r->arena)) {
    c->polls_left = 0;
    return;
  }
  conn_read(r, c);
  if (c->bulk) {
    c->polls_left = POLLS_AFTER_MUCH;
  } else if (c->polls_left > 0) {
    c->polls_left--;
  }
}

// Whether a turn that has read goes on: it has not brought all that it may, nor borrowed the last blocks.
static bool reads_on(const struct mr_reactor *r) {
  const struct mr_arena *arena = r->arena;
  return r->bytes_left > 0 && (arena->free_count > arena_reserve(arena) || arena->borrowed_count == 0);
}

// In line, so that whoever is left out in this turn is the first of the next. The ring's own receives are
// bounded by its buffers, and leave these all the bytes of a turn. The first never waits: the ring may take
// all blocks as soon as they come back.
static void read_readable(struct mr_reactor *r) {
  r->bytes_left = TURN_BYTES;
  const uint32_t count = r->queues[QUEUE_READABLE].count;
  for (uint32_t i = 0; i < count && (i == 0 || reads_on(r)); i++) {
    struct conn *c = &r->conns[slot_pop(r, QUEUE_READABLE)];
    if (conn_wants_input(c)) read_much(r, c);
    c->in_readable = false;
    if (c->life == LIFE_OPEN || c->life == LIFE_FINISHING) uring_receive(r, c);
  }
}

static void on_send(struct mr_reactor *r, struct conn *c, int32_t result) {
  if (c->staged_length > 0) ((struct state *)r->state)->direct--;
  c->sending = false;
  c->ops--;
  if (result == -EAGAIN || result == -EINTR) result = 0;
  if (result >= 0) {
    conn_sent(r, c, (uint32_t)result);
  } else {
    conn_close(r, c, (uint16_t)-result);
  }
}

static void on_room(struct mr_reactor *r, struct conn *c, int32_t result) {
  c->awaiting = false;
  c->ops--;
  if (c->life == LIFE_CLOSING) return;
  if (result < 0 && result != -EINTR && result != -EAGAIN) {
    conn_close(r, c, (uint16_t)-result);
  } else {
    conn_room(r, c);
  }
}

static void on_conn(struct mr_reactor *r, enum uring_op op, uint32_t handle, const struct io_uring_cqe *cqe) {
  struct conn *c = conn_find(r, handle);
  if (c == NULL) return;  // a cancellation without an owner
  if (op == URING_RECV) {
    on_recv(r, c, cqe->res, cqe->flags);
  } else if (op == URING_READABLE) {
    on_readable(r, c, cqe->res);
  } else if (op == URING_SEND) {
    on_send(r, c, cqe->res);
  } else if (op == URING_ROOM) {
    on_room(r, c, cqe->res);
  } else if (op == URING_WATCH) {
    c->ops--;
    if (cqe->res > 0 && (cqe->res & POLLERR) != 0) conn_close(r, c, conn_socket_error(c));
  } else {
    c->ops--;
    // The cancellation of a reset found nothing to cancel, or came too late: a shutdown ends what is left.
    if (cqe->res < 0 && c->life == LIFE_CLOSING) shutdown(c->fd, SHUT_RDWR);
  }
  if (c->life == LIFE_CLOSING && c->ops == 0) conn_released(r, c);
}

static void on_completion(struct mr_reactor *r, const struct io_uring_cqe *cqe) {
  struct state *s = r->state;
  bool more = (cqe->flags & IORING_CQE_F_MORE) != 0;
  uint32_t id = uring_tag_id(cqe->user_data);
  if (!more) s->ops--;
  switch (uring_tag_op(cqe->user_data)) {
    case URING_ACCEPT:
      on_accept(r, id, cqe->res, more);
      break;
    case URING_TIMER:
      timer_fired(r);
      if (!more && cqe->res != -ECANCELED) arm_timer(r);
      break;
    case URING_OTHER:
      break;
    default:
      on_conn(r, uring_tag_op(cqe->user_data), id, cqe);
  }
}

static void reap(struct mr_reactor *r) {
  struct state *s = r->state;
  struct io_uring *ring = &s->ring;
  uint32_t head, count = 0;
  struct io_uring_cqe *cqe;
  s->reaping = true;
  // Copied out first: what a completion leads to may submit, and the kernel then reuses the entry's place.
  io_uring_for_each_cqe(ring, head, cqe) {
    const struct io_uring_cqe copy = *cqe;
    on_completion(r, &copy);
    count++;
    s->reaped++;
  }
  io_uring_cq_advance(ring, count);
  s->reaping = false;
}

static bool kernel_waits(const struct state *s) {
  uint32_t flags = IO_URING_READ_ONCE(*s->ring.sq.kflags);
  return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

static int uring_poll(struct mr_reactor *r) {
  struct state *s = r->state;
  buffers_refill(r);
  conn_feed(r, s->buffers_given);
  s->reaped = 0;
  // Sends straight from the outbox complete as they are submitted and are always reaped here: JavaScript
  // writes over their bytes next.
  for (s->enters = 0; s->enters == 0 || s->direct > 0 || goes_on(r, 0); s->enters++) {
    bool pending = io_uring_sq_ready(&s->ring) > 0 || kernel_waits(s);
    if (!pending && io_uring_cq_ready(&s->ring) == 0) break;
    if (pending) {
      int rc = sys_failed(SYS_URING_ENTER) ? -errno : io_uring_submit_and_get_events(&s->ring);
      if (rc < 0 && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY) return rc;
    }
    reap(r);
  }
  read_readable(r);
  return 0;
}

static int uring_arm(struct mr_reactor *r) {
  struct state *s = r->state;
  if (io_uring_sq_ready(&s->ring) > 0 || io_uring_cq_ready(&s->ring) > 0) return 1;
  // A read found no block where the ring has some.
  if (r->queues[QUEUE_STARVED].count > 0 && s->buffers_given > 0) return 1;
  // The eventfd is cleared before the last look: an event after the look then makes it readable again.
  eventfd_t count;
  (void)!eventfd_read(s->event_fd, &count);
  if (kernel_waits(s) || io_uring_cq_ready(&s->ring) > 0) return 1;
  return wake_chain_arm(s->wake);
}

static void cancel_all(struct mr_reactor *r) {
  struct io_uring_sqe *sqe = get_sqe(r);
  if (sqe == NULL) return;
  io_uring_prep_cancel(sqe, NULL, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
  set_tag(sqe, URING_OTHER, 0);
}

// Accepted sockets that arrive now have no one to serve them.
static void drain(struct mr_reactor *r) {
  struct state *s = r->state;
  struct __kernel_timespec wait = {.tv_nsec = 10000000};
  cancel_all(r);
  for (int turn = 0; turn < CLOSE_TURNS_MAX && s->ops > 0; turn++) {
    struct io_uring_cqe *cqe;
    io_uring_submit_and_wait_timeout(&s->ring, &cqe, 1, &wait, NULL);
    r->records = 0;
    reap(r);
    conn_bury(r);
  }
}

static int uring_close(struct mr_reactor *r) {
  struct state *s = r->state;
  bool opened = s->ring.ring_fd >= 0;
  if (opened && s->ops > 0) drain(r);
  int rc = s->ops == 0 ? 0 : -EBUSY;
  wake_chain_close(s->wake);
  if (opened) io_uring_queue_exit(&s->ring);
  if (s->event_fd >= 0) close(s->event_fd);
  if (rc == 0) uring_buffers_close(s->buffers, r->options->receive_buffers);
  free(s->messages);
  free(s);
  r->state = NULL;
  return rc;
}

const struct backend backend_uring = {
    .name = "io_uring",
    .open = uring_open,
    .close = uring_close,
    .accept_start = uring_accept_start,
    .accept_stop = uring_accept_stop,
    .receive = uring_receive,
    .send = uring_send,
    .send_file = uring_send_file,
    .await_room = uring_await_room,
    .stop = uring_stop,
    .poll = uring_poll,
    .arm = uring_arm,
};
