// SPDX-License-Identifier: Apache-2.0
// reactor.ts - one reactor of the shim as an object: options in, turns out; the only user of inbox.ts and
// outbox.ts that lib/ has to know.

import { parseAddress } from "./address.ts";
import { Arena } from "./arena.ts";
import { type ReactorCounters, readCounters } from "./counters.ts";
import { type ConnectAddress, connectName, packConnect } from "./connect.ts";
import { errnoError, unwrap } from "./errno.ts";
import { Inbox } from "./inbox.ts";
import * as layout from "./layout.ts";
import { library } from "./library.ts";
import type { Mailboxes } from "./mailbox.ts";
import { bestPages, type HugePages, type MemoryStatistics } from "./memory.ts";
import { Outbox } from "./outbox.ts";
import { packRoute, type RouteImage } from "./route.ts";
import { packTuning, type SocketTuning } from "./socket_tuning.ts";
import { readText, writeName } from "./text.ts";

/** The kernel interface under a reactor. */
export type BackendName = "io_uring" | "epoll";

/** Struct mr_options. Times in milliseconds, sizes in bytes. */
export interface ReactorOptions {
  backend: "auto" | BackendName;
  ringEntries: number;
  batch: number;
  maxConnections: number;
  blockCount: number;
  receiveBuffers: number;
  outboxBytes: number;
  maxHeadBytes: number;
  maxTargetBytes: number;
  maxFields: number;
  maxQueueBytes: number;
  lowWatermark: number;
  maxFragments: number;
  headTimeout: number;
  bodyTimeout: number;
  idleTimeout: number;
  stallTimeout: number;
  lingerTimeout: number;
  maxLingerBytes: number;
  drainTimeout: number;
  minBodyRate: number;
  minSendRate: number;
  rateGrace: number;
  maxPipelined: number;
  maxBodyBytes: number;
  maxDeflateBytes: number;
  /** Infinity for no limit. */
  maxRequests: number;
  hugePages: HugePages;
  prefault: boolean;
  /** -1 for any. */
  memoryNode: number;
}

/** Struct mr_listen_options. */
export interface ListenAddress {
  /** Host name or IP address, or the path of a Unix socket. */
  host: string;
  port: number;
  backlog: number;
  reusePort: boolean;
  ipv6Only: boolean;
  unix: boolean;
  /** Connections carry bytes that are the application's, and no HTTP. */
  stream: boolean;
  /** Shared with the other workers of this thread's crew. */
  shared: boolean;
  /** A socket that listens already, and that the reactor takes over; the rest then says nothing. */
  fd: number | null;
}

const EBUSY = 16;
const ESTALE = 116;

const BACKENDS = {
  auto: layout.AUTO,
  io_uring: layout.IO_URING,
  epoll: layout.EPOLL,
};

// Inherited sockets that reactors of this isolate listen on: each descriptor is to be closed once.
const inherited = new Set<number>();

/** A worker's event loop in C. Belongs to the thread that opened it. */
export class Reactor {
  readonly inbox: Inbox;
  readonly outbox: Outbox;
  /** The kernel interface in use. */
  readonly backend: BackendName;
  /** Why it was chosen. */
  readonly reason: string;
  readonly #shim = library();
  readonly #arena: Arena;
  readonly #pointer: Deno.PointerObject;
  readonly #inherited: number[] = [];
  // Where C writes addresses. Each is read before the next one.
  readonly #address: Uint8Array<ArrayBuffer> = new Uint8Array(
    layout.TEXT_BYTES,
  );
  #closed = false;

  /** Opens a reactor. Throws when the backend that was asked for is not to be had. */
  constructor(options: ReactorOptions) {
    const packed = packOptions(options);
    this.#arena = Arena.take(packed);
    const out = new BigUint64Array(1);
    const reason = new Uint8Array(layout.TEXT_BYTES);
    const answer = this.#shim.mr_open(this.#arena.pointer, packed, out, reason);
    if (answer < 0) {
      if (answer !== -EBUSY) this.#arena.release();
      throw errnoError(
        -answer,
        `open a reactor on ${options.backend}`,
        readText(reason),
      );
    }
    this.#pointer = Deno.UnsafePointer.create(out[0]!)!;
    this.inbox = new Inbox(this.#arena);
    this.outbox = new Outbox(
      this.#arena,
      (now) => this.#flush(now),
      (handle, bytes) => this.#send(handle, bytes),
      options.lowWatermark,
    );
    const name = new Uint8Array(layout.TEXT_BYTES);
    this.#shim.mr_backend(this.#pointer, name, reason);
    this.backend = readText(name) as BackendName;
    this.reason = readText(reason);
  }

  /** Closes everything at once. What is staged later goes nowhere. */
  close(): void {
    // What is staged goes nowhere, but C has to take over the files among it to close them. Nothing stays deferred: it
    // would be written to the memory of the next reactor.
    this.outbox.settle();
    this.#flush(0);
    this.#closed = true;
    for (const fd of this.#inherited) inherited.delete(fd);
    // When the kernel does not let go of the memory it is lost, which is better than to share it. When the application
    // keeps blocks, the last one to be released releases the arena.
    if (this.#shim.mr_close(this.#pointer) === 0) this.#arena.release();
  }

  /** Opens a listening socket, whose accepted ones have its tuning, and returns its number. */
  listen(address: ListenAddress, tuning: SocketTuning = {}): number {
    const action = `listen on ${nameOf(address)}`;
    const { fd } = address;
    if (fd !== null && inherited.has(fd)) throw errnoError(EBUSY, action);
    const answer = this.#shim.mr_listen(
      this.#pointer,
      packAddress(address),
      packTuning(tuning),
    );
    unwrap(answer, action);
    if (fd !== null) {
      inherited.add(fd);
      this.#inherited.push(fd);
    }
    return answer;
  }

  /** Has the reactor answer requests for a path by itself, and returns the route's number, from 1 on. */
  addRoute(route: RouteImage): number {
    const { options, bytes } = packRoute(route);
    return unwrap(
      this.#shim.mr_route(this.#pointer, options, bytes, bytes.length),
      "add a route",
    );
  }

  /** Has so many connections of one address be accepted and no more, of all workers together. */
  limitAddresses(most: number): void {
    const answer = this.#shim.mr_limit_addresses(this.#pointer, most);
    unwrap(answer, "limit the connections of an address");
  }

  /** Starts closing a listening socket; it is closed when `listeners` has fallen. */
  unlisten(listener: number): void {
    unwrap(this.#shim.mr_unlisten(this.#pointer, listener), "close a listener");
  }

  /** Listening sockets that are open, or closing. */
  get listeners(): number {
    return this.#arena.control(layout.CONTROL_LISTENERS);
  }

  /** Live connections. */
  get connections(): number {
    return this.#arena.control(layout.CONTROL_CONNECTIONS);
  }

  /** The address that a listener is bound to. */
  listenAddress(listener: number): Deno.Addr {
    const out = this.#address;
    const kind = unwrap(
      this.#shim.mr_listen_address(this.#pointer, listener, out),
      "read the bound address",
    );
    return addressOf(kind, out)!;
  }

  /** Begins to connect, and returns the handle: a record CONNECTED or CLOSED will follow. */
  connect(address: ConnectAddress): number {
    const action = `connect to ${connectName(address)}`;
    if (this.#closed) throw errnoError(ESTALE, action);
    const handle = new Uint32Array(1);
    const packed = packConnect(address);
    unwrap(this.#shim.mr_connect(this.#pointer, packed, handle), action);
    return handle[0]!;
  }

  /** Takes over a socket that is connected, and returns its handle. The descriptor stays the caller's on failure. */
  adopt(fd: number): number {
    const action = `take over descriptor ${fd}`;
    if (this.#closed) throw errnoError(ESTALE, action);
    const handle = new Uint32Array(1);
    unwrap(this.#shim.mr_adopt(this.#pointer, fd, handle), action);
    return handle[0]!;
  }

  /** The address of a peer: "host port", or a path; empty when the connection is gone. */
  peerAddress(handle: number): string {
    if (this.#closed) return "";
    const out = this.#address;
    const answer = this.#shim.mr_peer_address(this.#pointer, handle, out);
    return answer < 0 ? "" : readText(out);
  }

  /** The same as an address; null when the connection is gone. */
  remoteAddress(handle: number): Deno.Addr | null {
    if (this.#closed) return null;
    const out = this.#address;
    const kind = this.#shim.mr_peer_address(this.#pointer, handle, out);
    return addressOf(kind, out);
  }

  /** Our own address of a connection; null when it is gone. */
  localAddress(handle: number): Deno.Addr | null {
    if (this.#closed) return null;
    const out = this.#address;
    const kind = this.#shim.mr_local_address(this.#pointer, handle, out);
    return addressOf(kind, out);
  }

  /** Sets options of a connection's socket; does nothing when it is gone. Throws when the kernel refuses. */
  tune(handle: number, tuning: SocketTuning): void {
    if (this.#closed) return;
    const answer = this.#shim.mr_tune(
      this.#pointer,
      handle,
      packTuning(tuning),
    );
    if (answer !== -ESTALE) unwrap(answer, "set options of the socket");
  }

  /** Sends what is staged, takes what has arrived; returns the number of records in the inbox. */
  poll(): number {
    this.outbox.settle();
    if (this.outbox.count > 0) this.#flush(0);
    const count = this.#shim.mr_poll(this.#pointer);
    this.outbox.position = 0;
    this.inbox.turned(count);
    return count < 0 ? unwrap(count, "poll for events") : count;
  }

  /** The JavaScript end of the wake socket, once; the caller owns the descriptor. */
  wakeSocket(): number {
    return this.#shim.mr_wake_socket(this.#pointer);
  }

  /** Has the wake socket become readable when there is work; false when there is some already. */
  arm(): boolean {
    // An error is one of memory running short: looking again is what there is to do.
    return this.#shim.mr_arm(this.#pointer) === 0;
  }

  /** Reads a mailbox from here on: what is posted to it comes as records POSTED. */
  openMailbox(mailboxes: Mailboxes, mailbox: number): void {
    const action = `read mailbox ${mailbox}`;
    if (this.#closed) throw errnoError(ESTALE, action);
    mailboxes.giveTo(this.#pointer, mailbox, action);
  }

  /** A copy of the message of a record POSTED; valid as long as the record. */
  posted(index: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.inbox.length(index));
    this.postedInto(index, bytes);
    return bytes;
  }

  /** The same written to bytes of the caller's own; returns its length, or less than 0 when it has no room. */
  postedInto(index: number, out: Uint8Array<ArrayBuffer>): number {
    if (this.#closed) return -ESTALE;
    const at = this.inbox.start(index);
    return this.#shim.mr_mailbox_read(this.#pointer, at, out, out.length);
  }

  /** Makes the wake socket readable now. */
  wake(): void {
    if (!this.#closed) this.#shim.mr_wake(this.#pointer);
  }

  /**
   * Has a connection compress what follows its handshake; `settings` are those of `packDeflate()`. False when there is
   * no memory for contexts of its own, or the connection is gone.
   */
  openDeflate(handle: number, settings: Uint8Array<ArrayBuffer>): boolean {
    if (this.#closed) return false;
    return this.#shim.mr_deflate_open(this.#pointer, handle, settings) === 0;
  }

  /**
   * Deflates a message into `out`, which is a few bytes longer: for a connection, or, with handle 0, so that anybody
   * with these settings can inflate it. Returns the length; 0 when the message has to be sent as it is, and less for
   * want of memory, of which there may be some later.
   */
  deflate(
    handle: number,
    settings: Uint8Array<ArrayBuffer>,
    bytes: Uint8Array<ArrayBuffer>,
    out: Uint8Array<ArrayBuffer>,
  ): number {
    if (this.#closed) return 0;
    return this.#shim.mr_deflate(
      this.#pointer,
      handle,
      settings,
      bytes,
      bytes.length,
      out,
      out.length,
    );
  }

  /** Masks bytes of the outbox in place; `key` has the first byte in its low bits. */
  mask(start: number, length: number, key: number): void {
    if (!this.#closed) {
      this.#shim.mr_mask(this.#pointer, start, length, key);
    }
  }

  /** A copy of the counters. */
  counters(): ReactorCounters {
    return readCounters(this.connections, (at) => this.#arena.counter(at));
  }

  /** What its memory is made of, and where it lies. */
  memory(): MemoryStatistics {
    return this.#arena.memory();
  }

  #send(handle: number, bytes: Uint8Array): number {
    if (this.#closed) return 0;
    const { count } = this.outbox;
    this.outbox.count = 0;
    return this.#shim.mr_send(
      this.#pointer,
      count,
      handle,
      bytes as Uint8Array<ArrayBuffer>,
      bytes.length,
    );
  }

  #flush(now: number): void {
    if (!this.#closed) {
      this.#shim.mr_flush(this.#pointer, this.outbox.count, now);
    }
    this.outbox.count = 0;
  }
}

function packOptions(options: ReactorOptions): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(layout.OPTIONS_BYTES);
  const view = new DataView(bytes.buffer);
  const put = (offset: number, value: number): void =>
    view.setUint32(offset, value, true);
  put(layout.OPTIONS_BACKEND, BACKENDS[options.backend]);
  put(layout.OPTIONS_RING_ENTRIES, options.ringEntries);
  put(layout.OPTIONS_BATCH, options.batch);
  put(layout.OPTIONS_MAX_CONNECTIONS, options.maxConnections);
  put(layout.OPTIONS_BLOCK_COUNT, options.blockCount);
  put(layout.OPTIONS_RECEIVE_BUFFERS, options.receiveBuffers);
  put(layout.OPTIONS_OUTBOX_BYTES, options.outboxBytes);
  put(layout.OPTIONS_MAX_HEAD_BYTES, options.maxHeadBytes);
  put(layout.OPTIONS_MAX_TARGET_BYTES, options.maxTargetBytes);
  put(layout.OPTIONS_MAX_FIELDS, options.maxFields);
  put(layout.OPTIONS_MAX_QUEUE_BYTES, options.maxQueueBytes);
  put(layout.OPTIONS_MAX_FRAGMENTS, options.maxFragments);
  put(layout.OPTIONS_HEAD_TIMEOUT, options.headTimeout);
  put(layout.OPTIONS_BODY_TIMEOUT, options.bodyTimeout);
  put(layout.OPTIONS_IDLE_TIMEOUT, options.idleTimeout);
  put(layout.OPTIONS_STALL_TIMEOUT, options.stallTimeout);
  put(layout.OPTIONS_LINGER_TIMEOUT, options.lingerTimeout);
  put(layout.OPTIONS_LINGER_BYTES, options.maxLingerBytes);
  put(layout.OPTIONS_DRAIN_TIMEOUT, options.drainTimeout);
  put(layout.OPTIONS_MIN_BODY_RATE, options.minBodyRate);
  put(layout.OPTIONS_MIN_SEND_RATE, options.minSendRate);
  put(layout.OPTIONS_RATE_GRACE, options.rateGrace);
  put(layout.OPTIONS_MAX_PIPELINED, options.maxPipelined);
  view.setBigUint64(
    layout.OPTIONS_MAX_BODY_BYTES,
    BigInt(options.maxBodyBytes),
    true,
  );
  view.setBigUint64(
    layout.OPTIONS_MAX_DEFLATE_BYTES,
    BigInt(options.maxDeflateBytes),
    true,
  );
  const { maxRequests } = options;
  view.setBigUint64(
    layout.OPTIONS_MAX_REQUESTS,
    maxRequests === Infinity ? 0n : BigInt(maxRequests),
    true,
  );
  put(layout.OPTIONS_PAGES, bestPages(options.hugePages));
  put(layout.OPTIONS_PREFAULT, options.prefault ? 1 : 0);
  put(layout.OPTIONS_MEMORY_NODE, options.memoryNode + 1);
  return bytes;
}

// The answer of mr_*_address; null for one that failed.
function addressOf(kind: number, text: Uint8Array): Deno.Addr | null {
  return kind < 0 ? null : parseAddress(readText(text), kind === layout.UNIX);
}

function nameOf({ host, port, unix, fd }: ListenAddress): string {
  if (fd !== null) return `descriptor ${fd}`;
  return unix ? host : `${host}:${port}`;
}

function packAddress(address: ListenAddress): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(layout.LISTEN_OPTIONS_BYTES);
  const view = new DataView(bytes.buffer);
  const flags = (address.reusePort ? layout.REUSE_PORT : 0) |
    (address.unix ? layout.UNIX : 0) |
    (address.stream ? layout.STREAM : 0) |
    (address.ipv6Only ? layout.IPV6_ONLY : 0) |
    (address.shared ? layout.SHARED : 0) |
    (address.fd !== null ? layout.INHERITED : 0);
  view.setUint32(layout.LISTEN_OPTIONS_FLAGS, flags, true);
  view.setUint32(layout.LISTEN_OPTIONS_PORT, address.port, true);
  view.setUint32(layout.LISTEN_OPTIONS_BACKLOG, address.backlog, true);
  view.setUint32(layout.LISTEN_OPTIONS_FD, address.fd ?? 0, true);
  writeName(bytes, layout.LISTEN_OPTIONS_HOST, address.host, "listen on");
  return bytes;
}
