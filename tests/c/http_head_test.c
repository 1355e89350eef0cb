// SPDX-License-Identifier: Apache-2.0
// http_head_test.c - rules H1 to H23 and H34 to H39 of the request head by bytes, cut in every way.
#include "http_head.h"

#include <time.h>

#include "check.h"

#define HOST "Host: a\r\n"
#define ON MR_KEEP_ALIVE
#define LONG_PATH "0123456789012345678901234567890123456789012345678901234567890123456789"

struct outcome {
  int32_t result;
  uint8_t flags;
  uint64_t content_length;
  char text[512];  // "GET /path name=value name=value"
};

struct head_case {
  const char *name;
  const uint8_t *bytes;
  size_t length;
  uint8_t flags;
  uint64_t content_length;
  const char *text;
  uint32_t rest;  // bytes behind the head
};

struct refusal {
  const char *name;
  const uint8_t *bytes;
  size_t length;
  enum mr_violation violation;
};

static const struct http_head_limits roomy = {16384, 8192, 100, 1000000};
static const struct http_head_limits tight = {64, 8, 2, 10};

static void render(const uint8_t *bytes, const struct http_head *head, struct outcome *out) {
  char *at = out->text;
  char *const end = out->text + sizeof out->text;
  at += snprintf(at, (size_t)(end - at), "%.*s %.*s", (int)head->method_length,
                 (const char *)bytes + head->start, (int)head->target_length,
                 (const char *)bytes + head->target);
  for (uint32_t i = 0; i < head->field_count && end - at > 300; i++) {
    const struct http_field *field = &head->fields[i];
    at += snprintf(
        at, (size_t)(end - at), " %.*s=%.*s", (int)field->name_length, (const char *)bytes + field->name,
        field->value_length > 200 ? 200 : (int)field->value_length, (const char *)bytes + field->value);
  }
  out->flags = head->flags;
  out->content_length = head->content_length;
}

// Gives the tokeniser the first first_cut bytes, then step more each time, until it answers.
static struct outcome feed(const uint8_t *bytes, uint32_t length, uint32_t first_cut, uint32_t step,
                           const struct http_head_limits *limits) {
  static struct http_head head;
  static uint8_t kept[T_GUARDED_MAX];
  struct outcome out = {0};
  uint32_t seen = 0;
  memcpy(kept, bytes, length);
  for (uint32_t cut = first_cut;; cut = cut + step < length ? cut + step : length) {
    uint8_t *copy = t_guarded(kept, cut);
    out.result = http_head_parse(copy, cut, seen, limits, &head);
    if (out.result > 0) render(copy, &head, &out);
    if (out.result != 0 || cut == length) return out;
    memcpy(kept, copy, cut);
    seen = cut;
  }
}

static bool same(const struct outcome *a, const struct outcome *b) {
  return a->result == b->result && a->flags == b->flags && a->content_length == b->content_length &&
         strcmp(a->text, b->text) == 0;
}

// Whether every cut in two, and one byte at a time, ends like the whole, and no prefix answers otherwise.
static bool invariant(const uint8_t *bytes, uint32_t length, const struct outcome *whole,
                      const struct http_head_limits *limits) {
  for (uint32_t cut = 0; cut < length; cut++) {
    const struct outcome split = feed(bytes, length, cut, length, limits);
    const struct outcome prefix = feed(bytes, cut, cut, 1, limits);
    if (!same(&split, whole)) {
      printf("# cut at %u: %d %s, whole: %d %s\n", cut, split.result, split.text, whole->result, whole->text);
      return false;
    }
    if (prefix.result != 0 && !same(&prefix, whole)) return false;
    if (prefix.result == 0 && whole->result > 0 && cut >= (uint32_t)whole->result) return false;
  }
  for (uint32_t step = 1; step <= 3; step++) {
    const struct outcome steps = feed(bytes, length, 0, step, limits);
    if (!same(&steps, whole)) return false;
  }
  return true;
}

static void accepts(const struct head_case *want, const struct http_head_limits *limits) {
  const uint32_t length = (uint32_t)want->length;
  const struct outcome whole = feed(want->bytes, length, length, 1, limits);
  const bool ok = whole.result == (int32_t)(length - want->rest) && whole.flags == want->flags &&
                  whole.content_length == want->content_length && strcmp(whole.text, want->text) == 0;
  if (!ok)
    printf("# got %d flags %u length %lu %s\n", whole.result, whole.flags, whole.content_length, whole.text);
  t_case(want->name, ok && invariant(want->bytes, length, &whole, limits));
}

static void refuses(const struct refusal *want, const struct http_head_limits *limits) {
  const uint32_t length = (uint32_t)want->length;
  const struct outcome whole = feed(want->bytes, length, length, 1, limits);
  const bool ok = whole.result == -(int32_t)want->violation;
  if (!ok) printf("# got %d, want %d\n", whole.result, -(int32_t)want->violation);
  t_case(want->name, ok && invariant(want->bytes, length, &whole, limits));
}

// clang-format off
static const struct head_case accepted[] = {
  {"H6 the smallest request", T_BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), ON, 0, "GET / host=a", 0},
  {"H29 a second request stays untouched", T_BYTES("GET / HTTP/1.1\r\n" HOST "\r\nGET /2"), ON, 0, "GET / host=a", 6},
  {"names become lower case, values stay", T_BYTES("GET / HTTP/1.1\r\nHOST: A\r\nX-Up_1.: Va L\r\n\r\n"), ON, 0, "GET / host=A x-up_1.=Va L", 0},
  {"every token character in a name", T_BYTES("GET / HTTP/1.1\r\n" HOST "!#$%&'*+-.^_`|~09AZaz:1\r\n\r\n"), ON, 0, "GET / host=a !#$%&'*+-.^_`|~09azaz=1", 0},
  {"white space around a value is cut", T_BYTES("GET / HTTP/1.1\r\nHost:\t a \t\r\nB:\tx\ty \t \r\n\r\n"), ON, 0, "GET / host=a b=x\ty", 0},
  {"empty values", T_BYTES("GET / HTTP/1.1\r\n" HOST "B:\r\nC: \t \r\n\r\n"), ON, 0, "GET / host=a b= c=", 0},
  {"obs-text in a value", T_BYTES("GET / HTTP/1.1\r\n" HOST "B: \x80\xff\xc3\xa4 and more text\r\n\r\n"), ON | MR_NON_ASCII, 0, "GET / host=a b=\x80\xff\xc3\xa4 and more text", 0},
  {"obs-text in the first eight bytes of a long value", T_BYTES("GET / HTTP/1.1\r\n" HOST "B: 1234567\xe9" "123456789\r\n\r\n"), ON | MR_NON_ASCII, 0, "GET / host=a b=1234567\xe9" "123456789", 0},
  {"obs-text behind the head does not count", T_BYTES("GET / HTTP/1.1\r\nHost: abcdefghi\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff"), ON, 0, "GET / host=abcdefghi", 8},
  {"a tab inside a long value", T_BYTES("GET / HTTP/1.1\r\n" HOST "B: 0123456789\t0123456789012345\r\n\r\n"), ON, 0, "GET / host=a b=0123456789\t0123456789012345", 0},
  {"H4 one empty line before the request", T_BYTES("\r\nGET / HTTP/1.1\r\n" HOST "\r\n"), ON, 0, "GET / host=a", 0},
  {"H4 eight empty lines before the request", T_BYTES("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n"), ON, 0, "GET / host=a", 0},
  {"H7 HTTP/1.2 is handled as 1.1", T_BYTES("GET / HTTP/1.2\r\n" HOST "\r\n"), ON, 0, "GET / host=a", 0},
  {"H7 HTTP/1.9 is handled as 1.1", T_BYTES("GET / HTTP/1.9\r\n" HOST "\r\n"), ON, 0, "GET / host=a", 0},
  {"H7 HTTP/1.0 may lack Host and closes", T_BYTES("GET / HTTP/1.0\r\n\r\n"), MR_HTTP_1_0, 0, "GET /", 0},
  {"H8 a method of 32 bytes", T_BYTES("ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.!~0 / HTTP/1.1\r\n" HOST "\r\n"), ON, 0, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.!~0 / host=a", 0},
  {"H8 the method keeps its case", T_BYTES("gEt / HTTP/1.1\r\n" HOST "\r\n"), ON, 0, "gEt / host=a", 0},
  {"H10 what browsers leave in a target", T_BYTES("GET /!$%&'()*+,-./:;=?@[]^_`{|}~%zz HTTP/1.1\r\n" HOST "\r\n"), ON, 0, "GET /!$%&'()*+,-./:;=?@[]^_`{|}~%zz host=a", 0},
  {"H11 Host with a port", T_BYTES("GET / HTTP/1.1\r\nHost: a.example:65535\r\n\r\n"), ON, 0, "GET / host=a.example:65535", 0},
  {"H11 Host with an empty port", T_BYTES("GET / HTTP/1.1\r\nHost: a:\r\n\r\n"), ON, 0, "GET / host=a:", 0},
  {"H11 Host is empty", T_BYTES("GET / HTTP/1.1\r\nHost:\r\n\r\n"), ON, 0, "GET / host=", 0},
  {"H11 Host is an IPv4 address", T_BYTES("GET / HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n"), ON, 0, "GET / host=127.0.0.1:80", 0},
  {"H11 Host is an IPv6 address", T_BYTES("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"), ON, 0, "GET / host=[::1]:80", 0},
  {"H11 Host is the longest IPv6 address", T_BYTES("GET / HTTP/1.1\r\nHost: [2001:0db8:1111:2222:3333:4444:255.255.255.255]\r\n\r\n"), ON, 0, "GET / host=[2001:0db8:1111:2222:3333:4444:255.255.255.255]", 0},
  {"H11 Host with escapes and sub-delims", T_BYTES("GET / HTTP/1.1\r\nHost: a%2Fz!$&'()*+;=_~%aF\r\n\r\n"), ON | MR_ODD_HOST, 0, "GET / host=a%2Fz!$&'()*+;=_~%aF", 0},
  {"H11 Host: sub-delims alone are not odd", T_BYTES("GET / HTTP/1.1\r\nHost: !$&'()*+;=_~\r\n\r\n"), ON, 0, "GET / host=!$&'()*+;=_~", 0},
  {"H11 Host: one that ends in a number is odd", T_BYTES("GET / HTTP/1.1\r\nHost: a.1\r\n\r\n"), ON | MR_ODD_HOST, 0, "GET / host=a.1", 0},
  {"H11 Host: one that ends in a number and a dot is odd", T_BYTES("GET / HTTP/1.1\r\nHost: a.1.\r\n\r\n"), ON | MR_ODD_HOST, 0, "GET / host=a.1.", 0},
  {"H11 Host: a number too large for an address is odd", T_BYTES("GET / HTTP/1.1\r\nHost: 1.256.0.1:80\r\n\r\n"), ON | MR_ODD_HOST, 0, "GET / host=1.256.0.1:80", 0},
  {"H11 Host: a short address is odd", T_BYTES("GET / HTTP/1.1\r\nHost: 127.1\r\n\r\n"), ON | MR_ODD_HOST, 0, "GET / host=127.1", 0},
  {"H11 Host: a hexadecimal number is odd", T_BYTES("GET / HTTP/1.1\r\nHost: 0x7f\r\n\r\n"), ON | MR_ODD_HOST, 0, "GET / host=0x7f", 0},
  {"H11 Host: a long number is odd", T_BYTES("GET / HTTP/1.1\r\nHost: 12345678901234567890\r\n\r\n"), ON | MR_ODD_HOST, 0, "GET / host=12345678901234567890", 0},
  {"H11 Host: a label that begins with a digit is not odd", T_BYTES("GET / HTTP/1.1\r\nHost: 1.2a.b3\r\n\r\n"), ON, 0, "GET / host=1.2a.b3", 0},
  {"H11 Host: hyphens are not odd", T_BYTES("GET / HTTP/1.1\r\nHost: a-b.-c-\r\n\r\n"), ON, 0, "GET / host=a-b.-c-", 0},
  {"H11 Host: punycode is odd", T_BYTES("GET / HTTP/1.1\r\nHost: a.XN--bcher-kva\r\n\r\n"), ON | MR_ODD_HOST, 0, "GET / host=a.XN--bcher-kva", 0},
  {"H12 absolute-form with an odd host", T_BYTES("GET http://1.256.0.1/ HTTP/1.1\r\n" HOST "\r\n"), ON | MR_ODD_HOST, 0, "GET http://1.256.0.1/ host=a", 0},
  {"H13 CONNECT to an odd host", T_BYTES("CONNECT a.1:443 HTTP/1.1\r\n" HOST "\r\n"), ON | MR_ODD_HOST | MR_UPGRADE, 0, "CONNECT a.1:443 host=a", 0},
  {"H12 absolute-form", T_BYTES("GET http://b:1/p?q HTTP/1.1\r\n" HOST "\r\n"), ON, 0, "GET http://b:1/p?q host=a", 0},
  {"H12 absolute-form, https, any case, no path", T_BYTES("GET HTTPS://[::1] HTTP/1.1\r\n" HOST "\r\n"), ON, 0, "GET HTTPS://[::1] host=a", 0},
  {"H12 absolute-form, query without path", T_BYTES("GET http://b?q HTTP/1.1\r\n" HOST "\r\n"), ON, 0, "GET http://b?q host=a", 0},
  {"H13 CONNECT is an upgrade", T_BYTES("CONNECT b:443 HTTP/1.1\r\n" HOST "\r\n"), ON | MR_UPGRADE, 0, "CONNECT b:443 host=a", 0},
  {"H13 OPTIONS *", T_BYTES("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), ON, 0, "OPTIONS * host=a", 0},
  {"H22 Content-Length", T_BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 12\r\n\r\n"), ON | MR_HAS_BODY, 12, "POST / host=a content-length=12", 0},
  {"H22 Content-Length: 0 is no body", T_BYTES("POST / HTTP/1.1\r\n" HOST "content-length:0\r\n\r\n"), ON, 0, "POST / host=a content-length=0", 0},
  {"H22 Content-Length with leading zeros", T_BYTES("POST / HTTP/1.1\r\n" HOST "content-length:000000000000000000000000012\r\n\r\n"), ON | MR_HAS_BODY, 12, "POST / host=a content-length=000000000000000000000000012", 0},
  {"H22 Content-Length at the limit", T_BYTES("POST / HTTP/1.1\r\n" HOST "content-length:1000000\r\n\r\n"), ON | MR_HAS_BODY, 1000000, "POST / host=a content-length=1000000", 0},
  {"H20 chunked", T_BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \tchUNKed \r\n\r\n"), ON | MR_CHUNKED | MR_HAS_BODY, 0, "POST / host=a transfer-encoding=chUNKed", 0},
  {"H38 a GET may have a body", T_BYTES("GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"), ON | MR_CHUNKED | MR_HAS_BODY, 0, "GET / host=a transfer-encoding=chunked", 0},
  {"H30 close", T_BYTES("GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"), 0, 0, "GET / host=a connection=close", 0},
  {"H30 close wins over keep-alive, over lines, in any case", T_BYTES("GET / HTTP/1.1\r\nConnection: x, CLOSE ,\r\n" HOST "Connection: keep-alive\r\n\r\n"), 0, 0, "GET / connection=x, CLOSE , host=a connection=keep-alive", 0},
  {"H30 a longer word is not close", T_BYTES("GET / HTTP/1.1\r\n" HOST "Connection: closed, xclose\r\n\r\n"), ON, 0, "GET / host=a connection=closed, xclose", 0},
  {"1.0 keeps alive when asked", T_BYTES("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), ON | MR_HTTP_1_0, 0, "GET / connection=Keep-Alive", 0},
  {"1.0 close wins", T_BYTES("GET / HTTP/1.0\r\nConnection: Keep-Alive,close\r\n\r\n"), MR_HTTP_1_0, 0, "GET / connection=Keep-Alive,close", 0},
  {"upgrade", T_BYTES("GET / HTTP/1.1\r\n" HOST "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n"), ON | MR_UPGRADE, 0, "GET / host=a upgrade=websocket connection=keep-alive, Upgrade", 0},
  {"H35 Upgrade that Connection does not name", T_BYTES("GET / HTTP/1.1\r\n" HOST "Upgrade: websocket\r\n\r\n"), ON, 0, "GET / host=a upgrade=websocket", 0},
  {"H35 Connection: upgrade without Upgrade", T_BYTES("GET / HTTP/1.1\r\n" HOST "Connection: upgrade\r\n\r\n"), ON, 0, "GET / host=a connection=upgrade", 0},
  {"H35 Upgrade is ignored on 1.0", T_BYTES("GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"), MR_HTTP_1_0, 0, "GET / upgrade=websocket connection=upgrade", 0},
  {"H34 Expect", T_BYTES("PUT / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n"), ON | MR_EXPECT | MR_HAS_BODY, 1, "PUT / host=a expect=100-Continue content-length=1", 0},
  {"H34 Expect is ignored on 1.0", T_BYTES("PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"), MR_HTTP_1_0 | MR_HAS_BODY, 1, "PUT / expect=100-continue content-length=1", 0},
  {"H39 cookie lines may repeat", T_BYTES("GET / HTTP/1.1\r\n" HOST "Cookie: a\r\nCookie: b\r\n\r\n"), ON, 0, "GET / host=a cookie=a cookie=b", 0},
  {"names of the same length as those that matter", T_BYTES("GET / HTTP/1.1\r\n" HOST "Hosu: ,\r\nExpecu: x\r\ncontent-lengti: x\r\ntransfer-encodinh: x\r\nconnectiom: close\r\n\r\n"), ON, 0, "GET / host=a hosu=, expecu=x content-lengti=x transfer-encodinh=x connectiom=close", 0},
  {"names that JavaScript objects have", T_BYTES("GET / HTTP/1.1\r\n" HOST "__proto__: 1\r\nconstructor: 2\r\n\r\n"), ON, 0, "GET / host=a __proto__=1 constructor=2", 0},
};

static const struct head_case accepted_tight[] = {
  {"limits: a head of exactly the most bytes", T_BYTES("GET / HTTP/1.1\r\nHost: a\r\nB: 34567890123456789012345678901234\r\n\r\n"), ON, 0, "GET / host=a b=34567890123456789012345678901234", 0},
  {"limits: a target of exactly the most bytes", T_BYTES("GET /2345678 HTTP/1.1\r\n" HOST "\r\n"), ON, 0, "GET /2345678 host=a", 0},
  {"limits: exactly the most fields", T_BYTES("GET / HTTP/1.1\r\n" HOST "B: 2\r\n\r\n"), ON, 0, "GET / host=a b=2", 0},
  {"limits: exactly the longest body", T_BYTES("GET / HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n"), ON | MR_HAS_BODY, 10, "GET / host=a content-length=10", 0},
  {"limits: what follows the head does not count", T_BYTES("GET / HTTP/1.1\r\n" HOST "\r\n1234567890123456789012345678901234567890123456789012345678901234567890"), ON, 0, "GET / host=a", 70},
};

static const struct refusal refused_tight[] = {
  {"limits: a head of one byte more", T_BYTES("GET / HTTP/1.1\r\nHost: a\r\nB: 345678901234567890123456789012345\r\n\r\n"), MR_HEAD_TOO_LARGE},
  {"limits: an incomplete head of the most bytes", T_BYTES("GET / HTTP/1.1\r\nHost: a\r\nB: 345678901234567890123456789012345678"), MR_HEAD_TOO_LARGE},
  {"limits: too large counts before what breaks later", T_BYTES("GET / HTTP/1.1\r\nHost: a\r\nB: 34567890123456789012345678901234567\r\nB\r\n\r\n"), MR_HEAD_TOO_LARGE},
  {"limits: what breaks earlier counts before too large", T_BYTES("GET / HTTP/1.1\r\nHost : a\r\nB: 345678901234567890123456789012345\r\n\r\n"), MR_BAD_FIELD_NAME},
  {"limits: a target of one byte more", T_BYTES("GET /23456789 HTTP/1.1\r\n" HOST "\r\n"), MR_TARGET_TOO_LONG},
  {"limits: an incomplete target of one byte more", T_BYTES("GET /23456789"), MR_TARGET_TOO_LONG},
  {"limits: one field more", T_BYTES("GET / HTTP/1.1\r\n" HOST "B: 2\r\nC: 3\r\n\r\n"), MR_TOO_MANY_FIELDS},
  {"limits: one field more, with Upgrade", T_BYTES("GET / HTTP/1.1\r\nUpgrade: websocket\r\nA:\r\nB:\r\n\r\n"), MR_TOO_MANY_FIELDS},
  {"limits: a body of one byte more", T_BYTES("GET / HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\n"), MR_BODY_TOO_LARGE},
};

static const struct refusal refused[] = {
  {"a TLS hello at its first byte", T_BYTES("\x16"), MR_BAD_METHOD},
  {"a TLS hello", T_BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), MR_BAD_METHOD},
  {"NUL at once", T_BYTES("\0"), MR_BAD_METHOD},
  {"NUL in the method at once", T_BYTES("GE\0"), MR_BAD_METHOD},
  {"H2 a line feed at once", T_BYTES("\n"), MR_BARE_LF},
  {"the preface of HTTP/2 once its line is complete", T_BYTES("PRI * HTTP/2.0\r\n"), MR_UNSUPPORTED_VERSION},
  {"the preface of HTTP/2", T_BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), MR_UNSUPPORTED_VERSION},
  {"H2 lone LF behind the request line", T_BYTES("GET / HTTP/1.1\n" HOST "\r\n"), MR_BARE_LF},
  {"H2 lone LF behind a field", T_BYTES("GET / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n"), MR_BARE_LF},
  {"H2 lone LF ends the head", T_BYTES("GET / HTTP/1.1\r\n" HOST "\n"), MR_BARE_LF},
  {"H2 lone LF in a name", T_BYTES("GET / HTTP/1.1\r\n" HOST "B\n: c\r\n\r\n"), MR_BARE_LF},
  {"H2 lone LF in the target (HTTP/0.9)", T_BYTES("GET /\n"), MR_BARE_LF},
  {"H2 lone LF in the method", T_BYTES("GET\n"), MR_BARE_LF},
  {"H2 lone LF in the version", T_BYTES("GET / HTTP/\n"), MR_BARE_LF},
  {"H3 CR in a value", T_BYTES("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n"), MR_BAD_FIELD_VALUE},
  {"H3 CR CR LF behind a field", T_BYTES("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"), MR_BAD_FIELD_VALUE},
  {"H3 CR in a name", T_BYTES("GET / HTTP/1.1\r\nHo\rst: a\r\n\r\n"), MR_BAD_FIELD_NAME},
  {"H3 CR and no LF at the end of the head", T_BYTES("GET / HTTP/1.1\r\n" HOST "\rX"), MR_BAD_FIELD_NAME},
  {"H3 CR behind the request line", T_BYTES("GET / HTTP/1.1\rHost: a\r\n\r\n"), MR_BAD_REQUEST_LINE},
  {"H3 CR in the target", T_BYTES("GET /\r HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_REQUEST_LINE},
  {"H3 CR before the method", T_BYTES("\rGET / HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_REQUEST_LINE},
  {"H4 a ninth empty line", T_BYTES("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_REQUEST_LINE},
  {"H4 a ninth empty line at its first byte", T_BYTES("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r"), MR_BAD_REQUEST_LINE},
  {"H4 a lone CR behind an empty line", T_BYTES("\r\n\rGET / HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_REQUEST_LINE},
  {"H4 empty lines hide no long request line", T_BYTES("\r\n\r\nGET /" LONG_PATH " HTTP/2.0\r\n"), MR_UNSUPPORTED_VERSION},
  {"H5 white space before the first field", T_BYTES("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), MR_OBS_FOLD},
  {"H6 no target", T_BYTES("GET HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_REQUEST_LINE},
  {"H6 no version", T_BYTES("GET /\r\n\r\n"), MR_BAD_REQUEST_LINE},
  {"H6 an empty version", T_BYTES("GET / \r\n\r\n"), MR_BAD_VERSION},
  {"H7 lower case", T_BYTES("GET / http/1.1\r\n" HOST "\r\n"), MR_BAD_VERSION},
  {"H7 HTTP/1", T_BYTES("GET / HTTP/1\r\n" HOST "\r\n"), MR_BAD_VERSION},
  {"H7 HTTP/1.", T_BYTES("GET / HTTP/1.\r\n" HOST "\r\n"), MR_BAD_VERSION},
  {"H7 HTTP/1.10", T_BYTES("GET / HTTP/1.10\r\n" HOST "\r\n"), MR_BAD_VERSION},
  {"H7 HTTP/11.1", T_BYTES("GET / HTTP/11.1\r\n" HOST "\r\n"), MR_BAD_VERSION},
  {"H7 HTTP/1,1", T_BYTES("GET / HTTP/1,1\r\n" HOST "\r\n"), MR_BAD_VERSION},
  {"H7 a fourth word", T_BYTES("GET / a HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_VERSION},
  {"H7 HTTP/0.9", T_BYTES("GET / HTTP/0.9\r\n" HOST "\r\n"), MR_UNSUPPORTED_VERSION},
  {"H7 HTTP/2.0", T_BYTES("GET / HTTP/2.0\r\n" HOST "\r\n"), MR_UNSUPPORTED_VERSION},
  {"H7 HTTP/3.1", T_BYTES("GET / HTTP/3.1\r\n" HOST "\r\n"), MR_UNSUPPORTED_VERSION},
  {"H8 a method of 33 bytes", T_BYTES("ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.!~01 / HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_METHOD},
  {"H8 a method of 33 bytes at once", T_BYTES("ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.!~01"), MR_BAD_METHOD},
  {"H8 no token", T_BYTES("G(T / HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_METHOD},
  {"H8 not ASCII", T_BYTES("G\xc3\x84T / HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_METHOD},
  {"H8 space before the method", T_BYTES(" GET / HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_METHOD},
  {"H8 no method", T_BYTES("GET\r\n\r\n"), MR_BAD_REQUEST_LINE},
  {"H10 tab behind the method", T_BYTES("GET\t/ HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_METHOD},
  {"H10 tab behind the target", T_BYTES("GET /\tHTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H10 two spaces behind the method", T_BYTES("GET  / HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_REQUEST_LINE},
  {"H10 two spaces behind the target", T_BYTES("GET /  HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_REQUEST_LINE},
  {"H10 space behind the version", T_BYTES("GET / HTTP/1.1 \r\n" HOST "\r\n"), MR_BAD_REQUEST_LINE},
  {"H10 vertical tab in the target", T_BYTES("GET /\v HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H10 NUL in the target", T_BYTES("GET /\0 HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H10 DEL in the target", T_BYTES("GET /\x7f HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H10 fragment in the target", T_BYTES("GET /#a HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H10 UTF-8 in the target", T_BYTES("GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H10 quote in the target", T_BYTES("GET /\" HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H10 < in the target", T_BYTES("GET /< HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H10 > in the target", T_BYTES("GET /> HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H10 backslash in the target", T_BYTES("GET /\\ HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H11 no Host", T_BYTES("GET / HTTP/1.1\r\nB: c\r\n\r\n"), MR_BAD_HOST},
  {"H11 no fields", T_BYTES("GET / HTTP/1.1\r\n\r\n"), MR_BAD_HOST},
  {"H11 two Hosts", T_BYTES("GET / HTTP/1.1\r\n" HOST HOST "\r\n"), MR_BAD_HOST},
  {"H11 two Hosts, one empty", T_BYTES("GET / HTTP/1.1\r\nHost:\r\n" HOST "\r\n"), MR_BAD_HOST},
  {"H11 two Hosts with 1.0", T_BYTES("GET / HTTP/1.0\r\n" HOST HOST "\r\n"), MR_BAD_HOST},
  {"H11 Host list", T_BYTES("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"), MR_BAD_HOST},
  {"H11 Host with user information", T_BYTES("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), MR_BAD_HOST},
  {"H11 Host with a path", T_BYTES("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), MR_BAD_HOST},
  {"H11 Host with a scheme", T_BYTES("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n"), MR_BAD_HOST},
  {"H11 Host with a space", T_BYTES("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), MR_BAD_HOST},
  {"H11 Host with obs-text", T_BYTES("GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n"), MR_BAD_HOST},
  {"H11 Host with a broken escape", T_BYTES("GET / HTTP/1.1\r\nHost: a%2\r\n\r\n"), MR_BAD_HOST},
  {"H11 Host with an escape that is none", T_BYTES("GET / HTTP/1.1\r\nHost: a%g0\r\n\r\n"), MR_BAD_HOST},
  {"H11 Host is only a port", T_BYTES("GET / HTTP/1.1\r\nHost: :80\r\n\r\n"), MR_BAD_HOST},
  {"H11 port is no number", T_BYTES("GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n"), MR_BAD_HOST},
  {"H11 port has a sign", T_BYTES("GET / HTTP/1.1\r\nHost: a:+80\r\n\r\n"), MR_BAD_HOST},
  {"H11 port is too large", T_BYTES("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"), MR_BAD_HOST},
  {"H11 port is far too large", T_BYTES("GET / HTTP/1.1\r\nHost: a:42949672960000000000080\r\n\r\n"), MR_BAD_HOST},
  {"H11 two ports", T_BYTES("GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n"), MR_BAD_HOST},
  {"H11 IPv6 without brackets", T_BYTES("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"), MR_BAD_HOST},
  {"H11 IPv6 without the closing bracket", T_BYTES("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), MR_BAD_HOST},
  {"H11 IPv6 that is none", T_BYTES("GET / HTTP/1.1\r\nHost: [1::2::3]\r\n\r\n"), MR_BAD_HOST},
  {"H11 IPv6 with a zone", T_BYTES("GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n"), MR_BAD_HOST},
  {"H11 IPv6 that is empty", T_BYTES("GET / HTTP/1.1\r\nHost: []\r\n\r\n"), MR_BAD_HOST},
  {"H11 IPv6 that is too long", T_BYTES("GET / HTTP/1.1\r\nHost: [0000000000000000000000000000000000000000000000000000]\r\n\r\n"), MR_BAD_HOST},
  {"H11 IPv6 of one byte too many", T_BYTES("GET / HTTP/1.1\r\nHost: [0000:0000:0000:0000:0000:0000:0255.255.255.2550]\r\n\r\n"), MR_BAD_HOST},
  {"H11 IPv6 with a NUL written into it", T_BYTES("GET / HTTP/1.1\r\nHost: [::1\0]\r\n\r\n"), MR_BAD_FIELD_VALUE},
  {"H11 text behind the brackets", T_BYTES("GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n"), MR_BAD_HOST},
  {"H12 another scheme", T_BYTES("GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H12 no authority", T_BYTES("GET http:///p HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H12 nothing behind the scheme", T_BYTES("GET http:// HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H12 one slash", T_BYTES("GET http:/a HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H12 user information", T_BYTES("GET http://u:p@a/ HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H12 bad port", T_BYTES("GET http://a:x/ HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H13 authority-form with GET", T_BYTES("GET a:80 HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H13 CONNECT without a port", T_BYTES("CONNECT a HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H13 CONNECT with an empty port", T_BYTES("CONNECT a: HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H13 CONNECT with a path", T_BYTES("CONNECT / HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H13 * with GET", T_BYTES("GET * HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H13 * and more", T_BYTES("OPTIONS */ HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H13 a relative path", T_BYTES("GET index.html HTTP/1.1\r\n" HOST "\r\n"), MR_BAD_TARGET},
  {"H14 space before the colon", T_BYTES("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), MR_BAD_FIELD_NAME},
  {"H14 tab before the colon", T_BYTES("GET / HTTP/1.1\r\n" HOST "Content-Length\t: 1\r\n\r\n"), MR_BAD_FIELD_NAME},
  {"H15 folded line", T_BYTES("GET / HTTP/1.1\r\n" HOST "B: c\r\n d\r\n\r\n"), MR_OBS_FOLD},
  {"H15 folded line with a tab", T_BYTES("GET / HTTP/1.1\r\n" HOST "B:\r\n\tc\r\n\r\n"), MR_OBS_FOLD},
  {"H15 folded coding is empty where it begins", T_BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\tchunked\r\n\r\n"), MR_BAD_TRANSFER_ENCODING},
  {"H16 empty name", T_BYTES("GET / HTTP/1.1\r\n" HOST ": c\r\n\r\n"), MR_BAD_FIELD_NAME},
  {"H16 no colon", T_BYTES("GET / HTTP/1.1\r\n" HOST "Bad\r\n\r\n"), MR_BAD_FIELD_NAME},
  {"H16 NUL in a name", T_BYTES("GET / HTTP/1.1\r\n" HOST "B\0: c\r\n\r\n"), MR_BAD_FIELD_NAME},
  {"H16 obs-text in a name", T_BYTES("GET / HTTP/1.1\r\n" HOST "B\xff: c\r\n\r\n"), MR_BAD_FIELD_NAME},
  {"H16 bracket in a name", T_BYTES("GET / HTTP/1.1\r\n" HOST "B[: c\r\n\r\n"), MR_BAD_FIELD_NAME},
  {"H17 NUL in a value", T_BYTES("GET / HTTP/1.1\r\n" HOST "B: c\0\r\n\r\n"), MR_BAD_FIELD_VALUE},
  {"H17 NUL in a long value", T_BYTES("GET / HTTP/1.1\r\n" HOST "B: 0123456789\0" "0123456789abcdef\r\n\r\n"), MR_BAD_FIELD_VALUE},
  {"H17 0x1F in a value", T_BYTES("GET / HTTP/1.1\r\n" HOST "B: 01234567\x1f\r\n\r\n"), MR_BAD_FIELD_VALUE},
  {"H17 DEL in a value", T_BYTES("GET / HTTP/1.1\r\n" HOST "B: 0123456\x7f" "89\r\n\r\n"), MR_BAD_FIELD_VALUE},
  {"H17 vertical tab before chunked", T_BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \vchunked\r\n\r\n"), MR_BAD_FIELD_VALUE},
  {"H18 length and chunked", T_BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), MR_LENGTH_AND_CHUNKED},
  {"H18 chunked and length", T_BYTES("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n" HOST "\r\n"), MR_LENGTH_AND_CHUNKED},
  {"H19 chunked with 1.0", T_BYTES("POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"), MR_BAD_TRANSFER_ENCODING},
  {"H20 chunked twice", T_BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n"), MR_BAD_TRANSFER_ENCODING},
  {"H20 chunked on two lines", T_BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), MR_BAD_TRANSFER_ENCODING},
  {"H20 chunked is not last", T_BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, identity\r\n\r\n"), MR_BAD_TRANSFER_ENCODING},
  {"H20 empty", T_BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n"), MR_BAD_TRANSFER_ENCODING},
  {"H20 empty member", T_BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: , chunked\r\n\r\n"), MR_BAD_TRANSFER_ENCODING},
  {"H20 empty last member", T_BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked,\r\n\r\n"), MR_BAD_TRANSFER_ENCODING},
  {"H20 parameter", T_BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;a=b\r\n\r\n"), MR_BAD_TRANSFER_ENCODING},
  {"H20 quoted", T_BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n"), MR_BAD_TRANSFER_ENCODING},
  {"H20 two words", T_BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked x\r\n\r\n"), MR_BAD_TRANSFER_ENCODING},
  {"H21 xchunked", T_BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n"), MR_UNKNOWN_TRANSFER_CODING},
  {"H21 identity", T_BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n"), MR_UNKNOWN_TRANSFER_CODING},
  {"H21 gzip before chunked", T_BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n"), MR_UNKNOWN_TRANSFER_CODING},
  {"H22 two equal lengths", T_BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"), MR_BAD_CONTENT_LENGTH},
  {"H22 list of equal lengths", T_BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n"), MR_BAD_CONTENT_LENGTH},
  {"H22 list of lengths", T_BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 1,2\r\n\r\n"), MR_BAD_CONTENT_LENGTH},
  {"H22 empty", T_BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: \r\n\r\n"), MR_BAD_CONTENT_LENGTH},
  {"H22 plus", T_BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n"), MR_BAD_CONTENT_LENGTH},
  {"H22 minus", T_BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n"), MR_BAD_CONTENT_LENGTH},
  {"H22 underscore", T_BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 1_0\r\n\r\n"), MR_BAD_CONTENT_LENGTH},
  {"H22 hex", T_BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 0x10\r\n\r\n"), MR_BAD_CONTENT_LENGTH},
  {"H22 octal", T_BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 0o10\r\n\r\n"), MR_BAD_CONTENT_LENGTH},
  {"H22 space inside", T_BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 1 0\r\n\r\n"), MR_BAD_CONTENT_LENGTH},
  {"H38 CONNECT with a length", T_BYTES("CONNECT a:1 HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n"), MR_BAD_CONTENT_LENGTH},
  {"H38 CONNECT, chunked", T_BYTES("CONNECT a:1 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"), MR_BAD_TRANSFER_ENCODING},
  {"H34 another expectation", T_BYTES("PUT / HTTP/1.1\r\n" HOST "Expect: 200-ok\r\n\r\n"), MR_BAD_EXPECT},
  {"H34 two expectations", T_BYTES("PUT / HTTP/1.1\r\n" HOST "Expect: 100-continue, x\r\n\r\n"), MR_BAD_EXPECT},
};
// clang-format on

static void lengths_at_boundaries(void) {
  static const char *const digits[] = {
      "2147483647", "2147483648", "4294967291", "4294967296", "4294967301", "9007199254740991",
      // What follows is refused.
      "9007199254740992", "9223372036854775807", "9223372036854775808", "18446744073709551615",
      "18446744073709551616", "18446744073709551617", "184467440737095516160000000000000005"};
  const struct http_head_limits unlimited = {16384, 8192, 100, 0};
  for (size_t i = 0; i < sizeof digits / sizeof digits[0]; i++) {
    char bytes[128];
    char name[64];
    const int length =
        snprintf(bytes, sizeof bytes, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %s\r\n\r\n", digits[i]);
    const struct outcome got = feed((uint8_t *)bytes, (uint32_t)length, (uint32_t)length, 1, &unlimited);
    snprintf(name, sizeof name, "Content-Length: %.40s", digits[i]);
    t_case(name, i < 6 ? got.result == length && got.content_length == strtoull(digits[i], NULL, 10)
                       : got.result == -MR_BAD_CONTENT_LENGTH);
  }
}

// Every byte value in every place: exactly the ones that the grammar lists may pass.
static void every_byte_everywhere(void) {
  static const char token[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  static const char host[] = "!$&'()*+-.;=_~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz:";
  bool method_ok = true, target_ok = true, name_ok = true, value_ok = true, host_ok = true;
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint8_t bytes[] = "GxT /xxx HTTP/1.1\r\nHost: axa\r\nBxB: 0123456789x012345678\r\n\r\n";
    const uint32_t length = sizeof bytes - 1;
    const bool visible = byte > 0x20 && byte < 0x7f;
    const bool is_token = byte != 0 && strchr(token, (int)byte) != NULL;
    const struct {
      uint32_t at;
      bool passes;
      bool *ok;
    } places[] = {
        {1, is_token, &method_ok},
        {6, visible && strchr("\"<>\\#", (int)byte) == NULL, &target_ok},
        {26, byte != 0 && strchr(host, (int)byte) != NULL, &host_ok},
        {31, is_token || byte == ':', &name_ok},
        {45, byte == '\t' || byte == ' ' || visible || byte >= 0x80, &value_ok},
    };
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
      const uint8_t before = bytes[places[i].at];
      bytes[places[i].at] = (uint8_t)byte;
      // "a:a" is no Host, because the port is no number; what counts is that ':' needs digits.
      const bool passes = places[i].passes && !(places[i].at == 26 && byte == ':');
      const struct outcome got = feed(bytes, length, length, 1, &roomy);
      if ((got.result == (int32_t)length) != passes) {
        printf("# byte %02x at %u: %d\n", byte, places[i].at, got.result);
        *places[i].ok = false;
      }
      bytes[places[i].at] = before;
    }
  }
  t_case("every byte in a method", method_ok);
  t_case("every byte in a target", target_ok);
  t_case("every byte in a host", host_ok);
  t_case("every byte in a name", name_ok);
  t_case("every byte in a value", value_ok);
}

static void control_at_every_offset(void) {
  bool ok = true;
  for (uint32_t size = 1; size < 40; size++) {
    for (uint32_t at = 0; at < size; at++) {
      uint8_t bytes[128];
      const int prefix = snprintf((char *)bytes, sizeof bytes, "GET / HTTP/1.1\r\nHost: a\r\nB: ");
      memset(bytes + prefix, 'x', size);
      memcpy(bytes + (uint32_t)prefix + size, "\r\n\r\n", 4);
      const uint32_t length = (uint32_t)prefix + size + 4;
      ok = ok && feed(bytes, length, length, 1, &roomy).result == (int32_t)length;
      bytes[(uint32_t)prefix + at] = 0x01;
      ok = ok && feed(bytes, length, length, 1, &roomy).result == -MR_BAD_FIELD_VALUE;
    }
  }
  t_case("H17 a control byte at every offset of values up to 40 bytes", ok);
}

// The byte that makes a target too long is refused as it comes, not at the end of its line.
static void target_too_long_at_once(void) {
  static const char *const starts[] = {"G /", "\r\nABCDEFGHIJKLMNOPQRSTUVWXYZ-_.!~0 /"};
  const struct http_head_limits limits = {16384, 500, 100, 0};
  bool ok = true;
  for (size_t i = 0; i < 2; i++) {
    static struct http_head head;
    uint8_t bytes[1000];
    const uint32_t start = (uint32_t)strlen(starts[i]);
    memset(bytes, 'a', sizeof bytes);
    memcpy(bytes, starts[i], start);
    for (uint32_t seen = 0; seen < start + 499; seen++) {
      ok = ok && http_head_parse(bytes, seen + 1, seen, &limits, &head) == 0;
    }
    ok = ok && http_head_parse(bytes, start + 500, start + 499, &limits, &head) == -MR_TARGET_TOO_LONG;
  }
  t_case("limits: a target is too long as soon as it is", ok);
}

// Far into a head a lone LF is refused as it comes too: what follows may never come.
static void lone_feed_at_once(void) {
  static struct http_head head;
  uint8_t bytes[] =
      "GET / HTTP/1.1\r\nHost: a\r\nB: "
      "34567890123456789012345678901234567890123456789012345678901234567890\n";
  const uint32_t length = sizeof bytes - 1;
  bool ok = http_head_parse(bytes, length - 1, 0, &roomy, &head) == 0;
  ok = ok && http_head_parse(bytes, length, length - 1, &roomy, &head) == -MR_BARE_LF;
  t_case("H2 lone LF at once, however late", ok);
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// Fills bytes with copies of unit between the given ends and feeds them one by one.
static bool linear(const char *before, const char *unit, uint32_t size, int32_t want) {
  static uint8_t bytes[65536];
  static struct http_head head;
  const struct http_head_limits limits = {65535, 65535, 256, 0};
  uint32_t length = (uint32_t)strlen(before);
  memcpy(bytes, before, length);
  while (length < size) {
    memcpy(bytes + length, unit, strlen(unit));
    length += (uint32_t)strlen(unit);
  }
  const double start = seconds();
  int32_t result = 0;
  for (uint32_t seen = 0; seen < length && result == 0; seen++) {
    result = http_head_parse(bytes, seen + 1, seen, &limits, &head);
  }
  // Reading from the start each time takes 2 * 10^9 steps, more than five seconds with the sanitizers.
  return result == want && seconds() - start < 2;
}

static void linear_time(void) {
  t_case("a long target byte by byte in linear time", linear("GET /", "a", 60000, 0));
  t_case("a long value byte by byte in linear time", linear("GET / HTTP/1.1\r\nA: ", "a", 60000, 0));
  t_case("many fields byte by byte in linear time", linear("GET / HTTP/1.1\r\n", "a:\r\n", 60000, 0));
  t_case("many commas byte by byte in linear time", linear("GET / HTTP/1.1\r\nConnection:", ",", 60000, 0));
  t_case("the largest head that there may be",
         linear("GET / HTTP/1.1\r\nA: ", "a", 65535, -MR_HEAD_TOO_LARGE));
}

static void statuses(void) {
  static const uint16_t want[] = {0,   400, 400, 400, 414, 400, 505, 400, 400, 400, 400, 431, 431,
                                  400, 400, 400, 501, 400, 417, 413, 400, 400, 400, 400, 408, 408};
  bool ok = true;
  for (uint32_t i = 1; i < sizeof want / sizeof want[0]; i++) {
    ok = ok && http_violation_status((enum mr_violation)i) == want[i];
  }
  t_case("every violation has its status", ok);
}

int main(void) {
  for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) accepts(&accepted[i], &roomy);
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) refuses(&refused[i], &roomy);
  for (size_t i = 0; i < sizeof accepted_tight / sizeof accepted_tight[0]; i++)
    accepts(&accepted_tight[i], &tight);
  for (size_t i = 0; i < sizeof refused_tight / sizeof refused_tight[0]; i++)
    refuses(&refused_tight[i], &tight);
  lengths_at_boundaries();
  every_byte_everywhere();
  control_at_every_offset();
  target_too_long_at_once();
  lone_feed_at_once();
  linear_time();
  statuses();
  return t_done();
}
