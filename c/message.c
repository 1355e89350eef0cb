// SPDX-License-Identifier: Apache-2.0
// message.c - the life of message.h; called by mailbox.c.
#include "message.h"

#include <stdatomic.h>
#include <string.h>

#include "sys.h"

struct message *message_new(const uint8_t *bytes, uint32_t length, uint32_t refs) {
  struct message *message = sys_allocate_raw(sizeof(*message) + length);
  if (message == NULL) return NULL;
  atomic_init(&message->refs, refs);
  message->length = length;
  if (length > 0) memcpy(message->bytes, bytes, length);
  return message;
}

void message_release(struct message *message, uint32_t refs) {
  // What the others have read of it must lie before it is freed.
  if (atomic_fetch_sub_explicit(&message->refs, refs, memory_order_acq_rel) == refs) free(message);
}
