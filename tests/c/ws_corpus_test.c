// SPDX-License-Identifier: Apache-2.0
// ws_corpus_test.c - what the tokeniser makes of tests/corpus/websocket, whole, cut at every byte and in
// steps; and that the plain second implementation makes the same of it, also where one byte is another.
//
// `ws_corpus_test seeds DIRECTORY` writes the entries as inputs for the fuzz target instead.
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "check.h"
#include "corpus.h"
#include "harness_client.h"
#include "plain_ws.h"

// The Makefile runs the tests in c/.
#define FILES "../tests/corpus/websocket/*.txt"

enum { ENTRIES_MAX = 1024, PAYLOAD_MAX = 4096 };

struct entry {
  char id[64];
  struct t_bytes sent;
  struct ws_mode mode;  // with deflate, what messages inflate to is not for the tokeniser to say
  bool as_it_stands;    // the masks are in the bytes
  struct t_bytes expected;
  bool closes;  // by a close frame: c/conn_ws.c gives the tokeniser nothing that comes behind it
};

static const struct ws_limits limits = {1000, 8};
static struct entry entries[ENTRIES_MAX];
static uint32_t entry_count;

static const struct {
  const char *name;
  uint32_t violation;
} violations[] = {
    {"WS_RESERVED_BITS", MR_WS_RESERVED_BITS},
    {"WS_BAD_OPCODE", MR_WS_BAD_OPCODE},
    {"WS_NOT_MASKED", MR_WS_NOT_MASKED},
    {"WS_BAD_LENGTH", MR_WS_BAD_LENGTH},
    {"WS_CONTROL_TOO_LONG", MR_WS_CONTROL_TOO_LONG},
    {"WS_CONTROL_FRAGMENTED", MR_WS_CONTROL_FRAGMENTED},
    {"WS_BAD_CONTINUATION", MR_WS_BAD_CONTINUATION},
    {"WS_INTERLEAVED", MR_WS_INTERLEAVED},
    {"WS_TOO_LARGE", MR_WS_TOO_LARGE},
    {"WS_BAD_UTF8", MR_WS_BAD_UTF8},
    {"WS_BAD_CLOSE_CODE", MR_WS_BAD_CLOSE_CODE},
    {"WS_BAD_CLOSE_LENGTH", MR_WS_BAD_CLOSE_LENGTH},
    {"WS_TOO_MANY_FRAGMENTS", MR_WS_TOO_MANY_FRAGMENTS},
    {"WS_BAD_DEFLATE", MR_WS_BAD_DEFLATE},
    {"WS_MASKED", MR_WS_MASKED},
};

static bool begins(const char *line, const char *mark) {
  return strncmp(line, mark, strlen(mark)) == 0;
}

static void expect(struct entry *entry, uint32_t kind, uint32_t code, const char *text) {
  static struct ws_outcome one;
  struct t_bytes payload = {0};
  corpus_unescape(&payload, text, strlen(text));
  one.length = 0;
  ws_outcome_add(&one, kind, code, payload.at, (uint32_t)payload.length);
  t_append(&entry->expected, one.bytes, one.length);
  free(payload.at);
}

// The text behind a word and the space that follows it, or nothing.
static const char *behind(const char *line, size_t word) {
  return line[word] == ' ' ? line + word + 1 : line + word;
}

static bool expect_event(struct entry *entry, const char *line) {
  static const struct {
    const char *mark;
    uint32_t kind;
  } kinds[] = {{"> text", WS_TEXT}, {"> binary", WS_BINARY}, {"> ping", MR_PING}, {"> pong", MR_PONG}};
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    if (!begins(line, kinds[i].mark)) continue;
    expect(entry, kinds[i].kind, 0, behind(line, strlen(kinds[i].mark)));
    return true;
  }
  return false;
}

static bool expect_violation(struct entry *entry, const char *line) {
  const uint32_t code = (uint32_t)strtoul(line + 2, NULL, 10);
  for (size_t i = 0; i < sizeof violations / sizeof violations[0]; i++) {
    if (strcmp(line + 7, violations[i].name) != 0) continue;
    expect(entry, WS_VIOLATION, violations[i].violation, "");
    return ws_violation_code((enum mr_violation)violations[i].violation) == code;
  }
  return false;
}

// Takes the masks off the frames of an entry that says the same of a client, which must be whole.
static void as_a_server_sends(struct entry *entry) {
  struct t_bytes plain = {0};
  const uint8_t *at = entry->sent.at;
  const uint8_t *const end = at + entry->sent.length;
  while (at < end) {
    const uint32_t count = (at[1] & 0x7f) == 126 ? 2 : 0;  // no payload is longer
    const uint32_t length = count == 0 ? at[1] & 0x7f : (uint32_t)(at[2] << 8 | at[3]);
    const uint8_t second = at[1] & 0x7f;
    uint8_t *payload = (uint8_t *)at + 6 + count;
    ws_mask(payload, length, payload - 4);
    t_append(&plain, at, 1);
    t_append(&plain, &second, 1);
    t_append(&plain, at + 2, count);
    t_append(&plain, payload, length);
    at = payload + length;
  }
  free(entry->sent.at);
  entry->sent = plain;
  entry->mode.of_server = true;
}

static void send_frame(struct entry *entry, const char *line) {
  uint8_t frame[PAYLOAD_MAX + 14];
  struct t_bytes payload = {0};
  const uint8_t first = (uint8_t)strtoul(line + 2, NULL, 16);
  corpus_unescape(&payload, behind(line, 4), strlen(behind(line, 4)));
  if (payload.length > PAYLOAD_MAX) abort();
  t_append(&entry->sent, frame, t_frame(frame, first, payload.at, payload.length));
  free(payload.at);
}

// Returns false for a line that no entry has.
static bool read_line(struct entry *entry, const char *line) {
  if (begins(line, "| ")) {
    entry->as_it_stands = true;
    corpus_unescape(&entry->sent, line + 2, strlen(line + 2));
  } else if (begins(line, "f ")) {
    send_frame(entry, line);
  } else if (begins(line, "> ")) {
    return expect_event(entry, line);
  } else if (begins(line, "! ")) {
    return expect_violation(entry, line);
  } else if (begins(line, "close ")) {
    entry->closes = true;
    expect(entry, MR_CLOSE, (uint32_t)strtoul(line + 6, NULL, 10), behind(line, 10));
  } else if (strcmp(line, "side client") == 0) {
    entry->mode.of_server = true;
  } else if (begins(line, "with ")) {
    entry->mode.deflate = true;
  } else {
    return strcmp(line, "open") == 0 || strcmp(line, "more") == 0;
  }
  return true;
}

static void read_file(const char *path) {
  static char line[1 << 16];
  struct entry *entry = NULL;
  FILE *file = fopen(path, "r");
  while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
    line[strcspn(line, "\n")] = 0;
    if (line[0] == 0 || line[0] == '#') continue;
    if (begins(line, "@ ") && entry_count < ENTRIES_MAX) {
      entry = &entries[entry_count++];
      snprintf(entry->id, sizeof(entry->id), "%.*s", (int)strcspn(line + 2, " "), line + 2);
    } else if (entry == NULL || !read_line(entry, line)) {
      fprintf(stderr, "%s: cannot read %s\n", path, line);
      exit(EXIT_FAILURE);
    }
  }
  if (file != NULL) fclose(file);
}

static void read_files(void) {
  glob_t files;
  if (glob(FILES, 0, NULL, &files) != 0) {
    fprintf(stderr, "No files %s\n", FILES);
    exit(EXIT_FAILURE);
  }
  for (size_t i = 0; i < files.gl_pathc; i++) read_file(files.gl_pathv[i]);
  globfree(&files);
}

static bool say(const struct entry *entry, const char *what, bool ok) {
  if (!ok) printf("# %s: %s\n", entry->id, what);
  return ok;
}

static bool as_expected(const struct entry *entry) {
  static struct ws_outcome outcome;
  const uint32_t length = (uint32_t)entry->sent.length;
  ws_feed(entry->sent.at, length, (struct ws_cuts){length, 1, NULL}, &limits, entry->mode, &outcome);
  const size_t wanted = entry->expected.length;
  if (entry->closes && outcome.length > wanted) outcome.length = (uint32_t)wanted;
  return entry->mode.deflate || t_same(&entry->expected, outcome.bytes, outcome.length);
}

static bool cut_anywhere(const struct entry *entry) {
  static struct ws_outcome whole, part;
  const uint8_t *bytes = entry->sent.at;
  const uint32_t length = (uint32_t)entry->sent.length;
  bool ok = true;
  ws_feed(bytes, length, (struct ws_cuts){length, 1, NULL}, &limits, entry->mode, &whole);
  for (uint32_t cut = 0; cut < length && ok; cut++) {
    ws_feed(bytes, length, (struct ws_cuts){cut, length, NULL}, &limits, entry->mode, &part);
    ok = ws_outcome_same(&part, &whole);
    // What came of a part is never taken back.
    ws_feed(bytes, cut, (struct ws_cuts){cut, 1, NULL}, &limits, entry->mode, &part);
    ok = ok && part.length <= whole.length && memcmp(part.bytes, whole.bytes, part.length) == 0;
  }
  for (uint32_t step = 1; step <= 5 && ok; step++) {
    ws_feed(bytes, length, (struct ws_cuts){0, step, NULL}, &limits, entry->mode, &part);
    ok = ws_outcome_same(&part, &whole);
  }
  return ok;
}

static bool agree(const uint8_t *bytes, uint32_t length, struct ws_mode mode) {
  static struct ws_outcome outcome, plain;
  ws_feed(bytes, length, (struct ws_cuts){length, 1, NULL}, &limits, mode, &outcome);
  plain_ws(bytes, length, &limits, mode, &plain);
  return ws_outcome_same(&plain, &outcome);
}

// Every value of every byte that a header may have.
static bool plain_agrees(const struct entry *entry) {
  struct t_bytes changed = {0};
  const uint32_t length = (uint32_t)entry->sent.length;
  t_append(&changed, entry->sent.at, length);
  bool ok = agree(changed.at, length, entry->mode);
  for (uint32_t at = 0; at < length && at < 40 && ok; at++) {
    const uint8_t byte = changed.at[at];
    for (uint32_t value = 0; value < 256 && ok; value++) {
      changed.at[at] = (uint8_t)value;
      ok = agree(changed.at, length, entry->mode);
    }
    changed.at[at] = byte;
  }
  free(changed.at);
  return ok;
}

static bool write_seeds(const char *directory) {
  char path[512];
  bool ok = true;
  snprintf(path, sizeof(path), "%s/ws_frame", directory);
  mkdir(path, 0755);
  for (uint32_t i = 0; i < entry_count; i++) {
    snprintf(path, sizeof(path), "%s/ws_frame/%s", directory, entries[i].id);
    FILE *file = fopen(path, "w");
    if (file == NULL) return false;
    ok = fwrite(entries[i].sent.at, 1, entries[i].sent.length, file) == entries[i].sent.length && ok;
    ok = fclose(file) == 0 && ok;
  }
  return ok;
}

static void run(const char *whose) {
  char name[128];
  bool expected = true, cuts = true, plain = true;
  uint32_t count = 0;
  for (uint32_t i = 0; i < entry_count; i++) {
    const struct entry *entry = &entries[i];
    if (entry->mode.of_server != (strcmp(whose, "server") == 0)) continue;
    count++;
    expected = say(entry, "not as expected", as_expected(entry)) && expected;
    cuts = say(entry, "differs when it is cut", cut_anywhere(entry)) && cuts;
    plain = say(entry, "the plain implementation differs", plain_agrees(entry)) && plain;
  }
  snprintf(name, sizeof(name), "the corpus of frames of a %s, whole", whose);
  t_case(name, count > 0 && expected);
  snprintf(name, sizeof(name), "the corpus of frames of a %s, cut at every byte and in steps", whose);
  t_case(name, cuts);
  snprintf(name, sizeof(name),
           "the plain implementation agrees about frames of a %s, and where one byte is another", whose);
  t_case(name, plain);
}

int main(int argc, char **argv) {
  read_files();
  if (argc == 3 && strcmp(argv[1], "seeds") == 0) return write_seeds(argv[2]) ? EXIT_SUCCESS : EXIT_FAILURE;
  run("client");
  for (uint32_t i = 0; i < entry_count; i++) {
    struct entry *entry = &entries[i];
    if (!entry->as_it_stands) as_a_server_sends(entry);
  }
  run("server");
  for (uint32_t i = 0; i < entry_count; i++) {
    free(entries[i].sent.at);
    free(entries[i].expected.at);
  }
  return t_done();
}
