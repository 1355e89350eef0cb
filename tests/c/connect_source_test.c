// SPDX-License-Identifier: Apache-2.0
// connect_source_test.c - connections that the reactor begins from an address of ours that is asked for.
#include <errno.h>
#include <string.h>

#include "check.h"
#include "faults.h"
#include "harness.h"

static struct t_server server;

// Listens on a port of 127.0.0.1, and says how to connect there.
static bool open_tcp(const struct mr_options *o, struct mr_connect_options *to) {
  char address[MR_TEXT_BYTES];
  if (t_open(&server, o, true) != 0) return false;
  if (mr_listen_address(server.reactor, (uint32_t)server.listener, address) < 0) return false;
  *to = (struct mr_connect_options){.host = "127.0.0.1"};
  to->port = (uint32_t)strtoul(strrchr(address, ' '), NULL, 10);
  return true;
}

// The peer, a connection of the same reactor, sees the address.
static bool run_source(uint32_t backend) {
  struct mr_options o = t_options(backend);
  struct mr_connect_options to;
  char seen[MR_TEXT_BYTES];
  uint32_t handle;
  bool ok = true;
  T_NEED(open_tcp(&o, &to));
  strcpy(to.source, "127.0.0.2");
  T_NEED(t_dial(&server, &to, &handle) == 0 && t_until_opened(&server, 2));
  T_NEED(mr_local_address(server.reactor, handle, seen) >= 0 && strncmp(seen, "127.0.0.2 ", 10) == 0);
  T_NEED(mr_peer_address(server.reactor, server.last, seen) >= 0 && strncmp(seen, "127.0.0.2 ", 10) == 0);
end:
  return t_close(&server) && ok;
}

static bool run_refused(uint32_t backend) {
  // No address, one of the other family, one that nobody has (RFC 5737).
  static const char *const wrong[] = {"localhost", "::1", "192.0.2.1"};
  struct mr_options o = t_options(backend);
  struct mr_connect_options to;
  uint32_t handle;
  bool ok = true;
  T_NEED(open_tcp(&o, &to));
  uint32_t fds = t_open_fds();
  for (uint32_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
    strcpy(to.source, wrong[i]);
    T_NEED(mr_connect(server.reactor, &to, &handle) == -EADDRNOTAVAIL);
  }
  strcpy(to.source, "127.0.0.2");
  t_fault(SYS_BIND, 0, 1, EADDRINUSE);
  T_NEED(mr_connect(server.reactor, &to, &handle) == -EADDRINUSE && t_faults_fired() == 1);
  memset(to.source, 'x', sizeof(to.source));
  T_NEED(mr_connect(server.reactor, &to, &handle) == -EINVAL);
  to = (struct mr_connect_options){.flags = MR_CONNECT_UNIX, .host = "@nobody", .source = "127.0.0.2"};
  T_NEED(mr_connect(server.reactor, &to, &handle) == -EINVAL);
  T_NEED(t_open_fds() == fds && server.control->connections == 0);
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

int main(void) {
  T_BOTH("the peer sees the address that was asked for", run_source);
  T_BOTH("addresses that will not do", run_refused);
  return t_done();
}
