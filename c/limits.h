// SPDX-License-Identifier: Apache-2.0
// limits.h - every bound of the shim that is not an option, with its reason.
#ifndef MR_LIMITS_H
#define MR_LIMITS_H

// Times within its timeout that a peer which takes nothing is looked at.
#define STALL_LOOKS 4

// Free bytes in front of received data: what a connection kept from its last read is put there, so that a
// head or frame cut by a read boundary is whole again without moving what has just arrived.
#define HEADROOM 256

// Received bytes that a block has room for.
#define DATA_BYTES (MR_BLOCK_BYTES - HEADROOM)

// Received blocks that wait for a connection which is not read from; beyond it the socket is left to fill.
#define INPUT_BLOCKS_MAX 4

// Records that one connection may deliver before the others have had their turn, and the bytes that count as
// one more: at most some 1.6 MiB of a body.
#define SHARE_RECORDS 512
#define SHARE_BYTES 4096

// Bytes received in a turn after which the rest waits for the next one: they are then dealt with while they
// are in the cache, and what is made of them lives shortly.
#define TURN_BYTES (2u << 20)

// Blocks that one read may fill: 256 KiB cost one system call and, of the peer, one look at a window that has
// opened.
#define READ_BLOCKS_MAX 16

// Reads of an io_uring connection behind a poll, many blocks at a time: after one that filled a block, since
// the last read of a large message may well bring little; and when it is new, since a peer that is answered
// block by block at first is sent to slowly for long by some congestion controls (BBR).
#define POLLS_AFTER_MUCH 7
#define POLLS_AT_FIRST 2

// A message that has inflated to less is never held against its ratio: short ones may well be all alike.
#define RATIO_GRACE_BYTES (64u << 10)

// One part in this many of max_deflate_bytes is kept from contexts that belong to one connection: messages of
// the others need some too.
#define DEFLATE_SHARED_PART 4

// Inflaters kept for messages to come, and deflaters of different shapes.
#define INFLATERS_IDLE_MAX 16
#define DEFLATERS_SHARED_MAX 8

// Room left in a block from which on it is worth inflating another message of the same connection to it.
#define INFLATE_ROOM_MIN 4096

// Request heads of one turn. They are copied side by side, which JavaScript turns into text at one blow.
#define HEADS_BYTES (1u << 20)

// Answers of routes in one turn; they are sent from where they are put together, and JavaScript gives those
// for which there is no room.
#define REPLIES_BYTES (1u << 20)

// A deadline that passes while a connection is paused is looked at again after this long.
#define PAUSED_RECHECK_MS 1000

// One part in this many of the blocks is kept from the kernel, for what is on its way out or cut by a block's
// end.
#define RESERVED_PART 8

#define LISTENERS_MAX 64

// Sockets that a listener has accepted and holds until there is a slot for them; more are closed.
#define WAITING_MAX 64

// Blocks of queued output handed to the kernel in one send.
#define SEND_BLOCKS_MAX 8

// Bytes of a file that one connection may send at a time, and bytes of all files in one turn: that takes some
// 0.1 ms and 1 ms, for which everything else waits.
#define FILE_SHARE_BYTES (512u << 10)
#define FILES_TURN_BYTES (4u << 20)

// One part in this many of the blocks is what the application may keep: as many as that are left for what
// goes out, so that receiving does not come to an end.
#define RETAINED_PART 8

// Memory of a slab: 16 GiB at most, in chunks of one huge page.
#define SLAB_CHUNK_BYTES (2u << 20)
#define SLAB_CHUNKS_MAX 8192

// Mailboxes that threads of a process share: as many as a large machine has hardware threads.
#define MAILBOXES_MAX 1024

// Messages that all of them together may hold: half a gigabyte of slots.
#define MAILBOX_SLOTS_MAX (1u << 24)

// Messages of other threads that become records in one turn; connections have theirs too.
#define POSTED_MAX 256

// Attempts to open a path beneath a root while somebody renames directories in it.
#define FILE_OPEN_TRIES 8

// Sockets that were accepted for a worker which has not come for them. Each counts as so many connections: a
// worker that is busy or stalled is given no more while others are not.
#define HANDED_MAX 64
#define HANDED_WEIGHT 16

// As long at most are workers waited for that are slow to take what is passed on to them.
#define PASS_ON_MS 200

// The timer wheel: 128 ms ticks, one rotation in 65 s. Deadlines further away go round again.
#define TICK_SHIFT 7
#define WHEEL_SLOTS 512

// After EMFILE or ENOMEM a listener is left alone for this long, so that it does not spin.
#define ACCEPT_PAUSE_MS 100

// Connections accepted from one listener in one turn (epoll), so that a flood of them does not delay the
// rest.
#define ACCEPTS_MAX 64

// After as long a time between two turns, what has arrived meanwhile is looked at before deadlines are: it
// was not the peers who were late.
#define AWAY_MS 1000

// Turns that mr_close waits for the kernel to give back its last operations, of at most 10 ms each.
#define CLOSE_TURNS_MAX 200

// CPUs, NUMA nodes and levels of caches that are looked at. Kernels of distributions know of 8,192 CPUs and
// 1,024 nodes at most; no machine of one kernel is known to have half of the CPUs.
#define CPUS_MAX 4096
#define NODES_MAX 256
#define CACHE_LEVELS 5

// A file of /sys or /proc of which something is read, and the path to one.
#define PROC_BYTES 8192
#define PROC_PATH_BYTES 512

#endif
