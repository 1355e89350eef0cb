// SPDX-License-Identifier: Apache-2.0
// mailbox.h - the mailbox of a reactor, into which any thread of the process may post; called by reactor.c.
#ifndef MR_MAILBOX_H
#define MR_MAILBOX_H

#include "reactor.h"

// Begins a turn: what the last one was shown is released, and what has been posted since becomes records.
void mailbox_turn(struct mr_reactor *r);

// From here on whoever posts wakes the reactor. False when something was posted already.
bool mailbox_sleep(struct mr_reactor *r);

// The reactor does not sleep after all.
void mailbox_stay_awake(struct mr_reactor *r);

// Leaves the mailbox: what is in it is released.
void mailbox_leave(struct mr_reactor *r);

#endif
