// SPDX-License-Identifier: Apache-2.0
// corpus_test.c - what the shim makes of tests/corpus, whole, cut at every byte and one byte at a time; and
// that the plain second implementation, by which the fuzz targets judge, makes the same of it.
//
// `corpus_test seeds DIRECTORY` writes the entries as inputs for the fuzz targets instead.
#include "corpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "check.h"
#include "http_head.h"
#include "plain_http.h"

// Longer entries are not cut everywhere: see next_cut().
enum { LONG = 400 };

static struct corpus_entry entries[CORPUS_MAX];
static uint32_t entry_count;
static struct t_server server;

// One connection's outcome as it grows, and the body that is coming.
static struct t_bytes outcome;
static struct t_bytes body;
static bool in_body;

static void line(struct t_bytes *to, const char *mark, const void *bytes, size_t length) {
  t_append(to, mark, strlen(mark));
  t_append(to, bytes, length);
  t_append(to, "\n", 1);
}

// A body that is over, or will not go on.
static void body_line(bool whole) {
  const char *mark = whole ? "= " : body.length > 0 ? "~ " : "~";
  if (!whole || body.length > 0) line(&outcome, mark, body.at, body.length);
  body.length = 0;
  in_body = false;
}

static void refusal_line(int status) {
  char text[16];
  const int length = snprintf(text, sizeof(text), "! %d", status);
  line(&outcome, "", text, (size_t)length);
}

static void note(struct t_server *s, const struct mr_record *record, const uint8_t *bytes) {
  if (record->kind == MR_OPEN) {
    outcome.length = 0;
    body.length = 0;
    in_body = false;
  }
  if (record->kind == MR_HEAD) {
    const uint32_t method = record->aux & 0xff, target = record->aux >> 8;
    line(&outcome, "> ", bytes, method + 1 + target);
    in_body = (record->flags & MR_HAS_BODY) != 0;
    if ((record->flags & MR_UPGRADE) != 0) t_command(s, record->handle, MR_CMD_DECLINE, 0);
  }
  if (record->kind == MR_BODY) {
    t_append(&body, bytes, record->length);
    if ((record->flags & MR_LAST) != 0) body_line(true);
  }
  if (in_body && (record->kind == MR_VIOLATION || record->kind == MR_END)) body_line(false);
  if (record->kind == MR_VIOLATION) refusal_line(record->code);
}

struct progress {
  uint32_t client;
  uint64_t received;  // bytes that the reactor has received by then
};

static bool is_received(struct t_server *s, const void *context) {
  const struct progress *until = context;
  return s->control->received_bytes >= until->received;
}

// Sends the first cut bytes, then step at a time, each when the one before is received.
static bool play(const struct corpus_entry *entry, size_t cut, size_t step) {
  struct t_server *s = &server;
  bool ok = true;
  const uint32_t opened = s->opened, closed = s->ended;
  struct progress until = {t_connect(s), s->control->received_bytes};
  T_NEED(t_until_opened(s, opened + 1));
  for (size_t at = 0; at < entry->sent.length;) {
    const size_t left = entry->sent.length - at;
    size_t count = at == 0 && cut > 0 ? cut : step;
    if (count > left) count = left;
    t_write(s, until.client, entry->sent.at + at, count);
    at += count;
    until.received += count;
    T_NEED(t_until(s, is_received, &until));
  }
  t_hang_up(s, until.client);
  T_NEED(t_until_seen(s, MR_END, 1));
  ok = t_same(&outcome, entry->outcome.at, entry->outcome.length);
  if (!ok) {
    printf("# %s, first %zu bytes, then %zu:\n%.*s# instead of\n%.*s", entry->id, cut, step,
           (int)outcome.length, (char *)outcome.at, (int)entry->outcome.length, (char *)entry->outcome.at);
  }
  t_command(s, s->last, MR_CMD_TERMINATE, 0);
  T_NEED(t_until_closed(s, closed + 1));
end:
  t_hang_up(s, until.client);
  free(s->clients[until.client].in.at);
  s->clients[until.client] = (struct t_client){.fd = -1};
  s->client_count = until.client;
  return ok;
}

static bool open_server(uint32_t backend) {
  struct mr_options options = t_options(backend);
  options.max_body_bytes = 64 << 20;
  if (t_open(&server, &options, false) != 0) return false;
  server.handler = note;
  return true;
}

static bool run_whole(uint32_t backend) {
  bool ok = open_server(backend);
  for (uint32_t i = 0; i < entry_count; i++) ok = play(&entries[i], 0, entries[i].sent.length) && ok;
  return t_close(&server) && ok;
}

static bool run_bytes(uint32_t backend) {
  bool ok = open_server(backend);
  for (uint32_t i = 0; i < entry_count; i++) ok = play(&entries[i], 0, 1) && ok;
  return t_close(&server) && ok;
}

// Every byte of a short entry; of a long one those at its ends and some between.
static size_t next_cut(size_t cut, size_t length) {
  if (length <= LONG || cut < LONG / 4 || cut + LONG / 4 >= length) return cut + 1;
  const size_t next = cut + 251;
  return next + LONG / 4 < length ? next : length - LONG / 4;
}

static bool run_cuts(uint32_t backend) {
  bool ok = open_server(backend);
  for (uint32_t i = 0; i < entry_count; i++) {
    const size_t length = entries[i].sent.length;
    for (size_t cut = 1; cut < length; cut = next_cut(cut, length)) {
      if (play(&entries[i], cut, length)) continue;
      ok = false;
      break;
    }
  }
  return t_close(&server) && ok;
}

// What the plain implementation makes of an entry, in the same words.
static void plain_outcome(const struct corpus_entry *entry) {
  static const struct plain_limits limits = {16384, 8192, 100, 64 << 20};
  static struct plain_head head;
  static struct plain_body chunks;
  const uint8_t *at = entry->sent.at;
  uint32_t left = (uint32_t)entry->sent.length;
  bool goes_on = true;
  outcome.length = body.length = 0;
  while (goes_on) {
    plain_head(at, left, &limits, &head);
    if (head.status > PLAIN_OK) refusal_line(head.status);
    if (head.status != PLAIN_OK) return;
    line(&outcome, "> ", at + head.method.at, head.method.length + 1 + head.target.length);
    at += head.length;
    left -= head.length;
    goes_on = (head.flags & MR_KEEP_ALIVE) != 0;
    if ((head.flags & MR_CHUNKED) != 0) {
      plain_chunked(at, left, limits.body, &chunks);
      t_append(&body, chunks.data, chunks.length);
      body_line(chunks.status == PLAIN_OK);
      if (chunks.status > PLAIN_OK) refusal_line(chunks.status);
      if (chunks.status != PLAIN_OK) return;
      at += chunks.consumed;
      left -= chunks.consumed;
    } else if (head.content_length > 0) {
      const bool whole = left >= head.content_length;
      const uint32_t length = whole ? (uint32_t)head.content_length : left;
      t_append(&body, at, length);
      body_line(whole);
      at += length;
      left -= length;
      if (!whole) return;
    }
  }
}

static bool plain_agrees(void) {
  bool ok = true;
  for (uint32_t i = 0; i < entry_count; i++) {
    plain_outcome(&entries[i]);
    if (t_same(&outcome, entries[i].outcome.at, entries[i].outcome.length)) continue;
    printf("# %s: plain says\n%.*s", entries[i].id, (int)outcome.length, (char *)outcome.at);
    ok = false;
  }
  return ok;
}

static bool write_seed(const char *directory, const char *kind, const char *id, const uint8_t *bytes,
                       size_t length) {
  char path[512];
  snprintf(path, sizeof(path), "%s/%s", directory, kind);
  mkdir(path, 0755);
  snprintf(path, sizeof(path), "%s/%s/%s", directory, kind, id);
  FILE *file = fopen(path, "w");
  if (file == NULL) return false;
  const bool ok = fwrite(bytes, 1, length, file) == length;
  return fclose(file) == 0 && ok;
}

// All entries are heads, with whatever follows; what follows the head of a chunked one is a chunked body.
static bool write_seeds(const char *directory) {
  bool ok = true;
  for (uint32_t i = 0; i < entry_count; i++) {
    const struct t_bytes *sent = &entries[i].sent;
    ok = write_seed(directory, "http_head", entries[i].id, sent->at, sent->length) && ok;
    size_t length = 0;
    const uint8_t *found = corpus_chunked(&entries[i], &length);
    if (found == NULL) continue;
    ok = write_seed(directory, "http_body", entries[i].id, found, length) && ok;
  }
  return ok;
}

int main(int argc, char **argv) {
  entry_count = corpus_read(entries);
  if (argc == 3 && strcmp(argv[1], "seeds") == 0) return write_seeds(argv[2]) ? EXIT_SUCCESS : EXIT_FAILURE;
  t_case("the plain implementation agrees with the corpus", entry_count > 0 && plain_agrees());
  T_BOTH("the corpus, whole", run_whole);
  T_BOTH("the corpus, one byte at a time", run_bytes);
  T_BOTH("the corpus, cut in two at every byte", run_cuts);
  corpus_free(entries, entry_count);
  free(outcome.at);
  free(body.at);
  return t_done();
}
