// SPDX-License-Identifier: Apache-2.0
// conn_read_test.c - reads into many blocks at a time that fail or fall short, at every place (epoll).
#include <errno.h>
#include <stdio.h>

#include "arena.h"
#include "check.h"
#include "faults.h"
#include "harness.h"
#include "limits.h"
#include "reactor.h"

enum { BODY = 1 << 20, DATA = DATA_BYTES };

static struct t_server server;
static uint8_t request[BODY + 128];
static size_t head_length;

static bool uploaded(struct t_server *s, const void *context) {
  return s->opened == *(const uint32_t *)context && t_last(s)->body.length >= BODY;
}

static bool blocks_home(void) {
  for (int i = 0; i < 3; i++) t_turn(&server);
  return server.arena->free_count == server.options.block_count;
}

// One more upload, of which the first reads into many blocks come to result.
static bool upload(int result, uint32_t times) {
  bool ok = true;
  const uint32_t count = server.opened + 1;
  t_faults_clear();
  t_fault(SYS_RECVMSG, 0, times, result);
  const uint32_t client = t_connect(&server);
  t_write(&server, client, request, head_length + BODY);
  T_NEED(t_until(&server, uploaded, &count));
  T_NEED(t_faults_fired() == times && t_same(&t_last(&server)->body, request + head_length, BODY));
  t_reset(&server, client);
  T_NEED(t_until_closed(&server, count) && blocks_home());
end:
  if (!ok) fprintf(stderr, "recvmsg: %d\n", result);
  return ok;
}

static bool run_short(void) {
  static const int results[] = {EAGAIN,      EINTR,           -1,
                                -(DATA - 1), -DATA,           -(DATA + 1),
                                -2 * DATA,   -(3 * DATA + 7), -(READ_BLOCKS_MAX * DATA - 1)};
  struct mr_options o = t_options(MR_EPOLL);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) T_NEED(upload(results[i], 2));
  T_NEED(server.control->exhausted == 0 && server.control->starved == 0);
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

static bool run_failed(void) {
  static const int errors[] = {ECONNRESET, ETIMEDOUT, ENOMEM};
  struct mr_options o = t_options(MR_EPOLL);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  for (uint32_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
    t_faults_clear();
    t_fault(SYS_RECVMSG, i, 1, errors[i]);
    t_write(&server, t_connect(&server), request, head_length + BODY);
    T_NEED(t_until_closed(&server, i + 1) && t_last(&server)->closed == errors[i]);
    const struct t_bytes *body = &t_last(&server)->body;
    T_NEED(t_faults_fired() == 1 && body->length < BODY);
    T_NEED(memcmp(body->at, request + head_length, body->length) == 0 && blocks_home());
  }
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

// With few blocks to spare none is taken that others may need.
static bool run_few_blocks(void) {
  struct mr_options o = t_options(MR_EPOLL);
  o.receive_buffers = 8;
  o.block_count = 2 * READ_BLOCKS_MAX;
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  T_NEED(upload(0, 0) && t_fault_calls(SYS_RECVMSG) == 0);
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

int main(void) {
  head_length = (size_t)snprintf((char *)request, 128,
                                 "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", BODY);
  t_pattern(request + head_length, BODY, 3);
  t_case("reads into many blocks may be interrupted or short", run_short());
  t_case("those that fail close the connection and leave no block behind", run_failed());
  t_case("where blocks are few, one is read into at a time", run_few_blocks());
  return t_done();
}
