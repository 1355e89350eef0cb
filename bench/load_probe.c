// SPDX-License-Identifier: Apache-2.0
// load_probe.c - one request at a time beside the load: how long a handler that awaits something takes then.
//
// Probe, load and the upstream that /fetch asks live in one loop of one process, so that none of them waits
// for the scheduler and what is measured is the server.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define UPSTREAM_ANSWER "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\nfetched"

struct upstream {
  struct watched watched;
  int fd;
  size_t length;
  char bytes[4096];
};

static void on_upstream_ready(struct load *load, struct watched *watched, uint32_t events) {
  struct upstream *upstream = (struct upstream *)watched;
  (void)load;
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  ssize_t length = recv(upstream->fd, upstream->bytes + upstream->length,
                        sizeof upstream->bytes - upstream->length, MSG_DONTWAIT);
  if (length < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (length <= 0) {
    close(upstream->fd);
    free(upstream);
    return;
  }
  upstream->length += (size_t)length;
  if (memmem(upstream->bytes, upstream->length, "\r\n\r\n", 4) == NULL) return;
  upstream->length = 0;
  send(upstream->fd, UPSTREAM_ANSWER, strlen(UPSTREAM_ANSWER), MSG_NOSIGNAL);
}

static void on_upstream_listener_ready(struct load *load, struct watched *watched, uint32_t events) {
  struct upstream *listener = (struct upstream *)watched;
  (void)events;
  for (;;) {
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    struct upstream *upstream = calloc(1, sizeof *upstream);
    if (upstream == NULL) die("cannot allocate");
    upstream->fd = fd;
    upstream->watched.on_ready = on_upstream_ready;
    loop_watch(load, fd, &upstream->watched);
  }
}

// Listens on a free port of the loopback interface and returns it.
static uint32_t upstream_open(struct load *load) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  struct upstream *listener = calloc(1, sizeof *listener);
  if (listener == NULL) die("cannot allocate");
  listener->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  listener->watched.on_ready = on_upstream_listener_ready;
  if (bind(listener->fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener->fd, 64) != 0 ||
      getsockname(listener->fd, (struct sockaddr *)&address, &length) != 0) {
    die_errno("cannot open the upstream");
  }
  loop_watch(load, listener->fd, &listener->watched);
  return ntohs(address.sin_port);
}

static void probe_ask(struct load *load, struct probe *probe) {
  probe->sent_at = load->now;
  probe->received = 0;
  send(probe->fd, probe->request, probe->request_bytes, MSG_NOSIGNAL);
}

// Ends the probe: what is left over counts as not answered.
static void probe_lose(struct probe *probe) {
  probe->failed += probe->left;
  probe->left = 0;
}

static void on_probe_ready(struct load *load, struct watched *watched, uint32_t events) {
  struct probe *probe = (struct probe *)watched;
  struct http_answer answer;
  const char *expect = load->options->probe_expect;
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || probe->left == 0) return;
  ssize_t length =
      recv(probe->fd, probe->answer + probe->received, sizeof probe->answer - probe->received, MSG_DONTWAIT);
  if (length < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (length <= 0) {
    probe_lose(probe);
    return;
  }
  probe->received += (size_t)length;
  if (http_answer_parse(probe->answer, probe->received, &answer) == 0) return;
  if (probe->received < answer.head_bytes + answer.body_bytes) return;
  load->now = clock_now();
  histogram_add(&probe->latencies, load->now - probe->sent_at, 1);
  bool right = answer.status == 200 && answer.body_bytes == strlen(expect) &&
               memcmp(probe->answer + answer.head_bytes, expect, answer.body_bytes) == 0;
  if (!right) probe->failed++;
  if (--probe->left > 0) probe_ask(load, probe);
}

void probe_open(struct load *load) {
  const struct options *options = load->options;
  struct probe *probe = calloc(1, sizeof *probe);
  char query[64] = "";
  if (probe == NULL) die("cannot allocate");
  if (options->upstream) snprintf(query, sizeof query, "?url=http://127.0.0.1:%u/", upstream_open(load));
  int length = snprintf(probe->request, sizeof probe->request, "GET %s%s HTTP/1.1\r\nHost: %s:%u\r\n\r\n",
                        options->probe, query, options->host, options->port);
  probe->request_bytes = (size_t)length;
  probe->left = options->probes;
  probe->fd = socket_connect(options);
  probe->watched.on_ready = on_probe_ready;
  socket_unblock(probe->fd);
  loop_watch(load, probe->fd, &probe->watched);
  load->probe = probe;
}

void probe_start(struct load *load) {
  probe_ask(load, load->probe);
}

// A probe that is not answered when the window ends has waited at least this long.
void probe_end(struct load *load) {
  struct probe *probe = load->probe;
  if (probe->left == 0) return;
  histogram_add(&probe->latencies, load->now - probe->sent_at, 1);
  probe->unanswered = probe->left;
  probe->left = 0;
}
