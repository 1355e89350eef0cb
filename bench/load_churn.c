// SPDX-License-Identifier: Apache-2.0
// load_churn.c - connections that serve for one request: connect, ask, be answered, close, and again. What is
// timed runs from connect() to the end of the answer; the next connection waits for the end of this one.
//
// The server closes first, as the protocols have it: HTTP is asked to by `Connection: close`, and a WebSocket
// server closes when close frames have been exchanged. So it is the server's end that stays in TIME_WAIT, and
// the client's ports are free at once; several source addresses keep a port from coming back soon all the
// same.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define HEAD_BYTES 2048
#define SOURCES 16
#define CLOSE_BYTES 4

enum phase { CONNECTING, SHAKING_HANDS, ANSWERING, CLOSING };

struct slot {
  struct connection connection;
  enum phase phase;
  uint64_t started_at;
  size_t seen;  // bytes of the head of the handshake, or of the close frame
  char head[HEAD_BYTES];
};

struct churn {
  struct slot *slots;
  struct sockaddr_in server;
  size_t handshake_bytes;
  char handshake[HEAD_BYTES];
};

static const uint8_t CLOSE_REQUEST[] = {0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe8 ^ 2};  // 1000, masked
static const uint8_t CLOSE_ANSWER[CLOSE_BYTES] = {0x88, 0x02, 0x03, 0xe8};

static void on_slot_ready(struct load *load, struct watched *watched, uint32_t events);

// Slots take the addresses of the loopback network in turn; a port is chosen by connect(), for the pair.
static void choose_source(const struct load *load, int fd, size_t index) {
  struct sockaddr_in source = {.sin_family = AF_INET};
  int yes = 1;
  if (ntohl(load->churn->server.sin_addr.s_addr) >> 24 != IN_LOOPBACKNET) return;
  source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(index % SOURCES));
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
  if (bind(fd, (struct sockaddr *)&source, sizeof source) != 0) die_errno("cannot choose a source address");
}

static void slot_connect(struct load *load, struct slot *slot) {
  struct connection *connection = &slot->connection;
  const struct sockaddr_in *server = &load->churn->server;
  load->now = slot->started_at = clock_now();
  slot->phase = CONNECTING;
  slot->seen = 0;
  connection->fd = socket_open();
  socket_unblock(connection->fd);
  choose_source(load, connection->fd, (size_t)(slot - load->churn->slots));
  if (connect(connection->fd, (const struct sockaddr *)server, sizeof *server) != 0 && errno != EINPROGRESS) {
    loop_fail(load, connection, ERROR_CONNECT);
    return;
  }
  loop_watch(load, connection->fd, &connection->watched);
}

// A new connection has room for what is so short; one that has not is as good as broken.
static void slot_send(struct load *load, struct slot *slot, const void *bytes, size_t length) {
  if (send(slot->connection.fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)length)
    loop_fail(load, &slot->connection, ERROR_WRITE);
}

// Requests differ; the place of the answer in its ring goes along.
static void slot_ask(struct load *load, struct slot *slot) {
  const struct traffic *traffic = &load->traffic;
  struct connection *connection = &slot->connection;
  size_t unit = connection->next;
  slot->phase = ANSWERING;
  connection->next = (unit + 1) % traffic->units;
  connection->receive_at = unit * traffic->answer_bytes;
  connection->in_answer = 0;
  slot_send(load, slot, traffic->requests + traffic->request_at[unit],
            traffic->request_at[unit + 1] - traffic->request_at[unit]);
}

static void slot_connected(struct load *load, struct slot *slot, uint32_t events) {
  if (events & (EPOLLERR | EPOLLHUP)) {
    loop_fail(load, &slot->connection, ERROR_CONNECT);
  } else if (!(events & EPOLLOUT)) {
    return;
  } else if (!load->options->websocket) {
    slot_ask(load, slot);
  } else {
    slot->phase = SHAKING_HANDS;
    slot_send(load, slot, load->churn->handshake, load->churn->handshake_bytes);
  }
}

static void take_handshake(struct load *load, struct slot *slot, size_t length) {
  if (slot->seen + length >= sizeof slot->head) {
    loop_fail(load, &slot->connection, ERROR_HEAD);
    return;
  }
  memcpy(slot->head + slot->seen, load->buffer, length);
  slot->seen += length;
  slot->head[slot->seen] = '\0';
  const char *end = strstr(slot->head, "\r\n\r\n");
  if (end == NULL) return;
  if (end + 4 != slot->head + slot->seen) {
    loop_fail(load, &slot->connection, ERROR_SURPLUS);
  } else if (ws_handshake_fault(load->options, slot->head) != NULL) {
    loop_fail(load, &slot->connection, ERROR_HEAD);
  } else {
    slot_ask(load, slot);
  }
}

static void take_answer(struct load *load, struct slot *slot, size_t length) {
  struct connection *connection = &slot->connection;
  size_t wanted = load->traffic.answer_bytes - connection->in_answer;
  if (!loop_verify(load, connection, load->buffer, length < wanted ? length : wanted)) return;
  connection->in_answer += length;
  if (length > wanted) loop_fail(load, connection, ERROR_SURPLUS);
  if (length != wanted) return;
  if (!load->draining) {
    load->answers++;
    histogram_add(&load->latencies, load->now - slot->started_at, 1);
  }
  slot->phase = CLOSING;
  slot->seen = 0;
  if (load->options->websocket) slot_send(load, slot, CLOSE_REQUEST, sizeof CLOSE_REQUEST);
}

// Nothing comes behind an HTTP answer, and a close frame with the same code behind an echo.
static void take_closing(struct load *load, struct slot *slot, size_t length) {
  size_t wanted = load->options->websocket ? CLOSE_BYTES - slot->seen : 0;
  if (length > wanted)
    loop_fail(load, &slot->connection, ERROR_SURPLUS);
  else if (memcmp(load->buffer, CLOSE_ANSWER + slot->seen, length) != 0)
    loop_fail(load, &slot->connection, ERROR_BODY);
  slot->seen += length;
}

static void slot_ended(struct load *load, struct slot *slot) {
  bool whole = slot->phase == CLOSING && (!load->options->websocket || slot->seen == CLOSE_BYTES);
  if (!whole) {
    loop_fail(load, &slot->connection, ERROR_CLOSED);
    return;
  }
  close(slot->connection.fd);
  slot->connection.fd = -1;
  if (!load->draining) slot_connect(load, slot);
}

// Takes what has come. Returns whether there may be more on the same connection.
static bool slot_receive(struct load *load, struct slot *slot) {
  ssize_t length = recv(slot->connection.fd, load->buffer, BUFFER_BYTES, MSG_DONTWAIT);
  if (length < 0) {
    if (errno == EINTR) return true;
    if (errno != EAGAIN) loop_fail(load, &slot->connection, ERROR_READ);
    return false;
  }
  load->now = clock_now();
  if (length == 0) {
    slot_ended(load, slot);
    return false;
  }
  if (slot->phase == SHAKING_HANDS)
    take_handshake(load, slot, (size_t)length);
  else if (slot->phase == ANSWERING)
    take_answer(load, slot, (size_t)length);
  else
    take_closing(load, slot, (size_t)length);
  return slot->connection.fd >= 0;
}

static void on_slot_ready(struct load *load, struct watched *watched, uint32_t events) {
  struct slot *slot = (struct slot *)watched;
  if (slot->connection.fd < 0) return;
  if (slot->phase == CONNECTING) slot_connected(load, slot, events);
  if (slot->connection.fd < 0 || slot->phase == CONNECTING) return;
  while (slot_receive(load, slot)) {
  }
}

void churn_open(struct load *load) {
  const struct options *options = load->options;
  struct churn *churn = calloc(1, sizeof *churn);
  if (churn == NULL) die("cannot allocate");
  churn->slots = calloc(options->connections, sizeof *churn->slots);
  if (churn->slots == NULL) die("cannot allocate");
  churn->server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)options->port)};
  if (inet_pton(AF_INET, options->host, &churn->server.sin_addr) != 1) die("HOST is not an IPv4 address");
  churn->handshake_bytes =
      ws_handshake_request(options, options->path, churn->handshake, sizeof churn->handshake);
  for (uint32_t i = 0; i < options->connections; i++) {
    struct connection *connection = &churn->slots[i].connection;
    connection->watched.on_ready = on_slot_ready;
    connection->fd = -1;
    connection->next = i % load->traffic.units;
  }
  load->churn = churn;
}

void churn_start(struct load *load) {
  for (uint32_t i = 0; i < load->options->connections; i++) slot_connect(load, &load->churn->slots[i]);
}

uint64_t churn_missing(const struct load *load) {
  uint64_t count = 0;
  for (uint32_t i = 0; i < load->options->connections; i++) count += load->churn->slots[i].connection.fd >= 0;
  return count;
}
