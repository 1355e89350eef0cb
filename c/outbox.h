// SPDX-License-Identifier: Apache-2.0
// outbox.h - carries out what JavaScript staged; called by reactor.c.
#ifndef MR_OUTBOX_H
#define MR_OUTBOX_H

#include "reactor.h"

// Carries out the first count commands in order. Those with a stale handle do nothing.
void outbox_run(struct mr_reactor *r, uint32_t count);

#endif
