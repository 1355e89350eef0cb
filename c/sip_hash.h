// SPDX-License-Identifier: Apache-2.0
// sip_hash.h - SipHash-1-3 over bytes that come one by one: names that clients choose cannot be made to
// collide without the key; used by registry.c.
#ifndef MR_SIP_HASH_H
#define MR_SIP_HASH_H

#include <stdint.h>

// May be copied, to hash several texts that begin alike.
struct sip_hash {
  uint64_t v[4];
  uint64_t word;  // the bytes since the last multiple of eight
  uint64_t length;
};

static inline uint64_t sip_rotate(uint64_t word, unsigned bits) {
  return word << bits | word >> (64 - bits);
}

static inline void sip_round(uint64_t v[4]) {
  v[0] += v[1];
  v[2] += v[3];
  v[1] = sip_rotate(v[1], 13) ^ v[0];
  v[3] = sip_rotate(v[3], 16) ^ v[2];
  v[0] = sip_rotate(v[0], 32) + v[3];
  v[2] += v[1];
  v[3] = sip_rotate(v[3], 21) ^ v[0];
  v[1] = sip_rotate(v[1], 17) ^ v[2];
  v[2] = sip_rotate(v[2], 32);
}

static inline void sip_word(struct sip_hash *hash, uint64_t word) {
  hash->v[3] ^= word;
  sip_round(hash->v);
  hash->v[0] ^= word;
}

static inline struct sip_hash sip_begin(const uint64_t key[2]) {
  return (struct sip_hash){.v = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
                                 key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u}};
}

static inline void sip_add(struct sip_hash *hash, uint8_t byte) {
  hash->word |= (uint64_t)byte << 8 * (hash->length & 7);
  if ((++hash->length & 7) != 0) return;
  sip_word(hash, hash->word);
  hash->word = 0;
}

static inline uint64_t sip_end(struct sip_hash hash) {
  sip_word(&hash, hash.word | hash.length << 56);
  hash.v[2] ^= 0xff;
  for (int i = 0; i < 3; i++) sip_round(hash.v);
  return hash.v[0] ^ hash.v[1] ^ hash.v[2] ^ hash.v[3];
}

#endif
