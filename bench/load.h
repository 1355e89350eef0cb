// SPDX-License-Identifier: Apache-2.0
// load.h - what the files of the load client share: options, the traffic of a run, connections, results.
//
// The client is closed loop: every connection keeps exactly in_flight requests unanswered. What is sent and
// what must come back are both fixed before the run, as rings of bytes, so that the hot path neither builds
// a request nor parses an answer: it sends a slice of one ring and compares what it reads with the other.
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "histogram.h"

#define SECOND 1000000000ull
#define EXPECTED_FIELDS_MAX 8

struct options {
  bool websocket;
  bool plain;    // no protocol: bytes that come back as they are
  bool text;     // WebSocket messages are text instead of binary
  bool deflate;  // WebSocket messages are JSON, compressed both ways
  bool sleep;    // wait in the kernel instead of spinning when nothing has come
  const char *host;
  const char *path;
  const char *publish;  // path of the one connection whose messages go to all others; NULL: each has its own
  const char *packets;  // codec of the packets of the action router that are sent; NULL: other traffic
  const char *method;
  const char *expect;  // body of every HTTP answer; NULL: what was posted, or else what the first had
  const char *expect_fields[EXPECTED_FIELDS_MAX];  // header fields that every HTTP answer has
  const char *probe;         // path to ask one request at a time beside the load; NULL: none
  const char *probe_expect;  // its body
  bool upstream;             // serve the target of /fetch; the address goes into the query of the probe
  uint32_t port;
  uint32_t connections;
  uint32_t in_flight;
  uint32_t payload;         // bytes of a WebSocket message, or of a plain one
  uint32_t body;            // bytes of a posted body
  uint32_t expect_payload;  // bytes of payload 0 that are the body of every HTTP answer, 0: see expect
  uint32_t expect_fields_count;
  uint32_t probes;
  double seconds;  // with probes: the longest time that they may take
  double warmup;
  pid_t pid;  // server process whose CPU and memory are read, 0: none
};

#define BUFFER_BYTES (256 * 1024)  // what one read takes

// The kinds of error are counted apart. The last three say which part of an answer was wrong.
enum error_kind {
  ERROR_READ,
  ERROR_WRITE,
  ERROR_CLOSED,
  ERROR_SURPLUS,
  ERROR_LOST,
  ERROR_START,
  ERROR_HEAD,
  ERROR_BODY
};
#define ERROR_KINDS 8

// Requests and answers of a run. units of them differ from one another, so that an answer that belongs to
// another request, or to another connection, is noticed; a connection goes round them from its own start.
struct traffic {
  uint8_t *requests;  // the ring, then its first in_flight requests again: any in_flight lie in one piece
  uint8_t *answers;
  size_t *request_at;   // where each request begins, those again included, and where the last one ends
  size_t answer_bytes;  // of one; answers that are compressed are not in the ring
  size_t units;
  size_t hole;        // place in each answer of the bytes that are not compared (the value of Date)
  size_t hole_bytes;  // 0: every byte is compared
  size_t start_end;   // status line, or first byte of a frame: a difference before it is ERROR_START
  size_t head_end;    // a difference before it is ERROR_HEAD, after it ERROR_BODY
};

struct load;
struct probe;
struct broadcast;
struct deflated;

// First member of everything that epoll watches.
struct watched {
  void (*on_ready)(struct load *load, struct watched *watched, uint32_t events);
};

struct sent {  // requests that left together
  uint64_t at;
  uint64_t count;
};

struct connection {
  struct watched watched;
  int fd;
  size_t send_at;     // place in the ring of requests
  size_t to_send;     // bytes that may be sent but have not been taken by the kernel
  size_t next;        // unit of the next request
  size_t receive_at;  // place in the ring of answers; when they are compressed, unit of the current one
  size_t in_answer;   // bytes of the current answer that have come
  uint8_t *partial;   // those bytes, when it is compressed
  uint32_t unanswered;
  uint32_t oldest;  // of the sent entries, taken modulo sent_slots
  uint32_t newest;
  struct sent *sent;
};

struct usage {  // of the machine at one moment, in seconds since some fixed point
  double server_cpu;
  double server_user;
  double server_system;
  double client_cpu;
  double machine_busy;  // all processes
  double stolen;
};

struct load {
  const struct options *options;
  struct traffic traffic;
  struct connection *connections;
  struct probe *probe;          // NULL: none
  struct broadcast *broadcast;  // NULL: each connection is answered on its own
  struct deflated *deflated;    // NULL: answers are not compressed
  uint8_t *buffer;
  int epoll;
  uint32_t sent_slots;  // a power of two
  uint32_t alive;
  bool draining;  // the window is over: nothing more is asked, what is still to come is only checked
  uint64_t now;
  uint64_t idle;        // nanoseconds of the window in which nothing was to do
  uint64_t idle_since;  // when the loop last found nothing to do, 0: it was busy
  uint64_t answers;
  uint64_t errors[ERROR_KINDS];
  struct histogram latencies;
};

uint64_t clock_now(void);
_Noreturn void die(const char *what);
_Noreturn void die_errno(const char *what);

// load_payload.c: UNITS_MAX payloads that differ from one another, as many as fit RING_BYTES
size_t payload_units(size_t message_bytes, uint32_t in_flight);
size_t *payload_places(size_t count, size_t bytes);
uint32_t payload_random(uint32_t *state);
void payload_fill(uint8_t *out, size_t length, size_t unit, bool text);

// load_socket.c
int socket_connect(const struct options *options);
void socket_send(int fd, const void *bytes, size_t length);
void socket_receive(int fd, void *out, size_t length);
size_t socket_receive_head(int fd, char *out, size_t capacity);
void socket_unblock(int fd);

// load_loop.c
void loop_watch(struct load *load, int fd, struct watched *watched);
void loop_open(struct load *load);
void loop_connect(struct load *load, struct connection *connection, const char *path, size_t start);
void loop_push(struct load *load, struct connection *connection);
void loop_ask(struct load *load, struct connection *connection, uint64_t count);
void loop_fail(struct load *load, struct connection *connection, enum error_kind kind);
double loop_run(struct load *load, struct usage *before, struct usage *after);

// load_http.c
struct http_answer {
  int status;
  size_t head_bytes;
  size_t body_bytes;
  size_t date;        // where the value of Date begins
  size_t date_bytes;  // 0: there is none
};
size_t http_answer_parse(const char *bytes, size_t length, struct http_answer *answer);
void http_prepare(struct load *load);

// load_ws.c
#define WS_HEAD_MAX 14
#define WS_FIN 0x80
#define WS_RSV1 0x40
#define WS_TEXT 0x01
#define WS_BINARY 0x02
// The key and the accept value of the example in RFC 6455 section 1.3.
#define WS_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define WS_FIELDS                                   \
  "Upgrade: websocket\r\nConnection: Upgrade\r\n"   \
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" \
  "Sec-WebSocket-Version: 13\r\n"
size_t ws_head(uint8_t *out, uint8_t first, bool masked, uint64_t payload);
void ws_mask(uint8_t *frame, size_t head_bytes, const uint8_t *payload, size_t length, uint32_t mask);
void ws_prepare(struct load *load);
void ws_handshake(const struct options *options, const char *path, int fd);

// load_tcp.c
void tcp_prepare(struct load *load);

// load_packets.c
void packets_prepare(struct load *load);

// load_deflate.c
void deflated_prepare(struct load *load);
bool deflated_check(struct load *load, struct connection *connection, const uint8_t *bytes, size_t length,
                    uint64_t *count);

// load_broadcast.c
void broadcast_open(struct load *load);
void broadcast_start(struct load *load);
bool broadcast_delivered(struct load *load, struct connection *subscriber, uint64_t count);
uint64_t broadcast_missing(const struct load *load);

// load_probe.c
struct probe {
  struct watched watched;
  int fd;
  uint32_t left;    // requests still to be answered
  uint32_t failed;  // answers that were wrong
  uint64_t sent_at;
  size_t request_bytes;
  size_t received;
  char request[1024];
  char answer[4096];
  struct histogram latencies;
};
void probe_open(struct load *load);
void probe_start(struct load *load);

// load_usage.c
void usage_read(pid_t pid, struct usage *usage);
uint64_t usage_resident_bytes(pid_t pid);

#endif
