// SPDX-License-Identifier: Apache-2.0
// uring_probe_test.c - each thing that io_uring may lack is named, and nothing is left open.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "faults.h"
#include "harness.h"
#include "millrace.h"

#define ALL                                                                      \
  "[[\"ring\",%d],[\"buffer ring\",%d],[\"multishot receive\",%d],[\"multishot " \
  "accept\",%d],[\"eventfd\",%d],"                                               \
  "[\"wake chain\",%d]]"

// What is found when the nth call of one kind fails; 0 for what does not.
static bool finds(enum sys_call call, uint32_t skip, int error, const int expected[6]) {
  char json[512], wanted[512];
  uint32_t fds = t_open_fds();
  t_faults_clear();
  if (error != 0) t_fault(call, skip, UINT32_MAX, error);
  int32_t length = mr_probe(json, sizeof(json));
  t_faults_clear();
  snprintf(wanted, sizeof(wanted), ALL, expected[0], expected[1], expected[2], expected[3], expected[4],
           expected[5]);
  bool ok = length == (int32_t)strlen(json) && strcmp(json, wanted) == 0 && t_open_fds() == fds;
  if (!ok) printf("%s\n%s\n", json, wanted);
  return ok;
}

int main(void) {
  char json[512];
  const int none[6] = {0};
  t_case("all is well", finds(SYS_MMAP, 0, 0, none));
  const int seccomp[6] = {EPERM, ECANCELED, ECANCELED, ECANCELED, ECANCELED, ECANCELED};
  t_case("without a ring nothing is tried", finds(SYS_URING_SETUP, 0, EPERM, seccomp));
  const int wake[6] = {0, 0, 0, 0, 0, ENOMEM};
  t_case("a second ring that fails is named", finds(SYS_URING_SETUP, 1, ENOMEM, wake));
  const int registers[6] = {0, EINVAL, ECANCELED, 0, EINVAL, 0};
  t_case("buffers that cannot be registered are named", finds(SYS_URING_REGISTER, 0, EINVAL, registers));
  const int memory[6] = {0, ENOMEM, ECANCELED, 0, 0, 0};
  t_case("want of memory is named", finds(SYS_MMAP, 0, ENOMEM, memory));
  const int enters[6] = {0, 0, EINVAL, EINVAL, 0, EINVAL};
  t_case("operations that fail are named", finds(SYS_URING_ENTER, 0, EINVAL, enters));
  const int event[6] = {0, 0, 0, 0, EMFILE, ECANCELED};
  t_case("an eventfd that fails is named", finds(SYS_EVENTFD, 0, EMFILE, event));
  const int pair[6] = {0, 0, EMFILE, 0, 0, EMFILE};
  t_case("socket pairs that fail are named", finds(SYS_SOCKETPAIR, 0, EMFILE, pair));
  const int accepts[6] = {0, 0, 0, EMFILE, 0, 0};
  t_case("a socket that fails is named", finds(SYS_SOCKET, 0, EMFILE, accepts));
  t_case("a second one too", finds(SYS_SOCKET, 1, EMFILE, accepts));
  t_case("a name that fails is named", finds(SYS_BIND, 0, EMFILE, accepts));
  t_case("a connection that fails is named", finds(SYS_CONNECT, 0, EMFILE, accepts));
  int32_t length = mr_probe(json, sizeof(json));
  bool fits = mr_probe(json, (uint32_t)length) == -ENOSPC && mr_probe(json, (uint32_t)length + 1) == length;
  t_case("a buffer has to suffice", fits && mr_probe(json, 0) == -ENOSPC && mr_probe(json, 1) == -ENOSPC);
  return t_done();
}
