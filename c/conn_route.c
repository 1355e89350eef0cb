// SPDX-License-Identifier: Apache-2.0
// conn_route.c - answers requests from the table of routes, without JavaScript; called by conn_http.c.
//
// Only where the answer is the one that was prepared, and it is this request's turn. Everything else is told
// to JavaScript with the number of the route.
#include <string.h>
#include <time.h>

#include "conn.h"
#include "http_date.h"
#include "inbox.h"
#include "sys.h"

// The names of RFC 9110 section 13.1 all begin with this.
static bool has_condition(const uint8_t *bytes, const struct http_head *head) {
  for (uint32_t i = 0; i < head->field_count; i++) {
    const struct http_field *field = &head->fields[i];
    if (field->name_length > 3 && memcmp(bytes + field->name, "if-", 3) == 0) return true;
  }
  return false;
}

// Whether a response may go out before JavaScript has heard of the request, and with no other than its own
// fields.
static bool answerable(const struct mr_reactor *r, const struct conn *c, const struct route *route,
                       const uint8_t *bytes, const struct http_head *head) {
  // Without a body, an upgrade, an expectation or a host that is to be looked at; and the connection goes on.
  if ((head->flags & ~MR_NON_ASCII) != MR_KEEP_ALIVE) return false;
  if (route->head_length == 0 || r->routes.closing) return false;
  // Its turn, and all that was sent before has been taken: whom to wait for is decided in one place.
  if (c->requests > 0 || c->filing || c->out_head != NO_BLOCK || c->ended) return false;
  const uint64_t most = r->options->max_requests;
  if (most != 0 && c->heads >= most) return false;
  if ((route->flags & MR_ROUTE_CONDITIONAL) != 0 && has_condition(bytes, head)) return false;
  return REPLIES_BYTES - r->replies_used >= route->head_length + route->body_length;
}

static void set_date(struct mr_reactor *r, struct route *route) {
  if (r->routes.turn != r->turn) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    r->routes.now = now.tv_sec;
    r->routes.turn = r->turn;
  }
  if (route->date == 0 || route->dated == r->routes.now) return;
  route->dated = r->routes.now;
  http_date(route->dated, (char *)route->head + route->date);
}

// One record for answers that follow one another.
static void tell(struct mr_reactor *r, const struct conn *c) {
  struct mr_record *last = r->records == 0 ? NULL : &r->arena->records[r->records - 1];
  if (last == NULL || last->handle != c->handle || last->kind != MR_ROUTED) {
    last = inbox_push(r, c, MR_ROUTED);
  }
  last->aux++;
}

static void answer(struct mr_reactor *r, struct conn *c, struct route *route, bool head_only) {
  set_date(r, route);
  const uint32_t length = route->head_length + (head_only ? 0 : route->body_length);
  uint8_t *reply = r->arena->replies + r->replies_used;
  memcpy(reply, route->head, length);
  r->replies_used += length;
  // Replies lie behind the outbox, in the same memory, and are done with when the turn is.
  conn_stage(r, c, (uint32_t)(reply - r->arena->outbox), length);
  conn_spend(c, length);
  tell(r, c);
}

bool conn_routed(struct mr_reactor *r, struct conn *c, const uint8_t *bytes, const struct http_head *head,
                 uint16_t *number) {
  *number = (uint16_t)routes_find(&r->routes, bytes, head);
  if (*number == 0) return false;
  struct route *route = &r->routes.all[*number - 1];
  if (!answerable(r, c, route, bytes, head)) return false;
  answer(r, c, route, head->method_length == 4);
  return true;
}
