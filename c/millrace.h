// SPDX-License-Identifier: Apache-2.0
// millrace.h - the whole contract of the shim: every exported function and nothing else.
//
// Every function returns 0 or a positive answer on success and -errno on failure; none prints or exits. A
// reactor belongs to the thread that opened it; when that thread ends first, its reactors are closed then,
// and arenas and what slabs had are kept for other threads (thread.c, slab.c): no other state is outside the
// handles, but for the CPUs that the process was started with (affinity.c). Mailboxes, crews and registries
// belong to all threads. Names are compared with millrace.map and ffi/symbols.ts by tests/abi_test.ts.
#ifndef MILLRACE_H
#define MILLRACE_H

#include "layout.h"

#pragma GCC visibility push(default)

typedef struct mr_arena mr_arena;
typedef struct mr_reactor mr_reactor;
typedef struct mr_mailboxes mr_mailboxes;
typedef struct mr_crew mr_crew;
typedef struct mr_slab mr_slab;
typedef struct mr_registry mr_registry;

// Hash of layout.h and this file; the loader refuses a library whose hash is not its own.
uint32_t mr_abi(void);

// Takes all memory that a reactor with these options will ever use and writes the arena to *out.
// The arena is never unmapped: views of it may live as long as the JavaScript isolate does. One that a thread
// has left behind is given out again.
int32_t mr_arena_open(const struct mr_options *options, mr_arena **out);

// First byte and length of the arena's memory.
void *mr_arena_base(mr_arena *arena);
uint64_t mr_arena_bytes(mr_arena *arena);

// Writes what the arena's memory is made of, and where it lies, to *out. Takes up to half a millisecond: the
// kernel is asked anew.
int32_t mr_arena_memory(mr_arena *arena, struct mr_memory *out);

// Opens a reactor on an arena that no other reactor uses, moving its memory to another node where the options
// say so. Writes the reactor to *out; on failure writes one
// line that says which step failed to reason (NUL-terminated, MR_TEXT_BYTES long). -EBUSY: as for mr_close.
int32_t mr_open(mr_arena *arena, const struct mr_options *options, mr_reactor **out, char *reason);

// Closes all sockets and gives back everything but the arena, whose pages return to the system.
// -EBUSY: the kernel still holds operations, or the application has a block for good. The reactor is gone all
// the same, but the arena must not be used again. 1: the application keeps blocks; until mr_block_release
// says so, the arena must not.
int32_t mr_close(mr_reactor *reactor);

// Writes "io_uring" or "epoll" to name and why it was chosen to reason (MR_TEXT_BYTES each).
int32_t mr_backend(mr_reactor *reactor, char *name, char *reason);

// Opens a listening socket, or takes over one that is open; returns its number. Host names are resolved here
// and may block. Accepted sockets have the tuning of the listening one; NULL leaves the kernel's defaults. On
// failure an inherited socket is still the caller's.
int32_t mr_listen(mr_reactor *reactor, const struct mr_listen_options *options,
                  const struct mr_socket_options *tuning);

// From the next mr_poll on, closes connections at once that are accepted from an address which has so many
// already (IPv6: from a /64). Workers count together, by the number that the first of them has given. -EBUSY:
// it was called before.
int32_t mr_limit_addresses(mr_reactor *reactor, uint32_t most);

// Closes a listening socket during the next calls of mr_poll; connections still in its accept queue are
// accepted first, unless it was inherited: others may go on to listen on that. mr_control.listeners falls
// when it is done.
int32_t mr_unlisten(mr_reactor *reactor, uint32_t listener);

// Has GET and HEAD of a path be answered by the reactor itself, from the next mr_poll on, where nothing
// speaks against it: an earlier request of the connection is still to be answered, the peer does not take
// what it is sent, or the response has to say something else, as that the connection ends. Such requests go
// to JavaScript, and all of them do after mr_unlisten. The bytes are copied: at most MR_ROUTE_BYTES of head
// and body. Returns the number of the route, from 1 on. -EEXIST: there is one with this path.
int32_t mr_route(mr_reactor *reactor, const struct mr_route_options *options, const uint8_t *bytes,
                 uint32_t length);

// Writes the bound address to out (MR_TEXT_BYTES long): "host port", or a path. Returns MR_UNIX for the
// latter, 0 for the former; so do the next two.
int32_t mr_listen_address(mr_reactor *reactor, uint32_t listener, char *out);

// Writes the peer's address, or our own, to out. -ESTALE for an old handle.
int32_t mr_peer_address(mr_reactor *reactor, uint32_t handle, char *out);
int32_t mr_local_address(mr_reactor *reactor, uint32_t handle, char *out);

// Sets options of a connection's socket. -ESTALE for an old handle.
int32_t mr_tune(mr_reactor *reactor, uint32_t handle, const struct mr_socket_options *options);

// Begins to connect to an IP address or a Unix socket, and writes the handle to *handle: MR_CONNECTED or
// MR_CLOSED follows, in a later mr_poll. What is sent before that waits. -EDQUOT: max_connections are open.
int32_t mr_connect(mr_reactor *reactor, const struct mr_connect_options *options, uint32_t *handle);

// Takes over a stream socket that is connected, whose bytes are the application's, and writes the handle to
// *handle. -ENOTCONN when it is not, -EBUSY when it is one of the reactor's already; the socket is still the
// caller's on failure.
int32_t mr_adopt(mr_reactor *reactor, int32_t fd, uint32_t *handle);

// Submits what is pending, takes what has arrived and tokenises it. Returns the number of records, all of
// which and the bytes that they name stay valid until the next call.
int32_t mr_poll(mr_reactor *reactor);

// Takes over the first count commands. With now = 0 the outbox stays in use until the next mr_poll; with
// now = 1 it is free again on return.
int32_t mr_flush(mr_reactor *reactor, uint32_t count, uint32_t now);

// Takes over the first count commands and then sends bytes of the caller's own to a connection, behind what
// is staged for it, as many as its socket takes at once. Returns how many; none while earlier bytes are
// queued.
int32_t mr_send(mr_reactor *reactor, uint32_t count, uint32_t handle, const uint8_t *bytes, uint32_t length);

// Has what follows the handshake of a connection be compressed (RFC 7692), and keeps the memory for it.
// -ENOMEM: there is none left for contexts of its own, and without such it may be asked for again. -ESTALE
// for an old handle, -EINVAL for options that are none.
int32_t mr_deflate_open(mr_reactor *reactor, uint32_t handle, const struct mr_deflate_options *options);

// Deflates a message to out: into the context of the connection if it has one of its own, else into one that
// all share and that remembers nothing, by the options given. Returns the length of a frame's payload, or 0
// when it would not be shorter than the message: that then has to be sent as it is. So it has with -ENOMEM,
// when no context is left to be had; later there may be one.
int32_t mr_deflate(mr_reactor *reactor, uint32_t handle, const struct mr_deflate_options *options,
                   const uint8_t *bytes, uint32_t length, uint8_t *out, uint32_t capacity);

// Masks length bytes of the outbox in place (RFC 6455 section 5.3). The key is that of the frame, its first
// byte in the low bits.
int32_t mr_mask(mr_reactor *reactor, uint32_t offset, uint32_t length, uint32_t key);

// The JavaScript end of the wake socket; the caller owns it from here on.
int32_t mr_wake_socket(mr_reactor *reactor);

// Arranges that one byte arrives on the wake socket as soon as mr_poll would have something to do. Returns 1,
// arming nothing, when it already has.
int32_t mr_arm(mr_reactor *reactor);

// Sends one byte to the wake socket now.
int32_t mr_wake(mr_reactor *reactor);

// Retires a block whose ArrayBuffer JavaScript transferred away: its bytes now belong to whoever holds that.
int32_t mr_block_lost(mr_arena *arena, uint32_t block);

// Keeps a block that a record of this turn names, with all its bytes, until as many mr_block_release.
// -ESTALE: no record does, and it is not kept yet. -ENOBUFS: as many as may be are kept.
int32_t mr_block_retain(mr_arena *arena, uint32_t block);

// Returns 1 when it was the last one of an arena whose reactor is closed: another may now be opened on that.
int32_t mr_block_release(mr_arena *arena, uint32_t block);

// Opens a slab: buffers of the calling thread, which alone may use it, in at most max_bytes of memory on the
// thread's NUMA node; a multiple of 2 MiB up to 16 GiB. It is closed when the thread ends.
int32_t mr_slab_open(uint64_t max_bytes, mr_slab **out);

// Takes a buffer for so many bytes, whose length is the next power of two, and returns its number. It holds
// whatever was there before. -EMSGSIZE: longer than MR_SLAB_BYTES_MAX, which is counted and left to the
// caller. -ENOBUFS: max_bytes are in use, or in other sizes.
int32_t mr_slab_get(mr_slab *slab, uint32_t bytes);

// Where a buffer lies. Its memory stays mapped, whatever becomes of the slab.
void *mr_slab_at(mr_slab *slab, uint32_t buffer);

int32_t mr_slab_release(mr_slab *slab, uint32_t buffer);

// Writes what the slab has on a node to *out. -ENOENT: it has had nothing there, nor on any node behind it.
int32_t mr_slab_statistics(mr_slab *slab, uint32_t node, struct mr_slab_stats *out);

// Opens mailboxes, through which the threads of a process send messages to its reactors, and writes them to
// *out. All threads may use them until mr_mailboxes_close; who reads one may go on to do so after that.
int32_t mr_mailboxes_open(const struct mr_mailboxes_options *options, mr_mailboxes **out);
int32_t mr_mailboxes_close(mr_mailboxes *mailboxes);

// Has a reactor read a mailbox: what is posted to it from here on becomes records MR_POSTED. To be called by
// the reactor's thread, until mr_close. -EBUSY: one reads it already, or the reactor reads another.
int32_t mr_mailbox_open(mr_mailboxes *mailboxes, uint32_t mailbox, mr_reactor *reactor);

// Posts a copy of the bytes, which all share, to each mailbox whose bit is set in mask, the lowest bit of the
// first word being that of the first one. Of what one thread posts to one mailbox, none overtakes another.
// Returns how many have taken it in, and leaves their bits in mask: one that is full does not, and a reactor
// that sleeps is woken. -EMSGSIZE: no mailbox will ever have room for it. -ENOMEM: it is posted to none.
int32_t mr_mailbox_post(mr_mailboxes *mailboxes, uint32_t *mask, uint32_t words, uint32_t from, uint32_t tag,
                        const uint8_t *bytes, uint32_t length);

// The same without waking anybody: mr_mailbox_wake with the mask that this leaves has to follow soon, once
// for any number of messages.
int32_t mr_mailbox_fill(mr_mailboxes *mailboxes, uint32_t *mask, uint32_t words, uint32_t from, uint32_t tag,
                        const uint8_t *bytes, uint32_t length);

// Wakes the reactors of these mailboxes that sleep.
int32_t mr_mailbox_wake(mr_mailboxes *mailboxes, const uint32_t *mask, uint32_t words);

// Copies the message of a record of this turn to out and returns its length.
int32_t mr_mailbox_read(mr_reactor *reactor, uint32_t index, uint8_t *out, uint32_t capacity);

int32_t mr_mailbox_stats(mr_mailboxes *mailboxes, uint32_t mailbox, struct mr_mailbox_stats *out);

// Opens a registry, in which threads say who is subscribed to which topic, for so many places: numbers of
// workers, as those of their mailboxes. It takes no more memory than max_mib. watched: the supervisor wants
// to be told of topics too.
int32_t mr_registry_open(uint32_t places, uint32_t watched, uint32_t max_mib, mr_registry **out);

// No thread may use it any longer.
int32_t mr_registry_close(mr_registry *registry);

// The number of a server by its address: topics of different servers have nothing to do with one another. At
// most 65,536 of them.
int32_t mr_registry_service(mr_registry *registry, const uint8_t *name, uint32_t length);

// A place has so many subscribers to a topic from here on: whoever publishes once this has returned finds
// them. Returns mr_topic_answer. -ENOMEM: nothing has changed; it cannot be where the number falls. Names are
// of at most MR_TOPIC_BYTES. Those whose last level, behind the last "/", is "*" or "#" are patterns.
int32_t mr_registry_set(mr_registry *registry, uint32_t service, uint32_t place, const uint8_t *name,
                        uint32_t length, uint32_t count);

// Sets the bits of places, but for one, that have subscribers to a topic or to a pattern that matches it, and
// writes their numbers to counts, whose other fields stay as they are. Returns the sum. A pattern matches
// itself alone.
int32_t mr_registry_find(mr_registry *registry, uint32_t service, uint32_t except, const uint8_t *name,
                         uint32_t length, uint32_t *mask, uint32_t *counts);

// The worker of a place is gone, and with it its subscribers. Returns how many topics have ended by that:
// they are in the lists of the observers.
int32_t mr_registry_abandon(mr_registry *registry, uint32_t place);

// Writes what observer (mr_observer) has not been told yet, as far as there is room: for each topic an
// mr_topic_change and the name. Returns how many bytes; 0: there is nothing. capacity: at least one with the
// longest name.
int32_t mr_registry_changes(mr_registry *registry, uint32_t observer, uint8_t *out, uint32_t capacity);

int32_t mr_registry_stats(mr_registry *registry, struct mr_registry_stats *out);

// Opens the regular file that paths names for reading and writes what it is to *out. paths is bytes long: a
// root directory, NUL, a path beneath it, NUL. With an empty root the second is opened as it is. A directory
// is reported without being kept open, any other kind is refused (-EACCES). A path that leads out of the root
// is refused (-EXDEV), also over symbolic links; flags: mr_file_flag.
int32_t mr_file_open(const char *paths, uint32_t bytes, uint32_t flags, struct mr_file *out);

// Reads up to capacity bytes at offset_high << 32 | offset_low. Returns how many, 0 at the end of the file.
int32_t mr_file_read(int32_t fd, uint8_t *out, uint32_t capacity, uint32_t offset_low, uint32_t offset_high);

// A second descriptor for an open file.
int32_t mr_file_again(int32_t fd);

int32_t mr_file_close(int32_t fd);

// Workers that serve as one. Its functions may be called from any thread. Up to slots of them serve at a
// time; balance: mr_balance. When the calling thread ends before mr_crew_close, mr_crew_drain follows.
int32_t mr_crew_open(uint32_t slots, uint32_t balance, mr_crew **out);

// Makes the calling thread a worker of the crew: place is a number below MR_CREW_PLACES that no other has,
// slot that of its sockets, which it may share with the one that it is to replace. From here on mr_listen
// with MR_SHARED opens what the others have open too; a reactor that does so may have no other listener, no
// connections of another origin, and no mr_limit_addresses before. -EBUSY: the place is taken, or the thread
// is a worker already.
int32_t mr_crew_enter(mr_crew *crew, uint32_t place, uint32_t slot);

// Writes how the worker in a place is to *out.
int32_t mr_crew_worker(mr_crew *crew, uint32_t place, struct mr_worker_report *out);

// Writes the sums of what the reactors of a worker count, closed ones included, to *out.
int32_t mr_crew_counters(mr_crew *crew, uint32_t place, struct mr_control *out);

// Writes the memory of each reactor that listens in a worker to out, for as many as there is room. Returns
// how many.
int32_t mr_crew_memory(mr_crew *crew, uint32_t place, struct mr_memory *out, uint32_t capacity);

// Has a worker that sleeps take a turn, by which it is seen to live.
int32_t mr_crew_wake(mr_crew *crew, uint32_t place);

// Frees the place of a worker that is gone. -EBUSY: it is not.
int32_t mr_crew_forget(mr_crew *crew, uint32_t place);

// Nobody will serve what comes to the sockets of a slot for a while: gives what waits there to other workers,
// what was accepted for its worker among it, and closes them; the next worker of the slot opens its own.
// Where no other worker serves, new ones take their place at once, and what waits is reset, as is what the
// others have no room for. Returns how many connections were taken out of the sockets.
int32_t mr_crew_vacate(mr_crew *crew, uint32_t slot);

// Closes listening sockets that no worker uses any more, but for those whose last one has died with them
// open.
int32_t mr_crew_trim(mr_crew *crew);

// Accepts nothing more once the workers have closed their listeners; what waits is accepted first, as far as
// the limit allows.
int32_t mr_crew_drain(mr_crew *crew);

// Frees a crew. -EBUSY: a worker is not gone yet.
int32_t mr_crew_close(mr_crew *crew);

// Tries what the backend io_uring needs of the kernel, one thing after the other, and writes to out as JSON
// what failed with which errno: [[name, 0 or errno], …]. ECANCELED: not tried, since what it stands on has
// failed. Returns the length.
int32_t mr_probe(char *out, uint32_t capacity);

// Writes the machine's topology as one line of JSON to out and returns its length: source ("hwloc" or
// "/sys"), quota (thousandths of a CPU; 0: no limit), cpus [number, package, core, node, allowed], nodes
// [number, bytes, allowed, distances to all nodes in order], caches [level, bytes, line, CPUs]. Takes some
// milliseconds.
int32_t mr_topology(char *out, uint32_t capacity);

// Has the calling thread run on these CPUs alone: one bit for each, as many as there are bytes.
int32_t mr_pin(const uint8_t *cpus, uint32_t bytes);

// Lets the calling thread run again where the process might when it was started.
int32_t mr_unpin(void);

#pragma GCC visibility pop

#endif
