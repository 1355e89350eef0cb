// SPDX-License-Identifier: Apache-2.0
// topology_test.c - one line of JSON with sane numbers, with hwloc and without.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "millrace.h"

struct numbers {
  char source[16];
  int packages, nodes, cores, threads, allowed;
};

static bool read_numbers(const char *json, struct numbers *n) {
  int end = 0;
  int count = sscanf(
      json,
      "{\"source\":\"%15[^\"]\",\"packages\":%d,\"nodes\":%d,\"cores\":%d,\"threads\":%d,\"allowed\":%d}%n",
      n->source, &n->packages, &n->nodes, &n->cores, &n->threads, &n->allowed, &end);
  return count == 6 && end == (int)strlen(json);
}

static bool sane(const struct numbers *n) {
  return n->packages >= 1 && n->nodes >= 1 && n->cores >= n->packages && n->threads >= n->cores &&
         n->allowed >= 1 && n->allowed <= n->threads && n->threads <= sysconf(_SC_NPROCESSORS_CONF);
}

static bool ask(struct numbers *n) {
  char json[MR_TEXT_BYTES];
  memset(json, 'x', sizeof(json));
  return mr_topology(json, sizeof(json)) == 0 && read_numbers(json, n) && sane(n);
}

static bool short_buffer(void) {
  char json[MR_TEXT_BYTES];
  memset(json, 'x', sizeof(json));
  bool ok = mr_topology(json, 20) == -ENOSPC && json[20] == 'x';
  return ok && mr_topology(json, 0) == -ENOSPC && mr_topology(json, 1) == -ENOSPC;
}

// dlopen() looks into the directories of LD_LIBRARY_PATH first: a file there that is no library hides hwloc.
static bool without_hwloc(const char *self) {
  char directory[] = "/tmp/millrace-topology-XXXXXX", path[64];
  if (mkdtemp(directory) == NULL) return false;
  snprintf(path, sizeof(path), "%s/libhwloc.so.15", directory);
  FILE *file = fopen(path, "w");
  if (file == NULL) return false;
  fputs("not a library", file);
  fclose(file);
  pid_t child = fork();
  if (child == 0) {
    setenv("LD_LIBRARY_PATH", directory, 1);
    execl(self, self, "/sys", (char *)NULL);
    _exit(127);
  }
  int status = -1;
  waitpid(child, &status, 0);
  unlink(path);
  rmdir(directory);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int count, char **arguments) {
  struct numbers n;
  if (count == 2) return ask(&n) && strcmp(n.source, arguments[1]) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
  t_case("mr_topology() writes JSON with sane numbers", ask(&n));
  t_case("mr_topology() refuses a buffer that is too short", short_buffer());
  t_case("mr_topology() reads /sys without hwloc", without_hwloc(arguments[0]));
  return t_done();
}
