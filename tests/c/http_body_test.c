// SPDX-License-Identifier: Apache-2.0
// http_body_test.c - rules H23 to H26 of chunked bodies by bytes, cut in every way.
#include "http_body.h"

#include "check.h"

struct outcome {
  int32_t result;  // bytes consumed when the body ended, 0 when bytes are missing, or -mr_violation
  uint32_t length;
  uint32_t trailer_length;
  uint8_t data[20000];
  uint8_t trailers[20000];
};

struct body_case {
  const char *name;
  const uint8_t *bytes;
  size_t length;
  const char *data;             // what comes out, before the violation if there is one
  enum mr_violation violation;  // 0: the body is whole
  uint32_t rest;                // bytes behind the body
};

enum { LIMIT = 1000 };

// Gives the decoder the first first_cut bytes, then step more each time; out says what came of all.
static void feed(const uint8_t *bytes, uint32_t length, uint32_t first_cut, uint32_t step, uint64_t limit,
                 struct outcome *out) {
  struct http_chunked chunked = {0};
  uint32_t done = 0;
  out->result = 0;
  out->length = 0;
  out->trailer_length = 0;
  for (uint32_t cut = first_cut;; cut = length - cut > step ? cut + step : length) {
    while (done < cut) {
      struct http_piece piece;
      const uint8_t *copy = t_guarded(bytes + done, cut - done);
      const int32_t taken = http_chunked_next(&chunked, copy, cut - done, limit, &piece);
      if (taken < 0) {
        out->result = taken;
        return;
      }
      if (piece.trailer) {
        memcpy(out->trailers + out->trailer_length, copy + piece.start, piece.length);
        out->trailer_length += piece.length;
      } else {
        memcpy(out->data + out->length, copy + piece.start, piece.length);
        out->length += piece.length;
      }
      done += (uint32_t)taken;
      if (piece.last) {
        out->result = (int32_t)done;
        return;
      }
      if (taken == 0) {  // never: it takes all it is given
        out->result = INT32_MIN;
        return;
      }
    }
    if (cut == length) return;
  }
}

// How much of a trailer section comes out before it is refused depends on the cut, and nobody gets to see it.
static bool same(const struct outcome *a, const struct outcome *b) {
  if (a->result != b->result || a->length != b->length || memcmp(a->data, b->data, a->length) != 0)
    return false;
  return a->result < 0 ||
         (a->trailer_length == b->trailer_length && memcmp(a->trailers, b->trailers, a->trailer_length) == 0);
}

static bool invariant(const uint8_t *bytes, uint32_t length, const struct outcome *whole, uint64_t limit) {
  static struct outcome part;
  for (uint32_t cut = 0; cut < length; cut++) {
    feed(bytes, length, cut, length, limit, &part);
    if (!same(&part, whole)) return false;
    feed(bytes, cut, cut, 1, limit, &part);
    if (part.result != 0 && !same(&part, whole)) return false;
    if (part.result == 0 && whole->result > 0 && cut >= (uint32_t)whole->result) return false;
  }
  for (uint32_t step = 1; step <= 3; step++) {
    feed(bytes, length, 0, step, limit, &part);
    if (!same(&part, whole)) return false;
  }
  return true;
}

static bool equals(const uint8_t *bytes, uint32_t length, const char *text) {
  return length == strlen(text) && memcmp(bytes, text, length) == 0;
}

static void run(const struct body_case *want) {
  static struct outcome whole;
  const uint32_t length = (uint32_t)want->length;
  const int32_t result = want->violation != 0 ? -(int32_t)want->violation : (int32_t)(length - want->rest);
  feed(want->bytes, length, length, 1, LIMIT, &whole);
  const bool ok = whole.result == result && equals(whole.data, whole.length, want->data);
  if (!ok) printf("# got %d %.*s, want %d\n", whole.result, (int)whole.length, (char *)whole.data, result);
  t_case(want->name, ok && invariant(want->bytes, length, &whole, LIMIT));
}

// clang-format off
static const struct body_case cases[] = {
  {"an empty body", T_BYTES("0\r\n\r\n"), "", 0, 0},
  {"one chunk", T_BYTES("5\r\nhello\r\n0\r\n\r\n"), "hello", 0, 0},
  {"H29 what follows stays untouched", T_BYTES("5\r\nhello\r\n0\r\n\r\nGET / "), "hello", 0, 6},
  {"chunks that contain line ends", T_BYTES("2\r\n\r\n\r\n7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n"), "\r\n0\r\n\r\n\r\n", 0, 0},
  {"hexadecimal in both cases, zeros before and as the last chunk", T_BYTES("00a\r\n0123456789\r\n0B\r\n0123456789a\r\n000\r\n\r\n"), "01234567890123456789a", 0, 0},
  {"16 digits", T_BYTES("0000000000000001\r\nx\r\n0000000000000000\r\n\r\n"), "x", 0, 0},
  {"H23 17 digits", T_BYTES("00000000000000001\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_SIZE, 0},
  {"H23 no digits", T_BYTES("\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_SIZE, 0},
  {"H23 only an extension", T_BYTES(";a=b\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_SIZE, 0},
  {"H23 0x", T_BYTES("0x1\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_SIZE, 0},
  {"H23 plus", T_BYTES("+1\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_SIZE, 0},
  {"H23 minus", T_BYTES("-1\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_SIZE, 0},
  {"H23 underscore", T_BYTES("1_0\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_SIZE, 0},
  {"H23 space before", T_BYTES(" 1\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_SIZE, 0},
  {"H23 space behind", T_BYTES("1 \r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_SIZE, 0},
  {"H23 space before an extension", T_BYTES("1 ;a\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_SIZE, 0},
  {"H23 tab behind", T_BYTES("1\t\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_SIZE, 0},
  {"H23 no hexadecimal digit", T_BYTES("1g\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_SIZE, 0},
  {"H23 NUL", T_BYTES("1\0\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_SIZE, 0},
  {"H23 obs-text", T_BYTES("1\xff\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_SIZE, 0},
  {"H2 lone LF behind the size", T_BYTES("1\nx\r\n0\r\n\r\n"), "", MR_BARE_LF, 0},
  {"H3 CR and no LF behind the size", T_BYTES("1\rx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_SIZE, 0},
  {"H3 CR CR LF behind the size", T_BYTES("1\r\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_SIZE, 0},
  {"H24 extensions", T_BYTES("1;a0\r\nx\r\n1;9;b=c;d=\"\"\r\ny\r\n0;z=\"\\\"\\\\;\t\xff \"\r\n\r\n"), "xy", 0, 0},
  {"H24 semicolon and nothing", T_BYTES("1;\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_EXTENSION, 0},
  {"H24 semicolon twice", T_BYTES("1;;a\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_EXTENSION, 0},
  {"H24 no value", T_BYTES("1;a=\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_EXTENSION, 0},
  {"H24 no name", T_BYTES("1;=a\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_EXTENSION, 0},
  {"H24 two values", T_BYTES("1;a=b=c\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_EXTENSION, 0},
  {"H24 space before the name", T_BYTES("1; a\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_EXTENSION, 0},
  {"H24 space behind the value", T_BYTES("1;a=b \r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_EXTENSION, 0},
  {"H24 no token", T_BYTES("1;a@b\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_EXTENSION, 0},
  {"H24 control byte", T_BYTES("1;a\001\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_EXTENSION, 0},
  {"H24 NUL", T_BYTES("1;a\0\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_EXTENSION, 0},
  {"H24 quoted string does not end", T_BYTES("1;a=\"b\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_EXTENSION, 0},
  {"H24 quoted string and more", T_BYTES("1;a=\"b\"c\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_EXTENSION, 0},
  {"H24 quoted control byte", T_BYTES("1;a=\"\177\"\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_EXTENSION, 0},
  {"H24 quoted CR", T_BYTES("1;a=\"\r\"\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_EXTENSION, 0},
  {"H24 escaped CR", T_BYTES("1;a=\"\\\r\n\"\r\nx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_EXTENSION, 0},
  {"H2 lone LF behind an extension", T_BYTES("1;a\nx\r\n0\r\n\r\n"), "", MR_BARE_LF, 0},
  {"H2 lone LF behind a semicolon", T_BYTES("1;\nx\r\n0\r\n\r\n"), "", MR_BARE_LF, 0},
  {"H2 lone LF in a quoted string", T_BYTES("1;a=\"\n\"\r\nx\r\n0\r\n\r\n"), "", MR_BARE_LF, 0},
  {"H3 CR and no LF behind an extension", T_BYTES("1;a\rx\r\n0\r\n\r\n"), "", MR_BAD_CHUNK_SIZE, 0},
  {"H25 more data than declared", T_BYTES("1\r\nxy\r\n0\r\n\r\n"), "x", MR_BAD_CHUNK_END, 0},
  {"H25 two more bytes than declared", T_BYTES("1\r\nxyz0\r\n\r\n"), "x", MR_BAD_CHUNK_END, 0},
  {"H25 nothing behind the data", T_BYTES("1\r\nx0\r\n\r\n"), "x", MR_BAD_CHUNK_END, 0},
  {"H25 lone LF behind the data", T_BYTES("1\r\nx\n0\r\n\r\n"), "x", MR_BAD_CHUNK_END, 0},
  {"H25 CR and no LF behind the data", T_BYTES("1\r\nx\r0\r\n\r\n"), "x", MR_BAD_CHUNK_END, 0},
  {"H26 trailers come apart from the data", T_BYTES("1\r\nx\r\n0\r\nA: b\r\nContent-Length: 5\r\nHost:\r\nT: \t\xff\r\n\r\nrest"), "x", 0, 4},
  {"H26 no colon", T_BYTES("0\r\nA\r\n\r\n"), "", MR_BAD_TRAILER, 0},
  {"H26 no name", T_BYTES("0\r\n: b\r\n\r\n"), "", MR_BAD_TRAILER, 0},
  {"H26 space before the colon", T_BYTES("0\r\nA : b\r\n\r\n"), "", MR_BAD_TRAILER, 0},
  {"H26 space before the name", T_BYTES("0\r\n A: b\r\n\r\n"), "", MR_BAD_TRAILER, 0},
  {"H26 folded line", T_BYTES("0\r\nA: b\r\n c\r\n\r\n"), "", MR_BAD_TRAILER, 0},
  {"H26 control byte", T_BYTES("0\r\nA: \001\r\n\r\n"), "", MR_BAD_TRAILER, 0},
  {"H26 NUL", T_BYTES("0\r\nA: \0\r\n\r\n"), "", MR_BAD_TRAILER, 0},
  {"H26 lone CR", T_BYTES("0\r\nA: b\rc\r\n\r\n"), "", MR_BAD_TRAILER, 0},
  {"H26 lone CR at the end", T_BYTES("0\r\n\rX"), "", MR_BAD_TRAILER, 0},
  {"H26 lone LF behind a trailer", T_BYTES("0\r\nA: b\n\r\n"), "", MR_BARE_LF, 0},
  {"H26 lone LF in a name", T_BYTES("0\r\nA\n\r\n"), "", MR_BARE_LF, 0},
  {"H26 lone LF at the end", T_BYTES("0\r\n\n"), "", MR_BARE_LF, 0},
  {"the limit in one chunk", T_BYTES("3e9\r\n"), "", MR_BODY_TOO_LARGE, 0},
  {"the limit over two chunks", T_BYTES("1\r\nx\r\n3e8\r\n"), "x", MR_BODY_TOO_LARGE, 0},
  {"the limit and an overflow", T_BYTES("1\r\nx\r\nffffffffffffffff\r\n"), "x", MR_BODY_TOO_LARGE, 0},
};
// clang-format on

// One piece of text that repeat times between before and behind make a body; 0: it is whole.
struct repeated {
  const char *name;
  const char *before;
  const char *unit;
  uint32_t repeat;
  const char *behind;
  enum mr_violation violation;
};

static const struct repeated limits[] = {
    {"H24 256 bytes of extensions in one line", "0;", "a", 255, "\r\n\r\n", 0},
    {"H24 257 bytes of extensions in one line", "0;", "a", 256, "\r\n\r\n", MR_BAD_CHUNK_EXTENSION},
    {"H24 257 bytes that never end", "0;", "a", 256, "", MR_BAD_CHUNK_EXTENSION},
    {"H24 4096 bytes of extensions", "", "1;a=\"456789012345678901234567890\"\r\nx\r\n", 128, "0\r\n\r\n", 0},
    {"H24 4098 bytes of extensions", "", "1;a=\"456789012345678901234567890\"\r\nx\r\n", 128, "0;a\r\n\r\n",
     MR_BAD_CHUNK_EXTENSION},
    {"H26 64 trailers", "0\r\n", "A: b\r\n", 64, "\r\n", 0},
    {"H26 65 trailers", "0\r\n", "A: b\r\n", 65, "\r\n", MR_BAD_TRAILER},
    {"H26 8 KiB of trailers", "0\r\nA:", "b", 8192 - 4, "\r\n\r\n", 0},
    {"H26 8 KiB and a byte of trailers", "0\r\nA:", "b", 8192 - 3, "\r\n\r\n", MR_BAD_TRAILER},
    {"H26 trailers that never end", "0\r\nA:", "b", 8192, "", MR_BAD_TRAILER},
};

static void run_repeated(const struct repeated *want) {
  static uint8_t bytes[20000];
  static char data[1000];
  static struct outcome whole;
  static struct outcome part;
  uint32_t length = (uint32_t)snprintf((char *)bytes, sizeof bytes, "%s", want->before);
  for (uint32_t i = 0; i < want->repeat; i++) {
    length += (uint32_t)snprintf((char *)bytes + length, sizeof bytes - length, "%s", want->unit);
  }
  length += (uint32_t)snprintf((char *)bytes + length, sizeof bytes - length, "%s", want->behind);
  memset(data, 'x', sizeof data);
  feed(bytes, length, length, 1, LIMIT, &whole);
  bool ok =
      want->violation == 0 ? whole.result == (int32_t)length : whole.result == -(int32_t)want->violation;
  for (uint32_t step = 1; step < 300; step += 7) {
    feed(bytes, length, 0, step, LIMIT, &part);
    ok = ok && same(&part, &whole);
  }
  if (!ok) printf("# got %d of %u\n", whole.result, length);
  t_case(want->name, ok);
}

static void sizes_at_boundaries(void) {
  static const struct {
    const char *digits;
    uint64_t value;
    enum mr_violation violation;
  } sizes[] = {
      {"7fffffff", 0x7fffffff, 0},
      {"80000000", 0x80000000, 0},
      {"fffffffb", 0xfffffffb, 0},
      {"100000000", 0x100000000, 0},
      {"100000005", 0x100000005, 0},
      {"20000000000000", 0x20000000000000, 0},
      {"7fffffffffffffff", 0x7fffffffffffffff, 0},
      {"8000000000000000", 0, MR_BODY_TOO_LARGE},
      {"ffffffffffffffff", 0, MR_BODY_TOO_LARGE},
      {"10000000000000000", 0, MR_BAD_CHUNK_SIZE},
      {"10000000000000005", 0, MR_BAD_CHUNK_SIZE},
  };
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    uint8_t bytes[64];
    char name[64];
    struct http_chunked chunked = {0};
    struct http_piece piece;
    const int length = snprintf((char *)bytes, sizeof bytes, "%s\r\n", sizes[i].digits);
    const int32_t taken = http_chunked_next(&chunked, bytes, (uint32_t)length, 0, &piece);
    snprintf(name, sizeof name, "a chunk of 0x%s bytes", sizes[i].digits);
    t_case(name, sizes[i].violation != 0
                     ? taken == -(int32_t)sizes[i].violation
                     : taken == length && chunked.left == sizes[i].value && piece.length == 0);
  }
}

static void sum_does_not_overflow(void) {
  struct http_chunked chunked = {.body_bytes = INT64_MAX - 1};
  struct http_piece piece;
  const bool fits = http_chunked_next(&chunked, (const uint8_t *)"1\r\n", 3, 0, &piece) == 3;
  struct http_chunked full = {.body_bytes = INT64_MAX - 1};
  t_case("chunks that sum up to 2^63 without a limit",
         fits && http_chunked_next(&full, (const uint8_t *)"2\r\n", 3, 0, &piece) == -MR_BODY_TOO_LARGE);
}

static void pieces(void) {
  const uint8_t bytes[] = "5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\nGET";
  struct http_chunked chunked = {0};
  struct http_piece piece;
  bool ok = http_chunked_next(&chunked, bytes, 26, 0, &piece) == 8;
  ok = ok && piece.start == 3 && piece.length == 5 && !piece.last;
  ok = ok && http_chunked_next(&chunked, bytes + 8, 18, 0, &piece) == 8;
  ok = ok && piece.start == 5 && piece.length == 3 && !piece.last;
  ok = ok && http_chunked_next(&chunked, bytes + 16, 10, 0, &piece) == 7;
  ok = ok && piece.length == 0 && piece.last;
  ok = ok && http_chunked_next(&chunked, bytes + 23, 3, 0, &piece) == 0 && piece.last && piece.length == 0;
  t_case("pieces say where the data is and when it ends", ok);
}

static void trailers(void) {
  static const char lines[] = "A: b\r\nContent-Length: 5\r\nHost:\r\nT: \t\xff\r\n";
  static struct outcome whole;
  uint8_t bytes[100];
  const int length = snprintf((char *)bytes, sizeof bytes, "1\r\nx\r\n0\r\n%s\r\nrest", lines);
  feed(bytes, (uint32_t)length, (uint32_t)length, 1, LIMIT, &whole);
  const bool ok = whole.result == length - 4 && equals(whole.trailers, whole.trailer_length, lines);
  t_case("H26 the field lines of trailers come out as they are",
         ok && invariant(bytes, (uint32_t)length, &whole, LIMIT));
}

int main(void) {
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) run(&cases[i]);
  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) run_repeated(&limits[i]);
  sizes_at_boundaries();
  sum_does_not_overflow();
  pieces();
  trailers();
  return t_done();
}
