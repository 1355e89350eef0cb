// SPDX-License-Identifier: Apache-2.0
// check.h - what every C test program needs: named cases, a count, memory that ends at a forbidden page.
#ifndef MR_TESTS_CHECK_H
#define MR_TESTS_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// Address and length of a string literal, without the NUL that C puts behind it.
#define T_BYTES(literal) (const uint8_t *)(literal), sizeof(literal) - 1

enum { T_GUARDED_MAX = 1 << 18, T_PAGE = 1 << 16 };  // 64 KiB: the largest page size of any Linux

static uint32_t t_passed;
static uint32_t t_failed;

static inline bool t_case(const char *name, bool ok) {
  printf("%s %s\n", ok ? "ok" : "FAILED", name);
  if (ok) {
    t_passed++;
  } else {
    t_failed++;
  }
  return ok;
}

// Exit code of the program.
static inline int t_done(void) {
  printf("%u passed, %u failed\n", t_passed, t_failed);
  return t_failed == 0 && t_passed > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

// T_GUARDED_MAX bytes with a page that nobody may touch on either side; the same ones with each call.
static inline uint8_t *t_guarded_memory(void) {
  static uint8_t *memory;
  if (memory == NULL) {
    uint8_t *all = mmap(NULL, T_GUARDED_MAX + 2 * T_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all + T_PAGE, T_GUARDED_MAX, PROT_READ | PROT_WRITE) != 0) {
      perror("t_guarded_memory");
      exit(EXIT_FAILURE);
    }
    memory = all + T_PAGE;
  }
  return memory;
}

// Copies bytes to where the byte behind the last one is forbidden.
static inline uint8_t *t_guarded(const uint8_t *bytes, uint32_t length) {
  uint8_t *copy = t_guarded_memory() + T_GUARDED_MAX - length;
  if (length > 0) memmove(copy, bytes, length);
  return copy;
}

// Repeatable noise: xorshift64 of Marsaglia.
static inline uint64_t t_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

#endif
