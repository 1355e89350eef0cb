// SPDX-License-Identifier: Apache-2.0
// ws_frame.h - tokenises WebSocket frames (RFC 6455 section 5); called by conn_ws.c.
#ifndef MR_WS_FRAME_H
#define MR_WS_FRAME_H

#include <stdbool.h>

#include "layout.h"

struct ws_frames {         // all zero at the start of a connection
  uint64_t left;           // payload bytes of the current data frame still to come
  uint64_t frame_bytes;    // payload length of the current data frame
  uint64_t message_bytes;  // declared by the frames of the current message so far
  uint32_t fragments;      // frames of the current message so far
  uint32_t utf8;           // state of utf8_check over the current text message
  uint8_t mask[4];         // rotated so that mask[0] applies to the next payload byte
  bool in_frame;           // left more payload bytes belong to the current frame
  bool in_message;         // a data frame without FIN came, or the current frame is unfinished
  bool fin;                // the current frame ends its message
  bool text;               // the current message is text
  bool first;              // no piece of the current message has been given out
  bool deflate;            // permessage-deflate was agreed on: RSV1 may mark a message (RFC 7692 section 6)
  bool compressed;         // the current message is marked; its text is for others to check
  bool of_server;          // the frames are those of a server, which never masks them
};

struct ws_limits {
  uint64_t max_message_bytes;
  uint32_t max_fragments;
};

struct ws_event {
  uint8_t kind;    // MR_MESSAGE, MR_PING, MR_PONG or MR_CLOSE
  uint8_t flags;   // mr_piece_flag
  uint16_t code;   // close code, 1005 when the frame has none
  uint32_t start;  // first payload byte (after the code of a close frame), relative to the bytes given
  uint32_t length;
  uint64_t total;  // payload length of the frame
};

// Consumes the next piece and unmasks it in place. A message is given out piece by piece as its bytes come;
// a control frame only when it is whole. Returns the number of bytes consumed and fills event, 0 when bytes
// are missing (never with more than 14 + 125 bytes at hand), or -mr_violation.
int32_t ws_frame_next(struct ws_frames *frames, uint8_t *bytes, uint32_t length,
                      const struct ws_limits *limits, struct ws_event *event);

// Masks or unmasks length bytes in place.
void ws_mask(uint8_t *bytes, uint32_t length, const uint8_t mask[4]);

// Unmasks length bytes in place and rotates mask for the byte that follows.
void ws_unmask(uint8_t *bytes, uint32_t length, uint8_t mask[4]);

// Close code that answers a violation: 1002, 1007, 1008 or 1009.
uint16_t ws_violation_code(enum mr_violation violation);

#endif
