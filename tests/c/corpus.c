// SPDX-License-Identifier: Apache-2.0
// corpus.c - see corpus.h.
#include "corpus.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The Makefile runs the tests in c/.
#define FILES "../tests/corpus/*.txt"

// `16 text}` behind `\{`. Returns how many characters that is.
static size_t append_repeated(struct t_bytes *to, const char *text) {
  char *inner = NULL;
  unsigned long count = strtoul(text, &inner, 10);
  const size_t length = strcspn(++inner, "}");
  while (count-- > 0) corpus_unescape(to, inner, length);
  return (size_t)(inner - text) + length + 1;
}

void corpus_unescape(struct t_bytes *to, const char *text, size_t length) {
  const char *const end = text + length;
  while (text < end) {
    char byte = *text++;
    if (byte == '\\') {
      byte = *text++;
      if (byte == '{') {
        text += append_repeated(to, text);
        continue;
      }
      if (byte == 'x') {
        unsigned int value = 0;
        sscanf(text, "%2x", &value);
        byte = (char)value;
        text += 2;
      }
      if (byte == 'r') byte = '\r';
      if (byte == 'n') byte = '\n';
      if (byte == 't') byte = '\t';
    }
    t_append(to, &byte, 1);
  }
}

static bool begins(const char *line, const char *mark) {
  return strncmp(line, mark, strlen(mark)) == 0;
}

// Returns false for a line that no entry has.
static bool read_line(struct corpus_entry *entry, const char *line) {
  const size_t length = strlen(line);
  if (begins(line, "| ")) {
    corpus_unescape(&entry->sent, line + 2, length - 2);
  } else if (begins(line, "> ") || begins(line, "= ") || begins(line, "~")) {
    corpus_unescape(&entry->outcome, line, length);
    t_append(&entry->outcome, "\n", 1);
  } else if (begins(line, "! ")) {
    t_append(&entry->outcome, line, 5);
    t_append(&entry->outcome, "\n", 1);
  } else {
    // What only a server with a handler shows.
    return strcmp(line, "open") == 0 || strcmp(line, "close") == 0 || strcmp(line, "more") == 0 ||
           begins(line, ": ") || begins(line, "< ") || begins(line, "url ");
  }
  return true;
}

static uint32_t read_file(const char *path, struct corpus_entry *entries, uint32_t count) {
  static char line[1 << 16];
  struct corpus_entry *entry = NULL;
  FILE *file = fopen(path, "r");
  while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
    line[strcspn(line, "\n")] = 0;
    if (line[0] == 0 || line[0] == '#') continue;
    if (begins(line, "@ ") && count < CORPUS_MAX) {
      entry = &entries[count++];
      *entry = (struct corpus_entry){0};
      snprintf(entry->id, sizeof(entry->id), "%.*s", (int)strcspn(line + 2, " "), line + 2);
    } else if (entry == NULL || !read_line(entry, line)) {
      fprintf(stderr, "%s: cannot read %s\n", path, line);
      exit(EXIT_FAILURE);
    }
  }
  if (file != NULL) fclose(file);
  return count;
}

uint32_t corpus_read(struct corpus_entry *entries) {
  glob_t files;
  uint32_t count = 0;
  if (glob(FILES, 0, NULL, &files) != 0) {
    fprintf(stderr, "No files %s\n", FILES);
    exit(EXIT_FAILURE);
  }
  for (size_t i = 0; i < files.gl_pathc; i++) count = read_file(files.gl_pathv[i], entries, count);
  globfree(&files);
  return count;
}

const uint8_t *corpus_chunked(const struct corpus_entry *entry, size_t *length) {
  static const char head_end[] = "Transfer-Encoding: chunked\r\n\r\n";
  const struct t_bytes *sent = &entry->sent;
  const uint8_t *found = memmem(sent->at, sent->length, head_end, sizeof(head_end) - 1);
  if (found == NULL) return NULL;
  found += sizeof(head_end) - 1;
  *length = sent->length - (size_t)(found - sent->at);
  return found;
}

void corpus_free(struct corpus_entry *entries, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    free(entries[i].sent.at);
    free(entries[i].outcome.at);
  }
}
