// SPDX-License-Identifier: Apache-2.0
// sys.h - every system call of the data path, and the seam where tests make one of them fail.
//
// With MR_FAULTS, sys_fault (tests/c/faults.h) decides before each call whether it fails and with which
// errno.
#ifndef MR_SYS_H
#define MR_SYS_H

#include <errno.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum sys_call {
  SYS_ACCEPT,
  SYS_RECV,
  SYS_SEND,
  SYS_SENDMSG,
  SYS_SOCKET,
  SYS_BIND,
  SYS_LISTEN,
  SYS_EPOLL_CREATE,
  SYS_EPOLL_CTL,
  SYS_EPOLL_WAIT,
  SYS_URING_SETUP,
  SYS_URING_REGISTER,
  SYS_URING_ENTER,
  SYS_MMAP,
  SYS_EVENTFD,
  SYS_TIMERFD,
  SYS_SOCKETPAIR,
  SYS_THREAD,
  SYS_CALLS,
};

#ifdef MR_FAULTS
// Returns the errno to fail with, 0 to let the call through, or -n to cut a transfer to n bytes.
int sys_fault(enum sys_call call);
#else
static inline int sys_fault(enum sys_call call) {
  (void)call;
  return 0;
}
#endif

static inline int sys_failed(enum sys_call call) {
  int fault = sys_fault(call);
  if (fault <= 0) return 0;
  errno = fault;
  return 1;
}

static inline size_t sys_cut(enum sys_call call, size_t length, int *failed) {
  int fault = sys_fault(call);
  *failed = fault > 0;
  if (fault > 0) errno = fault;
  return fault < 0 && (size_t)-fault < length ? (size_t)-fault : length;
}

static inline int sys_accept(int fd, int flags) {
  return sys_failed(SYS_ACCEPT) ? -1 : accept4(fd, NULL, NULL, flags);
}

static inline ssize_t sys_recv(int fd, void *bytes, size_t length, int flags) {
  int failed;
  length = sys_cut(SYS_RECV, length, &failed);
  return failed ? -1 : recv(fd, bytes, length, flags);
}

static inline ssize_t sys_send(int fd, const void *bytes, size_t length, int flags) {
  int failed;
  length = sys_cut(SYS_SEND, length, &failed);
  return failed ? -1 : send(fd, bytes, length, flags);
}

static inline ssize_t sys_sendmsg(int fd, const struct msghdr *message, int flags) {
  return sys_failed(SYS_SENDMSG) ? -1 : sendmsg(fd, message, flags);
}

static inline int sys_socket(int family, int type) {
  return sys_failed(SYS_SOCKET) ? -1 : socket(family, type, 0);
}

static inline int sys_bind(int fd, const struct sockaddr *address, socklen_t length) {
  return sys_failed(SYS_BIND) ? -1 : bind(fd, address, length);
}

static inline int sys_listen(int fd, int backlog) {
  return sys_failed(SYS_LISTEN) ? -1 : listen(fd, backlog);
}

static inline int sys_socketpair(int fds[2]) {
  if (sys_failed(SYS_SOCKETPAIR)) return -1;
  return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds);
}

static inline int sys_epoll_create(void) {
  return sys_failed(SYS_EPOLL_CREATE) ? -1 : epoll_create1(EPOLL_CLOEXEC);
}

static inline int sys_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event) {
  return sys_failed(SYS_EPOLL_CTL) ? -1 : epoll_ctl(epoll, op, fd, event);
}

static inline int sys_epoll_wait(int epoll, struct epoll_event *events, int capacity, int timeout_ms) {
  return sys_failed(SYS_EPOLL_WAIT) ? -1 : epoll_wait(epoll, events, capacity, timeout_ms);
}

static inline void *sys_mmap(size_t bytes, int flags) {
  if (sys_failed(SYS_MMAP)) return MAP_FAILED;
  return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

#endif
