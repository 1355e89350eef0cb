// SPDX-License-Identifier: Apache-2.0
// address.c - addresses of sockets by what users call them; called by listener.c and connect.c.
#include "address.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

int address_unix(const char *path, struct sockaddr_un *out, socklen_t *length) {
  size_t count = strlen(path);
  *out = (struct sockaddr_un){.sun_family = AF_UNIX};
  if (count == 0 || count >= sizeof(out->sun_path)) return -ENAMETOOLONG;
  memcpy(out->sun_path, path, count);
  if (path[0] == '@') out->sun_path[0] = '\0';
  *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + count);
  return 0;
}
