// SPDX-License-Identifier: Apache-2.0
// topology_file.c - small files of /sys and /proc, and the lists in them; called by topology_sys.c,
// topology_quota.c and pages.c.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sys.h"
#include "topology.h"

static int open_file(const char *pattern, va_list values) {
  char path[PROC_PATH_BYTES];
  int root = snprintf(path, sizeof(path), "%s", sys_root);
  if (root < 0 || (size_t)root >= sizeof(path)) return -1;
  int rest = vsnprintf(path + root, sizeof(path) - (size_t)root, pattern, values);
  if (rest < 0 || (size_t)(root + rest) >= sizeof(path)) return -1;
  return sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
}

static bool read_all(int fd, char *out, uint32_t capacity) {
  uint32_t length = 0;
  ssize_t count = 0;
  // Some of these files come in pieces.
  while (length + 1 < capacity) {
    count = sys_pread(fd, out + length, capacity - 1 - length, length);
    if (count <= 0) break;
    length += (uint32_t)count;
  }
  out[length] = '\0';
  return count >= 0;
}

static bool read_at(char *out, uint32_t capacity, const char *pattern, va_list values) {
  int fd = open_file(pattern, values);
  bool done = fd >= 0 && read_all(fd, out, capacity);
  if (fd >= 0) close(fd);
  if (!done) out[0] = '\0';
  return done;
}

bool topology_read(char *out, uint32_t capacity, const char *pattern, ...) {
  va_list values;
  va_start(values, pattern);
  bool done = read_at(out, capacity, pattern, values);
  va_end(values);
  return done;
}

uint64_t topology_number(uint64_t none, const char *pattern, ...) {
  char text[64], *end;
  va_list values;
  va_start(values, pattern);
  read_at(text, sizeof(text), pattern, values);
  va_end(values);
  uint64_t number = strtoull(text, &end, 10);
  return end == text || text[0] == '-' ? none : number;
}

void topology_list(const char *text, struct bits *out) {
  for (;;) {
    char *end;
    uint64_t first = strtoull(text, &end, 10);
    if (end == text) return;
    uint64_t last = *end == '-' ? strtoull(end + 1, &end, 10) : first;
    for (uint64_t i = first; i <= last && i < CPUS_MAX; i++) bits_add(out, (uint32_t)i);
    if (*end != ',') return;
    text = end + 1;
  }
}
