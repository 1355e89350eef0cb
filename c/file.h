// SPDX-License-Identifier: Apache-2.0
// file.h - reading files; called by outbox.c, and by JavaScript through millrace.h.
#ifndef MR_FILE_H
#define MR_FILE_H

#include <stdint.h>

// Reads just length bytes. Returns 0 or -errno; -ENODATA when the file is shorter than that.
int32_t file_read_whole(int fd, uint8_t *out, uint32_t length, uint64_t offset);

#endif
