// SPDX-License-Identifier: Apache-2.0
// ws_deflate.h - permessage-deflate (RFC 7692) by zlib: contexts, their memory, deflating and inflating;
// called by conn_ws.c, conn_input.c and reactor.c.
//
// A connection has contexts of its own only where one message may refer to another. All others borrow: an
// inflater while a message is coming, a deflater for the time of a call.
#ifndef MR_WS_DEFLATE_H
#define MR_WS_DEFLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"
#include "limits.h"

struct mr_reactor;
struct conn;
struct inflater;
struct deflater;

// What the connections of a reactor share.
struct ws_contexts {
  struct inflater *idle;  // inflaters that nobody uses
  uint32_t idle_count;
  struct deflater *shared[DEFLATERS_SHARED_MAX];  // the one used last is the first
  uint32_t block;                                 // what was inflated last went to this block,
  uint32_t turn;                                  // in this turn,
  uint32_t handle;                                // and came from this connection
};

// A piece of a frame that is being inflated. Its bytes stay where they are until that is done.
struct ws_piece {
  uint32_t bytes;   // header and payload; 0: there is no piece
  uint32_t start;   // of the payload
  uint32_t length;  // of the payload
  uint32_t fed;     // how many of those zlib has
  uint8_t tail;     // how many bytes of the end that the sender has left out zlib has
  bool first;
  bool last;
};

// What a connection has agreed on, and its state.
struct ws_deflate {
  struct mr_deflate_options options;
  struct inflater *inflater;  // its own, or borrowed while a message is coming
  struct deflater *deflater;  // its own
  uint64_t reserved;          // kept of deflate_bytes for contexts of its own
  uint64_t received;          // payload bytes of the current message that zlib has
  uint64_t inflated;          // bytes that it has made of them
  struct ws_piece piece;
};

enum inflate_verdict { INFLATE_MORE, INFLATE_DONE, INFLATE_BAD };

// Sees that the connection has an inflater. False: there is no memory.
bool ws_inflate_begin(struct mr_reactor *r, struct ws_deflate *d);

// Goes on with the piece, whose payload is given, and writes at most room bytes to out. DONE: the piece has
// nothing more; MORE: out is full. Sets *length to what was written.
enum inflate_verdict ws_inflate(struct ws_deflate *d, const uint8_t *payload, uint8_t *out, uint32_t room,
                                uint32_t *length);

// The message has ended.
void ws_inflate_end(struct mr_reactor *r, struct ws_deflate *d);

// Gives up all that the connection has: from here on it deflates and inflates nothing.
void ws_deflate_drop(struct mr_reactor *r, struct conn *c);

// Gives up what connections share.
void ws_contexts_close(struct mr_reactor *r);

#endif
