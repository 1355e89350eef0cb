// SPDX-License-Identifier: Apache-2.0
// conn_file.c - a file behind what a connection has queued, from the page cache to the socket; called by
// outbox.c, conn_output.c and the backends.
//
// sendfile(2) copies nothing: the socket holds the pages of the cache until the peer has them. It never waits
// for room in the socket, but for the disk when a page is not in the cache: until it is read, the whole turn
// waits. The kernel reads ahead, so that a file that is read from start to end meets few such pages.
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "backend.h"
#include "conn.h"
#include "conn_queue.h"
#include "sys.h"

void file_clear(struct conn *c) {
  if (!c->filing) return;
  close(c->file);
  c->filing = false;
}

// A peer that has gone raises SIGPIPE, and sendfile(2) has no flag against that. Whose process this is may
// not ignore the signal, so that it is kept off for as long as the call takes, and one that came is taken
// away.
ssize_t conn_sendfile(const struct conn *c, size_t count) {
  static const struct timespec none;
  sigset_t broken, before;
  sigemptyset(&broken);
  sigaddset(&broken, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &broken, &before);
  ssize_t sent = sys_sendfile(c->fd, c->file, (off_t)c->file_at, count);
  int error = errno;
  if (sent != (ssize_t)count && sigismember(&before, SIGPIPE) == 0) sigtimedwait(&broken, NULL, &none);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  errno = error;
  return sent;
}

static void files_push(struct mr_reactor *r, struct conn *c) {
  c->stall_deadline = c->send_since = 0;  // it is the peer that waits
  if (c->in_files) return;
  c->in_files = true;
  slot_push(r, QUEUE_FILES, slot_of(c->handle));
}

void conn_file(struct mr_reactor *r, struct conn *c, const struct mr_file_range *range, uint16_t responses) {
  if (c->filing) {
    close((int)range->fd);
    conn_reset(r, c, EBUSY);
    return;
  }
  c->filing = true;
  c->file = (int)range->fd;
  c->file_at = range->start;
  c->file_left = range->length;
  c->file_responses = responses;
  if (c->staged_length == 0 && c->out_head == NO_BLOCK && !c->connecting) files_push(r, c);
}

static void file_done(struct mr_reactor *r, struct conn *c) {
  file_clear(c);
  c->stall_deadline = c->send_since = 0;
  if (c->timeouts_end) conn_timeouts(r, c, NULL);
  if (c->life == LIFE_OPEN) {
    if (c->file_responses > 0) http_responded(r, c, c->file_responses);
    c->file_sent = true;
    ready_push(r, c);
  }
  conn_finish_flushed(r, c);
}

void conn_file_send(struct mr_reactor *r, struct conn *c) {
  if (c->file_left == 0) {
    file_done(r, c);
    return;
  }
  if (r->files_left == 0) {
    files_push(r, c);
    return;
  }
  uint64_t count = c->file_left;
  if (count > FILE_SHARE_BYTES) count = FILE_SHARE_BYTES;
  if (count > r->files_left) count = r->files_left;
  ssize_t sent = r->backend->send_file(r, c, count);
  if (sent == 0 || (sent < 0 && errno != EAGAIN && errno != EINTR)) {
    // The file has become shorter, cannot be read, or nobody wants it: only a reset tells the peer.
    conn_reset(r, c, sent == 0 ? ENODATA : (uint16_t)errno);
    return;
  }
  bool moved = sent > 0;
  if (moved) {
    c->file_at += (uint64_t)sent;
    c->file_left -= (uint64_t)sent;
    r->files_left -= (uint32_t)sent;
    output_taken(r, c, (uint32_t)sent);
  }
  if (c->file_left == 0) {
    file_done(r, c);
  } else if (moved && (uint64_t)sent == count) {
    files_push(r, c);
  } else {
    output_blocked(r, c, moved ? (uint32_t)sent : 0);
    r->backend->await_room(r, c);
  }
}

void conn_send_files(struct mr_reactor *r) {
  // Whom this turn has nothing left for stays in front of those that it was spent on.
  for (uint32_t count = r->queues[QUEUE_FILES].count; count > 0 && r->files_left > 0; count--) {
    struct conn *c = &r->conns[slot_pop(r, QUEUE_FILES)];
    c->in_files = false;
    bool live = c->life == LIFE_OPEN || c->life == LIFE_FINISHING;
    if (live && c->filing) conn_file_send(r, c);
  }
}
