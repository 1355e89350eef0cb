// SPDX-License-Identifier: Apache-2.0
// harness_client.c - the clients' side of harness.h: non-blocking sockets that write what they were given.
#include "harness_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static socklen_t server_address(const struct t_server *s, struct sockaddr_storage *out) {
  *out = (struct sockaddr_storage){0};
  if ((s->where.flags & MR_UNIX) != 0) {
    struct sockaddr_un *local = (struct sockaddr_un *)out;
    size_t length = strlen(s->where.host);
    local->sun_family = AF_UNIX;
    memcpy(local->sun_path, s->where.host, length);
    if (local->sun_path[0] == '@') local->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
  }
  if (strchr(s->where.host, ':') != NULL) {
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)s->where.port);
    inet_pton(AF_INET6, s->where.host, &v6->sin6_addr);
    return sizeof(*v6);
  }
  struct sockaddr_in *v4 = (struct sockaddr_in *)out;
  v4->sin_family = AF_INET;
  v4->sin_port = htons((uint16_t)s->where.port);
  v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return sizeof(*v4);
}

uint32_t t_connect_sized(struct t_server *s, int receive_buffer) {
  if (s->client_count == T_CLIENTS_MAX) abort();
  struct sockaddr_storage address;
  socklen_t length = server_address(s, &address);
  int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (receive_buffer > 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
  if (fd < 0 || (connect(fd, (struct sockaddr *)&address, length) != 0 && errno != EINPROGRESS)) {
    perror("t_connect");
    if (fd >= 0) close(fd);
    fd = -1;
  }
  s->clients[s->client_count] = (struct t_client){.fd = fd, .reading = true};
  return s->client_count++;
}

uint32_t t_connect(struct t_server *s) {
  return t_connect_sized(s, 0);
}

void t_write(struct t_server *s, uint32_t client, const void *bytes, size_t length) {
  struct t_client *c = &s->clients[client];
  c->out = bytes;
  c->out_length = length;
  c->out_done = 0;
}

void t_hang_up(struct t_server *s, uint32_t client) {
  struct t_client *c = &s->clients[client];
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
}

void t_reset(struct t_server *s, uint32_t client) {
  struct linger drop = {.l_onoff = 1};
  setsockopt(s->clients[client].fd, SOL_SOCKET, SO_LINGER, &drop, sizeof(drop));
  t_hang_up(s, client);
}

static bool pump_out(struct t_client *c) {
  bool moved = false;
  while (c->error == 0 && c->out_done < c->out_length) {
    size_t count = c->out_length - c->out_done;
    if (c->out_step > 0 && count > c->out_step) count = c->out_step;
    ssize_t sent = send(c->fd, c->out + c->out_done, count, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN) c->error = errno;
    if (sent <= 0) break;
    c->out_done += (size_t)sent;
    moved = true;
    if (c->out_step > 0) break;  // the server looks at each piece
  }
  return moved;
}

static bool pump_in(struct t_client *c) {
  static uint8_t bytes[65536];
  bool moved = false;
  while (c->reading && !c->ended && c->error == 0) {
    ssize_t count = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) break;
    moved = true;
    if (count < 0) c->error = errno;
    if (count == 0) c->ended = true;
    if (count > 0) t_append(&c->in, bytes, (size_t)count);
  }
  return moved;
}

bool t_clients_pump(struct t_server *s) {
  bool moved = false;
  for (uint32_t i = 0; i < s->client_count; i++) {
    if (s->clients[i].fd < 0) continue;
    if (pump_out(&s->clients[i])) moved = true;
    if (pump_in(&s->clients[i])) moved = true;
  }
  return moved;
}

nfds_t t_clients_interest(const struct t_server *s, struct pollfd *fds) {
  nfds_t count = 0;
  for (uint32_t i = 0; i < s->client_count; i++) {
    const struct t_client *c = &s->clients[i];
    if (c->fd < 0 || c->ended || c->error != 0) continue;
    int events = (c->reading ? POLLIN : 0) | (c->out_done < c->out_length ? POLLOUT : 0);
    // Without interest a hang-up would still be reported, again and again.
    if (events != 0) fds[count++] = (struct pollfd){.fd = c->fd, .events = (short)events};
  }
  return count;
}

void t_clients_close(struct t_server *s) {
  for (uint32_t i = 0; i < s->client_count; i++) {
    if (s->clients[i].fd >= 0) close(s->clients[i].fd);
    free(s->clients[i].in.at);
    s->clients[i] = (struct t_client){.fd = -1};
  }
  s->client_count = 0;
}

static bool read_done(struct t_server *s, const void *context) {
  const size_t *want = context;
  return s->clients[want[0]].in.length >= want[1];
}

bool t_until_read(struct t_server *s, uint32_t client, size_t length) {
  const size_t want[2] = {client, length};
  return t_until(s, read_done, want);
}

static bool ended_done(struct t_server *s, const void *context) {
  const struct t_client *c = &s->clients[*(const uint32_t *)context];
  return c->ended || c->error != 0;
}

bool t_until_ended(struct t_server *s, uint32_t client) {
  return t_until(s, ended_done, &client);
}

size_t t_frame(uint8_t *out, uint8_t first_byte, const void *payload, size_t length) {
  static const uint8_t mask[4] = {0x12, 0xa3, 0x5c, 0x81};
  size_t at = 0;
  out[at++] = first_byte;
  if (length < 126) {
    out[at++] = (uint8_t)(0x80 | length);
  } else if (length < 65536) {
    out[at++] = 0x80 | 126;
    out[at++] = (uint8_t)(length >> 8);
    out[at++] = (uint8_t)length;
  } else {
    out[at++] = 0x80 | 127;
    for (int shift = 56; shift >= 0; shift -= 8) out[at++] = (uint8_t)((uint64_t)length >> shift);
  }
  memcpy(out + at, mask, 4);
  at += 4;
  for (size_t i = 0; i < length; i++) out[at + i] = ((const uint8_t *)payload)[i] ^ mask[i & 3];
  return at + length;
}
