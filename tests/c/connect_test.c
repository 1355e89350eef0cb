// SPDX-License-Identifier: Apache-2.0
// connect_test.c - connections that the reactor begins: how they stand, fail, and answer.
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "faults.h"
#include "harness.h"
#include "limits.h"
#include "reactor.h"

#define HEAD "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"

enum { KIB = 1024, TURNS_MAX = 60, TIMES_MAX = 200 };

static struct t_server server;
static uint8_t noise[256 * KIB];
static int listener = -1;  // a socket of the test's own
static int peer = -1;      // what it has accepted

static void shut(void) {
  if (listener >= 0) close(listener);
  if (peer >= 0) close(peer);
  listener = peer = -1;
}

// Listens on a port of 127.0.0.1, and says how to connect there.
static bool listen_tcp(int backlog, uint32_t flags, struct mr_connect_options *to) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof(address);
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  *to = (struct mr_connect_options){.flags = flags, .host = "127.0.0.1"};
  if (bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, backlog) != 0)
    return false;
  if (getsockname(listener, (struct sockaddr *)&address, &length) != 0) return false;
  to->port = ntohs(address.sin_port);
  return true;
}

// Accepts without blocking for longer than a broken reactor would.
static bool accept_peer(void) {
  struct pollfd ready = {.fd = listener, .events = POLLIN};
  if (poll(&ready, 1, T_DEADLINE_MS) != 1) return false;
  peer = accept(listener, NULL, NULL);
  return peer >= 0;
}

// Reads exactly length bytes and, with end, the FIN behind them, while the reactor turns.
static bool peer_reads(const uint8_t *want, size_t length, bool end) {
  static uint8_t bytes[sizeof(noise) + 1];
  size_t done = 0;
  for (uint64_t deadline = t_now_ms() + T_DEADLINE_MS; t_now_ms() < deadline;) {
    t_turn(&server);
    ssize_t count = recv(peer, bytes + done, sizeof(bytes) - done, MSG_DONTWAIT);
    if (count == 0) return end && done == length && memcmp(bytes, want, length) == 0;
    if (count > 0) done += (size_t)count;
    if (done > length) return false;
    if (!end && done == length) return memcmp(bytes, want, length) == 0;
  }
  return false;
}

static bool peer_writes(const void *bytes, size_t length) {
  return send(peer, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static bool until_data(struct t_conn *c, size_t length) {
  while (c->body.length < length) {
    if (!t_until_seen(&server, MR_DATA, c->seen[MR_DATA] + 1)) return false;
  }
  return true;
}

// What is staged before the connection stands goes out behind it, in order, and both ways work.
static bool run_stream(uint32_t backend) {
  struct mr_options o = t_options(backend);
  struct mr_connect_options to;
  uint32_t handle;
  bool ok = true;
  T_NEED(t_open_reactor(&server, &o) == 0 && listen_tcp(4, 0, &to));
  T_NEED(t_dial(&server, &to, &handle) == 0);
  T_NEED(t_send(&server, handle, noise, 100 * KIB, 0));
  T_NEED(mr_send(server.reactor, server.command_count, handle, noise, 64 * KIB) == 0);
  server.command_count = 0;
  T_NEED(server.rows[handle & MR_SLOT_MASK].queued == 100 * KIB);
  T_NEED(t_send(&server, handle, noise + 100 * KIB, KIB, 0));
  T_NEED(accept_peer() && peer_reads(noise, 101 * KIB, false));
  struct t_conn *c = t_conn(&server, handle);
  T_NEED(c->seen[MR_CONNECTED] == 1 && server.control->accepted == 0 && server.control->connections == 1);
  T_NEED(server.rows[handle & MR_SLOT_MASK].queued == 0);
  T_NEED(peer_writes(noise, 5 * KIB) && until_data(c, 5 * KIB) && t_same(&c->body, noise, 5 * KIB));
  T_NEED(t_send(&server, handle, noise, KIB, 0) && peer_reads(noise, KIB, false));
  char text[MR_TEXT_BYTES], want[MR_TEXT_BYTES];
  snprintf(want, sizeof(want), "127.0.0.1 %u", to.port);
  T_NEED(mr_peer_address(server.reactor, handle, text) == 0 && strcmp(text, want) == 0);
  T_NEED(t_command(&server, handle, MR_CMD_END, 0) && peer_reads(noise, 0, true));
  close(peer);
  peer = -1;
  T_NEED(t_until_closed(&server, 1) && c->closed == 0);
end:
  shut();
  return t_close(&server) && ok;
}

// FIN waits for the connection, as bytes do.
static bool run_finish(uint32_t backend) {
  struct mr_options o = t_options(backend);
  struct mr_connect_options to;
  bool ok = true;
  o.linger_timeout = 10000;
  T_NEED(t_open_reactor(&server, &o) == 0 && listen_tcp(4, 0, &to));
  for (uint32_t round = 0; round < 2; round++) {
    uint32_t handle, length = round * KIB;
    T_NEED(t_dial(&server, &to, &handle) == 0);
    if (length > 0) T_NEED(t_send(&server, handle, noise, length, 0));
    T_NEED(t_command(&server, handle, MR_CMD_FINISH, 0));
    T_NEED(accept_peer() && peer_reads(noise, length, true));
    close(peer);
    peer = -1;
    T_NEED(t_until_closed(&server, round + 1) && t_conn(&server, handle)->closed == 0);
  }
end:
  shut();
  return t_close(&server) && ok;
}

// The time to connect ends as the connection stands: what is left to send to a slow peer has none.
static bool run_finish_slow(uint32_t backend) {
  struct mr_options o = t_options(backend);
  struct mr_connect_options to;
  uint32_t handle;
  int small = 4 * KIB;
  bool ok = true;
  T_NEED(t_open_reactor(&server, &o) == 0 && listen_tcp(4, 0, &to));
  T_NEED(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) == 0);
  to.timeout = 200;
  T_NEED(t_dial(&server, &to, &handle) == 0);
  for (int i = 0; i < 16; i++) T_NEED(t_send(&server, handle, noise, sizeof(noise), 0));
  T_NEED(t_command(&server, handle, MR_CMD_FINISH, 0) && accept_peer());
  t_turn_for(&server, 3 * to.timeout);
  const struct t_conn *c = t_conn(&server, handle);
  T_NEED(c->seen[MR_CONNECTED] == 1 && c->live && server.rows[handle & MR_SLOT_MASK].queued > 0);
  T_NEED(server.control->linger_timeouts == 0);
  uint64_t deadline = t_now_ms() + T_DEADLINE_MS;
  size_t got = 0;
  for (ssize_t count = -1; count != 0 && t_now_ms() < deadline;) {
    uint8_t bytes[64 * KIB];
    t_turn(&server);
    count = recv(peer, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (count > 0) got += (size_t)count;
  }
  T_NEED(got == 16 * sizeof(noise));
  close(peer);
  peer = -1;
  T_NEED(t_until_closed(&server, 1) && c->closed == 0);
end:
  shut();
  return t_close(&server) && ok;
}

static struct mr_connect_options again_to;
static int32_t again[2];  // answers of mr_connect while records of MR_CLOSED are being read

static void connect_again(struct t_server *s, const struct mr_record *record, const uint8_t *bytes) {
  uint32_t handle;
  (void)bytes;
  if (record->kind == MR_CLOSED) again[s->ended] = mr_connect(s->reactor, &again_to, &handle);
}

// Whoever reads a record of a slot knows whose it is: the slot is nobody else's in that turn.
static bool run_again(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.max_connections = 2;
  uint32_t handles[2], third;
  bool ok = true;
  T_NEED(t_open_reactor(&server, &o) == 0 && listen_tcp(4, 0, &again_to));
  server.handler = connect_again;
  for (int i = 0; i < 2; i++) T_NEED(t_dial(&server, &again_to, &handles[i]) == 0);
  for (int i = 0; i < 2; i++) T_NEED(t_command(&server, handles[i], MR_CMD_TERMINATE, 0));
  T_NEED(t_until_closed(&server, 2));
  T_NEED(again[0] == -EDQUOT && again[1] == -EDQUOT);
  server.handler = NULL;
  t_turn(&server);
  T_NEED(t_dial(&server, &again_to, &third) == 0 && t_until_seen(&server, MR_CONNECTED, 1));
end:
  shut();
  return t_close(&server) && ok;
}

static bool run_unix(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, false) == 0);
  struct mr_connect_options to = {.flags = MR_CONNECT_UNIX};
  memcpy(to.host, server.where.host, sizeof(to.host));
  uint32_t handle;
  T_NEED(t_dial(&server, &to, &handle) == 0);
  T_NEED(t_send(&server, handle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27, 0));
  // The other end is a connection of the same reactor.
  T_NEED(t_until_opened(&server, 2) && t_until_seen(&server, MR_HEAD, 1));
  T_NEED(t_conn(&server, handle)->seen[MR_CONNECTED] == 1);
  T_NEED(t_send(&server, server.last, "answer", 6, 1));
  struct t_conn *c = t_conn(&server, handle);
  server.last = handle;
  T_NEED(until_data(c, 6) && t_same(&c->body, "answer", 6));
  strcpy(to.host, "@nobody-listens-here");
  T_NEED(mr_connect(server.reactor, &to, &handle) == -ECONNREFUSED);
  strcpy(to.host, "/nowhere/at/all");
  T_NEED(mr_connect(server.reactor, &to, &handle) == -ENOENT);
end:
  return t_close(&server) && ok;
}

static bool run_invalid(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.max_connections = 1;
  struct mr_connect_options to, bad;
  uint32_t handle;
  bool ok = true;
  T_NEED(t_open_reactor(&server, &o) == 0 && listen_tcp(4, 0, &to));
  T_NEED(mr_connect(server.reactor, NULL, &handle) == -EINVAL);
  T_NEED(mr_connect(server.reactor, &to, NULL) == -EINVAL);
  bad = to;
  bad.flags = 4;
  T_NEED(mr_connect(server.reactor, &bad, &handle) == -EINVAL);
  bad = to;
  bad.port = 65536;
  T_NEED(mr_connect(server.reactor, &bad, &handle) == -EINVAL);
  bad = to;
  strcpy(bad.host, "localhost");
  T_NEED(mr_connect(server.reactor, &bad, &handle) == -EINVAL);
  memset(bad.host, 'x', sizeof(bad.host));
  T_NEED(mr_connect(server.reactor, &bad, &handle) == -EINVAL);
  bad.host[200] = '\0';
  bad.flags = MR_CONNECT_UNIX;
  T_NEED(mr_connect(server.reactor, &bad, &handle) == -ENAMETOOLONG);
  T_NEED(t_dial(&server, &to, &handle) == 0);
  T_NEED(mr_connect(server.reactor, &to, &handle) == -EDQUOT);
end:
  shut();
  return t_close(&server) && ok;
}

// Errors of the calls themselves, and those that a socket tells of later.
static bool run_errors(uint32_t backend) {
  static const struct {
    enum sys_call call;
    int error;
    int32_t now;
  } cases[] = {{SYS_SOCKET, EMFILE, -EMFILE},       {SYS_CONNECT, ENETUNREACH, -ENETUNREACH},
               {SYS_CONNECT, EAGAIN, -EAGAIN},      {SYS_SOCKET_ERROR, ECONNREFUSED, 0},
               {SYS_SOCKET_ERROR, EHOSTUNREACH, 0}, {SYS_SOCKET_ERROR, ETIMEDOUT, 0}};
  struct mr_options o = t_options(backend);
  struct mr_connect_options to;
  bool ok = true;
  T_NEED(t_open_reactor(&server, &o) == 0 && listen_tcp(64, 0, &to));
  uint32_t fds = t_open_fds();
  for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    uint32_t handle;
    t_faults_clear();
    t_fault(cases[i].call, 0, 1, cases[i].error);
    T_NEED(t_dial(&server, &to, &handle) == cases[i].now);
    if (cases[i].now == 0) {
      T_NEED(t_send(&server, handle, noise, KIB, 0));
      T_NEED(t_until_closed(&server, server.opened));
      struct t_conn *c = t_conn(&server, handle);
      T_NEED(c->closed == cases[i].error && c->seen[MR_CONNECTED] == 0);
    }
    T_NEED(t_faults_fired() == 1 && server.control->connections == 0);
  }
  T_NEED(t_open_fds() == fds);
  // A port at which nobody listens; the loopback may know at once.
  close(listener);
  listener = -1;
  uint32_t handle;
  int32_t rc = t_dial(&server, &to, &handle);
  T_NEED(rc == 0 || rc == -ECONNREFUSED);
  if (rc == 0) T_NEED(t_until_closed(&server, server.opened) && t_last(&server)->closed == ECONNREFUSED);
end:
  t_faults_clear();
  shut();
  return t_close(&server) && ok;
}

// A port whose queue is full does not answer at all.
static bool run_silence(uint32_t backend) {
  struct mr_options o = t_options(backend);
  struct mr_connect_options to;
  int first = -1;
  bool ok = true;
  T_NEED(t_open_reactor(&server, &o) == 0 && listen_tcp(0, 0, &to));
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)to.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  T_NEED(connect(first, (struct sockaddr *)&address, sizeof(address)) == 0);
  to.timeout = 300;
  static const uint16_t commands[] = {0, MR_CMD_PAUSE, MR_CMD_FINISH, MR_CMD_IDLE, MR_CMD_TERMINATE};
  for (uint32_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
    uint32_t handle;
    uint64_t before = t_now_ms();
    T_NEED(t_dial(&server, &to, &handle) == 0);
    T_NEED(t_send(&server, handle, noise, KIB, 0));
    t_turn(&server);
    if (commands[i] != 0) T_NEED(t_command(&server, handle, commands[i], 0));
    T_NEED(t_until_closed(&server, i + 1));
    bool terminated = commands[i] == MR_CMD_TERMINATE;
    T_NEED(t_conn(&server, handle)->closed == (terminated ? 0 : ETIMEDOUT));
    T_NEED(terminated || t_now_ms() - before >= to.timeout);
  }
  // One that is under way when the reactor closes.
  uint32_t handle;
  T_NEED(t_dial(&server, &to, &handle) == 0);
  t_turn(&server);
end:
  if (first >= 0) close(first);
  shut();
  return t_close(&server) && ok;
}

// More at once than one turn has room to tell of.
static bool run_many(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.ring_entries = 8;
  struct mr_connect_options to;
  uint32_t handles[200];
  bool ok = true;
  T_NEED(t_open_reactor(&server, &o) == 0 && listen_tcp(512, 0, &to));
  for (uint32_t i = 0; i < 200; i++) T_NEED(t_dial(&server, &to, &handles[i]) == 0);
  for (uint32_t i = 0; i < 200; i++) {
    server.last = handles[i];
    T_NEED(t_until_seen(&server, MR_CONNECTED, 1));
  }
  for (uint32_t i = 0; i < 200; i++) T_NEED(t_conn(&server, handles[i])->seen[MR_CONNECTED] == 1);
end:
  shut();
  return t_close(&server) && ok;
}

static uint16_t answer;  // what is done with a response

static void answered(struct t_server *s, const struct mr_record *record, const uint8_t *bytes) {
  (void)bytes;
  if (record->kind == MR_RESPONSE && answer != 0) t_command(s, record->handle, answer, 1 << 20);
}

static bool dial_response(const struct mr_options *o, uint32_t *handle) {
  struct mr_connect_options to;
  if (t_open_reactor(&server, o) != 0 || !listen_tcp(4, MR_CONNECT_RESPONSE, &to)) return false;
  server.handler = answered;
  return t_dial(&server, &to, handle) == 0 && t_until_seen(&server, MR_CONNECTED, 1) && accept_peer();
}

// The head and what follows, cut at every place: one record, then frames of a server.
static bool run_response(uint32_t backend) {
  static const char bytes[] = HEAD "\x81\x05hello\x89\x01p\x82\x7e\x00\x80";
  const size_t length = sizeof(bytes) - 1, last = 128;
  struct mr_options o = t_options(backend);
  bool ok = true;
  answer = MR_CMD_WEBSOCKET;
  for (size_t cut = 1; cut < length; cut++) {
    uint32_t handle;
    T_NEED(dial_response(&o, &handle));
    T_NEED(peer_writes(bytes, cut));
    for (int turn = 0; turn < 3; turn++) t_turn(&server);
    T_NEED(peer_writes(bytes + cut, length - cut) && peer_writes(noise, last));
    struct t_conn *c = t_conn(&server, handle);
    while (c->body.length < 5 + last) T_NEED(t_until_seen(&server, MR_MESSAGE, c->seen[MR_MESSAGE] + 1));
    T_NEED(c->seen[MR_RESPONSE] == 1 && c->seen[MR_PING] == 1);
    T_NEED(c->log.length > sizeof(HEAD) && memcmp(c->log.at, HEAD, sizeof(HEAD) - 1) == 0);
    T_NEED(memcmp(c->body.at, "hello", 5) == 0 && memcmp(c->body.at + 5, noise, last) == 0);
    shut();
    T_NEED(t_close(&server));
  }
  return ok;
end:
  shut();
  t_close(&server);
  return false;
}

static bool run_masked(uint32_t backend) {
  struct mr_options o = t_options(backend);
  uint32_t handle;
  bool ok = true;
  answer = MR_CMD_WEBSOCKET;
  T_NEED(dial_response(&o, &handle));
  T_NEED(peer_writes(HEAD "\x81\x01x\x81\x81\0\0\0\0x", sizeof(HEAD) - 1 + 10));
  T_NEED(t_until_seen(&server, MR_VIOLATION, 1));
  struct t_conn *c = t_conn(&server, handle);
  T_NEED(c->violation == MR_WS_MASKED && c->code == 1002 && t_same(&c->body, "x", 1));
end:
  shut();
  return t_close(&server) && ok;
}

// Nothing behind a response is looked at before somebody says what it is.
static bool run_held(uint32_t backend) {
  struct mr_options o = t_options(backend);
  uint32_t handle;
  bool ok = true;
  answer = 0;
  T_NEED(dial_response(&o, &handle));
  T_NEED(peer_writes("HTTP/1.1 103 Early Hints\r\n\r\n" HEAD "bytes", 28 + sizeof(HEAD) - 1 + 5));
  T_NEED(shutdown(peer, SHUT_WR) == 0);
  T_NEED(t_until_seen(&server, MR_RESPONSE, 1));
  struct t_conn *c = t_conn(&server, handle);
  for (int turn = 0; turn < 5; turn++) t_turn(&server);
  T_NEED(c->seen[MR_RESPONSE] == 1 && c->log.length == 28 && c->seen[MR_END] == 0);
  T_NEED(t_command(&server, handle, MR_CMD_DECLINE, 0) && t_until_seen(&server, MR_RESPONSE, 2));
  for (int turn = 0; turn < 5; turn++) t_turn(&server);
  T_NEED(c->log.length == 28 + sizeof(HEAD) - 1 && c->seen[MR_END] == 0);
  T_NEED(t_command(&server, handle, MR_CMD_STREAM, 0) && t_until_seen(&server, MR_END, 1));
  T_NEED(t_same(&c->body, "bytes", 5) && c->seen[MR_RESPONSE] == 2);
end:
  shut();
  return t_close(&server) && ok;
}

static bool run_refused_heads(uint32_t backend) {
  static char large[20 * KIB];
  memset(large, 'x', sizeof(large));
  memcpy(large, "HTTP/1.1 200 ", 13);
  const struct {
    const char *bytes;
    size_t length;
    uint32_t violation;
  } cases[] = {{"SSH", 3, MR_BAD_STATUS_LINE},
               {"HTTP/1.1 200 OK\n", 16, MR_BARE_LF},
               {large, sizeof(large), MR_RESPONSE_TOO_LARGE}};
  struct mr_options o = t_options(backend);
  bool ok = true;
  answer = 0;
  for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    uint32_t handle;
    T_NEED(dial_response(&o, &handle) && peer_writes(cases[i].bytes, cases[i].length));
    T_NEED(t_until_seen(&server, MR_VIOLATION, 1));
    T_NEED(t_last(&server)->violation == cases[i].violation && t_last(&server)->seen[MR_RESPONSE] == 0);
    T_NEED(t_command(&server, handle, MR_CMD_TERMINATE, 0) && t_until_closed(&server, 1));
    shut();
    T_NEED(t_close(&server));
  }
  return ok;
end:
  shut();
  t_close(&server);
  return false;
}

// A head has its time, however it trickles.
static bool run_slow_head(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.head_timeout = 300;
  uint32_t handle;
  bool ok = true;
  answer = 0;
  T_NEED(dial_response(&o, &handle));
  struct t_conn *c = t_conn(&server, handle);
  T_NEED(peer_writes("HTTP/1.1 ", 9));
  while (c->live) {
    t_turn_for(&server, 20);
    if (c->live) peer_writes("2", 1);
  }
  T_NEED(c->closed == ETIMEDOUT);
end:
  shut();
  return t_close(&server) && ok;
}

static bool run_mask(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open_reactor(&server, &o) == 0);
  uint32_t all = server.control->outbox_bytes;
  static const uint8_t key[4] = {0x12, 0x9a, 0xff, 0x01};
  memcpy(server.outbox, noise, 200);
  T_NEED(mr_mask(server.reactor, 50, 99, 0x01ff9a12) == 0);
  for (uint32_t i = 0; i < 200; i++) {
    uint8_t mask = i >= 50 && i < 149 ? key[(i - 50) % 4] : 0;
    T_NEED(server.outbox[i] == (noise[i] ^ mask));
  }
  T_NEED(mr_mask(server.reactor, all, 0, 1) == 0 && mr_mask(server.reactor, 0, all, 1) == 0);
  T_NEED(mr_mask(server.reactor, all, 1, 1) == -EINVAL && mr_mask(server.reactor, 1, all, 1) == -EINVAL);
  T_NEED(mr_mask(server.reactor, UINT32_MAX, 1, 1) == -EINVAL);
  T_NEED(mr_mask(server.reactor, 1, UINT32_MAX, 1) == -EINVAL);
end:
  return t_close(&server) && ok;
}

static bool over(void) {
  return server.ended == server.opened;
}

// A whole life, as far as it comes: connect, ask, be answered, end.
static void live(const struct mr_connect_options *to) {
  uint32_t handle;
  if (t_dial(&server, to, &handle) != 0) return;
  t_send(&server, handle, noise, KIB, 0);
  bool met = false;
  for (int i = 0; i < TURNS_MAX && !over() && server.polled >= 0; i++) {
    t_turn(&server);
    if (!met && (peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
      met = true;
      peer_writes(HEAD "\x88\x00", sizeof(HEAD) + 1);
    }
    struct t_conn *c = t_conn(&server, handle);
    if (c->seen[MR_CLOSE] + c->seen[MR_VIOLATION] > 0) t_command(&server, handle, MR_CMD_FINISH, 0);
    // The peer ends when it has seen the end.
    uint8_t bytes[2 * KIB];
    if (peer < 0 || recv(peer, bytes, sizeof(bytes), 0) != 0) continue;
    close(peer);
    peer = -1;
  }
}

// Each call fails at each place: what is reported is an error or the right result, and nothing is left.
static bool run_faults(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  answer = MR_CMD_WEBSOCKET;
  uint32_t fds = t_open_fds();
  for (enum sys_call call = 0; call < SYS_CALLS; call++) {
    bool fired = true;
    for (uint32_t skip = 0; fired && skip < TIMES_MAX; skip++) {
      struct mr_connect_options to;
      T_NEED(t_open_reactor(&server, &o) == 0 && listen_tcp(4, MR_CONNECT_RESPONSE, &to));
      fcntl(listener, F_SETFL, O_NONBLOCK);
      server.handler = answered;
      t_faults_clear();
      t_fault(call, skip, 1, ENOMEM);
      live(&to);
      fired = t_faults_fired() > 0;
      t_faults_clear();
      if (!fired) T_NEED(over() && server.opened == 1 && t_last(&server)->closed == 0);
      shut();
      T_NEED(t_close(&server) && t_open_fds() == fds);
    }
    T_NEED(!fired);
  }
  return ok;
end:
  fprintf(stderr, "while a call failed\n");
  t_faults_clear();
  shut();
  t_close(&server);
  return false;
}

int main(void) {
  t_pattern(noise, sizeof(noise), 7);
  T_BOTH("what is staged before a connection stands is sent behind it", run_stream);
  T_BOTH("a connection is finished before it stands", run_finish);
  T_BOTH("a connection that is finished before it stands has time to send", run_finish_slow);
  T_BOTH("no slot is used again in the turn that tells of its end", run_again);
  T_BOTH("Unix sockets, abstract ones and none", run_unix);
  T_BOTH("options that are none", run_invalid);
  T_BOTH("errors at once and later", run_errors);
  T_BOTH("nobody answers in time", run_silence);
  T_BOTH("many at once", run_many);
  T_BOTH("a response and frames of a server, cut everywhere", run_response);
  T_BOTH("a server's frame that is masked", run_masked);
  T_BOTH("what follows a response is held", run_held);
  T_BOTH("heads that are refused", run_refused_heads);
  T_BOTH("a head that trickles", run_slow_head);
  T_BOTH("mr_mask stays within the outbox", run_mask);
  T_BOTH("every call fails once", run_faults);
  return t_done();
}
