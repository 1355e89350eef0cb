// SPDX-License-Identifier: Apache-2.0
// floor.h - what the two files of the C floor share.
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"
#include "millrace.h"

struct message {  // a WebSocket message that came in more than one piece
  uint8_t *bytes;
  size_t length;
  size_t capacity;
};

struct floor {
  mr_reactor *reactor;
  struct mr_control *control;
  const struct mr_record *records;
  struct mr_command *commands;
  const uint8_t *heads;
  const uint8_t *blocks;
  uint8_t *outbox;
  uint32_t staged;           // commands
  uint32_t outbox_used;      // bytes
  struct message *messages;  // one for each slot
  int wake;
  bool plain;  // no HTTP: bytes go back as they came
  uint64_t date_second;
  size_t reply_bytes;
  char reply[256];
};

// floor.c: hands over all that is staged when there is no room for length bytes more, and returns the place
// where they go; length is at most a quarter of the outbox.
uint8_t *floor_reserve(struct floor *floor, uint32_t length);
void floor_stage(struct floor *floor, uint32_t handle, uint32_t length, uint16_t responses);
void floor_command(struct floor *floor, uint32_t handle, enum mr_command_op op, uint32_t offset);

// floor_ws.c
void floor_upgrade(struct floor *floor, uint32_t handle, const char *head, uint32_t length);
void floor_message(struct floor *floor, const struct mr_record *record, const uint8_t *bytes);
void floor_control(struct floor *floor, uint32_t handle, uint8_t opcode, const uint8_t *bytes,
                   uint32_t length);
void floor_forget(struct floor *floor, uint32_t handle);

#endif
