// SPDX-License-Identifier: Apache-2.0
// reactor_listen_test.c - listeners: addresses, limits, errors of accept, and closing without losing anyone.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "faults.h"
#include "harness.h"
#include "limits.h"

static struct t_server server;

static bool listener_gone(struct t_server *s, const void *context) {
  return s->control->listeners == 0 && context == NULL;
}

static bool awake(int ms) {
  struct pollfd fd = {.fd = server.wake, .events = POLLIN};
  return poll(&fd, 1, ms) == 1;
}

// Turns until there is nothing to do and the reactor is armed.
static bool asleep(void) {
  uint8_t bytes[64];
  for (int i = 0; i < 100; i++) {
    t_turn(&server);
    while (read(server.wake, bytes, sizeof(bytes)) > 0) continue;
    if (mr_arm(server.reactor) == 0) return true;
  }
  return false;
}

// Whoever was in the accept queue when mr_unlisten was called is served.
static bool run_unlisten(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  for (int round = 0; round < 4; round++) {
    T_NEED(t_open(&server, &o, round % 2 == 0) == 0);
    if (round >= 2) t_turn(&server);
    for (uint32_t i = 0; i < 100; i++) t_connect(&server);
    T_NEED(mr_unlisten(server.reactor, (uint32_t)server.listener) == 0);
    T_NEED(mr_unlisten(server.reactor, (uint32_t)server.listener) == 0);
    T_NEED(t_until(&server, listener_gone, NULL));
    T_NEED(t_until_opened(&server, 100));
    T_NEED(server.ended == 0 && mr_unlisten(server.reactor, (uint32_t)server.listener) == -EINVAL);
    T_NEED(t_close(&server));
  }
end:
  if (server.reactor != NULL) t_close(&server);
  return ok;
}

// One broken connection in the queue does not cost the others.
static bool run_unlisten_fault(uint32_t backend) {
  static const int errors[] = {ECONNABORTED, EINTR, EPROTO};
  struct mr_options o = t_options(backend);
  bool ok = true;
  for (int i = 0; i < 3; i++) {
    T_NEED(t_open(&server, &o, false) == 0);
    t_turn(&server);
    T_NEED(mr_unlisten(server.reactor, (uint32_t)server.listener) == 0);
    if (backend == MR_IO_URING) t_turn(&server);  // the ring's accept is cancelled first
    for (uint32_t j = 0; j < 5; j++) t_connect(&server);
    t_faults_clear();
    t_fault(SYS_ACCEPT, 1, 1, errors[i]);
    T_NEED(t_until(&server, listener_gone, NULL));
    T_NEED(backend == MR_IO_URING || t_faults_fired() == 1);
    T_NEED(server.opened == 5);
    T_NEED(t_close(&server));
  }
end:
  t_faults_clear();
  if (server.reactor != NULL) t_close(&server);
  return ok;
}

static bool run_addresses(uint32_t backend) {
  struct mr_options o = t_options(backend);
  char text[MR_TEXT_BYTES], expected[MR_TEXT_BYTES], path[64];
  bool ok = true;
  int32_t id;
  snprintf(path, sizeof(path), "/tmp/millrace-test-%d.sock", getpid());
  T_NEED(t_open_reactor(&server, &o) == 0);
  T_NEED((id = t_listen(&server, "127.0.0.1", 0, 0)) >= 0);
  snprintf(expected, sizeof(expected), "127.0.0.1 %u", server.where.port);
  T_NEED(mr_listen_address(server.reactor, (uint32_t)id, text) == 0 && strcmp(text, expected) == 0);
  t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  T_NEED(mr_peer_address(server.reactor, server.last, text) == 0 && strncmp(text, "127.0.0.1 ", 10) == 0);
  T_NEED(t_listen(&server, "127.0.0.1", server.where.port, 0) == -EADDRINUSE);
  if ((id = t_listen(&server, "::1", 0, 0)) >= 0) {
    snprintf(expected, sizeof(expected), "::1 %u", server.where.port);
    T_NEED(mr_listen_address(server.reactor, (uint32_t)id, text) == 0 && strcmp(text, expected) == 0);
    t_connect(&server);
    T_NEED(t_until_opened(&server, 2));
    T_NEED(mr_peer_address(server.reactor, server.last, text) == 0 && strncmp(text, "::1 ", 4) == 0);
  }
  const uint32_t before = server.opened;
  unlink(path);
  T_NEED((id = t_listen(&server, path, 0, MR_UNIX)) >= 0);
  T_NEED(mr_listen_address(server.reactor, (uint32_t)id, text) == MR_UNIX && strcmp(text, path) == 0);
  t_connect(&server);
  T_NEED(t_until_opened(&server, before + 1));
  T_NEED(mr_peer_address(server.reactor, server.last, text) == MR_UNIX && text[0] == '\0');
  T_NEED(mr_local_address(server.reactor, server.last, text) == MR_UNIX && strcmp(text, path) == 0);
  T_NEED((id = t_listen(&server, "@millrace-abstract", 0, MR_UNIX)) >= 0);
  T_NEED(mr_listen_address(server.reactor, (uint32_t)id, text) == MR_UNIX);
  T_NEED(strcmp(text, "@millrace-abstract") == 0);
  t_connect(&server);
  T_NEED(t_until_opened(&server, before + 2));
  T_NEED(t_listen(&server, "@millrace-abstract", 0, MR_UNIX) == -EADDRINUSE);
end:
  unlink(path);
  return t_close(&server) && ok;
}

static bool run_arguments(uint32_t backend) {
  struct mr_options o = t_options(backend);
  struct mr_listen_options listen = {.port = 0, .backlog = 16};
  char text[MR_TEXT_BYTES], name[120];
  bool ok = true;
  T_NEED(t_open_reactor(&server, &o) == 0);
  T_NEED(mr_listen(server.reactor, NULL, NULL) == -EINVAL);
  memset(listen.host, 'a', sizeof(listen.host));
  T_NEED(mr_listen(server.reactor, &listen, NULL) == -EINVAL);
  snprintf(listen.host, sizeof(listen.host), "127.0.0.1");
  listen.port = 65536;
  T_NEED(mr_listen(server.reactor, &listen, NULL) == -EINVAL);
  memset(name, 'x', sizeof(name));
  name[sizeof(name) - 1] = '\0';
  T_NEED(t_listen(&server, name, 0, MR_UNIX) == -ENAMETOOLONG && t_listen(&server, "", 0, MR_UNIX) < 0);
  T_NEED(t_listen(&server, "not a host name", 0, 0) < 0);
  T_NEED(t_listen(&server, "/nowhere/at/all", 0, MR_UNIX) == -ENOENT);
  T_NEED(mr_listen_address(server.reactor, 0, text) == -EINVAL && mr_unlisten(server.reactor, 0) == -EINVAL);
  T_NEED(mr_listen_address(server.reactor, 4000000000u, text) == -EINVAL);
  static const struct {
    enum sys_call call;
    int error;
  } faults[] = {{SYS_SOCKET, EMFILE}, {SYS_BIND, EACCES}, {SYS_LISTEN, EADDRINUSE}};
  const uint32_t fds = t_open_fds();
  for (int i = 0; i < 3; i++) {
    t_faults_clear();
    t_fault(faults[i].call, 0, 1, faults[i].error);
    T_NEED(t_listen(&server, "127.0.0.1", 0, 0) == -faults[i].error && t_open_fds() == fds);
  }
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

static bool run_many(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open_reactor(&server, &o) == 0);
  for (int32_t i = 0; i < LISTENERS_MAX; i++) T_NEED(t_listen(&server, "127.0.0.1", 0, 0) == i);
  T_NEED(t_listen(&server, "127.0.0.1", 0, 0) == -EMFILE);
  t_connect_sized(&server, 0);
  T_NEED(mr_unlisten(server.reactor, 5) == 0);
  for (int i = 0; i < 20 && server.control->listeners == LISTENERS_MAX; i++) t_turn(&server);
  T_NEED(server.control->listeners == LISTENERS_MAX - 1);
  T_NEED(t_listen(&server, "127.0.0.1", 0, 0) == 5);
  t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  for (uint32_t i = 0; i < LISTENERS_MAX; i++) T_NEED(mr_unlisten(server.reactor, i) == 0);
  T_NEED(t_until(&server, listener_gone, NULL));
end:
  return t_close(&server) && ok;
}

// At the limit the others wait in the queue, and one after the other gets its turn.
static bool run_limit(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.max_connections = 3;
  bool ok = true;
  T_NEED(t_open(&server, &o, false) == 0);
  for (uint32_t i = 0; i < 12; i++) t_connect(&server);
  T_NEED(t_until_opened(&server, 3));
  t_turn_for(&server, 20);
  T_NEED(server.opened == 3 && server.control->connections == 3);
  const uint32_t refused = (uint32_t)server.control->refused;
  for (uint32_t i = 0; server.opened < 12 - refused; i++) {
    t_command(&server, server.last, MR_CMD_TERMINATE, 0);
    T_NEED(t_until_closed(&server, i + 1));
    T_NEED(t_until_opened(&server, 4 + i));
    T_NEED(server.control->connections <= 3 && server.control->refused == refused);
  }
end:
  return t_close(&server) && ok;
}

// The place that becomes free in the very turn in which the last one was taken is used too.
static bool run_limit_same_turn(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.max_connections = 2;
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t first = t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  t_turn_for(&server, 20);
  t_connect(&server);
  t_reset(&server, first);
  T_NEED(t_until_opened(&server, 2) && t_until_closed(&server, 1));
  // Asleep: only the newcomer itself can wake us.
  T_NEED(asleep());
  t_connect(&server);
  T_NEED(awake(T_DEADLINE_MS));
  T_NEED(t_until_opened(&server, 3));
end:
  return t_close(&server) && ok;
}

// No descriptor left: the listener rests and then goes on; nobody in the queue is lost.
static bool run_no_descriptors(uint32_t backend) {
  struct mr_options o = t_options(backend);
  struct rlimit before, none;
  bool ok = true;
  T_NEED(getrlimit(RLIMIT_NOFILE, &before) == 0);
  T_NEED(t_open(&server, &o, false) == 0);
  for (int i = 0; i < 5; i++) t_connect(&server);
  // io_uring looks at the limit when it takes the accept over, which is in the first turn.
  int next = dup(0);
  none = (struct rlimit){(rlim_t)next, before.rlim_max};
  close(next);
  T_NEED(setrlimit(RLIMIT_NOFILE, &none) == 0);
  t_turn_for(&server, 50);
  const uint64_t polls = server.control->polls;
  t_turn_for(&server, 500);
  const bool calm = server.control->polls - polls < 100;
  const uint32_t opened = server.opened;
  T_NEED(setrlimit(RLIMIT_NOFILE, &before) == 0);
  if (!calm || opened > 0) {
    fprintf(stderr, "%lu polls, %u opened, %lu errors\n", (unsigned long)(server.control->polls - polls),
            opened, (unsigned long)server.control->accept_errors);
  }
  T_NEED(calm && opened == 0 && server.control->accept_errors > 0);
  T_NEED(t_until_opened(&server, 5));
end:
  setrlimit(RLIMIT_NOFILE, &before);
  return t_close(&server) && ok;
}

// Errors of one connection, not of the listener; then EMFILE again and again.
static bool run_accept_faults(uint32_t backend) {
  static const int errors[] = {ECONNABORTED, EINTR, EPROTO, ENETDOWN, EPERM, EMFILE, ENFILE, ENOMEM, ENOBUFS};
  if (backend != MR_EPOLL) return true;  // its accepts are not system calls
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, false) == 0);
  for (uint32_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
    t_faults_clear();
    t_fault(SYS_ACCEPT, 0, 3, errors[i]);
    const uint64_t before = server.control->accept_errors;
    t_connect(&server);
    T_NEED(t_until_opened(&server, i + 1));
    T_NEED(server.control->accept_errors == before + 3);
  }
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

int main(void) {
  T_BOTH("mr_unlisten serves the accept queue before it closes", run_unlisten);
  T_BOTH("mr_unlisten survives a broken connection in the queue", run_unlisten_fault);
  T_BOTH("addresses as text: IPv4, IPv6, paths, abstract names", run_addresses);
  T_BOTH("arguments that do not fit and calls that fail are refused", run_arguments);
  T_BOTH("64 listeners and not one more", run_many);
  T_BOTH("max_connections holds, and nobody in the queue is forgotten", run_limit);
  T_BOTH("a place freed in the turn that took the last one is used", run_limit_same_turn);
  T_BOTH("without descriptors the listener rests and goes on", run_no_descriptors);
  T_BOTH("errors of accept do not end the listener", run_accept_faults);
  return t_done();
}
