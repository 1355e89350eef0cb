// SPDX-License-Identifier: Apache-2.0
// outbox.c - the commands that JavaScript staged, carried out in order; called by reactor.c.
//
// Commands are JavaScript's memory: every field is checked here and nothing in it is trusted.
#include "outbox.h"

#include <string.h>

#include "backend.h"
#include "conn.h"
#include "conn_queue.h"

static void run_send(struct mr_reactor *r, struct conn *c, const struct mr_command *command) {
  uint32_t capacity = r->control->outbox_bytes;
  if (command->offset > capacity || command->length > capacity - command->offset) return;
  row_of(r, c)->staged = 0;
  conn_stage(r, c, command->offset, command->length);
  if (command->count > 0 && c->life == LIFE_OPEN) http_responded(r, c, command->count);
}

static void run_websocket(struct mr_reactor *r, struct conn *c, uint32_t max_message_bytes) {
  if (c->protocol != PROTOCOL_HTTP || !c->held || c->phase != PHASE_IDLE) return;
  c->protocol = PROTOCOL_WEBSOCKET;
  c->held = false;
  c->requests = 0;
  memset(&c->ws, 0, sizeof(c->ws));
  c->ws.max_message_bytes = max_message_bytes;
  conn_deadline(r, c, ws_patience(c->idle_ms));
  ready_push(r, c);
}

static void run_decline(struct mr_reactor *r, struct conn *c) {
  if (!c->held) return;
  if (c->phase == PHASE_IDLE && !c->keep_alive) c->deaf = true;
  c->held = false;
  ready_push(r, c);
}

static void run_idle(struct mr_reactor *r, struct conn *c, uint32_t ms) {
  c->idle_ms = ms;
  if (c->protocol == PROTOCOL_WEBSOCKET) conn_deadline(r, c, ws_patience(ms));
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
      c->paused = true;
      r->backend->receive(r, c);
      break;
    case MR_CMD_RESUME:
      c->paused = false;
      ready_push(r, c);
      break;
    case MR_CMD_DECLINE:
      run_decline(r, c);
      break;
    case MR_CMD_WEBSOCKET:
      run_websocket(r, c, command->offset);
      break;
    case MR_CMD_IDLE:
      run_idle(r, c, command->offset);
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
    if (c == NULL) continue;
    bool forced = c->life == LIFE_FINISHING && command.op == MR_CMD_TERMINATE;
    if (c->life == LIFE_OPEN || forced) run(r, c, &command);
  }
}
