// SPDX-License-Identifier: Apache-2.0
// load_http.c - the HTTP/1.1 traffic: builds the requests, learns from one answer what all others must look
// like.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define HEAD_BYTES 4096

static void parse_field(const char *head, size_t place, size_t length, struct http_answer *answer) {
  const char *line = head + place;
  const char *colon = memchr(line, ':', length);
  if (colon == NULL) die("the first answer has a line without a colon");
  size_t value = (size_t)(colon - line) + 1;
  while (value < length && line[value] == ' ') value++;
  if (strncasecmp(line, "content-length:", 15) == 0) answer->body_bytes = strtoul(line + value, NULL, 10);
  if (strncasecmp(line, "transfer-encoding:", 18) == 0) die("the answer is chunked: its bytes are not fixed");
  if (strncasecmp(line, "date:", 5) == 0) {
    answer->date = place + value;
    answer->date_bytes = length - value;
  }
}

// Parses the head of an answer. Returns the length of the head, 0 when bytes are missing.
size_t http_answer_parse(const char *bytes, size_t length, struct http_answer *answer) {
  const char *end = memmem(bytes, length, "\r\n\r\n", 4);
  if (end == NULL) return 0;
  memset(answer, 0, sizeof *answer);
  answer->head_bytes = (size_t)(end - bytes) + 4;
  if (sscanf(bytes, "HTTP/1.1 %3d ", &answer->status) != 1) die("the answer is not HTTP/1.1");
  size_t place = (size_t)((char *)memmem(bytes, length, "\r\n", 2) - bytes) + 2;
  while (place < answer->head_bytes - 2) {
    const char *line_end = memmem(bytes + place, answer->head_bytes - place, "\r\n", 2);
    size_t line_bytes = (size_t)(line_end - (bytes + place));
    parse_field(bytes, place, line_bytes, answer);
    place += line_bytes + 2;
  }
  return answer->head_bytes;
}

static size_t request_head(const struct options *options, char *out) {
  int length = snprintf(out, HEAD_BYTES, "%s %s HTTP/1.1\r\nHost: %s:%u\r\n", options->method, options->path,
                        options->host, options->port);
  if (options->body > 0) {
    length += snprintf(out + length, HEAD_BYTES - (size_t)length,
                       "Content-Type: application/octet-stream\r\nContent-Length: %u\r\n", options->body);
  }
  length += snprintf(out + length, HEAD_BYTES - (size_t)length, "%s\r\n",
                     options->churn ? "Connection: close\r\n" : "");
  return (size_t)length;
}

// What is posted has to come back.
static bool is_echo(const struct options *options) {
  return options->body > 0 && options->expect == NULL && options->expect_payload == 0;
}

static void build_requests(struct load *load) {
  const struct options *options = load->options;
  struct traffic *traffic = &load->traffic;
  char head[HEAD_BYTES * 2];
  size_t head_bytes = request_head(options, head);
  size_t request_bytes = head_bytes + options->body;
  traffic->units = is_echo(options) ? payload_units(request_bytes, options->in_flight) : 1;
  size_t total = traffic->units + options->in_flight;
  traffic->request_at = payload_places(total, request_bytes);
  traffic->requests = malloc(total * request_bytes);
  if (traffic->requests == NULL) die("cannot allocate");
  for (size_t i = 0; i < total; i++) {
    uint8_t *at = traffic->requests + i * request_bytes;
    memcpy(at, head, head_bytes);
    payload_fill(at + head_bytes, options->body, i % traffic->units, false);
  }
}

// Sends the first request on a connection of its own and returns the whole answer, head parsed.
static uint8_t *first_answer(const struct load *load, struct http_answer *answer) {
  char head[HEAD_BYTES * 4];
  int fd = socket_connect(load->options);
  socket_send(fd, load->traffic.requests, load->traffic.request_at[1]);
  size_t head_bytes = socket_receive_head(fd, head, sizeof head);
  http_answer_parse(head, head_bytes, answer);
  uint8_t *whole = malloc(head_bytes + answer->body_bytes + 1);
  if (whole == NULL) die("cannot allocate");
  memcpy(whole, head, head_bytes);
  if (recv(fd, whole + head_bytes, answer->body_bytes, MSG_WAITALL) != (ssize_t)answer->body_bytes) {
    die("the first answer ended early");
  }
  close(fd);
  return whole;
}

// Compares a name without regard to case, and all of the value.
static bool is_field(const char *line, size_t length, const char *field) {
  size_t name = strcspn(field, ":");
  return length == strlen(field) && strncasecmp(line, field, name) == 0 &&
         memcmp(line + name, field + name, length - name) == 0;
}

static bool has_field(const char *head, size_t head_bytes, const char *field) {
  const char *line = head;
  const char *end = head + head_bytes;
  while (line < end) {
    const char *line_end = memmem(line, (size_t)(end - line), "\r\n", 2);
    if (is_field(line, (size_t)(line_end - line), field)) return true;
    line = line_end + 2;
  }
  return false;
}

// The body that the first answer has to have; allocated. NULL: any.
static uint8_t *wanted_body(const struct load *load, size_t *length) {
  const struct options *options = load->options;
  *length = options->expect != NULL       ? strlen(options->expect)
            : options->expect_payload > 0 ? options->expect_payload
                                          : options->body;
  if (options->expect == NULL && *length == 0) return NULL;
  uint8_t *body = malloc(*length + 1);
  if (body == NULL) die("cannot allocate");
  if (options->expect != NULL) {
    memcpy(body, options->expect, *length);
  } else {
    payload_fill(body, *length, 0, false);
  }
  return body;
}

static void check_first(const struct load *load, const struct http_answer *answer, const uint8_t *bytes) {
  const struct options *options = load->options;
  size_t length;
  uint8_t *wanted = wanted_body(load, &length);
  if (answer->status != 200) die("the status of the first answer is not 200");
  for (uint32_t i = 0; i < options->expect_fields_count; i++) {
    if (!has_field((const char *)bytes, answer->head_bytes, options->expect_fields[i]))
      die("the first answer lacks an expected field");
  }
  if (wanted != NULL &&
      (answer->body_bytes != length || memcmp(bytes + answer->head_bytes, wanted, length) != 0))
    die("the body of the first answer is not what was expected");
  free(wanted);
}

void http_prepare(struct load *load) {
  struct traffic *traffic = &load->traffic;
  struct http_answer answer;
  build_requests(load);
  uint8_t *first = first_answer(load, &answer);
  check_first(load, &answer, first);
  traffic->answer_bytes = answer.head_bytes + answer.body_bytes;
  traffic->start_end = (size_t)((uint8_t *)memchr(first, '\n', answer.head_bytes) - first) + 1;
  traffic->head_end = answer.head_bytes;
  traffic->hole = answer.date;
  traffic->hole_bytes = answer.date_bytes;
  traffic->answers = malloc(traffic->units * traffic->answer_bytes);
  if (traffic->answers == NULL) die("cannot allocate");
  for (size_t i = 0; i < traffic->units; i++) {
    uint8_t *at = traffic->answers + i * traffic->answer_bytes;
    memcpy(at, first, traffic->answer_bytes);
    if (is_echo(load->options)) payload_fill(at + answer.head_bytes, answer.body_bytes, i, false);
  }
  free(first);
}
