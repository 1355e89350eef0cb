// SPDX-License-Identifier: Apache-2.0
// listener.c - socket, bind, listen, accept, close, and addresses as text; called by reactor.c and the
// backends.
#include "listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "address.h"
#include "address_limit.h"
#include "backend.h"
#include "conn.h"
#include "crew.h"
#include "inbox.h"
#include "millrace.h"
#include "socket.h"
#include "sys.h"

// What an mr_listen was given.
struct wish {
  const struct mr_listen_options *options;
  const struct mr_socket_options *tuning;
};

static void share_port(int fd) {
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
}

static void prepare_tcp(int fd, const struct mr_listen_options *o, sa_family_t family) {
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  socket_no_delay(fd);  // accepted sockets inherit it
  if ((o->flags & MR_REUSE_PORT) != 0) share_port(fd);
  // Said either way: the default is a setting of the system's.
  int only = (o->flags & MR_IPV6_ONLY) != 0;
  if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
}

// What workers share is shared once the address is ours: another process that has it would not be noticed.
static int bind_and_listen(int fd, const struct wish *w, const struct sockaddr *address, socklen_t length) {
  if (sys_bind(fd, address, length) != 0) return -errno;
  if ((w->options->flags & MR_SHARED) != 0 && address->sa_family != AF_UNIX) share_port(fd);
  return sys_listen(fd, (int)w->options->backlog) == 0 ? 0 : -errno;
}

static int open_socket(const struct wish *w, const struct sockaddr *address, socklen_t length) {
  int fd = sys_socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC);
  if (fd < 0) return -errno;
  if (address->sa_family != AF_UNIX) prepare_tcp(fd, w->options, address->sa_family);
  int rc = socket_tune(fd, w->tuning);
  if (rc == 0) rc = bind_and_listen(fd, w, address, length);
  if (rc == 0) return fd;
  close(fd);
  return rc;
}

static int open_unix(const struct wish *w) {
  struct sockaddr_un address;
  socklen_t length;
  int rc = address_unix(w->options->host, &address, &length);
  return rc == 0 ? open_socket(w, (struct sockaddr *)&address, length) : rc;
}

static int open_tcp(const struct wish *w) {
  const struct mr_listen_options *o = w->options;
  char port[16];
  snprintf(port, sizeof(port), "%u", o->port);
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
  struct addrinfo *found;
  int rc = getaddrinfo(o->host, port, &hints, &found);
  if (rc != 0) return rc == EAI_SYSTEM ? -errno : -ENOENT;
  int fd = -EADDRNOTAVAIL;
  for (const struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next) {
    fd = open_socket(w, a->ai_addr, a->ai_addrlen);
  }
  freeaddrinfo(found);
  return fd;
}

// A socket that another process has opened, and may listen on too.
static int take_inherited(const struct wish *w) {
  int fd = (int)w->options->fd;
  int rc = socket_check(fd);
  if (rc == 0) rc = socket_listens(fd);
  if (rc == 0) socket_no_delay(fd);
  if (rc == 0) rc = socket_tune(fd, w->tuning);
  if (rc != 0) return rc;
  fcntl(fd, F_SETFD, FD_CLOEXEC);  // not for programs that we start
  return fd;
}

int listener_socket(const struct mr_listen_options *options, const struct mr_socket_options *tuning) {
  const struct wish w = {options, tuning};
  return (options->flags & MR_UNIX) != 0 ? open_unix(&w) : open_tcp(&w);
}

int listener_sibling(const struct sockaddr_storage *address, socklen_t length,
                     const struct mr_listen_options *options, const struct mr_socket_options *tuning) {
  struct mr_listen_options again = *options;
  again.flags |= MR_REUSE_PORT;
  const struct wish w = {&again, tuning};
  return open_socket(&w, (const struct sockaddr *)address, length);
}

static int open_wish(struct mr_reactor *r, const struct wish *w) {
  if ((w->options->flags & MR_INHERITED) != 0) return take_inherited(w);
  if ((w->options->flags & MR_SHARED) != 0) return crew_join(r, w->options, w->tuning);
  return listener_socket(w->options, w->tuning);
}

int32_t mr_listen(mr_reactor *r, const struct mr_listen_options *options,
                  const struct mr_socket_options *tuning) {
  if (options == NULL || memchr(options->host, '\0', MR_TEXT_BYTES) == NULL || options->port > 65535) {
    return -EINVAL;
  }
  // All connections of a member count as accepted for its crew, by its one listener.
  if (r->member != NULL) return -EINVAL;
  uint32_t id = 0;
  while (id < LISTENERS_MAX && r->listeners[id].open) id++;
  if (id == LISTENERS_MAX) return -EMFILE;
  const struct wish wish = {options, tuning};
  int fd = open_wish(r, &wish);
  if (fd < 0) return fd;
  bool inherited = (options->flags & MR_INHERITED) != 0;
  bool handed = r->member != NULL && crew_hands(r->member);
  enum protocol protocol = (options->flags & MR_STREAM) != 0 ? PROTOCOL_STREAM : PROTOCOL_HTTP;
  r->listeners[id] = (struct listener){
      .fd = fd, .open = true, .inherited = inherited, .handed = handed, .protocol = (uint8_t)protocol};
  int rc = handed ? 0 : r->backend->accept_start(r, id);
  if (rc != 0) {
    if (!inherited) close(fd);
    crew_leave(r);
    r->listeners[id] = (struct listener){0};
    return rc;
  }
  r->control->listeners++;
  if (id >= r->listeners_used) r->listeners_used = id + 1;
  return (int32_t)id;
}

int32_t mr_limit_addresses(mr_reactor *r, uint32_t most) {
  if (most == 0) return -EINVAL;
  if (r->addresses != NULL) return -EBUSY;
  uint32_t connections = r->options->max_connections;
  if (r->address_keys == NULL) r->address_keys = sys_allocate(connections, sizeof(r->address_keys[0]));
  if (r->address_keys == NULL) return -ENOMEM;
  r->addresses = r->member != NULL ? crew_addresses(r->member, most) : address_limit_open(connections, most);
  return r->addresses == NULL ? -ENOMEM : 0;
}

int32_t mr_unlisten(mr_reactor *r, uint32_t id) {
  if (id >= LISTENERS_MAX || !r->listeners[id].open) return -EINVAL;
  r->listeners[id].closing = true;
  r->routes.closing = true;
  r->listeners[id].resume_at = 0;
  if (r->member != NULL) crew_retire(r->member);
  return 0;
}

static bool full(const struct mr_reactor *r) {
  return r->control->connections >= r->options->max_connections ||
         (r->member != NULL && crew_is_full(r->member));
}

// Counts a connection that is about to be opened, unless there are as many as may be.
static bool admit(struct mr_reactor *r) {
  return r->control->connections < r->options->max_connections &&
         (r->member == NULL || crew_admit(r->member));
}

static void refuse(struct mr_reactor *r, int fd) {
  close(fd);
  counter_add(&r->control->refused, 1);
}

// io_uring goes on accepting until it hears otherwise. Those sockets wait like others in the kernel's queue.
static void hold(struct mr_reactor *r, struct listener *l, int fd) {
  if (l->waiting == WAITING_MAX || r->closing) {
    refuse(r, fd);
  } else {
    l->fds[l->waiting++] = fd;
  }
}

void listener_accepted(struct mr_reactor *r, uint32_t id, int fd) {
  if (r->closing || inbox_is_full(r) || !admit(r)) {
    hold(r, &r->listeners[id], fd);
  } else {
    conn_open(r, fd, id);
  }
  if (full(r)) r->backend->accept_stop(r, id);
}

static void admit_waiting(struct mr_reactor *r, uint32_t id) {
  struct listener *l = &r->listeners[id];
  uint32_t count = 0;
  while (count < l->waiting && inbox_has_room(r) && admit(r)) conn_open(r, l->fds[count++], id);
  l->waiting -= count;
  memmove(l->fds, l->fds + count, l->waiting * sizeof(l->fds[0]));
}

// Errors of the connection that was about to be accepted, not of the listener (accept(2)).
bool listener_harmless(int code) {
  return code == ECONNABORTED || code == EINTR || code == EPROTO || code == ENETDOWN || code == EPERM ||
         code == EHOSTDOWN || code == EHOSTUNREACH || code == ENETUNREACH || code == ENONET ||
         code == EAGAIN || code == ENOPROTOOPT || code == EOPNOTSUPP;
}

void listener_failed(struct mr_reactor *r, uint32_t id, int code) {
  if (code == EAGAIN) return;
  counter_add(&r->control->accept_errors, 1);
  if (listener_harmless(code)) return;
  r->backend->accept_stop(r, id);
  r->listeners[id].resume_at = r->now + ACCEPT_PAUSE_MS;
}

static void start(struct mr_reactor *r, uint32_t id) {
  struct listener *l = &r->listeners[id];
  if (r->closing) return;
  if (l->resume_at <= r->now) l->resume_at = 0;
  if (l->waiting > 0) admit_waiting(r, id);
  if (!l->open || l->closing || l->armed || l->handed || l->resume_at > r->now || full(r)) return;
  l->resume_at = 0;
  if (r->backend->accept_start(r, id) != 0) l->resume_at = r->now + ACCEPT_PAUSE_MS;
}

void listener_resume_all(struct mr_reactor *r) {
  for (uint32_t id = 0; id < r->listeners_used; id++) start(r, id);
}

// Closing a listener resets what waits in its queue, so those are taken in first. False when there is no room
// for them yet.
static bool accept_rest(struct mr_reactor *r, uint32_t id) {
  struct listener *l = &r->listeners[id];
  fcntl(l->fd, F_SETFL, O_NONBLOCK);
  int flags = SOCK_CLOEXEC | (r->backend == &backend_epoll ? SOCK_NONBLOCK : 0);
  for (int failures = 0; failures < ACCEPTS_MAX && !full(r);) {
    if (!inbox_has_room(r)) return false;
    int fd = sys_accept(l->fd, flags);
    if (fd >= 0 && admit(r)) {
      conn_open(r, fd, id);
    } else if (fd >= 0) {
      refuse(r, fd);
    } else if (errno == EAGAIN || !listener_harmless(errno)) {
      break;
    } else {
      failures++;  // the next in the queue has done nothing wrong
    }
  }
  return true;
}

static void finish(struct mr_reactor *r, uint32_t id) {
  struct listener *l = &r->listeners[id];
  r->backend->accept_stop(r, id);
  admit_waiting(r, id);
  // Nobody will be served who finds no slot now.
  while (full(r) && l->waiting > 0) refuse(r, l->fds[--l->waiting]);
  if (l->armed || l->waiting > 0 || (r->member != NULL && crew_has_handed(r->member))) return;
  // Who has passed the socket on most likely holds it too, and with it the queue; so do the other workers.
  bool others = l->inherited || (r->member != NULL && crew_serves_on(r->member));
  if (!others && !accept_rest(r, id)) return;
  close(l->fd);
  *l = (struct listener){0};
  r->control->listeners--;
}

// Sockets that another thread has accepted for us.
static void take_handed(struct mr_reactor *r, uint32_t id) {
  struct listener *l = &r->listeners[id];
  int fds[WAITING_MAX];
  uint32_t count = crew_take(r->member, fds, WAITING_MAX - l->waiting);
  int flags = r->backend == &backend_epoll ? O_NONBLOCK : 0;
  for (uint32_t i = 0; i < count; i++) {
    fcntl(fds[i], F_SETFL, flags);
    listener_accepted(r, id, fds[i]);
  }
}

void listener_tend(struct mr_reactor *r) {
  for (uint32_t id = 0; id < r->listeners_used; id++) {
    if (!r->listeners[id].open) continue;
    if (r->member != NULL) take_handed(r, id);
    if (r->listeners[id].closing) {
      finish(r, id);
    } else {
      start(r, id);
    }
  }
}

void listener_close_all(struct mr_reactor *r) {
  for (uint32_t id = 0; id < r->listeners_used; id++) {
    struct listener *l = &r->listeners[id];
    for (uint32_t i = 0; i < l->waiting; i++) close(l->fds[i]);
    if (l->open) close(l->fd);
    r->listeners[id] = (struct listener){0};
  }
  r->control->listeners = 0;
}

static void unix_text(const struct sockaddr_un *address, socklen_t length, char *out) {
  size_t head = offsetof(struct sockaddr_un, sun_path);
  size_t count = length > head ? length - head : 0;
  memcpy(out, address->sun_path, count);
  out[count] = '\0';
  if (count > 0 && out[0] == '\0') out[0] = '@';
}

typedef int name_call(int fd, struct sockaddr *address, socklen_t *length);

static int32_t address_text(const struct sockaddr_storage *address, socklen_t length, char *out) {
  if (address->ss_family == AF_UNIX) {
    unix_text((const struct sockaddr_un *)address, length, out);
    return MR_UNIX;
  }
  bool v6 = address->ss_family == AF_INET6;
  const struct sockaddr_in *in = (const struct sockaddr_in *)address;
  const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
  const void *host = v6 ? (const void *)&in6->sin6_addr : (const void *)&in->sin_addr;
  char text[INET6_ADDRSTRLEN];
  if (inet_ntop(address->ss_family, host, text, sizeof(text)) == NULL) return -errno;
  snprintf(out, MR_TEXT_BYTES, "%s %u", text, ntohs(v6 ? in6->sin6_port : in->sin_port));
  return 0;
}

// What getsockname(2) or getpeername(2) says, as text.
static int32_t name_text(name_call *call, int fd, char *out) {
  struct sockaddr_storage address = {0};
  socklen_t length = sizeof(address);
  if (call(fd, (struct sockaddr *)&address, &length) != 0) return -errno;
  return address_text(&address, length, out);
}

int32_t mr_listen_address(mr_reactor *r, uint32_t id, char *out) {
  if (id >= LISTENERS_MAX || !r->listeners[id].open) return -EINVAL;
  return name_text(getsockname, r->listeners[id].fd, out);
}

int32_t mr_peer_address(mr_reactor *r, uint32_t handle, char *out) {
  const struct conn *c = conn_find(r, handle);
  return c == NULL ? -ESTALE : name_text(getpeername, c->fd, out);
}

int32_t mr_local_address(mr_reactor *r, uint32_t handle, char *out) {
  const struct conn *c = conn_find(r, handle);
  return c == NULL ? -ESTALE : name_text(getsockname, c->fd, out);
}
