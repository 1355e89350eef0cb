// SPDX-License-Identifier: Apache-2.0
// layout.h - every word that C and JavaScript share; ffi/layout.ts is generated from this file.
//
// The generator reads three forms and nothing else: `#define MR_NAME number`, `enum mr_x { MR_NAME = number,
// }` and `struct mr_x { uint8_t|uint16_t|uint32_t|uint64_t|char name[n]; }` whose fields need no padding. One
// thread runs both sides, one after the other, so plain loads and stores do; each field says who writes it.
#ifndef MR_LAYOUT_H
#define MR_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

// A handle names a connection: slot in the low bits, generation above. A slot is reused in FIFO order and
// its generation then changes, so a stale handle is recognised and refused. Generation 0 is never issued.
#define MR_SLOT_BITS 20
#define MR_SLOT_MASK 0xfffff
#define MR_NO_BLOCK 0xffffffff
#define MR_BLOCK_BYTES 16384
#define MR_TEXT_BYTES 256
#define MR_ROUTES_MAX 4096
#define MR_CREW_SLOTS_MAX 256
#define MR_CREW_PLACES 1024

// The longest name of a topic that workers share.
#define MR_TOPIC_BYTES 16384
#define MR_ROUTE_BYTES 16384
// Buffers of a slab are as long as powers of two, from the first to the second.
#define MR_SLAB_BYTES_MIN 64
#define MR_SLAB_BYTES_MAX 262144
#define MR_NODES_MAX 1024
#define MR_NO_NODE 0xffff
#define MR_MEMORY_SAMPLE 128

// What arrived, one fixed-size record for each. Bytes stay valid until the next mr_poll.
enum mr_record_kind {
  MR_OPEN = 1,  // accepted; code = listener
  MR_HEAD = 2,  // HTTP request head, copied to the heads; aux = target length << 8 | method length; total =
                // content length; code = the route of mr_route that it asks for, 0 = none
  MR_BODY = 3,  // piece of a request body, MR_LAST on the final one (which may be empty)
  MR_MESSAGE = 4,     // piece of a WebSocket message; total = length of the frame the piece belongs to
  MR_PING = 5,        // whole payload
  MR_PONG = 6,        // whole payload
  MR_CLOSE = 7,       // WebSocket close frame; code = close code (1005: none), bytes = reason
  MR_DRAIN = 8,       // the send queue fell below drain_below of the connection's row
  MR_END = 9,         // the peer will send no more (FIN); told anew after an upgrade
  MR_VIOLATION = 10,  // parsing stopped; code = HTTP status or WebSocket close code, aux = mr_violation
  MR_QUIET = 11,      // half of a WebSocket's idle time has passed without a byte, or all of a stream's
  MR_CLOSED =
      12,        // last record of a handle; code = 0 or errno, aux = staged bytes that the kernel never took
  MR_DATA = 13,  // bytes of a connection that speaks no protocol of ours
  MR_TRAILER = 14,    // piece of the trailer section of a chunked body; comes before the last MR_BODY
  MR_SENT = 15,       // the kernel has taken all that was staged before MR_CMD_NOTIFY
  MR_FILE_SENT = 16,  // the kernel has all bytes of MR_CMD_FILE
  MR_CONNECTED = 17,  // a connection of mr_connect stands; when it will not, MR_CLOSED says why
  MR_RESPONSE = 18,   // head of a response; what follows is held until MR_CMD_DECLINE, _WEBSOCKET or _STREAM
  MR_ROUTED = 20,     // requests were answered by their routes; aux = how many, one after the other
  // A message from another thread, of no connection: handle = 0. aux = tag, total = from, as they were
  // posted; start = the index that mr_mailbox_read wants, length = how many bytes that gives.
  MR_POSTED = 23,
};

enum mr_head_flag {
  MR_KEEP_ALIVE = 1,  // the connection may carry another request
  MR_CHUNKED = 2,     // body is chunked; total is 0
  MR_UPGRADE = 4,     // has Upgrade: parsing is held until MR_CMD_DECLINE, _WEBSOCKET or _STREAM
  MR_EXPECT = 8,      // has Expect: 100-continue
  MR_HTTP_1_0 = 16,
  MR_NON_ASCII = 32,  // some byte of the head is >= 0x80 (allowed in field values only)
  MR_HAS_BODY = 64,   // MR_BODY records follow
  MR_ODD_HOST = 128,  // some host in the head may be one that no URL can have
};

enum mr_piece_flag {
  MR_FIRST = 1,  // first piece of a message
  MR_LAST = 2,   // last piece of a message or body
  MR_TEXT = 4,   // message opcode is text; its UTF-8 is already validated
  // A whole message of text, and ASCII throughout. So are the bytes of the frame header before it by now:
  // where such messages follow one another in a block, all of it can be decoded at once.
  MR_ASCII = 8,
};

enum mr_command_op {
  MR_CMD_SEND = 1,       // offset, length: bytes in the outbox; count = responses that end in them
  MR_CMD_FINISH = 2,     // send what is queued, then FIN, linger for the peer's FIN, close
  MR_CMD_TERMINATE = 3,  // drop what is queued, close at once
  MR_CMD_PAUSE = 4,      // stop reading and parsing
  MR_CMD_RESUME = 5,     // undo PAUSE; without one: the peer has been sent 100 Continue
  // What follows the head is WebSocket frames, behind a response those of a server; offset = largest message
  // in bytes, length = most frames of a message, 0 for those of the options.
  MR_CMD_WEBSOCKET = 6,
  // offset = milliseconds after which to close without a byte received or, of a stream, sent; 0 = never. With
  // length = 1 a stream is not closed: MR_QUIET is told instead, and again each time that as long has passed.
  MR_CMD_IDLE = 7,
  MR_CMD_DEADLINE = 8,  // offset = milliseconds after which to close, whatever arrives
  MR_CMD_DECLINE = 9,   // what follows a head with MR_UPGRADE is HTTP all the same, a response another one
  MR_CMD_STREAM = 10,   // what follows the head is bytes, delivered as MR_DATA
  MR_CMD_NOTIFY = 11,   // MR_SENT is wanted; a second one before it takes the place of the first
  // offset = where in the outbox a struct mr_file_range lies; count = responses that end with the file. It
  // goes after all that was staged before, and nothing may be staged after it until MR_FILE_SENT. With length
  // > 0 the length bytes before the struct are room for the whole range: it goes as if staged, without
  // MR_FILE_SENT.
  MR_CMD_FILE = 12,
  MR_CMD_TIMEOUTS = 13,  // offset, length: a struct mr_timeouts in the outbox, valid until the next of these;
                         // length 0: the server's own again, once what is queued is sent
  MR_CMD_END = 14,       // of a stream: send what is queued, then FIN; the peer may go on
};

enum mr_deflate_flag {
  MR_SEND_TAKEOVER = 1,     // the connection has a deflater of its own, which remembers earlier messages
  MR_RECEIVE_TAKEOVER = 2,  // the same of its inflater
};

enum mr_file_kind {
  MR_FILE_REGULAR = 1,
  MR_FILE_DIRECTORY = 2,
};

enum mr_file_flag {
  MR_FILE_NO_SYMLINKS = 1,  // beneath a root, refuse symbolic links even when they stay beneath it
};

enum mr_backend_choice {
  MR_AUTO = 0,
  MR_IO_URING = 1,
  MR_EPOLL = 2,
};

// What memory is made of, from the best to what there is always.
enum mr_pages {
  MR_PAGES_HUGETLB = 0,      // 2 MiB, from the pool that the administrator has set apart
  MR_PAGES_TRANSPARENT = 1,  // 2 MiB, where the kernel finds as much in one piece
  MR_PAGES_SMALL = 2,        // 4 KiB
};

enum mr_listen_flag {
  MR_REUSE_PORT = 1,
  MR_UNIX = 2,        // host is a path; a leading '@' names an abstract socket
  MR_STREAM = 4,      // connections carry bytes that are the application's, from the first one on
  MR_IPV6_ONLY = 8,   // an IPv6 address takes no connections of IPv4
  MR_INHERITED = 16,  // fd listens already; host and port say nothing
  MR_SHARED = 32,     // together with the other workers of the thread's crew
};

// Who serves a connection of a crew.
enum mr_balance {
  MR_BALANCE_PORT = 0,   // whom the kernel chooses: each worker has a socket on the same port
  MR_BALANCE_LEAST = 1,  // who has the fewest
};

enum mr_worker_state {
  MR_WORKER_NONE = 0,  // nobody has this place
  MR_WORKER_RUNS = 1,
  MR_WORKER_GONE = 2,  // its thread has ended, and what it had is given back
};

enum mr_socket_option {
  MR_SET_NO_DELAY = 1,
  MR_SET_KEEP_ALIVE = 2,
  MR_SET_SEND_BUFFER = 4,
  MR_SET_RECEIVE_BUFFER = 8,
};

enum mr_connect_flag {
  MR_CONNECT_UNIX = 1,  // host is a path; a leading '@' names an abstract socket
  MR_CONNECT_RESPONSE =
      2,  // the peer answers with the head of a response, MR_RESPONSE; without: with MR_DATA
};

enum mr_route_flag {
  MR_ROUTE_CONDITIONAL = 1,  // JavaScript answers requests with conditions (RFC 9110 section 13.1)
};

// One for every rule that a peer can break. The text behind each is shown to people (lib/violations.ts).
enum mr_violation {
  MR_BAD_REQUEST_LINE = 1,
  MR_BAD_METHOD = 2,
  MR_BAD_TARGET = 3,
  MR_TARGET_TOO_LONG = 4,
  MR_BAD_VERSION = 5,
  MR_UNSUPPORTED_VERSION = 6,
  MR_BAD_FIELD_NAME = 7,
  MR_BAD_FIELD_VALUE = 8,
  MR_OBS_FOLD = 9,
  MR_BARE_LF = 10,
  MR_HEAD_TOO_LARGE = 11,
  MR_TOO_MANY_FIELDS = 12,
  MR_BAD_HOST = 13,
  MR_BAD_CONTENT_LENGTH = 14,
  MR_BAD_TRANSFER_ENCODING = 15,
  MR_UNKNOWN_TRANSFER_CODING = 16,
  MR_LENGTH_AND_CHUNKED = 17,
  MR_BAD_EXPECT = 18,
  MR_BODY_TOO_LARGE = 19,
  MR_BAD_CHUNK_SIZE = 20,
  MR_BAD_CHUNK_EXTENSION = 21,
  MR_BAD_CHUNK_END = 22,
  MR_BAD_TRAILER = 23,
  MR_HEAD_TIMEOUT = 24,
  MR_BODY_TIMEOUT = 25,
  MR_BODY_TOO_SLOW = 26,
  MR_WS_RESERVED_BITS = 27,
  MR_WS_BAD_OPCODE = 28,
  MR_WS_NOT_MASKED = 29,
  MR_WS_BAD_LENGTH = 30,
  MR_WS_CONTROL_TOO_LONG = 31,
  MR_WS_CONTROL_FRAGMENTED = 32,
  MR_WS_BAD_CONTINUATION = 33,
  MR_WS_INTERLEAVED = 34,
  MR_WS_TOO_LARGE = 35,
  MR_WS_BAD_UTF8 = 36,
  MR_WS_BAD_CLOSE_CODE = 37,
  MR_WS_BAD_CLOSE_LENGTH = 38,
  MR_WS_TOO_MANY_FRAGMENTS = 39,
  MR_WS_BAD_DEFLATE = 40,
  MR_WS_EXPANDS = 41,
  MR_WS_MASKED = 42,
  MR_BAD_STATUS_LINE = 43,
  MR_RESPONSE_TOO_LARGE = 44,
};

struct mr_record {  // C writes
  uint32_t handle;
  uint8_t kind;
  uint8_t flags;
  uint16_t code;
  uint32_t block;  // index of the block that holds the bytes, or MR_NO_BLOCK
  uint32_t start;  // offset of the first byte within the block
  uint32_t length;
  uint32_t aux;
  uint32_t total_low;
  uint32_t total_high;
};

struct mr_command {  // JS writes
  uint32_t handle;
  uint16_t op;
  uint16_t count;
  uint32_t offset;
  uint32_t length;
};

struct mr_row {     // one a slot
  uint32_t handle;  // C writes: the live handle, 0 when the slot is free
  uint32_t queued;  // C writes: bytes accepted from JS that the kernel has not taken yet
  uint32_t staged;  // JS adds what it stages, C zeroes it when it takes it over
  // JS sets it when it has reported backpressure: with less than this queued, C zeroes it and emits MR_DRAIN.
  uint32_t drain_below;
};

// At offset 0 of the arena. Offsets are in bytes from there.
struct mr_control {  // C writes
  uint32_t abi;
  uint32_t records_offset;
  uint32_t records_capacity;
  uint32_t commands_offset;
  uint32_t commands_capacity;
  uint32_t outbox_offset;
  uint32_t outbox_bytes;
  uint32_t rows_offset;
  uint32_t rows_capacity;
  uint32_t heads_offset;  // request heads of this turn, one after the other; MR_HEAD's start counts from here
  uint32_t heads_bytes;
  uint32_t blocks_offset;
  uint32_t blocks_capacity;
  uint32_t connections;  // live now
  uint32_t reserved;
  uint32_t listeners;  // open, or closing and not closed yet
  uint64_t accepted;
  uint64_t refused;          // accepted and closed at once: over max_connections
  uint64_t accept_errors;    // EMFILE and the like
  uint64_t starved;          // receives that found no free buffer
  uint64_t exhausted;        // connections closed because the arena was full
  uint64_t overflows;        // send queues that hit their cap
  uint64_t timeouts;         // the sum of the next eight
  uint64_t silent_timeouts;  // connections that never said a word
  uint64_t head_timeouts;
  uint64_t body_timeouts;
  uint64_t slow_bodies;    // below min_body_rate
  uint64_t idle_timeouts;  // between two requests
  uint64_t stall_timeouts;
  uint64_t slow_readers;      // below min_send_rate
  uint64_t socket_timeouts;   // sockets that were quiet, or did not end their closing handshake
  uint64_t drain_timeouts;    // the rest of a body that nobody reads did not come in time
  uint64_t linger_timeouts;   // no FIN of the peer after ours
  uint64_t linger_overflows;  // more than linger_bytes came instead
  uint64_t pipeline_waits;    // responses for which a further request had to wait: max_pipelined
  uint64_t received_bytes;
  uint64_t sent_bytes;
  uint64_t polls;
  uint64_t wakes;             // wake chains armed
  uint64_t blocks_free;       // blocks that hold nothing, at the end of the last mr_poll
  uint64_t blocks_lost;       // blocks whose ArrayBuffer the application transferred away
  uint64_t deflate_bytes;     // memory of compression contexts now, what is kept for those to come included
  uint64_t blocks_retained;   // blocks that the application keeps now
  uint64_t retain_overflows;  // times that it was to have one more than it may keep
  uint64_t address_refusals;  // accepted and closed at once: by mr_limit_addresses
};

struct mr_options {  // JS writes; times in milliseconds, sizes in bytes
  uint32_t backend;
  uint32_t ring_entries;
  uint32_t batch;
  uint32_t max_connections;
  uint32_t block_count;
  uint32_t receive_buffers;
  uint32_t outbox_bytes;
  uint32_t max_head_bytes;
  uint32_t max_target_bytes;
  uint32_t max_fields;
  uint32_t max_queue_bytes;
  uint32_t max_fragments;
  uint32_t head_timeout;
  uint32_t body_timeout;
  uint32_t idle_timeout;
  uint32_t stall_timeout;
  uint32_t linger_timeout;
  uint32_t linger_bytes;  // 0 = no limit
  uint32_t drain_timeout;
  uint32_t min_body_rate;  // bytes a second; 0 = none
  uint32_t min_send_rate;
  uint32_t rate_grace;  // milliseconds before the rates count
  uint32_t max_pipelined;
  uint32_t pages;  // mr_pages: the first of them to try
  uint64_t max_body_bytes;
  uint64_t max_deflate_bytes;  // what deflate_bytes may grow to
  uint64_t max_requests;       // of a connection; 0 = no limit
  uint32_t prefault;           // 1: takes all memory from the system at once
  uint32_t memory_node;        // the NUMA node to take it from, plus 1; 0 = any
};

// What the memory of a reactor is made of, and where it lies.
struct mr_memory {        // C writes
  uint64_t mapped_bytes;  // what only C sees included
  uint64_t resident_bytes;
  uint64_t huge_bytes;               // of those, in pages of 2 MiB
  uint32_t pages;                    // mr_pages: what was obtained
  uint32_t node;                     // that was asked for, plus 1; 0 = any
  uint32_t bind_error;               // errno of asking for it; 0 = none
  uint32_t counted;                  // 1: resident_bytes and huge_bytes are known
  uint16_t nodes[MR_MEMORY_SAMPLE];  // on which some of the pages lie; MR_NO_NODE: a page that is not there
};

// What one request may have otherwise than the options say.
struct mr_timeouts {  // JS writes
  uint32_t body_timeout;
  uint32_t stall_timeout;
  uint32_t min_body_rate;
  uint32_t min_send_rate;
};

// What a handshake has agreed on for permessage-deflate.
struct mr_deflate_options {  // JS writes
  uint32_t flags;            // mr_deflate_flag
  uint32_t send_bits;        // window of what is sent, 9 to 15: its length is 1 << bits
  uint32_t receive_bits;     // window of what is received, 8 to 15
  uint32_t mem_level;        // 1 to 9
  uint32_t level;            // 1 to 9
  uint32_t max_ratio;        // a message may inflate to so many times its length; 0 = no limit
};

struct mr_listen_options {  // JS writes
  uint32_t flags;
  uint32_t port;
  uint32_t backlog;
  uint32_t fd;               // with MR_INHERITED
  char host[MR_TEXT_BYTES];  // NUL-terminated
};

// How a worker of a crew is.
struct mr_worker_report {  // C writes
  uint32_t state;          // mr_worker_state
  uint32_t quiet;          // milliseconds since its last turn
  uint32_t connections;    // that are open
  uint32_t listeners;      // that its reactors have, or had
};

// What the kernel is to do otherwise than by default for a socket.
struct mr_socket_options {  // JS writes
  uint32_t set;             // mr_socket_option: which of these count
  uint32_t no_delay;        // 1: no byte waits for others to share a packet with
  uint32_t keep_idle;       // seconds of silence before the first probe; 0 = no probes
  uint32_t keep_interval;   // seconds between two of them; 0 = the kernel's default
  uint32_t keep_count;      // probes without an answer that end the connection; 0 = the kernel's default
  uint32_t send_buffer;     // bytes
  uint32_t receive_buffer;
};

struct mr_connect_options {  // JS writes
  uint32_t flags;            // mr_connect_flag
  uint32_t port;
  uint32_t timeout;            // milliseconds; 0 = as long as the kernel tries
  char host[MR_TEXT_BYTES];    // NUL-terminated: an IP address, or a path
  char source[MR_TEXT_BYTES];  // the same: our own IP address; empty for any
};

// A file that was opened, or a directory that was found.
struct mr_file {   // C writes
  uint64_t size;   // in bytes
  uint64_t mtime;  // nanoseconds since 1970; 0 before that
  uint64_t inode;
  uint64_t device;
  uint32_t fd;    // of a regular file
  uint32_t kind;  // mr_file_kind
};

// A response that is known beforehand. Its bytes lie one after the other: path, head, body.
struct mr_route_options {  // JS writes
  uint32_t path_length;
  uint32_t head_length;  // 0: JavaScript answers all requests for it
  uint32_t body_length;
  uint32_t date;   // where in the head the value of its Date field is to be written; 0 = nowhere
  uint32_t flags;  // mr_route_flag
};

// What mailboxes are to hold.
struct mr_mailboxes_options {  // JS writes
  uint32_t count;              // at most 1,024
  uint32_t capacity;           // messages that wait in one of them: a power of two
  uint32_t max_bytes;          // the same in bytes, those of the reader's turn included
};

// What one mailbox counts. Other threads are at work meanwhile: the figures need not fit one another exactly.
struct mr_mailbox_stats {  // C writes
  uint64_t open;           // 1 while a reactor reads it
  uint64_t posted;         // messages that it has taken in
  uint64_t waiting;        // those of them that no turn has taken out
  uint64_t held_bytes;     // of those that wait or are shown, 16 more for each
  uint64_t full;           // messages that it had no room for
  uint64_t lost;           // messages that no reactor was there for, any longer or yet
  uint64_t wakes;          // bytes sent to a sleeping reader's wake socket
};

// What a slab has on one NUMA node.
struct mr_slab_stats {  // C writes
  uint64_t allocated;   // bytes of memory
  uint64_t used;        // bytes of buffers in use
  uint64_t buffers;     // in use
  uint64_t fallbacks;   // buffers that were asked for and are longer than any
};

// Who is told of topics that begin and end.
enum mr_observer {
  MR_WORKERS = 0,     // the worker whose subscriber it was; where that has died, any other
  MR_SUPERVISOR = 1,  // one that looks now and then
};

enum mr_topic_answer {
  MR_TOPIC_CHANGED = 1,  // it has begun, or ended
  MR_TOPIC_LISTED = 2,   // there is something to be told to the supervisor, and was not before
};

// What mr_registry_changes writes; the name follows.
struct mr_topic_change {  // C writes
  uint32_t service;
  uint32_t live;  // 1: it has begun; 0: it has ended
  uint32_t length;
};

// What a registry holds.
struct mr_registry_stats {  // C writes
  uint64_t topics;          // those that have ended and were not told of included
  uint64_t subscribers;
  uint64_t patterns;  // topics that have a wildcard
  uint64_t held_bytes;
};

// Part of a file that MR_CMD_FILE sends.
struct mr_file_range {  // JS writes
  uint64_t start;
  uint64_t length;
  uint32_t fd;  // C takes it over and closes it, whatever becomes of the connection
  uint32_t reserved;
};

_Static_assert(sizeof(struct mr_record) == 32, "record is 32 bytes");
_Static_assert(sizeof(struct mr_command) == 16, "command is 16 bytes");
_Static_assert(sizeof(struct mr_row) == 16, "row is 16 bytes");
_Static_assert(sizeof(struct mr_control) == 296, "control has no padding");
_Static_assert(sizeof(struct mr_options) == 128, "options have no padding");
_Static_assert(sizeof(struct mr_memory) == 40 + 2 * MR_MEMORY_SAMPLE, "memory has no padding");
_Static_assert(sizeof(struct mr_timeouts) == 16, "timeouts have no padding");
_Static_assert(sizeof(struct mr_deflate_options) == 24, "deflate options have no padding");
_Static_assert(sizeof(struct mr_route_options) == 20, "route options have no padding");
_Static_assert(sizeof(struct mr_file) == 40, "file has no padding");
_Static_assert(sizeof(struct mr_file_range) == 24, "file range has no padding");
_Static_assert(sizeof(struct mr_mailboxes_options) == 12, "mailboxes options have no padding");
_Static_assert(sizeof(struct mr_mailbox_stats) == 56, "mailbox stats have no padding");
_Static_assert(sizeof(struct mr_slab_stats) == 32, "slab stats have no padding");
_Static_assert(sizeof(struct mr_topic_change) == 12, "topic change has no padding");
_Static_assert(sizeof(struct mr_registry_stats) == 32, "registry stats have no padding");
_Static_assert(sizeof(struct mr_socket_options) == 28, "socket options have no padding");
_Static_assert(sizeof(struct mr_worker_report) == 16, "worker report has no padding");
_Static_assert(sizeof(struct mr_listen_options) == 16 + MR_TEXT_BYTES, "listen options have no padding");
_Static_assert(sizeof(struct mr_connect_options) == 12 + 2 * MR_TEXT_BYTES,
               "connect options have no padding");

#endif
