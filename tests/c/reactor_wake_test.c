// SPDX-License-Identifier: Apache-2.0
// reactor_wake_test.c - an armed reactor wakes its event loop for whatever arrives, and for nothing else.
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "faults.h"
#include "harness.h"

enum { ROUNDS = 10000 };

static struct t_server server;

static bool readable(int ms) {
  struct pollfd fd = {.fd = server.wake, .events = POLLIN};
  return poll(&fd, 1, ms) == 1;
}

static void swallow(void) {
  uint8_t bytes[64];
  while (read(server.wake, bytes, sizeof(bytes)) > 0) continue;
}

// Turns until arming finds nothing to do; false when it never does.
static bool armed(void) {
  for (int i = 0; i < 1000; i++) {
    t_turn(&server);
    int32_t rc = mr_arm(server.reactor);
    if (rc <= 0) return rc == 0;
  }
  return false;
}

static bool run_every_byte(uint32_t backend) {
  struct mr_options o = t_options(backend);
  uint8_t frame[16];
  size_t length = t_frame(frame, 0x82, "b", 1);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  t_write(&server, client, T_UPGRADE, sizeof(T_UPGRADE) - 1);
  T_NEED(t_until_seen(&server, MR_HEAD, 1));
  t_command(&server, server.last, MR_CMD_WEBSOCKET, 1 << 20);
  for (uint32_t i = 0; i < ROUNDS; i++) {
    // Arming with the byte under way at any moment of the call: every other round sends before arming.
    if (i % 2 == 1) T_NEED(send(server.clients[client].fd, frame, length, MSG_DONTWAIT) == (ssize_t)length);
    int32_t rc = i % 2 == 1 ? mr_arm(server.reactor) : (armed() ? 0 : -1);
    T_NEED(rc >= 0);
    if (i % 2 == 0) T_NEED(send(server.clients[client].fd, frame, length, MSG_DONTWAIT) == (ssize_t)length);
    T_NEED(rc == 1 || readable(T_DEADLINE_MS));
    swallow();
    for (int turn = 0; turn < 3 && t_last(&server)->seen[MR_MESSAGE] <= i; turn++) t_turn(&server);
    T_NEED(t_last(&server)->seen[MR_MESSAGE] == i + 1);
  }
end:
  return t_close(&server) && ok;
}

static bool run_silence(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  T_NEED(armed());
  swallow();
  T_NEED(!readable(150));
  // Arming again adds nothing.
  for (int i = 0; i < 10; i++) T_NEED(mr_arm(server.reactor) == 0);
  T_NEED(!readable(50));
end:
  return t_close(&server) && ok;
}

static bool run_accept(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  for (uint32_t i = 1; i <= 100; i++) {
    T_NEED(armed());
    swallow();
    uint32_t client = t_connect(&server);
    T_NEED(readable(T_DEADLINE_MS));
    t_turn(&server);
    T_NEED(server.opened == i);
    if (i % 2 == 0) continue;
    t_turn(&server);
    T_NEED(armed());
    swallow();
    t_hang_up(&server, client);
    T_NEED(readable(T_DEADLINE_MS));
    t_turn(&server);
    T_NEED(t_last(&server)->seen[MR_END] == 1);
  }
end:
  return t_close(&server) && ok;
}

static bool run_pending(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  T_NEED(armed());
  swallow();
  t_send(&server, server.last, "x", 1, 0);
  t_flush(&server, 0);
  T_NEED(mr_arm(server.reactor) == 1);
  T_NEED(armed());
  swallow();
  t_command(&server, server.last, MR_CMD_RESUME, 0);
  t_flush(&server, 0);
  T_NEED(mr_arm(server.reactor) == 1);
  T_NEED(armed());
  T_NEED(mr_unlisten(server.reactor, (uint32_t)server.listener) == 0);
  T_NEED(mr_arm(server.reactor) == 1);
end:
  return t_close(&server) && ok;
}

static bool run_wake(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  T_NEED(armed());
  swallow();
  T_NEED(mr_wake(server.reactor) == 0 && readable(0));
  swallow();
  // Far more than the socket holds: none may block or fail.
  for (int i = 0; i < 5000; i++) T_NEED(mr_wake(server.reactor) == 0);
  swallow();
  T_NEED(armed());
  t_connect(&server);
  T_NEED(readable(T_DEADLINE_MS));
end:
  return t_close(&server) && ok;
}

// A failure to arm passes, and arming works again.
static bool run_arm_fails(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  T_NEED(armed());
  t_connect(&server);
  T_NEED(readable(T_DEADLINE_MS));
  t_turn(&server);
  for (int i = 0; i < 5; i++) t_turn(&server);
  swallow();
  t_faults_clear();
  t_fault(backend == MR_EPOLL ? SYS_EPOLL_CTL : SYS_URING_ENTER, 0, 3, EAGAIN);
  for (int i = 0; i < 3; i++) T_NEED(mr_arm(server.reactor) < 0);
  T_NEED(mr_arm(server.reactor) == 0);
  t_connect(&server);
  T_NEED(readable(T_DEADLINE_MS));
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

int main(void) {
  T_BOTH("10,000 bytes wake 10,000 times", run_every_byte);
  T_BOTH("nothing happens: nobody is woken", run_silence);
  T_BOTH("connections and hang-ups wake", run_accept);
  T_BOTH("mr_arm answers 1 when work is pending", run_pending);
  T_BOTH("mr_wake wakes, however often", run_wake);
  T_BOTH("arming works again after it has failed", run_arm_fails);
  return t_done();
}
