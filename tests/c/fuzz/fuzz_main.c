// SPDX-License-Identifier: Apache-2.0
// fuzz_main.c - drives a fuzz target without libFuzzer: replays a corpus, then mutates it with seeded noise.
//
// Takes the flags of libFuzzer that the Makefile uses: -max_total_time=SECONDS -max_len=BYTES -seed=NUMBER
// -dict=FILE -artifact_prefix=PATH, then directories or files. The input that kills it is left at
// <artifact_prefix>crash-<seed>; to look at it, give that file with -max_total_time=0.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

enum { INPUTS_MAX = 4096, WORDS_MAX = 256, WORD_MAX = 64 };

struct input {
  uint8_t *bytes;
  size_t length;
};

static struct input corpus[INPUTS_MAX];
static size_t corpus_count;
static struct {
  uint8_t bytes[WORD_MAX];
  size_t length;
} words[WORDS_MAX];
static size_t word_count;
static uint8_t *current;  // what the target is looking at
static size_t current_length;
static size_t max_length = 4096;
static char crash_path[4096];
static uint64_t random_state;

static size_t roll(size_t sides) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return sides == 0 ? 0 : (size_t)(random_state % sides);
}

static void save_crash(void) {
  const int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0) return;
  if (write(fd, current, current_length) == (ssize_t)current_length) {
    const char note[] = "the input is left in ";
    (void)!write(2, note, sizeof note - 1);
    (void)!write(2, crash_path, strlen(crash_path));
    (void)!write(2, "\n", 1);
  }
  close(fd);
}

static void on_signal(int number) {
  save_crash();
  signal(number, SIG_DFL);
  raise(number);
}

// The target gets memory of exactly the size of the input, so that the sanitizer sees a step beyond it.
static void run(void) {
  uint8_t *copy = malloc(current_length > 0 ? current_length : 1);
  if (copy == NULL) abort();
  if (current_length > 0) memcpy(copy, current, current_length);
  LLVMFuzzerTestOneInput(copy, current_length);
  free(copy);
}

static void read_input(const char *path) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || corpus_count == INPUTS_MAX) {
    if (file != NULL) fclose(file);
    return;
  }
  struct input *input = &corpus[corpus_count++];
  input->bytes = malloc(max_length);
  input->length = input->bytes == NULL ? 0 : fread(input->bytes, 1, max_length, file);
  fclose(file);
}

static void read_inputs(const char *path) {
  DIR *directory = opendir(path);
  if (directory == NULL) {
    read_input(path);
    return;
  }
  for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
    char name[4096];
    struct stat status;
    snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
    if (stat(name, &status) == 0 && S_ISREG(status.st_mode)) read_input(name);
  }
  closedir(directory);
}

// Lines of the form "text" with \\, \" and \xHH in it; the rest is comment.
static void read_words(const char *path) {
  char line[512];
  FILE *file = fopen(path, "r");
  if (file == NULL) return;
  while (word_count < WORDS_MAX && fgets(line, sizeof line, file) != NULL) {
    if (line[0] != '"') continue;
    size_t length = 0;
    for (const char *at = line + 1; *at != '"' && *at != 0 && length < WORD_MAX; at++) {
      unsigned int byte = (unsigned char)*at;
      if (at[0] == '\\' && at[1] == 'x' && sscanf(at + 2, "%2x", &byte) == 1) {
        at += 3;
      } else if (at[0] == '\\' && at[1] != 0) {
        byte = (unsigned char)*++at;
      }
      words[word_count].bytes[length++] = (uint8_t)byte;
    }
    words[word_count++].length = length;
  }
  fclose(file);
}

static void insert(size_t at, const uint8_t *bytes, size_t length) {
  if (length > max_length - current_length) length = max_length - current_length;
  memmove(current + at + length, current + at, current_length - at);
  memcpy(current + at, bytes, length);
  current_length += length;
}

static void mutate(void) {
  static const uint8_t edges[] = {0,    1,    9,    10,   13,   32,   34,   58,   59,
                                  0x7d, 0x7e, 0x7f, 0x80, 0x81, 0xc0, 0xed, 0xf4, 0xff};
  static uint8_t piece[256];
  const size_t at = roll(current_length + 1);
  const size_t left = current_length - at;
  switch (roll(8)) {
    case 0:
      if (left > 0) current[at] ^= (uint8_t)(1 << roll(8));
      return;
    case 1:
      if (left > 0) current[at] = (uint8_t)roll(256);
      return;
    case 2:
      if (left > 0) current[at] = edges[roll(sizeof edges)];
      return;
    case 3: {
      const size_t cut = roll((left < 64 ? left : 64) + 1);
      memmove(current + at, current + at + cut, left - cut);
      current_length -= cut;
      return;
    }
    case 4: {
      const size_t length = roll((left < sizeof piece ? left : sizeof piece) + 1);
      memcpy(piece, current + at, length);
      insert(roll(current_length + 1), piece, length);
      return;
    }
    case 5: {
      const struct input *other = &corpus[roll(corpus_count)];
      const size_t from = roll(other->length + 1);
      const size_t length = roll(other->length - from + 1);
      if (length > 0) insert(at, other->bytes + from, length);
      return;
    }
    case 6:
      piece[0] = edges[roll(sizeof edges)];
      insert(at, piece, 1);
      return;
    default:
      if (word_count > 0) {
        const size_t word = roll(word_count);
        insert(at, words[word].bytes, words[word].length);
      }
  }
}

static void load(const struct input *input) {
  current_length = input->length;
  if (input->length > 0) memcpy(current, input->bytes, input->length);
}

int main(int argc, char **argv) {
  uint64_t seconds = 5;
  uint64_t seed = (uint64_t)time(NULL);
  const char *prefix = "";
  for (int i = 1; i < argc; i++) {
    if (strncmp(argv[i], "-max_total_time=", 16) == 0) seconds = strtoull(argv[i] + 16, NULL, 10);
    if (strncmp(argv[i], "-max_len=", 9) == 0) max_length = strtoull(argv[i] + 9, NULL, 10);
    if (strncmp(argv[i], "-seed=", 6) == 0) seed = strtoull(argv[i] + 6, NULL, 10);
    if (strncmp(argv[i], "-dict=", 6) == 0) read_words(argv[i] + 6);
    if (strncmp(argv[i], "-artifact_prefix=", 17) == 0) prefix = argv[i] + 17;
  }
  if (max_length == 0) max_length = 1;
  for (int i = 1; i < argc; i++) {
    if (argv[i][0] != '-') read_inputs(argv[i]);
  }
  snprintf(crash_path, sizeof crash_path, "%scrash-%llu", prefix, (unsigned long long)seed);
  printf("seed %llu, %zu inputs, %zu words\n", (unsigned long long)seed, corpus_count, word_count);
  fflush(stdout);
  if (__sanitizer_set_death_callback != NULL) __sanitizer_set_death_callback(save_crash);
  signal(SIGABRT, on_signal);
  current = malloc(max_length);
  if (current == NULL) return EXIT_FAILURE;
  uint64_t runs = 0;
  for (; runs < corpus_count; runs++) {
    load(&corpus[runs]);
    run();
  }
  if (corpus_count == 0) corpus[corpus_count++] = (struct input){malloc(1), 0};
  random_state = seed * 2 + 1;
  const time_t end = time(NULL) + (time_t)seconds;
  while (seconds > 0 && time(NULL) < end) {
    load(&corpus[roll(corpus_count)]);
    for (size_t left = 1 + roll(6); left > 0; left--) mutate();
    run();
    runs++;
  }
  printf("%llu executions\n", (unsigned long long)runs);
  for (size_t i = 0; i < corpus_count; i++) free(corpus[i].bytes);
  free(current);
  return EXIT_SUCCESS;
}
