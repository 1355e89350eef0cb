// SPDX-License-Identifier: Apache-2.0
// uring_setup.c - ring, provided-buffer ring and self-test; called by uring.c.
#include "uring_setup.h"

#include <stdbool.h>

#include "sys.h"
#include "uring_tag.h"

#define ENTRIES_MIN 128

const char *uring_failure_hint(int error) {
  switch (error) {
    case -EPERM:
      return ", forbidden by seccomp or kernel.io_uring_disabled";
    case -ENOSYS:
      return ", not in this kernel or sandbox";
    case -ENOMEM:
      return ", over the locked-memory limit (ulimit -l) or out of memory";
    case -EINVAL:
      return ", the kernel is older than 6.1";
    default:
      return "";
  }
}

// Since Linux 6.14 rings count against the user's locked memory, so that many workers run into its limit:
// a smaller ring is slower and still better than none.
int uring_ring_open(struct io_uring *ring, uint32_t entries) {
  for (;;) {
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CLAMP,
        .cq_entries = 4 * entries,
    };
    int rc = sys_failed(SYS_URING_SETUP) ? -errno : io_uring_queue_init_params(entries, ring, &params);
    if (rc == 0) return 0;
    ring->ring_fd = -1;
    if (rc != -ENOMEM || entries <= ENTRIES_MIN) return rc;
    entries /= 2;
  }
}

int uring_buffers_open(struct io_uring *ring, uint32_t count, struct io_uring_buf_ring **out) {
  void *memory = sys_mmap(count * sizeof(struct io_uring_buf), MAP_POPULATE);
  if (memory == MAP_FAILED) return -errno;
  struct io_uring_buf_reg reg = {
      .ring_addr = (uint64_t)(uintptr_t)memory, .ring_entries = count, .bgid = URING_BUFFER_GROUP};
  int rc = sys_failed(SYS_URING_REGISTER) ? -errno : io_uring_register_buf_ring(ring, &reg, 0);
  if (rc != 0) {
    uring_buffers_close(memory, count);
    return rc;
  }
  *out = memory;
  io_uring_buf_ring_init(*out);
  return 0;
}

void uring_buffers_close(struct io_uring_buf_ring *buffers, uint32_t count) {
  if (buffers != NULL) munmap(buffers, count * sizeof(struct io_uring_buf));
}

// Waits for the receive's last completion. Returns the buffer that its byte came in, or -errno.
static int self_test_reap(struct io_uring *ring) {
  struct __kernel_timespec wait = {.tv_sec = 1};
  int buffer = -EOPNOTSUPP;
  for (;;) {
    struct io_uring_cqe *cqe;
    int rc = io_uring_submit_and_wait_timeout(ring, &cqe, 1, &wait, NULL);
    if (rc < 0) return rc;
    const struct io_uring_cqe copy = *cqe;
    io_uring_cqe_seen(ring, cqe);
    if (copy.res < 0) return copy.res;
    bool more = (copy.flags & IORING_CQE_F_MORE) != 0;
    bool data = copy.res == 1 && (copy.flags & IORING_CQE_F_BUFFER) != 0;
    // The first completion has to promise more: that is what multishot means.
    if (data && more) buffer = (int)(copy.flags >> IORING_CQE_BUFFER_SHIFT);
    if (!more) return buffer;
  }
}

int uring_self_test(struct io_uring *ring) {
  int pair[2];
  if (sys_socketpair(pair) != 0) return -errno;
  struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
  io_uring_prep_recv_multishot(sqe, pair[0], NULL, 0, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = URING_BUFFER_GROUP;
  sqe->user_data = uring_tag(URING_OTHER, 0);
  // The byte and the end that follows it end the receive by themselves.
  bool sent = send(pair[1], "x", 1, MSG_NOSIGNAL) == 1;
  close(pair[1]);
  int buffer = sys_failed(SYS_URING_ENTER) ? -errno : self_test_reap(ring);
  close(pair[0]);
  return sent ? buffer : -EIO;
}
