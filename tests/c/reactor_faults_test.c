// SPDX-License-Identifier: Apache-2.0
// reactor_faults_test.c - a whole life of a server, in which each system call fails once, at every place.
//
// For each call and each N the N-th one fails, until a life passes in which there was no N-th one. Whatever
// happens, nothing may be left behind, and what is reported is an error or the right result.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "check.h"
#include "faults.h"
#include "harness.h"

enum { TIMES_MAX = 400, TURNS_MAX = 60, STREAMED = 30000 };

static struct t_server server;

static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#define CONNECT "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"

static uint32_t stream;  // handle of the connection that came with CONNECT

// What a stream asks for: its bytes back, word of them, and its end.
static void serve_stream(struct t_server *s, const struct mr_record *record, const uint8_t *bytes) {
  if (record->kind == MR_HEAD) t_command(s, record->handle, MR_CMD_STREAM, 0);
  if (record->kind == MR_END) t_command(s, record->handle, MR_CMD_END, 0);
  if (record->kind != MR_DATA) return;
  t_send(s, record->handle, bytes, record->length, 0);
  t_command(s, record->handle, MR_CMD_NOTIFY, 0);
}

// Answers requests, echoes messages and bytes.
static void serve(struct t_server *s, const struct mr_record *record, const uint8_t *bytes) {
  if (record->kind == MR_HEAD && (record->aux & 0xff) == 7) stream = record->handle;
  if (record->handle == stream) {
    serve_stream(s, record, bytes);
  } else if (record->kind == MR_HEAD && (record->flags & MR_UPGRADE) != 0) {
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

static bool taken(void) {
  return server.clients[2].out_done == server.clients[2].out_length || server.clients[2].error != 0;
}

static bool streamed(void) {
  return server.clients[2].ended || server.clients[2].error != 0;
}

static bool all_closed(void) {
  return server.ended == server.opened && server.control->listeners == 0;
}

// What came back is the start of what was sent.
static bool is_start(uint32_t client, const uint8_t *bytes, size_t length) {
  const struct t_bytes *in = &server.clients[client].in;
  return in->length <= length && (in->length == 0 || memcmp(in->at, bytes, in->length) == 0);
}

// One life. False when a byte is wrong or something is left behind.
static bool live(uint32_t backend, bool *complete) {
  struct mr_options o = t_options(backend);
  static uint8_t script[50000], payload[40000], bytes[sizeof(CONNECT) + STREAMED];
  const size_t connect = sizeof(CONNECT) - 1;
  *complete = false;
  stream = 0;
  t_pattern(payload, sizeof(payload), 5);
  size_t at = sizeof(T_UPGRADE) - 1;
  memcpy(script, T_UPGRADE, at);
  at += t_frame(script + at, 0x82, payload, sizeof(payload));
  at += t_frame(script + at, 0x88, "\x03\xe8", 2);
  memcpy(bytes, CONNECT, connect);
  memcpy(bytes + connect, payload, STREAMED);
  if (t_open(&server, &o, false) != 0) return true;
  server.handler = serve;
  t_write(&server, t_connect(&server), request, sizeof(request) - 1);
  turns(replied);
  t_write(&server, t_connect_sized(&server, 4096), script, at);
  turns(echoed);
  const uint32_t tunnel = t_connect_sized(&server, 4096);
  t_write(&server, tunnel, bytes, connect + STREAMED);
  turns(taken);
  shutdown(server.clients[tunnel].fd, SHUT_WR);
  turns(streamed);
  const bool ok = is_start(0, (const uint8_t *)reply, sizeof(reply) - 1) &&
                  is_start(1, payload, sizeof(payload)) && is_start(2, payload, STREAMED);
  *complete = server.clients[1].in.length == sizeof(payload) && server.clients[2].in.length == STREAMED;
  for (uint32_t client = 0; client < 3; client++) t_hang_up(&server, client);
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
      [SYS_RECVMSG] = {ECONNRESET, EINTR, EAGAIN, -1},
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
