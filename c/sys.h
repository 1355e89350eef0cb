// SPDX-License-Identifier: Apache-2.0
// sys.h - every system call of the data path, and the seam where tests make one of them fail.
//
// With MR_FAULTS, sys_fault (tests/c/faults.h) decides before each call whether it fails and with which
// errno.
#ifndef MR_SYS_H
#define MR_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// Of Linux 6.1, which libraries are slow to know.
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

// Of Linux 6.7.
#ifndef PAGEMAP_SCAN
#define PAGE_IS_PRESENT (1 << 3)
#define PAGE_IS_HUGE (1 << 6)
struct page_region {
  uint64_t start, end, categories;
};
struct pm_scan_arg {
  uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#endif

enum sys_call {
  SYS_ACCEPT,
  SYS_RECV,
  SYS_RECVMSG,
  SYS_SEND,
  SYS_SENDMSG,
  SYS_SOCKET,
  SYS_BIND,
  SYS_LISTEN,
  SYS_SETSOCKOPT,
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
  SYS_UNSENT,
  SYS_OPENAT,
  SYS_OPENAT2,
  SYS_FSTAT,
  SYS_PREAD,
  SYS_SENDFILE,
  SYS_ALLOCATE,
  SYS_CONNECT,
  SYS_SOCKET_ERROR,
  SYS_GETAFFINITY,
  SYS_SETAFFINITY,
  SYS_DUP,
  SYS_MADVISE,
  SYS_MBIND,
  SYS_MOVE_PAGES,
  SYS_PAGEMAP_SCAN,
  SYS_RANDOM,
  SYS_CALLS,
};

#ifdef MR_FAULTS
// Returns the errno to fail with, 0 to let the call through, or -n to cut a transfer to n bytes.
int sys_fault(enum sys_call call);
// A directory that stands for / where /sys and /proc are read; "" for the machine's own.
extern const char *sys_root;
#else
#define sys_root ""
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

// The parts of a message are cut too, so that the caller may not count on what they say afterwards.
static inline ssize_t sys_recvmsg(int fd, struct msghdr *message, int flags) {
  int failed;
  size_t left = sys_cut(SYS_RECVMSG, SIZE_MAX, &failed);
  if (failed) return -1;
  for (size_t i = 0; left != SIZE_MAX && i < message->msg_iovlen; i++) {
    struct iovec *part = &message->msg_iov[i];
    if (part->iov_len > left) part->iov_len = left;
    left -= part->iov_len;
  }
  return recvmsg(fd, message, flags);
}

static inline ssize_t sys_send(int fd, const void *bytes, size_t length, int flags) {
  int failed;
  length = sys_cut(SYS_SEND, length, &failed);
  return failed ? -1 : send(fd, bytes, length, flags);
}

static inline ssize_t sys_sendmsg(int fd, const struct msghdr *message, int flags) {
  int failed;
  size_t left = sys_cut(SYS_SENDMSG, SIZE_MAX, &failed);
  if (failed || left == SIZE_MAX) return failed ? -1 : sendmsg(fd, message, flags);
  ssize_t sent = 0;  // part by part, as far as the cut
  for (size_t i = 0; i < message->msg_iovlen && left > 0; i++) {
    size_t length = message->msg_iov[i].iov_len < left ? message->msg_iov[i].iov_len : left;
    ssize_t count = send(fd, message->msg_iov[i].iov_base, length, flags);
    if (count < 0) return sent > 0 ? sent : -1;
    sent += count;
    left = (size_t)count < length ? 0 : left - length;
  }
  return sent;
}

// Bytes that the kernel holds for the peer of a socket, those that it has not acknowledged among them.
static inline uint32_t sys_unsent(int fd) {
  int count;
  return sys_failed(SYS_UNSENT) || ioctl(fd, SIOCOUTQ, &count) != 0 ? 0 : (uint32_t)count;
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

static inline int sys_setsockopt(int fd, int level, int name, int value) {
  return sys_failed(SYS_SETSOCKOPT) ? -1 : setsockopt(fd, level, name, &value, sizeof(value));
}

static inline int sys_connect(int fd, const struct sockaddr *address, socklen_t length) {
  return sys_failed(SYS_CONNECT) ? -1 : connect(fd, address, length);
}

// The error that a socket holds, which it then forgets; 0 for none.
static inline int sys_socket_error(int fd) {
  if (sys_failed(SYS_SOCKET_ERROR)) return errno;
  int error = 0;
  socklen_t length = sizeof(error);
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
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

static inline int sys_openat(int directory, const char *path, int flags) {
  return sys_failed(SYS_OPENAT) ? -1 : openat(directory, path, flags);
}

static inline int sys_openat2(int directory, const char *path, int flags, uint64_t resolve) {
  const struct open_how how = {.flags = (unsigned)flags, .resolve = resolve};
  return sys_failed(SYS_OPENAT2) ? -1 : (int)syscall(SYS_openat2, directory, path, &how, sizeof(how));
}

static inline int sys_fstat(int fd, struct stat *out) {
  return sys_failed(SYS_FSTAT) ? -1 : fstat(fd, out);
}

static inline ssize_t sys_pread(int fd, void *bytes, size_t length, off_t offset) {
  int failed;
  length = sys_cut(SYS_PREAD, length, &failed);
  return failed ? -1 : pread(fd, bytes, length, offset);
}

static inline ssize_t sys_sendfile(int socket, int file, off_t offset, size_t length) {
  int failed;
  length = sys_cut(SYS_SENDFILE, length, &failed);
  return failed ? -1 : sendfile(socket, file, &offset, length);
}

static inline void *sys_allocate(size_t count, size_t bytes) {
  return sys_failed(SYS_ALLOCATE) ? NULL : calloc(count, bytes);
}

// The same without clearing it.
static inline void *sys_allocate_raw(size_t bytes) {
  return sys_failed(SYS_ALLOCATE) ? NULL : malloc(bytes);
}

static inline void *sys_allocate_aligned(size_t alignment, size_t bytes) {
  void *memory;
  return sys_failed(SYS_ALLOCATE) || posix_memalign(&memory, alignment, bytes) != 0 ? NULL : memory;
}

// The CPUs that the calling thread may run on. The mask may be longer than the kernel's own, whose bytes are
// returned.
static inline long sys_getaffinity(size_t bytes, uint64_t *mask) {
  return sys_failed(SYS_GETAFFINITY) ? -1 : syscall(SYS_sched_getaffinity, 0, bytes, mask);
}

static inline int sys_setaffinity(size_t bytes, const uint64_t *mask) {
  return sys_failed(SYS_SETAFFINITY) ? -1 : (int)syscall(SYS_sched_setaffinity, 0, bytes, mask);
}

// A second descriptor for an open file: any that is free, or in place of another one.
static inline int sys_dup(int fd) {
  return sys_failed(SYS_DUP) ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static inline int sys_dup_over(int fd, int over) {
  return sys_failed(SYS_DUP) ? -1 : dup3(fd, over, O_CLOEXEC);
}

static inline ssize_t sys_random(void *out, size_t bytes) {
  return sys_failed(SYS_RANDOM) ? -1 : getrandom(out, bytes, 0);
}

static inline void *sys_mmap(size_t bytes, int flags) {
  if (sys_failed(SYS_MMAP)) return MAP_FAILED;
  return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

// Puts fresh memory in the place of what is mapped there, without a moment in which there is none.
static inline void sys_map_over(void *base, size_t bytes) {
  mmap(base, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

// The NUMA node that the calling thread is on at the moment.
static inline uint32_t sys_node(void) {
  unsigned cpu, node;
  return getcpu(&cpu, &node) == 0 ? node : 0;
}

static inline int sys_madvise(void *base, size_t bytes, int advice) {
  return sys_failed(SYS_MADVISE) ? -1 : madvise(base, bytes, advice);
}

// The C library has no wrappers for these two; they are libnuma's.
static inline long sys_mbind(void *base, size_t bytes, int mode, const uint64_t *nodes, size_t bits,
                             unsigned flags) {
  return sys_failed(SYS_MBIND) ? -1 : syscall(SYS_mbind, base, bytes, mode, nodes, bits, flags);
}

// Writes on which node each page lies, or why none is there. A test that cuts it to n has all lie on node n.
static inline long sys_page_nodes(size_t count, void **pages, int *nodes) {
  int fault = sys_fault(SYS_MOVE_PAGES);
  if (fault > 0) errno = fault;
  if (fault > 0) return -1;
  long rc = syscall(SYS_move_pages, 0, count, pages, NULL, nodes, 0);
  for (size_t i = 0; fault < 0 && i < count; i++) nodes[i] = nodes[i] >= 0 ? -fault : nodes[i];
  return rc;
}

static inline int sys_pagemap_scan(int pagemap, struct pm_scan_arg *scan) {
  return sys_failed(SYS_PAGEMAP_SCAN) ? -1 : ioctl(pagemap, PAGEMAP_SCAN, scan);
}

#endif
