// SPDX-License-Identifier: Apache-2.0
// corpus.h - reads tests/corpus (see the README there); called by corpus_test.c, plain_test.c and
// ws_corpus_test.c.
#ifndef MR_TESTS_CORPUS_H
#define MR_TESTS_CORPUS_H

#include "harness.h"

enum { CORPUS_MAX = 1024 };

struct corpus_entry {
  char id[64];
  struct t_bytes sent;
  // What has to come of it: `> METHOD target`, `= body`, `~ part of a body` and `! status`, a line each.
  // Without
  // `= ` for an empty body.
  struct t_bytes outcome;
};

// Entries of all files. Ends the program, with the place, where a file cannot be read.
uint32_t corpus_read(struct corpus_entry *entries);
// The chunked body of an entry's first request, NULL when it has none.
const uint8_t *corpus_chunked(const struct corpus_entry *entry, size_t *length);

// Appends what a line of the corpus stands for.
void corpus_unescape(struct t_bytes *to, const char *text, size_t length);

void corpus_free(struct corpus_entry *entries, uint32_t count);

#endif
