// SPDX-License-Identifier: Apache-2.0
// message.h - bytes that several threads share, counted by reference; used by mailbox.c.
#ifndef MR_MESSAGE_H
#define MR_MESSAGE_H

#include <stdint.h>

// Nobody writes to it once it is shared, but to its references.
struct message {
  _Atomic uint32_t refs;
  uint32_t length;
  uint32_t from;  // the mailbox of the sender
  uint32_t tag;
  uint8_t bytes[];
};

// A copy of the bytes with so many references, or NULL.
struct message *message_new(const uint8_t *bytes, uint32_t length, uint32_t refs);

// Drops some of the references; the thread that drops the last one frees it.
void message_release(struct message *message, uint32_t refs);

// What it counts for where memory is bounded.
static inline uint64_t message_size(const struct message *message) {
  return sizeof(*message) + message->length;
}

#endif
