// SPDX-License-Identifier: Apache-2.0
// mod.ts - what lib/ may import of ffi/.

export { parseAddress } from "./address.ts";
export { type ConnectAddress, connectName } from "./connect.ts";
export { addCounters, type ReactorCounters, readCounters } from "./counters.ts";
export { type Balance, Crew, type WorkerReport } from "./crew.ts";
export { type DeflateSettings, packDeflate } from "./deflate.ts";
export { errnoByName, errnoError, errnoName } from "./errno.ts";
export {
  closeFile,
  dupFile,
  type FileRefusal,
  type OpenedFile,
  openFile,
  readFile,
} from "./file.ts";
export type { Inbox } from "./inbox.ts";
export * as layout from "./layout.ts";
export {
  Mailboxes,
  type MailboxesAddress,
  type MailboxesOptions,
  type MailboxStatistics,
  NOBODY,
} from "./mailbox.ts";
export type { HugePages, MemoryStatistics } from "./memory.ts";
export type { Outbox } from "./outbox.ts";
export { probeUring } from "./probe.ts";
export { blockOf } from "./receive_block.ts";
export {
  type BackendName,
  type ListenAddress,
  Reactor,
  type ReactorOptions,
} from "./reactor.ts";
export {
  Registry,
  type RegistryAddress,
  type RegistryStatistics,
  type TopicChange,
} from "./registry.ts";
export type { RouteImage, RouteResponse } from "./route.ts";
export { type NodeStatistics, Slab } from "./slab.ts";
export type { KeepAlive, SocketTuning } from "./socket_tuning.ts";
export {
  pinThread,
  readTopology,
  type TopologyRows,
  unpinThread,
} from "./topology.ts";
