// SPDX-License-Identifier: Apache-2.0
// thread.h - what a thread has of the shim, given back when it ends; called by arena.c, slab.c and
// crew.c.
#ifndef MR_THREAD_H
#define MR_THREAD_H

#include "arena.h"

struct crew_worker;
struct thread;

// Notes that the arena is the calling thread's. Without memory for that it is left behind when the thread
// ends.
void thread_keep(struct mr_arena *arena);

// Notes the same of a slab, and returns the one that was noted before it.
struct mr_slab *thread_keep_slab(struct mr_slab *slab);

// An arena for these options that another thread has left behind, or NULL; it is the calling thread's now.
struct mr_arena *thread_spare(const struct mr_options *options);

// The calling thread, or NULL without memory for one.
const struct thread *thread_self(void);

// The calling thread's place in a crew, or NULL.
struct crew_worker *thread_worker(void);

// Gives it one. -ENOMEM, or -EBUSY when it has one already.
int thread_enter(struct crew_worker *worker);

#endif
