// SPDX-License-Identifier: Apache-2.0
// http_head.c - tokenises an HTTP/1.1 request head, strictly; called by conn_http.c.
//
// The head is read once from left to right and the first byte that breaks a rule decides the answer, so the
// answer does not depend on how the bytes were cut into calls. Where RFC 9112 lets a recipient be lenient
// this file is not: every leniency is some other server's request smuggling.
#include "http_head.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

enum {
  METHOD_MAX = 32,
  EMPTY_LINES_MAX = 8,
  LINE_START = 64,  // below this many bytes a head is read again rather than looked through
};

_Static_assert(2 * EMPTY_LINES_MAX + METHOD_MAX + 1 < LINE_START, "a target may begin beyond LINE_START");

static const uint64_t LENGTH_MAX = (UINT64_C(1) << 53) - 1;  // what JavaScript can count exactly
static const uint64_t EACH_01 = UINT64_C(0x0101010101010101);
static const uint64_t EACH_80 = UINT64_C(0x8080808080808080);

enum char_class {
  TOKEN = 1,   // RFC 9110 section 5.6.2
  TARGET = 2,  // any visible character but " # < > \, the ones that no URL parser leaves alone
  HOST = 4,    // RFC 3986 section 3.2.2 reg-name without the comma, which would be a list of hosts
  HEX = 8,
  DIGIT = 16,
  UPPER = 32,  // by design the bit that makes the letter lower case
  TEXT = 64,   // allowed in a field value: visible, SP, HTAB, obs-text
};

enum {
  ANY = TOKEN | TARGET | HOST | TEXT,
  NAME = TOKEN | TARGET | TEXT,
  PATH = TARGET | TEXT,
  PART = TARGET | HOST | TEXT,
};

// clang-format off
static const uint8_t classes[256] = {
  ['\t'] = TEXT, [' '] = TEXT, ['!'] = ANY, ['"'] = TEXT, ['#'] = TOKEN | TEXT, ['$'] = ANY, ['%'] = NAME,
  ['&' ... '\''] = ANY, ['(' ... ')'] = PART, ['*' ... '+'] = ANY, [','] = PATH, ['-' ... '.'] = ANY,
  ['/'] = PATH, ['0' ... '9'] = ANY | HEX | DIGIT, [':'] = PATH, [';'] = PART, ['<'] = TEXT, ['='] = PART,
  ['>'] = TEXT, ['?' ... '@'] = PATH, ['A' ... 'F'] = ANY | HEX | UPPER, ['G' ... 'Z'] = ANY | UPPER,
  ['['] = PATH, ['\\'] = TEXT, [']'] = PATH, ['^'] = NAME, ['_'] = ANY, ['`'] = NAME,
  ['a' ... 'f'] = ANY | HEX, ['g' ... 'z'] = ANY, ['{'] = PATH, ['|'] = NAME, ['}'] = PATH, ['~'] = ANY,
  [0x80 ... 0xff] = TEXT,
};
// clang-format on

enum note {  // what the fields said; judged at the end of the head
  HAS_HOST = 1,
  HAS_LENGTH = 2,
  HAS_CODING = 4,
  HAS_UPGRADE = 8,
  HAS_EXPECT = 16,
  SAYS_CLOSE = 32,
  SAYS_KEEP_ALIVE = 64,
  SAYS_UPGRADE = 128,
};

struct text {
  const uint8_t *bytes;
  uint32_t length;
};

// Word is lower case. No control character reaches this, so setting bit 5 confuses no two characters in use.
static bool equals(struct text text, const char *word, uint32_t length) {
  if (text.length != length) return false;
  uint32_t differs = 0;
  for (uint32_t i = 0; i < length; i++) differs |= (uint32_t)((text.bytes[i] | 0x20) ^ word[i]);
  return differs == 0;
}

static struct text trim(struct text text) {
  while (text.length > 0 && (text.bytes[0] == ' ' || text.bytes[0] == '\t')) text.bytes++, text.length--;
  while (text.length > 0 && (text.bytes[text.length - 1] == ' ' || text.bytes[text.length - 1] == '\t')) {
    text.length--;
  }
  return text;
}

// Cuts the next member off a comma-separated list.
static struct text next_member(struct text *list) {
  const uint8_t *comma = memchr(list->bytes, ',', list->length);
  struct text member = *list;
  if (comma != NULL) member.length = (uint32_t)(comma - list->bytes);
  const uint32_t taken = member.length + (comma != NULL);
  list->bytes += taken;
  list->length -= taken;
  return trim(member);
}

// Length of the IPv6 address in brackets that text begins with, 0 when it is none.
static uint32_t ipv6_length(struct text text) {
  char address[INET6_ADDRSTRLEN];
  struct in6_addr parsed;
  const uint8_t *close = memchr(text.bytes, ']', text.length);
  if (close == NULL) return 0;
  const size_t length = (size_t)(close - text.bytes) - 1;
  if (length >= sizeof address) return 0;
  memcpy(address, text.bytes + 1, length);
  address[length] = 0;
  return inet_pton(AF_INET6, address, &parsed) == 1 ? (uint32_t)length + 2 : 0;
}

static uint32_t reg_name_length(struct text text) {
  uint32_t at = 0;
  for (;;) {
    if (at < text.length && (classes[text.bytes[at]] & HOST)) {
      at++;
    } else if (at + 2 < text.length && text.bytes[at] == '%' && (classes[text.bytes[at + 1]] & HEX) &&
               (classes[text.bytes[at + 2]] & HEX)) {
      at += 3;
    } else {
      return at;
    }
  }
}

// Four numbers as every parser reads them: without leading zeros.
static bool is_ipv4(struct text host) {
  uint32_t dots = 0;
  uint32_t digits = 0;
  uint32_t number = 0;
  for (uint32_t i = 0; i < host.length; i++) {
    const uint8_t byte = host.bytes[i];
    if (byte == '.') {
      if (digits == 0 || ++dots > 3) return false;
      digits = 0;
      number = 0;
    } else {
      if (!(classes[byte] & DIGIT) || (digits > 0 && number == 0)) return false;
      number = number * 10 + (uint32_t)(byte - '0');
      if (++digits > 3 || number > 255) return false;
    }
  }
  return dots == 3 && digits > 0;
}

// Whether it takes a URL parser to tell if there can be a URL with this host (URL Standard section 3.5):
// escapes and punycode may not decode, and what ends in a number has to be an IPv4 address.
static bool is_odd(struct text host) {
  if (memchr(host.bytes, '%', host.length) != NULL) return true;
  const uint8_t *const end = host.bytes + host.length;
  const uint8_t *hyphen = memchr(host.bytes, '-', host.length);
  for (; hyphen != NULL; hyphen = memchr(hyphen, '-', (size_t)(end - hyphen))) {
    if (++hyphen < end && *hyphen == '-') return true;
  }
  uint32_t label = host.length - 1;  // where the last one begins; a dot at the end belongs to it
  while (label > 0 && host.bytes[label - 1] != '.') label--;
  return (classes[host.bytes[label]] & DIGIT) && !is_ipv4(host);
}

// uri-host [ ":" port ] of RFC 9110 section 7.2, with a host in it; user information is refused.
static bool valid_authority(struct text text, bool needs_port, struct http_head *head) {
  if (text.length == 0) return false;
  const bool ipv6 = text.bytes[0] == '[';
  uint32_t at = ipv6 ? ipv6_length(text) : reg_name_length(text);
  if (at == 0) return false;
  if (!ipv6 && is_odd((struct text){text.bytes, at})) head->flags |= MR_ODD_HOST;
  if (at == text.length) return !needs_port;
  if (text.bytes[at] != ':') return false;
  const uint32_t first_digit = ++at;
  uint32_t port = 0;
  for (; at < text.length; at++) {
    if (!(classes[text.bytes[at]] & DIGIT)) return false;
    port = port * 10 + (uint32_t)(text.bytes[at] - '0');
    if (port > 65535) return false;
  }
  return at > first_digit || !needs_port;
}

// RFC 9112 section 3.2: which form of target goes with which method.
static bool valid_target(struct text method, struct text target, struct http_head *head) {
  const bool connect = method.length == 7 && memcmp(method.bytes, "CONNECT", 7) == 0;
  if (connect) return valid_authority(target, true, head);
  if (target.bytes[0] == '/') return true;
  if (target.bytes[0] == '*') {
    return target.length == 1 && method.length == 7 && memcmp(method.bytes, "OPTIONS", 7) == 0;
  }
  uint32_t at = 0;
  if (target.length > 7 && equals((struct text){target.bytes, 7}, "http://", 7)) at = 7;
  if (target.length > 8 && equals((struct text){target.bytes, 8}, "https://", 8)) at = 8;
  if (at == 0) return false;
  struct text authority = {target.bytes + at, 0};
  while (at < target.length && target.bytes[at] != '/' && target.bytes[at] != '?') {
    authority.length++;
    at++;
  }
  return valid_authority(authority, false, head);
}

// Reads `HTTP/1.1` CRLF at the given place. Returns the offset behind it, 0 or -mr_violation.
static int32_t version(const uint8_t *bytes, uint32_t length, uint32_t at, struct http_head *head) {
  static const char shape[] = "HTTP/0.0\r\n";
  const uint32_t shape_length = sizeof shape - 1;
  if (length - at >= shape_length && memcmp(bytes + at, "HTTP/1.1\r\n", shape_length) == 0) {
    return (int32_t)(at + shape_length);
  }
  for (uint32_t i = 0; i < shape_length; i++) {
    if (at + i == length) return 0;
    const uint8_t byte = bytes[at + i];
    if (shape[i] == '0' ? (classes[byte] & DIGIT) != 0 : byte == shape[i]) continue;
    if (byte == '\n') return -MR_BARE_LF;
    return byte == ' ' || shape[i] == '\n' ? -MR_BAD_REQUEST_LINE : -MR_BAD_VERSION;
  }
  if (bytes[at + 5] != '1') return -MR_UNSUPPORTED_VERSION;
  // RFC 9110 section 2.5: a higher minor version is handled as the highest one known.
  if (bytes[at + 7] == '0') head->flags |= MR_HTTP_1_0;
  return (int32_t)(at + shape_length);
}

// Reads the request line (RFC 9112 section 3). Returns the offset behind it, 0 or -mr_violation.
static int32_t request_line(const uint8_t *bytes, uint32_t length, const struct http_head_limits *limits,
                            struct http_head *head) {
  uint32_t at = head->start;
  while (at < length && (classes[bytes[at]] & TOKEN) && at - head->start <= METHOD_MAX) at++;
  head->method_length = at - head->start;
  if (head->method_length > METHOD_MAX) return -MR_BAD_METHOD;
  if (at == length) return 0;
  if (bytes[at] == '\n') return -MR_BARE_LF;
  if (bytes[at] == '\r') return -MR_BAD_REQUEST_LINE;
  if (bytes[at] != ' ' || head->method_length == 0) return -MR_BAD_METHOD;

  const uint32_t target = ++at;
  const uint32_t room = length - target;
  const uint32_t stop = room > limits->max_target_bytes ? target + limits->max_target_bytes + 1 : length;
  while (at < stop && (classes[bytes[at]] & TARGET)) at++;
  head->target = target;
  head->target_length = at - target;
  if (head->target_length > limits->max_target_bytes) return -MR_TARGET_TOO_LONG;
  if (at == length) return 0;
  if (bytes[at] == '\n') return -MR_BARE_LF;
  if (bytes[at] == '\r') return -MR_BAD_REQUEST_LINE;
  if (bytes[at] != ' ') return -MR_BAD_TARGET;
  if (head->target_length == 0) return -MR_BAD_REQUEST_LINE;

  const int32_t end = version(bytes, length, at + 1, head);
  // The form is judged last, so that the preface of HTTP/2, `PRI * HTTP/2.0`, is told its version.
  if (end > 0 && !valid_target((struct text){bytes + head->start, head->method_length},
                               (struct text){bytes + target, head->target_length}, head)) {
    return -MR_BAD_TARGET;
  }
  return end;
}

static int32_t on_content_length(struct text value, uint32_t *notes, struct http_head *head) {
  // A second line or a list is refused even when all values agree (RFC 9112 section 6.3 allows either).
  if ((*notes & HAS_LENGTH) || value.length == 0) return -MR_BAD_CONTENT_LENGTH;
  uint64_t length = 0;
  for (uint32_t i = 0; i < value.length; i++) {
    if (!(classes[value.bytes[i]] & DIGIT)) return -MR_BAD_CONTENT_LENGTH;
    length = length * 10 + (uint64_t)(value.bytes[i] - '0');
    if (length > LENGTH_MAX) return -MR_BAD_CONTENT_LENGTH;
  }
  *notes |= HAS_LENGTH;
  head->content_length = length;
  return 0;
}

// Only `chunked`, alone, frames a request here (RFC 9112 section 6.1). A well-formed list that ends in it, or
// does not have it at all, names codings that are not implemented; anything else is an attack or an accident.
static int32_t on_transfer_encoding(struct text value, uint32_t *notes) {
  if (*notes & HAS_CODING) return -MR_BAD_TRANSFER_ENCODING;
  *notes |= HAS_CODING;
  if (equals(value, "chunked", 7)) return 0;
  if (value.length == 0 || value.bytes[value.length - 1] == ',') return -MR_BAD_TRANSFER_ENCODING;
  bool chunked = false;
  while (value.length > 0) {
    const struct text coding = next_member(&value);
    if (chunked || coding.length == 0) return -MR_BAD_TRANSFER_ENCODING;
    for (uint32_t i = 0; i < coding.length; i++) {
      if (!(classes[coding.bytes[i]] & TOKEN)) return -MR_BAD_TRANSFER_ENCODING;
    }
    chunked = equals(coding, "chunked", 7);
  }
  return -MR_UNKNOWN_TRANSFER_CODING;
}

static void on_connection(struct text value, uint32_t *notes) {
  while (value.length > 0) {
    const struct text option = next_member(&value);
    if (equals(option, "close", 5)) *notes |= SAYS_CLOSE;
    if (equals(option, "keep-alive", 10)) *notes |= SAYS_KEEP_ALIVE;
    if (equals(option, "upgrade", 7)) *notes |= SAYS_UPGRADE;
  }
}

// The fields that decide where the request ends and whom it is for. Returns 0 or -mr_violation.
static int32_t on_field(const uint8_t *name, uint32_t name_length, struct text value, uint32_t *notes,
                        struct http_head *head) {
  switch (name_length) {
    case 4:
      if (memcmp(name, "host", 4) != 0) return 0;
      if (*notes & HAS_HOST) return -MR_BAD_HOST;
      *notes |= HAS_HOST;
      // Empty when the target has no authority (RFC 9110 section 7.2).
      return value.length == 0 || valid_authority(value, false, head) ? 0 : -MR_BAD_HOST;
    case 6:
      if (memcmp(name, "expect", 6) != 0) return 0;
      *notes |= HAS_EXPECT;
      return equals(value, "100-continue", 12) ? 0 : -MR_BAD_EXPECT;
    case 7:
      if (memcmp(name, "upgrade", 7) == 0) *notes |= HAS_UPGRADE;
      return 0;
    case 10:
      if (memcmp(name, "connection", 10) == 0) on_connection(value, notes);
      return 0;
    case 14:
      return memcmp(name, "content-length", 14) == 0 ? on_content_length(value, notes, head) : 0;
    case 17:
      return memcmp(name, "transfer-encoding", 17) == 0 ? on_transfer_encoding(value, notes) : 0;
    default:
      return 0;
  }
}

// Offset of the first byte that may not be in a field value. Collects the bits of all bytes before it in
// seen.
static uint32_t value_end(const uint8_t *bytes, uint32_t length, uint32_t at, uint64_t *bits) {
  uint64_t all = *bits;
  for (; length - at >= 8; at += 8) {
    uint64_t eight;
    memcpy(&eight, bytes + at, 8);
    const uint64_t deleted = eight ^ (EACH_01 * 0x7f);
    // Bit 7 of a byte is set when it is below 0x20 or is DEL; no byte below the first such one is hit.
    if ((((eight - EACH_01 * 0x20) & ~eight) | ((deleted - EACH_01) & ~deleted)) & EACH_80) break;
    all |= eight;
  }
  while (at < length && (classes[bytes[at]] & TEXT)) all |= bytes[at++];
  *bits = all;
  return at;
}

// Reads one field line (RFC 9112 section 5). Returns the offset behind it, 0 or -mr_violation.
static int32_t field_line(uint8_t *bytes, uint32_t length, uint32_t at, uint64_t *bits,
                          struct http_field *field) {
  const uint32_t name = at;
  for (; at < length; at++) {
    const uint8_t class = classes[bytes[at]];
    if (!(class & TOKEN)) break;
    bytes[at] |= class & UPPER;
  }
  if (at == length) return 0;
  if (bytes[at] == '\n') return -MR_BARE_LF;
  if (bytes[at] != ':' || at == name) {
    return at == name && (bytes[at] == ' ' || bytes[at] == '\t') ? -MR_OBS_FOLD : -MR_BAD_FIELD_NAME;
  }
  field->name = (uint16_t)name;
  field->name_length = (uint16_t)(at - name);

  at++;
  while (at < length && (bytes[at] == ' ' || bytes[at] == '\t')) at++;
  uint32_t end = value_end(bytes, length, at, bits);
  if (end == length) return 0;
  if (bytes[end] == '\n') return -MR_BARE_LF;
  if (bytes[end] != '\r') return -MR_BAD_FIELD_VALUE;
  if (end + 1 == length) return 0;
  if (bytes[end + 1] != '\n') return -MR_BAD_FIELD_VALUE;
  const uint32_t next = end + 2;
  while (end > at && (bytes[end - 1] == ' ' || bytes[end - 1] == '\t')) end--;
  field->value = (uint16_t)at;
  field->value_length = (uint16_t)(end - at);
  return (int32_t)next;
}

// What can only be judged when all fields are known. Returns 0 or -mr_violation.
static int32_t judge(const uint8_t *bytes, uint32_t notes, const struct http_head_limits *limits,
                     struct http_head *head) {
  const bool http_1_0 = (head->flags & MR_HTTP_1_0) != 0;
  uint32_t flags = head->flags;
  if (!(notes & HAS_HOST) && !http_1_0) return -MR_BAD_HOST;
  if (notes & HAS_CODING) {
    if (notes & HAS_LENGTH) return -MR_LENGTH_AND_CHUNKED;
    // RFC 9112 section 6.1: a client that speaks 1.0 cannot have meant it.
    if (http_1_0) return -MR_BAD_TRANSFER_ENCODING;
    flags |= MR_CHUNKED | MR_HAS_BODY;
  }
  if (limits->max_body_bytes != 0 && head->content_length > limits->max_body_bytes) return -MR_BODY_TOO_LARGE;
  if (head->content_length > 0) flags |= MR_HAS_BODY;
  if (head->method_length == 7 && memcmp(bytes + head->start, "CONNECT", 7) == 0) {
    // RFC 9110 section 9.3.6: it has no content. What were a body to one would be the tunnel to another.
    if (flags & MR_CHUNKED) return -MR_BAD_TRANSFER_ENCODING;
    if (flags & MR_HAS_BODY) return -MR_BAD_CONTENT_LENGTH;
    flags |= MR_UPGRADE;
  }
  if (!(notes & SAYS_CLOSE) && (!http_1_0 || (notes & SAYS_KEEP_ALIVE))) flags |= MR_KEEP_ALIVE;
  // RFC 9110 sections 7.8 and 10.1.1: both are ignored when they come from 1.0.
  if ((notes & HAS_EXPECT) && !http_1_0) flags |= MR_EXPECT;
  if ((notes & HAS_UPGRADE) && (notes & SAYS_UPGRADE) && !http_1_0) flags |= MR_UPGRADE;
  head->flags = (uint8_t)flags;
  return 0;
}

static int32_t parse(uint8_t *bytes, uint32_t length, const struct http_head_limits *limits,
                     struct http_head *head) {
  const uint32_t max_fields = limits->max_fields < HTTP_FIELDS_MAX ? limits->max_fields : HTTP_FIELDS_MAX;
  uint64_t bits = 0;
  uint32_t notes = 0;
  head->start = 0;
  head->field_count = 0;
  head->flags = 0;
  head->content_length = 0;
  // RFC 9112 section 2.2; a few are enough for the clients that do it.
  while (head->start < length && bytes[head->start] == '\r') {
    if (head->start == 2 * EMPTY_LINES_MAX) return -MR_BAD_REQUEST_LINE;
    if (head->start + 1 == length) return 0;
    if (bytes[head->start + 1] != '\n') return -MR_BAD_REQUEST_LINE;
    head->start += 2;
  }
  int32_t at = request_line(bytes, length, limits, head);
  while (at > 0) {
    const uint32_t line = (uint32_t)at;
    if (line == length) return 0;
    if (bytes[line] == '\r') {
      if (line + 1 == length) return 0;
      if (bytes[line + 1] != '\n') return -MR_BAD_FIELD_NAME;
      if (bits & EACH_80) head->flags |= MR_NON_ASCII;
      const int32_t verdict = judge(bytes, notes, limits, head);
      return verdict < 0 ? verdict : at + 2;
    }
    if (head->field_count == max_fields) return -MR_TOO_MANY_FIELDS;
    struct http_field *field = &head->fields[head->field_count];
    at = field_line(bytes, length, line, &bits, field);
    if (at <= 0) return at;
    head->field_count++;
    const struct text value = {bytes + field->value, field->value_length};
    const int32_t verdict = on_field(bytes + field->name, field->name_length, value, &notes, head);
    if (verdict < 0) return verdict;
  }
  return at;
}

// Whether the bytes from seen on can change the answer from "bytes are missing". This keeps a head that comes
// in many small pieces from being read from its start with each of them.
static bool worth_reading(const uint8_t *bytes, uint32_t length, uint32_t seen, uint32_t max_target_bytes) {
  if (seen < LINE_START) return true;
  // The target may have become too long: it begins at most LINE_START bytes into the head.
  if (length > max_target_bytes && seen - LINE_START <= max_target_bytes) return true;
  const uint8_t *at = bytes + seen;
  const uint8_t *const end = bytes + length;
  const uint8_t *feed = memchr(at, '\n', length - seen);
  if (feed == NULL) return false;
  uint32_t line = 0;
  while (line < LINE_START && (bytes[line] == '\r' || bytes[line] == '\n')) line++;
  if (memchr(bytes + line, '\n', seen - line) == NULL) return true;  // the request line is whole now
  while (feed != NULL) {
    if (feed[-1] != '\r' || feed[-2] == '\n') return true;
    at = feed + 1;
    feed = memchr(at, '\n', (size_t)(end - at));
  }
  return false;
}

int32_t http_head_parse(uint8_t *bytes, uint32_t length, uint32_t seen, const struct http_head_limits *limits,
                        struct http_head *head) {
  // What lies beyond the largest head is never looked at, so a limit decides the same way for every cut.
  const uint32_t most = limits->max_head_bytes < UINT16_MAX ? limits->max_head_bytes : UINT16_MAX;
  if (length >= most) {
    const int32_t end = parse(bytes, most, limits, head);
    return end == 0 ? -MR_HEAD_TOO_LARGE : end;
  }
  if (!worth_reading(bytes, length, seen, limits->max_target_bytes)) return 0;
  return parse(bytes, length, limits, head);
}

uint16_t http_violation_status(enum mr_violation violation) {
  switch ((uint32_t)violation) {
    case MR_TARGET_TOO_LONG:
      return 414;
    case MR_HEAD_TOO_LARGE:
    case MR_TOO_MANY_FIELDS:
      return 431;
    case MR_BODY_TOO_LARGE:
      return 413;
    case MR_BAD_EXPECT:
      return 417;
    case MR_HEAD_TIMEOUT:
    case MR_BODY_TIMEOUT:
    case MR_BODY_TOO_SLOW:
      return 408;
    case MR_UNKNOWN_TRANSFER_CODING:
      return 501;
    case MR_UNSUPPORTED_VERSION:
      return 505;
    default:
      return 400;
  }
}
