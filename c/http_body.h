// SPDX-License-Identifier: Apache-2.0
// http_body.h - decodes chunked request bodies (RFC 9112 section 7.1); called by conn_http.c.
#ifndef MR_HTTP_BODY_H
#define MR_HTTP_BODY_H

#include <stdbool.h>

#include "layout.h"

struct http_chunked {    // all zero at the start of a body
  uint64_t left;         // bytes of the current chunk still to come
  uint64_t body_bytes;   // declared by all chunk sizes so far
  uint16_t line_bytes;   // bytes of the extensions of the current size line
  uint16_t extra_bytes;  // extension and trailer bytes of the whole message
  uint8_t state;
  uint8_t digits;
  uint8_t trailer_lines;
  uint8_t reserved;
};

struct http_piece {
  uint32_t start;   // first byte, relative to the bytes given
  uint32_t length;  // 0: no bytes in this step
  bool last;        // the body, trailers included, ended here
  bool trailer;     // the bytes are of the trailer section: whole field lines once all its pieces are joined
};

// Consumes bytes up to and including the next piece, or all of them. Returns the number consumed
// (which may be the whole input without any piece) or -mr_violation. max_body_bytes 0: no limit.
int32_t http_chunked_next(struct http_chunked *chunked, const uint8_t *bytes, uint32_t length,
                          uint64_t max_body_bytes, struct http_piece *piece);

#endif
