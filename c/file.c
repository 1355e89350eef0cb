// SPDX-License-Identifier: Apache-2.0
// file.c - opens files beneath a root and reads them: the mr_file_* functions of millrace.h; called by
// JavaScript and by outbox.c.
//
// The kernel itself keeps a path beneath its root (openat2 with RESOLVE_BENEATH, Linux 5.6), so that no
// spelling of it and no renaming meanwhile leads out. Where that call is missing or forbidden the path is
// walked component by component, and a symbolic link then ends the walk.
#include "file.h"

#include <stdbool.h>
#include <string.h>

#include "limits.h"
#include "millrace.h"
#include "sys.h"

// NONBLOCK, so that nobody hangs on opening a FIFO before it shows what it is.
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
#define NAME_BYTES 256

// One component into name; returns what follows it. NULL for one that is too long or leads upwards.
static const char *take_component(const char *path, char *name) {
  size_t length = strcspn(path, "/");
  if (length >= NAME_BYTES) return NULL;
  memcpy(name, path, length);
  name[length] = '\0';
  if (strcmp(name, "..") == 0) return NULL;
  path += length;
  return path + strspn(path, "/");
}

// What openat2 does, without its help. Owns no descriptor but the one it returns.
static int walk(int root, const char *path) {
  if (path[0] == '/') return -EXDEV;
  int at = root;
  for (;;) {
    char name[NAME_BYTES];
    path = take_component(path, name);
    bool last = path != NULL && path[0] == '\0';
    int flags = O_NOFOLLOW | (last ? OPEN_FLAGS : O_PATH | O_DIRECTORY | O_CLOEXEC);
    int next = path == NULL ? -EXDEV : sys_openat(at, name[0] == '\0' ? "." : name, flags);
    if (next == -1) next = -errno;
    if (at != root) close(at);
    if (next < 0 || last) return next;
    at = next;
  }
}

static int open_beneath(int root, const char *path, uint32_t flags) {
  uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  if ((flags & MR_FILE_NO_SYMLINKS) != 0) resolve |= RESOLVE_NO_SYMLINKS;
  for (int i = 0; i < FILE_OPEN_TRIES; i++) {
    int fd = sys_openat2(root, path, OPEN_FLAGS, resolve);
    if (fd >= 0) return fd;
    // EPERM is what seccomp profiles answer that do not know the call.
    if (errno == ENOSYS || errno == EPERM) return walk(root, path);
    if (errno != EAGAIN && errno != EINTR) return -errno;
  }
  return -EAGAIN;
}

static int open_path(const char *root, const char *path, uint32_t flags) {
  if (root[0] == '\0') {
    int fd = sys_openat(AT_FDCWD, path, OPEN_FLAGS);
    return fd < 0 ? -errno : fd;
  }
  int directory = sys_openat(AT_FDCWD, root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return -errno;
  int fd = open_beneath(directory, path, flags);
  close(directory);
  return fd;
}

static int describe(int fd, struct mr_file *out) {
  struct stat found;
  if (sys_fstat(fd, &found) != 0) return -errno;
  bool regular = S_ISREG(found.st_mode);
  if (!regular && !S_ISDIR(found.st_mode)) return -EACCES;
  *out = (struct mr_file){
      .size = (uint64_t)found.st_size,
      .mtime = found.st_mtim.tv_sec < 0
                   ? 0
                   : (uint64_t)found.st_mtim.tv_sec * 1000000000 + (uint64_t)found.st_mtim.tv_nsec,
      .inode = found.st_ino,
      .device = found.st_dev,
      .fd = (uint32_t)fd,
      .kind = regular ? MR_FILE_REGULAR : MR_FILE_DIRECTORY,
  };
  return 0;
}

int32_t mr_file_open(const char *paths, uint32_t bytes, uint32_t flags, struct mr_file *out) {
  size_t root = strnlen(paths, bytes);
  if (root == bytes || paths[bytes - 1] != '\0') return -EINVAL;
  const char *path = paths + root + 1;
  if (root + 1 >= bytes || strlen(path) + root + 2 != bytes) return -EINVAL;
  int fd = open_path(paths, path, flags);
  if (fd < 0) return fd;
  int rc = describe(fd, out);
  if (rc != 0 || out->kind != MR_FILE_REGULAR) close(fd);
  return rc;
}

int32_t mr_file_read(int32_t fd, uint8_t *out, uint32_t capacity, uint32_t offset_low, uint32_t offset_high) {
  if (capacity > INT32_MAX) capacity = INT32_MAX;
  uint64_t offset = (uint64_t)offset_high << 32 | offset_low;
  ssize_t length;
  do {
    length = sys_pread(fd, out, capacity, (off_t)offset);
  } while (length < 0 && errno == EINTR);
  return length < 0 ? -errno : (int32_t)length;
}

int32_t file_read_whole(int fd, uint8_t *out, uint32_t length, uint64_t offset) {
  while (length > 0) {
    int32_t count = mr_file_read(fd, out, length, (uint32_t)offset, (uint32_t)(offset >> 32));
    if (count <= 0) return count < 0 ? count : -ENODATA;
    out += count;
    offset += (uint32_t)count;
    length -= (uint32_t)count;
  }
  return 0;
}

int32_t mr_file_again(int32_t fd) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  return copy < 0 ? -errno : copy;
}

int32_t mr_file_close(int32_t fd) {
  return close(fd) == 0 ? 0 : -errno;
}
