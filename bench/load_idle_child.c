// SPDX-License-Identifier: Apache-2.0
// load_idle_child.c - holds the idle connections to one server process and checks whatever comes on them;
// forked by load_idle.c, since a process may have only so many descriptors.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load_idle.h"

#define ANSWER_BYTES 4096
#define EVENTS 256
#define TURN_MS 100
// Of the 28,000 ports that an address has by default. Finding a free one takes long once half of them are in
// use.
#define CONNECTIONS_PER_ADDRESS 10000
// While connections are opened or asked, some answer comes within this time.
#define PATIENCE (30 * SECOND)

#define PING (WS_FIN | 0x09)
#define PONG (WS_FIN | 0x0a)
#define CONTROL_MAX 125

struct held {
  int fd;             // -1: it is not open, or no more
  uint32_t sequence;  // questions so far; the first one opens it
  uint64_t asked_at;  // 0: no answer is waited for
};

struct child {
  const struct idle_options *options;
  struct idle_report *report;
  struct held *all;
  uint32_t target;
  uint32_t waiting;  // connections whose answer has not come
  int epoll;
  char opening[ANSWER_BYTES];  // what opens a connection; NULL-terminated, empty where a message does
  size_t opening_bytes;
};

static void fail(struct child *child, struct held *held, enum idle_error kind) {
  child->report->errors[kind]++;
  if (held->asked_at != 0) child->waiting--;
  if (held->sequence > 1 || held->asked_at == 0) child->report->open--;
  held->asked_at = 0;
  close(held->fd);
  held->fd = -1;
}

static void send_whole(struct child *child, struct held *held, const void *bytes, size_t length) {
  // So little always has room in the socket of a connection that waits for nothing.
  if (send(held->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)length)
    fail(child, held, IDLE_CLOSED);
}

// Its own for each message of each connection.
static void message_of(const struct child *child, const struct held *held, uint8_t *out) {
  size_t index = (size_t)(held - child->all);
  payload_fill(out, IDLE_MESSAGE_BYTES, index * 251 + held->sequence, false);
}

static void ask(struct child *child, struct held *held) {
  uint8_t message[IDLE_MESSAGE_BYTES];
  uint8_t frame[WS_HEAD_MAX + 4 + IDLE_MESSAGE_BYTES];
  enum idle_protocol protocol = child->options->protocol;
  held->sequence++;
  held->asked_at = clock_now();
  child->waiting++;
  if (protocol == IDLE_HTTP || (protocol == IDLE_WS && held->sequence == 1)) {
    send_whole(child, held, child->opening, child->opening_bytes);
    return;
  }
  message_of(child, held, message);
  if (protocol == IDLE_TCP) {
    send_whole(child, held, message, sizeof message);
    return;
  }
  size_t head = ws_head(frame, WS_FIN | WS_BINARY, true, sizeof message);
  ws_mask(frame, head, message, sizeof message, (uint32_t)held->asked_at);
  send_whole(child, held, frame, head + 4 + sizeof message);
}

static void answered(struct child *child, struct held *held) {
  if (held->sequence == 1) {
    child->report->open++;
  } else {
    child->report->answers++;
    histogram_add(&child->report->latencies, clock_now() - held->asked_at, 1);
  }
  child->waiting--;
  held->asked_at = 0;
}

// Each take_* looks at what has come and returns the bytes of one answer: 0 when it is not whole, -1 when it
// is wrong.
static ssize_t take_head(const struct child *child, const char *bytes, size_t length) {
  static const char body[] = "Hello, World!";
  bool upgrade = child->options->protocol == IDLE_WS;
  const char *end = memmem(bytes, length, "\r\n\r\n", 4);
  if (end == NULL) return length == ANSWER_BYTES ? -1 : 0;
  size_t head = (size_t)(end + 4 - bytes);
  if (memcmp(bytes, upgrade ? "HTTP/1.1 101 " : "HTTP/1.1 200 ", 13) != 0) return -1;
  if (upgrade)
    return memmem(bytes, head, WS_ACCEPT "\r\n", strlen(WS_ACCEPT) + 2) == NULL ? -1 : (ssize_t)head;
  if (length < head + strlen(body)) return 0;
  return memcmp(bytes + head, body, strlen(body)) == 0 ? (ssize_t)(head + strlen(body)) : -1;
}

static ssize_t take_message(struct child *child, struct held *held, const uint8_t *bytes, size_t length) {
  uint8_t message[IDLE_MESSAGE_BYTES];
  if (length < sizeof message) return 0;
  message_of(child, held, message);
  return memcmp(bytes, message, sizeof message) == 0 ? (ssize_t)sizeof message : -1;
}

static ssize_t take_ping(struct child *child, struct held *held, const uint8_t *bytes, size_t length) {
  uint8_t frame[2 + 4 + CONTROL_MAX];
  size_t payload = bytes[1];
  if (payload > CONTROL_MAX) return -1;
  if (length < 2 + payload) return 0;
  size_t head = ws_head(frame, PONG, true, payload);
  ws_mask(frame, head, bytes + 2, payload, (uint32_t)clock_now());
  child->report->pings++;
  send_whole(child, held, frame, head + 4 + payload);
  return (ssize_t)(2 + payload);
}

static ssize_t take_frame(struct child *child, struct held *held, const uint8_t *bytes, size_t length) {
  if (length < 2) return 0;
  if (bytes[0] == PING) return take_ping(child, held, bytes, length);
  bool expected = held->asked_at != 0 && bytes[0] == (WS_FIN | WS_BINARY) && bytes[1] == IDLE_MESSAGE_BYTES;
  ssize_t taken = expected ? take_message(child, held, bytes + 2, length - 2) : -1;
  if (taken <= 0) return taken;
  answered(child, held);
  return 2 + taken;
}

static ssize_t take(struct child *child, struct held *held, const char *bytes, size_t length) {
  enum idle_protocol protocol = child->options->protocol;
  if (protocol == IDLE_WS && held->sequence > 1)
    return take_frame(child, held, (const uint8_t *)bytes, length);
  ssize_t taken = held->asked_at == 0    ? -1
                  : protocol == IDLE_TCP ? take_message(child, held, (const uint8_t *)bytes, length)
                                         : take_head(child, bytes, length);
  if (taken > 0) answered(child, held);
  return taken;
}

static void on_readable(struct child *child, struct held *held) {
  char bytes[ANSWER_BYTES];
  ssize_t length = recv(held->fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_PEEK);
  if (length < 0 && errno == EAGAIN) return;
  if (length <= 0) {
    fail(child, held, IDLE_CLOSED);
    return;
  }
  size_t done = 0;
  while (done < (size_t)length && held->fd >= 0) {
    ssize_t taken = take(child, held, bytes + done, (size_t)length - done);
    if (taken < 0) fail(child, held, held->sequence == 1 ? IDLE_REFUSED : IDLE_WRONG);
    if (taken <= 0) break;
    done += (size_t)taken;
  }
  if (held->fd >= 0 && done > 0) recv(held->fd, bytes, done, MSG_TRUNC);
}

// Handles what has come by then; returns whether that was anything.
static bool turn(struct child *child, uint64_t until) {
  struct epoll_event events[EVENTS];
  uint64_t now = clock_now();
  uint64_t left = until > now ? (until - now) / 1000000 : 0;
  int count = epoll_wait(child->epoll, events, EVENTS, left < TURN_MS ? (int)left : TURN_MS);
  for (int i = 0; i < count; i++) {
    struct held *held = &child->all[events[i].data.u32];
    if (held->fd >= 0) on_readable(child, held);
  }
  return count > 0;
}

static int connect_from(const struct child *child, uint32_t index) {
  const struct idle_options *options = child->options;
  uint32_t port = options->targets[child->target].port;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  struct sockaddr_in source = {.sin_family = AF_INET};
  struct linger drop = {.l_onoff = 1};  // so that no port is left waiting after the run
  int yes = 1;
  if (inet_pton(AF_INET, options->host, &address.sin_addr) != 1) die("HOST is not an IPv4 address");
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die_errno("cannot open a socket");
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &drop, sizeof drop);
  if (index >= CONNECTIONS_PER_ADDRESS) {
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + index / CONNECTIONS_PER_ADDRESS);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) != 0) die_errno("cannot bind to another address");
  }
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) die_errno("cannot connect");
  return fd;
}

static void open_one(struct child *child, uint32_t index) {
  struct held *held = &child->all[index];
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
  held->fd = connect_from(child, index);
  if (epoll_ctl(child->epoll, EPOLL_CTL_ADD, held->fd, &event) != 0) die_errno("cannot watch a socket");
  ask(child, held);
}

// Opens or asks all connections, in_flight at a time.
static void go_through(struct child *child, enum idle_order order) {
  uint32_t count = child->options->connections;
  uint64_t heard_at = clock_now();
  for (uint32_t next = 0; next < count || child->waiting > 0;) {
    while (next < count && child->waiting < child->options->in_flight) {
      struct held *held = &child->all[next++];
      if (order == IDLE_OPEN)
        open_one(child, next - 1);
      else if (held->fd >= 0 && held->asked_at == 0)
        ask(child, held);
    }
    uint64_t now = clock_now();
    if (turn(child, now + SECOND)) heard_at = now;
    if (now - heard_at > PATIENCE) die("the server has not answered for 30 seconds");
  }
}

// The messages of all connections are spread evenly over the interval.
static void hold(struct child *child) {
  const struct idle_options *options = child->options;
  uint64_t start = clock_now();
  uint64_t end = start + (uint64_t)(options->hold * SECOND);
  double gap = options->interval * SECOND / options->connections;
  uint64_t sent = 0;
  for (uint64_t now; (now = clock_now()) < end;) {
    uint64_t due = end;
    while (gap > 0 && (due = start + (uint64_t)(gap * (double)sent)) <= now) {
      struct held *held = &child->all[sent++ % options->connections];
      if (held->fd < 0) continue;
      if (held->asked_at != 0)
        fail(child, held, IDLE_LATE);
      else
        ask(child, held);
    }
    turn(child, due < end ? due : end);
  }
  for (uint64_t now = end; child->waiting > 0 && now < end + PATIENCE; now = clock_now())
    turn(child, now + SECOND);
}

static void count_late(struct child *child) {
  for (uint32_t i = 0; i < child->options->connections; i++) {
    struct held *held = &child->all[i];
    if (held->fd >= 0 && held->asked_at != 0) fail(child, held, IDLE_LATE);
  }
}

static void obey(struct child *child, enum idle_order order) {
  if (order != IDLE_HOLD)
    go_through(child, order);
  else
    hold(child);
  count_late(child);
}

void idle_child(const struct idle_options *options, uint32_t target, int orders, struct idle_report *report) {
  static struct child child;
  char order;
  child.options = options;
  child.report = report;
  child.target = target;
  child.all = calloc(options->connections, sizeof *child.all);
  child.epoll = epoll_create1(EPOLL_CLOEXEC);
  if (child.all == NULL || child.epoll < 0) die_errno("cannot prepare");
  child.opening_bytes = (size_t)snprintf(
      child.opening, sizeof child.opening, "GET %s HTTP/1.1\r\nHost: %s:%u\r\n%s\r\n", options->path,
      options->host, options->targets[target].port, options->protocol == IDLE_WS ? WS_FIELDS : "");
  for (uint32_t i = 0; i < options->connections; i++) child.all[i].fd = -1;
  while (read(orders, &order, 1) == 1) {
    obey(&child, order);
    if (write(orders, &order, 1) != 1) break;
  }
}
