// SPDX-License-Identifier: Apache-2.0
// reactor_faults_test.c - a whole life of a server, in which each system call fails once, at every place.
//
// For each call and each N the N-th one fails, until a life passes in which there was no N-th one. Whatever
// happens, nothing may be left behind, and what is reported is an error or the right result.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "faults.h"
#include "harness.h"

enum { TIMES_MAX = 400, TURNS_MAX = 60 };

static struct t_server server;

static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

// Answers requests and echoes messages.
static void serve(struct t_server *s, const struct mr_record *record, const uint8_t *bytes) {
  if (record->kind == MR_HEAD && (record->flags & MR_UPGRADE) != 0) {
    t_command(s, record->handle, MR_CMD_WEBSOCKET, 1 << 20);
  } else if (record->kind == MR_HEAD) {
    t_send(s, record->handle, reply, sizeof(reply) - 1, 1);
  } else if (record->kind == MR_MESSAGE && record->length > 0) {
    t_send(s, record->handle, bytes, record->length, 0);
  } else if (record->kind == MR_CLOSE || record->kind == MR_END || record->kind == MR_VIOLATION) {
    t_command(s, record->handle, MR_CMD_FINISH, 0);
  }
}

// Bounded, since with a fault what was waited for may never come.
static void turns(bool (*enough)(void)) {
  for (int i = 0; i < TURNS_MAX && !enough() && server.polled >= 0; i++) t_turn(&server);
}

static bool replied(void) {
  return server.clients[0].in.length >= sizeof(reply) - 1 || server.clients[0].ended;
}

static bool echoed(void) {
  return server.clients[1].in.length >= 40000 || server.clients[1].ended;
}

static bool all_closed(void) {
  return server.ended == server.opened && server.control->listeners == 0;
}

// One life. False when a byte is wrong or something is left behind.
static bool live(uint32_t backend, bool *complete) {
  struct mr_options o = t_options(backend);
  static uint8_t script[50000], payload[40000];
  *complete = false;
  t_pattern(payload, sizeof(payload), 5);
  size_t at = sizeof(T_UPGRADE) - 1;
  memcpy(script, T_UPGRADE, at);
  at += t_frame(script + at, 0x82, payload, sizeof(payload));
  at += t_frame(script + at, 0x88, "\x03\xe8", 2);
  if (t_open(&server, &o, false) != 0) return true;
  server.handler = serve;
  t_write(&server, t_connect(&server), request, sizeof(request) - 1);
  turns(replied);
  t_write(&server, t_connect_sized(&server, 4096), script, at);
  turns(echoed);
  bool ok = server.clients[0].in.length <= sizeof(reply) - 1 &&
            memcmp(server.clients[0].in.length > 0 ? (const char *)server.clients[0].in.at : reply, reply,
                   server.clients[0].in.length) == 0;
  *complete = server.clients[1].in.length == 40000;
  ok = ok && server.clients[1].in.length <= 40000 &&
       (server.clients[1].in.length == 0 ||
        memcmp(server.clients[1].in.at, payload, server.clients[1].in.length) == 0);
  t_hang_up(&server, 0);
  t_hang_up(&server, 1);
  mr_unlisten(server.reactor, (uint32_t)server.listener);
  turns(all_closed);
  mr_arm(server.reactor);
  return t_close(&server) && ok;
}

static bool fail_each(uint32_t backend, enum sys_call call, const int *errors, size_t error_count) {
  bool ok = true;
  for (size_t e = 0; e < error_count; e++) {
    for (uint32_t n = 0; n < TIMES_MAX; n++) {
      const uint32_t fds = t_open_fds();
      const uint64_t since = t_now_ms();
      bool complete;
      t_faults_clear();
      t_fault(call, n, 1, errors[e]);
      bool good = live(backend, &complete);
      const bool fired = t_faults_fired() > 0;
      const bool slow = t_now_ms() - since > 1000;
      t_faults_clear();
      if (!good || slow || t_open_fds() != fds || (!fired && !complete)) {
        fprintf(stderr, "%s #%u errno %d: good %d complete %d, %u fds more, %lu ms\n", t_fault_name(call), n,
                errors[e], good, complete, t_open_fds() - fds, (unsigned long)(t_now_ms() - since));
        ok = false;
      }
      if (!fired) break;
    }
  }
  return ok;
}

static bool run_each(uint32_t backend) {
  static const int errors[SYS_CALLS][4] = {
      [SYS_ACCEPT] = {EMFILE, ECONNABORTED, EINTR, ENOMEM},
      [SYS_RECV] = {ECONNRESET, EINTR, EAGAIN, -1},
      [SYS_SEND] = {EPIPE, EINTR, EAGAIN, -1},
      [SYS_SENDMSG] = {EPIPE, EINTR, EAGAIN, ENOMEM},
      [SYS_SOCKET] = {EMFILE, ENOMEM, EACCES, EAFNOSUPPORT},
      [SYS_BIND] = {EADDRINUSE, EACCES, EADDRNOTAVAIL, ENOMEM},
      [SYS_LISTEN] = {EADDRINUSE, EOPNOTSUPP, ENOMEM, EINVAL},
      [SYS_EPOLL_CREATE] = {EMFILE, ENFILE, ENOMEM, ENOSYS},
      [SYS_EPOLL_CTL] = {ENOMEM, ENOSPC, EPERM, EBADF},
      [SYS_EPOLL_WAIT] = {EINTR, EINTR, EINTR, EINTR},
      [SYS_URING_SETUP] = {EPERM, ENOSYS, ENOMEM, EMFILE},
      [SYS_URING_REGISTER] = {EPERM, EINVAL, ENOMEM, EBUSY},
      [SYS_URING_ENTER] = {EINTR, EAGAIN, EBUSY, ENOMEM},
      [SYS_MMAP] = {ENOMEM, EAGAIN, EPERM, ENFILE},
      [SYS_EVENTFD] = {EMFILE, ENFILE, ENOMEM, EINVAL},
      [SYS_TIMERFD] = {EMFILE, ENFILE, ENOMEM, EPERM},
      [SYS_SOCKETPAIR] = {EMFILE, ENFILE, ENOMEM, EACCES},
      [SYS_THREAD] = {EAGAIN, EPERM, EAGAIN, EAGAIN},
  };
  bool ok = true;
  for (int call = 0; call < SYS_CALLS; call++) {
    ok = fail_each(backend, (enum sys_call)call, errors[call], 4) && ok;
  }
  return ok;
}

int main(void) {
  bool complete;
  // Opened once: the arena and whatever the C library keeps open.
  for (uint32_t backend = MR_IO_URING; backend <= MR_EPOLL; backend++) {
    if (!live(backend, &complete) || !complete)
      fprintf(stderr, "%s does not work\n", t_backend_name(backend));
  }
  T_BOTH("each system call fails once at every place, and nothing is left behind", run_each);
  return t_done();
}
