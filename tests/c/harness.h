// SPDX-License-Identifier: Apache-2.0
// harness.h - a reactor driven as JavaScript drives it, and clients in the same thread; called by the C
// tests.
//
// Nothing here waits for a fixed time: an idle reactor is armed and poll(2) waits for its wake socket and the
// clients' sockets. What a connection delivers is kept as a transcript, in which the pieces of a body or
// message are joined, so that two ways of cutting the same bytes can be compared.
#ifndef MR_TESTS_HARNESS_H
#define MR_TESTS_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "millrace.h"

enum { T_CONNS_MAX = 1024, T_CLIENTS_MAX = 512, T_KINDS = 24, T_DEADLINE_MS = 5000 };

struct t_bytes {
  uint8_t *at;
  size_t length;
  size_t capacity;
};

// What one connection has delivered. The entry of a slot is begun anew with each MR_OPEN.
struct t_conn {
  uint32_t handle;
  bool live;
  uint32_t seen[T_KINDS];  // records of each kind
  uint32_t turn_records;   // records with bytes in the current turn
  uint32_t most_records;   // largest turn_records so far
  uint16_t closed;         // code of MR_CLOSED
  uint16_t code;           // code of the last MR_VIOLATION or MR_CLOSE
  uint32_t violation;
  struct t_bytes log;   // transcript
  struct t_bytes body;  // bytes of bodies and messages alone
};

struct t_server;
typedef void t_handler(struct t_server *s, const struct mr_record *record, const uint8_t *bytes);

struct t_client {
  int fd;  // -1: none
  bool reading;
  bool ended;  // read returned 0
  int error;   // errno of a failed read or write
  const uint8_t *out;
  size_t out_length;
  size_t out_done;
  size_t out_step;  // at most so many bytes in one write; 0: all
  struct t_bytes in;
};

struct t_server {
  uint32_t backend;
  struct mr_options options;
  mr_arena *arena;
  mr_reactor *reactor;
  char reason[MR_TEXT_BYTES];
  struct mr_control *control;
  const struct mr_record *records;
  struct mr_command *commands;
  struct mr_row *rows;
  uint8_t *outbox;
  const uint8_t *heads;
  uint8_t *blocks;
  int wake;
  int32_t listener;
  struct mr_listen_options where;
  uint32_t command_count;
  uint32_t outbox_used;
  uint32_t errors;      // records that break the contract
  uint32_t opened;      // MR_OPEN records so far
  uint32_t ended;       // MR_CLOSED records so far
  uint32_t last;        // handle of the newest connection
  int32_t polled;       // answer of the last mr_poll
  bool paused_clients;  // clients are not pumped
  t_handler *handler;
  void *context;
  struct t_conn conns[T_CONNS_MAX];
  struct t_client clients[T_CLIENTS_MAX];
  uint32_t client_count;
};

// Small sizes and no timeouts, so that a test says what it is about.
struct mr_options t_options(uint32_t backend);

// Opens a reactor and listens on an abstract Unix socket or, with tcp, on a port of 127.0.0.1. Returns 0 or
// -errno.
int32_t t_open(struct t_server *s, const struct mr_options *options, bool tcp);

// Opens the reactor alone.
int32_t t_open_reactor(struct t_server *s, const struct mr_options *options);
int32_t t_listen(struct t_server *s, const char *host, uint32_t port, uint32_t flags);

// Closes clients and reactor; true when it went well and no record broke the contract.
bool t_close(struct t_server *s);

// Connects from the reactor: the connection counts as one more that was opened. Returns what mr_connect does.
int32_t t_dial(struct t_server *s, const struct mr_connect_options *options, uint32_t *handle);

// Connects a client to the last t_listen. Returns its number.
uint32_t t_connect(struct t_server *s);
uint32_t t_connect_sized(struct t_server *s, int receive_buffer);
void t_write(struct t_server *s, uint32_t client, const void *bytes, size_t length);
void t_hang_up(struct t_server *s, uint32_t client);
void t_reset(struct t_server *s, uint32_t client);

// Stages bytes as lib/ does. False when the outbox is full.
bool t_send(struct t_server *s, uint32_t handle, const void *bytes, uint32_t length, uint16_t responses);

// Stages a file as lib/ does, with room for it when it is short. C takes the descriptor over.
bool t_send_file(struct t_server *s, uint32_t handle, int fd, uint64_t start, uint64_t length, bool room);
bool t_command(struct t_server *s, uint32_t handle, uint16_t op, uint32_t offset);
void t_flush(struct t_server *s, uint32_t now);

// Flush, mr_poll, dispatch, and one round of reading and writing by the clients. True when anything moved.
bool t_turn(struct t_server *s);

// Turns until done answers true; false after T_DEADLINE_MS.
typedef bool t_condition(struct t_server *s, const void *context);
bool t_until(struct t_server *s, t_condition *done, const void *context);

// Turns until the newest connection has delivered count records of a kind.
bool t_until_seen(struct t_server *s, uint32_t kind, uint32_t count);
bool t_until_opened(struct t_server *s, uint32_t count);
bool t_until_closed(struct t_server *s, uint32_t count);

// Turns until a client has read length bytes, or seen the end.
bool t_until_read(struct t_server *s, uint32_t client, size_t length);
bool t_until_ended(struct t_server *s, uint32_t client);

// Turns for a time whatever happens: for what must not happen.
void t_turn_for(struct t_server *s, uint32_t ms);

struct t_conn *t_conn(struct t_server *s, uint32_t handle);
struct t_conn *t_last(struct t_server *s);

void t_append(struct t_bytes *to, const void *bytes, size_t length);
bool t_same(const struct t_bytes *bytes, const void *expected, size_t length);
uint64_t t_now_ms(void);
uint32_t t_open_fds(void);

// A masked client frame; returns its length. Lengths are encoded in the shortest form.
size_t t_frame(uint8_t *out, uint8_t first_byte, const void *payload, size_t length);

// Fills bytes with a pattern in which no two places within 64 KiB look alike.
void t_pattern(uint8_t *bytes, size_t length, uint64_t seed);

// Runs a case once on each backend and reports it under "name (io_uring)" and "name (epoll)".
typedef bool t_backend_case(uint32_t backend);
const char *t_backend_name(uint32_t backend);
#define T_BOTH(name, run)                         \
  do {                                            \
    t_case(name " (io_uring)", run(MR_IO_URING)); \
    t_case(name " (epoll)", run(MR_EPOLL));       \
    fflush(stdout);                               \
  } while (0)

// Gives up a case with the place at which it failed.
#define T_NEED(condition)                                             \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      ok = false;                                                     \
      goto end;                                                       \
    }                                                                 \
  } while (0)

#define T_UPGRADE                                                                \
  "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" \
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

#endif
