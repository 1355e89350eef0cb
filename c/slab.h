// SPDX-License-Identifier: Apache-2.0
// slab.h - buffers by size class; what thread.c has to know of c/slab.c.
#ifndef MR_SLAB_H
#define MR_SLAB_H

#include "millrace.h"

// Closes the slabs of a thread whose isolate is gone; the first one leads to the others.
void slab_abandoned(struct mr_slab *first);

#endif
