// SPDX-License-Identifier: Apache-2.0
// reactor.h - the state of one worker: its connections, listeners, timers, and the backend under them.
#ifndef MR_REACTOR_H
#define MR_REACTOR_H

#include <stdbool.h>
#include <sys/types.h>

#include "arena.h"
#include "http_body.h"
#include "http_head.h"
#include "limits.h"
#include "routes.h"
#include "ws_deflate.h"
#include "ws_frame.h"

struct mr_reactor;
struct backend;
struct crew_member;

enum protocol {
  PROTOCOL_HTTP,      // requests
  PROTOCOL_RESPONSE,  // the head of a response, to what we have asked for
  PROTOCOL_WEBSOCKET,
  PROTOCOL_STREAM,
};

// What an HTTP connection waits for. The order is that of a request's life.
enum phase {
  PHASE_IDLE,     // the first byte of a head
  PHASE_HEAD,     // the rest of a head
  PHASE_BODY,     // the rest of a body of known length
  PHASE_CHUNKED,  // the rest of a chunked body
};

enum life {
  LIFE_FREE,
  LIFE_OPEN,
  LIFE_FINISHING,  // output is flushed, then FIN, then we wait for the peer's
  LIFE_CLOSING,    // shut down; waits for the kernel's last word on every operation
};

struct conn {
  uint32_t handle;
  int fd;
  uint8_t life : 2;
  bool bulk : 1;           // the last read brought a block or more: the next one is given many
  uint8_t polls_left : 3;  // io_uring: reads by conn_read before the ring receives again
  bool recv_poll : 1;      // io_uring: the receive that is armed is a poll for them
  bool in_readable : 1;
  uint8_t protocol;
  uint8_t phase;
  uint8_t events;       // epoll: the mask that is set
  uint16_t close_code;  // errno of MR_CLOSED
  uint16_t ops;         // operations that the kernel holds for this connection (io_uring)

  bool connecting : 1;  // ours, and does not stand yet
  bool adopted : 1;     // by mr_adopt: others may hold the socket too
  bool paused : 1;      // by MR_CMD_PAUSE
  bool held : 1;        // after MR_UPGRADE or MR_RESPONSE, until JavaScript decides
  bool deaf : 1;        // what arrives is dropped: a violation or a close frame ended the input
  bool ended : 1;       // the peer sent FIN
  bool quiet_told : 1;  // MR_QUIET was emitted since the last byte
  bool tell_quiet : 1;  // a stream that was quiet for idle_ms is told of, not closed
  bool end_told : 1;    // MR_END was emitted
  bool ending : 1;      // FIN follows what is queued, and the peer may go on (MR_CMD_END)
  bool fin_sent : 1;
  bool reset : 1;       // close with RST
  bool receiving : 1;   // epoll: in the set
  bool recv_armed : 1;  // io_uring: a receive is in the kernel
  bool recv_multishot : 1;
  bool recv_stopping : 1;  // io_uring: its cancellation is too
  bool watched : 1;        // io_uring: a poll for the peer's reset is in the kernel, or was
  bool sending : 1;        // io_uring: a send is in the kernel; epoll: waiting for room
  bool keep_alive : 1;     // of the request read last
  bool drained : 1;        // MR_DRAIN is to be emitted
  bool notify : 1;         // MR_SENT is wanted at notify_at
  bool sent : 1;           // MR_SENT is to be emitted
  bool filing : 1;         // a file goes after what is queued
  bool file_sent : 1;      // MR_FILE_SENT is to be emitted
  bool awaiting : 1;       // the backend waits for room in the socket: for the file, or for it to stand
  bool in_ready : 1;
  bool in_dirty : 1;
  bool in_starved : 1;
  bool in_files : 1;
  bool in_dead : 1;
  bool addressed : 1;     // counted by its address
  bool timeouts_end : 1;  // the server's own timeouts are to be back once the queue is sent

  uint32_t in_head;  // blocks of unparsed bytes, oldest first
  uint32_t in_tail;
  uint16_t in_blocks;
  uint16_t carry_length;    // or, when there are at most HEADROOM of them, kept in the connection's carry
  uint32_t seen;            // bytes that the tokeniser has looked at without an answer
  uint16_t share;           // records left of this turn's share
  uint16_t file_responses;  // that end with the file
  uint32_t share_turn;

  uint32_t out_head;  // blocks of bytes for the kernel, oldest first
  uint32_t out_tail;
  uint32_t staged_offset;  // range of the outbox that goes before them
  uint32_t staged_length;
  uint32_t send_held;  // bytes that the kernel held at send_since
  int file;            // while filing
  uint32_t requests;   // heads delivered whose responses have not ended
  uint64_t file_at;
  uint64_t file_left;
  uint64_t taken;      // bytes that the kernel has taken so far
  uint64_t notify_at;  // value of taken at which MR_CMD_NOTIFY is answered

  uint64_t phase_deadline;  // ms; 0 = none
  uint64_t stall_deadline;
  uint64_t wheel_due;  // when the wheel will look at this connection; 0 = not in the wheel
  uint32_t wheel_next;
  uint32_t wheel_prev;
  uint32_t idle_ms;
  union {
    uint32_t heads;     // requests that have come
    uint32_t lingered;  // from MR_CMD_FINISH on: bytes that have come since
  };
  struct mr_timeouts timeouts;
  uint64_t send_since;  // ms; the socket has been full since then, 0 = it is not
  uint64_t send_moved;  // ms; when the peer was last seen to take something
  uint64_t send_from;   // value of taken at the beginning
  uint64_t send_acked;  // bytes that the peer has taken since then, as of the last look

  struct ws_deflate *deflate;  // NULL: nothing is compressed

  union {
    struct {
      uint64_t left;
      uint64_t since;      // ms; the body has been coming since then, 0 = the peer waits for 100 Continue
      uint64_t received;   // bytes of it that were parsed
      uint64_t paused_at;  // ms
      struct http_chunked chunked;
    } http;
    struct {
      struct ws_frames frames;
      uint32_t max_message_bytes;
      uint32_t max_fragments;
    } ws;
  };
};

_Static_assert(sizeof(struct conn) == 256, "a connection is four cache lines");

struct listener {
  int fd;
  bool open;
  bool inherited;    // others may listen on it too
  bool handed;       // another thread accepts for it
  uint8_t protocol;  // with which its connections begin
  bool armed;        // io_uring: a multishot accept is in the kernel; epoll: in the set
  bool stopping;     // io_uring: its cancellation is too
  bool closing;
  uint64_t resume_at;  // ms; accept again then, 0 = not paused
  uint32_t waiting;    // sockets accepted beyond the limit before the kernel could be stopped
  int fds[WAITING_MAX];
};

// Slots in the order in which they were queued. A flag in the connection says that it is in one.
enum slot_queue_name {
  QUEUE_FREE,
  QUEUE_READY,
  QUEUE_DIRTY,
  QUEUE_STARVED,
  QUEUE_FILES,
  QUEUE_READABLE,
  QUEUE_DEAD,
  SLOT_QUEUES
};

struct slot_queue {
  uint32_t *slots;
  uint32_t head;
  uint32_t count;
};

struct mr_reactor {
  struct mr_arena *arena;
  struct mr_control *control;
  const struct mr_options *options;
  struct conn *conns;
  uint8_t *carries;  // HEADROOM bytes for each slot: apart, since few connections ever need them
  struct mr_row *rows;
  const struct backend *backend;
  void *state;  // the backend's own
  struct slot_queue queues[SLOT_QUEUES];
  struct listener listeners[LISTENERS_MAX];
  struct address_limit *addresses;  // NULL: an address may have any number of connections
  uint64_t *address_keys;           // of each slot whose connection is counted there
  uint32_t listeners_used;          // none at or above this index was ever open

  uint32_t turn;          // never 0: a block that was never borrowed has that
  uint32_t evicted_turn;  // when a slow peer was last cut off
  uint32_t records;       // in the inbox
  uint32_t heads_used;    // bytes of the heads area
  uint32_t replies_used;  // bytes of the answers of routes
  uint32_t records_data;  // capacity for bytes; the rest is kept for the lives of connections
  uint32_t batch_left;    // connections that may still be parsed in this turn
  uint32_t bytes_left;    // bytes that may still be received in this turn
  uint32_t files_left;    // bytes of files that may still be sent in this turn
  uint32_t slots_used;    // slots that were ever given out
  uint32_t slots_buried;  // those of this turn's MR_CLOSED, the last in QUEUE_FREE
  uint64_t now;           // ms, monotonic, read once a turn
  uint64_t polled_at;     // ms, of the last turn

  struct ws_contexts contexts;
  struct routes routes;

  uint64_t wheel_tick;  // the last tick that was looked at
  uint32_t wheel[WHEEL_SLOTS];
  uint32_t wheel_count;
  int timer_fd;
  uint64_t timer_set;  // when timer_fd fires; 0 = disarmed

  struct mr_mailboxes *mailboxes;
  struct mailbox *mailbox;  // the one among them that is read; NULL: none
  uint64_t mailbox_epoch;   // of it

  int wake_here;      // our end of the wake socket
  int wake_there;     // JavaScript's, until it is given out
  int wake_given;     // the same, from then on
  dev_t wake_device;  // what that is
  ino_t wake_inode;
  bool closing;                // nobody is left to be served
  struct crew_member *member;  // of the workers that share its listener; NULL: it has none to share
  char reason[MR_TEXT_BYTES];
};

// Closes a reactor whose isolate is gone.
int32_t reactor_abandoned(struct mr_reactor *r);

static inline uint32_t slot_of(uint32_t handle) {
  return handle & MR_SLOT_MASK;
}

// The live connection that a handle names, or NULL for a stale one.
struct conn *conn_find(struct mr_reactor *r, uint32_t handle);

static inline struct mr_row *row_of(const struct mr_reactor *r, const struct conn *c) {
  return &r->rows[slot_of(c->handle)];
}

static inline uint8_t *carry_of(const struct mr_reactor *r, const struct conn *c) {
  return r->carries + (size_t)slot_of(c->handle) * HEADROOM;
}

static inline void slot_push(struct mr_reactor *r, enum slot_queue_name name, uint32_t slot) {
  struct slot_queue *q = &r->queues[name];
  uint32_t at = q->head + q->count++;
  uint32_t capacity = r->options->max_connections;
  q->slots[at >= capacity ? at - capacity : at] = slot;
}

static inline uint32_t slot_pop(struct mr_reactor *r, enum slot_queue_name name) {
  struct slot_queue *q = &r->queues[name];
  uint32_t slot = q->slots[q->head];
  // An empty queue begins anew, so that it stays in the memory that it has touched.
  q->head = --q->count == 0 || q->head + 1 == r->options->max_connections ? 0 : q->head + 1;
  return slot;
}

#endif
