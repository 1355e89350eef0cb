// SPDX-License-Identifier: Apache-2.0
// outbox.c - the commands that JavaScript staged, carried out in order; called by reactor.c.
//
// Commands are JavaScript's memory: every field is checked here and nothing in it is trusted.
#include "outbox.h"

#include <string.h>

#include "backend.h"
#include "conn.h"
#include "conn_queue.h"
#include "file.h"
#include "sys.h"

static void run_send(struct mr_reactor *r, struct conn *c, const struct mr_command *command) {
  uint32_t capacity = r->control->outbox_bytes;
  if (command->offset > capacity || command->length > capacity - command->offset) return;
  row_of(r, c)->staged = 0;
  conn_stage(r, c, command->offset, command->length);
  if (command->count > 0 && c->life == LIFE_OPEN) http_responded(r, c, command->count);
}

// The range of an MR_CMD_FILE. False when there is none, and so no descriptor.
static bool file_range(const struct mr_reactor *r, const struct mr_command *command,
                       struct mr_file_range *range) {
  uint32_t capacity = r->control->outbox_bytes;
  if (command->offset > capacity || sizeof(*range) > capacity - command->offset) return false;
  memcpy(range, r->arena->outbox + command->offset, sizeof(*range));
  return true;
}

// A short range is read to where JavaScript left room for it, so that it leaves in one send with its head.
static void run_short_file(struct mr_reactor *r, struct conn *c, const struct mr_command *command,
                           const struct mr_file_range *range) {
  uint32_t at = command->offset - command->length;
  int32_t rc = file_read_whole((int)range->fd, r->arena->outbox + at, command->length, range->start);
  close((int)range->fd);
  if (rc < 0) {
    conn_reset(r, c, (uint16_t)-rc);
    return;
  }
  const struct mr_command send = {.offset = at, .length = command->length, .count = command->count};
  run_send(r, c, &send);
}

static void run_file(struct mr_reactor *r, struct conn *c, const struct mr_command *command) {
  struct mr_file_range range;
  if (!file_range(r, command, &range)) return;
  bool open = c != NULL && c->life == LIFE_OPEN;
  if (!open) {
    close((int)range.fd);
  } else if (command->length == 0) {
    conn_file(r, c, &range, command->count);
  } else if (command->length <= command->offset && command->length == range.length) {
    run_short_file(r, c, command, &range);
  } else {
    close((int)range.fd);
    conn_reset(r, c, EINVAL);
  }
}

// What came behind the head is the first that the new protocol sees.
static bool run_upgrade(struct mr_reactor *r, struct conn *c, enum protocol protocol) {
  if (!conn_in_http(c) || !c->held || c->phase != PHASE_IDLE) return false;
  c->protocol = (uint8_t)protocol;
  c->held = false;
  c->requests = 0;
  c->end_told = false;          // the request heard of it, the new protocol has to as well
  c->notify = c->sent = false;  // nobody waits for the answers any more; the new protocol asks anew
  conn_timeouts(r, c, NULL);
  conn_deadline(r, c, conn_patience(c));
  ready_push(r, c);
  return true;
}

static void run_websocket(struct mr_reactor *r, struct conn *c, const struct mr_command *command) {
  bool of_server = c->protocol == PROTOCOL_RESPONSE;
  if (!run_upgrade(r, c, PROTOCOL_WEBSOCKET)) return;
  memset(&c->ws, 0, sizeof(c->ws));
  c->ws.max_message_bytes = command->offset;
  c->ws.max_fragments = command->length > 0 ? command->length : r->options->max_fragments;
  c->ws.frames.deflate = c->deflate != NULL;
  c->ws.frames.of_server = of_server;
}

static void run_timeouts(struct mr_reactor *r, struct conn *c, const struct mr_command *command) {
  uint32_t capacity = r->control->outbox_bytes;
  struct mr_timeouts timeouts;
  if (command->length == 0) {
    conn_timeouts(r, c, NULL);
  } else if (command->length == sizeof(timeouts) && command->offset <= capacity - sizeof(timeouts)) {
    memcpy(&timeouts, r->arena->outbox + command->offset, sizeof(timeouts));
    conn_timeouts(r, c, &timeouts);
  }
}

static void run_pause(struct mr_reactor *r, struct conn *c) {
  if (c->protocol == PROTOCOL_HTTP) http_paused(r, c);
  c->paused = true;
  r->backend->receive(r, c);
}

static void run_resume(struct mr_reactor *r, struct conn *c) {
  if (c->protocol == PROTOCOL_HTTP) http_resumed(r, c);
  // The peer of a stream was not listened to: its time begins anew.
  if (c->protocol == PROTOCOL_STREAM && c->idle_ms != 0 && !c->connecting) conn_deadline(r, c, c->idle_ms);
  c->paused = false;
  ready_push(r, c);
}

static void run_decline(struct mr_reactor *r, struct conn *c) {
  if (!c->held) return;
  if (c->protocol == PROTOCOL_HTTP && c->phase == PHASE_IDLE && !c->keep_alive) c->deaf = true;
  c->held = false;
  ready_push(r, c);
}

static void run_idle(struct mr_reactor *r, struct conn *c, uint32_t ms, bool tell) {
  c->idle_ms = ms;
  c->tell_quiet = tell;
  if (!conn_in_http(c) && !c->connecting) conn_deadline(r, c, conn_patience(c));
}

static void run(struct mr_reactor *r, struct conn *c, const struct mr_command *command) {
  switch (command->op) {
    case MR_CMD_SEND:
      run_send(r, c, command);
      break;
    case MR_CMD_FINISH:
      conn_finish(r, c);
      break;
    case MR_CMD_TERMINATE:
      conn_reset(r, c, 0);
      break;
    case MR_CMD_PAUSE:
      run_pause(r, c);
      break;
    case MR_CMD_RESUME:
      run_resume(r, c);
      break;
    case MR_CMD_TIMEOUTS:
      run_timeouts(r, c, command);
      break;
    case MR_CMD_DECLINE:
      run_decline(r, c);
      break;
    case MR_CMD_WEBSOCKET:
      run_websocket(r, c, command);
      break;
    case MR_CMD_STREAM:
      run_upgrade(r, c, PROTOCOL_STREAM);
      break;
    case MR_CMD_END:
      conn_end(r, c);
      break;
    case MR_CMD_NOTIFY:
      conn_notify(r, c);
      break;
    case MR_CMD_IDLE:
      run_idle(r, c, command->offset, command->length == 1);
      break;
    case MR_CMD_DEADLINE:
      c->idle_ms = 0;
      conn_deadline(r, c, command->offset);
      break;
    default:
      break;
  }
}

void outbox_run(struct mr_reactor *r, uint32_t count) {
  if (count > r->control->commands_capacity) count = r->control->commands_capacity;
  for (uint32_t i = 0; i < count; i++) {
    const struct mr_command command = r->arena->commands[i];
    struct conn *c = conn_find(r, command.handle);
    if (command.op == MR_CMD_FILE) run_file(r, c, &command);  // takes its file even from a dead connection
    if (c == NULL) continue;
    bool late = command.op == MR_CMD_TERMINATE || command.op == MR_CMD_NOTIFY;
    if (c->life == LIFE_OPEN || (c->life == LIFE_FINISHING && late)) run(r, c, &command);
  }
}
