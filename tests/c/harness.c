// SPDX-License-Identifier: Apache-2.0
// harness.c - the server's side of harness.h: arena, records, commands, turns.
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness_client.h"

enum { ARENAS_MAX = 64 };

// An arena is never unmapped, so one of the same sizes is used again; -EBUSY of mr_close takes it out of
// here. When a thread ends, its arenas are the shim's to give out again.
static _Thread_local struct {
  mr_arena *arena;
  struct mr_options options;
  bool used;
} arenas[ARENAS_MAX];

uint64_t t_now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint32_t t_open_fds(void) {
  DIR *directory = opendir("/proc/self/fd");
  uint32_t count = 0;
  while (directory != NULL && readdir(directory) != NULL) count++;
  if (directory != NULL) closedir(directory);
  return count;
}

const char *t_backend_name(uint32_t backend) {
  return backend == MR_EPOLL ? "epoll" : "io_uring";
}

void t_append(struct t_bytes *to, const void *bytes, size_t length) {
  if (to->length + length > to->capacity) {
    to->capacity = 2 * (to->length + length) + 256;
    to->at = realloc(to->at, to->capacity);
    if (to->at == NULL) abort();
  }
  if (length > 0) memcpy(to->at + to->length, bytes, length);
  to->length += length;
}

bool t_same(const struct t_bytes *bytes, const void *expected, size_t length) {
  return bytes->length == length && (length == 0 || memcmp(bytes->at, expected, length) == 0);
}

void t_pattern(uint8_t *bytes, size_t length, uint64_t seed) {
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (size_t i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    bytes[i] = (uint8_t)(state >> 32);
  }
}

struct mr_options t_options(uint32_t backend) {
  return (struct mr_options){
      .backend = backend,
      .ring_entries = 256,
      .batch = 64,
      .max_connections = 256,
      .block_count = 512,
      .receive_buffers = 64,
      .outbox_bytes = 1 << 20,
      .max_head_bytes = 16384,
      .max_target_bytes = 8192,
      .max_fields = 100,
      .max_queue_bytes = 8 << 20,
      .max_deflate_bytes = 8 << 20,
      .max_fragments = 1024,
      .max_pipelined = 1024,
  };
}

static bool same_sizes(const struct mr_options *a, const struct mr_options *b) {
  return a->ring_entries == b->ring_entries && a->block_count == b->block_count &&
         a->max_connections == b->max_connections && a->outbox_bytes == b->outbox_bytes;
}

static int32_t take_arena(const struct mr_options *options, mr_arena **out) {
  int free_place = -1;
  for (int i = 0; i < ARENAS_MAX; i++) {
    if (arenas[i].arena == NULL) {
      if (free_place < 0) free_place = i;
    } else if (!arenas[i].used && same_sizes(&arenas[i].options, options)) {
      arenas[i].used = true;
      *out = arenas[i].arena;
      return 0;
    }
  }
  if (free_place < 0) return -ENOSPC;
  int32_t rc = mr_arena_open(options, out);
  if (rc != 0) return rc;
  arenas[free_place].arena = *out;
  arenas[free_place].options = *options;
  arenas[free_place].used = true;
  return 0;
}

static void give_arena(const mr_arena *arena) {
  for (int i = 0; i < ARENAS_MAX; i++) {
    if (arenas[i].arena == arena) arenas[i].used = false;
  }
}

int32_t t_open_reactor(struct t_server *s, const struct mr_options *options) {
  memset(s, 0, sizeof(*s));
  for (uint32_t i = 0; i < T_CLIENTS_MAX; i++) s->clients[i].fd = -1;
  s->wake = s->listener = -1;
  s->backend = options->backend;
  s->options = *options;
  int32_t rc = take_arena(options, &s->arena);
  if (rc != 0) return rc;
  rc = mr_open(s->arena, options, &s->reactor, s->reason);
  if (rc != 0) {
    give_arena(s->arena);
    s->reactor = NULL;
    return rc;
  }
  uint8_t *base = mr_arena_base(s->arena);
  s->control = (struct mr_control *)base;
  s->records = (const struct mr_record *)(base + s->control->records_offset);
  s->commands = (struct mr_command *)(base + s->control->commands_offset);
  s->rows = (struct mr_row *)(base + s->control->rows_offset);
  s->outbox = base + s->control->outbox_offset;
  s->heads = base + s->control->heads_offset;
  s->blocks = base + s->control->blocks_offset;
  s->wake = mr_wake_socket(s->reactor);
  return 0;
}

int32_t t_listen(struct t_server *s, const char *host, uint32_t port, uint32_t flags) {
  s->where = (struct mr_listen_options){.flags = flags, .port = port, .backlog = 512};
  snprintf(s->where.host, sizeof(s->where.host), "%s", host);
  int32_t id = mr_listen(s->reactor, &s->where, NULL);
  if (id < 0 || (flags & MR_UNIX) != 0) return id;
  char text[MR_TEXT_BYTES];
  if (mr_listen_address(s->reactor, (uint32_t)id, text) != 0) return -EADDRNOTAVAIL;
  s->where.port = (uint32_t)strtoul(strrchr(text, ' ') + 1, NULL, 10);
  return id;
}

int32_t t_open(struct t_server *s, const struct mr_options *options, bool tcp) {
  static uint32_t count;
  int32_t rc = t_open_reactor(s, options);
  if (rc != 0) return rc;
  char name[MR_TEXT_BYTES];
  snprintf(name, sizeof(name), "@millrace-test-%d-%u", getpid(), count++);
  s->listener = tcp ? t_listen(s, "127.0.0.1", 0, 0) : t_listen(s, name, 0, MR_UNIX);
  if (s->listener >= 0) return 0;
  rc = s->listener;
  t_close(s);
  return rc;
}

bool t_close(struct t_server *s) {
  t_clients_close(s);
  int32_t rc = 0;
  if (s->reactor != NULL) {
    rc = mr_close(s->reactor);
    if (rc == 0) give_arena(s->arena);
    if (rc != 0) fprintf(stderr, "mr_close: %d\n", rc);
  }
  if (s->errors > 0) fprintf(stderr, "%u records broke the contract\n", s->errors);
  if (s->wake >= 0) close(s->wake);
  s->reactor = NULL;
  s->wake = -1;
  for (uint32_t i = 0; i < T_CONNS_MAX; i++) {
    free(s->conns[i].log.at);
    free(s->conns[i].body.at);
    s->conns[i] = (struct t_conn){0};
  }
  return rc == 0 && s->errors == 0;
}

struct t_conn *t_conn(struct t_server *s, uint32_t handle) {
  return &s->conns[(handle & MR_SLOT_MASK) % T_CONNS_MAX];
}

struct t_conn *t_last(struct t_server *s) {
  return t_conn(s, s->last);
}

bool t_command(struct t_server *s, uint32_t handle, uint16_t op, uint32_t offset) {
  if (s->command_count == s->control->commands_capacity) t_flush(s, 1);
  s->commands[s->command_count++] = (struct mr_command){.handle = handle, .op = op, .offset = offset};
  return true;
}

bool t_send(struct t_server *s, uint32_t handle, const void *bytes, uint32_t length, uint16_t responses) {
  if (length > s->control->outbox_bytes) return false;
  bool full = length > s->control->outbox_bytes - s->outbox_used;
  if (full || s->command_count == s->control->commands_capacity) t_flush(s, 1);
  memcpy(s->outbox + s->outbox_used, bytes, length);
  struct mr_row *row = &s->rows[handle & MR_SLOT_MASK];
  if (row->handle == handle) row->staged += length;
  s->commands[s->command_count++] = (struct mr_command){
      .handle = handle, .op = MR_CMD_SEND, .count = responses, .offset = s->outbox_used, .length = length};
  s->outbox_used += length;
  return true;
}

bool t_send_file(struct t_server *s, uint32_t handle, int fd, uint64_t start, uint64_t length, bool room) {
  const struct mr_file_range range = {.start = start, .length = length, .fd = (uint32_t)fd};
  uint32_t before = room ? (uint32_t)length : 0, all = before + (uint32_t)sizeof(range);
  bool full = all > s->control->outbox_bytes - s->outbox_used;
  if (full || s->command_count == s->control->commands_capacity) t_flush(s, 1);
  uint32_t at = s->outbox_used + before;
  memcpy(s->outbox + at, &range, sizeof(range));
  s->commands[s->command_count++] =
      (struct mr_command){.handle = handle, .op = MR_CMD_FILE, .offset = at, .length = before};
  s->outbox_used += all;
  return true;
}

void t_flush(struct t_server *s, uint32_t now) {
  mr_flush(s->reactor, s->command_count, now);
  s->command_count = 0;
  if (now == 0) return;
  // Whoever still reads the outbox now sends this instead.
  memset(s->outbox, 0xdb, s->outbox_used);
  s->outbox_used = 0;
}

static void log_record(struct t_conn *c, const struct mr_record *record, const uint8_t *bytes) {
  char text[96];
  int length = 0;
  bool first = (record->flags & MR_FIRST) != 0;
  bool last = (record->flags & MR_LAST) != 0;
  switch (record->kind) {
    case MR_HEAD:
      length = snprintf(text, sizeof(text), "<head %u %u %u>", record->flags, record->aux, record->total_low);
      break;
    case MR_MESSAGE:
      if (first) length = snprintf(text, sizeof(text), "<message %u>", record->flags & MR_TEXT);
      break;
    case MR_PING:
    case MR_PONG:
    case MR_CLOSE:
    case MR_VIOLATION:
      length = snprintf(text, sizeof(text), "<%u %u %u>", record->kind, record->code, record->aux);
      break;
    default:
      break;
  }
  t_append(&c->log, text, (size_t)length);
  t_append(&c->log, bytes, record->length);
  if ((record->kind == MR_BODY || record->kind == MR_MESSAGE) && last) t_append(&c->log, "<last>", 6);
  if (record->kind == MR_BODY || record->kind == MR_MESSAGE || record->kind == MR_DATA) {
    t_append(&c->body, bytes, record->length);
  }
}

static bool record_valid(const struct t_server *s, const struct mr_record *r) {
  if (r->kind < MR_OPEN || r->kind >= T_KINDS) return false;
  uint32_t heads = s->control->heads_bytes;
  if (r->kind == MR_HEAD) return r->start <= heads && r->length <= heads - r->start;
  if (r->block == MR_NO_BLOCK) return r->length == 0;
  return r->block < s->control->blocks_capacity && r->start <= MR_BLOCK_BYTES &&
         r->length <= MR_BLOCK_BYTES - r->start;
}

static const uint8_t *bytes_of(const struct t_server *s, const struct mr_record *r) {
  if (r->kind == MR_HEAD) return s->heads + r->start;
  return r->block == MR_NO_BLOCK ? NULL : s->blocks + r->block * (uint64_t)MR_BLOCK_BYTES + r->start;
}

static void begin(struct t_server *s, uint32_t handle) {
  struct t_conn *c = t_conn(s, handle);
  c->log.length = c->body.length = 0;
  *c = (struct t_conn){.handle = handle, .live = true, .log = c->log, .body = c->body};
  s->last = handle;
  s->opened++;
}

int32_t t_dial(struct t_server *s, const struct mr_connect_options *options, uint32_t *handle) {
  int32_t rc = mr_connect(s->reactor, options, handle);
  if (rc == 0) begin(s, *handle);
  return rc;
}

static void dispatch(struct t_server *s, const struct mr_record *record) {
  if (record->kind == MR_POSTED) {
    if (s->handler != NULL) s->handler(s, record, NULL);
    return;
  }
  struct t_conn *c = t_conn(s, record->handle);
  bool opens = record->kind == MR_OPEN;
  bool expected = opens ? !c->live : c->live && c->handle == record->handle;
  if (!expected || !record_valid(s, record)) {
    fprintf(stderr, "unexpected record: handle %x kind %u\n", record->handle, record->kind);
    s->errors++;
    return;
  }
  if (opens) begin(s, record->handle);
  const uint8_t *bytes = bytes_of(s, record);
  c->seen[record->kind]++;
  if (bytes != NULL && ++c->turn_records > c->most_records) c->most_records = c->turn_records;
  if (record->kind == MR_VIOLATION || record->kind == MR_CLOSE) c->code = record->code;
  if (record->kind == MR_VIOLATION) c->violation = record->aux;
  log_record(c, record, bytes);
  if (s->handler != NULL) s->handler(s, record, bytes);
  if (record->kind == MR_CLOSED) {
    c->closed = record->code;
    c->live = false;
    s->ended++;
  }
}

bool t_turn(struct t_server *s) {
  t_flush(s, 0);
  for (uint32_t i = 0; i < T_CONNS_MAX; i++) s->conns[i].turn_records = 0;
  s->polled = mr_poll(s->reactor);
  s->outbox_used = 0;
  if (s->polled > (int32_t)s->control->records_capacity) {
    fprintf(stderr, "%d records in an inbox of %u\n", s->polled, s->control->records_capacity);
    s->errors++;
    s->polled = (int32_t)s->control->records_capacity;
  }
  for (int32_t i = 0; i < s->polled; i++) dispatch(s, &s->records[i]);
  bool moved = s->polled > 0 || s->command_count > 0;
  if (s->paused_clients) return moved;
  return t_clients_pump(s) || moved;
}

// Sleeps until the reactor's wake socket or a client has news.
static void wait_idle(struct t_server *s, uint64_t deadline) {
  uint64_t now = t_now_ms();
  if (now >= deadline || mr_arm(s->reactor) != 0) return;
  struct pollfd fds[1 + T_CLIENTS_MAX] = {{.fd = s->wake, .events = POLLIN}};
  nfds_t count = 1;
  if (!s->paused_clients) count += t_clients_interest(s, fds + 1);
  poll(fds, count, (int)(deadline - now));
  uint8_t byte[16];
  if ((fds[0].revents & POLLIN) != 0) (void)!read(s->wake, byte, sizeof(byte));
}

bool t_until(struct t_server *s, t_condition *done, const void *context) {
  uint64_t deadline = t_now_ms() + T_DEADLINE_MS;
  while (!done(s, context)) {
    if (t_now_ms() > deadline) {
      fprintf(stderr, "deadline passed: opened %u closed %u last poll %d\n", s->opened, s->ended, s->polled);
      return false;
    }
    if (!t_turn(s) && !done(s, context)) wait_idle(s, deadline);
  }
  return true;
}

void t_turn_for(struct t_server *s, uint32_t ms) {
  uint64_t deadline = t_now_ms() + ms;
  while (t_now_ms() < deadline) {
    if (!t_turn(s)) wait_idle(s, deadline);
  }
}

static bool seen_done(struct t_server *s, const void *context) {
  const uint32_t *want = context;
  return s->opened > 0 && t_last(s)->seen[want[0]] >= want[1];
}

bool t_until_seen(struct t_server *s, uint32_t kind, uint32_t count) {
  const uint32_t want[2] = {kind, count};
  return t_until(s, seen_done, want);
}

static bool opened_done(struct t_server *s, const void *context) {
  return s->opened >= *(const uint32_t *)context;
}

bool t_until_opened(struct t_server *s, uint32_t count) {
  return t_until(s, opened_done, &count);
}

static bool closed_done(struct t_server *s, const void *context) {
  return s->ended >= *(const uint32_t *)context;
}

bool t_until_closed(struct t_server *s, uint32_t count) {
  return t_until(s, closed_done, &count);
}
