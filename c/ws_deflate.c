// SPDX-License-Identifier: Apache-2.0
// ws_deflate.c - permessage-deflate (RFC 7692) by zlib: contexts, their memory, deflating and inflating;
// called by conn_ws.c, conn_input.c, reactor.c, and by JavaScript for what it sends.
#include "ws_deflate.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#include "conn.h"
#include "millrace.h"
#include "sys.h"

// What zlib takes beside window and hash table, rounded up (zconf.h says "a few kilobytes").
#define ZLIB_STATE_BYTES (8u << 10)

// A sender leaves the last four bytes of a flush out (RFC 7692 section 7.2.1).
static const uint8_t TAIL[4] = {0x00, 0x00, 0xff, 0xff};

struct inflater {
  z_stream stream;
  struct inflater *next;  // while it is idle
};

struct deflater {
  z_stream stream;
  uint32_t bits;
  uint32_t mem_level;
  uint32_t level;
};

static void *allocate(void *opaque, unsigned count, unsigned bytes) {
  (void)opaque;
  return sys_allocate(count, bytes);
}

static void release(void *opaque, void *memory) {
  (void)opaque;
  free(memory);
}

static uint64_t inflater_bytes(uint32_t bits) {
  return ZLIB_STATE_BYTES + (1u << bits);
}

static uint64_t deflater_bytes(uint32_t bits, uint32_t mem_level) {
  return ZLIB_STATE_BYTES + (4u << bits) + (512u << mem_level);
}

static bool reserve(struct mr_reactor *r, uint64_t bytes, uint64_t most) {
  uint64_t used = r->control->deflate_bytes;
  if (used > most || bytes > most - used) return false;
  counter_add(&r->control->deflate_bytes, bytes);
  return true;
}

static struct inflater *inflater_new(uint32_t bits) {
  struct inflater *inflater = sys_allocate(1, sizeof(*inflater));
  if (inflater == NULL) return NULL;
  inflater->stream.zalloc = allocate;
  inflater->stream.zfree = release;
  if (inflateInit2(&inflater->stream, -(int)bits) == Z_OK) return inflater;
  free(inflater);
  return NULL;
}

static void inflater_free(struct inflater *inflater) {
  if (inflater == NULL) return;
  inflateEnd(&inflater->stream);
  free(inflater);
}

static struct deflater *deflater_new(const struct mr_deflate_options *o) {
  struct deflater *deflater = sys_allocate(1, sizeof(*deflater));
  if (deflater == NULL) return NULL;
  deflater->stream.zalloc = allocate;
  deflater->stream.zfree = release;
  deflater->bits = o->send_bits;
  deflater->mem_level = o->mem_level;
  deflater->level = o->level;
  int rc = deflateInit2(&deflater->stream, (int)o->level, Z_DEFLATED, -(int)o->send_bits, (int)o->mem_level,
                        Z_DEFAULT_STRATEGY);
  if (rc == Z_OK) return deflater;
  free(deflater);
  return NULL;
}

static void deflater_free(struct deflater *deflater) {
  if (deflater == NULL) return;
  deflateEnd(&deflater->stream);
  free(deflater);
}

static bool options_valid(const struct mr_deflate_options *o) {
  // Without a zlib header, zlib cannot deflate with a window of 8 bits.
  return o != NULL && o->flags <= (MR_SEND_TAKEOVER | MR_RECEIVE_TAKEOVER) && o->send_bits >= 9 &&
         o->send_bits <= 15 && o->receive_bits >= 8 && o->receive_bits <= 15 && o->mem_level >= 1 &&
         o->mem_level <= 9 && o->level >= 1 && o->level <= 9;
}

int32_t mr_deflate_open(mr_reactor *r, uint32_t handle, const struct mr_deflate_options *options) {
  struct conn *c = conn_find(r, handle);
  if (c == NULL || c->life != LIFE_OPEN || !conn_in_http(c) || c->deflate != NULL) return -ESTALE;
  if (!options_valid(options)) return -EINVAL;
  uint64_t own = 0;
  if (options->flags & MR_SEND_TAKEOVER) own += deflater_bytes(options->send_bits, options->mem_level);
  if (options->flags & MR_RECEIVE_TAKEOVER) own += inflater_bytes(options->receive_bits);
  uint64_t limit = r->options->max_deflate_bytes;
  if (own > 0 && !reserve(r, own, limit - limit / DEFLATE_SHARED_PART)) return -ENOMEM;
  struct ws_deflate *d = sys_allocate(1, sizeof(*d));
  if (d == NULL) {
    counter_sub(&r->control->deflate_bytes, own);
    return -ENOMEM;
  }
  d->options = *options;
  d->reserved = own;
  c->deflate = d;
  return 0;
}

static bool inflates_alone(const struct ws_deflate *d) {
  return (d->options.flags & MR_RECEIVE_TAKEOVER) != 0;
}

// Those that are borrowed have the largest window, as anybody may come next.
static struct inflater *inflater_borrow(struct mr_reactor *r) {
  struct ws_contexts *shared = &r->contexts;
  struct inflater *inflater = shared->idle;
  if (inflater != NULL) {
    shared->idle = inflater->next;
    shared->idle_count--;
    return inflater;
  }
  if (!reserve(r, inflater_bytes(MAX_WBITS), r->options->max_deflate_bytes)) return NULL;
  inflater = inflater_new(MAX_WBITS);
  if (inflater == NULL) counter_sub(&r->control->deflate_bytes, inflater_bytes(MAX_WBITS));
  return inflater;
}

static void inflater_return(struct mr_reactor *r, struct inflater *inflater) {
  struct ws_contexts *shared = &r->contexts;
  if (shared->idle_count < INFLATERS_IDLE_MAX && inflateReset(&inflater->stream) == Z_OK) {
    inflater->next = shared->idle;
    shared->idle = inflater;
    shared->idle_count++;
    return;
  }
  inflater_free(inflater);
  counter_sub(&r->control->deflate_bytes, inflater_bytes(MAX_WBITS));
}

bool ws_inflate_begin(struct mr_reactor *r, struct ws_deflate *d) {
  if (d->inflater == NULL) {
    d->inflater = inflates_alone(d) ? inflater_new(d->options.receive_bits) : inflater_borrow(r);
  }
  return d->inflater != NULL;
}

void ws_inflate_end(struct mr_reactor *r, struct ws_deflate *d) {
  d->received = d->inflated = 0;
  if (inflates_alone(d) || d->inflater == NULL) return;
  inflater_return(r, d->inflater);
  d->inflater = NULL;
}

// Gives zlib what it has not had of the payload and then, with the last piece, of the tail. Returns zlib's
// answer.
static int feed(struct ws_deflate *d, const uint8_t *payload) {
  struct ws_piece *piece = &d->piece;
  z_stream *stream = &d->inflater->stream;
  const bool payload_left = piece->fed < piece->length;
  const bool tail = !payload_left && piece->last;
  stream->next_in = (uint8_t *)(tail ? TAIL + piece->tail : payload + piece->fed);
  const uint32_t given = tail ? (uint32_t)sizeof(TAIL) - piece->tail : piece->length - piece->fed;
  stream->avail_in = given;
  const int rc = inflate(stream, Z_SYNC_FLUSH);
  const uint32_t taken = given - stream->avail_in;
  if (tail) {
    piece->tail = (uint8_t)(piece->tail + taken);
  } else {
    piece->fed += taken;
    d->received += taken;
  }
  return rc;
}

enum inflate_verdict ws_inflate(struct ws_deflate *d, const uint8_t *payload, uint8_t *out, uint32_t room,
                                uint32_t *length) {
  struct ws_piece *piece = &d->piece;
  z_stream *stream = &d->inflater->stream;
  stream->next_out = out;
  stream->avail_out = room;
  *length = 0;
  // No block at all, where an empty one should be (RFC 7692 section 7.2.3.6), can mean only one thing.
  if (piece->last && piece->length == 0 && d->received == 0) return INFLATE_DONE;
  for (;;) {
    const int rc = feed(d, payload);
    *length = room - stream->avail_out;
    if (rc == Z_STREAM_END) {
      // A final block: others may follow, and refer to what was before it (RFC 7692 section 7.2.3.4). A
      // sender that stops right behind it means no more.
      inflateResetKeep(stream);
      if (piece->fed == piece->length && piece->last && piece->tail == 0) return INFLATE_DONE;
      continue;
    }
    if (rc != Z_OK && rc != Z_BUF_ERROR) return INFLATE_BAD;
    if (stream->avail_out == 0) return INFLATE_MORE;
    if (piece->fed < piece->length) continue;
    if (!piece->last) return INFLATE_DONE;
    if (piece->tail < sizeof(TAIL)) continue;
    // 128: behind a block, with no bit left over. Anything else was cut short.
    return stream->data_type == 128 ? INFLATE_DONE : INFLATE_BAD;
  }
}

void ws_deflate_drop(struct mr_reactor *r, struct conn *c) {
  struct ws_deflate *d = c->deflate;
  if (d == NULL) return;
  c->deflate = NULL;
  if (inflates_alone(d)) inflater_free(d->inflater);
  if (!inflates_alone(d) && d->inflater != NULL) inflater_return(r, d->inflater);
  deflater_free(d->deflater);
  counter_sub(&r->control->deflate_bytes, d->reserved);
  free(d);
}

void ws_contexts_close(struct mr_reactor *r) {
  struct ws_contexts *shared = &r->contexts;
  while (shared->idle != NULL) {
    struct inflater *inflater = shared->idle;
    shared->idle = inflater->next;
    inflater_free(inflater);
  }
  for (uint32_t i = 0; i < DEFLATERS_SHARED_MAX; i++) deflater_free(shared->shared[i]);
}

static bool is_shape(const struct deflater *deflater, const struct mr_deflate_options *o) {
  return deflater->bits == o->send_bits && deflater->mem_level == o->mem_level && deflater->level == o->level;
}

// Puts the deflater of a place first.
static struct deflater *shared_first(struct ws_contexts *contexts, uint32_t place,
                                     struct deflater *deflater) {
  for (; place > 0; place--) contexts->shared[place] = contexts->shared[place - 1];
  contexts->shared[0] = deflater;
  return deflater;
}

// The deflater of a shape that all share; when all places are taken, in that of the one that has not been
// used for longest.
static struct deflater *shared_deflater(struct mr_reactor *r, const struct mr_deflate_options *o) {
  struct ws_contexts *contexts = &r->contexts;
  uint32_t place = 0;
  for (; place < DEFLATERS_SHARED_MAX && contexts->shared[place] != NULL; place++) {
    if (is_shape(contexts->shared[place], o)) return shared_first(contexts, place, contexts->shared[place]);
  }
  if (place == DEFLATERS_SHARED_MAX) {
    struct deflater *oldest = contexts->shared[--place];
    contexts->shared[place] = NULL;
    counter_sub(&r->control->deflate_bytes, deflater_bytes(oldest->bits, oldest->mem_level));
    deflater_free(oldest);
  }
  const uint64_t bytes = deflater_bytes(o->send_bits, o->mem_level);
  if (!reserve(r, bytes, r->options->max_deflate_bytes)) return NULL;
  struct deflater *deflater = deflater_new(o);
  if (deflater != NULL) return shared_first(contexts, place, deflater);
  counter_sub(&r->control->deflate_bytes, bytes);
  return NULL;
}

// The length of what was written without its tail, or 0 when that is not shorter than the message.
static uint32_t deflate_message(z_stream *stream, const uint8_t *bytes, uint32_t length, uint8_t *out,
                                uint32_t capacity) {
  stream->next_in = (uint8_t *)bytes;
  stream->avail_in = length;
  stream->next_out = out;
  stream->avail_out = capacity;
  // A full buffer may hold all, but that cannot be told; such a message is hardly worth it.
  if (deflate(stream, Z_SYNC_FLUSH) != Z_OK || stream->avail_in > 0 || stream->avail_out == 0) return 0;
  const uint32_t written = capacity - stream->avail_out - (uint32_t)sizeof(TAIL);
  return written < length ? written : 0;
}

int32_t mr_deflate(mr_reactor *r, uint32_t handle, const struct mr_deflate_options *options,
                   const uint8_t *bytes, uint32_t length, uint8_t *out, uint32_t capacity) {
  if (!options_valid(options) || length == 0 || capacity == 0 || length > INT32_MAX) return 0;
  struct conn *c = handle == 0 ? NULL : conn_find(r, handle);
  struct ws_deflate *d = c == NULL ? NULL : c->deflate;
  if (handle != 0 && d == NULL) return 0;
  const bool own = d != NULL && (d->options.flags & MR_SEND_TAKEOVER) != 0;
  if (own && d->deflater == NULL) d->deflater = deflater_new(&d->options);
  struct deflater *deflater = own ? d->deflater : shared_deflater(r, d != NULL ? &d->options : options);
  if (deflater == NULL) return -ENOMEM;
  const uint32_t written = deflate_message(&deflater->stream, bytes, length, out, capacity);
  // What the peer never gets must not be referred to.
  if (!own || written == 0) deflateReset(&deflater->stream);
  return (int32_t)written;
}
