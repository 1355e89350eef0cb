// SPDX-License-Identifier: Apache-2.0
// reactor_open_test.c - opening and closing: options, fallbacks with their reasons, and nothing left behind.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "faults.h"
#include "harness.h"
#include "reactor.h"

static struct t_server server;
static uint8_t noise[1 << 20];

static bool run_rounds(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, false) == 0 && t_close(&server));
  const uint32_t fds = t_open_fds();
  for (int i = 0; i < 1000; i++) {
    T_NEED(t_open_reactor(&server, &o) == 0);
    T_NEED(server.control->connections == 0 && server.control->polls == 0);
    if (i % 2 == 0) t_turn(&server);
    T_NEED(t_close(&server));
  }
  T_NEED(t_open_fds() == fds);
end:
  return ok;
}

// Live connections, unread data, sends in flight, and some that nobody has accepted yet.
static bool run_close_busy(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0 && t_close(&server));
  const uint32_t fds = t_open_fds();
  for (int i = 0; i < 20; i++) {
    T_NEED(t_open(&server, &o, true) == 0);
    for (uint32_t j = 0; j < 10; j++) {
      uint32_t client = t_connect_sized(&server, 4096);
      server.clients[client].reading = false;
      T_NEED(t_until_opened(&server, j + 1));
      t_write(&server, client, noise, (size_t)j * 20000);
      t_send(&server, server.last, noise, j * 100000, 0);
      if (j % 3 == 0) t_command(&server, server.last, MR_CMD_PAUSE, 0);
      if (j % 3 == 1) t_command(&server, server.last, MR_CMD_FINISH, 0);
      for (int turns = 0; turns < i % 4; turns++) t_turn(&server);
    }
    T_NEED(t_close(&server));
    T_NEED(t_open_fds() == fds);
  }
end:
  return ok;
}

// A send that completes while the reactor closes answers a question that nobody is left to hear.
static bool run_close_notified(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  t_faults_clear();
  t_fault(SYS_SEND, 0, 1, EAGAIN);
  t_send(&server, server.last, "late", 4, 0);
  t_command(&server, server.last, MR_CMD_NOTIFY, 0);
  t_flush(&server, 1);
  T_NEED(t_faults_fired() == 1);
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

// Connections that the kernel has accepted for us and that we have never looked at.
static bool run_close_backlog(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0 && t_close(&server));
  const uint32_t fds = t_open_fds();
  for (int i = 0; i < 3; i++) {
    T_NEED(t_open(&server, &o, false) == 0);
    if (i > 0) t_turn(&server);
    for (int j = 0; j < 5; j++) t_connect(&server);
    uint64_t since = t_now_ms();
    T_NEED(t_close(&server));
    T_NEED(t_now_ms() - since < 1000 && t_open_fds() == fds);
  }
end:
  return ok;
}

static bool run_arena_again(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  for (int i = 0; i < 10; i++) {
    T_NEED(t_open(&server, &o, false) == 0);
    t_write(&server, t_connect(&server), request, sizeof(request) - 1);
    T_NEED(t_until_seen(&server, MR_HEAD, 1));
    T_NEED(server.control->accepted == 1 && server.last == 1u << MR_SLOT_BITS);
    T_NEED(t_close(&server));
  }
end:
  return ok;
}

static bool run_options(void) {
  struct mr_options o = t_options(MR_AUTO);
  bool ok = true;
  T_NEED(t_open_reactor(&server, &o) == 0);
  mr_arena *arena = server.arena;
  mr_reactor *other;
  char reason[MR_TEXT_BYTES], name[MR_TEXT_BYTES];
  T_NEED(mr_backend(server.reactor, name, reason) == 0);
  T_NEED(strcmp(name, "io_uring") == 0 || strcmp(name, "epoll") == 0);
  T_NEED(t_close(&server));
  struct mr_options bigger = o;
  bigger.max_connections *= 2;
  T_NEED(mr_open(arena, &bigger, &other, reason) == -EINVAL);
  bigger = o;
  bigger.batch = 0;
  T_NEED(mr_open(arena, &bigger, &other, reason) == -EINVAL);
  bigger = o;
  bigger.batch = 0x80000000;  // would be a negative capacity of epoll_wait, and needs 24 GiB before that
  bigger.backend = MR_IO_URING;
  int32_t rc = mr_open(arena, &bigger, &other, reason);
  if (rc == 0) mr_close(other);
  T_NEED(rc == -EINVAL);
  T_NEED(mr_open(NULL, &o, &other, reason) == -EINVAL && mr_open(arena, NULL, &other, reason) == -EINVAL);
end:
  return ok;
}

struct refusal {
  enum sys_call call;
  uint32_t skip;
  int error;
  const char *text;
};

static const struct refusal uring_refusals[] = {
    {SYS_URING_SETUP, 0, EPERM, "io_uring_setup failed: EPERM"},
    {SYS_URING_SETUP, 0, ENOSYS, "io_uring_setup failed: ENOSYS"},
    {SYS_URING_SETUP, 0, EINVAL, "io_uring_setup failed: EINVAL"},
    {SYS_URING_SETUP, 1, ENOMEM, "wake ring failed: ENOMEM"},
    {SYS_URING_REGISTER, 0, EPERM, "buffer ring failed: EPERM"},
    {SYS_URING_REGISTER, 1, EPERM, "eventfd failed: EPERM"},
    {SYS_URING_ENTER, 0, EPERM, "receive failed: EPERM"},
    {SYS_MMAP, 0, ENOMEM, "buffer ring failed: ENOMEM"},
    {SYS_EVENTFD, 0, EMFILE, "eventfd failed: EMFILE"},
    {SYS_SOCKETPAIR, 1, EMFILE, "receive failed: EMFILE"},
};

// Explicit: an error with its reason. Auto: epoll, and the same reason.
static bool run_refusals(void) {
  bool ok = true;
  struct mr_options o = t_options(MR_AUTO);
  T_NEED(t_open(&server, &o, false) == 0 && t_close(&server));
  const uint32_t fds = t_open_fds();
  for (size_t i = 0; i < sizeof(uring_refusals) / sizeof(uring_refusals[0]); i++) {
    const struct refusal *refusal = &uring_refusals[i];
    char name[MR_TEXT_BYTES], reason[MR_TEXT_BYTES];
    uint64_t since = t_now_ms();
    o.backend = MR_IO_URING;
    t_faults_clear();
    t_fault(refusal->call, refusal->skip, 1, refusal->error);
    int32_t rc = t_open_reactor(&server, &o);
    bool told = strstr(server.reason, refusal->text) != NULL;
    if (rc != -refusal->error || !told) fprintf(stderr, "%s: %d %s\n", refusal->text, rc, server.reason);
    if (rc == 0) t_close(&server);
    ok = ok && rc == -refusal->error && told;
    o.backend = MR_AUTO;
    t_faults_clear();
    t_fault(refusal->call, refusal->skip, 1, refusal->error);
    T_NEED(t_open_reactor(&server, &o) == 0);
    mr_backend(server.reactor, name, reason);
    told = strcmp(name, "epoll") == 0 && strstr(reason, refusal->text) != NULL;
    if (!told) fprintf(stderr, "%s: %s, %s\n", refusal->text, name, reason);
    ok = t_close(&server) && ok && told;
    if (t_now_ms() - since > 500) fprintf(stderr, "%s: took %lu ms\n", refusal->text, t_now_ms() - since);
    ok = ok && t_now_ms() - since <= 500 && t_open_fds() == fds;
  }
end:
  t_faults_clear();
  return ok;
}

// Less memory than asked for makes the ring smaller, down to a limit.
static bool run_smaller_ring(void) {
  bool ok = true;
  struct mr_options o = t_options(MR_IO_URING);
  o.ring_entries = 1024;
  t_faults_clear();
  t_fault(SYS_URING_SETUP, 0, 2, ENOMEM);
  T_NEED(t_open(&server, &o, false) == 0 && t_faults_fired() == 2);
  t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  T_NEED(t_close(&server));
  t_faults_clear();
  t_fault(SYS_URING_SETUP, 0, 100, ENOMEM);
  T_NEED(t_open_reactor(&server, &o) == -ENOMEM);
  T_NEED(strstr(server.reason, "ENOMEM") != NULL && strstr(server.reason, "memory") != NULL);
end:
  t_faults_clear();
  return ok;
}

// What both backends need: the reason names the step and the errno.
static bool run_common_refusals(uint32_t backend) {
  static const struct refusal common[] = {
      {SYS_SOCKETPAIR, 0, EMFILE, "wake socket failed: EMFILE"},
      {SYS_TIMERFD, 0, EMFILE, "timerfd"},
  };
  static const struct refusal epoll[] = {
      {SYS_EPOLL_CREATE, 0, EMFILE, "epoll_create1 failed: EMFILE"},
      {SYS_EPOLL_CREATE, 1, EMFILE, "wake thread failed: EMFILE"},
      {SYS_EPOLL_CTL, 0, ENOMEM, "epoll_ctl failed: ENOMEM"},
      {SYS_EPOLL_CTL, 1, ENOSPC, "wake thread failed: ENOSPC"},
      {SYS_EVENTFD, 0, EMFILE, "wake thread failed: EMFILE"},
      {SYS_THREAD, 0, EAGAIN, "wake thread failed: EAGAIN"},
  };
  bool ok = true;
  struct mr_options o = t_options(backend);
  const uint32_t fds = t_open_fds();
  for (size_t i = 0; i < (backend == MR_EPOLL ? 8 : 2); i++) {
    const struct refusal *refusal = i < 2 ? &common[i] : &epoll[i - 2];
    t_faults_clear();
    t_fault(refusal->call, refusal->skip, 1, refusal->error);
    int32_t rc = t_open_reactor(&server, &o);
    bool told = rc == -refusal->error && strstr(server.reason, refusal->text) != NULL;
    if (!told) fprintf(stderr, "%s: %d %s\n", refusal->text, rc, server.reason);
    ok = ok && told && t_open_fds() == fds;
    if (rc == 0) t_close(&server);
  }
  t_faults_clear();
  return ok;
}

// The last step: the backend is open by then. Where one was not to be had before, the other one is tried.
static bool run_prefault(uint32_t backend) {
  bool ok = true;
  struct mr_options o = t_options(backend);
  T_NEED(t_open_reactor(&server, &o) == 0 && t_close(&server));
  const uint32_t fds = t_open_fds();
  o.prefault = 1;
  for (uint32_t skip = 0; skip < 2; skip++) {
    t_faults_clear();
    t_fault(SYS_MADVISE, skip, 1, ENOMEM);
    T_NEED(t_open_reactor(&server, &o) == -ENOMEM && t_faults_fired() == 1);
    T_NEED(strstr(server.reason, "taking all memory at once failed: ENOMEM") != NULL);
    T_NEED(t_open_fds() == fds);
  }
  t_faults_clear();
  T_NEED(t_open_reactor(&server, &o) == 0);
  struct mr_memory memory;
  T_NEED(mr_arena_memory(server.arena, &memory) == 0);
  T_NEED(memory.counted == 0 || memory.resident_bytes == memory.mapped_bytes);
  T_NEED(t_close(&server) && t_open_fds() == fds);
end:
  t_faults_clear();
  return ok;
}

int main(void) {
  t_pattern(noise, sizeof(noise), 3);
  T_BOTH("a thousand times open and close leave nothing", run_rounds);
  T_BOTH("mr_close ends live connections, unread data and sends in flight", run_close_busy);
  T_BOTH("mr_close ends a send whose completion is asked for", run_close_notified);
  T_BOTH("mr_close refuses who is still in the accept queue", run_close_backlog);
  T_BOTH("an arena used again is as new", run_arena_again);
  t_case("options that do not fit are refused", run_options());
  t_case("without io_uring: epoll or an error, with the reason", run_refusals());
  fflush(stdout);
  t_case("a ring too large for the memory is made smaller", run_smaller_ring());
  T_BOTH("what fails while opening is named", run_common_refusals);
  T_BOTH("memory that is to be there at once is, or is said not to be", run_prefault);
  return t_done();
}
