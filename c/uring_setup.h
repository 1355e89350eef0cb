// SPDX-License-Identifier: Apache-2.0
// uring_setup.h - opens a ring and finds out whether this kernel does what uring.c needs; called by uring.c.
#ifndef MR_URING_SETUP_H
#define MR_URING_SETUP_H

#include <liburing.h>
#include <stdint.h>

#define URING_BUFFER_GROUP 0

// Opens a ring for the calling thread. Takes a smaller one when memory is short; -errno.
int uring_ring_open(struct io_uring *ring, uint32_t entries);

// Registers an empty ring of provided buffers; -errno.
int uring_buffers_open(struct io_uring *ring, uint32_t count, struct io_uring_buf_ring **out);
void uring_buffers_close(struct io_uring_buf_ring *buffers, uint32_t count);

// Receives one byte over a socket pair with a multishot receive: no feature bit tells whether that works, and
// sandboxes allow the ring but not the operation. Returns the provided buffer that it used up, or -errno.
int uring_self_test(struct io_uring *ring);

// Why a step may have failed, for a person: begins with ", " or is empty.
const char *uring_failure_hint(int error);

#endif
