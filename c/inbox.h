// SPDX-License-Identifier: Apache-2.0
// inbox.h - the records that mr_poll hands to JavaScript; written by the protocols and by conn.c.
#ifndef MR_INBOX_H
#define MR_INBOX_H

#include <string.h>

#include "reactor.h"

// Room for bytes. What is beyond belongs to the records of connections' lives.
static inline bool inbox_has_room(const struct mr_reactor *r) {
  return r->records < r->records_data && r->heads_used <= HEADS_BYTES - MR_BLOCK_BYTES;
}

static inline bool inbox_is_full(const struct mr_reactor *r) {
  return r->records == r->control->records_capacity;
}

// Adds a record without bytes.
static inline struct mr_record *inbox_push(struct mr_reactor *r, const struct conn *c, uint8_t kind) {
  struct mr_record *record = &r->arena->records[r->records++];
  *record = (struct mr_record){.handle = c->handle, .kind = kind, .block = NO_BLOCK};
  return record;
}

// Adds a record of a request head, whose bytes are copied.
static inline struct mr_record *inbox_push_head(struct mr_reactor *r, const struct conn *c,
                                                const uint8_t *bytes, uint32_t length) {
  struct mr_record *record = inbox_push(r, c, MR_HEAD);
  record->start = r->heads_used;
  record->length = length;
  memcpy(r->arena->heads + r->heads_used, bytes, length);
  r->heads_used += length;
  return record;
}

// Adds a record that names bytes of a block, which then lives until the next turn.
static inline struct mr_record *inbox_push_bytes(struct mr_reactor *r, const struct conn *c, uint8_t kind,
                                                 uint32_t block, uint32_t start, uint32_t length) {
  struct mr_record *record = inbox_push(r, c, kind);
  record->block = block;
  record->start = start;
  record->length = length;
  block_borrow(r->arena, block, r->turn);
  return record;
}

// The same for bytes that the application is shown: it can see all of their block through `.buffer`.
static inline struct mr_record *inbox_push_shown(struct mr_reactor *r, const struct conn *c, uint8_t kind,
                                                 uint32_t block, uint32_t start, uint32_t length) {
  if (r->arena->blocks[block].refs == 1) block_clean(r->arena, block);
  return inbox_push_bytes(r, c, kind, block, start, length);
}

#endif
