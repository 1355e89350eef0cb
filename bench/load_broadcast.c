// SPDX-License-Identifier: Apache-2.0
// load_broadcast.c - one connection publishes, all others receive: every subscriber has to get every message,
// in order. in_flight messages are on their way that not everybody has; what is counted is each delivery.
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "load.h"

struct message {  // one that is on its way
  uint64_t sent_at;
  uint32_t arrived;  // at so many subscribers
};

struct broadcast {
  struct connection publisher;
  struct message *messages;  // sent_slots of them, taken modulo that
  uint64_t *received;        // messages that each subscriber has got
  uint64_t published;
  uint64_t complete;  // messages that everybody has got
  uint64_t deliveries;
};

// A server has nothing to say to the publisher.
static void on_publisher_ready(struct load *load, struct watched *watched, uint32_t events) {
  struct connection *publisher = (struct connection *)watched;
  char byte;
  if (publisher->fd < 0) return;
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    ssize_t length = recv(publisher->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    if (length > 0) loop_fail(load, publisher, ERROR_SURPLUS);
    if (length == 0) loop_fail(load, publisher, ERROR_CLOSED);
  }
  if (publisher->fd >= 0 && events & EPOLLOUT && publisher->to_send > 0) loop_push(load, publisher);
}

// A subscriber is subscribed when what it has sent comes back.
static void subscribe(struct load *load, struct connection *subscriber) {
  const struct traffic *traffic = &load->traffic;
  size_t length = traffic->answer_bytes;
  loop_connect(load, subscriber, load->options->path, 0);
  socket_send(subscriber->fd, traffic->requests, traffic->request_at[1]);
  socket_receive(subscriber->fd, load->buffer, length);
  if (memcmp(load->buffer, traffic->answers, length) != 0) die("a subscription is not answered by an echo");
  socket_unblock(subscriber->fd);
  loop_watch(load, subscriber->fd, &subscriber->watched);
}

void broadcast_open(struct load *load) {
  const struct options *options = load->options;
  struct broadcast *broadcast = calloc(1, sizeof *broadcast);
  if (broadcast == NULL) die("cannot allocate");
  broadcast->messages = calloc(load->sent_slots, sizeof *broadcast->messages);
  broadcast->received = calloc(options->connections, sizeof *broadcast->received);
  if (broadcast->messages == NULL || broadcast->received == NULL) die("cannot allocate");
  for (uint32_t i = 0; i < options->connections; i++) subscribe(load, &load->connections[i]);
  loop_connect(load, &broadcast->publisher, options->publish, 0);
  broadcast->publisher.watched.on_ready = on_publisher_ready;
  socket_unblock(broadcast->publisher.fd);
  loop_watch(load, broadcast->publisher.fd, &broadcast->publisher.watched);
  load->broadcast = broadcast;
}

static struct message *message_of(const struct load *load, uint64_t number) {
  return &load->broadcast->messages[number & (load->sent_slots - 1)];
}

static void publish(struct load *load, uint64_t count) {
  struct broadcast *broadcast = load->broadcast;
  for (uint64_t i = 0; i < count; i++)
    *message_of(load, broadcast->published++) = (struct message){.sent_at = load->now};
  loop_ask(load, &broadcast->publisher, count);
}

void broadcast_start(struct load *load) {
  publish(load, load->options->in_flight);
}

// A subscriber has got so many messages more. Returns whether it goes on.
bool broadcast_delivered(struct load *load, struct connection *subscriber, uint64_t count) {
  struct broadcast *broadcast = load->broadcast;
  uint64_t *received = &broadcast->received[subscriber - load->connections];
  if (count + (subscriber->in_answer > 0) > broadcast->published - *received) {
    loop_fail(load, subscriber, ERROR_SURPLUS);
    return false;
  }
  broadcast->deliveries += count;
  for (uint64_t i = 0; i < count; i++) {
    struct message *message = message_of(load, (*received)++);
    message->arrived++;
    if (!load->draining) histogram_add(&load->latencies, load->now - message->sent_at, 1);
  }
  if (load->draining) return true;
  load->answers += count;
  uint64_t before = broadcast->complete;
  while (broadcast->complete < broadcast->published &&
         message_of(load, broadcast->complete)->arrived == load->options->connections)
    broadcast->complete++;
  if (broadcast->complete > before) publish(load, broadcast->complete - before);
  return true;
}

uint64_t broadcast_missing(const struct load *load) {
  const struct broadcast *broadcast = load->broadcast;
  return broadcast->published * load->options->connections - broadcast->deliveries;
}
