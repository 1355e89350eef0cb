// SPDX-License-Identifier: Apache-2.0
// plain_http.c - see plain_http.h; RFC 9112 and 9110 with the stricter choice wherever there is one.
#include "plain_http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "layout.h"

#define DIGITS "0123456789"
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define HEX DIGITS "ABCDEFabcdef"
#define TOKEN DIGITS LETTERS "!#$%&'*+-.^_`|~"
#define NAME_OF_HOST DIGITS LETTERS "-._~!$&'()*+;="
#define VISIBLE DIGITS LETTERS "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

enum { EMPTY_LINES = 8, METHOD_MAX = 32 };
enum { EXTENSION_MAX = 256, EXTENSIONS_MAX = 4096, TRAILERS_MAX = 64, TRAILER_BYTES_MAX = 8192 };

struct input {
  const uint8_t *bytes;
  uint32_t size;
  uint32_t at;
};

static bool among(int byte, const char *set) {
  return byte > 0 && strchr(set, byte) != NULL;
}

// Field values, and what stands between quotes.
static bool is_text(int byte) {
  return byte == '\t' || byte == ' ' || byte >= 0x80 || among(byte, VISIBLE);
}

static bool is_target(int byte) {
  return among(byte, VISIBLE) && !among(byte, "\"#<>\\");
}

// The next byte, -1 behind the last one.
static int peek(const struct input *in) {
  return in->at < in->size ? in->bytes[in->at] : -1;
}

static uint32_t skip(struct input *in, const char *set) {
  const uint32_t start = in->at;
  while (among(peek(in), set)) in->at++;
  return in->at - start;
}

// Exactly these bytes: PLAIN_OK, PLAIN_MORE at the end of the input, else 400.
static int literal(struct input *in, const char *text) {
  for (; *text != 0; text++, in->at++) {
    if (peek(in) < 0) return PLAIN_MORE;
    if (peek(in) != *text) return 400;
  }
  return PLAIN_OK;
}

// A copy that ends in NUL; there is none inside, as no text has one.
static char *text_of(const uint8_t *bytes, uint32_t length) {
  char *text = malloc(length + 1);
  if (text == NULL) abort();
  memcpy(text, bytes, length);
  text[length] = 0;
  return text;
}

static char *trimmed(char *text) {
  text += strspn(text, " \t");
  for (size_t length = strlen(text); length > 0 && among(text[length - 1], " \t"); length--) {
    text[length - 1] = 0;
  }
  return text;
}

// RFC 4291 section 2.2: eight groups of 1 to 4 digits, one gap for at least one of them (as inet_pton has
// it), the last two also as an IPv4 address.
static bool is_ipv4(const char *text) {
  for (int part = 0; part < 4; part++) {
    const size_t digits = strspn(text, DIGITS);
    if (digits == 0 || digits > 3 || (digits > 1 && text[0] == '0') || atoi(text) > 255) return false;
    text += digits;
    if (*text++ != (part < 3 ? '.' : 0)) return false;
  }
  return true;
}

static bool is_ipv6(const char *text) {
  int groups = 0;
  bool gap = false;
  if (strncmp(text, "::", 2) == 0) {
    gap = true;
    text += 2;
  }
  while (*text != 0) {
    if (is_ipv4(text)) {
      groups += 2;
      break;
    }
    const size_t digits = strspn(text, HEX);
    if (digits == 0 || digits > 4) return false;
    groups++;
    text += digits;
    if (*text == 0) break;
    if (*text++ != ':') return false;
    if (*text == 0) return false;  // one colon at the end
    if (*text != ':') continue;
    if (gap) return false;
    gap = true;
    text++;
  }
  return gap ? groups < 8 : groups == 8;
}

static bool is_host(char *text) {
  const size_t length = strlen(text);
  if (length == 0) return false;
  if (text[0] == '[') {
    if (text[length - 1] != ']') return false;
    text[length - 1] = 0;
    const bool ok = is_ipv6(text + 1);
    text[length - 1] = ']';
    return ok;
  }
  for (; *text != 0; text++) {
    if (among(*text, NAME_OF_HOST)) continue;
    if (*text != '%' || !among(text[1], HEX) || !among(text[2], HEX)) return false;
    text += 2;
  }
  return true;
}

static bool is_port(const char *text) {
  if (strspn(text, DIGITS) != strlen(text)) return false;
  text += strspn(text, "0");
  return strlen(text) <= 5 && atoi(text) <= 65535;
}

// uri-host [ ":" port ], destroyed on the way.
static bool is_authority(char *text, bool needs_port) {
  char *bracket = strrchr(text, ']');
  char *colon = strchr(bracket != NULL ? bracket : text, ':');
  if (colon == NULL) return !needs_port && is_host(text);
  *colon = 0;
  if (needs_port && colon[1] == 0) return false;
  return is_host(text) && is_port(colon + 1);
}

static bool target_fits(const char *method, char *target) {
  if (strcmp(method, "CONNECT") == 0) return is_authority(target, true);
  if (target[0] == '/') return true;
  if (strcmp(target, "*") == 0) return strcmp(method, "OPTIONS") == 0;
  char *authority = NULL;
  if (strncasecmp(target, "http://", 7) == 0) authority = target + 7;
  if (strncasecmp(target, "https://", 8) == 0) authority = target + 8;
  if (authority == NULL) return false;
  authority[strcspn(authority, "/?")] = 0;
  return is_authority(authority, false);
}

static int empty_lines(struct input *in) {
  for (int lines = 0; lines < EMPTY_LINES && peek(in) == '\r'; lines++) {
    const int status = literal(in, "\r\n");
    if (status != PLAIN_OK) return status;
  }
  return PLAIN_OK;
}

// HTTP/1.x; the digits go out.
static int version(struct input *in, char digits[2]) {
  static const char shape[] = "HTTP/#.#\r\n";
  for (uint32_t i = 0; shape[i] != 0; i++, in->at++) {
    if (peek(in) < 0) return PLAIN_MORE;
    if (shape[i] == '#' ? !among(peek(in), DIGITS) : peek(in) != shape[i]) return 400;
    if (shape[i] == '#') digits[i == 7] = (char)peek(in);
  }
  return digits[0] == '1' ? PLAIN_OK : 505;
}

static int request_line(struct input *in, const struct plain_limits *limits, struct plain_head *head) {
  head->method = (struct plain_span){in->at, 0};
  while (among(peek(in), TOKEN)) {
    in->at++;
    if (++head->method.length > METHOD_MAX) return 400;
  }
  if (peek(in) < 0) return PLAIN_MORE;
  if (peek(in) != ' ' || head->method.length == 0) return 400;
  in->at++;
  head->target = (struct plain_span){in->at, 0};
  while (is_target(peek(in))) {
    in->at++;
    if (++head->target.length > limits->target) return 414;
  }
  if (peek(in) < 0) return PLAIN_MORE;
  if (peek(in) != ' ' || head->target.length == 0) return 400;
  in->at++;
  char digits[2] = {0};
  const int status = version(in, digits);
  if (status != PLAIN_OK) return status;
  if (digits[1] == '0') head->flags |= MR_HTTP_1_0;
  char *method = text_of(in->bytes + head->method.at, head->method.length);
  char *target = text_of(in->bytes + head->target.at, head->target.length);
  const bool fits = target_fits(method, target);
  if (strcmp(method, "CONNECT") == 0) head->flags |= MR_UPGRADE;  // unless it is refused
  free(method);
  free(target);
  return fits ? PLAIN_OK : 400;
}

static int field_line(struct input *in, struct plain_span *name, struct plain_span *value) {
  name->at = in->at;
  name->length = skip(in, TOKEN);
  if (peek(in) < 0) return PLAIN_MORE;
  if (peek(in) != ':' || name->length == 0) return 400;
  in->at++;
  skip(in, " \t");
  value->at = in->at;
  while (is_text(peek(in))) in->at++;
  value->length = in->at - value->at;
  while (value->length > 0 && among(in->bytes[value->at + value->length - 1], " \t")) value->length--;
  return literal(in, "\r\n");
}

// What the fields of a head have said so far.
struct said {
  uint32_t hosts;
  uint32_t lengths;
  uint32_t codings;
  bool close;
  bool keep_alive;
  bool names_upgrade;
  bool upgrade;
  bool expects;
};

static int content_length(const char *value, struct plain_head *head) {
  if (value[0] == 0 || strspn(value, DIGITS) != strlen(value)) return 400;
  const char *most = "9007199254740991";
  value += strspn(value, "0");
  if (strlen(value) > strlen(most)) return 400;
  if (strlen(value) == strlen(most) && strcmp(value, most) > 0) return 400;
  head->content_length = strtoull(value, NULL, 10);
  return PLAIN_OK;
}

// Chunked alone; 501 for a list of tokens in which chunked is at most the last one.
static int transfer_encoding(char *value) {
  if (strcasecmp(value, "chunked") == 0) return PLAIN_OK;
  bool chunked = false;
  for (char *rest = value; rest != NULL;) {
    const char *coding = trimmed(strsep(&rest, ","));
    if (chunked || coding[0] == 0 || strspn(coding, TOKEN) != strlen(coding)) return 400;
    chunked = strcasecmp(coding, "chunked") == 0;
  }
  return 501;
}

static void connection(char *value, struct said *said) {
  while (value != NULL) {
    const char *option = trimmed(strsep(&value, ","));
    if (strcasecmp(option, "close") == 0) said->close = true;
    if (strcasecmp(option, "keep-alive") == 0) said->keep_alive = true;
    if (strcasecmp(option, "upgrade") == 0) said->names_upgrade = true;
  }
}

static int meaning(const char *name, char *value, struct said *said, struct plain_head *head) {
  if (strcasecmp(name, "host") == 0) {
    if (++said->hosts > 1) return 400;
    return value[0] == 0 || is_authority(value, false) ? PLAIN_OK : 400;
  }
  if (strcasecmp(name, "content-length") == 0) {
    return ++said->lengths > 1 ? 400 : content_length(value, head);
  }
  if (strcasecmp(name, "transfer-encoding") == 0) {
    return ++said->codings > 1 ? 400 : transfer_encoding(value);
  }
  if (strcasecmp(name, "expect") == 0) {
    said->expects = true;
    return strcasecmp(value, "100-continue") == 0 ? PLAIN_OK : 417;
  }
  if (strcasecmp(name, "connection") == 0) connection(value, said);
  if (strcasecmp(name, "upgrade") == 0) said->upgrade = true;
  return PLAIN_OK;
}

static int conclude(const struct said *said, uint64_t limit, struct plain_head *head) {
  const bool http_1_0 = (head->flags & MR_HTTP_1_0) != 0;
  if (said->hosts == 0 && !http_1_0) return 400;
  if (said->codings > 0 && (said->lengths > 0 || http_1_0)) return 400;
  if (limit != 0 && head->content_length > limit) return 413;
  const bool connect = (head->flags & MR_UPGRADE) != 0;
  if (connect && (said->codings > 0 || head->content_length > 0)) return 400;
  if (said->codings > 0) head->flags |= MR_CHUNKED;
  if (said->codings > 0 || head->content_length > 0) head->flags |= MR_HAS_BODY;
  if (!said->close && (said->keep_alive || !http_1_0)) head->flags |= MR_KEEP_ALIVE;
  if (said->expects && !http_1_0) head->flags |= MR_EXPECT;
  if (said->upgrade && said->names_upgrade && !http_1_0) head->flags |= MR_UPGRADE;
  return PLAIN_OK;
}

static int head_fields(struct input *in, const struct plain_limits *limits, struct plain_head *head) {
  struct said said = {0};
  for (;;) {
    if (peek(in) < 0) return PLAIN_MORE;
    if (peek(in) == '\r') {
      const int end = literal(in, "\r\n");
      return end == PLAIN_OK ? conclude(&said, limits->body, head) : end;
    }
    if (head->field_count == limits->fields) return 431;
    struct plain_span *name = &head->names[head->field_count];
    struct plain_span *value = &head->values[head->field_count];
    int status = field_line(in, name, value);
    if (status != PLAIN_OK) return status;
    head->field_count++;
    char *name_text = text_of(in->bytes + name->at, name->length);
    char *value_text = text_of(in->bytes + value->at, value->length);
    status = meaning(name_text, value_text, &said, head);
    free(name_text);
    free(value_text);
    if (status != PLAIN_OK) return status;
  }
}

void plain_head(const uint8_t *bytes, uint32_t size, const struct plain_limits *limits,
                struct plain_head *head) {
  const bool full = size >= limits->head;
  struct input in = {bytes, full ? limits->head : size, 0};
  memset(head, 0, sizeof(*head));
  head->status = empty_lines(&in);
  if (head->status == PLAIN_OK) head->status = request_line(&in, limits, head);
  if (head->status == PLAIN_OK) head->status = head_fields(&in, limits, head);
  if (head->status == PLAIN_MORE && full) head->status = 431;
  head->length = in.at;
  for (uint32_t i = 0; i < in.at; i++) {
    if (bytes[i] >= 0x80) head->flags |= MR_NON_ASCII;
  }
}

static int quoted(struct input *in) {
  for (in->at++;; in->at++) {
    if (peek(in) == '"') break;
    if (peek(in) == '\\') in->at++;
    if (peek(in) < 0) return PLAIN_MORE;
    if (!is_text(peek(in))) return 400;
  }
  in->at++;
  return PLAIN_OK;
}

static int token(struct input *in) {
  const uint32_t length = skip(in, TOKEN);
  if (length == 0 && peek(in) >= 0) return 400;
  return peek(in) < 0 ? PLAIN_MORE : PLAIN_OK;
}

static int extensions(struct input *in) {
  int status = PLAIN_OK;
  while (status == PLAIN_OK && peek(in) == ';') {
    in->at++;
    status = token(in);
    if (status != PLAIN_OK || peek(in) != '=') continue;
    in->at++;
    status = peek(in) == '"' ? quoted(in) : token(in);
  }
  return status;
}

static int chunk_size(struct input *in, uint64_t room, uint64_t *value) {
  char digits[17] = {0};
  uint32_t count = 0;
  for (; among(peek(in), HEX); in->at++) {
    if (count == 16) return 400;
    digits[count++] = (char)peek(in);
  }
  if (peek(in) < 0) return PLAIN_MORE;
  if (count == 0 || !among(peek(in), ";\r")) return 400;
  *value = strtoull(digits, NULL, 16);
  return *value > room ? 413 : PLAIN_OK;
}

static int trailers(struct input *in) {
  const uint32_t start = in->at;
  for (uint32_t lines = 0;; lines++) {
    struct plain_span name, value;
    if (peek(in) == '\r') return literal(in, "\r\n");
    const int status = peek(in) < 0            ? PLAIN_MORE
                       : lines == TRAILERS_MAX ? 400
                                               : field_line(in, &name, &value);
    // However the line goes on: it is too late for it.
    if (in->at - start > TRAILER_BYTES_MAX) return 400;
    if (status != PLAIN_OK) return status;
  }
}

static int chunk(struct input *in, uint64_t limit, uint64_t *declared, uint32_t *extended,
                 struct plain_body *body, bool *last) {
  uint64_t value = 0;
  int status = chunk_size(in, limit - *declared, &value);
  if (status != PLAIN_OK) return status;
  *declared += value;
  const uint32_t start = in->at;
  status = extensions(in);
  *extended += in->at - start;
  if (in->at - start > EXTENSION_MAX || *extended > EXTENSIONS_MAX) return 400;
  if (status != PLAIN_OK) return status;
  status = literal(in, "\r\n");
  if (status != PLAIN_OK) return status;
  *last = value == 0;
  if (*last) return trailers(in);
  const uint32_t left = in->size - in->at;
  const uint32_t count = value < left ? (uint32_t)value : left;
  memcpy(body->data + body->length, in->bytes + in->at, count);
  body->length += count;
  in->at += count;
  return literal(in, "\r\n");
}

void plain_chunked(const uint8_t *bytes, uint32_t size, uint64_t limit, struct plain_body *body) {
  struct input in = {bytes, size, 0};
  uint64_t declared = 0;
  uint32_t extended = 0;
  bool last = false;
  body->length = 0;
  do {
    body->status = chunk(&in, limit != 0 ? limit : INT64_MAX, &declared, &extended, body, &last);
  } while (body->status == PLAIN_OK && !last);
  body->consumed = in.at;
}
