// SPDX-License-Identifier: Apache-2.0
// routes.h - responses that are known beforehand, by their paths; filled by millrace.h, called by
// conn_route.c.
#ifndef MR_ROUTES_H
#define MR_ROUTES_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "http_head.h"

struct route {
  uint8_t *path;
  uint32_t path_length;
  uint8_t *head;         // the body lies behind it
  uint32_t head_length;  // 0: JavaScript answers
  uint32_t body_length;
  uint32_t date;  // where in the head the value of Date is; 0 = nowhere
  uint32_t flags;
  time_t dated;  // second that the head tells
};

struct routes {
  struct route *all;  // in the order in which they were added
  uint32_t count;
  bool closing;      // each response may be the last of its connection, which is JavaScript's to say
  uint16_t *places;  // hash table: number of a route, 0 = free
  uint32_t mask;
  time_t now;  // of the turn below
  uint32_t turn;
};

// The number of the route that a request asks for, from 1 on; 0 for none. Paths are compared byte for byte.
uint32_t routes_find(const struct routes *routes, const uint8_t *bytes, const struct http_head *head);

void routes_close(struct routes *routes);

#endif
