// SPDX-License-Identifier: Apache-2.0
// address_limit_test.c - connections counted by address: against a plain array, and what one address is.
#include "address_limit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

enum { KEYS = 40, CONNECTIONS = 64, MOST = 3, STEPS = 200000 };

// Few places for many keys: they meet each other all the time, also at the end of the table.
static bool run_table(void) {
  static const uint64_t strides[] = {1, UINT64_C(1) << 16, UINT64_C(1) << 32, UINT64_C(1) << 57};
  bool ok = true;
  uint64_t noise = 1;
  for (uint32_t s = 0; s < 4; s++) {
    struct address_limit *limit = address_limit_open(CONNECTIONS, MOST);
    uint32_t counts[KEYS] = {0}, total = 0;
    for (uint32_t step = 0; step < STEPS && ok; step++) {
      uint32_t at = (uint32_t)(t_random(&noise) % KEYS);
      uint64_t key = at * strides[s];
      if (total < CONNECTIONS && t_random(&noise) % 2 == 0) {
        bool admitted = address_limit_admit(limit, key);
        ok = admitted == (counts[at] < MOST);
        counts[at] += admitted;
        total += admitted;
      } else if (counts[at] > 0) {
        address_limit_release(limit, key);
        counts[at]--;
        total--;
      }
    }
    address_limit_close(limit);
  }
  return ok;
}

// The key of what connects from one address to another, of the family of `listening`.
static bool key_of(const char *listening, const char *from, uint64_t *key) {
  struct sockaddr_in6 six = {.sin6_family = AF_INET6};
  struct sockaddr_in four = {.sin_family = AF_INET};
  bool is_six = inet_pton(AF_INET6, listening, &six.sin6_addr) == 1;
  if (!is_six) inet_pton(AF_INET, listening, &four.sin_addr);
  struct sockaddr *at = is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four;
  socklen_t length = is_six ? sizeof(six) : sizeof(four);
  int listener = socket(at->sa_family, SOCK_STREAM, 0);
  bool ok =
      bind(listener, at, length) == 0 && listen(listener, 1) == 0 && getsockname(listener, at, &length) == 0;
  struct sockaddr_in source = {.sin_family = AF_INET};
  bool by_four = inet_pton(AF_INET, from, &source.sin_addr) == 1;
  int client = socket(by_four ? AF_INET : AF_INET6, SOCK_STREAM, 0);
  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = is_six ? six.sin6_port : four.sin_port,
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  ok = ok && (by_four ? bind(client, (struct sockaddr *)&source, sizeof(source)) == 0 &&
                            connect(client, (struct sockaddr *)&to, sizeof(to)) == 0
                      : connect(client, at, length) == 0);
  int accepted = ok ? accept(listener, NULL, NULL) : -1;
  ok = ok && address_limit_key(accepted, key);
  if (accepted >= 0) close(accepted);
  close(client);
  close(listener);
  return ok;
}

static bool run_keys(void) {
  uint64_t one = 0, two = 0, mapped = 0, six = 1;
  bool ok = key_of("127.0.0.1", "127.0.0.1", &one) && key_of("127.0.0.1", "127.0.0.2", &two) && one != two;
  // Where there is no IPv6, there is nothing to tell apart.
  int probe = socket(AF_INET6, SOCK_STREAM, 0);
  struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  bool has_six = probe >= 0 && bind(probe, (struct sockaddr *)&loopback, sizeof(loopback)) == 0;
  if (probe >= 0) close(probe);
  if (has_six) {
    ok = key_of("::", "127.0.0.1", &mapped) && mapped == one && ok;
    ok = key_of("::1", "::1", &six) && six == 0 && ok;
  }
  return ok;
}

static bool run_without(void) {
  int pair[2];
  uint64_t key;
  bool ok = socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && !address_limit_key(pair[0], &key);
  close(pair[0]);
  close(pair[1]);
  return ok && !address_limit_key(-1, &key);
}

int main(void) {
  t_case("an address has so many connections and no more", run_table());
  t_case("an address is that of IPv4, however it came, or a /64", run_keys());
  t_case("who has no address is not counted", run_without());
  return t_done();
}
