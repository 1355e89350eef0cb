// SPDX-License-Identifier: Apache-2.0
// symbols.ts - c/millrace.h for Deno.dlopen, with the C declaration beside each parameter; compared with the
// header by tests/abi_test.ts.

/** Every function that the shim exports. */
export const SYMBOLS = {
  mr_abi: { parameters: [], result: "u32" },
  mr_arena_open: {
    parameters: [
      "buffer", // const struct mr_options *options
      "buffer", // mr_arena **out
    ],
    result: "i32",
  },
  mr_arena_base: {
    parameters: [
      "pointer", // mr_arena *arena
    ],
    result: "pointer",
  },
  mr_arena_bytes: {
    parameters: [
      "pointer", // mr_arena *arena
    ],
    result: "u64",
  },
  mr_arena_memory: {
    parameters: [
      "pointer", // mr_arena *arena
      "buffer", // struct mr_memory *out
    ],
    result: "i32",
  },
  mr_open: {
    parameters: [
      "pointer", // mr_arena *arena
      "buffer", // const struct mr_options *options
      "buffer", // mr_reactor **out
      "buffer", // char *reason
    ],
    result: "i32",
  },
  mr_close: {
    parameters: [
      "pointer", // mr_reactor *reactor
    ],
    result: "i32",
  },
  mr_backend: {
    parameters: [
      "pointer", // mr_reactor *reactor
      "buffer", // char *name
      "buffer", // char *reason
    ],
    result: "i32",
  },
  mr_listen: {
    parameters: [
      "pointer", // mr_reactor *reactor
      "buffer", // const struct mr_listen_options *options
      "buffer", // const struct mr_socket_options *tuning
    ],
    result: "i32",
  },
  mr_limit_addresses: {
    parameters: [
      "pointer", // mr_reactor *reactor
      "u32", // uint32_t most
    ],
    result: "i32",
  },
  mr_unlisten: {
    parameters: [
      "pointer", // mr_reactor *reactor
      "u32", // uint32_t listener
    ],
    result: "i32",
  },
  mr_route: {
    parameters: [
      "pointer", // mr_reactor *reactor
      "buffer", // const struct mr_route_options *options
      "buffer", // const uint8_t *bytes
      "u32", // uint32_t length
    ],
    result: "i32",
  },
  mr_listen_address: {
    parameters: [
      "pointer", // mr_reactor *reactor
      "u32", // uint32_t listener
      "buffer", // char *out
    ],
    result: "i32",
  },
  mr_peer_address: {
    parameters: [
      "pointer", // mr_reactor *reactor
      "u32", // uint32_t handle
      "buffer", // char *out
    ],
    result: "i32",
  },
  mr_local_address: {
    parameters: [
      "pointer", // mr_reactor *reactor
      "u32", // uint32_t handle
      "buffer", // char *out
    ],
    result: "i32",
  },
  mr_tune: {
    parameters: [
      "pointer", // mr_reactor *reactor
      "u32", // uint32_t handle
      "buffer", // const struct mr_socket_options *options
    ],
    result: "i32",
  },
  mr_connect: {
    parameters: [
      "pointer", // mr_reactor *reactor
      "buffer", // const struct mr_connect_options *options
      "buffer", // uint32_t *handle
    ],
    result: "i32",
  },
  mr_adopt: {
    parameters: [
      "pointer", // mr_reactor *reactor
      "i32", // int32_t fd
      "buffer", // uint32_t *handle
    ],
    result: "i32",
  },
  mr_poll: {
    parameters: [
      "pointer", // mr_reactor *reactor
    ],
    result: "i32",
  },
  mr_flush: {
    parameters: [
      "pointer", // mr_reactor *reactor
      "u32", // uint32_t count
      "u32", // uint32_t now
    ],
    result: "i32",
  },
  mr_send: {
    parameters: [
      "pointer", // mr_reactor *reactor
      "u32", // uint32_t count
      "u32", // uint32_t handle
      "buffer", // const uint8_t *bytes
      "u32", // uint32_t length
    ],
    result: "i32",
  },
  mr_deflate_open: {
    parameters: [
      "pointer", // mr_reactor *reactor
      "u32", // uint32_t handle
      "buffer", // const struct mr_deflate_options *options
    ],
    result: "i32",
  },
  mr_deflate: {
    parameters: [
      "pointer", // mr_reactor *reactor
      "u32", // uint32_t handle
      "buffer", // const struct mr_deflate_options *options
      "buffer", // const uint8_t *bytes
      "u32", // uint32_t length
      "buffer", // uint8_t *out
      "u32", // uint32_t capacity
    ],
    result: "i32",
  },
  mr_mask: {
    parameters: [
      "pointer", // mr_reactor *reactor
      "u32", // uint32_t offset
      "u32", // uint32_t length
      "u32", // uint32_t key
    ],
    result: "i32",
  },
  mr_wake_socket: {
    parameters: [
      "pointer", // mr_reactor *reactor
    ],
    result: "i32",
  },
  mr_arm: {
    parameters: [
      "pointer", // mr_reactor *reactor
    ],
    result: "i32",
  },
  mr_wake: {
    parameters: [
      "pointer", // mr_reactor *reactor
    ],
    result: "i32",
  },
  mr_block_lost: {
    parameters: [
      "pointer", // mr_arena *arena
      "u32", // uint32_t block
    ],
    result: "i32",
  },
  mr_block_retain: {
    parameters: [
      "pointer", // mr_arena *arena
      "u32", // uint32_t block
    ],
    result: "i32",
  },
  mr_block_release: {
    parameters: [
      "pointer", // mr_arena *arena
      "u32", // uint32_t block
    ],
    result: "i32",
  },
  mr_slab_open: {
    parameters: [
      "u64", // uint64_t max_bytes
      "buffer", // mr_slab **out
    ],
    result: "i32",
  },
  mr_slab_get: {
    parameters: [
      "pointer", // mr_slab *slab
      "u32", // uint32_t bytes
    ],
    result: "i32",
  },
  mr_slab_at: {
    parameters: [
      "pointer", // mr_slab *slab
      "u32", // uint32_t buffer
    ],
    result: "pointer",
  },
  mr_slab_release: {
    parameters: [
      "pointer", // mr_slab *slab
      "u32", // uint32_t buffer
    ],
    result: "i32",
  },
  mr_slab_statistics: {
    parameters: [
      "pointer", // mr_slab *slab
      "u32", // uint32_t node
      "buffer", // struct mr_slab_stats *out
    ],
    result: "i32",
  },
  mr_mailboxes_open: {
    parameters: [
      "buffer", // const struct mr_mailboxes_options *options
      "buffer", // mr_mailboxes **out
    ],
    result: "i32",
  },
  mr_mailboxes_close: {
    parameters: [
      "pointer", // mr_mailboxes *mailboxes
    ],
    result: "i32",
  },
  mr_mailbox_open: {
    parameters: [
      "pointer", // mr_mailboxes *mailboxes
      "u32", // uint32_t mailbox
      "pointer", // mr_reactor *reactor
    ],
    result: "i32",
  },
  mr_mailbox_post: {
    parameters: [
      "pointer", // mr_mailboxes *mailboxes
      "buffer", // uint32_t *mask
      "u32", // uint32_t words
      "u32", // uint32_t from
      "u32", // uint32_t tag
      "buffer", // const uint8_t *bytes
      "u32", // uint32_t length
    ],
    result: "i32",
  },
  mr_mailbox_fill: {
    parameters: [
      "pointer", // mr_mailboxes *mailboxes
      "buffer", // uint32_t *mask
      "u32", // uint32_t words
      "u32", // uint32_t from
      "u32", // uint32_t tag
      "buffer", // const uint8_t *bytes
      "u32", // uint32_t length
    ],
    result: "i32",
  },
  mr_mailbox_wake: {
    parameters: [
      "pointer", // mr_mailboxes *mailboxes
      "buffer", // const uint32_t *mask
      "u32", // uint32_t words
    ],
    result: "i32",
  },
  mr_mailbox_read: {
    parameters: [
      "pointer", // mr_reactor *reactor
      "u32", // uint32_t index
      "buffer", // uint8_t *out
      "u32", // uint32_t capacity
    ],
    result: "i32",
  },
  mr_mailbox_stats: {
    parameters: [
      "pointer", // mr_mailboxes *mailboxes
      "u32", // uint32_t mailbox
      "buffer", // struct mr_mailbox_stats *out
    ],
    result: "i32",
  },
  mr_registry_open: {
    parameters: [
      "u32", // uint32_t places
      "u32", // uint32_t watched
      "u32", // uint32_t max_mib
      "buffer", // mr_registry **out
    ],
    result: "i32",
  },
  mr_registry_close: {
    parameters: [
      "pointer", // mr_registry *registry
    ],
    result: "i32",
  },
  mr_registry_service: {
    parameters: [
      "pointer", // mr_registry *registry
      "buffer", // const uint8_t *name
      "u32", // uint32_t length
    ],
    result: "i32",
  },
  mr_registry_set: {
    parameters: [
      "pointer", // mr_registry *registry
      "u32", // uint32_t service
      "u32", // uint32_t place
      "buffer", // const uint8_t *name
      "u32", // uint32_t length
      "u32", // uint32_t count
    ],
    result: "i32",
  },
  mr_registry_find: {
    parameters: [
      "pointer", // mr_registry *registry
      "u32", // uint32_t service
      "u32", // uint32_t except
      "buffer", // const uint8_t *name
      "u32", // uint32_t length
      "buffer", // uint32_t *mask
      "buffer", // uint32_t *counts
    ],
    result: "i32",
  },
  mr_registry_abandon: {
    parameters: [
      "pointer", // mr_registry *registry
      "u32", // uint32_t place
    ],
    result: "i32",
  },
  mr_registry_changes: {
    parameters: [
      "pointer", // mr_registry *registry
      "u32", // uint32_t observer
      "buffer", // uint8_t *out
      "u32", // uint32_t capacity
    ],
    result: "i32",
  },
  mr_registry_stats: {
    parameters: [
      "pointer", // mr_registry *registry
      "buffer", // struct mr_registry_stats *out
    ],
    result: "i32",
  },
  mr_file_open: {
    parameters: [
      "buffer", // const char *paths
      "u32", // uint32_t bytes
      "u32", // uint32_t flags
      "buffer", // struct mr_file *out
    ],
    result: "i32",
  },
  mr_file_read: {
    parameters: [
      "i32", // int32_t fd
      "buffer", // uint8_t *out
      "u32", // uint32_t capacity
      "u32", // uint32_t offset_low
      "u32", // uint32_t offset_high
    ],
    result: "i32",
  },
  mr_file_again: {
    parameters: [
      "i32", // int32_t fd
    ],
    result: "i32",
  },
  mr_file_close: {
    parameters: [
      "i32", // int32_t fd
    ],
    result: "i32",
  },
  mr_crew_open: {
    parameters: [
      "u32", // uint32_t slots
      "u32", // uint32_t balance
      "buffer", // mr_crew **out
    ],
    result: "i32",
  },
  mr_crew_enter: {
    parameters: [
      "pointer", // mr_crew *crew
      "u32", // uint32_t place
      "u32", // uint32_t slot
    ],
    result: "i32",
  },
  mr_crew_worker: {
    parameters: [
      "pointer", // mr_crew *crew
      "u32", // uint32_t place
      "buffer", // struct mr_worker_report *out
    ],
    result: "i32",
  },
  mr_crew_counters: {
    parameters: [
      "pointer", // mr_crew *crew
      "u32", // uint32_t place
      "buffer", // struct mr_control *out
    ],
    result: "i32",
  },
  mr_crew_memory: {
    parameters: [
      "pointer", // mr_crew *crew
      "u32", // uint32_t place
      "buffer", // struct mr_memory *out
      "u32", // uint32_t capacity
    ],
    result: "i32",
  },
  mr_crew_wake: {
    parameters: [
      "pointer", // mr_crew *crew
      "u32", // uint32_t place
    ],
    result: "i32",
  },
  mr_crew_forget: {
    parameters: [
      "pointer", // mr_crew *crew
      "u32", // uint32_t place
    ],
    result: "i32",
  },
  mr_crew_vacate: {
    parameters: [
      "pointer", // mr_crew *crew
      "u32", // uint32_t slot
    ],
    result: "i32",
  },
  mr_crew_trim: {
    parameters: [
      "pointer", // mr_crew *crew
    ],
    result: "i32",
  },
  mr_crew_drain: {
    parameters: [
      "pointer", // mr_crew *crew
    ],
    result: "i32",
  },
  mr_crew_close: {
    parameters: [
      "pointer", // mr_crew *crew
    ],
    result: "i32",
  },
  mr_probe: {
    parameters: [
      "buffer", // char *out
      "u32", // uint32_t capacity
    ],
    result: "i32",
  },
  mr_topology: {
    parameters: [
      "buffer", // char *out
      "u32", // uint32_t capacity
    ],
    result: "i32",
  },
  mr_pin: {
    parameters: [
      "buffer", // const uint8_t *cpus
      "u32", // uint32_t bytes
    ],
    result: "i32",
  },
  mr_unpin: {
    parameters: [],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;
