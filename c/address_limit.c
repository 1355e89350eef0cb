// SPDX-License-Identifier: Apache-2.0
// address_limit.c - counts connections by the address of their peer, in a table with linear probing; called
// by listener.c, conn.c, crew.c and reactor.c.
#include "address_limit.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "sys.h"

// No address of IPv6 begins with 0:1 (RFC 4291 section 2.4): behind it there is room for those of IPv4.
#define IPV4 (UINT64_C(1) << 32)

struct entry {
  uint64_t key;
  uint32_t count;  // 0: nobody's
};

struct address_limit {
  pthread_mutex_t lock;
  uint64_t factor;  // of the hash, which peers shall not know
  uint32_t most;
  uint32_t bits;
  uint32_t mask;
  struct entry entries[];
};

struct address_limit *address_limit_open(uint32_t connections, uint32_t most) {
  // At least half of the entries are nobody's, which ends every search.
  uint32_t bits = 1;
  while (bits < 31 && (UINT32_C(1) << bits) < 2 * (uint64_t)connections) bits++;
  struct address_limit *limit = sys_allocate(1, sizeof(*limit) + (sizeof(struct entry) << bits));
  if (limit == NULL) return NULL;
  // Where there is nothing random yet, the address of the table has to do.
  if (getrandom(&limit->factor, sizeof(limit->factor), GRND_NONBLOCK) < 0)
    limit->factor = (uintptr_t)limit * UINT64_C(0x9e3779b97f4a7c15);
  limit->factor |= 1;
  limit->most = most;
  limit->bits = bits;
  limit->mask = (UINT32_C(1) << bits) - 1;
  pthread_mutex_init(&limit->lock, NULL);
  return limit;
}

void address_limit_close(struct address_limit *limit) {
  if (limit == NULL) return;
  pthread_mutex_destroy(&limit->lock);
  free(limit);
}

bool address_limit_key(int fd, uint64_t *key) {
  struct sockaddr_storage address;
  socklen_t length = sizeof(address);
  if (getpeername(fd, (struct sockaddr *)&address, &length) != 0) return false;
  if (address.ss_family == AF_INET) {
    *key = IPV4 | ntohl(((const struct sockaddr_in *)&address)->sin_addr.s_addr);
    return true;
  }
  if (address.ss_family != AF_INET6) return false;
  const uint8_t *bytes = ((const struct sockaddr_in6 *)&address)->sin6_addr.s6_addr;
  bool mapped = IN6_IS_ADDR_V4MAPPED(&((const struct sockaddr_in6 *)&address)->sin6_addr);
  uint64_t found = 0;
  for (int i = mapped ? 12 : 0; i < (mapped ? 16 : 8); i++) found = found << 8 | bytes[i];
  *key = mapped ? IPV4 | found : found;
  return true;
}

static uint32_t home_of(const struct address_limit *limit, uint64_t key) {
  return (uint32_t)((key * limit->factor) >> (64 - limit->bits));
}

// Where the key is, or would be.
static uint32_t find(const struct address_limit *limit, uint64_t key) {
  uint32_t at = home_of(limit, key);
  while (limit->entries[at].count > 0 && limit->entries[at].key != key) at = (at + 1) & limit->mask;
  return at;
}

// An entry becomes nobody's: those behind it that were put there for want of room move up.
static void empty(struct address_limit *limit, uint32_t hole) {
  struct entry *entries = limit->entries;
  for (uint32_t at = (hole + 1) & limit->mask; entries[at].count > 0; at = (at + 1) & limit->mask) {
    uint32_t home = home_of(limit, entries[at].key);
    if (((at - home) & limit->mask) < ((at - hole) & limit->mask)) continue;
    entries[hole] = entries[at];
    hole = at;
  }
  entries[hole] = (struct entry){0};
}

bool address_limit_admit(struct address_limit *limit, uint64_t key) {
  pthread_mutex_lock(&limit->lock);
  struct entry *entry = &limit->entries[find(limit, key)];
  bool admitted = entry->count < limit->most;
  if (admitted) *entry = (struct entry){.key = key, .count = entry->count + 1};
  pthread_mutex_unlock(&limit->lock);
  return admitted;
}

void address_limit_release(struct address_limit *limit, uint64_t key) {
  pthread_mutex_lock(&limit->lock);
  uint32_t at = find(limit, key);
  if (--limit->entries[at].count == 0) empty(limit, at);
  pthread_mutex_unlock(&limit->lock);
}
