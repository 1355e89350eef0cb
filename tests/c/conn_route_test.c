// SPDX-License-Identifier: Apache-2.0
// conn_route_test.c - requests that the reactor answers by itself, and those that it leaves to JavaScript,
// for which the handler here stands: its answers say so.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "arena.h"
#include "check.h"
#include "faults.h"
#include "harness.h"
#include "http_date.h"
#include "reactor.h"

#define LATER "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nhandler"
#define HEAD "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n"
#define BODY "static"
#define DATED "HTTP/1.1 204 No Content\r\ndate: " UNDATED "\r\n\r\n"
#define UNDATED "-----------------------------"
#define GET(target) "GET " target " HTTP/1.1\r\nHost: a\r\n\r\n"

static struct t_server server;
static uint16_t told[512];  // codes of the heads that came to the handler
static uint32_t told_count;

static int32_t add(const char *path, const char *head, const char *body, uint32_t date, uint32_t flags) {
  uint8_t bytes[MR_ROUTE_BYTES + 4096];
  const struct mr_route_options o = {.path_length = (uint32_t)strlen(path),
                                     .head_length = (uint32_t)strlen(head),
                                     .body_length = (uint32_t)strlen(body),
                                     .date = date,
                                     .flags = flags};
  int length = snprintf((char *)bytes, sizeof(bytes), "%s%s%s", path, head, body);
  return mr_route(server.reactor, &o, bytes, (uint32_t)length);
}

static void later(struct t_server *s, const struct mr_record *record, const uint8_t *bytes) {
  (void)bytes;
  if (record->kind == MR_END) t_command(s, record->handle, MR_CMD_FINISH, 0);
  if (record->kind != MR_HEAD) return;
  if (told_count < sizeof(told) / sizeof(told[0])) told[told_count++] = record->code;
  t_send(s, record->handle, LATER, sizeof(LATER) - 1, 1);
  if ((record->flags & MR_UPGRADE) != 0) t_command(s, record->handle, MR_CMD_DECLINE, 0);
  if ((record->flags & MR_KEEP_ALIVE) == 0) t_command(s, record->handle, MR_CMD_FINISH, 0);
}

// A server with the route 1, "/s".
static bool open_routes(const struct mr_options *o, uint32_t flags) {
  bool ok = true;
  told_count = 0;
  T_NEED(t_open(&server, o, true) == 0);
  server.handler = later;
  T_NEED(add("/s", HEAD, BODY, 0, flags) == 1);
end:
  return ok;
}

// Whether requests on a connection of their own lead to just this.
static bool leads_to(const char *requests, const char *expected) {
  bool ok = true;
  uint32_t client = t_connect(&server);
  t_write(&server, client, requests, strlen(requests));
  T_NEED(t_until_read(&server, client, strlen(expected)));
  t_turn(&server);
  T_NEED(t_same(&server.clients[client].in, expected, strlen(expected)));
end:
  if (!ok) fprintf(stderr, "requests: %s\n", requests);
  t_hang_up(&server, client);
  return t_until_closed(&server, server.opened) && ok;
}

static bool run_matching(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(open_routes(&o, 0));
  T_NEED(add("/", HEAD, "origin", 0, 0) == 2);
  T_NEED(leads_to(GET("/s"), HEAD BODY) && leads_to(GET("/s?a=/b?c"), HEAD BODY));
  T_NEED(leads_to(GET("/s?"), HEAD BODY) && leads_to(GET("http://a/s"), HEAD BODY));
  T_NEED(leads_to(GET("https://a:1/s?q"), HEAD BODY) && leads_to(GET("http://a"), HEAD "origin"));
  T_NEED(leads_to(GET("http://a?/s"), HEAD "origin") && leads_to(GET("/"), HEAD "origin"));
  T_NEED(leads_to("HEAD /s HTTP/1.1\r\nHost: a\r\n\r\n" GET("/s"), HEAD HEAD BODY));
  T_NEED(told_count == 0);
  T_NEED(leads_to(GET("/"
                      "s/") GET("/S") GET("/s%20") GET("//s") GET("/sa"),
                  LATER LATER LATER LATER LATER));
  T_NEED(leads_to("POST /s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", LATER));
  T_NEED(leads_to("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", LATER));
  T_NEED(leads_to("get /s HTTP/1.1\r\nHost: a\r\n\r\n", LATER));
  T_NEED(told_count == 8);
  for (uint32_t i = 0; i < told_count; i++) T_NEED(told[i] == 0);
end:
  return t_close(&server) && ok;
}

// What has to be said otherwise, or by somebody else, comes with the number of its route.
static bool run_left_to_handler(uint32_t backend) {
  static const char *const requests[] = {
      "GET /s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
      "GET /s HTTP/1.0\r\n\r\n",
      "GET /s HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
      "GET /s HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
      "GET /s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "GET /s HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
      "GET /s HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
      "GET /s HTTP/1.1\r\nHost: 1.2.3.4.5\r\n\r\n",
      "GET /s HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\"\r\n\r\n",
  };
  const uint32_t count = sizeof(requests) / sizeof(requests[0]);
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(open_routes(&o, MR_ROUTE_CONDITIONAL));
  for (uint32_t i = 0; i < count; i++) T_NEED(leads_to(requests[i], LATER));
  T_NEED(told_count == count);
  for (uint32_t i = 0; i < count; i++) T_NEED(told[i] == 1);
  T_NEED(leads_to("GET /s HTTP/1.1\r\nHost: a\r\nIffy: 1\r\nX: \xff\r\n\r\n", HEAD BODY));
  T_NEED(told_count == count);
end:
  return t_close(&server) && ok;
}

static bool run_refused(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(open_routes(&o, 0));
  uint32_t client = t_connect(&server);
  static const char bad[] = GET("/s") "GET /s HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n" GET("/s");
  t_write(&server, client, bad, sizeof(bad) - 1);
  T_NEED(t_until_seen(&server, MR_VIOLATION, 1));
  T_NEED(t_last(&server)->violation == MR_BAD_HOST && t_last(&server)->code == 400);
  T_NEED(t_until_read(&server, client, strlen(HEAD BODY)));
  t_turn(&server);
  T_NEED(t_same(&server.clients[client].in, HEAD BODY, strlen(HEAD BODY)) && told_count == 0);
end:
  return t_close(&server) && ok;
}

// All orders of eight requests of both kinds, whole and cut into pieces.
static bool run_orders(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(open_routes(&o, 0));
  for (uint32_t mix = 0; mix < 256; mix++) {
    char requests[1024] = "", expected[1024] = "";
    for (uint32_t i = 0; i < 8; i++) {
      bool prepared = (mix >> i & 1) != 0;
      strcat(requests, prepared ? GET("/s") : GET("/d"));
      // Behind one that the handler answers, it answers this one too.
      strcat(expected, prepared && (mix & ((1u << i) - 1)) == (1u << i) - 1 ? HEAD BODY : LATER);
    }
    T_NEED(leads_to(requests, expected));
  }
end:
  return t_close(&server) && ok;
}

static bool run_cut(uint32_t backend) {
  static const char requests[] = GET("/s") "HEAD http://a/s?q HTTP/1.1\r\nHost: a\r\n\r\n" GET("/s");
  static const char expected[] = HEAD BODY HEAD HEAD BODY;
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(open_routes(&o, 0));
  for (size_t cut = 1; cut < sizeof(requests) - 1; cut++) {
    uint32_t client = t_connect(&server);
    t_write(&server, client, requests, cut);
    T_NEED(t_until_opened(&server, (uint32_t)cut));
    t_turn(&server);
    t_turn(&server);
    t_write(&server, client, requests + cut, sizeof(requests) - 1 - cut);
    T_NEED(t_until_read(&server, client, sizeof(expected) - 1));
    T_NEED(t_same(&server.clients[client].in, expected, sizeof(expected) - 1));
    t_hang_up(&server, client);
    T_NEED(t_until_closed(&server, server.opened));
  }
  T_NEED(told_count == 0);
end:
  return t_close(&server) && ok;
}

// A byte in each turn.
static bool run_trickle(uint32_t backend) {
  static const char requests[] = GET("/s") GET("/s");
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(open_routes(&o, 0));
  uint32_t client = t_connect(&server);
  server.clients[client].out_step = 1;
  t_write(&server, client, requests, sizeof(requests) - 1);
  T_NEED(t_until_read(&server, client, 2 * strlen(HEAD BODY)) && told_count == 0);
  T_NEED(t_same(&server.clients[client].in, HEAD BODY HEAD BODY, 2 * strlen(HEAD BODY)));
end:
  return t_close(&server) && ok;
}

static bool run_date(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  const uint32_t at = (uint32_t)(strstr(DATED, "date: ") - DATED) + 6;
  T_NEED(open_routes(&o, 0));
  T_NEED(add("/date", DATED, "", at, 0) == 2);
  for (int second = 0; second < 2; second++) {
    time_t before = time(NULL) - 1;  // a coarse clock may be a little late
    uint32_t client = t_connect(&server);
    t_write(&server, client, GET("/date"), strlen(GET("/date")));
    T_NEED(t_until_read(&server, client, strlen(DATED)));
    bool found = false;
    for (time_t now = before; now <= time(NULL); now++) {
      char expected[] = DATED;
      http_date(now, expected + at);
      found = found || t_same(&server.clients[client].in, expected, strlen(expected));
    }
    T_NEED(found);
    while (time(NULL) <= before + 2) t_turn(&server);
  }
end:
  return t_close(&server) && ok;
}

static bool run_max_requests(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.max_requests = 3;
  bool ok = true;
  T_NEED(open_routes(&o, 0));
  T_NEED(leads_to(GET("/s") GET("/s") GET("/s") GET("/s"), HEAD BODY HEAD BODY LATER LATER));
  T_NEED(leads_to(GET("/d") GET("/d") GET("/s"), LATER LATER LATER) && told_count == 5 && told[4] == 1);
end:
  return t_close(&server) && ok;
}

static bool run_unlisten(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(open_routes(&o, 0));
  uint32_t client = t_connect(&server);
  t_write(&server, client, GET("/s"), strlen(GET("/s")));
  T_NEED(t_until_read(&server, client, strlen(HEAD BODY)));
  T_NEED(mr_unlisten(server.reactor, (uint32_t)server.listener) == 0);
  t_write(&server, client, GET("/s"), strlen(GET("/s")));
  T_NEED(t_until_read(&server, client, strlen(HEAD BODY LATER)) && told_count == 1 && told[0] == 1);
end:
  return t_close(&server) && ok;
}

// The turn whose records tell of answers has work for the loop, though none for the application.
static bool run_told(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(open_routes(&o, 0));
  uint32_t client = t_connect(&server);
  static const char three[] = GET("/s") GET("/s") GET("/s");
  t_write(&server, client, three, sizeof(three) - 1);
  T_NEED(t_until_seen(&server, MR_ROUTED, 1));
  const struct mr_record *last = &server.records[server.polled - 1];
  T_NEED(last->kind == MR_ROUTED && last->aux == 3 && last->handle == server.last);
  T_NEED(t_last(&server)->seen[MR_ROUTED] == 1 && t_last(&server)->seen[MR_HEAD] == 0);
end:
  return t_close(&server) && ok;
}

static bool all_ended(struct t_server *s, const void *context) {
  // Whoever still sends from there now sends this instead.
  memset(s->arena->replies, 0xdb, REPLIES_BYTES);
  const uint32_t *want = context;
  return s->clients[want[0]].in.length >= want[1];
}

// A peer that asks without reading: what waits for it is bounded, and in the end it gets every byte.
static bool run_slow_reader(uint32_t backend) {
  enum { COUNT = 20000 };
  struct mr_options o = t_options(backend);
  bool ok = true;
  static char requests[COUNT * (sizeof(GET("/large")) - 1)];
  static char large[10001];
  char head[128];
  memset(large, 'l', sizeof(large) - 1);
  snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n");
  const size_t one = strlen(head) + sizeof(large) - 1;
  T_NEED(open_routes(&o, 0));
  T_NEED(add("/large", head, large, 0, 0) == 2);
  // The handler would answer the rest; here it holds them, so that only what C has taken on is to come.
  server.handler = NULL;
  uint32_t client = t_connect_sized(&server, 4096);
  T_NEED(t_until_opened(&server, 1));
  for (uint32_t i = 0; i < COUNT; i++)
    memcpy(requests + i * strlen(GET("/large")), GET("/large"), strlen(GET("/large")));
  server.clients[client].reading = false;
  t_write(&server, client, requests, sizeof(requests));
  T_NEED(t_until_seen(&server, MR_HEAD, o.max_pipelined));
  const struct mr_row *row = &server.rows[server.last & MR_SLOT_MASK];
  T_NEED(row->queued <= REPLIES_BYTES && t_last(&server)->seen[MR_HEAD] == o.max_pipelined);
  const uint64_t owed = server.control->sent_bytes + row->queued;
  T_NEED(owed % one == 0);
  server.clients[client].reading = true;
  const uint32_t want[] = {client, (uint32_t)owed};
  T_NEED(t_until(&server, all_ended, want));
  const struct t_bytes *in = &server.clients[client].in;
  for (size_t at = 0; at < in->length; at += one) {
    T_NEED(memcmp(in->at + at, head, strlen(head)) == 0);
    T_NEED(memcmp(in->at + at + strlen(head), large, sizeof(large) - 1) == 0);
  }
end:
  return t_close(&server) && ok;
}

// Sends that fail, or take only some of the bytes, at every place.
static bool run_short_sends(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  if (backend != MR_EPOLL) return true;  // the ring's sends are not calls; see run_slow_reader
  T_NEED(open_routes(&o, 0));
  for (int bytes = 1; bytes < (int)strlen(HEAD BODY HEAD BODY); bytes++) {
    t_fault(SYS_SEND, 0, 1, -bytes);
    T_NEED(leads_to(GET("/s") GET("/s"), HEAD BODY HEAD BODY) && t_faults_fired() == 1);
    t_faults_clear();
  }
  t_fault(SYS_SEND, 0, 1, EAGAIN);
  T_NEED(leads_to(GET("/s") GET("/d"), HEAD BODY LATER) && t_faults_fired() == 1);
  t_faults_clear();
  t_fault(SYS_SEND, 0, 1, ECONNRESET);
  uint32_t client = t_connect(&server);
  t_write(&server, client, GET("/s") GET("/s"), 2 * strlen(GET("/s")));
  T_NEED(t_until_closed(&server, server.opened + 1) && t_last(&server)->closed == ECONNRESET);
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

// What may be queued is less than an answer: the connection goes, and nothing of it is left.
static bool run_overflow(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.max_queue_bytes = 10;
  o.idle_timeout = 50;
  bool ok = true;
  T_NEED(open_routes(&o, 0));
  t_write(&server, t_connect(&server), GET("/s"), strlen(GET("/s")));
  T_NEED(t_until_closed(&server, 1) && server.control->overflows == 1);
  t_turn_for(&server, 300);  // a deadline of the connection would come now
  T_NEED(server.control->timeouts == 0);
end:
  return t_close(&server) && ok;
}

static bool all_read(struct t_server *s, const void *context) {
  for (uint32_t i = 0; i < s->client_count; i++) {
    if (s->clients[i].in.length < *(const size_t *)context) return false;
  }
  return true;
}

// More connections in a turn than the smallest ring has entries, and more answers than there is room for.
static bool run_many(uint32_t backend) {
  enum { CONNS = 200, EACH = 150 };
  struct mr_options o = t_options(backend);
  o.ring_entries = 8;
  o.batch = 256;
  bool ok = true;
  static char requests[EACH * (sizeof(GET("/s")) - 1)];
  char expected[256];
  for (uint32_t i = 0; i < EACH; i++) memcpy(requests + i * strlen(GET("/s")), GET("/s"), strlen(GET("/s")));
  // Of equal length, so that it does not matter who has given which.
  snprintf(expected, sizeof(expected), "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nprepare");
  T_NEED(open_routes(&o, 0));
  T_NEED(add("/t", expected, "", 0, 0) == 2);
  for (uint32_t i = 0; i < EACH; i++) requests[i * strlen(GET("/s")) + 5] = 't';
  server.paused_clients = true;
  for (uint32_t i = 0; i < CONNS; i++) t_write(&server, t_connect(&server), requests, sizeof(requests));
  server.paused_clients = false;
  const size_t want = EACH * strlen(expected);
  T_NEED(t_until(&server, all_read, &want));
  for (uint32_t i = 0; i < CONNS; i++) {
    const struct t_bytes *in = &server.clients[i].in;
    T_NEED(in->length == want);
    for (size_t at = 0; at < want; at += strlen(expected)) {
      bool prepared = memcmp(in->at + at, expected, strlen(expected)) == 0;
      T_NEED(prepared || memcmp(in->at + at, LATER, strlen(expected)) == 0);
    }
  }
end:
  return t_close(&server) && ok;
}

static bool run_table(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  char path[32];
  T_NEED(open_routes(&o, 0));
  for (int32_t i = 2; i <= MR_ROUTES_MAX; i++) {
    snprintf(path, sizeof(path), "/%d", i);
    T_NEED(add(path, i % 2 == 0 ? HEAD : "", i % 2 == 0 ? BODY : "", 0, 0) == i);
  }
  T_NEED(add("/more", HEAD, BODY, 0, 0) == -EDQUOT);
  T_NEED(leads_to(GET("/2") GET("/4096") GET("/s"), HEAD BODY HEAD BODY HEAD BODY) && told_count == 0);
  T_NEED(leads_to(GET("/3") GET("/4095"), LATER LATER) && told[0] == 3 && told[1] == 4095);
end:
  return t_close(&server) && ok;
}

static bool run_refuses_bad_routes(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  static char long_head[MR_ROUTE_BYTES + 2];
  const uint8_t bytes[64] = "/xyz";
  T_NEED(open_routes(&o, 0));
  T_NEED(add("/s", HEAD, BODY, 0, 0) == -EEXIST);
  T_NEED(add("", HEAD, BODY, 0, 0) == -EINVAL && add("/x", "", BODY, 0, 0) == -EINVAL);
  T_NEED(add("/x", HEAD, BODY, (uint32_t)strlen(HEAD) - HTTP_DATE_BYTES + 1, 0) == -EINVAL);
  T_NEED(add("/x", "short", BODY, 1, 0) == -EINVAL && add("/x", HEAD, BODY, 0, 4) == -EINVAL);
  memset(long_head, 'h', sizeof(long_head) - 1);
  T_NEED(add("/x", long_head, "", 0, 0) == -EINVAL);
  T_NEED(add("/y", long_head + 1, "", 0, 0) == 2);
  const struct mr_route_options wraps = {.path_length = 4, .head_length = UINT32_MAX, .body_length = 1};
  T_NEED(mr_route(server.reactor, &wraps, bytes, 4) == -EINVAL);
  T_NEED(mr_route(server.reactor, NULL, bytes, 4) == -EINVAL);
  T_NEED(mr_route(server.reactor, &wraps, NULL, 4) == -EINVAL);
end:
  return t_close(&server) && ok;
}

static bool run_no_memory(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  server.handler = later;
  for (uint32_t skip = 0; skip < 3; skip++) {
    t_fault(SYS_ALLOCATE, skip, 1, ENOMEM);
    T_NEED(add("/s", HEAD, BODY, 0, 0) == -ENOMEM && t_faults_fired() == 1);
    t_faults_clear();
    T_NEED(leads_to(GET("/s"), LATER));
  }
  T_NEED(add("/s", HEAD, BODY, 0, 0) == 1 && leads_to(GET("/s"), HEAD BODY));
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

static bool run_http_date(void) {
  uint64_t state = 7;
  for (int i = 0; i < 100000; i++) {
    time_t seconds = (time_t)(t_random(&state) % (UINT64_C(8000) * 365 * 86400));
    char date[HTTP_DATE_BYTES + 1] = "", expected[64];
    struct tm parts;
    http_date(seconds, date);
    gmtime_r(&seconds, &parts);
    strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    if (strcmp(date, expected) != 0) return false;
  }
  return true;
}

int main(void) {
  T_BOTH("GET and HEAD of just that path are answered, whatever the query", run_matching);
  T_BOTH("what the answer does not fit is left to the handler, with the route", run_left_to_handler);
  T_BOTH("a malformed request is refused as everywhere", run_refused);
  T_BOTH("answers of both kinds keep the order of their requests", run_orders);
  T_BOTH("requests are answered however they are cut", run_cut);
  T_BOTH("requests are answered byte for byte", run_trickle);
  T_BOTH("the date is that of the second", run_date);
  T_BOTH("the last request of a connection is left to the handler", run_max_requests);
  T_BOTH("so are all of a server that no longer listens", run_unlisten);
  T_BOTH("one record tells of answers that follow one another", run_told);
  T_BOTH("a peer that does not read is owed little, and gets it all", run_slow_reader);
  T_BOTH("sends may fail or fall short", run_short_sends);
  T_BOTH("a queue that is too short ends the connection", run_overflow);
  T_BOTH("many connections and the smallest ring", run_many);
  T_BOTH("a full table", run_table);
  T_BOTH("what is no route is not added", run_refuses_bad_routes);
  T_BOTH("without memory nothing is added", run_no_memory);
  t_case("dates are those of strftime", run_http_date());
  return t_done();
}
