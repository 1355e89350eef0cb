// SPDX-License-Identifier: Apache-2.0
// wake.h - two ways to make a byte arrive on the wake socket when the reactor has work; called by the
// backends.
#ifndef MR_WAKE_H
#define MR_WAKE_H

#include <stdbool.h>
#include <stdint.h>

// io_uring: a ring of its own on which a poll of an eventfd is linked to a send. The kernel does both, so the
// sleeping event loop of Deno is woken without any thread of ours.
struct wake_chain;
int wake_chain_open(struct wake_chain **out, int event_fd, int socket);
void wake_chain_close(struct wake_chain *chain);
int wake_chain_arm(struct wake_chain *chain);

// epoll: a thread that sleeps in epoll_wait on the reactor's epoll set, once for each time it is armed.
struct wake_thread;
int wake_thread_open(struct wake_thread **out, int epoll_fd, int socket);
void wake_thread_close(struct wake_thread *thread);
int wake_thread_arm(struct wake_thread *thread);

// Sends the wake byte. A full socket means that a wake-up is on its way already.
void wake_send(int socket);

#endif
