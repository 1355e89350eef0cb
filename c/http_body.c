// SPDX-License-Identifier: Apache-2.0
// http_body.c - decodes chunked request bodies, strictly; called by conn_http.c.
//
// Lines are read byte by byte with the state in struct http_chunked, so the answer cannot depend on how the
// bytes were cut into calls; data is handed on in one piece for each chunk and call.
#include "http_body.h"

#include <string.h>

enum {
  DIGITS_MAX = 16,  // as many as fit 64 bits
  LINE_MAX = 256,   // extensions of one chunk
  EXTENSIONS_MAX = 4096,
  TRAILER_LINES_MAX = 64,
  TRAILERS_MAX = 8192,
};

enum state {
  SIZE = 0,
  EXT_BEFORE_NAME,
  EXT_NAME,
  EXT_BEFORE_VALUE,
  EXT_VALUE,
  EXT_QUOTED,
  EXT_ESCAPED,
  EXT_AFTER_QUOTED,
  SIZE_LF,
  DATA,
  DATA_CR,
  DATA_LF,
  TRAILER,
  TRAILER_NAME,
  TRAILER_VALUE,
  TRAILER_LF,
  END_LF,
  ENDED,
};

static bool is_token(uint8_t byte) {
  if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') return true;
  if (byte >= '0' && byte <= '9') return true;
  return byte != 0 && strchr("!#$%&'*+-.^_`|~", byte) != NULL;
}

// Also qdtext and quoted-pair of RFC 9110 section 5.6.4, once the quote and the backslash are taken out.
static bool is_text(uint8_t byte) {
  return byte == '\t' || (byte >= ' ' && byte != 0x7f);
}

static int32_t size_ends(struct http_chunked *chunked, uint64_t max_body_bytes, uint8_t next) {
  const uint64_t most = max_body_bytes != 0 ? max_body_bytes : INT64_MAX;
  if (chunked->digits == 0) return -MR_BAD_CHUNK_SIZE;
  if (chunked->left > most - chunked->body_bytes) return -MR_BODY_TOO_LARGE;
  chunked->body_bytes += chunked->left;
  chunked->state = next;
  chunked->line_bytes = next == EXT_BEFORE_NAME;
  chunked->extra_bytes = (uint16_t)(chunked->extra_bytes + chunked->line_bytes);
  chunked->digits = 0;
  return chunked->extra_bytes > EXTENSIONS_MAX ? -MR_BAD_CHUNK_EXTENSION : 0;
}

static int32_t size_byte(struct http_chunked *chunked, uint64_t max_body_bytes, uint8_t byte) {
  uint32_t value = 0;
  if (byte >= '0' && byte <= '9') {
    value = (uint32_t)byte - '0';
  } else if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f') {
    value = (uint32_t)(byte | 0x20) - 'a' + 10;
  } else if (byte == '\r') {
    return size_ends(chunked, max_body_bytes, SIZE_LF);
  } else if (byte == ';') {
    return size_ends(chunked, max_body_bytes, EXT_BEFORE_NAME);
  } else {
    return byte == '\n' ? -MR_BARE_LF : -MR_BAD_CHUNK_SIZE;
  }
  if (chunked->digits == DIGITS_MAX) return -MR_BAD_CHUNK_SIZE;
  chunked->digits++;
  chunked->left = chunked->left << 4 | value;
  return 0;
}

// chunk-ext of RFC 9112 section 7.1.1, without the whitespace that no sender may produce. Returns the state
// after the byte or -mr_violation.
static int32_t extension_byte(uint8_t state, uint8_t byte) {
  if (byte == '\n') return -MR_BARE_LF;
  switch (state) {
    case EXT_BEFORE_NAME:
      return is_token(byte) ? EXT_NAME : -MR_BAD_CHUNK_EXTENSION;
    case EXT_BEFORE_VALUE:
      if (byte == '"') return EXT_QUOTED;
      return is_token(byte) ? EXT_VALUE : -MR_BAD_CHUNK_EXTENSION;
    case EXT_QUOTED:
      if (byte == '"') return EXT_AFTER_QUOTED;
      if (byte == '\\') return EXT_ESCAPED;
      return is_text(byte) ? EXT_QUOTED : -MR_BAD_CHUNK_EXTENSION;
    case EXT_ESCAPED:
      return is_text(byte) ? EXT_QUOTED : -MR_BAD_CHUNK_EXTENSION;
    default:
      break;
  }
  if (byte == ';') return EXT_BEFORE_NAME;
  if (byte == '\r') return SIZE_LF;
  if (state == EXT_NAME && byte == '=') return EXT_BEFORE_VALUE;
  if (state == EXT_AFTER_QUOTED) return -MR_BAD_CHUNK_EXTENSION;
  return is_token(byte) ? state : -MR_BAD_CHUNK_EXTENSION;
}

// The field lines behind the last chunk (RFC 9112 section 7.1.2): checked like those of the head, and handed
// on apart from it, because no field that comes this late may change what the request means. Returns like
// extension_byte.
static int32_t trailer_byte(struct http_chunked *chunked, uint8_t byte) {
  switch (chunked->state) {
    case TRAILER:
      if (byte == '\r') return END_LF;
      if (byte == '\n') return -MR_BARE_LF;
      if (!is_token(byte) || chunked->trailer_lines == TRAILER_LINES_MAX) return -MR_BAD_TRAILER;
      chunked->trailer_lines++;
      return TRAILER_NAME;
    case TRAILER_NAME:
      if (byte == ':') return TRAILER_VALUE;
      if (byte == '\n') return -MR_BARE_LF;
      return is_token(byte) ? TRAILER_NAME : -MR_BAD_TRAILER;
    case TRAILER_VALUE:
      if (byte == '\r') return TRAILER_LF;
      if (byte == '\n') return -MR_BARE_LF;
      return is_text(byte) ? TRAILER_VALUE : -MR_BAD_TRAILER;
    case TRAILER_LF:
      return byte == '\n' ? TRAILER : -MR_BAD_TRAILER;
    default:
      return byte == '\n' ? ENDED : -MR_BAD_TRAILER;
  }
}

// Takes one byte that is not data. Returns 0 or -mr_violation.
static int32_t line_byte(struct http_chunked *chunked, uint64_t max_body_bytes, uint8_t byte) {
  int32_t next = 0;
  switch (chunked->state) {
    case SIZE:
      return size_byte(chunked, max_body_bytes, byte);
    case SIZE_LF:
      if (byte != '\n') return -MR_BAD_CHUNK_SIZE;
      chunked->state = chunked->left > 0 ? DATA : TRAILER;
      if (chunked->left == 0) chunked->extra_bytes = 0;  // the trailers have a limit of their own
      return 0;
    case DATA_CR:
      chunked->state = DATA_LF;
      return byte == '\r' ? 0 : -MR_BAD_CHUNK_END;
    case DATA_LF:
      chunked->state = SIZE;
      return byte == '\n' ? 0 : -MR_BAD_CHUNK_END;
    case TRAILER:
    case TRAILER_NAME:
    case TRAILER_VALUE:
    case TRAILER_LF:
    case END_LF:
      next = trailer_byte(chunked, byte);
      if (next > 0 && next != END_LF && next != ENDED && ++chunked->extra_bytes > TRAILERS_MAX) {
        return -MR_BAD_TRAILER;
      }
      break;
    default:
      next = extension_byte(chunked->state, byte);
      if (next > 0 && next != SIZE_LF &&
          (++chunked->line_bytes > LINE_MAX || ++chunked->extra_bytes > EXTENSIONS_MAX)) {
        return -MR_BAD_CHUNK_EXTENSION;
      }
      break;
  }
  if (next < 0) return next;
  chunked->state = (uint8_t)next;
  return 0;
}

// Whether the byte belongs to a field line of the trailer section, and not to the empty line behind it.
static bool in_trailer(const struct http_chunked *chunked, uint8_t byte) {
  return chunked->state == TRAILER ? byte != '\r' : chunked->state > TRAILER && chunked->state < END_LF;
}

static int32_t trailer_piece(struct http_chunked *chunked, const uint8_t *bytes, uint32_t at, uint32_t length,
                             struct http_piece *piece) {
  piece->start = at;
  piece->trailer = true;
  for (; at < length && in_trailer(chunked, bytes[at]); at++) {
    const int32_t verdict = line_byte(chunked, 0, bytes[at]);
    if (verdict < 0) return verdict;
  }
  piece->length = at - piece->start;
  return (int32_t)at;
}

int32_t http_chunked_next(struct http_chunked *chunked, const uint8_t *bytes, uint32_t length,
                          uint64_t max_body_bytes, struct http_piece *piece) {
  uint32_t at = 0;
  piece->start = 0;
  piece->length = 0;
  piece->last = chunked->state == ENDED;
  piece->trailer = false;
  while (at < length && chunked->state != ENDED) {
    if (chunked->state == DATA) {
      const uint32_t room = length - at;
      piece->start = at;
      piece->length = chunked->left < room ? (uint32_t)chunked->left : room;
      chunked->left -= piece->length;
      if (chunked->left == 0) chunked->state = DATA_CR;
      return (int32_t)(at + piece->length);
    }
    if (in_trailer(chunked, bytes[at])) return trailer_piece(chunked, bytes, at, length, piece);
    const int32_t verdict = line_byte(chunked, max_body_bytes, bytes[at]);
    if (verdict < 0) return verdict;
    at++;
    piece->last = chunked->state == ENDED;
  }
  return (int32_t)at;
}
