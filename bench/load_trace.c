// SPDX-License-Identifier: Apache-2.0
// load_trace.c - has strace count the system calls of the server. It is started here and not by the runner,
// so that it counts from the first to the last moment of the window and neither the connections nor the
// warm-up.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

#define ATTACH_SECONDS 5

// Replaces this child by strace. A traced server waits for strace at every call, so both share its core.
_Noreturn static void become_strace(const struct options *options, int output) {
  char pid[16];
  cpu_set_t cores;
  snprintf(pid, sizeof pid, "%d", (int)options->pid);
  if (sched_getaffinity(options->pid, sizeof cores, &cores) == 0) sched_setaffinity(0, sizeof cores, &cores);
  prctl(PR_SET_PDEATHSIG, SIGINT);
  dup2(output, STDERR_FILENO);
  execlp("strace", "strace", "-c", "-f", "-o", options->trace, "-p", pid, (char *)NULL);
  fprintf(stderr, "strace cannot be run: %s", strerror(errno));
  _exit(127);
}

// The first line says that strace is attached to all threads, or why it is not.
static void on_strace_ready(struct load *load, struct watched *watched, uint32_t events) {
  struct trace *trace = (struct trace *)watched;
  (void)events;
  for (;;) {
    char rest[256];
    size_t room = sizeof trace->said - 1 - trace->length;
    ssize_t length =
        read(trace->fd, room > 0 ? trace->said + trace->length : rest, room > 0 ? room : sizeof rest);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0 && errno == EAGAIN) break;
    if (length <= 0) {
      epoll_ctl(load->epoll, EPOLL_CTL_DEL, trace->fd, NULL);
      close(trace->fd);
      trace->fd = -1;
      break;
    }
    if (room > 0) trace->length += (size_t)length;
  }
  if (strstr(trace->said, " attached") != NULL) trace->attached = true;
}

// Starts strace and goes on with the load until it counts, or cannot.
void trace_begin(struct load *load) {
  int ends[2];
  struct trace *trace = calloc(1, sizeof *trace);
  if (trace == NULL) die("cannot allocate");
  if (pipe2(ends, O_CLOEXEC) != 0) die_errno("cannot open a pipe");
  load->trace = trace;
  trace->fd = ends[0];
  trace->watched.on_ready = on_strace_ready;
  trace->pid = fork();
  if (trace->pid < 0) die_errno("cannot fork");
  if (trace->pid == 0) become_strace(load->options, ends[1]);
  close(ends[1]);
  fcntl(trace->fd, F_SETFL, O_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = &trace->watched};
  if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, trace->fd, &event) != 0) die_errno("cannot watch strace");
  uint64_t end = load->now + ATTACH_SECONDS * SECOND;
  while (!trace->attached && trace->fd >= 0 && load->now < end && load->alive > 0) loop_turn(load);
}

// Strace lets the server go and writes its counts when it is interrupted.
void trace_end(struct load *load) {
  struct trace *trace = load->trace;
  kill(trace->pid, SIGINT);
  while (waitpid(trace->pid, NULL, 0) < 0 && errno == EINTR) {
  }
}
