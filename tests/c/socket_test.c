// SPDX-License-Identifier: Apache-2.0
// socket_test.c - connections that are the application's from their first byte on, options of sockets, and
// sockets that another process has opened.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "faults.h"
#include "harness.h"
#include "reactor.h"

enum { DUE = 300 };

static struct t_server server;

// The next connection's number, of a listener without HTTP.
static bool open_stream(const struct mr_options *o, uint32_t *client) {
  if (t_open_reactor(&server, o) != 0 || t_listen(&server, "127.0.0.1", 0, MR_STREAM) < 0) return false;
  *client = t_connect(&server);
  return t_until_opened(&server, 1);
}

static int fd_of(uint32_t handle) {
  return server.reactor->conns[slot_of(handle)].fd;
}

static int option(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof(value);
  return getsockopt(fd, level, name, &value, &length) == 0 ? value : -1;
}

// What looks like a request is not taken for one, and the end is told.
static bool run_first_byte(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.head_timeout = DUE;  // which is for HTTP
  bool ok = true;
  static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  uint32_t client;
  T_NEED(open_stream(&o, &client));
  t_turn_for(&server, 2 * DUE);
  T_NEED(server.ended == 0);
  t_write(&server, client, request, sizeof(request) - 1);
  T_NEED(t_until_seen(&server, MR_DATA, 1));
  T_NEED(t_same(&t_last(&server)->body, request, sizeof(request) - 1));
  T_NEED(t_last(&server)->seen[MR_HEAD] == 0 && t_last(&server)->seen[MR_VIOLATION] == 0);
  shutdown(server.clients[client].fd, SHUT_WR);
  T_NEED(t_until_seen(&server, MR_END, 1));
  t_command(&server, server.last, MR_CMD_END, 0);
  T_NEED(t_until_closed(&server, 1) && t_last(&server)->closed == 0);
end:
  return t_close(&server) && ok;
}

static bool run_idle(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.idle_timeout = DUE;
  bool ok = true;
  uint32_t client;
  T_NEED(open_stream(&o, &client));
  T_NEED(t_until_closed(&server, 1) && t_last(&server)->closed == ETIMEDOUT);
  T_NEED(server.control->socket_timeouts == 1);
end:
  return t_close(&server) && ok;
}

static void tell_quiet(uint32_t ms) {
  t_command(&server, server.last, MR_CMD_IDLE, ms);
  server.commands[server.command_count - 1].length = 1;
}

// Quiet is told of again and again, until there is no idle time, or a deadline in its place.
static bool run_quiet(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.idle_timeout = DUE;
  bool ok = true;
  uint32_t client;
  T_NEED(open_stream(&o, &client));
  tell_quiet(DUE);
  T_NEED(t_until_seen(&server, MR_QUIET, 3));
  T_NEED(server.ended == 0 && server.control->timeouts == 0);
  tell_quiet(0);
  t_turn(&server);
  const uint32_t told = t_last(&server)->seen[MR_QUIET];
  t_turn_for(&server, 2 * DUE);
  T_NEED(t_last(&server)->seen[MR_QUIET] == told && server.ended == 0);
  tell_quiet(DUE);
  t_command(&server, server.last, MR_CMD_DEADLINE, DUE);
  T_NEED(t_until_closed(&server, 1) && t_last(&server)->closed == ETIMEDOUT);
  T_NEED(t_last(&server)->seen[MR_QUIET] == told);
end:
  return t_close(&server) && ok;
}

static const struct mr_socket_options all = {
    .set = MR_SET_NO_DELAY | MR_SET_KEEP_ALIVE | MR_SET_SEND_BUFFER | MR_SET_RECEIVE_BUFFER,
    .no_delay = 0,
    .keep_idle = 11,
    .keep_interval = 12,
    .keep_count = 13,
    .send_buffer = 20000,
    .receive_buffer = 30000,
};

static bool has_all(int fd) {
  return option(fd, IPPROTO_TCP, TCP_NODELAY) == 0 && option(fd, SOL_SOCKET, SO_KEEPALIVE) == 1 &&
         option(fd, IPPROTO_TCP, TCP_KEEPIDLE) == 11 && option(fd, IPPROTO_TCP, TCP_KEEPINTVL) == 12 &&
         option(fd, IPPROTO_TCP, TCP_KEEPCNT) == 13 && option(fd, SOL_SOCKET, SO_SNDBUF) == 40000 &&
         option(fd, SOL_SOCKET, SO_RCVBUF) == 60000;
}

static struct mr_listen_options local(uint32_t flags) {
  return (struct mr_listen_options){.flags = flags, .backlog = 16, .host = "127.0.0.1"};
}

static uint32_t port_of(int32_t listener) {
  char text[MR_TEXT_BYTES];
  mr_listen_address(server.reactor, (uint32_t)listener, text);
  return (uint32_t)strtoul(strrchr(text, ' ') + 1, NULL, 10);
}

// Accepted sockets have the options of the listening one.
static bool run_tuned_listener(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open_reactor(&server, &o) == 0);
  server.where = local(MR_STREAM);
  int32_t id = mr_listen(server.reactor, &server.where, &all);
  T_NEED(id >= 0);
  server.where.port = port_of(id);
  t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  T_NEED(has_all(fd_of(server.last)));
end:
  return t_close(&server) && ok;
}

static bool run_tune(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t client;
  T_NEED(open_stream(&o, &client));
  const int fd = fd_of(server.last);
  T_NEED(option(fd, IPPROTO_TCP, TCP_NODELAY) == 1 && option(fd, SOL_SOCKET, SO_KEEPALIVE) == 0);
  T_NEED(mr_tune(server.reactor, server.last, &all) == 0 && has_all(fd));
  const struct mr_socket_options some = {.set = MR_SET_KEEP_ALIVE};
  T_NEED(mr_tune(server.reactor, server.last, &some) == 0);
  T_NEED(option(fd, SOL_SOCKET, SO_KEEPALIVE) == 0 && option(fd, SOL_SOCKET, SO_SNDBUF) == 40000);
  const struct mr_socket_options wrong = {.set = MR_SET_KEEP_ALIVE, .keep_idle = 1u << 20};
  T_NEED(mr_tune(server.reactor, server.last, &wrong) == -EINVAL);
  T_NEED(mr_tune(server.reactor, server.last, NULL) == 0);
  T_NEED(mr_tune(server.reactor, server.last + 1, &all) == -ESTALE);
  T_NEED(mr_tune(server.reactor, 0, &all) == -ESTALE);
end:
  return t_close(&server) && ok;
}

// Each option may be refused: the one asked for is told, and no socket is left behind.
static bool run_tune_faults(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open_reactor(&server, &o) == 0);
  const uint32_t before = t_open_fds();
  const struct mr_listen_options where = local(MR_STREAM);
  uint32_t skip = 0;
  for (; skip < 20; skip++) {
    t_faults_clear();
    t_fault(SYS_SETSOCKOPT, skip, 1, ENOBUFS);
    int32_t id = mr_listen(server.reactor, &where, &all);
    if (t_faults_fired() == 0) break;
    T_NEED(id == -ENOBUFS && t_open_fds() == before && server.control->listeners == 0);
  }
  T_NEED(skip == 7);
  T_NEED(server.control->listeners == 1);
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

static bool run_ipv6_only(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open_reactor(&server, &o) == 0);
  for (uint32_t only = 0; only < 2; only++) {
    const uint32_t opened = server.opened;
    T_NEED(t_listen(&server, "::", 0, only ? MR_IPV6_ONLY : 0) >= 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server.where.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int rc = connect(fd, (struct sockaddr *)&to, sizeof(to));
    const int error = errno;
    close(fd);
    T_NEED(only ? rc != 0 && error == ECONNREFUSED : rc == 0 && t_until_opened(&server, opened + 1));
  }
end:
  return t_close(&server) && ok;
}

// A socket that listens on 127.0.0.1, as another process would have opened it; its port goes to server.where.
static int foreign_listener(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in at = {.sin_family = AF_INET};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(at);
  if (bind(fd, (struct sockaddr *)&at, length) != 0 || listen(fd, 16) != 0) abort();
  getsockname(fd, (struct sockaddr *)&at, &length);
  server.where = local(0);
  server.where.port = ntohs(at.sin_port);
  return fd;
}

static int32_t inherit(int fd) {
  const struct mr_listen_options o = {.flags = MR_INHERITED | MR_STREAM, .fd = (uint32_t)fd};
  return mr_listen(server.reactor, &o, NULL);
}

static bool listener_gone(struct t_server *s, const void *context) {
  return s->control->listeners == 0 && context == NULL;
}

// Whoever else holds the socket goes on with its queue when we close.
static bool inherited(uint32_t backend, bool nonblocking) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  char text[MR_TEXT_BYTES], expected[MR_TEXT_BYTES];
  T_NEED(t_open_reactor(&server, &o) == 0);
  const int fd = foreign_listener();
  fcntl(fd, F_SETFL, nonblocking ? O_NONBLOCK : 0);
  const int other = dup(fd);
  const int32_t id = inherit(fd);
  T_NEED(id >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  snprintf(expected, sizeof(expected), "127.0.0.1 %u", server.where.port);
  T_NEED(mr_listen_address(server.reactor, (uint32_t)id, text) == 0 && strcmp(text, expected) == 0);
  uint32_t client = t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  t_write(&server, client, "hello", 5);
  T_NEED(t_until_seen(&server, MR_DATA, 1));
  T_NEED(mr_unlisten(server.reactor, (uint32_t)id) == 0);
  T_NEED(t_until(&server, listener_gone, NULL));
  T_NEED(fcntl(fd, F_GETFD) == -1);
  t_connect(&server);
  t_turn_for(&server, 20);
  T_NEED(server.opened == 1);
  fcntl(other, F_SETFL, 0);
  const int accepted = accept(other, NULL, NULL);
  T_NEED(accepted >= 0);
  close(accepted);
  close(other);
end:
  return t_close(&server) && ok;
}

static bool run_inherited(uint32_t backend) {
  return inherited(backend, false) && inherited(backend, true);
}

// What is no listening socket stays the caller's.
static bool run_not_inherited(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  int listener = -1;
  int pair[2] = {-1, -1}, pipes[2] = {-1, -1};
  const int datagram = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int idle = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  T_NEED(t_open_reactor(&server, &o) == 0);
  listener = foreign_listener();
  T_NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 && pipe2(pipes, O_CLOEXEC) == 0);
  const uint32_t before = t_open_fds();
  T_NEED(inherit(datagram) == -ESOCKTNOSUPPORT);
  T_NEED(inherit(idle) == -EOPNOTSUPP);
  T_NEED(inherit(pair[0]) == -EOPNOTSUPP);
  T_NEED(inherit(pipes[0]) == -ENOTSOCK);
  T_NEED(inherit(1000000) == -EBADF && inherit(-1) == -EBADF);
  const struct mr_listen_options wish = {.flags = MR_INHERITED, .fd = (uint32_t)listener};
  t_fault(SYS_SETSOCKOPT, 0, 1, EPERM);
  T_NEED(mr_listen(server.reactor, &wish, &all) == -EPERM);
  T_NEED(server.control->listeners == 0 && t_open_fds() == before);
end:
  t_faults_clear();
  close(datagram);
  close(idle);
  close(listener);
  for (int i = 0; i < 2; i++) {
    close(pair[i]);
    close(pipes[i]);
  }
  return t_close(&server) && ok;
}

// A connected socket becomes a connection, whichever way its descriptor blocks.
static bool run_adopt(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  static uint8_t noise[1 << 20];
  t_pattern(noise, sizeof(noise), 3);
  for (int flags = 0; flags <= SOCK_NONBLOCK; flags += SOCK_NONBLOCK) {
    int pair[2];
    uint32_t handle = 0;
    T_NEED(t_open_reactor(&server, &o) == 0);
    T_NEED(socketpair(AF_UNIX, SOCK_STREAM | flags, 0, pair) == 0);
    const uint32_t before = t_open_fds();
    T_NEED(mr_adopt(server.reactor, pair[0], &handle) == 0 && handle != 0);
    T_NEED(server.control->connections == 1 && t_open_fds() == before);
    T_NEED((fcntl(pair[0], F_GETFD) & FD_CLOEXEC) != 0);
    struct t_conn *c = t_conn(&server, handle);
    c->handle = handle;
    c->live = true;
    server.last = handle;
    server.opened = 1;
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    server.clients[0] = (struct t_client){.fd = pair[1], .reading = true};
    server.client_count = 1;
    t_write(&server, 0, noise, sizeof(noise));
    while (c->body.length < sizeof(noise)) T_NEED(t_until_seen(&server, MR_DATA, c->seen[MR_DATA] + 1));
    T_NEED(t_same(&c->body, noise, sizeof(noise)));
    T_NEED(t_send(&server, handle, noise, sizeof(noise) / 2, 0));
    t_command(&server, handle, MR_CMD_FINISH, 0);
    T_NEED(t_until_ended(&server, 0) && t_same(&server.clients[0].in, noise, sizeof(noise) / 2));
    t_hang_up(&server, 0);
    T_NEED(t_until_closed(&server, 1) && c->closed == 0);
    T_NEED(t_close(&server));
  }
end:
  if (server.reactor != NULL) t_close(&server);
  return ok;
}

// What cannot be adopted stays the caller's, and as it was.
static bool run_not_adopted(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.max_connections = 1;
  bool ok = true;
  int pair[2] = {-1, -1}, second[2] = {-1, -1};
  uint32_t handle = 0;
  const int idle = socket(AF_INET, SOCK_STREAM, 0);
  T_NEED(t_open_reactor(&server, &o) == 0);
  T_NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, second) == 0);
  T_NEED(mr_adopt(server.reactor, idle, &handle) == -ENOTCONN);
  T_NEED(mr_adopt(server.reactor, -1, &handle) == -EBADF);
  T_NEED(mr_adopt(server.reactor, pair[0], NULL) == -EINVAL);
  T_NEED(handle == 0 && (fcntl(idle, F_GETFD) & FD_CLOEXEC) == 0);
  T_NEED(mr_adopt(server.reactor, pair[0], &handle) == 0);
  pair[0] = -1;
  T_NEED(mr_adopt(server.reactor, second[0], &handle) == -EDQUOT);
  T_NEED((fcntl(second[0], F_GETFD) & FD_CLOEXEC) == 0);
end:
  close(idle);
  for (int i = 0; i < 2; i++) {
    if (pair[i] >= 0) close(pair[i]);
    if (second[i] >= 0) close(second[i]);
  }
  return t_close(&server) && ok;
}

// Two connections with one descriptor would close it twice, the second time that of somebody else.
static bool run_adopted_twice(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  int pair[2];
  uint32_t handle = 0, second = 0;
  T_NEED(t_open_reactor(&server, &o) == 0);
  T_NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  T_NEED(mr_adopt(server.reactor, pair[0], &handle) == 0);
  T_NEED(mr_adopt(server.reactor, pair[0], &second) == -EBUSY && second == 0);
  T_NEED(server.control->connections == 1);
  close(pair[1]);
end:
  return t_close(&server) && ok;
}

// What is sent leaves at once, as with sockets that we have opened.
static bool run_foreign_no_delay(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t handle = 0;
  int client = -1;
  T_NEED(t_open_reactor(&server, &o) == 0);
  const int listener = foreign_listener();
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server.where.port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  client = socket(AF_INET, SOCK_STREAM, 0);
  T_NEED(connect(client, (struct sockaddr *)&to, sizeof(to)) == 0);
  const int accepted = accept(listener, NULL, NULL);
  T_NEED(option(accepted, IPPROTO_TCP, TCP_NODELAY) == 0);
  T_NEED(mr_adopt(server.reactor, accepted, &handle) == 0);
  T_NEED(option(accepted, IPPROTO_TCP, TCP_NODELAY) == 1);
  T_NEED(inherit(listener) >= 0 && option(listener, IPPROTO_TCP, TCP_NODELAY) == 1);
end:
  if (client >= 0) close(client);
  return t_close(&server) && ok;
}

static bool sleeps(void) {
  uint8_t byte;
  while (read(server.wake, &byte, 1) > 0) continue;
  for (int i = 0; i < 1000; i++) {
    t_turn(&server);
    if (mr_arm(server.reactor) != 0) continue;
    struct pollfd wake = {.fd = server.wake, .events = POLLIN};
    return poll(&wake, 1, 50) == 0;
  }
  return false;
}

// Somebody else holds the socket: the peer sees the end all the same, and we hear no more of it.
static bool shared(uint32_t backend, int family, uint16_t op) {
  struct mr_options o = t_options(backend);
  o.linger_timeout = 1;
  bool ok = true;
  uint32_t handle = 0;
  char byte;
  int pair[2] = {-1, -1};
  T_NEED(t_open_reactor(&server, &o) == 0);
  if (family == AF_UNIX) {
    T_NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  } else {
    const int listener = foreign_listener();
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server.where.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    pair[1] = socket(AF_INET, SOCK_STREAM, 0);
    T_NEED(connect(pair[1], (struct sockaddr *)&to, sizeof(to)) == 0);
    pair[0] = accept(listener, NULL, NULL);
    close(listener);
  }
  const int other = dup(pair[0]);
  T_NEED(mr_adopt(server.reactor, pair[0], &handle) == 0);
  struct t_conn *c = t_conn(&server, handle);
  c->handle = handle;
  c->live = true;
  server.opened = 1;
  t_turn(&server);
  t_command(&server, handle, op, 0);
  T_NEED(t_until_closed(&server, 1));
  const ssize_t got = recv(pair[1], &byte, 1, MSG_DONTWAIT);
  const bool reset = op == MR_CMD_TERMINATE && family == AF_INET;
  T_NEED(reset ? got == -1 && errno == ECONNRESET : got == 0);
  close(pair[1]);
  T_NEED(sleeps());
  close(other);
end:
  return t_close(&server) && ok;
}

static bool run_shared(uint32_t backend) {
  static const int families[] = {AF_UNIX, AF_INET};
  for (int i = 0; i < 2; i++) {
    if (!shared(backend, families[i], MR_CMD_TERMINATE) || !shared(backend, families[i], MR_CMD_FINISH)) {
      return false;
    }
  }
  return true;
}

int main(void) {
  T_BOTH("a listener without HTTP delivers the first byte as it is", run_first_byte);
  T_BOTH("its connections are closed when they are idle", run_idle);
  T_BOTH("a quiet stream is told of, where that is wanted", run_quiet);
  T_BOTH("accepted sockets have the options of the listener", run_tuned_listener);
  T_BOTH("options of one connection are set by its handle", run_tune);
  T_BOTH("an option that the kernel refuses leaves nothing open", run_tune_faults);
  T_BOTH("the IPv6 wildcard takes IPv4 unless it must not", run_ipv6_only);
  T_BOTH("an inherited listener is closed without its queue", run_inherited);
  T_BOTH("what cannot be inherited stays the caller's", run_not_inherited);
  T_BOTH("a connected socket is adopted", run_adopt);
  T_BOTH("what cannot be adopted stays the caller's", run_not_adopted);
  T_BOTH("a connection's own socket is not adopted again", run_adopted_twice);
  T_BOTH("what another process has opened does not wait for more to send", run_foreign_no_delay);
  T_BOTH("an adopted socket is ended although somebody else holds it", run_shared);
  return t_done();
}
