// SPDX-License-Identifier: Apache-2.0
// connect.c - connections that we begin: socket, connect(2), and word of whether they stand; called by
// JavaScript and, once a socket has room, by the backends.
//
// A socket that connects has room as soon as it stands or has failed, which SO_ERROR tells apart. Until then
// the connection is as one whose socket is full: what is staged for it waits in its queue.
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "address.h"
#include "backend.h"
#include "conn.h"
#include "conn_queue.h"
#include "inbox.h"
#include "millrace.h"
#include "socket.h"
#include "sys.h"
#include "timer.h"

// Without a port yet: connect() chooses one, which may be in use towards other peers.
static int bind_source(int fd, int family, const char *source) {
  const struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
  struct addrinfo *found;
  int rc = getaddrinfo(source, NULL, &hints, &found);
  if (rc != 0) return rc == EAI_MEMORY ? -ENOMEM : -EADDRNOTAVAIL;
  sys_setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  if (sys_bind(fd, found->ai_addr, found->ai_addrlen) != 0) rc = -errno;
  freeaddrinfo(found);
  return rc;
}

static int begin(int fd, const struct sockaddr *address, socklen_t length, const char *source) {
  int rc = source[0] == '\0' ? 0 : bind_source(fd, address->sa_family, source);
  if (rc != 0) return rc;
  return sys_connect(fd, address, length) == 0 || errno == EINPROGRESS || errno == EINTR ? 0 : -errno;
}

static int open_socket(const struct sockaddr *address, socklen_t length, const char *source) {
  int fd = sys_socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return -errno;
  socket_no_delay(fd);
  int rc = begin(fd, address, length, source);
  if (rc == 0) return fd;
  close(fd);
  return rc;
}

static int open_unix(const struct mr_connect_options *o) {
  struct sockaddr_un address;
  socklen_t length;
  int rc = address_unix(o->host, &address, &length);
  return rc == 0 ? open_socket((struct sockaddr *)&address, length, "") : rc;
}

// Host names are JavaScript's to look up: that may take long.
static int open_tcp(const struct mr_connect_options *o) {
  char port[16];
  snprintf(port, sizeof(port), "%u", o->port);
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
  struct addrinfo *found;
  int rc = getaddrinfo(o->host, port, &hints, &found);
  if (rc != 0) return rc == EAI_MEMORY ? -ENOMEM : -EINVAL;
  int fd = open_socket(found->ai_addr, found->ai_addrlen, o->source);
  freeaddrinfo(found);
  return fd;
}

static bool options_valid(const struct mr_connect_options *o) {
  return o != NULL && o->flags <= (MR_CONNECT_UNIX | MR_CONNECT_RESPONSE) && o->port <= 65535 &&
         memchr(o->host, '\0', MR_TEXT_BYTES) != NULL && memchr(o->source, '\0', MR_TEXT_BYTES) != NULL &&
         ((o->flags & MR_CONNECT_UNIX) == 0 || o->source[0] == '\0');
}

int32_t mr_connect(mr_reactor *r, const struct mr_connect_options *options, uint32_t *handle) {
  if (!options_valid(options) || handle == NULL || r->member != NULL) return -EINVAL;
  if (r->control->connections >= r->options->max_connections) return -EDQUOT;
  int fd = (options->flags & MR_CONNECT_UNIX) != 0 ? open_unix(options) : open_tcp(options);
  if (fd < 0) return fd;
  struct conn *c = conn_new(r, fd, false);
  if (c == NULL) {
    close(fd);
    return -EDQUOT;
  }
  c->protocol = (options->flags & MR_CONNECT_RESPONSE) != 0 ? PROTOCOL_RESPONSE : PROTOCOL_STREAM;
  c->connecting = c->sending = true;
  r->now = timer_now();  // the last turn may be long ago
  conn_deadline(r, c, options->timeout);
  r->backend->await_room(r, c);
  *handle = c->handle;
  return 0;
}

// For how long a connection that stands may be quiet. One that is to end has as long as its output takes.
static uint32_t patience(const struct mr_reactor *r, const struct conn *c) {
  if (c->life == LIFE_FINISHING) return 0;
  return conn_in_http(c) ? r->options->head_timeout : c->idle_ms;
}

static void connected(struct mr_reactor *r, struct conn *c) {
  if (inbox_is_full(r)) {
    r->backend->await_room(r, c);
    return;
  }
  uint16_t error = conn_socket_error(c);
  if (error != 0) {
    conn_close(r, c, error);
    return;
  }
  // The ring wants sockets that block: the kernel would answer EAGAIN instead of waiting.
  if (r->backend == &backend_uring) fcntl(c->fd, F_SETFL, 0);
  c->connecting = c->sending = false;
  inbox_push(r, c, MR_CONNECTED);
  conn_deadline(r, c, patience(r, c));
  if (c->out_head != NO_BLOCK) {
    r->backend->send(r, c);
  } else if (c->filing) {
    conn_file_send(r, c);
  } else {
    conn_finish_flushed(r, c);
  }
  r->backend->receive(r, c);
}

void conn_room(struct mr_reactor *r, struct conn *c) {
  if (c->connecting) {
    connected(r, c);
  } else {
    conn_file_send(r, c);
  }
}
