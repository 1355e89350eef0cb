// SPDX-License-Identifier: Apache-2.0
// load_socket.c - blocking sockets for all that happens before the load: connect, handshake, first answer.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "load.h"

#define SETUP_SECONDS 10

// A TCP socket as every connection of the load has it.
int socket_open(void) {
  int yes = 1;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die_errno("cannot open a socket");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  // The cheapest congestion control that every kernel has. Which one the server uses is not touched.
  setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
  return fd;
}

int socket_connect(const struct options *options) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options->port)};
  if (inet_pton(AF_INET, options->host, &address.sin_addr) != 1) die("HOST is not an IPv4 address");
  int fd = socket_open();
  struct timeval patience = {.tv_sec = SETUP_SECONDS};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) die_errno("cannot connect");
  return fd;
}

void socket_send(int fd, const void *bytes, size_t length) {
  const char *at = bytes;
  while (length > 0) {
    ssize_t taken = send(fd, at, length, MSG_NOSIGNAL);
    if (taken < 0 && errno == EINTR) continue;
    if (taken <= 0) die_errno("cannot send the first request");
    at += taken;
    length -= (size_t)taken;
  }
}

void socket_receive(int fd, void *out, size_t length) {
  if (recv(fd, out, length, MSG_WAITALL) != (ssize_t)length)
    die("the server closed or was silent before the load");
}

// Reads one head and nothing behind it; the result is NUL-terminated.
size_t socket_receive_head(int fd, char *out, size_t capacity) {
  size_t length = 0;
  while (length + 1 < capacity) {
    ssize_t seen = recv(fd, out + length, capacity - 1 - length, MSG_PEEK);
    if (seen <= 0) die("the server closed or was silent during the handshake");
    char *end = memmem(out, length + (size_t)seen, "\r\n\r\n", 4);
    size_t taken = end == NULL ? (size_t)seen : (size_t)(end + 4 - out) - length;
    socket_receive(fd, out + length, taken);
    length += taken;
    if (end == NULL) continue;
    out[length] = '\0';
    return length;
  }
  die("the head of the first answer is too long");
  return 0;
}

void socket_unblock(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}
