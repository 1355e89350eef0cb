// SPDX-License-Identifier: Apache-2.0
// floor.c - the C floor: the shim without JavaScript. It walks the records and stages the commands as the
// TypeScript layer does, so that its speed is the bound of what that layer can reach.
//
//   floor [--backend io_uring|epoll] [--port 0] [tcp]       prints its port when it listens
#include "floor.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define DATE_PLACE "Thu, 01 Jan 1970 00:00:00 GMT"
#define NO_STATUS 1005  // a close frame without a code
#define NOT_FOUND "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"

// The defaults of lib/options.ts.
static const struct mr_options OPTIONS = {
    .ring_entries = 1024,
    .batch = 256,
    .max_connections = 65536,
    .block_count = 8192,
    .receive_buffers = 256,
    .outbox_bytes = 1 << 20,
    .max_head_bytes = 16384,
    .max_target_bytes = 8192,
    .max_fields = 100,
    .max_queue_bytes = 64 << 20,
    .max_fragments = 1024,
    .head_timeout = 10000,
    .body_timeout = 30000,
    .idle_timeout = 65000,
    .stall_timeout = 20000,
    .linger_timeout = 2000,
    .linger_bytes = 16 << 20,
    .drain_timeout = 2000,
    .min_body_rate = 512,
    .min_send_rate = 512,
    .rate_grace = 5000,
    .max_pipelined = 64,
    .max_body_bytes = 64 << 20,
};

static void die(const char *what) {
  fprintf(stderr, "floor: %s\n", what);
  exit(1);
}

static void flush(struct floor *floor, uint32_t now) {
  if (floor->staged > 0) mr_flush(floor->reactor, floor->staged, now);
  floor->staged = 0;
  floor->outbox_used = 0;
}

uint8_t *floor_reserve(struct floor *floor, uint32_t length) {
  if (length > floor->control->outbox_bytes - floor->outbox_used) flush(floor, 1);
  return floor->outbox + floor->outbox_used;
}

static struct mr_command *next_command(struct floor *floor) {
  if (floor->staged == floor->control->commands_capacity) {
    // What is staged goes out, but the bytes reserved last have not been handed over: they stay where they
    // are.
    mr_flush(floor->reactor, floor->staged, 1);
    floor->staged = 0;
  }
  return &floor->commands[floor->staged++];
}

// Stages the next length bytes of the outbox. Bytes of one connection that follow one another are one
// command.
void floor_stage(struct floor *floor, uint32_t handle, uint32_t length, uint16_t responses) {
  uint32_t offset = floor->outbox_used;
  floor->outbox_used += length;
  if (floor->staged > 0) {
    struct mr_command *last = &floor->commands[floor->staged - 1];
    if (last->handle == handle && last->op == MR_CMD_SEND && last->offset + last->length == offset) {
      last->length += length;
      last->count = (uint16_t)(last->count + responses);
      return;
    }
  }
  *next_command(floor) = (struct mr_command){handle, MR_CMD_SEND, responses, offset, length};
}

void floor_command(struct floor *floor, uint32_t handle, enum mr_command_op op, uint32_t offset) {
  *next_command(floor) = (struct mr_command){handle, (uint16_t)op, 0, offset, 0};
}

// Writes the reply anew once a second, for its date.
static void update_reply(struct floor *floor) {
  struct timespec now;
  char date[sizeof DATE_PLACE];
  struct tm parts;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  if ((uint64_t)now.tv_sec == floor->date_second) return;
  floor->date_second = (uint64_t)now.tv_sec;
  gmtime_r(&now.tv_sec, &parts);
  strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  int length = snprintf(floor->reply, sizeof floor->reply,
                        "HTTP/1.1 200 OK\r\ncontent-type: text/plain;charset=UTF-8\r\ncontent-length: 13\r\n"
                        "date: %s\r\n\r\nHello, World!",
                        date);
  floor->reply_bytes = (size_t)length;
}

static void answer(struct floor *floor, uint32_t handle, const char *bytes, size_t length) {
  memcpy(floor_reserve(floor, (uint32_t)length), bytes, length);
  floor_stage(floor, handle, (uint32_t)length, 1);
}

static int is_plaintext(const char *head, uint32_t aux) {
  static const char TARGET[] = "/plaintext";
  uint32_t method_bytes = aux & 0xff;
  return aux >> 8 == sizeof TARGET - 1 && memcmp(head + method_bytes + 1, TARGET, sizeof TARGET - 1) == 0;
}

static void on_head(struct floor *floor, const struct mr_record *record, const uint8_t *bytes) {
  const char *head = (const char *)bytes;
  if (record->flags & MR_UPGRADE) {
    floor_upgrade(floor, record->handle, head, record->length);
    return;
  }
  if (record->flags & MR_HAS_BODY) return;  // answered at the end of the body
  if (is_plaintext(head, record->aux))
    answer(floor, record->handle, floor->reply, floor->reply_bytes);
  else
    answer(floor, record->handle, NOT_FOUND, sizeof NOT_FOUND - 1);
  if (!(record->flags & MR_KEEP_ALIVE)) floor_command(floor, record->handle, MR_CMD_FINISH, 0);
}

// A close frame is answered with its own code, if it has one.
static void on_close(struct floor *floor, const struct mr_record *record) {
  uint8_t code[2] = {(uint8_t)(record->code >> 8), (uint8_t)record->code};
  floor_control(floor, record->handle, 0x88, code, record->code == NO_STATUS ? 0 : sizeof code);
  floor_command(floor, record->handle, MR_CMD_FINISH, 0);
}

static void on_record(struct floor *floor, const struct mr_record *record) {
  const uint8_t *bytes = record->block == MR_NO_BLOCK
                             ? NULL
                             : floor->blocks + (size_t)record->block * MR_BLOCK_BYTES + record->start;
  switch (record->kind) {
    case MR_HEAD:
      on_head(floor, record, floor->heads + record->start);
      break;
    case MR_BODY:
      if (record->flags & MR_LAST) answer(floor, record->handle, floor->reply, floor->reply_bytes);
      break;
    case MR_MESSAGE:
      floor_message(floor, record, bytes);
      break;
    case MR_DATA:
      memcpy(floor_reserve(floor, record->length), bytes, record->length);
      floor_stage(floor, record->handle, record->length, 0);
      break;
    case MR_PING:
      floor_control(floor, record->handle, 0x8a, bytes, record->length);
      break;
    case MR_CLOSE:
      on_close(floor, record);
      break;
    case MR_END:
      floor_command(floor, record->handle, MR_CMD_FINISH, 0);
      break;
    case MR_VIOLATION:
      floor_command(floor, record->handle, MR_CMD_TERMINATE, 0);
      break;
    case MR_CLOSED:
      floor_forget(floor, record->handle);
      break;
    default:
      break;
  }
}

// Blocks until the reactor has something to do.
static void wait_for_work(struct floor *floor) {
  char bytes[64];
  struct pollfd wake = {.fd = floor->wake, .events = POLLIN};
  int32_t armed = mr_arm(floor->reactor);
  if (armed < 0) die("cannot arm the wake chain");
  if (armed == 1) return;
  poll(&wake, 1, -1);
  while (recv(floor->wake, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
  }
}

static void run(struct floor *floor) {
  for (;;) {
    int32_t count = mr_poll(floor->reactor);
    if (count < 0) die("cannot poll");
    if (count == 0) {
      wait_for_work(floor);
      continue;
    }
    update_reply(floor);
    for (int32_t i = 0; i < count; i++) on_record(floor, &floor->records[i]);
    flush(floor, 0);
  }
}

static void open_floor(struct floor *floor, uint32_t backend) {
  struct mr_options options = OPTIONS;
  mr_arena *arena;
  char reason[MR_TEXT_BYTES] = "";
  options.backend = backend;
  if (mr_arena_open(&options, &arena) != 0) die("cannot open the arena");
  if (mr_open(arena, &options, &floor->reactor, reason) != 0) die(reason);
  uint8_t *base = mr_arena_base(arena);
  floor->control = (struct mr_control *)base;
  floor->records = (const struct mr_record *)(base + floor->control->records_offset);
  floor->commands = (struct mr_command *)(base + floor->control->commands_offset);
  floor->outbox = base + floor->control->outbox_offset;
  floor->heads = base + floor->control->heads_offset;
  floor->blocks = base + floor->control->blocks_offset;
  floor->messages = calloc(options.max_connections, sizeof *floor->messages);
  floor->wake = mr_wake_socket(floor->reactor);
  if (floor->messages == NULL || floor->wake < 0) die("cannot open the wake socket");
}

static void listen_on(struct floor *floor, uint32_t port) {
  uint32_t flags = floor->plain ? MR_STREAM : 0;
  struct mr_listen_options options = {.flags = flags, .port = port, .backlog = 1024, .host = "127.0.0.1"};
  char address[MR_TEXT_BYTES];
  int32_t listener = mr_listen(floor->reactor, &options, NULL);
  if (listener < 0) die("cannot listen");
  if (mr_listen_address(floor->reactor, (uint32_t)listener, address) != 0) die("cannot tell the address");
  printf("%s\n", strrchr(address, ' ') + 1);
  fflush(stdout);
}

int main(int count, char **values) {
  static struct floor floor;
  uint32_t backend = MR_IO_URING;
  uint32_t port = 0;
  for (int i = 1; i + 1 < count; i += 2) {
    if (strcmp(values[i], "--backend") == 0 && strcmp(values[i + 1], "epoll") == 0) backend = MR_EPOLL;
    if (strcmp(values[i], "--port") == 0) port = (uint32_t)strtoul(values[i + 1], NULL, 10);
  }
  floor.plain = strcmp(values[count - 1], "tcp") == 0;
  open_floor(&floor, backend);
  listen_on(&floor, port);
  run(&floor);
}
