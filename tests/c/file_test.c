// SPDX-License-Identifier: Apache-2.0
// file_test.c - mr_file_open: what lies beneath a root, by openat2 and without it, and nothing else.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "faults.h"
#include "harness.h"

static char root[64];

static char *beneath(const char *path) {
  static char all[512];
  snprintf(all, sizeof(all), "%s/%s", root, path);
  return all;
}

static void put(const char *path, const char *text) {
  int fd = open(beneath(path), O_CREAT | O_WRONLY | O_TRUNC, 0600);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) perror(path);
  close(fd);
}

static void make_tree(void) {
  snprintf(root, sizeof(root), "/tmp/millrace-file-XXXXXX");
  if (mkdtemp(root) == NULL) perror(root);
  mkdir(beneath("www"), 0700);
  mkdir(beneath("www/sub"), 0700);
  mkdir(beneath("www-secret"), 0700);
  put("canary", "canary");
  put("www-secret/canary", "canary");
  put("www/a.txt", "hello");
  put("www/sub/b.txt", "b");
  mkfifo(beneath("www/fifo"), 0600);
  if (symlink("a.txt", beneath("www/inside")) != 0 || symlink("../canary", beneath("www/outside")) != 0 ||
      symlink("../www-secret", beneath("www/way")) != 0 || symlink("/etc", beneath("www/etc")) != 0) {
    perror("symlink");
  }
}

static void remove_tree(void) {
  static const char *const all[] = {"www/etc",    "www/way",           "www/outside",
                                    "www/inside", "www/fifo",          "www/sub/b.txt",
                                    "www/a.txt",  "www-secret/canary", "canary"};
  for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) unlink(beneath(all[i]));
  rmdir(beneath("www-secret"));
  rmdir(beneath("www/sub"));
  rmdir(beneath("www"));
  rmdir(root);
}

// The answer for a path beneath www; a file that is opened is closed.
static int32_t try_open(const char *path, uint32_t flags, struct mr_file *file) {
  char paths[600];
  int length = snprintf(paths, sizeof(paths), "%s/www%c%s", root, '\0', path);
  int32_t rc = mr_file_open(paths, (uint32_t)length + 1, flags, file);
  if (rc == 0 && file->kind == MR_FILE_REGULAR) mr_file_close((int32_t)file->fd);
  return rc;
}

static const char *const outside[] = {"../canary",   "sub/../../canary", "/etc/passwd", "outside",
                                      "way/canary",  "etc/passwd",       "..",          "sub/../../..",
                                      "./../canary", "//etc/passwd"};

static bool run_open(void) {
  bool ok = true;
  struct mr_file file;
  const uint32_t fds = t_open_fds();
  T_NEED(try_open("a.txt", 0, &file) == 0);
  T_NEED(file.kind == MR_FILE_REGULAR && file.size == 5 && file.mtime > 0 && file.inode > 0);
  T_NEED(try_open("sub/b.txt", 0, &file) == 0 && file.size == 1);
  T_NEED(try_open("inside", 0, &file) == 0 && file.size == 5);
  T_NEED(try_open("inside", MR_FILE_NO_SYMLINKS, &file) == -ELOOP);
  T_NEED(try_open("sub", 0, &file) == 0 && file.kind == MR_FILE_DIRECTORY);
  T_NEED(try_open("fifo", 0, &file) == -EACCES);
  T_NEED(try_open("none", 0, &file) == -ENOENT);
  T_NEED(try_open("a.txt/none", 0, &file) == -ENOTDIR);
  for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
    T_NEED(try_open(outside[i], 0, &file) == -EXDEV);
  }
  T_NEED(t_open_fds() == fds);
end:
  return ok;
}

static bool run_fallback(void) {
  static const int without[] = {ENOSYS, EPERM};
  bool ok = true;
  struct mr_file file;
  const uint32_t fds = t_open_fds();
  for (int i = 0; i < 2; i++) {
    t_faults_clear();
    t_fault(SYS_OPENAT2, 0, UINT32_MAX, without[i]);
    T_NEED(try_open("a.txt", 0, &file) == 0 && file.size == 5);
    T_NEED(try_open("sub/b.txt", 0, &file) == 0 && file.size == 1);
    T_NEED(try_open("sub//b.txt", 0, &file) == 0 && file.size == 1);
    T_NEED(try_open("./sub/./b.txt", 0, &file) == 0 && file.size == 1);
    T_NEED(try_open("sub", 0, &file) == 0 && file.kind == MR_FILE_DIRECTORY);
    T_NEED(try_open("fifo", 0, &file) == -EACCES);
    T_NEED(try_open("inside", 0, &file) == -ELOOP);
    T_NEED(try_open("none/none", 0, &file) == -ENOENT);
    for (size_t j = 0; j < sizeof(outside) / sizeof(outside[0]); j++)
      T_NEED(try_open(outside[j], 0, &file) < 0);
    T_NEED(t_faults_fired() > 0);
  }
  T_NEED(t_open_fds() == fds);
end:
  t_faults_clear();
  return ok;
}

static bool run_faults(void) {
  bool ok = true;
  struct mr_file file;
  const uint32_t fds = t_open_fds();
  t_faults_clear();
  t_fault(SYS_OPENAT2, 0, 3, EAGAIN);
  T_NEED(try_open("a.txt", 0, &file) == 0);
  t_faults_clear();
  t_fault(SYS_OPENAT2, 0, UINT32_MAX, EAGAIN);
  T_NEED(try_open("a.txt", 0, &file) == -EAGAIN);
  t_faults_clear();
  t_fault(SYS_OPENAT2, 0, 1, EMFILE);
  T_NEED(try_open("a.txt", 0, &file) == -EMFILE);
  t_faults_clear();
  t_fault(SYS_OPENAT, 0, 1, EMFILE);
  T_NEED(try_open("a.txt", 0, &file) == -EMFILE);
  t_faults_clear();
  t_fault(SYS_FSTAT, 0, 1, EIO);
  T_NEED(try_open("a.txt", 0, &file) == -EIO);
  T_NEED(t_open_fds() == fds);
end:
  t_faults_clear();
  return ok;
}

static bool run_malformed(void) {
  bool ok = true;
  struct mr_file file;
  T_NEED(mr_file_open("", 0, 0, &file) == -EINVAL);
  T_NEED(mr_file_open("ab", 2, 0, &file) == -EINVAL);
  T_NEED(mr_file_open("a\0", 2, 0, &file) == -EINVAL);
  T_NEED(mr_file_open("a\0b", 3, 0, &file) == -EINVAL);
  T_NEED(mr_file_open("a\0b\0c\0", 6, 0, &file) == -EINVAL);
  T_NEED(mr_file_open("\0\0", 2, 0, &file) == -ENOENT);
end:
  return ok;
}

static bool run_read(void) {
  bool ok = true;
  uint8_t bytes[8] = {0};
  int fd = open(beneath("www/a.txt"), O_RDONLY);
  T_NEED(mr_file_read(fd, bytes, sizeof(bytes), 1, 0) == 4 && memcmp(bytes, "ello", 4) == 0);
  T_NEED(mr_file_read(fd, bytes, sizeof(bytes), 5, 0) == 0);
  T_NEED(mr_file_read(fd, bytes, sizeof(bytes), 0, 1) == 0);
  t_faults_clear();
  t_fault(SYS_PREAD, 0, 1, EINTR);
  T_NEED(mr_file_read(fd, bytes, 2, 0, 0) == 2);
  t_fault(SYS_PREAD, 0, 1, EIO);
  T_NEED(mr_file_read(fd, bytes, 2, 0, 0) == -EIO);
  int32_t again = mr_file_again(fd);
  T_NEED(again > 0 && mr_file_close(again) == 0 && mr_file_close(again) == -EBADF);
  T_NEED(mr_file_again(-1) == -EBADF);
end:
  t_faults_clear();
  close(fd);
  return ok;
}

int main(void) {
  make_tree();
  t_case("a path opens what is beneath its root, and regular files alone", run_open());
  t_case("without openat2 a path is walked, and links end it", run_fallback());
  t_case("failed calls leave nothing open", run_faults());
  t_case("paths without their NULs are refused", run_malformed());
  t_case("a file is read at any offset", run_read());
  remove_tree();
  return t_done();
}
