// SPDX-License-Identifier: Apache-2.0
// uring_probe.c - tries each thing that uring.c needs of io_uring by itself, for whoever wants to know what
// is missing; called by JavaScript.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/un.h>

#include "millrace.h"
#include "sys.h"
#include "uring_setup.h"
#include "wake.h"

#define ENTRIES 8
#define BUFFERS 8
#define WAIT_MS 1000

struct probe {
  struct io_uring ring;
  struct io_uring_buf_ring *buffers;
  char byte[64];  // what the buffers lead to
  int event_fd;
};

// Why a step was not tried: the one that it stands on has failed.
#define NOT_TRIED (-ECANCELED)

static int probe_buffers(struct probe *p) {
  int rc = uring_buffers_open(&p->ring, BUFFERS, &p->buffers);
  if (rc != 0) return rc;
  // Two: the end of what is received takes one as well.
  for (int i = 0; i < 2; i++) {
    io_uring_buf_ring_add(p->buffers, p->byte, sizeof(p->byte), (uint16_t)i, BUFFERS - 1, i);
  }
  io_uring_buf_ring_advance(p->buffers, 2);
  return 0;
}

static int probe_receive(struct probe *p) {
  int rc = p->buffers == NULL ? NOT_TRIED : uring_self_test(&p->ring);
  return rc < 0 ? rc : 0;
}

// A listener with a name that the kernel chooses, and one that connects to it.
static int connect_to(int listener, int client) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  socklen_t length = sizeof(address);
  if (listener < 0 || client < 0) return -errno;
  if (sys_bind(listener, (struct sockaddr *)&address, sizeof(address.sun_family)) != 0) return -errno;
  if (sys_listen(listener, 1) != 0) return -errno;
  if (getsockname(listener, (struct sockaddr *)&address, &length) != 0) return -errno;
  return sys_connect(client, (struct sockaddr *)&address, length) == 0 ? 0 : -errno;
}

static int accept_one(struct probe *p, int listener) {
  struct __kernel_timespec wait = {.tv_sec = WAIT_MS / 1000};
  struct io_uring_sqe *sqe = io_uring_get_sqe(&p->ring);
  struct io_uring_cqe *cqe;
  if (sqe == NULL) return -EBUSY;
  io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
  int rc =
      sys_failed(SYS_URING_ENTER) ? -errno : io_uring_submit_and_wait_timeout(&p->ring, &cqe, 1, &wait, NULL);
  if (rc < 0) return rc;
  int accepted = cqe->res;
  bool more = (cqe->flags & IORING_CQE_F_MORE) != 0;
  io_uring_cqe_seen(&p->ring, cqe);
  if (accepted < 0) return accepted;
  close(accepted);
  return more ? 0 : -EOPNOTSUPP;
}

// The accept goes on until the ring is closed, which is soon.
static int probe_accept(struct probe *p) {
  int listener = sys_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC);
  int client = sys_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC);
  int rc = connect_to(listener, client);
  if (rc == 0) rc = accept_one(p, listener);
  if (listener >= 0) close(listener);
  if (client >= 0) close(client);
  return rc;
}

static int probe_eventfd(struct probe *p) {
  p->event_fd = sys_failed(SYS_EVENTFD) ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (p->event_fd < 0) return -errno;
  return sys_failed(SYS_URING_REGISTER) ? -errno : io_uring_register_eventfd(&p->ring, p->event_fd);
}

static int wake_up(struct wake_chain *chain, int event_fd, int socket) {
  int rc = wake_chain_arm(chain);
  if (rc != 0) return rc;
  if (eventfd_write(event_fd, 1) != 0) return -errno;
  struct pollfd sleeping = {.fd = socket, .events = POLLIN};
  return poll(&sleeping, 1, WAIT_MS) == 1 ? 0 : -ETIMEDOUT;
}

static int probe_wake(struct probe *p) {
  struct wake_chain *chain = NULL;
  int pair[2];
  if (p->event_fd < 0) return NOT_TRIED;
  if (sys_socketpair(pair) != 0) return -errno;
  int rc = wake_chain_open(&chain, p->event_fd, pair[0]);
  if (rc == 0) rc = wake_up(chain, p->event_fd, pair[1]);
  wake_chain_close(chain);
  close(pair[0]);
  close(pair[1]);
  return rc;
}

static const struct {
  const char *name;
  int (*run)(struct probe *);
} steps[] = {
    {"buffer ring", probe_buffers}, {"multishot receive", probe_receive}, {"multishot accept", probe_accept},
    {"eventfd", probe_eventfd},     {"wake chain", probe_wake},
};

int32_t mr_probe(char *out, uint32_t capacity) {
  struct probe p = {.event_fd = -1, .ring.ring_fd = -1};
  int opened = uring_ring_open(&p.ring, ENTRIES);
  int length = snprintf(out, capacity, "[[\"ring\",%d]", -opened);
  for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
    int rc = opened == 0 ? steps[i].run(&p) : NOT_TRIED;
    size_t room = (uint32_t)length < capacity ? capacity - (uint32_t)length : 0;
    length += snprintf(room > 0 ? out + length : NULL, room, ",[\"%s\",%d]", steps[i].name, -rc);
  }
  if (opened == 0) io_uring_queue_exit(&p.ring);
  uring_buffers_close(p.buffers, BUFFERS);
  if (p.event_fd >= 0) close(p.event_fd);
  if ((uint32_t)length + 1 >= capacity) return -ENOSPC;
  out[length++] = ']';
  out[length] = '\0';
  return length;
}
