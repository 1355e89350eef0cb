// SPDX-License-Identifier: Apache-2.0
// socket.c - options of sockets, and sockets that another process has opened; called by listener.c,
// connect.c and conn.c and, through mr_tune and mr_adopt, by JavaScript.
#include "socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "backend.h"
#include "conn.h"
#include "millrace.h"
#include "sys.h"
#include "timer.h"

// The options that were to be set, one by one, until one fails.
struct tuner {
  int fd;
  int rc;
};

static void set(struct tuner *t, int level, int name, uint32_t value) {
  if (t->rc == 0 && sys_setsockopt(t->fd, level, name, (int)value) != 0) t->rc = -errno;
}

static void set_keep_alive(struct tuner *t, const struct mr_socket_options *o) {
  set(t, SOL_SOCKET, SO_KEEPALIVE, o->keep_idle > 0);
  if (o->keep_idle == 0) return;
  set(t, IPPROTO_TCP, TCP_KEEPIDLE, o->keep_idle);
  if (o->keep_interval > 0) set(t, IPPROTO_TCP, TCP_KEEPINTVL, o->keep_interval);
  if (o->keep_count > 0) set(t, IPPROTO_TCP, TCP_KEEPCNT, o->keep_count);
}

int socket_tune(int fd, const struct mr_socket_options *o) {
  struct tuner t = {.fd = fd};
  if (o == NULL) return 0;
  if ((o->set & MR_SET_NO_DELAY) != 0) set(&t, IPPROTO_TCP, TCP_NODELAY, o->no_delay);
  if ((o->set & MR_SET_KEEP_ALIVE) != 0) set_keep_alive(&t, o);
  if ((o->set & MR_SET_SEND_BUFFER) != 0) set(&t, SOL_SOCKET, SO_SNDBUF, o->send_buffer);
  if ((o->set & MR_SET_RECEIVE_BUFFER) != 0) set(&t, SOL_SOCKET, SO_RCVBUF, o->receive_buffer);
  return t.rc;
}

int32_t mr_tune(mr_reactor *r, uint32_t handle, const struct mr_socket_options *options) {
  const struct conn *c = conn_find(r, handle);
  return c == NULL ? -ESTALE : socket_tune(c->fd, options);
}

static int socket_word(int fd, int name, int *out) {
  socklen_t length = sizeof(*out);
  return getsockopt(fd, SOL_SOCKET, name, out, &length) == 0 ? 0 : -errno;
}

int socket_check(int fd) {
  int type, family;
  int rc = socket_word(fd, SO_TYPE, &type);
  if (rc == 0) rc = socket_word(fd, SO_DOMAIN, &family);
  if (rc != 0) return rc;
  if (type != SOCK_STREAM) return -ESOCKTNOSUPPORT;
  return family == AF_INET || family == AF_INET6 || family == AF_UNIX ? 0 : -EAFNOSUPPORT;
}

int socket_listens(int fd) {
  int listens = 0;
  int rc = socket_word(fd, SO_ACCEPTCONN, &listens);
  return rc != 0 || listens ? rc : -EOPNOTSUPP;
}

void socket_no_delay(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void socket_cut(int fd, bool reset) {
  const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
  if (reset && connect(fd, &nobody, sizeof(nobody)) == 0) return;  // TCP only
  shutdown(fd, SHUT_RDWR);
}

// Two connections with one descriptor would close it twice, the second time somebody else's.
static bool is_ours(const struct mr_reactor *r, int fd) {
  for (uint32_t slot = 0; slot < r->slots_used; slot++) {
    if (r->conns[slot].life != LIFE_FREE && r->conns[slot].fd == fd) return true;
  }
  return false;
}

int32_t mr_adopt(mr_reactor *r, int32_t fd, uint32_t *handle) {
  struct sockaddr_storage peer;
  socklen_t length = sizeof(peer);
  int rc = handle == NULL || r->member != NULL ? -EINVAL : socket_check(fd);
  if (rc == 0 && getpeername(fd, (struct sockaddr *)&peer, &length) != 0) rc = -errno;
  if (rc == 0 && is_ours(r, fd)) rc = -EBUSY;
  if (rc != 0) return rc;
  struct conn *c = conn_new(r, fd, false);
  if (c == NULL) return -EDQUOT;
  // As sockets are that we have accepted.
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, r->backend == &backend_epoll ? O_NONBLOCK : 0);
  socket_no_delay(fd);
  c->adopted = true;
  c->protocol = PROTOCOL_STREAM;
  r->now = timer_now();  // the last turn may be long ago
  conn_deadline(r, c, conn_patience(c));
  r->backend->receive(r, c);
  *handle = c->handle;
  return 0;
}
