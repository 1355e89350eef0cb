// SPDX-License-Identifier: Apache-2.0
// backend.h - what io_uring and epoll each implement; nothing else of the shim knows which one runs.
#ifndef MR_BACKEND_H
#define MR_BACKEND_H

#include <sys/types.h>

#include "reactor.h"

struct backend {
  const char *name;

  // Returns 0, or -errno with the step that failed in r->reason.
  int (*open)(struct mr_reactor *r);

  // Waits for the kernel to give everything back. -EBUSY when it does not.
  int (*close)(struct mr_reactor *r);

  // Starts or stops taking connections from a listener.
  int (*accept_start)(struct mr_reactor *r, uint32_t listener);
  void (*accept_stop)(struct mr_reactor *r, uint32_t listener);

  // Makes delivery match conn_wants_input(c).
  void (*receive)(struct mr_reactor *r, struct conn *c);

  // Sends c's staged range, else the head of its queue; conn_sent hears how much went.
  void (*send)(struct mr_reactor *r, struct conn *c);

  // sendfile(2) of at most count bytes of c's file, without waiting for room.
  ssize_t (*send_file)(struct mr_reactor *r, struct conn *c, size_t count);

  // Has conn_room called once the socket has room.
  void (*await_room)(struct mr_reactor *r, struct conn *c);

  // Ends all operations of a closing connection; conn_released hears when the last is over.
  void (*stop)(struct mr_reactor *r, struct conn *c);

  // Submits, reaps, and calls listener_accepted, conn_received, conn_sent and conn_failed.
  int (*poll)(struct mr_reactor *r);

  // Makes the wake socket readable once poll would find something. Returns 1 when it already would.
  int (*arm)(struct mr_reactor *r);
};

extern const struct backend backend_uring;
extern const struct backend backend_epoll;

#endif
