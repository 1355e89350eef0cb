// SPDX-License-Identifier: Apache-2.0
// load_loop.c - the hot path: reads what came, compares it with what had to come, sends as many requests
// again.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define EVENTS 256
#define DRAIN_SECONDS 10
#define SPIN_PAUSES 8  // about a third of a microsecond between two looks

void loop_fail(struct load *load, struct connection *connection, enum error_kind kind) {
  load->errors[kind]++;
  // What is published will never have reached everybody.
  load->alive = load->broadcast != NULL ? 0 : load->alive - 1;
  close(connection->fd);
  connection->fd = -1;
}

// Names the part of the answer in which the first differing byte lies. A connection whose stream went wrong
// is given up: nothing after that byte could be compared.
static enum error_kind difference_kind(const struct load *load, size_t place) {
  size_t in_answer = place % load->traffic.answer_bytes;
  if (in_answer < load->traffic.start_end) return ERROR_START;
  return in_answer < load->traffic.head_end ? ERROR_HEAD : ERROR_BODY;
}

// Compares a run of bytes that does not wrap; returns false and the place of the difference in *place.
static bool same(const uint8_t *wanted, const uint8_t *bytes, size_t length, size_t *place) {
  if (memcmp(wanted, bytes, length) == 0) return true;
  size_t i = 0;
  while (wanted[i] == bytes[i]) i++;
  *place += i;
  return false;
}

// Length of the run at place that is all to be compared, or all to be skipped.
static size_t run_length(const struct traffic *traffic, size_t place, bool *skip) {
  *skip = false;
  if (traffic->hole_bytes == 0) return traffic->units * traffic->answer_bytes - place;
  size_t in_answer = place % traffic->answer_bytes;
  size_t hole_end = traffic->hole + traffic->hole_bytes;
  if (in_answer < traffic->hole) return traffic->hole - in_answer;
  *skip = in_answer < hole_end;
  return (*skip ? hole_end : traffic->answer_bytes) - in_answer;
}

bool loop_verify(struct load *load, struct connection *connection, const uint8_t *bytes, size_t length) {
  const struct traffic *traffic = &load->traffic;
  size_t ring_bytes = traffic->units * traffic->answer_bytes;
  size_t place = connection->receive_at;
  while (length > 0) {
    bool skip;
    size_t run = run_length(traffic, place, &skip);
    if (run > length) run = length;
    if (!skip && !same(traffic->answers + place, bytes, run, &place)) {
      loop_fail(load, connection, difference_kind(load, place));
      return false;
    }
    bytes += run;
    length -= run;
    place += run;
    if (place == ring_bytes) place = 0;
  }
  connection->receive_at = place;
  return true;
}

static void record(struct load *load, struct connection *connection, uint64_t count) {
  connection->unanswered -= (uint32_t)count;
  if (!load->draining) {
    load->answers += count;
    connection->answered += count;
  } else if (load->schedule == NULL) {
    return;
  }
  while (count > 0) {
    struct sent *sent = &connection->sent[connection->oldest & (load->sent_slots - 1)];
    uint64_t answered = sent->count < count ? sent->count : count;
    if (sent->at >= load->counted_from) histogram_add(&load->latencies, load->now - sent->at, answered);
    sent->count -= answered;
    count -= answered;
    if (sent->count == 0) connection->oldest++;
  }
}

void loop_push(struct load *load, struct connection *connection) {
  const struct traffic *traffic = &load->traffic;
  size_t ring_bytes = traffic->request_at[traffic->units];
  while (connection->to_send > 0) {
    ssize_t taken = send(connection->fd, traffic->requests + connection->send_at, connection->to_send,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
    if (taken < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) loop_fail(load, connection, ERROR_WRITE);
      return;
    }
    connection->to_send -= (size_t)taken;
    connection->send_at = (connection->send_at + (size_t)taken) % ring_bytes;
  }
}

// Remembers that so many requests more wait for their answers, since a moment.
void loop_note(struct load *load, struct connection *connection, uint64_t at, uint64_t count) {
  connection->sent[connection->newest++ & (load->sent_slots - 1)] = (struct sent){at, count};
  connection->unanswered += (uint32_t)count;
}

void loop_send(struct load *load, struct connection *connection, uint64_t count) {
  const size_t *request_at = load->traffic.request_at;
  connection->to_send += request_at[connection->next + count] - request_at[connection->next];
  connection->next = (connection->next + count) % load->traffic.units;
  loop_push(load, connection);
}

void loop_ask(struct load *load, struct connection *connection, uint64_t count) {
  loop_note(load, connection, load->now, count);
  loop_send(load, connection, count);
}

// Compares what has come, and tells how many answers are whole with it.
static bool check(struct load *load, struct connection *connection, size_t length, uint64_t *count) {
  if (load->deflated != NULL) return deflated_check(load, connection, load->buffer, length, count);
  if (!loop_verify(load, connection, load->buffer, length)) return false;
  size_t bytes = connection->in_answer + length;
  *count = bytes / load->traffic.answer_bytes;
  connection->in_answer = bytes - *count * load->traffic.answer_bytes;
  return true;
}

static bool answered(struct load *load, struct connection *connection, uint64_t count) {
  if (count + (connection->in_answer > 0) > connection->unanswered) {
    loop_fail(load, connection, ERROR_SURPLUS);
    return false;
  }
  if (count > 0) {
    record(load, connection, count);
    if (load->draining) return true;
    if (load->schedule != NULL)
      rate_ask(load, connection);
    else
      loop_ask(load, connection, count);
  }
  return connection->fd >= 0;
}

// Takes one buffer full. Returns whether there may be more to read.
static bool receive(struct load *load, struct connection *connection) {
  ssize_t length = recv(connection->fd, load->buffer, BUFFER_BYTES, MSG_DONTWAIT);
  if (length <= 0) {
    if (length < 0 && errno == EINTR) return true;
    if (length == 0)
      loop_fail(load, connection, ERROR_CLOSED);
    else if (errno != EAGAIN)
      loop_fail(load, connection, ERROR_READ);
    return false;
  }
  load->now = clock_now();
  uint64_t count;
  if (!check(load, connection, (size_t)length, &count)) return false;
  bool alive = load->broadcast != NULL ? broadcast_delivered(load, connection, count)
                                       : answered(load, connection, count);
  return alive && length == BUFFER_BYTES;
}

static void on_connection_ready(struct load *load, struct watched *watched, uint32_t events) {
  struct connection *connection = (struct connection *)watched;
  if (connection->fd < 0) return;
  if (events & EPOLLOUT && connection->to_send > 0) loop_push(load, connection);
  // The watch is edge-triggered: a read that fills the buffer must be followed by another one.
  while (connection->fd >= 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR) && receive(load, connection)) {
  }
}

void loop_watch(struct load *load, int fd, struct watched *watched) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = watched};
  if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, fd, &event) != 0) die_errno("cannot watch a socket");
}

// Opens one connection, which starts at the given unit of the rings.
void loop_connect(struct load *load, struct connection *connection, const char *path, size_t start) {
  const struct options *options = load->options;
  connection->watched.on_ready = on_connection_ready;
  connection->fd = socket_connect(options);
  connection->next = start;
  connection->send_at = load->traffic.request_at[start];
  connection->receive_at = load->deflated != NULL ? start : start * load->traffic.answer_bytes;
  connection->sent = calloc(load->sent_slots, sizeof *connection->sent);
  if (connection->sent == NULL) die("cannot allocate");
  if (options->websocket) ws_handshake(options, path, connection->fd);
}

// Connects everything. Each connection starts at its own place of the rings, so that an answer that belongs
// to another connection differs.
void loop_open(struct load *load) {
  const struct options *options = load->options;
  load->buffer = malloc(BUFFER_BYTES);
  if (load->buffer == NULL) die("cannot allocate");
  load->alive = options->connections;
  if (options->churn) {
    churn_open(load);
    return;
  }
  load->sent_slots = 1;
  while (load->sent_slots < options->in_flight) load->sent_slots *= 2;
  load->connections = calloc(options->connections, sizeof *load->connections);
  if (load->connections == NULL) die("cannot allocate");
  if (options->publish != NULL) {
    broadcast_open(load);
    return;
  }
  for (uint32_t i = 0; i < options->connections; i++) {
    struct connection *connection = &load->connections[i];
    size_t start = (size_t)i * (options->in_flight + 1) % load->traffic.units;
    loop_connect(load, connection, options->path, start);
    socket_unblock(connection->fd);
    loop_watch(load, connection->fd, &connection->watched);
  }
}

void loop_turn(struct load *load) {
  struct epoll_event events[EVENTS];
  if (load->schedule != NULL) rate_turn(load);
  int patience = !load->options->sleep ? 0 : load->schedule != NULL ? 1 : 50;
  int count = epoll_wait(load->epoll, events, EVENTS, patience);
  if (count > 0) {
    load->idle_since = 0;
    for (int i = 0; i < count; i++) {
      struct watched *watched = events[i].data.ptr;
      watched->on_ready(load, watched, events[i].events);
    }
    return;
  }
  // By default the client spins, so that no server pays for waking it: a client on another machine would not
  // cost it that either, and the price would fall on slow servers alone. What was idle is measured instead.
  load->now = clock_now();
  if (load->idle_since != 0 && !load->draining) load->idle += load->now - load->idle_since;
  load->idle_since = load->now;
  for (int i = 0; i < SPIN_PAUSES; i++) __builtin_ia32_pause();
}

static void begin_window(struct load *load, struct usage *before) {
  memset(&load->latencies, 0, sizeof load->latencies);
  load->answers = 0;
  load->idle = 0;
  for (uint32_t i = 0; load->connections != NULL && i < load->options->connections; i++)
    load->connections[i].answered = 0;
  usage_read(load->options->pid, before);
}

static uint64_t missing(const struct load *load) {
  uint64_t count = 0;
  if (load->churn != NULL) return churn_missing(load);
  if (load->broadcast != NULL) return broadcast_missing(load);
  for (uint32_t i = 0; i < load->options->connections; i++) {
    if (load->connections[i].fd >= 0) count += load->connections[i].unanswered;
  }
  return count;
}

// Waits for the answers that are still to come. HTTP answers look alike, so that one which never came, or
// came twice, may show only now.
static void drain(struct load *load) {
  uint64_t end = load->now + DRAIN_SECONDS * SECOND;
  load->draining = true;
  while (load->alive > 0 && missing(load) > 0 && load->now < end) loop_turn(load);
  load->errors[ERROR_LOST] += missing(load);
}

static void start(struct load *load) {
  const struct options *options = load->options;
  if (load->churn != NULL) {
    churn_start(load);
    return;
  }
  if (options->rate > 0) {
    rate_start(load);
    return;
  }
  if (load->broadcast != NULL) {
    broadcast_start(load);
    return;
  }
  for (uint32_t i = 0; i < options->connections; i++)
    loop_ask(load, &load->connections[i], options->in_flight);
}

// A window ends with its time, with the last answer that was wanted, or when nobody is left to answer.
static bool goes_on(const struct load *load, uint64_t end) {
  uint32_t wanted = load->options->answers;
  return load->now < end && load->alive > 0 && (wanted == 0 || load->answers < wanted);
}

// Runs the warm-up and the measured window; returns the seconds that the window took.
double loop_run(struct load *load, struct usage *before, struct usage *after) {
  const struct options *options = load->options;
  load->now = clock_now();
  uint64_t planned = load->now + (uint64_t)(options->warmup * (double)SECOND);
  start(load);
  while (goes_on(load, planned)) loop_turn(load);
  if (options->trace != NULL) trace_begin(load);
  begin_window(load, before);
  uint64_t begin = load->now = clock_now();
  // What is on its way when a closed loop's window begins is part of it. A schedule goes by when things were
  // due.
  if (load->schedule != NULL)
    load->counted_from = options->trace == NULL && planned < begin ? planned : begin;
  if (load->probe != NULL) probe_start(load);
  uint64_t end = begin + (uint64_t)(options->seconds * (double)SECOND);
  while (goes_on(load, end) && (load->probe == NULL || load->probe->left > 0)) loop_turn(load);
  usage_read(options->pid, after);
  uint64_t took = load->now > begin ? load->now - begin : 1;
  if (load->trace != NULL) trace_end(load);
  if (load->schedule != NULL) rate_end(load);
  if (load->probe != NULL) probe_end(load);
  drain(load);
  return (double)took / (double)SECOND;
}
