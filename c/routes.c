// SPDX-License-Identifier: Apache-2.0
// routes.c - responses that are known beforehand, by their paths; filled by millrace.h, called by
// conn_route.c.
#include "routes.h"

#include <string.h>

#include "http_date.h"
#include "reactor.h"
#include "sys.h"

enum { PLACES_MIN = 16 };

// FNV-1a. Who asks cannot fill the table, so that no secret has to go into it.
static uint32_t hash_of(const uint8_t *path, uint32_t length) {
  uint32_t hash = 2166136261u;
  for (uint32_t i = 0; i < length; i++) hash = (hash ^ path[i]) * 16777619u;
  return hash;
}

// Where a path is in the table, or would be.
static uint32_t place_of(const struct routes *routes, const uint8_t *path, uint32_t length) {
  uint32_t place = hash_of(path, length) & routes->mask;
  for (; routes->places[place] != 0; place = (place + 1) & routes->mask) {
    const struct route *route = &routes->all[routes->places[place] - 1];
    if (route->path_length == length && memcmp(route->path, path, length) == 0) break;
  }
  return place;
}

// Offset of the path within a target, which has been found valid; its length for one without any, whose path
// is "/".
static uint32_t path_start(const uint8_t *target, uint32_t length) {
  if (target[0] == '/') return 0;
  const uint8_t *at = memchr(target, '/', length);
  if (at == NULL) return length;
  for (at += 2; at < target + length && *at != '/' && *at != '?'; at++) {
  }
  return (uint32_t)(at - target);
}

uint32_t routes_find(const struct routes *routes, const uint8_t *bytes, const struct http_head *head) {
  const uint8_t *method = bytes + head->start;
  bool get = head->method_length == 3 && memcmp(method, "GET", 3) == 0;
  if (!get && !(head->method_length == 4 && memcmp(method, "HEAD", 4) == 0)) return 0;
  const uint8_t *target = bytes + head->target;
  uint32_t start = path_start(target, head->target_length);
  const uint8_t *path = target + start;
  const uint8_t *query = memchr(path, '?', head->target_length - start);
  uint32_t length = query == NULL ? head->target_length - start : (uint32_t)(query - path);
  if (length == 0) {
    path = (const uint8_t *)"/";
    length = 1;
  }
  return routes->places[place_of(routes, path, length)];
}

// Makes room for one more; at most half of the places are ever taken.
static int grow(struct routes *routes) {
  uint32_t size = routes->mask + 1;
  if (routes->all != NULL && 2 * (routes->count + 1) <= size) return 0;
  size = routes->all == NULL ? PLACES_MIN : 2 * size;
  uint16_t *places = sys_allocate(size, sizeof(*places));
  struct route *all = sys_allocate(size / 2, sizeof(*all));
  if (places == NULL || all == NULL) {
    free(places);
    free(all);
    return -ENOMEM;
  }
  if (routes->count > 0) memcpy(all, routes->all, routes->count * sizeof(*all));
  free(routes->all);
  free(routes->places);
  routes->all = all;
  routes->places = places;
  routes->mask = size - 1;
  for (uint32_t i = 0; i < routes->count; i++) {
    places[place_of(routes, all[i].path, all[i].path_length)] = (uint16_t)(i + 1);
  }
  return 0;
}

static bool is_valid(const struct mr_route_options *o, uint32_t length) {
  const uint64_t sum = (uint64_t)o->path_length + o->head_length + o->body_length;
  const bool dated =
      o->date == 0 || (o->head_length >= HTTP_DATE_BYTES && o->date <= o->head_length - HTTP_DATE_BYTES);
  return sum == length && o->path_length > 0 && sum - o->path_length <= MR_ROUTE_BYTES && dated &&
         (o->head_length > 0 || o->body_length == 0) && o->flags <= MR_ROUTE_CONDITIONAL;
}

int32_t mr_route(mr_reactor *r, const struct mr_route_options *options, const uint8_t *bytes,
                 uint32_t length) {
  struct routes *routes = &r->routes;
  if (options == NULL || bytes == NULL || !is_valid(options, length)) return -EINVAL;
  if (routes->count == MR_ROUTES_MAX) return -EDQUOT;
  int rc = grow(routes);
  if (rc != 0) return rc;
  uint32_t place = place_of(routes, bytes, options->path_length);
  if (routes->places[place] != 0) return -EEXIST;
  uint8_t *copy = sys_allocate(1, length);
  if (copy == NULL) return -ENOMEM;
  memcpy(copy, bytes, length);
  routes->all[routes->count] = (struct route){
      .path = copy,
      .path_length = options->path_length,
      .head = copy + options->path_length,
      .head_length = options->head_length,
      .body_length = options->body_length,
      .date = options->date,
      .flags = options->flags,
      .dated = -1,
  };
  routes->count++;
  routes->places[place] = (uint16_t)routes->count;
  return (int32_t)routes->count;
}

void routes_close(struct routes *routes) {
  for (uint32_t i = 0; i < routes->count; i++) free(routes->all[i].path);
  free(routes->all);
  free(routes->places);
  *routes = (struct routes){0};
}
