// SPDX-License-Identifier: Apache-2.0
// conn_file_test.c - MR_CMD_FILE: all bytes of the range behind what was staged, and the descriptor closed in
// every fate.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "faults.h"
#include "harness.h"
#include "reactor.h"

enum { MIB = 1 << 20, FILE_BYTES = 3 * MIB };

static struct t_server server;
static uint8_t noise[FILE_BYTES];

// The file of all tests, once more.
static int file(void) {
  int fd = memfd_create("file", MFD_CLOEXEC);
  if (fd < 0 || write(fd, noise, sizeof(noise)) != sizeof(noise)) perror("memfd_create");
  return fd;
}

static bool open_narrow(const struct mr_options *o, uint32_t *client) {
  bool ok = true;
  T_NEED(t_open(&server, o, true) == 0);
  *client = t_connect_sized(&server, 4096);
  T_NEED(t_until_opened(&server, 1));
  int fd = server.reactor->conns[server.last & MR_SLOT_MASK].fd, small = 4096;
  T_NEED(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
end:
  return ok;
}

// Head, range, and what is staged once the range is gone.
static bool exchange(uint32_t client, uint64_t start, uint32_t length, bool room) {
  bool ok = true;
  struct t_bytes *in = &server.clients[client].in;
  struct mr_row *row = &server.rows[server.last & MR_SLOT_MASK];
  in->length = 0;
  uint32_t sent = t_last(&server)->seen[MR_FILE_SENT];
  uint64_t counted = server.control->sent_bytes;
  t_send(&server, server.last, "head", 4, 0);
  t_send_file(&server, server.last, file(), start, length, room);
  if (!room) T_NEED(t_until_seen(&server, MR_FILE_SENT, sent + 1));
  t_send(&server, server.last, "tail", 4, 0);
  T_NEED(t_until_read(&server, client, length + 8));
  T_NEED(memcmp(in->at, "head", 4) == 0 && memcmp(in->at + 4, noise + start, length) == 0);
  T_NEED(memcmp(in->at + 4 + length, "tail", 4) == 0 && in->length == length + 8);
  t_turn(&server);
  T_NEED(row->queued == 0 && server.control->sent_bytes == counted + length + 8);
  T_NEED(t_last(&server)->seen[MR_FILE_SENT] == sent + (room ? 0 : 1));
end:
  return ok;
}

static bool run_sizes(uint32_t backend) {
  static const uint32_t sizes[] = {0, 1, 16383, 16384, 16385, 65536, 524288, 524289, FILE_BYTES - 7};
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t client;
  T_NEED(open_narrow(&o, &client));
  const uint32_t fds = t_open_fds();
  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
    T_NEED(exchange(client, 7, sizes[i], false));
    if (sizes[i] > 0 && sizes[i] <= 16384) T_NEED(exchange(client, 7, sizes[i], true));
  }
  T_NEED(t_open_fds() == fds);
end:
  return t_close(&server) && ok;
}

// Short, refused and interrupted calls lose nothing and repeat nothing.
static bool run_short(uint32_t backend) {
  static const int results[] = {EAGAIN, EINTR, -1, -1000, -65536};
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
    t_faults_clear();
    t_fault(SYS_SENDFILE, i & 1, 3, results[i]);
    T_NEED(exchange(client, 0, FILE_BYTES, false) && t_faults_fired() == 3);
  }
  t_faults_clear();
  t_fault(SYS_PREAD, 0, 2, -100);
  T_NEED(exchange(client, 0, 16384, true) && t_faults_fired() == 2);
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

// What cannot be sent whole ends in a reset, which the peer cannot take for an end.
static bool run_broken(uint32_t backend) {
  static const struct {
    enum sys_call call;
    int error;
  } faults[] = {{SYS_SENDFILE, EIO}, {SYS_SENDFILE, EPIPE}, {SYS_PREAD, EIO}};
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  const uint32_t fds = t_open_fds();
  for (uint32_t i = 0; i < 3; i++) {
    uint32_t client = t_connect(&server);
    T_NEED(t_until_opened(&server, i + 1));
    bool room = faults[i].call == SYS_PREAD;
    t_faults_clear();
    t_fault(faults[i].call, 0, 1, faults[i].error);
    t_send(&server, server.last, "head", 4, 0);
    t_send_file(&server, server.last, file(), 0, room ? 1000 : FILE_BYTES, room);
    T_NEED(t_until_closed(&server, i + 1) && t_last(&server)->closed == faults[i].error);
    T_NEED(t_until_ended(&server, client) && server.clients[client].error == ECONNRESET);
    t_hang_up(&server, client);
  }
  T_NEED(t_open_fds() == fds);
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

static bool run_shrunk(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  for (uint32_t i = 0; i < 2; i++) {
    uint32_t client = t_connect(&server);
    T_NEED(t_until_opened(&server, i + 1));
    t_send(&server, server.last, "head", 4, 0);
    t_send_file(&server, server.last, file(), FILE_BYTES - 500, 1000, i == 1);
    T_NEED(t_until_closed(&server, i + 1) && t_last(&server)->closed == ENODATA);
    T_NEED(t_until_ended(&server, client) && server.clients[client].error == ECONNRESET);
  }
end:
  return t_close(&server) && ok;
}

// A file that is on its way when its connection goes, or the reactor, or that comes too late.
static bool run_fates(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t client;
  const uint32_t before = t_open_fds();
  T_NEED(open_narrow(&o, &client));
  const uint32_t fds = t_open_fds();
  server.paused_clients = true;
  t_send_file(&server, server.last, file(), 0, FILE_BYTES, false);
  for (int i = 0; i < 5; i++) t_turn(&server);
  T_NEED(t_open_fds() == fds + 1);
  t_reset(&server, client);
  T_NEED(t_until_closed(&server, 1));
  t_send_file(&server, server.last, file(), 0, FILE_BYTES, false);
  t_turn(&server);
  T_NEED(t_open_fds() == fds - 2);  // neither file, nor the two ends of the connection
  server.paused_clients = false;
  t_connect_sized(&server, 4096);
  T_NEED(t_until_opened(&server, 2));
  server.paused_clients = true;
  t_send_file(&server, server.last, file(), 0, FILE_BYTES, false);
  for (int i = 0; i < 5; i++) t_turn(&server);
end:
  ok = t_close(&server) && ok;
  return ok && t_open_fds() == before;
}

static bool run_finish(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t client;
  T_NEED(open_narrow(&o, &client));
  t_send(&server, server.last, "head", 4, 0);
  t_send_file(&server, server.last, file(), 0, FILE_BYTES, false);
  t_command(&server, server.last, MR_CMD_FINISH, 0);
  T_NEED(t_until_ended(&server, client));
  T_NEED(server.clients[client].error == 0 && server.clients[client].in.length == FILE_BYTES + 4);
  t_hang_up(&server, client);
  T_NEED(t_until_closed(&server, 1) && t_last(&server)->closed == 0);
end:
  return t_close(&server) && ok;
}

// What is staged behind a file before it is gone, bytes or another file, ends the connection.
static bool run_broken_contract(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  const uint32_t fds = t_open_fds();
  for (uint32_t i = 0; i < 3; i++) {
    uint32_t client = t_connect(&server);
    T_NEED(t_until_opened(&server, i + 1));
    if (i < 2) t_send_file(&server, server.last, file(), 0, FILE_BYTES, false);
    if (i == 0) t_send(&server, server.last, "tail", 4, 0);
    if (i == 1) t_send_file(&server, server.last, file(), 0, FILE_BYTES, false);
    if (i == 2) {
      t_send_file(&server, server.last, file(), 0, 100, true);
      server.commands[server.command_count - 1].length = 99;
    }
    T_NEED(t_until_closed(&server, i + 1));
    T_NEED(t_last(&server)->closed == (i == 2 ? EINVAL : EBUSY));
    t_hang_up(&server, client);
  }
  T_NEED(t_open_fds() == fds);
end:
  return t_close(&server) && ok;
}

static bool run_stall(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.stall_timeout = 200;
  bool ok = true;
  uint32_t client;
  T_NEED(open_narrow(&o, &client));
  server.paused_clients = true;
  t_send_file(&server, server.last, file(), 0, FILE_BYTES, false);
  T_NEED(t_until_closed(&server, 1));
  T_NEED(t_last(&server)->closed == ETIMEDOUT && server.control->timeouts == 1);
end:
  return t_close(&server) && ok;
}

// Many at a time: each gets its own bytes, and a turn sends no more than its bound.
static bool run_many(uint32_t backend) {
  enum { CLIENTS = 20 };
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t handles[CLIENTS], clients[CLIENTS];
  for (uint32_t i = 0; i < CLIENTS; i++) {
    clients[i] = t_connect(&server);
    T_NEED(t_until_opened(&server, i + 1));
    handles[i] = server.last;
  }
  for (uint32_t i = 0; i < CLIENTS; i++) t_send_file(&server, handles[i], file(), i, FILE_BYTES - i, false);
  uint64_t before = server.control->sent_bytes, most = 0;
  for (int i = 0; i < 10; i++) {
    t_turn(&server);
    uint64_t sent = server.control->sent_bytes - before;
    before += sent;
    if (sent > most) most = sent;
  }
  T_NEED(most > 0 && most <= FILES_TURN_BYTES);
  for (uint32_t i = 0; i < CLIENTS; i++) {
    T_NEED(t_until_read(&server, clients[i], FILE_BYTES - i));
    T_NEED(t_same(&server.clients[clients[i]].in, noise + i, FILE_BYTES - i));
  }
end:
  return t_close(&server) && ok;
}

// Whom a turn had nothing left for is first in the next one.
static bool run_next(uint32_t backend) {
  enum { CLIENTS = 2 * FILES_TURN_BYTES / FILE_SHARE_BYTES };
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t handles[CLIENTS];
  for (uint32_t i = 0; i < CLIENTS; i++) {
    t_connect(&server);
    T_NEED(t_until_opened(&server, i + 1));
    handles[i] = server.last;
  }
  server.paused_clients = true;
  for (uint32_t i = 0; i < CLIENTS; i++) t_send_file(&server, handles[i], file(), 0, FILE_BYTES, false);
  t_turn(&server);
  t_turn(&server);
  for (uint32_t i = 0; i < CLIENTS; i++) T_NEED(server.reactor->conns[i].file_left < FILE_BYTES);
end:
  return t_close(&server) && ok;
}

int main(void) {
  t_pattern(noise, sizeof(noise), 5);
  T_BOTH("a range goes behind what was staged, 0 bytes to 3 MiB", run_sizes);
  T_BOTH("short, refused and interrupted calls lose nothing", run_short);
  T_BOTH("a file that cannot be read resets the connection", run_broken);
  T_BOTH("a file that has become shorter resets the connection", run_shrunk);
  T_BOTH("a file is closed whatever becomes of its connection", run_fates);
  T_BOTH("FINISH comes after the file", run_finish);
  T_BOTH("what is staged behind a file resets the connection", run_broken_contract);
  T_BOTH("a peer that takes nothing of a file is given up", run_stall);
  T_BOTH("files of many connections share a turn", run_many);
  T_BOTH("files that found nothing left of a turn are first in the next", run_next);
  return t_done();
}
