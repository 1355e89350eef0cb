// SPDX-License-Identifier: Apache-2.0
// faults.c - rules for the calls that are to fail; only the reactor's own thread makes such calls.
#include "faults.h"

#include <string.h>

#define RULES_MAX 8

struct rule {
  enum sys_call call;
  uint32_t skip;
  uint32_t times;
  int result;
};

static struct rule rules[RULES_MAX];
static uint32_t rule_count;
static uint32_t fired;
static uint32_t calls[SYS_CALLS];

const char *sys_root = "";

int sys_fault(enum sys_call call) {
  calls[call]++;
  for (uint32_t i = 0; i < rule_count; i++) {
    struct rule *rule = &rules[i];
    if (rule->call != call || rule->times == 0) continue;
    if (rule->skip > 0) {
      rule->skip--;
      continue;
    }
    rule->times--;
    fired++;
    return rule->result;
  }
  return 0;
}

void t_fault(enum sys_call call, uint32_t skip, uint32_t times, int result) {
  if (rule_count == RULES_MAX) __builtin_trap();
  rules[rule_count++] = (struct rule){call, skip, times, result};
}

void t_faults_clear(void) {
  rule_count = fired = 0;
  memset(calls, 0, sizeof(calls));
}

uint32_t t_faults_fired(void) {
  return fired;
}

uint32_t t_fault_calls(enum sys_call call) {
  return calls[call];
}

const char *t_fault_name(enum sys_call call) {
  static const char *const names[SYS_CALLS] = {
      [SYS_ACCEPT] = "accept",
      [SYS_RECV] = "recv",
      [SYS_RECVMSG] = "recvmsg",
      [SYS_SEND] = "send",
      [SYS_SENDMSG] = "sendmsg",
      [SYS_SOCKET] = "socket",
      [SYS_BIND] = "bind",
      [SYS_LISTEN] = "listen",
      [SYS_SETSOCKOPT] = "setsockopt",
      [SYS_EPOLL_CREATE] = "epoll_create",
      [SYS_EPOLL_CTL] = "epoll_ctl",
      [SYS_EPOLL_WAIT] = "epoll_wait",
      [SYS_URING_SETUP] = "uring_setup",
      [SYS_URING_REGISTER] = "uring_register",
      [SYS_URING_ENTER] = "uring_enter",
      [SYS_MMAP] = "mmap",
      [SYS_EVENTFD] = "eventfd",
      [SYS_TIMERFD] = "timerfd",
      [SYS_SOCKETPAIR] = "socketpair",
      [SYS_THREAD] = "thread",
      [SYS_UNSENT] = "unsent",
      [SYS_OPENAT] = "openat",
      [SYS_OPENAT2] = "openat2",
      [SYS_FSTAT] = "fstat",
      [SYS_PREAD] = "pread",
      [SYS_SENDFILE] = "sendfile",
      [SYS_ALLOCATE] = "allocate",
      [SYS_CONNECT] = "connect",
      [SYS_SOCKET_ERROR] = "socket_error",
      [SYS_GETAFFINITY] = "getaffinity",
      [SYS_SETAFFINITY] = "setaffinity",
      [SYS_DUP] = "dup",
      [SYS_MADVISE] = "madvise",
      [SYS_MBIND] = "mbind",
      [SYS_MOVE_PAGES] = "move_pages",
      [SYS_PAGEMAP_SCAN] = "pagemap_scan",
      [SYS_RANDOM] = "random",
  };
  return names[call];
}
