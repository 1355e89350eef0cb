// SPDX-License-Identifier: Apache-2.0
// uring_tag.h - what io_uring's user_data says: the operation above, a handle or listener below; used by
// uring.c.
#ifndef MR_URING_TAG_H
#define MR_URING_TAG_H

#include <stdint.h>

enum uring_op {
  URING_ACCEPT = 1,
  URING_RECV,
  URING_READABLE,
  URING_SEND,
  URING_CANCEL,
  URING_WATCH,
  URING_TIMER,
  URING_ROOM,
  URING_OTHER
};

static inline uint64_t uring_tag(enum uring_op op, uint32_t id) {
  return (uint64_t)op << 56 | id;
}

static inline enum uring_op uring_tag_op(uint64_t tag) {
  return (enum uring_op)(tag >> 56);
}

static inline uint32_t uring_tag_id(uint64_t tag) {
  return (uint32_t)tag;
}

#endif
